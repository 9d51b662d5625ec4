//! `isoflop fit`: laws for a sweep's results or for any table of runs.

use super::args::FitArgs;
use super::watch::Stderr;
use super::{answer, losses, print, print_json, show, target};
use crate::ledger::Ledger;
use crate::study::{Failure, analysis, input, pages};
use crate::terminal::note;

pub(super) fn execute(args: &FitArgs) -> Result<u8, Failure> {
    if let Some(task) = &args.target {
        return target::execute(args, task);
    }
    let several = args.columns.losses();
    if !several.is_empty() {
        return losses::execute(args, &several);
    }
    let (runs, place) = input::open(&args.input, &args.columns.options()?)?;
    let options = args.options(runs.options())?;
    let out = args.out.clone().unwrap_or_else(|| input::pinned(place, &options.pins));
    let analysis = analysis::analyse(&runs, &options, &Stderr)?;
    let predictions = analysis::predictions(&runs, &analysis);
    note!("{}", show::warnings(&pages::write(&out, &runs, &analysis, &predictions)?));
    if args.json {
        print_json(&analysis);
    } else {
        print(&(runs.read_as() + &answer::fit(&analysis, &predictions)));
        note!("{}", show::warnings(&analysis.warnings));
    }
    note!("wrote {}", out.join("report.html").display());
    Ok(u8::from(runs.ledger.as_ref().is_some_and(Ledger::has_failures)))
}
