//! A directory of one large file and its manifest, visible when the manifest is: checkpoints and weights.
//!
//! The file is written and synced first, then the manifest with its length and hash under a scratch name, synced and
//! renamed. A directory without a manifest is half made, or half removed, and nobody looks at it.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

use crate::error::FileError;
use crate::fs::Disk;
use crate::plan::hex;
use crate::seal::{seal, unseal};

/// What is written last and removed first.
pub(super) const MANIFEST: &str = "manifest.json";
/// Longest manifest [bytes].
const MAX_MANIFEST: u64 = 1 << 16;

/// Writes a file, then its manifest.
///
/// # Errors
///
/// [`FileError`] with the path; what is there then is half made.
pub(super) fn write(
    disk: &dyn Disk,
    dir: &Path,
    (file, bytes): (&str, &[u8]),
    manifest: &impl Serialize,
) -> Result<(), FileError> {
    disk.claim_dir(dir)?;
    disk.appender(&dir.join(file))?.append(bytes, true)?;
    disk.write_atomic(&dir.join(MANIFEST), seal(manifest).as_bytes())
}

/// Removes such a directory, whole or half made, so that what is left by a kill looks half made. One that is gone
/// already was removed by another.
///
/// # Errors
///
/// [`FileError`] with the path.
pub(super) fn remove(disk: &dyn Disk, dir: &Path) -> Result<(), FileError> {
    for path in [dir.join(MANIFEST), dir.to_owned()] {
        match disk.remove(&path) {
            Err(e) if e.kind() != ErrorKind::NotFound => {
                return Err(FileError::new("remove", path)(e));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Whether the manifest is there.
pub(super) fn is_visible(disk: &dyn Disk, dir: &Path) -> bool {
    disk.list(dir).is_ok_and(|files| files.iter().any(|f| f.ends_with(MANIFEST)))
}

/// What lies in the directory and is no part of it.
pub(super) fn strays(disk: &dyn Disk, dir: &Path, file: &str) -> Vec<PathBuf> {
    let own = |p: &PathBuf| p.ends_with(file) || p.ends_with(MANIFEST);
    disk.list(dir).unwrap_or_default().into_iter().filter(|p| !own(p)).collect()
}

/// The manifest, or why it cannot be used.
pub(super) fn manifest<T: DeserializeOwned>(disk: &dyn Disk, dir: &Path) -> Result<T, String> {
    unseal(&content(disk, dir, MANIFEST, MAX_MANIFEST)?)
        .map_err(|why| format!("`{MANIFEST}`: {why}"))
}

/// The file, of at most so many bytes, where it is as long as its manifest says and has that SHA-256.
pub(super) fn read(
    disk: &dyn Disk,
    dir: &Path,
    (file, most): (&str, u64),
    (bytes, sha256): (u64, &str),
) -> Result<Vec<u8>, String> {
    let content = content(disk, dir, file, most)?;
    if content.len() as u64 == bytes && hash(&content) == sha256 {
        return Ok(content);
    }
    Err(format!("hash of `{file}` does not match"))
}

/// The SHA-256 as a manifest has it.
pub(super) fn hash(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Why a format of such a version is not read, if it is not.
pub(super) fn readable(version: u32, own: u32) -> Result<(), String> {
    if version <= own {
        return Ok(());
    }
    Err(format!("written by a newer isoflop (format {version})"))
}

fn content(disk: &dyn Disk, dir: &Path, file: &str, most: u64) -> Result<Vec<u8>, String> {
    disk.read(&dir.join(file), most).map_err(|e| format!("cannot read `{file}`: {e}"))
}
