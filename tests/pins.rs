//! Parameters that are given and not fitted: `--pin E=1.6`.

use std::fs;
use std::process::{Command, Output};

use isoflop::fit::law::{self, Law, Scale};
use isoflop::fit::{
    Analysis, Code, Compute, Draws, Fit, FitError, Options, Pins, Surface, analyse, surfaces,
};
use isoflop::points::{Convention, Point, Table};
use serde_json::Value;

/// Hoffmann et al. 2022, approach 3, as printed.
const TRUTH: Surface = Surface { e: 1.69, a: 406.4, b: 410.7, alpha: 0.34, beta: 0.28 };

/// Five budgets of eight sizes on [`TRUTH`], ln L with a regular scatter of this size.
fn table(scatter: f64) -> Table {
    let mut points = Vec::new();
    for (i, flops) in [1e18, 3e18, 1e19, 3e19, 1e20_f64].into_iter().enumerate() {
        for j in 0..8 {
            let params = 0.14 * flops.sqrt() * 1.6_f64.powf(f64::from(j) - 3.5);
            let tokens = flops / 6.0 / params;
            let off = (5.0 * i as f64 + 3.0 * f64::from(j)).sin();
            points.push(Point {
                id: format!("{i}.{j}"),
                cluster: format!("{i}.{j}"),
                params,
                tokens,
                flops,
                loss: TRUTH.loss(params, tokens) * (scatter * off).exp(),
                budget: Some(flops),
                unique_tokens: None,
                counts: None,
            });
        }
    }
    Table::new("synthetic", Convention::new("total", "6ND", "nats/token"), points)
}

fn pinned(pairs: &[(&str, f64)]) -> Options {
    let pins = Pins::new(pairs.iter().copied()).unwrap();
    Options { bootstrap: 0, holdout: 0, pins, ..Options::default() }
}

fn fits(table: &Table, pairs: &[(&str, f64)]) -> Vec<Fit> {
    surfaces(table, Compute::SixNd, &pinned(pairs)).unwrap()
}

fn near(got: f64, want: f64, within: f64) {
    assert!((got / want - 1.0).abs() < within, "{got}, want {want}");
}

/// Oracle: the constants that the losses were made with.
#[test]
fn the_true_values_pinned_give_the_law_back() {
    let table = table(0.0);
    let all: [&[(&str, f64)]; 4] = [
        &[("E", 1.69)],
        &[("alpha", 0.34)],
        &[("E", 1.69), ("beta", 0.28)],
        &[("E", 1.69), ("alpha", 0.34), ("beta", 0.28)],
    ];
    for pairs in all {
        let found = fits(&table, pairs);
        assert_eq!(found.len(), 2, "{pairs:?}");
        for fit in found {
            let s = fit.params.unwrap();
            let places = [
                ("E", s.e, TRUTH.e),
                ("A", s.a, TRUTH.a),
                ("B", s.b, TRUTH.b),
                ("alpha", s.alpha, TRUTH.alpha),
                ("beta", s.beta, TRUTH.beta),
            ];
            for (name, got, want) in places {
                near(got, want, 1e-6);
                if let Some((_, pin)) = pairs.iter().find(|(pinned, _)| *pinned == name) {
                    assert_eq!(got, *pin, "{name}: a pin is exact");
                }
            }
            assert!(fit.certificate.at_bound.is_empty(), "{fit:?}");
            assert_eq!(fit.certificate.starts_at_best, fit.certificate.starts, "{pairs:?}");
        }
    }
    let analysis = analyse(&table, Compute::SixNd, &pinned(&[("E", 1.69)])).unwrap();
    let law = analysis.laws.iter().find(|l| l.law == "chinchilla").unwrap();
    for (value, want) in law.params.iter().zip([1.69, 406.4, 410.7, 0.34, 0.28]) {
        near(value.value, want, 1e-6);
    }
    assert_eq!((law.params[0].value, law.params[0].sd), (1.69, None));
}

/// A higher floor leaves less to fall, which then falls faster. Oracle of a: another solver (Levenberg-Marquardt on the
/// law's own form) at the same E.
#[test]
fn a_wrong_asymptote_moves_the_exponents_as_it_must() {
    let table = table(0.0);
    let at = |e: f64| fits(&table, &[("E", e)]).pop().unwrap();
    let (low, true_one, high) = (at(1.4), at(1.69), at(1.9));
    let exponents = [&low, &true_one, &high].map(|fit| fit.params.unwrap());
    assert!(exponents.windows(2).all(|w| w[0].alpha < w[1].alpha && w[0].beta < w[1].beta));
    assert!(low.objective > true_one.objective && high.objective > true_one.objective);
    for (fit, e) in [(low, 1.4), (high, 1.9)] {
        let chinchilla = Law::named("chinchilla").unwrap();
        let pins = Pins::new([("E", e)]).unwrap();
        let other = law::pinned(chinchilla, &table.points, Scale::Loss, pins).unwrap().values();
        let (alpha, beta) = (other[3].0, other[4].0);
        near(fit.exponents.a, beta / (alpha + beta), 1e-6);
        assert!((fit.exponents.a - 0.28 / 0.62).abs() > 1e-4, "{}", fit.exponents.a);
    }
}

#[test]
fn a_pinned_parameter_is_none_that_the_scatter_pays_for() {
    let table = table(0.002);
    let free = analyse(&table, Compute::SixNd, &pinned(&[])).unwrap();
    let held = analyse(&table, Compute::SixNd, &pinned(&[("E", 1.69)])).unwrap();
    let squares = |a: &Analysis| {
        let s = a.fits[0].params.unwrap();
        let off = |p: &Point| (p.loss / s.loss(p.params, p.tokens)).ln().powi(2);
        a.points.iter().map(off).sum::<f64>()
    };
    let n = table.points.len() as f64;
    for (analysis, left) in [(&free, n - 5.0), (&held, n - 4.0)] {
        near(analysis.fits[0].residual_sd.unwrap().powi(2) * left, squares(analysis), 1e-9);
    }
    let k = |a: &Analysis, law: &str| a.laws.iter().find(|l| l.law == law).unwrap().k;
    for (law, all) in [("chinchilla", 5), ("shared", 4), ("coupled", 6), ("interaction", 6)] {
        assert_eq!((k(&free, law), k(&held, law)), (all, all - 1), "{law}");
    }
}

#[test]
fn intervals_are_those_of_the_fit_with_the_pin_and_forms_without_it_are_named() {
    let table = table(0.003);
    let with = |pairs| Options { bootstrap: 60, ..pinned(pairs) };
    let free = analyse(&table, Compute::SixNd, &with(&[])).unwrap();
    let held = analyse(&table, Compute::SixNd, &with(&[("E", 1.69)])).unwrap();
    for (all, fit) in free.fits[..2].iter().zip(&held.fits[..2]) {
        assert!(!fit.intervals.contains_key("E") && all.intervals.contains_key("E"));
        let Draws::Surfaces(draws) = &fit.draws else { panic!("surfaces have surfaces") };
        assert!(draws.len() > 50 && draws.iter().all(|s| s.e == 1.69));
        let width = |fit: &Fit, name: &str| fit.intervals[name][1] - fit.intervals[name][0];
        for name in ["alpha", "beta"] {
            assert!(width(fit, name) < width(all, name), "{name}");
        }
    }
    let missing: Vec<&str> = held.laws_missing.iter().map(|l| l.law.as_str()).collect();
    for law in ["kaplan", "farseer"] {
        assert!(missing.contains(&law), "{missing:?}");
        assert!(free.laws.iter().any(|l| l.law == law), "fitted without the pin");
        let averaged = held.averaging.as_ref().unwrap();
        assert!(!averaged.forms.iter().any(|f| f.law == law) && averaged.forms.len() >= 3);
    }
    assert!(held.warnings.iter().any(|w| w.code == Code::Pinned), "{:?}", held.warnings);
    assert!(held.profile.iter().all(|p| p.quantity != "E") && held.profile.len() == 3);
    for (p, wide) in held.profile.iter().zip(free.profile.iter().filter(|p| p.quantity != "E")) {
        assert!(p.hi.unwrap() - p.lo.unwrap() < wide.hi.unwrap() - wide.lo.unwrap(), "{p:?}");
    }
    let p = isoflop::predict::at_flops(&held, 1e21).unwrap();
    assert!(p.warnings.iter().any(|w| w.code == Code::Pinned));
    assert!(p.loss.lo < TRUTH.loss(p.params.value, p.tokens.value));
}

#[test]
fn what_no_run_allows_is_refused() {
    let table = table(0.0);
    let lowest = table.points.iter().map(|p| p.loss).fold(f64::MAX, f64::min);
    for (name, value) in [
        ("E", lowest),
        ("E", 9.0),
        ("E", 0.0),
        ("E", -1.0),
        ("E", f64::NAN),
        ("alpha", f64::INFINITY),
        ("beta", 7.0),
    ] {
        let refused = analyse(&table, Compute::SixNd, &pinned(&[(name, value)])).unwrap_err();
        assert!(matches!(refused, FitError::BadPin { .. }), "{name} {value}: {refused}");
    }
    assert!(Pins::new([("gamma", 1.0)]).is_none() && Pins::new([("E", 1.0), ("E", 1.0)]).is_none());
}

#[test]
fn the_command_line_pins_says_so_and_refuses() {
    let dir = tempfile::tempdir().unwrap();
    let rows = table(0.002).points;
    let row = |p: &Point| format!("{},{},{},{}\n", p.params, p.tokens, p.flops, p.loss);
    let csv: String = rows.iter().map(row).collect();
    fs::write(dir.path().join("runs.csv"), format!("N,D,budget,loss\n{csv}")).unwrap();
    let call = |args: &[&str]| -> (Option<i32>, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_isoflop"));
        let command = command.current_dir(dir.path()).args(args).env("COLUMNS", "1000");
        let Output { status, stdout, stderr } = command.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (status.code(), text(stdout), text(stderr))
    };
    let quick = ["--bootstrap", "40"];
    let fit = [&["fit", "runs.csv", "--out", "out", "--pin", "E=1.69"], &quick[..]].concat();
    let (code, text, told) = call(&fit);
    assert!(code == Some(0) && text.contains("1.69 pinned"), "{text}{told}");
    assert!(told.contains("E = 1.69 is pinned, not fitted"), "{told}");
    assert!(text.contains("kaplan: not fitted: it has no E to pin"), "{text}");
    let json: Value =
        serde_json::from_slice(&fs::read(dir.path().join("out/fit.json")).unwrap()).unwrap();
    assert_eq!(json["pins"], serde_json::json!({"E": 1.69}));
    assert!(fs::read_to_string(dir.path().join("out/report.html")).unwrap().contains("pinned"));
    for question in [["--flops", "1e21"], ["--params", "1e9"], ["--loss", "2.5"]] {
        let (_, text, _) = call(&[&["predict", "out/fit.json"], &question[..]].concat());
        assert!(text.contains("E = 1.69 is pinned"), "{text}");
        let (_, text, _) = call(&[&["predict", "out/fit.json", "--json"], &question[..]].concat());
        let answer: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(answer["pins"]["E"], 1.69, "{answer}");
    }
    // The fit without pins stays where it is.
    let there = |path: &str| fs::read(dir.path().join(path)).unwrap();
    assert_eq!(call(&[&["fit", "runs.csv"], &quick[..]].concat()).0, Some(0));
    let free = there("analysis/runs/fit.json");
    assert_eq!(call(&[&["fit", "runs.csv", "--pin", "E=1.69"], &quick[..]].concat()).0, Some(0));
    assert_eq!(free, there("analysis/runs/fit.json"));
    let pinned: Value =
        serde_json::from_slice(&there("analysis/runs/pin-E-1.69/fit.json")).unwrap();
    assert_eq!(pinned["pins"], serde_json::json!({"E": 1.69}));
    let backtest = ["backtest", "runs.csv", "--pin", "E=1.69,beta=0.28", "--bootstrap", "20"];
    let (code, text, told) = call(&backtest);
    assert!(code == Some(0) && text.contains("E = 1.69, beta = 0.28 are pinned"), "{text}{told}");

    let refused: [(&[&str], &str); 7] = [
        (&["fit", "runs.csv", "--pin", "E=9"], "less than the lowest loss"),
        (&["report", "runs.csv", "--pin", "E=nan"], "a finite number above 0"),
        (&["backtest", "runs.csv", "--pin", "E=-1"], "a finite number above 0"),
        (&["fit", "runs.csv", "--pin", "gamma=1"], "want one of E, alpha, beta"),
        (&["fit", "runs.csv", "--pin", "E"], "want NAME=VALUE"),
        (&["fit", "runs.csv", "--pin", "E=1,E=1.2"], "names a parameter twice"),
        (&["predict", "out/fit.json", "--flops", "1e21", "--pin", "E=1"], "is a fit already"),
    ];
    for (args, why) in refused {
        let (code, _, told) = call(args);
        assert!(code == Some(2) && told.contains(why), "{args:?}: {told}");
    }
}
