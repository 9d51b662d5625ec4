//! Setting some documents of the embedded prose aside before anything is trained.

use sha2::{Digest as _, Sha256};

use crate::plan::hex;

/// One document in this many is held out, by its hash.
const HELD_OUT_EVERY: u64 = 50;

/// Documents for training and documents never trained on.
pub(super) struct Split<'a> {
    pub(super) train: Vec<&'a [u8]>,
    pub(super) held_out: Vec<&'a [u8]>,
    /// Hash over all documents in their order.
    pub(super) sha256: String,
}

/// Holds out every document whose SHA-256 (first 8 bytes, big-endian) is 0 modulo 50. Which documents
/// these are depends on their content alone, not on their order or on other documents. Where chance
/// holds out none, the document with the smallest hash is.
pub(super) fn split(documents: &[Vec<u8>]) -> Split<'_> {
    let mut all = Sha256::new();
    let keys: Vec<u64> = documents
        .iter()
        .map(|document| {
            let digest = Sha256::digest(document);
            all.update(digest);
            u64::from_be_bytes(digest[..8].try_into().expect("a digest has 32 bytes"))
        })
        .collect();
    let least = keys.iter().min().copied();
    let none = !keys.iter().any(|k| k.is_multiple_of(HELD_OUT_EVERY));
    let mut split = Split { train: Vec::new(), held_out: Vec::new(), sha256: hex(&all.finalize()) };
    for (document, key) in documents.iter().zip(keys) {
        let aside = key.is_multiple_of(HELD_OUT_EVERY) || (none && Some(key) == least);
        if aside { &mut split.held_out } else { &mut split.train }.push(document.as_slice());
    }
    split
}

#[cfg(test)]
mod tests {
    use super::*;

    fn documents(n: usize) -> Vec<Vec<u8>> {
        (0..n).map(|i| format!("document {i}").into_bytes()).collect()
    }

    #[test]
    fn about_one_document_in_fifty_is_held_out_and_none_twice() {
        let documents = documents(5000);
        let split = split(&documents);
        assert_eq!(split.train.len() + split.held_out.len(), 5000);
        assert!((70..130).contains(&split.held_out.len()), "{}", split.held_out.len());
        assert!(split.held_out.iter().all(|d| !split.train.contains(d)));
    }

    #[test]
    fn a_document_keeps_its_side_when_others_come_and_go() {
        let (few, many) = (documents(1000), documents(3000));
        let (few, many) = (split(&few), split(&many));
        assert!(few.held_out.iter().all(|d| many.held_out.contains(d)));
        assert_ne!(few.sha256, many.sha256);
    }

    #[test]
    fn something_is_always_held_out() {
        for n in 2..20 {
            assert!(!split(&documents(n)).held_out.is_empty(), "{n} documents");
        }
    }
}
