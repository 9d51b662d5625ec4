//! A sweep from its file to its report: held, planned, trained, fitted.

use std::path::{Path, PathBuf};

use super::hold::{hold, write_plan};
use super::input::of_sweep;
use super::sweep::read_spec;
use super::training::{Setup, Training};
use super::{
    Dirs, Failure, Observer, Results, Runs, Sweep, analysis, backtest, corpus, eval, pages,
};
use crate::error::{InputError, exit};
use crate::fit::{self, Analysis, Options, Pins};
use crate::fs::{Disk as _, Os};
use crate::ledger::hold::Hold;
use crate::ledger::{self, Ledger, State, forks};
use crate::plan::Cell;
use crate::predict::Prediction;
use crate::task::Task;

/// A sweep whose results directory is held and whose plan is written: it can be trained.
#[derive(Debug)]
pub struct Begun {
    /// What is trained.
    pub sweep: Sweep,
    /// `results/<sweep>`.
    pub results: PathBuf,
    /// `analysis/<sweep>`.
    pub analysis: PathBuf,
    /// What was there before.
    pub before: Ledger,
    tasks: Vec<Task>,
    _hold: Hold,
}

impl Begun {
    /// Opens a sweep file: its directories are made and held before its data are read.
    ///
    /// # Errors
    ///
    /// [`Failure`] where the file or the data cannot be read, or another sweep is at work under its name.
    pub fn open(path: &Path, dirs: &Dirs, observer: &dyn Observer) -> Result<Self, Failure> {
        let (spec, text) = read_spec(path)?;
        let tasks = eval::tasks(&spec.task_files())?;
        let name = spec.name.get_ref();
        let results = dirs.results.join(name);
        let analysis = of_sweep(name, &dirs.analysis)?;
        Os.create_dirs(&results)?;
        Os.create_dirs(&analysis)?;
        let held = hold(&results, &text, observer)?;
        let sweep = Sweep::open(path, &dirs.results, true)?;
        write_plan(&results, &sweep, &analysis, observer)?;
        corpus::write(&results, sweep.data.corpus.as_ref())?;
        let before = Ledger::read(&results, &sweep.plan.cells)?;
        Ok(Self { sweep, results, analysis, before, tasks, _hold: held })
    }

    /// Trains what is left; what is there then, or nothing where a signal ended it.
    ///
    /// # Errors
    ///
    /// [`Failure`] where a record cannot be written, the device is lost, or plan or records were removed meanwhile;
    /// what was acknowledged is kept.
    pub fn train(
        &self,
        setup: Setup<'_>,
        observer: &dyn Observer,
    ) -> Result<Option<Results>, Failure> {
        let left = self.before.cells.iter().filter(|(_, state)| match state {
            State::Missing { .. } | State::Running { .. } => true,
            state => setup.again(state),
        });
        let todo: Vec<&Cell> = left.map(|(cell, _)| cell).collect();
        let tasks = eval::for_run(&self.tasks, (&self.results, &self.sweep.spec), &todo)?;
        let training = Training {
            sweep: &self.sweep,
            results: &self.results,
            setup,
            planned: &self.sweep.plan.cells,
            tasks: &tasks,
            forecast: None,
            before: Some(&self.before),
        };
        if !training.train(&todo, observer)? {
            return Ok(None);
        }
        setup.stop.at_once();
        let results = Results::open(&self.results)?;
        if results.ledger.cells.iter().map(|(cell, _)| cell).ne(&self.sweep.plan.cells) {
            let message = format!("the plan in `{}` was replaced meanwhile", results.dir.display());
            let hint =
                "all that was trained is kept: the same command, or another name for this sweep";
            return Err(InputError::new(message, hint).with_code(exit::AGAIN).into());
        }
        unrecorded(&results.ledger)?;
        if let Err(e) = forks::release_all(&self.results, &results.ledger) {
            observer.note(&format!("{e}; the next run tries again"));
        }
        Ok(Some(results))
    }
}

/// Refuses to go on where a cell was trained and its record is not there any more.
fn unrecorded(ledger: &Ledger) -> Result<(), Failure> {
    let open: Vec<&str> =
        ledger.cells.iter().filter(|(_, s)| s.is_open()).map(|(c, _)| c.short()).collect();
    if open.is_empty() {
        return Ok(());
    }
    let message = format!(
        "of {} cells that were to be trained there is no record that they ended ({}): it was removed meanwhile",
        open.len(),
        open.join(", ")
    );
    let hint = "the same command trains what is missing";
    Err(InputError::new(message, hint).with_code(exit::AGAIN).into())
}

/// What was written of a study.
#[derive(Debug)]
pub struct Report {
    /// The fit, empty where none can be made.
    pub analysis: Analysis,
    /// The runs that it predicts.
    pub predictions: Vec<Prediction>,
    /// Why there is no fit.
    pub refusal: Option<String>,
    /// What could not be shown.
    pub warnings: Vec<String>,
}

/// Writes the ledger of results as CSV; its path.
///
/// # Errors
///
/// [`Failure`] where it cannot be written.
pub fn write_ledger(results: &Results) -> Result<PathBuf, Failure> {
    let csv = ledger::csv(&results.ledger).map_err(|e| Failure {
        message: format!("cannot write the ledger as CSV: {e}"),
        code: exit::BUG,
    })?;
    let file = results.dir.join("ledger.csv");
    Os.write_atomic(&file, &csv)?;
    Ok(file)
}

/// Fits results and writes fit, backtest, figures and report to `out`. That no law can be fitted is a result too.
///
/// # Errors
///
/// [`Failure`] where a pin does not fit the runs, or a file cannot be written.
pub fn report(
    results: Results,
    out: &Path,
    pins: Pins,
    observer: &dyn Observer,
) -> Result<Report, Failure> {
    let runs = Runs::recorded(results);
    fit::allowed(&pins, &runs.table)?;
    let options = Options { pins, ..runs.options() };
    let (analysis, refusal) = analysis::analyse_or_refuse(&runs, &options, observer);
    written(&runs, out, analysis, refusal)
}

/// The same for any runs, with a fit of theirs that is there already or a new one.
///
/// # Errors
///
/// [`Failure`] where no law can be fitted, or a file cannot be written.
pub fn report_of(
    runs: &Runs,
    fit: Option<Analysis>,
    out: &Path,
    pins: Pins,
    observer: &dyn Observer,
) -> Result<Report, Failure> {
    let analysis = match fit {
        Some(fit) => fit,
        None => analysis::analyse(runs, &Options { pins, ..runs.options() }, observer)?,
    };
    written(runs, out, analysis, None)
}

fn written(
    runs: &Runs,
    out: &Path,
    analysis: Analysis,
    refusal: Option<String>,
) -> Result<Report, Failure> {
    let predictions = analysis::predictions(runs, &analysis);
    backtest::make(out, runs, analysis.pins)?;
    let warnings = pages::write(out, runs, &analysis, &predictions)?;
    Ok(Report { analysis, predictions, refusal, warnings })
}
