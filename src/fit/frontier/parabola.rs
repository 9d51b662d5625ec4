//! Approach 2: at each budget a parabola of L over ln N, then a straight line through the vertices.
//!
//! Hoffmann et al. 2022 (arXiv:2203.15556, section 3.2). The vertex in ln N is the vertex in ln D under
//! C = 6ND. A parabola is not the shape of a slice of the law, which biases the intercept of the line
//! even without noise, by up to -5% of D* on Chinchilla's own surface with sizes 16 times either side
//! (arXiv:2603.22339); the tests hold this code to those numbers, and `bias` estimates it for the design
//! in hand.
//!
//! So only sizes within a factor of 8 of the vertex are in a parabola (`slice`): farther out a slice is no
//! parabola, and a vertex that is fitted there is drawn away from the minimum. Measured on six laws, 7 budgets
//! of 6, 9 and 15 sizes up to 4, 16 and 64 times either side, centred to a factor of 1.4, 0.1% to 1% of noise
//! (docs/LOG.md, 2026-11-27): the error of a is 0.71 of that with all sizes, that of Akima's curve (Porian
//! et al. 2024) 2.7 times as large.
//!
//! A budget is used only if its minimum was seen: the parabola opens upwards, its vertex lies within
//! the sizes of its parabola, and the lowest measured loss is at neither the smallest nor the largest size
//! (Porian et al. 2024, arXiv:2406.19146, drop edge minima likewise). Others are kept in the result,
//! each with its reason.

use rayon::prelude::*;

use crate::fit::data::budgets::Group;
use crate::fit::data::clusters::{Clusters, Noise};
use crate::fit::frontier::line::{frontier, frontier_fit, optima, through};
use crate::fit::frontier::slice::{Parabola, Slice, outside};
use crate::fit::numeric::stats::{self, Random};
use crate::fit::result::{BudgetFit, Compute, Fit, Frontier};
use crate::fit::{Code, Warning};
use crate::points::Point;

/// Every budget's parabola and, with two usable budgets, the line through their vertices.
///
/// Intervals: each draw adds normal noise to every parabola, with the residual standard deviation
/// relative to the loss, pooled over budgets with the degrees of freedom that three coefficients each
/// leave of what the runs are worth (and that number's own uncertainty); runs of a cluster share the part of it
/// that their residuals share. A budget that loses its minimum in a draw is dropped
/// from that draw. They need three usable budgets and a degree of freedom somewhere; they hold the
/// noise only, not the bias of the parabola.
pub(in crate::fit) fn fit(
    points: &[Point],
    groups: &[Group],
    compute: &Compute,
    (draws, seed, level): (usize, u64, f64),
) -> (Vec<BudgetFit>, Option<Fit>) {
    let slices: Vec<Slice> = groups.iter().map(|g| Slice::new(points, g)).collect();
    let usable: Vec<&Slice> = slices.iter().filter(|s| s.rejected.is_none()).collect();
    let clusters = Clusters::of_points(points);
    let noise = pooled(points, slices.iter()).filter(|_| !usable.is_empty());
    // Per draw: ln N* of every usable budget, nothing where the minimum was lost.
    let resampled: Vec<Vec<Option<f64>>> = noise.map_or_else(Vec::new, |noise| {
        let drawn = |draw: usize| {
            let mut random = Random::new(seed ^ 0x0002, draw as u64);
            let sd = noise.sd * random.scale(noise.dof);
            let common = clusters.common(noise.shared, &mut random);
            let own = (1.0 - noise.shared).sqrt();
            let mut off = |row: &usize| {
                let common = noise.shared.sqrt() * common[clusters.of[*row]];
                sd * (common + own * random.normal())
            };
            usable.iter().map(|s| redraw(s, &mut off)).collect()
        };
        (0..draws).into_par_iter().map(drawn).collect()
    });

    let mut budgets: Vec<BudgetFit> = slices.iter().map(|s| describe(s, compute)).collect();
    let used = slices.iter().zip(&mut budgets).filter(|(s, _)| s.rejected.is_none());
    for (k, (_, budget)) in used.enumerate() {
        let seen: Vec<f64> = resampled.iter().filter_map(|d| d[k]).map(f64::exp).collect();
        // A minimum that noise hides in half of the draws has no interval worth printing.
        if 2 * seen.len() >= resampled.len() {
            budget.params_interval =
                budget.params.and_then(|n| stats::interval_about(n, &seen, level));
        }
    }

    let vertices: Vec<(f64, f64)> =
        usable.iter().filter_map(|s| Some((s.group.flops, s.parabola?.vertex()?))).collect();
    let optima = optima(&vertices, compute);
    let Some(line) = through(&optima).filter(|_| vertices.len() >= 2) else {
        return (budgets, None);
    };
    let tried = if vertices.len() >= 3 { resampled.len() } else { 0 };
    let lines: Vec<Frontier> = resampled
        .iter()
        .take(tried)
        .filter_map(|draw| {
            let seen: Vec<(f64, f64)> = draw
                .iter()
                .zip(&usable)
                .filter_map(|(x, s)| Some((s.group.flops, (*x)?)))
                .collect();
            frontier(&seen, compute).filter(|_| seen.len() >= 2)
        })
        .collect();
    let fit = frontier_fit(
        "isoflop",
        &optima,
        "sum of squares of ln N* and of ln D* about a line in ln C; N* from the least-squares \
         parabola of L over ln N at each budget",
        line,
        lines,
        tried,
        level,
    );
    (budgets, Some(fit))
}

/// The vertex of one budget under new noise, `off` for each run, if its minimum is still seen.
fn redraw(slice: &Slice, off: &mut impl FnMut(&usize) -> f64) -> Option<f64> {
    let parabola = slice.parabola?;
    let moved = |((x, _), row): (&(f64, f64), &usize)| (*x, parabola.at(*x) * (1.0 + off(row)));
    let runs: Vec<(f64, f64)> = slice.near.iter().zip(&slice.rows).map(moved).collect();
    let again = Parabola::through(&runs);
    again.vertex().filter(|_| outside(&runs, &again).is_none())
}

fn describe(slice: &Slice, compute: &Compute) -> BudgetFit {
    let (low, high) = slice.range;
    let vertex = slice.parabola.and_then(|p| p.vertex());
    // A vertex far outside the sampled sizes is no size at all.
    let near = vertex.filter(|x| (low - 10.0..=high + 10.0).contains(x));
    BudgetFit {
        flops: slice.group.label,
        n: slice.group.rows.len(),
        parabola: slice.parabola.map(|p| p.plain()),
        params: near.map(f64::exp),
        tokens: near.map(|x| (slice.group.flops.ln() - compute.log_per_token(x).0).exp()),
        loss: near.and_then(|x| slice.parabola.map(|p| p.at(x))),
        params_interval: None,
        off_centre: near.map(|x| (x - 0.5 * (low + high)) / std::f64::consts::LN_2),
        sampled: [low.exp(), high.exp()],
        excluded: slice.rejected.clone(),
    }
}

/// A warning where budgets are used whose parabola goes through three sizes exactly.
pub(in crate::fit) fn exact(points: &[Point], groups: &[Group]) -> Option<Warning> {
    let exact = groups
        .iter()
        .map(|g| Slice::new(points, g))
        .filter(|s| s.rejected.is_none() && s.sizes == 3 && s.group.rows.len() == 3)
        .count();
    (exact > 0).then(|| {
        let text = "budgets have three runs: their parabolas fit exactly and show no error";
        Warning::new(Code::ExactParabolas, format!("{exact} {text}"))
    })
}

/// Why there is no line through these parabolas.
pub(in crate::fit) fn lacking(groups: &[Group], budgets: &[BudgetFit]) -> String {
    if groups.is_empty() {
        return "no compute budgets in the table (none planned, and no four sizes within 15% of one compute)"
            .to_owned();
    }
    let usable = budgets.iter().filter(|b| b.excluded.is_none()).count();
    format!("{usable} of {} budgets with an interior minimum, a line needs 2", budgets.len())
}

/// The scatter of the runs about the parabolas, relative to the loss. Nothing where three coefficients each leave
/// no degree of freedom of what the runs are worth.
fn pooled<'a>(points: &[Point], slices: impl Iterator<Item = &'a Slice<'a>>) -> Option<Noise> {
    let (mut off, mut names, mut coefficients) = (Vec::new(), Vec::new(), 0);
    for slice in slices {
        let Some(p) = slice.parabola else { continue };
        off.extend(slice.near.iter().map(|(x, l)| (l - p.at(*x)) / l));
        names.extend(slice.rows.iter().map(|i| points[*i].cluster.as_str()));
        coefficients += 3;
    }
    let clusters = Clusters::new(names.into_iter());
    let worth = clusters.sample_size(&off).effective;
    (worth >= (coefficients + 1) as f64).then(|| clusters.noise(&off, coefficients))
}

/// Mean square of the runs' distance from the parabolas of the usable budgets, relative to the loss. Nothing
/// where their coefficients leave no degree of freedom.
pub(in crate::fit) fn scatter(points: &[Point], groups: &[&Group]) -> Option<f64> {
    let slices: Vec<Slice> = groups.iter().map(|g| Slice::new(points, g)).collect();
    pooled(points, slices.iter()).map(|noise| noise.sd.powi(2))
}

#[cfg(test)]
pub(in crate::fit) mod tests {
    use super::*;
    use crate::fit::data::budgets;
    use crate::fit::result::Surface;

    /// Noise-free runs of five budgets 1e17..1e21 with 15 values of D each, log-spaced from centre/k to
    /// centre*k, where the centre of budget i of 5 is D* times offset(i). By compute, then as given.
    pub(in crate::fit) fn design(s: &Surface, k: f64, offset: impl Fn(f64) -> f64) -> Vec<Point> {
        (0..5)
            .flat_map(|b| {
                let c = 10.0_f64.powi(17 + b);
                let (_, best) = s.optimum(&Compute::SixNd, c).unwrap();
                let sizes: Vec<(f64, f64)> = (0..15)
                    .map(|i| {
                        let d = best * offset(f64::from(b)) * k.powf(f64::from(i) / 7.0 - 1.0);
                        let n = c / (6.0 * d);
                        (n, s.loss(n, d))
                    })
                    .collect();
                runs(c, &sizes)
            })
            .collect()
    }

    /// Percent error of D* at 1e24 FLOP, extrapolated from the noise-free parabolas of [`design`]
    /// wherever their vertices lie.
    fn error_at_1e24(s: &Surface, k: f64, offset: impl Fn(f64) -> f64) -> f64 {
        let points = design(s, k, offset);
        let vertices: Vec<(f64, f64)> = points
            .chunks(15)
            .map(|budget| {
                let runs: Vec<(f64, f64)> =
                    budget.iter().map(|p| (p.params.ln(), p.loss)).collect();
                (budget[0].flops, Parabola::through(&runs).vertex().unwrap())
            })
            .collect();
        let line = frontier(&vertices, &Compute::SixNd).unwrap();
        let (_, d) = line.at(1e24);
        100.0 * (d / s.optimum(&Compute::SixNd, 1e24).unwrap().1 - 1.0)
    }

    /// The bias of approach 2 without noise (arXiv:2603.22339, section 2), recomputed in 50-digit
    /// arithmetic for Chinchilla's surface. L against log10 D there and against ln N here have the same
    /// vertex, as C = 6ND.
    #[test]
    fn the_bias_of_approach_2_is_the_published_one() {
        let chinchilla = Surface { a: 406.4, b: 410.7, e: 1.69, alpha: 0.34, beta: 0.28 };
        let want = [-0.326937804, -1.301125044, -2.902904738, -5.100244552];
        let lopsided = Surface { alpha: 0.465, beta: 0.155, ..chinchilla };
        let lopsided_want = [-1.674747717, -6.497778742, -13.910418584, -23.116308049];
        for (i, k) in [2.0, 4.0, 8.0, 16.0].into_iter().enumerate() {
            let got = error_at_1e24(&chinchilla, k, |_| 1.0);
            assert!((got - want[i]).abs() < 2e-9, "{k}: {got}");
            let got = error_at_1e24(&lopsided, k, |_| 1.0);
            assert!((got - lopsided_want[i]).abs() < 2e-8, "{k}: {got}");
        }
    }

    /// The same paper: budgets that are centred three times off, always or more and more.
    #[test]
    fn the_bias_of_off_centre_budgets_is_the_published_one() {
        let symmetric = Surface { a: 400.0, b: 400.0, e: 1.69, alpha: 0.31, beta: 0.31 };
        let constant = [3.974243557, 3.471817881, 2.645165430, 1.509792260];
        let drifting = [6.070971950, 5.171168143, 3.697903198, 1.689066536];
        for (i, k) in [2.0, 4.0, 8.0, 16.0].into_iter().enumerate() {
            let got = error_at_1e24(&symmetric, k, |_| 3.0);
            assert!((got - constant[i]).abs() < 2e-8, "{k}: {got}");
            let got = error_at_1e24(&symmetric, k, |b| 3.0_f64.powf(b / 4.0));
            assert!((got - drifting[i]).abs() < 2e-8, "{k}: {got}");
        }
    }

    /// Oracle: the surface's optimum. With every size the parabola's D* is off by the published -23.1% at
    /// 16 times either side (above) and by more beyond.
    #[test]
    fn sizes_far_from_the_minimum_do_not_move_it() {
        let s = Surface { a: 406.4, b: 410.7, e: 1.69, alpha: 0.465, beta: 0.155 };
        let error = |k: f64| {
            let points = design(&s, k, |_| 1.0);
            let (_, fit) = fit(&points, &budgets::budgets(&points), &Compute::SixNd, (0, 1, 0.9));
            let (_, d) = fit.unwrap().frontier.at(1e24);
            d / s.optimum(&Compute::SixNd, 1e24).unwrap().1 - 1.0
        };
        let all = error_at_1e24(&s, 16.0, |_| 1.0);
        assert!(
            all < -23.0 && error(16.0).abs() < 0.14 && error(64.0).abs() < 0.14,
            "{}",
            error(64.0)
        );
    }

    /// Runs at `c` with these (size, loss).
    pub(in crate::fit) fn runs(c: f64, sizes: &[(f64, f64)]) -> Vec<Point> {
        sizes
            .iter()
            .map(|(n, loss)| Point {
                id: format!("{n}"),
                cluster: format!("{n}"),
                params: *n,
                tokens: c / (6.0 * n),
                flops: c,
                loss: *loss,
                budget: Some(c),
                unique_tokens: None,
                counts: None,
            })
            .collect()
    }

    fn reason(sizes: &[(f64, f64)]) -> Option<String> {
        let points = runs(1e18, sizes);
        let groups = budgets::budgets(&points);
        let (budgets, fit) = fit(&points, &groups, &Compute::SixNd, (100, 1, 0.9));
        assert_eq!(fit, None);
        budgets[0].excluded.clone()
    }

    #[test]
    fn a_minimum_that_was_not_seen_is_refused_by_name() {
        let falling = [(1e6, 4.0), (2e6, 3.5), (4e6, 3.2), (8e6, 3.1)];
        assert_eq!(reason(&falling).unwrap(), "lowest loss at the largest size");
        let rising = [(1e6, 3.0), (2e6, 3.5), (4e6, 3.9), (8e6, 4.1)];
        assert_eq!(reason(&rising).unwrap(), "lowest loss at the smallest size");
        let arch = [(1e6, 3.0), (2e6, 3.5), (4e6, 2.9), (8e6, 2.95), (16e6, 2.96)];
        assert!(reason(&arch).is_some());
        assert_eq!(reason(&falling[..2]).unwrap(), "2 sizes: a parabola needs 3");
        let fine = [(1e6, 4.0), (2e6, 3.5), (4e6, 3.2), (8e6, 3.4)];
        assert_eq!(reason(&fine), None);
    }

    #[test]
    fn one_lucky_seed_at_the_edge_does_not_move_the_minimum() {
        let seeds =
            [(1e6, 3.9), (2e6, 3.5), (4e6, 3.4), (8e6, 3.39), (8e6, 3.8), (4e6, 3.4), (2e6, 3.5)];
        assert_eq!(reason(&seeds), None);
    }

    /// A parabola by hand: L = 3 + 0.1 (ln N - ln 4e6)^2 at three sizes around 4e6.
    #[test]
    fn vertex_tokens_and_offset_are_those_of_the_parabola() {
        let loss = |n: f64| 3.0 + 0.1 * (n / 4e6).ln().powi(2);
        let sizes: Vec<(f64, f64)> = [2e6, 4e6, 32e6].map(|n| (n, loss(n))).to_vec();
        let points = runs(1e18, &sizes);
        let groups = budgets::budgets(&points);
        let (budgets, _) = fit(&points, &groups, &Compute::SixNd, (0, 1, 0.9));
        let b = &budgets[0];
        assert!((b.params.unwrap() / 4e6 - 1.0).abs() < 1e-10);
        assert!((b.tokens.unwrap() / (1e18 / 24e6) - 1.0).abs() < 1e-10);
        assert!((b.loss.unwrap() - 3.0).abs() < 1e-12);
        // The middle of 2e6..32e6 is 8e6: one octave above the vertex.
        assert!((b.off_centre.unwrap() + 1.0).abs() < 1e-10);
        let [c0, c1, c2] = b.parabola.unwrap();
        let x = 16e6_f64.ln();
        assert!((c0 + c1 * x + c2 * x * x - loss(16e6)).abs() < 1e-9);
        assert_eq!(exact(&points, &groups).unwrap().code, Code::ExactParabolas);
    }

    #[test]
    fn three_noisy_budgets_have_an_interval_and_two_have_none() {
        let s = Surface { a: 406.4, b: 410.7, e: 1.69, alpha: 0.34, beta: 0.28 };
        let mut points = Vec::new();
        for (b, c) in [(0, 1e18), (1, 1e19), (2, 1e20)] {
            let (best, _) = s.optimum(&Compute::SixNd, c).unwrap();
            let sizes: Vec<(f64, f64)> = (0..7)
                .map(|i| {
                    let n = best * 4.0_f64.powf(f64::from(i) / 3.0 - 1.0);
                    let noise = 0.002 * f64::from((i * 5 + 3 * b) % 7 - 3) / 3.0;
                    (n, s.loss(n, c / (6.0 * n)) * (1.0 + noise))
                })
                .collect();
            points.extend(runs(c, &sizes));
        }
        let groups = budgets::budgets(&points);
        let (budgets, fit) = fit(&points, &groups, &Compute::SixNd, (200, 1, 0.9));
        let fit = fit.unwrap();
        let [lo, hi] = fit.intervals["a"];
        assert!(lo < fit.exponents.a && fit.exponents.a < hi && hi - lo < 0.2, "{lo} {hi}");
        assert!(budgets.iter().all(|b| b.params_interval.is_some()));
        let two: Vec<Point> = points[..14].to_vec();
        let (_, fit) = super::fit(&two, &budgets::budgets(&two), &Compute::SixNd, (200, 1, 0.9));
        assert!(fit.unwrap().intervals.is_empty());
    }
}
