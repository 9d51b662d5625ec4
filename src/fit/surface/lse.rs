//! Approach 3: the Chinchilla law fitted to ln L under a Huber loss.
//!
//! Minimises sum Huber_delta(LSE(a - alpha ln N, b - beta ln D, e) - ln L) over (a, alpha, b, beta, e),
//! with A = exp(a), B = exp(b), E = exp(e) (Hoffmann et al. 2022, arXiv:2203.15556, eq. 3). Huber is
//! r^2/2 within delta and delta (|r| - delta/2) beyond (Huber 1964, doi:10.1214/aoms/1177703732).
//!
//! DIFFERENCE: Hoffmann use L-BFGS; here the gradient and the Hessian are exact, because the objective
//! is nearly an L1 norm at delta = 1e-3 and its flat directions stop a first-order method early. The
//! objective is the sum over runs, not the mean.
//!
//! DIFFERENCE: of Hoffmann's grid of starts the exponents and E are kept (with 0.1 for their 0, where
//! the gradient is degenerate); A and B are not gridded but start with equal shares of the mean
//! reducible loss, which every one of their starts must reach anyway before it can move on.

use rayon::prelude::*;

use crate::fit::data::sample::{
    self, MAX_EXPONENT, MIN_EXPONENT, Sample, SurfaceFit, scaled, surface_of,
};
use crate::fit::numeric::newton::{self, Minimum, Objective, P, Vector};
use crate::fit::result::Surface;
use crate::fit::surface::huber::{self, Cells, Huber, huber};

/// A term whose share of the smallest loss is below exp(-15) = 3e-7 has vanished.
const VANISHED: f64 = 15.0;

/// Hoffmann's grid of exponents (appendix D.1 as in Epoch's notebook), 0 replaced by 0.1.
const EXPONENTS: [f64; 5] = [0.1, 0.5, 1.0, 1.5, 2.0];

/// Fits from the whole set of starts. `also` are surfaces to start from besides the grid.
pub(in crate::fit) fn fit(sample: &Sample, delta: f64, also: &[Surface]) -> SurfaceFit {
    let mut starts: Vec<Vector> = also.iter().map(|s| vector_of(sample, s)).collect();
    let total: f64 = sample.weight.iter().sum();
    let mean = sample.loss.iter().zip(&sample.weight).map(|(l, w)| l * w).sum::<f64>() / total;
    let (least, _) = sample.loss_range();
    let usual =
        [(-1.0_f64).exp(), (-0.5_f64).exp(), 1.0, 0.5_f64.exp(), 1.0_f64.exp(), 0.9 * least];
    let usual = || usual.into_iter().filter(|e| *e < 0.95 * least).collect();
    let or = |pin: Option<f64>| pin.map_or_else(|| EXPONENTS.to_vec(), |value| vec![value]);
    let (alphas, betas) = (or(sample.pins.alpha), or(sample.pins.beta));
    for e in sample.pins.e.map_or_else(usual, |e| vec![e]) {
        let half = (0.5 * (mean - e)).ln();
        for &alpha in &alphas {
            for &beta in &betas {
                starts.push([half, alpha, half, beta, e.ln()]);
            }
        }
    }
    let cells = Cells::of(sample);
    let minima: Vec<Minimum> =
        starts.par_iter().map(|start| descend(sample, &cells, delta, *start, None)).collect();
    summarise(sample, &minima)
}

/// Fits from given surfaces only: a bootstrap's refit.
pub(in crate::fit) fn refit(sample: &Sample, delta: f64, from: &[Surface]) -> SurfaceFit {
    let cells = Cells::of(sample);
    let mut minima: Vec<Minimum> = Vec::new();
    for start in from {
        let start = vector_of(sample, start);
        minima.push(descend(sample, &cells, delta, start, minima.first()));
    }
    summarise(sample, &minima)
}

/// Least squares of ln L as an objective, for one that holds a quantity fixed: half the sum of squares
/// in [ln A at the centre, alpha, ln B at the centre, beta, ln E].
pub(in crate::fit) struct Squares(Vec<Cells>);

impl Squares {
    pub(in crate::fit) fn of(sample: &Sample) -> Self {
        Self(Cells::of(sample))
    }

    pub(in crate::fit) fn objective(&self) -> impl Objective + '_ {
        // Beyond the largest residual Huber's function is half the square.
        Huber::over(&self.0, f64::MAX)
    }
}

/// The objective at any surface: what a published point is worth.
pub fn objective(points: &[crate::points::Point], delta: f64, surface: &Surface) -> f64 {
    let sample = Sample::new(points);
    sample.residuals(surface).iter().map(|r| huber(*r, delta).0).sum()
}

fn descend(
    sample: &Sample,
    cells: &[Cells],
    delta: f64,
    start: Vector,
    known: Option<&Minimum>,
) -> Minimum {
    let (least, most) = sample.loss_range();
    let (low, high) = (least.ln() - VANISHED, most.ln() + 3.0);
    let mut lower = [low, MIN_EXPONENT, low, MIN_EXPONENT, low];
    let mut upper = [high, MAX_EXPONENT, high, MAX_EXPONENT, least.ln()];
    sample.hold(&mut lower, &mut upper, f64::ln);
    newton::minimise(
        &mut Huber::over(cells, delta),
        start,
        &lower,
        &upper,
        1e-30 * sample.len() as f64,
        known,
    )
}

fn vector_of(sample: &Sample, s: &Surface) -> Vector {
    // A vanished term starts well below the others instead, where its gradient is not yet zero.
    let (least, _) = sample.loss_range();
    let log = |term: f64| term.max(1e-2 * least).ln();
    [
        log(scaled(s.a, s.alpha, sample.mean_x)),
        s.alpha,
        log(scaled(s.b, s.beta, sample.mean_y)),
        s.beta,
        log(s.e),
    ]
}

fn summarise(sample: &Sample, minima: &[Minimum]) -> SurfaceFit {
    let finite = || minima.iter().filter(|m| m.value.is_finite());
    let Some(best) = finite().min_by(|l, r| l.value.total_cmp(&r.value)) else {
        return SurfaceFit::none(minima.len());
    };
    let reach = best.value * (1.0 + 1e-6) + 1e-20 * sample.len() as f64;
    let (least, _) = sample.loss_range();
    // Within a factor e of the floor: the descent stops there when nothing is left to gain.
    let gone = least.ln() - VANISHED + 6.0;
    let v = best.at;
    let bound = [v[0] < gone, at_end(v[1]), v[2] < gone, at_end(v[3]), v[4] < gone];
    let logs = [v[0].exp(), v[1], v[2].exp(), v[3], if bound[4] { 0.0 } else { v[4].exp() }];
    let held: [bool; P] = std::array::from_fn(|i| best.held[i] || bound[i]);
    SurfaceFit {
        surface: surface_of(&logs, sample.mean_x, sample.mean_y).pinned(&sample.pins),
        objective: best.value,
        gradient: best.gradient,
        condition: newton::condition(&huber::gauss_newton(sample, &v), held),
        iterations: best.iterations,
        starts: minima.len(),
        starts_at_best: finite().filter(|m| m.value <= reach).count(),
        at_bound: sample.at_bound(bound),
    }
}

fn at_end(exponent: f64) -> bool {
    exponent <= sample::MIN_EXPONENT || exponent >= sample::MAX_EXPONENT
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::data::sample::tests::{TRUTH, study};
    use crate::points::Point;

    fn budgets(n: i32) -> Vec<f64> {
        (0..n).map(|i| 1e17 * 10.0_f64.powf(5.0 * f64::from(i) / f64::from(n - 1))).collect()
    }

    /// The exact law comes back. Oracle: the constants the losses were made with.
    #[test]
    fn noise_free_runs_give_back_the_law() {
        let sample = Sample::new(&study(&budgets(8), 16, 8.0, 0.0, 1));
        let fit = fit(&sample, 1e-3, &[]);
        let s = fit.surface;
        assert!(
            (s.alpha - TRUTH.alpha).abs() < 1e-6 && (s.beta - TRUTH.beta).abs() < 1e-6,
            "{s:?}"
        );
        assert!((s.a / TRUTH.a - 1.0).abs() < 1e-4 && (s.b / TRUTH.b - 1.0).abs() < 1e-4, "{s:?}");
        assert!(fit.at_bound.is_empty() && 2 * fit.starts_at_best > fit.starts, "{fit:?}");
    }

    /// Losses without an irreducible part: E must say that it is not there, and nothing may be NaN.
    #[test]
    fn a_law_without_a_floor_reports_e_at_its_bound() {
        let mut points = study(&budgets(5), 7, 4.0, 0.0, 3);
        for (i, p) in points.iter_mut().enumerate() {
            let wobble = 1.0 + 1e-3 * (i as f64 * 1.7).sin();
            // Steeper than any sum of power laws with a floor: curvature calls for E below zero.
            p.loss = (TRUTH.loss(p.params, p.tokens) - 1.75) * wobble;
        }
        assert!(points.iter().all(|p: &Point| p.loss > 0.0));
        let fit = fit(&Sample::new(&points), 1e-3, &[]);
        assert!(fit.at_bound.contains(&"E".to_string()), "{fit:?}");
        assert_eq!(fit.surface.e, 0.0);
        assert!([fit.objective, fit.gradient, fit.condition].iter().all(|v| v.is_finite()));
    }

    /// Losses that depend on D alone: the size term cannot be had.
    #[test]
    fn a_law_without_a_size_term_has_no_frontier() {
        let mut points = study(&budgets(5), 7, 4.0, 0.0, 4);
        for p in &mut points {
            p.loss = 1.7 + 400.0 * p.tokens.powf(-0.28);
        }
        let fit = fit(&Sample::new(&points), 1e-3, &[]);
        assert!(!fit.at_bound.is_empty(), "{fit:?}");
        let s = fit.surface;
        assert!([s.e, s.a, s.b, s.alpha, s.beta].iter().all(|v| v.is_finite()), "{s:?}");
    }
}
