//! `isoflop predict --lock` and `isoflop run --forecast`: a forecast before its run, and the run.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::args::{PredictArgs, RunArgs};
use super::study::{PLAN, SWEEP, Study, planned};
use super::train::{Training, stop_on_signals};
use super::{Failure, predict, print, print_json, score};
use crate::device::{self, Wanted};
use crate::error::{InputError, exit};
use crate::fit::Analysis;
use crate::forecast::{self, Basis, Forecast};
use crate::fs::{Disk as _, Os, read_file};
use crate::ledger::{State, cell_dir, check, log};
use crate::plan::{self, Cell, Plan, Recipe};
use crate::predict::at_flops;
use crate::terminal::note;
use crate::units::{count, flops};

/// Where a sweep's forecasts are kept in its directory of analyses.
pub(super) const FORECASTS: &str = "forecasts";

/// Longest fit and ledger that are read [bytes].
const MAX_DERIVED: u64 = 1 << 30;

/// What to do where a run was begun already.
const ANOTHER_RUN: &str = "lock a run that has not begun: another --flops, --params or --seed";

/// Locks a forecast of the cell at a compute.
pub(super) fn lock(args: &PredictArgs, fit: &Path) -> Result<u8, Failure> {
    let [asked] = args.flops[..] else {
        let message = "--lock forecasts one run, and several computes are given";
        return Err(InputError::new(message, "lock one --flops after the other").into());
    };
    let analysis = predict::read(fit)?;
    let fit_sha256 = sha256_of(fit)?;
    let sweep = analysis.source.clone();
    let results = args.dirs.results.join(&sweep);
    let file = results.join(SWEEP);
    if sweep.is_empty() || sweep.contains(['/', '\\', '.']) || !file.is_file() {
        let message = format!(
            "`{}` is a fit of `{sweep}`, which is no sweep under `{}`: there is no recipe to build the run by",
            fit.display(),
            args.dirs.results.display()
        );
        let hint =
            "lock a forecast on analysis/<sweep>/fit.json of `isoflop run`, with its --results";
        return Err(InputError::new(message, hint).into());
    }
    let study = Study::open(&file, &args.dirs.results, true)?;
    let best = at_flops(&analysis, asked)?.params.value;
    let at = |params: f64| {
        Plan::cell_at(&study.spec, &study.data.facts, params, asked, (args.seed, args.seed))
    };
    let cell = at(args.params.unwrap_or(best));
    plan::check::check(&cell).map_err(|e| {
        InputError::new(format!("{}: {e}", file.display()), "the sweep's rules do not reach so far")
    })?;
    let ledger = results.join("ledger.csv");
    fitted(&analysis, &study.plan, &results)?;
    belongs(&analysis, &ledger, &cell)?;
    let now = jiff::Timestamp::now().to_string();
    let basis = Basis {
        sweep: &sweep,
        analysis: &analysis,
        fit_sha256: &fit_sha256,
        ledger_sha256: &sha256_of(&ledger)?,
        train_tokens: study.data.facts.train_tokens,
        optimal: cell.id == at(best).id,
        now: &now,
    };
    let made = forecast::lock(basis, &cell)?;
    let dir = args.dirs.analysis.join(&sweep).join(FORECASTS);
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
        note!("Locked before, and nothing has changed: `{}` is kept.", path.display());
        return Ok(tell(args, &old, &path));
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
    Ok(tell(args, &made, &path))
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

/// Shows a forecast that is on the disk.
fn tell(args: &PredictArgs, forecast: &Forecast, path: &Path) -> u8 {
    if args.json {
        print_json(forecast);
    } else {
        print(&score::foretold(forecast));
        print(&format!(
            "\n  forecast  {}\n  run it    isoflop run {} --forecast {}\n",
            path.display(),
            args.dirs.results.join(&forecast.sweep).join(SWEEP).display(),
            path.display()
        ));
    }
    note!("{}", super::show::warnings(&forecast.warnings));
    0
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

/// Trains the cell of a forecast, and scores it.
pub(super) fn run(args: &RunArgs, path: &Path) -> Result<u8, Failure> {
    if args.launcher != "local" {
        let message = "--forecast trains one cell, and not in a job array";
        return Err(InputError::new(message, "leave --launcher out").into());
    }
    let forecast = score::verified(path)?;
    let spec = super::study::read_spec(&args.sweep)?.0;
    if *spec.name.get_ref() != forecast.sweep {
        let message = format!(
            "`{}` is a forecast of sweep `{}`, and `{}` is `{}`",
            path.display(),
            forecast.sweep,
            args.sweep.display(),
            spec.name.get_ref()
        );
        return Err(InputError::new(message, "give the sweep that it was made for").into());
    }
    let device = device::choose(&Wanted::of(&spec.device, args.device, args.matmul))?;
    let results = args.dirs.results.join(&forecast.sweep);
    Os.create_dirs(&results)?;
    let study = Study::open(&args.sweep, &args.dirs.results, true)?;
    let recipe = &forecast.cell.recipe;
    if recipe.data_sha256 != study.data.facts.sha256 {
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
    let again = |state: &State| args.again.includes(state);
    if state.is_open() || again(&state) {
        let todo = [&forecast.cell];
        // Relatives too: under a trunk schedule the run may go on from a state that one of them passed.
        let relatives = if results.join(PLAN).exists() { planned(&results)? } else { Vec::new() };
        let all = [relatives, vec![forecast.cell.clone()]].concat();
        note!(
            "Cell {}: {} FLOP, N {}, D {}.",
            forecast.cell.short(),
            flops(forecast.flops),
            count(forecast.params),
            count(forecast.tokens)
        );
        let training = Training {
            study: &study,
            results: &results,
            device: &device,
            planned: &all,
            workers: Some(1),
            every: args.checkpoint,
            forecast: Some(&forecast.sha256),
            before: None,
        };
        let stop = stop_on_signals()?;
        if !training.train(&todo, &stop, &again)? {
            return Ok(exit::AGAIN);
        }
        stop.at_once();
    }
    let code = score::show(&forecast, path, &args.dirs, false)?;
    print(&format!("  report    `isoflop report {}` shows it among the runs\n", results.display()));
    Ok(code)
}
