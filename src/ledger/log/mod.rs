//! One append-only run log for each attempt: writing it durably, and reading what a crash left.
//!
//! A line is `{"v":..,"seq":..,"t":"..","event":{..},"crc":"xxxxxxxx"}`; the checksum is the CRC-32 of
//! everything before `,"crc"`. A bad last line is a torn write: it is dropped and said. A bad inner line
//! is damage: that attempt is not used.

use std::path::{Path, PathBuf};

use super::event::{Event, LOG_VERSION, Record, Resumed};
use crate::error::{FileError, is_of_one_file};
use crate::fs::{Appender, Disk, Os};
use crate::seal::{seal, unseal};

/// Name of the run log in its attempt's directory.
pub const LOG: &str = "run.log";
/// Loss and gradient norm of every step: pairs of little-endian f32.
pub(super) const STEPS: &str = "steps.f32";
/// Bytes of a step there.
pub const STEP_BYTES: u64 = 8;
/// Largest run log that is read [bytes]: a million evaluations.
pub const MAX_LOG: u64 = 256 << 20;
/// Largest record of steps that is read [bytes]: a hundred million steps.
const MAX_STEPS: u64 = 800 << 20;
/// Steps kept in memory before they are written.
const STEPS_BUFFERED: usize = 256;

/// The writing end of one attempt. Only its creator writes to its directory, ever.
#[derive(Debug)]
pub struct AttemptLog {
    log: Appender,
    steps: Appender,
    buffered: Vec<u8>,
    seq: u64,
    written: u64,
    hash: crc32fast::Hasher,
}

/// What an attempt repeats of the one it goes on from: the whole way to its first own step.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct History {
    /// Evaluations.
    pub evals: Vec<Event>,
    /// Contents of `steps.f32`.
    pub steps: Vec<u8>,
}

impl AttemptLog {
    /// Starts the log of an attempt in a directory that its holder created. `clock` is the time for people.
    ///
    /// # Errors
    ///
    /// [`FileError`] with the path.
    pub fn start(
        disk: &dyn Disk,
        dir: &Path,
        event: Event,
        history: &History,
        clock: &dyn Fn() -> String,
    ) -> Result<Self, FileError> {
        let log = disk.appender(&dir.join(LOG))?;
        let steps = disk.appender(&dir.join(STEPS))?;
        let (buffered, hash) = (Vec::new(), crc32fast::Hasher::new());
        let mut this = Self { log, steps, buffered, seq: 0, written: 0, hash };
        this.buffered.extend_from_slice(&history.steps);
        this.event(event, clock())?;
        for eval in &history.evals {
            this.event(eval.clone(), clock())?;
        }
        Ok(this)
    }

    /// Notes one training step. Durable with the next event, at the latest.
    ///
    /// # Errors
    ///
    /// [`FileError`] with the path.
    pub fn step(&mut self, loss: f32, grad_norm: f32) -> Result<(), FileError> {
        self.buffered.extend_from_slice(&loss.to_le_bytes());
        self.buffered.extend_from_slice(&grad_norm.to_le_bytes());
        let full = self.buffered.len() >= STEPS_BUFFERED * STEP_BYTES as usize;
        if full { self.flush(false) } else { Ok(()) }
    }

    fn flush(&mut self, sync: bool) -> Result<(), FileError> {
        self.steps.append(&self.buffered, sync)?;
        self.hash.update(&self.buffered);
        self.written += self.buffered.len() as u64;
        self.buffered.clear();
        Ok(())
    }

    /// Makes all steps so far durable; the length of their record [bytes] and its CRC-32.
    ///
    /// # Errors
    ///
    /// [`FileError`] with the path.
    pub fn sync_steps(&mut self) -> Result<(u64, u32), FileError> {
        self.flush(true)?;
        Ok((self.written, self.hash.clone().finalize()))
    }

    /// Appends an event; durable when this returns, and all steps before it too.
    ///
    /// # Errors
    ///
    /// [`FileError`] with the path.
    pub fn event(&mut self, event: Event, clock: String) -> Result<(), FileError> {
        self.flush(true)?;
        let record = Record { v: LOG_VERSION, seq: self.seq, t: clock, event };
        self.log.append(seal(&record).as_bytes(), true)?;
        self.seq += 1;
        Ok(())
    }
}

/// What one attempt's directory says.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    /// Counted from 1.
    pub number: u32,
    /// Its directory.
    pub dir: PathBuf,
    /// Events in order, as far as they can be trusted.
    pub events: Vec<Event>,
    /// The last line was torn and dropped.
    pub torn: bool,
    /// An inner line does not check: the attempt must not be used.
    pub damage: Option<String>,
    /// Contents of `steps.f32`.
    pub steps: Vec<u8>,
    /// Completed, and its `steps.f32` is not there: a study that was published by its logs alone. The
    /// loss stands, the curve is gone.
    pub archived: bool,
}

impl Attempt {
    /// The event after which nothing follows.
    pub fn end(&self) -> Option<&Event> {
        self.events.last().filter(|e| e.is_last())
    }

    /// What it went on from.
    pub fn resumed(&self) -> Option<Resumed> {
        match self.events.first() {
            Some(Event::Started { resumed, .. }) => resumed.clone(),
            _ => None,
        }
    }

    /// Steps taken over from another cell's trunk.
    pub fn taken_over(&self) -> u64 {
        self.resumed().filter(|r| r.cell.is_some()).map_or(0, |r| r.step)
    }

    /// Steps that are recorded.
    pub fn taken(&self) -> u64 {
        self.steps.len() as u64 / STEP_BYTES
    }

    /// Steps that are its own: not those it repeats from the attempt it went on from. None before its first
    /// event, for what is repeated is written ahead of it.
    pub fn advanced(&self) -> u64 {
        match self.events.first() {
            Some(_) => self.taken().saturating_sub(self.resumed().map_or(0, |r| r.step)),
            None => 0,
        }
    }

    /// What an attempt that goes on from here after `step` steps repeats.
    pub fn history(&self, step: u64) -> History {
        let before = |e: &&Event| matches!(e, Event::Eval { step: at, .. } if *at <= step);
        let evals = self.events.iter().filter(before).cloned().collect();
        History { evals, steps: self.steps[..(step * STEP_BYTES) as usize].to_vec() }
    }
}

/// Most attempts at a cell.
const MAX_ATTEMPTS: u32 = 999_999;

/// The number in the name of an attempt's directory, spelled as it is written.
pub fn number(path: &Path) -> Option<u32> {
    let name = path.file_name()?.to_str()?;
    let number = name.strip_prefix("attempt-")?.parse().ok()?;
    let canonical = (1..=MAX_ATTEMPTS).contains(&number) && name == format!("attempt-{number:04}");
    canonical.then_some(number)
}

/// Directories of a cell's attempts, by number. A cell never started has none; what is no directory is no attempt.
///
/// # Errors
///
/// [`FileError`] when the cell's directory cannot be read.
pub fn numbered(disk: &dyn Disk, cell_dir: &Path) -> Result<Vec<(u32, PathBuf)>, FileError> {
    let entries = match disk.list(cell_dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(FileError::new("read", cell_dir)(e)),
    };
    let attempts = entries.into_iter().filter(|p| number(p).is_some() && disk.is_dir(p));
    let mut numbered: Vec<(u32, PathBuf)> =
        attempts.filter_map(|p| Some((number(&p)?, p))).collect();
    numbered.sort();
    Ok(numbered)
}

/// The newest attempt of a cell and how long its log is [bytes]; nothing where there is none.
pub fn newest(disk: &dyn Disk, cell_dir: &Path) -> Option<(u32, u64)> {
    let (number, dir) = numbered(disk, cell_dir).ok()?.pop()?;
    Some((number, dir.join(LOG).metadata().ok()?.len()))
}

/// The number of the attempt after these: the next that is free, or that another claims meanwhile. What is no
/// attempt is passed over.
pub fn next(disk: &dyn Disk, cell_dir: &Path, attempts: &[Attempt]) -> u32 {
    let entries = disk.list(cell_dir).unwrap_or_default();
    let stray = |n: u32| entries.iter().any(|p| number(p) == Some(n) && !disk.is_dir(p));
    let first = attempts.last().map_or(1, |a| a.number + 1);
    (first..=MAX_ATTEMPTS).find(|n| !stray(*n)).unwrap_or(first)
}

/// Reads every attempt of a cell, by number.
///
/// # Errors
///
/// [`FileError`] when a directory or file cannot be read. Damage is not an error but a finding.
pub fn read_attempts(disk: &dyn Disk, cell_dir: &Path) -> Result<Vec<Attempt>, FileError> {
    let attempts = numbered(disk, cell_dir)?.into_iter();
    attempts.map(|(number, dir)| read(disk, cell_dir, number, dir)).collect()
}

fn read(disk: &dyn Disk, cell_dir: &Path, number: u32, dir: PathBuf) -> Result<Attempt, FileError> {
    let path = dir.join(LOG);
    // States and weights are found by their names.
    let unlisted = match disk.list(&dir) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
        Err(e) if is_of_one_file(&e) => Some(format!("{}: {e}", dir.display())),
        Err(e) => return Err(FileError::new("read", dir)(e)),
        Ok(_) => None,
    };
    let bytes = |name: &str, most| match disk.read(&dir.join(name), most) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Ok(None)),
        Err(e) if is_of_one_file(&e) => Ok(Err(format!("{}: {e}", dir.join(name).display()))),
        Err(e) => Err(FileError::new("read", dir.join(name))(e)),
        Ok(bytes) => Ok(Ok(Some(bytes))),
    };
    let (log, steps) = (bytes(LOG, MAX_LOG)?, bytes(STEPS, MAX_STEPS)?);
    let damage = unlisted.or_else(|| log.as_ref().err().or(steps.as_ref().err()).cloned());
    let gone = matches!(steps, Ok(None));
    // Without a log: claimed, then cut before the first event.
    let (log, steps) = (log.ok().flatten().unwrap_or_default(), steps.ok().flatten());
    let steps = steps.unwrap_or_default();
    let (mut events, mut torn, mut damage) = (Vec::new(), false, damage);
    let lines: Vec<&[u8]> = log.split_inclusive(|b| *b == b'\n').collect();
    for (i, raw) in lines.iter().enumerate() {
        match check(raw, i as u64) {
            Ok(event) => events.push(event),
            // A torn write can only be the last line, and it has no line end.
            Err(_) if i + 1 == lines.len() && !raw.ends_with(b"\n") => torn = true,
            Err(why) => {
                damage = Some(format!("{}:{}: {why}", path.display(), i + 1));
                break;
            }
        }
    }
    if damage.is_none() {
        let what = events.first().and_then(|event| misplaced(event, cell_dir));
        damage = what.map(|what| format!("{}: {what}", path.display()));
    }
    let completed = matches!(events.last(), Some(Event::Completed { .. }));
    let archived = completed && gone;
    if damage.is_none() && !archived {
        damage = events
            .iter()
            .find_map(|event| unrecorded(event, &steps))
            .map(|what| format!("{}: {what}", dir.join(STEPS).display()));
    }
    Ok(Attempt { number, dir, events, torn, damage, steps, archived })
}

/// One line, with its checksum, its version and its place in the sequence.
fn check(raw: &[u8], seq: u64) -> Result<Event, String> {
    let record: Record = unseal(raw)?;
    if record.v > LOG_VERSION {
        return Err(format!("written by a newer isoflop (format {})", record.v));
    }
    if record.seq != seq {
        return Err(format!("line {} where {seq} should be", record.seq));
    }
    Ok(record.event)
}

/// Why an attempt that began so is none at the cell in whose directory it lies.
fn misplaced(first: &Event, cell_dir: &Path) -> Option<String> {
    let Event::Started { cell, .. } = first else { return None };
    let (made, place) = (cell.recipe.id(), cell_dir.file_name()?.to_string_lossy());
    if made != cell.id {
        return Some(format!("its cell is called {}, its recipe makes it {made}", cell.id));
    }
    (cell.id != place).then(|| format!("belongs to cell {}", cell.id))
}

/// Why the record of steps is not what an event says.
fn unrecorded(event: &Event, steps: &[u8]) -> Option<String> {
    let (step, crc) = match event {
        Event::Checkpoint { step, steps_crc } => (Some(*step), *steps_crc),
        Event::Completed { steps_crc: Some(crc), .. } => (None, *crc),
        _ => return None,
    };
    let length = step.map_or(steps.len(), |step| (step * STEP_BYTES) as usize);
    match steps.get(..length) {
        None => Some(format!("has fewer than {} steps", length as u64 / STEP_BYTES)),
        Some(seen) if crc32fast::hash(seen) != crc => Some("checksum does not match".to_owned()),
        Some(_) => None,
    }
}

/// Loss of every step of an attempt [nats/token]; empty when the file is missing.
pub fn read_losses(dir: &Path) -> Vec<f32> {
    let bytes = Os.read(&dir.join(STEPS), MAX_STEPS).unwrap_or_default();
    bytes
        .chunks_exact(STEP_BYTES as usize)
        .map(|pair| f32::from_le_bytes([pair[0], pair[1], pair[2], pair[3]]))
        .collect()
}

#[cfg(test)]
mod tests;
