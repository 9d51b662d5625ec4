//! One law fitted to runs by least squares, and what it then says of other runs.

use crate::fit::law::definition::Law;
use crate::fit::law::run::{Centre, Run};
use crate::fit::law::runs::{Runs, VANISHED};
use crate::fit::numeric::dual::{Dual, MAX};
use crate::fit::numeric::least::{self, Residuals, Solution};
use crate::fit::numeric::stats;
use crate::fit::pins::Pins;
use crate::points::Point;

/// Where a residual begins to be bounded, in robust standard deviations: a normal run in 2,000 lies beyond.
const FAR: f64 = 3.5;
/// Rounds of a robust fit, and the movement that ends it [of the bound].
const ROUNDS: usize = 20;
const SETTLED: f64 = 1e-3;

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
    /// Parameters that were given.
    pins: Pins,
}

struct Problem<'a> {
    law: &'a Law,
    runs: &'a Runs,
    scale: Scale,
}

impl Residuals for Problem<'_> {
    fn rows(&self) -> usize {
        self.runs.rows.len()
    }

    fn residuals(&self, theta: &[f64]) -> Vec<f64> {
        let ln_loss = self.runs.ln_losses(&self.law.form, theta);
        match self.scale {
            Scale::Log => minus(&ln_loss, &self.runs.log_loss),
            Scale::Loss => minus(&exp(&ln_loss), &self.runs.loss),
        }
    }

    fn slopes(&self, theta: &[f64]) -> (Vec<f64>, Vec<Vec<f64>>) {
        let (ln_loss, mut columns) = self.runs.ln_slopes(&self.law.form, theta);
        match self.scale {
            Scale::Log => (minus(&ln_loss, &self.runs.log_loss), columns),
            Scale::Loss => {
                let loss = exp(&ln_loss);
                for column in &mut columns {
                    column.iter_mut().zip(&loss).for_each(|(slope, loss)| *slope *= loss);
                }
                (minus(&loss, &self.runs.loss), columns)
            }
        }
    }
}

fn minus(l: &[f64], r: &[f64]) -> Vec<f64> {
    l.iter().zip(r).map(|(l, r)| l - r).collect()
}

fn exp(x: &[f64]) -> Vec<f64> {
    x.iter().map(|x| x.exp()).collect()
}

/// Fits `law` to `points`, all of which it must speak of, from the law's own starts. The order of the
/// points matters only to the last bit.
///
/// # Errors
///
/// Why these runs cannot determine the law, as a person reads it.
pub fn fit(law: &'static Law, points: &[Point], scale: Scale) -> Result<Fitted, String> {
    pinned(law, points, scale, Pins::default())
}

/// The same with the parameters of `pins` held where they are.
///
/// # Errors
///
/// As for [`fit`], and where the law has no such parameter.
pub fn pinned(
    law: &'static Law,
    points: &[Point],
    scale: Scale,
    pins: Pins,
) -> Result<Fitted, String> {
    let search = if law.rugged { Search::Basins } else { Search::Best(FOLLOWED) };
    descend((law, pins), &Runs::new(points, None), scale, Vec::new(), search)
}

/// Fits `law` to `points` in ln L, so that runs far from it have a bounded say: a loss farther from the law than
/// [`FAR`] robust standard deviations counts as one at that distance. The points are given back as they count. At
/// the end this is Huber's M-estimate (1981, section 7.8, "modified residuals").
///
/// # Errors
///
/// As for [`fit`].
pub fn robust(
    law: &'static Law,
    points: &[Point],
    pins: Pins,
) -> Result<(Fitted, Vec<Point>), String> {
    let mut fitted = pinned(law, points, Scale::Log, pins)?;
    let (mut taken, mut moved) = (points.to_vec(), false);
    for _ in 0..ROUNDS {
        let laws: Vec<f64> = points.iter().map(|p| fitted.ln_loss(&Run::of(p))).collect();
        let off: Vec<f64> = points.iter().zip(&laws).map(|(p, law)| p.loss.ln() - law).collect();
        let far = FAR * spread(&off).max(1e-6);
        if off.iter().all(|e| e.abs() <= far) {
            break;
        }
        let mut most = 0.0_f64;
        for ((point, law), e) in taken.iter_mut().zip(&laws).zip(&off) {
            let loss = (law + e.clamp(-far, far)).exp();
            most = most.max((loss / point.loss).ln().abs());
            point.loss = loss;
        }
        if most < SETTLED * far {
            break;
        }
        fitted = onward(&fitted, &taken, Scale::Log, Search::Best(1))?;
        moved = true;
    }
    if moved {
        fitted = refit(&fitted, &taken, Scale::Log)?;
    }
    Ok((fitted, taken))
}

/// Median of the absolute values, as the standard deviation of a normal law.
fn spread(off: &[f64]) -> f64 {
    let mut sizes: Vec<f64> = off.iter().map(|e| e.abs()).collect();
    sizes.sort_by(f64::total_cmp);
    1.4826 * stats::quantile(&sizes, 0.5)
}

/// Fits the law again to some of its points: from where it was, and from the best of its own starts. No search
/// of basins: where it was is in the lowest one known.
///
/// # Errors
///
/// As for [`fit`].
pub fn refit(fitted: &Fitted, points: &[Point], scale: Scale) -> Result<Fitted, String> {
    let runs = Runs::new(points, Some(fitted.centre));
    descend(
        (fitted.law, fitted.pins),
        &runs,
        scale,
        vec![fitted.solution.theta.clone()],
        Search::Best(2),
    )
}

/// The same law on other losses of the same runs, as a bootstrap draws them: from where it was, from nowhere else, and
/// to a hundredth of a standard deviation.
///
/// # Errors
///
/// As for [`fit`].
pub fn again(fitted: &Fitted, points: &[Point], scale: Scale) -> Result<Fitted, String> {
    onward(fitted, points, scale, Search::Near)
}

/// The law on other losses of the same runs, from where it was alone.
fn onward(
    fitted: &Fitted,
    points: &[Point],
    scale: Scale,
    search: Search,
) -> Result<Fitted, String> {
    let runs = Runs::new(points, Some(fitted.centre));
    let from = std::slice::from_ref(&fitted.solution.theta);
    follow((fitted.law, fitted.pins), &runs, scale, from, search)
}

fn descend(
    (law, pins): (&'static Law, Pins),
    runs: &Runs,
    scale: Scale,
    mut starts: Vec<Vec<f64>>,
    search: Search,
) -> Result<Fitted, String> {
    starts.extend((law.starts)(runs));
    follow((law, pins), runs, scale, &starts, search)
}

/// Which starts are followed to their minimum.
#[derive(Debug, Clone, Copy)]
enum Search {
    /// So many of the best.
    Best(usize),
    /// [`FOLLOWED`] that a search of basins leaves.
    Basins,
    /// The first alone, to where its statistics no longer tell it from the minimum.
    Near,
}

fn follow(
    (law, pins): (&'static Law, Pins),
    runs: &Runs,
    scale: Scale,
    starts: &[Vec<f64>],
    search: Search,
) -> Result<Fitted, String> {
    let held = law.held(pins)?;
    let (rows, free) = (runs.rows.len(), law.free - held.len());
    if rows <= free {
        return Err(format!("{rows} runs cannot determine {free} parameters"));
    }
    if let Some(reason) = (law.lacks)(runs) {
        return Err(reason);
    }
    let problem = Problem { law, runs, scale };
    let mut bounds = (law.bounds)(runs);
    for (i, value) in held {
        bounds[i] = (value, value);
    }
    let solution = match search {
        Search::Best(keep) => least::best(&problem, starts, keep, &bounds),
        Search::Basins => least::search(&problem, starts, FOLLOWED, &bounds),
        Search::Near => starts.first().and_then(|start| least::near(&problem, start, &bounds)),
    };
    let solution = solution.ok_or("no start has a finite loss at every run")?;
    let ln_least = runs.log_range().0;
    let fitted = Fitted { law, solution, centre: runs.centre, ln_least, pins };
    if fitted.values().iter().any(|(value, _)| !value.is_finite()) {
        return Err("the optimum has no finite parameters".into());
    }
    Ok(fitted)
}

impl Fitted {
    /// The value and the standard deviation of each of [`Law::values`], the latter by the delta method.
    /// No deviation where the runs do not determine the parameters, and for one that is given or that a bound
    /// holds.
    pub fn values(&self) -> Vec<(f64, Option<f64>)> {
        let theta = &self.solution.theta;
        let values = (self.law.report)(&Dual::parameters(theta)[..theta.len()], &self.centre);
        let given = self.law.free..self.law.free + self.law.given;
        let known = |i: usize| self.bound(i) || given.contains(&i);
        let sd = |i: usize, v: &Dual| self.deviation(v).filter(|_| !known(i));
        let value = |i: usize, v: &Dual| self.pin(i).unwrap_or(v.value);
        values.iter().enumerate().map(|(i, v)| (value(i, v), sd(i, v))).collect()
    }

    /// The value that was given for a parameter.
    fn pin(&self, i: usize) -> Option<f64> {
        self.pins.get(self.law.values[i].name).filter(|_| i < self.law.free)
    }

    /// Parameters that were fitted [count].
    pub fn free(&self) -> usize {
        self.law.free - self.pins.named().count()
    }

    fn deviation(&self, value: &Dual) -> Option<f64> {
        self.spread_of(value).map(f64::sqrt)
    }

    fn spread_of(&self, value: &Dual) -> Option<f64> {
        let covariance = self.solution.covariance.as_ref()?;
        let g = &value.gradient;
        let variance: f64 =
            (0..MAX).map(|i| g[i] * (0..MAX).map(|j| covariance[i][j] * g[j]).sum::<f64>()).sum();
        Some(variance.max(0.0)).filter(|v| v.is_finite())
    }

    /// The variance of ln L of a run under the law, without the run's own scatter, by the delta method [-]. Nothing
    /// where the runs do not determine the parameters.
    pub fn variance(&self, run: &Run) -> Option<f64> {
        let theta = &self.solution.theta;
        self.spread_of(&(self.law.form.gradient)(
            &Dual::parameters(theta)[..theta.len()],
            run,
            &self.centre,
        ))
    }

    /// ln L of a run.
    pub fn ln_loss(&self, run: &Run) -> f64 {
        (self.law.form.value)(&self.solution.theta, run, &self.centre)
    }

    /// The loss of a run [nats/token].
    pub fn loss(&self, run: &Run) -> f64 {
        self.ln_loss(run).exp()
    }

    /// Names of the parameters that ended at a bound, or with a term that has vanished.
    pub fn at_bound(&self) -> Vec<&'static str> {
        let ended = (0..self.law.free).filter(|i| self.bound(*i) && self.pin(*i).is_none());
        ended.map(|i| self.law.values[i].name).collect()
    }

    fn bound(&self, i: usize) -> bool {
        // Within a factor of the floor: the descent stops there when nothing is left to gain.
        let gone =
            self.law.terms.contains(&i) && self.solution.theta[i] < self.ln_least - VANISHED + 6.0;
        i < self.law.free && (self.solution.held[i] || gone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::data::sample::tests::{TRUTH, study};
    use crate::fit::numeric::dual::Number;

    /// The Chinchilla law in the parameters that are printed.
    struct Printed<'a>(&'a [Point]);

    fn printed<T: Number>(v: &[T], point: &Point) -> T {
        let size = v[1] * (-v[3] * point.params.ln()).exp();
        let data = v[2] * (-v[4] * point.tokens.ln()).exp();
        (v[0] + size + data).ln() - point.loss.ln()
    }

    impl least::ByRow for Printed<'_> {
        fn rows(&self) -> usize {
            self.0.len()
        }

        fn residual(&self, row: usize, theta: &[f64]) -> f64 {
            printed(theta, &self.0[row])
        }

        fn gradient(&self, row: usize, theta: &[Dual]) -> Dual {
            printed(theta, &self.0[row])
        }
    }

    /// The delta method is the change of parameters: the same fit in the printed parameters has the same
    /// deviations.
    #[test]
    fn deviations_do_not_depend_on_the_working_parameters() {
        let points = study(&[1e18, 1e19, 1e20, 1e21], 8, 4.0, 0.003, 3);
        let fitted = fit(Law::named("chinchilla").unwrap(), &points, Scale::Log).unwrap();
        let start: Vec<f64> = fitted.values().iter().map(|v| v.0).collect();
        let bounds = [(0.0, 1e9); 5];
        let other = least::minimise(&Printed(&points), &start, &bounds).unwrap();
        assert!((other.rss / fitted.solution.rss - 1.0).abs() < 1e-12);
        for ((value, sd), deviation) in fitted.values().iter().zip(other.deviations().unwrap()) {
            assert!((sd.unwrap() / deviation - 1.0).abs() < 1e-5, "{value}: {sd:?} {deviation}");
        }
    }

    #[test]
    fn a_refit_to_fewer_runs_is_a_fit_to_fewer_runs() {
        let points = study(&[1e18, 1e19, 1e20, 1e21], 8, 4.0, 0.003, 3);
        for law in ["chinchilla", "shared", "kaplan"].map(|name| Law::named(name).unwrap()) {
            let full = fit(law, &points, Scale::Log).unwrap();
            let fewer = refit(&full, &points[..24], Scale::Log).unwrap();
            let anew = fit(law, &points[..24], Scale::Log).unwrap();
            assert!((fewer.solution.rss / anew.solution.rss - 1.0).abs() < 1e-10, "{}", law.name);
            for (l, r) in fewer.values().iter().zip(anew.values()) {
                assert!((l.0 / r.0 - 1.0).abs() < 1e-6, "{}: {} {}", law.name, l.0, r.0);
            }
        }
    }

    #[test]
    fn a_parameter_that_a_bound_holds_is_named_and_has_no_deviation() {
        let mut points = study(&[1e18, 1e19, 1e20, 1e21], 8, 4.0, 0.0, 3);
        for (i, p) in points.iter_mut().enumerate() {
            // No irreducible part, and curvature that asks for less than none.
            p.loss = (TRUTH.loss(p.params, p.tokens) - 1.75) * (1.0 + 1e-3 * (i as f64).sin());
        }
        let fitted = fit(Law::named("chinchilla").unwrap(), &points, Scale::Log).unwrap();
        assert_eq!(fitted.at_bound(), ["E"], "{fitted:?}");
        let deviations: Vec<bool> = fitted.values().iter().map(|v| v.1.is_some()).collect();
        assert_eq!(deviations, [false, true, true, true, true]);
    }
}
