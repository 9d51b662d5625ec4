//! Files as other tools write them, taken and read back.

use std::fs;

use super::*;
use crate::data::{Batch, Dataset};
use crate::error::exit;
use crate::plan::Draw;
use crate::spec::Spec;

/// Unwatched.
fn take(taking: Taking<'_>) -> Result<Manifest, DataError> {
    super::take(taking, &|_, _| ())
}

/// Documents of 20 to 60 ids from 1 on, without a separator.
fn documents(n: u32) -> Vec<Vec<u32>> {
    let document = |d: u32| (0..20 + 7 * d % 41).map(|i| 1 + (31 * d + i * i) % 499).collect();
    (0..n).map(document).collect()
}

fn u16s(ids: &[u32]) -> Vec<u8> {
    ids.iter().flat_map(|id| (*id as u16).to_le_bytes()).collect()
}

fn taking(dir: &Path, format: Format) -> Taking<'_> {
    Taking { dir, format, tokenizer: None, separator: None, held_out: 0.1, out: dir }
}

fn load(dir: &Path) -> Dataset {
    let text = format!(
        "name = \"t\"\ndata.source = {{ dataset = {:?} }}\nmodel.context = 8\n\
         grid.product = {{ params = [1e4], tokens = [1e5] }}\n\
         optim = {{ learning_rate = 0.01, batch_tokens = 64 }}\n\
         schedule.cosine = {{ warmup = 0.1, end = 0.1 }}\n",
        dir.display().to_string()
    );
    Dataset::load(&Spec::parse(&text).unwrap(), None).unwrap()
}

/// Every window of an epoch, as a sorted list.
fn epoch(data: &Dataset) -> Vec<Vec<i32>> {
    let windows = data.facts.mixture.as_ref().unwrap().domains[0].windows;
    let batch: Batch = data.batch(Draw::of(0), 0, windows as usize).unwrap();
    let mut all: Vec<Vec<i32>> = batch.inputs.chunks(8).map(<[i32]>::to_vec).collect();
    all.sort();
    all
}

/// The windows of a stream of ids, as a sorted list.
fn cut(ids: &[u32]) -> Vec<Vec<i32>> {
    let windows = (ids.len() - 1) / 8;
    let mut all: Vec<Vec<i32>> = ids
        .chunks(8)
        .take(windows)
        .map(|w| w.iter().map(|id| id.cast_signed()).collect())
        .collect();
    all.sort();
    all
}

/// The same documents as each tool writes them: the same are held out, and the same are trained on.
#[test]
fn documents_are_held_out_by_their_ids_whoever_wrote_them() {
    let documents = documents(200);
    let with_end: Vec<Vec<u32>> = documents.iter().map(|d| [d.as_slice(), &[0]].concat()).collect();
    let mut ids: Vec<(Format, String)> = Vec::new();
    for format in [Format::Nanogpt, Format::Llmc, Format::Megatron, Format::Datatrove] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(format!("a{}", format.ending()));
        let all = u16s(&with_end.concat());
        match format {
            Format::Nanogpt => fs::write(&path, &all).unwrap(),
            Format::Llmc => {
                let mut bytes = vec![0; 1024];
                bytes[..8].copy_from_slice(&[0x88, 0xd8, 0x34, 0x01, 1, 0, 0, 0]);
                bytes[8..12].copy_from_slice(&(all.len() as u32 / 2).to_le_bytes());
                fs::write(&path, [bytes, all.clone()].concat()).unwrap();
            }
            Format::Megatron => {
                let mut idx = b"MMIDIDX\0\0".to_vec();
                idx.extend(1_u64.to_le_bytes());
                idx.push(8);
                idx.extend([200_u64, 201].iter().flat_map(|n| n.to_le_bytes()));
                idx.extend(
                    with_end.iter().flat_map(|d| i32::try_from(d.len()).unwrap().to_le_bytes()),
                );
                let mut place = 0_i64;
                for d in &with_end {
                    idx.extend(place.to_le_bytes());
                    place += 2 * i64::try_from(d.len()).unwrap();
                }
                idx.extend((0..201_i64).flat_map(i64::to_le_bytes));
                fs::write(dir.path().join("a.idx"), idx).unwrap();
                fs::write(&path, &all).unwrap();
            }
            Format::Datatrove => {
                let mut end = 0;
                let ends: Vec<u8> = with_end
                    .iter()
                    .flat_map(|d| {
                        end += d.len() as u64;
                        end.to_le_bytes()
                    })
                    .collect();
                fs::write(dir.path().join("a.ds.index"), ends).unwrap();
                fs::write(&path, &all).unwrap();
            }
        }
        let before = fs::read(&path).unwrap();
        let taken = take(Taking { separator: Some(0), ..taking(dir.path(), format) }).unwrap();
        assert_eq!(fs::read(&path).unwrap(), before, "taken in place");
        let domain = &taken.domains[0];
        assert_eq!((domain.name.as_str(), taken.tokenizer.vocab), ("all", 500));
        assert_eq!(domain.train.documents + domain.held_out.documents, 200);
        assert!((8..40).contains(&domain.held_out.documents), "{}", domain.held_out.documents);
        let held = |d: &Vec<u32>| {
            let bytes: Vec<u8> = d.iter().flat_map(|id| id.to_le_bytes()).collect();
            index::key(&Sha256::digest(bytes).into()) < (0.1 * 2.0_f64.powi(64)) as u64
        };
        let part = |of: bool| -> Vec<u32> {
            let of = with_end.iter().zip(&documents).filter(|(_, d)| held(d) == of);
            of.flat_map(|(d, _)| d.iter().copied()).collect()
        };
        let data = load(dir.path());
        assert_eq!(data.facts.sha256, taken.id);
        assert!(epoch(&data) == cut(&part(false)), "{format:?}");
        let all = data.facts.held_out_tokens;
        let held_out: Vec<i32> = data.held_out(all, 4).flat_map(|b| b.unwrap().inputs).collect();
        let want: Vec<i32> = part(true).iter().map(|id| id.cast_signed()).collect();
        assert_eq!(held_out, want[..held_out.len()]);
        // Taken again, and into another place: the same dataset.
        let again = take(Taking { separator: Some(0), ..taking(dir.path(), format) }).unwrap();
        assert_eq!(again, taken);
        let out = tempfile::tempdir().unwrap();
        let beside = Taking { separator: Some(0), out: out.path(), ..taking(dir.path(), format) };
        assert_eq!(take(beside).unwrap().id, taken.id);
        assert!(epoch(&load(out.path())) == epoch(&data));
        ids.push((format, taken.id));
    }
    // Files without a header are the same bytes; llm.c's are others.
    assert!(ids[0].1 == ids[2].1 && ids[0].1 == ids[3].1 && ids[0].1 != ids[1].1, "{ids:?}");
}

#[test]
fn files_that_are_called_so_are_held_out_and_directories_are_domains() {
    let dir = tempfile::tempdir().unwrap();
    let all = documents(100).concat();
    for name in ["train.bin", "val.bin", "code/code_train_000.bin", "code/code_val_000.bin"] {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, u16s(&all)).unwrap();
    }
    let taken = take(taking(dir.path(), Format::Nanogpt)).unwrap();
    let names: Vec<&str> = taken.domains.iter().map(|d| d.name.as_str()).collect();
    assert_eq!(names, ["all", "code"]);
    for domain in &taken.domains {
        assert_eq!((domain.train.shards.len(), domain.held_out.shards.len()), (1, 1));
        assert!(domain.held_out.shards[0].file.file.contains("val"));
        assert!(domain.train.shards[0].without.is_empty());
    }
    assert!(!dir.path().join(HELD_OUT_FILE).exists());
    let windows = (all.len() as u64 - 1) / 8;
    let mixture = load(dir.path()).facts.mixture.unwrap();
    assert_eq!(mixture.available(None), [8 * windows, 8 * windows]);
}

#[test]
fn without_known_documents_the_end_of_the_last_file_is_held_out() {
    let dir = tempfile::tempdir().unwrap();
    let all = documents(100).concat();
    fs::write(dir.path().join("a.bin"), u16s(&all)).unwrap();
    let taken = take(taking(dir.path(), Format::Nanogpt)).unwrap();
    let left = all.len() - all.len() / 10;
    assert_eq!(taken.domains[0].train.shards[0].without, [[left as u64, all.len() as u64 / 10]]);
    assert!(epoch(&load(dir.path())) == cut(&all[..left]));
}

/// A tokenizer of whole words, whose ids spell text.
const WORDS: &str = r#"{"version":"1.0","added_tokens":[{"id":3,"content":"<|endoftext|>","single_word":false,
"lstrip":false,"rstrip":false,"normalized":false,"special":true}],"pre_tokenizer":{"type":"Whitespace"},
"model":{"type":"WordLevel","vocab":{"sea":0,"whale":1,"the":2},"unk_token":"the"}}"#;

#[test]
fn vocabulary_separator_and_bytes_come_from_the_tokenizer() {
    let dir = tempfile::tempdir().unwrap();
    let json = dir.path().join("given.json");
    fs::write(&json, WORDS).unwrap();
    let ids: Vec<u32> =
        (0..200).flat_map(|d| [2, d % 3, d / 3 % 3, d / 9 % 3, d / 27 % 3, 3]).collect();
    fs::write(dir.path().join("train.bin"), u16s(&ids)).unwrap();
    fs::write(dir.path().join("val.bin"), u16s(&[2, 1, 3])).unwrap();
    let given = Taking { tokenizer: Some(&json), ..taking(dir.path(), Format::Nanogpt) };
    let taken = take(given).unwrap();
    assert_eq!((taken.tokenizer.vocab, taken.tokenizer.separator), (4, Some(3)));
    assert_eq!(taken.domains[0].train.documents, 200);
    // "the whale"
    assert_eq!(taken.domains[0].held_out.bytes, Some(9));
    fs::write(dir.path().join("val.bin"), u16s(&[2, 4, 3])).unwrap();
    let Err(DataError::Input(error)) = take(given) else { panic!() };
    assert!(error.to_string().contains("val.bin` has the id 4, the vocabulary has 4"), "{error}");
    for (from, to) in [("\"sea\":0", "\"sea\":4000000000"), ("\"id\":3", "\"id\":99999999")] {
        fs::write(&json, WORDS.replace(from, to)).unwrap();
        let Err(DataError::Input(error)) = take(given) else { panic!() };
        assert!(error.to_string().contains("is no number below 1048576"), "{error}");
    }
}

#[test]
fn what_is_no_token_file_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let said = |format| {
        let Err(DataError::Input(error)) = take(taking(dir.path(), format)) else { panic!() };
        assert_eq!(error.code, exit::INPUT);
        error.to_string()
    };
    assert!(said(Format::Datatrove).contains("no file ending in .ds"));
    fs::write(dir.path().join("x.bin"), [1, 2, 3]).unwrap();
    assert!(said(Format::Nanogpt).contains("x.bin` is no token file of this format: 3 bytes"));
    assert!(said(Format::Llmc).contains("no header"));
    fs::write(dir.path().join("x.idx"), b"MMIDIDX").unwrap();
    assert!(said(Format::Megatron).contains("does not begin with MMIDIDX"));
}

#[test]
fn every_flipped_byte_of_a_dataset_is_found_by_reading_all_of_it() {
    use crate::data::dataset::{is_dataset, verify};
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.bin"), u16s(&documents(3000).concat())).unwrap();
    assert!(!is_dataset(dir.path()));
    let taken = take(Taking { separator: Some(7), ..taking(dir.path(), Format::Nanogpt) }).unwrap();
    let found = verify(dir.path()).unwrap();
    assert!(is_dataset(dir.path()) && found.damages.is_empty(), "{found:?}");
    assert_eq!(found.files, 5);
    for (n, facts) in taken.files().enumerate() {
        let path = dir.path().join(&facts.file);
        let right = fs::read(&path).unwrap();
        for at in [0, right.len() / 2, right.len() - 1] {
            let mut bytes = right.clone();
            bytes[at] ^= 1 << n;
            fs::write(&path, &bytes).unwrap();
            let damages = verify(dir.path()).unwrap().damages;
            assert_eq!(damages.len(), 1, "{damages:?}");
            assert_eq!(damages[0].path, path);
        }
        fs::write(&path, &right[1..]).unwrap();
        assert_eq!(verify(dir.path()).unwrap().damages.len(), 1);
        fs::write(&path, right).unwrap();
    }
}
