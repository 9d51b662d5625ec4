//! Who is at work on a cell: one lock and one heartbeat for each attempt.
//!
//! The attempt's directory is the claim. It is made under another name, with its lock in it and held, and renamed
//! into its place, which only one of any number of runners can do: so who claims owns the lock from the first
//! moment, and who loses has touched nothing of the owner's. Whether the holder still lives decides when another may
//! start the next attempt, and a wrong answer costs work, never a record:
//!
//! * on the holder's own machine the system answers: it frees the lock of a process that is gone;
//! * from another machine, the heartbeat does: a counter that the holder changes every [`beat`]. Who has watched it
//!   stand still for [`lease()`] by its own clock takes over; no other clock is asked. A holder that cannot write its
//!   heartbeat for [`give_up`] stops by itself.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use super::log;
use crate::error::FileError;
use crate::fs::machine::{Machine, name_of};
use crate::fs::{Disk as _, Os, scratch_beside};

/// Time without a heartbeat after which a holder on another machine is taken for gone. `ISOFLOP_TEST_LEASE` is
/// another one for tests [s].
pub fn lease() -> Duration {
    static LEASE: OnceLock<Duration> = OnceLock::new();
    *LEASE.get_or_init(|| {
        let asked = std::env::var("ISOFLOP_TEST_LEASE").ok().and_then(|s| s.parse().ok());
        asked.map_or(Duration::from_mins(6), Duration::from_secs_f64)
    })
}

/// Time between two heartbeats: half a minute.
pub fn beat() -> Duration {
    lease() / 12
}

/// Time without success after which a holder stops itself: four minutes.
pub fn give_up() -> Duration {
    lease() * 2 / 3
}

/// Name of the heartbeat in an attempt's directory.
pub(super) const HEARTBEAT: &str = "heartbeat";
/// Name of the lock in an attempt's directory.
pub(super) const LOCK: &str = "lock";
/// Longest heartbeat and longest name in a lock that are read [bytes].
const MAX_LINE: u64 = 1 << 10;

/// Directory of an attempt; numbers count from 1.
pub fn attempt_dir(cell_dir: &Path, number: u32) -> PathBuf {
    cell_dir.join(format!("attempt-{number:04}"))
}

/// Where the lock of an attempt lies: in its directory, in older records beside it.
fn lock_path(cell_dir: &Path, number: u32) -> PathBuf {
    let inside = attempt_dir(cell_dir, number).join(LOCK);
    let beside = cell_dir.join(format!("attempt-{number:04}.lock"));
    if !inside.exists() && beside.exists() { beside } else { inside }
}

/// One attempt, held.
#[derive(Debug)]
pub struct Lease {
    /// Where its holder writes.
    pub dir: PathBuf,
    cell_dir: PathBuf,
    number: u32,
    /// Locked as long as it is open.
    _lock: File,
    beats: u64,
    alive: Instant,
}

impl Lease {
    /// Claims attempt `number` of a cell; `None` when another has it.
    ///
    /// # Errors
    ///
    /// [`FileError`] with the path.
    pub fn claim(cell_dir: &Path, number: u32) -> Result<Option<Self>, FileError> {
        Self::claim_on(Machine::this(), cell_dir, number)
    }

    fn claim_on(
        machine: &Machine,
        cell_dir: &Path,
        number: u32,
    ) -> Result<Option<Self>, FileError> {
        Os.create_dirs(cell_dir)?;
        let dir = attempt_dir(cell_dir, number);
        // Not needed for the claim: it saves one that is lost already.
        if std::fs::symlink_metadata(&dir).is_ok() {
            return Ok(None);
        }
        let scratch = scratch_beside(&dir);
        Os.create_dir(&scratch).map_err(FileError::new("create", &scratch))?;
        let path = scratch.join(LOCK);
        let owned = (|| {
            let mut file = OpenOptions::new()
                .read(true)
                .append(true)
                .create_new(true)
                .open(&path)
                .map_err(FileError::new("create", &path))?;
            file.write_all(machine.name.as_bytes())
                .and_then(|()| file.sync_all())
                .map_err(FileError::new("write", &path))?;
            let lock = machine.lock(file).map_err(FileError::new("lock", &path))?;
            // Somebody looks at this very moment whether it is abandoned, and may remove it.
            if lock.is_none() {
                return Ok(None);
            }
            // A directory that is not empty is not replaced: of all who rename theirs one succeeds.
            match std::fs::rename(&scratch, &dir) {
                Ok(()) => Ok(lock),
                Err(e) if is_taken(&e) => Ok(None),
                Err(e) => Err(FileError::new("create", &dir)(e)),
            }
        })();
        let lock = match owned {
            Ok(Some(lock)) => lock,
            // The winner took it for abandoned in the moment before it was locked.
            Err(e) if e.source.kind() == ErrorKind::NotFound && dir.exists() => return Ok(None),
            lost => {
                // Ours alone; failing to remove it must not hide the first error.
                let _ = std::fs::remove_dir_all(&scratch);
                return lost.map(|_| None);
            }
        };
        Os.sweep(&dir);
        Os.sync_dir(cell_dir).map_err(FileError::new("sync", cell_dir))?;
        let cell_dir = cell_dir.to_owned();
        let mut lease =
            Self { dir, cell_dir, number, _lock: lock, beats: 0, alive: Instant::now() };
        lease.beat();
        Ok(Some(lease))
    }

    /// Says that the holder lives. A failure is not told: see [`is_lost`](Self::is_lost).
    pub fn beat(&mut self) {
        self.beats += 1;
        if std::fs::write(self.dir.join(HEARTBEAT), self.beats.to_string()).is_ok() {
            self.alive = Instant::now();
        }
    }

    /// Whether the holder must stop: another has taken over, or may by now.
    pub fn is_lost(&self) -> bool {
        let later = || {
            let all = log::numbered(&Os, &self.cell_dir).unwrap_or_default();
            all.last().is_some_and(|(last, _)| *last > self.number)
        };
        self.alive.elapsed() > give_up() || later()
    }
}

/// Whether a claim failed because another holds what it claims, or something else is in its place.
fn is_taken(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists | ErrorKind::NotADirectory
    )
}

/// What is known of an attempt's holder without watching it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// It holds the lock.
    Alive,
    /// It was on this machine and holds no lock.
    Gone,
    /// It was on another machine; its heartbeat must be watched.
    Elsewhere,
}

/// Asks for the lock of an attempt.
pub fn holder(cell_dir: &Path, number: u32) -> Holder {
    holder_seen_from(Machine::this(), cell_dir, number)
}

fn holder_seen_from(machine: &Machine, cell_dir: &Path, number: u32) -> Holder {
    let path = lock_path(cell_dir, number);
    if machine.sees_locked(&path) {
        return Holder::Alive;
    }
    match line(&path) {
        // Older records have what the kernel calls the boot.
        Ok(name) if name != machine.name && name_of(&name) != machine.name => Holder::Elsewhere,
        // Without a lock it is of the first format, when one runner had the whole directory, or was published.
        Err(e) if e.kind() != ErrorKind::NotFound => Holder::Elsewhere,
        _ => Holder::Gone,
    }
}

fn line(path: &Path) -> std::io::Result<String> {
    let bytes = Os.read(path, MAX_LINE)?;
    Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
}

/// The counter of an attempt's holder.
pub fn heartbeat(cell_dir: &Path, number: u32) -> Option<u64> {
    line(&attempt_dir(cell_dir, number).join(HEARTBEAT)).ok()?.parse().ok()
}

/// How long ago the heartbeat was written, by the clocks of two machines: for people, never for a decision.
pub fn quiet(cell_dir: &Path, number: u32) -> Option<Duration> {
    Machine::this().age(&attempt_dir(cell_dir, number).join(HEARTBEAT))
}

/// Something that others change while they live, watched by this process's own clock.
#[derive(Debug, Clone)]
pub struct Watched<T> {
    seen: T,
    since: Instant,
}

impl<T: PartialEq> Watched<T> {
    /// Watches from now on.
    pub fn new(seen: T) -> Self {
        Self { seen, since: Instant::now() }
    }

    /// As it was when it was last seen to change.
    pub fn seen(&self) -> &T {
        &self.seen
    }

    /// How long it has stood still by now, where it is `now`.
    pub fn still(&mut self, now: T) -> Duration {
        if self.seen != now {
            *self = Self::new(now);
        }
        self.since.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_has_one_holder_and_is_free_when_it_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let lease = Lease::claim(dir.path(), 1).unwrap().expect("nobody had it");
        assert!(Lease::claim(dir.path(), 1).unwrap().is_none());
        assert_eq!(holder(dir.path(), 1), Holder::Alive);
        drop(lease);
        assert_eq!(holder(dir.path(), 1), Holder::Gone);
        std::fs::write(lock_path(dir.path(), 1), "another").unwrap();
        assert_eq!(holder(dir.path(), 1), Holder::Elsewhere);
        assert!(Lease::claim(dir.path(), 1).unwrap().is_none(), "a number is used once");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left of claims");
    }

    /// Records from when the lock lay beside the directory and had the kernel's own name of the boot.
    #[test]
    fn locks_of_older_records_are_understood() {
        let dir = tempfile::tempdir().unwrap();
        Os.create_dir(&attempt_dir(dir.path(), 1)).unwrap();
        assert_eq!(holder(dir.path(), 1), Holder::Gone, "the first format had none");
        let beside = dir.path().join("attempt-0001.lock");
        std::fs::write(&beside, "another boot").unwrap();
        assert_eq!(holder(dir.path(), 1), Holder::Elsewhere);
        if let Ok(boot) = std::fs::read_to_string("/proc/sys/kernel/random/boot_id") {
            std::fs::write(&beside, boot.trim()).unwrap();
            assert_eq!(holder(dir.path(), 1), Holder::Gone);
        }
    }

    #[test]
    fn a_holder_notices_that_another_took_over() {
        let dir = tempfile::tempdir().unwrap();
        let first = Lease::claim(dir.path(), 1).unwrap().unwrap();
        std::fs::write(attempt_dir(dir.path(), 2), "a file is no attempt").unwrap();
        assert!(!first.is_lost());
        let _third = Lease::claim(dir.path(), 3).unwrap().unwrap();
        assert!(first.is_lost());
    }

    #[test]
    fn heartbeats_change() {
        let dir = tempfile::tempdir().unwrap();
        let mut lease = Lease::claim(dir.path(), 1).unwrap().unwrap();
        let before = heartbeat(dir.path(), 1).unwrap();
        lease.beat();
        assert_ne!(heartbeat(dir.path(), 1).unwrap(), before);
        assert!(quiet(dir.path(), 1).unwrap() < beat());
    }

    #[test]
    fn of_many_claims_at_once_one_wins() {
        let dir = tempfile::tempdir().unwrap();
        for number in 1..50 {
            let held: Vec<_> = std::thread::scope(|scope| {
                let claim = || Lease::claim(dir.path(), number).unwrap();
                let threads: Vec<_> = (0..8).map(|_| scope.spawn(claim)).collect();
                threads.into_iter().filter_map(|t| t.join().unwrap()).collect()
            });
            assert_eq!(held.len(), 1, "attempt {number}");
        }
    }

    /// Machines whose locks do not reach each other: one wins each claim, and to all the others, the losers too, it
    /// is elsewhere; to itself it lives.
    #[test]
    fn a_lock_that_does_not_reach_makes_no_loser_the_owner() {
        let dir = tempfile::tempdir().unwrap();
        let locks: Vec<_> = (0..4).map(|_| tempfile::tempdir().unwrap()).collect();
        let machines: Vec<Machine> = locks
            .iter()
            .enumerate()
            .map(|(i, l)| Machine::apart(&i.to_string(), l.path()))
            .collect();
        for number in 1..50 {
            let held: Vec<Option<Lease>> = std::thread::scope(|scope| {
                let claim = |machine| Lease::claim_on(machine, dir.path(), number).unwrap();
                let threads: Vec<_> =
                    machines.iter().map(|m| scope.spawn(move || claim(m))).collect();
                threads.into_iter().map(|t| t.join().unwrap()).collect()
            });
            assert_eq!(held.iter().flatten().count(), 1, "attempt {number}");
            for (machine, held) in machines.iter().zip(&held) {
                let want = if held.is_some() { Holder::Alive } else { Holder::Elsewhere };
                assert_eq!(holder_seen_from(machine, dir.path(), number), want, "{number}");
            }
        }
    }

    #[test]
    fn what_is_watched_is_still_only_while_it_does_not_change() {
        let mut watched = Watched::new(1);
        std::thread::sleep(Duration::from_millis(20));
        assert!(watched.still(1) >= Duration::from_millis(20));
        assert!(watched.still(2) < Duration::from_millis(20));
    }
}
