//! The tokenizer of a dataset: bytes, trained on a sample of what is trained on, or given.

use std::cell::Cell;

use serde::{Deserialize, Serialize};

use super::encoder::{Encoder, train};
use super::judge::Judged;
use super::work::write_whole;
use super::{DataError, Work, resolve};
use crate::corpus::manifest::{FileFacts, Manifest, Tokenizer};
use crate::error::InputError;
use crate::fs::read_file;
use crate::spec::RecipeTokenizer;

const STAGE: &str = "tokenizer";
/// Its name in the dataset.
const FILE: &str = "tokenizer.json";
/// Longest file of a tokenizer that is read [bytes].
const MAX_FILE: u64 = 64 << 20;

/// What was made.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Made {
    tokenizer: Tokenizer,
}

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
            let json = train(*vocab, &mut |each| sampled(work, sample.0, each))?;
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
    work.done(STAGE, 0, &Made { tokenizer })
}

/// Training documents that stay, as many as the sample takes: those of the smallest keys, so that the sample does not
/// depend on the order of files.
fn sampled(
    work: &Work,
    sample: u64,
    each: &mut dyn FnMut(&str) -> Result<(), InputError>,
) -> Result<(), DataError> {
    let mut keys = Vec::new();
    for unit in 0..work.units.len() {
        let dropped = resolve::dropped(work, unit)?;
        let all = Judged::all(work, unit)?;
        let stays = all.iter().enumerate().filter(|(number, judged)| {
            judged.code == 0 && !judged.held_out && !dropped.contains_key(&(*number as u32))
        });
        keys.extend(stays.map(|(number, judged)| (judged.key, judged.bytes, unit, number as u32)));
    }
    keys.sort_unstable();
    let mut sum = 0;
    let taken = keys.iter().take_while(|(_, bytes, ..)| {
        let before = sum;
        sum += u64::from(*bytes);
        before < sample
    });
    let mut by_unit = vec![std::collections::HashSet::new(); work.units.len()];
    for (_, _, unit, number) in taken {
        by_unit[*unit].insert(*number);
    }
    for (unit, numbers) in by_unit.iter().enumerate().filter(|(_, numbers)| !numbers.is_empty()) {
        let left = Cell::new(numbers.len());
        work.documents(unit, &|_| (), &mut |number, document| {
            if left.get() > 0 && numbers.contains(&number) {
                left.set(left.get() - 1);
                each(&document.text)?;
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// What the manifest says of it.
pub(super) fn made(work: &Work) -> Result<Tokenizer, DataError> {
    Ok(work.result::<Made>(STAGE, 0)?.tokenizer)
}

/// What turns text into its ids.
pub(super) fn encoder(work: &Work) -> Result<Encoder, DataError> {
    match made(work)?.file {
        None => Ok(Encoder::bytes()),
        Some(file) => Ok(Encoder::from_json(&read_file(&work.dir.join(&file.file), MAX_FILE)?)?),
    }
}
