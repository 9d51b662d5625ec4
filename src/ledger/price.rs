//! `price.json`: what a sweep was predicted to take here, and what it took. Derived: nothing reads it to train.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::FileError;
use crate::fs::{Disk, Os};
use crate::sound::{Refused, not_negative};

/// Its name in `results/<sweep>`.
pub const FILE: &str = "price.json";
/// Version of its format.
const VERSION: u32 = 1;
/// Longest such file that is read [bytes].
const MAX_FILE: u64 = 64 << 20;

/// Predictions of all sittings.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Prices {
    /// Version of this format.
    pub v: u32,
    /// Device of the newest sitting.
    pub device: String,
    /// Cells side by side in the newest sitting.
    pub workers: usize,
    /// By the id of the cell, its newest prediction.
    pub cells: BTreeMap<String, CellPrice>,
    /// One for every run that was priced, the oldest first.
    pub sittings: Vec<Sitting>,
}

/// What was left of a cell when it was priced.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CellPrice {
    /// Predicted [s].
    pub predicted: f64,
    /// Wall-clock from its start to its completion, in the same sitting [s].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actual: Option<f64>,
}

/// One run of what was left.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sitting {
    /// When it began.
    pub began: String,
    /// Cells that were to be trained.
    pub cells: usize,
    /// Cells side by side.
    pub workers: usize,
    /// Predicted wall-clock of them all [s].
    pub predicted: f64,
    /// Wall-clock until the end or the stop; nothing while it runs, or where it was killed [s].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actual: Option<f64>,
    /// Cells that were completed by it.
    #[serde(default)]
    pub completed: usize,
    /// Whether each of its cells was completed, and by it alone: only then are both times of one thing.
    #[serde(default)]
    pub whole: bool,
}

impl Prices {
    /// What is kept of a sweep. Nothing where there is no such file, or none that can be read.
    pub fn read(results: &Path) -> Option<Self> {
        let bytes = Os.read(&results.join(FILE), MAX_FILE).ok()?;
        let prices: Self = serde_json::from_slice(&bytes).ok()?;
        (prices.v == VERSION && prices.check().is_ok()).then_some(prices)
    }

    fn check(&self) -> Refused {
        let cells = self.cells.values().map(|c| (c.predicted, c.actual));
        let sittings = self.sittings.iter().map(|s| (s.predicted, s.actual));
        for (predicted, actual) in cells.chain(sittings) {
            not_negative("predicted", predicted)?;
            actual.iter().try_for_each(|a| not_negative("actual", *a))?;
        }
        Ok(())
    }

    /// Keeps it, all or nothing.
    ///
    /// # Errors
    ///
    /// [`FileError`] when it cannot be written.
    pub fn write(&self, disk: &dyn Disk, results: &Path) -> Result<(), FileError> {
        let all = Self { v: VERSION, ..self.clone() };
        let json = serde_json::to_vec_pretty(&all).map_err(std::io::Error::other);
        let path = results.join(FILE);
        let mut json = json.map_err(FileError::new("write", &path))?;
        json.push(b'\n');
        disk.write_atomic(&path, &json)
    }

    /// Median, least and most of actual over predicted, of the cells that have both [-], and their number.
    pub fn ratios(&self) -> Option<Ratios> {
        Ratios::of(self.cells.values().filter_map(|c| Some(c.actual? / c.predicted)))
    }
}

/// Actual over predicted seconds of some cells [-].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ratios {
    /// How many.
    pub cells: usize,
    /// The middle.
    pub median: f64,
    /// The least.
    pub least: f64,
    /// The most.
    pub most: f64,
}

impl Ratios {
    /// Of these, if there are any.
    pub fn of(ratios: impl Iterator<Item = f64>) -> Option<Self> {
        let mut all: Vec<f64> = ratios.filter(|r| r.is_finite()).collect();
        all.sort_by(f64::total_cmp);
        let (n, least, most) = (all.len(), *all.first()?, *all.last()?);
        Some(Self { cells: n, median: 0.5 * all[(n - 1) / 2] + 0.5 * all[n / 2], least, most })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_are_read_as_they_were_written_and_rubbish_is_nothing() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Prices::read(dir.path()), None);
        let sitting = Sitting {
            began: "2026-01-01T00:00:00Z".into(),
            cells: 2,
            workers: 2,
            predicted: 10.0,
            actual: None,
            completed: 0,
            whole: false,
        };
        let cells = [("a", 4.0, Some(5.0)), ("b", 4.0, Some(3.0)), ("c", 2.0, None)];
        let price = |predicted, actual| CellPrice { predicted, actual };
        let prices = Prices {
            v: VERSION,
            device: "CPU".into(),
            workers: 2,
            cells: cells.into_iter().map(|(id, p, a)| (id.to_owned(), price(p, a))).collect(),
            sittings: vec![sitting],
        };
        prices.write(&Os, dir.path()).unwrap();
        assert_eq!(Prices::read(dir.path()), Some(prices.clone()));
        let want = Ratios { cells: 2, median: 1.0, least: 0.75, most: 1.25 };
        assert_eq!(prices.ratios(), Some(want));
        for rubbish in ["", "{", "{\"v\": 99}", "[]"] {
            std::fs::write(dir.path().join(FILE), rubbish).unwrap();
            assert_eq!(Prices::read(dir.path()), None, "{rubbish}");
        }
    }
}
