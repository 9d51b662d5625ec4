//! A sweep, opened: its file read, its data loaded, its grid expanded.

use std::path::{Path, PathBuf};

use super::Failure;
use crate::data::Dataset;
use crate::error::{FileError, InputError, exit};
use crate::fs::{Disk as _, Os};
use crate::ledger::Ledger;
use crate::plan::{Cell, Plan};
use crate::spec::{MAX_FILE, Spec};

/// Where a sweep's plan is kept in its results directory.
pub(super) const PLAN: &str = "plan.json";
/// Where a sweep's file is kept in its results directory.
pub(super) const SWEEP: &str = "sweep.toml";

/// A sweep with its data.
pub(super) struct Study {
    pub(super) text: String,
    pub(super) spec: Spec,
    pub(super) data: Dataset,
    pub(super) plan: Plan,
}

/// Reads and checks a sweep file; errors point into it.
pub(super) fn read_spec(path: &Path) -> Result<(Spec, String), Failure> {
    let length = std::fs::metadata(path).map_err(FileError::new("read", path))?.len();
    if length > MAX_FILE as u64 {
        let message =
            format!("`{}` has {length} bytes, at most {MAX_FILE} are read", path.display());
        return Err(InputError::new(message, "a sweep file holds a grid, not data").into());
    }
    let bytes = std::fs::read(path).map_err(FileError::new("read", path))?;
    let text = String::from_utf8(bytes).map_err(|e| {
        let message = format!("`{}` is not UTF-8 text: {}", path.display(), e.utf8_error());
        InputError::new(message, "save it as UTF-8")
    })?;
    let spec = Spec::parse(&text).map_err(|e| Failure {
        message: e.render(&path.display().to_string(), &text).trim_end().to_owned(),
        code: exit::INPUT,
    })?;
    Ok((spec, text))
}

impl Study {
    /// Opens a sweep file. A trained tokenizer is kept in `cache`, if given.
    pub(super) fn open(path: &Path, cache: Option<&Path>) -> Result<Self, Failure> {
        let (spec, text) = read_spec(path)?;
        if let Some(dir) = cache {
            Os.create_dirs(&dir.join(spec.name.get_ref()))?;
        }
        let cache = cache.map(|dir| dir.join(spec.name.get_ref()));
        let data = Dataset::load(&spec, cache.as_deref())?;
        let plan = Plan::new(&spec, &data.facts);
        plan.check().map_err(|e| {
            let hint = "docs/FORMATS.md has the form of a rule: value * (N / params_ref)^params_exponent * ...";
            InputError::new(format!("{}: {e}", path.display()), hint)
        })?;
        Ok(Self { text, spec, data, plan })
    }
}

/// A results directory as it was left: what was planned, and what came of it.
pub(super) struct Recorded {
    pub(super) name: String,
    pub(super) dir: PathBuf,
    pub(super) spec: Spec,
    pub(super) text: String,
    pub(super) ledger: Ledger,
}

impl Recorded {
    /// `results/<name>`, given that directory or the sweep file.
    pub(super) fn dir(path: &Path, results: &Path) -> Result<PathBuf, Failure> {
        if path.is_dir() {
            return Ok(path.to_owned());
        }
        Ok(results.join(read_spec(path)?.0.name.get_ref()))
    }

    /// Opens `results/<name>`, given that directory or the sweep file.
    pub(super) fn open(path: &Path, results: &Path) -> Result<Self, Failure> {
        let dir = Self::dir(path, results)?;
        let cells = planned(&dir)?;
        let (spec, text) = read_spec(&dir.join(SWEEP))?;
        let ledger = Ledger::read(&dir, &cells)?;
        Ok(Self { name: spec.name.get_ref().clone(), dir, spec, text, ledger })
    }
}

/// The cells of plan.json in `results/<sweep>`.
pub(super) fn planned(dir: &Path) -> Result<Vec<Cell>, Failure> {
    let plan = dir.join(PLAN);
    let json = std::fs::read(&plan).map_err(|source| {
        let hint = "`isoflop run SWEEP` makes it";
        let message = format!(
            "`{}` is not a results directory: cannot read `{}`: {source}",
            dir.display(),
            plan.display()
        );
        InputError::new(message, hint)
    })?;
    Ok(serde_json::from_slice(&json).map_err(|e| {
        let message = format!("`{}` is damaged: {e}", plan.display());
        InputError::new(message, "`isoflop run SWEEP` writes it again").with_code(exit::DAMAGED)
    })?)
}

/// Writes what was asked for and what it became, before any cell starts; not while another runner is at
/// work on another plan.
pub(super) fn write_plan(dir: &Path, study: &Study) -> Result<(), Failure> {
    let json = serde_json::to_vec_pretty(&study.plan.cells)
        .expect("cells have no map with other keys than text");
    let before = std::fs::read(dir.join(PLAN)).unwrap_or_default();
    if before != json {
        // A plan that cannot be read is no reason to refuse: its cells are found by their ids.
        let cells: Vec<Cell> = serde_json::from_slice(&before).unwrap_or_default();
        let at_work = Ledger::read(dir, &cells)?.count("running");
        if at_work > 0 {
            return Err(InputError::new(
                format!("another run is at work on another plan in `{}`", dir.display()),
                "wait for it, or stop it; or give this sweep another name",
            )
            .with_code(exit::AGAIN)
            .into());
        }
        Os.write_atomic(&dir.join(PLAN), &json)?;
    }
    let (sweep, text) = (dir.join(SWEEP), study.text.as_bytes());
    if std::fs::read(&sweep).ok().as_deref() != Some(text) {
        Os.write_atomic(&sweep, text)?;
    }
    Ok(())
}
