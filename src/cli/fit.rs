//! `isoflop fit`: laws for a sweep's results or for any table of runs.

use super::analysis;
use super::{Failure, args::FitArgs, open, print, print_json};
use crate::fit::Options;
use crate::ledger;

pub(super) fn execute(args: &FitArgs) -> Result<u8, Failure> {
    let (study, place) = open::open(&args.input, &args.columns.options())?;
    let defaults = study.options();
    let options = Options {
        delta: args.delta,
        bootstrap: args.bootstrap.unwrap_or(defaults.bootstrap),
        level: args.level.unwrap_or(defaults.level),
        holdout: args.holdout.unwrap_or(defaults.holdout),
        seed: args.seed,
        ..defaults
    };
    let out = args.out.clone().unwrap_or(place);
    let analysis = analysis::analyse(&study, &options)?;
    let predictions = analysis::predictions(&study, &analysis);
    analysis::write(&out, &study, &analysis, &predictions)?;
    if args.json {
        print_json(&analysis);
    } else {
        print(&(study.read_as() + &analysis::text(&analysis, &predictions)));
        eprint!("{}", super::show::warnings(&analysis.warnings));
    }
    eprintln!("wrote {}", out.join("report.html").display());
    Ok(u8::from(study.ledger.as_ref().is_some_and(ledger::Ledger::has_failures)))
}
