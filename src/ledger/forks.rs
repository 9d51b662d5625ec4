//! How long the forks of a trunk are kept: until it and all branches that the plan has of it are completed.
//!
//! A branch begins at a fork, and a completed one is never trained again, so that no runner can want a fork any more;
//! which runner completed what does not matter. A branch that a wider sweep adds later begins at what else is left: at
//! a checkpoint of the trunk or of a branch (each begins with a copy of its fork), or with fresh weights. It ends with
//! the same bits wherever it begins.

use std::collections::BTreeSet;
use std::path::Path;

use super::log::numbered;
use super::{Ledger, State, cell_dir, checkpoint, look};
use crate::error::FileError;
use crate::fs::Os;
use crate::plan::Cell;

/// Removes the forks of the trunk that a cell is, or branches from, where nobody can want them any more; how many there
/// were.
///
/// # Errors
///
/// [`FileError`] where a record cannot be read or a fork not be removed.
pub fn release(results: &Path, cell: &Cell, planned: &[Cell]) -> Result<usize, FileError> {
    let family: Vec<&Cell> = planned.iter().filter(|c| trunk(c) == trunk(cell)).collect();
    if family.len() < 2 {
        return Ok(0);
    }
    for cell in &family {
        if !completed(&look(&cell_dir(results, &cell.id))?.1) {
            return Ok(0);
        }
    }
    family.into_iter().map(|cell| remove(results, cell)).sum()
}

/// The same for every trunk, as it was read: what a runner that was killed in between has left.
///
/// # Errors
///
/// [`FileError`] where a fork cannot be removed.
pub fn release_all(results: &Path, ledger: &Ledger) -> Result<usize, FileError> {
    let cells = || ledger.cells.iter();
    let shared: BTreeSet<&str> = cells().filter_map(|(c, _)| c.trunk.as_deref()).collect();
    let open: BTreeSet<&str> =
        cells().filter(|(_, state)| !completed(state)).map(|(c, _)| trunk(c)).collect();
    let settled = |c: &Cell| shared.contains(trunk(c)) && !open.contains(trunk(c));
    cells().filter(|(c, _)| settled(c)).map(|(c, _)| remove(results, c)).sum()
}

/// Id of the trunk that a cell is or branches from.
fn trunk(cell: &Cell) -> &str {
    cell.trunk.as_ref().unwrap_or(&cell.id)
}

fn completed(state: &State) -> bool {
    matches!(state, State::Completed { .. })
}

/// Of all attempts of a cell; also of a branch, which was the trunk of a narrower plan.
fn remove(results: &Path, cell: &Cell) -> Result<usize, FileError> {
    let attempts = numbered(&Os, &cell_dir(results, &cell.id))?.into_iter();
    attempts.map(|(_, attempt)| checkpoint::remove_forks(&Os, &attempt)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::checkpoint::{Manifest, save_fork};
    use crate::ledger::event::{self, Event};
    use crate::ledger::lease::attempt_dir;
    use crate::ledger::log::{AttemptLog, History};
    use crate::plan::tests::{SWEEP, plan};

    /// One size at three horizons: a trunk and two branches.
    fn cells() -> Vec<Cell> {
        let grid = "[grid.product]\nparams = [1e4]\ntokens = [1e6, 2e6, 4e6]\n";
        let optim = "[optim]\nlearning_rate = 0.01\nbatch_tokens = 2048\n";
        let trunk = "[schedule.trunk]\nwarmup = 0.5\ndecay = 0.2\nend = 0.0\n";
        let cells =
            plan(&format!("{}{grid}{optim}{trunk}", &SWEEP[..SWEEP.find("[grid").unwrap()])).cells;
        assert!(cells.len() == 3 && cells[0].trunk.is_none());
        cells
    }

    /// An attempt at a cell with its last event, and forks where it is the trunk.
    fn attempt(results: &Path, cell: &Cell, number: u32, last: Option<Event>, forks: &[u64]) {
        let dir = attempt_dir(&cell_dir(results, &cell.id), number);
        std::fs::create_dir_all(&dir).unwrap();
        let started = event::tests::started(cell.clone(), None);
        let clock = || "now".to_owned();
        let mut log = AttemptLog::start(&Os, &dir, started, &History::default(), &clock).unwrap();
        for step in forks {
            let manifest = Manifest {
                v: 0,
                cell: cell.id.clone(),
                step: *step,
                evaluated: None,
                bad_steps: 0,
                seconds: 0.0,
                bytes: 0,
                sha256: String::new(),
                steps_bytes: 0,
                steps_crc: 0,
            };
            save_fork(&Os, &dir, manifest, b"state").unwrap();
        }
        if let Some(event) = last {
            log.event(event, clock()).unwrap();
        }
    }

    fn done() -> Event {
        let (loss, loss_se, seconds, tokens_per_second) = (1.0, 0.0, 1.0, 1.0);
        Event::Completed { loss, loss_se, seconds, tokens_per_second, steps_crc: None }
    }

    fn forks(results: &Path, cell: &Cell) -> usize {
        let attempts = numbered(&Os, &cell_dir(results, &cell.id)).unwrap().into_iter();
        let names = attempts.flat_map(|(_, dir)| std::fs::read_dir(dir).unwrap());
        let is_fork = |name: &std::ffi::OsString| name.to_string_lossy().starts_with("fork-");
        names.map(|e| e.unwrap().file_name()).filter(is_fork).count()
    }

    fn release_by(all: bool, results: &Path, cells: &[Cell]) -> usize {
        if all {
            return release_all(results, &Ledger::read(results, cells).unwrap()).unwrap();
        }
        release(results, &cells[1], cells).unwrap()
    }

    #[test]
    fn forks_stay_until_the_trunk_and_all_its_branches_are_completed() {
        let cells = cells();
        let diverged = || Some(Event::Diverged { step: 1, why: "NaN".into() });
        for all in [false, true] {
            // What the trunk and the second branch came to; never begun for no attempt.
            for (trunk, second) in [
                (Some(done()), None),
                (Some(done()), Some(None)),
                (Some(done()), Some(diverged())),
                (None, Some(Some(done()))),
            ] {
                let results = tempfile::tempdir().unwrap();
                let results = results.path();
                attempt(results, &cells[0], 1, trunk.clone(), &[390, 782]);
                attempt(results, &cells[1], 1, Some(done()), &[]);
                if let Some(last) = second.clone() {
                    attempt(results, &cells[2], 1, last, &[]);
                }
                assert_eq!(release_by(all, results, &cells), 0, "{trunk:?} {second:?}");
                assert_eq!(forks(results, &cells[0]), 2, "{trunk:?} {second:?}");
                let checked = crate::ledger::check::check(&Os, results).unwrap();
                assert_eq!(checked.checkpoints, 2, "{checked:?}");
            }
        }
    }

    #[test]
    fn forks_that_nobody_can_want_are_removed_from_all_attempts_and_nothing_else() {
        let cells = cells();
        for all in [false, true] {
            let results = tempfile::tempdir().unwrap();
            let results = results.path();
            attempt(results, &cells[0], 1, None, &[390]);
            attempt(results, &cells[0], 2, Some(done()), &[390, 782]);
            // The trunk of a narrower plan, once.
            attempt(results, &cells[1], 1, Some(done()), &[390]);
            attempt(results, &cells[2], 1, Some(done()), &[]);
            // Half removed by one that was killed.
            let half = attempt_dir(&cell_dir(results, &cells[0].id), 1).join("fork-000000000390");
            std::fs::remove_file(half.join("manifest.json")).unwrap();
            let kept = half.with_file_name("checkpoint-000000000397");
            std::fs::create_dir(&kept).unwrap();
            assert_eq!(release_by(all, results, &cells), 4);
            assert_eq!(cells.iter().map(|c| forks(results, c)).sum::<usize>(), 0);
            assert!(kept.is_dir());
            assert_eq!(release_by(all, results, &cells), 0, "again");
        }
    }

    #[test]
    fn a_cell_without_branches_keeps_what_it_has() {
        let (cells, results) = (cells(), tempfile::tempdir().unwrap());
        attempt(results.path(), &cells[0], 1, Some(done()), &[390]);
        assert_eq!(release(results.path(), &cells[0], &cells[..1]).unwrap(), 0);
        assert_eq!(forks(results.path(), &cells[0]), 1);
    }
}
