//! Datasets: shards of other tools taken in place, and every byte of a dataset verified.

use std::path::Path;

use super::Failure;
use crate::corpus::Manifest;
use crate::data::dataset::{self, Verified};
pub use crate::data::take::Taking;
use crate::data::take::take;

/// Takes token shards where they lie: their manifest, which is then there.
///
/// # Errors
///
/// [`Failure`] names the file that does not fit, and why.
pub fn index(taking: Taking<'_>) -> Result<Manifest, Failure> {
    Ok(take(taking)?)
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
