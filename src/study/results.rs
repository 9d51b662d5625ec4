//! A results directory as it was left, verified before any number is read from it.

use std::path::{Path, PathBuf};

use super::Failure;
use super::sweep::{MAX_PLAN, SWEEP, read_spec};
use crate::error::{InputError, exit};
use crate::fs::{Disk as _, Os};
use crate::ledger::Ledger;
use crate::plan::FILE as PLAN;
use crate::plan::{self, Cell, SEAL};
use crate::spec::Spec;

/// Longest seal that is read [bytes].
pub(super) const MAX_SEAL: u64 = 1 << 10;

/// `results/<sweep>`: what was planned, and what came of it.
#[derive(Debug)]
pub struct Results {
    /// The sweep's name.
    pub name: String,
    /// Where they lie.
    pub dir: PathBuf,
    /// What the sweep file said when they were planned.
    pub spec: Spec,
    /// That file.
    pub text: String,
    /// The state of every cell.
    pub ledger: Ledger,
}

impl Results {
    /// `results/<name>`, given that directory or the sweep file.
    ///
    /// # Errors
    ///
    /// [`Failure`] where the sweep file cannot be read.
    pub fn dir(path: &Path, results: &Path) -> Result<PathBuf, Failure> {
        if path.is_dir() {
            return Ok(path.to_owned());
        }
        Ok(results.join(read_spec(path)?.0.name.get_ref()))
    }

    /// Opens `results/<name>`.
    ///
    /// # Errors
    ///
    /// [`Failure`] where there are none, or the plan is not as it was written.
    pub fn open(dir: &Path) -> Result<Self, Failure> {
        let (cells, spec, text) = recorded(dir)?;
        let ledger = Ledger::read(dir, &cells)?;
        Ok(Self { name: spec.name.get_ref().clone(), dir: dir.to_owned(), spec, text, ledger })
    }
}

/// The cells of plan.json in `results/<sweep>`.
///
/// # Errors
///
/// [`Failure`] where it cannot be read (exit code 2) or is not as it was written (3).
pub fn planned(dir: &Path) -> Result<Vec<Cell>, Failure> {
    Ok(recorded(dir)?.0)
}

/// The same, with the sweep file that they were planned from and its text.
pub(super) fn recorded(dir: &Path) -> Result<(Vec<Cell>, Spec, String), Failure> {
    let plan = dir.join(PLAN);
    let json = Os.read(&plan, MAX_PLAN).map_err(|source| {
        let hint = "`isoflop run SWEEP` makes it";
        let message = format!(
            "`{}` is not a results directory: cannot read `{}`: {source}",
            dir.display(),
            plan.display()
        );
        InputError::new(message, hint)
    })?;
    let damaged = |why: String| {
        let message = format!("`{}` is not as it was written: {why}", plan.display());
        InputError::new(message, "`isoflop run SWEEP` writes it again").with_code(exit::DAMAGED)
    };
    let seal = Os.read(&dir.join(SEAL), MAX_SEAL).ok();
    let (spec, text) = read_spec(&dir.join(SWEEP))?;
    let cells = plan::read(&json, seal.as_deref(), &spec).map_err(damaged)?;
    Ok((cells, spec, text))
}
