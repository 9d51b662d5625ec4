//! What any law says beyond the runs: its compute-optimal size, found numerically.

use crate::fit::law::{Fitted, Run};
use crate::fit::result::{Ahead, Compute};
use crate::points::{AHEAD, Point};

/// How far beyond the sampled sizes and tokens an optimum is looked for, in their logarithms: a factor
/// of 100. Farther out a form of many parameters may do anything.
const REACH: f64 = 4.6;

/// What a law says at ten times the largest compute of `points`, on fresh data.
pub(in crate::fit) fn of(fitted: &Fitted, compute: &Compute, points: &[Point]) -> Option<Ahead> {
    let flops = AHEAD * points[points.len() - 1].flops;
    if !fitted.law.surface {
        // N and D do not enter: any will do.
        let loss = fitted.loss(&Run::new(1.0, 1.0).flops(flops));
        return Some(Ahead { flops, params: None, tokens: None, loss, a: None });
    }
    let range = |of: fn(&Point) -> f64| {
        let (least, most) =
            points.iter().fold((f64::MAX, 0.0_f64), |(l, h), p| (l.min(of(p)), h.max(of(p))));
        (least.ln() - REACH, most.ln() + REACH)
    };
    let ranges = (range(|p| p.params), range(|p| p.tokens));
    let at = |ln_c: f64| optimum(fitted, compute, ln_c, ranges);
    // Half-width in ln C of the chord that gives the local exponent.
    let h = 0.05;
    let (ln_n, loss) = at(flops.ln())?;
    let a = (at(flops.ln() + h)?.0 - at(flops.ln() - h)?.0) / (2.0 * h);
    let params = ln_n.exp();
    let tokens = flops / compute.per_token(params);
    Some(Ahead { flops, params: Some(params), tokens: Some(tokens), loss, a: Some(a) })
}

/// ln N* and the loss at the lowest interior minimum of the law along the compute constraint, N and D
/// staying in their ranges.
///
/// A scan finds the basin, and bisection of the slope by five-point differences (its error is of fourth
/// order in their width) the floor. Nothing when no minimum is interior.
fn optimum(
    fitted: &Fitted,
    compute: &Compute,
    ln_c: f64,
    (sizes, tokens): ((f64, f64), (f64, f64)),
) -> Option<(f64, f64)> {
    const NODES: usize = 200;
    let ln_d = |ln_n: f64| ln_c - compute.log_per_token(ln_n).0;
    let ln_loss = |ln_n: f64| {
        let ln_d = ln_d(ln_n);
        fitted.ln_loss(&Run { n: ln_n, d: ln_d, u: ln_d, c: ln_c })
    };
    let step = (sizes.1 - sizes.0) / NODES as f64;
    let scan: Vec<f64> = (0..=NODES)
        .map(|i| sizes.0 + step * i as f64)
        .map(|x| if (tokens.0..=tokens.1).contains(&ln_d(x)) { ln_loss(x) } else { f64::NAN })
        .collect();
    // Comparisons with the missing ones are false.
    let lowest = (1..NODES)
        .filter(|i| scan[*i] < scan[i - 1] && scan[*i] <= scan[i + 1])
        .min_by(|l, r| scan[*l].total_cmp(&scan[*r]))?;
    let h = 0.02;
    let slope = |x: f64| {
        8.0 * (ln_loss(x + h) - ln_loss(x - h)) - (ln_loss(x + 2.0 * h) - ln_loss(x - 2.0 * h))
    };
    let middle = sizes.0 + step * lowest as f64;
    let (mut low, mut high) = (middle - step, middle + step);
    while high - low > 1e-12 * middle.abs() {
        let mid = 0.5 * (low + high);
        if mid <= low || mid >= high {
            break;
        }
        if slope(mid) < 0.0 { low = mid } else { high = mid }
    }
    let ln_n = 0.5 * (low + high);
    Some((ln_n, ln_loss(ln_n).exp()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::data::sample::tests::{TRUTH, study};
    use crate::fit::law::{self, Law, Scale};

    #[test]
    fn the_optimum_ahead_keeps_to_the_compute_constraint() {
        let points = study(&[1e17, 1e18, 1e19, 1e20], 7, 4.0, 0.0, 1);
        let compute = Compute::Attention { k: 9e3, q: 0.7, max_error: 0.0 };
        let fitted = law::fit(Law::named("chinchilla").unwrap(), &points, Scale::Log).unwrap();
        let ahead = of(&fitted, &compute, &points).unwrap();
        let (n, d) = TRUTH.optimum(&compute, 1e21).unwrap();
        assert!((ahead.params.unwrap() / n - 1.0).abs() < 1e-6, "{ahead:?} {n}");
        assert!((ahead.tokens.unwrap() / d - 1.0).abs() < 1e-6, "{ahead:?} {d}");
    }

    /// Kaplan's own exponent, a = aD'/(aN' + aD') with the exponents of its two terms, aN/aD and 1.
    #[test]
    fn a_law_without_a_closed_form_has_its_exponent() {
        let kaplan = Law::named("kaplan").unwrap();
        let values = [6.4e13, 1.8e13, 0.076, 0.103];
        let mut points = study(&[1e18, 1e19, 1e20, 1e21], 7, 8.0, 0.0, 1);
        for p in &mut points {
            p.loss = kaplan.loss(&values, &Run::new(p.params, p.tokens)).unwrap();
        }
        let fitted = law::fit(kaplan, &points, Scale::Log).unwrap();
        let ahead = of(&fitted, &Compute::SixNd, &points).unwrap();
        let ratio = 0.076 / 0.103;
        assert!((ahead.a.unwrap() - 1.0 / (1.0 + ratio)).abs() < 1e-6, "{ahead:?}");
    }

    /// Without one of its terms the loss falls towards one end of the constraint.
    #[test]
    fn no_interior_minimum_is_no_answer() {
        let points = study(&[1e18, 1e19, 1e20], 6, 4.0, 0.0, 1);
        let full = law::fit(Law::named("chinchilla").unwrap(), &points, Scale::Log).unwrap();
        for term in [1, 2] {
            let mut gone = full.clone();
            gone.solution.theta[term] = -80.0;
            assert_eq!(of(&gone, &Compute::SixNd, &points), None);
        }
    }
}
