//! From a fit to the run one would buy: one file a question, each answer with intervals and warnings.
//!
//! - [`at_flops`]: the compute-optimal run at a compute, and how little or much a wrong size costs.
//! - [`optimal_with`]: the compute at which a given size, token count or loss is the optimal one.
//! - [`chosen`]: a run somebody has settled on, and the compute it wastes.
//! - [`serving`]: the cheapest run to train and then serve (Sardana et al. 2024).
//! - [`limited`]: the best run when fewer distinct tokens exist than it wants (Muennighoff et al. 2023).
//! - [`repeating`]: a settled run that sees some of its tokens again, and what that costs it.
//! - [`by_method`], [`by_law`]: the loss of one run by whatever was fitted, to be held against it.
//! - [`hardware`]: hours and money into FLOP, and back.
//!
//! One estimator answers every question, the average of the forms of law (`average`, each form a `member`); `belief` is what
//! it asks of a form. The methods stand beside it as rows (`estimator`). Without draws an interval holds the spread of the forms'
//! own values alone or repeats the value, and a warning says so; the values are the same.
//!
//! Pure: numbers in, numbers out. Reads `fit`'s result; read by `figure`, `report`, `cli`.

mod accuracy;
mod average;
mod belief;
mod chosen;
mod estimator;
mod every;
pub mod hardware;
mod inverse;
mod irreducible;
mod limited;
mod mean_loss;
mod member;
mod method;
mod optimum;
mod path;
mod repetition;
#[cfg(test)]
mod sample;
mod serving;

pub use accuracy::accuracy;
pub use average::FormShare;
pub use chosen::{Chosen, chosen, chosen_params, chosen_tokens, repeating};
pub use estimator::Fixed;
pub use every::{LawLoss, MethodLoss, ahead, by_law, by_method, untried, weighed};
pub use hardware::Cost;
pub use inverse::{Inverse, MethodInverse, optimal_with};
pub use irreducible::{Irreducible, irreducible};
pub use limited::{Limited, limited};
pub use mean_loss::MeanLoss;
pub use member::counts;
pub use method::MethodPrediction;
pub use optimum::{Deadweight, Prediction, at_flops};
pub use repetition::{BestRepeated, Repeated, Repetition, RepetitionSource};
pub use serving::{Demand, Quality, Serving, serving};

use serde::{Deserialize, Serialize};

use crate::fit::numeric::stats;
use crate::sound::{Refused, inside};

/// A value with its interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// Best value.
    pub value: f64,
    /// Lower end of the interval.
    pub lo: f64,
    /// Upper end of the interval.
    pub hi: f64,
}

impl Estimate {
    /// Refuses one that was read and that [`holding`](Self::holding) would not have made.
    pub(crate) fn check(&self, place: &str) -> Refused {
        inside(place, self.value, [self.lo, self.hi])
    }

    /// `of` the best answer, between the percentiles of `of` the draws' answers. Where there are too few
    /// draws for an interval its ends repeat the value.
    fn over<T>(best: &T, drawn: &[T], level: f64, of: impl Fn(&T) -> f64) -> Option<Self> {
        let value = of(best);
        let values: Vec<f64> = drawn.iter().map(of).collect();
        let ends = stats::percentile_interval(&values, level).unwrap_or([value; 2]);
        Self::holding(value, ends)
    }

    /// The one way to make an estimate: finite, and inside its interval, which reaches to the value where the
    /// draws lie to one side of it. Nothing where a number is not finite.
    fn holding(value: f64, [lo, hi]: [f64; 2]) -> Option<Self> {
        let all_finite = value.is_finite() && lo.is_finite() && hi.is_finite();
        all_finite.then(|| Self { value, lo: lo.min(value), hi: hi.max(value) })
    }
}

/// Takes what rounding puts a hair below 0 for 0. What is no number stays none, where `max` would make it 0.
fn not_below_zero(value: f64) -> f64 {
    if value < 0.0 { 0.0 } else { value }
}

/// A run, and no more: the size, the tokens and the compute at one compute-optimal point.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// N [parameters].
    pub params: f64,
    /// D [tokens].
    pub tokens: f64,
    /// Training compute C [FLOP].
    pub flops: f64,
}

/// Why nothing can be predicted.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PredictError {
    /// Not an amount of anything.
    #[error("{what} is `{value}`, want a finite number of {unit} above 0")]
    BadValue {
        /// `compute`, `model size` ...
        what: &'static str,
        /// What was asked for.
        value: f64,
        /// `FLOP`, `parameters` ...
        unit: &'static str,
    },
    /// No method fitted a loss surface.
    #[error(
        "no loss surface was fitted to `{source_table}`, so the loss at a compute cannot be predicted\n\
         hint: the warnings of the fit say what the runs lack; frontier lines alone give N* and D*, \
         not the loss"
    )]
    NoSurface {
        /// The table that was fitted.
        source_table: String,
    },
    /// The leading surface has no optimum for what was asked.
    #[error(
        "{method} has no compute-optimal run for {what} `{value}`\n\
         hint: ask for something nearer to the runs; there the law is known best"
    )]
    NoOptimum {
        /// The leading method.
        method: String,
        /// `compute`, `model size` ...
        what: &'static str,
        /// What was asked for.
        value: f64,
    },
    /// A loss at or below what the law leaves over with infinite compute.
    #[error(
        "no compute reaches a loss of `{loss}`: {method} has E = {irreducible:.4}{unit}\n\
         hint: ask for a loss above E; close above it the compute is anybody's guess"
    )]
    BelowIrreducible {
        /// The leading method.
        method: String,
        /// What was asked for, in the unit of the fit's losses.
        loss: f64,
        /// E of the leading law, likewise.
        irreducible: f64,
        /// That unit, with a space before it; empty where nobody said.
        unit: String,
    },
    /// A loss that most of the average never reaches.
    #[error(
        "a loss of `{loss}`{unit} is not reached: forms of law that count {:.0}% in the average level off above it\n\
         hint: `isoflop fit` has the E of each form; ask for a loss above them",
        100.0 * share
    )]
    Unreached {
        /// What was asked for, in the unit of the fit's losses.
        loss: f64,
        /// What the forms count whose E is not below it [0, 1].
        share: f64,
        /// That unit, with a space before it; empty where nobody said.
        unit: String,
    },
    /// Money to spend on a device without a price.
    #[error(
        "the budget is money, and nothing says what a device costs\n\
         hint: add --usd-per-hour P; prices differ by provider and month, so none is assumed"
    )]
    NoPrice,
    /// A device that is not in the table.
    #[error(
        "device `{name}` is not in the table: {known}\n\
         hint: name one of these, or give its dense bf16 peak: --gpu custom --peak-tflops X"
    )]
    UnknownDevice {
        /// What was asked for.
        name: String,
        /// The names of the table.
        known: String,
    },
}

/// Refuses what is not finite and above 0.
fn positive(what: &'static str, unit: &'static str, value: f64) -> Result<f64, PredictError> {
    if value.is_finite() && value > 0.0 {
        return Ok(value);
    }
    Err(PredictError::BadValue { what, value, unit })
}
