//! Which unit is next, for one of any number of workers on any number of machines.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use super::work::{WORK, write_whole};
use super::{DataError, Work};
use crate::error::{FileError, InputError};
use crate::fs::{Disk as _, Os, read_file};
use crate::ledger::lease::{self, Holder, Lease, Watched};
use crate::ledger::log;

/// Workers that died over a unit before it is given up.
const MOST_DEATHS: usize = 3;
/// How long a worker waits before it looks again for a unit that is free: at first, and where others take long. Many
/// workers on many machines ask one file server.
const WAITS: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(2)];
/// Longest reason of a failure that is read [bytes].
const MAX_REASON: u64 = 1 << 16;

/// What is done with units, one stage after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    /// Documents are judged.
    Judge,
    /// Copies are found.
    Resolve,
    /// The tokenizer is made.
    Tokenizer,
    /// Shards are written.
    Write,
    /// The manifest is written.
    Seal,
}

impl Stage {
    /// In their order.
    pub const ALL: [Self; 5] =
        [Self::Judge, Self::Resolve, Self::Tokenizer, Self::Write, Self::Seal];

    /// Its directory.
    pub fn name(self) -> &'static str {
        match self {
            Self::Judge => "judge",
            Self::Resolve => "resolve",
            Self::Tokenizer => "tokenizer",
            Self::Write => "write",
            Self::Seal => "seal",
        }
    }

    /// Units of it.
    pub fn units(self, work: &Work) -> usize {
        match self {
            Self::Judge | Self::Write => work.units.len(),
            Self::Resolve | Self::Tokenizer | Self::Seal => 1,
        }
    }
}

/// What a worker does next.
#[derive(Debug)]
pub enum Next {
    /// This unit, which it holds.
    Take(Stage, usize, Lease),
    /// Others hold what is left of a stage.
    Wait,
    /// Nothing: all is done.
    Done,
}

/// An attempt and its heartbeat.
type Beat = (u32, Option<u64>);

/// A worker's view of what is done.
#[derive(Debug, Default)]
pub struct Queue {
    done: std::collections::HashSet<(Stage, usize)>,
    watched: HashMap<(Stage, usize), Watched<Beat>>,
}

impl Queue {
    /// The next unit that is free.
    ///
    /// # Errors
    ///
    /// [`DataError`]: the units that failed, once nothing else is left of their stage; or what the disk says.
    pub fn next(&mut self, work: &Work) -> Result<Next, DataError> {
        // Its work is removed then.
        if self.is_done(work, Stage::Seal, 0) {
            return Ok(Next::Done);
        }
        for stage in Stage::ALL {
            let (mut open, mut failed) = (false, Vec::new());
            for unit in 0..stage.units(work) {
                if self.is_done(work, stage, unit) {
                    continue;
                }
                if let Some(why) = failure(work, stage, unit) {
                    failed.push(why);
                    continue;
                }
                let Some(lease) = self.claim(work, stage, unit)? else {
                    open = true;
                    continue;
                };
                // All may have been done in the meantime, and `work/` removed: this claim made it again.
                if self.is_done(work, Stage::Seal, 0) {
                    drop(lease);
                    let _ = Os.remove(&work.dir.join(WORK));
                    return Ok(Next::Done);
                }
                if !self.is_done(work, stage, unit) {
                    return Ok(Next::Take(stage, unit, lease));
                }
            }
            if !failed.is_empty() && !open {
                return Err(InputError::new(
                    failed.join("\n"),
                    "mend that, then repeat the command: it does what is left",
                )
                .into());
            }
            if open || !failed.is_empty() {
                return Ok(Next::Wait);
            }
        }
        Ok(Next::Done)
    }

    /// Whether a unit is done.
    pub fn is_done(&mut self, work: &Work, stage: Stage, unit: usize) -> bool {
        self.done.contains(&(stage, unit)) || {
            let there = match stage {
                Stage::Seal => work.dir.join(crate::corpus::manifest::FILE).exists(),
                _ => work.file(stage.name(), unit, "json").exists(),
            };
            there && self.done.insert((stage, unit))
        }
    }

    fn claim(
        &mut self,
        work: &Work,
        stage: Stage,
        unit: usize,
    ) -> Result<Option<Lease>, DataError> {
        let dir = claims(work, stage, unit);
        let attempts = log::numbered(&Os, &dir)?;
        let Some((last, _)) = attempts.last() else { return Ok(Lease::claim(&dir, 1)?) };
        let gone = match lease::holder(&dir, *last) {
            Holder::Alive => false,
            Holder::Gone => true,
            Holder::Elsewhere => {
                let now = (*last, lease::heartbeat(&dir, *last));
                let watched =
                    self.watched.entry((stage, unit)).or_insert_with(|| Watched::new(now));
                watched.still(now) > lease::lease()
            }
        };
        if !gone {
            return Ok(None);
        }
        if attempts.len() >= MOST_DEATHS {
            let name = stage.name();
            let what = work.units.get(unit).and_then(|u| u.parts.first());
            let of = what.map_or_else(String::new, |p| format!(" of `{}`", p.file.path.display()));
            fail(
                work,
                stage,
                unit,
                &format!("{name}{of}: {MOST_DEATHS} workers ended over it without a result"),
            )?;
            return Ok(None);
        }
        Ok(Lease::claim(&dir, last + 1)?)
    }
}

fn claims(work: &Work, stage: Stage, unit: usize) -> PathBuf {
    work.dir.join(WORK).join("claims").join(format!("{}-{unit:05}", stage.name()))
}

/// Records that a unit cannot be done.
fn fail(work: &Work, stage: Stage, unit: usize, why: &str) -> Result<(), DataError> {
    write_whole(&work.file(stage.name(), unit, "failed"), why.as_bytes())
}

/// Why a unit cannot be done, if somebody found that.
pub(super) fn failure(work: &Work, stage: Stage, unit: usize) -> Option<String> {
    let path = work.file(stage.name(), unit, "failed");
    let text = read_file(&path, MAX_REASON).ok()?;
    Some(String::from_utf8_lossy(&text).into_owned())
}

impl Work {
    /// Does units until all is done. `progress` is told the stage and bytes of input as they are read; `halt` ends it
    /// between units.
    ///
    /// # Errors
    ///
    /// [`DataError`]: the units that failed, or what the disk says.
    pub fn work(
        &self,
        progress: &(dyn Fn(Stage, u64) + Sync),
        halt: &(dyn Fn() -> bool + Sync),
    ) -> Result<bool, DataError> {
        let mut queue = Queue::default();
        let mut wait = WAITS[0];
        while !halt() {
            match queue.next(self)? {
                Next::Done => return Ok(true),
                Next::Wait => {
                    std::thread::sleep(wait);
                    wait = (2 * wait).min(WAITS[1]);
                }
                Next::Take(stage, unit, lease) => {
                    wait = WAITS[0];
                    let done =
                        held(lease, || self.perform(stage, unit, &|bytes| progress(stage, bytes)));
                    match done {
                        Ok(()) => {}
                        // Its input is at fault: the others go on.
                        Err(DataError::Input(e)) if stage != Stage::Seal => {
                            fail(self, stage, unit, &e.to_string())?;
                        }
                        Err(e) => return Err(e),
                    }
                }
            }
        }
        Ok(false)
    }

    /// Forgets which units failed and over which workers ended, since the command was given again: who killed those
    /// before may have had a reason that is no unit's.
    ///
    /// # Errors
    ///
    /// [`DataError`] with the path.
    pub fn retry(&self) -> Result<(), DataError> {
        let remove = |path: PathBuf| Os.remove(&path).map_err(FileError::new("remove", path));
        for stage in Stage::ALL {
            for unit in 0..stage.units(self) {
                let failed = self.file(stage.name(), unit, "failed");
                let claims = claims(self, stage, unit);
                let last = log::numbered(&Os, &claims)?.pop();
                if last.is_some_and(|(last, _)| lease::holder(&claims, last) == Holder::Gone) {
                    remove(claims)?;
                }
                if failed.exists() {
                    remove(failed)?;
                }
            }
        }
        Ok(())
    }
}

/// Does something while the heartbeat of its lease goes on.
fn held<T: Send>(mut lease: Lease, something: impl FnOnce() -> T) -> T {
    let (done, ended) = std::sync::mpsc::channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            use std::sync::mpsc::RecvTimeoutError::Timeout;
            while ended.recv_timeout(lease::beat()) == Err(Timeout) {
                lease.beat();
            }
        });
        let result = something();
        drop(done);
        result
    })
}
