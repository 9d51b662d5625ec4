//! What is left, what it will take, and afterwards whether it did.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::Observer;
use crate::device::Chosen;
use crate::exec::probe::Found;
use crate::fs::Os;
use crate::ledger::checkpoint::has_fork;
use crate::ledger::price::{CellPrice, Prices, Ratios, Sitting};
use crate::ledger::{Ledger, State};
use crate::plan::Cell;
use crate::plan::cost::Left;
use crate::units::{digits3, duration, moment, several};

/// Where the training of each of `todo` is to begin. A branch is paid from its fork on if the fork is
/// there or will be.
pub fn left<'a>(todo: &[&'a Cell], before: Option<&Ledger>) -> Vec<Left<'a>> {
    let states: BTreeMap<&str, &State> = before
        .map(|ledger| ledger.cells.iter().map(|(c, s)| (c.id.as_str(), s)).collect())
        .unwrap_or_default();
    let comes: BTreeSet<&str> = todo.iter().map(|c| c.id.as_str()).collect();
    let one = |cell: &&'a Cell| {
        let own = match states.get(cell.id.as_str()) {
            Some(State::Missing { step, .. }) => *step,
            _ => 0,
        };
        let forked = cell.trunk.as_ref().is_some_and(|trunk| {
            let trunk = trunk.as_str();
            let there = match states.get(trunk) {
                Some(State::Completed { dir, .. }) => has_fork(&Os, dir, Left::all(cell).first),
                _ => false,
            };
            there || comes.contains(trunk)
        });
        let fork = if forked { Left::all(cell).first } else { 0 };
        Left { cell, first: own.max(fork) }
    };
    todo.iter().map(one).collect()
}

/// What a run of `left` took.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Taken {
    /// Wall-clock of all [s].
    pub seconds: f64,
    /// Seconds of the cells that this runner completed, trained from where it was expected, by their ids.
    pub cells: BTreeMap<String, f64>,
    /// Cells that this runner completed.
    pub completed: usize,
    /// Every cell was completed by this runner.
    pub whole: bool,
}

/// A prediction that is kept beside what comes of it.
pub(super) struct Quote<'a> {
    results: &'a Path,
    prices: Prices,
    /// By the id of the cell [s].
    predicted: BTreeMap<String, f64>,
}

impl<'a> Quote<'a> {
    /// Keeps a prediction before its sitting begins.
    pub(super) fn open(
        results: &'a Path,
        device: &Chosen,
        left: &[Left<'_>],
        found: &Found,
        observer: &dyn Observer,
    ) -> Self {
        let mut prices = Prices::read(results).unwrap_or_default();
        prices.device.clone_from(&device.name);
        prices.workers = found.price.workers;
        let predicted: BTreeMap<String, f64> =
            left.iter().zip(&found.price.cells).map(|(l, s)| (l.cell.id.clone(), *s)).collect();
        for (id, seconds) in &predicted {
            prices.cells.insert(id.clone(), CellPrice { predicted: *seconds, actual: None });
        }
        prices.sittings.push(Sitting {
            began: jiff::Timestamp::now().to_string(),
            cells: left.len(),
            workers: found.price.workers,
            predicted: found.price.seconds,
            actual: None,
            completed: 0,
            whole: false,
        });
        keep(&prices, results, observer);
        Self { results, prices, predicted }
    }

    /// Keeps what came of it, in words.
    pub(super) fn close(mut self, taken: &Taken, observer: &dyn Observer) -> Option<String> {
        for (id, seconds) in &taken.cells {
            if let Some(cell) = self.prices.cells.get_mut(id) {
                cell.actual = Some(*seconds);
            }
        }
        let mut said = None;
        if let Some(sitting) = self.prices.sittings.last_mut() {
            sitting.actual = Some(taken.seconds);
            (sitting.completed, sitting.whole) = (taken.completed, taken.whole);
            let predicted = &self.predicted;
            let ratio = |(id, seconds): (&String, &f64)| Some(seconds / predicted.get(id)?);
            let ratios = Ratios::of(taken.cells.iter().filter_map(ratio));
            let compared = if taken.whole {
                against(sitting.predicted, taken.seconds)
            } else {
                unlike(sitting, taken.seconds)
            };
            let of_cells = ratios.map_or_else(String::new, |r| format!("; {}", each(r)));
            said = Some(format!("{compared}{of_cells}."));
        }
        keep(&self.prices, self.results, observer);
        said
    }
}

/// No reason to stop a run: it is derived, and a record that cannot be written says so itself.
fn keep(prices: &Prices, results: &Path, observer: &dyn Observer) {
    if let Err(error) = prices.write(&Os, results) {
        observer.note(&format!("note: the prediction is not kept: {error}"));
    }
}

/// `Predicted 12m10s, took 12m55s (+6%)`.
fn against(predicted: f64, actual: f64) -> String {
    let off = 100.0 * (actual / predicted - 1.0);
    format!("Predicted {}, took {} ({off:+.0}%)", duration(predicted), duration(actual))
}

/// A sitting in which not every cell was completed: its times are of two things, and no ratio is given.
fn unlike(s: &Sitting, actual: f64) -> String {
    format!(
        "{} of {} completed in {}; all were predicted to take {}",
        s.completed,
        several(s.cells, "cell"),
        duration(actual),
        duration(s.predicted)
    )
}

/// Actual over predicted of single cells.
fn each(ratios: Ratios) -> String {
    format!(
        "actual over predicted of a cell: median {}, {} to {}",
        digits3(ratios.median),
        digits3(ratios.least),
        digits3(ratios.most)
    )
}

/// All sittings, a line each; nothing without any.
pub fn sittings(prices: &Prices) -> String {
    let line = |s: &Sitting| match s.actual {
        Some(actual) if s.whole => {
            format!(
                "  {}  {}: {}.\n",
                moment(&s.began),
                several(s.cells, "cell"),
                against(s.predicted, actual)
            )
        }
        Some(actual) => format!("  {}  {}.\n", moment(&s.began), unlike(s, actual)),
        None => format!(
            "  {}  {}: predicted {}; no end recorded.\n",
            moment(&s.began),
            several(s.cells, "cell"),
            duration(s.predicted)
        ),
    };
    let lines: String = prices.sittings.iter().map(line).collect();
    let ratios = prices
        .ratios()
        .map_or_else(String::new, |r| format!("  {}, {}.\n", several(r.cells, "cell"), each(r)));
    if lines.is_empty() { lines } else { format!("\nPredicted and actual\n{lines}{ratios}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prediction_is_held_against_what_came() {
        assert_eq!(against(730.0, 775.0), "Predicted 12m10s, took 12m55s (+6%)");
        assert_eq!(against(100.0, 80.0), "Predicted 1m40s, took 1m20s (-20%)");
    }

    #[test]
    fn sittings_that_were_cut_are_not_compared() {
        let sitting = |actual, whole| Sitting {
            began: "t".into(),
            cells: 4,
            workers: 1,
            predicted: 100.0,
            actual,
            completed: 3,
            whole,
        };
        let all = vec![sitting(None, false), sitting(Some(20.0), false), sitting(Some(90.0), true)];
        let text = sittings(&Prices { sittings: all, ..Prices::default() });
        assert_eq!(text.matches('%').count(), 1, "{text}");
        assert!(text.contains("(-10%)") && text.contains("no end recorded"), "{text}");
        assert_eq!(sittings(&Prices::default()), "");
    }
}
