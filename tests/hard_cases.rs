//! Tables that cannot tell what is asked of them: a named refusal or a named warning, never a silent
//! number; and what can be determined is still given.

use isoflop::fit::{Analysis, Code, Compute, FitError, Options, Surface, analyse};
use isoflop::points::{Convention, Point, Table};

/// Hoffmann et al. 2022, approach 3, as printed.
const TRUTH: Surface = Surface { a: 406.4, b: 410.7, e: 1.69, alpha: 0.34, beta: 0.28 };

fn point(i: usize, params: f64, tokens: f64, loss: f64) -> Point {
    Point {
        id: format!("row {i}"),
        cluster: format!("row {i}"),
        params,
        tokens,
        flops: 6.0 * params * tokens,
        loss,
        budget: None,
        unique_tokens: None,
        counts: None,
    }
}

/// A noise of fixed pattern and standard deviation about `sd`: sines of incommensurate steps.
fn wobble(i: usize, sd: f64) -> f64 {
    (sd * 1.4 * (i as f64 * 2.399_963 + 0.5).sin()).exp()
}

/// Five budgets of six sizes within a factor 4 of the optimum.
fn study(sd: f64) -> Vec<Point> {
    let mut points = Vec::new();
    for flops in [1e18, 3e18, 1e19, 3e19, 1e20] {
        let (best, _) = TRUTH.optimum(&Compute::SixNd, flops).unwrap();
        for i in 0..6 {
            let params = best * 4.0_f64.powf(f64::from(i) / 2.5 - 1.0);
            let tokens = flops / (6.0 * params);
            let n = points.len();
            points.push(point(n, params, tokens, TRUTH.loss(params, tokens) * wobble(n, sd)));
        }
    }
    points
}

fn table(points: Vec<Point>) -> Table {
    Table::new("hard", Convention::new("total", "6ND", "nats/token"), points)
}

fn fit(points: Vec<Point>) -> Result<Analysis, FitError> {
    let options = Options { bootstrap: 60, ..Options::default() };
    let analysis = analyse(&table(points), Compute::SixNd, &options)?;
    let json = serde_json::to_string(&analysis).unwrap();
    let back: Analysis =
        serde_json::from_str(&json).expect("a NaN or an infinity is written as null");
    assert_eq!(back, analysis);
    Ok(analysis)
}

#[track_caller]
fn told(analysis: &Analysis, code: Code, word: &str) {
    assert!(
        analysis.warnings.iter().any(|w| w.code == code && w.text.contains(word)),
        "no {code:?} with `{word}` among {:#?}",
        analysis.warnings
    );
}

#[test]
fn tokens_in_proportion_to_size_leave_the_exponents_undetermined() {
    let points = (0..12)
        .map(|i| {
            let n = 1e7 * 1.6_f64.powi(i);
            point(i as usize, n, 20.0 * n, TRUTH.loss(n, 20.0 * n) * wobble(i as usize, 0.002))
        })
        .collect();
    let analysis = fit(points).unwrap();
    assert!(analysis.fits.iter().all(|f| f.params.is_none()), "a surface out of a line");
    told(&analysis, Code::MethodMissing, "D is a power of N");
}

#[test]
fn one_size_or_one_token_count_gives_no_surface() {
    for fixed_size in [true, false] {
        let points = (0..12)
            .map(|i| {
                let v = 1e9 * 1.7_f64.powi(i);
                let (n, d) = if fixed_size { (1e8, v) } else { (v, 1e10) };
                point(i as usize, n, d, TRUTH.loss(n, d) * wobble(i as usize, 0.002))
            })
            .collect();
        match fit(points) {
            Ok(analysis) => {
                assert!(analysis.fits.iter().all(|f| f.params.is_none()));
                told(&analysis, Code::MethodMissing, "distinct");
            }
            Err(error) => assert!(error.to_string().contains("distinct"), "{error}"),
        }
    }
}

#[test]
fn fewer_runs_than_parameters_are_refused_by_number() {
    let points = study(0.002);
    assert!(matches!(fit(points[..2].to_vec()), Err(FitError::TooFewPoints { have: 2, .. })));
    for n in [3, 4, 5] {
        // Every sixth run, so that sizes and tokens differ.
        let few: Vec<Point> = points.iter().step_by(7).take(n).cloned().collect();
        match fit(few) {
            Ok(analysis) => {
                assert!(
                    analysis.fits.iter().all(|f| f.params.is_none()),
                    "{n} runs, five parameters"
                );
                told(&analysis, Code::MethodMissing, "5 parameters");
            }
            Err(error) => assert!(error.to_string().contains("5 parameters"), "{error}"),
        }
    }
}

#[test]
fn values_that_are_no_numbers_name_their_row_and_column() {
    for (value, column) in [
        (f64::NAN, "loss"),
        (f64::INFINITY, "loss"),
        (0.0, "tokens"),
        (-3.0, "params"),
        (f64::NAN, "flops"),
    ] {
        let mut points = study(0.002);
        match column {
            "loss" => points[7].loss = value,
            "tokens" => points[7].tokens = value,
            "params" => points[7].params = value,
            _ => points[7].flops = value,
        }
        let error = fit(points).unwrap_err().to_string();
        assert!(error.contains("row 7") && error.contains(column), "{error}");
    }
}

#[test]
fn a_constant_loss_is_no_law() {
    let mut points = study(0.0);
    for p in &mut points {
        p.loss = 2.0;
    }
    match fit(points) {
        Ok(analysis) => {
            assert!(analysis.fits.iter().all(|f| f.params.is_none()));
            told(&analysis, Code::MethodMissing, "same loss");
        }
        Err(error) => assert!(error.to_string().contains("same loss"), "{error}"),
    }
}

/// Oracle: each run twice doubles every sum, so the point estimates stay.
#[test]
fn repeated_runs_move_no_estimate() {
    let points = study(0.003);
    let once = fit(points.clone()).unwrap();
    let mut twice = points.clone();
    twice.extend(points.iter().map(|p| Point { id: format!("{} again", p.id), ..p.clone() }));
    let twice = fit(twice).unwrap();
    for (l, r) in once.fits.iter().zip(&twice.fits).filter(|(l, _)| l.params.is_some()) {
        assert!((l.exponents.a - r.exponents.a).abs() < 1e-7, "{}", l.method);
    }
}

#[test]
fn a_loss_that_rises_with_size_has_no_compute_optimal_size() {
    let mut points = study(0.0);
    for (i, p) in points.iter_mut().enumerate() {
        p.loss = (1.7 + 400.0 * p.tokens.powf(-0.28) + 0.02 * p.params.ln()) * wobble(i, 0.001);
    }
    let analysis = fit(points);
    if let Ok(analysis) = analysis {
        assert!(
            analysis.fits.iter().all(|f| f.params.is_none()),
            "a frontier out of a rising loss"
        );
        told(&analysis, Code::MethodMissing, "bound");
    }
}

#[test]
fn a_law_without_a_floor_says_that_e_is_at_its_bound() {
    let mut points = study(0.0);
    for (i, p) in points.iter_mut().enumerate() {
        p.loss = (TRUTH.loss(p.params, p.tokens) - 1.75) * wobble(i, 0.001);
    }
    let analysis = fit(points).unwrap();
    told(&analysis, Code::AtBound, "E");
}

/// Robust loss: one run in thirty ten times too high moves the exponents of Huber's fit by less than
/// 5%, and the run is named.
#[test]
fn one_wild_run_is_named_and_moves_hubers_fit_little() {
    let clean = fit(study(0.002)).unwrap();
    let mut points = study(0.002);
    points[14].loss *= 10.0;
    let wild = fit(points).unwrap();
    told(&wild, Code::Outliers, "row 14");
    let lead = |a: &Analysis| a.fits.iter().find(|f| f.method == "lse-huber").unwrap().exponents.a;
    assert!((lead(&wild) / lead(&clean) - 1.0).abs() < 0.05, "{} {}", lead(&wild), lead(&clean));
}

/// Nine decades of size: nothing overflows, and the law comes back.
#[test]
fn sizes_from_a_thousand_to_a_trillion() {
    let mut points = Vec::new();
    for i in 0..10 {
        for j in 0..5 {
            let n = 1e3 * 10.0_f64.powi(i);
            let d = n * 4.0_f64.powi(j - 1);
            points.push(point(points.len(), n, d, TRUTH.loss(n, d)));
        }
    }
    let analysis = fit(points).unwrap();
    let s = analysis.fits[0].params.unwrap();
    assert!((s.alpha - TRUTH.alpha).abs() < 1e-6 && (s.beta - TRUTH.beta).abs() < 1e-6, "{s:?}");
}

/// A prediction farther out is never more certain.
#[test]
fn intervals_widen_with_the_distance() {
    let analysis = fit(study(0.003)).unwrap();
    let width = |flops: f64| {
        let p = isoflop::predict::at_flops(&analysis, flops).unwrap();
        ((p.params.hi / p.params.lo).ln(), (p.loss.hi / p.loss.lo).ln())
    };
    let widths: Vec<(f64, f64)> = [1e20, 1e21, 1e22, 1e23, 1e24].map(width).into();
    for pair in widths.windows(2) {
        assert!(pair[0].0 < pair[1].0 && pair[0].1 < pair[1].1, "{widths:?}");
    }
}

/// N that counts more parameters than do the work, or a C that was rounded down: less than 6ND a token.
#[test]
fn compute_below_six_n_d_is_fitted_and_read_back() {
    for share in [0.3, 0.9, 0.999] {
        let mut points = study(0.002);
        for point in &mut points {
            point.flops *= share;
        }
        let table = table(points);
        let compute = Compute::fit(&table.flops_per_token());
        assert!(matches!(compute, Compute::Attention { k, .. } if k < 0.0), "{compute:?}");
        let options = Options { bootstrap: 0, holdout: 0, ..Options::default() };
        let analysis = analyse(&table, compute, &options).unwrap();
        let json = serde_json::to_vec(&analysis).unwrap();
        assert_eq!(Analysis::read(&json).unwrap().fits, analysis.fits, "{share}");
    }
}
