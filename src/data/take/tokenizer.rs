//! The tokenizer that made the shards: its file, and how long the text is that their ids spell.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use super::scan::ids;
use crate::corpus::manifest::Shard;
use crate::data::DataError;
use crate::data::tokenizer_json::TokenizerJson;
use crate::error::{FileError, InputError};
use crate::fs::{Disk as _, Os, Placed};

/// Longest file that is read [bytes].
const MAX_FILE: u64 = 256 << 20;
/// Tokens that are decoded at once.
const PIECE: u64 = 1 << 20;

/// A tokenizer that somebody else made.
pub(super) struct Foreign {
    pub(super) json: Vec<u8>,
    pub(super) tokenizer: TokenizerJson,
}

impl Foreign {
    pub(super) fn read(path: &Path) -> Result<Self, DataError> {
        let json = Os.read(path, MAX_FILE).map_err(FileError::new("read", path))?;
        let tokenizer = TokenizerJson::read(&json).map_err(|why| {
            let message = format!("`{}` is no tokenizer: {why}", path.display());
            InputError::new(message, "give a tokenizer.json of Hugging Face's tokenizers")
        })?;
        Ok(Self { json, tokenizer })
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
                let spell = || self.tokenizer.library.decode(&ids, true);
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
