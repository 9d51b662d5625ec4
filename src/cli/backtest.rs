//! `isoflop backtest`: how well one's own largest runs are predicted from the smaller ones.

use super::show::table;
use super::{args::BacktestArgs, print, print_json};
use crate::backtest::{Backtest, EPOCHS_HEADER, HEADER, LEGEND};
use crate::fit::Options;
use crate::study::input::{self, Input};
use crate::study::{Failure, backtest};
use crate::terminal::note;

pub(super) fn execute(args: &BacktestArgs) -> Result<u8, Failure> {
    let input = Input::of(&args.input, &args.dirs.results)?;
    let runs = input.runs(&args.columns.options()?)?;
    let place = input.place(&runs.name, &args.dirs.analysis)?;
    let defaults = runs.options();
    let options = Options {
        bootstrap: args.bootstrap,
        level: args.level.unwrap_or(defaults.level),
        seed: args.seed,
        pins: args.pinned.pins()?,
        ..defaults
    };
    let (result, file) = backtest::test(&runs, &options, &input::pinned(place, &options.pins))?;
    if args.json {
        print_json(&result);
    } else {
        print(&(runs.read_as() + &text(&result)));
    }
    note!("wrote {}; `isoflop report` shows it", file.display());
    Ok(0)
}

fn text(b: &Backtest) -> String {
    let mut out = format!(
        "Backtest of {}: the larger runs predicted from the smaller by the average of the forms of law, {}\n\n",
        b.source,
        b.plan()
    );
    if let Some(warning) = b.pins.warning() {
        out += &format!("  ! {warning}\n\n");
    }
    out += &table(&["fitted up to C", "runs", "predicted"], 1, &rows(b.cut_rows()));
    if b.all.is_none() {
        return out + "\nNothing could be predicted: the smaller runs determine no law.\n";
    }
    out += &format!("\n{}", table(&HEADER, 1, &rows(b.rows())));
    if !b.by_epochs.is_empty() {
        out += &format!("\n{}", table(&EPOCHS_HEADER, 1, &rows(b.epoch_rows())));
    }
    out += &format!("  {LEGEND}\n");
    out += &b.sizes_told().map_or_else(String::new, |told| format!("  {told}\n"));
    b.warnings.iter().fold(out, |out, warning| out + &format!("  ! {warning}\n"))
}

fn rows<const N: usize>(of: Vec<[String; N]>) -> Vec<Vec<String>> {
    of.into_iter().map(Vec::from).collect()
}
