//! A quantity as a coordinate: the law written so that it can be held while all else is free.
//!
//! Five parameters, so four other coordinates; which they are depends on the quantity, and each choice
//! makes the law an explicit function of them.

use crate::fit::data::sample::{MAX_EXPONENT, MIN_EXPONENT, Sample};
use crate::fit::interval::profile::Likelihood;
use crate::fit::numeric::newton::{Derivatives, Objective, P, Vector};
use crate::fit::pins::Pins;
use crate::fit::result::Compute;

/// Nearer than this to 0 or 1 an end of a is open: one of the terms has then no slope.
pub(in crate::fit) const EDGE: f64 = 0.01;

/// Farther than this factor from its best value an end of N* is open [-].
pub(in crate::fit) const FAR: f64 = 1e6;

/// Logarithm of a vanished term, below the smallest loss: as in `lse`.
const VANISHED: f64 = 15.0;

/// What is profiled, with what it takes to fix it.
#[derive(Debug, Clone, Copy)]
pub(in crate::fit) enum Quantity<'a> {
    /// The slope of ln N* between two computes, as logarithms.
    Exponent { from: f64, to: f64, compute: &'a Compute },
    /// E.
    Floor,
    /// ln N* at a compute, given as its logarithm; D*/N* follows from it.
    Size { ln_c: f64, compute: &'a Compute },
}

impl<'a> Quantity<'a> {
    pub(in crate::fit) fn exponent(from: f64, to: f64, compute: &'a Compute) -> Self {
        // Equal ends are spread, as `Surface::frontier` does.
        let (from, to) = if to / from > 1.01 { (from, to) } else { (from * 0.995, to * 1.005) };
        Self::Exponent { from: from.ln(), to: to.ln(), compute }
    }

    pub(in crate::fit) fn size(flops: f64, compute: &'a Compute) -> Self {
        Self::Size { ln_c: flops.ln(), compute }
    }

    /// Coordinates of the best fit: four free ones, and the quantity last.
    pub(in crate::fit) fn coordinates(&self, best: &Likelihood) -> Option<Vector> {
        let [a, alpha, b, beta, e] = best.at;
        let ln_size =
            |ln_c: f64, compute: &Compute| Some(best.surface.optimum(compute, ln_c.exp())?.0.ln());
        Some(match self {
            Self::Floor => [a, alpha, b, beta, best.surface.e],
            Self::Size { ln_c, compute } => [a, alpha, beta, e, ln_size(*ln_c, compute)?],
            Self::Exponent { from, to, compute } => {
                let (n0, n1) = (ln_size(*from, compute)?, ln_size(*to, compute)?);
                [a, alpha, n0, e, (n1 - n0) / (to - from)]
            }
        })
    }

    /// The law in the parameters of `lse`, from these coordinates.
    pub(in crate::fit) fn law(&self, sample: &Sample, c: &Vector) -> Vector {
        // ln B at the centre, from the first-order condition at the optimum (ln N, ln C):
        // alpha A N^-alpha = beta B D^-beta growth.
        let data = |a: f64, alpha: f64, beta: f64, ln_n: f64, ln_c: f64, compute: &Compute| {
            let (per_token, growth) = compute.log_per_token(ln_n);
            let ln_d = ln_c - per_token;
            a + (alpha / beta / growth).ln() - alpha * (ln_n - sample.mean_x)
                + beta * (ln_d - sample.mean_y)
        };
        match self {
            Self::Floor => [c[0], c[1], c[2], c[3], c[4].ln().max(vanished(sample))],
            Self::Size { ln_c, compute } => {
                let [a, alpha, beta, e, ln_n] = *c;
                [a, alpha, data(a, alpha, beta, ln_n, *ln_c, compute), beta, e]
            }
            Self::Exponent { from, to, compute } => {
                let [a, alpha, n0, e, slope] = *c;
                let n1 = n0 + slope * (to - from);
                // The condition at one end over that at the other leaves alpha and beta alone.
                let ((c0, g0), (c1, g1)) = (compute.log_per_token(n0), compute.log_per_token(n1));
                let beta = (alpha * (n1 - n0) + (g1 / g0).ln()) / ((to - c1) - (from - c0));
                [a, alpha, data(a, alpha, beta, n0, *from, compute), beta, e]
            }
        }
    }

    /// Box of the four free coordinates.
    pub(in crate::fit) fn bounds(&self, sample: &Sample) -> (Vector, Vector) {
        let (least, most) = sample.loss_range();
        let term = (vanished(sample), most.ln() + 3.0);
        let exponent = (MIN_EXPONENT, MAX_EXPONENT);
        let (floor, anywhere) = ((vanished(sample), least.ln()), (-1e3, 1e3));
        let boxes = match self {
            Self::Floor => [term, exponent, term, exponent, (0.0, 0.0)],
            Self::Size { .. } => [term, exponent, exponent, floor, (0.0, 0.0)],
            Self::Exponent { .. } => [term, exponent, anywhere, floor, (0.0, 0.0)],
        };
        (boxes.map(|b| b.0), boxes.map(|b| b.1))
    }

    /// Whether it is free, and the pinned parameters are coordinates beside it that can be held. Beta is none beside
    /// the exponent a, from which it follows.
    pub(in crate::fit) fn is_open(&self, pins: Pins) -> bool {
        match self {
            Self::Floor => pins.e.is_none(),
            Self::Exponent { .. } => pins.beta.is_none(),
            Self::Size { .. } => true,
        }
    }

    /// Closes the box about the pinned parameters.
    pub(in crate::fit) fn hold(&self, pins: Pins, lower: &mut Vector, upper: &mut Vector) {
        let floor = pins.e.map(f64::ln);
        let held = match self {
            Self::Floor => [(1, pins.alpha), (3, pins.beta)],
            Self::Size { .. } => [(2, pins.beta), (3, floor)],
            Self::Exponent { .. } => [(3, floor), (3, floor)],
        };
        for (i, value) in held.into_iter().chain([(1, pins.alpha)]) {
            if let Some(value) = value {
                (lower[i], upper[i]) = (value, value);
            }
        }
    }

    /// Where the search for an end gives up: below and above.
    pub(in crate::fit) fn limits(&self, sample: &Sample, best: f64) -> [f64; 2] {
        match self {
            Self::Exponent { .. } => [EDGE, 1.0 - EDGE],
            Self::Floor => [0.0, sample.loss_range().0],
            Self::Size { .. } => [best - FAR.ln(), best + FAR.ln()],
        }
    }
}

/// The objective of a quantity that is held: half the sum of squares in its coordinates, by the chain
/// rule.
///
/// The law's own derivatives are exact, those of the substitution central differences of a short
/// formula: their error of about 1e-10 slows the descent a little and moves the minimum by its square.
pub(in crate::fit) struct Held<'a, O> {
    quantity: &'a Quantity<'a>,
    sample: &'a Sample,
    plain: O,
    at: Vector,
    law: Vector,
}

impl<'a, O: Objective> Held<'a, O> {
    /// - `plain`: the same objective in the parameters of `lse`.
    pub(in crate::fit) fn new(quantity: &'a Quantity<'a>, sample: &'a Sample, plain: O) -> Self {
        Self { quantity, sample, plain, at: [0.0; P], law: [f64::NAN; P] }
    }

    /// Whether the coordinates are those of a law at all.
    fn sound(&self) -> bool {
        self.law.iter().all(|v| v.is_finite()) && self.law[3] > 0.0
    }
}

impl<O: Objective> Objective for Held<'_, O> {
    fn value(&mut self, c: &Vector) -> f64 {
        (self.at, self.law) = (*c, self.quantity.law(self.sample, c));
        if self.sound() { self.plain.value(&self.law) } else { f64::INFINITY }
    }

    fn derivatives(&mut self) -> Derivatives {
        let mut out = Derivatives { gradient: [0.0; P], hessian: [[0.0; P]; P], scale: [1.0; P] };
        if !self.sound() {
            return out;
        }
        let plain = self.plain.derivatives();
        // Exponents are near 0.3, all else near 1 or on a logarithmic scale.
        let step = |j: usize, h: f64| h * self.at[j].abs().clamp(0.01, 1.0);
        let moved = |shifts: [(usize, f64); 2]| {
            let mut c = self.at;
            for (j, by) in shifts {
                c[j] += by;
            }
            self.quantity.law(self.sample, &c)
        };
        // The last coordinate is held: its derivatives are never used.
        let free = P - 1;
        let mut slopes = [[0.0; P]; P];
        for (j, slope) in slopes.iter_mut().enumerate().take(free) {
            let h = step(j, 1e-5);
            let (up, down) = (moved([(j, h), (j, 0.0)]), moved([(j, -h), (j, 0.0)]));
            *slope = std::array::from_fn(|k| (up[k] - down[k]) / (2.0 * h));
        }
        let dot = |l: &Vector, r: &Vector| (0..P).map(|k| l[k] * r[k]).sum::<f64>();
        for (i, slope) in slopes.iter().enumerate().take(free) {
            out.gradient[i] = dot(&plain.gradient, slope);
            // Only a scale: the cross terms of J'J may be left out.
            out.scale[i] = (0..P).map(|k| slope[k] * slope[k] * plain.scale[k]).sum();
            for (j, other) in slopes.iter().enumerate().take(i + 1) {
                // The substitution is bent, too.
                let (h, g) = (step(i, 1e-3), step(j, 1e-3));
                let corner =
                    |s: f64, t: f64| dot(&plain.gradient, &moved([(i, s * h), (j, t * g)]));
                let bend = (corner(1.0, 1.0) - corner(1.0, -1.0) - corner(-1.0, 1.0)
                    + corner(-1.0, -1.0))
                    / (4.0 * h * g);
                let through: f64 = (0..P).map(|k| slope[k] * dot(&plain.hessian[k], other)).sum();
                out.hessian[i][j] = through + bend;
                out.hessian[j][i] = out.hessian[i][j];
            }
        }
        out
    }
}

pub(in crate::fit) fn vanished(sample: &Sample) -> f64 {
    sample.loss_range().0.ln() - VANISHED
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::data::sample::surface_of;
    use crate::fit::interval::profile::tests::{COMPUTES, all, likelihood, quantities, runs};
    use crate::fit::result::Surface;
    use crate::fit::surface::lse;

    fn surface_at(best: &Likelihood, q: &Quantity, at: &Vector) -> Surface {
        let mut v = q.law(&best.sample, at);
        for term in [0, 2, 4] {
            v[term] = v[term].exp();
        }
        surface_of(&v, best.sample.mean_x, best.sample.mean_y)
    }

    /// Fixing a quantity fixes it. Oracle: the surface's own optimum and frontier.
    #[test]
    fn the_substitution_gives_surfaces_of_the_wanted_quantity() {
        for compute in COMPUTES {
            let best = likelihood(&runs(0.01), compute);
            for (k, q) in all(&compute).iter().enumerate() {
                let mut at = q.coordinates(&best).unwrap();
                for shift in [0.0, 0.05, -0.1] {
                    at[P - 1] += shift;
                    at[1] *= 1.1;
                    let got = quantities(&surface_at(&best, q, &at), &compute)[k];
                    assert!((got - at[P - 1]).abs() < 1e-9, "{k}: {got} {at:?}");
                }
            }
        }
    }

    #[test]
    fn derivatives_are_the_difference_quotients() {
        for compute in COMPUTES {
            let best = likelihood(&runs(0.01), compute);
            let squares = lse::Squares::of(&best.sample);
            for (k, q) in all(&compute).iter().enumerate() {
                let mut held = Held::new(q, &best.sample, squares.objective());
                let mut at = q.coordinates(&best).unwrap();
                at[P - 1] *= 1.01;
                held.value(&at);
                let here = held.derivatives();
                let h = 1e-5;
                for j in 0..P - 1 {
                    let mut shifted = |sign: f64| {
                        let mut v = at;
                        v[j] += sign * h;
                        (held.value(&v), held.derivatives().gradient)
                    };
                    let (up, down) = (shifted(1.0), shifted(-1.0));
                    let slope = (up.0 - down.0) / (2.0 * h);
                    let close =
                        |got: f64, want: f64, to: f64| (got - want).abs() < to * (1.0 + want.abs());
                    assert!(close(here.gradient[j], slope, 1e-6), "{k} {j}");
                    for i in 0..P - 1 {
                        let curve = (up.1[i] - down.1[i]) / (2.0 * h);
                        assert!(close(here.hessian[i][j], curve, 1e-4), "{k} {i} {j} {curve}");
                    }
                }
            }
        }
    }
}
