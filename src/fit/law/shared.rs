//! L = E + A N^-alpha + B D^-alpha: one exponent for size and data.
//!
//! With M = D/N and C = 6ND it is the form of Gadre et al. 2024 (arXiv:2403.08540, eq. 4),
//! L = E + (a M^eta + b M^-eta) C^-eta with eta = alpha/2, a = A 6^eta and b = B 6^eta, which is why
//! over-training costs the same factor at every scale. Under it N* and D* both grow as C^0.5.
//!
//! Working parameters: ln E, the logarithms of both terms at the centre, and the exponent.

use crate::fit::law::definition::{Law, Value, every, first, origin};
use crate::fit::law::formula::{Form, Formula, log_sum};
use crate::fit::law::run::{Centre, Run, data, size};
use crate::fit::law::runs::{EXPONENT, GRID, Runs, factors};
use crate::fit::numeric::dual::{Dual, Number};
use crate::units::LOSS;

pub(in crate::fit) static LAW: Law = Law {
    name: "shared",
    equation: "L = E + A N^-alpha + B D^-alpha = E + (a M^eta + b M^-eta) C^-eta, M = D/N, C = 6ND",
    source: "arXiv:2403.08540",
    values: &[
        Value { name: "E", unit: LOSS },
        Value { name: "A", unit: "{loss} parameters^alpha" },
        Value { name: "B", unit: "{loss} tokens^alpha" },
        Value { name: "alpha", unit: "-" },
        Value { name: "a", unit: "{loss} FLOP^eta" },
        Value { name: "b", unit: "{loss} FLOP^eta" },
        Value { name: "eta", unit: "-" },
    ],
    free: 4,
    given: 0,
    pinnable: &["E", "alpha"],
    form: Form::of::<Shared, 4>(),
    report,
    working: |v| vec![v[0].ln(), v[1].ln(), v[2].ln(), v[3]],
    bounds: |runs| vec![runs.floor(), runs.term(), runs.term(), EXPONENT],
    starts,
    lacks: Runs::lacks_spread,
    choose: every,
    terms: &[0, 1, 2],
    seen_from: origin,
    surface: true,
    irreducible: first,
    rugged: false,
};

struct Shared;

impl Formula<4> for Shared {
    #[inline(always)]
    fn ln_loss<T: Number>(theta: &[T], run: &Run<T::Real>, centre: &Centre) -> T {
        let size = theta[1] - theta[3].scaled(size(run, centre));
        let data = theta[2] - theta[3].scaled(data(run, centre));
        log_sum([theta[0], size, data])
    }
}

fn report(theta: &[Dual], centre: &Centre) -> Vec<Dual> {
    let [e, a, b, alpha] = [theta[0], theta[1], theta[2], theta[3]];
    let (a, b) = (a + alpha * centre.n, b + alpha * centre.d);
    let (eta, six) = (alpha * 0.5, 6.0_f64.ln());
    vec![e.exp(), a.exp(), b.exp(), alpha, (a + eta * six).exp(), (b + eta * six).exp(), eta]
}

fn starts(runs: &Runs) -> Vec<Vec<f64>> {
    GRID.iter()
        .map(|alpha| {
            let (size, data) = (runs.power(-alpha, size), runs.power(-alpha, data));
            let [e, a, b] = factors(&runs.loss, &size, &data).map(|f| runs.log_term(f));
            vec![e, a, b, *alpha]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::law::tests::{gradient_is_the_difference_quotient, recovers, runs_on};

    /// Muennighoff et al. 2023 (arXiv:2305.16264), C4.
    const TRUTH: [f64; 4] = [1.869_143, 520.83, 1487.7, 0.3526596];

    #[test]
    fn the_gradient_is_exact() {
        gradient_is_the_difference_quotient(&LAW, &TRUTH, &runs_on(&LAW, &TRUTH, None));
    }

    #[test]
    fn noise_free_runs_give_back_the_law() {
        recovers(&LAW, &TRUTH, &runs_on(&LAW, &TRUTH, None), 1e-9);
    }

    /// Both forms at one run, the second by hand.
    #[test]
    fn the_over_training_form_is_the_same_law() {
        let duals = Dual::parameters(&(LAW.working)(&TRUTH));
        let values = report(&duals[..4], &Centre::ORIGIN);
        let [e, a, b, eta] = [0, 4, 5, 6].map(|i| values[i].value);
        let (n, d) = (3e9_f64, 2e11_f64);
        let (m, c) = (d / n, 6.0 * n * d);
        let by_hand = e + (a * m.powf(eta) + b * m.powf(-eta)) * c.powf(-eta);
        let got = LAW.loss(&TRUTH, &Run::new(n, d)).unwrap();
        assert!((got / by_hand - 1.0).abs() < 1e-13, "{got} {by_hand}");
    }
}
