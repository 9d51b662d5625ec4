//! One law fitted by one method: its parameters, intervals, certificate and draws.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Training FLOPs per token as a function of N.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "model", rename_all = "kebab-case")]
pub enum Compute {
    /// C = 6ND.
    #[serde(rename = "6ND")]
    SixNd,
    /// C = (6N + k N^q) D, the second term being attention. Fitted to the exact counts of the runs.
    Attention {
        /// Factor [FLOP/token].
        k: f64,
        /// Exponent [-]; 2/3 for a family that grows in width and depth alike.
        q: f64,
        /// Largest relative error of this formula over the runs [-].
        max_error: f64,
    },
}

/// One law fitted by one method.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fit {
    /// `chinchilla` (L = E + A N^-alpha + B D^-beta) or `frontier` (N* and D* as powers of C).
    pub law: String,
    /// `lse-huber`, `varpro`, `isoflop` or `envelope`.
    pub method: String,
    /// Points used: runs for a surface, budgets for `isoflop`, envelope runs for `envelope`.
    pub n: usize,
    /// E, A, B, alpha, beta where the method has them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub params: Option<Surface>,
    /// The objective at the optimum, in the unit that `objective_is` says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub objective: Option<f64>,
    /// What was minimised, with its constants.
    pub objective_is: String,
    /// N* ~ C^a, D* ~ C^b over the compute that was sampled.
    pub exponents: Exponents,
    /// N*(C) and D*(C) as straight lines in the logarithms, over the compute that was sampled.
    pub frontier: Frontier,
    /// Interval of each named quantity (`E`, `A`, `B`, `alpha`, `beta`, `a`, `b`) at [`Fit::level`].
    pub intervals: BTreeMap<String, [f64; 2]>,
    /// Level of the intervals [0, 1].
    pub level: f64,
    /// Standard deviation of ln(measured / fitted) over the runs [-].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub residual_sd: Option<f64>,
    /// How far the optimum can be trusted.
    pub certificate: Certificate,
    /// Bootstrap draws, for `predict`: surfaces for a surface law, frontiers otherwise.
    pub draws: Draws,
    /// Bootstrap refits that could not be used, of those tried.
    pub draws_failed: usize,
}

/// The Chinchilla law: L(N, D) = E + A N^-alpha + B D^-beta (Hoffmann et al. 2022, eq. 2).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Surface {
    /// Irreducible loss [nats/token].
    #[serde(rename = "E")]
    pub e: f64,
    /// Factor of the size term.
    #[serde(rename = "A")]
    pub a: f64,
    /// Factor of the data term.
    #[serde(rename = "B")]
    pub b: f64,
    /// Exponent of the size term [-].
    pub alpha: f64,
    /// Exponent of the data term [-].
    pub beta: f64,
}

/// Exponents of the compute-optimal frontier.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Exponents {
    /// N* ~ C^a [-].
    pub a: f64,
    /// D* ~ C^b [-].
    pub b: f64,
}

/// ln N* = n0 + a ln C and ln D* = d0 + b ln C.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Frontier {
    /// Intercept of ln N*.
    pub n0: f64,
    /// Slope of ln N*.
    pub a: f64,
    /// Intercept of ln D*.
    pub d0: f64,
    /// Slope of ln D*.
    pub b: f64,
}

/// Bootstrap draws of one fit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Draws {
    /// Refitted surfaces.
    Surfaces(Vec<Surface>),
    /// Refitted frontiers.
    Frontiers(Vec<Frontier>),
}

impl Draws {
    /// Number of draws.
    pub fn len(&self) -> usize {
        match self {
            Self::Surfaces(draws) => draws.len(),
            Self::Frontiers(draws) => draws.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Evidence that the optimum is one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Certificate {
    /// Starting points tried.
    pub starts: usize,
    /// How many ended at the best objective, to 1e-6 relative.
    pub starts_at_best: usize,
    /// Scale-free gradient norm at the optimum [-].
    pub gradient: f64,
    /// Condition number of the (Gauss-Newton) Hessian at the optimum, in scaled parameters [-].
    pub condition: f64,
    /// Iterations of the best start; 0 where the solution is in closed form.
    pub iterations: usize,
    /// Parameters that ended at a bound: not determined by these points.
    pub at_bound: Vec<String>,
}
