//! One shard, read at places: every 64 KiB of it is held against its hash before an id of it is used.

use std::io::ErrorKind;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use xxhash_rust::xxh3::xxh3_64;

use super::files::Files;
use crate::corpus::index::{self, BLOCK, Index};
use crate::corpus::manifest::{FileFacts, Shard};
use crate::corpus::shard::decode;
use crate::data::DataError;
use crate::error::{FileError, InputError, exit};
use crate::fs::{self, Disk as _, Os, Placed};

/// A shard of a dataset that is open.
#[derive(Debug)]
pub(super) struct Open {
    facts: Shard,
    path: PathBuf,
    index: PathBuf,
    vocab: u32,
    /// (id from which on so many are passed over, counted without them; how many in all), where some are.
    skips: Vec<(u64, u64)>,
    /// Hash and state of each block, from when the shard is read first.
    blocks: OnceLock<Blocks>,
    /// All of it, where the dataset is small.
    whole: Option<OnceLock<Vec<u8>>>,
}

#[derive(Debug)]
struct Blocks {
    hashes: Vec<u64>,
    /// A bit for each that was found to be as it was written.
    right: Vec<AtomicU64>,
}

/// What is wrong with a file of a dataset (exit code 3).
pub(super) fn damaged(path: &Path, what: &str) -> DataError {
    InputError::new(
        format!("`{}` is damaged: {what}", path.display()),
        "`isoflop check DATASET` lists all that is: restore these files, or prepare the dataset anew; what was trained \
         before is sound",
    )
    .with_code(exit::DAMAGED)
    .into()
}

/// The same, where the file says less than its manifest.
fn cut(error: FileError) -> DataError {
    match error.source.kind() {
        ErrorKind::UnexpectedEof => damaged(&error.path, "it is shorter than its manifest says"),
        ErrorKind::NotFound => damaged(&error.path, "it is not there any more"),
        _ => error.into(),
    }
}

impl Open {
    /// Looks at lengths and at the header of the index, and reads nothing else.
    pub(super) fn new(
        dir: &Path,
        facts: &Shard,
        vocab: u32,
        whole: bool,
    ) -> Result<Self, DataError> {
        let (path, index) = (dir.join(&facts.file.file), dir.join(&facts.index.file));
        for (path, facts) in [(&path, &facts.file), (&index, &facts.index)] {
            has_length(path, facts)?;
        }
        let mut start = [0; index::HEADER];
        Placed::open(&index)?.read_at(&mut start, 0).map_err(cut)?;
        let blocks = facts.file.bytes.div_ceil(BLOCK as u64);
        match index::counts(&start) {
            Ok(counts) if counts == (facts.documents, blocks) => {}
            Ok((documents, blocks)) => {
                let what = format!(
                    "it says {documents} documents and {blocks} blocks, its manifest others"
                );
                return Err(damaged(&index, &what));
            }
            Err(why) => return Err(damaged(&index, &why)),
        }
        let (mut skips, mut skipped) = (Vec::new(), 0);
        for [start, length] in &facts.without {
            skips.push((start - skipped, skipped + length));
            skipped += length;
        }
        let whole = whole.then(OnceLock::new);
        Ok(Self { facts: facts.clone(), path, index, vocab, skips, blocks: OnceLock::new(), whole })
    }

    /// Ids that are read [tokens].
    pub(super) fn tokens(&self) -> u64 {
        self.facts.used()
    }

    /// The ids from the `first` on that are not passed over.
    pub(super) fn read(&self, first: u64, out: &mut [i32], files: &Files) -> Result<(), DataError> {
        let (mut first, mut rest) = (first, out);
        while !rest.is_empty() {
            let passed = self.skips.partition_point(|(from, _)| *from <= first);
            let skipped = passed.checked_sub(1).map_or(0, |i| self.skips[i].1);
            let next = self.skips.get(passed).map_or(u64::MAX, |(from, _)| *from);
            let length = rest.len().min(usize::try_from(next - first).unwrap_or(usize::MAX));
            let (now, later) = rest.split_at_mut(length);
            self.ids(first + skipped, now, files)?;
            (first, rest) = (first + length as u64, later);
        }
        Ok(())
    }

    /// The ids from the `first` of the file on.
    fn ids(&self, first: u64, out: &mut [i32], files: &Files) -> Result<(), DataError> {
        let width = self.facts.width.bytes();
        let from = self.facts.offset + first * width as u64;
        let mut bytes = vec![0; out.len() * width];
        self.bytes(from, &mut bytes, files)?;
        decode(&bytes, self.facts.width, self.vocab, out).map_err(|id| {
            let what = format!(
                "between tokens {first} and {} is the id {id}, the vocabulary has {}",
                first + out.len() as u64,
                self.vocab
            );
            damaged(&self.path, &what)
        })
    }

    /// The bytes from `from` on, of blocks that are as they were written.
    fn bytes(&self, from: u64, out: &mut [u8], files: &Files) -> Result<(), DataError> {
        if let Some(whole) = &self.whole {
            let all = if let Some(all) = whole.get() {
                all
            } else {
                let all = self.load()?;
                whole.get_or_init(|| all)
            };
            let from = from as usize;
            out.copy_from_slice(&all[from..from + out.len()]);
            return Ok(());
        }
        let blocks = self.blocks()?;
        let file = files.get(&self.path).map_err(cut)?;
        let (mut at, mut rest, mut buffer) = (from, out, Vec::new());
        while !rest.is_empty() {
            let block = (at / BLOCK as u64) as usize;
            let Range { start, end } = self.span(block);
            let (now, later) = rest.split_at_mut(rest.len().min((end - at) as usize));
            if blocks.is_right(block) {
                file.read_at(now, at).map_err(cut)?;
            } else {
                buffer.resize((end - start) as usize, 0);
                file.read_at(&mut buffer, start).map_err(cut)?;
                self.verify(block, &buffer, blocks)?;
                let inside = (at - start) as usize;
                now.copy_from_slice(&buffer[inside..inside + now.len()]);
            }
            (at, rest) = (at + now.len() as u64, later);
        }
        Ok(())
    }

    /// Where a block lies [bytes].
    fn span(&self, block: usize) -> Range<u64> {
        let start = block as u64 * BLOCK as u64;
        start..(start + BLOCK as u64).min(self.facts.file.bytes)
    }

    fn verify(&self, block: usize, bytes: &[u8], blocks: &Blocks) -> Result<(), DataError> {
        if xxh3_64(bytes) != blocks.hashes[block] {
            let Range { start, end } = self.span(block);
            let what =
                format!("block {block}, bytes {start} to {}, is not as it was written", end - 1);
            return Err(damaged(&self.path, &what));
        }
        blocks.right[block / 64].fetch_or(1 << (block % 64), Ordering::Relaxed);
        Ok(())
    }

    /// All bytes, verified.
    fn load(&self) -> Result<Vec<u8>, DataError> {
        let blocks = self.blocks()?;
        let mut all = vec![0; self.facts.file.bytes as usize];
        Placed::open(&self.path)?.read_at(&mut all, 0).map_err(cut)?;
        for (block, bytes) in all.chunks(BLOCK).enumerate() {
            self.verify(block, bytes, blocks)?;
        }
        Ok(all)
    }

    /// What the index says of the blocks.
    fn blocks(&self) -> Result<&Blocks, DataError> {
        if let Some(blocks) = self.blocks.get() {
            return Ok(blocks);
        }
        let bytes = whole_file(&self.index, &self.facts.index)?;
        let hashes = Index::decode(&bytes).map_err(|why| damaged(&self.index, &why))?.blocks;
        let right = (0..hashes.len().div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        Ok(self.blocks.get_or_init(|| Blocks { hashes, right }))
    }
}

impl Blocks {
    fn is_right(&self, block: usize) -> bool {
        self.right[block / 64].load(Ordering::Relaxed) & (1 << (block % 64)) != 0
    }
}

/// Whether a file is as long as its manifest says.
pub(super) fn has_length(path: &Path, facts: &FileFacts) -> Result<(), DataError> {
    let length = fs::length(path).map_err(|error| match error.source.kind() {
        ErrorKind::NotFound => damaged(path, "it is not there"),
        _ => error.into(),
    })?;
    if length == facts.bytes {
        return Ok(());
    }
    Err(damaged(path, &format!("it has {length} bytes, its manifest says {}", facts.bytes)))
}

/// The bytes of a file that is read at once, where they are those of its manifest.
pub(super) fn whole_file(path: &Path, facts: &FileFacts) -> Result<Vec<u8>, DataError> {
    let bytes = Os.read(path, facts.bytes).map_err(FileError::new("read", path)).map_err(cut)?;
    if FileFacts::of("", &bytes).sha256 == facts.sha256 {
        return Ok(bytes);
    }
    Err(damaged(path, "its SHA-256 is not that of its manifest"))
}
