//! Trunks and branches: sharing steps must not change a bit of what any cell ends with, whatever happens.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use common::{Place, flip, grid, of_kind, said, sorted};
use serde_json::Value;

const HORIZONS: &str = "[1e5, 2e5, 4e5]";

/// One size at these horizons [tokens], under a trunk schedule.
fn sweep(tokens: &str) -> String {
    let trunk = "[schedule.trunk]\nwarmup = 1.0\ndecay = 0.25\nend = 0.0";
    grid("one", "[2e4]", tokens).replace("[schedule.cosine]\nwarmup = 0.1\nend = 0.02", trunk)
}

/// The completed attempt of every cell, by its number of steps.
fn completed(place: &Place) -> BTreeMap<u64, PathBuf> {
    let attempts = place.attempts("one").into_iter().flatten();
    let done = attempts.filter(|a| of_kind(a, "completed").is_some());
    done.map(|a| (started(&a)["cell"]["recipe"]["steps"].as_u64().unwrap(), a)).collect()
}

fn started(attempt: &std::path::Path) -> Value {
    of_kind(attempt, "started").expect("a first event")
}

/// Loss and gradient norm of every step, and the final loss: all that a cell ends with.
fn bits(attempt: &std::path::Path) -> (Vec<u8>, String) {
    let loss = of_kind(attempt, "completed").unwrap()["loss"].to_string();
    (fs::read(attempt.join("steps.f32")).unwrap(), loss)
}

fn train(place: &Place) {
    let (code, _, told) = said(&place.run().output().unwrap());
    // Too few runs to fit: that is a result, not a failure.
    assert_eq!(code, Some(0), "{told}");
}

/// What each horizon ends with when it is trained alone.
fn alone() -> BTreeMap<u64, (Vec<u8>, String)> {
    let mut out = BTreeMap::new();
    for tokens in ["[1e5]", "[2e5]", "[4e5]"] {
        let place = Place::new(&sweep(tokens));
        train(&place);
        for (steps, attempt) in completed(&place) {
            assert!(started(&attempt)["resumed"].is_null());
            out.insert(steps, bits(&attempt));
        }
    }
    assert_eq!(out.len(), 3);
    out
}

fn assert_same(place: &Place, want: &BTreeMap<u64, (Vec<u8>, String)>) {
    let got: BTreeMap<u64, _> =
        completed(place).into_iter().map(|(steps, a)| (steps, bits(&a))).collect();
    assert!(got == *want, "not the bits of cells trained alone");
}

#[test]
fn a_branch_ends_with_the_bits_of_the_same_cell_trained_alone() {
    let want = alone();
    let place = Place::new(&sweep(HORIZONS));
    train(&place);
    assert_same(&place, &want);
    let done = completed(&place);
    // 49, 98 and 195 steps of 2048 tokens; a quarter of each in cooldown.
    assert_eq!(done.keys().copied().collect::<Vec<_>>(), [49, 98, 195]);
    let trunk = started(&done[&195]);
    assert!(trunk["resumed"].is_null());
    for (steps, stable) in [(49, 37), (98, 73)] {
        let resumed = started(&done[&steps])["resumed"].clone();
        assert_eq!(resumed["cell"], trunk["cell"]["id"]);
        assert_eq!(resumed["step"], stable, "only the cooldown is its own");
    }
    let ledger = fs::read_to_string(place.path("results/one/ledger.csv")).unwrap();
    let mut rows = csv::Reader::from_reader(ledger.as_bytes());
    let heads = rows.headers().unwrap().clone();
    let column = |name: &str| heads.iter().position(|h| h == name).unwrap();
    let (flops, spent, steps) = (column("flops"), column("flops_spent"), column("steps"));
    for row in rows.records() {
        let row = row.unwrap();
        let number = |i: usize| row[i].parse::<f64>().unwrap();
        let own = match row[steps].parse::<u64>().unwrap() {
            49 => 12.0 / 49.0,
            98 => 25.0 / 98.0,
            _ => 1.0,
        };
        assert!((number(spent) / number(flops) - own).abs() < 1e-12, "{row:?}");
    }
}

#[test]
fn whatever_is_killed_every_branch_ends_with_the_same_bits() {
    let want = alone();
    let place = Place::new(&sweep(HORIZONS));
    let begin = Instant::now();
    train(&place);
    let life = begin.elapsed();
    for workers in ["1", "2"] {
        for n in 1..=6 {
            let place = Place::new(&sweep(HORIZONS));
            let mut run = place.command(&["run", "sweep.toml", "--workers", workers]);
            run.args(["--checkpoint", "7steps", "--train-only"]);
            for again in 0..3 {
                let mut child = run.spawn().unwrap();
                std::thread::sleep(life.mul_f64((f64::from(n) + f64::from(again) / 3.0) / 8.0));
                child.kill().unwrap();
                child.wait().unwrap();
            }
            assert!(run.output().unwrap().status.success());
            assert_same(&place, &want);
        }
    }
}

#[test]
fn a_fork_that_is_damaged_or_lost_costs_time_and_nothing_else() {
    let want = alone();
    for fault in ["flipped", "half made", "trunk lost"] {
        let place = Place::new(&sweep(HORIZONS));
        train(&place);
        let trunk = completed(&place)[&195].clone();
        // The branches are to be trained again, from what is left.
        for steps in [49, 98] {
            fs::remove_dir_all(completed(&place)[&steps].parent().unwrap()).unwrap();
        }
        let forks: Vec<PathBuf> = sorted(&trunk)
            .into_iter()
            .filter(|p| p.file_name().unwrap().to_string_lossy().starts_with("fork-"))
            .collect();
        assert_eq!(forks.len(), 2);
        match fault {
            "flipped" => forks.iter().for_each(|f| flip(&f.join("state.bin"))),
            "half made" => {
                for fork in forks {
                    fs::remove_file(fork.join("manifest.json")).unwrap();
                }
            }
            _ => fs::remove_dir_all(trunk.parent().unwrap()).unwrap(),
        }
        if fault == "flipped" {
            let (code, told, _) = said(&place.command(&["check", "sweep.toml"]).output().unwrap());
            assert_eq!(code, Some(3), "{told}");
            assert!(told.contains("fork-") && told.contains("hash"), "{told}");
        }
        train(&place);
        assert_same(&place, &want);
    }
}

#[test]
fn a_longer_horizon_added_later_goes_on_from_the_trunk_that_is_there() {
    let want = alone();
    let place = Place::new(&sweep("[1e5, 2e5]"));
    train(&place);
    fs::write(place.path("sweep.toml"), sweep(HORIZONS)).unwrap();
    train(&place);
    assert_same(&place, &want);
    let resumed = started(&completed(&place)[&195])["resumed"].clone();
    // The state of the longest cell so far before it cooled down, at step 37 for its branch, or later.
    assert!(resumed["step"].as_u64().unwrap() >= 37, "{resumed}");
}
