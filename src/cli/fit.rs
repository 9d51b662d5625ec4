//! `isoflop fit`: laws for a results directory or for any CSV.

use std::path::PathBuf;

use super::analysis::{self, Study};
use super::study::Recorded;
use super::{Failure, args::FitArgs, print, print_json};
use crate::fit::Options;
use crate::{import, ledger};

pub(super) fn execute(args: &FitArgs) -> Result<u8, Failure> {
    let defaults = Options::default();
    let mut options = Options {
        delta: args.delta,
        bootstrap: args.bootstrap.unwrap_or(defaults.bootstrap),
        level: args.level.unwrap_or(defaults.level),
        holdout: args.holdout.unwrap_or(defaults.holdout),
        seed: args.seed,
        ..defaults
    };
    let study = if args.input.is_dir() {
        let recorded = Recorded::open(&args.input, &PathBuf::from("results"))?;
        let fit = &recorded.spec.fit;
        options.bootstrap = args.bootstrap.unwrap_or(*fit.bootstrap.get_ref() as usize);
        options.level = args.level.unwrap_or(*fit.level.get_ref());
        options.holdout = args.holdout.unwrap_or(*fit.holdout.get_ref() as usize);
        Study::recorded(recorded)
    } else {
        let name = args.input.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Study::imported(name, import::read(&args.input, &args.columns.options())?)
    };
    let out = args.out.clone().unwrap_or_else(|| PathBuf::from("analysis").join(&study.name));
    let analysis = analysis::analyse(&study, &options)?;
    let predictions = analysis::predictions(&study, &analysis);
    analysis::write(&out, &study, &analysis, &predictions)?;
    if args.json {
        print_json(&analysis);
    } else {
        print(&analysis::text(&analysis, &predictions));
        eprint!("{}", super::show::warnings(&analysis.warnings));
    }
    eprintln!("wrote {}", out.join("report.html").display());
    Ok(u8::from(study.ledger.as_ref().is_some_and(ledger::Ledger::has_failures)))
}
