//! L = E + (A N^-alpha + B D^-beta)^gamma: an irreducible loss, and size and data that need not add up.
//!
//! Chinchilla's law is gamma = 1. Kaplan et al. 2020 (arXiv:2001.08361, eq. 1.5) have E = 0 and gamma = aD,
//! with beta = 1; the offset is what their law lacks. Below gamma = 1 a run that lacks both size and
//! data is better than the sum of its two lacks, above it worse.
//!
//! The optimum of a compute is that of the inner sum, so N* ~ C^(beta/(alpha+beta)) as in Chinchilla's law,
//! and alpha gamma is the exponent of the loss in N where data abound.
//!
//! Working parameters: ln E, the logarithms of what size alone and data alone would leave above E at the
//! centre, their exponents alpha gamma and beta gamma, and ln gamma.

use crate::fit::law::chinchilla;
use crate::fit::law::definition::{Law, Value, every, first, origin};
use crate::fit::law::formula::{Form, Formula, log_sum};
use crate::fit::law::run::{Centre, Run, data, size};
use crate::fit::law::runs::{EXPONENT, Runs};
use crate::fit::numeric::dual::{Dual, Number};
use crate::units::LOSS;

/// Where ln gamma may lie: a factor of 5. Beyond, the inner sum is its larger or its mean term.
const BENT: (f64, f64) = (-1.61, 1.61);

pub(in crate::fit) static LAW: Law = Law {
    name: "coupled",
    equation: "L = E + (A N^-alpha + B D^-beta)^gamma",
    source: "arXiv:2001.08361 with an irreducible loss",
    values: &[
        Value { name: "E", unit: LOSS },
        Value { name: "A", unit: "({loss})^(1/gamma) parameters^alpha" },
        Value { name: "B", unit: "({loss})^(1/gamma) tokens^beta" },
        Value { name: "alpha", unit: "-" },
        Value { name: "beta", unit: "-" },
        Value { name: "gamma", unit: "-" },
    ],
    free: 6,
    given: 0,
    pinnable: &["E"],
    form: Form::of::<Coupled, 6>(),
    report,
    working: |v| {
        let gamma = v[5];
        vec![
            v[0].ln(),
            gamma * v[1].ln(),
            gamma * v[2].ln(),
            gamma * v[3],
            gamma * v[4],
            gamma.ln(),
        ]
    },
    bounds: |runs| vec![runs.floor(), runs.term(), runs.term(), EXPONENT, EXPONENT, BENT],
    starts,
    lacks: Runs::lacks_spread,
    choose: every,
    terms: &[0, 1, 2],
    seen_from: origin,
    surface: true,
    irreducible: first,
    rugged: false,
};

struct Coupled;

impl Formula<6> for Coupled {
    #[inline(always)]
    fn ln_loss<T: Number>(theta: &[T], run: &Run<T::Real>, centre: &Centre) -> T {
        let gamma = theta[5].exp();
        let size = (theta[1] - theta[3].scaled(size(run, centre))) / gamma;
        let data = (theta[2] - theta[4].scaled(data(run, centre))) / gamma;
        log_sum([theta[0], log_sum([size, data]) * gamma])
    }
}

fn report(theta: &[Dual], centre: &Centre) -> Vec<Dual> {
    let gamma = theta[5].exp();
    let (a, b) = (theta[1] + theta[3] * centre.n, theta[2] + theta[4] * centre.d);
    let factor = |f: Dual| (f / gamma).exp();
    vec![theta[0].exp(), factor(a), factor(b), theta[3] / gamma, theta[4] / gamma, gamma]
}

/// Those of Chinchilla's law, straight and bent either way.
fn starts(runs: &Runs) -> Vec<Vec<f64>> {
    chinchilla::starts_with(runs, &[[-0.7], [0.0], [0.7]])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::law::tests::{gradient_is_the_difference_quotient, recovers, runs_on};

    const TRUTH: [f64; 6] = [1.1, 3000.0, 20_000.0, 0.51, 0.48, 0.62];

    #[test]
    fn the_gradient_is_exact() {
        gradient_is_the_difference_quotient(&LAW, &TRUTH, &runs_on(&LAW, &TRUTH, None));
    }

    #[test]
    fn noise_free_runs_give_back_the_law() {
        recovers(&LAW, &TRUTH, &runs_on(&LAW, &TRUTH, None), 1e-6);
    }

    /// The two laws that it holds, at one run.
    #[test]
    fn it_holds_chinchillas_law_and_kaplans() {
        let run = Run::new(3e9, 2e11);
        let of = |law: &str, values: &[f64]| Law::named(law).unwrap().loss(values, &run).unwrap();
        let [e, a, b, alpha, beta] = [1.69, 406.4, 410.7, 0.34, 0.28];
        let added = LAW.loss(&[e, a, b, alpha, beta, 1.0], &run).unwrap();
        assert!((added / of("chinchilla", &[e, a, b, alpha, beta]) - 1.0).abs() < 1e-13);
        let [n_c, d_c, a_n, a_d] = [6.4e13_f64, 1.8e13, 0.076, 0.103];
        let ratio = a_n / a_d;
        let bent = LAW.loss(&[1e-300, n_c.powf(ratio), d_c, ratio, 1.0, a_d], &run).unwrap();
        assert!((bent / of("kaplan", &[n_c, d_c, a_n, a_d]) - 1.0).abs() < 1e-13);
    }
}
