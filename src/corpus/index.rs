//! The index of a shard, `.idx`: where its documents end, what they are, and a hash for each block of the shard.
//!
//! `isofidx1`, number of documents n and of blocks m (u64), n lengths in tokens with their separator (u32), n keys
//! (u64), m XXH3-64 (u64), all little-endian. A shard without known documents has n = 0.

/// Bytes that one hash stands for; the last block of a file may be shorter.
pub const BLOCK: usize = 64 << 10;

const MAGIC: &[u8; 8] = b"isofidx1";
/// Bytes before the lengths.
pub const HEADER: usize = 24;

/// What an index says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Index {
    /// Length of each document, its separator included [tokens].
    pub lengths: Vec<u32>,
    /// First 8 bytes of the SHA-256 of each document's raw text; of its ids, for shards of other tools.
    pub keys: Vec<u64>,
    /// XXH3-64 of each 64 KiB of the shard.
    pub blocks: Vec<u64>,
}

/// The key of a document: the first 8 bytes of the SHA-256 of its raw text, as they stand in the file.
pub fn key(sha256: &[u8; 32]) -> u64 {
    u64_at(sha256, 0)
}

/// Documents and blocks, as the first [`HEADER`] bytes say.
///
/// # Errors
///
/// Why they are no header.
pub fn counts(start: &[u8]) -> Result<(u64, u64), String> {
    let Some(start) = start.first_chunk::<HEADER>() else {
        return Err(format!("{} bytes are no index", start.len()));
    };
    if &start[..8] != MAGIC {
        return Err("it does not begin with isofidx1".to_owned());
    }
    let number = |at| u64_at(start, at);
    Ok((number(8), number(16)))
}

/// Length of the index of a shard of so many documents and bytes [bytes]; `None` where no file is so long.
pub fn length(documents: u64, shard_bytes: u64) -> Option<u64> {
    let blocks = shard_bytes.div_ceil(BLOCK as u64);
    documents.checked_mul(12)?.checked_add(blocks.checked_mul(8)?)?.checked_add(HEADER as u64)
}

impl Index {
    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        let Self { lengths, keys, blocks } = self;
        let mut out = Vec::with_capacity(HEADER + 12 * lengths.len() + 8 * blocks.len());
        out.extend(MAGIC);
        for n in [lengths.len(), blocks.len()] {
            out.extend((n as u64).to_le_bytes());
        }
        out.extend(lengths.iter().flat_map(|n| n.to_le_bytes()));
        out.extend(keys.iter().chain(blocks).flat_map(|n| n.to_le_bytes()));
        out
    }

    /// From bytes, all of them.
    ///
    /// # Errors
    ///
    /// Why they are no index.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        let (documents, blocks) = counts(bytes)?;
        let want = blocks.checked_mul(8).and_then(|b| documents.checked_mul(12)?.checked_add(b));
        let body = &bytes[HEADER..];
        if want != Some(body.len() as u64) {
            return Err(format!(
                "{documents} documents and {blocks} blocks do not take {} bytes",
                bytes.len()
            ));
        }
        let (lengths, rest) = body.split_at(4 * documents as usize);
        let (keys, blocks) = rest.split_at(8 * documents as usize);
        let numbers = |bytes: &[u8]| {
            bytes.as_chunks::<8>().0.iter().copied().map(u64::from_le_bytes).collect()
        };
        Ok(Self {
            lengths: lengths.as_chunks::<4>().0.iter().copied().map(u32::from_le_bytes).collect(),
            keys: numbers(keys),
            blocks: numbers(blocks),
        })
    }

    /// Tokens of all documents.
    pub fn tokens(&self) -> u64 {
        self.lengths.iter().map(|n| u64::from(*n)).sum()
    }
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut eight = [0; 8];
    eight.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(eight)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_index_is_as_documented_to_the_byte() {
        let index = Index { lengths: vec![3, 1], keys: vec![5, u64::MAX], blocks: vec![9] };
        let mut want = b"isofidx1".to_vec();
        want.extend([2, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0, 0]);
        want.extend([5, 0, 0, 0, 0, 0, 0, 0]);
        want.extend([0xff; 8]);
        want.extend([9, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(index.encode(), want);
        assert_eq!(length(2, 1030), Some(want.len() as u64));
        assert_eq!(index.tokens(), 4);
        assert_eq!(length(u64::MAX, 1), None);
    }

    /// Ten bytes must not ask for gigabytes.
    #[test]
    fn counts_that_do_not_fit_are_refused_before_anything_is_allocated() {
        for (n, m) in [(u64::MAX, 1), (1, u64::MAX), (1 << 40, 1 << 40), (u64::MAX / 12, 1)] {
            let mut bytes = b"isofidx1".to_vec();
            bytes.extend(n.to_le_bytes());
            bytes.extend(m.to_le_bytes());
            let error = Index::decode(&bytes).unwrap_err();
            assert!(error.contains("do not take 24 bytes"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn an_index_comes_back(documents in prop::collection::vec(any::<(u32, u64)>(), 0..20),
                               blocks in prop::collection::vec(any::<u64>(), 0..20)) {
            let (lengths, keys) = documents.into_iter().unzip();
            let index = Index { lengths, keys, blocks };
            prop_assert_eq!(Index::decode(&index.encode()), Ok(index));
        }

        #[test]
        fn any_bytes_are_read_or_refused(mut bytes in prop::collection::vec(any::<u8>(), 0..200),
                                         magic: bool, small: bool) {
            if magic && bytes.len() >= 24 {
                bytes[..8].copy_from_slice(MAGIC);
                if small {
                    bytes[9..16].fill(0);
                    bytes[17..24].fill(0);
                }
            }
            if let Ok(index) = Index::decode(&bytes) {
                prop_assert_eq!(index.encode(), bytes);
            }
        }
    }
}
