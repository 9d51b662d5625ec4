//! A shard: one file of token ids. Ours are llm.c's: 256 little-endian i32 of header, then the ids.

use std::io::{self, ErrorKind, Read, Seek, Write};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use xxhash_rust::xxh3::xxh3_64;

use super::index::{BLOCK, Index};
use crate::plan::hex;

/// Bytes of a header.
pub const HEADER: usize = 1024;
/// A shard has fewer tokens: its header counts them in an i32.
pub const MAX_TOKENS: u64 = 1 << 31;

/// Ids up to here take two bytes.
const MAX_U16: u32 = 1 << 16;
/// (magic number, version) of ids of two bytes and of four.
const U16: (i32, i32) = (20_240_520, 1);
const U32: (i32, i32) = (20_240_801, 7);

/// Bytes of an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub enum Width {
    /// One byte: Megatron's files of bytes alone.
    U8,
    /// Two bytes.
    U16,
    /// Four bytes.
    U32,
    /// Eight bytes: Megatron's int64 alone.
    U64,
}

impl Width {
    /// The one in which shards of so many ids are written.
    pub fn of(vocab: u32) -> Self {
        if vocab <= MAX_U16 { Self::U16 } else { Self::U32 }
    }

    /// As a number [bytes].
    pub fn bytes(self) -> usize {
        match self {
            Self::U8 => 1,
            Self::U16 => 2,
            Self::U32 => 4,
            Self::U64 => 8,
        }
    }
}

impl TryFrom<u8> for Width {
    type Error = String;

    fn try_from(bytes: u8) -> Result<Self, String> {
        match bytes {
            1 => Ok(Self::U8),
            2 => Ok(Self::U16),
            4 => Ok(Self::U32),
            8 => Ok(Self::U64),
            _ => Err(format!("ids of {bytes} bytes")),
        }
    }
}

impl From<Width> for u8 {
    fn from(width: Width) -> Self {
        width.bytes() as Self
    }
}

/// Where the ids of a file begin and what they look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Bytes before the first id.
    pub offset: u64,
    /// Bytes of an id.
    pub width: Width,
    /// How many ids [tokens].
    pub tokens: u64,
}

/// The header of a shard of so many ids of one width, two or four bytes.
fn header(width: Width, tokens: u64) -> [u8; HEADER] {
    let (magic, version) = if width == Width::U16 { U16 } else { U32 };
    let mut out = [0; HEADER];
    for (i, value) in [magic, version, tokens as i32].into_iter().enumerate() {
        out[4 * i..4 * i + 4].copy_from_slice(&value.to_le_bytes());
    }
    out
}

/// What the header of a file of `bytes` bytes says, if it is llm.c's and the file is as long as that.
///
/// # Errors
///
/// What does not fit.
pub fn parse_header(start: &[u8], bytes: u64) -> Result<Layout, String> {
    let value = |i: usize| {
        let four = start.get(4 * i..4 * i + 4)?;
        Some(i32::from_le_bytes([four[0], four[1], four[2], four[3]]))
    };
    let (Some(magic), Some(version), Some(tokens)) = (value(0), value(1), value(2)) else {
        return Err(format!("{} bytes are no header, which has {HEADER}", start.len()));
    };
    let width = match (magic, version) {
        U16 => Width::U16,
        U32 => Width::U32,
        _ => {
            let (old, new) = (U16, U32);
            return Err(format!(
                "magic number {magic}, version {version}: want {}, {} or {}, {}",
                old.0, old.1, new.0, new.1
            ));
        }
    };
    let tokens = u64::try_from(tokens).map_err(|_| format!("a count of {tokens} tokens"))?;
    let want = HEADER as u64 + tokens * width.bytes() as u64;
    if bytes != want {
        return Err(format!("{bytes} bytes, {tokens} tokens take {want}"));
    }
    Ok(Layout { offset: HEADER as u64, width, tokens })
}

/// Reads ids, each below `vocab`, from as many bytes as `out` takes.
///
/// # Errors
///
/// The first id that is not below `vocab`.
pub fn decode(bytes: &[u8], width: Width, vocab: u32, out: &mut [i32]) -> Result<(), u64> {
    debug_assert_eq!(bytes.len(), out.len() * width.bytes());
    let mut worst = 0;
    let mut put = |to: &mut i32, id: u64| {
        worst = worst.max(id);
        *to = id as i32;
    };
    match width {
        Width::U8 => out.iter_mut().zip(bytes).for_each(|(to, b)| put(to, u64::from(*b))),
        Width::U16 => {
            for (to, b) in out.iter_mut().zip(bytes.as_chunks::<2>().0) {
                put(to, u64::from(u16::from_le_bytes(*b)));
            }
        }
        Width::U32 => {
            for (to, b) in out.iter_mut().zip(bytes.as_chunks::<4>().0) {
                put(to, u64::from(u32::from_le_bytes(*b)));
            }
        }
        Width::U64 => {
            for (to, b) in out.iter_mut().zip(bytes.as_chunks::<8>().0) {
                put(to, u64::from_le_bytes(*b));
            }
        }
    }
    if worst < u64::from(vocab) { Ok(()) } else { Err(worst) }
}

/// The XXH3-64 of every block, fed in pieces of any length.
#[derive(Debug, Default)]
pub struct Blocks {
    rest: Vec<u8>,
    hashes: Vec<u64>,
}

impl Blocks {
    /// The bytes that follow.
    pub fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.rest.is_empty() && bytes.len() >= BLOCK {
                let (block, later) = bytes.split_at(BLOCK);
                self.hashes.push(xxh3_64(block));
                bytes = later;
                continue;
            }
            let (now, later) = bytes.split_at(bytes.len().min(BLOCK - self.rest.len()));
            self.rest.extend_from_slice(now);
            bytes = later;
            if self.rest.len() == BLOCK {
                self.hashes.push(xxh3_64(&self.rest));
                self.rest.clear();
            }
        }
    }

    /// A hash for each block, the last of which may be short.
    pub fn finish(mut self) -> Vec<u64> {
        if !self.rest.is_empty() {
            self.hashes.push(xxh3_64(&self.rest));
        }
        self.hashes
    }
}

/// Writes one shard, document by document, in memory that grows by 12 bytes a document.
///
/// The header counts the tokens, so it is written last and the file is read once more for its hashes: `out` is a
/// scratch file that gets its name afterwards.
///
/// ```
/// use isoflop::corpus::{Index, ShardWriter};
///
/// let mut writer = ShardWriter::new(std::io::Cursor::new(Vec::new()), 50_257)?;
/// writer.push(&[464, 6844, 50_256], 7)?; // ids with their separator, and the document's key
/// let (file, written) = writer.finish()?;
/// assert_eq!((written.documents, written.tokens, written.bytes), (1, 3, 1024 + 6));
/// assert_eq!(file.into_inner().len() as u64, written.bytes);
/// assert_eq!(Index::decode(&written.index).unwrap().keys, [7]);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct ShardWriter<F> {
    out: F,
    vocab: u32,
    width: Width,
    buffer: Vec<u8>,
    tokens: u64,
    lengths: Vec<u32>,
    keys: Vec<u64>,
}

/// A shard that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Length of the file [bytes].
    pub bytes: u64,
    /// SHA-256 of the file.
    pub sha256: String,
    /// Bytes of an id.
    pub width: Width,
    /// How many documents.
    pub documents: u64,
    /// How many ids, separators included [tokens].
    pub tokens: u64,
    /// The bytes of the `.idx`.
    pub index: Vec<u8>,
}

impl<F: Read + Write + Seek> ShardWriter<F> {
    /// A shard of ids below `vocab` in an empty file.
    ///
    /// # Errors
    ///
    /// The file's.
    pub fn new(mut out: F, vocab: u32) -> io::Result<Self> {
        out.write_all(&[0; HEADER])?;
        let width = Width::of(vocab);
        let (buffer, lengths, keys) = (Vec::new(), Vec::new(), Vec::new());
        Ok(Self { out, vocab, width, buffer, tokens: 0, lengths, keys })
    }

    /// Tokens so far.
    pub fn tokens(&self) -> u64 {
        self.tokens
    }

    /// Adds a document: its ids with the separator, and its key, the first 8 bytes of the SHA-256 of its raw text as
    /// a little-endian number.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for an id that is not below the vocabulary, or where the shard would have 2^31 tokens; nothing
    /// is added then. Else the file's.
    pub fn push(&mut self, ids: &[u32], key: u64) -> io::Result<()> {
        let refuse = |why: String| Err(io::Error::new(ErrorKind::InvalidInput, why));
        if let Some(id) = ids.iter().find(|id| **id >= self.vocab) {
            return refuse(format!("id {id} is not below the vocabulary of {}", self.vocab));
        }
        if self.tokens + ids.len() as u64 >= MAX_TOKENS {
            return refuse(format!("a shard holds fewer than {MAX_TOKENS} tokens"));
        }
        for id in ids {
            self.buffer.extend_from_slice(&id.to_le_bytes()[..self.width.bytes()]);
        }
        self.tokens += ids.len() as u64;
        self.lengths.push(ids.len() as u32);
        self.keys.push(key);
        if self.buffer.len() >= 1 << 20 {
            self.out.write_all(&self.buffer)?;
            self.buffer.clear();
        }
        Ok(())
    }

    /// Writes what is left and the header, and reads the file back for its hashes. It is not synced.
    ///
    /// # Errors
    ///
    /// The file's.
    pub fn finish(mut self) -> io::Result<(F, Written)> {
        self.out.write_all(&self.buffer)?;
        self.out.rewind()?;
        self.out.write_all(&header(self.width, self.tokens))?;
        self.out.flush()?;
        self.out.rewind()?;
        let (bytes, sha256, blocks) = hash(&mut self.out)?;
        let want = HEADER as u64 + self.tokens * self.width.bytes() as u64;
        if bytes != want {
            let why = format!("{bytes} bytes are read back of {want} that were written");
            return Err(io::Error::new(ErrorKind::InvalidData, why));
        }
        let documents = self.lengths.len() as u64;
        let index = Index { lengths: self.lengths, keys: self.keys, blocks }.encode();
        let Self { width, tokens, out, .. } = self;
        Ok((out, Written { bytes, sha256, width, documents, tokens, index }))
    }
}

/// Length, SHA-256 and the hash of each block of all that is left to read.
///
/// # Errors
///
/// The reader's.
pub fn hash(from: &mut impl Read) -> io::Result<(u64, String, Vec<u64>)> {
    let (mut sha256, mut blocks, mut bytes) = (Sha256::new(), Blocks::default(), 0);
    let mut buffer = vec![0; 1 << 20];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok((bytes, hex(&sha256.finalize()), blocks.finish())),
            Ok(n) => {
                sha256.update(&buffer[..n]);
                blocks.update(&buffer[..n]);
                bytes += n as u64;
            }
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::*;

    fn written(vocab: u32, documents: &[Vec<u32>]) -> (Vec<u8>, Written) {
        let mut writer = ShardWriter::new(Cursor::new(Vec::new()), vocab).unwrap();
        for (i, ids) in documents.iter().enumerate() {
            writer.push(ids, i as u64).unwrap();
        }
        let (file, written) = writer.finish().unwrap();
        (file.into_inner(), written)
    }

    /// The bytes by hand, as llm.c's `dataloader.h` reads them.
    #[test]
    fn a_shard_is_llm_cs_to_the_byte() {
        let (file, facts) = written(50_257, &[vec![1, 258], vec![50_256]]);
        let mut want = vec![0; 1024];
        want[..12].copy_from_slice(&[0x88, 0xd8, 0x34, 0x01, 1, 0, 0, 0, 3, 0, 0, 0]);
        want.extend([1, 0, 2, 1, 0x50, 0xc4]);
        assert_eq!(file, want);
        assert_eq!(facts.sha256, hex(&Sha256::digest(&want)));
        let (file, _) = written(70_000, &[vec![65_536]]);
        assert_eq!(file[..12], [0xa1, 0xd9, 0x34, 0x01, 7, 0, 0, 0, 1, 0, 0, 0]);
        assert_eq!(file[1024..], [0, 0, 1, 0]);
        let layout = parse_header(&file, 1028).unwrap();
        assert_eq!(layout, Layout { offset: 1024, width: Width::U32, tokens: 1 });
        assert!(parse_header(&file, 1029).unwrap_err().contains("1029 bytes"));
        assert!(parse_header(&[0; 1024], 1024).unwrap_err().contains("magic number 0"));
    }

    #[test]
    fn every_block_of_64_kib_has_its_hash() {
        let document: Vec<u32> = (0..70_000).map(|i| i % 50_000).collect();
        let (file, facts) = written(50_000, &[document.clone(), document]);
        let index = Index::decode(&facts.index).unwrap();
        let want: Vec<u64> = file.chunks(BLOCK).map(xxh3_64).collect();
        assert_eq!(want.len(), 5);
        assert_eq!(index.blocks, want);
        assert_eq!((index.lengths, index.keys), (vec![70_000; 2], vec![0, 1]));
    }

    #[test]
    fn an_id_beyond_the_vocabulary_is_refused_where_it_is_written_and_where_it_is_read() {
        let mut writer = ShardWriter::new(Cursor::new(Vec::new()), 300).unwrap();
        let error = writer.push(&[1, 300], 0).unwrap_err();
        assert!(error.to_string().contains("id 300 is not below the vocabulary of 300"), "{error}");
        assert_eq!(writer.tokens(), 0);
        let mut out = [0; 2];
        assert_eq!(decode(&[1, 0, 44, 1], Width::U16, 300, &mut out), Err(300));
        assert_eq!(decode(&[1, 0, 43, 1], Width::U16, 300, &mut out), Ok(()));
        assert_eq!(out, [1, 299]);
        // A negative number of Megatron's signed types.
        assert!(decode(&[0xff; 8], Width::U64, 300, &mut out[..1]).is_err());
    }

    proptest! {
        #[test]
        fn ids_come_back(ids in prop::collection::vec(0_u32..200_000, 0..50), narrow: bool) {
            let vocab = if narrow { 60_000 } else { 200_000 };
            let ids: Vec<u32> = ids.into_iter().map(|id| id % vocab).collect();
            let (file, facts) = written(vocab, std::slice::from_ref(&ids));
            let layout = parse_header(&file, file.len() as u64).unwrap();
            prop_assert_eq!(layout.tokens, ids.len() as u64);
            prop_assert_eq!(layout.width, facts.width);
            let mut out = vec![0; ids.len()];
            decode(&file[HEADER..], layout.width, vocab, &mut out).unwrap();
            prop_assert!(out.iter().zip(&ids).all(|(l, r)| *l == r.cast_signed()));
        }

        #[test]
        fn blocks_do_not_depend_on_the_pieces(cuts in prop::collection::vec(1_usize..90_000, 1..8)) {
            let bytes: Vec<u8> = (0..200_000_u32).map(|i| (i * 7 % 251) as u8).collect();
            let (mut blocks, mut rest) = (Blocks::default(), bytes.as_slice());
            for cut in cuts {
                let (now, later) = rest.split_at(cut.min(rest.len()));
                blocks.update(now);
                rest = later;
            }
            blocks.update(rest);
            prop_assert_eq!(blocks.finish(), bytes.chunks(BLOCK).map(xxh3_64).collect::<Vec<_>>());
        }

        #[test]
        fn any_header_is_read_or_refused(start in prop::collection::vec(any::<u8>(), 0..40), bytes: u64) {
            let _ = parse_header(&start, bytes);
        }
    }
}
