//! Every record of a sweep's results, verified, and what is damaged moved aside where that is wished.

use std::path::{Path, PathBuf};

use super::Failure;
use super::results::planned;
use crate::error::exit;
use crate::fs::Os;
use crate::ledger::check::{self, Checked, Finding, Kind, move_aside};
use crate::plan::FILE as PLAN;

/// What was found, and what became of it.
#[derive(Debug)]
pub struct Verified {
    /// What was looked at.
    pub checked: Checked,
    /// What is not as it should be, with the place that it was moved to.
    pub findings: Vec<(Finding, Option<PathBuf>)>,
}

/// Verifies `results/<sweep>`; with `repair`, what is damaged and not at work is moved aside, and nothing deleted.
///
/// # Errors
///
/// [`Failure`] where the directory cannot be read, or a file cannot be moved.
pub fn check(dir: &Path, repair: bool) -> Result<Verified, Failure> {
    let mut checked = check::check(&Os, dir)?;
    let mut findings: Vec<_> = plan(dir)?.into_iter().map(|finding| (finding, None)).collect();
    let mut moved: Vec<(PathBuf, PathBuf)> = Vec::new();
    for finding in std::mem::take(&mut checked.findings) {
        // A checkpoint goes with its attempt.
        let gone = moved.iter().find_map(|(from, to)| {
            finding.path.strip_prefix(from).ok().map(|inside| to.join(inside))
        });
        let movable = repair && finding.kind == Kind::Damaged && !finding.at_work && gone.is_none();
        let moved_to = if movable { Some(move_aside(&Os, dir, &finding)?) } else { gone };
        moved.extend(moved_to.clone().map(|to| (finding.path.clone(), to)));
        findings.push((finding, moved_to));
    }
    Ok(Verified { checked, findings })
}

/// The finding that the plan is not as it was written, if it is not. It is not moved: a run writes it again.
fn plan(dir: &Path) -> Result<Option<Finding>, Failure> {
    let path = dir.join(PLAN);
    match planned(dir) {
        Err(failure) if failure.code == exit::DAMAGED => Ok(Some(Finding {
            what: failure.message.replace('\n', "\n  "),
            kind: Kind::Damaged,
            at_work: true,
            path,
        })),
        Err(failure) if path.exists() => Err(failure),
        _ => Ok(None),
    }
}
