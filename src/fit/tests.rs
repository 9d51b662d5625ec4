//! The analysis as a whole.

use super::*;
use crate::fit::data::checks;
use crate::fit::data::sample::tests::{TRUTH, study};
use crate::points::{Convention, Point, Table};

pub(crate) fn table(points: Vec<Point>) -> Table {
    Table::new("synthetic", Convention::new("total", "6ND", "nats/token"), points)
}

fn quick() -> Options {
    Options { bootstrap: 40, ..Options::default() }
}

fn five_budgets() -> Vec<Point> {
    study(&[1e18, 3e18, 1e19, 3e19, 1e20], 6, 4.0, 0.003, 11)
}

#[test]
fn four_methods_report_in_the_order_in_which_they_lead() {
    let analysis = analyse(&table(five_budgets()), Compute::SixNd, &quick()).unwrap();
    let methods: Vec<&str> = analysis.fits.iter().map(|f| f.method.as_str()).collect();
    assert_eq!(methods, ["lse-huber", "varpro", "isoflop", "envelope"]);
    for fit in &analysis.fits[..2] {
        let s = fit.params.unwrap();
        assert_eq!(fit.exponents.a, s.beta / (s.alpha + s.beta));
        let [lo, hi] = fit.intervals["a"];
        assert!(lo < fit.exponents.a && fit.exponents.a < hi, "{lo} {hi}");
        assert!((0.002..0.0045).contains(&fit.residual_sd.unwrap()), "{:?}", fit.residual_sd);
    }
    assert!(analysis.holdout.is_some() && analysis.isoflop.len() == 5);
}

/// One of 126 starts, and a descent that stopped short: neither may lead.
#[test]
fn a_fit_whose_optimum_is_in_doubt_comes_last() {
    let analysis = analyse(&table(five_budgets()), Compute::SixNd, &quick()).unwrap();
    let told = |starts, starts_at_best, gradient| {
        let mut fit = analysis.fits[0].clone();
        let own = fit.certificate.clone();
        fit.certificate = Certificate { starts, starts_at_best, gradient, ..own };
        checks::in_doubt(&fit)
    };
    assert!(told(126, 1, 1e-9) && told(126, 126, 1e-2));
    assert!(
        !told(126, 40, 1e-9) && !told(1, 1, 1e-9) && !analysis.fits.iter().any(checks::in_doubt)
    );
}

/// Every size at one D: the slope of the envelope is that of the design, 1, whatever the losses are.
#[test]
fn what_the_design_alone_decides_is_refused_with_its_reason() {
    let mut points = study(&[1e18], 7, 4.0, 0.01, 3);
    for p in &mut points {
        (p.tokens, p.flops, p.budget) = (4.4196e9, 6.0 * p.params * 4.4196e9, None);
        p.loss = TRUTH.loss(p.params, p.tokens);
    }
    let told = match analyse(&table(points), Compute::SixNd, &quick()) {
        Ok(analysis) => {
            assert!(analysis.fits.is_empty(), "{:?}", analysis.fits);
            analysis.warnings.iter().map(|w| w.text.clone()).collect()
        }
        Err(FitError::Unidentifiable { what }) => what,
        Err(other) => panic!("{other}"),
    };
    let envelope = told.iter().find(|text| text.starts_with("envelope")).unwrap();
    assert!(envelope.contains("1 distinct token counts D"), "{told:?}");
}

/// Oracle: the long way round, bit for bit; the fits that were not asked for change nothing.
#[test]
fn surfaces_alone_are_those_of_the_analysis() {
    let table = table(five_budgets());
    let both = analyse(&table, Compute::SixNd, &quick()).unwrap();
    for (methods, bootstrap, from) in [
        (vec![Method::LseHuber, Method::Varpro], 40, 0),
        (vec![Method::Varpro], 40, 1),
        (vec![Method::LseHuber], 0, 0),
        (vec![Method::Varpro], 0, 1),
    ] {
        let options = Options { bootstrap, methods, ..quick() };
        let alone = surfaces(&table, Compute::SixNd, &options).unwrap();
        assert_eq!(alone.len(), options.methods.len());
        for (got, want) in alone.iter().zip(&both.fits[from..]) {
            assert_eq!((got.params, got.objective), (want.params, want.objective));
            assert_eq!(got.certificate, want.certificate);
            if bootstrap > 0 {
                assert_eq!(got, want);
            }
        }
    }
    let options = Options { methods: vec![Method::Isoflop], ..quick() };
    let refused = surfaces(&table, Compute::SixNd, &options).unwrap_err().to_string();
    assert!(refused.contains("no method of the options"), "{refused}");
}

#[test]
fn every_number_survives_the_file() {
    let analysis = analyse(&table(five_budgets()), Compute::SixNd, &quick()).unwrap();
    let text = serde_json::to_string(&analysis).unwrap();
    assert!(!text.contains("null,\"flops\""), "a NaN would be written as null");
    let back: Analysis = serde_json::from_str(&text).unwrap();
    assert_eq!(back, analysis);
}

#[test]
fn a_bad_value_is_refused_by_row_and_column() {
    for (value, column) in [(f64::NAN, "loss"), (-1.0, "params"), (0.0, "tokens")] {
        let mut points = five_budgets();
        match column {
            "loss" => points[7].loss = value,
            "params" => points[7].params = value,
            _ => points[7].tokens = value,
        }
        let error = analyse(&table(points), Compute::SixNd, &quick()).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("cell 1.1") && text.contains(column), "{text}");
    }
}

#[test]
fn too_little_to_say_anything_is_refused() {
    let points = five_budgets();
    let refused = |points: &[Point], options: &Options| {
        analyse(&table(points.to_vec()), Compute::SixNd, options).unwrap_err()
    };
    assert_eq!(refused(&points[..2], &quick()), FitError::TooFewPoints { have: 2, need: 3 });
    let options = Options { level: 1.0, ..quick() };
    assert!(matches!(refused(&points, &options), FitError::BadOption { option: "level", .. }));
    // Three sizes of one budget whose loss falls throughout: no minimum, no line, no surface.
    let falling: Vec<Point> = points[..3].to_vec();
    assert!(matches!(refused(&falling, &quick()), FitError::Unidentifiable { .. }));
}

#[test]
fn one_budget_gives_its_minimum_and_says_what_it_lacks() {
    let points = study(&[1e18], 7, 4.0, 0.001, 3);
    let analysis = analyse(&table(points), Compute::SixNd, &quick()).unwrap();
    assert!(analysis.fits.is_empty() && analysis.isoflop[0].params.is_some());
    assert!(analysis.warnings.iter().any(|w| w.text.contains("D is a power of N")));
}

#[test]
fn known_entropy_outside_the_interval_is_a_warning() {
    let mut t = table(five_budgets());
    t.entropy = Some(1.0);
    let analysis = analyse(&t, Compute::SixNd, &quick()).unwrap();
    assert!(analysis.warnings.iter().any(|w| w.text.contains("known entropy")));
    t.entropy = Some(9.0);
    let analysis = analyse(&t, Compute::SixNd, &quick()).unwrap();
    assert!(analysis.warnings.iter().any(|w| w.text.contains("below the known entropy")));
}

#[test]
fn an_outlier_is_named() {
    let mut points = five_budgets();
    points[8].loss *= 1.2;
    let analysis = analyse(&table(points), Compute::SixNd, &quick()).unwrap();
    assert!(
        analysis
            .warnings
            .iter()
            .any(|w| w.text.starts_with("lse-huber") && w.text.contains("cell 1.2")),
        "{:?}",
        analysis.warnings
    );
}
