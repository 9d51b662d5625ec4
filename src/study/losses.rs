//! A law for each of several losses of the same runs.
//!
//! Each has its own directory with fit.json, figures and report, named by its column; none overwrites another's.

use std::path::{Path, PathBuf};

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::input::{self, LOSS};
use super::{Failure, Observer, Runs, analysis, pages};
use crate::error::InputError;
use crate::fit::{Analysis, Options};
use crate::import;
use crate::plan::hex;
use crate::predict::{self, Irreducible, Prediction};

/// The law of one loss.
#[derive(Debug, Serialize)]
pub struct OfLoss {
    /// The column.
    pub loss: String,
    /// The unit of its losses.
    pub loss_unit: String,
    /// Where its fit.json, figures and report are.
    pub directory: PathBuf,
    /// E averaged over the forms; nothing without a surface.
    pub irreducible: Option<Irreducible>,
    /// The compute-optimal run at ten times the largest compute; nothing without a surface.
    pub ahead: Option<Prediction>,
    /// The fit.
    pub fit: Analysis,
}

/// A loss to which no law could be fitted.
#[derive(Debug, Serialize)]
pub struct Refused {
    /// The column.
    pub loss: String,
    /// Why.
    pub reason: String,
}

/// Opens a table once for each loss column; nothing is fitted before every column was found.
///
/// # Errors
///
/// [`Failure`] where a column is named twice or is not there, or the runs have one loss only.
pub fn open(
    path: &Path,
    losses: &[(String, import::Options)],
) -> Result<Vec<(String, Runs, PathBuf)>, Failure> {
    let columns: Vec<&str> = losses.iter().map(|(column, _)| column.as_str()).collect();
    if let Some(twice) = (1..columns.len()).find(|i| columns[..*i].contains(&columns[*i])) {
        let message = format!("--map names the loss `{}` twice", columns[twice]);
        return Err(InputError::new(message, "give each column once").into());
    }
    let mut opened = Vec::new();
    for (column, options) in losses {
        let (runs, place) = input::open(path, options)?;
        if runs.read_as().is_empty() {
            let message = format!("`{}` has one loss, and --map names several", path.display());
            return Err(InputError::new(message, "several losses are columns of a table").into());
        }
        opened.push((column.clone(), runs, place));
    }
    Ok(opened)
}

/// Fits the law of one loss and writes its pages under `base`.
///
/// # Errors
///
/// [`Failure`] where no law can be fitted, or a file cannot be written.
pub fn fit(
    column: &str,
    runs: &Runs,
    options: &Options,
    base: &Path,
    observer: &dyn Observer,
) -> Result<OfLoss, Failure> {
    let fit = analysis::analyse(runs, options, observer)?;
    let predictions = analysis::predictions(runs, &fit);
    let out = base.join(directory(column));
    pages::write(&out, runs, &fit, &predictions)?;
    Ok(OfLoss {
        loss: column.to_owned(),
        loss_unit: fit.convention.loss.clone(),
        directory: out,
        irreducible: predict::irreducible(&fit),
        ahead: predictions.into_iter().next(),
        fit,
    })
}

/// The directory of a loss: its name, with a hash where a file's name cannot hold it.
pub(super) fn directory(column: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let name: String = column.chars().map(|c| if plain(c) { c } else { '-' }).collect();
    if name == column {
        return format!("{LOSS}{name}");
    }
    let hash = hex(&Sha256::digest(column.as_bytes()));
    format!("{LOSS}{name}-{}", &hash[..8])
}

#[cfg(test)]
mod tests {
    use super::directory;

    #[test]
    fn every_column_has_a_directory_of_its_own() {
        assert_eq!(directory("c4_val"), "loss-c4_val");
        let [one, other] = ["a b", "a/b"].map(directory);
        assert!(one != other && one.starts_with("loss-a-b-") && !other.contains('/'));
        assert_ne!(directory("a-b"), one);
    }
}
