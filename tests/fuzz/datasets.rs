//! What datasets are made of and what they are: recipes, documents, tokenizers, manifests, indices and shards.

use std::fs;
use std::path::{Path, PathBuf};

use isoflop::corpus::{Domain, Index, Manifest, Set, Shard, ShardWriter, Tokenizer, shard};
use isoflop::data::Learner;
use isoflop::data::encode::Quick;
use isoflop::data::tokenizer_json::TokenizerJson;
use isoflop::documents::{self, Cut, Fields, MAX_DOCUMENT};
use isoflop::seal::{seal, unseal};
use isoflop::spec::{DataRecipe, Scalar};
use serde_json::Value;

use crate::mutate::{corpus, fuzz, fuzz_files};

#[test]
fn recipes() {
    fuzz("recipe", "recipe", |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return };
        match DataRecipe::parse(text) {
            Ok(recipe) => assert!(!recipe.domains().is_empty()),
            Err(error) => assert!(!error.render("recipe.toml", text).is_empty()),
        }
    });
}

/// Each file under its own name's ending, cut in every way.
#[test]
fn documents_of_every_kind() {
    let dir = tempfile::tempdir().unwrap();
    let ways = [
        Fields::default(),
        Fields { cut: Cut::Paragraphs(2), group: Some("group".to_owned()), ..Fields::default() },
        Fields {
            cut: Cut::Lines(5),
            filter: [("redirect".to_owned(), Scalar::Bool(false))].into(),
            ..Fields::default()
        },
    ];
    // Those of other writers too.
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/documents");
    let shared = ["frames.jsonl.zst", "gzip.parquet", "snappy.parquet", "zstd.parquet"]
        .map(|name| shared.join(name));
    let shared = shared.map(|path| (path.clone(), fs::read(path).unwrap()));
    for (path, bytes) in corpus("documents").into_iter().chain(shared) {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let file = dir.path().join(&name);
        let target = format!("documents, {}", name.split_once('.').unwrap().1);
        fuzz_files(&target, &[(path, bytes)], |bytes| {
            fs::write(&file, bytes).unwrap();
            let Ok(listing) = documents::find(std::slice::from_ref(&name), dir.path()) else {
                return;
            };
            for found in &listing.files {
                let Ok(parts) = documents::parts(found, 100) else { return };
                for (part, fields) in parts.iter().flat_map(|p| ways.iter().map(move |f| (p, f))) {
                    let Ok(read) = documents::read(part, fields) else { continue };
                    for document in read.map_while(Result::ok) {
                        let text = &document.text;
                        assert!(!text.is_empty() && text.len() <= MAX_DOCUMENT);
                        assert!(!text.contains(['\r', '\0']));
                    }
                }
            }
        });
    }
}

#[test]
fn tokenizers_of_anybody() {
    let text = "and the sea rolled on as it had rolled five thousand years ago, 1851 times; don't";
    let mut learner = Learner::default();
    learner.add(text);
    let json = learner.finish(280).unwrap();
    fuzz_files("tokenizer.json", &[(PathBuf::from("learned"), json)], |bytes| {
        let Ok(read) = TokenizerJson::read(bytes) else { return };
        let (vocab, separator) = (read.vocab, read.separator);
        assert!(separator.is_none_or(|id| id < vocab));
        let Ok(quick) = Quick::of(read.library) else { return };
        let mut ids = Vec::new();
        if quick.encode(text, &mut ids).is_ok() {
            assert!(ids.iter().all(|id| *id < vocab), "{ids:?} and {vocab}");
        }
    });
}

/// A dataset of one shard: its manifest, its index and its ids.
fn dataset() -> [Vec<u8>; 3] {
    let mut writer = ShardWriter::new(std::io::Cursor::new(Vec::new()), 300).unwrap();
    for n in 0..20_u32 {
        let ids: Vec<u32> = (0..n + 2).map(|i| (n * i) % 300).collect();
        writer.push(&ids, n.into()).unwrap();
    }
    let (file, written) = writer.finish().unwrap();
    let set = |name: &str| {
        let shard = Shard::of(&written, format!("a/{name}.bin"), format!("a/{name}.idx"));
        Set::new(vec![shard], Some(1000))
    };
    let tokenizer =
        Tokenizer { kind: "bytes".to_owned(), file: None, vocab: 300, separator: Some(0) };
    let domain = Domain {
        name: "a".to_owned(),
        train: set("train"),
        held_out: set("held-out"),
        held_out_raw: None,
    };
    let manifest = Manifest::new(tokenizer, vec![domain]).seal();
    [manifest.into_bytes(), written.index, file.into_inner()]
}

fn made(name: &str, bytes: Vec<u8>) -> [(PathBuf, Vec<u8>); 1] {
    [(Path::new(name).to_owned(), bytes)]
}

/// One that is accepted says the same when it is written again.
fn manifest(bytes: &[u8]) {
    let Ok(manifest) = Manifest::parse(bytes) else { return };
    assert_eq!(Manifest::parse(manifest.seal().as_bytes()).as_ref(), Ok(&manifest));
    for shard in manifest.shards() {
        assert!(shard.used() <= shard.tokens);
    }
}

#[test]
fn manifests_of_datasets() {
    let [bytes, ..] = dataset();
    fuzz_files("dataset", &made("manifest.json", bytes), manifest);
}

/// Checksum and id are made right again.
#[test]
fn manifests_of_datasets_that_agree_with_themselves() {
    let [bytes, ..] = dataset();
    let value: Value = unseal(&bytes).unwrap();
    let plain = serde_json::to_vec(&value).unwrap();
    fuzz_files("dataset, sealed", &made("manifest.json", plain), |bytes| {
        let Ok(value) = serde_json::from_slice::<Value>(bytes) else { return };
        match serde_json::from_value::<Manifest>(value.clone()) {
            Ok(mut read) => {
                read.id = read.identity();
                manifest(read.seal().as_bytes());
            }
            Err(_) if value.is_object() => manifest(seal(&value).as_bytes()),
            Err(_) => {}
        }
    });
}

#[test]
fn indices() {
    let [_, bytes, _] = dataset();
    fuzz_files("index", &made("train.idx", bytes), |bytes| {
        if let Ok(index) = Index::decode(bytes) {
            assert_eq!(index.encode(), bytes);
            assert!(index.tokens() <= u64::from(u32::MAX) * index.lengths.len() as u64);
        }
    });
}

#[test]
fn shards() {
    let [.., bytes] = dataset();
    fuzz_files("shard", &made("train.bin", bytes), |bytes| {
        let Ok(layout) = shard::parse_header(bytes, bytes.len() as u64) else { return };
        let mut out = vec![0; layout.tokens as usize];
        let ids = &bytes[layout.offset as usize..];
        if shard::decode(ids, layout.width, 300, &mut out).is_ok() {
            assert!(out.iter().all(|id| (0..300).contains(id)));
        }
    });
}
