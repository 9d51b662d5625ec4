//! One line of JSON with its checksum: how a record that must be whole is written and read back.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// A line of JSON with the CRC-32 of what is before it.
///
/// # Panics
///
/// Never for records: JSON cannot write a map with other keys than text, and they have none.
pub fn seal(value: &impl Serialize) -> String {
    let json = serde_json::to_string(value).expect("records have no map with other keys than text");
    let body = &json[..json.len() - 1];
    format!("{body},\"crc\":\"{:08x}\"}}\n", crc32fast::hash(body.as_bytes()))
}

/// Back from [`seal`].
///
/// # Errors
///
/// Why the bytes are not what was written.
pub fn unseal<T: DeserializeOwned>(raw: &[u8]) -> Result<T, String> {
    let text = std::str::from_utf8(raw).map_err(|e| e.to_string())?;
    let text = text.strip_suffix('\n').ok_or("no line end")?;
    let (body, crc) = text.rsplit_once(",\"crc\":\"").ok_or("no checksum")?;
    let want = format!("{:08x}\"}}", crc32fast::hash(body.as_bytes()));
    if crc != want {
        return Err("checksum does not match".to_owned());
    }
    serde_json::from_str(&format!("{body}}}")).map_err(|e| e.to_string())
}
