//! L = [(Nc/N)^(aN/aD) + Dc/D]^aD (Kaplan et al. 2020, arXiv:2001.08361, eq. 1.5): no irreducible loss.
//!
//! Working parameters: ln of the loss that size alone, and that data alone, would leave at the centre,
//! and both exponents; ln L is then aD times a sum of exponentials over aD.

use crate::fit::law::definition::{Law, Value, every, origin};
use crate::fit::law::formula::{Form, Formula, log_sum};
use crate::fit::law::run::{Centre, Run, data, size};
use crate::fit::law::runs::{EXPONENT, Runs};
use crate::fit::numeric::dual::{Dual, Number};

pub(in crate::fit) static LAW: Law = Law {
    name: "kaplan",
    equation: "L = [(Nc/N)^(aN/aD) + Dc/D]^aD",
    source: "arXiv:2001.08361",
    values: &[
        Value { name: "Nc", unit: "parameters" },
        Value { name: "Dc", unit: "tokens" },
        Value { name: "aN", unit: "-" },
        Value { name: "aD", unit: "-" },
    ],
    free: 4,
    given: 0,
    pinnable: &[],
    form: Form::of::<Kaplan, 4>(),
    report,
    working: |v| vec![v[2] * v[0].ln(), v[3] * v[1].ln(), v[2], v[3]],
    bounds: |runs| {
        let (least, most) = runs.log_range();
        // The sum of two is above either, so both are below the largest loss; how far below depends on
        // aD, and 3 is a factor of 20.
        vec![(least - 3.0, most), (least - 3.0, most), EXPONENT, EXPONENT]
    },
    starts,
    lacks: Runs::lacks_spread,
    choose: every,
    terms: &[],
    seen_from: origin,
    surface: true,
    irreducible: |_| Some(0.0),
    rugged: false,
};

struct Kaplan;

impl Formula<4> for Kaplan {
    #[inline(always)]
    fn ln_loss<T: Number>(theta: &[T], run: &Run<T::Real>, centre: &Centre) -> T {
        let a_d = theta[3];
        let size = theta[0] - theta[2].scaled(size(run, centre));
        let data = theta[1] - a_d.scaled(data(run, centre));
        log_sum([size / a_d, data / a_d]) * a_d
    }
}

fn report(theta: &[Dual], centre: &Centre) -> Vec<Dual> {
    let [size, data, a_n, a_d] = [theta[0], theta[1], theta[2], theta[3]];
    vec![(size / a_n + centre.n).exp(), (data / a_d + centre.d).exp(), a_n, a_d]
}

/// A grid of both exponents, and of how much of the sum at the centre is the size's.
fn starts(runs: &Runs) -> Vec<Vec<f64>> {
    const EXPONENTS: [f64; 6] = [0.03, 0.06, 0.1, 0.17, 0.3, 0.6];
    let logs = &runs.log_loss;
    let mean = logs.iter().sum::<f64>() / logs.len() as f64;
    let mut starts = Vec::new();
    for a_n in EXPONENTS {
        for a_d in EXPONENTS {
            for share in [0.1_f64, 0.5, 0.9] {
                starts.push(vec![
                    mean + a_d * share.ln(),
                    mean + a_d * (1.0 - share).ln(),
                    a_n,
                    a_d,
                ]);
            }
        }
    }
    starts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::law::tests::{gradient_is_the_difference_quotient, recovers, runs_on};

    /// Kaplan et al. 2020, table 2.
    const TRUTH: [f64; 4] = [6.4e13, 1.8e13, 0.076, 0.103];

    #[test]
    fn the_gradient_is_exact() {
        gradient_is_the_difference_quotient(&LAW, &TRUTH, &runs_on(&LAW, &TRUTH, None));
    }

    #[test]
    fn noise_free_runs_give_back_the_law() {
        recovers(&LAW, &TRUTH, &runs_on(&LAW, &TRUTH, None), 1e-8);
    }
}
