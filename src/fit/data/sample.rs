//! The columns that a surface fit works on: logarithms, centred, with weights.
//!
//! Centring ln N and ln D makes A and B comparable with the loss and takes the worst of the
//! correlation out of (A, alpha) and (B, beta); nothing depends on the units of N and D any more.

use std::ops::Range;

use crate::fit::numeric::lanes::Lanes;
use crate::fit::numeric::newton::{P, Vector};
use crate::fit::pins::Pins;
use crate::fit::result::Surface;
use crate::points::Point;

/// Columns of a table, ready to fit.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    /// ln N - mean ln N.
    pub(in crate::fit) x: Vec<f64>,
    /// ln D - mean ln D.
    pub(in crate::fit) y: Vec<f64>,
    /// Loss [nats/token].
    pub(in crate::fit) loss: Vec<f64>,
    /// ln loss.
    pub(in crate::fit) log_loss: Vec<f64>,
    /// How often each run counts; 1 but in a case bootstrap.
    pub(in crate::fit) weight: Vec<f64>,
    /// Mean ln N of the full data.
    pub(in crate::fit) mean_x: f64,
    /// Mean ln D of the full data.
    pub(in crate::fit) mean_y: f64,
    /// Parameters that no fit to these runs moves.
    pub(in crate::fit) pins: Pins,
}

impl Sample {
    /// Columns of `points`, in their order. The caller has sorted them.
    pub(crate) fn new(points: &[Point]) -> Self {
        Self::pinned(points, Pins::default())
    }

    /// The same for fits that leave the parameters of `pins` where they are.
    pub(in crate::fit) fn pinned(points: &[Point], pins: Pins) -> Self {
        let n = points.len().max(1) as f64;
        let mean_x = points.iter().map(|p| p.params.ln()).sum::<f64>() / n;
        let mean_y = points.iter().map(|p| p.tokens.ln()).sum::<f64>() / n;
        Self {
            x: points.iter().map(|p| p.params.ln() - mean_x).collect(),
            y: points.iter().map(|p| p.tokens.ln() - mean_y).collect(),
            loss: points.iter().map(|p| p.loss).collect(),
            log_loss: points.iter().map(|p| p.loss.ln()).collect(),
            weight: vec![1.0; points.len()],
            mean_x,
            mean_y,
            pins,
        }
    }

    /// Closes the box of the optimiser ([`NAMES`]) about the pinned parameters; `floor`: E as it has it.
    pub(in crate::fit) fn hold(
        &self,
        lower: &mut Vector,
        upper: &mut Vector,
        floor: impl Fn(f64) -> f64,
    ) {
        let Pins { e, alpha, beta } = self.pins;
        for (i, value) in [(1, alpha), (3, beta), (4, e.map(floor))] {
            if let Some(value) = value {
                (lower[i], upper[i]) = (value, value);
            }
        }
    }

    /// Names of the parameters that ended at a bound, by the optimiser's order; a pinned one has none.
    pub(in crate::fit) fn at_bound(&self, bound: [bool; P]) -> Vec<String> {
        let ended = NAMES.iter().zip(bound).filter(|(_, bound)| *bound).map(|(name, _)| *name);
        ended.filter(|name| self.pins.get(name).is_none()).map(Into::into).collect()
    }

    pub(in crate::fit) fn len(&self) -> usize {
        self.x.len()
    }

    /// The same runs counted `weight` times; those counted never are dropped.
    pub(in crate::fit) fn reweighted(&self, weight: &[f64]) -> Self {
        let keep = |v: &[f64]| {
            v.iter().zip(weight).filter(|(_, w)| **w > 0.0).map(|(v, _)| *v).collect::<Vec<f64>>()
        };
        Self {
            x: keep(&self.x),
            y: keep(&self.y),
            loss: keep(&self.loss),
            log_loss: keep(&self.log_loss),
            weight: keep(weight),
            ..*self
        }
    }

    /// The same design with other losses, given as logarithms.
    pub(in crate::fit) fn with_log_loss(&self, log_loss: Vec<f64>) -> Self {
        Self { loss: log_loss.iter().map(|l| l.exp()).collect(), log_loss, ..self.clone() }
    }

    /// Rows of one N and one D, as ranges: seeds, or other settings at one point of the design. Sorted
    /// rows have them side by side; any that do not are cells of their own, which costs time alone.
    pub(in crate::fit) fn cells(&self) -> Vec<Range<usize>> {
        let mut cells: Vec<Range<usize>> = Vec::new();
        for i in 0..self.len() {
            match cells.last_mut() {
                Some(c) if self.x[c.start] == self.x[i] && self.y[c.start] == self.y[i] => {
                    c.end = i + 1;
                }
                _ => cells.push(i..i + 1),
            }
        }
        cells
    }

    /// The mean loss of each cell: all that least squares wants to know.
    pub(in crate::fit) fn means(&self) -> Means {
        let cells = self.cells();
        let mut within = 0.0;
        let (mut losses, mut weights) = (Vec::new(), Vec::new());
        for cell in &cells {
            let (loss, weight) = (&self.loss[cell.clone()], &self.weight[cell.clone()]);
            let total: f64 = weight.iter().sum();
            let mean = loss.iter().zip(weight).map(|(l, w)| l * w).sum::<f64>() / total;
            within += loss.iter().zip(weight).map(|(l, w)| w * (l - mean).powi(2)).sum::<f64>();
            losses.push(mean);
            weights.push(total);
        }
        let first = |v: &[f64]| Lanes::of(&cells.iter().map(|c| v[c.start]).collect::<Vec<_>>());
        let (x, y) = (first(&self.x), first(&self.y));
        let (loss, weight) = (Lanes::of(&losses), Lanes::of(&weights));
        let eight = |i: usize| Mean { x: x[i], y: y[i], loss: loss[i], weight: weight[i] };
        Means { eights: (0..x.len()).map(eight).collect(), within }
    }

    /// Smallest and largest loss [nats/token].
    pub(in crate::fit) fn loss_range(&self) -> (f64, f64) {
        self.loss.iter().fold((f64::MAX, 0.0), |(l, h), v| (l.min(*v), h.max(*v)))
    }

    /// ln of the law at row `i`.
    pub(in crate::fit) fn log_law(&self, surface: &Surface, i: usize) -> f64 {
        let size = scaled(surface.a, surface.alpha, self.mean_x);
        let data = scaled(surface.b, surface.beta, self.mean_y);
        (surface.e
            + size * (-surface.alpha * self.x[i]).exp()
            + data * (-surface.beta * self.y[i]).exp())
        .ln()
    }

    /// ln(measured / fitted) of every row.
    pub(in crate::fit) fn residuals(&self, surface: &Surface) -> Vec<f64> {
        (0..self.len()).map(|i| self.log_loss[i] - self.log_law(surface, i)).collect()
    }

    /// Why this sample cannot determine five parameters, or nothing when it may.
    pub(in crate::fit) fn unfit(&self) -> Option<String> {
        let n = self.len();
        let free = self.pins.free();
        if n <= free {
            return Some(format!("{n} runs cannot determine {free} parameters and their scatter"));
        }
        self.confounded()
    }

    /// Why the design cannot tell the parts of any law of N and D from each other, or nothing when it
    /// may.
    pub(in crate::fit) fn confounded(&self) -> Option<String> {
        let n = self.len();
        for (what, column) in [("sizes N", &self.x), ("token counts D", &self.y)] {
            let distinct = distinct(column);
            if distinct < 3 {
                return Some(format!(
                    "{distinct} distinct {what}: an offset and an exponent need 3"
                ));
            }
        }
        let total: f64 = self.weight.iter().sum();
        let mean = |v: &[f64]| v.iter().zip(&self.weight).map(|(v, w)| v * w).sum::<f64>() / total;
        let (mx, my) = (mean(&self.x), mean(&self.y));
        let (mut sxx, mut syy, mut sxy) = (0.0, 0.0, 0.0);
        for i in 0..n {
            let (dx, dy, w) = (self.x[i] - mx, self.y[i] - my, self.weight[i]);
            sxx += w * dx * dx;
            syy += w * dy * dy;
            sxy += w * dx * dy;
        }
        let across = 1.0 - sxy * sxy / (sxx * syy);
        if across < 1e-4 {
            return Some(
                "D is a power of N in these runs: the exponents of size and data cannot be told \
                 apart"
                    .into(),
            );
        }
        let (least, most) = self.loss_range();
        (most / least - 1.0 < 1e-9).then(|| "every run has the same loss".into())
    }
}

/// The cells of a sample by their means.
pub(in crate::fit) struct Means {
    /// Eight cells at a time; the last are filled up with cells of no weight.
    pub(in crate::fit) eights: Vec<Mean>,
    /// Sum of squares of the losses about the means of their cells.
    pub(in crate::fit) within: f64,
}

/// Eight cells.
pub(in crate::fit) struct Mean {
    /// ln N - mean ln N.
    pub(in crate::fit) x: Lanes,
    /// ln D - mean ln D.
    pub(in crate::fit) y: Lanes,
    /// Mean loss [nats/token].
    pub(in crate::fit) loss: Lanes,
    /// Sum of the weights.
    pub(in crate::fit) weight: Lanes,
}

/// Distinct values of a column of logarithms, to one part in a million.
pub(in crate::fit) fn distinct(column: &[f64]) -> usize {
    distinct_logs(column, 1e-6)
}

/// Distinct values of a column of logarithms, those within `apart` of each other being one.
pub(in crate::fit) fn distinct_logs(column: &[f64], apart: f64) -> usize {
    let mut sorted = column.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.dedup_by(|b, a| *b - *a < apart);
    sorted.len()
}

/// Term `factor * exp(-exponent * mean)`: the factor as seen from the centre of the data.
pub(in crate::fit) fn scaled(factor: f64, exponent: f64, mean: f64) -> f64 {
    if factor > 0.0 { (factor.ln() - exponent * mean).exp() } else { 0.0 }
}

/// One surface fit before it is dressed for the reader.
#[derive(Debug, Clone)]
pub(in crate::fit) struct SurfaceFit {
    pub(in crate::fit) surface: Surface,
    pub(in crate::fit) objective: f64,
    pub(in crate::fit) gradient: f64,
    pub(in crate::fit) condition: f64,
    pub(in crate::fit) iterations: usize,
    pub(in crate::fit) starts: usize,
    pub(in crate::fit) starts_at_best: usize,
    pub(in crate::fit) at_bound: Vec<String>,
}

impl SurfaceFit {
    /// What is left when no start has a finite objective: terms whose range overflows.
    pub(in crate::fit) fn none(starts: usize) -> Self {
        Self {
            surface: Surface { e: 0.0, a: 0.0, b: 0.0, alpha: 0.0, beta: 0.0 },
            objective: f64::MAX,
            gradient: 0.0,
            condition: 1.0,
            iterations: 0,
            starts,
            starts_at_best: 0,
            at_bound: NAMES.iter().map(|n| (*n).into()).collect(),
        }
    }

    /// Whether both terms are there and fall, so that a compute-optimal size exists.
    pub(in crate::fit) fn has_frontier(&self) -> bool {
        is_law(&self.surface)
    }
}

/// Whether a surface has finite parameters and two falling terms.
pub(in crate::fit) fn is_law(s: &Surface) -> bool {
    [s.e, s.a, s.b, s.alpha, s.beta].iter().all(|v| v.is_finite())
        && s.e >= 0.0
        && s.a > 0.0
        && s.b > 0.0
        && s.alpha > MIN_EXPONENT
        && s.beta > MIN_EXPONENT
}

/// Exponents below this are a constant over any range that can be trained: the term is then part of E.
pub(in crate::fit) const MIN_EXPONENT: f64 = 1e-3;
/// Exponents above this say only that a term has vanished at all but the smallest value.
pub(in crate::fit) const MAX_EXPONENT: f64 = 5.0;

/// Names of the parameters in the optimiser's order.
pub(in crate::fit) const NAMES: [&str; 5] = ["A", "alpha", "B", "beta", "E"];

/// The surface of `[A at the centre, alpha, B at the centre, beta, E]`.
pub(in crate::fit) fn surface_of(v: &Vector, mean_x: f64, mean_y: f64) -> Surface {
    let full = |factor: f64, exponent: f64, mean: f64| {
        if factor > 0.0 { (factor.ln() + exponent * mean).exp() } else { 0.0 }
    };
    Surface {
        e: v[4],
        a: full(v[0], v[1], mean_x),
        b: full(v[2], v[3], mean_y),
        alpha: v[1],
        beta: v[3],
    }
}

#[cfg(test)]
pub(in crate::fit) mod tests {
    use super::*;
    use crate::fit::numeric::stats::Random;

    /// Hoffmann et al. 2022, approach 3, as printed.
    pub(in crate::fit) const TRUTH: Surface =
        Surface { a: 406.4, b: 410.7, e: 1.69, alpha: 0.34, beta: 0.28 };

    /// IsoFLOP runs on [`TRUTH`]: `sizes` sizes within a factor `reach` of the optimum at each budget,
    /// ln L with normal noise of standard deviation `sigma`.
    pub(in crate::fit) fn study(
        budgets: &[f64],
        sizes: usize,
        reach: f64,
        sigma: f64,
        seed: u64,
    ) -> Vec<Point> {
        let mut random = Random::new(seed, 0);
        let mut points = Vec::new();
        for (b, &c) in budgets.iter().enumerate() {
            let (best, _) = TRUTH.optimum(&crate::fit::Compute::SixNd, c).unwrap();
            for i in 0..sizes {
                let params = best * reach.powf(2.0 * i as f64 / (sizes - 1) as f64 - 1.0);
                let tokens = c / (6.0 * params);
                points.push(Point {
                    id: format!("cell {b}.{i}"),
                    cluster: format!("cell {b}.{i}"),
                    params,
                    tokens,
                    flops: c,
                    loss: TRUTH.loss(params, tokens) * (sigma * random.normal()).exp(),
                    budget: Some(c),
                    unique_tokens: None,
                    counts: None,
                });
            }
        }
        points
    }

    #[test]
    fn designs_that_cannot_tell_the_exponents_apart_are_refused() {
        let runs = |d_of: fn(f64) -> f64| -> Vec<Point> {
            let mut points = study(&[1e18, 1e19], 6, 4.0, 0.0, 1);
            for p in &mut points {
                p.tokens = d_of(p.params);
            }
            points
        };
        let reason = |points: &[Point]| Sample::new(points).unfit();
        assert!(reason(&runs(|n| 20.0 * n)).unwrap().contains("D is a power of N"));
        assert!(reason(&runs(|_| 1e10)).unwrap().contains("distinct token counts"));
        assert!(reason(&study(&[1e18], 5, 4.0, 0.0, 1)).unwrap().contains("5 runs"));
        // One budget of C = 6ND is a line in (ln N, ln D), too.
        assert!(reason(&study(&[1e18], 9, 4.0, 0.0, 1)).unwrap().contains("D is a power of N"));
        let mut flat = study(&[1e18, 1e19], 6, 4.0, 0.0, 1);
        for p in &mut flat {
            p.loss = 3.0;
        }
        assert!(reason(&flat).unwrap().contains("same loss"));
        assert_eq!(reason(&study(&[1e18, 1e19], 6, 4.0, 0.0, 1)), None);
    }

    #[test]
    fn a_cell_has_one_size_and_one_number_of_tokens() {
        let mut points = study(&[1e18], 5, 4.0, 0.0, 1);
        let design = [(1e8, 2e9), (1e8, 2e9), (1e8, 3e9), (2e8, 3e9), (1e8, 2e9)];
        for (p, (params, tokens)) in points.iter_mut().zip(design) {
            (p.params, p.tokens) = (params, tokens);
        }
        assert_eq!(Sample::new(&points).cells(), [0..2, 2..3, 3..4, 4..5]);
    }

    #[test]
    fn the_law_of_a_row_is_the_law() {
        let points = study(&[1e18, 1e20], 6, 4.0, 0.0, 1);
        let sample = Sample::new(&points);
        for r in sample.residuals(&TRUTH) {
            assert!(r.abs() < 1e-14, "{r}");
        }
    }
}
