//! One law fitted to runs by least squares, and what it then says of other runs.

use crate::fit::dual::{Dual, MAX, Number};
use crate::fit::law::{Centre, Law, Run, Runs, VANISHED};
use crate::fit::least::{self, Residuals, Solution};
use crate::points::Point;

/// Starts that are followed to their minimum: the best of the law's, by their sum of squares.
const FOLLOWED: usize = 6;

/// What the squares are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// ln fitted - ln measured [-]: errors in proportion to the loss.
    Log,
    /// Fitted - measured [nats/token].
    Loss,
}

/// A law with its parameters.
#[derive(Debug, Clone)]
pub struct Fitted {
    /// The law.
    pub law: &'static Law,
    /// Where its descents ended. The parameters are the working ones of the law.
    pub solution: Solution,
    centre: Centre,
    /// ln of the smallest loss.
    ln_least: f64,
}

struct Problem<'a> {
    law: &'a Law,
    runs: &'a Runs,
    scale: Scale,
}

impl Problem<'_> {
    fn residual_of<T: Number>(&self, row: usize, ln_loss: T) -> T {
        match self.scale {
            Scale::Log => ln_loss - self.runs.log_loss[row],
            Scale::Loss => ln_loss.exp() - self.runs.loss[row],
        }
    }
}

impl Residuals for Problem<'_> {
    fn rows(&self) -> usize {
        self.runs.rows.len()
    }

    fn residual(&self, row: usize, theta: &[f64]) -> f64 {
        let ln_loss = (self.law.form.0)(theta, &self.runs.rows[row], &self.runs.centre);
        self.residual_of(row, ln_loss)
    }

    fn gradient(&self, row: usize, theta: &[Dual]) -> Dual {
        let ln_loss = (self.law.form.1)(theta, &self.runs.rows[row], &self.runs.centre);
        self.residual_of(row, ln_loss)
    }
}

/// Fits `law` to `points`, all of which it must speak of, from the law's own starts. The order of the
/// points matters only to the last bit.
///
/// # Errors
///
/// Why these runs cannot determine the law, as a person reads it.
pub fn fit(law: &'static Law, points: &[Point], scale: Scale) -> Result<Fitted, String> {
    descend(law, &Runs::new(points, None), scale, Vec::new(), FOLLOWED)
}

/// Fits the law again to some of its points: from where it was, and from the best of its own starts.
///
/// # Errors
///
/// As for [`fit`].
pub fn refit(fitted: &Fitted, points: &[Point], scale: Scale) -> Result<Fitted, String> {
    let runs = Runs::new(points, Some(fitted.centre));
    descend(fitted.law, &runs, scale, vec![fitted.solution.theta.clone()], 2)
}

fn descend(
    law: &'static Law,
    runs: &Runs,
    scale: Scale,
    mut starts: Vec<Vec<f64>>,
    keep: usize,
) -> Result<Fitted, String> {
    let rows = runs.rows.len();
    if rows <= law.free {
        return Err(format!("{rows} runs cannot determine {} parameters", law.free));
    }
    if let Some(reason) = (law.lacks)(runs) {
        return Err(reason);
    }
    starts.extend((law.starts)(runs));
    let problem = Problem { law, runs, scale };
    let solution = least::best(&problem, &starts, keep, &(law.bounds)(runs))
        .ok_or("no start has a finite loss at every run")?;
    let fitted = Fitted { law, solution, centre: runs.centre, ln_least: runs.log_range().0 };
    if fitted.values().iter().any(|(value, _)| !value.is_finite()) {
        return Err("the optimum has no finite parameters".into());
    }
    Ok(fitted)
}

impl Fitted {
    /// The value and the standard deviation of each of [`Law::values`], the latter by the delta method.
    /// No deviation where the runs do not determine the parameters, and for one that a bound holds.
    pub fn values(&self) -> Vec<(f64, Option<f64>)> {
        let theta = &self.solution.theta;
        let values = (self.law.report)(&Dual::parameters(theta)[..theta.len()], &self.centre);
        let held = |i: usize| self.solution.held.get(i).copied().unwrap_or(false);
        values
            .iter()
            .enumerate()
            .map(|(i, v)| (v.value, self.deviation(v).filter(|_| !held(i))))
            .collect()
    }

    fn deviation(&self, value: &Dual) -> Option<f64> {
        let covariance = self.solution.covariance.as_ref()?;
        let g = &value.gradient;
        let variance: f64 =
            (0..MAX).map(|i| g[i] * (0..MAX).map(|j| covariance[i][j] * g[j]).sum::<f64>()).sum();
        Some(variance.max(0.0).sqrt()).filter(|sd| sd.is_finite())
    }

    /// ln L of a run.
    pub fn ln_loss(&self, run: &Run) -> f64 {
        (self.law.form.0)(&self.solution.theta, run, &self.centre)
    }

    /// The loss of a run [nats/token].
    pub fn loss(&self, run: &Run) -> f64 {
        self.ln_loss(run).exp()
    }

    /// Names of the parameters that ended at a bound, or with a term that has vanished.
    pub fn at_bound(&self) -> Vec<&'static str> {
        // Within a factor of the floor: the descent stops there when nothing is left to gain.
        let gone = |i: usize| {
            self.law.terms.contains(&i) && self.solution.theta[i] < self.ln_least - VANISHED + 6.0
        };
        (0..self.law.free)
            .filter(|i| self.solution.held[*i] || gone(*i))
            .map(|i| self.law.values[i].name)
            .collect()
    }
}
