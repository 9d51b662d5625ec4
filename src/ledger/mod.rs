//! The record: what was trained, whatever happened since. Everything else is derived from it.
//!
//! `results/<sweep>/cells/<id>/attempt-NNNN/` has one writer, ever. Folding all run logs gives the state
//! of every cell; the ledger CSV and the table of a fit follow from that and can always be made again.
//!
//! Reads: `plan`, `points`, `fs`. Read by: `exec`, `report`, `cli`.

pub mod event;
pub mod log;
mod table;

use std::path::{Path, PathBuf};

use crate::error::FileError;
use crate::plan::Cell;
use event::Event;
pub use table::{Row, cell_rows, csv, curves, points};

/// State of one cell, folded from its attempts.
#[derive(Debug, Clone, PartialEq)]
pub enum State {
    /// No attempt ended: never started, or cut.
    Missing {
        /// Attempts that were cut.
        cut: usize,
    },
    /// Trained to the end.
    Completed {
        /// Final held-out loss [nats/token].
        loss: f64,
        /// Its standard error over evaluation batches [nats/token].
        loss_se: f64,
        /// Seconds in training steps [s].
        seconds: f64,
        /// Training tokens over those seconds [tokens/s].
        tokens_per_second: f64,
        /// Directory of the attempt.
        dir: PathBuf,
    },
    /// The loss left the range of numbers or of reason.
    Diverged {
        /// Step and reason.
        why: String,
    },
    /// Stopped on a fault.
    Failed {
        /// The message.
        why: String,
    },
    /// A record does not check, and no other attempt was completed.
    Damaged {
        /// File, line and reason.
        why: String,
    },
}

impl State {
    /// One word.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "missing",
            Self::Completed { .. } => "completed",
            Self::Diverged { .. } => "diverged",
            Self::Failed { .. } => "failed",
            Self::Damaged { .. } => "damaged",
        }
    }

    /// Why a cell has no loss, as a person reads it.
    pub fn why(&self) -> Option<String> {
        match self {
            Self::Completed { .. } => None,
            Self::Missing { cut: 0 } => Some("not trained yet".to_owned()),
            Self::Missing { cut } => Some(format!("not finished; {cut} attempts were cut")),
            Self::Diverged { why } => Some(format!("diverged: {why}")),
            Self::Failed { why } => Some(format!("failed: {why}")),
            Self::Damaged { why } => Some(format!("damaged record: {why}")),
        }
    }
}

/// What a log's first line says of the data.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct DataTruth {
    /// Exact entropy, where known [nats/token].
    pub entropy: Option<f64>,
    /// Bytes per held-out token [bytes/token].
    pub bytes_per_token: Option<f64>,
    /// Distinct training tokens, where the text has an end [tokens].
    pub train_tokens: Option<u64>,
}

/// Every planned cell with its state.
#[derive(Debug, Clone, PartialEq)]
pub struct Ledger {
    /// In the plan's order.
    pub cells: Vec<(Cell, State)>,
    /// From any started cell.
    pub truth: DataTruth,
    /// Torn tails that were dropped: worth a line, not an error.
    pub notes: Vec<String>,
}

impl Ledger {
    /// Folds the run logs of these cells.
    ///
    /// # Errors
    ///
    /// [`FileError`] when a log cannot be read.
    pub fn read(results: &Path, cells: &[Cell]) -> Result<Self, FileError> {
        let mut ledger = Self { cells: Vec::new(), truth: DataTruth::default(), notes: Vec::new() };
        for cell in cells {
            let attempts = log::read_attempts(&cell_dir(results, &cell.id))?;
            for attempt in &attempts {
                if attempt.torn {
                    ledger
                        .notes
                        .push(format!("{}: last line torn, dropped", attempt.dir.display()));
                }
                if let Some(Event::Started { entropy, bytes_per_token, train_tokens, .. }) =
                    attempt.events.first()
                {
                    ledger.truth = DataTruth {
                        entropy: *entropy,
                        bytes_per_token: *bytes_per_token,
                        train_tokens: *train_tokens,
                    };
                }
            }
            ledger.cells.push((cell.clone(), fold(&attempts)));
        }
        Ok(ledger)
    }

    /// Whether a cell ended without a loss: diverged, failed or damaged.
    pub fn has_failures(&self) -> bool {
        ["diverged", "failed", "damaged"].iter().any(|s| self.count(s) > 0)
    }

    /// Cells whose state has this name.
    pub fn count(&self, state: &str) -> usize {
        self.cells.iter().filter(|(_, s)| s.name() == state).count()
    }
}

/// Directory of one cell.
pub fn cell_dir(results: &Path, id: &str) -> PathBuf {
    results.join("cells").join(id)
}

/// The first completed attempt decides; else the last word of any attempt; else the cell is missing.
fn fold(attempts: &[log::Attempt]) -> State {
    let sound = || attempts.iter().filter(|a| a.damage.is_none());
    for attempt in sound() {
        if let Some(Event::Completed { loss, loss_se, seconds, tokens_per_second }) =
            attempt.events.last()
        {
            return State::Completed {
                loss: *loss,
                loss_se: *loss_se,
                seconds: *seconds,
                tokens_per_second: *tokens_per_second,
                dir: attempt.dir.clone(),
            };
        }
    }
    if let Some(why) = attempts.iter().find_map(|a| a.damage.clone()) {
        return State::Damaged { why };
    }
    let last = sound().filter_map(|a| a.events.last()).rfind(|e| e.is_last());
    match last {
        Some(Event::Diverged { step, why }) => {
            State::Diverged { why: format!("step {step}: {why}") }
        }
        Some(Event::Failed { why }) => State::Failed { why: why.clone() },
        _ => State::Missing { cut: attempts.len() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(events: Vec<Event>, damage: Option<&str>) -> log::Attempt {
        let damage = damage.map(str::to_owned);
        log::Attempt { dir: PathBuf::from("a"), events, torn: false, damage }
    }

    fn completed() -> Event {
        Event::Completed { loss: 1.0, loss_se: 0.0, seconds: 1.0, tokens_per_second: 1.0 }
    }

    fn eval() -> Event {
        Event::Eval { step: 1, tokens: 1, flops: 1.0, loss: 1.0 }
    }

    #[test]
    fn a_completed_attempt_decides_whatever_the_others_say() {
        let failed = Event::Failed { why: "x".into() };
        for attempts in [
            vec![attempt(vec![eval()], None), attempt(vec![completed()], None)],
            vec![attempt(vec![completed()], None), attempt(vec![failed], None)],
            vec![attempt(vec![eval()], Some("bad")), attempt(vec![completed()], None)],
        ] {
            assert_eq!(fold(&attempts).name(), "completed");
        }
    }

    #[test]
    fn a_cut_attempt_leaves_the_cell_missing_and_a_damaged_one_is_said() {
        assert_eq!(fold(&[]), State::Missing { cut: 0 });
        assert_eq!(fold(&[attempt(vec![eval()], None)]), State::Missing { cut: 1 });
        let damaged = fold(&[attempt(vec![completed()], Some("run.log:2: bad"))]);
        assert_eq!(damaged, State::Damaged { why: "run.log:2: bad".into() });
    }

    #[test]
    fn a_divergence_names_its_step() {
        let state = fold(&[attempt(vec![Event::Diverged { step: 7, why: "NaN".into() }], None)]);
        assert_eq!(state, State::Diverged { why: "step 7: NaN".into() });
    }
}
