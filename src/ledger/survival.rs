//! The record under failing calls, power loss and kills, with a model that costs nothing: a hash that each
//! step takes one further. What it ends with does not depend on how often it was stopped, or the test fails.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::checkpoint::{self, Manifest};
use super::event::{self, Event, Resumed};
use super::lease::attempt_dir;
use super::log::{Attempt, AttemptLog, History, STEP_BYTES, read_attempts};
use super::{State, fold, weights};
use crate::error::FileError;
use crate::fs::doubles::{Fault, Faulty, KEPT, Shadow};
use crate::fs::{Disk, Os};
use crate::model::Values;
use crate::plan::Cell;
use crate::random::Stream;

const CELL: &str = "c0ffee";
const STEPS: u64 = 40;
const CHECKPOINT: u64 = 7;
const EVAL: u64 = 10;

/// An event that was acknowledged: attempt, place in its log, content.
type Acknowledged = (u32, usize, Event);

/// One attempt by one process; every event that the record took is noted in `taken`.
fn attempt(
    disk: &dyn Disk,
    cell_dir: &Path,
    taken: &mut Vec<Acknowledged>,
    pace: Duration,
) -> Result<(), FileError> {
    disk.create_dirs(cell_dir)?;
    let before = read_attempts(disk, cell_dir)?;
    if before.iter().any(|a| matches!(a.end(), Some(Event::Completed { .. }))) {
        return Ok(());
    }
    let number = before.last().map_or(1, |a| a.number + 1);
    let dir = attempt_dir(cell_dir, number);
    assert!(disk.claim_dir(&dir)?, "nobody else is here");
    let (found, _) = checkpoint::resume_point(disk, &before, CELL, u64::MAX)?;
    let (first, mut state) = found.as_ref().map_or((0, 1), |(_, checkpoint)| {
        let state = u64::from_le_bytes(checkpoint.state[..].try_into().expect("eight bytes"));
        (checkpoint.manifest.step, state)
    });
    let history =
        found.as_ref().map_or_else(History::default, |(attempt, _)| attempt.history(first));
    let resumed =
        found.as_ref().map(|(a, _)| Resumed { cell: None, attempt: a.number, step: first });
    let clock = || "now".to_owned();
    let started = started(resumed);
    let mut log = AttemptLog::start(disk, &dir, started.clone(), &history, &clock)?;
    let first_events = [started].into_iter().chain(history.evals.iter().cloned());
    let mut seq = 0;
    for event in first_events {
        taken.push((number, seq, event));
        seq += 1;
    }
    let mut note = |log: &mut AttemptLog, event: Event| {
        log.event(event.clone(), clock())?;
        taken.push((number, seq, event));
        seq += 1;
        Ok::<(), FileError>(())
    };
    let keep = |log: &mut AttemptLog, step: u64, state: u64| -> Result<Event, FileError> {
        let (steps_bytes, steps_crc) = log.sync_steps()?;
        let manifest = Manifest {
            v: 0,
            cell: CELL.into(),
            step,
            evaluated: None,
            bad_steps: 0,
            seconds: 0.0,
            bytes: 0,
            sha256: String::new(),
            steps_bytes,
            steps_crc,
        };
        checkpoint::save(disk, &dir, manifest, &state.to_le_bytes())?;
        Ok(Event::Checkpoint { step, steps_crc })
    };
    if first > 0 {
        let kept = keep(&mut log, first, state)?;
        note(&mut log, kept)?;
    }
    for step in first..STEPS {
        std::thread::sleep(pace);
        state = Stream::new(state, "fake step").bits(step);
        log.step(f32::from_bits(state as u32), step as f32)?;
        let done = step + 1;
        if done % CHECKPOINT == 0 && done < STEPS {
            let kept = keep(&mut log, done, state)?;
            note(&mut log, kept)?;
        }
        if done % EVAL == 0 {
            let loss = (state >> 11) as f64;
            note(&mut log, Event::Eval { step: done, tokens: done, flops: 0.0, loss })?;
        }
    }
    weights::save(disk, &dir, (CELL, STEPS), &ended_with(state))?;
    let (loss, steps_crc) = ((state >> 11) as f64, Some(log.sync_steps()?.1));
    let (loss_se, seconds, tokens_per_second) = (0.0, 0.0, 0.0);
    let completed = Event::Completed { loss, loss_se, seconds, tokens_per_second, steps_crc };
    note(&mut log, completed)
}

/// The weights of a state.
fn ended_with(state: u64) -> Vec<Values> {
    let values = [state as u32, (state >> 32) as u32].map(|half| (half >> 9) as f32);
    vec![Values { name: "state".into(), dims: [1, 2], values: values.into() }]
}

/// Which cell it plays.
fn played() -> Cell {
    let spec = crate::spec::Spec::parse(crate::plan::tests::SWEEP).unwrap();
    crate::plan::Plan::new(&spec, &crate::plan::tests::facts()).cells.remove(0)
}

/// The directory of that cell.
fn home(root: &Path) -> PathBuf {
    root.join(played().id)
}

fn started(resumed: Option<Resumed>) -> Event {
    event::tests::started(played(), resumed)
}

/// What a cell ends with: loss, steps, evaluations and weights of the completed attempt.
type Ended = (u64, Vec<u8>, Vec<Event>, Vec<Values>);

fn result(disk: &dyn Disk, attempts: &[Attempt]) -> Ended {
    let State::Completed { loss, dir, .. } = fold(attempts, None) else {
        panic!("not completed: {:?}", fold(attempts, None));
    };
    let last = attempts.iter().find(|a| a.dir == dir).unwrap();
    let evals = last.events.iter().filter(|e| matches!(e, Event::Eval { .. })).cloned().collect();
    let kept = weights::read(disk, &dir).unwrap().expect("completed, with its weights");
    (loss.to_bits(), last.steps.clone(), evals, kept.tensors)
}

/// What a run that nothing happens to ends with.
fn undisturbed() -> Ended {
    let disk = Shadow::default();
    let dir = &home(Path::new("/"));
    attempt(&disk, dir, &mut Vec::new(), Duration::ZERO).unwrap();
    let result = result(&disk, &read_attempts(&disk, dir).unwrap());
    assert_eq!(result.1.len() as u64, STEPS * STEP_BYTES);
    assert_eq!(result.2.len() as u64, STEPS / EVAL);
    result
}

/// Every acknowledged event is there, nothing is damaged, and the cell ends as if nothing had happened.
fn recovers(disk: &dyn Disk, dir: &Path, taken: &[Acknowledged], what: &str) {
    let attempts = read_attempts(disk, dir).unwrap_or_else(|e| panic!("{what}: {e}"));
    for (number, seq, event) in taken {
        let found = attempts.iter().find(|a| a.number == *number);
        let found = found.and_then(|a| a.events.get(*seq));
        assert_eq!(found, Some(event), "{what}: attempt {number}, event {seq} is lost");
    }
    for attempt in &attempts {
        assert_eq!(attempt.damage, None, "{what}");
        let kept = weights::read(disk, &attempt.dir).unwrap_or_else(|e| panic!("{what}: {e}"));
        let completed = matches!(attempt.end(), Some(Event::Completed { .. }));
        assert!(kept.is_some() || !completed, "{what}: completed, and its weights are lost");
    }
    let kept = taken.iter().filter_map(|(_, _, e)| match e {
        Event::Checkpoint { step, .. } => Some(*step),
        _ => None,
    });
    let found = checkpoint::resume_point(disk, &attempts, CELL, u64::MAX).unwrap().0;
    let found = found.map_or(0, |(_, c)| c.manifest.step);
    assert!(found >= kept.max().unwrap_or(0), "{what}: resumes at {found}");
    attempt(disk, dir, &mut Vec::new(), Duration::ZERO).unwrap_or_else(|e| panic!("{what}: {e}"));
    assert_eq!(result(disk, &read_attempts(disk, dir).unwrap()), undisturbed(), "{what}");
}

#[test]
fn every_call_may_fail_and_no_acknowledged_event_is_lost() {
    use std::io::ErrorKind as K;
    let clean = tempfile::tempdir().unwrap();
    let whole = Faulty::new(u64::MAX, Fault::Short, false);
    attempt(&whole, &home(clean.path()), &mut Vec::new(), Duration::ZERO).unwrap();
    assert!(whole.calls() > 100, "{} calls", whole.calls());
    for fault in [
        Fault::Error(K::Other),
        Fault::Error(K::StorageFull),
        Fault::Error(K::Interrupted),
        Fault::Error(K::ReadOnlyFilesystem),
        Fault::Short,
    ] {
        for at in 0..whole.calls() {
            let dir = tempfile::tempdir().unwrap();
            let cell = home(dir.path());
            // An interrupted write is tried again, for as long as that is all.
            let passing = matches!(fault, Fault::Short | Fault::Error(K::Interrupted));
            let disk = Faulty::new(at, fault, !passing && at % 2 == 0);
            let mut taken = Vec::new();
            match attempt(&disk, &cell, &mut taken, Duration::ZERO) {
                Ok(()) => {}
                Err(error) => {
                    let text = error.to_string();
                    assert!(text.contains(dir.path().to_str().unwrap()), "{text}");
                }
            }
            recovers(&Os, &cell, &taken, &format!("{fault:?} at call {at}"));
        }
    }
}

#[test]
fn power_may_go_at_every_sync_and_no_acknowledged_event_is_lost() {
    let dir = &home(Path::new("/results/cells"));
    let whole = Shadow::default();
    attempt(&whole, dir, &mut Vec::new(), Duration::ZERO).unwrap();
    assert!(whole.syncs() > 50, "{} syncs", whole.syncs());
    for last in 0..whole.syncs() {
        let disk = Shadow::until(last);
        let mut taken = Vec::new();
        attempt(&disk, dir, &mut taken, Duration::ZERO).expect_err("the power goes");
        for kept in KEPT {
            recovers(&disk.after(kept), dir, &taken, &format!("sync {last}, {kept:?}"));
        }
    }
}

/// What a killed process was: run by [`kills`] with the directory in the environment.
#[test]
#[ignore = "a child of `a_process_may_be_killed_at_any_moment`"]
fn child() {
    let Some(dir) = std::env::var_os("ISOFLOP_TEST_CELL") else { return };
    attempt(&Os, Path::new(&dir), &mut Vec::new(), Duration::from_micros(200)).unwrap();
}

/// Runs and kills until there were `most` kills, through as many whole lives of the cell as that takes.
fn kills(most: usize) -> (usize, u64) {
    let spawn = |dir: &Path| {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "ledger::survival::child", "--ignored"])
            .env("ISOFLOP_TEST_CELL", dir)
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    };
    let want = undisturbed();
    let moments = Stream::new(1, "moments of death");
    let root = tempfile::tempdir().unwrap();
    let begin = Instant::now();
    assert!(spawn(&home(&root.path().join("whole"))).wait().unwrap().success());
    let life = begin.elapsed();
    let (mut killed, mut lives, mut repeated) = (0, 0, 0);
    while killed < most {
        lives += 1;
        let dir: PathBuf = home(&root.path().join(format!("life-{lives}")));
        let mut here = 0;
        loop {
            let mut child = spawn(&dir);
            std::thread::sleep(life.mul_f64(moments.uniform(killed as u64 + 10_000 * lives)));
            child.kill().unwrap();
            if child.wait().unwrap().success() {
                break;
            }
            killed += 1;
            here += 1;
        }
        let attempts = read_attempts(&Os, &dir).unwrap();
        assert!(attempts.iter().all(|a| a.damage.is_none()));
        assert_eq!(result(&Os, &attempts), want, "after {here} kills");
        let taken: u64 = attempts.iter().map(Attempt::advanced).sum();
        assert!(taken <= STEPS + here * CHECKPOINT, "{taken} steps after {here} kills");
        repeated += taken - STEPS;
    }
    (killed, repeated)
}

#[test]
fn a_process_may_be_killed_at_any_moment() {
    kills(100);
}

#[test]
#[ignore = "the long tier"]
fn deep_a_process_may_be_killed_a_thousand_times() {
    let (killed, repeated) = kills(1000);
    println!("{killed} kills of the fake model: same bits, {repeated} steps taken twice");
}
