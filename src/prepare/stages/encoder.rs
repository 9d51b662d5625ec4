//! Text to ids, by bytes or by a `tokenizer.json`.

use std::panic::catch_unwind;

use tokenizers::Tokenizer;

use crate::data::encode::Quick;
use crate::data::{DataError, train_bpe};
use crate::error::InputError;

/// Names of the token after each document, the likeliest first.
const SEPARATORS: [&str; 8] = [
    "<|endoftext|>",
    "<|end_of_text|>",
    "</s>",
    "<eos>",
    "<|eos|>",
    "[EOS]",
    "<|end|>",
    "<|im_end|>",
];

/// What turns text into ids.
pub(super) enum Encoder {
    /// One id a byte.
    Bytes,
    /// By a file, with the id after each document.
    File(Box<Quick<Tokenizer>>, u32),
}

impl Encoder {
    /// One id a byte; 0 stands after each document.
    pub(super) fn bytes() -> Self {
        Self::Bytes
    }

    /// From a `tokenizer.json`.
    pub(super) fn from_json(json: &[u8]) -> Result<Self, InputError> {
        let unusable = |why: String| {
            let hint = "a tokenizer.json as Hugging Face writes it is wanted";
            InputError::new(format!("the tokenizer cannot be used: {why}"), hint)
        };
        // The library panics on merges that do not follow from the vocabulary.
        let read = catch_unwind(|| Tokenizer::from_bytes(json));
        let read =
            read.map_err(|_| unusable("its merges do not follow from its vocabulary".into()))?;
        let tokenizer = read.map_err(|e| unusable(e.to_string()))?;
        let separator = SEPARATORS.iter().find_map(|name| tokenizer.token_to_id(name));
        let Some(separator) = separator else {
            return Err(unusable(format!(
                "it has no token after a document ({})",
                SEPARATORS.join(", ")
            )));
        };
        let quick = Quick::of(tokenizer).map_err(|e| unusable(e.to_string()))?;
        Ok(Self::File(Box::new(quick), separator))
    }

    /// Every id is below this.
    pub(super) fn vocab(&self) -> u32 {
        match self {
            Self::Bytes => 256,
            Self::File(tokenizer, separator) => {
                let highest = tokenizer.slow().get_vocab(true).into_values().max().unwrap_or(0);
                highest.max(*separator) + 1
            }
        }
    }

    /// The id after each document.
    pub(super) fn separator(&self) -> u32 {
        match self {
            Self::Bytes => 0,
            Self::File(_, separator) => *separator,
        }
    }

    /// Adds the ids of a text, without the separator.
    pub(super) fn encode(&self, text: &str, ids: &mut Vec<u32>) -> Result<(), InputError> {
        match self {
            Self::Bytes => ids.extend(text.bytes().map(u32::from)),
            Self::File(tokenizer, _) => {
                tokenizer.encode(text, ids).map_err(|e| {
                    let hint = "try another tokenizer, or tokenizer = \"bytes\"";
                    InputError::new(format!("the tokenizer cannot encode a document: {e}"), hint)
                })?;
            }
        }
        Ok(())
    }
}

/// Is given one text after the other.
pub(super) type Each<'a> = &'a mut dyn FnMut(&str) -> Result<(), InputError>;

/// Trains byte-level BPE on the texts that `feed` gives, and says its `tokenizer.json`.
pub(super) fn train<E: From<DataError> + From<InputError>>(
    vocab: u32,
    feed: &mut dyn FnMut(Each<'_>) -> Result<(), E>,
) -> Result<Vec<u8>, E> {
    let mut texts = Vec::new();
    feed(&mut |text| {
        texts.push(text.to_owned());
        Ok(())
    })?;
    if texts.is_empty() {
        let hint = "the filters remove every document: `--look DOMAIN` shows some";
        return Err(InputError::new("no document is left to train a tokenizer on", hint).into());
    }
    Ok(train_bpe(vocab, &texts)?)
}
