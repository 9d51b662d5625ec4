//! Mutants of a committed corpus by a fixed seed, and how many of them.

use std::fs;
use std::panic::{RefUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use isoflop::random::Stream;
use serde_json::{Value, json};

/// Mutants of a target in the test command, over what one costs.
const MUTANTS: u64 = 4000;
/// Failures of one target that are told.
const TOLD: usize = 5;

/// Every target, and what one of its mutants costs beside one of a sweep file.
pub(crate) const TARGETS: [(&str, u64); 31] = [
    ("backtest", 2),
    ("dataset", 8),
    ("dataset, sealed", 8),
    ("documents, jsonl", 40),
    ("documents, jsonl.gz", 40),
    ("documents, jsonl.zst", 40),
    ("documents, parquet", 40),
    ("documents, txt", 40),
    ("fit", 40),
    ("forecast", 2),
    ("forecast, sealed", 2),
    ("index", 2),
    ("log", 4),
    ("log, sealed", 4),
    ("manifest", 8),
    ("manifest, sealed", 8),
    ("plan", 4),
    ("plan, named", 8),
    ("price", 4),
    ("recipe", 2),
    ("runner", 20),
    ("shard", 2),
    ("state", 20),
    ("steps", 8),
    ("sweep", 1),
    ("table", 4),
    ("text", 20),
    ("tokenizer", 10),
    ("tokenizer.json", 40),
    ("tune", 4),
    ("weights", 20),
];

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

/// Numbers at the ends of what a number can be.
const NUMBERS: [f64; 14] =
    [0.0, -0.0, 1.0, -1.0, 0.5, 2.0, 1e-300, -1e-300, 1e300, -1e300, 5e-324, 1.7e308, 1e16, 1e-9];

/// The files of `tests/corpus/<target>`.
pub(crate) fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(target);
    let mut paths: Vec<PathBuf> = fs::read_dir(&dir).unwrap().map(|e| e.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{target} has no corpus");
    paths.into_iter().map(|p| (p.clone(), fs::read(p).unwrap())).collect()
}

/// Numbers below a bound, one after another.
struct Draw(Stream, u64);

impl Draw {
    fn below(&mut self, bound: usize) -> usize {
        self.1 += 1;
        self.0.below(self.1, bound.max(1) as u64) as usize
    }

    fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}

/// One to eight small changes: bits, cuts, copies of other places, words. JSON is changed as JSON every second
/// time, so that readers see more than its grammar.
fn mutate(bytes: &[u8], stream: Stream) -> Vec<u8> {
    let mut draw = Draw(stream, 0);
    if draw.below(2) == 0
        && let Ok(mut value) = serde_json::from_slice::<Value>(bytes)
    {
        for _ in 0..=draw.below(3) {
            edit(&mut value, &mut draw);
        }
        return serde_json::to_vec(&value).unwrap();
    }
    let mut bytes = bytes.to_vec();
    for _ in 0..=draw.below(8) {
        let at = draw.below(bytes.len());
        match draw.below(7) {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << draw.below(8),
            1 => bytes.truncate(at),
            2 => {
                let to = (at + draw.below(40)).min(bytes.len());
                bytes.drain(at..to);
            }
            3 => {
                let from = draw.below(bytes.len());
                let part = bytes[from..(from + draw.below(60)).min(bytes.len())].to_vec();
                bytes.splice(at..at, part);
            }
            4 => {
                let digits: Vec<usize> =
                    (0..bytes.len()).filter(|i| bytes[*i].is_ascii_digit()).collect();
                if !digits.is_empty() {
                    bytes[*draw.of(&digits)] = b'0' + draw.below(10) as u8;
                }
            }
            _ => {
                let word = draw.of(&WORDS);
                bytes.splice(at..at, word.bytes());
            }
        }
    }
    bytes
}

/// Changes one place of a value: goes down at random, and stops now and then on the way.
fn edit(value: &mut Value, draw: &mut Draw) {
    let stops = draw.below(8) == 0;
    match value {
        Value::Array(items) if !items.is_empty() => {
            let at = draw.below(items.len());
            match draw.below(4) {
                0 if stops => items.truncate(at),
                1 if stops => items.push(items[at].clone()),
                2 if stops => items.reverse(),
                _ if stops => drop(items.remove(at)),
                _ => edit(&mut items[at], draw),
            }
        }
        Value::Object(fields) if !fields.is_empty() => {
            let keys: Vec<String> = fields.keys().cloned().collect();
            let (key, other) = (draw.of(&keys), draw.of(&keys));
            match draw.below(3) {
                0 if stops => drop(fields.remove(key)),
                1 if stops => drop(fields.insert(key.clone(), fields[other].clone())),
                2 if stops => drop(fields.insert(key.clone(), json!([]))),
                _ => edit(&mut fields[key], draw),
            }
        }
        Value::Number(n) => {
            let v = n.as_f64().unwrap_or(0.0);
            *value = match draw.below(8) {
                0 => json!(*draw.of(&NUMBERS)),
                1 => json!(-v),
                2 => json!(v * 1e3),
                3 => json!(v * 0.5),
                4 => json!(v * (1.0 + 1e-12)),
                5 => json!(u64::MAX - draw.below(2) as u64),
                6 => json!(draw.below(1000)),
                _ => Value::Null,
            };
        }
        Value::String(text) => *text = draw.of(&WORDS).to_string(),
        other => {
            *other = draw
                .of(&[json!(1), json!(0.5), json!(""), json!([]), json!(true), json!({})])
                .clone();
        }
    }
}

/// Gives the corpus in `tests/corpus/<files>` and many mutants of it to a target.
pub(crate) fn fuzz(name: &str, files: &str, target: impl Fn(&[u8]) + RefUnwindSafe) {
    fuzz_files(name, &corpus(files), target);
}

/// The same of files that are made.
///
/// `ISOFLOP_FUZZ` is the number of mutants of a cheap target, `ISOFLOP_FUZZ_SECONDS` the time of all targets
/// together, of one thread; with neither the test command's.
pub(crate) fn fuzz_files(
    name: &str,
    files: &[(PathBuf, Vec<u8>)],
    target: impl Fn(&[u8]) + RefUnwindSafe,
) {
    let asked = |key: &str| std::env::var(key).ok().map(|n| n.parse::<u64>().expect("a number"));
    let cost = TARGETS.iter().find(|t| t.0 == name).expect("every target is in the list").1;
    let most = asked("ISOFLOP_FUZZ").unwrap_or(MUTANTS).div_ceil(cost);
    let time = asked("ISOFLOP_FUZZ_SECONDS")
        .map(|all| Duration::from_secs_f64(all as f64 / TARGETS.len() as f64));
    let begin = Instant::now();
    for (path, bytes) in files {
        assert!(catch_unwind(|| target(bytes)).is_ok(), "{} fails", path.display());
    }
    let (mut n, mut failed) = (0, Vec::new());
    while time.map_or(n < most, |time| begin.elapsed() < time) && failed.len() < TOLD {
        let (path, bytes) = &files[n as usize % files.len()];
        let mutant = mutate(bytes, Stream::new(n, name));
        if catch_unwind(|| target(&mutant)).is_err() {
            let file = std::env::temp_dir().join(format!("isoflop-fuzz-{name}-{n}"));
            fs::write(&file, &mutant).unwrap();
            failed.push(format!("mutant {n} of {}: {}", path.display(), file.display()));
        }
        n += 1;
    }
    println!("{name}: {n} mutants in {:.1} s", begin.elapsed().as_secs_f64());
    assert!(failed.is_empty(), "{name}: {} fail:\n{}", failed.len(), failed.join("\n"));
}

/// Finite numbers only, and every value inside its interval.
pub(crate) fn sound<T: serde::Serialize + std::fmt::Debug>(answer: &T) {
    let text = format!("{answer:?}");
    // What stands in quotes is text, and may be the mutant's own.
    let numbers: String = text.split('"').step_by(2).collect();
    let words = numbers.split(|c: char| !c.is_alphanumeric());
    for word in words {
        assert!(word != "NaN" && word != "inf", "not finite: {text}");
    }
    ordered(&serde_json::to_value(answer).unwrap());
}

fn ordered(value: &Value) {
    if let [Some(v), Some(lo), Some(hi)] = ["value", "lo", "hi"].map(|k| value[k].as_f64()) {
        assert!(lo <= v && v <= hi, "{v} outside {lo} to {hi}");
    }
    match value {
        Value::Object(fields) => fields.values().for_each(ordered),
        Value::Array(items) => items.iter().for_each(ordered),
        _ => {}
    }
}
