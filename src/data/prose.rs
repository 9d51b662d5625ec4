//! The embedded corpus: 25 MB of public-domain English prose, compressed into the binary.
//!
//! `data/README.md` says what is in it and `data/build_pd_prose.py` builds it from pinned packages.

use std::io::Read as _;

use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::error::{InputError, exit};
use crate::plan::hex;

const COMPRESSED: &[u8] = include_bytes!("../../data/pd-prose.zst");
const MANIFEST: &str = include_str!("../../data/pd-prose.json");

/// The part of the manifest that is checked on reading.
#[derive(Deserialize)]
struct Manifest {
    sha256: String,
    bytes: usize,
    documents: usize,
}

/// Every document of the corpus, in the manifest's order.
///
/// # Errors
///
/// When the bytes in the binary do not have the manifest's hash (exit code 3).
pub(super) fn documents() -> Result<Vec<Vec<u8>>, InputError> {
    let damaged = |what: String| {
        InputError::new(
            format!("the embedded corpus is damaged: {what}"),
            "build again from a clean checkout; data/build_pd_prose.py makes the file anew",
        )
        .with_code(exit::DAMAGED)
    };
    let manifest: Manifest = serde_json::from_str(MANIFEST).map_err(|e| damaged(e.to_string()))?;
    let mut text = Vec::with_capacity(manifest.bytes);
    ruzstd::decoding::StreamingDecoder::new(COMPRESSED)
        .map_err(|e| damaged(e.to_string()))?
        .read_to_end(&mut text)
        .map_err(|e| damaged(e.to_string()))?;
    let hash = hex(&Sha256::digest(&text));
    if hash != manifest.sha256 {
        return Err(damaged(format!("hash {hash}, want {}", manifest.sha256)));
    }
    let documents: Vec<Vec<u8>> =
        text.split(|b| *b == 0).filter(|d| !d.is_empty()).map(<[u8]>::to_vec).collect();
    if documents.len() != manifest.documents {
        return Err(damaged(format!("{} documents, want {}", documents.len(), manifest.documents)));
    }
    Ok(documents)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_corpus_has_its_hash_and_is_text() {
        let documents = documents().unwrap();
        assert!(documents.len() > 500, "{}", documents.len());
        assert!(documents.iter().all(|d| std::str::from_utf8(d).is_ok()));
    }
}
