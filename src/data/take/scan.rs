//! One pass over a token file: its hashes, its largest id, its documents and their keys.

use std::io::Read as _;
use std::path::Path;

use sha2::{Digest as _, Sha256};

use super::key;
use crate::corpus::Index;
use crate::corpus::foreign::Format;
use crate::corpus::manifest::Shard;
use crate::corpus::shard::{Blocks, HEADER, Layout, Width, decode};
use crate::data::DataError;
use crate::error::{FileError, InputError};
use crate::fs::{Disk as _, Os, Placed, length};
use crate::plan::hex;

/// Bytes that are read at once; a whole number of ids of every width.
const CHUNK: usize = 1 << 20;
/// Longest index of another tool that is read [bytes].
const MAX_BESIDE: u64 = 8 << 30;

/// What a file holds.
pub(super) struct Scanned {
    pub(super) bytes: u64,
    pub(super) sha256: String,
    pub(super) layout: Layout,
    pub(super) largest: u64,
    pub(super) index: Index,
}

/// Reads all of a file. Without an index of documents a `separator` parts them, where it is known: after each, or, where
/// the file begins with one, before each. `progress` is told of bytes as they are read.
pub(super) fn scan(
    path: &Path,
    format: Format,
    separator: Option<u32>,
    progress: &dyn Fn(u64),
) -> Result<Scanned, DataError> {
    let refuse = |why: String| -> DataError {
        let message = format!("`{}` is no token file of this format: {why}", path.display());
        InputError::new(message, "give the --format that wrote it").into()
    };
    let bytes = length(path)?;
    let mut file = Placed::open(path)?;
    let mut start = vec![0; HEADER.min(bytes as usize)];
    file.read_at(&mut start, 0)?;
    let beside = match format.beside() {
        None => Vec::new(),
        Some(ending) => {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let name = name.strip_suffix(format.ending()).unwrap_or(&name).to_owned() + ending;
            let beside = path.with_file_name(name);
            Os.read(&beside, MAX_BESIDE).map_err(FileError::new("read", beside))?
        }
    };
    let (layout, lengths) = format.read(&start, bytes, &beside).map_err(refuse)?;
    let (mut sha256, mut blocks) = (Sha256::new(), Blocks::default());
    let mut documents = Documents::new(lengths, separator);
    let (mut rest, mut largest) = (Vec::new(), 0);
    let mut skip = layout.offset as usize;
    let mut chunk = vec![0; CHUNK];
    loop {
        let n = file.read(&mut chunk).map_err(FileError::new("read", path))?;
        if n == 0 {
            break;
        }
        progress(n as u64);
        sha256.update(&chunk[..n]);
        blocks.update(&chunk[..n]);
        let header = skip.min(n);
        skip -= header;
        rest.extend_from_slice(&chunk[header..n]);
        let whole = rest.len() - rest.len() % layout.width.bytes();
        for id in numbers(&rest[..whole], layout.width) {
            largest = largest.max(id);
            documents.push(id);
        }
        rest.drain(..whole);
    }
    let (lengths, keys) = documents.finish();
    let index = Index { lengths, keys, blocks: blocks.finish() };
    if !index.lengths.is_empty() && index.tokens() != layout.tokens {
        return Err(refuse(format!(
            "it was read as {} tokens of {}",
            index.tokens(),
            layout.tokens
        )));
    }
    Ok(Scanned { bytes, sha256: hex(&sha256.finalize()), layout, largest, index })
}

/// Ids of any size.
fn numbers(bytes: &[u8], width: Width) -> impl Iterator<Item = u64> + '_ {
    bytes
        .chunks_exact(width.bytes())
        .map(|b| b.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

/// Some ids of a shard.
pub(super) fn ids(
    file: &Placed,
    shard: &Shard,
    first: u64,
    tokens: u64,
    vocab: u32,
) -> Result<Vec<u32>, DataError> {
    let width = shard.width.bytes();
    let mut bytes = vec![0; tokens as usize * width];
    file.read_at(&mut bytes, shard.offset + first * width as u64)?;
    let mut out = vec![0; tokens as usize];
    decode(&bytes, shard.width, vocab, &mut out).map_err(|id| {
        let message = format!("`{}` has the id {id} now, which it had not before", shard.file.file);
        InputError::new(message, "let nobody write to it, and take it again")
    })?;
    Ok(out.into_iter().map(i32::cast_unsigned).collect())
}

/// Parts ids into documents as they come.
struct Documents {
    /// As told, in the order of the file; nothing where a separator parts them.
    told: std::vec::IntoIter<u32>,
    separator: Option<u64>,
    /// The separator stands before each document.
    leads: Option<bool>,
    /// What is left of the document that is told.
    left: u32,
    hash: Sha256,
    length: u32,
    lengths: Vec<u32>,
    keys: Vec<u64>,
    by_length: bool,
}

impl Documents {
    fn new(lengths: Vec<u32>, separator: Option<u32>) -> Self {
        let by_length = !lengths.is_empty();
        Self {
            told: lengths.into_iter(),
            separator: separator.map(u64::from),
            leads: None,
            left: 0,
            hash: Sha256::new(),
            length: 0,
            lengths: Vec::new(),
            keys: Vec::new(),
            by_length,
        }
    }

    fn push(&mut self, id: u64) {
        if self.by_length {
            while self.left == 0 {
                let Some(length) = self.told.next() else { return };
                self.left = length;
                if length == 0 {
                    self.end();
                }
            }
            self.add(id);
            self.left -= 1;
            if self.left == 0 {
                self.end();
            }
            return;
        }
        let Some(separator) = self.separator else { return };
        let leads = *self.leads.get_or_insert(id == separator);
        if leads && id == separator && self.length > 0 {
            self.end();
        }
        self.add(id);
        // A document that has no end for so long has one here.
        if !leads && id == separator || self.length == u32::MAX {
            self.end();
        }
    }

    fn add(&mut self, id: u64) {
        self.length += 1;
        if Some(id) != self.separator {
            self.hash.update((id as u32).to_le_bytes());
        }
    }

    fn end(&mut self) {
        self.lengths.push(std::mem::take(&mut self.length));
        self.keys.push(key(std::mem::take(&mut self.hash)));
    }

    fn finish(mut self) -> (Vec<u32>, Vec<u64>) {
        if self.length > 0 {
            self.end();
        }
        // Empty documents at the end of what was told.
        for _ in 0..self.told.len() {
            self.end();
        }
        (self.lengths, self.keys)
    }
}
