//! Processes that share one directory, and what befalls them.

use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use crate::common::{Dice, Place, signal};

const RUN: &[&str] = &["run", "sweep.toml", "--workers", "1", "--checkpoint", "7steps"];
const TRAIN: &[&str] =
    &["run", "sweep.toml", "--workers", "1", "--checkpoint", "7steps", "--train-only"];
const TUNE: &[&str] = &["tune", "sweep.toml", "--workers", "1", "--checkpoint", "7steps"];
/// Eight runners, a tuning, and those who read what they write; each starts again when it ends.
const CROWD: [&[&str]; 15] = [
    RUN,
    RUN,
    RUN,
    TRAIN,
    TRAIN,
    TRAIN,
    TRAIN,
    TRAIN,
    TUNE,
    &["fit", "results/storm"],
    &["report", "sweep.toml"],
    &["check", "sweep.toml"],
    &["status", "sweep.toml"],
    &["status", "results/storm", "--json"],
    &["predict", "analysis/storm/fit.json", "--flops", "1e11", "--json"],
];
/// Mean time between two signals.
const CALM: Duration = Duration::from_millis(50);
/// Longest time that a process stays stopped, and that a reader waits before it looks again.
const PAUSE: Duration = Duration::from_secs(1);
/// The same for one that trains.
const SHORT: Duration = Duration::from_millis(200);

/// What happened.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tally {
    /// Deaths by SIGKILL.
    pub(crate) kills: u64,
    /// Deaths by a second SIGTERM or SIGINT, or of a reader by its first.
    pub(crate) second: u64,
    stops: u64,
    terms: u64,
    ints: u64,
    starts: u64,
    /// Processes that ended by themselves.
    whole: u64,
    /// Attempts at a cell that another went on from.
    pub(crate) cut: u64,
    /// Steps taken more than once.
    pub(crate) twice: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, other: &Self) {
        self.kills += other.kills;
        self.second += other.second;
        self.stops += other.stops;
        self.terms += other.terms;
        self.ints += other.ints;
        self.starts += other.starts;
        self.whole += other.whole;
        self.cut += other.cut;
        self.twice += other.twice;
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} kills, {} stops, {} SIGTERM, {} SIGINT ({} of them deadly), {} processes started, {} undisturbed to \
             their end, {} attempts cut, {} steps recorded twice",
            self.kills,
            self.stops,
            self.terms,
            self.ints,
            self.second,
            self.starts,
            self.whole,
            self.cut,
            self.twice
        )
    }
}

/// A process of the crowd.
struct Member {
    child: Child,
    /// Where it says what it says.
    said: PathBuf,
    killed: bool,
    /// SIGTERM and SIGINT that it was sent.
    asked: u64,
    /// Stopped, until then.
    stopped: Option<Instant>,
}

/// The crowd of one directory.
pub(crate) struct Crowd<'a> {
    place: &'a Place,
    dice: Dice,
    /// By place in [`CROWD`]: a process, or when the next one starts.
    members: Vec<Result<Member, Instant>>,
    tally: Tally,
    outputs: tempfile::TempDir,
}

impl<'a> Crowd<'a> {
    pub(crate) fn new(place: &'a Place, dice: Dice) -> Self {
        Self {
            place,
            dice,
            members: CROWD.iter().map(|_| Err(Instant::now())).collect(),
            tally: Tally::default(),
            outputs: tempfile::tempdir().unwrap(),
        }
    }

    /// Signals at random moments to random ones, until so many are killed.
    pub(crate) fn storm(&mut self, kills: u64) {
        let mut next = Instant::now();
        while self.tally.kills < kills {
            self.look(true);
            if Instant::now() >= next {
                next = Instant::now() + self.dice.within(2 * CALM);
                self.strike();
            }
            std::thread::sleep(Duration::from_millis(3));
        }
    }

    /// Lets all that are there come to their end, and starts no more.
    pub(crate) fn calm(mut self) -> Tally {
        for member in self.members.iter_mut().flatten() {
            if member.stopped.take().is_some() {
                signal(&member.child, "CONT");
            }
        }
        while self.members.iter().any(Result::is_ok) {
            self.look(false);
            std::thread::sleep(Duration::from_millis(3));
        }
        self.tally
    }

    /// Sees who has ended, lets go on who was stopped, and starts who is missing.
    fn look(&mut self, start: bool) {
        for (at, args) in CROWD.into_iter().enumerate() {
            match &mut self.members[at] {
                Ok(member) => {
                    if member.stopped.is_some_and(|until| Instant::now() >= until) {
                        member.stopped = None;
                        signal(&member.child, "CONT");
                    }
                    if let Some(status) = member.child.try_wait().unwrap() {
                        judge(args, member, status, &mut self.tally);
                        let pause = if trains(args) { SHORT } else { PAUSE };
                        self.members[at] = Err(Instant::now() + self.dice.within(pause));
                    }
                }
                Err(when) if start && Instant::now() >= *when => {
                    self.tally.starts += 1;
                    self.members[at] = Ok(self.begin(args));
                }
                Err(_) => {}
            }
        }
    }

    fn begin(&self, args: &[&str]) -> Member {
        let said = self.outputs.path().join(self.tally.starts.to_string());
        let file = File::create(&said).unwrap();
        let mut command = self.place.command(args);
        command.stdout(file.try_clone().unwrap()).stderr(file);
        let child = command.spawn().unwrap();
        Member { child, said, killed: false, asked: 0, stopped: None }
    }

    /// One signal to one process.
    fn strike(&mut self) {
        let mut alive: Vec<&mut Member> =
            self.members.iter_mut().flatten().filter(|m| !m.killed).collect();
        let at = self.dice.next() * alive.len() as f64;
        let (which, pause) = (self.dice.next(), self.dice.within(PAUSE));
        let Some(member) = alive.get_mut(at as usize) else { return };
        match which {
            x if x < 0.5 => {
                member.killed = true;
                self.tally.kills += 1;
                signal(&member.child, "KILL");
            }
            x if x < 0.7 => {
                member.stopped = Some(Instant::now() + pause);
                self.tally.stops += 1;
                signal(&member.child, "STOP");
            }
            x => {
                member.asked += 1;
                let (name, count) = if x < 0.85 {
                    ("TERM", &mut self.tally.terms)
                } else {
                    ("INT", &mut self.tally.ints)
                };
                *count += 1;
                signal(&member.child, name);
            }
        }
    }
}

fn trains(args: &[&str]) -> bool {
    matches!(args[0], "run" | "tune")
}

/// Whether a process ended as the documents say that it may.
fn judge(args: &[&str], member: &Member, status: ExitStatus, tally: &mut Tally) {
    let said = fs::read_to_string(&member.said).unwrap();
    fs::remove_file(&member.said).unwrap();
    assert!(!said.contains("panicked at"), "{args:?}: {said}");
    let (killed, asked) = (member.killed, member.asked);
    match (status.signal(), status.code()) {
        (Some(9), _) => assert!(killed, "{args:?}: killed by another"),
        (Some(2 | 15), _) => {
            assert!(asked > 0, "{args:?}: {status}: {said}");
            tally.second += 1;
        }
        (_, Some(75)) => assert!(asked > 0, "{args:?} gave up unasked: {said}"),
        (_, Some(0)) => tally.whole += u64::from(!killed && asked == 0),
        // A cell was cut five times before its first step: the next is told to try it again.
        (_, Some(1)) => assert!(said.contains("stuck"), "{args:?}: {said}"),
        // What it reads is not there yet.
        (_, Some(2)) => assert!(!trains(args) && said.contains("error:"), "{args:?}: {said}"),
        _ => panic!("{args:?}: {status}: {said}"),
    }
}
