//! Synthetic studies for the tests of figures and report: runs on a known surface with fixed noise,
//! fitted and extrapolated by the crate's own `fit` and `predict`.

use std::sync::LazyLock;

use crate::fit::{Analysis, Compute, FIT_VERSION, Options, Pins, Surface, analyse};
use crate::points::{Convention, Counts, Curve, Exclusion, Point, Table};
use crate::predict::{Prediction, at_flops};

/// A value in -1..1 that depends on `i` alone.
fn noise(i: usize) -> f64 {
    let x = (i as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let x = (x ^ (x >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    ((x >> 11) as f64 / (1u64 << 53) as f64) * 2.0 - 1.0
}

/// An analysis of nothing.
pub(crate) fn empty() -> Analysis {
    Analysis {
        version: FIT_VERSION,
        source: "nothing-yet".into(),
        convention: Convention::new("matmul", "exact", "nats/token"),
        loss_column: None,
        pins: Pins::default(),
        compute: Compute::SixNd,
        points: vec![],
        repeated: vec![],
        corpus: None,
        excluded: vec![],
        fits: vec![],
        isoflop: vec![],
        isoflop_bias: None,
        envelope: vec![],
        holdout: None,
        conventions: vec![],
        sensitivity: vec![],
        profile: vec![],
        noise: None,
        laws: Vec::new(),
        sample_size: None,
        laws_missing: Vec::new(),
        averaging: None,
        disagreement: None,
        health: None,
        entropy: None,
        bytes_per_token: None,
        uniform_loss: None,
        warnings: vec![],
    }
}

fn run(i: usize, s: &Surface, compute: &Compute, (params, flops): (f64, f64), sd: f64) -> Point {
    let tokens = flops / compute.per_token(params);
    let id = format!("{:08x}", (i as u64 + 7).wrapping_mul(0x9E37_79B9) & 0xffff_ffff);
    Point {
        cluster: id.clone(),
        id,
        params,
        tokens,
        flops,
        loss: s.loss(params, tokens) * (sd * noise(i)).exp(),
        budget: Some(flops),
        unique_tokens: None,
        counts: Some(Counts {
            total: 1.35 * params + 2e3,
            non_embedding: 0.8 * params,
            matmul: params,
            flops_over_6: compute.per_token(params) / 6.0,
        }),
    }
}

fn fitted(table: &Table, compute: Compute, targets: &[f64]) -> (Analysis, Vec<Prediction>) {
    let options = Options { bootstrap: 40, ..Options::default() };
    let analysis = analyse(table, compute, &options).unwrap();
    let predictions = targets.iter().map(|c| at_flops(&analysis, *c).unwrap()).collect();
    (analysis, predictions)
}

/// Four budgets by six sizes of a tiny byte-level study; the smallest budget has no size small enough.
pub(crate) fn tiny() -> (Analysis, Vec<Curve>, Vec<Prediction>) {
    static MADE: LazyLock<(Analysis, Vec<Curve>, Vec<Prediction>)> = LazyLock::new(make_tiny);
    MADE.clone()
}

fn make_tiny() -> (Analysis, Vec<Curve>, Vec<Prediction>) {
    let s = Surface { e: 0.99, a: 16.0, b: 210.0, alpha: 0.36, beta: 0.42 };
    let compute = Compute::Attention { k: 30.0, q: 2.0 / 3.0, max_error: 0.004 };
    let mut points = vec![];
    for (i, flops) in [3e10, 1e11, 3e11, 1e12].into_iter().enumerate() {
        for (j, params) in [3.7e3, 10e3, 20e3, 46e3, 95e3, 211e3].into_iter().enumerate() {
            if !matches!((i, j), (0, 0 | 5) | (3, 0)) {
                points.push(run(i * 6 + j, &s, &compute, (params, flops), 0.008));
            }
        }
    }
    let curves = points.iter().enumerate().map(|(i, p)| curve(i, p, &s)).collect();
    let table = Table {
        source: "quickstart".into(),
        convention: Convention::new("matmul", "exact", "nats/token"),
        points,
        excluded: vec![Exclusion {
            id: "deadbeef".into(),
            what: "N 211k, D 230k".into(),
            reason: "diverged at step 112".into(),
        }],
        entropy: Some(0.98),
        bytes_per_token: Some(1.0),
    };
    let (analysis, predictions) = fitted(&table, compute, &[1e13, 1e14]);
    (analysis, curves, predictions)
}

/// A training curve that ends above the run's final loss by a little noise.
fn curve(i: usize, p: &Point, s: &Surface) -> Curve {
    let at = |k: usize| {
        let t = k as f64 / 200.0;
        let loss = s.loss(p.params, p.tokens * t) + 0.12 * (1.0 - t) + 0.02 * noise(i * 777 + k);
        (p.flops * t, loss.min(5.54))
    };
    Curve { id: p.id.clone(), params: p.params, points: (1..=200).map(at).collect() }
}

/// An imported table: 240 runs over nine budgets from 1e18 to 1e22, no curves.
pub(crate) fn imported() -> (Analysis, Vec<Prediction>) {
    static MADE: LazyLock<(Analysis, Vec<Prediction>)> = LazyLock::new(make_imported);
    MADE.clone()
}

fn make_imported() -> (Analysis, Vec<Prediction>) {
    let s = Surface { e: 1.817, a: 478.0, b: 2143.0, alpha: 0.3473, beta: 0.3672 };
    let compute = Compute::SixNd;
    let points: Vec<Point> = (0..240)
        .map(|i| {
            let flops = 10f64.powf(18.0 + 0.5 * (i / 27) as f64);
            let (best, _) = s.optimum(&compute, flops).unwrap();
            run(i, &s, &compute, (best * 2f64.powf(((i % 27) as f64 - 13.0) / 4.5), flops), 0.006)
        })
        .collect();
    let table =
        Table::new("chinchilla.csv", Convention::new("as given", "6ND", "nats/token"), points);
    fitted(&table, compute, &[1e23, 5.76e23])
}
