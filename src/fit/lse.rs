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

use std::ops::Range;

use multiversion::multiversion;
use rayon::prelude::*;

use crate::fit::lanes::{LANES, Lanes, exp, ln};
use crate::fit::newton::{self, Derivatives, Matrix, Minimum, Objective, P, Vector};
use crate::fit::result::Surface;
use crate::fit::sample::{
    self, MAX_EXPONENT, MIN_EXPONENT, NAMES, Sample, SurfaceFit, scaled, surface_of,
};

/// A term whose share of the smallest loss is below exp(-15) = 3e-7 has vanished.
const VANISHED: f64 = 15.0;

/// Hoffmann's grid of exponents (appendix D.1 as in Epoch's notebook), 0 replaced by 0.1.
const EXPONENTS: [f64; 5] = [0.1, 0.5, 1.0, 1.5, 2.0];

/// Fits from the whole set of starts. `also` are surfaces to start from besides the grid.
pub(super) fn fit(sample: &Sample, delta: f64, also: &[Surface]) -> SurfaceFit {
    let mut starts: Vec<Vector> = also.iter().map(|s| vector_of(sample, s)).collect();
    let total: f64 = sample.weight.iter().sum();
    let mean = sample.loss.iter().zip(&sample.weight).map(|(l, w)| l * w).sum::<f64>() / total;
    let (least, _) = sample.loss_range();
    for e in [(-1.0_f64).exp(), (-0.5_f64).exp(), 1.0, 0.5_f64.exp(), 1.0_f64.exp(), 0.9 * least] {
        if e >= 0.95 * least {
            continue;
        }
        let half = (0.5 * (mean - e)).ln();
        for alpha in EXPONENTS {
            for beta in EXPONENTS {
                starts.push([half, alpha, half, beta, e.ln()]);
            }
        }
    }
    let cells = cells_of(sample);
    let minima: Vec<Minimum> =
        starts.par_iter().map(|start| descend(sample, &cells, delta, *start)).collect();
    summarise(sample, &minima)
}

/// Fits from given surfaces only: a bootstrap's refit.
pub(super) fn refit(sample: &Sample, delta: f64, from: &[Surface]) -> SurfaceFit {
    let cells = cells_of(sample);
    let minima: Vec<Minimum> =
        from.iter().map(|s| descend(sample, &cells, delta, vector_of(sample, s))).collect();
    summarise(sample, &minima)
}

/// Least squares of ln L as an objective, for one that holds a quantity fixed: half the sum of squares
/// in [ln A at the centre, alpha, ln B at the centre, beta, ln E].
pub(super) struct Squares(Vec<Cells>);

impl Squares {
    pub(super) fn of(sample: &Sample) -> Self {
        Self(cells_of(sample))
    }

    pub(super) fn objective(&self) -> impl Objective + '_ {
        // Beyond the largest residual Huber's function is half the square.
        Huber::over(&self.0, f64::MAX)
    }
}

/// The objective at any surface: what a published point is worth.
pub fn objective(points: &[crate::points::Point], delta: f64, surface: &Surface) -> f64 {
    let sample = Sample::new(points);
    sample.residuals(surface).iter().map(|r| huber(*r, delta).0).sum()
}

fn descend(sample: &Sample, cells: &[Cells], delta: f64, start: Vector) -> Minimum {
    let (least, most) = sample.loss_range();
    let (low, high) = (least.ln() - VANISHED, most.ln() + 3.0);
    newton::minimise(
        &mut Huber::over(cells, delta),
        start,
        &[low, MIN_EXPONENT, low, MIN_EXPONENT, low],
        &[high, MAX_EXPONENT, high, MAX_EXPONENT, least.ln()],
        1e-30 * sample.len() as f64,
    )
}

/// Huber's function and its derivative.
#[expect(clippy::inline_always, reason = "must take the instruction set of the caller")]
#[inline(always)]
fn huber(r: f64, delta: f64) -> (f64, f64) {
    let clipped = r.clamp(-delta, delta);
    (clipped * (r - 0.5 * clipped), clipped)
}

/// Eight cells of a sample ([`Sample::cells`]): the law is the same for every run of a cell.
struct Cells {
    x: Lanes,
    y: Lanes,
    /// The first run of every cell, then the second of those that have one, and so on.
    runs: Vec<Runs>,
}

/// A run of each of eight cells.
#[derive(Clone, Default)]
struct Runs {
    log_loss: Lanes,
    /// 0 where there is no run.
    weight: Lanes,
}

fn cells_of(sample: &Sample) -> Vec<Cells> {
    let eight = |cells: &[Range<usize>]| {
        let (mut x, mut y) = (Lanes::default(), Lanes::default());
        let most = cells.iter().map(Range::len).max().unwrap_or(0);
        let mut runs = vec![Runs::default(); most];
        for (l, cell) in cells.iter().enumerate() {
            (x[l], y[l]) = (sample.x[cell.start], sample.y[cell.start]);
            for (runs, i) in runs.iter_mut().zip(cell.clone()) {
                (runs.log_loss[l], runs.weight[l]) = (sample.log_loss[i], sample.weight[i]);
            }
        }
        Cells { x, y, runs }
    };
    sample.cells().chunks(LANES).map(eight).collect()
}

/// What eight cells need to remember of a value for its derivatives.
#[derive(Clone, Default)]
struct Terms {
    /// A N^-alpha.
    size: Lanes,
    /// B D^-beta.
    data: Lanes,
    /// The whole law.
    law: Lanes,
    log_law: Lanes,
}

/// The objective over the runs of a sample.
struct Huber<'a> {
    cells: &'a [Cells],
    delta: f64,
    at: Vector,
    terms: Vec<Terms>,
}

impl<'a> Huber<'a> {
    fn over(cells: &'a [Cells], delta: f64) -> Self {
        Self { cells, delta, at: [0.0; P], terms: vec![Terms::default(); cells.len()] }
    }
}

impl Objective for Huber<'_> {
    fn value(&mut self, v: &Vector) -> f64 {
        self.at = *v;
        value(self.cells, self.delta, v, &mut self.terms)
    }

    fn derivatives(&mut self) -> Derivatives {
        derivatives(self.cells, self.delta, &self.at, &self.terms)
    }
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn value(cells: &[Cells], delta: f64, v: &Vector, terms: &mut [Terms]) -> f64 {
    let [a, alpha, b, beta, e] = *v;
    let floor = exp(e);
    let mut sum = Lanes::default();
    for (cells, terms) in cells.iter().zip(terms) {
        for l in 0..LANES {
            let size = exp(a - alpha * cells.x[l]);
            let data = exp(b - beta * cells.y[l]);
            let law = size + data + floor;
            terms.size[l] = size;
            terms.data[l] = data;
            terms.law[l] = law;
            terms.log_law[l] = ln(law);
        }
        for Runs { log_loss, weight } in &cells.runs {
            sum += *weight * (terms.log_law - *log_loss).map(|r| huber(r, delta).0);
        }
    }
    sum.total()
}

/// With s the shares of the three terms in the law and v_k their feature vectors, the gradient of ln
/// law is sum s_k v_k and its Hessian the covariance of the v_k under s.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn derivatives(cells: &[Cells], delta: f64, v: &Vector, terms: &[Terms]) -> Derivatives {
    let floor = exp(v[4]);
    let mut gradient = [Lanes::default(); P];
    let mut hessian = [[Lanes::default(); P]; P];
    let mut scale = [Lanes::default(); P];
    for (Cells { x, y, runs }, terms) in cells.iter().zip(terms) {
        // Sums over the runs of each cell: weight, weight times first and times second derivative.
        let (mut w, mut wp, mut wc) = (Lanes::default(), Lanes::default(), Lanes::default());
        for Runs { log_loss, weight } in runs {
            let residual = terms.log_law - *log_loss;
            w += *weight;
            wp += *weight * residual.map(|r| huber(r, delta).1);
            wc += *weight * residual.map(|r| if r.abs() <= delta { 1.0 } else { 0.0 });
        }
        let (x, y, both) = (*x, *y, wc - wp);
        let one = terms.law.map(f64::recip);
        let (p, q, c) = (terms.size * one, terms.data * one, floor * one);
        let g = [p, -1.0 * (p * x), q, -1.0 * (q * y), c];
        for j in 0..P {
            gradient[j] += wp * g[j];
            scale[j] += w * g[j] * g[j];
            for k in 0..=j {
                hessian[j][k] += both * g[j] * g[k];
            }
        }
        hessian[0][0] += wp * g[0];
        hessian[1][0] += wp * g[1];
        hessian[1][1] += wp * (p * x * x);
        hessian[2][2] += wp * g[2];
        hessian[3][2] += wp * g[3];
        hessian[3][3] += wp * (q * y * y);
        hessian[4][4] += wp * g[4];
    }
    Derivatives {
        gradient: gradient.map(Lanes::total),
        hessian: std::array::from_fn(|j| {
            std::array::from_fn(|k| hessian[j.max(k)][j.min(k)].total())
        }),
        scale: scale.map(Lanes::total),
    }
}

/// J'J of ln law in the parameters.
fn gauss_newton(sample: &Sample, v: &Vector) -> Matrix {
    let [a, alpha, b, beta, e] = *v;
    newton::gram((0..sample.len()).map(|i| {
        let (x, y) = (sample.x[i], sample.y[i]);
        let (size, data, floor) = (exp(a - alpha * x), exp(b - beta * y), exp(e));
        let one = 1.0 / (size + data + floor);
        let (p, q, c) = (size * one, data * one, floor * one);
        (sample.weight[i], [p, -p * x, q, -q * y, c])
    }))
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
        surface: surface_of(&logs, sample.mean_x, sample.mean_y),
        objective: best.value,
        gradient: best.gradient,
        condition: newton::condition(&gauss_newton(sample, &v), held),
        iterations: best.iterations,
        starts: minima.len(),
        starts_at_best: finite().filter(|m| m.value <= reach).count(),
        at_bound: NAMES.iter().zip(bound).filter(|(_, b)| *b).map(|(n, _)| (*n).into()).collect(),
    }
}

fn at_end(exponent: f64) -> bool {
    exponent <= sample::MIN_EXPONENT || exponent >= sample::MAX_EXPONENT
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::sample::tests::{TRUTH, study};
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

    /// Central differences of the value and of the gradient, at a point that is not the optimum.
    #[test]
    fn derivatives_are_the_difference_quotients() {
        let sample = Sample::new(&study(&budgets(3), 6, 4.0, 0.01, 2));
        let at = [-0.7, 0.4, -0.2, 0.35, 0.5];
        // A delta in the thick of the residuals exercises both branches.
        let cells = cells_of(&sample);
        let local = |v: &Vector| {
            let mut huber = Huber::over(&cells, 0.05);
            (huber.value(v), huber.derivatives())
        };
        let (_, here) = local(&at);
        let h = 1e-6;
        for j in 0..P {
            let shifted = |sign: f64| {
                let mut v = at;
                v[j] += sign * h;
                local(&v)
            };
            let ((high, up), (low, down)) = (shifted(1.0), shifted(-1.0));
            let slope = (high - low) / (2.0 * h);
            assert!((slope - here.gradient[j]).abs() < 1e-7 * (1.0 + slope.abs()), "{j}");
            for k in 0..P {
                let curve = (up.gradient[k] - down.gradient[k]) / (2.0 * h);
                assert!((curve - here.hessian[j][k]).abs() < 1e-6, "{j} {k} {curve}");
            }
        }
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

    #[test]
    fn huber_is_smooth_where_it_turns() {
        let (d, eps) = (1e-3, 1e-12);
        let (inside, outside) = (huber(d - eps, d), huber(d + eps, d));
        assert!((inside.0 - outside.0).abs() < 1e-14 && (inside.1 - outside.1).abs() < 1e-11);
        assert_eq!(huber(-0.5, d), (d * (0.5 - 0.5 * d), -d));
    }
}
