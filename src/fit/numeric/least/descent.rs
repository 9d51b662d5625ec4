//! One descent of a sum of squares: Levenberg-Marquardt steps with geodesic acceleration, then Gauss-Newton steps.

use std::cmp::Ordering::{Equal, Less};

use super::residuals::Residuals;
use crate::fit::numeric::dual::MAX;
use crate::fit::numeric::qr::{self, Factor, Matrix, Vector};

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
pub(super) const EXACT: f64 = 1e10;

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
pub(super) enum Until {
    /// After so many steps.
    Steps(usize),
    /// At the minimum, to full precision.
    Minimum,
    /// Within [`NEAR`] of it.
    Near,
}

pub(super) fn descend(
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

pub(super) fn clamp(theta: &[f64], bounds: &Bounds) -> Vec<f64> {
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
