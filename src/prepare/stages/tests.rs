use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::*;
use crate::corpus::{Index, Manifest};
use crate::plan::hex;
use crate::random::Stream;

/// A text of some 80 words that no other number has.
fn text(n: u64) -> String {
    let stream = Stream::new(n, "text");
    let word = |i: u64| {
        let syllables = ["ka", "lo", "mi", "ne", "ru", "sa", "to", "vi"];
        let pick = |k| syllables[stream.below(3 * i + k, 8) as usize];
        format!("{}{}{}", pick(0), pick(1), pick(2))
    };
    let words: Vec<String> = (0..80).map(word).collect();
    format!("{}.", words.join(" "))
}

fn jsonl(texts: &[String]) -> String {
    texts.iter().map(|text| serde_json::json!({ "text": text }).to_string() + "\n").collect()
}

/// Two domains: 300 documents with copies, and 60 texts of which some lie in the first too.
fn corpus(dir: &Path) {
    let mut web: Vec<String> = (0..300).map(text).collect();
    // Equal but for case; nearly equal; equal.
    web.push(text(5).to_uppercase());
    web.push(format!("{} And so on.", text(6)));
    web.push(text(7));
    // Short.
    web.push("too short".to_owned());
    fs::create_dir_all(dir.join("web")).unwrap();
    fs::write(dir.join("web/a.jsonl"), jsonl(&web[..100])).unwrap();
    fs::write(dir.join("web/b.jsonl"), jsonl(&web[100..])).unwrap();
    let books: Vec<String> = (290..350).map(text).collect();
    fs::write(dir.join("books.jsonl"), jsonl(&books)).unwrap();
}

const RECIPE: &str = r#"
name = "small"
tokenizer = "bytes"
held_out = 0.1
[domain.web]
read = { jsonl = ["web/*.jsonl"] }
filters = [{ gopher-quality = { words = [20, 1000], stop_words_least = 0 } }]
[domain.books]
read = { jsonl = ["books.jsonl"] }
"#;

/// Prepares a recipe with so many threads.
fn prepare(dir: &Path, recipe: &str, name: &str, workers: usize) -> Manifest {
    let path = dir.join(format!("{name}.toml"));
    fs::write(&path, recipe).unwrap();
    let out = dir.join(name);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                let work = Work::open(&out, &path).unwrap();
                assert!(work.work(&|_, _| (), &|| false).unwrap());
            });
        }
    });
    Work::finished(&out).unwrap().unwrap()
}

/// Every file of a dataset with its hash.
fn files(dir: &Path) -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    let mut open = vec![dir.to_owned()];
    while let Some(at) = open.pop() {
        for entry in fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(dir).unwrap().display().to_string();
                out.insert(name, hex(&sha2::Digest::finalize(hashed(&path))));
            }
        }
    }
    out
}

fn hashed(path: &Path) -> sha2::Sha256 {
    use sha2::Digest as _;
    sha2::Sha256::new().chain_update(fs::read(path).unwrap())
}

/// The texts of a set of bytes, document by document.
fn texts(dir: &Path, shards: &[crate::corpus::Shard]) -> Vec<String> {
    let mut out = Vec::new();
    for shard in shards {
        let index = Index::decode(&fs::read(dir.join(&shard.index.file)).unwrap()).unwrap();
        let bytes = fs::read(dir.join(&shard.file.file)).unwrap();
        let mut ids = bytes[shard.offset as usize..].as_chunks::<2>().0.iter();
        for length in index.lengths {
            let document: Vec<u8> = ids
                .by_ref()
                .take(length as usize)
                .map(|id| u16::from_le_bytes(*id) as u8)
                .collect();
            assert_eq!(document.last(), Some(&0));
            out.push(String::from_utf8(document[..document.len() - 1].to_vec()).unwrap());
        }
    }
    out
}

#[test]
fn copies_go_rules_hold_and_what_is_held_out_is_never_trained_on() {
    let dir = tempfile::tempdir().unwrap();
    corpus(dir.path());
    let manifest = prepare(dir.path(), RECIPE, "small", 1);
    let out = dir.path().join("small");
    assert!(!out.join("work").exists());
    let [web, books] = &manifest.domains[..] else { panic!() };
    let train: Vec<String> =
        [web, books].iter().flat_map(|d| texts(&out, &d.train.shards)).collect();
    let held: Vec<String> = [web, books]
        .iter()
        .flat_map(|d| texts(&out, &d.held_out_raw.as_ref().unwrap().shards))
        .collect();
    assert!(held.len() > 15 && held.len() < 70, "{}", held.len());
    assert!(held.iter().all(|text| !train.contains(text)));
    assert!(!train.contains(&"too short".to_owned()));
    // 350 different texts; of each one stays, in the first domain that has it.
    for n in 0..350 {
        let there = train.iter().filter(|t| t.contains(&text(n)) || **t == text(n).to_uppercase());
        let held_out = held.contains(&text(n));
        let copies = there.count();
        assert!(copies == usize::from(!held_out) || (held_out && copies == 0), "{n}: {copies}");
    }
    let in_books = texts(&out, &books.train.shards);
    assert!((290..300).all(|n| !in_books.contains(&text(n))));
    let card: Card = serde_json::from_slice(&fs::read(out.join(CARD)).unwrap()).unwrap();
    assert_eq!(card.domains[0].removed["too-few-words"].documents, 1);
    assert!(card.copies.clusters >= 3 && card.id == manifest.id);
    assert_eq!(manifest.rules["gopher-quality"] % 100, 1);
}

#[test]
fn the_bytes_do_not_depend_on_workers_or_on_being_cut() {
    let dir = tempfile::tempdir().unwrap();
    corpus(dir.path());
    prepare(dir.path(), RECIPE, "one", 1);
    let want = files(&dir.path().join("one"));
    assert!(want.len() > 12, "{want:?}");
    prepare(dir.path(), RECIPE, "many", 4);
    let renamed = |files: BTreeMap<String, String>| files;
    assert_eq!(renamed(files(&dir.path().join("many"))), want);
    // Cut after every single unit, by another process each time.
    let path = dir.path().join("one.toml");
    let out = dir.path().join("cut");
    for _ in 0..100 {
        let work = Work::open(&out, &path).unwrap();
        let mut queue = Queue::default();
        match queue.next(&work).unwrap() {
            Next::Take(stage, unit, lease) => {
                // Half of the files of a unit that was cut.
                let stray = work.file(stage.name(), unit, "documents");
                fs::create_dir_all(stray.parent().unwrap()).unwrap();
                fs::write(stray, b"half").unwrap();
                drop(lease);
                let Next::Take(again, same, lease) = Queue::default().next(&work).unwrap() else {
                    panic!("a unit whose holder is gone is free")
                };
                assert_eq!((again, same), (stage, unit));
                work.perform(stage, unit, &|_| ()).unwrap();
                drop(lease);
            }
            Next::Wait => panic!("nobody holds anything"),
            Next::Done => break,
        }
    }
    assert_eq!(files(&out), want);
}

#[test]
fn treatments_of_one_source_have_the_same_held_out_text() {
    let dir = tempfile::tempdir().unwrap();
    corpus(dir.path());
    let filtered = prepare(dir.path(), RECIPE, "filtered", 1);
    let raw = RECIPE
        .replace("filters = [{ gopher-quality = { words = [20, 1000], stop_words_least = 0 } }]", "copies = 8")
        .replace("held_out = 0.1\n", "held_out = 0.1\ndedup = { exact = false, near = false }\ndecontaminate = { action = \"ignore\" }\n");
    assert!(raw.contains("copies = 8") && raw.contains("ignore"));
    let raw = prepare(dir.path(), &raw, "raw", 2);
    for (one, two) in filtered.domains.iter().zip(&raw.domains) {
        let [one, two] = [one, two].map(|d| d.held_out_raw.clone().unwrap());
        assert_eq!((one.raw_sha256, one.tokens), (two.raw_sha256, two.tokens));
    }
    let web = &raw.domains[0];
    assert_eq!(web.train.documents % 8, 0);
    assert!(web.train.documents > 8 * filtered.domains[0].train.documents);
    assert_ne!(raw.id, filtered.id);
}

#[test]
fn what_is_to_be_measured_is_not_trained_on() {
    let dir = tempfile::tempdir().unwrap();
    corpus(dir.path());
    let words = text(11);
    fs::write(dir.path().join("items.txt"), format!("What follows? {words}")).unwrap();
    let with = |action: &str| {
        RECIPE.replace(
            "[domain.web]",
            &format!(
                "[decontaminate]\nagainst = [\"items.txt\"]\naction = \"{action}\"\n[domain.web]"
            ),
        )
    };
    let trained_on = |name: &str, action: &str| {
        let manifest = prepare(dir.path(), &with(action), name, 1);
        texts(&dir.path().join(name), &manifest.domains[0].train.shards).contains(&words)
    };
    let held_out = {
        let manifest = prepare(dir.path(), RECIPE, "plain", 1);
        !texts(&dir.path().join("plain"), &manifest.domains[0].train.shards).contains(&words)
    };
    assert!(!held_out, "the text of this test must not be held out");
    assert!(!trained_on("dropped", "drop"));
    assert!(trained_on("reported", "report"));
    let card: Card =
        serde_json::from_slice(&fs::read(dir.path().join("reported").join(CARD)).unwrap()).unwrap();
    assert_eq!(card.domains[0].contaminated, 1);
}

#[test]
fn a_changed_recipe_or_input_is_refused_while_work_is_unfinished() {
    let dir = tempfile::tempdir().unwrap();
    corpus(dir.path());
    let path = dir.path().join("small.toml");
    fs::write(&path, RECIPE).unwrap();
    let out = dir.path().join("small");
    Work::open(&out, &path).unwrap();
    Work::open(&out, &path).unwrap();
    fs::write(&path, RECIPE.replace("0.1", "0.2")).unwrap();
    let error = Work::open(&out, &path).unwrap_err().to_string();
    assert!(error.contains("the recipe changed"), "{error}");
    fs::write(&path, RECIPE).unwrap();
    fs::write(dir.path().join("books.jsonl"), jsonl(&[text(1)])).unwrap();
    let error = Work::open(&out, &path).unwrap_err().to_string();
    assert!(error.contains("the input changed"), "{error}");
}

#[test]
fn input_that_cannot_be_read_fails_its_unit_by_name_and_the_command_again_tries_it() {
    let dir = tempfile::tempdir().unwrap();
    corpus(dir.path());
    let good = fs::read(dir.path().join("books.jsonl")).unwrap();
    let bad = "{\"text\": \"torn".repeat(good.len() / 14 + 1);
    fs::write(dir.path().join("books.jsonl"), &bad[..good.len()]).unwrap();
    let path = dir.path().join("small.toml");
    fs::write(&path, RECIPE).unwrap();
    let work = Work::open(&dir.path().join("small"), &path).unwrap();
    let error = work.work(&|_, _| (), &|| false).unwrap_err().to_string();
    assert!(error.contains("books.jsonl"), "{error}");
    fs::write(dir.path().join("books.jsonl"), good).unwrap();
    let work = Work::open(&dir.path().join("small"), &path).unwrap();
    work.retry().unwrap();
    assert!(work.work(&|_, _| (), &|| false).unwrap());
}

#[test]
fn worker_after_worker_that_dies_over_a_unit_ends_with_its_name() {
    let dir = tempfile::tempdir().unwrap();
    corpus(dir.path());
    let path = dir.path().join("small.toml");
    fs::write(&path, RECIPE).unwrap();
    let work = Work::open(&dir.path().join("small"), &path).unwrap();
    for _ in 0..3 {
        let Next::Take(Stage::Judge, 0, lease) = Queue::default().next(&work).unwrap() else {
            panic!()
        };
        drop(lease);
    }
    // The others are done.
    let error = work.work(&|_, _| (), &|| false).unwrap_err().to_string();
    assert!(error.contains("3 workers ended over it") && error.contains("a.jsonl"), "{error}");
    assert!(work.file("judge", 1, "json").exists());
    // Kills of earlier commands do not count against the unit.
    for _ in 0..2 {
        work.retry().unwrap();
        let Next::Take(Stage::Judge, 0, lease) = Queue::default().next(&work).unwrap() else {
            panic!()
        };
        drop(lease);
    }
    work.retry().unwrap();
    assert!(work.work(&|_, _| (), &|| false).unwrap());
}
