//! `isoflop fit`: laws for a sweep's results or for any table of runs.

use super::args::FitArgs;
use super::watch::Stderr;
use super::{answer, losses, print, print_json, show};
use crate::fit::{Analysis, Options};
use crate::ledger::Ledger;
use crate::predict::Prediction;
use crate::study::{Failure, Runs, analysis, input, pages};
use crate::terminal::note;
use crate::units::after_loss;

pub(super) fn execute(args: &FitArgs) -> Result<u8, Failure> {
    let several = args.columns.losses();
    if !several.is_empty() {
        return losses::execute(args, &several);
    }
    let (runs, place) = input::open(&args.input, &args.columns.options()?)?;
    let options = options(args, &runs)?;
    let out = args.out.clone().unwrap_or_else(|| input::pinned(place, &options.pins));
    let analysis = analysis::analyse(&runs, &options, &Stderr)?;
    let predictions = analysis::predictions(&runs, &analysis);
    note!("{}", show::warnings(&pages::write(&out, &runs, &analysis, &predictions)?));
    if args.json {
        print_json(&analysis);
    } else {
        print(&(runs.read_as() + &text(&analysis, &predictions)));
        note!("{}", show::warnings(&analysis.warnings));
    }
    note!("wrote {}", out.join("report.html").display());
    Ok(u8::from(runs.ledger.as_ref().is_some_and(Ledger::has_failures)))
}

/// What the command line asks, over what the sweep file says.
pub(super) fn options(args: &FitArgs, runs: &Runs) -> Result<Options, Failure> {
    let defaults = runs.options();
    Ok(Options {
        delta: args.delta,
        bootstrap: args.bootstrap.unwrap_or(defaults.bootstrap),
        level: args.level.unwrap_or(defaults.level),
        holdout: args.holdout.unwrap_or(defaults.holdout),
        seed: args.seed,
        pins: args.pinned.pins()?,
        ..defaults
    })
}

/// What the terminal shows of an analysis.
pub(super) fn text(analysis: &Analysis, predictions: &[Prediction]) -> String {
    let mut out = show::fits(analysis);
    if let Some(health) = &analysis.health {
        out += &format!("\n{}\n", health.line());
    }
    for prediction in predictions {
        out += "\n";
        out += &answer::prediction(prediction, &after_loss(&analysis.convention.loss));
    }
    out
}
