//! One append-only run log for each attempt: writing it durably, and reading what a crash left.
//!
//! A line is `{"v":..,"seq":..,"t":"..","event":{..},"crc":"xxxxxxxx"}`; the checksum is the CRC-32 of
//! everything before `,"crc"`. A bad last line is a torn write: it is dropped and said. A bad inner line
//! is damage: that attempt is not used.

use std::path::{Path, PathBuf};

use super::event::{Event, LOG_VERSION, Record};
use crate::error::FileError;
use crate::fs::{Appender, claim_dir, create_dirs};

/// Name of the run log in its attempt's directory.
const LOG: &str = "run.log";
/// Loss and gradient norm of every step: pairs of little-endian f32.
const STEPS: &str = "steps.f32";
/// Largest run log that is read [bytes]: a million evaluations.
const MAX_LOG: u64 = 256 << 20;
/// Steps kept in memory before they are written.
const STEPS_BUFFERED: usize = 256;
/// More attempts at one cell than this is a fault to look at, not to repeat.
const MAX_ATTEMPTS: u32 = 9999;

/// The writing end of one attempt. Only its creator writes to its directory, ever.
#[derive(Debug)]
pub struct AttemptLog {
    log: Appender,
    steps: Appender,
    buffered: Vec<u8>,
    seq: u64,
    /// Counted from 1.
    pub attempt: u32,
}

impl AttemptLog {
    /// Claims the next attempt of a cell and starts its log. `clock` is the time for people.
    ///
    /// # Errors
    ///
    /// [`FileError`] with the path.
    pub fn start(cell_dir: &Path, event: Event, clock: String) -> Result<Self, FileError> {
        create_dirs(cell_dir)?;
        let mut attempt = 1;
        let dir = loop {
            let dir = cell_dir.join(format!("attempt-{attempt:04}"));
            if claim_dir(&dir)? {
                break dir;
            }
            attempt += 1;
            if attempt > MAX_ATTEMPTS {
                let full =
                    std::io::Error::other(format!("{MAX_ATTEMPTS} attempts are there already"));
                return Err(FileError::new("create", dir)(full));
            }
        };
        let log = Appender::create(&dir.join(LOG))?;
        let steps = Appender::create(&dir.join(STEPS))?;
        let mut this = Self { log, steps, buffered: Vec::new(), seq: 0, attempt };
        this.event(event, clock)?;
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
        if self.buffered.len() >= STEPS_BUFFERED * 8 { self.flush(false) } else { Ok(()) }
    }

    fn flush(&mut self, sync: bool) -> Result<(), FileError> {
        self.steps.append(&self.buffered, sync)?;
        self.buffered.clear();
        Ok(())
    }

    /// Appends an event; durable when this returns, and all steps before it too.
    ///
    /// # Errors
    ///
    /// [`FileError`] with the path.
    pub fn event(&mut self, event: Event, clock: String) -> Result<(), FileError> {
        self.flush(true)?;
        let record = Record { v: LOG_VERSION, seq: self.seq, t: clock, event };
        self.log.append(line(&record).as_bytes(), true)?;
        self.seq += 1;
        Ok(())
    }
}

fn line(record: &Record) -> String {
    let json = serde_json::to_string(record).expect("events have no map with other keys than text");
    let body = &json[..json.len() - 1];
    format!("{body},\"crc\":\"{:08x}\"}}\n", crc32fast::hash(body.as_bytes()))
}

/// What one attempt's directory says.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    /// Its directory.
    pub dir: PathBuf,
    /// Events in order, as far as they can be trusted.
    pub events: Vec<Event>,
    /// The last line was torn and dropped.
    pub torn: bool,
    /// An inner line does not check: the attempt must not be used.
    pub damage: Option<String>,
}

/// Reads every attempt of a cell, by number. A cell never started has none.
///
/// # Errors
///
/// [`FileError`] when a directory or file cannot be read. Damage is not an error but a finding.
pub fn read_attempts(cell_dir: &Path) -> Result<Vec<Attempt>, FileError> {
    let entries = match std::fs::read_dir(cell_dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(FileError::new("read", cell_dir)(e)),
    };
    let mut dirs = Vec::new();
    for entry in entries {
        let path = entry.map_err(FileError::new("read", cell_dir))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("attempt-") && path.is_dir() {
            dirs.push(path);
        }
    }
    dirs.sort();
    dirs.iter().map(|dir| read(dir)).collect()
}

fn read(dir: &Path) -> Result<Attempt, FileError> {
    let path = dir.join(LOG);
    let mut attempt =
        Attempt { dir: dir.to_owned(), events: Vec::new(), torn: false, damage: None };
    let bytes = match std::fs::metadata(&path) {
        // Claimed, then cut before the first event.
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(attempt),
        Err(e) => return Err(FileError::new("read", path)(e)),
        Ok(meta) if meta.len() > MAX_LOG => {
            attempt.damage = Some(format!("{}: longer than {MAX_LOG} bytes", path.display()));
            return Ok(attempt);
        }
        Ok(_) => std::fs::read(&path).map_err(FileError::new("read", &path))?,
    };
    let lines: Vec<&[u8]> = bytes.split_inclusive(|b| *b == b'\n').collect();
    for (i, raw) in lines.iter().enumerate() {
        match check(raw, i as u64) {
            Ok(event) => attempt.events.push(event),
            // A torn write can only be the last line, and it has no line end.
            Err(_) if i + 1 == lines.len() && !raw.ends_with(b"\n") => attempt.torn = true,
            Err(why) => {
                attempt.damage = Some(format!("{}:{}: {why}", path.display(), i + 1));
                break;
            }
        }
    }
    Ok(attempt)
}

/// One line, with its checksum, its version and its place in the sequence.
fn check(raw: &[u8], seq: u64) -> Result<Event, String> {
    let text = std::str::from_utf8(raw).map_err(|e| e.to_string())?;
    let text = text.strip_suffix('\n').ok_or("no line end")?;
    let (body, crc) = text.rsplit_once(",\"crc\":\"").ok_or("no checksum")?;
    let want = format!("{:08x}\"}}", crc32fast::hash(body.as_bytes()));
    if crc != want {
        return Err("checksum does not match".to_owned());
    }
    let record: Record = serde_json::from_str(&format!("{body}}}")).map_err(|e| e.to_string())?;
    if record.v > LOG_VERSION {
        return Err(format!("written by a newer isoflop (format {})", record.v));
    }
    if record.seq != seq {
        return Err(format!("line {} where {seq} should be", record.seq));
    }
    Ok(record.event)
}

/// Loss of every step of an attempt [nats/token]; empty when the file is missing.
pub fn read_losses(dir: &Path) -> Vec<f32> {
    let bytes = std::fs::read(dir.join(STEPS)).unwrap_or_default();
    bytes
        .chunks_exact(8)
        .map(|pair| f32::from_le_bytes([pair[0], pair[1], pair[2], pair[3]]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn eval(step: u64) -> Event {
        Event::Eval { step, tokens: 10 * step, flops: 1e3, loss: 0.1 + step as f64 / 3.0 }
    }

    fn write(dir: &Path, events: u64) -> PathBuf {
        let mut log = AttemptLog::start(dir, eval(0), "now".into()).unwrap();
        for i in 1..events {
            log.step(i as f32, 0.5).unwrap();
            log.event(eval(i), "now".into()).unwrap();
        }
        dir.join(format!("attempt-{:04}", log.attempt)).join(LOG)
    }

    #[test]
    fn what_was_written_is_read_back_exactly() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), 5);
        write(dir.path(), 2);
        let attempts = read_attempts(dir.path()).unwrap();
        assert_eq!(attempts.len(), 2, "each start claims an attempt of its own");
        assert_eq!(attempts[0].events, (0..5).map(eval).collect::<Vec<_>>());
        assert_eq!(attempts[0].damage, None);
        assert_eq!(read_losses(&attempts[0].dir), [1.0, 2.0, 3.0, 4.0]);
    }

    #[test]
    fn a_log_cut_at_any_byte_loses_at_most_its_last_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = write(dir.path(), 4);
        let whole = std::fs::read(&path).unwrap();
        let ends: Vec<usize> =
            whole.iter().enumerate().filter(|(_, b)| **b == b'\n').map(|(i, _)| i + 1).collect();
        for cut in 0..whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let attempt = &read_attempts(dir.path()).unwrap()[0];
            let complete = ends.iter().filter(|e| **e <= cut).count();
            assert_eq!(attempt.events.len(), complete, "cut at {cut}");
            assert_eq!(attempt.damage, None, "cut at {cut}");
            assert_eq!(attempt.torn, cut > 0 && !ends.contains(&cut));
        }
    }

    #[test]
    fn every_flipped_bit_of_an_inner_line_is_detected() {
        let dir = tempfile::tempdir().unwrap();
        let path = write(dir.path(), 3);
        let whole = std::fs::read(&path).unwrap();
        let first = whole.iter().position(|b| *b == b'\n').unwrap();
        for bit in 0..first * 8 {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            std::fs::write(&path, &bytes).unwrap();
            let attempt = &read_attempts(dir.path()).unwrap()[0];
            let damage = attempt.damage.as_ref().unwrap_or_else(|| panic!("bit {bit} unnoticed"));
            assert!(damage.contains("run.log:1"), "{damage}");
        }
    }

    #[test]
    fn repeated_dropped_and_swapped_lines_are_damage() {
        let dir = tempfile::tempdir().unwrap();
        let path = write(dir.path(), 4);
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        for order in [vec![0, 0, 1, 2, 3], vec![0, 2, 3], vec![0, 2, 1, 3]] {
            let edited: String = order.iter().map(|i| lines[*i]).collect();
            std::fs::write(&path, edited).unwrap();
            assert!(read_attempts(dir.path()).unwrap()[0].damage.is_some(), "{order:?}");
        }
    }
}
