//! Text to ids, by bytes or by a `tokenizer.json`.

use tokenizers::Tokenizer;

use crate::data::encode::Quick;
use crate::data::tokenizer_json::{SEPARATORS, TokenizerJson};
use crate::error::InputError;

/// What turns text into ids.
pub(super) enum Encoder {
    /// One id a byte.
    Bytes,
    /// By a file.
    File { tokenizer: Box<Quick<Tokenizer>>, vocab: u32, separator: u32 },
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
        let TokenizerJson { library, vocab, separator } =
            TokenizerJson::read(json).map_err(unusable)?;
        let separator = separator.ok_or_else(|| {
            unusable(format!("it has no token after a document ({})", SEPARATORS.join(", ")))
        })?;
        let tokenizer = Quick::of(library).map_err(|e| unusable(e.to_string()))?;
        Ok(Self::File { tokenizer: Box::new(tokenizer), vocab, separator })
    }

    /// Every id is below this.
    pub(super) fn vocab(&self) -> u32 {
        match self {
            Self::Bytes => 256,
            Self::File { vocab, .. } => *vocab,
        }
    }

    /// The id after each document.
    pub(super) fn separator(&self) -> u32 {
        match self {
            Self::Bytes => 0,
            Self::File { separator, .. } => *separator,
        }
    }

    /// Adds the ids of a text, without the separator.
    pub(super) fn encode(&self, text: &str, ids: &mut Vec<u32>) -> Result<(), InputError> {
        match self {
            Self::Bytes => ids.extend(text.bytes().map(u32::from)),
            Self::File { tokenizer, .. } => {
                tokenizer.encode(text, ids).map_err(|e| {
                    let hint = "try another tokenizer, or tokenizer = \"bytes\"";
                    InputError::new(format!("the tokenizer cannot encode a document: {e}"), hint)
                })?;
            }
        }
        Ok(())
    }
}
