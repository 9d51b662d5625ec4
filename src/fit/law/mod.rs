//! The family of laws: each is a value with its formula, its parameters, its starts and its needs.
//!
//! A law is written once as ln L of its working parameters, which are chosen so that they are of order
//! one and hardly correlated at the centre of the data (the level of a term there, not its factor at
//! N = 1). `report` turns them into what the papers print, with the gradient, so that standard
//! deviations follow by the delta method.
//!
//! To add a law: one file beside this one, one line in [`LAWS`].

#![expect(clippy::inline_always, reason = "must take the instruction set of the caller")]

mod box_cox;
mod chinchilla;
mod compute;
mod coupled;
mod definition;
mod farseer;
mod farseer_starts;
mod fitted;
mod formula;
mod interaction;
mod kaplan;
mod repetition;
mod run;
mod runs;
mod shared;

pub use definition::{Curve, Law, Value};
pub use fitted::{Fitted, Scale, again, fit, pinned, refit, robust};
pub use run::{Centre, Run};

/// Every law, in the order in which they are reported.
pub static LAWS: [&Law; 8] = [
    &chinchilla::LAW,
    &shared::LAW,
    &coupled::LAW,
    &interaction::LAW,
    &kaplan::LAW,
    &farseer::LAW,
    &repetition::LAW,
    &compute::LAW,
];

impl Law {
    /// The law of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        LAWS.into_iter().find(|law| law.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::formula::log_sum;
    use super::runs::Runs;
    use super::*;
    use crate::fit::data::budgets;
    use crate::fit::numeric::dual::Dual;
    use crate::points::Point;

    /// Runs on a law: `sizes` by `tokens`, spaced by factors.
    pub(in crate::fit) fn runs_on(law: &Law, values: &[f64], unique: Option<f64>) -> Vec<Point> {
        let mut points = Vec::new();
        for i in 0..6 {
            for j in 0..6 {
                let params = 1e8 * 2.5_f64.powi(i);
                let tokens = 2e9 * 3.0_f64.powi(j);
                let run = Run::new(params, tokens);
                let run = unique.map_or(run, |unique| run.unique(unique));
                points.push(Point {
                    id: format!("{i}.{j}"),
                    cluster: format!("{i}.{j}"),
                    params,
                    tokens,
                    flops: 6.0 * params * tokens,
                    loss: law.loss(values, &run).unwrap(),
                    budget: None,
                    unique_tokens: unique,
                    counts: None,
                });
            }
        }
        points.sort_by(|l, r| l.flops.total_cmp(&r.flops).then(l.params.total_cmp(&r.params)));
        points
    }

    /// Central differences of the value, at the truth and at two starts, for every run.
    pub(in crate::fit) fn gradient_is_the_difference_quotient(
        law: &Law,
        values: &[f64],
        points: &[Point],
    ) {
        let runs = Runs::new(points, None);
        let starts = (law.starts)(&runs);
        let places = [
            ((law.working)(values), (law.seen_from)(values)),
            (starts[0].clone(), runs.centre),
            (starts[starts.len() / 2].clone(), runs.centre),
        ];
        for (theta, centre) in places {
            let duals = Dual::parameters(&theta);
            // Eight rows at a time say what one row says, to a few roundings.
            let eights = Runs { centre, ..runs.clone() };
            let (values, columns) = eights.ln_slopes(&law.form, &theta);
            assert_eq!(values, eights.ln_losses(&law.form, &theta));
            for (row, run) in runs.rows.iter().enumerate() {
                let dual = (law.form.gradient)(&duals[..law.free], run, &centre);
                assert!((values[row] - dual.value).abs() < 1e-13 * (1.0 + dual.value.abs()));
                for (column, slope) in columns.iter().zip(dual.gradient) {
                    assert!((column[row] - slope).abs() < 1e-11 * (1.0 + slope.abs()), "{row}");
                }
                assert!((dual.value - (law.form.value)(&theta, run, &centre)).abs() < 1e-13);
                for i in 0..law.free {
                    let shifted = |h: f64| {
                        let mut moved = theta.clone();
                        moved[i] += h;
                        (law.form.value)(&moved, run, &centre)
                    };
                    let slope = (shifted(1e-6) - shifted(-1e-6)) / 2e-6;
                    let got = dual.gradient[i];
                    assert!((got - slope).abs() < 1e-7 * (1.0 + slope.abs()), "{i}: {got} {slope}");
                }
            }
        }
    }

    /// Noise-free runs give back the constants that they were made with.
    pub(in crate::fit) fn recovers(
        law: &'static Law,
        values: &[f64],
        points: &[Point],
        within: f64,
    ) {
        let rows = law.rows(points, &budgets::budgets(points));
        let own: Vec<Point> = rows.iter().map(|i| points[*i].clone()).collect();
        let found = fit(law, &own, Scale::Log).unwrap();
        for ((value, got), want) in law.values.iter().zip(found.values()).zip(values) {
            assert!((got.0 / want - 1.0).abs() < within, "{}: {} {want}", value.name, got.0);
        }
        assert!(found.at_bound().is_empty() && found.solution.gradient < 1e-4, "{found:?}");
        assert!(2 * found.solution.starts_at_best >= found.solution.starts, "{:?}", found.solution);
    }

    #[test]
    fn names_are_unique_and_every_law_is_found_by_its_name() {
        for law in LAWS {
            assert!(std::ptr::eq(Law::named(law.name).unwrap(), law));
            assert!(
                law.free + law.given <= law.values.len()
                    && law.free <= crate::fit::numeric::dual::MAX
            );
        }
    }

    #[test]
    fn a_sum_of_exponentials_neither_overflows_nor_minds_a_missing_term() {
        assert_eq!(log_sum([1e4, f64::NEG_INFINITY]), 1e4);
        assert!((log_sum([2.0_f64.ln(), 3.0_f64.ln()]) - 5.0_f64.ln()).abs() < 1e-15);
    }
}
