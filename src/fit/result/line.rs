//! What approaches 1 and 2 say besides their lines: budgets, the bias of their design, the lower envelope.

use serde::{Deserialize, Serialize};

use super::method::Frontier;

/// Approach 2 at one budget: L against ln N as a parabola.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BudgetFit {
    /// Budget [FLOP].
    pub flops: f64,
    /// Runs at this budget.
    pub n: usize,
    /// L = c0 + c1 x + c2 x^2 with x = ln N, if three sizes or more are there.
    pub parabola: Option<[f64; 3]>,
    /// Size at the vertex [parameters].
    pub params: Option<f64>,
    /// Tokens at the vertex, from the budget [tokens].
    pub tokens: Option<f64>,
    /// Loss at the vertex [nats/token].
    pub loss: Option<f64>,
    /// Interval of the vertex size at the fit's level [parameters].
    pub params_interval: Option<[f64; 2]>,
    /// log2 of the vertex over the middle of the sampled sizes: how far off centre the budget was.
    pub off_centre: Option<f64>,
    /// Smallest and largest size sampled [parameters].
    pub sampled: [f64; 2],
    /// Why this budget is not used (`minimum at the smallest size`, ...), or nothing when it is.
    pub excluded: Option<String>,
}

/// The bias of approach 2 for one design: a parabola is not the shape of a slice of the surface, so the
/// line through the vertices misses the optimum even without noise (arXiv:2603.22339, section 2).
///
/// Simulated minus true, on the leading surface fit as if it were the truth. It holds neither that
/// fit's own error nor the error of the form, and has no interval.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IsoflopBias {
    /// Method of the surface that the design was simulated on: `lse-huber` or `varpro`.
    pub surface_method: String,
    /// Bias of the slope of ln N*; subtract it from the slope of approach 2 [-].
    pub a: f64,
    /// Bias of the slope of ln D*; subtract it likewise [-].
    pub b: f64,
    /// Bias of both lines, simulated minus true: that of ln N* at C is `n0 + a ln C` [-].
    pub frontier_bias: Frontier,
    /// The line of approach 2 minus the bias.
    pub corrected: Frontier,
    /// Bias of N* at the largest sampled compute, simulated over true minus one [-].
    pub params_at_largest: f64,
    /// The same at ten times the largest sampled compute [-].
    pub params_ahead: f64,
}

/// A run on the lower envelope of loss against compute.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EnvelopePoint {
    /// Id of the run.
    pub id: String,
    /// Compute [FLOP].
    pub flops: f64,
    /// Size [parameters].
    pub params: f64,
    /// Tokens [tokens].
    pub tokens: f64,
    /// Loss [nats/token].
    pub loss: f64,
}
