//! Scores from losses: two curves of three parameters, by least squares.
//!
//! * Error of a suite of tasks from a loss (Gadre et al. 2024, arXiv:2403.08540, eq. 5): Err = epsilon - k exp(-gamma L).
//! * Accuracy on a task from its bits per byte: chance + (ceiling - chance) / (1 + exp(k (x - m))), chance given
//!   (Llama 3, arXiv:2407.21783, sec. 3.2.1, has such a sigmoid).
//!
//! Limits: both take the scatter of scores to be one for all rows.

use serde::{Deserialize, Serialize};

use crate::fit::numeric::dual::{Dual, Number};
use crate::fit::numeric::least::{self, Bounds, ByRow};

/// Fewest rows of either: one more than parameters.
pub const LEAST: usize = 4;
/// A row says something of accuracy from here above chance on, in standard errors.
pub const ABOVE: f64 = 3.0;

/// Err = epsilon - k exp(-gamma L).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ErrorOfLoss {
    /// Error that a high loss tends to [0, 1].
    pub epsilon: f64,
    /// How far it falls [-].
    pub k: f64,
    /// How fast [1/unit of the loss].
    pub gamma: f64,
}

impl ErrorOfLoss {
    /// Fits pairs of a loss and an error; `None` where fewer than [`LEAST`] losses differ.
    pub fn fit(rows: &[(f64, f64)]) -> Option<Self> {
        let (lo, hi) = range(rows.iter().map(|r| r.0))?;
        let curve = Curve { rows, value: error::<f64>, dual: error::<Dual> };
        // exp(-gamma L) falls by a factor of 1.1 to 400 over the losses.
        let starts = [0.1, 0.5, 1.0, 2.0, 4.0, 6.0].map(|drop| {
            let gamma = drop / (hi - lo);
            let (worst, best) =
                range(rows.iter().map(|r| -r.1)).map_or((1.0, 0.0), |r| (-r.0, -r.1));
            let k = (worst - best) / ((-gamma * lo).exp() - (-gamma * hi).exp());
            vec![worst + k * (-gamma * hi).exp(), k, gamma]
        });
        let bounds = [(0.0, 2.0), (0.0, 1e12), (1e-6, 1e3)];
        let theta = curve.fit(&starts, &bounds)?;
        Some(Self { epsilon: theta[0], k: theta[1], gamma: theta[2] })
    }

    /// The error at a loss.
    pub fn at(&self, loss: f64) -> f64 {
        error(&[self.epsilon, self.k, self.gamma], loss)
    }
}

/// chance + (ceiling - chance) / (1 + exp(k (x - m))).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct AccuracyOfBits {
    /// Accuracy of a guess, given [0, 1].
    pub chance: f64,
    /// Accuracy that few bits tend to [0, 1].
    pub ceiling: f64,
    /// How steep it rises [byte/bit].
    pub k: f64,
    /// Where half of the way is made [bits/byte].
    pub middle: f64,
}

/// One model on a task.
#[derive(Debug, Clone, PartialEq)]
pub struct Scored {
    /// The model.
    pub id: String,
    /// Bits per byte of the gold continuations [bits/byte].
    pub bits_per_byte: f64,
    /// Share of items that are right [0, 1].
    pub accuracy: f64,
    /// Its standard error [0, 1].
    pub se: f64,
}

/// Rows that are clearly above chance.
pub fn above_chance(rows: &[Scored], chance: f64) -> usize {
    rows.iter().filter(|r| r.accuracy > chance + ABOVE * r.se).count()
}

impl AccuracyOfBits {
    /// Fits pairs of bits per byte and accuracy; `None` where fewer than [`LEAST`] differ. Whether they say anything,
    /// [`above_chance`] tells.
    pub fn fit(rows: &[(f64, f64)], chance: f64) -> Option<Self> {
        let (lo, hi) = range(rows.iter().map(|r| r.0))?;
        let shifted: Vec<(f64, f64)> = rows.iter().map(|(x, y)| (*x, y - chance)).collect();
        let curve = Curve { rows: &shifted, value: sigmoid::<f64>, dual: sigmoid::<Dual> };
        let (_, best) = range(shifted.iter().map(|r| r.1))?;
        let most = 1.0 - chance;
        let mut starts = Vec::new();
        for place in [-0.5, 0.0, 0.3, 0.6, 1.0] {
            for steep in [2.0, 6.0, 20.0] {
                for ceiling in [best.clamp(1e-3, most), most] {
                    starts.push(vec![ceiling, steep / (hi - lo), lo + place * (hi - lo)]);
                }
            }
        }
        let theta = curve.fit(&starts, &bounds(chance, (lo, hi)))?;
        Some(Self { chance, ceiling: chance + theta[0], k: theta[1], middle: theta[2] })
    }

    /// The same of resampled rows, from this one.
    pub fn again(&self, rows: &[(f64, f64)]) -> Option<Self> {
        let ends = range(rows.iter().map(|r| r.0))?;
        let shifted: Vec<(f64, f64)> = rows.iter().map(|(x, y)| (*x, y - self.chance)).collect();
        let curve = Curve { rows: &shifted, value: sigmoid::<f64>, dual: sigmoid::<Dual> };
        let start = vec![self.ceiling - self.chance, self.k, self.middle];
        let theta = curve.fit(&[start], &bounds(self.chance, ends))?;
        Some(Self { ceiling: self.chance + theta[0], k: theta[1], middle: theta[2], ..*self })
    }

    /// The accuracy at so many bits per byte.
    pub fn at(&self, bits_per_byte: f64) -> f64 {
        self.chance + sigmoid(&[self.ceiling - self.chance, self.k, self.middle], bits_per_byte)
    }
}

/// Where the parameters of the sigmoid may lie, for bits per byte between these.
fn bounds(chance: f64, (lo, hi): (f64, f64)) -> [(f64, f64); 3] {
    [(0.0, 1.0 - chance), (1e-3 / (hi - lo), 1e3 / (hi - lo)), (0.0, 10.0 * hi)]
}

/// Least and most of numbers of which [`LEAST`] differ.
fn range(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    let ends = (*sorted.first()?, *sorted.last()?);
    sorted.dedup();
    (sorted.len() >= LEAST && ends.0.is_finite() && ends.1.is_finite()).then_some(ends)
}

fn error<T: Number<Real = f64>>(p: &[T], loss: f64) -> T {
    p[0] - p[1] * p[2].scaled(-loss).exp()
}

fn sigmoid<T: Number<Real = f64>>(p: &[T], x: f64) -> T {
    p[0] / (p[1] * -(p[2] - x)).exp().plus(1.0)
}

/// A formula of three parameters and rows of it.
struct Curve<'a> {
    rows: &'a [(f64, f64)],
    value: fn(&[f64], f64) -> f64,
    dual: fn(&[Dual], f64) -> Dual,
}

impl Curve<'_> {
    fn fit(&self, starts: &[Vec<f64>], bounds: &Bounds) -> Option<Vec<f64>> {
        if self.rows.iter().any(|(x, y)| !x.is_finite() || !y.is_finite()) {
            return None;
        }
        Some(least::best(self, starts, starts.len(), bounds)?.theta)
    }
}

impl ByRow for Curve<'_> {
    fn rows(&self) -> usize {
        self.rows.len()
    }

    fn residual(&self, row: usize, theta: &[f64]) -> f64 {
        let (x, y) = self.rows[row];
        (self.value)(theta, x) - y
    }

    fn gradient(&self, row: usize, theta: &[Dual]) -> Dual {
        let (x, y) = self.rows[row];
        (self.dual)(theta, x) - y
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The public testbed of Gadre et al., without the five largest runs of each corpus; golden numbers by scipy 1.17's
    /// `least_squares` on the same rows.
    #[test]
    fn gadres_testbed_gives_the_published_form() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../shared/reference/gadre2024/gadre_testbed.csv");
        let mut reader = csv::Reader::from_path(path).unwrap();
        let head = reader.headers().unwrap().clone();
        let column = |name: &str| head.iter().position(|h| h == name).unwrap();
        let [corpus, flops, loss, error] =
            ["train_dataset", "flops_6ND", "loss_c4_val", "avg_top1_error_46"].map(column);
        let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
        for (name, want, points) in [
            ("c4_original", [0.758_631, 1.785_802, 1.073_289], 0.509_200),
            ("rpj", [0.766_619, 0.911_644, 0.769_130], 1.951_576),
            ("rw_original", [0.764_178, 1.017_007, 0.820_758], 2.012_998),
        ] {
            let number = |row: &csv::StringRecord, i: usize| row[i].parse::<f64>().unwrap();
            let mut own: Vec<(f64, f64, f64)> = rows
                .iter()
                .filter(|row| &row[corpus] == name && !row[error].is_empty())
                .map(|row| (number(row, flops), number(row, loss), number(row, error)))
                .collect();
            own.sort_by(|l, r| l.0.total_cmp(&r.0));
            let (small, large) = own.split_at(own.len() - 5);
            let small: Vec<(f64, f64)> = small.iter().map(|r| (r.1, r.2)).collect();
            let law = ErrorOfLoss::fit(&small).unwrap();
            for (got, want) in [law.epsilon, law.k, law.gamma].iter().zip(want) {
                assert!((got - want).abs() < 1e-4 * want, "{name}: {law:?}");
            }
            let missed = large.iter().map(|r| (law.at(r.1) - r.2).abs()).sum::<f64>() / 5.0;
            assert!((100.0 * missed - points).abs() < 1e-3, "{name}: {missed}");
        }
    }

    #[test]
    fn accuracy_without_noise_gives_back_its_curve() {
        let truth = AccuracyOfBits { chance: 0.25, ceiling: 0.9, k: 5.0, middle: 1.1 };
        let rows: Vec<(f64, f64)> =
            (0..12).map(|i| 0.6 + 0.1 * f64::from(i)).map(|x| (x, truth.at(x))).collect();
        let found = AccuracyOfBits::fit(&rows, 0.25).unwrap();
        for (got, want) in
            [(found.ceiling, 0.9), (found.k, 5.0), (found.middle, 1.1), (found.chance, 0.25)]
        {
            assert!((got - want).abs() < 1e-6, "{found:?}");
        }
        // The ceiling is no more than all items, whatever the rows say.
        let above: Vec<(f64, f64)> = rows.iter().map(|(x, y)| (*x, 1.3 * y)).collect();
        let held = AccuracyOfBits::fit(&above, 0.25).unwrap();
        assert!((held.ceiling - 1.0).abs() < 1e-9 && held.at(0.0) <= 1.0, "{held:?}");
        assert_eq!(AccuracyOfBits::fit(&rows[..3], 0.25), None);
        assert_eq!(ErrorOfLoss::fit(&[(1.0, 0.5); 9]), None);
    }
}
