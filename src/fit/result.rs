//! What a fit says: plain values, which are also the file `fit.json`.
//!
//! Every number here comes with its convention and, where one can be had, its interval.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::fit::pins::Pins;
use crate::fit::warning::Warning;
use crate::health::Health;
use crate::points::{Convention, Exclusion, Point};
use crate::units::several;

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
    pub a: [Opinion; 2],
    /// Smallest and largest N* at the largest compute that was fitted [parameters].
    pub params_at_largest: [Opinion; 2],
    /// Smallest and largest N* at ten times the largest compute [parameters].
    pub params_ahead: [Opinion; 2],
    /// Pairs of methods whose intervals of a exclude each other's value.
    pub beyond_intervals: Vec<[String; 2]>,
}

/// One method's value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Opinion {
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

/// One form of law fitted by least squares in ln L.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LawFit {
    /// Name of the law: `chinchilla`, `shared`, `coupled`, `interaction`, `kaplan`, `farseer`, `repetition` or `compute`.
    pub law: String,
    /// The formula.
    pub equation: String,
    /// Where it is from.
    pub source: String,
    /// Its parameters, the first `k` of them fitted and the rest following from them.
    pub params: Vec<LawValue>,
    /// Fitted parameters.
    pub k: usize,
    /// Runs in the fit.
    pub n: usize,
    /// Independent runs that they are worth: fewer where runs of a cluster miss alike [-].
    #[serde(default)]
    pub worth: f64,
    /// Sum of squares of ln fitted - ln measured [-].
    pub rss: f64,
    /// Standard deviation of ln(measured / fitted) with the degrees of freedom that k leave of `worth` [-].
    pub residual_sd: f64,
    /// Corrected Akaike criterion of as many runs as these are worth, under normal errors of ln L with one
    /// unknown standard deviation, which counts as a parameter besides the k; up to a constant of the
    /// runs. Nothing for too few runs and for an exact fit.
    pub aicc: Option<f64>,
    /// AICc less that of the best form on the same runs. Nothing for a form of other runs (`compute`).
    pub delta_aicc: Option<f64>,
    /// Share of the evidence among the forms with an AICc on the same runs: exp(-delta/2), the shares of
    /// all adding up to 1 [0, 1]. How well a form fits; how far it is believed beyond the runs says
    /// [`Averaging`].
    #[serde(default)]
    pub weight: Option<f64>,
    /// How far the optimum can be trusted.
    pub certificate: Certificate,
    /// Errors on the largest budget when the form is fitted to the runs below it.
    pub heldout: Option<HeldOutError>,
    /// What the form says at ten times the largest compute, on fresh data. Nothing when it has no
    /// interior compute-optimal size there.
    pub ahead: Option<Ahead>,
    /// The fitted values of bootstrap refits; none for Chinchilla's form, which the leading fit draws, and
    /// for a form of hardly any weight.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub draws: Vec<Vec<f64>>,
}

/// How the forms of law are averaged, as measured by refits to the smaller runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Averaging {
    /// The forms of all runs, in their order; the weights add up to 1.
    pub forms: Vec<FormWeight>,
    /// What the average is expected to miss beyond the runs for each e-fold of compute, as a standard deviation
    /// of ln L [-].
    pub discrepancy: f64,
    /// Cuts that it was measured on.
    pub cuts: usize,
}

/// One form's part in every answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FormWeight {
    /// Name of the law.
    pub law: String,
    /// What it counts [0, 1].
    pub weight: f64,
    /// Root mean square error of ln L beyond the cuts; nothing where there was no cut [-].
    pub error: Option<f64>,
    /// Standard deviation of ln L that the form claims of itself at ten times the compute; nothing in fits of old [-].
    #[serde(default)]
    pub sd_ahead: Option<f64>,
}

/// One parameter of a fitted form.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LawValue {
    /// Name, as in the equation.
    pub name: String,
    /// Value, in `unit`.
    pub value: f64,
    /// Unit; `-` for a pure number.
    pub unit: String,
    /// Standard deviation by the linear model at the optimum. Nothing where the runs do not determine
    /// the parameters, and for one that a bound holds.
    pub sd: Option<f64>,
}

/// A form that the runs cannot determine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LawMissing {
    /// Name of the law.
    pub law: String,
    /// Why, as a person reads it.
    pub reason: String,
}

/// Relative errors on runs that were kept out, predicted over measured minus one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HeldOutError {
    /// Mean, signed [-].
    pub mean_error: f64,
    /// Largest in absolute value [-].
    pub max_error: f64,
    /// Runs that were kept out and that the form speaks of.
    pub n: usize,
}

/// The compute-optimal run of a form beyond the measured compute.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ahead {
    /// Compute [FLOP].
    pub flops: f64,
    /// N* there; nothing for a form without N [parameters].
    pub params: Option<f64>,
    /// D* there; nothing for a form without D [tokens].
    pub tokens: Option<f64>,
    /// Loss there [nats/token].
    pub loss: f64,
    /// Local exponent: d ln N* / d ln C there; nothing for a form without N [-].
    pub a: Option<f64>,
}
