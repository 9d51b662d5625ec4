//! Every byte of a dataset against its hash.

use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::manifest;
use super::shard::{has_length, whole_file};
use crate::corpus::index::{BLOCK, Index};
use crate::corpus::manifest::{FILE, FileFacts, Manifest, Shard};
use crate::corpus::shard::hash;
use crate::data::DataError;
use crate::error::FileError;
use crate::fs::Placed;

/// Blocks that are named of one file.
const NAMED: usize = 5;

/// A file of a dataset that is not as it was written.
#[derive(Debug)]
pub struct Damage {
    /// Which.
    pub path: PathBuf,
    /// What of it.
    pub what: String,
}

/// What was verified.
#[derive(Debug)]
pub struct Verified {
    /// Files, the manifest included.
    pub files: usize,
    /// Their length [bytes].
    pub bytes: u64,
    /// What is damaged, by path.
    pub damages: Vec<Damage>,
}

/// Whether a directory has the manifest of a dataset.
pub fn is_dataset(dir: &Path) -> bool {
    dir.join(FILE).is_file()
}

/// Reads all files of the dataset in `dir`.
///
/// # Errors
///
/// [`DataError`] where the manifest cannot be read: it says what there is.
pub fn verify(dir: &Path) -> Result<Verified, DataError> {
    let manifest: Manifest = manifest(dir)?;
    let tokenizer = manifest.tokenizer.file.iter().filter_map(|facts| {
        let path = dir.join(&facts.file);
        let found = whole(&path, facts).err()?;
        Some(Damage { path, what: found })
    });
    let mut damages: Vec<Damage> = tokenizer.collect();
    let shards: Vec<&Shard> = manifest.shards().collect();
    let of_shards = shards.par_iter().flat_map_iter(|facts| shard(dir, facts));
    damages.extend(of_shards.collect::<Vec<_>>());
    damages.sort_by(|l, r| l.path.cmp(&r.path));
    let bytes = manifest.files().map(|f| f.bytes).sum::<u64>() + manifest.seal().len() as u64;
    Ok(Verified { files: 1 + manifest.files().count(), bytes, damages })
}

/// What is wrong with a file that is read at once.
fn whole(path: &Path, facts: &FileFacts) -> Result<Vec<u8>, String> {
    let found = has_length(path, facts).and_then(|()| whole_file(path, facts));
    found.map_err(|error| error.to_string())
}

fn shard(dir: &Path, facts: &Shard) -> Vec<Damage> {
    let (path, index) = (dir.join(&facts.file.file), dir.join(&facts.index.file));
    let mut out = Vec::new();
    let blocks = match whole(&index, &facts.index).map(|bytes| Index::decode(&bytes)) {
        Ok(Ok(index)) => Some(index.blocks),
        Ok(Err(what)) | Err(what) => {
            out.push(Damage { path: index, what });
            None
        }
    };
    let read = has_length(&path, &facts.file).and_then(|()| {
        let mut file = Placed::open(&path)?;
        Ok(hash(&mut file).map_err(FileError::new("read", &path))?)
    });
    match read {
        Err(error) => out.push(Damage { path, what: error.to_string() }),
        Ok((_, sha256, _)) if sha256 == facts.file.sha256 => {}
        Ok((.., found)) => {
            let what = blocks.map_or_else(String::new, |want| named(&want, &found));
            out.push(Damage {
                path,
                what: format!("its SHA-256 is not that of its manifest{what}"),
            });
        }
    }
    out
}

/// Which blocks are others than they were.
fn named(want: &[u64], found: &[u64]) -> String {
    let others: Vec<usize> =
        want.iter().zip(found).enumerate().filter(|(_, (l, r))| l != r).map(|(i, _)| i).collect();
    let name = |block: &usize| format!("block {block} (from byte {})", block * BLOCK);
    let names: Vec<String> = others.iter().take(NAMED).map(name).collect();
    match others.len() {
        0 => String::new(),
        n if n > NAMED => format!(": {} and {} more", names.join(", "), n - NAMED),
        _ => format!(": {}", names.join(", ")),
    }
}
