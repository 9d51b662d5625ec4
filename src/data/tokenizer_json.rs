//! A `tokenizer.json` of Hugging Face that anybody may have written: how many ids there are, and which one parts
//! documents.

use std::panic::catch_unwind;

use serde_json::Value;
use tokenizers::Tokenizer;

use crate::corpus::manifest::MAX_VOCAB;

/// What parts documents, in tokenizers in use, the likeliest first.
pub const SEPARATORS: [&str; 11] = [
    "<|endoftext|>",
    "<|end_of_text|>",
    "<|endofdocument|>",
    "</s>",
    "<eos>",
    "<|eos|>",
    "<|end▁of▁sentence|>",
    "[EOS]",
    "[SEP]",
    "<|end|>",
    "<|im_end|>",
];

/// One that was read.
pub struct TokenizerJson {
    /// The `tokenizers` crate's reading of it.
    pub library: Tokenizer,
    /// Every id is below this.
    pub vocab: u32,
    /// The id that parts documents, where it has one of [`SEPARATORS`].
    pub separator: Option<u32>,
}

impl TokenizerJson {
    /// Reads the bytes of a file.
    ///
    /// # Errors
    ///
    /// Why it is no tokenizer.
    pub fn read(json: &[u8]) -> Result<Self, String> {
        let file: Value = serde_json::from_slice(json).map_err(|e| e.to_string())?;
        let highest = highest_id(&file)?;
        // Ids are in range; what else may be wrong with it, the library says, or panics at.
        let library = catch_unwind(|| Tokenizer::from_bytes(json))
            .map_err(|_| "its merges do not follow from its vocabulary".to_owned())?
            .map_err(|e| e.to_string())?;
        // The library may give an added token another id than the file does.
        let highest = library.get_vocab(true).into_values().max().max(highest);
        let vocab = highest.map_or(0, |id| id.saturating_add(1));
        if !(2..=MAX_VOCAB).contains(&vocab) {
            return Err(format!("it has {vocab} ids"));
        }
        let separator = SEPARATORS.iter().find_map(|name| library.token_to_id(name));
        Ok(Self { library, vocab, separator })
    }
}

/// The highest id; each is below the most that any tokenizer has: a large one would size an array.
fn highest_id(file: &Value) -> Result<Option<u32>, String> {
    let mut highest = None;
    let mut see = |name: &str, id: Option<u64>| match id.and_then(|id| u32::try_from(id).ok()) {
        Some(id) if id < MAX_VOCAB => {
            highest = highest.max(Some(id));
            Ok(())
        }
        _ => Err(format!("the id of {name:?} is no number below {MAX_VOCAB}")),
    };
    match &file["model"]["vocab"] {
        Value::Object(vocab) => {
            for (name, id) in vocab {
                see(name, id.as_u64())?;
            }
        }
        // Unigram: pairs of a token and its score, in the order of ids.
        Value::Array(vocab) => {
            for (id, pair) in vocab.iter().enumerate() {
                see(pair[0].as_str().unwrap_or_default(), Some(id as u64))?;
            }
        }
        _ => return Err("it has no `model.vocab`".to_owned()),
    }
    for token in file["added_tokens"].as_array().into_iter().flatten() {
        see(token["content"].as_str().unwrap_or_default(), token["id"].as_u64())?;
    }
    Ok(highest)
}
