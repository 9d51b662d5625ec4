//! L = E + A C^-gamma along the compute-optimal frontier (Porian et al. 2024, arXiv:2406.19146, sec. 4).
//!
//! For runs of which D is a power of N nothing else is identified. One run of each budget, the one with
//! the lowest loss; without budgets the lower convex hull of ln L against ln C (`envelope`). So it is
//! fitted to other points than a surface and its AICc is no rival of theirs.
//!
//! Working parameters: ln E, ln of the falling term at the centre, and gamma.

use crate::fit::data::budgets::Group;
use crate::fit::frontier::envelope;
use crate::fit::law::definition::{Law, Value, first, origin};
use crate::fit::law::formula::{Form, Formula, log_sum};
use crate::fit::law::run::{Centre, Run, compute_of};
use crate::fit::law::runs::{EXPONENT, GRID, Runs, factors};
use crate::fit::numeric::dual::{Dual, Number};
use crate::points::Point;
use crate::units::LOSS;

pub(in crate::fit) static LAW: Law = Law {
    name: "compute",
    equation: "L = E + A C^-gamma on the lowest run of each budget",
    source: "arXiv:2406.19146",
    values: &[
        Value { name: "E", unit: LOSS },
        Value { name: "A", unit: "{loss} FLOP^gamma" },
        Value { name: "gamma", unit: "-" },
    ],
    free: 3,
    given: 0,
    pinnable: &["E"],
    form: Form::of::<OfCompute, 3>(),
    report,
    working: |v| vec![v[0].ln(), v[1].ln(), v[2]],
    bounds: |runs| vec![runs.floor(), runs.term(), EXPONENT],
    starts,
    lacks: |runs| {
        let (least, most) = runs.log_range();
        (most - least < 1e-9).then(|| "every run has the same loss".into())
    },
    choose: frontier,
    terms: &[0, 1],
    seen_from: origin,
    surface: false,
    irreducible: first,
    rugged: false,
};

struct OfCompute;

impl Formula<3> for OfCompute {
    #[inline(always)]
    fn ln_loss<T: Number>(theta: &[T], run: &Run<T::Real>, centre: &Centre) -> T {
        log_sum([theta[0], theta[1] - theta[2].scaled(compute_of(run, centre))])
    }
}

fn report(theta: &[Dual], centre: &Centre) -> Vec<Dual> {
    vec![theta[0].exp(), (theta[1] + theta[2] * centre.c).exp(), theta[2]]
}

fn starts(runs: &Runs) -> Vec<Vec<f64>> {
    let nothing = vec![0.0; runs.rows.len()];
    GRID.iter()
        .map(|gamma| 0.5 * gamma)
        .map(|gamma| {
            let falling = runs.power(-gamma, compute_of);
            let [e, a, _] = factors(&runs.loss, &falling, &nothing);
            vec![runs.log_term(e), runs.log_term(a), gamma]
        })
        .collect()
}

/// The lowest run of each of four budgets or more, or the hull.
fn frontier(points: &[Point], groups: &[Group]) -> Vec<usize> {
    if groups.len() > LAW.free {
        let lowest = |g: &Group| {
            g.rows.iter().copied().min_by(|l, r| points[*l].loss.total_cmp(&points[*r].loss))
        };
        return groups.iter().filter_map(lowest).collect();
    }
    let all: Vec<usize> = (0..points.len()).collect();
    envelope::hull(points, &all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::data::budgets;
    use crate::fit::law::tests::{gradient_is_the_difference_quotient, recovers, runs_on};

    const TRUTH: [f64; 3] = [1.7, 900.0, 0.15];

    #[test]
    fn the_gradient_is_exact() {
        gradient_is_the_difference_quotient(&LAW, &TRUTH, &runs_on(&LAW, &TRUTH, None));
    }

    #[test]
    fn noise_free_runs_give_back_the_law() {
        recovers(&LAW, &TRUTH, &runs_on(&LAW, &TRUTH, None), 1e-8);
    }

    #[test]
    fn each_budget_sends_its_lowest_run() {
        let budgets = [1e18, 3e18, 1e19, 3e19];
        let mut points = crate::fit::data::sample::tests::study(&budgets, 5, 4.0, 0.0, 1);
        // A bad budget is not on the hull, and is not passed over.
        for p in points.iter_mut().filter(|p| p.flops == 1e19) {
            p.loss *= 1.05;
        }
        let rows = frontier(&points, &budgets::budgets(&points));
        assert_eq!(rows.len(), 4);
        for (row, budget) in rows.iter().zip(budgets) {
            let own = points.iter().filter(|p| p.flops == budget);
            assert!(own.clone().all(|p| p.loss >= points[*row].loss) && own.count() == 5);
        }
    }
}
