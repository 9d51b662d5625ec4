//! A signal is obeyed within ten seconds, whatever a run is at.

mod common;

use std::fs;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use common::{ONE, Place, grid, of_kind, signal, text, wait};

/// What a batch system waits at least before it kills [s].
const PROMISED: Duration = Duration::from_secs(10);

/// Ends the child by SIGTERM: exit code 75 within the time that is promised.
fn obeyed(mut child: Child, what: &str) {
    let begin = Instant::now();
    signal(&child, "TERM");
    while begin.elapsed() < 3 * PROMISED {
        if let Some(status) = child.try_wait().unwrap() {
            assert_eq!(status.code(), Some(75), "{what}");
            assert!(begin.elapsed() < PROMISED, "{what}: {:?}", begin.elapsed());
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill().unwrap();
    panic!("{what}: not within {:?}", begin.elapsed());
}

/// All is trained, and the fit with its draws takes minutes.
#[test]
fn a_fit_after_the_runs_ends_at_a_signal_and_the_report_can_be_made_later() {
    let small = grid("one", "[5e3, 1e4, 2e4, 4e4]", "[1e5, 2e5, 4e5]");
    let place = Place::new(&small.replace("[eval]", "[fit]\nbootstrap = 100000\n[eval]"));
    let trained = place.run().arg("--train-only").output().unwrap();
    assert!(trained.status.success(), "{}", text(&trained.stderr));
    let said = place.path("said");
    let mut run = place.run();
    run.stdout(fs::File::create(&said).unwrap()).stderr(Stdio::null());
    let child = run.spawn().unwrap();
    // The table of runs is printed before the fit is begun.
    wait("the runs", || fs::read_to_string(&said).is_ok_and(|s| s.contains("Runs of one")));
    std::thread::sleep(Duration::from_secs(1));
    obeyed(child, "the fit");
    let out = fs::read_to_string(&said).unwrap();
    assert!(!out.contains("Done in"), "the fit was over before the signal: {out}");
}

/// An evaluation of a billion tokens is given up; the state of the last checkpoint is kept.
#[test]
fn an_evaluation_that_takes_long_is_given_up_at_a_signal() {
    let sweep = ONE.replace("tokens = 4096\ntimes = 3", "tokens = 1e9\ntimes = 3");
    assert_ne!(sweep, ONE);
    let place = Place::new(&sweep);
    let child = place.spawn();
    place.in_training("one");
    // A third of the steps take less than a second.
    std::thread::sleep(Duration::from_secs(3));
    obeyed(child, "the evaluation");
    let attempt = &place.attempts("one")[0][0];
    let paused = of_kind(attempt, "paused").expect("it says that it was stopped");
    let kept = paused["step"].as_u64().unwrap();
    assert!(attempt.join(format!("checkpoint-{kept}")).exists() || kept > 0, "{paused}");
    assert!(of_kind(attempt, "eval").is_none(), "no evaluation ended");
}
