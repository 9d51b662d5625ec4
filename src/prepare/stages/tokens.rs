//! The tokenizer of a dataset: bytes, trained on a sample of what is trained on, or given.

use super::encoder::Encoder;
use super::verdicts::{Judged, Verdicts};
use super::work::write_whole;
use super::{DataError, Work};
use crate::corpus::manifest::{FileFacts, Manifest, Tokenizer};
use crate::data::Learner;
use crate::error::InputError;
use crate::fs::read_file;
use crate::spec::RecipeTokenizer;

const STAGE: &str = "tokenizer";
/// Its name in the dataset.
const FILE: &str = "tokenizer.json";
/// Longest file of a tokenizer that is read [bytes].
const MAX_FILE: u64 = 64 << 20;

/// Keys are told apart by so many leading bits when the end of a sample is looked for.
const LEADING: u32 = 16;

/// A document by its key: what comes first is taken first.
type Ranked = (u64, u32, usize, u32);

/// Makes it.
pub(super) fn make(work: &Work) -> Result<(), DataError> {
    let of = |kind: &str, json: &[u8]| -> Result<Tokenizer, DataError> {
        let encoder = Encoder::from_json(json)?;
        Ok(Tokenizer {
            kind: kind.to_owned(),
            file: Some(FileFacts::of(FILE, json)),
            vocab: encoder.vocab(),
            separator: Some(encoder.separator()),
        })
    };
    let tokenizer = match &work.recipe.tokenizer {
        RecipeTokenizer::Bytes => {
            Tokenizer { kind: "bytes".to_owned(), file: None, vocab: 256, separator: Some(0) }
        }
        RecipeTokenizer::Bpe { vocab, sample } => {
            let json = learned(work, sample.0)?.finish(*vocab)?;
            write_whole(&work.dir.join(FILE), &json)?;
            of("bpe", &json)?
        }
        RecipeTokenizer::File(name) => {
            let json = read_file(&work.base.join(name), MAX_FILE)?;
            write_whole(&work.dir.join(FILE), &json)?;
            of("file", &json)?
        }
        RecipeTokenizer::Of(name) => {
            let other = work.base.join(name);
            let manifest: Option<Manifest> = Work::finished(&other)?;
            let tokenizer = manifest.map(|manifest| manifest.tokenizer).ok_or_else(|| {
                InputError::new(
                    format!("`{}` is no prepared dataset", other.display()),
                    "prepare the dataset whose tokenizer is to be taken first",
                )
            })?;
            if let Some(file) = &tokenizer.file {
                let json = read_file(&other.join(&file.file), MAX_FILE)?;
                write_whole(&work.dir.join(FILE), &json)?;
                of(&tokenizer.kind, &json)?
            } else {
                tokenizer
            }
        }
    };
    work.done(STAGE, 0, &tokenizer)
}

/// What is learned from training documents that stay, as many as the sample takes: those of the smallest keys, so that
/// the sample does not depend on the order of files.
fn learned(work: &Work, sample: u64) -> Result<Learner, DataError> {
    let end = end_of_sample(work, sample)?;
    let taken = |ranked: &Ranked| end.is_none_or(|end| *ranked < end);
    let mut learner = Learner::default();
    for unit in 0..work.units.len() {
        let mut left = 0_u64;
        each_staying(work, unit, &mut |ranked| left += u64::from(taken(&ranked)))?;
        if left == 0 {
            continue;
        }
        let mut verdicts = Verdicts::open(work, unit)?;
        work.documents(unit, &|_| (), &mut |number, document| {
            if left > 0
                && let Some(verdict) = verdicts.next()?
                && verdict.stays()
                && taken(&ranked(&verdict.judged, unit, number))
            {
                left -= 1;
                learner.add(&document.text);
            }
            Ok(())
        })?;
    }
    if learner.is_empty() {
        let hint = "the filters remove every document: `--look DOMAIN` shows some";
        return Err(InputError::new("no document is left to train a tokenizer on", hint).into());
    }
    Ok(learner)
}

/// The first document that is not taken; none where all are.
fn end_of_sample(work: &Work, sample: u64) -> Result<Option<Ranked>, DataError> {
    // Bytes of the documents whose keys begin alike, then the documents among which the sample ends.
    let mut bytes = vec![0_u64; 1 << LEADING];
    let leading = |(key, ..): &Ranked| (key >> (64 - LEADING)) as usize;
    for unit in 0..work.units.len() {
        each_staying(work, unit, &mut |ranked| bytes[leading(&ranked)] += u64::from(ranked.1))?;
    }
    let mut sum = 0;
    let ends = bytes.iter().position(|bytes| {
        sum += bytes;
        sum >= sample
    });
    let Some(ends) = ends else { return Ok(None) };
    let mut among = Vec::new();
    for unit in 0..work.units.len() {
        each_staying(work, unit, &mut |ranked| {
            among.extend((leading(&ranked) == ends).then_some(ranked));
        })?;
    }
    among.sort_unstable();
    let mut sum: u64 = bytes[..ends].iter().sum();
    let first = among.into_iter().find(|(_, bytes, ..)| {
        let ended = sum >= sample;
        sum += u64::from(*bytes);
        ended
    });
    // The sample may end with the last of them, and that may be the last of all.
    let after = (ends as u64 + 1).checked_mul(1 << (64 - LEADING));
    Ok(first.or(after.map(|key| (key, 0, 0, 0))))
}

fn ranked(judged: &Judged, unit: usize, number: u32) -> Ranked {
    (judged.key, judged.bytes, unit, number)
}

/// Every document of a unit that is trained on.
fn each_staying(work: &Work, unit: usize, each: &mut dyn FnMut(Ranked)) -> Result<(), DataError> {
    let (mut verdicts, mut number) = (Verdicts::open(work, unit)?, 0);
    while let Some(verdict) = verdicts.next()? {
        if verdict.stays() {
            each(ranked(&verdict.judged, unit, number));
        }
        number += 1;
    }
    Ok(())
}

/// What the manifest says of it.
pub(super) fn made(work: &Work) -> Result<Tokenizer, DataError> {
    work.result(STAGE, 0)
}

/// What turns text into its ids.
pub(super) fn encoder(work: &Work) -> Result<Encoder, DataError> {
    match made(work)?.file {
        None => Ok(Encoder::bytes()),
        Some(file) => Ok(Encoder::from_json(&read_file(&work.dir.join(&file.file), MAX_FILE)?)?),
    }
}
