//! L = exp(s N^q + S) + exp(B N^b + Q) D^(-exp(A N^a + E)) (Li et al. 2025, arXiv:2506.10972, eq. 9):
//! for every size a power law in D, whose three coefficients are smooth functions of N.
//!
//! N in parameters and D in tokens: unlike the other laws it is another law in other units of D.
//!
//! Working parameters, three for each coefficient, x being ln N from the centre: the level, the slope
//! at the centre, and the exponent q of level + slope (exp(q x) - 1)/q, which is s N^q + S written so
//! that q = 0 is a straight line and no pole. The second coefficient is taken at the centre of D, where
//! it hardly depends on the third.
//!
//! DIFFERENCE: the authors fit differences of the loss piece by piece; here all nine are fitted at once,
//! starting from the Chinchilla law, of which this is nearly a generalisation.

use crate::fit::dual::{Dual, Number};
use crate::fit::law::{self, Centre, Law, Run, Runs, Value, chinchilla, log_sum};

pub(super) static LAW: Law = Law {
    name: "farseer",
    equation: "L = exp(s N^q + S) + exp(B N^b + Q) D^(-exp(A N^a + E))",
    source: "arXiv:2506.10972",
    values: &[
        Value { name: "S", unit: "-" },
        Value { name: "s", unit: "parameters^-q" },
        Value { name: "q", unit: "-" },
        Value { name: "Q", unit: "-" },
        Value { name: "B", unit: "parameters^-b" },
        Value { name: "b", unit: "-" },
        Value { name: "E", unit: "-" },
        Value { name: "A", unit: "parameters^-a" },
        Value { name: "a", unit: "-" },
    ],
    free: 9,
    form: (ln_loss::<f64>, ln_loss::<Dual>),
    report,
    working,
    bounds: |runs| {
        let (slope, exponent) = ((-5.0, 5.0), (-2.0, 2.0));
        let steepness = (law::EXPONENT.0.ln(), law::EXPONENT.1.ln());
        vec![runs.term(), slope, exponent, runs.term(), slope, exponent, steepness, slope, exponent]
    },
    starts,
    lacks,
    choose: law::every,
    terms: &[0, 3],
    surface: true,
    irreducible,
};

/// What is left of exp(s N^q + S) for ever larger N; the other term vanishes with D.
fn irreducible(values: &[f64]) -> Option<f64> {
    match (values.first()?, values.get(1)?, values.get(2)?) {
        (floor, _, q) if *q < 0.0 => Some(floor.exp()),
        (_, s, q) if *q > 0.0 && *s < 0.0 => Some(0.0),
        _ => None,
    }
}

/// Level, slope and exponent of ln of the data's coefficient, as in the formula: the working ones are
/// those of ln of the whole data term at the centre of D.
fn data<T: Number>(theta: &[T], centre: &Centre) -> [T; 2] {
    let steep = theta[6].exp() * centre.d;
    [theta[3] + steep, theta[4] + steep * theta[7]]
}

fn ln_loss<T: Number>(theta: &[T], run: &Run, centre: &Centre) -> T {
    let x = law::size(run, centre);
    let [level, slope] = data(theta, centre);
    let floor = theta[0] + theta[1] * bent(theta[2], x);
    let factor = level + slope * bent(theta[5], x);
    let exponent = (theta[6] + theta[7] * bent(theta[8], x)).exp();
    log_sum([floor, factor - exponent * run.d])
}

/// (exp(q x) - 1)/q, x where q is zero.
fn bent<T: Number>(q: T, x: f64) -> T {
    let z = q.value() * x;
    let (value, slope) = if z.abs() < 1e-2 {
        (
            1.0 + z
                * (1.0 / 2.0 + z * (1.0 / 6.0 + z * (1.0 / 24.0 + z * (1.0 / 120.0 + z / 720.0)))),
            1.0 / 2.0
                + z * (1.0 / 3.0
                    + z * (1.0 / 8.0 + z * (1.0 / 30.0 + z * (1.0 / 144.0 + z / 840.0)))),
        )
    } else {
        (z.exp_m1() / z, (z.exp() * (z - 1.0) + 1.0) / (z * z))
    };
    q.chain(x * value, x * x * slope)
}

/// level + slope (exp(q x) - 1)/q as constant + factor N^q.
fn report(theta: &[Dual], centre: &Centre) -> Vec<Dual> {
    let [level, slope] = data(theta, centre);
    let mut values = Vec::with_capacity(9);
    for (level, slope, q) in
        [(theta[0], theta[1], theta[2]), (level, slope, theta[5]), (theta[6], theta[7], theta[8])]
    {
        let size = slope / q;
        values.extend([level - size, size * (-(q * centre.n)).exp(), q]);
    }
    values
}

fn working(v: &[f64]) -> Vec<f64> {
    v.chunks(3).flat_map(|c| [c[0] + c[1], c[1] * c[2], c[2]]).collect()
}

/// The Chinchilla starts, with the curvature that E + A N^-alpha has in logarithms, and with a data
/// term that steepens or flattens with size.
fn starts(runs: &Runs) -> Vec<Vec<f64>> {
    let mut starts = Vec::new();
    for start in chinchilla::starts(runs) {
        let [e, a, b, alpha, beta] = [start[0], start[1], start[2], start[3], start[4]];
        let share = 1.0 / (1.0 + (e - a).exp());
        for steeper in [-0.1, 0.0, 0.1] {
            starts.push(vec![
                log_sum([e, a]),
                -alpha * share,
                -alpha * (1.0 - share),
                b,
                0.0,
                -0.1,
                beta.ln(),
                steeper,
                0.1,
            ]);
        }
    }
    starts
}

fn lacks(runs: &Runs) -> Option<String> {
    if runs.rows.len() < LAW.free + 3 {
        return Some(format!("{} runs, 9 parameters and their scatter need 12", runs.rows.len()));
    }
    // Sizes within a factor of 2 speak of one value of each coefficient.
    let mut by_size: Vec<(f64, f64)> = runs.rows.iter().map(|r| (r.n, r.d)).collect();
    by_size.sort_by(|l, r| l.0.total_cmp(&r.0).then(l.1.total_cmp(&r.1)));
    let (mut determined, mut rest) = (0, &by_size[..]);
    while let Some((first, _)) = rest.first() {
        let many = rest.partition_point(|r| r.0 <= first + std::f64::consts::LN_2);
        let data: Vec<f64> = rest[..many].iter().map(|r| r.1).collect();
        determined += usize::from(crate::fit::sample::distinct_logs(&data, 0.05) >= 3);
        rest = &rest[many..];
    }
    if determined < 4 {
        return Some(format!(
            "{determined} sizes, a factor of 2 apart, with three token counts each: how three \
             coefficients depend on N needs 4"
        ));
    }
    runs.lacks_spread()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::law::tests::{gradient_is_the_difference_quotient, recovers, runs_on};

    /// Of the size that the authors print: S, s, q, Q, B, b, E, A, a.
    const TRUTH: [f64; 9] = [-0.091, -0.021, 0.169, -6.287, 88.01, -0.1, 0.424, -0.124, 0.123];

    #[test]
    fn the_gradient_is_exact() {
        gradient_is_the_difference_quotient(&LAW, &TRUTH, &runs_on(&LAW, &TRUTH, None));
    }

    #[test]
    fn noise_free_runs_give_back_the_law() {
        recovers(&LAW, &TRUTH, &runs_on(&LAW, &TRUTH, None), 1e-4);
    }

    /// The formula as printed, by hand.
    #[test]
    fn the_formula_is_the_authors() {
        let [big_s, s, q, big_q, b_, b, e, a_, a] = TRUTH;
        let (n, d) = (3e9_f64, 7e10_f64);
        let by_hand = (s * n.powf(q) + big_s).exp()
            + (b_ * n.powf(b) + big_q).exp() * d.powf(-(a_ * n.powf(a) + e).exp());
        let got = LAW.loss(&TRUTH, &Run::new(n, d)).unwrap();
        assert!((got / by_hand - 1.0).abs() < 1e-12, "{got} {by_hand}");
    }

    #[test]
    fn a_straight_line_is_no_pole() {
        for x in [-3.0, 0.7, 2.0] {
            assert_eq!(bent(0.0, x), x);
            // The series and the formula agree where they meet.
            let (below, above) = (bent(0.9999e-2 / x, x), bent(1.0001e-2 / x, x));
            assert!((above / below - 1.0 - 1e-6).abs() < 1e-8, "{below} {above}");
        }
    }

    #[test]
    fn few_sizes_and_few_runs_are_refused() {
        let points = runs_on(&LAW, &TRUTH, None);
        let refusal = |keep: fn(&crate::points::Point) -> bool| {
            let kept: Vec<_> = points.iter().filter(|p| keep(p)).cloned().collect();
            lacks(&Runs::new(&kept, None)).unwrap()
        };
        assert!(refusal(|p| p.params < 1e9).contains("3 sizes"));
        assert!(refusal(|p| p.flops < 1e19).contains("runs"));
        assert_eq!(lacks(&Runs::new(&points, None)), None);
    }
}
