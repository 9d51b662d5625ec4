//! What a path that a user gives is: a sweep with its results, a fit.json, or somebody's table of runs.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::results::recorded;
use super::{Failure, Observer, Results, Runs, analysis};
use crate::error::InputError;
use crate::fit::{Analysis, Options, Pins, ReadError};
use crate::fs::{Disk as _, Os, read_file};
use crate::import;
use crate::plan::{FILE as PLAN, hex};

/// Longest fit that is read [bytes].
const MAX_FIT: u64 = 1 << 30;
/// Where analyses lie unless a user says otherwise.
const ANALYSIS: &str = "analysis";
/// How the directory of a loss begins, so that it cannot be one of the analysis' own.
pub const LOSS: &str = "loss-";
/// What the directory of a fit with pins is called, before its pins.
const PINNED: &str = "pin-";
/// The fit in a directory of `analysis/`.
const FIT: &str = "fit.json";

/// What a path is.
#[derive(Debug)]
pub enum Input {
    /// `results/<sweep>`.
    Results(PathBuf),
    /// A fit.json that belongs to no results directory here.
    Fit(PathBuf),
    /// Anything else: a table.
    Table(PathBuf),
}

impl Input {
    /// Finds out; `results` is where sweeps leave theirs.
    ///
    /// # Errors
    ///
    /// [`Failure`] where it is a directory of neither results nor an analysis.
    pub fn of(path: &Path, results: &Path) -> Result<Self, Failure> {
        if path.is_dir() {
            if path.join(PLAN).is_file() {
                return Ok(Self::Results(path.to_owned()));
            }
            if path.join(FIT).is_file() {
                return Ok(Self::of_fit(path.join(FIT), results));
            }
            return Err(InputError::new(
                format!(
                    "`{}` holds neither {PLAN} of a sweep nor {FIT} of an analysis",
                    path.display()
                ),
                "give a sweep file, a directory under results/, a table of runs, or a fit.json",
            )
            .into());
        }
        let ending = path.extension().map(|e| e.to_string_lossy().to_lowercase());
        match ending.as_deref() {
            Some("toml") => Ok(Self::Results(Results::dir(path, results)?)),
            Some("json") if is_fit(path) => Ok(Self::of_fit(path.to_owned(), results)),
            _ => Ok(Self::Table(path.to_owned())),
        }
    }

    /// A fit of a sweep that is recorded here is that sweep.
    fn of_fit(fit: PathBuf, results: &Path) -> Self {
        let sweep = source(&fit).filter(|s| !s.is_empty() && !s.contains(['/', '\\', '.']));
        let at_home = |name: &String| {
            fit.parent()
                .and_then(Path::file_name)
                .is_some_and(|dir| dir.to_string_lossy() == **name)
        };
        match sweep.filter(at_home).map(|name| results.join(name)) {
            Some(dir) if dir.join(PLAN).is_file() => Self::Results(dir),
            _ => Self::Fit(fit),
        }
    }

    /// Its runs.
    ///
    /// # Errors
    ///
    /// [`Failure`] where they cannot be read.
    pub fn runs(&self, options: &import::Options) -> Result<Runs, Failure> {
        match self {
            Self::Results(dir) => Ok(Runs::recorded(Results::open(dir)?)),
            Self::Fit(path) => Ok(Runs::fitted(name_of(path), read_fit(path)?)),
            Self::Table(path) => Ok(Runs::imported(name_of(path), import::read(path, options)?)),
        }
    }

    /// Where its analysis belongs under `analysis`, so that no other study's is overwritten.
    ///
    /// # Errors
    ///
    /// [`Failure`] where another study's lies in the place of a sweep's.
    pub fn place(&self, name: &str, analysis: &Path) -> Result<PathBuf, Failure> {
        match self {
            Self::Fit(path) => Ok(path.parent().unwrap_or(Path::new("")).to_owned()),
            Self::Results(_) => of_sweep(name, analysis),
            Self::Table(path) => Ok(of_table(path, name, analysis)),
        }
    }
}

/// The runs at a path, and where their analysis belongs by default.
///
/// # Errors
///
/// [`Failure`] where they cannot be read.
pub fn open(path: &Path, options: &import::Options) -> Result<(Runs, PathBuf), Failure> {
    let results = PathBuf::from("results");
    let input = Input::of(path, &results)?;
    let runs = input.runs(options)?;
    let place = input.place(&runs.name, Path::new(ANALYSIS))?;
    Ok((runs, place))
}

/// A fit to predict from: one that was written, or a new one of the runs at a path, whose warnings are said but for
/// those that are repeated beside its answers.
///
/// # Errors
///
/// [`Failure`] where there is none and none can be made.
pub fn analysis(
    path: &Path,
    results: &Path,
    options: &import::Options,
    pins: Pins,
    observer: &dyn Observer,
) -> Result<Analysis, Failure> {
    if let Some(fit) = written(path) {
        unpinned(&fit, &pins)?;
        return read_fit(&fit);
    }
    let runs = Input::of(path, results)?.runs(options)?;
    let analysis = analysis::analyse(&runs, &Options { pins, ..runs.options() }, observer)?;
    observer.note(&format!("fitted the {} runs of {}", runs.table.points.len(), path.display()));
    // The others stand beside the answers.
    let others = analysis.warnings.iter().filter(|w| !w.code.bears_on_answers());
    others.for_each(|warning| observer.warn(&warning.to_string()));
    Ok(analysis)
}

/// Reads a fit.json.
///
/// # Errors
///
/// [`Failure`] where it is none, or one of a newer isoflop.
pub fn read_fit(path: &Path) -> Result<Analysis, Failure> {
    let json = read_file(path, MAX_FIT)?;
    Ok(Analysis::read(&json).map_err(|e| {
        let hint = match e {
            ReadError::Newer => "update isoflop, or fit again",
            ReadError::Syntax(_) | ReadError::Value(_) => {
                "`isoflop fit` writes one under analysis/"
            }
        };
        InputError::new(format!("`{}` {e}", path.display()), hint)
    })?)
}

/// Refuses to pin what was fitted already.
///
/// # Errors
///
/// [`Failure`] where it is otherwise.
pub fn unpinned(fit: &Path, pins: &Pins) -> Result<(), Failure> {
    if pins.is_empty() {
        return Ok(());
    }
    Err(InputError::new(
        format!("`{}` is a fit already, and --pin is for one that is made", fit.display()),
        format!("`isoflop fit {} --pin ...` fits its runs again", fit.display()),
    )
    .into())
}

/// The fit.json that a path is, or that the analysis directory holds which it is.
pub fn written(path: &Path) -> Option<PathBuf> {
    if path.is_dir() {
        return Some(path.join(FIT)).filter(|fit| fit.is_file());
    }
    (path.extension().is_some_and(|e| e == "json") && is_fit(path)).then(|| path.to_owned())
}

/// The fit.json of a sweep, whatever of the sweep a path is.
///
/// # Errors
///
/// [`Failure`] where it is otherwise.
pub fn fit_file(path: &Path, results: &Path, analysis: &Path) -> Result<PathBuf, Failure> {
    if path.is_dir() && path.join(FIT).is_file() {
        return Ok(path.join(FIT));
    }
    if path.extension().is_some_and(|e| e == "json") {
        return Ok(path.to_owned());
    }
    match Input::of(path, results)? {
        Input::Results(dir) => {
            let (_, spec, _) = recorded(&dir)?;
            Ok(analysis.join(spec.name.get_ref()).join(FIT))
        }
        Input::Fit(path) | Input::Table(path) => Ok(path),
    }
}

/// `analysis/<sweep>`, unless another study's fit lies there.
///
/// # Errors
///
/// [`Failure`] where it is otherwise.
pub fn of_sweep(name: &str, analysis: &Path) -> Result<PathBuf, Failure> {
    let dir = analysis.join(name);
    match source(&dir.join(FIT)) {
        Some(other) if other != name => Err(InputError::new(
            format!(
                "`{}` holds the analysis of `{other}`, which sweep `{name}` would overwrite",
                dir.display()
            ),
            format!("move it away, or give another --analysis than {}", analysis.display()),
        )
        .into()),
        _ => Ok(dir),
    }
}

/// `analysis/<stem>` where it is free or this table's own, else the stem with the hash of the table's path.
fn of_table(path: &Path, name: &str, analysis: &Path) -> PathBuf {
    let full = |p: &Path| p.canonicalize().unwrap_or_else(|_| p.to_owned());
    let dir = analysis.join(name);
    let of_this = |fit: &PathBuf| source(fit).is_some_and(|s| full(Path::new(&s)) == full(path));
    let fits = fits(&dir);
    let (own, free) = (fits.iter().all(of_this), fits.is_empty());
    let of_sweep = dir.join("forecasts").exists()
        || dir.join("tune.json").exists()
        || Path::new("results").join(name).join(PLAN).exists();
    if (own || free) && !of_sweep {
        return dir;
    }
    let hash = hex(&Sha256::digest(full(path).to_string_lossy().as_bytes()));
    analysis.join(format!("{name}-{}", &hash[..8]))
}

/// Where a fit with pins is kept: in a directory of its own under that of the free fit, which stays.
pub fn pinned(dir: PathBuf, pins: &Pins) -> PathBuf {
    if pins.is_empty() {
        return dir;
    }
    let named: Vec<String> = pins.named().map(|(name, value)| format!("{name}-{value}")).collect();
    dir.join(format!("{PINNED}{}", named.join("-")))
}

/// The fit.json of a directory, and those of its losses and its pins.
fn fits(dir: &Path) -> Vec<PathBuf> {
    let losses = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let losses = losses.filter(|path| {
        path.file_name().is_some_and(|name| {
            let name = name.to_string_lossy();
            [LOSS, PINNED].iter().any(|prefix| name.starts_with(prefix))
        })
    });
    let all = losses.chain([dir.to_owned()]).map(|dir| dir.join(FIT));
    all.filter(|fit| fit.exists()).collect()
}

/// The name of a study that has no other: the file's, without its endings.
fn name_of(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let name = [".gz", ".zst"].iter().find_map(|e| name.strip_suffix(e)).unwrap_or(&name);
    let stem = Path::new(name).file_stem().unwrap_or_default().to_string_lossy().into_owned();
    // fit.json is called by its directory.
    match path.parent().and_then(Path::file_name) {
        Some(dir) if name == FIT => dir.to_string_lossy().into_owned(),
        _ => stem,
    }
}

/// What a fit.json was fitted to.
fn source(fit: &Path) -> Option<String> {
    #[derive(Deserialize)]
    struct Head {
        source: String,
    }
    let json = Os.read(fit, MAX_FIT).ok()?;
    Some(serde_json::from_slice::<Head>(&json).ok()?.source)
}

/// Whether a JSON file is an analysis and not records of runs.
fn is_fit(path: &Path) -> bool {
    #[derive(Deserialize)]
    struct Head {
        #[serde(rename = "version")]
        _version: u32,
        #[serde(rename = "fits")]
        _fits: serde::de::IgnoredAny,
    }
    Os.read(path, MAX_FIT).is_ok_and(|json| serde_json::from_slice::<Head>(&json).is_ok())
}
