//! L = E + A N^-alpha + B D^-beta + G A B N^-alpha D^-beta: Chinchilla's law with the first term in which
//! size and data meet.
//!
//! Each of the two lacks is worth less (G < 0) or more where the other is large; far out, where both
//! are small, Chinchilla's law is left. That is how a correction to scaling looks to first order, and small
//! runs are where corrections are seen. G = 0 is Chinchilla's law, G = 1/E the product E (1 + A/E N^-alpha)
//! (1 + B/E D^-beta).
//!
//! Working parameters: those of Chinchilla's law, and G [1 / unit of the loss].
//!
//! Limits: below G = 0 the law turns over where a lack reaches -1/G, which is outside of what runs show.

use crate::fit::law::chinchilla;
use crate::fit::law::definition::{Law, Value, every, first, origin};
use crate::fit::law::formula::{Form, Formula};
use crate::fit::law::run::{Centre, Run, data, size};
use crate::fit::law::runs::{EXPONENT, Runs};
use crate::fit::numeric::dual::Number;

pub(in crate::fit) static LAW: Law = Law {
    name: "interaction",
    equation: "L = E + A N^-alpha + B D^-beta + G A B N^-alpha D^-beta",
    source: "arXiv:2203.15556 with a term of both",
    values: &[
        chinchilla::VALUES[0],
        chinchilla::VALUES[1],
        chinchilla::VALUES[2],
        chinchilla::VALUES[3],
        chinchilla::VALUES[4],
        Value { name: "G", unit: "({loss})^-1" },
    ],
    free: 6,
    given: 0,
    pinnable: &["E", "alpha", "beta"],
    form: Form::of::<Interaction, 6>(),
    report: |theta, centre| {
        let mut values = chinchilla::report(theta, centre);
        values.push(theta[5]);
        values
    },
    working: |v| vec![v[0].ln(), v[1].ln(), v[2].ln(), v[3], v[4], v[5]],
    bounds: |runs| {
        // A lack of one loss's size, met by another, is then at most five times their sum.
        let most = 5.0 / runs.least();
        vec![runs.floor(), runs.term(), runs.term(), EXPONENT, EXPONENT, (-most, most)]
    },
    starts,
    lacks: Runs::lacks_spread,
    choose: every,
    terms: &[0, 1, 2],
    seen_from: origin,
    surface: true,
    irreducible: first,
    rugged: false,
};

struct Interaction;

impl Formula<6> for Interaction {
    #[inline(always)]
    fn ln_loss<T: Number>(theta: &[T], run: &Run<T::Real>, centre: &Centre) -> T {
        let size = (theta[1] - theta[3].scaled(size(run, centre))).exp();
        let data = (theta[2] - theta[4].scaled(data(run, centre))).exp();
        (theta[0].exp() + size + data + theta[5] * size * data).ln()
    }
}

/// Those of Chinchilla's law, without the term and with it either way.
fn starts(runs: &Runs) -> Vec<Vec<f64>> {
    let some = 0.4 / runs.least();
    chinchilla::starts_with(runs, &[[-some], [0.0], [some]])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::law::tests::{gradient_is_the_difference_quotient, recovers, runs_on};

    const TRUTH: [f64; 6] = [1.69, 406.4, 410.7, 0.34, 0.28, -0.4];

    #[test]
    fn the_gradient_is_exact() {
        gradient_is_the_difference_quotient(&LAW, &TRUTH, &runs_on(&LAW, &TRUTH, None));
    }

    #[test]
    fn noise_free_runs_give_back_the_law() {
        recovers(&LAW, &TRUTH, &runs_on(&LAW, &TRUTH, None), 1e-7);
    }

    /// By hand, and without the term.
    #[test]
    fn the_term_is_the_product_of_the_two() {
        let (n, d) = (3e9_f64, 2e11_f64);
        let run = Run::new(n, d);
        let [e, a, b, alpha, beta, g] = TRUTH;
        let (x, y) = (a * n.powf(-alpha), b * d.powf(-beta));
        let got = LAW.loss(&TRUTH, &run).unwrap();
        assert!((got / (e + x + y + g * x * y) - 1.0).abs() < 1e-13, "{got}");
        let plain = LAW.loss(&[e, a, b, alpha, beta, 0.0], &run).unwrap();
        assert!((plain / (e + x + y) - 1.0).abs() < 1e-13);
    }
}
