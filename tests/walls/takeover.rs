//! Two machines whose locks do not reach each other and whose clocks differ, on one directory.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::{Place, grid, of_kind, signal, sorted, text, wait};

/// A lease that a test can wait for [s].
const LEASE: f64 = 3.0;

/// A machine: its name, its locks, and what its clock is ahead [s].
struct Machine {
    name: &'static str,
    locks: tempfile::TempDir,
    ahead: f64,
}

impl Machine {
    fn new(name: &'static str, ahead: f64) -> Self {
        Self { name, locks: tempfile::tempdir().unwrap(), ahead }
    }

    fn on(&self, mut command: Command) -> Command {
        command.env("ISOFLOP_TEST_MACHINE", self.name);
        command.env("ISOFLOP_TEST_LOCKS", self.locks.path());
        command.env("ISOFLOP_TEST_CLOCK", self.ahead.to_string());
        command.env("ISOFLOP_TEST_LEASE", LEASE.to_string());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn start(&self, place: &Place) -> Child {
        self.on(place.run()).spawn().unwrap()
    }
}

fn attempts(place: &Place, sweep: &str) -> Vec<PathBuf> {
    place.attempts(sweep).into_iter().flatten().collect()
}

/// Neither a clock far ahead nor one behind takes a live cell; when its holder is dead, a lease is waited for.
#[test]
fn a_live_cell_is_left_alone_and_a_dead_one_is_taken_after_a_lease() {
    for ahead in [-400.0, -5.0, 400.0] {
        let place = Place::new(&grid("long", "[2e4]", "[2e7]"));
        let (here, there) = (Machine::new("here", 0.0), Machine::new("there", ahead));
        let mut holder = here.start(&place);
        place.in_training("long");
        let mut watcher = there.start(&place);
        std::thread::sleep(Duration::from_secs_f64(2.5 * LEASE));
        assert_eq!(
            attempts(&place, "long").len(),
            1,
            "taken from a live holder, clock {ahead:+} s"
        );
        assert!(holder.try_wait().unwrap().is_none() && watcher.try_wait().unwrap().is_none());
        holder.kill().unwrap();
        holder.wait().unwrap();
        let begin = Instant::now();
        wait("a second attempt", || attempts(&place, "long").len() == 2);
        let waited = begin.elapsed().as_secs_f64();
        assert!(waited > 0.8 * LEASE && waited < LEASE + 4.0, "{waited} s, clock {ahead:+} s");
        let second = attempts(&place, "long")[1].clone();
        wait("its first line", || of_kind(&second, "started").is_some());
        assert!(!of_kind(&second, "started").unwrap()["resumed"].is_null());
        signal(&watcher, "TERM");
        assert_eq!(watcher.wait().unwrap().code(), Some(75));
    }
}

#[test]
fn two_machines_of_other_clocks_share_a_sweep_and_train_each_cell_once() {
    let place = Place::new(&grid("many", "[3e3, 6e3]", "[1e5, 2e5, 3e5, 4e5]"));
    let machines = [Machine::new("early", -5.0), Machine::new("late", 400.0)];
    let runners: Vec<Child> = machines.iter().map(|m| m.start(&place)).collect();
    for runner in runners {
        let output = runner.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert!(!text(&output.stderr).contains("taken over"), "{}", text(&output.stderr));
    }
    let cells = place.attempts("many");
    assert_eq!(cells.len(), 8);
    for cell in cells {
        assert_eq!(cell.len(), 1, "trained once: {cell:?}");
        assert!(of_kind(&cell[0], "completed").is_some());
    }
}

/// A holder that is stopped keeps its lock; whoever waits for it says so.
#[test]
fn a_stopped_holder_is_named_to_those_who_wait() {
    let place = Place::new(&grid("long", "[2e4]", "[2e7]"));
    let here = Machine::new("here", 0.0);
    let mut holder = here.start(&place);
    place.in_training("long");
    signal(&holder, "STOP");
    let waiting = here.start(&place);
    std::thread::sleep(Duration::from_secs_f64(2.0 * LEASE));
    signal(&waiting, "TERM");
    let output = waiting.wait_with_output().unwrap();
    let said = text(&output.stderr);
    assert!(said.contains("is silent") && said.contains("stopped"), "{said}");
    assert_eq!(
        sorted(&sorted(&place.path("results/long/cells"))[0]).iter().filter(|p| p.is_dir()).count(),
        1
    );
    signal(&holder, "CONT");
    holder.kill().unwrap();
    holder.wait().unwrap();
}
