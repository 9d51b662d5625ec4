//! Runs that are killed, stopped and shared: the record must end as that of one that nothing happened to.

mod common;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::{
    ONE, Place, Said, chance, copy_all, events, flip, of_kind, outcome, own_steps, said, short,
    signal, sorted, undisturbed, wait,
};
use isoflop::fs::{Disk, Os, Sink};
use isoflop::ledger::check::Kind;

/// What [`short`] ends with when nothing happens to it, and how long that took.
fn whole() -> &'static (Said, Duration) {
    static WHOLE: OnceLock<(Said, Duration)> = OnceLock::new();
    WHOLE.get_or_init(|| undisturbed(&Place::new(&short())))
}

/// Kills a real cell at random moments until there were `most` kills.
fn kills(most: u64) {
    let (want, life) = whole();
    let steps = want.0.len() as u64 / 8;
    let (mut killed, mut lives, mut repeated) = (0, 0, 0);
    while killed < most {
        lives += 1;
        let place = Place::new(&short());
        let mut here = 0;
        loop {
            let mut child = place.spawn();
            std::thread::sleep(life.mul_f64(chance(killed + 1000 * lives)));
            child.kill().unwrap();
            if child.wait().unwrap().success() {
                break;
            }
            killed += 1;
            here += 1;
        }
        assert!(place.run().output().unwrap().status.success());
        let attempts = &place.attempts("one")[0];
        let last = attempts.iter().find(|a| of_kind(a, "completed").is_some()).unwrap();
        assert!(outcome(last) == *want, "not the same bits after {here} kills");
        let taken: u64 = attempts.iter().map(|a| own_steps(a)).sum();
        assert!(taken <= steps + 7 * here, "{taken} steps after {here} kills, {steps} are enough");
        repeated += taken - steps;
    }
    println!("{killed} kills of a real cell in {lives} lives: same bits, {repeated} steps twice");
}

#[test]
fn a_cell_killed_at_random_moments_ends_with_the_same_bits() {
    kills(25);
}

#[test]
#[ignore = "the long tier"]
fn deep_a_cell_killed_200_times_ends_with_the_same_bits() {
    kills(200);
}

#[test]
fn signals_end_a_run_with_a_checkpoint_and_the_next_goes_on() {
    let (want, _) = whole();
    for name in ["TERM", "INT", "USR2"] {
        let place = Place::new(&short());
        let child = place.run().stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        place.in_training("one");
        signal(&child, name);
        let begin = Instant::now();
        let output: Output = child.wait_with_output().unwrap();
        assert!(begin.elapsed() < Duration::from_secs(10));
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(75), "{told}");
        assert!(told.contains(&format!("Stopped by SIG{name}")), "{told}");
        let first = place.attempts("one")[0][0].clone();
        let paused = of_kind(&first, "paused").expect("the last word of the attempt");
        let kept = events(&first).into_iter().rfind(|e| e["kind"] == "checkpoint").unwrap();
        assert_eq!(paused["step"], kept["step"]);
        let status = place.command(&["status", "sweep.toml"]).output().unwrap();
        let status = String::from_utf8_lossy(&status.stdout).into_owned();
        assert!(status.contains(&format!("goes on from step {}", paused["step"])), "{status}");

        assert!(place.run().output().unwrap().status.success());
        let second = &place.attempts("one")[0][1];
        let resumed = of_kind(second, "started").unwrap()["resumed"].clone();
        assert_eq!(resumed["step"], paused["step"]);
        assert!(outcome(second) == *want, "not the same bits after SIG{name}");
    }
}

#[test]
fn a_damaged_checkpoint_is_named_and_the_one_before_is_used() {
    let (want, _) = whole();
    // Both checkpoints sound, the newest damaged, both damaged.
    for damaged in 0..3 {
        let place = Place::new(&short());
        let mut child = place.spawn();
        let kept = || -> Vec<PathBuf> {
            let attempts = place.attempts("one");
            let Some(first) = attempts.first().and_then(|a| a.first()) else { return Vec::new() };
            let visible = |p: &PathBuf| p.join("manifest.json").exists();
            sorted(first).into_iter().filter(visible).collect()
        };
        wait("two checkpoints", || kept().len() >= 2);
        child.kill().unwrap();
        child.wait().unwrap();
        for checkpoint in kept().iter().rev().take(damaged) {
            flip(&checkpoint.join("state.bin"));
        }
        let output = place.run().output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{told}");
        assert_eq!(told.matches("does not match; not used").count(), damaged, "{told}");
        let second = &place.attempts("one")[0][1];
        let resumed = &of_kind(second, "started").unwrap()["resumed"];
        assert_eq!(resumed.is_null(), damaged >= 2, "{resumed}");
        assert!(outcome(second) == *want, "not the same bits with {damaged} damaged");
    }
}

/// Six cells of a quarter of a second.
fn six() -> String {
    common::grid("six", "[3e3, 6e3]", "[1e5, 2e5, 3e5]")
}

#[test]
fn several_runners_share_a_sweep_and_train_each_cell_once() {
    let place = Place::new(&six());
    let runners: Vec<Child> = (0..4)
        .map(|_| place.run().stderr(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap())
        .collect();
    for runner in runners {
        let output = runner.wait_with_output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{told}");
        let out = String::from_utf8_lossy(&output.stdout).into_owned();
        let rows = out.lines().skip_while(|line| !line.starts_with("  cell")).skip(1);
        let loss =
            |row: &str| row.split_whitespace().nth(5)?.trim_end_matches('*').parse::<f64>().ok();
        assert_eq!(rows.take(6).filter_map(loss).count(), 6, "every runner sees the end: {out}");
    }
    let attempts = place.attempts("six");
    assert_eq!(attempts.len(), 6);
    for cell in attempts {
        assert_eq!(cell.len(), 1, "each cell is trained once");
        assert!(of_kind(&cell[0], "completed").is_some());
    }
}

#[test]
fn status_sees_a_run_at_work_and_another_plan_must_wait() {
    let place = Place::new(ONE);
    let mut child = place.spawn();
    place.in_training("one");
    signal(&child, "STOP");
    let status = place.command(&["status", "sweep.toml"]).output().unwrap();
    let status = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(status.contains("1 running") && status.contains("at work here"), "{status}");
    fs::write(place.path("sweep.toml"), ONE.replace("4e5", "5e5")).unwrap();
    let refused = place.run().output().unwrap();
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(75), "{told}");
    assert!(told.contains("another plan"), "{told}");
    signal(&child, "CONT");
    assert!(child.wait().unwrap().success());
}

/// A holder that sleeps through its lease must not write when it wakes.
#[test]
fn a_runner_that_was_taken_over_leaves_the_cell_alone() {
    let place = Place::new(ONE);
    let child = place.run().stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    place.in_training("one");
    signal(&child, "STOP");
    // As another machine would after the lease.
    let cell = sorted(&place.path("results/one/cells"))[0].clone();
    let first = cell.join("attempt-0001");
    let before = events(&first).len();
    fs::create_dir(cell.join("attempt-0002")).unwrap();
    fs::write(cell.join("attempt-0002.lock"), "another machine").unwrap();
    std::thread::sleep(Duration::from_millis(1100));
    signal(&child, "CONT");
    std::thread::sleep(Duration::from_millis(1500));
    signal(&child, "TERM");
    let output = child.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("was taken over by another runner"), "{told}");
    assert!(events(&first).len() <= before + 1, "nothing but what was on its way");
    assert!(of_kind(&first, "completed").is_none());
}

/// Results as isoflop wrote them before there were checkpoints: one completed cell, one diverged.
fn format_1() -> Place {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/results-v1");
    let place = Place::new(&fs::read_to_string(golden.join("sweep.toml")).unwrap());
    copy_all(&golden, &place.path("results/v1"));
    place
}

#[test]
fn results_of_format_1_are_read_and_left_as_they_are() {
    let place = format_1();
    let ledger = fs::read_to_string(place.path("results/v1/ledger.csv")).unwrap();
    let output = place.run().output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "a cell diverged, then and now: {told}");
    assert!(told.contains("1 completed, 0 to go"), "{told}");
    // The ledger is derived and has gained columns since; every value of then is there.
    let now = fs::read_to_string(place.path("results/v1/ledger.csv")).unwrap();
    let rows = |text: &str| -> Vec<std::collections::BTreeMap<String, String>> {
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let heads = reader.headers().unwrap().clone();
        let named = |h: &str| if h == "seed" { "init_seed" } else { h }.to_owned();
        let row = |r: csv::StringRecord| {
            heads.iter().map(named).zip(r.iter().map(str::to_owned)).collect()
        };
        reader.records().map(|r| row(r.unwrap())).collect()
    };
    let (then, now) = (rows(&ledger), rows(&now));
    assert_eq!((then.len(), now.len()), (2, 2));
    for (old, new) in then.iter().zip(&now) {
        assert!(
            old.iter().all(|(column, value)| new.get(column) == Some(value)),
            "{old:?} {new:?}"
        );
    }
    let attempts = place.attempts("v1");
    assert!(attempts.iter().all(|a| a.len() == 1), "nothing was trained: {attempts:?}");
}

#[test]
fn a_log_of_a_newer_format_is_refused_and_not_written() {
    let place = format_1();
    let log = place.attempts("v1").concat().into_iter().map(|a| a.join("run.log"));
    let log =
        log.into_iter().find(|l| fs::read_to_string(l).unwrap().contains("completed")).unwrap();
    let text = fs::read_to_string(&log).unwrap();
    let newer = |line: &str| {
        let body = line.rsplit_once(",\"crc\":").unwrap().0.replacen("\"v\":1", "\"v\":99", 1);
        format!("{body},\"crc\":\"{:08x}\"}}\n", crc32fast::hash(body.as_bytes()))
    };
    let newer = text.lines().map(newer).collect::<Vec<_>>().concat();
    fs::write(&log, &newer).unwrap();
    let output = place.run().output().unwrap();
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(3), "{out}");
    assert!(out.contains("written by a newer isoflop (format 99)"), "{out}");
    assert_eq!(fs::read_to_string(&log).unwrap(), newer);
}

#[test]
fn check_verifies_all_names_what_is_damaged_and_moves_it_aside_on_request() {
    let place = Place::new(&short());
    let (want, _) = undisturbed(&place);
    let check = |args: &[&str]| {
        let output = place.command(&[&["check", "sweep.toml"], args].concat()).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (code, out) = check(&[]);
    assert_eq!(code, Some(0), "{out}");
    assert!(
        out.contains(
            "1 cell, 1 attempt, 2 checkpoints and the weights of 1 cell verified; 0 damaged"
        ),
        "{out}"
    );

    let attempt = place.attempts("one")[0][0].clone();
    let checkpoint = sorted(&attempt).into_iter().find(|p| p.is_dir()).unwrap();
    flip(&checkpoint.join("state.bin"));
    let (code, out) = check(&[]);
    assert_eq!(code, Some(3));
    assert!(out.contains("hash of `state.bin` does not match") && checkpoint.exists(), "{out}");
    flip(&attempt.join("run.log"));
    let (code, out) = check(&["--repair"]);
    assert_eq!(code, Some(0), "{out}");
    assert!(out.contains("run.log:") && out.contains("moved to"), "{out}");
    assert_eq!(sorted(&place.path("results/one/damaged")).len(), 1, "the attempt, with all in it");
    // What was moved away is trained again.
    assert!(place.run().output().unwrap().status.success());
    assert!(outcome(&place.attempts("one")[0][0]) == want);
}

/// What a process that is killed while it keeps a state leaves: named, and nothing is damaged.
#[test]
fn a_half_made_checkpoint_is_named_by_check_and_not_used() {
    let place = Place::new(&short());
    let (want, _) = undisturbed(&place);
    let attempt = place.attempts("one")[0][0].clone();
    let checkpoints: Vec<PathBuf> = sorted(&attempt).into_iter().filter(|p| p.is_dir()).collect();
    let scratch = ".manifest.json.0123456789abcdef.0123456789abcdef.tmp";
    fs::write(checkpoints[1].join(scratch), "half").unwrap();
    fs::rename(checkpoints[0].join("manifest.json"), checkpoints[0].join(scratch)).unwrap();
    let (code, out, _) = said(&place.command(&["check", "sweep.toml"]).output().unwrap());
    assert_eq!(code, Some(0), "{out}");
    assert!(out.contains("0 damaged, 1 recovered, 1 stray"), "{out}");
    let half = checkpoints[0].file_name().unwrap().to_str().unwrap();
    assert!(out.contains(&format!("{half}\n  half made")), "{out}");
    assert!(out.contains(&format!("{scratch}\n  left by a process")), "{out}");
    assert!(outcome(&attempt) == want);
}

/// A disk on which steps are still on their way when they are first read.
#[derive(Debug, Default)]
struct Late(AtomicBool);

impl Disk for Late {
    fn read(&self, path: &Path, most: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Os.read(path, most)?;
        if path.ends_with("steps.f32") && !self.0.swap(true, Ordering::Relaxed) {
            bytes.truncate(bytes.len() / 16 * 8);
        }
        Ok(bytes)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        Os.list(dir)
    }
    fn is_dir(&self, path: &Path) -> bool {
        Os.is_dir(path)
    }
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        Os.create_dir(dir)
    }
    fn create_file(&self, path: &Path) -> io::Result<Box<dyn Sink>> {
        Os.create_file(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        Os.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        Os.remove(path)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        Os.sync_dir(dir)
    }
}

/// A runner that writes, and is killed, between two looks of `check` has damaged nothing.
#[test]
fn a_record_that_was_read_while_it_was_written_is_read_again() {
    let place = Place::new(&short());
    undisturbed(&place);
    let results = place.path("results/one");
    let late = Late::default();
    let checked = isoflop::ledger::check::check(&late, &results).unwrap();
    assert!(late.0.load(Ordering::Relaxed), "no steps were read");
    assert_eq!(checked.findings, []);
    // Damage that stays is damage.
    flip(&place.attempts("one")[0][0].join("steps.f32"));
    let checked = isoflop::ledger::check::check(&Late::default(), &results).unwrap();
    assert!(checked.findings.iter().any(|f| f.kind == Kind::Damaged), "{checked:?}");
}
