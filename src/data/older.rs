//! Files as they were read and held out before 28 November 2026: studies that were begun then go on with that.

use std::path::Path;

use super::{Cache, DataError, Dataset};
use crate::error::FileError;
use crate::fs::{Disk as _, Os};
use crate::spec::{Files, Spec};

/// A long file was cut into documents of about this size [bytes].
const DOCUMENT: usize = 32 << 10;
/// Largest total of files that was read [bytes].
const MAX_TEXT: u64 = 4 << 30;

/// The same files by the older rule; nothing where it could not have read them.
///
/// # Errors
///
/// [`DataError`] names the file and what is wrong with it.
pub(super) fn load(
    files: &Files,
    spec: &Spec,
    cache: Option<Cache<'_>>,
) -> Result<Option<Dataset>, DataError> {
    if *files != (Files { paths: files.paths.clone(), ..Files::default() }) {
        return Ok(None);
    }
    let (mut documents, mut total) = (Vec::new(), 0);
    for name in &files.paths {
        let beside = spec.data.base.join(name);
        let path = if beside.exists() { beside } else { Path::new(name).to_owned() };
        if !path.is_file() {
            return Ok(None);
        }
        let bytes = Os.read(&path, MAX_TEXT - total).map_err(FileError::new("read", &path))?;
        total += bytes.len() as u64;
        if std::str::from_utf8(&bytes).is_err() {
            return Ok(None);
        }
        documents.extend(cut(&bytes));
    }
    if documents.len() < 2 {
        return Ok(None);
    }
    Dataset::text(&documents, &spec.data, spec.model.context, cache).map(Some)
}

/// Cuts at the first line end after every 32 kB. Zero bytes separate documents, so they are dropped.
fn cut(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let from = DOCUMENT.min(rest.len());
        let end =
            rest[from..].iter().position(|b| *b == b'\n').map_or(rest.len(), |i| from + i + 1);
        out.push(rest[..end].iter().copied().filter(|b| *b != 0).collect());
        rest = &rest[end..];
    }
    out
}
