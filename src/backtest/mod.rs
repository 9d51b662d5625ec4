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
mod found;

use std::collections::HashSet;

use rayon::prelude::*;

use crate::fit::numeric::stats;
use found::fingerprint;
pub use found::{
    Backtest, ByEpochs, ByReach, Cut, EPOCHS_HEADER, HEADER, Held, HeldSize, LEGEND, Quality,
};

use crate::fit::{self, Compute, FitError, Options, analyse};
use crate::points::{self, Point, Table};
use crate::predict::MeanLoss;

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
