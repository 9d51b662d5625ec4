//! `isoflop backtest`: how well one's own largest runs are predicted from the smaller ones.
//!
//! What was found is kept as backtest.json beside the fit, and the report shows that file.

use std::path::{Path, PathBuf};

use super::analysis::Study;
use super::open::Input;
use super::show::table;
use super::{Failure, args::BacktestArgs, print, print_json};
use crate::backtest::{Backtest, EPOCHS_HEADER, HEADER, LEGEND, backtest};
use crate::error::FileError;
use crate::fit::{Options, Pins};
use crate::fs::{Disk as _, Os, read_file};
use crate::points::Point;
use crate::terminal::note;

/// Where the last backtest of an analysis lies.
const FILE: &str = "backtest.json";
/// Most bytes of one: some 100,000 predictions.
const MAX: u64 = 64 << 20;
/// Bootstrap refits at each cut, unless asked otherwise.
pub(super) const BOOTSTRAP: usize = 200;

pub(super) fn execute(args: &BacktestArgs) -> Result<u8, Failure> {
    let input = Input::of(&args.input, &args.dirs.results)?;
    let study = input.study(&args.dirs.results, &args.columns.options()?)?;
    let place = input.place(&study.name, &args.dirs.analysis)?;
    let defaults = study.options();
    let options = Options {
        bootstrap: args.bootstrap,
        level: args.level.unwrap_or(defaults.level),
        seed: args.seed,
        pins: args.pinned.pins()?,
        ..defaults
    };
    let result = backtest(&study.table, &options)?;
    let file = write(&super::open::pinned(place, &options.pins), &result)?;
    if args.json {
        print_json(&result);
    } else {
        print(&(study.read_as() + &text(&result)));
    }
    note!("wrote {}; `isoflop report` shows it", file.display());
    Ok(0)
}

/// The last backtest of these runs with these pins, if there is one.
pub(super) fn stored(dir: &Path, points: &[Point], pins: &Pins) -> Option<Backtest> {
    let json = read_file(&dir.join(FILE), MAX).ok()?;
    Backtest::read(&json).ok().filter(|b| b.is_of(points, pins))
}

/// Makes the backtest of a study where there is none of its runs. Too few runs for one are no failure.
pub(super) fn make(dir: &Path, study: &Study, pins: Pins) -> Result<(), Failure> {
    if stored(dir, &study.table.points, &pins).is_some() {
        return Ok(());
    }
    let options = Options { bootstrap: BOOTSTRAP, pins, ..study.options() };
    if let Ok(result) = backtest(&study.table, &options) {
        write(dir, &result)?;
    }
    Ok(())
}

fn write(dir: &Path, result: &Backtest) -> Result<PathBuf, FileError> {
    let json = serde_json::to_vec(result).expect("a backtest has no map with other keys than text");
    Os.create_dirs(dir)?;
    let file = dir.join(FILE);
    Os.write_atomic(&file, &json)?;
    Ok(file)
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
