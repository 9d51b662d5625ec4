//! Nonlinear least squares for any law: at most ten parameters, in a box.
//!
//! Minimises sum w_i r_i(theta)^2 by Levenberg-Marquardt steps (Moré 1978, doi:10.1007/BFb0067700) with
//! exact derivatives (`dual`), a QR factorisation (`qr`) and geodesic acceleration. The stopping rule is free of scale: it
//! compares the decrease that the linear model still promises with the sum of squares itself (the
//! relative offset of Bates & Watts 1981, doi:10.1080/00401706.1981.10487650), so it cannot stop early
//! because residuals are small, and then plain Gauss-Newton steps take the parameters from half to full
//! precision.
//!
//! Limits: finds the minimum of the basin it starts in; [`best`] tries several starts and says how many
//! of them agree. Standard deviations are those of the linear model at the optimum.

use std::cmp::Ordering::{Equal, Less};

use rayon::prelude::*;

use crate::fit::numeric::dual::{Dual, MAX};
use crate::fit::numeric::qr::{self, Factor, Matrix, Vector};

/// What is to be made small: the residuals of all rows as functions of the parameters.
pub trait Residuals {
    /// Rows.
    fn rows(&self) -> usize;

    /// How much the square of this row counts, 0 or more [-].
    fn weight(&self, _row: usize) -> f64 {
        1.0
    }

    /// Residual of every row at `theta`. Not finite where the law has no value.
    fn residuals(&self, theta: &[f64]) -> Vec<f64>;

    /// The same, and their derivatives, one column for each parameter.
    fn slopes(&self, theta: &[f64]) -> (Vec<f64>, Vec<Vec<f64>>);

    /// A sum of squares below which nothing but rounding is left.
    fn floor(&self) -> f64 {
        1e-30 * self.rows() as f64
    }
}

/// [`Residuals`] that are written one row at a time.
pub trait ByRow {
    /// Rows.
    fn rows(&self) -> usize;

    /// How much the square of this row counts, 0 or more [-].
    fn weight(&self, _row: usize) -> f64 {
        1.0
    }

    /// Residual of a row at `theta`. Not finite where the law has no value.
    fn residual(&self, row: usize, theta: &[f64]) -> f64;

    /// The same with its gradient.
    fn gradient(&self, row: usize, theta: &[Dual]) -> Dual;

    /// A sum of squares below which nothing but rounding is left.
    fn floor(&self) -> f64 {
        1e-30 * self.rows() as f64
    }
}

impl<T: ByRow> Residuals for T {
    fn rows(&self) -> usize {
        ByRow::rows(self)
    }

    fn weight(&self, row: usize) -> f64 {
        ByRow::weight(self, row)
    }

    fn floor(&self) -> f64 {
        ByRow::floor(self)
    }

    fn residuals(&self, theta: &[f64]) -> Vec<f64> {
        (0..ByRow::rows(self)).map(|row| self.residual(row, theta)).collect()
    }

    fn slopes(&self, theta: &[f64]) -> (Vec<f64>, Vec<Vec<f64>>) {
        let duals = Dual::parameters(theta);
        let mut columns = vec![vec![0.0; ByRow::rows(self)]; theta.len()];
        let residual = |row: usize| {
            let there = self.gradient(row, &duals[..theta.len()]);
            for (column, slope) in columns.iter_mut().zip(there.gradient) {
                column[row] = slope;
            }
            there.value
        };
        ((0..ByRow::rows(self)).map(residual).collect(), columns)
    }
}

/// Where the parameters may lie: (least, most) of each.
pub type Bounds = [(f64, f64)];

/// Where a descent ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Solution {
    /// Parameters.
    pub theta: Vec<f64>,
    /// Weighted residual sum of squares.
    pub rss: f64,
    /// sqrt(promised decrease / sum of squares) over the free parameters: the scale-free gradient
    /// norm [-].
    pub gradient: f64,
    /// Steps tried.
    pub iterations: usize,
    /// Condition number of J'J over the free parameters, its columns scaled to unit length [-]. Where
    /// it nears 1e15 more than half of the digits of the parameters are gone, near 1e30 all of them.
    pub condition: f64,
    /// Parameters that a bound holds.
    pub held: Vec<bool>,
    /// Covariance s^2 (J'J)^-1 of the free parameters with s^2 = rss / (rows - free), zero for the
    /// others. Nothing when the rows do not determine the free parameters and their scatter.
    pub covariance: Option<[[f64; MAX]; MAX]>,
    /// Starts tried.
    pub starts: usize,
    /// How many of them ended at this sum of squares, to 1e-6 relative.
    pub starts_at_best: usize,
}

impl Solution {
    /// Standard deviation of each parameter, 0 for one that a bound holds.
    pub fn deviations(&self) -> Option<Vec<f64>> {
        let covariance = self.covariance.as_ref()?;
        Some((0..self.theta.len()).map(|i| covariance[i][i].sqrt()).collect())
    }
}

/// Steps tried before a descent gives up. A far start into a curved valley may take hundreds.
const MAX_ITERATIONS: usize = 2000;

/// Steps of a descent before the higher half of the places is given up: with ten the minimum found is the lowest
/// known on each of the reference tables.
const SCREENED: usize = 10;

/// Places whose parameters all agree to this are one place [-].
const APART: f64 = 1e-3;

/// What a step may still promise near a minimum, in squares of standard deviations of a parameter [-].
const NEAR: f64 = 1e-4;

/// Gauss-Newton steps that take a solution from half to full precision.
const POLISH: usize = 30;

/// How much of the scale of a parameter is kept from one step to the next [-]. With all of it (Moré)
/// the way back from far away takes thousands of steps, with none of it plateaus swallow the descent;
/// anything from 0.5 to 0.95 solves all of NIST's sets.
const MEMORY: f64 = 0.5;

/// Where along the step the second derivative is probed, and how long the correction may be: the values
/// of Transtrum & Sethna 2012, section 3 [-].
const PROBE: f64 = 0.1;
const BEND: f64 = 0.75;

/// A sum of squares up to this many floors is an exact fit: digits of it mean nothing.
const EXACT: f64 = 1e10;

/// The best of the minima that descents from `starts` reach, by the sum of squares at the start: only
/// the `keep` best starts are followed. Nothing when no start has a finite sum of squares.
///
/// `starts` of the solution counts those followed.
pub fn best(
    problem: &impl Residuals,
    starts: &[Vec<f64>],
    keep: usize,
    bounds: &Bounds,
) -> Option<Solution> {
    let mut order: Vec<(f64, usize)> = starts
        .iter()
        .enumerate()
        .map(|(i, start)| (value(problem, &clamp(start, bounds)), i))
        .filter(|(rss, _)| rss.is_finite())
        .collect();
    order.sort_by(|l, r| l.0.total_cmp(&r.0).then(l.1.cmp(&r.1)));
    order.truncate(keep);
    let found: Vec<Solution> =
        order.iter().filter_map(|(_, i)| minimise(problem, &starts[*i], bounds)).collect();
    Some(Solution { starts: order.len(), ..lowest(problem, &found)? })
}

/// The lowest of `found`, and how many of them are as low.
fn lowest(problem: &impl Residuals, found: &[Solution]) -> Option<Solution> {
    let lead = found.iter().min_by(|l, r| l.rss.total_cmp(&r.rss))?;
    let reach = lead.rss * (1.0 + 1e-6) + EXACT * problem.floor();
    let starts_at_best = found.iter().filter(|s| s.rss <= reach).count();
    Some(Solution { starts: found.len(), starts_at_best, ..lead.clone() })
}

/// The same for a sum of squares with several minima, where its value at a start says little of the minimum
/// below. Every start is descended a little way and the lower half of the places reached goes on, until
/// `keep` are left, which are followed to the end (successive halving). Places that come together are one,
/// so that the certificate does not count one descent many times.
///
/// `starts` of the solution counts the places followed to the end.
pub fn search(
    problem: &(impl Residuals + Sync),
    starts: &[Vec<f64>],
    keep: usize,
    bounds: &Bounds,
) -> Option<Solution> {
    let mut places = starts.to_vec();
    // Collected in the order of the places, so the number of threads changes nothing.
    let onward = |places: &[Vec<f64>], until: Until| -> Vec<Solution> {
        places.par_iter().filter_map(|p| descend(problem, p, bounds, until)).collect()
    };
    while places.len() > keep {
        let many = keep.max(places.len() / 2);
        let mut reached = onward(&places, Until::Steps(SCREENED));
        reached.sort_by(|l, r| l.rss.total_cmp(&r.rss));
        places.clear();
        for place in reached {
            if places.len() < many && !places.iter().any(|other| at_one_place(other, &place.theta))
            {
                places.push(place.theta);
            }
        }
    }
    lowest(problem, &onward(&places, Until::Minimum))
}

/// Whether two places are one.
fn at_one_place(one: &[f64], other: &[f64]) -> bool {
    one.iter().zip(other).all(|(l, r)| (l - r).abs() <= APART * (1.0 + l.abs()))
}

/// Descends from one start, moved into the box first. Nothing when the sum of squares is not finite
/// there, or when there are no parameters, or more than [`MAX`], or not as many bounds.
pub fn minimise(problem: &impl Residuals, start: &[f64], bounds: &Bounds) -> Option<Solution> {
    descend(problem, start, bounds, Until::Minimum)
}

/// The same to within [`NEAR`] of the minimum: for draws of a bootstrap, which scatter by a hundred times that.
pub fn near(problem: &impl Residuals, start: &[f64], bounds: &Bounds) -> Option<Solution> {
    descend(problem, start, bounds, Until::Near)
}

/// Where a descent may end.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Until {
    /// After so many steps.
    Steps(usize),
    /// At the minimum, to full precision.
    Minimum,
    /// Within [`NEAR`] of it.
    Near,
}

fn descend(
    problem: &impl Residuals,
    start: &[f64],
    bounds: &Bounds,
    until: Until,
) -> Option<Solution> {
    let p = start.len();
    let empty = |(least, most): &(f64, f64)| !matches!(least.partial_cmp(most), Some(Less | Equal));
    if p == 0 || p > MAX || p != bounds.len() || bounds.iter().any(empty) {
        return None;
    }
    let floor = problem.floor();
    let mut at = clamp(start, bounds);
    let mut here = Local::at(problem, &at, bounds)?;
    let mut scale = [0.0; MAX];
    let (mut damping, mut growth) = (1e-3, 2.0);
    let mut polish = 0;
    let mut iterations = 0;
    let most = if let Until::Steps(most) = until { most } else { MAX_ITERATIONS };
    while iterations < most {
        iterations += 1;
        let promised = here.factor.promised();
        if until == Until::Near && promised * problem.rows() as f64 <= NEAR * here.rss {
            break;
        }
        if promised <= 1e-12 * here.rss.max(floor) {
            // The sum of squares can no longer tell better from worse, but the gradient can.
            polish += 1;
            let Some(step) = here.factor.step(&[0.0; MAX]).filter(|_| polish <= POLISH) else {
                break;
            };
            let trial = here.moved(&at, &step, bounds);
            let Some(there) = Local::at(problem, &trial, bounds) else { break };
            let rounding = floor + 2.0 * (here.rss * floor).sqrt();
            let no_worse = there.rss <= here.rss * (1.0 + 1e-12) + rounding;
            if !(no_worse && there.factor.promised() < promised) {
                break;
            }
            (at, here) = (trial, there);
            continue;
        }
        let mut w = [0.0; MAX];
        for (j, i) in here.free.iter().enumerate() {
            // The length of the parameter's column, or of late if that was longer: a parameter that has
            // wandered to where it hardly matters is not let loose at once (after Moré, section 6).
            scale[*i] = f64::max(MEMORY * scale[*i], here.factor.length[j]);
            w[j] = f64::sqrt(damping) * scale[*i];
        }
        let accepted = here.step(problem, &at, &w).and_then(|(first, step)| {
            let trial = here.moved(&at, &step, bounds);
            let gain = here.rss - value(problem, &trial);
            let there = (gain > 0.0).then(|| Local::at(problem, &trial, bounds)).flatten()?;
            // What the linear model promised for its own part of the step.
            let straight = here.moved(&at, &first, bounds);
            let mut moved = [0.0; MAX];
            for (j, i) in here.free.iter().enumerate() {
                moved[j] = straight[*i] - at[*i];
            }
            let model = here.factor.decrease(&moved);
            Some((trial, there, if model > 0.0 { gain / model } else { 0.5 }))
        });
        if let Some((trial, there, ratio)) = accepted {
            // Nielsen's update: Madsen, Nielsen & Tingleff 2004, "Methods for non-linear least squares
            // problems", eq. 2.21.
            damping *= (1.0 - f64::powi(2.0 * ratio - 1.0, 3)).clamp(0.1, 2.0);
            growth = 2.0;
            (at, here) = (trial, there);
        } else {
            damping *= growth;
            growth *= 2.0;
            if damping > 1e20 {
                break;
            }
        }
    }
    Some(here.solution(problem, at, iterations))
}

/// The problem at one point: the sum of squares and its linear model.
struct Local {
    rss: f64,
    /// Minus the residuals, each times the root of its weight.
    minus: Vec<f64>,
    /// Parameters that no bound holds.
    free: Vec<usize>,
    /// The Jacobian in the free parameters, rows weighted likewise, and its factors.
    columns: Vec<Vec<f64>>,
    factor: Factor,
}

impl Local {
    /// Nothing where a residual or a derivative is not finite.
    fn at(problem: &impl Residuals, theta: &[f64], bounds: &Bounds) -> Option<Self> {
        let p = theta.len();
        let (mut minus, mut columns) = problem.slopes(theta);
        for (row, r) in minus.iter_mut().enumerate() {
            let weight = problem.weight(row).sqrt();
            *r *= -weight;
            if weight != 1.0 {
                for column in &mut columns {
                    column[row] *= weight;
                }
            }
        }
        let rss = minus.iter().map(|r| r * r).sum::<f64>();
        let downhill: Vec<f64> =
            columns.iter().map(|c| c.iter().zip(&minus).map(|(c, r)| c * r).sum()).collect();
        if !(rss.is_finite() && downhill.iter().all(|d| d.is_finite())) {
            return None;
        }
        let (mut free, mut kept) = (Vec::with_capacity(p), Vec::with_capacity(p));
        for (i, column) in columns.into_iter().enumerate() {
            let (least, most) = bounds[i];
            let outward = (theta[i] <= least && downhill[i] <= 0.0)
                || (theta[i] >= most && downhill[i] >= 0.0);
            if !outward {
                free.push(i);
                kept.push(column);
            }
        }
        let factor = qr::factor(kept.clone(), &minus);
        factor.promised().is_finite().then_some(Self { rss, minus, free, columns: kept, factor })
    }

    /// The damped step, and the same with its geodesic correction: the path bends as the residuals do,
    /// by half the second-order step (Transtrum & Sethna 2012, arXiv:1201.5885). Nothing where the
    /// correction is not small beside the step, so that the linear model says nothing that far away.
    fn step(&self, problem: &impl Residuals, at: &[f64], w: &Vector) -> Option<(Vector, Vector)> {
        let first = self.factor.step(w)?;
        // The differences below would be rounding noise.
        if self.rss <= 1e6 * problem.floor() {
            return Some((first, first));
        }
        let mut ahead = at.to_vec();
        for (j, i) in self.free.iter().enumerate() {
            ahead[*i] += PROBE * first[j];
        }
        let mut slope = vec![0.0; problem.rows()];
        for (column, step) in self.columns.iter().zip(first) {
            slope.iter_mut().zip(column).for_each(|(slope, c)| *slope += c * step);
        }
        let bend = problem.residuals(&ahead).into_iter().enumerate().map(|(row, there)| {
            let there = problem.weight(row).sqrt() * there;
            -2.0 / PROBE * ((there + self.minus[row]) / PROBE - slope[row])
        });
        let bend = bend.collect();
        let second = self.factor.step_against(w, bend)?;
        let length = |s: &Vector| s.iter().zip(w).map(|(s, w)| (w * s).powi(2)).sum::<f64>().sqrt();
        let bent = std::array::from_fn(|j| first[j] + 0.5 * second[j]);
        (2.0 * length(&second) <= BEND * length(&first)).then_some((first, bent))
    }

    /// `at` moved by a step of the free parameters, and back into the box.
    fn moved(&self, at: &[f64], step: &Vector, bounds: &Bounds) -> Vec<f64> {
        let mut to = at.to_vec();
        for (j, i) in self.free.iter().enumerate() {
            to[*i] += step[j];
        }
        clamp(&to, bounds)
    }

    fn solution(&self, problem: &impl Residuals, theta: Vec<f64>, iterations: usize) -> Solution {
        let p = theta.len();
        let rows = (0..problem.rows()).filter(|row| problem.weight(*row) > 0.0).count();
        let dof = rows.checked_sub(self.free.len()).filter(|dof| *dof > 0);
        let covariance = self.factor.covariance().zip(dof).map(|(inverse, dof)| {
            let mut covariance: Matrix = [[0.0; MAX]; MAX];
            for (j, &i) in self.free.iter().enumerate() {
                for (l, &k) in self.free.iter().enumerate() {
                    covariance[i][k] = inverse[j][l] * self.rss / dof as f64;
                }
            }
            covariance
        });
        Solution {
            rss: self.rss,
            gradient: (self.factor.promised() / self.rss.max(EXACT * problem.floor())).sqrt(),
            iterations,
            condition: self.factor.condition(),
            held: (0..p).map(|i| !self.free.contains(&i)).collect(),
            covariance,
            starts: 1,
            starts_at_best: 1,
            theta,
        }
    }
}

/// The weighted sum of squares at `theta`; not finite where a residual is not.
pub fn value(problem: &impl Residuals, theta: &[f64]) -> f64 {
    let squares = problem.residuals(theta).into_iter().enumerate();
    squares.map(|(row, r)| problem.weight(row) * r * r).sum()
}

fn clamp(theta: &[f64], bounds: &Bounds) -> Vec<f64> {
    let inside = |(v, (least, most)): (&f64, &(f64, f64))| {
        if v < least {
            *least
        } else if v > most {
            *most
        } else {
            *v
        }
    };
    theta.iter().zip(bounds).map(inside).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::numeric::dual::Number;

    /// y = a exp(b x) + c at eight places, c being a parameter that may be fixed by its bounds.
    struct Decay {
        y: Vec<f64>,
        weight: Vec<f64>,
    }

    fn decay<T: Number>(p: &[T], x: f64) -> T {
        p[0] * (p[1] * x).exp() + p[2]
    }

    impl ByRow for Decay {
        fn rows(&self) -> usize {
            self.y.len()
        }

        fn weight(&self, row: usize) -> f64 {
            self.weight[row]
        }

        fn residual(&self, row: usize, theta: &[f64]) -> f64 {
            decay(theta, row as f64) - self.y[row]
        }

        fn gradient(&self, row: usize, theta: &[Dual]) -> Dual {
            decay(theta, row as f64) - self.y[row]
        }
    }

    const FREE: [(f64, f64); 3] = [(-1e3, 1e3), (-5.0, 5.0), (-1e3, 1e3)];

    fn exact() -> Decay {
        Decay {
            y: (0..8).map(|x| decay(&[3.0, -0.5, 1.0], f64::from(x))).collect(),
            weight: vec![1.0; 8],
        }
    }

    #[test]
    fn an_exact_curve_gives_its_constants_and_a_small_gradient() {
        let found = minimise(&exact(), &[1.0, 0.2, 0.0], &FREE).unwrap();
        for (got, want) in found.theta.iter().zip([3.0, -0.5, 1.0]) {
            assert!((got - want).abs() < 1e-12, "{found:?}");
        }
        assert!(found.gradient < 1e-4 && found.held == [false; 3]);
    }

    /// With c held at 2 the others must be those of the two-parameter problem: the gradient in them is
    /// zero by central differences, and that of c points outward.
    #[test]
    fn a_bound_holds_its_parameter_and_frees_the_others() {
        let problem = exact();
        let box_ = [FREE[0], FREE[1], (2.0, 9.0)];
        let found = minimise(&problem, &[1.0, -0.3, 2.5], &box_).unwrap();
        assert_eq!((found.theta[2], &found.held[..]), (2.0, &[false, false, true][..]));
        let slope = |i: usize| {
            let shifted = |h: f64| {
                let mut theta = found.theta.clone();
                theta[i] += h;
                value(&problem, &theta)
            };
            (shifted(1e-6) - shifted(-1e-6)) / 2e-6
        };
        assert!(slope(0).abs() < 1e-8 && slope(1).abs() < 1e-8 && slope(2) > 1.0);
        let deviations = found.deviations().unwrap();
        assert!(deviations[0] > 0.0 && deviations[1] > 0.0 && deviations[2] == 0.0);
    }

    /// The same curve at given places.
    struct Rows(Vec<(f64, f64)>);
    impl ByRow for Rows {
        fn rows(&self) -> usize {
            self.0.len()
        }
        fn residual(&self, row: usize, theta: &[f64]) -> f64 {
            decay(theta, self.0[row].0) - self.0[row].1
        }
        fn gradient(&self, row: usize, theta: &[Dual]) -> Dual {
            decay(theta, self.0[row].0) - self.0[row].1
        }
    }

    /// A weight of two is a row given twice; a weight of zero is no row.
    #[test]
    fn weights_count_rows() {
        let mut weighted = exact();
        for (i, y) in weighted.y.iter_mut().enumerate() {
            *y += 0.01 * (i as f64 * 2.3).sin();
        }
        weighted.weight = vec![1.0, 2.0, 1.0, 1.0, 0.0, 1.0, 1.0, 1.0];
        let rows = [0, 1, 1, 2, 3, 5, 6, 7].map(|i: usize| (i as f64, weighted.y[i])).to_vec();
        let one = minimise(&weighted, &[1.0, 0.2, 0.0], &FREE).unwrap();
        let two = minimise(&Rows(rows), &[1.0, 0.2, 0.0], &FREE).unwrap();
        for (l, r) in one.theta.iter().zip(&two.theta) {
            assert!((l - r).abs() < 1e-11, "{one:?} {two:?}");
        }
        assert!((one.rss / two.rss - 1.0).abs() < 1e-11);
    }

    #[test]
    fn the_scale_of_the_residuals_does_not_stop_a_descent() {
        let mut problem = exact();
        problem.y[3] += 0.02;
        let full = minimise(&problem, &[1.0, 0.2, 0.0], &FREE).unwrap();
        problem.weight = vec![1e-9; 8];
        let tiny = minimise(&problem, &[1.0, 0.2, 0.0], &FREE).unwrap();
        assert!((full.theta[1] / tiny.theta[1] - 1.0).abs() < 1e-10, "{full:?} {tiny:?}");
        assert!(full.gradient < 1e-9 && tiny.gradient < 1e-9);
    }

    /// At b = 0 the factor and the offset are one parameter: the fit goes on, and says so.
    #[test]
    fn parameters_that_cannot_be_told_apart_have_no_deviations() {
        let level = Decay { y: vec![2.0, 2.1, 1.9, 2.0], weight: vec![1.0; 4] };
        let box_ = [FREE[0], (0.0, 0.0), FREE[2]];
        let found = minimise(&level, &[1.0, 0.0, 0.5], &box_).unwrap();
        assert!((found.theta[0] + found.theta[2] - 2.0).abs() < 1e-9, "{found:?}");
        assert!(found.deviations().is_none() && found.condition > 1e29, "{found:?}");
    }

    #[test]
    fn the_share_of_starts_at_the_best_is_counted() {
        // Two minima in b: from above 5 the exponential overflows and is left out at once.
        let starts = [vec![1.0, 0.2, 0.0], vec![2.0, -1.0, 0.0], vec![1.0, 4.0, 1e3]];
        let found = best(&exact(), &starts, 2, &FREE).unwrap();
        assert_eq!((found.starts, found.starts_at_best), (2, 2));
        assert_eq!(best(&exact(), &[vec![f64::NAN; 3]], 2, &FREE), None);
        assert_eq!(minimise(&exact(), &[0.0; 2], &FREE), None);
    }

    /// r = (1 - cos 3x + x^2/50, y): the lowest of its minima is at 0, and starts far out have lower ones near.
    struct Waves;
    fn waves<T: Number<Real = f64>>(p: &[T]) -> T {
        let x = p[0].value();
        p[0].chain(1.0 - (3.0 * x).cos() + 0.02 * x * x + 0.01, 3.0 * (3.0 * x).sin() + 0.04 * x)
    }
    impl ByRow for Waves {
        fn rows(&self) -> usize {
            2
        }
        fn residual(&self, row: usize, theta: &[f64]) -> f64 {
            if row == 0 { waves(theta) } else { theta[1] }
        }
        fn gradient(&self, row: usize, theta: &[Dual]) -> Dual {
            if row == 0 { waves(theta) } else { theta[1] }
        }
    }

    /// Starts in the troughs far out are lower than the one on the slope to the lowest minimum.
    #[test]
    fn a_search_finds_a_minimum_that_the_lowest_starts_miss() {
        let mut starts: Vec<Vec<f64>> =
            (1..=6).map(|i| vec![2.0943951 * f64::from(i), 0.01 * f64::from(i)]).collect();
        starts.push(vec![0.9, 3.0]);
        let box_ = [(-20.0, 20.0), (-5.0, 5.0)];
        let missed = best(&Waves, &starts, 3, &box_).unwrap();
        let found = search(&Waves, &starts, 3, &box_).unwrap();
        assert!(missed.theta[0] > 1.0 && found.theta[0].abs() < 1e-3, "{missed:?} {found:?}");
        assert!(found.starts > 1 && found.starts_at_best == 1, "{found:?}");
    }
}
