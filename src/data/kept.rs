//! Whether the file of a tokenizer that was kept is one that training makes, before the library is given it: there a
//! large id sizes an array, and an option that training does not set changes ids.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;

/// Ids are kept in 16 bits.
const MAX_IDS: usize = 1 << 16;

/// What training decides.
#[derive(Deserialize)]
struct File {
    added_tokens: Vec<Added>,
    model: Model,
}

/// A token besides those of the model.
#[derive(Deserialize)]
struct Added {
    id: usize,
    content: String,
}

#[derive(Deserialize)]
struct Model {
    vocab: BTreeMap<String, usize>,
    merges: Vec<Value>,
}

/// Refuses what no training makes. `untrained` is the tokenizer that training begins with, `end` the one token that
/// is added to it.
pub(super) fn check(json: &[u8], untrained: &Value, end: &str) -> Result<(), String> {
    let File { added_tokens, model } = serde_json::from_slice(json).map_err(|e| e.to_string())?;
    let n = model.vocab.len();
    let mut seen = vec![false; n];
    for id in model.vocab.values() {
        match seen.get_mut(*id) {
            Some(seen) if !*seen => *seen = true,
            _ => return Err(format!("its ids are not the numbers below {n}, each once")),
        }
    }
    if n > MAX_IDS || model.merges.len() >= n {
        return Err(format!("it has {n} ids and {} merges", model.merges.len()));
    }
    if let Some(c) =
        ByteLevel::alphabet().iter().find(|c| !model.vocab.contains_key(&c.to_string()))
    {
        return Err(format!("its vocabulary lacks the byte `{c}`"));
    }
    match added_tokens.as_slice() {
        [one] if one.id == 0 && one.content == end => {}
        _ => return Err(format!("`{end}` is not its one added token, with id 0")),
    }
    let file: Value = serde_json::from_slice(json).map_err(|e| e.to_string())?;
    let decided = ["version", "added_tokens", "model", "vocab", "merges"];
    for (file, untrained) in [(&file, untrained), (&file["model"], &untrained["model"])] {
        for (key, value) in file.as_object().into_iter().flatten() {
            if !decided.contains(&key.as_str()) && untrained.get(key) != Some(value) {
                return Err(format!("its `{key}` is {value}, which training does not set"));
            }
        }
    }
    Ok(())
}
