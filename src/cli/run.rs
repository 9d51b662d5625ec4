//! `isoflop run` and `isoflop report`: the main job, and its last step again.

use std::path::Path;
use std::time::Instant;

use super::args::{Launcher, ReportArgs, RunArgs};
use super::watch::Stderr;
use super::{answer, forecast, launch, print, show};
use crate::device::{self, Wanted};
use crate::error::exit;
use crate::fit::Pins;
use crate::ledger::{Ledger, StateName};
use crate::study::input::{self, Input};
use crate::study::run::{self, Begun, Report};
use crate::study::sweep::read_spec;
use crate::study::training::{Setup, stop_on_signals};
use crate::study::{Failure, Results, Sweep};
use crate::terminal::note;
use crate::units::{count, duration, flops, several};

pub(super) fn execute(args: &RunArgs) -> Result<u8, Failure> {
    let started = Instant::now();
    if let Some(path) = &args.forecast {
        return forecast::run(args, path);
    }
    // The device and every directory are tried before any work is done.
    let (spec, _) = read_spec(&args.sweep)?;
    if args.launcher == Launcher::Slurm {
        return launch::execute(args, &spec);
    }
    let device =
        device::choose(&Wanted::of(&spec.device, args.training.device, args.training.matmul))?;
    if args.dry_run {
        let sweep = Sweep::open(&args.sweep, &args.dirs.results, false)?;
        let ledger = Ledger::read(&args.dirs.results.join(&sweep.plan.name), &sweep.plan.cells)?;
        print(&format!(
            "{}\n{}",
            show::plan(&sweep.plan.cells, device.room(1), &|_| None, None),
            summary(&sweep, &ledger)
        ));
        note!("{}", show::warnings(&sweep.plan.warnings));
        return Ok(0);
    }
    let begun = Begun::open(&args.sweep, &args.dirs, &Stderr)?;
    note!("{}{}", summary(&begun.sweep, &begun.before), show::warnings(&begun.sweep.plan.warnings));
    note!("{}", show::warnings(&begun.before.notes));
    let stop = stop_on_signals()?;
    let setup = Setup {
        device: &device,
        workers: args.training.workers,
        every: args.checkpoint,
        retry: &args.training.retry,
        stop: &stop,
    };
    let Some(results) = begun.train(setup, &Stderr)? else { return Ok(exit::AGAIN) };
    if args.train_only {
        note!("{}", summary(&begun.sweep, &results.ledger));
        return Ok(u8::from(results.ledger.has_failures()));
    }
    finish(results, &begun.analysis, Pins::default(), started)
}

pub(super) fn report(args: &ReportArgs) -> Result<u8, Failure> {
    let started = Instant::now();
    let pins = args.pinned.pins()?;
    match Input::of(&args.input, &args.dirs.results)? {
        Input::Results(dir) => {
            let results = Results::open(&dir)?;
            let out = input::of_sweep(&results.name, &args.dirs.analysis)?;
            finish(results, &input::pinned(out, &pins), pins, started)
        }
        input => of_runs(&input, args, pins, started),
    }
}

/// The figures and the report of a fit that was written, or of a table, which is fitted first.
fn of_runs(input: &Input, args: &ReportArgs, pins: Pins, started: Instant) -> Result<u8, Failure> {
    let runs = input.runs(&args.columns.options()?)?;
    let out = input::pinned(input.place(&runs.name, &args.dirs.analysis)?, &pins);
    let fit = match input {
        Input::Fit(path) => {
            input::unpinned(path, &pins)?;
            Some(input::read_fit(path)?)
        }
        _ => None,
    };
    let report = run::report_of(&runs, fit, &out, pins, &Stderr)?;
    print(&(runs.read_as() + &answer::fit(&report.analysis, &report.predictions)));
    warn(&report);
    print(&format!(
        "\nDone in {}.\n  report   {}\n",
        duration(started.elapsed().as_secs_f64()),
        out.join("report.html").display()
    ));
    Ok(0)
}

/// The ledger, the fit, the figures and the report, from what is recorded.
fn finish(results: Results, out: &Path, pins: Pins, started: Instant) -> Result<u8, Failure> {
    let file = run::write_ledger(&results)?;
    print(&format!("\nRuns of {}\n{}", results.name, show::ledger(&results.ledger)));
    let code = if results.ledger.count(StateName::Damaged) > 0 {
        exit::DAMAGED
    } else {
        u8::from(results.ledger.has_failures())
    };
    let report = run::report(results, out, pins, &Stderr)?;
    match &report.refusal {
        None => print(&format!("\nFits\n{}", answer::fit(&report.analysis, &report.predictions))),
        Some(why) => {
            let health = report.analysis.health.as_ref();
            let curves = health.map_or_else(String::new, |h| h.line() + "\n");
            print(&format!("\nNo fit: {why}\n{curves}"));
        }
    }
    warn(&report);
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

fn warn(report: &Report) {
    note!("{}{}", show::warnings(&report.warnings), show::warnings(&report.analysis.warnings));
}

/// One line about the sweep and what is left of it.
fn summary(sweep: &Sweep, ledger: &Ledger) -> String {
    let done = ledger.count(StateName::Completed);
    let corpus = sweep
        .data
        .facts
        .train_tokens
        .map_or_else(String::new, |t| format!("; corpus of {} tokens", count(t as f64)));
    format!(
        "Sweep {}: {}, {} FLOP{corpus}. {done} completed, {} to go.\n",
        sweep.plan.name,
        several(sweep.plan.cells.len(), "cell"),
        flops(sweep.plan.flops()),
        ledger.count(StateName::Missing)
    )
}
