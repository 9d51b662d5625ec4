//! The runs of one fit, and the ranges and starts that follow from them.

use crate::fit::data::sample::{MAX_EXPONENT, MIN_EXPONENT, Sample};
use crate::fit::law::formula::{self, Form};
use crate::fit::law::run::{Centre, Run};
use crate::fit::numeric::lanes::Lanes;
use crate::fit::surface::grid;
use crate::points::Point;

/// The runs of one fit.
#[derive(Debug, Clone)]
pub(in crate::fit) struct Runs {
    pub(in crate::fit) rows: Vec<Run>,
    /// The same, eight at a time; the last are filled up.
    pub(in crate::fit) eights: Vec<Run<Lanes>>,
    pub(in crate::fit) loss: Vec<f64>,
    pub(in crate::fit) log_loss: Vec<f64>,
    pub(in crate::fit) centre: Centre,
    /// Why the design cannot tell N from D, whatever the law.
    pub(in crate::fit) confounded: Option<String>,
}

impl Runs {
    /// `points` in their order, which the caller has sorted, seen from `centre` or from their own.
    pub(in crate::fit) fn new(points: &[Point], centre: Option<Centre>) -> Self {
        let count = points.len().max(1) as f64;
        let mean = |of: fn(&Point) -> f64| points.iter().map(|p| of(p).ln()).sum::<f64>() / count;
        let own = || Centre { n: mean(|p| p.params), d: mean(|p| p.tokens), c: mean(|p| p.flops) };
        let rows: Vec<Run> = points.iter().map(Run::of).collect();
        let sample = Sample::new(points);
        Self {
            eights: eights(&rows),
            centre: centre.unwrap_or_else(own),
            confounded: sample.confounded(),
            loss: sample.loss,
            log_loss: sample.log_loss,
            rows,
        }
    }

    /// ln L of every run under a form.
    pub(in crate::fit) fn ln_losses(&self, form: &Form, theta: &[f64]) -> Vec<f64> {
        let mut out = vec![Lanes::default(); self.eights.len()];
        (form.values)(theta, &self.eights, &self.centre, &mut out);
        formula::flat(&out, self.rows.len())
    }

    /// The same, and its derivative in each parameter, one column each.
    pub(in crate::fit) fn ln_slopes(
        &self,
        form: &Form,
        theta: &[f64],
    ) -> (Vec<f64>, Vec<Vec<f64>>) {
        let mut out = vec![Lanes::default(); self.eights.len()];
        let mut columns = vec![out.clone(); theta.len()];
        (form.slopes)(theta, &self.eights, &self.centre, &mut out, &mut columns);
        let flat = |eights: &Vec<Lanes>| formula::flat(eights, self.rows.len());
        (flat(&out), columns.iter().map(flat).collect())
    }

    /// A power of each run's N, D or C as seen from the centre.
    pub(in crate::fit) fn power(&self, exponent: f64, of: fn(&Run, &Centre) -> f64) -> Vec<f64> {
        self.rows.iter().map(|run| (exponent * of(run, &self.centre)).exp()).collect()
    }

    pub(in crate::fit) fn least(&self) -> f64 {
        self.loss.iter().copied().fold(f64::MAX, f64::min)
    }

    /// ln of the smallest and of the largest loss.
    pub(in crate::fit) fn log_range(&self) -> (f64, f64) {
        (self.least().ln(), self.loss.iter().copied().fold(0.0, f64::max).ln())
    }

    /// Where ln of a term of the loss may lie.
    pub(in crate::fit) fn term(&self) -> (f64, f64) {
        let (least, most) = self.log_range();
        (least - VANISHED, most + 3.0)
    }

    /// Where ln E may lie: E is below every loss.
    pub(in crate::fit) fn floor(&self) -> (f64, f64) {
        let (least, _) = self.log_range();
        (least - VANISHED, least)
    }

    /// Why the design cannot tell N from D, whatever the law, or nothing when it may.
    pub(in crate::fit) fn lacks_spread(&self) -> Option<String> {
        self.confounded.clone()
    }

    /// ln of a term that is about to start a descent: well below the others rather than gone, where its
    /// gradient is not yet zero.
    pub(in crate::fit) fn log_term(&self, term: f64) -> f64 {
        term.max(1e-2 * self.least()).ln()
    }
}

/// A term whose share of the smallest loss is below exp(-15) = 3e-7 has vanished.
pub(in crate::fit) const VANISHED: f64 = 15.0;

/// Where an exponent may lie.
pub(in crate::fit) const EXPONENT: (f64, f64) = (MIN_EXPONENT, MAX_EXPONENT);

/// Exponents to start from: a factor of about 1.5 apart, over what has been published and beyond.
pub(in crate::fit) const GRID: [f64; 8] = [0.06, 0.1, 0.16, 0.25, 0.37, 0.55, 0.83, 1.25];

/// Runs, eight at a time.
fn eights(rows: &[Run]) -> Vec<Run<Lanes>> {
    let column = |of: fn(&Run) -> f64| Lanes::of(&rows.iter().map(of).collect::<Vec<f64>>());
    let (n, d, u, c) = (column(|r| r.n), column(|r| r.d), column(|r| r.u), column(|r| r.c));
    (0..n.len()).map(|i| Run { n: n[i], d: d[i], u: u[i], c: c[i] }).collect()
}

/// E, A and B, none below zero, for which E + A u + B v is nearest to the losses.
pub(in crate::fit) fn factors(loss: &[f64], u: &[f64], v: &[f64]) -> [f64; 3] {
    let dot = |l: &[f64], r: &[f64]| l.iter().zip(r).map(|(x, y)| x * y).sum::<f64>();
    let sum = |v: &[f64]| v.iter().sum::<f64>();
    let (n, uv) = (loss.len() as f64, dot(u, v));
    let gram = [[n, sum(u), sum(v)], [sum(u), dot(u, u), uv], [sum(v), uv, dot(v, v)]];
    grid::nonnegative(&gram, &[sum(loss), dot(u, loss), dot(v, loss)], dot(loss, loss)).1
}
