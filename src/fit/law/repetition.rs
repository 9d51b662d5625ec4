//! L = E + A N'^-alpha + B D'^-beta with D' and N' discounted for repeated data and idle parameters
//! (Muennighoff et al. 2023, arXiv:2305.16264, eqs. 5 and 6).
//!
//! Of D tokens U are distinct, so R_D = D/U - 1 is the repetition, worth
//! D' = U + U R_D* (1 - exp(-R_D/R_D*)) fresh tokens. Likewise N' = U_N + U_N R_N* (1 - exp(-R_N/R_N*))
//! with U_N = min(N, N_opt(U)), N_opt(U) being the size for which U tokens are compute-optimal under
//! C = 6ND, and R_N = N/U_N - 1. So even on fresh data a model too large for them is discounted.
//!
//! Working parameters: those of `chinchilla`, then ln R_D* and ln R_N*.

use crate::fit::law::chinchilla;
use crate::fit::law::definition::{Law, Value, every, first, origin};
use crate::fit::law::formula::{Form, Formula, log_sum};
use crate::fit::law::run::{Centre, Run, size};
use crate::fit::law::runs::{EXPONENT, Runs};
use crate::fit::numeric::dual::{Number, Real};

pub(in crate::fit) static LAW: Law = Law {
    name: "repetition",
    equation: "L = E + A N'^-alpha + B D'^-beta, D' = U + U R_D* (1 - exp(-(D/U - 1)/R_D*)), N' \
               likewise from U_N = min(N, N_opt(U)) and R_N*",
    source: "arXiv:2305.16264",
    values: &[
        chinchilla::VALUES[0],
        chinchilla::VALUES[1],
        chinchilla::VALUES[2],
        chinchilla::VALUES[3],
        chinchilla::VALUES[4],
        Value { name: "R_D*", unit: "-" },
        Value { name: "R_N*", unit: "-" },
    ],
    free: 7,
    given: 0,
    pinnable: &["E", "alpha", "beta"],
    form: Form::of::<Repetition, 7>(),
    report: |theta, centre| {
        let mut values = chinchilla::report(theta, centre);
        values.extend([theta[5].exp(), theta[6].exp()]);
        values
    },
    working: |v| vec![v[0].ln(), v[1].ln(), v[2].ln(), v[3], v[4], v[5].ln(), v[6].ln()],
    bounds: |runs| {
        // A thousandth of a repetition, and ten thousand: nothing gained, and nothing lost.
        let worth = (1e-3_f64.ln(), 1e4_f64.ln());
        vec![runs.floor(), runs.term(), runs.term(), EXPONENT, EXPONENT, worth, worth]
    },
    starts,
    lacks,
    choose: every,
    terms: &[0, 1, 2],
    seen_from: origin,
    surface: true,
    irreducible: first,
    rugged: false,
};

struct Repetition;

impl Formula<7> for Repetition {
    #[inline(always)]
    fn ln_loss<T: Number>(theta: &[T], run: &Run<T::Real>, centre: &Centre) -> T {
        let [e, a, b, alpha, beta] = [theta[0], theta[1], theta[2], theta[3], theta[4]];
        let unique = run.u - T::Real::all(centre.d);
        let repeats = run.d - run.u;
        let repeated = T::of_row(repeats * repeats.relative_growth().0);
        let data = worth(repeated, theta[5]).plus(unique);
        // The size at which dL/d ln N = dL/d ln D on U tokens.
        let optimal = (a + alpha.ln() - b - beta.ln() + beta.scaled(unique)) / alpha;
        let all = T::of_row(size(run, centre));
        let used = all.smaller(optimal);
        let idle = (all - used).exp() - 1.0;
        let size = worth(idle, theta[6]) + used;
        log_sum([e, a - alpha * size, b - beta * data])
    }
}

/// ln(1 + R* (1 - exp(-R/R*))): what R repetitions add.
#[inline(always)]
fn worth<T: Number>(repetitions: T, ln_star: T) -> T {
    let star = ln_star.exp();
    let saturated = T::constant(1.0) - (-(repetitions / star)).exp();
    (star * saturated + 1.0).ln()
}

fn starts(runs: &Runs) -> Vec<Vec<f64>> {
    let repeated = [2.0_f64, 15.0, 100.0];
    let idle = [1.0_f64, 5.0, 50.0];
    let both = repeated.map(|r| idle.map(|i| [r.ln(), i.ln()])).concat();
    chinchilla::starts_with(runs, &both)
}

fn lacks(runs: &Runs) -> Option<String> {
    let mut repeated: Vec<f64> =
        runs.rows.iter().map(|r| r.d - r.u).filter(|r| *r > 0.01).collect();
    repeated.sort_by(f64::total_cmp);
    repeated.dedup_by(|b, a| *b - *a < 0.01);
    if repeated.len() < 3 {
        return Some(format!(
            "{} distinct repetitions D/U above 1: their worth needs 3 (a column `unique_tokens`)",
            repeated.len()
        ));
    }
    runs.lacks_spread()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::law::tests::{gradient_is_the_difference_quotient, recovers, runs_on};
    use crate::points::Point;

    /// The authors' constants for C4, from the README of their repository.
    fn truth() -> [f64; 7] {
        let [a, b, e] = [6.255414_f64, 7.3049974, 0.6254804].map(f64::exp);
        [e, a, b, 0.3526596, 0.3526596, 15.387756, 5.309743]
    }

    /// A few pools of distinct tokens.
    fn runs() -> Vec<Point> {
        let mut points: Vec<Point> =
            [2e9, 2e10, 5e11].iter().flat_map(|u| runs_on(&LAW, &truth(), Some(*u))).collect();
        points.sort_by(|l, r| l.flops.total_cmp(&r.flops).then(l.loss.total_cmp(&r.loss)));
        points
    }

    /// Values computed from the authors' formula in Python.
    #[test]
    fn the_formula_is_the_authors() {
        for (n, d, want) in
            [(6.34e9, 242e9, 2.2256440889984477), (8.67e9, 178e9, 2.2269634075087867)]
        {
            let got = LAW.loss(&truth(), &Run::new(n, d).unique(25e9)).unwrap();
            assert!((got - want).abs() < 1e-12, "{got} {want}");
        }
    }

    #[test]
    fn the_gradient_is_exact() {
        gradient_is_the_difference_quotient(&LAW, &truth(), &runs());
    }

    #[test]
    fn noise_free_runs_give_back_the_law() {
        recovers(&LAW, &truth(), &runs(), 1e-7);
    }

    #[test]
    fn fresh_data_alone_cannot_tell_the_worth_of_repetition() {
        let fresh = Runs::new(&runs_on(&LAW, &truth(), None), None);
        assert!(lacks(&fresh).unwrap().contains("repetitions"));
    }
}
