//! The lines of a run log, as types. `docs/FORMATS.md` describes the bytes.

use serde::{Deserialize, Serialize};

use crate::plan::Cell;

/// Version of the format. A log with a higher version is refused, never written to.
pub const LOG_VERSION: u32 = 2;

/// What happened to one attempt at training a cell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Event {
    /// Always the first line: what is trained, by what, where.
    Started {
        /// The cell as planned.
        cell: Box<Cell>,
        /// Version of isoflop.
        isoflop: String,
        /// Device, as a person would name it.
        device: String,
        /// Types and kernels of the arithmetic; empty in logs from before there was a choice, which are f32.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        numerics: String,
        /// Exact entropy of the data, where known [nats/token].
        entropy: Option<f64>,
        /// Bytes per held-out token [bytes/token].
        bytes_per_token: Option<f64>,
        /// Distinct training tokens, where the text has an end [tokens].
        #[serde(default)]
        train_tokens: Option<u64>,
        /// Distinct training tokens that this cell sees, for a dataset; else it is D or all there are [tokens].
        #[serde(default, skip_serializing_if = "Option::is_none")]
        unique_tokens: Option<u64>,
        /// Which running system, so that another runner on it knows whether this one lives.
        #[serde(default)]
        machine: String,
        /// Where the attempt took over from another, whose steps and evaluations are then repeated here.
        #[serde(default)]
        resumed: Option<Resumed>,
        /// SHA-256 of the forecast of this cell that was locked before the attempt began. It stands in the
        /// attempt's first line, so that no clock is needed to tell which was first.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        forecast: Option<String>,
    },
    /// The held-out loss was measured.
    Eval {
        /// Steps taken.
        step: u64,
        /// Tokens seen.
        tokens: u64,
        /// Compute spent [FLOP].
        flops: f64,
        /// Held-out loss [nats/token].
        loss: f64,
    },
    /// The state after this many steps is in a checkpoint of this attempt.
    Checkpoint {
        /// Steps taken.
        step: u64,
        /// CRC-32 of `steps.f32` up to here.
        steps_crc: u32,
    },
    /// Stopped on request, with a checkpoint. Nothing follows; another attempt goes on.
    Paused {
        /// Steps taken.
        step: u64,
        /// What asked for it.
        why: String,
    },
    /// All steps were taken. Nothing follows.
    Completed {
        /// Final held-out loss [nats/token].
        loss: f64,
        /// Its standard error over evaluation batches [nats/token].
        loss_se: f64,
        /// Seconds in training steps [s].
        seconds: f64,
        /// Training tokens over those seconds [tokens/s].
        tokens_per_second: f64,
        /// CRC-32 of `steps.f32`.
        #[serde(default)]
        steps_crc: Option<u32>,
    },
    /// The loss left the range of numbers or of reason. Nothing follows; it would do so again.
    Diverged {
        /// Step at which that was seen.
        step: u64,
        /// What was seen.
        why: String,
    },
    /// Training stopped on a fault of the program or the device. Nothing follows.
    Failed {
        /// The message.
        why: String,
    },
}

impl Event {
    /// Whether nothing may follow.
    pub fn is_last(&self) -> bool {
        matches!(
            self,
            Self::Completed { .. }
                | Self::Diverged { .. }
                | Self::Failed { .. }
                | Self::Paused { .. }
        )
    }
}

/// What an attempt goes on from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resumed {
    /// Id of the cell whose trunk it branches from, where that is another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cell: Option<String>,
    /// Number of the attempt whose checkpoint it was.
    pub attempt: u32,
    /// Steps it had taken.
    pub step: u64,
}

/// One line of a run log, without its checksum.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// [`LOG_VERSION`] of the writer.
    pub v: u32,
    /// Counted from 0, without gaps.
    pub seq: u64,
    /// When, for people only: nothing is ordered by it.
    pub t: String,
    /// What.
    pub event: Event,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The first line of an attempt at a cell, on a machine that there is not.
    pub(crate) fn started(cell: Cell, resumed: Option<Resumed>) -> Event {
        Event::Started {
            cell: Box::new(cell),
            isoflop: "test".into(),
            device: "test".into(),
            numerics: String::new(),
            entropy: None,
            bytes_per_token: None,
            train_tokens: None,
            unique_tokens: None,
            machine: "test".into(),
            resumed,
            forecast: None,
        }
    }
}
