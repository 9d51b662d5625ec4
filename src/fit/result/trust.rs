//! How far the leading fit can be believed: what the runs are worth, the second interval, the noise between seeds, the
//! held-out budget, other choices and conventions, and how far the methods part.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::method::Exponents;
use crate::units::several;

/// Runs, clusters of runs that share noise (trunks, checkpoints of one run, copies), and what they are worth.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SampleSize {
    /// Runs.
    pub runs: usize,
    /// Clusters of them.
    pub clusters: usize,
    /// Share of the scatter about the law that the runs of a cluster have in common [0, 1].
    pub shared: f64,
    /// Independent runs that they are worth: runs over Kish's design effect, 1 + (size - 1) shared.
    pub effective: f64,
}

impl SampleSize {
    /// Degrees of freedom that `parameters` leave, at least one.
    pub fn dof(&self, parameters: usize) -> f64 {
        (self.effective - parameters as f64).max(1.0)
    }
}

impl fmt::Display for SampleSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.clusters == self.runs {
            return write!(f, "n = {} runs, independent of one another", self.runs);
        }
        write!(
            f,
            "n = {} runs in {} clusters (effective sample size {:.1}: {:.0}% of the scatter is common to a cluster)",
            self.runs,
            self.clusters,
            self.effective,
            100.0 * self.shared
        )
    }
}

/// Interval of one quantity by the profile likelihood of least squares in ln L (a Huber objective is no
/// likelihood). Of the quantity, not of a run's loss.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    /// `a`, `E` or `tokens_per_param` (D*/N*).
    pub quantity: String,
    /// Compute of D*/N* [FLOP].
    pub flops: Option<f64>,
    /// Value at the least-squares fit, which is not that of the Huber fit.
    pub value: f64,
    /// Lower end; nothing when the runs do not set one.
    pub lo: Option<f64>,
    /// Upper end; nothing when the runs do not set one.
    pub hi: Option<f64>,
    /// Level of the interval [0, 1].
    pub level: f64,
    /// What an end that is missing means.
    pub note: Option<String>,
}

/// Pure error: the scatter of ln L among runs of equal N and D, which is the seeds' (and whatever else
/// differs between such runs).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Noise {
    /// Measurements that share N and D with another [count]; runs of one cluster at one N and D are one.
    pub replicates: usize,
    /// Standard deviation of ln L among them, pooled [-].
    pub sd: f64,
    /// Degrees of freedom of `sd`: replicates less groups, over the design effect of trunks that measure at
    /// several D [count].
    pub dof: usize,
    /// The same for every size that has replicates, smallest first.
    #[serde(default)]
    pub by_size: Vec<SizeNoise>,
    /// Whether the law misses by more than that scatter explains. Nothing where the law leaves no
    /// degree of freedom, or where copies of runs are in the table.
    pub lack_of_fit: Option<LackOfFit>,
}

/// Pure error among the runs of one size, pooled over their D's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SizeNoise {
    /// Size N [parameters].
    pub params: f64,
    /// Runs that share this N and their D with another [count].
    pub replicates: usize,
    /// Standard deviation of ln L among them, pooled within D [-].
    pub sd: f64,
    /// Degrees of freedom of `sd`: replicates less groups [count].
    pub dof: usize,
}

/// F test of the law against pure error.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LackOfFit {
    /// Mean square of the law's misses over that of the replicates [-].
    pub f: f64,
    /// Degrees of freedom of the misses: distinct (N, D) less five, over the design effect [count].
    pub dof: usize,
    /// Probability of so large an F if the law holds [0, 1].
    pub p: f64,
}

/// The largest budget predicted from the smaller ones.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Holdout {
    /// The budgets or compute from which on runs were kept out [FLOP].
    pub from_flops: f64,
    /// Largest compute that was fitted [FLOP].
    pub fitted_to: f64,
    /// Method that predicted.
    pub method: String,
    /// Each run that was kept out.
    pub runs: Vec<HeldOut>,
    /// Mean signed relative error, predicted over measured minus one [-].
    pub mean_error: f64,
    /// Largest absolute relative error [-].
    pub max_error: f64,
    /// How many runs lay inside their prediction interval.
    pub covered: usize,
    /// Clusters that the runs kept out are in: so many independent trials at least (0 in older files).
    #[serde(default)]
    pub clusters: usize,
    /// Runs that were fitted (0 in older files).
    #[serde(default)]
    pub fitted: usize,
    /// Runs in neither part: smaller ones of the clusters that were kept out.
    #[serde(default)]
    pub related: usize,
}

impl Holdout {
    /// Who was predicted: `18 runs in 6 clusters`.
    pub fn kept_out(&self) -> String {
        let runs = self.runs.len();
        if self.clusters == 0 || self.clusters == runs {
            several(runs, "run")
        } else {
            format!(
                "{} in {} (so many independent trials at least)",
                several(runs, "run"),
                several(self.clusters, "cluster")
            )
        }
    }

    /// From whom: `the 40 smaller runs (9 of the clusters kept out are in neither part)`.
    pub fn rest(&self) -> String {
        match (self.fitted, self.related) {
            (0, _) => "the smaller runs".to_owned(),
            (fitted, 0) => format!("the {fitted} smaller runs"),
            (fitted, related) => format!(
                "{fitted} smaller runs ({related} others share a trunk or a run with those and are in neither part)"
            ),
        }
    }
}

/// One run that was kept out of the fit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HeldOut {
    /// Id of the run.
    pub id: String,
    /// Size [parameters].
    pub params: f64,
    /// Tokens [tokens].
    pub tokens: f64,
    /// Measured loss [nats/token].
    pub measured: f64,
    /// Predicted loss [nats/token].
    pub predicted: f64,
    /// Prediction interval (parameters and residual noise) [nats/token].
    pub interval: [f64; 2],
    /// (ln measured - ln predicted) over the standard deviation of the prediction, parameters and
    /// residual noise together [-]. Nothing without scatter.
    pub z: Option<f64>,
}

/// What the methods say of the same runs, side by side (science: three approaches on one data set differ
/// by more than their own intervals, arXiv:2603.22339).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Disagreement {
    /// Smallest and largest slope a of N* ~ C^a, with their methods.
    pub a: [MethodValue; 2],
    /// Smallest and largest N* at the largest compute that was fitted [parameters].
    pub params_at_largest: [MethodValue; 2],
    /// Smallest and largest N* at ten times the largest compute [parameters].
    pub params_ahead: [MethodValue; 2],
    /// Pairs of methods whose intervals of a exclude each other's value.
    pub beyond_intervals: Vec<[String; 2]>,
}

/// One method's value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MethodValue {
    /// `lse-huber`, `varpro`, `isoflop` or `envelope`.
    pub method: String,
    /// What it says.
    pub value: f64,
}

/// The leading surface fit under another convention of N.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConventionFit {
    /// Convention of N.
    pub params: String,
    /// Exponents under C = 6ND with this N.
    pub exponents: Exponents,
    /// E under this N [nats/token].
    pub e: f64,
    /// Compute-optimal tokens per parameter at the largest sampled budget.
    pub tokens_per_param: f64,
}

/// The answer of a surface fit with one choice made otherwise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SensitivityRow {
    /// `huber delta`, `objective`, `leave out a budget`, `leave out a size` or `leave out a run`;
    /// nothing for the fit as it is.
    pub group: String,
    /// What was chosen: `delta 1e-4`, `squares of ln L`, `without 3e11 FLOP`, `without N 25.5k`.
    pub choice: String,
    /// Runs in this fit.
    pub n: usize,
    /// N* ~ C^a, D* ~ C^b over the compute of the full table.
    pub exponents: Exponents,
    /// Irreducible loss E [nats/token].
    pub e: f64,
    /// Compute-optimal D*/N* at the largest compute of the full table [tokens/parameter].
    pub tokens_per_param: f64,
    /// Compute-optimal loss at ten times the largest compute of the full table [nats/token].
    pub loss_ahead: f64,
}
