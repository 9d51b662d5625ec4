use super::*;

fn eval(step: u64) -> Event {
    Event::Eval { step, tokens: 10 * step, flops: 1e3, loss: 0.1 + step as f64 / 3.0 }
}

fn write(cell_dir: &Path, number: u32, events: u64) -> PathBuf {
    let dir = cell_dir.join(format!("attempt-{number:04}"));
    Os.create_dirs(&dir).unwrap();
    let clock = || "now".to_owned();
    let mut log = AttemptLog::start(&Os, &dir, eval(0), &History::default(), &clock).unwrap();
    for i in 1..events {
        log.step(i as f32, 0.5).unwrap();
        log.event(eval(i), clock()).unwrap();
    }
    dir.join(LOG)
}

#[test]
fn what_was_written_is_read_back_exactly() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), 1, 5);
    write(dir.path(), 2, 2);
    let attempts = read_attempts(&Os, dir.path()).unwrap();
    assert_eq!(attempts.iter().map(|a| a.number).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(attempts[0].events, (0..5).map(eval).collect::<Vec<_>>());
    assert_eq!(attempts[0].damage, None);
    assert_eq!(read_losses(&attempts[0].dir), [1.0, 2.0, 3.0, 4.0]);
}

#[test]
fn an_attempt_that_cannot_be_listed_is_damaged_and_the_others_are_read() {
    use crate::fs::doubles::{Fault, Faulty};
    use std::io::ErrorKind as K;
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), 1, 2);
    write(dir.path(), 2, 2);
    // The second call: after the list of attempts.
    let disk = |kind| Faulty::new(1, Fault::Error(kind), false);
    let attempts = read_attempts(&disk(K::PermissionDenied), dir.path()).unwrap();
    let first = attempts[0].dir.display().to_string();
    assert!(attempts[0].damage.as_ref().is_some_and(|why| why.starts_with(&format!("{first}:"))));
    assert_eq!((attempts.len(), &attempts[1].damage), (2, &None));
    // What says nothing of the directory is an error.
    let error = read_attempts(&disk(K::StaleNetworkFileHandle), dir.path()).unwrap_err();
    assert_eq!(error.path, attempts[0].dir);
}

#[test]
fn a_log_cut_at_any_byte_loses_at_most_its_last_line() {
    let dir = tempfile::tempdir().unwrap();
    let path = write(dir.path(), 1, 4);
    let whole = std::fs::read(&path).unwrap();
    let ends: Vec<usize> =
        whole.iter().enumerate().filter(|(_, b)| **b == b'\n').map(|(i, _)| i + 1).collect();
    for cut in 0..whole.len() {
        std::fs::write(&path, &whole[..cut]).unwrap();
        let attempt = &read_attempts(&Os, dir.path()).unwrap()[0];
        let complete = ends.iter().filter(|e| **e <= cut).count();
        assert_eq!(attempt.events.len(), complete, "cut at {cut}");
        assert_eq!(attempt.damage, None, "cut at {cut}");
        assert_eq!(attempt.torn, cut > 0 && !ends.contains(&cut));
    }
}

#[test]
fn every_flipped_bit_of_an_inner_line_is_detected() {
    let dir = tempfile::tempdir().unwrap();
    let path = write(dir.path(), 1, 3);
    let whole = std::fs::read(&path).unwrap();
    let first = whole.iter().position(|b| *b == b'\n').unwrap();
    for bit in 0..first * 8 {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(&path, &bytes).unwrap();
        let attempt = &read_attempts(&Os, dir.path()).unwrap()[0];
        let damage = attempt.damage.as_ref().unwrap_or_else(|| panic!("bit {bit} unnoticed"));
        assert!(damage.contains("run.log:1"), "{damage}");
    }
}

#[test]
fn repeated_dropped_and_swapped_lines_are_damage() {
    let dir = tempfile::tempdir().unwrap();
    let path = write(dir.path(), 1, 4);
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    for order in [vec![0, 0, 1, 2, 3], vec![0, 2, 3], vec![0, 2, 1, 3]] {
        let edited: String = order.iter().map(|i| lines[*i]).collect();
        std::fs::write(&path, edited).unwrap();
        assert!(read_attempts(&Os, dir.path()).unwrap()[0].damage.is_some(), "{order:?}");
    }
}

/// The first attempt at a cell, one step long, with a checkpoint that vouches for it by this checksum.
fn vouched(cell_dir: &Path) -> (PathBuf, AttemptLog, u32) {
    let attempt = cell_dir.join("attempt-0001");
    Os.create_dirs(&attempt).unwrap();
    let clock = || "now".to_owned();
    let mut log = AttemptLog::start(&Os, &attempt, eval(0), &History::default(), &clock).unwrap();
    log.step(1.0, 0.5).unwrap();
    let (bytes, steps_crc) = log.sync_steps().unwrap();
    assert_eq!(bytes, STEP_BYTES);
    log.event(Event::Checkpoint { step: 1, steps_crc }, clock()).unwrap();
    (attempt, log, steps_crc)
}

/// A study is published by its logs: a loss needs no curve. A curve that is there must be whole, and
/// a run that is not completed needs its own.
#[test]
fn a_completed_run_without_its_steps_is_archived_and_no_other() {
    let completed = |ended: bool| {
        let dir = tempfile::tempdir().unwrap();
        let (attempt, mut log, steps_crc) = vouched(dir.path());
        let (loss, loss_se, seconds, tokens_per_second) = (2.0, 0.0, 1.0, 1.0);
        let steps_crc = Some(steps_crc);
        let done = Event::Completed { loss, loss_se, seconds, tokens_per_second, steps_crc };
        if ended {
            log.event(done, "now".to_owned()).unwrap();
        }
        let read = || {
            let found = read_attempts(&Os, dir.path()).unwrap().remove(0);
            (found.archived, found.damage.is_some())
        };
        let whole = read();
        std::fs::write(attempt.join(STEPS), b"").unwrap();
        let emptied = read();
        std::fs::remove_file(attempt.join(STEPS)).unwrap();
        [whole, emptied, read()]
    };
    assert_eq!(completed(true), [(false, false), (false, true), (true, false)]);
    assert_eq!(completed(false), [(false, false), (false, true), (false, true)]);
}

#[test]
fn a_changed_step_is_damage_once_an_event_vouches_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let (attempt, mut log, _) = vouched(dir.path());
    log.step(2.0, 0.5).unwrap();
    log.event(eval(2), "now".to_owned()).unwrap();
    let damage = || read_attempts(&Os, dir.path()).unwrap()[0].damage.clone();
    assert_eq!(damage(), None);
    let path = attempt.join(STEPS);
    let whole = std::fs::read(&path).unwrap();
    for bit in 0..64 {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(&path, &bytes).unwrap();
        assert!(damage().unwrap().contains("steps.f32"), "bit {bit}");
    }
    std::fs::write(&path, &whole[..7]).unwrap();
    assert!(damage().unwrap().contains("fewer than 1 steps"));
}
