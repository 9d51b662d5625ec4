//! `isoflop run` and `isoflop report`: the main job, and its last step again.

use std::path::Path;
use std::time::Instant;

use super::analysis::{self, Study as Analysed};
use super::args::{ReportArgs, RunArgs};
use super::open::{self, Input};
use super::study::{self, Recorded, Study, write_plan};
use super::train::{Training, stop_on_signals};
use super::{Failure, print, show};
use crate::device::{self, Wanted};
use crate::error::{InputError, exit};
use crate::fit::{Options, Pins};
use crate::fs::{Disk as _, Os};
use crate::ledger::{self, Ledger, State, forks};
use crate::plan::Cell;
use crate::terminal::note;
use crate::units::{count, duration, flops, several};

pub(super) fn execute(args: &RunArgs) -> Result<u8, Failure> {
    let started = Instant::now();
    // The device and every directory are tried before any work is done.
    let (spec, text) = super::study::read_spec(&args.sweep)?;
    if args.launcher == "slurm" && args.forecast.is_none() {
        return super::launch::execute(args, &spec, &text);
    }
    if let Some(forecast) = &args.forecast {
        return super::forecast::run(args, forecast);
    }
    let device = device::choose(&Wanted::of(&spec.device, args.device, args.matmul))?;
    if args.dry_run {
        let study = Study::open(&args.sweep, &args.dirs.results, false)?;
        let ledger = Ledger::read(&args.dirs.results.join(&study.plan.name), &study.plan.cells)?;
        print(&format!(
            "{}\n{}",
            show::plan(&study.plan.cells, device.room(1), &|_| None, None),
            summary(&study, &ledger)
        ));
        note!("{}", show::warnings(&study.plan.warnings));
        return Ok(0);
    }
    let results = args.dirs.results.join(spec.name.get_ref());
    let out = open::of_sweep(spec.name.get_ref(), &args.dirs.analysis)?;
    Os.create_dirs(&results)?;
    Os.create_dirs(&out)?;
    // Before the data are read, and until the report is written.
    let _hold = study::hold(&results, &text)?;
    let study = Study::open(&args.sweep, &args.dirs.results, true)?;
    write_plan(&results, &study, &out)?;

    let before = Ledger::read(&results, &study.plan.cells)?;
    let again = |state: &State| args.again.includes(state);
    note!("{}{}", summary(&study, &before), show::warnings(&study.plan.warnings));
    note!("{}", show::warnings(&before.notes));
    let todo: Vec<&Cell> = before
        .cells
        .iter()
        .filter(|(_, state)| match state {
            State::Missing { .. } | State::Running { .. } => true,
            state => again(state),
        })
        .map(|(cell, _)| cell)
        .collect();
    let stop = stop_on_signals()?;
    let training = Training {
        study: &study,
        results: &results,
        device: &device,
        planned: &study.plan.cells,
        workers: args.workers,
        every: args.checkpoint,
        forecast: None,
        before: Some(&before),
    };
    if !training.train(&todo, &stop, &again)? {
        return Ok(exit::AGAIN);
    }
    stop.at_once();
    let recorded = Recorded::open(&results, &args.dirs.results)?;
    if recorded.ledger.cells.iter().map(|(cell, _)| cell).ne(&study.plan.cells) {
        let message = format!("the plan in `{}` was replaced meanwhile", results.display());
        let hint = "all that was trained is kept: the same command, or another name for this sweep";
        return Err(InputError::new(message, hint).with_code(exit::AGAIN).into());
    }
    unrecorded(&recorded.ledger)?;
    if let Err(e) = forks::release_all(&results, &recorded.ledger) {
        note!("{e}; the next run tries again");
    }
    if args.train_only {
        note!("{}", summary(&study, &recorded.ledger));
        return Ok(u8::from(recorded.ledger.has_failures()));
    }
    finish(recorded, &out, &Pins::default(), started)
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

pub(super) fn report(args: &ReportArgs) -> Result<u8, Failure> {
    let started = Instant::now();
    match Input::of(&args.input, &args.dirs.results)? {
        Input::Results(dir) => {
            let recorded = Recorded::open(&dir, &args.dirs.results)?;
            let pins = args.pinned.pins()?;
            let out = open::of_sweep(&recorded.name, &args.dirs.analysis)?;
            finish(recorded, &open::pinned(out, &pins), &pins, started)
        }
        input => written(&input, args, started),
    }
}

/// The figures and the report of a fit that was written, or of a table, which is fitted first.
fn written(input: &Input, args: &ReportArgs, started: Instant) -> Result<u8, Failure> {
    let study = input.study(&args.dirs.results, &args.columns.options()?)?;
    let pins = args.pinned.pins()?;
    let out = open::pinned(input.place(&study.name, &args.dirs.analysis)?, &pins);
    let analysis = match input {
        Input::Fit(path) => {
            open::unpinned(path, &pins)?;
            super::predict::read(path)?
        }
        _ => analysis::analyse(&study, &Options { pins, ..study.options() })?,
    };
    let predictions = analysis::predictions(&study, &analysis);
    super::backtest::make(&out, &study, analysis.pins)?;
    analysis::write(&out, &study, &analysis, &predictions)?;
    print(&(study.read_as() + &analysis::text(&analysis, &predictions)));
    note!("{}", show::warnings(&analysis.warnings));
    print(&format!(
        "\nDone in {}.\n  report   {}\n",
        duration(started.elapsed().as_secs_f64()),
        out.join("report.html").display()
    ));
    Ok(0)
}

/// The ledger, the fit, the figures and the report, from what is recorded.
fn finish(recorded: Recorded, out: &Path, pins: &Pins, started: Instant) -> Result<u8, Failure> {
    let csv = ledger::csv(&recorded.ledger).map_err(|e| Failure {
        message: format!("cannot write the ledger as CSV: {e}"),
        code: exit::BUG,
    })?;
    let file = recorded.dir.join("ledger.csv");
    Os.write_atomic(&file, &csv)?;
    print(&format!("\nRuns of {}\n{}", recorded.name, show::ledger(&recorded.ledger)));
    let code = if recorded.ledger.count("damaged") > 0 {
        exit::DAMAGED
    } else {
        u8::from(recorded.ledger.has_failures())
    };
    let study = Analysed::recorded(recorded);
    crate::fit::allowed(pins, &study.table)?;
    let options = Options { pins: *pins, ..study.options() };
    let (analysis, refusal) = analysis::analyse_or_refuse(&study, &options);
    let predictions = analysis::predictions(&study, &analysis);
    super::backtest::make(out, &study, *pins)?;
    analysis::write(out, &study, &analysis, &predictions)?;
    match &refusal {
        None => print(&format!("\nFits\n{}", analysis::text(&analysis, &predictions))),
        Some(why) => {
            let curves = analysis.health.as_ref().map_or_else(String::new, |h| h.line() + "\n");
            print(&format!("\nNo fit: {why}\n{curves}"));
        }
    }
    note!("{}", show::warnings(&analysis.warnings));
    print(&format!(
        "\nDone in {}.\n  report   {}\n  figures  {}\n  fit      {}\n  ledger   {}\n",
        duration(started.elapsed().as_secs_f64()),
        out.join("report.html").display(),
        out.join("figures").display(),
        out.join("fit.json").display(),
        file.display()
    ));
    Ok(code)
}

/// One line about the sweep and what is left of it.
fn summary(study: &Study, ledger: &Ledger) -> String {
    let done = ledger.count("completed");
    let corpus = study
        .data
        .facts
        .train_tokens
        .map_or_else(String::new, |t| format!("; corpus of {} tokens", count(t as f64)));
    format!(
        "Sweep {}: {}, {} FLOP{corpus}. {done} completed, {} to go.\n",
        study.plan.name,
        several(study.plan.cells.len(), "cell"),
        flops(study.plan.flops()),
        ledger.count("missing")
    )
}
