//! Every record of a results directory, verified: logs, steps, checkpoints, weights and scores of tasks. What belongs to no record is named.

use std::path::{Path, PathBuf};

use std::time::Duration;

use super::checkpoint;
use super::lease::{self, Holder};
use super::log::{self, Attempt, read_attempts};
use super::{hold, price, sealed, tasks, weights};
use crate::error::{FileError, is_of_one_file};
use crate::fs::{Disk, is_scratch};

/// Where repairing moves what is damaged, in the results directory.
const ASIDE: &str = "damaged";
/// Where a sweep keeps what an earlier plan of the same name ended with.
pub const EARLIER: &str = "earlier";
/// What else lies in a results directory.
const KNOWN: [&str; 11] = [
    "sweep.toml",
    crate::plan::CORPUS,
    "plan.json",
    "plan.json.sha256",
    "cells",
    "ledger.csv",
    price::FILE,
    "tune.json",
    "slurm",
    ASIDE,
    EARLIER,
];
/// Looks at a record that a live runner may be changing, before it is called damaged, and the time between them.
const LOOKS: (usize, Duration) = (4, Duration::from_millis(100));

/// What was verified and what was found.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Checked {
    /// Cells with a record.
    pub cells: usize,
    /// Attempts read.
    pub attempts: usize,
    /// Checkpoints whose hashes were computed.
    pub checkpoints: usize,
    /// Attempts whose weights were hashed.
    pub weights: usize,
    /// Records of tasks.
    pub tasks: usize,
    /// In the order of the paths.
    pub findings: Vec<Finding>,
}

/// Something that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The directory of an attempt, of a checkpoint or of weights.
    pub path: PathBuf,
    /// What is wrong with it.
    pub what: String,
    /// What that means.
    pub kind: Kind,
    /// Whether a runner is at work there: it must not be moved.
    pub at_work: bool,
}

/// What a finding means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It can no longer be used.
    Damaged,
    /// It was recovered from by reading alone.
    Recovered,
    /// It is no part of a record and nothing reads it.
    Stray,
}

impl Kind {
    /// One word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Damaged => "damaged",
            Self::Recovered => "recovered",
            Self::Stray => "stray",
        }
    }
}

impl Finding {
    fn new(path: PathBuf, what: String, kind: Kind) -> Self {
        Self { path, what, kind, at_work: false }
    }

    fn stray(path: PathBuf) -> Self {
        let what = if is_scratch(&path) {
            "left by a process that was killed, or being written: nothing reads it"
        } else {
            "does not belong here: nothing reads it"
        };
        Self::new(path, what.to_owned(), Kind::Stray)
    }
}

/// Verifies all records of `results/<sweep>`.
///
/// # Errors
///
/// [`FileError`] where the process or the file server fails. What is wrong with a file or directory is a finding.
pub fn check(disk: &dyn Disk, results: &Path) -> Result<Checked, FileError> {
    let mut checked = Checked::default();
    for path in entries(disk, results, &mut checked)? {
        let name = name(&path);
        let known = KNOWN.contains(&name.as_str()) || name == hold::RUNNERS;
        if !known && !name.starts_with("tokenizer-") {
            checked.findings.push(Finding::stray(path));
        }
    }
    let cells = results.join("cells");
    if !disk.is_dir(&cells) {
        return Ok(checked);
    }
    for cell in entries(disk, &cells, &mut checked)? {
        if !is_id(&name(&cell)) {
            checked.findings.push(Finding::stray(cell));
            continue;
        }
        checked.cells += 1;
        for path in entries(disk, &cell, &mut checked)? {
            let is_attempt = log::number(&path).is_some() && disk.is_dir(&path);
            // Older records have the lock beside the directory.
            let is_lock = path.extension().is_some_and(|e| e == "lock")
                && log::number(&path.with_extension("")).is_some();
            let is_tasks = name(&path) == tasks::DIR && disk.is_dir(&path);
            if !is_attempt && !is_lock && !is_tasks {
                checked.findings.push(Finding::stray(path));
            }
        }
        let attempts = match read_attempts(disk, &cell) {
            // Named by its entries.
            Err(e) if is_of_one_file(&e.source) => Vec::new(),
            attempts => attempts?,
        };
        for attempt in attempts {
            checked.attempts += 1;
            check_attempt(disk, &cell, attempt, &mut checked)?;
        }
        check_tasks(disk, &cell, &mut checked);
    }
    Ok(checked)
}

/// What is found of the records of tasks. They are written whole, so a look is enough.
fn check_tasks(disk: &dyn Disk, cell: &Path, checked: &mut Checked) {
    for (path, record) in tasks::verify(disk, cell) {
        checked.tasks += 1;
        let what = match record {
            Err(why) => why,
            Ok(record) if record.cell.as_deref() == Some(&name(cell)) => continue,
            Ok(_) => "belongs to another model".to_owned(),
        };
        let what = format!("{what}; `isoflop eval` scores the task again");
        checked.findings.push(Finding::new(path, what, Kind::Damaged));
    }
    checked.findings.extend(tasks::strays(disk, cell).into_iter().map(Finding::stray));
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Whether a name is spelled as the id of a cell.
fn is_id(name: &str) -> bool {
    name.len() == 16 && name.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// What lies in a directory; where that cannot be read it is a finding.
fn entries(disk: &dyn Disk, dir: &Path, checked: &mut Checked) -> Result<Vec<PathBuf>, FileError> {
    match disk.list(dir) {
        Ok(found) => Ok(found),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(e) if is_of_one_file(&e) => {
            let what = format!("cannot be read: {e}");
            checked.findings.push(Finding::new(dir.to_owned(), what, Kind::Damaged));
            Ok(Vec::new())
        }
        Err(e) => Err(FileError::new("read", dir)(e)),
    }
}

/// What is found of one attempt. What a runner writes meanwhile may look damaged once, and not again.
fn check_attempt(
    disk: &dyn Disk,
    cell: &Path,
    attempt: Attempt,
    checked: &mut Checked,
) -> Result<(), FileError> {
    let number = attempt.number;
    let mut attempt = Some(attempt);
    for look in 1.. {
        // Asked before the record is read again: if it is gone by then, all that it wrote is there.
        let holder = lease::holder(cell, number);
        let again = || Ok(read_attempts(disk, cell)?.into_iter().find(|a| a.number == number));
        let Some(now) = attempt.take().map_or_else(again, |first| Ok(Some(first)))? else {
            return Ok(());
        };
        let (checkpoints, weights, mut found) = findings(disk, cell, &now)?;
        let live = holder != Holder::Gone && now.end().is_none();
        let damaged = found.iter().any(|f| f.kind == Kind::Damaged);
        // The first record was read before its holder was asked, who may have written more and be gone by now.
        if damaged && (live || look == 1) && look < LOOKS.0 {
            if live {
                std::thread::sleep(LOOKS.1);
            }
            continue;
        }
        // A line that is being written looks torn.
        found.retain(|f| !live || f.kind != Kind::Recovered);
        for finding in &mut found {
            finding.at_work = holder == Holder::Alive;
        }
        checked.checkpoints += checkpoints;
        checked.weights += weights;
        checked.findings.append(&mut found);
        break;
    }
    Ok(())
}

/// The file beside the manifest in what has such a name: a checkpoint, a fork or weights.
fn sealed_file(name: &str) -> Option<&'static str> {
    match name {
        weights::DIR => Some(weights::FILE),
        name => checkpoint::is_one(name).then_some(checkpoint::STATE),
    }
}

/// Checkpoints and weights of an attempt, and what is found of it as it was read.
fn findings(
    disk: &dyn Disk,
    cell: &Path,
    attempt: &Attempt,
) -> Result<(usize, usize, Vec<Finding>), FileError> {
    let mut found = Vec::new();
    match &attempt.damage {
        Some(why) => found.push(Finding::new(attempt.dir.clone(), why.clone(), Kind::Damaged)),
        None if attempt.torn => {
            let what = "last line torn, dropped".to_owned();
            found.push(Finding::new(attempt.dir.clone(), what, Kind::Recovered));
        }
        None => {}
    }
    let all = match checkpoint::all(disk, &attempt.dir, &name(cell), &attempt.steps) {
        Err(e) if is_of_one_file(&e.source) => Vec::new(),
        all => all?,
    };
    let checkpoints = all.len();
    for (dir, verified) in all {
        if let Err(why) = verified {
            found.push(Finding::new(dir, why, Kind::Damaged));
        }
    }
    let kept = weights::verify(disk, &attempt.dir, &name(cell));
    let weights = usize::from(kept.is_some());
    if let Some((dir, Err(why))) = kept {
        let what = format!("{why}; the cell's loss does not rest on these weights");
        found.push(Finding::new(dir, what, Kind::Damaged));
    }
    let known = |path: &Path| {
        let name = name(path);
        let files = [log::LOG, log::STEPS, lease::HEARTBEAT, lease::LOCK];
        files.contains(&name.as_str()) || sealed_file(&name).is_some() && disk.is_dir(path)
    };
    for path in disk.list(&attempt.dir).unwrap_or_default() {
        if !known(&path) {
            found.push(Finding::stray(path));
        } else if let Some(file) = sealed_file(&name(&path)) {
            let strays = sealed::strays(disk, &path, file);
            if sealed::is_visible(disk, &path) {
                found.extend(strays.into_iter().map(Finding::stray));
            } else {
                let what = "half made, not used: its writer was killed".to_owned();
                found.push(Finding::new(path, what, Kind::Recovered));
            }
        }
    }
    Ok((checkpoints, weights, found))
}

/// What [`move_aside`] has put away of the attempts at a cell.
///
/// # Errors
///
/// [`FileError`] when the directory cannot be read.
pub fn set_aside(disk: &dyn Disk, results: &Path, id: &str) -> Result<Vec<PathBuf>, FileError> {
    let aside = results.join(ASIDE);
    let found = match disk.list(&aside) {
        Ok(found) => found,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(FileError::new("read", aside)(e)),
    };
    let of = format!("{id}-attempt-");
    let own = |p: &PathBuf| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with(&of));
    Ok(found.into_iter().filter(own).collect())
}

/// Moves a damaged attempt, checkpoint or weights to `damaged/` in the results directory; nothing is deleted.
///
/// # Errors
///
/// [`FileError`] with the path.
pub fn move_aside(
    disk: &dyn Disk,
    results: &Path,
    finding: &Finding,
) -> Result<PathBuf, FileError> {
    let name = finding.path.strip_prefix(results.join("cells")).unwrap_or(&finding.path);
    let name = name.to_string_lossy().replace(['/', '\\'], "-");
    let aside = results.join(ASIDE);
    disk.create_dirs(&aside)?;
    let taken = disk.list(&aside).map_err(FileError::new("read", &aside))?;
    let free = (1..).map(|n| aside.join(if n == 1 { name.clone() } else { format!("{name}-{n}") }));
    let to = free.into_iter().find(|p| !taken.contains(p)).unwrap_or_else(|| aside.join(&name));
    disk.rename(&finding.path, &to).map_err(FileError::new("move", &finding.path))?;
    let from = finding.path.parent().unwrap_or(results);
    for dir in [from, &aside] {
        disk.sync_dir(dir).map_err(FileError::new("sync", dir))?;
    }
    Ok(to)
}
