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

use crate::fit::data::sample::{
    MAX_EXPONENT, MIN_EXPONENT, Mean, Means, Sample, SurfaceFit, scaled, surface_of,
};
use crate::fit::numeric::dual::Number as _;
use crate::fit::numeric::lanes::{LANES, Lanes, exp};
use crate::fit::numeric::newton::{self, Derivatives, Matrix, Minimum, Objective, P, Vector};
use crate::fit::result::Surface;
use crate::fit::surface::grid::Grid;

/// Nodes of the grid along each exponent; spaced by a factor of about 1.15 from 0.02 to 3.
const NODES: usize = 36;

/// The same for a refit, by a factor of about 1.75.
const COARSE: usize = 10;

/// Best nodes, apart from the local minima of the grid, that are polished in a full fit.
const POLISHED: usize = 16;

/// Fits from the local minima of the grid and its best nodes.
pub(in crate::fit) fn fit(sample: &Sample) -> SurfaceFit {
    let means = sample.means();
    let grid = Grid::over(&means, NODES, sample.pins);
    let mut starts = grid.local_minima();
    // Far starts, to see whether there is another basin.
    starts.extend(grid.every(8));
    starts.extend(grid.best(POLISHED));
    let minima: Vec<Minimum> =
        starts.par_iter().map(|s| descend(sample, &means, *s, None)).collect();
    summarise(sample, &minima)
}

/// Fits from a coarse grid's best node and from `from`: a bootstrap's refit.
pub(in crate::fit) fn refit(sample: &Sample, from: &Surface) -> SurfaceFit {
    let means = sample.means();
    let warm = [
        scaled(from.a, from.alpha, sample.mean_x),
        from.alpha,
        scaled(from.b, from.beta, sample.mean_y),
        from.beta,
        from.e,
    ];
    let mut minima = vec![descend(sample, &means, warm, None)];
    for start in Grid::over(&means, COARSE, sample.pins).best(1) {
        minima.push(descend(sample, &means, start, minima.first()));
    }
    summarise(sample, &minima)
}

fn descend(sample: &Sample, means: &Means, start: Vector, known: Option<&Minimum>) -> Minimum {
    let (_, most) = sample.loss_range();
    let top = 1e3 * most;
    let mut lower = [0.0, MIN_EXPONENT, 0.0, MIN_EXPONENT, 0.0];
    let mut upper = [top, MAX_EXPONENT, top, MAX_EXPONENT, top];
    sample.hold(&mut lower, &mut upper, |e| e);
    let floor = 1e-30 * sample.len() as f64;
    newton::minimise(&mut Squares::over(means), start, &lower, &upper, floor, known)
}

/// What eight cells need to remember of a value for its derivatives.
#[derive(Clone, Default)]
struct Terms {
    /// N^-alpha and D^-beta.
    size: Lanes,
    data: Lanes,
    /// Fitted less mean loss.
    residual: Lanes,
}

/// The sum of squares over the runs of a sample: that about the cells' means, and that within cells.
struct Squares<'a> {
    means: &'a Means,
    at: Vector,
    terms: Vec<Terms>,
}

impl<'a> Squares<'a> {
    fn over(means: &'a Means) -> Self {
        Self { means, at: [0.0; P], terms: vec![Terms::default(); means.eights.len()] }
    }
}

impl Objective for Squares<'_> {
    fn value(&mut self, v: &Vector) -> f64 {
        self.at = *v;
        value(&self.means.eights, v, &mut self.terms) + self.means.within
    }

    fn derivatives(&mut self) -> Derivatives {
        derivatives(&self.means.eights, &self.at, &self.terms)
    }
}

/// Half the sum of squares would save the twos; the sum itself is what the papers print.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn value(means: &[Mean], v: &Vector, terms: &mut [Terms]) -> f64 {
    let [a, alpha, b, beta, e] = *v;
    let mut sum = Lanes::default();
    for (mean, terms) in means.iter().zip(terms) {
        for l in 0..LANES {
            let (size, data) = (exp(-alpha * mean.x[l]), exp(-beta * mean.y[l]));
            let r = e + a * size + b * data - mean.loss[l];
            sum[l] += mean.weight[l] * r * r;
            terms.size[l] = size;
            terms.data[l] = data;
            terms.residual[l] = r;
        }
    }
    sum.total()
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn derivatives(means: &[Mean], v: &Vector, terms: &[Terms]) -> Derivatives {
    let [a, _, b, ..] = *v;
    let mut gradient = [Lanes::default(); P];
    let mut hessian = [[Lanes::default(); P]; P];
    let mut scale = [Lanes::default(); P];
    for (Mean { x, y, weight, .. }, terms) in means.iter().zip(terms) {
        let (x, y, weight) = (*x, *y, *weight);
        let (size_x, data_y) = (terms.size * x, terms.data * y);
        let g = [terms.size, -a * size_x, terms.data, -b * data_y, Lanes::constant(1.0)];
        let wr = weight * terms.residual;
        for j in 0..P {
            gradient[j] += wr * g[j];
            let wg = weight * g[j];
            scale[j] += wg * g[j];
            for k in 0..=j {
                hessian[j][k] += wg * g[k];
            }
        }
        hessian[1][0] += wr * (-1.0 * size_x);
        hessian[1][1] += wr * (a * (size_x * x));
        hessian[3][2] += wr * (-1.0 * data_y);
        hessian[3][3] += wr * (b * (data_y * y));
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
    newton::gram(sample.cells().into_iter().map(|cell| {
        let (x, y) = (sample.x[cell.start], sample.y[cell.start]);
        let (size, data) = (exp(-alpha * x), exp(-beta * y));
        (sample.weight[cell].iter().sum(), [size, -a * size * x, data, -b * data * y, 1.0])
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
        surface: surface_of(&v, sample.mean_x, sample.mean_y).pinned(&sample.pins),
        objective: best.value,
        gradient: best.gradient,
        condition: newton::condition(&gauss_newton(sample, &v), held),
        iterations: best.iterations,
        starts: minima.len(),
        starts_at_best: finite().filter(|m| m.value <= reach).count(),
        at_bound: sample.at_bound(bound),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::data::sample::tests::{TRUTH, study};

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

    #[test]
    fn derivatives_are_the_difference_quotients() {
        let sample = Sample::new(&study(&[1e18, 1e19, 1e20], 6, 4.0, 0.01, 2));
        let at = [0.6, 0.4, 0.9, 0.35, 1.5];
        let means = sample.means();
        let local = |v: &Vector| {
            let mut squares = Squares::over(&means);
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

    /// Oracle: the same runs in an order in which none of a cell are neighbours.
    #[test]
    fn runs_of_one_cell_count_as_each_alone() {
        let seeds = [1, 2, 3].map(|seed| study(&[1e18, 1e19, 1e20], 6, 4.0, 0.02, seed));
        let apart = Sample::new(&seeds.concat());
        let together: Vec<_> =
            (0..18).flat_map(|i| seeds.iter().map(move |s| s[i].clone())).collect();
        let together = Sample::new(&together);
        assert_eq!((apart.cells().len(), together.cells().len()), (54, 18));
        let (got, want) = (fit(&together), fit(&apart));
        assert!((got.objective / want.objective - 1.0).abs() < 1e-12, "{got:?} {want:?}");
        assert!((got.condition / want.condition - 1.0).abs() < 1e-7, "{got:?} {want:?}");
        let (s, t) = (got.surface, want.surface);
        for (got, want) in
            [(s.a, t.a), (s.b, t.b), (s.e, t.e), (s.alpha, t.alpha), (s.beta, t.beta)]
        {
            assert!((got / want - 1.0).abs() < 1e-8, "{s:?} {t:?}");
        }
        assert!((got.starts_at_best, got.starts) == (want.starts_at_best, want.starts));
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
