//! Trunks and branches: sharing steps must not change a bit of what any cell ends with, whatever happens.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::Instant;

use common::{Place, flip, grid, of_kind, said, sorted};
use serde_json::Value;

const HORIZONS: &str = "[2.5e4, 5e4, 1e5]";

/// One size at these horizons [tokens], under a trunk schedule.
fn sweep(tokens: &str) -> String {
    let trunk = "[schedule.trunk]\nwarmup = 1.0\ndecay = 0.25\nend = 0.0";
    grid("one", "[2e4]", tokens)
        .replace("[schedule.cosine]\nwarmup = 0.1\nend = 0.02", trunk)
        .replace("batch_tokens = 2048", "batch_tokens = 512")
}

/// All three horizons.
fn family() -> Place {
    Place::new(&sweep(HORIZONS))
}

/// The completed attempt of every cell, by its number of steps.
fn completed(place: &Place) -> BTreeMap<u64, PathBuf> {
    let attempts = place.attempts("one").into_iter().flatten();
    let done = attempts.filter(|a| of_kind(a, "completed").is_some());
    done.map(|a| (started(&a)["cell"]["recipe"]["steps"].as_u64().unwrap(), a)).collect()
}

fn started(attempt: &Path) -> Value {
    of_kind(attempt, "started").expect("a first event")
}

/// Loss and gradient norm of every step, and the final loss: all that a cell ends with.
fn bits(attempt: &Path) -> (Vec<u8>, String) {
    let loss = of_kind(attempt, "completed").unwrap()["loss"].to_string();
    (fs::read(attempt.join("steps.f32")).unwrap(), loss)
}

/// Trains without a fit.
fn trained(place: &Place) -> Output {
    place.run().arg("--train-only").output().unwrap()
}

fn train(place: &Place) {
    let (code, _, told) = said(&trained(place));
    assert_eq!(code, Some(0), "{told}");
}

/// What cells end with, by their number of steps.
type Ends = BTreeMap<u64, (Vec<u8>, String)>;

/// What each horizon ends with when it is trained alone.
fn alone() -> &'static Ends {
    static ALONE: OnceLock<Ends> = OnceLock::new();
    ALONE.get_or_init(|| {
        let mut out = BTreeMap::new();
        for tokens in ["[2.5e4]", "[5e4]", "[1e5]"] {
            let place = Place::new(&sweep(tokens));
            train(&place);
            for (steps, attempt) in completed(&place) {
                assert!(started(&attempt)["resumed"].is_null());
                out.insert(steps, bits(&attempt));
            }
        }
        assert_eq!(out.len(), 3);
        out
    })
}

fn ends(place: &Place) -> Ends {
    completed(place).into_iter().map(|(steps, a)| (steps, bits(&a))).collect()
}

fn assert_same(place: &Place, want: &Ends) {
    assert!(ends(place) == *want, "not the bits of cells trained alone");
}

#[test]
fn a_branch_ends_with_the_bits_of_the_same_cell_trained_alone() {
    let want = alone();
    let place = family();
    let (code, _, told) = said(&place.run().output().unwrap());
    // Too few runs to fit: that is a result, not a failure.
    assert_eq!(code, Some(0), "{told}");
    assert_same(&place, want);
    let done = completed(&place);
    // 49, 98 and 195 steps of 512 tokens; a quarter of each in cooldown.
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
    let place = family();
    let begin = Instant::now();
    train(&place);
    let life = begin.elapsed();
    for workers in ["1", "2"] {
        for n in 1..=6 {
            let place = family();
            let mut run = place.command(&["run", "sweep.toml", "--workers", workers]);
            run.args(["--checkpoint", "7steps", "--train-only"]);
            run.stdout(Stdio::null()).stderr(Stdio::null());
            for again in 0..3 {
                let mut child = run.spawn().unwrap();
                std::thread::sleep(life.mul_f64((f64::from(n) + f64::from(again) / 3.0) / 8.0));
                child.kill().unwrap();
                child.wait().unwrap();
            }
            assert!(run.status().unwrap().success());
            assert_same(&place, want);
        }
    }
}

/// What a trunk has kept for its branches.
fn forks(attempt: &Path) -> Vec<PathBuf> {
    let name = |p: &PathBuf| p.file_name().unwrap().to_string_lossy().into_owned();
    sorted(attempt).into_iter().filter(|p| name(p).starts_with("fork-")).collect()
}

/// The cells of a plan.
fn planned(place: &Place) -> Vec<Value> {
    let plan = place.command(&["plan", "sweep.toml", "--no-probe", "--json"]).output().unwrap();
    let plan: Value = serde_json::from_slice(&plan.stdout).unwrap();
    plan["cells"].as_array().unwrap().clone()
}

/// The place of a sweep whose trunk is completed and whose branches are not begun: damaged records lay in their places.
fn trunk_alone() -> Place {
    let place = family();
    let cells = place.path("results/one/cells");
    fs::create_dir_all(&cells).unwrap();
    let branches = planned(&place).into_iter().filter(|c| c["own_steps"] != c["steps"]);
    let branches: Vec<PathBuf> =
        branches.map(|c| cells.join(c["cell"]["id"].as_str().unwrap())).collect();
    assert_eq!(branches.len(), 2);
    for branch in &branches {
        fs::create_dir_all(branch.join("attempt-0001")).unwrap();
        fs::write(branch.join("attempt-0001/run.log"), "no line of a log\n").unwrap();
    }
    let (code, _, told) = said(&trained(&place));
    // Two cells are damaged.
    assert_eq!(code, Some(1), "{told}");
    for branch in &branches {
        fs::remove_dir_all(branch).unwrap();
    }
    assert_eq!(completed(&place).into_keys().collect::<Vec<_>>(), [195]);
    place
}

#[test]
fn forks_are_there_until_the_last_branch_is_completed_and_then_gone() {
    let place = trunk_alone();
    let trunk = completed(&place)[&195].clone();
    let kept = forks(&trunk);
    assert_eq!(kept.len(), 2);
    train(&place);
    assert_eq!(completed(&place).len(), 3);
    assert_eq!(forks(&trunk), [] as [PathBuf; 0]);
    // As a kill in the middle of their removal leaves it.
    fs::create_dir(&kept[0]).unwrap();
    fs::write(kept[0].join("state.bin"), "half").unwrap();
    train(&place);
    assert_eq!(forks(&trunk), [] as [PathBuf; 0], "what was left is removed by the next run");
    let (code, told, _) = said(&place.command(&["check", "sweep.toml"]).output().unwrap());
    assert_eq!(code, Some(0), "{told}");
    assert!(
        told.contains("the weights of 3 cells verified; 0 damaged, 0 recovered, 0 stray"),
        "{told}"
    );
}

#[test]
fn a_fork_that_is_damaged_or_lost_costs_time_and_nothing_else() {
    let want = alone();
    for fault in ["flipped", "half made", "trunk lost"] {
        let place = trunk_alone();
        let trunk = completed(&place)[&195].clone();
        let forks = forks(&trunk);
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
        assert_same(&place, want);
    }
}

/// Whatever lies in the place of a trunk or of a branch is named, and is no fault of the others.
#[test]
fn a_stray_in_the_place_of_a_relative_is_named_and_the_others_end_with_the_same_bits() {
    let ids: BTreeMap<u64, String> = planned(&family())
        .iter()
        .map(|c| (c["steps"].as_u64().unwrap(), c["cell"]["id"].as_str().unwrap().to_owned()))
        .collect();
    for (stray, of) in [
        ("a file", 195),
        ("a file", 49),
        ("a pipe", 195),
        ("a socket", 98),
        ("a link to nothing", 195),
        ("a link to itself", 49),
    ] {
        let place = family();
        let id = &ids[&of];
        let at = place.path("results/one/cells").join(id);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        match stray {
            "a file" => fs::write(&at, "x").unwrap(),
            "a pipe" => assert!(Command::new("mkfifo").arg(&at).status().unwrap().success()),
            "a socket" => drop(UnixListener::bind(&at).unwrap()),
            "a link to nothing" => symlink("nowhere", &at).unwrap(),
            _ => symlink(id, &at).unwrap(),
        }
        let (code, _, told) = said(&trained(&place));
        // One cell is damaged.
        assert_eq!(code, Some(1), "{stray} for {of}: {told}");
        let note = told.lines().find(|l| l.contains(&format!("results/one/cells/{id}`")));
        assert!(note.is_some_and(|l| l.contains("begins without it")), "{stray} for {of}: {told}");
        let mut want = alone().clone();
        want.remove(&of);
        assert_same(&place, &want);
        // Asked to try it again, it has no room for that.
        let retried = place.run().args(["--train-only", "--retry", "damaged"]).output().unwrap();
        let (code, _, told) = said(&retried);
        assert_eq!(code, Some(1), "{stray} for {of}: {told}");
        fs::remove_file(&at).unwrap();
        train(&place);
        assert_same(&place, alone());
    }
}

/// Forks are gone by then: another horizon begins at what is left of the family, or anew.
#[test]
fn a_horizon_added_later_begins_at_what_is_left_and_ends_with_the_same_bits() {
    let want = alone();
    // The horizons before, and from where the added one goes on: the copy of its fork that the shortest began with
    // (its stable steps end at 37), or nothing, where a cell without branches is past its cooldown's begin (73).
    for (before, added, begins) in
        [("[2.5e4, 5e4]", 195, Some(37)), ("[2.5e4, 1e5]", 98, Some(37)), ("[5e4]", 195, None)]
    {
        let place = Place::new(&sweep(before));
        train(&place);
        assert!(completed(&place).values().all(|a| forks(a).is_empty()));
        let all = if begins.is_some() { HORIZONS } else { "[5e4, 1e5]" };
        fs::write(place.path("sweep.toml"), sweep(all)).unwrap();
        train(&place);
        for (steps, attempt) in completed(&place) {
            assert!(bits(&attempt) == want[&steps], "{before}: not the bits of {steps} alone");
        }
        let resumed = started(&completed(&place)[&added])["resumed"].clone();
        assert_eq!(resumed["step"].as_u64(), begins, "{before}: {resumed}");
    }
}
