//! Datasets that are written here, opened, read and damaged.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use super::super::{Dataset, Tokens};
use super::*;
use crate::corpus::manifest::{FileFacts, Shard, Tokenizer};
use crate::corpus::shard::ShardWriter;
use crate::error::exit;
use crate::fs::Scratch;
use crate::plan::{Plan, Recipe};
use crate::spec::Spec;

/// Ids of `n` documents of `length` tokens; the first id of a document says which it is.
fn ids(vocab: u32, first: u32, n: u32, length: u32) -> Vec<Vec<u32>> {
    let document = |d: u32| (0..length).map(|i| (first + 7 * d + i * i) % vocab).collect();
    (0..n).map(document).collect()
}

fn shard(dir: &Path, name: &str, vocab: u32, documents: &[Vec<u32>]) -> Shard {
    let path = dir.join(format!("{name}.bin"));
    let mut writer = ShardWriter::new(Scratch::beside(&path).unwrap(), vocab).unwrap();
    for (key, ids) in documents.iter().enumerate() {
        writer.push(ids, key as u64).unwrap();
    }
    let (file, written) = writer.finish().unwrap();
    file.keep().unwrap();
    fs::write(path.with_extension("idx"), &written.index).unwrap();
    Shard::of(&written, format!("{name}.bin"), format!("{name}.idx"))
}

fn seal(dir: &Path, vocab: u32, domains: Vec<Domain>) -> Manifest {
    let json = dir.join("tokenizer.json");
    fs::write(&json, "{}").unwrap();
    let file = Some(FileFacts::of("tokenizer.json", b"{}"));
    let tokenizer = Tokenizer { kind: "file".into(), file, vocab, separator: Some(0) };
    let manifest = Manifest::new(tokenizer, domains);
    fs::write(dir.join(FILE), manifest.seal()).unwrap();
    manifest
}

/// Two domains: `code` of one shard, `web` of two that together have four times as many tokens.
fn two(dir: &Path, vocab: u32) -> Manifest {
    let of = |name: &str, first, n| shard(dir, name, vocab, &ids(vocab, first, n, 400));
    let domain = |name: &str, shards, held_out, bytes| Domain {
        name: name.to_owned(),
        train: Set::new(shards, None),
        held_out: Set::new(vec![held_out], Some(bytes)),
        held_out_raw: None,
    };
    let web = domain("web", vec![of("w0", 1, 500), of("w1", 2, 300)], of("wh", 3, 20), 32_000);
    let code = domain("code", vec![of("c0", 4, 200)], of("ch", 5, 10), 8_000);
    seal(dir, vocab, vec![web, code])
}

/// A sweep on the dataset in `dir`, with `data` in its table of data.
fn spec(dir: &Path, data: &str) -> Spec {
    Spec::parse(&format!(
        "name = \"t\"\n[data]\nsource = {{ dataset = {:?} }}\n{data}\n[model]\ncontext = 32\n\
         [grid.product]\nparams = [1e4]\ntokens = [\"64k\", \"640k\"]\n[optim]\nlearning_rate = 0.01\n\
         batch_tokens = 1024\n[schedule.cosine]\nwarmup = 0.1\nend = 0.1\n",
        dir.display().to_string()
    ))
    .unwrap()
}

fn open(dir: &Path, data: &str, most: u64) -> Result<Prepared, DataError> {
    Prepared::open_keeping(dir, &spec(dir, data).data, 32, most)
}

fn refusal(error: DataError) -> (u8, String) {
    let DataError::Input(error) = error else { panic!("{error}") };
    (error.code, format!("{error} | {}", error.hint.clone().unwrap_or_default()))
}

#[test]
fn windows_are_the_ids_that_were_written_whichever_way_they_are_read() {
    for vocab in [300, 100_000] {
        let dir = tempfile::tempdir().unwrap();
        two(dir.path(), vocab);
        let kept = open(dir.path(), "", u64::MAX).unwrap();
        let from_disk = open(dir.path(), "", 0).unwrap();
        // By size: web has 320,000 of 400,000 tokens.
        assert_eq!(kept.mixture.domains.iter().map(|p| p.share).collect::<Vec<_>>(), [205, 819]);
        assert_eq!(kept.mixture.domains[1].windows, (200_000 - 1) / 32 + (120_000 - 1) / 32);
        let streams = [
            vec![ids(vocab, 4, 200, 400).concat()],
            vec![ids(vocab, 1, 500, 400).concat(), ids(vocab, 2, 300, 400).concat()],
        ];
        let order = Order::new(&kept.mixture, None);
        for step in [0, 1, 77] {
            let batch = kept.batch(Draw::of(5), step, 16, false).unwrap();
            for (i, inputs) in batch.inputs.chunks(32).enumerate() {
                let (domain, mut window) = order.at(5, step * 16 + i as u64);
                let mut shards = streams[domain].iter();
                let ids = loop {
                    let ids = shards.next().unwrap();
                    let windows = (ids.len() as u64 - 1) / 32;
                    if window < windows {
                        break ids;
                    }
                    window -= windows;
                };
                let want: Vec<i32> =
                    ids[32 * window as usize..][..33].iter().map(|id| id.cast_signed()).collect();
                assert_eq!(inputs, &want[..32]);
                assert_eq!(batch.targets[32 * i..32 * (i + 1)], want[1..]);
            }
            assert_eq!(from_disk.batch(Draw::of(5), step, 16, false).unwrap(), batch);
            assert_eq!(from_disk.batch(Draw::of(5), step, 16, true).unwrap(), batch);
        }
    }
}

#[test]
fn one_domain_of_one_shard_has_the_batches_of_the_same_ids_in_memory() {
    let dir = tempfile::tempdir().unwrap();
    let (train, held_out) = (ids(300, 9, 30, 101), ids(300, 8, 7, 50));
    let domain = Domain {
        name: "all".into(),
        train: Set::new(vec![shard(dir.path(), "t", 300, &train)], None),
        held_out: Set::new(vec![shard(dir.path(), "h", 300, &held_out)], None),
        held_out_raw: None,
    };
    seal(dir.path(), 300, vec![domain]);
    let data = Dataset::load(&spec(dir.path(), ""), None).unwrap();
    let narrow = |ids: Vec<Vec<u32>>| ids.concat().into_iter().map(|id| id as u16).collect();
    let tokens = Tokens::Stored { train: narrow(train), held_out: narrow(held_out) };
    let stored = Dataset {
        facts: data.facts.clone(),
        documents: None,
        corpus: None,
        notes: vec![],
        context: 32,
        tokens,
    };
    for (seed, step, sequences) in [(1, 0, 7), (2, 31, 3), (3, 100, 64)] {
        let of = |data: &Dataset| data.batch(Draw::of(seed), step, sequences).unwrap();
        assert_eq!(of(&data), of(&stored));
    }
    let held_out =
        |data: &Dataset| -> Vec<Batch> { data.held_out(300, 4).collect::<Result<_, _>>().unwrap() };
    assert_eq!(held_out(&data), held_out(&stored));
}

#[test]
fn batches_that_are_read_ahead_are_those_of_their_steps() {
    let dir = tempfile::tempdir().unwrap();
    two(dir.path(), 300);
    let spec = spec(dir.path(), "unique_tokens = \"9k\"");
    let data = Dataset::load(&spec, None).unwrap();
    let recipe: Recipe = Plan::new(&spec, &data.facts).cells.swap_remove(0).recipe;
    assert_eq!(recipe.unique_tokens, Some(9000));
    let Dataset { facts, documents, context, .. } = data;
    let prepared = Prepared::open_keeping(dir.path(), &spec.data, 32, 0).unwrap();
    let tokens = Tokens::Prepared(Arc::new(prepared));
    let data = Dataset { facts, documents, corpus: None, notes: vec![], context, tokens };
    let mut batches = data.batches(&recipe, 3);
    for step in 3..40 {
        let want = data.batch(recipe.draw(), step, recipe.batch_sequences as usize).unwrap();
        assert_eq!(batches.next_batch().unwrap(), want, "{step}");
    }
    // Dropped on the way, and after its last step.
    drop(batches);
    let mut batches = data.batches(&recipe, recipe.steps - 1);
    let first = batches.next_batch().unwrap();
    assert_ne!(first, batches.next_batch().unwrap());
}

#[test]
fn the_mixture_is_what_the_sweep_says_and_so_is_its_held_out_set() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = two(dir.path(), 300);
    let data = "mix = { web = 1, code = 3 }\nunique_tokens = [\"5k\", \"20k\"]";
    let spec = spec(dir.path(), data);
    let loaded = Dataset::load(&spec, None).unwrap();
    let facts = &loaded.facts;
    assert_eq!((facts.vocab, &facts.sha256), (300, &manifest.id));
    // 3/4 of 2 bytes/token of code (8,000 bytes, 4,000 tokens) and 1/4 of web's 4.
    assert_eq!(facts.bytes_per_token, Some(0.75 * 2.0 + 0.25 * 4.0));
    // 124 windows of code are three quarters of what can be evaluated.
    assert_eq!(facts.held_out_tokens, 124 * 4 / 3 * 32);
    // 20,000 tokens: 468 windows of code and 156 of web.
    assert_eq!(facts.train_tokens, Some((468 + 156) * 32));
    let plan = Plan::new(&spec, facts);
    assert_eq!(plan.cells.len(), 4);
    let mix: BTreeMap<String, u64> = [("code".to_owned(), 768), ("web".to_owned(), 256)].into();
    assert!(plan.cells.iter().all(|cell| cell.recipe.mix.as_ref() == Some(&mix)));
    let text = plan.warnings.join("\n");
    assert!(text.contains("`code` more than 4 times"), "{text}");
    let prepared = open(dir.path(), data, 0).unwrap();
    let (mut out, mut code) = (vec![0; 33], 0);
    let order = prepared.held_out_counts(160);
    assert_eq!(order, [120, 40]);
    let windows: Vec<Vec<i32>> = (0..160)
        .map(|i| {
            prepared.held_out(i, 160, &mut out).unwrap();
            out.clone()
        })
        .collect();
    let of_code = ids(300, 5, 10, 400).concat();
    for window in &windows {
        let window: Vec<u32> = window.iter().map(|id| *id as u32).collect();
        code += usize::from(of_code.windows(33).any(|w| w == window));
    }
    assert_eq!(code, 120);
    let early = windows[..40].iter().filter(|w| {
        of_code.windows(33).any(|c| c.iter().zip(w.iter()).all(|(l, r)| l.cast_signed() == *r))
    });
    assert!((20..40).contains(&early.count()), "domains are mixed");
}

#[test]
fn what_is_held_out_in_place_is_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let documents = ids(300, 1, 30, 100);
    let mut shard = shard(dir.path(), "t", 300, &documents);
    shard.without = vec![[0, 100], [300, 200], [700, 100], [2900, 100]];
    let held = [0, 3, 4, 7, 29];
    let left: Vec<u32> =
        (0..30).filter(|d| !held.contains(d)).flat_map(|d| &documents[d]).copied().collect();
    for whole in [true, false] {
        let open = Open::new(dir.path(), &shard, 300, whole).unwrap();
        assert_eq!(open.tokens(), left.len() as u64);
        for (from, n) in [(0, left.len()), (0, 1), (99, 2), (190, 400), (2499, 1), (450, 33)] {
            let mut out = vec![0; n];
            open.read(from as u64, &mut out, &Files::default()).unwrap();
            assert!(
                out.iter().zip(&left[from..]).all(|(l, r)| *l == r.cast_signed()),
                "{from} {n}"
            );
        }
    }
}

/// Reads every window of every set once, as training would.
fn read_all(prepared: &Prepared) -> Result<(), DataError> {
    let mut out = vec![0; 33];
    for part in &prepared.parts {
        for set in [&part.train, &part.held_out] {
            for window in 0..set.count() {
                set.read(window, &mut out, &prepared.files)?;
            }
        }
    }
    Ok(())
}

#[test]
fn a_flipped_bit_is_found_before_it_is_used_wherever_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = two(dir.path(), 300);
    for most in [0, u64::MAX] {
        read_all(&open(dir.path(), "", most).unwrap()).unwrap();
    }
    let mut names: Vec<String> = manifest.files().map(|f| f.file.clone()).collect();
    names.push(FILE.to_owned());
    let stream = Stream::new(1, "flips");
    for n in 0..200 {
        let path = dir.path().join(&names[stream.below(3 * n, names.len() as u64) as usize]);
        let right = fs::read(&path).unwrap();
        let mut bytes = right.clone();
        let at = stream.below(3 * n + 1, bytes.len() as u64) as usize;
        bytes[at] ^= 1 << stream.below(3 * n + 2, 8);
        fs::write(&path, &bytes).unwrap();
        let most = if n % 2 == 0 { 0 } else { u64::MAX };
        let found = open(dir.path(), "", most).and_then(|prepared| read_all(&prepared));
        let (code, said) = refusal(found.unwrap_err());
        assert_eq!(code, exit::DAMAGED, "{said}");
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        assert!(said.contains(&name), "{said}");
        if path.extension().is_some_and(|e| e == "bin") {
            let block = at / BLOCK_BYTES;
            let last = ((block + 1) * BLOCK_BYTES).min(bytes.len()) - 1;
            let want = format!("block {block}, bytes {} to {last},", block * BLOCK_BYTES);
            assert!(said.contains(&want), "{said}: {want}");
        }
        fs::write(&path, right).unwrap();
    }
}

const BLOCK_BYTES: usize = crate::corpus::index::BLOCK;

/// What is damaged after its block was verified is not read again, what was not read yet is.
#[test]
fn a_block_is_verified_when_it_is_first_read() {
    let dir = tempfile::tempdir().unwrap();
    two(dir.path(), 300);
    let prepared = open(dir.path(), "", 0).unwrap();
    let web = &prepared.parts[1].train;
    let mut out = vec![0; 33];
    web.read(0, &mut out, &prepared.files).unwrap();
    let path = dir.path().join("w0.bin");
    let mut bytes = fs::read(&path).unwrap();
    bytes[2 * BLOCK_BYTES] ^= 1;
    fs::write(&path, &bytes).unwrap();
    web.read(1, &mut out, &prepared.files).unwrap();
    let inside = (2 * BLOCK_BYTES as u64 - 1024) / 2 / 32;
    let (code, said) = refusal(web.read(inside, &mut out, &prepared.files).unwrap_err());
    assert!(code == exit::DAMAGED && said.contains("block 2, bytes 131072 to 196607"), "{said}");
    fs::write(&path, &bytes[..1000]).unwrap();
    let (code, said) = refusal(web.read(4000, &mut out, &prepared.files).unwrap_err());
    assert!(code == exit::DAMAGED && said.contains("shorter"), "{said}");
}

#[test]
fn what_a_dataset_has_not_is_refused_with_what_it_has() {
    let dir = tempfile::tempdir().unwrap();
    let none = refusal(open(&dir.path().join("x"), "", 0).unwrap_err());
    assert!(none.0 == exit::INPUT && none.1.contains("is not there"), "{none:?}");
    assert!(none.1.contains("isoflop data RECIPE"), "{none:?}");
    let half = refusal(open(dir.path(), "", 0).unwrap_err());
    assert!(half.0 == exit::INPUT && half.1.contains("no manifest.json"), "{half:?}");
    let manifest = two(dir.path(), 300);
    let said = |data: &str| {
        let (code, said) = refusal(open(dir.path(), data, 0).unwrap_err());
        assert_eq!(code, exit::INPUT, "{said}");
        said
    };
    let text = said("mix = { web = 1, book = 1 }");
    assert!(text.contains("names `book`") && text.contains("it has code, web"), "{text}");
    let text = said("mix = { web = 1, code = 0.0001 }");
    assert!(
        text.contains("`code` 0.0001 of 1.0001") && text.contains("of 4.890e-4 works"),
        "{text}"
    );
    let mut short = manifest.clone();
    short.domains[0].held_out =
        Set::new(vec![shard(dir.path(), "s", 300, &ids(300, 1, 1, 20))], None);
    let short = Manifest::new(short.tokenizer, short.domains);
    fs::write(dir.path().join(FILE), short.seal()).unwrap();
    let text = said("");
    assert!(
        text.contains("`web`") && text.contains("20 held-out tokens, a window needs 33"),
        "{text}"
    );
    fs::write(dir.path().join(FILE), manifest.seal()).unwrap();
    fs::remove_file(dir.path().join("w1.bin")).unwrap();
    let gone = refusal(open(dir.path(), "", 0).unwrap_err());
    assert!(
        gone.0 == exit::DAMAGED && gone.1.contains("w1.bin` is damaged: it is not there"),
        "{gone:?}"
    );
}
