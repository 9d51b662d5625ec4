//! A loss that rises at the end: the last tenth of a run against the tenth before it.

use serde::{Deserialize, Serialize};

use super::{END, MIN_STEPS};

/// Blocks of a tenth, whose means tell how far the mean of the tenth is to be trusted.
const BLOCKS: usize = 5;
/// Standard errors that make a rise: Student's t with 8 degrees of freedom exceeds 5 once in 1900 tries.
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
    let tenth = (END * losses.len() as f64).round() as usize;
    let (rest, last) = losses.split_at(losses.len() - tenth);
    let [before, last] = [&rest[rest.len() - tenth..], last].map(blocks);
    let height = last.0 - before.0;
    let se = (last.1 + before.1).sqrt();
    (height > HIGH * se && height > FLOOR * before.0).then_some(Rise { height, se })
}

/// Mean of the block means, and its variance.
fn blocks(losses: &[f32]) -> (f64, f64) {
    let edge = |i: usize| i * losses.len() / BLOCKS;
    let means = (0..BLOCKS).map(|i| {
        let block = &losses[edge(i)..edge(i + 1)];
        block.iter().map(|l| f64::from(*l)).sum::<f64>() / block.len() as f64
    });
    let n = BLOCKS as f64;
    let mean = means.clone().sum::<f64>() / n;
    (mean, means.map(|m| (m - mean).powi(2)).sum::<f64>() / (n - 1.0) / n)
}
