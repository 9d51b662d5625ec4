//! A loss that rises at the end: the last tenth of a run against the tenth before it.

use serde::{Deserialize, Serialize};

use super::{END, MIN_STEPS};

/// Blocks of a tenth, whose means tell how far the mean of the tenth is to be trusted.
const BLOCKS: usize = 10;
/// Standard errors that make a rise.
const HIGH: f64 = 5.0;
/// Least rise that matters, as a share of the loss.
const FLOOR: f64 = 0.002;

/// A rise of the training loss at the end.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Rise {
    /// Mean of the last tenth over that of the tenth before [nats/token].
    pub height: f64,
    /// Its standard error, from block means [nats/token].
    pub se: f64,
}

impl Rise {
    pub(super) fn told(&self) -> String {
        format!(
            "the loss of the last tenth is {:.4} nats above that of the tenth before, {:.1} standard errors",
            self.height,
            self.height / self.se
        )
    }
}

/// The rise at the end of a run's losses, if it is one.
pub fn rising_end(losses: &[f32]) -> Option<Rise> {
    if losses.len() < MIN_STEPS {
        return None;
    }
    let tenth = tenth(losses);
    let (rest, last) = losses.split_at(losses.len() - tenth);
    let [before, last] = [&rest[rest.len() - tenth..], last].map(blocks);
    let height = last.0 - before.0;
    let se = (last.1 + before.1).sqrt();
    (height > HIGH * se && height > FLOOR * before.0).then_some(Rise { height, se })
}

/// Steps of the last tenth.
pub(super) fn tenth(losses: &[f32]) -> usize {
    (END * losses.len() as f64).round() as usize
}

/// Mean of the losses, and the variance of that mean, from successive differences of block means: a rise
/// within the tenth must not pass for noise.
pub(super) fn blocks(losses: &[f32]) -> (f64, f64) {
    let n = BLOCKS.min(losses.len());
    let edge = |i: usize| i * losses.len() / n;
    let mean = |part: &[f32]| part.iter().map(|l| f64::from(*l)).sum::<f64>() / part.len() as f64;
    let means: Vec<f64> = (0..n).map(|i| mean(&losses[edge(i)..edge(i + 1)])).collect();
    let squares: f64 = means.windows(2).map(|m| (m[1] - m[0]).powi(2)).sum();
    (mean(losses), squares / (2.0 * (n - 1) as f64) / n as f64)
}
