//! Whether a metric of a task shows a signal over the cells of a study: a trend with the held-out loss, beyond its noise.
//!
//! Small models guess. A law of guesses has parameters, intervals and no meaning, so what does not pass is not fitted.
//!
//! * **Trend**: Spearman's rank correlation of the metric with the held-out loss has the sign of a metric that gets better as the
//!   loss falls, and is significant at 1%, two-sided: by all orders of up to eight cells, by Student's distribution of more.
//! * **Spread**: the mean over the third of the cells with the lowest loss and that over the third with the highest differ by at
//!   least three times the noise of one cell. For pure noise they hardly ever do, however many cells there are.
//! * **Noise** of one cell: the standard error over items, and the scatter of cells that differ by their seeds alone where
//!   there are any, together.

use serde::{Deserialize, Serialize};

use crate::fit::numeric::stats::Student;

/// Largest chance of such a trend where there is none [0, 1].
pub const SIGNIFICANT: f64 = 0.01;
/// Least spread, in units of the noise of one cell [-].
pub const BEYOND: f64 = 3.0;
/// With so many cells or fewer every order is counted.
const EXACT: usize = 8;

/// A metric of a task in one cell.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reading {
    /// Model size N [parameters].
    pub params: f64,
    /// Training tokens D [tokens].
    pub tokens: f64,
    /// Held-out loss of the cell.
    pub loss: f64,
    /// The metric.
    pub value: f64,
    /// Its standard error over items; 0 where it is not known.
    pub se: f64,
}

/// What the gate says of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Gate {
    /// Cells.
    pub cells: usize,
    /// Rank correlation with the held-out loss [-1, 1]; 0 where all values are equal.
    pub correlation: f64,
    /// Chance of one as strong, of either sign, where there is no trend [0, 1].
    pub p_value: f64,
    /// By how much the third of the cells with the lowest loss is better than that with the highest, in the metric's unit.
    pub spread: f64,
    /// Noise of one cell, in the same unit.
    pub noise: f64,
    /// Whether it may be fitted.
    pub passes: bool,
}

impl Gate {
    /// Of a metric of which more is better (`rises`), or less.
    pub fn of(readings: &[Reading], rises: bool) -> Self {
        let n = readings.len();
        let losses = ranks(readings.iter().map(|r| r.loss));
        let values = ranks(readings.iter().map(|r| r.value));
        let correlation = correlation(&losses, &values);
        let p_value = if n <= EXACT {
            exact(&losses, &values, correlation)
        } else {
            by_student(correlation, n)
        };
        let sign = if rises { -1.0 } else { 1.0 };
        let spread = sign * (third(readings, false) - third(readings, true));
        let noise = noise(readings);
        let trend = p_value <= SIGNIFICANT && sign * correlation > 0.0;
        let passes = trend && spread >= BEYOND * noise;
        Self { cells: n, correlation, p_value, spread, noise, passes }
    }

    /// Why a metric does not pass, as a person reads it; `None` where it does.
    pub fn why(&self) -> Option<String> {
        if self.passes {
            return None;
        }
        let Self { cells, correlation, p_value, spread, noise, .. } = self;
        if *p_value > SIGNIFICANT {
            return Some(format!(
                "rank correlation with the held-out loss {correlation:+.2} over {cells} cells (p = {p_value:.2}, want 0.01)"
            ));
        }
        if *spread <= 0.0 || spread.is_nan() {
            return Some(format!(
                "it gets worse as the held-out loss falls (rank correlation {correlation:+.2} over {cells} cells)"
            ));
        }
        Some(format!(
            "the best third of {cells} cells is better by {spread:.3}, {:.1} times the noise of a cell, want {BEYOND}",
            spread / noise
        ))
    }
}

/// Ranks from 1, equal values at the mean of theirs.
fn ranks(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let values: Vec<f64> = values.collect();
    let rank = |v: &f64| {
        let below = values.iter().filter(|o| o.total_cmp(v).is_lt()).count();
        let same = values.iter().filter(|o| o.total_cmp(v).is_eq()).count();
        below as f64 + f64::midpoint(1.0, same as f64)
    };
    values.iter().map(rank).collect()
}

/// Pearson's correlation; 0 where one side does not vary.
fn correlation(x: &[f64], y: &[f64]) -> f64 {
    let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
    let (mx, my) = (mean(x), mean(y));
    let (xy, xx, yy) = x.iter().zip(y).fold((0.0, 0.0, 0.0), |s, (x, y)| {
        let (x, y) = (x - mx, y - my);
        (s.0 + x * y, s.1 + x * x, s.2 + y * y)
    });
    if xx * yy > 0.0 { xy / (xx * yy).sqrt() } else { 0.0 }
}

/// Share of all orders whose correlation is as strong.
fn exact(losses: &[f64], values: &[f64], correlation: f64) -> f64 {
    let (mut all, mut as_strong) = (0_u32, 0_u32);
    let mut order = values.to_vec();
    orders(&mut order, values.len(), &mut |order| {
        all += 1;
        let strength = self::correlation(losses, order).abs();
        as_strong += u32::from(strength >= correlation.abs() - 1e-12);
    });
    f64::from(as_strong) / f64::from(all)
}

/// Every order of the first `n` values (Heap 1963).
fn orders(values: &mut [f64], n: usize, each: &mut impl FnMut(&[f64])) {
    if n <= 1 {
        return each(values);
    }
    for i in 0..n {
        orders(values, n - 1, each);
        values.swap(if n.is_multiple_of(2) { i } else { 0 }, n - 1);
    }
}

/// Both tails of r sqrt((n - 2) / (1 - r^2)) under Student's distribution.
fn by_student(correlation: f64, n: usize) -> f64 {
    let dof = n as f64 - 2.0;
    let t = correlation.abs() * (dof / (1.0 - correlation * correlation).max(1e-300)).sqrt();
    Student::new(dof).map_or(1.0, |student| 2.0 * student.below(-t))
}

/// Mean over the third of the cells with the lowest or the highest loss.
fn third(readings: &[Reading], lowest: bool) -> f64 {
    let mut sorted: Vec<&Reading> = readings.iter().collect();
    sorted.sort_by(|l, r| l.loss.total_cmp(&r.loss));
    if !lowest {
        sorted.reverse();
    }
    let some = &sorted[..readings.len().div_ceil(3).min(readings.len())];
    some.iter().map(|r| r.value).sum::<f64>() / some.len() as f64
}

/// Noise of one cell: that of its items, and that of seeds.
fn noise(readings: &[Reading]) -> f64 {
    let items = readings.iter().map(|r| r.se * r.se).sum::<f64>() / readings.len() as f64;
    // The groups of cells of equal N and D, each about its mean.
    let (mut squares, mut dof) = (0.0, 0.0);
    let mut seen: Vec<(f64, f64)> = Vec::new();
    for reading in readings {
        let place = (reading.params, reading.tokens);
        if seen.contains(&place) {
            continue;
        }
        seen.push(place);
        let same: Vec<f64> =
            readings.iter().filter(|r| (r.params, r.tokens) == place).map(|r| r.value).collect();
        let mean = same.iter().sum::<f64>() / same.len() as f64;
        squares += same.iter().map(|v| (v - mean).powi(2)).sum::<f64>();
        dof += same.len() as f64 - 1.0;
    }
    let seeds = if dof > 0.0 { squares / dof } else { 0.0 };
    (items + seeds).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::numeric::stats::Random;

    fn readings(of: &[(f64, f64, f64)]) -> Vec<Reading> {
        let reading = |(n, (loss, value, se)): (usize, &(f64, f64, f64))| Reading {
            params: n as f64,
            tokens: 1.0,
            loss: *loss,
            value: *value,
            se: *se,
        };
        of.iter().enumerate().map(reading).collect()
    }

    /// Seven: 62 of the 5040 orders, counted by another program. Twelve: scipy 1.17's `spearmanr`.
    #[test]
    fn correlation_and_p_value_are_those_of_all_orders_and_of_scipy() {
        let of = |values: &[f64]| {
            let all: Vec<_> = values.iter().enumerate().map(|(i, v)| (i as f64, *v, 0.0)).collect();
            Gate::of(&readings(&all), false)
        };
        let seven = of(&[2.0, 1.0, 3.0, 5.0, 4.0, 7.0, 6.0]);
        assert!((seven.correlation - 0.892_857_142_857).abs() < 1e-9, "{seven:?}");
        assert!((seven.p_value - 0.012_301_587_3).abs() < 1e-9 && !seven.passes, "{seven:?}");
        let twelve = of(&[3.0, 1.0, 2.0, 6.0, 9.0, 4.0, 5.0, 12.0, 7.0, 11.0, 8.0, 10.0]);
        assert!((twelve.correlation - TWELVE.0).abs() < 1e-7, "{twelve:?}");
        assert!((twelve.p_value - TWELVE.1).abs() < 1e-7 && twelve.passes, "{twelve:?}");
        // Equal values share their rank, and without any difference there is no trend.
        let flat = of(&[1.0; 12]);
        assert_eq!((flat.correlation, flat.passes), (0.0, false));
        assert!((flat.p_value - 1.0).abs() < 1e-12);
    }

    /// Of scipy.
    const TWELVE: (f64, f64) = (0.762_237_762_237_762_4, 0.003_950_448_972_542_647);

    #[test]
    fn five_cells_show_nothing_however_orderly() {
        let five: Vec<_> = (0..5).map(|i| (f64::from(i), f64::from(i), 0.0)).collect();
        let gate = Gate::of(&readings(&five), false);
        assert!((gate.p_value - 2.0 / 120.0).abs() < 1e-12 && !gate.passes, "{gate:?}");
        assert!(gate.why().unwrap().contains("p = 0.02"), "{gate:?}");
    }

    /// Accuracy of a guess on 400 items in 40 cells: in 1 of 100 studies at most a trend, and in hardly any beyond noise.
    #[test]
    fn guesses_do_not_pass_and_a_trend_does() {
        let study = |seed: u64, slope: f64| {
            let mut random = Random::new(seed, 0);
            let se = (0.25_f64 / 400.0).sqrt();
            let cell = |i: u32| {
                let loss = 2.0 - f64::from(i) / 40.0;
                (loss, 0.5 - slope * (loss - 2.0) + se * random.normal(), se)
            };
            Gate::of(&readings(&(0..40).map(cell).collect::<Vec<_>>()), true)
        };
        let passed = |slope: f64| (0..200).filter(|s| study(*s, slope).passes).count();
        assert_eq!(passed(0.0), 0);
        assert_eq!(passed(0.2), 200);
        // A trend within the noise is named as that; one to the worse is no signal either.
        let weak = study(1, 0.06);
        assert!(weak.p_value <= SIGNIFICANT && !weak.passes, "{weak:?}");
        assert!(weak.why().unwrap().contains("times the noise of a cell"), "{weak:?}");
        let worse = study(1, -0.2);
        assert!(!worse.passes && worse.why().unwrap().contains("gets worse"), "{worse:?}");
    }

    #[test]
    fn the_scatter_of_seeds_is_noise_too() {
        let mut all = readings(&[(2.0, 0.3, 0.03), (2.0, 0.5, 0.03), (1.0, 0.7, 0.05)]);
        all[1].params = all[0].params;
        let want = ((0.0009 + 0.0009 + 0.0025) / 3.0 + 0.02_f64).sqrt();
        assert!((noise(&all) - want).abs() < 1e-12);
    }
}
