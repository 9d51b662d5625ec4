//! L = E + A N^-alpha + B D^-beta (Hoffmann et al. 2022, arXiv:2203.15556, eq. 2).
//!
//! Working parameters: ln E, the logarithms of both terms at the centre, and the exponents.

use crate::fit::law::definition::{Law, Value, every, first, origin};
use crate::fit::law::formula::{Form, Formula, log_sum};
use crate::fit::law::run::{Centre, Run, data, size};
use crate::fit::law::runs::{EXPONENT, GRID, Runs, factors};
use crate::fit::numeric::dual::{Dual, Number};
use crate::units::LOSS;

/// What laws that hold this one report first.
pub(in crate::fit) const VALUES: [Value; 5] = [
    Value { name: "E", unit: LOSS },
    Value { name: "A", unit: "{loss} parameters^alpha" },
    Value { name: "B", unit: "{loss} tokens^beta" },
    Value { name: "alpha", unit: "-" },
    Value { name: "beta", unit: "-" },
];

pub(in crate::fit) static LAW: Law = Law {
    name: "chinchilla",
    equation: "L = E + A N^-alpha + B D^-beta",
    source: "arXiv:2203.15556",
    values: &VALUES,
    free: 5,
    given: 0,
    pinnable: &["E", "alpha", "beta"],
    form: Form::of::<Chinchilla, 5>(),
    report,
    working: |v| vec![v[0].ln(), v[1].ln(), v[2].ln(), v[3], v[4]],
    bounds: |runs| vec![runs.floor(), runs.term(), runs.term(), EXPONENT, EXPONENT],
    starts,
    lacks: Runs::lacks_spread,
    choose: every,
    terms: &[0, 1, 2],
    seen_from: origin,
    surface: true,
    irreducible: first,
    rugged: false,
};

struct Chinchilla;

impl Formula<5> for Chinchilla {
    #[inline(always)]
    fn ln_loss<T: Number>(theta: &[T], run: &Run<T::Real>, centre: &Centre) -> T {
        let size = theta[1] - theta[3].scaled(size(run, centre));
        let data = theta[2] - theta[4].scaled(data(run, centre));
        log_sum([theta[0], size, data])
    }
}

pub(in crate::fit) fn report(theta: &[Dual], centre: &Centre) -> Vec<Dual> {
    let [e, a, b, alpha, beta] = [theta[0], theta[1], theta[2], theta[3], theta[4]];
    let (a, b) = (a + alpha * centre.n, b + beta * centre.d);
    vec![e.exp(), a.exp(), b.exp(), alpha, beta]
}

/// Starts of a law that has parameters besides these: each of its own starts with each of `more`.
pub(in crate::fit) fn starts_with<const K: usize>(runs: &Runs, more: &[[f64; K]]) -> Vec<Vec<f64>> {
    let own = starts(runs);
    own.iter().flat_map(|s| more.iter().map(|m| [&s[..], &m[..]].concat())).collect()
}

/// The best factors for each pair of exponents of a grid.
pub(in crate::fit) fn starts(runs: &Runs) -> Vec<Vec<f64>> {
    let data: Vec<Vec<f64>> = GRID.iter().map(|beta| runs.power(-beta, data)).collect();
    let mut starts = Vec::with_capacity(GRID.len() * GRID.len());
    for alpha in GRID {
        let size = runs.power(-alpha, size);
        for (beta, data) in GRID.iter().zip(&data) {
            let [e, a, b] = factors(&runs.loss, &size, data).map(|f| runs.log_term(f));
            starts.push(vec![e, a, b, alpha, *beta]);
        }
    }
    starts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::law::tests::{gradient_is_the_difference_quotient, recovers, runs_on};

    /// Hoffmann et al. 2022, approach 3.
    const TRUTH: [f64; 5] = [1.69, 406.4, 410.7, 0.34, 0.28];

    #[test]
    fn the_gradient_is_exact() {
        gradient_is_the_difference_quotient(&LAW, &TRUTH, &runs_on(&LAW, &TRUTH, None));
    }

    #[test]
    fn noise_free_runs_give_back_the_law() {
        recovers(&LAW, &TRUTH, &runs_on(&LAW, &TRUTH, None), 1e-9);
    }
}
