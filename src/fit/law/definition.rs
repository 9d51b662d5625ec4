//! A law as a value: what it says, and what it takes to fit it.

use crate::fit::data::budgets::Group;
use crate::fit::law::formula::Form;
use crate::fit::law::run::{Centre, Run};
use crate::fit::law::runs::Runs;
use crate::fit::numeric::dual::Dual;
use crate::fit::pins::Pins;
use crate::points::Point;

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
    pub(in crate::fit) form: Form,
    /// The reported values of the working parameters; fitted value `i` belongs to parameter `i`.
    pub(in crate::fit) report: fn(&[Dual], &Centre) -> Vec<Dual>,
    /// Values that the formula needs besides and that no fit moves; they are reported after the fitted ones.
    pub given: usize,
    /// Fitted values that may be given instead: each is a working parameter, or the exponential of one, whatever the
    /// others are.
    pub(in crate::fit) pinnable: &'static [&'static str],
    /// The working parameters of fitted and given values, for the centre `seen_from`.
    pub(in crate::fit) working: fn(&[f64]) -> Vec<f64>,
    /// Where fitted and given values are seen from: [`origin`] unless a law reports it.
    pub(in crate::fit) seen_from: fn(&[f64]) -> Centre,
    /// Where the working parameters may lie.
    pub(in crate::fit) bounds: fn(&Runs) -> Vec<(f64, f64)>,
    /// Where to start from.
    pub(in crate::fit) starts: fn(&Runs) -> Vec<Vec<f64>>,
    /// Why these runs cannot determine the law, or nothing when they may.
    pub(in crate::fit) lacks: fn(&Runs) -> Option<String>,
    /// Which runs the law speaks of.
    pub(in crate::fit) choose: fn(&[Point], &[Group]) -> Vec<usize>,
    /// Working parameters that are logarithms of a term of the loss, and so can vanish.
    pub(in crate::fit) terms: &'static [usize],
    /// Whether N and D enter apart from each other, so that there is a compute-optimal size.
    pub surface: bool,
    /// The loss that infinite N and D leave, of the fitted values [nats/token]; nothing where it has no limit.
    pub irreducible: fn(&[f64]) -> Option<f64>,
    /// Whether its sum of squares has several minima, so that no value at a start tells which is lowest.
    pub(in crate::fit) rugged: bool,
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
    /// The runs that the law speaks of, `points` being sorted by compute.
    pub(in crate::fit) fn rows(&self, points: &[Point], groups: &[Group]) -> Vec<usize> {
        (self.choose)(points, groups)
    }

    /// The working parameters that `pins` hold, with their values; or why the law has no such parameter.
    pub(in crate::fit) fn held(&self, pins: Pins) -> Result<Vec<(usize, f64)>, String> {
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
    pub(in crate::fit) law: &'static Law,
    pub(in crate::fit) theta: Vec<f64>,
    pub(in crate::fit) centre: Centre,
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

/// N = D = C = 1.
pub(in crate::fit) fn origin(_: &[f64]) -> Centre {
    Centre::ORIGIN
}

/// The first fitted value: E.
pub(in crate::fit) fn first(values: &[f64]) -> Option<f64> {
    values.first().copied()
}

/// Every run.
pub(in crate::fit) fn every(points: &[Point], _: &[Group]) -> Vec<usize> {
    (0..points.len()).collect()
}
