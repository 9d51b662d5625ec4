//! Any Hugging Face `tokenizer.json`: how many ids there are, which one parts documents, and what ids spell.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::scan::ids;
use crate::corpus::manifest::{MAX_VOCAB, Shard};
use crate::data::DataError;
use crate::error::{FileError, InputError};
use crate::fs::{Disk as _, Os, Placed};

/// Longest file that is read [bytes].
const MAX_FILE: u64 = 256 << 20;
/// Tokens that are decoded at once.
const PIECE: u64 = 1 << 20;
/// What parts documents, in tokenizers in use, the likeliest first.
const SEPARATORS: [&str; 9] = [
    "<|endoftext|>",
    "<|end_of_text|>",
    "<|endofdocument|>",
    "</s>",
    "<eos>",
    "<|eos|>",
    "<|end▁of▁sentence|>",
    "[EOS]",
    "[SEP]",
];

/// A tokenizer that somebody else made.
pub(super) struct Foreign {
    pub(super) json: Vec<u8>,
    pub(super) vocab: u32,
    pub(super) separator: Option<u32>,
    library: tokenizers::Tokenizer,
}

impl Foreign {
    pub(super) fn read(path: &Path) -> Result<Self, DataError> {
        let json = Os.read(path, MAX_FILE).map_err(FileError::new("read", path))?;
        let refuse = |why: String| {
            let message = format!("`{}` is no tokenizer: {why}", path.display());
            InputError::new(message, "give a tokenizer.json of Hugging Face's tokenizers")
        };
        let file: Value = serde_json::from_slice(&json).map_err(|e| refuse(e.to_string()))?;
        let named = all_ids(&file).map_err(refuse)?;
        let separator = SEPARATORS
            .iter()
            .find_map(|word| named.iter().find(|(name, _)| name == word).map(|(_, id)| *id));
        let vocab = named.iter().map(|(_, id)| *id).max().map_or(0, |id| id + 1);
        if vocab < 2 {
            return Err(refuse(format!("it has {vocab} ids")).into());
        }
        // Ids are in range; what else may be wrong with it, the library says, or panics at.
        let library = catch_unwind(|| tokenizers::Tokenizer::from_bytes(&json));
        let library =
            library.map_err(|_| refuse("its merges do not follow from its vocabulary".into()))?;
        let library = library.map_err(|e| refuse(e.to_string()))?;
        Ok(Self { json, vocab, separator, library })
    }

    /// Bytes of the text of shards; `None` where they cannot be told [bytes].
    pub(super) fn bytes_of(
        &self,
        shards: &[(Shard, PathBuf)],
        vocab: u32,
    ) -> Result<Option<u64>, DataError> {
        let mut bytes = 0;
        for (shard, path) in shards {
            let file = Placed::open(path)?;
            let mut first = 0;
            while first < shard.tokens {
                let n = PIECE.min(shard.tokens - first);
                let ids = ids(&file, shard, first, n, vocab)?;
                let spell = || self.library.decode(&ids, true);
                match catch_unwind(AssertUnwindSafe(spell)) {
                    Ok(Ok(text)) => bytes += text.len() as u64,
                    _ => return Ok(None),
                }
                first += n;
            }
        }
        Ok(Some(bytes))
    }
}

/// Every token with its id, each below the most that any tokenizer has: a large one would size an array.
fn all_ids(file: &Value) -> Result<Vec<(String, u32)>, String> {
    let mut out = Vec::new();
    let mut add = |name: &str, id: Option<u64>| match id.and_then(|id| u32::try_from(id).ok()) {
        Some(id) if id < MAX_VOCAB => {
            out.push((name.to_owned(), id));
            Ok(())
        }
        _ => Err(format!("the id of {name:?} is no number below {MAX_VOCAB}")),
    };
    match &file["model"]["vocab"] {
        Value::Object(vocab) => {
            for (name, id) in vocab {
                add(name, id.as_u64())?;
            }
        }
        // Unigram: pairs of a token and its score, in the order of ids.
        Value::Array(vocab) => {
            for (id, pair) in vocab.iter().enumerate() {
                add(pair[0].as_str().unwrap_or_default(), Some(id as u64))?;
            }
        }
        _ => return Err("it has no `model.vocab`".to_owned()),
    }
    for token in file["added_tokens"].as_array().into_iter().flatten() {
        add(token["content"].as_str().unwrap_or_default(), token["id"].as_u64())?;
    }
    Ok(out)
}
