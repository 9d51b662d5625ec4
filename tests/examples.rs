//! The programs of `examples/` run and say what their pages promise.

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use isoflop::forecast::{Forecast, ForecastError};

/// An example's output. `cargo test` builds it beside this program.
fn example(name: &str, args: &[&Path]) -> String {
    let here = std::env::current_exe().unwrap();
    let program = here.parent().unwrap().with_file_name("examples").join(name);
    let built = "`cargo test` builds examples, and so does `cargo build --release --examples`";
    assert!(program.is_file(), "no `{}`: {built}", program.display());
    let mut command = Command::new(program);
    command.current_dir(env!("CARGO_MANIFEST_DIR")).args(args);
    let output = command.output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{name}: {told}");
    String::from_utf8(output.stdout).unwrap()
}

/// What stands behind the name of a quantity: `31.1k (24.4k to 40.6k) parameters`.
fn numbers(said: &str, name: &str) -> [f64; 3] {
    let line = said.lines().find(|l| l.trim_start().starts_with(name)).expect(said);
    let mut words = line.split([' ', '(', ')']).filter_map(isoflop::units::parse_quantity);
    [(); 3].map(|()| words.next().expect(line))
}

/// The published study's own answer at ten times its largest budget holds for its ledger as a table.
#[test]
fn a_table_is_fitted_and_its_best_run_has_an_interval() {
    let said = example("fit_table", &[]);
    assert!(said.contains("N is `params`") && said.contains("L is `loss`"), "{said}");
    let [n, d, loss] = ["N*", "D*", "loss"].map(|name| numbers(&said, name));
    for [value, lo, hi] in [n, d, loss] {
        assert!(lo < value && value < hi, "{said}");
    }
    let fit = std::fs::read("analysis/prose/fit.json").unwrap();
    let fit = isoflop::fit::Analysis::read(&fit).unwrap();
    let own = isoflop::predict::at_flops(&fit, 9e13).unwrap();
    assert!((loss[0] / own.loss.value - 1.0).abs() < 0.01, "{said}: {:?}", own.loss);
    assert!((n[0] / own.params.value - 1.0).abs() < 0.2, "{said}: {:?}", own.params);
}

#[test]
fn a_grid_is_trained_once_and_its_losses_are_above_the_entropy() {
    let place = common::Place::new("");
    let results = place.path("results");
    let losses = |said: &str| -> Vec<f64> {
        let lines = said.lines().filter(|l| l.ends_with(" nats/token"));
        lines.map(|l| l.split(' ').nth_back(1).unwrap().parse().unwrap()).collect()
    };
    let first = example("train_grid", &[&results]);
    let of_first = losses(&first);
    assert_eq!((of_first.len(), first.matches("has trained cell").count()), (9, 9), "{first}");
    // ln 16 is the loss of a guess, ln 4 the entropy.
    assert!(of_first.iter().all(|l| (4_f64.ln()..16_f64.ln()).contains(l)), "{first}");
    let again = example("train_grid", &[&results]);
    assert_eq!(losses(&again), of_first);
    assert!(!again.contains("has trained"), "{again}");
}

#[test]
fn a_forecast_of_a_larger_run_is_locked_and_no_digit_of_it_can_be_changed() {
    let place = common::Place::new("");
    let out = place.path("out");
    let said = example("predict_lock", &[Path::new("results/prose"), Path::new("2e14"), &out]);
    let cell = said.split(['C', ' ', ':']).nth(2).unwrap_or_default();
    let file: PathBuf = out.join(format!("{cell}.json"));
    let bytes = std::fs::read(&file).expect(&said);
    let forecast = Forecast::read(&bytes).unwrap();
    assert!((forecast.flops / 2e14 - 1.0).abs() < 0.01, "{said}");
    assert!(forecast.loss.lo < forecast.loss.value && forecast.loss.value < forecast.loss.hi);
    let fit = std::fs::read(out.join("fit.json")).unwrap();
    assert_eq!(forecast.fit_sha256, isoflop::forecast::sha256(&fit));
    assert_eq!(forecast.precedes(&[]), Ok(()));
    let edited = String::from_utf8(bytes).unwrap().replacen("\"tokens\": ", "\"tokens\": 1", 1);
    let refused = Forecast::read(edited.as_bytes());
    assert!(matches!(refused, Err(ForecastError::Damaged(_))), "{refused:?}");
}
