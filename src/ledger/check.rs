//! Every record of a results directory, verified: logs, steps and checkpoints.

use std::path::{Path, PathBuf};

use super::checkpoint;
use super::lease::{self, Holder};
use super::log::{Attempt, read_attempts};
use crate::error::FileError;
use crate::fs::Disk;

/// Where repairing moves what is damaged, in the results directory.
const ASIDE: &str = "damaged";

/// What was verified and what was found.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Checked {
    /// Cells with a record.
    pub cells: usize,
    /// Attempts read.
    pub attempts: usize,
    /// Checkpoints whose hashes were computed.
    pub checkpoints: usize,
    /// In the order of the paths.
    pub findings: Vec<Finding>,
}

/// Something that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// An attempt's directory or a checkpoint's.
    pub path: PathBuf,
    /// What is wrong with it.
    pub what: String,
    /// Whether it can no longer be used; else it was recovered from by reading alone.
    pub damaged: bool,
    /// Whether a runner is at work there: it must not be moved.
    pub at_work: bool,
}

/// Verifies all records of `results/<sweep>`.
///
/// # Errors
///
/// [`FileError`] when a directory or file cannot be read. Damage is a finding.
pub fn check(disk: &dyn Disk, results: &Path) -> Result<Checked, FileError> {
    let mut checked = Checked::default();
    let cells = results.join("cells");
    let dirs = match disk.list(&cells) {
        Ok(dirs) => dirs,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(checked),
        Err(e) => return Err(FileError::new("read", cells)(e)),
    };
    for cell in dirs {
        checked.cells += 1;
        for attempt in read_attempts(disk, &cell)? {
            check_attempt(disk, &cell, &attempt, &mut checked)?;
        }
    }
    Ok(checked)
}

fn check_attempt(
    disk: &dyn Disk,
    cell: &Path,
    attempt: &Attempt,
    checked: &mut Checked,
) -> Result<(), FileError> {
    checked.attempts += 1;
    let at_work = lease::holder(cell, attempt.number) == Holder::Alive;
    let mut found = |path: &Path, what: String, damaged| {
        checked.findings.push(Finding { path: path.to_owned(), what, damaged, at_work });
    };
    match &attempt.damage {
        Some(why) => found(&attempt.dir, why.clone(), true),
        // A line that is being written looks torn.
        None if attempt.torn && !at_work => {
            found(&attempt.dir, "last line torn, dropped".to_owned(), false);
        }
        None => {}
    }
    let id = cell.file_name().unwrap_or_default().to_string_lossy();
    for (dir, verified) in checkpoint::all(disk, &attempt.dir, &id, &attempt.steps)? {
        checked.checkpoints += 1;
        if let Err(why) = verified {
            checked.findings.push(Finding { path: dir, what: why, damaged: true, at_work });
        }
    }
    Ok(())
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

/// Moves a damaged attempt or checkpoint to `damaged/` in the results directory; nothing is deleted.
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
