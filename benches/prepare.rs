//! How fast is text judged, and what is decided? A table of MB/s on one core.
//!
//! ```sh
//! cargo bench --bench prepare -- FILE.jsonl                      # the table
//! cargo bench --bench prepare -- FILE.jsonl --workers 2 --json   # one line of JSON
//! cargo bench --bench prepare -- FILE.jsonl --stage minhash      # one row of it
//! cargo bench --bench prepare -- FILE.jsonl --bpe 32768          # and BPE, trained on a third of it
//! cargo bench --bench prepare -- FILE.jsonl --write OUT.jsonl    # decisions and signatures, a line for each document
//! ```
//!
//! Each line of the file is an object with `text`. Every stage is given texts in memory, as many times as fill a
//! second; the shortest time counts. MB are 10^6 bytes of UTF-8.

use std::collections::HashSet;
use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use isoflop::data::encode::{EncodeError, Quick, Slow as _};
use isoflop::prepare::filter::Verdict;
use isoflop::prepare::language::Detector;
use isoflop::prepare::minhash::Signer;
use isoflop::prepare::{Text, exact_key, ngrams, normalise};
use isoflop::spec::{Filter, Language, Near};
use serde_json::{Value, json};
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::normalizers::NFC;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{Tokenizer, TokenizerBuilder};

type Failure = Box<dyn std::error::Error>;

/// Names of the filters that are timed together: they share lines and words.
const TOGETHER: [&str; 3] = ["gopher-repetition", "gopher-quality", "fineweb"];
/// Words of an n-gram that is looked for.
const NGRAM: usize = 12;
/// Shortest time of a stage, all repetitions together [s].
const LEAST: f64 = 1.0;

fn main() -> Result<(), Failure> {
    let mut words = std::env::args().skip(1).filter(|word| word != "--bench");
    let (mut file, mut workers, mut write, mut as_json) = (None, 1, None, false);
    let (mut only, mut vocab) = (None, 0);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--workers" => workers = words.next().ok_or("--workers N")?.parse()?,
            "--write" => write = Some(words.next().ok_or("--write FILE")?),
            "--json" => as_json = true,
            "--bpe" => vocab = words.next().ok_or("--bpe VOCABULARY")?.parse()?,
            "--stage" => only = Some(words.next().ok_or("--stage NAME")?),
            _ => file = Some(word),
        }
    }
    let file = file.ok_or("want a JSONL file whose lines have `text`")?;
    let texts = read(&file)?;
    if let Some(out) = write {
        return decide(&texts, &out);
    }
    let bytes: usize = texts.iter().map(String::len).sum();
    let mut stages = stages(&texts);
    if vocab > 0 {
        stages.extend(encoders(&texts, vocab)?);
    }
    let mut told = serde_json::Map::new();
    if !as_json {
        println!("{} documents, {:.1} MB, {workers} at work", texts.len(), bytes as f64 / 1e6);
    }
    for (name, stage) in &stages {
        if only.as_ref().is_some_and(|only| only != name) {
            continue;
        }
        let rate = bytes as f64 / 1e6 / seconds(&texts, workers, stage);
        if as_json {
            told.insert((*name).to_owned(), json!(rate));
        } else {
            println!("{name:<28}{rate:>10.1} MB/s");
        }
    }
    if as_json {
        println!(
            "{}",
            json!({ "documents": texts.len(), "bytes": bytes, "workers": workers, "rates": told })
        );
    }
    Ok(())
}

fn read(file: &str) -> Result<Vec<String>, Failure> {
    let lines = BufReader::new(std::fs::File::open(file)?).lines();
    lines
        .map(|line| {
            let document: Value = serde_json::from_str(&line?)?;
            Ok(document["text"].as_str().ok_or("a line without `text`")?.to_owned())
        })
        .collect()
}

type Stage = Box<dyn Fn(&str) -> u64 + Sync>;

fn stages(texts: &[String]) -> Vec<(&'static str, Stage)> {
    let together = TOGETHER.map(|name| Filter::named(name).expect("a filter of that name"));
    let c4 = Filter::named("c4").expect("a filter of that name");
    let signer = Signer::new(Near::default());
    let english = Language { keep: vec!["en".to_owned()], at_least: 0.65, model: None };
    let held_out = held_out(texts);
    vec![
        (
            "filters",
            Box::new(move |text: &str| {
                let text = Text::new(text);
                together.iter().filter(|filter| filter.judge(&text) == Verdict::Keep).count() as u64
            }) as Stage,
        ),
        (
            "c4",
            Box::new(move |text: &str| {
                u64::from(matches!(c4.judge(&Text::new(text)), Verdict::Remove(_)))
            }),
        ),
        (
            "minhash",
            Box::new(move |text: &str| {
                signer.sign(&normalise(text)).map_or(0, |s| signer.keys(&s)[0])
            }),
        ),
        ("exact", Box::new(|text: &str| exact_key(&normalise(text)) as u64)),
        (
            "decontamination",
            Box::new(move |text: &str| {
                let hashes = ngrams::hashes(&normalise(text), NGRAM);
                hashes.filter(|hash| held_out.contains(hash)).count() as u64
            }),
        ),
        (
            "whatlang",
            Box::new(move |text: &str| {
                u64::from(Detector::Whatlang.judge(text, &english).1.is_some())
            }),
        ),
    ]
}

/// BPE by the crate and by the quick way in front of it, trained on every third document; their ids are compared first.
fn encoders(texts: &[String], vocab: usize) -> Result<Vec<(&'static str, Stage)>, Failure> {
    let bytes = ByteLevel::new(false, false, true);
    let mut bpe = TokenizerBuilder::new()
        .with_model(BPE::default())
        .with_normalizer(None::<NFC>)
        .with_pre_tokenizer(Some(bytes))
        .with_post_processor(Some(bytes))
        .with_decoder(Some(bytes))
        .build()
        .map_err(|e| e.to_string())?;
    let alphabet = ByteLevel::alphabet().into_iter().collect();
    let mut trainer = BpeTrainer::builder().show_progress(false).vocab_size(vocab);
    trainer = trainer.initial_alphabet(alphabet).min_frequency(2);
    let third: Vec<String> = texts.iter().step_by(3).cloned().collect();
    bpe.train(&mut trainer.build(), third.into_iter()).map_err(|e| e.to_string())?;
    let tokenizer = || -> Result<Tokenizer, Failure> {
        let file = serde_json::to_string(&bpe)?;
        file.parse().map_err(|e: EncodeError| e.to_string().into())
    };
    let (slow, quick) = (tokenizer()?, Quick::of(tokenizer()?).map_err(|e| e.to_string())?);
    let begin = processor();
    let mut ids = Vec::new();
    for text in texts {
        quick.encode(text, &mut ids).map_err(|e| e.to_string())?;
    }
    let took = processor().zip(begin).map_or(f64::NAN, |(end, begin)| end - begin);
    let mut at = 0;
    for text in texts {
        let want = slow.ids(text).map_err(|e| e.to_string())?;
        if ids.get(at..at + want.len()) != Some(&want[..]) {
            return Err(format!("other ids than the crate's: {text:?}").into());
        }
        at += want.len();
    }
    let bytes: usize = texts.iter().map(String::len).sum();
    println!("{at} ids equal; first encoding {:.1} MB/s", bytes as f64 / 1e6 / took);
    Ok(vec![
        (
            "bpe",
            Box::new(move |text: &str| {
                let mut ids = Vec::new();
                quick.encode(text, &mut ids).map_or(0, |()| ids.len() as u64)
            }) as Stage,
        ),
        (
            "bpe by the crate",
            Box::new(move |text: &str| slow.ids(text).map_or(0, |ids| ids.len() as u64)),
        ),
    ])
}

/// N-grams of every hundredth document, looked for in all.
fn held_out(texts: &[String]) -> HashSet<u64> {
    let some = texts.iter().step_by(100);
    some.flat_map(|text| ngrams::hashes(&normalise(text), NGRAM).collect::<Vec<_>>()).collect()
}

/// The shortest time that all texts took [s]. One worker is timed by the kernel's account of its thread, where there is
/// one, so that other work on the machine counts little; several by the clock.
fn seconds(texts: &[String], workers: usize, stage: &Stage) -> f64 {
    let (mut best, mut all) = (f64::INFINITY, 0.0);
    while all < LEAST {
        let (begin, used) = (Instant::now(), processor());
        if workers == 1 {
            let sum = texts.iter().fold(0_u64, |sum, text| sum.wrapping_add(stage(text)));
            std::hint::black_box(sum);
        } else {
            together(texts, workers, stage);
        }
        let clock = begin.elapsed().as_secs_f64();
        let took = match (used, processor()) {
            (Some(before), Some(after)) if workers == 1 => after - before,
            _ => clock,
        };
        best = best.min(took);
        all += clock;
    }
    best
}

/// Time that this thread was at work [s].
fn processor() -> Option<f64> {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let nanoseconds: f64 = told.split(' ').next()?.parse().ok()?;
    Some(nanoseconds / 1e9)
}

fn together(texts: &[String], workers: usize, stage: &Stage) {
    const SOME: usize = 16;
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                let mut sum = 0_u64;
                loop {
                    let at = next.fetch_add(SOME, Ordering::Relaxed);
                    let Some(rest) = texts.get(at..) else { return std::hint::black_box(sum) };
                    let some = rest.iter().take(SOME);
                    sum = some.fold(sum, |sum, text| sum.wrapping_add(stage(text)));
                }
            });
        }
    });
}

/// Writes what each filter says of each document, and its signatures.
fn decide(texts: &[String], out: &str) -> Result<(), Failure> {
    let names = [TOGETHER[0], TOGETHER[1], TOGETHER[2], "c4"];
    let filters = names.map(|name| Filter::named(name).expect("a filter of that name"));
    let signer = Signer::new(Near::default());
    let mut file = BufWriter::new(std::fs::File::create(out)?);
    for text in texts {
        let counted = Text::new(text);
        let mut line = serde_json::Map::new();
        for filter in &filters {
            let said = match filter.judge(&counted) {
                Verdict::Keep => Value::Null,
                Verdict::Edit(edited) => json!({ "edit": edited }),
                Verdict::Remove(removed) => json!(removed.rule),
            };
            line.insert(filter.name().to_owned(), said);
        }
        let normal = normalise(text);
        line.insert("words".to_owned(), json!(counted.word_count()));
        line.insert("signature".to_owned(), json!(signer.sign(&normal)));
        line.insert("by_space".to_owned(), json!(signer.sign_by_space(&normal)));
        writeln!(file, "{}", Value::Object(line))?;
    }
    Ok(file.flush()?)
}
