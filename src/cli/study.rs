//! A sweep, opened: its file read, its data loaded, its grid expanded.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::Failure;
use crate::data::{Cache, Dataset};
use crate::error::{FileError, InputError, exit};
use crate::fs::{Disk as _, Os};
use crate::ledger::check::EARLIER;
use crate::ledger::hold::Hold;
use crate::ledger::lease::{self, Watched};
use crate::ledger::{self, Ledger, State, cell_dir};
pub(super) use crate::plan::FILE as PLAN;
use crate::plan::{self, Cell, Plan, Recipe, SEAL, hex, sealed, short};
use crate::spec::{MAX_FILE, ModelSpec, Parametrization, Source, Spec};
use crate::terminal::note;

/// Longest plan that is read [bytes]: ten thousand cells take a fifth of it.
const MAX_PLAN: u64 = 64 << 20;
/// Name of the planned cells of a tuning in the results directory.
const TUNE: &str = super::tune::FILE;
/// Where a sweep's file is kept in its results directory.
pub(super) const SWEEP: &str = "sweep.toml";

/// A sweep with its data.
pub(super) struct Study {
    pub(super) text: String,
    pub(super) spec: Spec,
    pub(super) data: Dataset,
    pub(super) plan: Plan,
}

/// How the names of tables end, which are no sweeps.
const TABLES: [&str; 7] = ["csv", "tsv", "json", "jsonl", "parquet", "gz", "zst"];

/// Reads and checks a sweep file; errors point into it.
pub(super) fn read_spec(path: &Path) -> Result<(Spec, String), Failure> {
    let ending = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    if TABLES.contains(&ending.as_str()) && path.is_file() {
        let message =
            format!("`{}` is no sweep file (TOML): its name is that of a table", path.display());
        let hint =
            "a table is read by `isoflop fit`, predict, backtest, report, selftest and export";
        return Err(InputError::new(message, hint).into());
    }
    let bytes = match Os.read(path, MAX_FILE as u64) {
        Err(e) if e.kind() == std::io::ErrorKind::FileTooLarge => {
            let message =
                format!("`{}` has more than the {MAX_FILE} bytes that are read", path.display());
            return Err(InputError::new(message, "a sweep file holds a grid, not data").into());
        }
        bytes => bytes.map_err(FileError::new("read", path))?,
    };
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
    /// Opens a sweep file; `results` is where sweeps leave theirs. Nothing is written but, if it is to be kept, a
    /// tokenizer that is trained.
    pub(super) fn open(path: &Path, results: &Path, keep: bool) -> Result<Self, Failure> {
        let (mut spec, text) = read_spec(path)?;
        let dir = results.join(spec.name.get_ref());
        if keep {
            Os.create_dirs(&dir)?;
        }
        let older = older_parametrization(&dir, &spec.model);
        spec.model.parametrization = spec.model.parametrization.or(older);
        let mut data = Dataset::load(&spec, Some(Cache { dir: &dir, keep }))?;
        if let Some((source, sha256)) = older_identity(&dir, &spec, &data) {
            (data.facts.source, data.facts.sha256) = (source, sha256);
        }
        let mut plan = Plan::new(&spec, &data.facts);
        plan.warnings.extend(older.map(|_| GOES_ON.to_owned()));
        plan.warnings.extend(has_old_name(&text).then(|| OLD_NAME.to_owned()));
        plan.check().map_err(|e| {
            let hint = "docs/FORMATS.md has the form of a rule: value * (N / params_ref)^params_exponent * ...";
            InputError::new(format!("{}: {e}", path.display()), hint)
        })?;
        Ok(Self { text, spec, data, plan })
    }

    /// The plan as it is kept.
    fn plan_json(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(&self.plan.cells)
            .expect("cells have no map with other keys than text")
    }
}

/// What the recipes of a study say of its data, where it was begun when the paths of files and the hash of the
/// documents were part of them: its cells are found by what they were called then. `None` for a newer study, and for
/// one on other data.
fn older_identity(dir: &Path, spec: &Spec, data: &Dataset) -> Option<(Source, String)> {
    let documents = data.documents.as_ref()?;
    let earlier = Os.list(&dir.join(EARLIER)).unwrap_or_default();
    let plans = [dir.join(PLAN), dir.join(TUNE)].into_iter();
    let now = (data.facts.source.clone(), data.facts.sha256.clone());
    let mut identities =
        plans.chain(earlier.into_iter().map(|e| e.join(PLAN))).filter_map(|plan| {
            let recipe = first_recipe(&plan)?;
            let same = recipe.tokenizer == *spec.data.tokenizer.get_ref();
            same.then_some((recipe.source, recipe.data_sha256))
        });
    // The first plan on these data says how the study calls them.
    let same = |(source, sha256): &(Source, String)| {
        source.identity() == now.0 && (*sha256 == now.1 || sha256 == documents)
    };
    identities.find(same).filter(|identity| *identity != now)
}

/// The recipe of the first cell that is planned in a file, if it can be read.
fn first_recipe(plan: &Path) -> Option<Recipe> {
    let cells: Vec<Cell> = serde_json::from_slice(&Os.read(plan, MAX_PLAN).ok()?).ok()?;
    cells.into_iter().next().map(|cell| cell.recipe)
}

/// What a sweep file without `model.parametrization` means where its study was begun when `mup-hidden-rates` was the
/// default, and that file did not say either: the study keeps its cells. `None` for a newer study.
fn older_parametrization(dir: &Path, model: &ModelSpec) -> Option<Parametrization> {
    // No sweep could give reference_layers and mean the older default.
    if model.parametrization.is_some() || model.reference_layers.is_some() {
        return None;
    }
    let said = read_spec(&dir.join(SWEEP)).is_ok_and(|(s, _)| s.model.parametrization.is_some());
    let recipe = first_recipe(&dir.join(PLAN)).or_else(|| first_recipe(&dir.join(TUNE)))?;
    let older = recipe.parametrization == Parametrization::MupHiddenRates;
    let changed = older && !said && model.parametrization() != recipe.parametrization;
    changed.then_some(recipe.parametrization)
}

/// Said of a study that goes on with the default that it was begun with.
const GOES_ON: &str = "model.parametrization is not given, and this study was begun when that meant \
    mup-hidden-rates: it goes on with it and keeps its cells. New studies have complete-p";

/// Whether a sweep file has the name that `mup-hidden-rates` had until 28 November 2026.
fn has_old_name(text: &str) -> bool {
    let table: toml::Table = text.parse().unwrap_or_default();
    let name = table.get("model").and_then(|model| model.get("parametrization"));
    name.and_then(toml::Value::as_str) == Some("mup")
}

/// Said of a sweep file that has it.
const OLD_NAME: &str = "model.parametrization = \"mup\" is the old name of \"mup-hidden-rates\": muP's rates for hidden \
    matrices only, the head's does not fall with width. \"complete-p\" is right for the head too";

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
    let spec = read_spec(&dir.join(SWEEP))?.0;
    Ok(plan::read(&json, seal.as_deref(), &spec).map_err(damaged)?)
}

/// Longest seal that is read [bytes].
const MAX_SEAL: u64 = 1 << 10;

/// A results directory, held for this sweep from now on.
pub(super) fn hold(results: &Path, text: &str) -> Result<Hold, Failure> {
    let waits = || {
        note!(
            "Another sweep was at work in `{}` on another machine, or before this one was started anew: watching \
             for up to {:.0} s whether it lives.",
            results.display(),
            lease::lease().as_secs_f64()
        );
    };
    Ok(Hold::take(results, &meaning(text), &waits)?.ok_or_else(|| at_work(results))?)
}

fn at_work(results: &Path) -> InputError {
    InputError::new(
        format!("another run is at work on another plan or sweep file in `{}`", results.display()),
        "wait for it, or stop it; or give this sweep another name",
    )
    .with_code(exit::AGAIN)
}

/// What a sweep file says, whatever its layout; where it is to run is no part of that.
fn meaning(text: &str) -> String {
    let mut table: toml::Table = text.parse().unwrap_or_default();
    table.remove("slurm");
    table.remove("device");
    hex(&Sha256::digest(table.to_string()))
}

/// Writes what was asked for and what it became, before any cell starts; not while another runner is at
/// work on another plan. What an earlier plan ended with, here and in `analysis`, is kept beside.
pub(super) fn write_plan(dir: &Path, study: &Study, analysis: &Path) -> Result<(), Failure> {
    let json = study.plan_json();
    let before = Os.read(&dir.join(PLAN), MAX_PLAN).unwrap_or_default();
    if before != json {
        // A plan that cannot be read is no reason to refuse: its cells are found by their ids.
        let cells: Vec<Cell> = serde_json::from_slice(&before).unwrap_or_default();
        let cells: Vec<Cell> = cells.into_iter().filter(|c| c.recipe.id() == c.id).collect();
        if is_at_work(dir, &cells)? {
            return Err(at_work(dir).into());
        }
        if planned(dir).is_ok() {
            keep_earlier(dir, analysis, &before)?;
        }
    }
    let seal = sealed(&json);
    if before != json || Os.read(&dir.join(SEAL), MAX_SEAL).ok() != Some(seal.clone()) {
        // Without a seal while it is neither the old one nor the new one.
        match Os.remove(&dir.join(SEAL)) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(FileError::new("remove", dir.join(SEAL))(e).into());
            }
            _ => {}
        }
        Os.write_atomic(&dir.join(PLAN), &json)?;
    }
    let (sweep, text) = (dir.join(SWEEP), study.text.as_bytes());
    if Os.read(&sweep, MAX_FILE as u64).ok().as_deref() != Some(text) {
        Os.write_atomic(&sweep, text)?;
    }
    if Os.read(&dir.join(SEAL), MAX_SEAL).ok() != Some(seal.clone()) {
        Os.write_atomic(&dir.join(SEAL), &seal)?;
    }
    Ok(())
}

/// An attempt by its cell and number, and its heartbeat.
type Beat = (String, Option<u64>);

/// Whether a runner trains one of these cells: an older isoflop, or one that has other data under the same sweep.
/// One on another machine is watched.
fn is_at_work(dir: &Path, cells: &[Cell]) -> Result<bool, Failure> {
    let elsewhere = || -> Result<Option<Vec<Beat>>, Failure> {
        let mut beats = Vec::new();
        for cell in cells {
            let dir = cell_dir(dir, &cell.id);
            let (attempts, state) = ledger::look(&dir)?;
            match (state, attempts.last()) {
                (State::Running { here: true, .. }, _) => return Ok(None),
                (State::Running { .. }, Some(last)) => {
                    let beat = lease::heartbeat(&dir, last.number);
                    beats.push((format!("{} {}", cell.id, last.number), beat));
                }
                _ => {}
            }
        }
        Ok(Some(beats))
    };
    let Some(beats) = elsewhere()? else { return Ok(true) };
    let mut watched = Watched::new(beats);
    while !watched.seen().is_empty() {
        std::thread::sleep(lease::beat().min(Duration::from_secs(1)));
        let Some(now) = elsewhere()? else { return Ok(true) };
        let beats = |(name, beat): &Beat| {
            watched.seen().iter().any(|(then, before)| then == name && before != beat)
        };
        if now.iter().any(beats) {
            return Ok(true);
        }
        if watched.still(now) > lease::lease() {
            break;
        }
    }
    Ok(false)
}

/// Copies what a plan ended with to `earlier/` of both directories, under the beginning of its hash.
fn keep_earlier(results: &Path, analysis: &Path, plan: &[u8]) -> Result<(), Failure> {
    let hash = hex(&Sha256::digest(plan));
    let place = |dir: &Path| dir.join(EARLIER).join(short(&hash));
    let copy = |from: PathBuf, to: PathBuf| -> Result<bool, Failure> {
        match Os.read(&from, MAX_KEPT) {
            Ok(bytes) => {
                Os.create_dirs(to.parent().unwrap_or(&to))?;
                Os.write_atomic(&to, &bytes)?;
                Ok(true)
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(FileError::new("read", from)(e).into()),
        }
    };
    let mut kept = Vec::new();
    if copy(results.join("ledger.csv"), place(results).join("ledger.csv"))? {
        for name in [PLAN, SWEEP] {
            copy(results.join(name), place(results).join(name))?;
        }
        kept.push(place(results));
    }
    if copy(analysis.join("fit.json"), place(analysis).join("fit.json"))? {
        copy(analysis.join("report.html"), place(analysis).join("report.html"))?;
        for figure in Os.list(&analysis.join("figures")).unwrap_or_default() {
            let name = figure.file_name().unwrap_or_default().to_owned();
            copy(figure, place(analysis).join("figures").join(name))?;
        }
        kept.push(place(analysis));
    }
    if !kept.is_empty() {
        let kept: Vec<String> = kept.iter().map(|p| format!("`{}`", p.display())).collect();
        note!(
            "The plan has changed: what the earlier one ended with is kept in {}.",
            kept.join(" and ")
        );
    }
    Ok(())
}

/// Longest file of an earlier plan that is kept [bytes].
const MAX_KEPT: u64 = 1 << 30;
