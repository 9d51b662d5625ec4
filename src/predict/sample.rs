//! Surfaces and small studies for the tests of this folder.

use crate::fit::{Analysis, Compute, Options, Surface, analyse};
use crate::points::{Convention, Point, Table};

/// Epoch's published point (Besiroglu et al. 2024, arXiv:2404.10102).
pub(super) const EPOCH: Surface =
    Surface { e: 1.81686, a: 482.00572, b: 2085.4342, alpha: 0.34781, beta: 0.36585 };

/// Hoffmann et al. 2022 with three digits of the exponents: the set with which the printed example of
/// Sardana et al. 2024 comes out to its last digit (the unrounded set saves 16% where they print 17%).
pub(super) const HOFFMANN: Surface =
    Surface { e: 1.69, a: 406.4, b: 410.7, alpha: 0.336, beta: 0.283 };

/// Attention that matters at every size of the tests.
pub(super) const ATTENTION: Compute = Compute::Attention { k: 300.0, q: 0.6, max_error: 0.0 };

/// IsoFLOP runs on [`EPOCH`] at four budgets, 1e18 to 1e21 FLOP, six sizes each. Without a bootstrap the
/// runs are free of noise and the fit is [`EPOCH`]; with one they scatter by about 0.2%.
pub(super) fn analysis(bootstrap: usize) -> Analysis {
    on(&|n, d| EPOCH.loss(n, d), bootstrap)
}

/// The same runs on another law of (N, D).
pub(super) fn on(law: &dyn Fn(f64, f64) -> f64, bootstrap: usize) -> Analysis {
    let mut points = Vec::new();
    for c in [1e18, 1e19, 1e20, 1e21] {
        let (best, _) = EPOCH.optimum(&Compute::SixNd, c).unwrap();
        for i in 0..6 {
            let params = best * 4.0_f64.powf(f64::from(i) / 2.5 - 1.0);
            let tokens = c / (6.0 * params);
            let noise = 0.002 * (f64::from(i) * 2.3 + c.ln()).sin();
            points.push(Point {
                id: format!("{c:e} {i}"),
                cluster: format!("{c:e} {i}"),
                params,
                tokens,
                flops: c,
                loss: law(params, tokens) * (1.0 + if bootstrap > 0 { noise } else { 0.0 }),
                budget: Some(c),
                unique_tokens: None,
                counts: None,
            });
        }
    }
    let table = Table::new("synthetic", Convention::new("total", "6ND", "nats/token"), points);
    let options = Options { bootstrap, holdout: 0, ..Options::default() };
    analyse(&table, Compute::SixNd, &options).unwrap()
}
