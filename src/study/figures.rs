//! Figures as files.

use std::path::Path;

use rayon::prelude::*;

use super::Failure;
use crate::error::exit;
use crate::figure::{self, Figure};
use crate::fs::{Disk as _, Os};

/// Each as SVG and PNG, in `figures/` of the analysis.
///
/// # Errors
///
/// [`Failure`] where one cannot be drawn or written.
pub(super) fn write(dir: &Path, figures: &[Figure]) -> Result<(), Failure> {
    let drawn = figures.par_iter().map(|figure| figure::png(&figure.svg));
    for (figure, png) in figures.iter().zip(drawn.collect::<Vec<_>>()) {
        let path = |ending: &str| dir.join("figures").join(format!("{}.{ending}", figure.name));
        let png = png.map_err(|e| Failure {
            message: format!("cannot draw {}: {e}", figure.name),
            code: exit::BUG,
        })?;
        Os.write_atomic(&path("svg"), figure.svg.as_bytes())?;
        Os.write_atomic(&path("png"), &png)?;
    }
    Ok(())
}
