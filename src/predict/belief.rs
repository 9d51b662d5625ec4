//! One law of loss, whatever its form: its value, its compute-optimal path, and the path walked backwards.
//!
//! Surfaces of the Chinchilla form answer in closed form, all others by their values. Arguments are natural
//! logarithms of N, D and C.

use super::path;
use crate::fit::law::{Curve, Run};
use crate::fit::{Compute, Surface, bisect};

/// How far from a guess an optimum is looked for: a factor of e^6 in N, in steps.
const REACH: f64 = 6.0;
const STEP: f64 = 0.25;
/// Half-width of the differences in ln N, ln D [-].
const WIDTH: f64 = 0.02;
/// Distance in ln C within which a loss, a size or a number of tokens is looked for.
const FAR: f64 = 80.0;

/// A law of loss.
pub(super) trait Belief {
    /// ln L of a run on fresh tokens; not finite where the law says nothing.
    fn ln_loss(&self, ln_n: f64, ln_d: f64) -> f64;

    /// ln N of the lowest loss at compute C, where that is a minimum; looked for near `guess`.
    fn optimum(&self, compute: &Compute, ln_c: f64, guess: f64) -> Option<f64> {
        let at = |ln_n: f64| self.ln_loss(ln_n, ln_c - compute.log_per_token(ln_n).0);
        minimum(&at, guess)
    }

    /// ln C at which the path reaches ln L; looked for near (ln C, ln N).
    fn reaching(&self, compute: &Compute, ln_loss: f64, near: (f64, f64)) -> Option<f64> {
        let best = |ln_c: f64| {
            let ln_n = self.optimum(compute, ln_c, guess(near, ln_c))?;
            Some(self.ln_loss(ln_n, ln_c - compute.log_per_token(ln_n).0))
        };
        crossing(&|ln_c| Some(ln_loss - best(ln_c)?), near.0)
    }

    /// ln C at which a model of ln N is optimal.
    fn sized(&self, compute: &Compute, ln_n: f64, near: (f64, f64)) -> Option<f64> {
        crossing(&|ln_c| Some(self.optimum(compute, ln_c, guess(near, ln_c))? - ln_n), near.0)
    }

    /// ln C at which ln D tokens are optimal.
    fn fed(&self, compute: &Compute, ln_d: f64, near: (f64, f64)) -> Option<f64> {
        let tokens = |ln_c: f64| {
            let ln_n = self.optimum(compute, ln_c, guess(near, ln_c))?;
            Some(ln_c - compute.log_per_token(ln_n).0 - ln_d)
        };
        crossing(&tokens, near.0)
    }

    /// Whether the loss falls with N and with D there, and is a number.
    fn falls(&self, ln_n: f64, ln_d: f64) -> bool {
        let at = |n: f64, d: f64| self.ln_loss(ln_n + n, ln_d + d);
        // Rounding, and terms that have vanished, are no rise.
        let slack = 1e-9;
        at(0.0, 0.0).is_finite()
            && at(WIDTH, 0.0) - at(-WIDTH, 0.0) < slack
            && at(0.0, WIDTH) - at(0.0, -WIDTH) < slack
    }
}

/// Sizes grow about as the square root of compute.
fn guess((ln_c, ln_n): (f64, f64), at: f64) -> f64 {
    ln_n + 0.5 * (at - ln_c)
}

/// The nearest local minimum to `guess`, to the last digits of its place.
fn minimum(at: &dyn Fn(f64) -> f64, guess: f64) -> Option<f64> {
    let steps = (REACH / STEP) as i32;
    let values: Vec<f64> = (-steps..=steps).map(|i| at(guess + STEP * f64::from(i))).collect();
    // Comparisons with what is no number are false.
    let lowest = (1..values.len() - 1)
        .filter(|i| values[*i] < values[i - 1] && values[*i] <= values[i + 1])
        .min_by_key(|i| i.abs_diff(values.len() / 2))?;
    let middle = guess + STEP * (lowest as f64 - f64::from(steps));
    let slope = |x: f64| {
        8.0 * (at(x + WIDTH) - at(x - WIDTH)) - (at(x + 2.0 * WIDTH) - at(x - 2.0 * WIDTH))
    };
    let ends = [middle - STEP, middle + STEP];
    let at_ends = ends.map(slope);
    root(&|x| Some(slope(x)), ends, at_ends)
}

/// Zero of a function between two places where its signs differ, by the Illinois method: secants, of which the end
/// that stays counts half (Dowell & Jarratt 1971, doi:10.1007/BF01934364). To 1e-12.
fn root(
    of: &dyn Fn(f64) -> Option<f64>,
    [mut low, mut high]: [f64; 2],
    [mut below, mut above]: [f64; 2],
) -> Option<f64> {
    for (end, value) in [(low, below), (high, above)] {
        if value == 0.0 {
            return Some(end);
        }
    }
    let mut stayed = 0;
    for _ in 0..80 {
        if high - low < 1e-12 {
            break;
        }
        let secant = (low * above - high * below) / (above - below);
        // Rounding may put it outside, and three secants of one side are no progress.
        let inside = secant > low && secant < high && stayed < 3;
        let x = if inside { secant } else { 0.5 * (low + high) };
        let value = of(x)?;
        if value == 0.0 || !value.is_finite() {
            return value.is_finite().then_some(x);
        }
        if (value < 0.0) == (below < 0.0) {
            (low, below) = (x, value);
            above *= 0.5;
            stayed = if stayed < 0 { 0 } else { stayed + 1 };
        } else {
            (high, above) = (x, value);
            below *= 0.5;
            stayed = if stayed > 0 { 0 } else { stayed - 1 };
        }
        stayed = if inside { stayed } else { 0 };
    }
    Some(0.5 * (low + high))
}

/// The lowest point of a function between two places that has one minimum there: a scan, then golden sections.
pub(super) fn lowest(at: &dyn Fn(f64) -> f64, from: f64, to: f64) -> Option<f64> {
    const NODES: usize = 48;
    let place = |i: usize| from + (to - from) * i as f64 / NODES as f64;
    let values: Vec<f64> = (0..=NODES).map(|i| at(place(i))).collect();
    let best = (0..=NODES)
        .filter(|i| values[*i].is_finite())
        .min_by(|l, r| values[*l].total_cmp(&values[*r]))?;
    let (mut low, mut high) = (place(best.saturating_sub(1)), place((best + 1).min(NODES)));
    let share = 0.5 * (5.0_f64.sqrt() - 1.0);
    let inner = |low: f64, high: f64| [high - share * (high - low), low + share * (high - low)];
    let mut places = inner(low, high);
    let mut losses = places.map(at);
    for _ in 0..40 {
        if losses[0] < losses[1] {
            high = places[1];
            (places[1], losses[1]) = (places[0], losses[0]);
            places[0] = inner(low, high)[0];
            losses[0] = at(places[0]);
        } else {
            low = places[0];
            (places[0], losses[0]) = (places[1], losses[1]);
            places[1] = inner(low, high)[1];
            losses[1] = at(places[1]);
        }
    }
    Some(0.5 * (low + high))
}

/// Where a function of ln C that rises crosses zero; nothing where it does not, or says nothing.
fn crossing(of: &dyn Fn(f64) -> Option<f64>, near: f64) -> Option<f64> {
    let (mut low, mut high, mut width) = (near, near, 1.0);
    let here = of(near)?;
    while here > 0.0 && of(low)? > 0.0 {
        (high, low) = (low, near - width);
        width *= 2.0;
        if width > 2.0 * FAR {
            return None;
        }
    }
    while here <= 0.0 && of(high)? <= 0.0 {
        (low, high) = (high, near + width);
        width *= 2.0;
        if width > 2.0 * FAR {
            return None;
        }
    }
    root(of, [low, high], [of(low)?, of(high)?])
}

impl Belief for Surface {
    fn ln_loss(&self, ln_n: f64, ln_d: f64) -> f64 {
        self.loss(ln_n.exp(), ln_d.exp()).ln()
    }

    fn optimum(&self, compute: &Compute, ln_c: f64, _: f64) -> Option<f64> {
        Some(Self::optimum(self, compute, ln_c.exp())?.0.ln())
    }

    fn reaching(&self, compute: &Compute, ln_loss: f64, _: (f64, f64)) -> Option<f64> {
        Some(path::flops_for_loss(self, compute, ln_loss.exp())?.ln())
    }

    fn sized(&self, compute: &Compute, ln_n: f64, _: (f64, f64)) -> Option<f64> {
        let tokens = path::tokens_for(self, compute, ln_n.exp())?;
        Some(compute.log_per_token(ln_n).0 + tokens.ln())
    }

    fn fed(&self, compute: &Compute, ln_d: f64, _: (f64, f64)) -> Option<f64> {
        let params = path::params_for(self, compute, ln_d.exp())?;
        Some(compute.log_per_token(params.ln()).0 + ln_d)
    }
}

/// A form of law under the compute of a fit.
#[derive(Debug, Clone)]
pub(super) struct Formed {
    pub(super) curve: Curve,
    pub(super) compute: Compute,
}

impl Belief for Formed {
    fn ln_loss(&self, ln_n: f64, ln_d: f64) -> f64 {
        let ln_c = self.compute.log_per_token(ln_n).0 + ln_d;
        self.curve.ln_loss(&Run { n: ln_n, d: ln_d, u: ln_d, c: ln_c })
    }
}

/// Tokens of a run with a model of ln N that reaches ln L: ln D. Nothing where an average only jumps over that loss,
/// because a form falls silent there.
pub(super) fn tokens_reaching(law: &dyn Belief, ln_n: f64, ln_loss: f64, near: f64) -> Option<f64> {
    let excess = |ln_d: f64| ln_loss - law.ln_loss(ln_n, ln_d);
    let root = bisect(excess, near)?;
    (excess(root).abs() < 1e-9).then_some(root)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crossing_is_found_also_where_the_search_begins() {
        for near in [3.0, 2.0, 4.0, -7.25, 40.0] {
            let found = crossing(&|x| Some((x - 3.0) * (1.0 + 0.1 * (x - 3.0).abs())), near);
            assert!((found.unwrap() - 3.0).abs() < 1e-11, "{near}: {found:?}");
        }
        assert_eq!(crossing(&|_| Some(1.0), 3.0), None);
    }
}
