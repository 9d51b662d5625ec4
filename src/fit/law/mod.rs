//! The family of laws: each is a value with its formula, its parameters, its starts and its needs.
//!
//! A law is written once as ln L of its working parameters, which are chosen so that they are of order
//! one and hardly correlated at the centre of the data (the level of a term there, not its factor at
//! N = 1). `report` turns them into what the papers print, with the gradient, so that standard
//! deviations follow by the delta method.
//!
//! To add a law: one file beside this one, one line in [`LAWS`]. Read by: `forms`.

#![expect(clippy::inline_always, reason = "must take the instruction set of the caller")]

mod chinchilla;
mod compute;
mod coupled;
mod farseer;
mod farseer_starts;
mod fitted;
mod formula;
mod interaction;
mod kaplan;
mod repetition;
mod shared;

pub use fitted::{Fitted, Scale, again, fit, pinned, refit, robust};

use crate::fit::dual::{Dual, Number, Real};
use crate::fit::grid;
use crate::fit::groups::Group;
use crate::fit::lanes::Lanes;
use crate::fit::law::formula::{Form, Formula};
use crate::fit::pins::Pins;
use crate::fit::sample::{MAX_EXPONENT, MIN_EXPONENT, Sample};
use crate::points::Point;

/// Every law, in the order in which they are reported.
pub static LAWS: [&Law; 8] = [
    &chinchilla::LAW,
    &shared::LAW,
    &coupled::LAW,
    &interaction::LAW,
    &kaplan::LAW,
    &farseer::LAW,
    &repetition::LAW,
    &compute::LAW,
];

/// A law: what it says, and what it takes to fit it.
#[derive(Debug)]
pub struct Law {
    /// Name in `fit.json`.
    pub name: &'static str,
    /// The formula.
    pub equation: &'static str,
    /// Where it is from.
    pub source: &'static str,
    /// What is reported. The first [`Law::free`] are fitted, the others follow from them.
    pub values: &'static [Value],
    /// Fitted parameters.
    pub free: usize,
    /// ln L of the working parameters.
    form: Form,
    /// The reported values of the working parameters; fitted value `i` belongs to parameter `i`.
    report: fn(&[Dual], &Centre) -> Vec<Dual>,
    /// Values that the formula needs besides and that no fit moves; they are reported after the fitted ones.
    pub given: usize,
    /// Fitted values that may be given instead: each is a working parameter, or the exponential of one, whatever the
    /// others are.
    pinnable: &'static [&'static str],
    /// The working parameters of fitted and given values, for the centre `seen_from`.
    working: fn(&[f64]) -> Vec<f64>,
    /// Where fitted and given values are seen from: [`origin`] unless a law reports it.
    seen_from: fn(&[f64]) -> Centre,
    /// Where the working parameters may lie.
    bounds: fn(&Runs) -> Vec<(f64, f64)>,
    /// Where to start from.
    starts: fn(&Runs) -> Vec<Vec<f64>>,
    /// Why these runs cannot determine the law, or nothing when they may.
    lacks: fn(&Runs) -> Option<String>,
    /// Which runs the law speaks of.
    choose: fn(&[Point], &[Group]) -> Vec<usize>,
    /// Working parameters that are logarithms of a term of the loss, and so can vanish.
    terms: &'static [usize],
    /// Whether N and D enter apart from each other, so that there is a compute-optimal size.
    pub surface: bool,
    /// The loss that infinite N and D leave, of the fitted values [nats/token]; nothing where it has no limit.
    pub irreducible: fn(&[f64]) -> Option<f64>,
    /// Whether its sum of squares has several minima, so that no value at a start tells which is lowest.
    rugged: bool,
}

/// One reported number of a law.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Value {
    /// Name, as in the equation.
    pub name: &'static str,
    /// Unit; `-` for a pure number, [`LOSS`](crate::units::LOSS) for that of the loss.
    pub unit: &'static str,
}

impl Law {
    /// The law of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        LAWS.into_iter().find(|law| law.name == name)
    }

    /// The runs that the law speaks of, `points` being sorted by compute.
    pub(super) fn rows(&self, points: &[Point], groups: &[Group]) -> Vec<usize> {
        (self.choose)(points, groups)
    }

    /// The working parameters that `pins` hold, with their values; or why the law has no such parameter.
    fn held(&self, pins: Pins) -> Result<Vec<(usize, f64)>, String> {
        let place = |(name, value): (&'static str, f64)| {
            let named = |v: &Value| v.name == name && self.pinnable.contains(&name);
            let at = self.values[..self.free].iter().position(named);
            let at = at.ok_or_else(|| format!("it has no {name} to pin, and is in no average"))?;
            let mut values = vec![1.0; self.free + self.given];
            values[at] = value;
            Ok((at, (self.working)(&values)[at]))
        };
        pins.named().map(place).collect()
    }

    /// The loss of a run under fitted and given values, in the order of [`Law::values`] [nats/token].
    ///
    /// Nothing when there are neither [`Law::free`] of them, as the papers print them, nor these with the
    /// [`Law::given`] ones.
    pub fn loss(&self, values: &[f64], run: &Run) -> Option<f64> {
        [self.free, self.free + self.given].contains(&values.len()).then(|| {
            (self.form.value)(&(self.working)(values), run, &(self.seen_from)(values)).exp()
        })
    }
}

/// A law under given values, ready to be asked often.
#[derive(Debug, Clone)]
pub struct Curve {
    law: &'static Law,
    theta: Vec<f64>,
    centre: Centre,
}

impl Curve {
    /// A law under fitted and given values; nothing when there are not as many as [`Law::loss`] takes.
    pub fn new(law: &'static Law, values: &[f64]) -> Option<Self> {
        [law.free, law.free + law.given].contains(&values.len()).then(|| Self {
            law,
            theta: (law.working)(values),
            centre: (law.seen_from)(values),
        })
    }

    /// ln L of a run.
    pub fn ln_loss(&self, run: &Run) -> f64 {
        (self.law.form.value)(&self.theta, run, &self.centre)
    }
}

/// What a law may know of a run, or of eight: natural logarithms.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Run<R = f64> {
    /// ln N.
    pub n: R,
    /// ln D.
    pub d: R,
    /// ln of the distinct tokens U; not above ln D.
    pub u: R,
    /// ln C.
    pub c: R,
}

impl Run {
    /// A run of `params` parameters on `tokens` fresh tokens at C = 6ND [parameters, tokens].
    pub fn new(params: f64, tokens: f64) -> Self {
        let (n, d) = (params.ln(), tokens.ln());
        Self { n, d, u: d, c: 6.0_f64.ln() + n + d }
    }

    /// The same with `unique` distinct tokens; more than D are D [tokens].
    #[must_use]
    pub fn unique(self, unique: f64) -> Self {
        Self { u: unique.ln().min(self.d), ..self }
    }

    /// The same at another compute [FLOP].
    #[must_use]
    pub fn flops(self, flops: f64) -> Self {
        Self { c: flops.ln(), ..self }
    }

    pub(super) fn of(point: &Point) -> Self {
        let run = Self::new(point.params, point.tokens).flops(point.flops);
        point.unique_tokens.map_or(run, |unique| run.unique(unique))
    }
}

/// Where the working parameters see the data from: mean ln N, ln D and ln C.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Centre {
    n: f64,
    d: f64,
    c: f64,
}

impl Centre {
    /// N = D = C = 1: factors as the papers print them.
    const ORIGIN: Self = Self { n: 0.0, d: 0.0, c: 0.0 };
}

/// The runs of one fit.
#[derive(Debug, Clone)]
pub(super) struct Runs {
    rows: Vec<Run>,
    /// The same, eight at a time; the last are filled up.
    eights: Vec<Run<Lanes>>,
    loss: Vec<f64>,
    log_loss: Vec<f64>,
    centre: Centre,
    /// Why the design cannot tell N from D, whatever the law.
    confounded: Option<String>,
}

impl Runs {
    /// `points` in their order, which the caller has sorted, seen from `centre` or from their own.
    fn new(points: &[Point], centre: Option<Centre>) -> Self {
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
    fn ln_losses(&self, form: &Form, theta: &[f64]) -> Vec<f64> {
        let mut out = vec![Lanes::default(); self.eights.len()];
        (form.values)(theta, &self.eights, &self.centre, &mut out);
        formula::flat(&out, self.rows.len())
    }

    /// The same, and its derivative in each parameter, one column each.
    fn ln_slopes(&self, form: &Form, theta: &[f64]) -> (Vec<f64>, Vec<Vec<f64>>) {
        let mut out = vec![Lanes::default(); self.eights.len()];
        let mut columns = vec![out.clone(); theta.len()];
        (form.slopes)(theta, &self.eights, &self.centre, &mut out, &mut columns);
        let flat = |eights: &Vec<Lanes>| formula::flat(eights, self.rows.len());
        (flat(&out), columns.iter().map(flat).collect())
    }

    /// A power of each run's N, D or C as seen from the centre.
    fn power(&self, exponent: f64, of: fn(&Run, &Centre) -> f64) -> Vec<f64> {
        self.rows.iter().map(|run| (exponent * of(run, &self.centre)).exp()).collect()
    }

    fn least(&self) -> f64 {
        self.loss.iter().copied().fold(f64::MAX, f64::min)
    }

    /// ln of the smallest and of the largest loss.
    fn log_range(&self) -> (f64, f64) {
        (self.least().ln(), self.loss.iter().copied().fold(0.0, f64::max).ln())
    }

    /// Where ln of a term of the loss may lie.
    fn term(&self) -> (f64, f64) {
        let (least, most) = self.log_range();
        (least - VANISHED, most + 3.0)
    }

    /// Where ln E may lie: E is below every loss.
    fn floor(&self) -> (f64, f64) {
        let (least, _) = self.log_range();
        (least - VANISHED, least)
    }

    /// Why the design cannot tell N from D, whatever the law, or nothing when it may.
    fn lacks_spread(&self) -> Option<String> {
        self.confounded.clone()
    }

    /// ln of a term that is about to start a descent: well below the others rather than gone, where its
    /// gradient is not yet zero.
    fn log_term(&self, term: f64) -> f64 {
        term.max(1e-2 * self.least()).ln()
    }
}

/// A term whose share of the smallest loss is below exp(-15) = 3e-7 has vanished.
const VANISHED: f64 = 15.0;

/// Where an exponent may lie.
const EXPONENT: (f64, f64) = (MIN_EXPONENT, MAX_EXPONENT);

/// Exponents to start from: a factor of about 1.5 apart, over what has been published and beyond.
const GRID: [f64; 8] = [0.06, 0.1, 0.16, 0.25, 0.37, 0.55, 0.83, 1.25];

/// ln N, ln D and ln C from the centre.
#[inline(always)]
fn size<R: Real>(run: &Run<R>, centre: &Centre) -> R {
    run.n - R::all(centre.n)
}

#[inline(always)]
fn data<R: Real>(run: &Run<R>, centre: &Centre) -> R {
    run.d - R::all(centre.d)
}

#[inline(always)]
fn compute_of<R: Real>(run: &Run<R>, centre: &Centre) -> R {
    run.c - R::all(centre.c)
}

/// ln of a sum of exponentials.
#[inline(always)]
fn log_sum<T: Number, const K: usize>(terms: [T; K]) -> T {
    let mut top = terms[0].value();
    for t in &terms[1..] {
        top = top.if_below(t.value(), t.value(), top);
    }
    let mut sum = terms[0].plus(-top).exp();
    for t in &terms[1..] {
        sum = sum + t.plus(-top).exp();
    }
    sum.ln().plus(top)
}

/// Runs, eight at a time.
fn eights(rows: &[Run]) -> Vec<Run<Lanes>> {
    let column = |of: fn(&Run) -> f64| Lanes::of(&rows.iter().map(of).collect::<Vec<f64>>());
    let (n, d, u, c) = (column(|r| r.n), column(|r| r.d), column(|r| r.u), column(|r| r.c));
    (0..n.len()).map(|i| Run { n: n[i], d: d[i], u: u[i], c: c[i] }).collect()
}

/// E, A and B, none below zero, for which E + A u + B v is nearest to the losses.
fn factors(loss: &[f64], u: &[f64], v: &[f64]) -> [f64; 3] {
    let dot = |l: &[f64], r: &[f64]| l.iter().zip(r).map(|(x, y)| x * y).sum::<f64>();
    let sum = |v: &[f64]| v.iter().sum::<f64>();
    let (n, uv) = (loss.len() as f64, dot(u, v));
    let gram = [[n, sum(u), sum(v)], [sum(u), dot(u, u), uv], [sum(v), uv, dot(v, v)]];
    grid::nonnegative(&gram, &[sum(loss), dot(u, loss), dot(v, loss)], dot(loss, loss)).1
}

/// N = D = C = 1.
fn origin(_: &[f64]) -> Centre {
    Centre::ORIGIN
}

/// The first fitted value: E.
fn first(values: &[f64]) -> Option<f64> {
    values.first().copied()
}

/// Every run.
fn every(points: &[Point], _: &[Group]) -> Vec<usize> {
    (0..points.len()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::groups;

    /// Runs on a law: `sizes` by `tokens`, spaced by factors.
    pub(super) fn runs_on(law: &Law, values: &[f64], unique: Option<f64>) -> Vec<Point> {
        let mut points = Vec::new();
        for i in 0..6 {
            for j in 0..6 {
                let params = 1e8 * 2.5_f64.powi(i);
                let tokens = 2e9 * 3.0_f64.powi(j);
                let run = Run::new(params, tokens);
                let run = unique.map_or(run, |unique| run.unique(unique));
                points.push(Point {
                    id: format!("{i}.{j}"),
                    cluster: format!("{i}.{j}"),
                    params,
                    tokens,
                    flops: 6.0 * params * tokens,
                    loss: law.loss(values, &run).unwrap(),
                    budget: None,
                    unique_tokens: unique,
                    counts: None,
                });
            }
        }
        points.sort_by(|l, r| l.flops.total_cmp(&r.flops).then(l.params.total_cmp(&r.params)));
        points
    }

    /// Central differences of the value, at the truth and at two starts, for every run.
    pub(super) fn gradient_is_the_difference_quotient(law: &Law, values: &[f64], points: &[Point]) {
        let runs = Runs::new(points, None);
        let starts = (law.starts)(&runs);
        let places = [
            ((law.working)(values), (law.seen_from)(values)),
            (starts[0].clone(), runs.centre),
            (starts[starts.len() / 2].clone(), runs.centre),
        ];
        for (theta, centre) in places {
            let duals = Dual::parameters(&theta);
            // Eight rows at a time say what one row says, to a few roundings.
            let eights = Runs { centre, ..runs.clone() };
            let (values, columns) = eights.ln_slopes(&law.form, &theta);
            assert_eq!(values, eights.ln_losses(&law.form, &theta));
            for (row, run) in runs.rows.iter().enumerate() {
                let dual = (law.form.gradient)(&duals[..law.free], run, &centre);
                assert!((values[row] - dual.value).abs() < 1e-13 * (1.0 + dual.value.abs()));
                for (column, slope) in columns.iter().zip(dual.gradient) {
                    assert!((column[row] - slope).abs() < 1e-11 * (1.0 + slope.abs()), "{row}");
                }
                assert!((dual.value - (law.form.value)(&theta, run, &centre)).abs() < 1e-13);
                for i in 0..law.free {
                    let shifted = |h: f64| {
                        let mut moved = theta.clone();
                        moved[i] += h;
                        (law.form.value)(&moved, run, &centre)
                    };
                    let slope = (shifted(1e-6) - shifted(-1e-6)) / 2e-6;
                    let got = dual.gradient[i];
                    assert!((got - slope).abs() < 1e-7 * (1.0 + slope.abs()), "{i}: {got} {slope}");
                }
            }
        }
    }

    /// Noise-free runs give back the constants that they were made with.
    pub(super) fn recovers(law: &'static Law, values: &[f64], points: &[Point], within: f64) {
        let rows = law.rows(points, &groups::budgets(points));
        let own: Vec<Point> = rows.iter().map(|i| points[*i].clone()).collect();
        let found = fit(law, &own, Scale::Log).unwrap();
        for ((value, got), want) in law.values.iter().zip(found.values()).zip(values) {
            assert!((got.0 / want - 1.0).abs() < within, "{}: {} {want}", value.name, got.0);
        }
        assert!(found.at_bound().is_empty() && found.solution.gradient < 1e-4, "{found:?}");
        assert!(2 * found.solution.starts_at_best >= found.solution.starts, "{:?}", found.solution);
    }

    #[test]
    fn names_are_unique_and_every_law_is_found_by_its_name() {
        for law in LAWS {
            assert!(std::ptr::eq(Law::named(law.name).unwrap(), law));
            assert!(law.free + law.given <= law.values.len() && law.free <= crate::fit::dual::MAX);
        }
    }

    #[test]
    fn a_sum_of_exponentials_neither_overflows_nor_minds_a_missing_term() {
        assert_eq!(log_sum([1e4, f64::NEG_INFINITY]), 1e4);
        assert!((log_sum([2.0_f64.ln(), 3.0_f64.ln()]) - 5.0_f64.ln()).abs() < 1e-15);
    }
}
