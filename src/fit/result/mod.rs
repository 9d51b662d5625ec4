//! What a fit says: plain values, which are also the file `fit.json`.
//!
//! Every number here comes with its convention and, where one can be had, its interval.

mod form;
mod line;
mod method;
mod trust;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::fit::pins::Pins;
use crate::fit::warning::Warning;
use crate::health::Health;
use crate::points::{Convention, Exclusion, Point};

pub use form::{Ahead, Averaging, FormWeight, HeldOutError, LawFit, LawMissing, LawValue};
pub use line::{BudgetFit, EnvelopePoint, IsoflopBias};
pub use method::{Certificate, Compute, Draws, Exponents, Fit, Frontier, Surface};
pub use trust::{
    ConventionFit, Disagreement, HeldOut, Holdout, LackOfFit, MethodValue, Noise, Profile,
    SampleSize, SensitivityRow, SizeNoise,
};

/// Version of `fit.json`. Raised when a field changes its meaning.
pub const FIT_VERSION: u32 = 3;

/// Everything `fit` found out about one table: the content of `fit.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Analysis {
    /// [`FIT_VERSION`] at the time of writing.
    pub version: u32,
    /// Where the rows come from: a sweep's name, or a file's path.
    pub source: String,
    /// What N and C mean here.
    pub convention: Convention,
    /// The column of the losses, of a table that somebody brought.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss_column: Option<String>,
    /// Parameters that were given and not fitted. Nothing where all were fitted.
    #[serde(default, skip_serializing_if = "Pins::is_empty")]
    pub pins: Pins,
    /// How FLOPs per token depend on N: the constraint of the compute-optimal frontier.
    pub compute: Compute,
    /// The rows that were fitted, as the table has them.
    pub points: Vec<Point>,
    /// The rows of more than 1.25 epochs, left out of every law of fresh tokens; the law of repetition is fitted to
    /// them too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub repeated: Vec<Point>,
    /// Distinct tokens that the corpus of the study holds, where that is known [tokens]: those of a sweep's data,
    /// or the most of any run where runs repeat.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub corpus: Option<f64>,
    /// The rows that were not, and why.
    pub excluded: Vec<Exclusion>,
    /// One entry for each law and method. The first surface fit is the one `predict` leads with.
    pub fits: Vec<Fit>,
    /// One parabola for each budget (approach 2), those without an interior minimum included.
    pub isoflop: Vec<BudgetFit>,
    /// What the design alone does to approach 2, by simulation on the leading surface fit. Nothing
    /// without a line of approach 2 or without a surface, and in files from before it was estimated.
    #[serde(default)]
    pub isoflop_bias: Option<IsoflopBias>,
    /// The runs on the lower envelope of loss against compute (approach 1), by compute.
    pub envelope: Vec<EnvelopePoint>,
    /// Profile-likelihood intervals: a second opinion on the bootstrap's. Empty without a surface fit.
    #[serde(default)]
    pub profile: Vec<Profile>,
    /// The scatter of runs that differ by their seed alone, where there are such.
    #[serde(default)]
    pub noise: Option<Noise>,
    /// What the runs are worth as independent ones, by the leading surface. Nothing without a surface, and in
    /// files from before it was kept: see [`Analysis::sample_size`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample_size: Option<SampleSize>,
    /// The largest budget kept out of the fit and predicted from the rest.
    pub holdout: Option<Holdout>,
    /// The same fit under every convention of N: how much the answer depends on what is counted.
    pub conventions: Vec<ConventionFit>,
    /// The leading surface fit, first as it is and then with one choice at a time made otherwise: how
    /// much the answer depends on them. Empty without a surface fit.
    #[serde(default)]
    pub sensitivity: Vec<SensitivityRow>,
    /// Exact entropy of the data, where it is known [nats/token].
    pub entropy: Option<f64>,
    /// Bytes per token of the held-out text [bytes/token].
    pub bytes_per_token: Option<f64>,
    /// Loss of a guess that favours no token, ln V, where the vocabulary is known [unit of the losses].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uniform_loss: Option<f64>,
    /// Every form of law that the runs can determine, fitted to the same runs.
    #[serde(default)]
    pub laws: Vec<LawFit>,
    /// The forms that they cannot determine, and why.
    #[serde(default)]
    pub laws_missing: Vec<LawMissing>,
    /// How much each form counts in every answer, and how far their average may miss beyond the runs. Nothing
    /// in files from before it was measured, whose forms count by their evidence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub averaging: Option<Averaging>,
    /// How far the methods differ on the same runs. Nothing with fewer than two of them.
    #[serde(default)]
    pub disagreement: Option<Disagreement>,
    /// What was found in the loss curves. Nothing for an imported table, and in older files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
    /// What a reader must know before believing the numbers.
    pub warnings: Vec<Warning>,
}

impl Analysis {
    /// What the runs are worth as independent ones: every interval and every p-value has its degrees of freedom
    /// from here. Where it was not measured, each cluster counts as one run.
    pub fn sample_size(&self) -> SampleSize {
        self.sample_size.unwrap_or_else(|| {
            let names: BTreeSet<&str> = self.points.iter().map(|p| p.cluster.as_str()).collect();
            let (runs, clusters) = (self.points.len(), names.len());
            SampleSize { runs, clusters, shared: 1.0, effective: clusters as f64 }
        })
    }

    /// What is taken off a method's line in every answer: the bias of approach 2 on this design.
    pub(crate) fn bias(&self, fit: &Fit) -> Option<&IsoflopBias> {
        self.isoflop_bias.as_ref().filter(|_| fit.method == "isoflop")
    }

    /// The line of a method as every answer takes it.
    pub fn line(&self, fit: &Fit) -> Frontier {
        self.bias(fit).map_or(fit.frontier, |bias| bias.corrected)
    }

    /// A draw of that line, with the same taken off.
    pub(crate) fn drawn_line(&self, fit: &Fit, draw: Frontier) -> Frontier {
        let Some(b) = self.bias(fit).map(|bias| bias.frontier_bias) else { return draw };
        Frontier { n0: draw.n0 - b.n0, a: draw.a - b.a, d0: draw.d0 - b.d0, b: draw.b - b.b }
    }

    /// A parameter of a method (`a`, `b`, `E`, `A`, `B`, `alpha`, `beta`) and its interval, as every answer takes it.
    /// Nothing for one that the method does not have.
    pub fn parameter(&self, fit: &Fit, name: &str) -> Option<(f64, Option<[f64; 2]>)> {
        let off = |of: fn(&IsoflopBias) -> f64| self.bias(fit).map_or(0.0, of);
        let (value, bias) = match (name, &fit.params) {
            ("a", _) => (self.line(fit).exponents().a, off(|b| b.a)),
            ("b", _) => (self.line(fit).exponents().b, off(|b| b.b)),
            ("E", Some(p)) => (p.e, 0.0),
            ("A", Some(p)) => (p.a, 0.0),
            ("B", Some(p)) => (p.b, 0.0),
            ("alpha", Some(p)) => (p.alpha, 0.0),
            ("beta", Some(p)) => (p.beta, 0.0),
            _ => return None,
        };
        let interval = fit.intervals.get(name).map(|ends| ends.map(|end| end - bias));
        Some((value, interval))
    }
}
