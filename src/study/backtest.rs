//! The backtest of some runs, kept as backtest.json beside their fit; the report shows that file.

use std::path::{Path, PathBuf};

use super::{Failure, Runs};
use crate::backtest::{Backtest, backtest};
use crate::error::FileError;
use crate::fit::{Options, Pins};
use crate::fs::{Disk as _, Os, read_file};
use crate::points::Point;

/// Where the last backtest of an analysis lies.
const FILE: &str = "backtest.json";
/// Most bytes of one: some 100,000 predictions.
const MAX: u64 = 64 << 20;
/// Bootstrap refits at each cut, unless asked otherwise.
pub const BOOTSTRAP: usize = 200;

/// Tests the larger runs against the smaller and keeps what was found in the directory of their analysis; the path
/// beside it.
///
/// # Errors
///
/// [`Failure`] where the runs are too few, or the file cannot be written.
pub fn test(runs: &Runs, options: &Options, dir: &Path) -> Result<(Backtest, PathBuf), Failure> {
    let result = backtest(&runs.table, options)?;
    let file = write(dir, &result)?;
    Ok((result, file))
}

/// The last backtest of these runs with these pins, if there is one.
pub fn stored(dir: &Path, points: &[Point], pins: &Pins) -> Option<Backtest> {
    let json = read_file(&dir.join(FILE), MAX).ok()?;
    Backtest::read(&json).ok().filter(|b| b.is_of(points, pins))
}

/// Makes the backtest of some runs where there is none of them. Too few runs for one are no failure.
///
/// # Errors
///
/// [`Failure`] where it cannot be written.
pub fn make(dir: &Path, runs: &Runs, pins: Pins) -> Result<(), Failure> {
    if stored(dir, &runs.table.points, &pins).is_some() {
        return Ok(());
    }
    let options = Options { bootstrap: BOOTSTRAP, pins, ..runs.options() };
    if let Ok(result) = backtest(&runs.table, &options) {
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
