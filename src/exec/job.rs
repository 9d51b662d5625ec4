//! What all workers of a run share, and who is told of it.

use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use crate::data::Dataset;
use crate::device::Chosen;
use crate::eval::Prepared;
use crate::ledger::event::Event;
use crate::plan::Cell;
use crate::spec::Keep;
use crate::train::Progress;

/// What a watcher is told; calls come from several threads.
pub trait Watch: Sync {
    /// A worker takes a cell.
    fn started(&self, worker: usize, cell: &Cell);
    /// A cell moves on.
    fn progress(&self, worker: usize, cell: &Cell, progress: Progress);
    /// A cell ended.
    fn ended(&self, worker: usize, cell: &Cell, event: &Event);
    /// What a person should know.
    fn note(&self, text: &str);
}

/// Watches and says nothing.
#[derive(Debug, Clone, Copy)]
pub struct Quiet;

impl Watch for Quiet {
    fn started(&self, _: usize, _: &Cell) {}
    fn progress(&self, _: usize, _: &Cell, _: Progress) {}
    fn ended(&self, _: usize, _: &Cell, _: &Event) {}
    fn note(&self, _: &str) {}
}

/// How often the state of a cell is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Every {
    /// So much time of training.
    Time(Duration),
    /// So many steps.
    Steps(u64),
}

impl std::fmt::Display for Every {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Time(time) => write!(f, "{}s", time.as_secs()),
            Self::Steps(n) => write!(f, "{n}steps"),
        }
    }
}

impl FromStr for Every {
    type Err = String;

    /// `300s`, `5m`, `1h` or `500steps`.
    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let seconds = |n: u64| Self::Time(Duration::from_secs(n));
        match (number.parse::<u64>(), unit) {
            (Ok(n), "s") if n > 0 => Ok(seconds(n)),
            (Ok(n), "m") if n > 0 => Ok(seconds(60 * n)),
            (Ok(n), "h") if n > 0 => Ok(seconds(3600 * n)),
            (Ok(n), "steps") if n > 0 => Ok(Self::Steps(n)),
            _ => Err("write it as 300s, 5m, 1h or 500steps".to_owned()),
        }
    }
}

/// What all workers share.
#[derive(Debug, Clone, Copy)]
pub struct Job<'a> {
    /// `results/<sweep>`.
    pub results: &'a Path,
    /// What is trained and evaluated on.
    pub data: &'a Dataset,
    /// All cells of the plan: where trunks are kept for branches, and found by them.
    pub planned: &'a [Cell],
    /// Evaluations on the way.
    pub eval_times: u64,
    /// Where.
    pub device: &'a Chosen,
    /// Cells side by side, at least 1.
    pub workers: usize,
    /// What is kept of a completed cell beside its record.
    pub keep: Keep,
    /// On what every cell is scored after its last step.
    pub tasks: &'a [Prepared<'a>],
    /// SHA-256 of the forecast that these attempts are to be held against, for their first line.
    pub forecast: Option<&'a str>,
}
