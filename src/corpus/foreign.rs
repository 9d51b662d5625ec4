//! Token files of other tools: how their ids are laid out and where their documents end.
//!
//! | tool | ids | documents |
//! |---|---|---|
//! | nanoGPT | u16, no header | not told: a separator ends each |
//! | llm.c, modded-nanogpt | behind a header of 1024 bytes | not told: a separator begins each |
//! | Megatron-LM, GPT-NeoX, NeMo | `.bin`, no header | lengths in its `.idx` (`MMIDIDX`), by sequence and document |
//! | datatrove | `.ds`, no header | their ends in `.ds.index` |

use super::shard::{Layout, Width, parse_header};

/// Begins Megatron's index; its version follows.
const MEGATRON: &[u8; 9] = b"MMIDIDX\0\0";
/// Bytes before the sizes of the sequences.
const MEGATRON_HEADER: usize = 34;

/// Who wrote a token file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Ids of two bytes and nothing else.
    Nanogpt,
    /// A header, then ids.
    Llmc,
    /// `.bin` and `.idx`.
    Megatron,
    /// `.ds` and `.ds.index`.
    Datatrove,
}

impl Format {
    /// How the names of its token files end.
    pub fn ending(self) -> &'static str {
        if self == Self::Datatrove { ".ds" } else { ".bin" }
    }

    /// How that ending is written of the file beside it that says where documents end.
    pub fn beside(self) -> Option<&'static str> {
        match self {
            Self::Nanogpt | Self::Llmc => None,
            Self::Megatron => Some(".idx"),
            Self::Datatrove => Some(".ds.index"),
        }
    }

    /// The layout of a token file of `bytes` bytes that begins with `start`, and the lengths of its documents, where
    /// the file `beside` it tells them.
    ///
    /// # Errors
    ///
    /// What does not fit.
    pub fn read(
        self,
        start: &[u8],
        bytes: u64,
        beside: &[u8],
    ) -> Result<(Layout, Vec<u32>), String> {
        match self {
            Self::Nanogpt => {
                if parse_header(start, bytes).is_ok() {
                    return Err("it has llm.c's header: give --format llmc".to_owned());
                }
                Ok((raw(Width::U16, bytes)?, Vec::new()))
            }
            Self::Llmc => Ok((parse_header(start, bytes)?, Vec::new())),
            Self::Megatron => megatron(beside, bytes),
            Self::Datatrove => datatrove(beside, bytes),
        }
    }
}

/// Ids and nothing else.
fn raw(width: Width, bytes: u64) -> Result<Layout, String> {
    if !bytes.is_multiple_of(width.bytes() as u64) {
        return Err(format!("{bytes} bytes are no whole number of ids of {}", width.bytes()));
    }
    Ok(Layout { offset: 0, width, tokens: bytes / width.bytes() as u64 })
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut eight = [0; 8];
    eight.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(eight)
}

fn longs(bytes: &[u8]) -> impl Iterator<Item = u64> + '_ {
    bytes.as_chunks::<8>().0.iter().copied().map(u64::from_le_bytes)
}

/// Megatron's `.idx`: version 1, a code of the type, the numbers of sequences and of document bounds, then the length of
/// each sequence (i32), its place in the `.bin` (i64), the first sequence of each document and the end of the last
/// (i64), and, in files of several modes, one byte a sequence.
fn megatron(index: &[u8], bytes: u64) -> Result<(Layout, Vec<u32>), String> {
    if index.len() < MEGATRON_HEADER || &index[..9] != MEGATRON {
        return Err("its .idx does not begin with MMIDIDX".to_owned());
    }
    match u64_at(index, 9) {
        1 => {}
        version => return Err(format!("its .idx has version {version}, want 1")),
    }
    let width = match index[17] {
        1 => Width::U8,
        // Signed: an id below zero is larger than every vocabulary.
        3 | 8 => Width::U16,
        4 => Width::U32,
        5 => Width::U64,
        code => {
            return Err(format!(
                "its ids are of type {code}; 1 (uint8), 3 (int16), 4 (int32), 5 (int64) and 8 (uint16) are read"
            ));
        }
    };
    let layout = raw(width, bytes)?;
    let (sequences, bounds) = (u64_at(index, 18), u64_at(index, 26));
    let body = &index[MEGATRON_HEADER..];
    let takes = |per_sequence: u64| {
        sequences.checked_mul(per_sequence)?.checked_add(bounds.checked_mul(8)?)
    };
    let length = Some(body.len() as u64);
    if takes(12) != length && takes(13) != length {
        return Err(format!(
            "its .idx of {} bytes does not hold {sequences} sequences and {bounds} bounds of documents",
            index.len()
        ));
    }
    let (sizes, rest) = body.split_at(4 * sequences as usize);
    let (places, rest) = rest.split_at(8 * sequences as usize);
    let sizes = sizes.as_chunks::<4>().0.iter().copied().map(u32::from_le_bytes);
    let mut ends = Vec::with_capacity(sequences as usize + 1);
    ends.push(0_u64);
    for (size, place) in sizes.zip(longs(places)) {
        let start = ends[ends.len() - 1];
        if place != start * width.bytes() as u64 {
            return Err(format!(
                "its .idx has a sequence at byte {place}, not after the one before"
            ));
        }
        ends.push(start + u64::from(size));
    }
    let documents: Vec<u64> = longs(&rest[..8 * bounds as usize]).collect();
    // Some writers leave the bounds out: each sequence is a document then.
    let lengths = if documents.len() < 2 {
        lengths(ends[1..].iter().copied(), layout.tokens)
    } else {
        if documents[0] != 0 || documents[documents.len() - 1] != sequences {
            return Err("the documents of its .idx are not all of its sequences".to_owned());
        }
        let end = |d: &u64| usize::try_from(*d).ok().and_then(|d| ends.get(d)).copied();
        let bounds: Option<Vec<u64>> = documents[1..].iter().map(end).collect();
        let bounds = bounds.ok_or("its .idx has a document of sequences that there are not")?;
        lengths(bounds.into_iter(), layout.tokens)
    };
    Ok((layout, lengths?))
}

/// datatrove's `.ds.index`: the end of each document (u64) [tokens]. Bytes of an id follow from the last.
fn datatrove(index: &[u8], bytes: u64) -> Result<(Layout, Vec<u32>), String> {
    if index.is_empty() || !index.len().is_multiple_of(8) {
        return Err(format!("its .ds.index of {} bytes is no list of ends", index.len()));
    }
    let tokens = u64_at(index, index.len() - 8);
    let width = match bytes.checked_div(tokens) {
        Some(2) => Width::U16,
        Some(4) => Width::U32,
        _ => return Err(format!("{bytes} bytes are not those of {tokens} ids of 2 or of 4 bytes")),
    };
    let layout = raw(width, bytes)?;
    Ok((layout, lengths(longs(index), layout.tokens)?))
}

/// From where documents end to how long they are; the last ends with the file.
fn lengths(ends: impl Iterator<Item = u64>, tokens: u64) -> Result<Vec<u32>, String> {
    let (mut out, mut before) = (Vec::new(), 0);
    for end in ends {
        let length = end.checked_sub(before).and_then(|n| u32::try_from(n).ok());
        out.push(length.ok_or_else(|| {
            format!("a document ends at token {end}, after one that ends at {before}")
        })?);
        before = end;
    }
    if before != tokens {
        return Err(format!("its documents have {before} tokens, the file {tokens}"));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As Megatron's `_IndexWriter` writes it.
    fn mmididx(code: u8, sizes: &[i32], bytes: i64, documents: &[i64]) -> Vec<u8> {
        let mut out = b"MMIDIDX\0\0".to_vec();
        out.extend(1_u64.to_le_bytes());
        out.push(code);
        out.extend((sizes.len() as u64).to_le_bytes());
        out.extend((documents.len() as u64).to_le_bytes());
        out.extend(sizes.iter().flat_map(|n| n.to_le_bytes()));
        let mut place = 0_i64;
        for size in sizes {
            out.extend(place.to_le_bytes());
            place += i64::from(*size) * bytes;
        }
        out.extend(documents.iter().flat_map(|n| n.to_le_bytes()));
        out
    }

    #[test]
    fn megatrons_documents_are_sums_of_its_sequences() {
        let read = |index: &[u8], bytes| Format::Megatron.read(&[], bytes, index);
        let index = mmididx(8, &[3, 2, 4], 2, &[0, 2, 3]);
        let layout = Layout { offset: 0, width: Width::U16, tokens: 9 };
        assert_eq!(read(&index, 18), Ok((layout, vec![5, 4])));
        let modes = [index.as_slice(), &[0, 0, 0]].concat();
        assert_eq!(read(&modes, 18), Ok((layout, vec![5, 4])));
        let int32 = mmididx(4, &[3, 2], 4, &[0]);
        assert_eq!(
            read(&int32, 20).unwrap(),
            (Layout { width: Width::U32, tokens: 5, ..layout }, vec![3, 2])
        );
        for (index, bytes, why) in [
            (index.clone(), 20, "9 tokens, the file 10"),
            (index[..40].to_vec(), 18, "does not hold 3 sequences"),
            (mmididx(7, &[3], 4, &[0, 1]), 12, "of type 7"),
            (mmididx(8, &[3], 2, &[0, 2]), 6, "not all of its sequences"),
            (mmididx(8, &[3, 1], 4, &[0, 2]), 8, "at byte 12"),
            (mmididx(8, &[3, 1], 2, &[0, 9, 2]), 8, "there are not"),
            (mmididx(8, &[3, 1], 2, &[0, 2, 1, 2]), 8, "after one that ends at 4"),
            (b"MMIDIDX".to_vec(), 8, "does not begin"),
        ] {
            let error = read(&index, bytes).unwrap_err();
            assert!(error.contains(why), "{error}: {why}");
        }
    }

    #[test]
    fn datatroves_ends_tell_documents_and_the_bytes_of_an_id() {
        let ends = |ends: &[u64]| ends.iter().flat_map(|n| n.to_le_bytes()).collect::<Vec<u8>>();
        let read = |index: &[u8], bytes| Format::Datatrove.read(&[], bytes, index);
        let (layout, lengths) = read(&ends(&[4, 4, 9]), 36).unwrap();
        assert_eq!((layout.width, layout.tokens, lengths), (Width::U32, 9, vec![4, 0, 5]));
        assert_eq!(read(&ends(&[4, 9]), 18).unwrap().0.width, Width::U16);
        for (index, bytes, why) in [
            (ends(&[4, 9]), 27, "27 bytes are not those of 9 ids"),
            (ends(&[10, 9]), 18, "ends at token 9"),
            (ends(&[0]), 18, "of 0 ids"),
            (vec![0; 7], 18, "no list of ends"),
        ] {
            let error = read(&index, bytes).unwrap_err();
            assert!(error.contains(why), "{error}: {why}");
        }
    }

    #[test]
    fn raw_ids_are_taken_as_they_are_unless_they_have_a_header() {
        let (layout, lengths) = Format::Nanogpt.read(&[1, 0], 10, &[]).unwrap();
        assert_eq!(
            (layout, lengths.len()),
            (Layout { offset: 0, width: Width::U16, tokens: 5 }, 0)
        );
        assert!(Format::Nanogpt.read(&[1, 0], 11, &[]).unwrap_err().contains("no whole number"));
        let header = [0x88, 0xd8, 0x34, 0x01, 1, 0, 0, 0, 3, 0, 0, 0];
        assert!(Format::Nanogpt.read(&header, 1030, &[]).unwrap_err().contains("--format llmc"));
        assert_eq!(Format::Llmc.read(&header, 1030, &[]).unwrap().0.tokens, 3);
    }

    proptest! {
        #[test]
        fn any_index_is_read_or_refused(
            mut index in prop::collection::vec(any::<u8>(), 0..160), bytes in 0_u64..400, real: bool,
            counts in any::<[u8; 2]>(),
        ) {
            if real && index.len() >= MEGATRON_HEADER {
                index[..9].copy_from_slice(MEGATRON);
                index[9..17].copy_from_slice(&1_u64.to_le_bytes());
                index[17] = 1 + index[17] % 8;
                for (at, count) in [(18, counts[0]), (26, counts[1])] {
                    index[at..at + 8].copy_from_slice(&u64::from(count % 12).to_le_bytes());
                }
            }
            for format in [Format::Megatron, Format::Datatrove, Format::Llmc, Format::Nanogpt] {
                let _ = format.read(&index, bytes, &index);
            }
        }

        #[test]
        fn counts_of_any_size_allocate_nothing(sequences: u64, bounds: u64) {
            let mut index = mmididx(8, &[], 2, &[]);
            index[18..26].copy_from_slice(&sequences.to_le_bytes());
            index[26..34].copy_from_slice(&bounds.to_le_bytes());
            let _ = Format::Megatron.read(&[], 4, &index);
        }
    }
}
