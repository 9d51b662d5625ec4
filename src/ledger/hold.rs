//! One sweep, one plan: who is at work in a results directory, from its first moment to its last.
//!
//! Every run has a file in `runners/` of the directory, of a name that nobody else draws: its first line is which
//! sweep it is at work on, the second its machine. It is locked while the run lives, and a counter beside it changes
//! every [`beat`]. Any number of runs of one sweep may be there; of another sweep none begins until they are gone,
//! which is told as for a cell: on one machine by the lock, from another by a counter that stands still for
//! [`lease()`] by the watcher's own clock.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::lease::{Watched, beat, lease};
use crate::error::FileError;
use crate::fs::machine::Machine;
use crate::fs::{Disk as _, Os, is_scratch, random, scratch_beside};

/// Where runs are known, in the results directory.
pub const RUNNERS: &str = "runners";
/// Ending of the counters there.
const COUNTER: &str = "beat";
/// Held while a run looks whether it is alone.
const DOOR: &str = "door";
/// Longest file there that is read [bytes].
const MAX_LINE: u64 = 1 << 10;
/// Longest wait for others at the door.
const PATIENCE: Duration = Duration::from_secs(5);

/// A results directory, held for one sweep as long as this is there.
#[derive(Debug)]
pub struct Hold {
    path: PathBuf,
    /// Locked as long as it is open.
    _lock: File,
    beating: Option<(mpsc::Sender<()>, JoinHandle<()>)>,
}

/// Another run of the directory.
#[derive(Debug, Clone, PartialEq)]
struct Other {
    path: PathBuf,
    counter: Option<Vec<u8>>,
}

/// The others that are at work on another sweep.
#[derive(Debug, Default, PartialEq)]
struct Others {
    /// One of them lives: this machine sees its lock.
    alive: bool,
    elsewhere: Vec<Other>,
}

impl Hold {
    /// Holds `results` for the sweep of this name; `None` where another sweep is at work there. `waits` is told, once,
    /// that one on another machine is watched.
    ///
    /// # Errors
    ///
    /// [`FileError`] with the path.
    pub fn take(results: &Path, sweep: &str, waits: &dyn Fn()) -> Result<Option<Self>, FileError> {
        let dir = results.join(RUNNERS);
        Os.create_dirs(&dir)?;
        let door = door(&dir)?;
        let hold = Self::enter(&dir, sweep)?;
        let found = others(&dir, sweep, &hold.path)?;
        drop(door);
        if found.alive {
            return Ok(None);
        }
        if found.elsewhere.is_empty() {
            return Ok(Some(hold));
        }
        waits();
        let mut watched = Watched::new(found.elsewhere);
        loop {
            std::thread::sleep(beat().min(Duration::from_secs(1)));
            let found = others(&dir, sweep, &hold.path)?;
            let before = watched.seen().clone();
            let beats = |now: &Other| {
                before.iter().any(|then| then.path == now.path && then.counter != now.counter)
            };
            if found.alive || found.elsewhere.iter().any(beats) {
                return Ok(None);
            }
            if found.elsewhere.is_empty() {
                return Ok(Some(hold));
            }
            if watched.still(found.elsewhere) > lease() {
                // Dead: nothing of theirs is left to be watched again.
                watched.seen().iter().for_each(|other| forget(&other.path));
                return Ok(Some(hold));
            }
        }
    }

    /// Is known from now on.
    fn enter(dir: &Path, sweep: &str) -> Result<Self, FileError> {
        let path = dir.join(format!("{:016x}", random()));
        let machine = Machine::this();
        let scratch = scratch_beside(&path);
        let write = || {
            let mut file =
                OpenOptions::new().read(true).append(true).create_new(true).open(&scratch)?;
            file.write_all(format!("{sweep}\n{}\n", machine.name).as_bytes())?;
            let lock = machine.lock(file)?.ok_or(std::io::ErrorKind::WouldBlock)?;
            std::fs::rename(&scratch, &path)?;
            Ok(lock)
        };
        let lock = write().map_err(FileError::new("write", &path))?;
        let (stop, stopped) = mpsc::channel();
        let counter = path.with_extension(COUNTER);
        let count = move |beats: u64| {
            // A counter that cannot be written is one that stands still.
            let _ = std::fs::write(&counter, beats.to_string());
        };
        count(0);
        let thread = std::thread::spawn(move || {
            for beats in 1.. {
                if stopped.recv_timeout(beat()) != Err(mpsc::RecvTimeoutError::Timeout) {
                    break;
                }
                count(beats);
            }
        });
        Ok(Self { path, _lock: lock, beating: Some((stop, thread)) })
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.beating.take() {
            drop(stop);
            let _ = thread.join();
        }
        forget(&self.path);
    }
}

fn forget(path: &Path) {
    let _ = std::fs::remove_file(path.with_extension(COUNTER));
    let _ = std::fs::remove_file(path);
}

/// Those who look for others do so one after the other, where locks reach; nobody waits for ever.
fn door(dir: &Path) -> Result<Option<File>, FileError> {
    let path = dir.join(DOOR);
    let begin = Instant::now();
    loop {
        let file = OpenOptions::new().read(true).append(true).create(true).open(&path);
        let file = file.map_err(FileError::new("create", &path))?;
        let lock = Machine::this().lock(file).map_err(FileError::new("lock", &path))?;
        if lock.is_some() || begin.elapsed() > PATIENCE {
            return Ok(lock);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The runs of other sweeps but this one. What dead ones of this machine left is removed.
fn others(dir: &Path, sweep: &str, own: &Path) -> Result<Others, FileError> {
    let mut others = Others::default();
    for path in Os.list(dir).map_err(FileError::new("read", dir))? {
        if is_scratch(&path) && Os.is_abandoned(&path) {
            let _ = Os.remove(&path);
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let is_run = name.len() == 16 && name.bytes().all(|b| b.is_ascii_hexdigit());
        if path == own || !is_run {
            continue;
        }
        // Gone meanwhile, or nothing of ours.
        let Ok(text) = Os.read(&path, MAX_LINE) else { continue };
        let text = String::from_utf8_lossy(&text);
        let Some((theirs, machine)) = text.split_once('\n') else { continue };
        let locked = Machine::this().sees_locked(&path);
        if !locked && machine.trim() == Machine::this().name {
            forget(&path);
        } else if theirs != sweep && locked {
            others.alive = true;
        } else if theirs != sweep {
            let counter = Os.read(&path.with_extension(COUNTER), MAX_LINE).ok();
            others.elsewhere.push(Other { path, counter });
        }
    }
    Ok(others)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_held_by_any_number_of_runs_of_one_sweep_and_by_none_of_another() {
        let dir = tempfile::tempdir().unwrap();
        let take =
            |sweep| Hold::take(dir.path(), sweep, &|| panic!("nobody is elsewhere")).unwrap();
        let (first, second) = (take("one").unwrap(), take("one").unwrap());
        assert!(take("another").is_none());
        drop(first);
        assert!(take("another").is_none());
        drop(second);
        assert!(take("another").is_some());
        let left = Os.list(&dir.path().join(RUNNERS)).unwrap();
        assert_eq!(left, [dir.path().join(RUNNERS).join(DOOR)], "nothing but the door is left");
    }

    #[test]
    fn what_a_dead_run_left_is_no_hold() {
        let dir = tempfile::tempdir().unwrap();
        let runners = dir.path().join(RUNNERS);
        std::fs::create_dir(&runners).unwrap();
        let dead = runners.join("0123456789abcdef");
        std::fs::write(&dead, format!("another\n{}\n", Machine::this().name)).unwrap();
        std::fs::write(dead.with_extension(COUNTER), "7").unwrap();
        std::fs::write(runners.join(".DS_Store"), "x").unwrap();
        assert!(
            Hold::take(dir.path(), "one", &|| panic!("it is of this machine")).unwrap().is_some()
        );
        assert!(!dead.exists() && !dead.with_extension(COUNTER).exists());
    }

    #[test]
    fn of_many_sweeps_that_begin_at_once_one_holds_the_directory() {
        for _ in 0..20 {
            let dir = tempfile::tempdir().unwrap();
            let held: Vec<Hold> = std::thread::scope(|scope| {
                let take = |n: u32| Hold::take(dir.path(), &n.to_string(), &|| ()).unwrap();
                let threads: Vec<_> = (0..8).map(|n| scope.spawn(move || take(n))).collect();
                threads.into_iter().filter_map(|t| t.join().unwrap()).collect()
            });
            assert_eq!(held.len(), 1);
        }
    }
}
