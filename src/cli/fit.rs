//! `isoflop fit`: laws for a sweep's results or for any table of runs.

use super::analysis;
use super::{Failure, args::FitArgs, losses, open, print, print_json};
use crate::ledger;
use crate::terminal::note;

pub(super) fn execute(args: &FitArgs) -> Result<u8, Failure> {
    let several = args.columns.losses();
    if !several.is_empty() {
        return losses::execute(args, &several);
    }
    let (study, place) = open::open(&args.input, &args.columns.options()?)?;
    let options = analysis::options(args, &study)?;
    let out = args.out.clone().unwrap_or_else(|| open::pinned(place, &options.pins));
    let analysis = analysis::analyse(&study, &options)?;
    let predictions = analysis::predictions(&study, &analysis);
    analysis::write(&out, &study, &analysis, &predictions)?;
    if args.json {
        print_json(&analysis);
    } else {
        print(&(study.read_as() + &analysis::text(&analysis, &predictions)));
        note!("{}", super::show::warnings(&analysis.warnings));
    }
    note!("wrote {}", out.join("report.html").display());
    Ok(u8::from(study.ledger.as_ref().is_some_and(ledger::Ledger::has_failures)))
}
