//! The bias of approach 2 for the design in hand, by simulation on the fitted surface.
//!
//! A parabola is not the shape of a slice of the Chinchilla surface, so its vertex misses the optimum
//! even without noise, by an amount that only the surface and the design decide: how wide, how far off
//! centre and how evenly each budget was sampled (arXiv:2603.22339, section 2). Both are known once a
//! surface is fitted. So the fitted surface is taken for the truth, its loss is evaluated without noise
//! at the very runs of the table, approach 2 is run on that, and what it misses is the bias.
//!
//! What this is not: the error of the surface fit, or of the form of the law. A wrong surface gives a
//! somewhat wrong correction.

use crate::fit::data::budgets::Group;
use crate::fit::frontier::slice::{self, Parabola};
use crate::fit::frontier::{line, parabola};
use crate::fit::result::{BudgetFit, Compute, Fit, Frontier, IsoflopBias, Surface};
use crate::fit::{Code, Warning};
use crate::points::{AHEAD, Point};

/// A bias of N* above this share is worth a warning [-].
const WORTH_SAYING: f64 = 0.05;

/// A correction of N* beyond this factor is none: the design does not show its minima [-].
const MOST: f64 = 2.0;

/// The surface's mean square error over that of the parabolas beyond which it is not the runs' own [-]. With
/// normal errors and 20 degrees of freedom the ratio is above 2.1 once in 20 times.
const WORSE: f64 = 3.0;

/// Scatter below which surface and parabolas are both exact enough: a tenth of a percent of the loss [-].
const EXACT: f64 = 1e-3;

/// The bias of the `isoflop` line among `fits`, simulated on the first surface among them.
///
/// - `points`: sorted by compute; `groups` and `budgets` are parallel, as `parabola::fit` gave them.
///
/// The simulated line takes the budgets and the runs that the real one took, wherever a simulated vertex falls:
/// the rules for minima and for distant sizes have been applied once, to the measured losses. Its constraint and the compute
/// of each budget are the real ones too, so runs that miss their budget are part of the bias.
///
/// Nothing when there is no line or no surface with an optimum.
///
/// # Errors
///
/// Why no number would be worth subtracting: the surface misses the runs of the parabolas by far more than the
/// parabolas do; a simulated parabola has no minimum near its runs; or the correction would move N* by a
/// factor of two or the slope out of 0 to 1.
fn estimate(
    points: &[Point],
    groups: &[Group],
    budgets: &[BudgetFit],
    fits: &[Fit],
    compute: &Compute,
) -> Result<Option<IsoflopBias>, String> {
    let Some(measured) = fits.iter().find(|f| f.method == "isoflop").map(|f| f.frontier) else {
        return Ok(None);
    };
    let Some((method, surface)) = fits.iter().find_map(|f| Some((&f.method, f.params?))) else {
        return Ok(None);
    };
    let used: Vec<&Group> =
        groups.iter().zip(budgets).filter(|(_, b)| b.excluded.is_none()).map(|(g, _)| g).collect();
    if let Some(reason) = misses(points, &used, &surface) {
        return Err(format!("{method} {reason}"));
    }
    let (Some(simulated), Some(largest)) =
        (simulated(points, &used, &surface, compute), points.last())
    else {
        return Err(format!(
            "a slice of the {method} surface has no minimum near the runs of its budget"
        ));
    };
    let Some(truth) = truth(&used, &surface, compute) else { return Ok(None) };
    let bias = minus(simulated, truth);
    let params = |flops: f64| bias.n0 + bias.a * flops.ln();
    let (at_largest, ahead) = (params(largest.flops), params(AHEAD * largest.flops));
    let numbers = [bias.n0, bias.a, bias.d0, bias.b, at_largest, ahead];
    if !numbers.iter().all(|v| v.is_finite()) {
        return Ok(None);
    }
    let corrected = minus(measured, bias);
    if at_largest.abs().max(ahead.abs()) > MOST.ln() {
        return Err(format!(
            "the {method} surface has N* off by a factor of {:.3}: no correction, but a design that does \
             not show its minima",
            at_largest.abs().max(ahead.abs()).exp()
        ));
    }
    if let Some(reason) = line::implausible(&corrected) {
        return Err(format!("with the bias on the {method} surface taken off {reason}"));
    }
    Ok(Some(IsoflopBias {
        surface_method: method.clone(),
        a: bias.a,
        b: bias.b,
        frontier_bias: bias,
        corrected,
        params_at_largest: at_largest.exp_m1(),
        params_ahead: ahead.exp_m1(),
    }))
}

/// Why the surface is not that of these runs, or nothing when it may be: it misses those of the parabolas by
/// far more than the parabolas do.
fn misses(points: &[Point], groups: &[&Group], surface: &Surface) -> Option<String> {
    let rows: Vec<usize> = groups.iter().flat_map(|g| slice::near(points, g)).collect();
    let miss = |p: &Point| (p.loss / surface.loss(p.params, p.tokens)).ln().powi(2);
    let own = rows.iter().map(|i| miss(&points[*i])).sum::<f64>() / rows.len().max(1) as f64;
    let parabolas = parabola::scatter(points, groups)?.max(EXACT * EXACT);
    (own > WORSE * parabolas || !own.is_finite()).then(|| {
        format!(
            "misses the runs of the budgets by {:.2}% where the parabolas miss them by {:.2}%",
            100.0 * own.sqrt(),
            100.0 * parabolas.sqrt()
        )
    })
}

/// The bias, with what a reader must know of it: that it matters, or why it is not taken off.
pub(in crate::fit) fn of(
    points: &[Point],
    groups: &[Group],
    budgets: &[BudgetFit],
    fits: &[Fit],
    compute: &Compute,
    warnings: &mut Vec<Warning>,
) -> Option<IsoflopBias> {
    let bias = estimate(points, groups, budgets, fits, compute).unwrap_or_else(|reason| {
        let text = format!("isoflop: its bias on this design is not taken off: {reason}");
        warnings.push(Warning::new(Code::DesignBias, text));
        None
    });
    warnings.extend(bias.as_ref().and_then(warning));
    bias
}

/// What a reader must know of a bias that matters.
fn warning(bias: &IsoflopBias) -> Option<Warning> {
    (bias.params_ahead.abs() > WORTH_SAYING).then(|| {
        let text = format!(
            "isoflop: this design biases N* by {:+.1}% at {AHEAD}x the largest compute even without \
             noise; corrected a = {:.3}",
            100.0 * bias.params_ahead,
            bias.corrected.a
        );
        Warning::new(Code::DesignBias, text)
    })
}

/// Approach 2 on the losses of `surface` at the runs of `groups`.
fn simulated(
    points: &[Point],
    groups: &[&Group],
    surface: &Surface,
    compute: &Compute,
) -> Option<Frontier> {
    let vertex = |group: &&Group| {
        let runs: Vec<(f64, f64)> = slice::near(points, group)
            .iter()
            .map(|i| &points[*i])
            .map(|p| (p.params.ln(), surface.loss(p.params, p.tokens)))
            .collect();
        let (low, high) =
            runs.iter().fold((f64::MAX, f64::MIN), |(l, h), r| (l.min(r.0), h.max(r.0)));
        let vertex = Parabola::through(&runs).vertex()?;
        let near = (2.0 * low - high..=2.0 * high - low).contains(&vertex);
        near.then_some((group.flops, vertex))
    };
    let vertices: Vec<(f64, f64)> = groups.iter().map(vertex).collect::<Option<_>>()?;
    line::frontier(&vertices, compute)
}

/// The frontier that approach 2 ought to find: exact under C = 6ND, otherwise, where the frontier is
/// slightly bent, the least-squares line through its points at the same budgets. The bend itself is
/// shared by every straight line and is no bias of the parabola.
fn truth(groups: &[&Group], surface: &Surface, compute: &Compute) -> Option<Frontier> {
    match compute {
        Compute::SixNd => surface.frontier(compute, groups.first()?.flops, groups.last()?.flops),
        Compute::Attention { .. } => {
            let optimum = |g: &&Group| Some((g.flops, surface.optimum(compute, g.flops)?.0.ln()));
            let optima: Vec<(f64, f64)> = groups.iter().map(optimum).collect::<Option<_>>()?;
            line::frontier(&optima, compute)
        }
    }
}

fn minus(l: Frontier, r: Frontier) -> Frontier {
    Frontier { n0: l.n0 - r.n0, a: l.a - r.a, d0: l.d0 - r.d0, b: l.b - r.b }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::data::budgets;
    use crate::fit::data::checks;
    use crate::fit::frontier::parabola::tests::design;
    use crate::fit::tests::table;
    use crate::fit::{Analysis, Draws, Method, Options, analyse};

    const CHINCHILLA: Surface = Surface { a: 406.4, b: 410.7, e: 1.69, alpha: 0.34, beta: 0.28 };
    const SYMMETRIC: Surface = Surface { a: 400.0, b: 400.0, e: 1.69, alpha: 0.31, beta: 0.31 };

    /// Approach 2 on `points`, and its bias when `surface` is what was fitted.
    fn known(points: &[Point], surface: &Surface, compute: &Compute) -> (Frontier, IsoflopBias) {
        let (line, bias) = told(points, surface, compute);
        (line, bias.unwrap())
    }

    /// The same, or why there is no correction.
    fn told(
        points: &[Point],
        surface: &Surface,
        compute: &Compute,
    ) -> (Frontier, Result<IsoflopBias, String>) {
        let points = checks::sorted(points);
        let groups = budgets::budgets(&points);
        let (budgets, line) = parabola::fit(&points, &groups, compute, (0, 1, 0.9));
        let line = line.unwrap();
        let measured = line.frontier;
        let fitted = Fit {
            law: "chinchilla".into(),
            method: "lse-huber".into(),
            params: Some(*surface),
            draws: Draws::Surfaces(Vec::new()),
            ..line.clone()
        };
        let bias = estimate(&points, &groups, &budgets, &[fitted, line], compute);
        (measured, bias.map(Option::unwrap))
    }

    fn options(methods: &[Method]) -> Options {
        Options { bootstrap: 0, holdout: 0, methods: methods.to_vec(), ..Options::default() }
    }

    fn analysed(points: Vec<Point>, methods: &[Method]) -> Analysis {
        analyse(&table(points), Compute::SixNd, &options(methods)).unwrap()
    }

    /// Relative errors of N* and D* at `flops` against the surface's optimum.
    fn errors(line: &Frontier, surface: &Surface, flops: f64) -> [f64; 2] {
        let ((n, d), (m, e)) = (line.at(flops), surface.optimum(&Compute::SixNd, flops).unwrap());
        [n / m - 1.0, d / e - 1.0]
    }

    fn below(errors: [f64; 2], limit: f64) {
        assert!(errors.iter().all(|e| e.abs() < limit), "{errors:?}, want below {limit}");
    }

    /// Up to a factor of 8 either side every size is used and the uncorrected numbers are the published ones,
    /// recomputed in 50-digit arithmetic as in `isoflop` (arXiv:2603.22339, section 2): percent error of D* at
    /// 1e24 FLOP. Beyond, the sizes farther out are left alone.
    #[test]
    fn the_corrected_line_meets_the_optimum_that_the_plain_one_misses() {
        let published = [-0.326937804, -1.301125044, -2.902904738, -5.100244552];
        for (k, want) in [2.0, 4.0, 8.0, 16.0].into_iter().zip(published) {
            let points = design(&CHINCHILLA, k, |_| 1.0);
            let (plain, bias) = known(&points, &CHINCHILLA, &Compute::SixNd);
            let [_, d] = errors(&plain, &CHINCHILLA, 1e24);
            let met = (100.0 * d - want).abs() < 1e-7;
            assert!(if k > 8.0 { (-0.03..0.0).contains(&d) } else { met }, "{k}: {d}");
            below(errors(&bias.corrected, &CHINCHILLA, 1e24), 1e-10);
            // Equal widths at every budget move the intercept alone (same source).
            assert!(bias.a.abs() < 1e-12 && bias.b.abs() < 1e-12, "{bias:?}");
            // D* too small by x is N* too large by 1/(1 - x), at any compute.
            let n = 1.0 / (1.0 + d) - 1.0;
            assert!((bias.params_at_largest - n).abs() < 1e-8, "{k}: {bias:?}");
            assert!((bias.params_ahead - n).abs() < 1e-8, "{k}: {bias:?}");
        }
    }

    /// Budgets centred three times off, always or more and more (same source, section 2). At widths of
    /// 2 the minimum is outside the runs and `isoflop` refuses the budget; wider, the sizes that are farthest
    /// from the vertex are left alone, and the bias is below the published one.
    #[test]
    fn budgets_off_centre_are_corrected_likewise() {
        let constant = [3.471817881, 2.645165430, 1.509792260];
        let drifting = [5.171168143, 3.697903198, 1.689066536];
        for (i, k) in [4.0, 8.0, 16.0].into_iter().enumerate() {
            let below_all = |d: f64, all: f64| (100.0 * d).abs() < all;
            let points = design(&SYMMETRIC, k, |_| 3.0);
            let (plain, bias) = known(&points, &SYMMETRIC, &Compute::SixNd);
            assert!(below_all(errors(&plain, &SYMMETRIC, 1e24)[1], constant[i]), "{k}: {plain:?}");
            below(errors(&bias.corrected, &SYMMETRIC, 1e24), 1e-10);

            let points = design(&SYMMETRIC, k, |b| 3.0_f64.powf(b / 4.0));
            let (plain, bias) = known(&points, &SYMMETRIC, &Compute::SixNd);
            assert!(below_all(errors(&plain, &SYMMETRIC, 1e24)[1], drifting[i]), "{k}: {plain:?}");
            below(errors(&bias.corrected, &SYMMETRIC, 1e24), 1e-10);
            // With every size the slopes of D* are .50355, .50268 and .50147 for .5.
            assert!(bias.b.abs() < 0.00355, "{bias:?}");
            assert!((bias.corrected.a - 0.5).abs() < 1e-12);
        }
    }

    #[test]
    fn a_surface_fitted_to_the_runs_corrects_as_well_as_the_true_one() {
        for (k, offset) in [(4.0, 1.0), (16.0, 1.0), (8.0, 3.0)] {
            let analysis = analysed(design(&CHINCHILLA, k, |_| offset), &Method::ALL);
            let bias = analysis.isoflop_bias.unwrap();
            assert_eq!(bias.surface_method, "lse-huber");
            below(errors(&bias.corrected, &CHINCHILLA, 1e24), 1e-6);
        }
    }

    /// With alpha = beta a slice is A N^-alpha + B' N^alpha, a hyperbolic cosine about ln N*.
    #[test]
    fn a_centred_design_on_a_symmetric_surface_has_no_bias() {
        for k in [2.0, 16.0] {
            let points = design(&SYMMETRIC, k, |_| 1.0);
            let (_, bias) = known(&points, &SYMMETRIC, &Compute::SixNd);
            let [at, ahead] = [bias.params_at_largest, bias.params_ahead];
            assert!(at.abs() < 1e-9 && ahead.abs() < 1e-9, "{bias:?}");
            assert_eq!(warning(&bias), None);
        }
    }

    /// The line through the true optima at the five budgets is what noise-free data, corrected, must
    /// give, bend of the frontier included.
    #[test]
    fn attention_in_the_constraint_is_corrected_to_the_line_through_the_optima() {
        let compute = Compute::Attention { k: 300.0, q: 2.0 / 3.0, max_error: 0.0 };
        let mut points = design(&CHINCHILLA, 8.0, |_| 2.0);
        for p in &mut points {
            p.tokens = p.flops / compute.per_token(p.params);
            p.loss = CHINCHILLA.loss(p.params, p.tokens);
        }
        let (plain, bias) = known(&points, &CHINCHILLA, &compute);
        let optima: Vec<(f64, f64)> = (17..22)
            .map(|c| 10.0_f64.powi(c))
            .map(|c| (c, CHINCHILLA.optimum(&compute, c).unwrap().0.ln()))
            .collect();
        let want = line::frontier(&optima, &compute).unwrap();
        for c in [1e17, 1e21] {
            let ((n, d), (m, e)) = (bias.corrected.at(c), want.at(c));
            below([n / m - 1.0, d / e - 1.0], 1e-10);
            assert!((plain.at(c).0 / m - 1.0).abs() > 1e-3);
        }
    }

    /// The first budget is centred three times off, so that leaving it out or in changes the slope.
    #[test]
    fn the_simulation_uses_the_budgets_that_the_line_used() {
        let drift = |b: f64| if b == 0.0 { 3.0 } else { 1.0 };
        let mut points = design(&SYMMETRIC, 8.0, drift);
        let of = |points: &[Point]| known(points, &SYMMETRIC, &Compute::SixNd).1.frontier_bias;
        let (all, others) = (of(&points), of(&points[15..]));
        assert!((all.a - others.a).abs() > 1e-5, "{all:?} {others:?}");
        // Its measured losses fall throughout: the line does without it, though the surface would not.
        for (i, p) in points[..15].iter_mut().enumerate() {
            p.loss = 9.0 - 0.1 * i as f64;
        }
        let without = of(&points);
        assert!((without.a - others.a).abs() < 1e-14 && (without.n0 - others.n0).abs() < 1e-12);
    }

    /// Three tables of which the surface is not the law: no number is subtracted.
    #[test]
    fn a_surface_that_misses_the_runs_corrects_nothing() {
        let refused = |points: &[Point]| told(points, &SYMMETRIC, &Compute::SixNd).1.unwrap_err();
        // The measured minima are those of another law.
        let mut points = design(&SYMMETRIC, 32.0, |_| 1.0);
        for p in &mut points {
            p.loss = CHINCHILLA.loss(p.params, p.tokens);
        }
        assert!(
            refused(&points).contains("misses the runs of the budgets"),
            "{}",
            refused(&points)
        );
        // The right form and the right level, but N* elsewhere.
        let mut points = design(&SYMMETRIC, 8.0, |_| 1.0);
        for (i, p) in points.iter_mut().enumerate() {
            p.loss *= 1.0 + 0.002 * (i % 15) as f64;
        }
        assert!(refused(&points).contains("misses the runs of the budgets"));
    }

    #[test]
    fn without_a_surface_or_a_line_there_is_no_bias_to_give() {
        let points = || design(&CHINCHILLA, 4.0, |_| 1.0);
        assert_eq!(analysed(points(), &[Method::Isoflop]).isoflop_bias, None);
        assert_eq!(analysed(points(), &[Method::LseHuber, Method::Varpro]).isoflop_bias, None);
        let both = analysed(points(), &[Method::Varpro, Method::Isoflop]);
        assert_eq!(both.isoflop_bias.unwrap().surface_method, "varpro");
    }

    #[test]
    fn a_bias_above_five_percent_is_a_warning() {
        let of = |s: &Surface| analysed(design(s, 4.0, |_| 1.0), &Method::ALL).warnings;
        let lopsided = of(&Surface { alpha: 0.465, beta: 0.155, ..CHINCHILLA });
        // 1 / (1 - .06497778742) - 1 = 6.9% (as published, see `isoflop`); beta / (alpha + beta) = .25.
        let want = "isoflop: this design biases N* by +6.9% at 10x the largest compute even without \
                    noise; corrected a = 0.250";
        assert!(lopsided.iter().any(|w| w.text == want), "{lopsided:?}");
        assert!(!of(&CHINCHILLA).iter().any(|w| w.text.contains("biases")));
    }

    #[test]
    fn the_order_of_the_rows_changes_no_bit() {
        let points = design(&CHINCHILLA, 8.0, |_| 3.0);
        let mut shuffled = points.clone();
        shuffled.reverse();
        shuffled.swap(3, 40);
        assert_eq!(
            analysed(points, &Method::ALL).isoflop_bias,
            analysed(shuffled, &Method::ALL).isoflop_bias
        );
    }

    #[test]
    fn a_file_from_before_the_bias_was_estimated_is_read() {
        let mut analysis = analysed(design(&CHINCHILLA, 4.0, |_| 1.0), &Method::ALL);
        let mut file = serde_json::to_value(&analysis).unwrap();
        assert!(file.as_object_mut().unwrap().remove("isoflop_bias").is_some());
        analysis.isoflop_bias = None;
        assert_eq!(serde_json::from_value::<Analysis>(file).unwrap(), analysis);
    }
}
