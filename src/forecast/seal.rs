//! The lock of a forecast: SHA-256 of it as JSON without spaces, keys in alphabetical order.

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::plan::hex;

/// SHA-256 of some bytes, in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// The hash of all but the hash.
pub(super) fn seal(forecast: &Value) -> String {
    let mut body = forecast.clone();
    if let Some(fields) = body.as_object_mut() {
        fields.remove("sha256");
    }
    sha256(canonical(&body).as_bytes())
}

/// JSON without spaces, the keys of every object in the order of their bytes.
fn canonical(value: &Value) -> String {
    match value {
        Value::Object(fields) => object(fields.iter().collect()),
        Value::Array(items) => {
            format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(","))
        }
        plain => plain.to_string(),
    }
}

/// An object whose fields are in any order.
fn object(mut fields: Vec<(&String, &Value)>) -> String {
    fields.sort_by_key(|(key, _)| *key);
    let field = |(key, value): &(&String, &Value)| {
        format!("{}:{}", Value::String((*key).clone()), canonical(value))
    };
    format!("{{{}}}", fields.iter().map(field).collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The oracle is `sha256sum` of {"a":[1,"x"],"b":1.5}.
    #[test]
    fn the_lock_is_the_hash_of_the_rest_with_its_keys_sorted() {
        let value = json!({"b": 1.5, "sha256": "whatever", "a": [1, "x"]});
        assert_eq!(
            seal(&value),
            "5efd1c99acaa74c2f0c237017fb8919dd43da056f9215ce8d63c998d4737c48e"
        );
    }

    /// Whatever order a map keeps: the oracle is the same text.
    #[test]
    fn keys_are_sorted_whatever_order_they_come_in() {
        let keys = ["b", "a\"", "B", "ä", "a"].map(String::from);
        let inner = json!({"z": [{"y": null, "x": 1}], "w": true});
        let got = object(keys.iter().map(|k| (k, &inner)).collect());
        let one = r#"{"w":true,"z":[{"x":1,"y":null}]}"#;
        let want = format!(r#"{{"B":{one},"a":{one},"a\"":{one},"b":{one},"ä":{one}}}"#);
        assert_eq!(got, want);
    }
}
