//! The state of a cell.

use std::path::PathBuf;

use super::lease;

/// State of one cell, folded from its attempts.
#[derive(Debug, Clone, PartialEq)]
pub enum State {
    /// Never started, paused or cut: to be trained.
    Missing {
        /// Attempts so far.
        attempts: usize,
        /// Steps in a checkpoint.
        step: u64,
    },
    /// A runner is at work.
    Running {
        /// Steps recorded.
        step: u64,
        /// Whether that is on this machine.
        here: bool,
        /// Seconds since its last heartbeat, by the clocks of two machines [s]: for people, never for a decision.
        quiet: Option<f64>,
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
        /// Steps taken over from another cell's trunk.
        taken_over: u64,
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
    /// Attempt after attempt was cut without one new step.
    Stuck {
        /// How often.
        why: String,
    },
    /// Two attempts were completed with different results.
    Disputed {
        /// Which and how.
        why: String,
    },
    /// The record of the last attempt does not check, and no other was completed.
    Damaged {
        /// File, line and reason.
        why: String,
    },
}

impl State {
    /// Which it is, without what belongs to it.
    pub fn name(&self) -> StateName {
        match self {
            Self::Missing { .. } => StateName::Missing,
            Self::Running { .. } => StateName::Running,
            Self::Stuck { .. } => StateName::Stuck,
            Self::Disputed { .. } => StateName::Disputed,
            Self::Completed { .. } => StateName::Completed,
            Self::Diverged { .. } => StateName::Diverged,
            Self::Failed { .. } => StateName::Failed,
            Self::Damaged { .. } => StateName::Damaged,
        }
    }

    /// Whether `isoflop run` would train it.
    pub fn is_open(&self) -> bool {
        matches!(self, Self::Missing { .. } | Self::Running { .. })
    }

    /// Why a cell has no loss, as a person reads it.
    pub fn why(&self) -> Option<String> {
        match self {
            Self::Completed { .. } => None,
            Self::Missing { attempts: 0, .. } => Some("not trained yet".to_owned()),
            Self::Missing { step: 0, .. } => Some("stopped before its first checkpoint".to_owned()),
            Self::Missing { step, .. } => Some(format!("stopped; goes on from step {step}")),
            Self::Running { step, here, quiet } => {
                let place = if *here { "here" } else { "on another machine" };
                let ago = match quiet {
                    Some(quiet) => format!("heartbeat {quiet:.0} s ago"),
                    None => "no heartbeat by this clock".to_owned(),
                };
                let lease = lease::lease().as_secs_f64();
                let dead = if *here || quiet.is_some_and(|quiet| quiet < lease) {
                    String::new()
                } else {
                    format!("; if it is dead, a run that has watched it for {lease:.0} s goes on")
                };
                Some(format!("at work {place}, step {step}, {ago}{dead}"))
            }
            Self::Stuck { why } => Some(format!("stuck: {why}")),
            Self::Disputed { why } => Some(format!("disputed: {why}")),
            Self::Diverged { why } => Some(format!("diverged: {why}")),
            Self::Failed { why } => Some(format!("failed: {why}")),
            Self::Damaged { why } => Some(format!("damaged record: {why}")),
        }
    }
}

/// Which state a cell is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateName {
    /// Not trained to its end, and nobody is at work on it.
    Missing,
    /// A runner is at work on it.
    Running,
    /// Cut again and again without one new step.
    Stuck,
    /// Completed twice, with losses that do not agree.
    Disputed,
    /// Trained, with a loss.
    Completed,
    /// Its loss went beyond all bounds.
    Diverged,
    /// Ended by an error.
    Failed,
    /// Its record is not as it was written.
    Damaged,
}

impl StateName {
    /// Those in which a cell ended without a loss.
    pub const FAILURES: [Self; 5] =
        [Self::Diverged, Self::Failed, Self::Stuck, Self::Disputed, Self::Damaged];

    /// One word, as in tables and options.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Running => "running",
            Self::Stuck => "stuck",
            Self::Disputed => "disputed",
            Self::Completed => "completed",
            Self::Diverged => "diverged",
            Self::Failed => "failed",
            Self::Damaged => "damaged",
        }
    }
}

impl std::fmt::Display for StateName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.word())
    }
}
