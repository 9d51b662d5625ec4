//! Variable projection: the Chinchilla law fitted by least squares in the loss itself.
//!
//! Minimises sum (E + A N^-alpha + B D^-beta - L)^2. For fixed exponents that is linear in (E, A, B)
//! and solved under E, A, B >= 0, which leaves a search over two numbers (Golub & Pereyra 1973,
//! doi:10.1137/0710036; for scaling laws arXiv:2603.22339, section 3). A grid over the exponents finds
//! the basins; Newton steps in all five parameters take the best nodes to full precision.
//!
//! DIFFERENCE: the paper ends with Nelder-Mead or L-BFGS-B on the projected objective; here it is
//! Newton's method on the whole one, which has the same minimum and ten more digits.

use multiversion::multiversion;
use rayon::prelude::*;

use crate::fit::lanes::{LANES, Lanes, exp};
use crate::fit::newton::{self, Derivatives, Matrix, Minimum, Objective, P, Vector};
use crate::fit::result::Surface;
use crate::fit::sample::{
    MAX_EXPONENT, MIN_EXPONENT, NAMES, Sample, SurfaceFit, scaled, surface_of,
};

/// Nodes of the grid along each exponent; spaced by a factor of about 1.15 from 0.02 to 3.
const NODES: usize = 36;

/// Best nodes, apart from the local minima of the grid, that are polished in a full fit.
const POLISHED: usize = 16;

/// Fits from the local minima of the grid and its best nodes.
pub(super) fn fit(sample: &Sample) -> SurfaceFit {
    let grid = Grid::over(sample, NODES);
    let mut starts = grid.local_minima();
    // Every fourth node in each direction: far starts, to see whether there is another basin.
    for i in (1..NODES).step_by(8) {
        for j in (1..NODES).step_by(8) {
            starts.push(grid.node(i, j));
        }
    }
    let mut by_value: Vec<usize> = (0..grid.cells.len()).collect();
    by_value.sort_by(|l, r| grid.cells[*l].0.total_cmp(&grid.cells[*r].0).then(l.cmp(r)));
    starts.extend(by_value.iter().take(POLISHED).map(|k| grid.node(k / NODES, k % NODES)));
    let runs = runs_of(sample);
    let minima: Vec<Minimum> = starts.par_iter().map(|s| descend(sample, &runs, *s)).collect();
    summarise(sample, &minima)
}

/// Fits from a coarse grid's best node and from `from`: a bootstrap's refit.
pub(super) fn refit(sample: &Sample, from: &Surface) -> SurfaceFit {
    let grid = Grid::over(sample, 16);
    let best = (0..grid.cells.len())
        .min_by(|l, r| grid.cells[*l].0.total_cmp(&grid.cells[*r].0))
        .map_or([0.0; P], |k| grid.node(k / 16, k % 16));
    let warm = [
        scaled(from.a, from.alpha, sample.mean_x),
        from.alpha,
        scaled(from.b, from.beta, sample.mean_y),
        from.beta,
        from.e,
    ];
    let runs = runs_of(sample);
    summarise(sample, &[warm, best].map(|start| descend(sample, &runs, start)))
}

/// The projected objective on a grid of exponents.
struct Grid {
    exponents: Vec<f64>,
    /// (residual sum of squares, [E, A, B]) for alpha major, beta minor.
    cells: Vec<(f64, [f64; 3])>,
}

impl Grid {
    fn over(sample: &Sample, nodes: usize) -> Self {
        let exponents: Vec<f64> =
            (0..nodes).map(|i| 0.02 * (150.0_f64).powf(i as f64 / (nodes - 1) as f64)).collect();
        let columns = |v: &[f64]| -> Vec<Vec<f64>> {
            exponents.iter().map(|k| v.iter().map(|x| (-k * x).exp()).collect()).collect()
        };
        let (sizes, data) = (columns(&sample.x), columns(&sample.y));
        let w = &sample.weight;
        let moment = |u: &[f64], v: &[f64]| -> f64 {
            u.iter().zip(v).zip(w).map(|((u, v), w)| u * v * w).sum()
        };
        let ones = vec![1.0; sample.len()];
        let loss = &sample.loss;
        // Sums that one exponent alone decides are taken once, not once for each node.
        let alone = |v: &[Vec<f64>]| -> Vec<[f64; 3]> {
            v.iter().map(|c| [moment(c, &ones), moment(c, c), moment(c, loss)]).collect()
        };
        let (by_size, by_data) = (alone(&sizes), alone(&data));
        let (n, l, ll) = (moment(&ones, &ones), moment(&ones, loss), moment(loss, loss));
        let mut cells = Vec::with_capacity(nodes * nodes);
        for (u, s) in sizes.iter().zip(&by_size) {
            for (v, d) in data.iter().zip(&by_data) {
                let uv = moment(u, v);
                let gram = [[n, s[0], d[0]], [s[0], s[1], uv], [d[0], uv, d[1]]];
                cells.push(nonnegative(&gram, &[l, s[2], d[2]], ll));
            }
        }
        Self { exponents, cells }
    }

    fn node(&self, i: usize, j: usize) -> Vector {
        let (_, [e, a, b]) = self.cells[i * self.exponents.len() + j];
        [a, self.exponents[i], b, self.exponents[j], e]
    }

    fn local_minima(&self) -> Vec<Vector> {
        let n = self.exponents.len();
        let at = |i: usize, j: usize| self.cells[i * n + j].0;
        let mut found = Vec::new();
        for i in 0..n {
            for j in 0..n {
                let near = |v: usize| v.saturating_sub(1)..=(v + 1).min(n - 1);
                if near(i).all(|p| near(j).all(|q| at(i, j) <= at(p, q))) {
                    found.push(self.node(i, j));
                }
            }
        }
        found
    }
}

/// Least squares in three unknowns, none below zero, from the normal equations: the best of the seven
/// subsets of unknowns whose plain solution is not negative (exact for three). Returns the residual
/// sum of squares and the unknowns.
fn nonnegative(gram: &[[f64; 3]; 3], rhs: &[f64; 3], ll: f64) -> (f64, [f64; 3]) {
    let mut best = (ll, [0.0; 3]);
    for subset in 1_u8..8 {
        let free: Vec<usize> = (0..3).filter(|i| subset >> i & 1 == 1).collect();
        let Some(x) = solve(gram, rhs, &free) else { continue };
        if x.iter().any(|v| *v < 0.0) {
            continue;
        }
        let explained: f64 = (0..3).map(|i| x[i] * rhs[i]).sum();
        let rss = ll - explained;
        if rss < best.0 {
            best = (rss, x);
        }
    }
    best
}

/// Solves the normal equations of the `free` unknowns by Cholesky, the rest being zero.
fn solve(gram: &[[f64; 3]; 3], rhs: &[f64; 3], free: &[usize]) -> Option<[f64; 3]> {
    let n = free.len();
    let mut l = [[0.0; 3]; 3];
    let mut z = [0.0; 3];
    for i in 0..n {
        for j in 0..=i {
            let s = gram[free[i]][free[j]] - (0..j).map(|k| l[i][k] * l[j][k]).sum::<f64>();
            if i == j {
                if s <= 1e-13 * gram[free[i]][free[i]] {
                    return None;
                }
                l[i][i] = s.sqrt();
            } else {
                l[i][j] = s / l[j][j];
            }
        }
        z[i] = (rhs[free[i]] - (0..i).map(|k| l[i][k] * z[k]).sum::<f64>()) / l[i][i];
    }
    let mut x = [0.0; 3];
    for i in (0..n).rev() {
        x[free[i]] = (z[i] - (i + 1..n).map(|k| l[k][i] * x[free[k]]).sum::<f64>()) / l[i][i];
    }
    Some(x)
}

fn descend(sample: &Sample, runs: &[Runs], start: Vector) -> Minimum {
    let (_, most) = sample.loss_range();
    let top = 1e3 * most;
    newton::minimise(
        &mut Squares::over(runs),
        start,
        &[0.0, MIN_EXPONENT, 0.0, MIN_EXPONENT, 0.0],
        &[top, MAX_EXPONENT, top, MAX_EXPONENT, top],
        1e-30 * sample.len() as f64,
    )
}

/// Eight runs.
struct Runs {
    x: Lanes,
    y: Lanes,
    loss: Lanes,
    /// 0 where there is no run.
    weight: Lanes,
}

/// What eight runs need to remember of a value for its derivatives.
#[derive(Clone, Default)]
struct Terms {
    /// N^-alpha and D^-beta.
    size: Lanes,
    data: Lanes,
    /// Fitted less measured loss.
    residual: Lanes,
}

/// The sum of squares over the runs of a sample.
struct Squares<'a> {
    runs: &'a [Runs],
    at: Vector,
    terms: Vec<Terms>,
}

fn runs_of(sample: &Sample) -> Vec<Runs> {
    let columns = Lanes::of(&sample.x, 0.0).zip(Lanes::of(&sample.y, 0.0));
    columns
        .zip(Lanes::of(&sample.loss, 0.0))
        .zip(Lanes::of(&sample.weight, 0.0))
        .map(|(((x, y), loss), weight)| Runs { x, y, loss, weight })
        .collect()
}

impl<'a> Squares<'a> {
    fn over(runs: &'a [Runs]) -> Self {
        Self { runs, at: [0.0; P], terms: vec![Terms::default(); runs.len()] }
    }
}

impl Objective for Squares<'_> {
    fn value(&mut self, v: &Vector) -> f64 {
        self.at = *v;
        value(self.runs, v, &mut self.terms)
    }

    fn derivatives(&mut self) -> Derivatives {
        derivatives(self.runs, &self.at, &self.terms)
    }
}

/// Half the sum of squares would save the twos; the sum itself is what the papers print.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn value(runs: &[Runs], v: &Vector, terms: &mut [Terms]) -> f64 {
    let [a, alpha, b, beta, e] = *v;
    let mut sum = Lanes::default();
    for (runs, terms) in runs.iter().zip(terms) {
        for l in 0..LANES {
            let (size, data) = (exp(-alpha * runs.x[l]), exp(-beta * runs.y[l]));
            let r = e + a * size + b * data - runs.loss[l];
            sum[l] += runs.weight[l] * r * r;
            terms.size[l] = size;
            terms.data[l] = data;
            terms.residual[l] = r;
        }
    }
    sum.total()
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn derivatives(runs: &[Runs], v: &Vector, terms: &[Terms]) -> Derivatives {
    let [a, _, b, ..] = *v;
    let mut gradient = [Lanes::default(); P];
    let mut hessian = [[Lanes::default(); P]; P];
    let mut scale = [Lanes::default(); P];
    for (runs, terms) in runs.iter().zip(terms) {
        let (size_x, data_y) = (terms.size * runs.x, terms.data * runs.y);
        let g = [terms.size, -a * size_x, terms.data, -b * data_y, Lanes::all(1.0)];
        let wr = runs.weight * terms.residual;
        for j in 0..P {
            gradient[j] += wr * g[j];
            let wg = runs.weight * g[j];
            scale[j] += wg * g[j];
            for k in 0..=j {
                hessian[j][k] += wg * g[k];
            }
        }
        hessian[1][0] += wr * (-1.0 * size_x);
        hessian[1][1] += wr * (a * (size_x * runs.x));
        hessian[3][2] += wr * (-1.0 * data_y);
        hessian[3][3] += wr * (b * (data_y * runs.y));
    }
    Derivatives {
        gradient: gradient.map(|g| 2.0 * g.total()),
        hessian: std::array::from_fn(|j| {
            std::array::from_fn(|k| 2.0 * hessian[j.max(k)][j.min(k)].total())
        }),
        scale: scale.map(Lanes::total),
    }
}

/// J'J of the law in the parameters.
fn gauss_newton(sample: &Sample, v: &Vector) -> Matrix {
    let [a, alpha, b, beta, _] = *v;
    newton::gram((0..sample.len()).map(|i| {
        let (x, y) = (sample.x[i], sample.y[i]);
        let (size, data) = (exp(-alpha * x), exp(-beta * y));
        (sample.weight[i], [size, -a * size * x, data, -b * data * y, 1.0])
    }))
}

fn summarise(sample: &Sample, minima: &[Minimum]) -> SurfaceFit {
    let finite = || minima.iter().filter(|m| m.value.is_finite());
    let Some(best) = finite().min_by(|l, r| l.value.total_cmp(&r.value)) else {
        return SurfaceFit::none(minima.len());
    };
    let reach = best.value * (1.0 + 1e-6) + 1e-20 * sample.len() as f64;
    let (least, _) = sample.loss_range();
    let v = best.at;
    let at_end = |k: f64| k <= MIN_EXPONENT || k >= MAX_EXPONENT;
    let gone = |term: f64| term <= 1e-6 * least;
    let bound = [gone(v[0]), at_end(v[1]), gone(v[2]), at_end(v[3]), gone(v[4])];
    let held: [bool; P] = std::array::from_fn(|i| best.held[i] || bound[i]);
    SurfaceFit {
        surface: surface_of(&v, sample.mean_x, sample.mean_y),
        objective: best.value,
        gradient: best.gradient,
        condition: newton::condition(&gauss_newton(sample, &v), held),
        iterations: best.iterations,
        starts: minima.len(),
        starts_at_best: finite().filter(|m| m.value <= reach).count(),
        at_bound: NAMES.iter().zip(bound).filter(|(_, b)| *b).map(|(n, _)| (*n).into()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::sample::tests::{TRUTH, study};

    /// The exact law comes back to eight digits. Oracle: the constants the losses were made with.
    #[test]
    fn noise_free_runs_give_back_the_law() {
        let budgets: Vec<f64> =
            (0..8).map(|i| 1e17 * 10.0_f64.powf(5.0 * f64::from(i) / 7.0)).collect();
        let s = fit(&Sample::new(&study(&budgets, 16, 8.0, 0.0, 1))).surface;
        assert!(
            (s.alpha - TRUTH.alpha).abs() < 1e-8 && (s.beta - TRUTH.beta).abs() < 1e-8,
            "{s:?}"
        );
        assert!((s.a / TRUTH.a - 1.0).abs() < 1e-6 && (s.b / TRUTH.b - 1.0).abs() < 1e-6, "{s:?}");
    }

    /// Small by hand: the unconstrained answer of x + y = 1, x - y = 3, 2z = 2 has y = -1, so y is held
    /// at 0 and x becomes the mean of 1 and 3.
    #[test]
    fn the_inner_problem_keeps_its_signs() {
        let gram = [[2.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 4.0]];
        let (rss, x) = nonnegative(&gram, &[4.0, -2.0, 4.0], 14.0);
        assert!(x[1] == 0.0 && (x[0] - 2.0).abs() < 1e-14 && (x[2] - 1.0).abs() < 1e-14, "{x:?}");
        assert!((rss - 2.0).abs() < 1e-13, "{rss}");
    }

    #[test]
    fn derivatives_are_the_difference_quotients() {
        let sample = Sample::new(&study(&[1e18, 1e19, 1e20], 6, 4.0, 0.01, 2));
        let at = [0.6, 0.4, 0.9, 0.35, 1.5];
        let runs = runs_of(&sample);
        let local = |v: &Vector| {
            let mut squares = Squares::over(&runs);
            (squares.value(v), squares.derivatives())
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
            assert!((slope - here.gradient[j]).abs() < 1e-6 * (1.0 + slope.abs()), "{j}");
            for k in 0..P {
                let curve = (up.gradient[k] - down.gradient[k]) / (2.0 * h);
                assert!((curve - here.hessian[j][k]).abs() < 1e-5 * (1.0 + curve.abs()), "{j} {k}");
            }
        }
    }

    #[test]
    fn a_law_without_a_size_term_says_so() {
        let mut points = study(&[1e17, 1e18, 1e19, 1e20], 7, 4.0, 0.0, 4);
        for p in &mut points {
            p.loss = 1.7 + 400.0 * p.tokens.powf(-0.28) + 0.02 * p.params.ln();
        }
        let fit = fit(&Sample::new(&points));
        assert!(fit.at_bound.iter().any(|n| n == "A" || n == "alpha"), "{fit:?}");
        assert!(!fit.has_frontier());
    }
}
