//! Spikes: stretches of steps whose loss lies far above what came before.
//!
//! A single batch is no spike. Losses of batches of a hundred tokens of prose have a heavy tail: a step in
//! 500 lies 8 robust standard deviations above its running median, and the next is back. So a spike is a
//! stretch: the median of [`STRETCH`] steps against that of the [`BEFORE`] steps before it.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::robust_sd;

/// Steps of a stretch, half of which have to lie high.
const STRETCH: usize = 7;
/// Steps that tell what is usual before it.
const BEFORE: usize = 50;
/// The fewest of them, at the start of a run.
const LEAST_BEFORE: usize = 20;
/// Robust standard deviations above the running median that make a spike.
const HIGH: f64 = 5.0;
/// The loss is back when the median of a stretch lies within so many.
const BACK: f64 = 2.0;
/// Least standard deviation, as a share of the loss: smoother curves are taken to be as rough.
const FLOOR: f64 = 0.003;

/// Spikes of one run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Spikes {
    /// How many.
    pub count: usize,
    /// The largest loss of a spike over the running median before it [nats/token].
    pub height: f64,
    /// First step of the last one, counted from 1.
    pub step: usize,
    /// First step at which the loss was back after it; nothing when it never was.
    pub back: Option<usize>,
    /// Height of the last spike [nats/token].
    pub last_height: f64,
}

impl Spikes {
    /// Whether the loss came back after every spike. Only the last one can be without an end.
    pub fn healed(&self) -> bool {
        self.back.is_some()
    }

    /// The last spike in words, for a run of this many steps.
    pub(super) fn told(&self, steps: usize) -> String {
        let back = self.back.map_or("not back at the end".to_owned(), |b| format!("back at {b}"));
        format!(
            "loss {:.3} nats above its running median at step {} of {steps}, {back}",
            self.last_height, self.step
        )
    }
}

/// The spikes in the losses of all steps, if there are any.
///
/// A spike begins where the median of 7 steps lies more than 5 robust standard deviations (1.4826 times the
/// median absolute deviation, at least 0.3% of the loss) above the median of the 50 steps before, those of
/// earlier spikes not counted. It is over where the median of 7 steps lies within 2 of them again. A loss
/// that is not a number lies high.
pub fn spikes(losses: &[f32]) -> Option<Spikes> {
    let losses: Vec<f64> =
        losses.iter().map(|l| if l.is_finite() { f64::from(*l) } else { f64::INFINITY }).collect();
    let mut before = Before::default();
    let mut found: Option<Spikes> = None;
    let mut at = 0;
    while at < losses.len() {
        if let Some(centre) = before.centre()
            && let Some(middle) = stretch(&losses, at)
            // Most steps lie below the least line there can be, and need no deviation.
            && middle > centre * (1.0 + HIGH * FLOOR)
            && let sd = robust_sd(&before.sorted, centre).max(FLOOR * centre)
            && middle > centre + HIGH * sd
        {
            let high = |t: &usize| losses[*t] > centre + HIGH * sd;
            let first = (at..losses.len()).find(high).unwrap_or(at);
            let back = (first + 1..losses.len())
                .find(|t| stretch(&losses, *t).is_some_and(|m| m <= centre + BACK * sd));
            let end = back.unwrap_or(losses.len());
            let finite = losses[first..end].iter().filter(|l| l.is_finite());
            let height = finite.fold(0.0, |h: f64, l| h.max(l - centre));
            let old = found.map_or((0, 0.0), |s| (s.count, s.height));
            found = Some(Spikes {
                count: old.0 + 1,
                height: height.max(old.1),
                step: first + 1,
                back: back.map(|t| t + 1),
                last_height: height,
            });
            at = end;
            continue;
        }
        before.push(losses[at]);
        at += 1;
    }
    found
}

/// The middle of the steps from `at` on, if more than half a stretch is there.
fn stretch(losses: &[f64], at: usize) -> Option<f64> {
    let mut steps = [0.0; STRETCH];
    let part = &losses[at..(at + STRETCH).min(losses.len())];
    let steps = &mut steps[..part.len()];
    steps.copy_from_slice(part);
    // The lower middle, so that half a stretch of even length is not enough.
    steps.sort_by(f64::total_cmp);
    (part.len() > STRETCH / 2).then(|| steps[(part.len() - 1) / 2])
}

/// The steps that tell what is usual, kept sorted as they come and go.
#[derive(Default)]
struct Before {
    steps: VecDeque<f64>,
    sorted: Vec<f64>,
}

impl Before {
    fn push(&mut self, loss: f64) {
        let place = |sorted: &[f64], v: f64| sorted.partition_point(|s| s.total_cmp(&v).is_lt());
        if self.steps.len() == BEFORE
            && let Some(oldest) = self.steps.pop_front()
        {
            self.sorted.remove(place(&self.sorted, oldest));
        }
        self.steps.push_back(loss);
        self.sorted.insert(place(&self.sorted, loss), loss);
    }

    /// Their median, if they are enough.
    fn centre(&self) -> Option<f64> {
        let n = self.sorted.len();
        (n >= LEAST_BEFORE).then(|| 0.5 * (self.sorted[(n - 1) / 2] + self.sorted[n / 2]))
    }
}
