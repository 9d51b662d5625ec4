//! How a model's ids are text: bytes, or a `tokenizer.json`.
//!
//! Bytes are a `tokenizer.json` as well: BPE without merges over the characters that byte-level BPE has for bytes. Ids
//! 1 to 255 are the bytes; id 0, which is no byte of a text, is [`END`]. A NUL in a text is dropped.

use std::panic::catch_unwind;

use serde_json::{Map, Value, json};
use tokenizers::Tokenizer;

/// Its name in the directory.
pub const FILE: &str = "tokenizer.json";
/// Longest one that is read [bytes].
pub const MAX_FILE: u64 = 64 << 20;
/// The text of id 0 under bytes, and of the separator of isoflop's BPE.
pub const END: &str = "<|endoftext|>";
/// Ids under bytes.
const BYTES: usize = 256;

/// Text to ids and back.
#[derive(Debug, Clone)]
pub struct Text {
    json: Vec<u8>,
    /// `None` for bytes.
    tokenizer: Option<Box<Tokenizer>>,
}

impl Text {
    /// One id a byte.
    pub fn bytes() -> Self {
        Self { json: bytes_json().into_bytes(), tokenizer: None }
    }

    /// From a `tokenizer.json`; one of bytes is known as such.
    ///
    /// # Errors
    ///
    /// What `tokenizers` says of it.
    pub fn read(json: &[u8]) -> Result<Self, String> {
        let said: Value = serde_json::from_slice(json).map_err(|e| e.to_string())?;
        if serde_json::from_str::<Value>(&bytes_json()).is_ok_and(|own| own == said) {
            return Ok(Self::bytes());
        }
        // The library panics on merges that it has not made.
        let read = catch_unwind(|| Tokenizer::from_bytes(json));
        let read = read.map_err(|_| "its merges do not follow from its vocabulary".to_owned())?;
        let tokenizer = Some(Box::new(read.map_err(|e| e.to_string())?));
        Ok(Self { json: json.to_vec(), tokenizer })
    }

    /// The `tokenizer.json`.
    pub fn json(&self) -> &[u8] {
        &self.json
    }

    /// Whether ids are bytes.
    pub fn is_bytes(&self) -> bool {
        self.tokenizer.is_none()
    }

    /// Every id is below this.
    pub fn vocab(&self) -> usize {
        let highest =
            |t: &Tokenizer| t.get_vocab(true).into_values().max().map_or(0, |id| id as usize + 1);
        self.tokenizer.as_ref().map_or(BYTES, |t| highest(t))
    }

    /// The ids of a text, without any before or behind it.
    ///
    /// # Errors
    ///
    /// What `tokenizers` says.
    pub fn ids(&self, text: &str) -> Result<Vec<u32>, String> {
        self.encode(text, false)
    }

    /// The ids of a text that a model goes on from: with what the `tokenizer.json` puts before one. isoflop's own put
    /// nothing.
    ///
    /// # Errors
    ///
    /// What `tokenizers` says.
    pub fn prompt(&self, text: &str) -> Result<Vec<u32>, String> {
        self.encode(text, true)
    }

    fn encode(&self, text: &str, special: bool) -> Result<Vec<u32>, String> {
        if let Some(tokenizer) = &self.tokenizer {
            let ids = tokenizer.encode_fast(text, special).map_err(|e| e.to_string())?;
            return Ok(ids.get_ids().to_vec());
        }
        let mut ids = Vec::with_capacity(text.len());
        for (i, part) in text.split(END).enumerate() {
            ids.extend((i > 0).then_some(0));
            ids.extend(part.bytes().filter(|b| *b != 0).map(u32::from));
        }
        Ok(ids)
    }

    /// The text of ids; what is not UTF-8 becomes U+FFFD.
    ///
    /// # Errors
    ///
    /// What `tokenizers` says.
    pub fn text(&self, ids: &[u32]) -> Result<String, String> {
        if let Some(tokenizer) = &self.tokenizer {
            return tokenizer.decode(ids, false).map_err(|e| e.to_string());
        }
        let mut bytes = Vec::with_capacity(ids.len());
        for id in ids {
            match u8::try_from(*id) {
                Ok(0) | Err(_) => bytes.extend_from_slice(END.as_bytes()),
                Ok(byte) => bytes.push(byte),
            }
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// How an id is written in the vocabulary.
    pub fn token(&self, id: u32) -> Option<String> {
        match &self.tokenizer {
            Some(tokenizer) => tokenizer.id_to_token(id),
            None => (id == 0).then(|| END.to_owned()),
        }
    }
}

/// The character that byte-level BPE has for each byte (Radford et al. 2019, GPT-2's `bytes_to_unicode`).
fn characters() -> [char; BYTES] {
    let mut next = 256;
    std::array::from_fn(|byte| {
        let own = matches!(byte, 33..=126 | 161..=172 | 174..=255);
        let code = if own {
            byte as u32
        } else {
            next += 1;
            next - 1
        };
        char::from_u32(code).unwrap_or_default()
    })
}

/// The `tokenizer.json` of bytes.
fn bytes_json() -> String {
    let byte_level = json!({
        "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false,
    });
    let mut vocab = Map::new();
    vocab.insert(END.to_owned(), json!(0));
    for (byte, c) in characters().into_iter().enumerate().skip(1) {
        vocab.insert(c.to_string(), json!(byte));
    }
    let file = json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": [{
            "id": 0, "content": END, "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true,
        }],
        "normalizer": null,
        "pre_tokenizer": byte_level,
        "post_processor": null,
        "decoder": byte_level,
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
            "ignore_merges": false, "vocab": vocab, "merges": [],
        },
    });
    super::card::pretty(&file)
}

/// `tokenizer_config.json`: the separator is what begins and ends a text, and nothing is put before one.
pub fn config_json(end: Option<&str>, context: usize) -> String {
    super::card::pretty(&json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": end,
        "eos_token": end,
        // Version 4 else gives a `token_type_ids` that the models do not take.
        "model_input_names": ["input_ids", "attention_mask"],
        "model_max_length": context,
        "clean_up_tokenization_spaces": false,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Stream;

    /// Oracle: the `tokenizers` crate on the file.
    #[test]
    fn bytes_are_what_their_tokenizer_json_says() {
        let own = Text::bytes();
        let file = Tokenizer::from_bytes(own.json()).unwrap();
        assert_eq!(file.get_vocab(true).len(), BYTES);
        let parts = [
            "a",
            "é",
            " ",
            "\n",
            "Ā",
            "ā",
            "語",
            "\u{1F40B}",
            "\0",
            END,
            "<|",
            "\u{7f}",
            "ÿ",
            "\u{ad}",
        ];
        let stream = Stream::new(5, "bytes");
        for n in 0..2000 {
            let stream = stream.child(n);
            let length = stream.below(0, 40);
            let text: String = (1..=length)
                .map(|i| match stream.below(2 * i, 3) {
                    0 => char::from_u32(stream.below(2 * i + 1, 0x11_0000) as u32)
                        .unwrap_or('?')
                        .to_string(),
                    _ => parts[stream.below(2 * i + 1, parts.len() as u64) as usize].to_owned(),
                })
                .collect();
            let ids = own.ids(&text).unwrap();
            assert_eq!(ids, file.encode_fast(text.as_str(), true).unwrap().get_ids(), "{text:?}");
            assert_eq!(own.text(&ids).unwrap(), file.decode(&ids, false).unwrap(), "{text:?}");
            assert_eq!(own.text(&ids).unwrap(), text.replace('\0', ""));
            let without = text.replace(['\0'], "").replace(END, "");
            let bytes: Vec<u32> = without.bytes().map(u32::from).collect();
            assert_eq!(ids.iter().copied().filter(|id| *id != 0).collect::<Vec<_>>(), bytes);
        }
        assert_eq!(own.text(&[200, 97]).unwrap(), "\u{FFFD}a");
    }

    #[test]
    fn a_file_of_bytes_is_known_as_such_and_what_is_no_tokenizer_is_refused() {
        assert!(Text::read(Text::bytes().json()).unwrap().is_bytes());
        assert_eq!(Text::bytes().token(0).as_deref(), Some(END));
        for json in ["", "{}", "[1]", "{\"model\": 3}"] {
            assert!(Text::read(json.as_bytes()).is_err(), "{json}");
        }
    }
}
