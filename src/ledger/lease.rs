//! Who is at work on a cell: one lock and one heartbeat for each attempt.
//!
//! The attempt's directory is the claim: of any number of runners exactly one creates it, and only that
//! one ever writes in it. Whether its holder still lives decides when another may start the next attempt,
//! and a wrong answer costs work, never a record:
//!
//! * on the holder's own machine the system answers: it frees the lock of a process that is gone;
//! * from another machine, the heartbeat does: a counter that the holder changes every [`BEAT`]. Who has
//!   watched it stand still for [`LEASE`] by its own clock takes over. A holder that cannot write its
//!   heartbeat for [`GIVE_UP`] stops by itself.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::error::FileError;
use crate::fs::{Disk as _, Os};

/// Time between two heartbeats.
pub const BEAT: Duration = Duration::from_secs(30);
/// Time without a heartbeat after which a holder on another machine is taken for gone.
pub const LEASE: Duration = Duration::from_mins(6);
/// Time without success after which a holder stops itself.
pub const GIVE_UP: Duration = Duration::from_mins(4);

/// Name of the heartbeat in an attempt's directory.
const HEARTBEAT: &str = "heartbeat";

/// Directory of an attempt; numbers count from 1.
pub fn attempt_dir(cell_dir: &Path, number: u32) -> PathBuf {
    cell_dir.join(format!("attempt-{number:04}"))
}

fn lock_path(cell_dir: &Path, number: u32) -> PathBuf {
    cell_dir.join(format!("attempt-{number:04}.lock"))
}

/// The running system, so that a lock on it can be trusted: the kernel's boot, else the host's name.
pub fn machine() -> String {
    let read = |path| std::fs::read_to_string(path).ok();
    let name = read("/proc/sys/kernel/random/boot_id").or_else(|| read("/etc/hostname"));
    name.unwrap_or_default().trim().to_owned()
}

/// One attempt, held.
#[derive(Debug)]
pub struct Lease {
    /// Where its holder writes.
    pub dir: PathBuf,
    next: PathBuf,
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
        Os.create_dirs(cell_dir)?;
        let path = lock_path(cell_dir, number);
        let lock = File::options().create(true).append(true).open(&path);
        let mut lock = lock.map_err(FileError::new("create", &path))?;
        // Locked before the directory is there: who sees the directory and a free lock knows enough.
        match lock.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => return Ok(None),
            Err(std::fs::TryLockError::Error(e)) => return Err(FileError::new("lock", path)(e)),
        }
        lock.set_len(0)
            .and_then(|()| lock.write_all(machine().as_bytes()))
            .map_err(FileError::new("write", &path))?;
        let dir = attempt_dir(cell_dir, number);
        if !Os.claim_dir(&dir)? {
            return Ok(None);
        }
        let next = attempt_dir(cell_dir, number + 1);
        let mut lease = Self { dir, next, _lock: lock, beats: 0, alive: Instant::now() };
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
        self.alive.elapsed() > GIVE_UP || self.next.exists()
    }
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
    let path = lock_path(cell_dir, number);
    let held = File::open(&path)
        .is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(std::fs::TryLockError::WouldBlock)));
    // Attempts of the first format have no lock; one runner had the whole directory then.
    match std::fs::read_to_string(&path) {
        _ if held => Holder::Alive,
        Ok(name) if name != machine() => Holder::Elsewhere,
        _ => Holder::Gone,
    }
}

/// The counter of an attempt's holder.
pub fn heartbeat(cell_dir: &Path, number: u32) -> Option<u64> {
    let text = std::fs::read(attempt_dir(cell_dir, number).join(HEARTBEAT)).ok()?;
    std::str::from_utf8(&text).ok()?.trim().parse().ok()
}

/// How long ago the heartbeat was written, by the clocks of two machines: for people, not for decisions.
pub fn quiet(cell_dir: &Path, number: u32) -> Option<Duration> {
    let file = attempt_dir(cell_dir, number).join(HEARTBEAT);
    std::fs::metadata(file).ok()?.modified().ok()?.elapsed().ok()
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
    }

    #[test]
    fn a_holder_notices_that_another_took_over() {
        let dir = tempfile::tempdir().unwrap();
        let first = Lease::claim(dir.path(), 1).unwrap().unwrap();
        assert!(!first.is_lost());
        let _second = Lease::claim(dir.path(), 2).unwrap().unwrap();
        assert!(first.is_lost());
    }

    #[test]
    fn heartbeats_change() {
        let dir = tempfile::tempdir().unwrap();
        let mut lease = Lease::claim(dir.path(), 1).unwrap().unwrap();
        let before = heartbeat(dir.path(), 1).unwrap();
        lease.beat();
        assert_ne!(heartbeat(dir.path(), 1).unwrap(), before);
        assert!(quiet(dir.path(), 1).unwrap() < BEAT);
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
}
