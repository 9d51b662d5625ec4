//! What a backtest found, as it is kept, and as rows of a table.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::fit::{Pins, Warning};
use crate::plan::hex;
use crate::points::Point;
use crate::predict::Estimate;
use crate::sound::{Refused, above, level, not_negative, share};
use crate::units::flops;

/// One run beyond a cut.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Held {
    /// Id of the run.
    pub id: String,
    /// Runs that share its noise have the same.
    pub cluster: String,
    /// Largest compute that was fitted [FLOP].
    pub cut: f64,
    /// N [parameters].
    pub params: f64,
    /// D [tokens].
    pub tokens: f64,
    /// D over its distinct tokens; 1 where none is repeated [epochs].
    pub epochs: f64,
    /// C over the largest compute that was fitted [-].
    pub reach: f64,
    /// Measured loss.
    pub measured: f64,
    /// Predicted, with its interval; in the loss's own unit.
    pub predicted: Estimate,
    /// ln predicted - ln measured [-].
    pub error: f64,
    /// Whether the interval holds what was measured.
    pub inside: bool,
}

/// The best size of one budget beyond a cut.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HeldSize {
    /// Compute of the budget [FLOP].
    pub flops: f64,
    /// Largest compute that was fitted [FLOP].
    pub cut: f64,
    /// N at the vertex of the budget's own parabola, by all runs [parameters].
    pub measured: f64,
    /// Predicted N*, with its interval [parameters].
    pub predicted: Estimate,
    /// Whether the interval holds it.
    pub inside: bool,
}

/// One cut.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cut {
    /// Largest compute that was fitted [FLOP].
    pub flops: f64,
    /// Runs that were fitted.
    pub fitted: usize,
    /// Runs that were predicted.
    pub predicted: usize,
    /// Why nothing was, if nothing was.
    pub refused: Option<String>,
}

/// How well intervals and values did on some runs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Quality {
    /// Predictions.
    pub n: usize,
    /// Clusters that their runs are in: so many independent trials at most, as cuts overlap.
    pub clusters: usize,
    /// Share of the intervals that hold what was measured [0, 1].
    pub coverage: f64,
    /// Mean of ln predicted - ln measured [-].
    pub bias: f64,
    /// Root mean square of the same [-].
    pub rms: f64,
    /// Median of its absolute value [-].
    pub median: f64,
    /// Mean interval score of ln L (Gneiting & Raftery 2007, eq. 43), lower is better [-].
    pub interval_score: f64,
}

/// The quality at some reach.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ByReach {
    /// Least C over the largest compute fitted [-].
    pub from: f64,
    /// Most; nothing for the last.
    pub to: Option<f64>,
    /// Of these runs.
    #[serde(flatten)]
    pub quality: Quality,
}

/// The quality of runs that repeat their tokens.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ByEpochs {
    /// Least D over its distinct tokens [epochs].
    pub from: f64,
    /// Most; nothing for the last.
    pub to: Option<f64>,
    /// Of these runs.
    #[serde(flatten)]
    pub quality: Quality,
}

/// A whole backtest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Backtest {
    /// Where the rows come from.
    pub source: String,
    /// What the losses of [`Backtest::runs`] are measured in.
    pub loss_unit: String,
    /// Parameters that were given and not fitted; nothing where all were fitted.
    #[serde(default, skip_serializing_if = "Pins::is_empty")]
    pub pins: Pins,
    /// SHA-256 of the runs: whose backtest this is.
    pub runs_sha256: String,
    /// Level of the intervals [0, 1].
    pub level: f64,
    /// Bootstrap refits at each cut.
    pub bootstrap: usize,
    /// Seed of the bootstrap.
    pub seed: u64,
    /// Of all predictions of runs on fresh tokens; nothing where there was none.
    #[serde(flatten)]
    pub all: Option<Quality>,
    /// The same by reach, without empty ones.
    pub by_reach: Vec<ByReach>,
    /// Of runs that repeat their tokens, without empty ones.
    pub by_epochs: Vec<ByEpochs>,
    /// Share of the held-out budgets whose best size lies in the interval of N* [0, 1].
    pub size_coverage: Option<f64>,
    /// Whether the intervals hold what they promise, where they clearly hold less or more.
    #[serde(default)]
    pub warnings: Vec<Warning>,
    /// The cuts.
    pub cuts: Vec<Cut>,
    /// Every run.
    pub runs: Vec<Held>,
    /// Every budget.
    pub sizes: Vec<HeldSize>,
}

/// Heads of [`Backtest::rows`].
pub const HEADER: [&str; 8] =
    ["reach", "runs", "clusters", "inside", "bias", "rms", "median", "score"];

/// Heads of [`Backtest::epoch_rows`].
pub const EPOCHS_HEADER: [&str; 8] =
    ["epochs", "runs", "clusters", "inside", "bias", "rms", "median", "score"];

/// What the heads mean.
pub const LEGEND: &str = "Errors and intervals are those of the average of the forms of law, as in every answer of `predict`, not of \
                          one method alone. inside: prediction intervals of one run that hold its measured loss; errors are ln(predicted / measured), so a bias above 0 is a prediction too high; score: mean interval \
                          score of ln L, lower is better. Cuts overlap and clusters share noise: the runs are no \
                          independent trials.";

impl Backtest {
    /// Refuses numbers that no backtest has.
    pub(super) fn check(&self) -> Refused {
        level("level", self.level)?;
        let by_reach = self.by_reach.iter().map(|r| ("by_reach", &r.quality));
        let by_epochs = self.by_epochs.iter().map(|r| ("by_epochs", &r.quality));
        for (name, q) in by_reach.chain(by_epochs).chain(self.all.iter().map(|q| ("all", q))) {
            share(&format!("{name}: coverage"), q.coverage)?;
            for (of, value) in
                [("rms", q.rms), ("median", q.median), ("interval_score", q.interval_score)]
            {
                not_negative(&format!("{name}: {of}"), value)?;
            }
        }
        self.size_coverage.iter().try_for_each(|s| share("size_coverage", *s))?;
        for (i, run) in self.runs.iter().enumerate() {
            above(&format!("runs[{i}].measured"), run.measured)?;
            run.predicted.check(&format!("runs[{i}].predicted"))?;
        }
        for (i, size) in self.sizes.iter().enumerate() {
            above(&format!("sizes[{i}].measured"), size.measured)?;
            size.predicted.check(&format!("sizes[{i}].predicted"))?;
        }
        Ok(())
    }

    /// Whether it is of these runs, with these parameters pinned.
    pub fn is_of(&self, points: &[Point], pins: &Pins) -> bool {
        self.pins == *pins && self.runs_sha256 == fingerprint(points)
    }

    /// How it was made: `90% intervals, 200 bootstrap draws at each cut, seed 0`.
    pub fn plan(&self) -> String {
        format!(
            "{:.0}% intervals, {} bootstrap draws at each cut, seed {}",
            100.0 * self.level,
            self.bootstrap,
            self.seed
        )
    }

    /// The cuts as they are shown: compute [FLOP], runs fitted, runs predicted or why none.
    pub fn cut_rows(&self) -> Vec<[String; 3]> {
        let told = |c: &Cut| c.refused.clone().unwrap_or_else(|| c.predicted.to_string());
        self.cuts.iter().map(|c| [flops(c.flops), c.fitted.to_string(), told(c)]).collect()
    }

    /// The quality by reach and of all, as it is shown under [`HEADER`].
    pub fn rows(&self) -> Vec<[String; 8]> {
        let by_reach = self.by_reach.iter().map(|r| {
            let to = r.to.map_or_else(|| "beyond".to_owned(), |to| format!("to {to}x"));
            row(format!("{}x {to}", r.from), &r.quality)
        });
        by_reach.chain(self.all.as_ref().map(|all| row("all".to_owned(), all))).collect()
    }

    /// The quality of runs that repeat their tokens, as it is shown under [`EPOCHS_HEADER`].
    pub fn epoch_rows(&self) -> Vec<[String; 8]> {
        let named = |r: &ByEpochs| {
            let to = r.to.map_or_else(|| "beyond".to_owned(), |to| format!("to {to}"));
            // The least is a hair above 1.
            row(format!("{} {to}", if r.from < 2.0 { 1.0 } else { r.from }), &r.quality)
        };
        self.by_epochs.iter().map(named).collect()
    }

    /// What came of N*, as a sentence; nothing where no budget was held out.
    pub fn sizes_told(&self) -> Option<String> {
        let inside = self.sizes.iter().filter(|s| s.inside).count();
        Some(format!(
            "N*: {inside} of {} held-out budgets ({:.0}%) have the vertex of their parabola inside its interval.",
            self.sizes.len(),
            100.0 * self.size_coverage?
        ))
    }
}

fn row(name: String, q: &Quality) -> [String; 8] {
    [
        name,
        q.n.to_string(),
        q.clusters.to_string(),
        format!("{:.0}%", 100.0 * q.coverage),
        format!("{:+.2}%", 100.0 * q.bias),
        format!("{:.2}%", 100.0 * q.rms),
        format!("{:.2}%", 100.0 * q.median),
        format!("{:.1}%", 100.0 * q.interval_score),
    ]
}

/// SHA-256 of what a backtest reads of the runs, in any order.
pub(super) fn fingerprint(points: &[Point]) -> String {
    let mut rows: Vec<String> = points
        .iter()
        .map(|p| {
            let bits = [p.params, p.tokens, p.flops, p.loss].map(f64::to_bits);
            let more = [p.budget, p.unique_tokens].map(|v| v.map(f64::to_bits));
            format!("{}\0{}\0{bits:?}{more:?}", p.id, p.cluster)
        })
        .collect();
    rows.sort();
    hex(&Sha256::digest(rows.join("\n").as_bytes()))
}
