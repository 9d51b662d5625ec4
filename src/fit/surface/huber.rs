//! The objective of the robust fit: Huber's function of ln law - ln loss, with exact derivatives, eight
//! cells of a table at a time.
//!
//! A cell is a point (N, D) of the design, and the law is the same for all its runs. So a table of many
//! settings at few points costs little more than its points.

use std::ops::Range;

use multiversion::multiversion;

use crate::fit::data::sample::Sample;
use crate::fit::numeric::lanes::{LANES, Lanes, exp, ln};
use crate::fit::numeric::newton::{self, Derivatives, Matrix, Objective, P, Vector};

/// Huber's function and its derivative.
#[expect(clippy::inline_always, reason = "must take the instruction set of the caller")]
#[inline(always)]
pub(in crate::fit) fn huber(r: f64, delta: f64) -> (f64, f64) {
    let clipped = r.clamp(-delta, delta);
    (clipped * (r - 0.5 * clipped), clipped)
}

/// Eight cells of a sample ([`Sample::cells`]): the law is the same for every run of a cell.
pub(in crate::fit) struct Cells {
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

impl Cells {
    /// The cells of a sample, the last eight filled up with cells that have no run.
    pub(in crate::fit) fn of(sample: &Sample) -> Vec<Self> {
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
            Self { x, y, runs }
        };
        sample.cells().chunks(LANES).map(eight).collect()
    }
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

/// The objective over all cells, as [`newton::minimise`] takes it.
pub(in crate::fit) struct Huber<'a> {
    cells: &'a [Cells],
    delta: f64,
    at: Vector,
    terms: Vec<Terms>,
}

impl<'a> Huber<'a> {
    pub(in crate::fit) fn over(cells: &'a [Cells], delta: f64) -> Self {
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
pub(in crate::fit) fn gauss_newton(sample: &Sample, v: &Vector) -> Matrix {
    let [a, alpha, b, beta, e] = *v;
    newton::gram(sample.cells().into_iter().map(|cell| {
        let (x, y) = (sample.x[cell.start], sample.y[cell.start]);
        let (size, data, floor) = (exp(a - alpha * x), exp(b - beta * y), exp(e));
        let one = 1.0 / (size + data + floor);
        let (p, q, c) = (size * one, data * one, floor * one);
        (sample.weight[cell].iter().sum(), [p, -p * x, q, -q * y, c])
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::data::sample::tests::study;
    use crate::points::Point;

    /// Central differences of the value and of the gradient, at a point that is not the optimum.
    #[test]
    fn derivatives_are_the_difference_quotients() {
        let points = study(&[1e17, 3e19, 1e22], 6, 4.0, 0.01, 2);
        let weight: Vec<f64> = (0..points.len()).map(|i| (i % 4) as f64).collect();
        let sample = Sample::new(&points).reweighted(&weight);
        let at = [-0.7, 0.4, -0.2, 0.35, 0.5];
        // A delta in the thick of the residuals exercises both branches.
        let cells = Cells::of(&sample);
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

    /// Oracle: the same runs in an order in which none of a cell are neighbours.
    #[test]
    fn runs_of_one_cell_count_as_each_alone() {
        let mut points = study(&[1e17, 3e18, 1e20], 5, 4.0, 0.02, 3);
        // The first cell has 15 runs, the second 14, the last 1: eight cells of unlike counts.
        points.sort_by(|l, r| (l.flops, l.params).partial_cmp(&(r.flops, r.params)).unwrap());
        let (mut together, mut apart) = (Vec::new(), Vec::new());
        for (i, p) in points.iter().enumerate() {
            let seed = |k: usize| p.loss * (1.0 + 0.03 * ((7 * i + k) as f64).sin());
            together.extend((0..15 - i).map(|k| Point { loss: seed(k), ..p.clone() }));
        }
        for k in 0..15 {
            let seed = |i: usize| together.get((0..i).map(|j| 15 - j).sum::<usize>() + k).cloned();
            apart.extend((0..15 - k).filter_map(seed));
        }
        let at: Vector = [-0.7, 0.4, -0.2, 0.35, 0.5];
        let weigh = |p: &Point| if p.loss > 3.0 { 2.0 } else { 1.0 };
        let of = |points: &[Point], cells: usize| {
            let weight: Vec<f64> = points.iter().map(weigh).collect();
            let sample = Sample::new(points).reweighted(&weight);
            assert_eq!(sample.cells().len(), cells);
            let cells = Cells::of(&sample);
            let mut huber = Huber::over(&cells, 0.05);
            (huber.value(&at), huber.derivatives(), gauss_newton(&sample, &at))
        };
        let (got, want) = (of(&together, 15), of(&apart, 120));
        let near = |got: f64, want: f64| (got - want).abs() < 1e-12 * (1.0 + want.abs());
        // And by the definition, one run at a time.
        let (sample, [a, alpha, b, beta, e]) = (Sample::new(&apart), at);
        let plain = |i: usize| {
            let size = (a - alpha * sample.x[i]).exp();
            let law = size + (b - beta * sample.y[i]).exp() + e.exp();
            weigh(&apart[i]) * huber(law.ln() - sample.log_loss[i], 0.05).0
        };
        let plain: f64 = (0..120).map(plain).sum();
        assert!(near(got.0, plain) && near(want.0, plain), "{} {} {plain}", got.0, want.0);
        for j in 0..P {
            assert!(near(got.1.gradient[j], want.1.gradient[j]));
            assert!(near(got.1.scale[j], want.1.scale[j]));
            for k in 0..P {
                assert!(near(got.1.hessian[j][k], want.1.hessian[j][k]), "{j} {k}");
                assert!(near(got.2[j][k], want.2[j][k]), "{j} {k}");
            }
        }
    }

    #[test]
    fn huber_is_smooth_where_it_turns() {
        let (d, eps) = (1e-3, 1e-12);
        let (inside, outside) = (huber(d - eps, d), huber(d + eps, d));
        assert!((inside.0 - outside.0).abs() < 1e-14 && (inside.1 - outside.1).abs() < 1e-11);
        assert_eq!(huber(-0.5, d), (d * (0.5 - 0.5 * d), -d));
    }
}
