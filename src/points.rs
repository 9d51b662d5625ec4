//! The table a fit reads: one row for each finished run, from our own ledger or from anybody's CSV.
//!
//! A [`Table`] knows nothing of files or devices. `ledger` makes one from run logs, `import` makes one
//! from a CSV.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use crate::units;

/// How far beyond the largest compute of the runs everything that is told of larger runs is told, where nobody says: this
/// many times [-]. `at 10x` in every table is there.
pub const AHEAD: f64 = 10.0;

/// One trained run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Cell id, or `row 17` for an imported table.
    pub id: String,
    /// Runs that share noise (branches of one trunk) carry the same cluster and are resampled together.
    pub cluster: String,
    /// Model size N under [`Convention::params`] [parameters].
    pub params: f64,
    /// Training tokens D [tokens].
    pub tokens: f64,
    /// Training compute C under [`Convention::flops`] [FLOP].
    pub flops: f64,
    /// Final loss on held-out data [nats/token].
    pub loss: f64,
    /// The planned budget this run belongs to, if the study has budgets [FLOP].
    pub budget: Option<f64>,
    /// Distinct tokens U that the run drew on, where that is known; below D, data were repeated [tokens].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unique_tokens: Option<f64>,
    /// The same model counted otherwise, where that is known.
    pub counts: Option<Counts>,
}

/// One model under every convention of N [parameters].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Counts {
    /// Every parameter, embeddings included.
    pub total: f64,
    /// Without input embedding and without output head.
    pub non_embedding: f64,
    /// Matrices that multiply activations: blocks and output head, no input embedding.
    pub matmul: f64,
    /// Training FLOPs per token over 6, attention included: C = 6ND holds exactly for this N.
    pub flops_over_6: f64,
}

/// A run that the fit does not use, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Exclusion {
    /// Cell id, or `row 17`.
    pub id: String,
    /// What the run was: `N 3.7k, D 1.2M`.
    pub what: String,
    /// Why it is left out, as a person reads it.
    pub reason: String,
}

/// Which N and which C the numbers of a table mean. Printed with every result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Convention {
    /// `matmul` (blocks and head), `total`, `non_embedding`, `flops_over_6` or `as given`.
    pub params: String,
    /// `exact` (every matrix product and attention counted), `6ND`, `budget` (each run cost what its
    /// budget says) or `as given`.
    pub flops: String,
    /// What the loss is measured in: `nats/token`, `bits/byte`, or `as given` where nobody said.
    #[serde(default = "nats_per_token")]
    pub loss: String,
}

impl Convention {
    /// Of these words, each as its field lists them.
    pub fn new(params: &str, flops: &str, loss: &str) -> Self {
        let [params, flops, loss] = [params, flops, loss].map(str::to_owned);
        Self { params, flops, loss }
    }

    /// The unit of the loss as an axis or a column head says it.
    pub fn loss_unit(&self) -> &str {
        units::loss_unit(&self.loss)
    }
}

fn nats_per_token() -> String {
    units::NATS_PER_TOKEN.to_owned()
}

/// Runs on both sides of a compute, as indices: those beyond `flops`, and those up to it without a relative (a
/// run of the same cluster) beyond. The others are in neither part.
pub fn cut(points: &[Point], flops: f64) -> (Vec<usize>, Vec<usize>) {
    let beyond: Vec<usize> = (0..points.len()).filter(|i| points[*i].flops > flops).collect();
    let related: HashSet<&str> = beyond.iter().map(|i| points[*i].cluster.as_str()).collect();
    let below = (0..points.len())
        .filter(|i| points[*i].flops <= flops && !related.contains(points[*i].cluster.as_str()))
        .collect();
    (below, beyond)
}

/// Some of the runs, as indices, in that order.
pub fn pick(points: &[Point], rows: &[usize]) -> Vec<Point> {
    rows.iter().map(|i| points[*i].clone()).collect()
}

/// All runs of one study.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// Where the rows come from: a sweep's name, or a file's path.
    pub source: String,
    /// What N and C mean.
    pub convention: Convention,
    /// Rows the fit uses.
    pub points: Vec<Point>,
    /// Rows it does not, each with its reason. Nothing is dropped in silence.
    pub excluded: Vec<Exclusion>,
    /// Exact entropy of the data, where the source's truth is known [nats/token].
    pub entropy: Option<f64>,
    /// Mean bytes per token of the held-out text, for bits per byte [bytes/token].
    pub bytes_per_token: Option<f64>,
}

impl Table {
    /// A table of these runs: nothing is left out of it, and nothing else is known of the study.
    pub fn new(source: impl Into<String>, convention: Convention, points: Vec<Point>) -> Self {
        let (excluded, entropy, bytes_per_token) = (Vec::new(), None, None);
        Self { source: source.into(), convention, points, excluded, entropy, bytes_per_token }
    }

    /// (N, FLOPs per token) of every run, which say how compute depends on size [parameters, FLOP/token].
    pub fn flops_per_token(&self) -> Vec<(f64, f64)> {
        self.points.iter().map(|p| (p.params, p.flops / p.tokens)).collect()
    }
}

/// Something about how a table was read that a reader must know before believing a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// What it is about.
    pub topic: Topic,
    /// The remark itself, as one sentence.
    pub text: String,
}

/// What a [`Remark`] is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic {
    /// Which column was taken for what.
    Columns,
    /// Settings that differ between runs of equal N and D.
    Settings,
    /// Rows that are checkpoints of one run.
    Checkpoints,
    /// Numbers of an unlikely size.
    Magnitude,
    /// How well the held-out text tells the loss.
    HeldOut,
    /// Held-out losses that part from the training losses.
    HeldOutGap,
}

/// The loss of one run on its way, for the figure of loss against compute.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// Cell id.
    pub id: String,
    /// Model size N, under the same convention as the table [parameters].
    pub params: f64,
    /// (compute so far [FLOP], training loss smoothed [nats/token]), by compute.
    pub points: Vec<(f64, f64)>,
}

/// One planned cell and what came of it, as the report lists it.
#[derive(Debug, Clone, PartialEq)]
pub struct CellRow {
    /// Cell id.
    pub id: String,
    /// `completed`, `diverged`, `failed`, `damaged` or `missing`.
    pub state: String,
    /// Model size N, under the table's convention [parameters].
    pub params: f64,
    /// Training tokens D [tokens].
    pub tokens: f64,
    /// Training compute C [FLOP].
    pub flops: f64,
    /// D/N [tokens/parameter].
    pub tokens_per_param: f64,
    /// `d32 L3 H2 ff88`.
    pub shape: String,
    /// Peak learning rate [1/step].
    pub learning_rate: f64,
    /// Batch size [tokens/step].
    pub batch_tokens: f64,
    /// Final held-out loss [nats/token].
    pub loss: Option<f64>,
    /// The same per byte of text [bits/byte].
    pub bits_per_byte: Option<f64>,
    /// Training speed [tokens/s].
    pub tokens_per_second: Option<f64>,
    /// Time in training steps [min].
    pub minutes: Option<f64>,
    /// Why there is no loss.
    pub note: Option<String>,
}

/// A text cell that no spreadsheet takes for a formula.
pub(crate) fn neutral(text: &str) -> String {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        format!("'{text}")
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One relative beyond the cut keeps the whole cluster out of what is fitted.
    #[test]
    fn cuts_keep_clusters_whole() {
        let point = |(flops, cluster): (f64, &str)| Point {
            id: format!("{flops}"),
            cluster: cluster.into(),
            params: 1e6,
            tokens: flops / 6e6,
            flops,
            loss: 3.0,
            budget: None,
            unique_tokens: None,
            counts: None,
        };
        let points = [(1e18, "trunk"), (1e18, "a"), (1e19, "b"), (1e20, "c"), (1e20, "trunk")];
        let (below, beyond) = cut(&points.map(point), 1e19);
        assert_eq!((below, beyond), (vec![1, 2], vec![3, 4]));
    }
}
