//! What was read of files, as a results directory keeps it: for pages, and for what fits say of their losses.

use std::io::ErrorKind;
use std::path::Path;

use super::Failure;
use super::failure::json;
use crate::error::FileError;
use crate::fs::{Disk as _, Os};
use crate::plan::{CORPUS, Corpus};
use crate::points::{Remark, Topic};

/// Longest file that is read [bytes].
const MAX_FILE: u64 = 1 << 20;

/// Keeps what was read; of a source that is not files nothing is kept.
///
/// # Errors
///
/// [`Failure`] where it cannot be written.
pub(super) fn write(results: &Path, corpus: Option<&Corpus>) -> Result<(), Failure> {
    let file = results.join(CORPUS);
    match corpus {
        Some(corpus) => {
            let bytes = json(corpus);
            if Os.read(&file, MAX_FILE).ok().as_ref() != Some(&bytes) {
                Os.write_atomic(&file, &bytes)?;
            }
        }
        None => match Os.remove(&file) {
            Err(e) if e.kind() != ErrorKind::NotFound => {
                return Err(FileError::new("remove", file)(e).into());
            }
            _ => {}
        },
    }
    Ok(())
}

/// What is kept, where it can be read. It decides no number.
pub(super) fn read(results: &Path) -> Option<Corpus> {
    serde_json::from_slice(&Os.read(&results.join(CORPUS), MAX_FILE).ok()?).ok()
}

/// What a fit says of the held-out text.
pub(super) fn remark(results: &Path) -> Option<Remark> {
    let text = read(results)?.held_out.noise_told()?;
    Some(Remark { topic: Topic::HeldOut, text })
}
