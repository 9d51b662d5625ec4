//! What was predicted and what it took: the content of `price.json`.
//!
//! One *sitting* is one runner's go at what was left. A study that is stopped and taken up again has
//! several, and what they took together is held against what the first predicted. Clocks compare only where
//! this runner had the results directory to itself: else nothing is said.

use serde::{Deserialize, Serialize};

/// Version of `price.json`.
pub const VERSION: u32 = 1;

/// All sittings at one sweep.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Book {
    /// [`VERSION`] of the writer.
    pub v: u32,
    /// In the order in which they began.
    pub sittings: Vec<Sitting>,
}

/// One runner's go at what was left.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sitting {
    /// When it began, for people.
    pub started: String,
    /// Device, as a person would name it.
    pub device: String,
    /// Cells side by side.
    pub workers: usize,
    /// Predicted wall-clock of training, fit and report not counted [s].
    pub seconds: f64,
    /// What it took; nothing while it goes on, and for ever if it was killed [s].
    pub actual: Option<f64>,
    /// Another runner was at work on the same cells.
    pub shared: bool,
    /// It was asked to stop before its cells had ended.
    pub stopped: bool,
    /// Its cells, in the order in which they were handed out.
    pub cells: Vec<CellPrice>,
}

/// One cell of a sitting.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CellPrice {
    /// Which.
    pub id: String,
    /// Predicted seconds of what was left of it [s].
    pub seconds: f64,
    /// What it took, where this sitting completed it [s].
    pub actual: Option<f64>,
}

impl Default for Book {
    fn default() -> Self {
        Self { v: VERSION, sittings: Vec::new() }
    }
}

/// Predicted against actual.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Compared {
    /// Predicted wall-clock of everything, by the first sitting [s].
    pub predicted: f64,
    /// Wall-clock of all sittings so far [s].
    pub actual: f64,
    /// How many.
    pub sittings: usize,
    /// Predicted for what is left; 0 when all cells have ended [s].
    pub left: f64,
    /// Cells that ended without being completed, earlier than was predicted.
    pub early: usize,
    /// Median, least and most of actual over predicted seconds of a completed cell.
    pub ratios: Option<[f64; 3]>,
}

impl Book {
    /// The last sitting and those before it whose cells hold all of its, on the same device, with as many
    /// cells side by side. Nothing where one of them was killed or not alone.
    pub fn compared(&self) -> Option<Compared> {
        let last = self.sittings.last()?;
        let mut chain = vec![last];
        for before in self.sittings.iter().rev().skip(1) {
            let after = chain[chain.len() - 1];
            let holds = |id: &String| before.cells.iter().any(|c| c.id == *id);
            let same = before.device == after.device && before.workers == after.workers;
            if !(same && before.stopped && after.cells.iter().all(|c| holds(&c.id))) {
                break;
            }
            chain.push(before);
        }
        if chain.iter().any(|s| s.shared) {
            return None;
        }
        let actual = chain.iter().map(|s| s.actual).sum::<Option<f64>>()?;
        let open = last.cells.iter().filter(|c| c.actual.is_none());
        let (left, early) = if last.stopped {
            (super::cost::makespan(open.map(|c| c.seconds), last.workers), 0)
        } else {
            (0.0, open.count())
        };
        let cells = chain.iter().flat_map(|s| &s.cells);
        let mut ratios: Vec<f64> = cells.filter_map(|c| Some(c.actual? / c.seconds)).collect();
        ratios.sort_by(f64::total_cmp);
        let n = ratios.len();
        let ratios =
            (n > 0).then(|| [0.5 * (ratios[(n - 1) / 2] + ratios[n / 2]), ratios[0], ratios[n - 1]]);
        let predicted = chain[chain.len() - 1].seconds;
        Some(Compared { predicted, actual, sittings: chain.len(), left, early, ratios })
    }
}
