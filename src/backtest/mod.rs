//! What this tool would have said of the largest runs from the smaller ones, cut by cut.
//!
//! Every cut takes the runs up to some compute for all there is, fits and predicts them as any table, and holds
//! each run beyond against its prediction interval. Clusters (trunks, checkpoints of one run) stay whole: a run
//! whose relative lies beyond the cut is in neither part.
//!
//! Runs that repeat their tokens are asked for with the distinct tokens that they had, and counted apart by epochs.
//!
//! Each run is predicted as every answer is: by the average of the forms of law, which the cut's own fit has weighed.
//! The hold-out of a fit is another question: one method's surface alone, at one cut.
//!
//! Whether the intervals hold what they promise is tested in `coverage`.
//!
//! Limits: cuts overlap, and runs of one cluster share its noise, so they are no independent trials; a cut keeps
//! fewer runs than the study has.
//!
//! The terminal and the report show the rows of this file, and the report only those of a backtest of its own runs
//! ([`Backtest::is_of`]): the two cannot differ.
//!
//! Pure.

mod coverage;

use std::collections::HashSet;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::fit::numeric::stats;
use crate::fit::{self, Compute, FitError, Options, Pins, Warning, analyse};
use crate::plan::hex;
use crate::points::{self, Point, Table};
use crate::predict::{Estimate, MeanLoss};
use crate::sound::{Refused, above, level, not_negative, share};
use crate::units::flops;

/// Shares of the runs, by compute, that the cuts keep.
const SHARES: [f64; 3] = [0.25, 0.5, 0.75];
/// And the share of the largest compute that the last cut keeps.
const TENTH: f64 = 0.1;
/// Fewest runs that a cut keeps.
const LEAST: usize = 6;
/// Bounds of reach, C over the largest compute that was fitted [-].
const REACHES: [f64; 5] = [1.0, 3.0, 10.0, 30.0, 100.0];
/// Bounds of epochs, for runs that repeat [-].
const EPOCHS: [f64; 4] = [fit::ONCE, 4.0, 16.0, 64.0];

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
    /// Reads a backtest.json.
    ///
    /// # Errors
    ///
    /// What is wrong with it: not JSON of that form, or a number that no backtest has.
    pub fn read(json: &[u8]) -> Result<Self, String> {
        let mut backtest: Self = serde_json::from_slice(json).map_err(|e| e.to_string())?;
        backtest.check()?;
        // One of an older isoflop says nothing of it.
        backtest.warnings = coverage::judged(&backtest);
        Ok(backtest)
    }

    fn check(&self) -> Refused {
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
fn fingerprint(points: &[Point]) -> String {
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

/// Backtests a table.
///
/// # Errors
///
/// [`FitError`]: fewer runs than any fit needs.
///
/// # Example
///
/// ```
/// use isoflop::backtest::backtest;
/// use isoflop::fit::Options;
///
/// # let mut csv = String::from("N,D,loss\n");
/// # for n in [1e6_f64, 2e6, 4e6, 8e6, 1.6e7] {
/// #     for d in [2e7_f64, 4e7, 8e7, 1.6e8, 3.2e8] {
/// #         let noise = 1.0 + 0.001 * (n * d).sin();
/// #         let loss = noise * (1.7 + 400.0 / n.powf(0.34) + 410.0 / d.powf(0.28));
/// #         csv += &format!("{n},{d},{loss}\n");
/// #     }
/// # }
/// # let table = isoflop::import::parse(csv.as_bytes(), "runs.csv", &Default::default())?.table;
/// let options = Options { bootstrap: 20, ..Options::default() };
/// let tested = backtest(&table, &options)?;
/// // Each run beyond a cut was predicted from the runs up to it.
/// for run in &tested.runs {
///     println!("{}: {:.4} foretold, {:.4} measured", run.id, run.predicted.value, run.measured);
/// }
/// assert!(tested.all.is_some_and(|all| all.n > 0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn backtest(table: &Table, options: &Options) -> Result<Backtest, FitError> {
    fit::allowed(&options.pins, table)?;
    let mut points = table.points.clone();
    points.sort_by(|l, r| l.flops.total_cmp(&r.flops).then(l.id.cmp(&r.id)));
    let need = LEAST + 1;
    if points.len() < need {
        return Err(FitError::TooFewPoints { have: points.len(), need });
    }
    // The best sizes as all runs together show them.
    let none = Options { bootstrap: 0, holdout: 0, ..options.clone() };
    let vertices: Vec<(f64, f64)> = analyse(table, compute(&points), &none)
        .map(|a| a.isoflop)
        .unwrap_or_default()
        .iter()
        .filter(|b| b.excluded.is_none())
        .filter_map(|b| Some((b.flops, b.params?)))
        .collect();
    let done: Vec<(Cut, Vec<Held>, Vec<HeldSize>)> = places(&points)
        .into_par_iter()
        .map(|flops| one(table, &points, flops, &vertices, options))
        .collect();
    let (mut cuts, mut runs, mut sizes) = (Vec::new(), Vec::new(), Vec::new());
    for (cut, held, best) in done {
        cuts.push(cut);
        runs.extend(held);
        sizes.extend(best);
    }
    let within = |value: f64, bounds: &[f64], i: usize| {
        value >= bounds[i] && bounds.get(i + 1).is_none_or(|to| value < *to)
    };
    let (fresh, repeated): (Vec<&Held>, Vec<&Held>) =
        runs.iter().partition(|r| r.epochs < fit::ONCE);
    let some = |runs: &[&Held], of: fn(&Held) -> f64, bounds: &[f64], i: usize| {
        let some: Vec<&Held> = runs.iter().copied().filter(|r| within(of(r), bounds, i)).collect();
        quality(&some, options.level)
    };
    let by_reach = (0..REACHES.len()).filter_map(|i| {
        let quality = some(&fresh, |r| r.reach, &REACHES, i)?;
        Some(ByReach { from: REACHES[i], to: REACHES.get(i + 1).copied(), quality })
    });
    let by_epochs = (0..EPOCHS.len()).filter_map(|i| {
        let quality = some(&repeated, |r| r.epochs, &EPOCHS, i)?;
        Some(ByEpochs { from: EPOCHS[i], to: EPOCHS.get(i + 1).copied(), quality })
    });
    let (by_reach, by_epochs, all) =
        (by_reach.collect(), by_epochs.collect(), quality(&fresh, options.level));
    let inside = sizes.iter().filter(|s: &&HeldSize| s.inside).count();
    let mut backtest = Backtest {
        source: table.source.clone(),
        loss_unit: table.convention.loss.clone(),
        pins: options.pins,
        runs_sha256: fingerprint(&table.points),
        level: options.level,
        bootstrap: options.bootstrap,
        seed: options.seed,
        all,
        by_reach,
        by_epochs,
        size_coverage: (!sizes.is_empty()).then(|| inside as f64 / sizes.len() as f64),
        warnings: Vec::new(),
        cuts,
        runs,
        sizes,
    };
    backtest.warnings = coverage::judged(&backtest);
    Ok(backtest)
}

fn compute(points: &[Point]) -> Compute {
    let rows: Vec<(f64, f64)> = points.iter().map(|p| (p.params, p.flops / p.tokens)).collect();
    Compute::fit(&rows)
}

/// The computes up to which runs are kept, each once.
fn places(points: &[Point]) -> Vec<f64> {
    let most = points[points.len() - 1].flops;
    let mut places: Vec<f64> = SHARES
        .iter()
        .map(|share| points[((points.len() as f64 * share) as usize).max(1) - 1].flops)
        .chain([TENTH * most])
        .filter(|flops| *flops < most && *flops >= points[0].flops)
        // What is kept ends at a run.
        .map(|flops| points.iter().map(|p| p.flops).filter(|f| *f <= flops).fold(0.0, f64::max))
        .collect();
    places.sort_by(f64::total_cmp);
    places.dedup();
    places
}

fn one(
    table: &Table,
    points: &[Point],
    flops: f64,
    vertices: &[(f64, f64)],
    options: &Options,
) -> (Cut, Vec<Held>, Vec<HeldSize>) {
    let (below, beyond) = points::cut(points, flops);
    let (kept, beyond) = (points::pick(points, &below), points::pick(points, &beyond));
    let mut cut = Cut { flops, fitted: kept.len(), predicted: 0, refused: None };
    if kept.len() < LEAST {
        cut.refused =
            Some(format!("{} runs without a relative beyond, a fit needs {LEAST}", kept.len()));
        return (cut, Vec::new(), Vec::new());
    }
    let smaller = Table { points: kept, excluded: Vec::new(), ..table.clone() };
    let options = Options { holdout: 0, ..options.clone() };
    let analysis = match analyse(&smaller, compute(&smaller.points), &options) {
        Ok(analysis) => analysis,
        Err(why) => {
            cut.refused = Some(why.to_string().lines().next().unwrap_or_default().to_owned());
            return (cut, Vec::new(), Vec::new());
        }
    };
    let mean = MeanLoss::new(&analysis);
    let ask = |p: &Point| ask(mean.as_ref()?, p, flops);
    let held: Vec<Held> = beyond.iter().filter_map(ask).collect();
    let sizes =
        vertices.iter().filter(|(at, _)| *at > 1.01 * flops).filter_map(|(at, measured)| {
            let predicted = mean.as_ref()?.size(*at)?;
            let inside = (predicted.lo..=predicted.hi).contains(measured);
            Some(HeldSize { flops: *at, cut: flops, measured: *measured, predicted, inside })
        });
    let sizes = sizes.collect();
    cut.predicted = held.len();
    (cut, held, sizes)
}

fn ask(mean: &MeanLoss<'_>, p: &Point, cut: f64) -> Option<Held> {
    let epochs = fit::epochs(p);
    let predicted = match p.unique_tokens.filter(|_| epochs > fit::ONCE) {
        None => mean.interval(p.params, p.tokens)?,
        Some(unique) => mean.repeated(p.params, p.tokens, unique)?,
    };
    Some(Held {
        id: p.id.clone(),
        cluster: p.cluster.clone(),
        cut,
        params: p.params,
        tokens: p.tokens,
        epochs,
        reach: p.flops / cut,
        measured: p.loss,
        predicted,
        error: (predicted.value / p.loss).ln(),
        inside: (predicted.lo..=predicted.hi).contains(&p.loss),
    })
}

fn quality(runs: &[&Held], level: f64) -> Option<Quality> {
    if runs.is_empty() {
        return None;
    }
    let n = runs.len() as f64;
    let mean = |of: &dyn Fn(&Held) -> f64| runs.iter().map(|r| of(r)).sum::<f64>() / n;
    let mut sizes: Vec<f64> = runs.iter().map(|r| r.error.abs()).collect();
    sizes.sort_by(f64::total_cmp);
    let score = |r: &Held| {
        let (lo, hi, y) = (r.predicted.lo.ln(), r.predicted.hi.ln(), r.measured.ln());
        hi - lo + 2.0 / (1.0 - level) * ((lo - y).max(0.0) + (y - hi).max(0.0))
    };
    let clusters = runs.iter().map(|r| r.cluster.as_str()).collect::<HashSet<_>>().len();
    Some(Quality {
        n: runs.len(),
        clusters,
        coverage: mean(&|r| f64::from(u8::from(r.inside))),
        bias: mean(&|r| r.error),
        rms: mean(&|r| r.error.powi(2)).sqrt(),
        median: stats::quantile(&sizes, 0.5),
        interval_score: mean(&score),
    })
}
