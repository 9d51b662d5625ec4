//! The tuning verb from outside: what it trains, that it trains nothing twice, and what it refuses.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::process::Output;

use common::{ONE, Place, events, of_kind, said, signal, text};
use serde_json::Value;

/// Rates far below the best: the axis must be extended upwards.
const TUNE: &str = r"
[tune]
cells = [{ params = 2e4, tokens = 6e4 }]
learning_rate = { values = [0.0005, 0.001, 0.002] }
weight_decay = { values = [0.0, 0.1] }
";

const ARGS: [&str; 6] = ["tune", "sweep.toml", "--workers", "1", "--checkpoint", "7steps"];

fn place() -> Place {
    Place::new(&(ONE.to_owned() + TUNE))
}

fn tune(place: &Place) -> Output {
    place.command(&ARGS).output().unwrap()
}

fn outcome(place: &Place) -> Value {
    let json = fs::read(place.path("analysis/one/tune.json")).unwrap();
    serde_json::from_slice(&json).unwrap()
}

/// Of every run, by what its own log says: bits of the loss.
fn logged(place: &Place) -> BTreeSet<u64> {
    let attempts = place.attempts("one").concat();
    let done = attempts.iter().flat_map(|a| events(a)).filter(|e| e["kind"] == "completed");
    done.map(|e| e["loss"].as_f64().unwrap().to_bits()).collect()
}

#[test]
fn a_misplaced_axis_is_extended_and_nothing_is_trained_twice() {
    let place = place();
    let (code, out, err) = said(&tune(&place));
    assert_eq!(code, Some(0), "{out}{err}");
    let tuning = outcome(&place);
    let runs = tuning["runs"].as_array().unwrap();
    let searched = runs.iter().filter(|r| r["decay_search"] == false);
    let rates: Vec<f64> = searched.map(|r| r["learning_rate"].as_f64().unwrap()).collect();
    assert!(rates.len() > 3 && rates.iter().any(|r| *r > 0.0021), "{rates:?}");
    assert!(rates.iter().all(|r| *r >= 0.0005), "extended on the wrong side: {rates:?}");
    let decays = runs.iter().filter(|r| r["decay_search"] == true);
    assert!(decays.count() >= 2);
    let losses = |runs: &[Value]| -> BTreeSet<u64> {
        let all = runs.iter().flat_map(|r| r["losses"].as_array().unwrap());
        all.map(|l| l.as_f64().unwrap().to_bits()).collect()
    };
    assert_eq!(losses(runs), logged(&place), "tune.json against the logs of the runs");
    assert_eq!(tuning["found"].as_array().unwrap().len(), 1);
    for name in ["tune-learning-rate.svg", "tune-learning-rate.png"] {
        assert!(place.path(&format!("analysis/one/figures/{name}")).exists(), "{name}");
    }

    let (before, attempts) =
        (fs::read(place.path("analysis/one/tune.json")).unwrap(), place.attempts("one"));
    let again = tune(&place);
    assert!(again.status.success());
    assert!(!text(&again.stderr).contains("Training on"), "{}", text(&again.stderr));
    assert_eq!(place.attempts("one"), attempts);
    assert!(before == fs::read(place.path("analysis/one/tune.json")).unwrap());
}

#[test]
fn killed_in_the_middle_it_goes_on_to_the_same_numbers() {
    let (whole, cut) = (place(), place());
    assert!(tune(&whole).status.success());
    let mut child = cut.command(&ARGS).spawn().unwrap();
    cut.in_training("one");
    signal(&child, "KILL");
    child.wait().unwrap();
    assert!(!cut.path("analysis/one/tune.json").exists(), "killed too late");
    let (code, out, err) = said(&tune(&cut));
    assert_eq!(code, Some(0), "{out}{err}");
    assert_eq!(outcome(&cut), outcome(&whole));
}

/// A run that failed by an error is no answer: it is named, and tried again where that is asked for.
#[test]
fn a_failed_run_is_named_and_tried_again_on_request() {
    let place = place();
    assert!(tune(&place).status.success());
    let want = outcome(&place);
    // As if it had ended with a panic.
    let first = place.attempts("one").concat()[0].clone();
    let log = fs::read_to_string(first.join("run.log")).unwrap();
    let (before, last) = log.trim_end().rsplit_once('\n').unwrap();
    let (head, _) = last.split_once("\"event\":").unwrap();
    let body = format!("{head}\"event\":{{\"kind\":\"failed\",\"why\":\"panic: a fault\"}}");
    let crc = crc32fast::hash(body.as_bytes());
    fs::write(first.join("run.log"), format!("{before}\n{body},\"crc\":\"{crc:08x}\"}}\n"))
        .unwrap();
    let cell = first.parent().unwrap();
    let attempts = || common::sorted(cell).iter().filter(|p| p.is_dir()).count();
    let (code, _, err) = said(&tune(&place));
    assert_eq!(code, Some(1), "{err}");
    let short = &cell.file_name().unwrap().to_string_lossy()[..8];
    assert!(err.contains("1 run failed") && err.contains("--retry failed"), "{err}");
    assert!(err.contains(&format!("{short}, failed: panic: a fault")), "{err}");
    assert_eq!((attempts(), outcome(&place) == want), (1, false));
    let (code, _, err) = said(&place.command(&ARGS).args(["--retry", "failed"]).output().unwrap());
    assert_eq!(code, Some(0), "{err}");
    assert_eq!(attempts(), 2);
    assert_eq!(outcome(&place), want);
}

/// However many rounds a search takes, what ends in the same way again is not tried a third time.
#[test]
fn a_run_is_tried_again_once_a_command() {
    let place = Place::new(&(ONE.to_owned() + &TUNE.replace("0.0005", "100.0")));
    let diverged = || {
        let attempts = place.attempts("one").concat();
        attempts.iter().filter(|a| of_kind(a, "diverged").is_some()).count()
    };
    let (code, out, err) = said(&tune(&place));
    assert_eq!((code, diverged()), (Some(0), 1), "a rate that diverges is an answer: {out}{err}");
    assert!(err.matches(" to train.").count() > 1, "one round: {err}");
    let again = place.command(&ARGS).args(["--retry", "diverged"]).output().unwrap();
    let (code, _, err) = said(&again);
    assert_eq!((code, diverged()), (Some(0), 2), "{err}");
}

#[test]
fn without_the_block_it_is_refused_with_a_hint() {
    let (code, _, err) = said(&tune(&Place::new(ONE)));
    assert_eq!(code, Some(2), "{err}");
    assert!(err.contains("no [tune] block") && err.contains("learning_rate = {"), "{err}");
}

#[test]
fn a_damaged_outcome_is_said_in_the_report() {
    let place = Place::new(&ONE.replace("4e5", "6e4"));
    fs::create_dir_all(place.path("analysis/one")).unwrap();
    fs::write(place.path("analysis/one/tune.json"), "{\"version\": 1").unwrap();
    let (_, _, err) = said(&place.run().output().unwrap());
    assert!(err.contains("tune.json cannot be used"), "{err}");
    let html = fs::read_to_string(place.path("analysis/one/report.html")).unwrap();
    assert!(html.contains("tune.json cannot be used") && html.contains("isoflop tune"));
}
