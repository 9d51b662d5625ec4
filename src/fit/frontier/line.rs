//! The lines of ln N* and ln D* over ln C, by least squares: with their draws and certificate, and why one is no frontier
//! or says nothing.

use std::collections::BTreeMap;

use crate::fit::numeric::stats;
use crate::fit::result::{Certificate, Compute, Draws, Fit, Frontier};

/// The frontier through `(C, ln N*)`, with D* = C / c(N*).
pub(in crate::fit) fn frontier(vertices: &[(f64, f64)], compute: &Compute) -> Option<Frontier> {
    through(&optima(vertices, compute))
}

/// (ln C, ln N*, ln D*) of `(C, ln N*)`.
pub(super) fn optima(vertices: &[(f64, f64)], compute: &Compute) -> Vec<[f64; 3]> {
    let optimum = |(c, x): &(f64, f64)| [c.ln(), *x, c.ln() - compute.log_per_token(*x).0];
    vertices.iter().map(optimum).collect()
}

/// The two lines through `(ln C, ln N*, ln D*)`, by least squares.
pub(in crate::fit) fn through(optima: &[[f64; 3]]) -> Option<Frontier> {
    let line = |of: usize| stats::line(&optima.iter().map(|p| (p[0], p[of])).collect::<Vec<_>>());
    let (size, data) = (line(1)?, line(2)?);
    Some(Frontier { n0: size.intercept, a: size.slope, d0: data.intercept, b: data.slope })
}

/// Why a line is no frontier, or nothing when it may be one: with more compute both the best size and its
/// tokens grow.
pub(in crate::fit) fn implausible(line: &Frontier) -> Option<String> {
    let grows = |slope: f64| slope > 1e-6;
    (!(grows(line.a) && grows(line.b))).then(|| {
        format!(
            "its line is N* ~ C^{:.3}, D* ~ C^{:.3}, and no optimum shrinks or stands still as compute grows",
            line.a, line.b
        )
    })
}

/// Why a line says nothing, or nothing when it does: its own draws do not show that both the best size and its
/// tokens grow with compute.
pub(in crate::fit) fn undetermined(fit: &Fit) -> Option<String> {
    let shrinks = fit.intervals.values().any(|[lo, _]| *lo <= 0.0);
    let a = fit.intervals.get("a").filter(|_| shrinks)?;
    Some(format!(
        "its line is N* ~ C^{:.3} ({:.3}..{:.3}), so these runs do not show that both N* and D* grow with compute; \
         {} points on a line are too few or too near to one another for this scatter",
        fit.exponents.a, a[0], a[1], fit.n
    ))
}

/// A frontier with its draws, dressed for the reader.
pub(in crate::fit) fn frontier_fit(
    method: &str,
    optima: &[[f64; 3]],
    objective_is: &str,
    line: Frontier,
    draws: Vec<Frontier>,
    tried: usize,
    level: f64,
) -> Fit {
    let mut intervals = BTreeMap::new();
    for (name, of) in [("a", (|f| f.a) as fn(&Frontier) -> f64), ("b", |f| f.b)] {
        let values: Vec<f64> = draws.iter().map(of).collect();
        // Draws that are all alike say that the design forces the slope, not that it is known.
        let wide = |i: &[f64; 2]| i[1] - i[0] > 1e-9 * i[1].abs().max(1e-3);
        if let Some(interval) = stats::interval_about(of(&line), &values, level).filter(wide) {
            intervals.insert(name.to_string(), interval);
        }
    }
    let (objective, certificate) = closed_form(optima, &line);
    Fit {
        law: "frontier".into(),
        method: method.into(),
        n: optima.len(),
        params: None,
        objective: Some(objective),
        objective_is: objective_is.into(),
        exponents: line.exponents(),
        frontier: line,
        intervals,
        level,
        residual_sd: None,
        certificate,
        draws_failed: tried - draws.len(),
        draws: Draws::Frontiers(draws),
    }
}

/// The sum of squares that the lines leave, and what shows that no lines leave less. Convex, so one
/// start is all there are; solved in one step, so no iterations.
///
/// The gradient is that of each line in its coefficients scaled to unit columns, in the metric of the
/// Hessian and over the size of the data: 0 but for rounding. The condition number is of the scaled
/// J'J of (1, ln C), (1 + r) / (1 - r) with r the cosine between the two: how far from C = 1 the
/// budgets lie for their spread.
fn closed_form(optima: &[[f64; 3]], line: &Frontier) -> (f64, Certificate) {
    let n = optima.len() as f64;
    let (sx, sxx) = optima.iter().fold((0.0, 0.0), |s, p| (s.0 + p[0], s.1 + p[0] * p[0]));
    let cosine = sx / (n * sxx).sqrt();
    let (mut objective, mut gradient) = (0.0, 0.0_f64);
    for (of, intercept, slope) in [(1, line.n0, line.a), (2, line.d0, line.b)] {
        let (mut along, mut squares, mut size) = ([0.0; 2], 0.0, 0.0);
        for p in optima {
            let left = p[of] - intercept - slope * p[0];
            along = [along[0] + left / n.sqrt(), along[1] + left * p[0] / sxx.sqrt()];
            squares += left * left;
            size += p[of] * p[of];
        }
        objective += squares;
        gradient = gradient.max(along[0].hypot(along[1]) / size.sqrt());
    }
    let certificate = Certificate {
        starts: 1,
        starts_at_best: 1,
        gradient,
        condition: (1.0 + cosine.abs()) / (1.0 - cosine.abs()),
        iterations: 0,
        at_bound: Vec::new(),
    };
    (objective, certificate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_on_which_the_optimum_shrinks_is_no_frontier() {
        let line = |a: f64| Frontier { n0: 0.0, a, d0: 0.0, b: 1.0 - a };
        assert_eq!(implausible(&line(0.5)), None);
        for a in [-0.919, 0.0, 1.0, 1.053] {
            assert!(implausible(&line(a)).unwrap().contains("as compute grows"));
        }
    }

    /// Three budgets whose minima hardly move: some draws have the optimum shrink.
    #[test]
    fn a_line_that_does_not_show_growth_says_nothing() {
        let optima = [[1.0, 1.0, 0.0], [2.0, 1.4, 0.6], [3.0, 1.6, 1.4]];
        let line = through(&optima).unwrap();
        let told = |spread: f64| {
            let draws = (0..50)
                .map(|i| f64::from(i) / 49.0 - 0.5)
                .map(|u| Frontier { a: line.a + spread * u, b: line.b - spread * u, ..line })
                .collect();
            undetermined(&frontier_fit("isoflop", &optima, "", line, draws, 50, 0.9))
        };
        assert_eq!(told(0.3), None);
        assert!(told(1.5).unwrap().contains("do not show that both"), "{:?}", told(1.5));
    }

    /// Draws that are all alike: the design forces the slope.
    #[test]
    fn no_interval_has_zero_width() {
        let optima = [[1.0, 1.0, 0.0], [2.0, 2.0, 0.0], [3.0, 3.0, 0.0]];
        let line = through(&optima).unwrap();
        let fit = frontier_fit("envelope", &optima, "", line, vec![line; 50], 50, 0.9);
        assert!(fit.intervals.is_empty(), "{:?}", fit.intervals);
    }

    /// By hand: ln C of 1, 2, 3 and ln N of 1, 2, 4 leave 1/6 about the line -2/3 + 3/2 ln C, ln D of
    /// 0, 0, 0 nothing. The cosine of (1, 1, 1) and (1, 2, 3) is 6 / sqrt(42).
    #[test]
    fn lines_certify_that_they_are_the_least() {
        let optima = [[1.0, 1.0, 0.0], [2.0, 2.0, 0.0], [3.0, 4.0, 0.0]];
        let line = through(&optima).unwrap();
        assert!((line.n0 + 2.0 / 3.0).abs() < 1e-12 && (line.a - 1.5).abs() < 1e-12);
        let (objective, certificate) = closed_form(&optima, &line);
        assert!((objective - 1.0 / 6.0).abs() < 1e-12);
        let r = 6.0 / 42.0_f64.sqrt();
        assert!((certificate.condition - (1.0 + r) / (1.0 - r)).abs() < 1e-9);
        assert!(certificate.gradient < 1e-14);
        let worse = Frontier { a: line.a + 1e-3, ..line };
        assert!(closed_form(&optima, &worse).1.gradient > 1e-4);
    }
}
