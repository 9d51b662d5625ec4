//! A sweep, opened: its file read, its data loaded, its grid expanded.

use std::path::Path;

use super::failure::json;
use super::{Failure, sweep_file};
use crate::data::{Cache, Dataset, dataset};
use crate::error::{InputError, exit};
use crate::fs::{Disk as _, Os};
use crate::ledger::check::EARLIER;
use crate::plan::FILE as PLAN;
use crate::plan::{Cell, Plan, Recipe};
use crate::spec::{ModelSpec, Parametrization, Source, Spec};

/// Longest plan that is read [bytes]: ten thousand cells take a fifth of it.
pub(super) const MAX_PLAN: u64 = 64 << 20;
/// Name of the planned cells of a tuning in the results directory, and of its outcome in the analysis directory.
pub const TUNE: &str = "tune.json";
/// Where a sweep's file is kept in its results directory.
pub const SWEEP: &str = "sweep.toml";

/// A sweep with its data.
#[derive(Debug)]
pub struct Sweep {
    /// The file, as it stands there; with what it extends.
    pub text: String,
    /// What it says.
    pub spec: Spec,
    /// What is trained and evaluated on.
    pub data: Dataset,
    /// What it becomes: cells and warnings.
    pub plan: Plan,
}

/// How the names of tables end, which are no sweeps.
const TABLES: [&str; 7] = ["csv", "tsv", "json", "jsonl", "parquet", "gz", "zst"];

/// Reads and checks a sweep file, with all that it extends; the text of the whole beside what it says.
///
/// # Errors
///
/// [`Failure`], pointing into the file.
pub fn read_spec(path: &Path) -> Result<(Spec, String), Failure> {
    let ending = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    if TABLES.contains(&ending.as_str()) && path.is_file() {
        let message =
            format!("`{}` is no sweep file (TOML): its name is that of a table", path.display());
        let hint =
            "a table is read by `isoflop fit`, predict, backtest, report, selftest and export";
        return Err(InputError::new(message, hint).into());
    }
    let whole = sweep_file::read(path)?;
    let mut spec = Spec::parse(&whole.text)
        .map_err(|e| Failure { message: whole.told(e), code: exit::INPUT })?;
    path.parent().unwrap_or(Path::new("")).clone_into(&mut spec.data.base);
    Ok((spec, whole.text))
}

impl Sweep {
    /// Opens a sweep file; `results` is where sweeps leave theirs. Nothing is written but, if it is to be kept, a
    /// tokenizer that is trained.
    ///
    /// # Errors
    ///
    /// [`Failure`] where the file or its data cannot be read, or the grid goes too far.
    pub fn open(path: &Path, results: &Path, keep: bool) -> Result<Self, Failure> {
        let (mut spec, text) = read_spec(path)?;
        if let Source::Dataset(name) = spec.data.source.get_mut() {
            let base = path.parent().unwrap_or(Path::new(""));
            *name = dataset::beside(base, name).to_string_lossy().into_owned();
        }
        let dir = results.join(spec.name.get_ref());
        if keep {
            Os.create_dirs(&dir)?;
        }
        let older = older_parametrization(&dir, &spec.model);
        spec.model.parametrization = spec.model.parametrization.or(older);
        let cache = Some(Cache { dir: &dir, keep });
        let mut data = Dataset::load(&spec, cache)?;
        let mut begun = begun_with(&dir, &spec, &data);
        let files = matches!(spec.data.source.get_ref(), Source::Files(_));
        if begun.is_none() && files && dir.join(PLAN).exists() {
            // Perhaps it was begun when other documents were held out.
            if let Some(older) = Dataset::older(&spec, cache)? {
                begun = begun_with(&dir, &spec, &older);
                if begun.is_some() {
                    data = older;
                    data.notes.push(HELD_OUT_AS_BEFORE.to_owned());
                }
            }
        }
        if let Some((source, sha256)) = begun {
            (data.facts.source, data.facts.sha256) = (source, sha256);
        }
        let mut plan = Plan::new(&spec, &data.facts);
        plan.warnings.extend(data.notes.iter().cloned());
        plan.warnings.extend(older.map(|_| GOES_ON.to_owned()));
        plan.warnings.extend(has_old_name(&text).then(|| OLD_NAME.to_owned()));
        plan.check().map_err(|e| {
            let hint = "docs/FORMATS.md has the form of a rule: value * (N / params_ref)^params_exponent * ...";
            InputError::new(format!("{}: {e}", path.display()), hint)
        })?;
        Ok(Self { text, spec, data, plan })
    }

    /// The plan as it is kept.
    pub(super) fn plan_json(&self) -> Vec<u8> {
        json(&self.plan.cells)
    }
}

/// What the recipes of a study say of its data, where it was begun on these: its cells are found by what they were
/// called then, also when the paths of files and the hash of the documents were part of that. `None` for a study on
/// other data, and for one that was not begun.
fn begun_with(dir: &Path, spec: &Spec, data: &Dataset) -> Option<(Source, String)> {
    let documents = data.documents.as_ref();
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
        source.identity() == now.0 && (*sha256 == now.1 || Some(sha256) == documents)
    };
    identities.find(same)
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

/// Said of a study of files that was begun when others of their documents were held out.
const HELD_OUT_AS_BEFORE: &str = "this study was begun when one document in 50 was held out, in pieces of 32 kB, and goes on \
     so; one with another name holds out whole documents, as many as tell the loss";

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
