//! `isoflop status`: every cell by state, and how far a dataset is.

use std::path::Path;

use serde::Serialize;

use super::args::StatusArgs;
use super::{launch, print, print_json, show};
use crate::exec::slurm;
use crate::forecast::{Entry, Outcome};
use crate::ledger::price::Prices;
use crate::ledger::{self, StateName};
use crate::prepare::stages::Progress;
use crate::study::{Dirs, Failure, Results, preparing, price, score};
use crate::terminal::note;
use crate::units::{bytes, flops, several};

/// One cell.
#[derive(Serialize)]
struct OutputCell<'a> {
    id: &'a str,
    state: &'static str,
    params: f64,
    tokens: u64,
    flops: f64,
    flops_spent: Option<f64>,
    loss: Option<f64>,
    why: Option<String>,
}

pub(super) fn execute(args: &StatusArgs) -> Result<u8, Failure> {
    if let Some(progress) = preparing::progress(&args.sweep)? {
        return Ok(dataset(args, &progress));
    }
    let recorded = Results::open(&Results::dir(&args.sweep, &args.dirs.results)?)?;
    let ledger = &recorded.ledger;
    if args.json {
        let cells: Vec<OutputCell<'_>> = ledger
            .cells
            .iter()
            .map(|(cell, state)| OutputCell {
                id: &cell.id,
                state: state.name().word(),
                params: cell.params(),
                tokens: cell.recipe.tokens(),
                flops: cell.recipe.flops(),
                flops_spent: ledger::spent(cell, state),
                loss: match state {
                    crate::ledger::State::Completed { loss, .. } => Some(*loss),
                    _ => None,
                },
                why: state.why(),
            })
            .collect();
        print_json(&cells);
        return Ok(0);
    }
    let total: f64 = ledger.cells.iter().map(|(c, _)| c.recipe.flops()).sum();
    let done: f64 = ledger
        .cells
        .iter()
        .filter(|(_, s)| s.name() == StateName::Completed)
        .map(|(c, _)| c.recipe.flops())
        // The sum of nothing is -0.
        .fold(0.0, |sum, flops| sum + flops);
    let spent: f64 = ledger.cells.iter().filter_map(|(c, s)| ledger::spent(c, s)).sum();
    let states = [StateName::Completed, StateName::Running, StateName::Missing]
        .into_iter()
        .chain(StateName::FAILURES);
    let parts: Vec<String> = states
        .map(|s| (s, ledger.count(s)))
        .filter(|(_, n)| *n > 0)
        .map(|(s, n)| format!("{n} {s}"))
        .collect();
    print(&format!(
        "Sweep {}: {}, {}; {:.0}% of {} FLOP{}.\n\n{}",
        recorded.name,
        several(ledger.cells.len(), "cell"),
        parts.join(", "),
        100.0 * done / total,
        flops(total),
        shared(done, spent),
        show::ledger(ledger)
    ));
    print(&forecasts(&recorded, &args.dirs)?);
    if let Some(prices) = Prices::read(&recorded.dir) {
        print(&price::sittings(&prices));
    }
    queue(&recorded.name, &recorded.dir);
    note!("{}", show::warnings(&ledger.notes));
    Ok(0)
}

/// What Slurm has of a directory, where something was submitted.
fn queue(name: &str, dir: &Path) {
    if slurm::script_path(dir).exists() && slurm::is_here() {
        match slurm::state(&slurm::job_name(name, dir), dir) {
            Ok(Some(live)) => print(&format!("\nSlurm: {}.\n", launch::said(&live))),
            Ok(None) => print("\nSlurm: no task in the queue.\n"),
            Err(error) => print(&format!("\nSlurm: {error}\n")),
        }
    }
}

/// How far a dataset is.
fn dataset(args: &StatusArgs, progress: &Progress) -> u8 {
    if args.json {
        print_json(progress);
        return 0;
    }
    let Progress { name, finished, stages, failed } = progress;
    let state = if *finished { "finished" } else { "in the making" };
    print(&format!("Dataset {name}: {state}.\n"));
    if !stages.is_empty() {
        let rows: Vec<Vec<String>> = stages
            .iter()
            .map(|stage| {
                let [done, all] = stage.bytes.map(|n| bytes(n as f64));
                vec![
                    stage.stage.to_owned(),
                    format!("{} of {}", stage.done, stage.units),
                    if stage.bytes[1] > 0 { format!("{done} of {all}") } else { String::new() },
                ]
            })
            .collect();
        print(&format!("\n{}", show::table(&["stage", "units", "input"], 1, &rows)));
    }
    for why in failed {
        print(&format!("\nfailed: {why}\n"));
    }
    queue(name, &args.sweep);
    0
}

/// What was spent, where that is less than what the completed cells come to one by one.
fn shared(done: f64, spent: f64) -> String {
    if spent >= 0.999 * done {
        return String::new();
    }
    format!(
        ", every cell counted whole; {} FLOP were spent, since branches share the steps of their trunk",
        flops(spent)
    )
}

/// What came of the sweep's forecasts, whose runs are no cells of the grid; nothing where there are none.
fn forecasts(recorded: &Results, dirs: &Dirs) -> Result<String, Failure> {
    let entries = score::card(&dirs.analysis.join(&recorded.name), &recorded.dir, &recorded.name)?;
    let line = |entry: &Entry| {
        let told = match &entry.outcome {
            Outcome::Scored(score) => format!(
                "measured {:.4}, {} its interval",
                score.measured,
                if score.inside { "inside" } else { "outside" }
            ),
            Outcome::Open(why) => format!("not measured: {why}"),
            Outcome::Void(why) => format!("void: {why}"),
        };
        let run = entry.forecast.as_ref().map_or_else(
            || entry.file.clone(),
            |f| {
                format!(
                    "cell {}  {} FLOP, predicted {:.4}",
                    f.cell.short(),
                    flops(f.flops),
                    f.loss.value
                )
            },
        );
        format!("  {run}; {told}\n")
    };
    if entries.is_empty() {
        return Ok(String::new());
    }
    Ok(format!("\nForecasts\n{}", entries.iter().map(line).collect::<String>()))
}
