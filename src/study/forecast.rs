//! A forecast that is locked before its run, and the run.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::input::read_fit;
use super::results::planned;
use super::score::{self, FORECASTS};
use super::sweep::{SWEEP, read_spec};
use super::training::{Setup, Training, stop_on_signals};
use super::{Dirs, Failure, Observer, Sweep};
use crate::device::{self, Wanted};
use crate::error::InputError;
use crate::exec::job::Every;
use crate::fit::Analysis;
use crate::forecast::{self, Basis, Forecast};
use crate::fs::{Disk as _, Os, read_file};
use crate::ledger::{StateName, cell_dir, check, log};
use crate::plan::FILE as PLAN;
use crate::plan::{self, Cell, Plan, Recipe};
use crate::predict::at_flops;
use crate::spec::{DeviceKind, Matmul};
use crate::units::{count, flops};

/// Longest fit and ledger that are read [bytes].
const MAX_DERIVED: u64 = 1 << 30;

/// What to do where a run was begun already.
const ANOTHER_RUN: &str = "lock a run that has not begun: another --flops, --params or --seed";

/// Which run is forecast, and by what.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The fit.json of a sweep.
    pub fit: &'a Path,
    /// Where its results and analyses lie.
    pub dirs: &'a Dirs,
    /// Compute of the run [FLOP].
    pub flops: f64,
    /// Its size, instead of the compute-optimal one.
    pub params: Option<f64>,
    /// Its seed.
    pub seed: u64,
}

/// A forecast that lies on the disk.
#[derive(Debug)]
pub struct Locked {
    /// What it says.
    pub forecast: Forecast,
    /// Where it lies.
    pub path: PathBuf,
    /// Whether it was there before.
    pub before: bool,
    /// The fit that foretells it.
    pub analysis: Analysis,
}

/// Locks a forecast of the cell at a compute, before its run; one that was locked and says the same is kept.
///
/// # Errors
///
/// [`Failure`] where the run was begun already, where another forecast of it is there, or where fit, ledger, sweep
/// and data do not belong together.
pub fn lock(request: Request<'_>) -> Result<Locked, Failure> {
    let Request { fit, dirs, flops: asked, params, seed } = request;
    let analysis = read_fit(fit)?;
    let fit_sha256 = sha256_of(fit)?;
    let sweep = analysis.source.clone();
    let results = dirs.results.join(&sweep);
    let file = results.join(SWEEP);
    if sweep.is_empty() || sweep.contains(['/', '\\', '.']) || !file.is_file() {
        let message = format!(
            "`{}` is a fit of `{sweep}`, which is no sweep under `{}`: there is no recipe to build the run by",
            fit.display(),
            dirs.results.display()
        );
        let hint =
            "lock a forecast on analysis/<sweep>/fit.json of `isoflop run`, with its --results";
        return Err(InputError::new(message, hint).into());
    }
    let opened = Sweep::open(&file, &dirs.results, true)?;
    let best = at_flops(&analysis, asked)?.params.value;
    let at =
        |params: f64| Plan::cell_at(&opened.spec, &opened.data.facts, params, asked, (seed, seed));
    let cell = at(params.unwrap_or(best));
    plan::check::check(&cell).map_err(|e| {
        InputError::new(format!("{}: {e}", file.display()), "the sweep's rules do not reach so far")
    })?;
    let ledger = results.join("ledger.csv");
    fitted(&analysis, &opened.plan, &results)?;
    belongs(&analysis, &ledger, &cell)?;
    let now = jiff::Timestamp::now().to_string();
    let basis = Basis {
        sweep: &sweep,
        analysis: &analysis,
        fit_sha256: &fit_sha256,
        ledger_sha256: &sha256_of(&ledger)?,
        train_tokens: opened.data.facts.train_tokens,
        optimal: cell.id == at(best).id,
        now: &now,
    };
    let made = forecast::lock(basis, &cell)?;
    let dir = dirs.analysis.join(&sweep).join(FORECASTS);
    let path = dir.join(format!("{}.json", cell.short()));
    if let Some((path, old)) = earlier(&dir, &path, &cell)? {
        if !old.agrees(&made) {
            let message = format!(
                "`{}` is another forecast of cell {}, locked {}",
                path.display(),
                cell.id,
                old.locked
            );
            let hint = "a run has one forecast: lock another --flops, --params or --seed, \
                        or score the one that is there";
            return Err(InputError::new(message, hint).into());
        }
        return Ok(Locked { forecast: old, path, before: true, analysis });
    }
    let begun = log::numbered(&Os, &cell_dir(&results, &cell.id))?;
    if let Some((number, _)) = begun.first() {
        let message = format!(
            "cell {} was begun already (attempt {number}): a forecast made after its run is no forecast",
            cell.id
        );
        return Err(InputError::new(message, ANOTHER_RUN).into());
    }
    if let Some(aside) = check::set_aside(&Os, &results, &cell.id)?.first() {
        let message = format!(
            "cell {} was begun already: `{}` was an attempt at it, and its loss may have been seen",
            cell.id,
            aside.display()
        );
        return Err(InputError::new(message, ANOTHER_RUN).into());
    }
    Os.create_dirs(&dir)?;
    Os.write_atomic(&path, &made.bytes())?;
    Ok(Locked { forecast: made, path, before: false, analysis })
}

fn sha256_of(path: &Path) -> Result<String, Failure> {
    Ok(forecast::sha256(&read_file(path, MAX_DERIVED)?))
}

/// A forecast of this cell in `dir`, under whatever name; `path` is its own.
fn earlier(dir: &Path, path: &Path, cell: &Cell) -> Result<Option<(PathBuf, Forecast)>, Failure> {
    if path.exists() {
        return Ok(Some((path.to_owned(), score::verified(path)?)));
    }
    for path in score::files(dir)? {
        // Damaged files of other names are void, and no forecast of this cell.
        if let Ok(found) = score::read(&path)?
            && found.cell.id == cell.id
        {
            return Ok(Some((path, found)));
        }
    }
    Ok(None)
}

/// Refuses a recipe that is not the one of the runs that were fitted: `plan` is what the sweep file in
/// `results` makes of itself now.
fn fitted(analysis: &Analysis, plan: &Plan, results: &Path) -> Result<(), Failure> {
    let recorded = planned(results)?;
    let ids = |cells: &[Cell]| cells.iter().map(|c| c.id.clone()).collect::<BTreeSet<_>>();
    let (now, then) = (ids(&plan.cells), ids(&recorded));
    let refuse = |why: String| {
        let message = format!(
            "the recipe of `{}` is not the one that was fitted: {why}",
            results.join(SWEEP).display()
        );
        InputError::new(message, "run the sweep again: `isoflop run SWEEP` fits what it records")
    };
    if now != then {
        let kept = now.intersection(&then).count();
        let (n, plan) = (then.len(), results.join(PLAN));
        return Err(refuse(format!(
            "it makes {kept} of the {n} cells of `{}` and {} others",
            plan.display(),
            now.len() - kept
        ))
        .into());
    }
    match analysis.points.iter().chain(&analysis.repeated).find(|p| !then.contains(&p.id)) {
        Some(point) => Err(refuse(format!("cell {} is none of its cells", point.id)).into()),
        None => Ok(()),
    }
}

/// Refuses a fit that was not made from the ledger, and a cell on other data than the ledger's.
fn belongs(analysis: &Analysis, ledger: &Path, cell: &Cell) -> Result<(), Failure> {
    let refuse = |why: String| {
        let message = format!("fit and `{}` do not belong together: {why}", ledger.display());
        InputError::new(message, "`isoflop report SWEEP` makes both anew from what is recorded")
    };
    let bytes = read_file(ledger, MAX_DERIVED)?;
    let mut rows = csv::Reader::from_reader(bytes.as_slice());
    let heads = rows.headers().map_err(|e| refuse(e.to_string()))?.clone();
    let column = |name: &str| {
        let at = heads.iter().position(|h| h == name);
        at.ok_or_else(|| refuse(format!("the ledger has no column `{name}`")))
    };
    let names = ["params", "tokens", "flops", "loss"];
    let (id, state, data) = (column("id")?, column("state")?, column("data_sha256")?);
    let numbers = names.iter().map(|n| column(n)).collect::<Result<Vec<_>, _>>()?;
    let mut completed: BTreeMap<String, Vec<Option<f64>>> = BTreeMap::new();
    for row in rows.records() {
        let row = row.map_err(|e| refuse(e.to_string()))?;
        if row[state] != *"completed" {
            continue;
        }
        if row[data] != cell.recipe.data_sha256 {
            let message = format!("the data of cell {} are not those of the sweep now", &row[id]);
            let hint = "restore the sweep's data, or run the sweep again on what is there";
            return Err(InputError::new(message, hint).into());
        }
        let values = numbers.iter().map(|i| row[*i].parse().ok()).collect();
        completed.insert(row[id].to_owned(), values);
    }
    // A completed run is fitted, or left out by a rule that the fit names.
    let left_out = analysis.excluded.iter().filter(|e| completed.contains_key(&e.id)).count()
        + analysis.repeated.len();
    if completed.len() != analysis.points.len() + left_out {
        let (n, m) = (analysis.points.len() + left_out, completed.len());
        let told = format!("{n} runs in the fit or left out by it, {m} completed in the ledger");
        return Err(refuse(told).into());
    }
    for point in analysis.points.iter().chain(&analysis.repeated) {
        let values = [point.params, point.tokens, point.flops, point.loss].map(Some);
        match completed.get(&point.id) {
            Some(row) if *row == values => {}
            Some(_) => {
                return Err(refuse(format!("cell {} is another in each", point.id)).into());
            }
            None => return Err(refuse(format!("cell {} is not completed", point.id)).into()),
        }
    }
    Ok(())
}

/// The run of a forecast.
#[derive(Debug, Clone, Copy)]
pub struct Run<'a> {
    /// The forecast's file.
    pub forecast: &'a Path,
    /// The sweep file that it was made for.
    pub sweep: &'a Path,
    /// Where results lie.
    pub results: &'a Path,
    /// The device, instead of the sweep's.
    pub device: Option<DeviceKind>,
    /// How matrix products are chosen on a GPU, instead of the sweep's.
    pub matmul: Option<Matmul>,
    /// Between two checkpoints.
    pub every: Every,
    /// States of which the cell is tried once more.
    pub retry: &'a [StateName],
}

/// Trains the cell of a forecast unless it has ended; nothing where a signal ended it.
///
/// # Errors
///
/// [`Failure`] where the run was begun without the forecast, or sweep, data or version are not those of it.
pub fn run(run: Run<'_>, observer: &dyn Observer) -> Result<Option<Forecast>, Failure> {
    let path = run.forecast;
    let forecast = score::verified(path)?;
    let spec = read_spec(run.sweep)?.0;
    if *spec.name.get_ref() != forecast.sweep {
        let message = format!(
            "`{}` is a forecast of sweep `{}`, and `{}` is `{}`",
            path.display(),
            forecast.sweep,
            run.sweep.display(),
            spec.name.get_ref()
        );
        return Err(InputError::new(message, "give the sweep that it was made for").into());
    }
    let device = device::choose(&Wanted::of(&spec.device, run.device, run.matmul))?;
    let results = run.results.join(&forecast.sweep);
    Os.create_dirs(&results)?;
    let sweep = Sweep::open(run.sweep, run.results, true)?;
    let recipe = &forecast.cell.recipe;
    if recipe.data_sha256 != sweep.data.facts.sha256 {
        let message = "the data are not those that the forecast was made for".to_owned();
        return Err(
            InputError::new(message, "restore the data; a forecast holds for one run").into()
        );
    }
    if recipe.version != Recipe::current_version() {
        let message = format!(
            "the forecast's recipe has version {}, this isoflop trains version {}",
            recipe.version,
            Recipe::current_version()
        );
        return Err(InputError::new(message, "run it with the isoflop that locked it").into());
    }
    // A run that was begun without the forecast is refused before more is spent on it.
    let state = score::look(&forecast, &results)?;
    if state.is_open() || run.retry.contains(&state.name()) {
        let todo = [&forecast.cell];
        // Relatives too: under a trunk schedule the run may go on from a state that one of them passed.
        let relatives = if results.join(PLAN).exists() { planned(&results)? } else { Vec::new() };
        let all = [relatives, vec![forecast.cell.clone()]].concat();
        observer.note(&format!(
            "Cell {}: {} FLOP, N {}, D {}.",
            forecast.cell.short(),
            flops(forecast.flops),
            count(forecast.params),
            count(forecast.tokens)
        ));
        let stop = stop_on_signals()?;
        let setup = Setup {
            device: &device,
            workers: Some(1),
            every: run.every,
            retry: run.retry,
            stop: &stop,
        };
        let training = Training {
            sweep: &sweep,
            results: &results,
            setup,
            planned: &all,
            tasks: &[],
            forecast: Some(&forecast.sha256),
            before: None,
        };
        if !training.train(&todo, observer)? {
            return Ok(None);
        }
        stop.at_once();
    }
    Ok(Some(forecast))
}
