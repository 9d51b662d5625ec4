//! The forms of law side by side, and what each counts in the average.

use serde::{Deserialize, Serialize};

use super::method::Certificate;

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
