//! Every reader of bytes that we did not write, on bytes that nobody would write: an answer or an error, never
//! a panic. Mutants of a committed corpus by a fixed seed, so that a failure repeats; a mutant that ever
//! failed becomes a file of the corpus.
//!
//! The long tier: `ISOFLOP_FUZZ=1000000 cargo test --release --test fuzz`.

use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use isoflop::fs::Os;
use isoflop::import;
use isoflop::ledger::check::check;
use isoflop::ledger::log::read_attempts;
use isoflop::plan::{DataFacts, Plan};
use isoflop::random::Stream;
use isoflop::spec::{Source, Spec};

/// Mutants of each target in the test command.
const MUTANTS: u64 = 4000;

/// What is put into texts now and then: limits, other alphabets, our own words in wrong places.
const WORDS: [&str; 24] = [
    "nan",
    "inf",
    "-0",
    "1e999",
    "-1",
    "0",
    "18446744073709551616",
    "9223372036854775807",
    "1e-320",
    "[[",
    "]]",
    "{",
    "}",
    "\"",
    "'''",
    "\\u0000",
    "\u{feff}",
    "é",
    "=cmd|'/C'!A0",
    "../",
    "\n\n",
    "\r",
    ",",
    "name",
];

fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(target);
    let mut paths: Vec<PathBuf> = fs::read_dir(&dir).unwrap().map(|e| e.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{target} has no corpus");
    paths.into_iter().map(|p| (p.clone(), fs::read(p).unwrap())).collect()
}

/// One to eight small changes: bits, cuts, copies of other places, words.
fn mutate(mut bytes: Vec<u8>, stream: Stream) -> Vec<u8> {
    let mut n = 0;
    let mut below = |bound: usize| {
        n += 1;
        stream.below(n, bound.max(1) as u64) as usize
    };
    for _ in 0..=below(8) {
        let at = below(bytes.len());
        match below(7) {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << below(8),
            1 => bytes.truncate(at),
            2 => {
                let to = (at + below(40)).min(bytes.len());
                bytes.drain(at..to);
            }
            3 => {
                let from = below(bytes.len());
                let part = bytes[from..(from + below(60)).min(bytes.len())].to_vec();
                bytes.splice(at..at, part);
            }
            4 => {
                let digits: Vec<usize> =
                    (0..bytes.len()).filter(|i| bytes[*i].is_ascii_digit()).collect();
                if !digits.is_empty() {
                    bytes[digits[below(digits.len())]] = b'0' + below(10) as u8;
                }
            }
            _ => {
                let word = WORDS[below(WORDS.len())];
                bytes.splice(at..at, word.bytes());
            }
        }
    }
    bytes
}

/// Gives every file of the corpus and many mutants to `target`.
fn fuzz(name: &str, target: impl Fn(&[u8]) + std::panic::RefUnwindSafe) {
    let most = std::env::var("ISOFLOP_FUZZ").ok().and_then(|n| n.parse().ok()).unwrap_or(MUTANTS);
    let files = corpus(name);
    for (path, bytes) in &files {
        assert!(catch_unwind(|| target(bytes)).is_ok(), "{} panics", path.display());
    }
    for n in 0..most {
        let (path, bytes) = &files[n as usize % files.len()];
        let mutant = mutate(bytes.clone(), Stream::new(n, name));
        if catch_unwind(|| target(&mutant)).is_err() {
            let file = std::env::temp_dir().join(format!("isoflop-fuzz-{name}-{n}"));
            fs::write(&file, &mutant).unwrap();
            panic!("mutant {n} of {} panics: {}", path.display(), file.display());
        }
    }
}

#[test]
fn sweep_files() {
    let facts = DataFacts {
        source: Source::PdProse,
        vocab: 256,
        train_tokens: Some(1_000_000),
        held_out_tokens: 100_000,
        sha256: "00".into(),
        bytes_per_token: Some(1.0),
        entropy: None,
    };
    fuzz("sweep", |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return };
        match Spec::parse(text) {
            Err(error) => assert!(!error.render("x.toml", text).is_empty()),
            // What is accepted can be planned.
            Ok(spec) => {
                let plan = Plan::new(&spec, &facts);
                assert!(plan.cells.iter().all(|c| c.recipe.flops() > 0.0));
            }
        }
    });
}

#[test]
fn tables_of_runs() {
    fuzz("table", |bytes| match import::parse(bytes, "x.csv", &import::Options::default()) {
        Err(error) => assert!(!error.to_string().is_empty()),
        Ok(read) => {
            for p in &read.table.points {
                let sound = [p.params, p.tokens, p.flops, p.loss];
                assert!(sound.iter().all(|v| v.is_finite() && *v > 0.0), "{p:?}");
            }
        }
    });
}

/// As a file of an attempt, read by all that read records.
fn record(file: &str, bytes: &[u8]) {
    let dir = tempfile::tempdir().unwrap();
    let cell = dir.path().join("cells/0123456789abcdef");
    let attempt = cell.join("attempt-0001");
    let path = attempt.join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
    assert_eq!(read_attempts(&Os, &cell).unwrap().len(), 1);
    check(&Os, dir.path()).unwrap();
}

#[test]
fn run_logs() {
    fuzz("log", |bytes| record("run.log", bytes));
}

#[test]
fn manifests_of_checkpoints() {
    fuzz("manifest", |bytes| record("checkpoint-000000000007/manifest.json", bytes));
}

/// Lines whose checksum is right say what they like; the reader must still not trust them.
#[test]
fn run_logs_with_right_checksums() {
    fuzz("log", |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let bodies = text.lines().filter_map(|line| line.rsplit_once(",\"crc\":"));
        let seal =
            |body: &str| format!("{body},\"crc\":\"{:08x}\"}}\n", crc32fast::hash(body.as_bytes()));
        let sealed = bodies.map(|(body, _)| seal(body)).collect::<Vec<_>>().concat();
        record("run.log", sealed.as_bytes());
    });
}
