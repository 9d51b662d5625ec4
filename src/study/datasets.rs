//! Datasets: shards of other tools taken in place, and every byte of a dataset verified.

use std::path::Path;

use super::Failure;
use crate::corpus::Manifest;
use crate::data::dataset::{self, Verified};
pub use crate::data::take::Taking;
use crate::data::take::take;

/// Takes token shards where they lie: their manifest, which is then there. `watch` is told what was read of them, and
/// all that there is [bytes].
///
/// # Errors
///
/// [`Failure`] names the file that does not fit, and why.
pub fn index(taking: Taking<'_>, watch: &(dyn Fn(u64, u64) + Sync)) -> Result<Manifest, Failure> {
    Ok(take(taking, watch)?)
}

/// Verifies every byte of the dataset in `dir`; `None` where there is none.
///
/// # Errors
///
/// [`Failure`] where its manifest cannot be read.
pub fn verify(dir: &Path) -> Result<Option<Verified>, Failure> {
    if !dataset::is_dataset(dir) {
        return Ok(None);
    }
    Ok(Some(dataset::verify(dir)?))
}
