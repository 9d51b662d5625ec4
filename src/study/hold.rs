//! A results directory, held for one sweep, and the plan that is written there before any cell starts.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::results::{MAX_SEAL, planned};
use super::sweep::{MAX_PLAN, SWEEP};
use super::{Failure, Observer, Sweep};
use crate::error::{FileError, InputError, exit};
use crate::fs::{Disk as _, Os};
use crate::ledger::check::EARLIER;
use crate::ledger::hold::Hold;
use crate::ledger::lease::{self, Watched};
use crate::ledger::{self, State, cell_dir};
use crate::plan::FILE as PLAN;
use crate::plan::{Cell, SEAL, hex, sealed, short};
use crate::spec::MAX_FILE;

/// Holds a results directory for the sweep of this file, for as long as what is returned lives.
///
/// # Errors
///
/// [`Failure`] with exit code 75 where another sweep or plan is at work there.
pub fn hold(results: &Path, text: &str, observer: &dyn Observer) -> Result<Hold, Failure> {
    let waits = || {
        observer.note(&format!(
            "Another sweep was at work in `{}` on another machine, or before this one was started anew: watching \
             for up to {:.0} s whether it lives.",
            results.display(),
            lease::lease().as_secs_f64()
        ));
    };
    Ok(Hold::take(results, &meaning(text), &waits)?.ok_or_else(|| at_work(results))?)
}

fn at_work(results: &Path) -> InputError {
    InputError::new(
        format!("another run is at work on another plan or sweep file in `{}`", results.display()),
        "wait for it, or stop it; or give this sweep another name",
    )
    .with_code(exit::AGAIN)
}

/// What a sweep file says, whatever its layout; where it is to run is no part of that.
fn meaning(text: &str) -> String {
    let mut table: toml::Table = text.parse().unwrap_or_default();
    table.remove("slurm");
    table.remove("device");
    hex(&Sha256::digest(table.to_string()))
}

/// Writes what was asked for and what it became, before any cell starts; not while another runner is at
/// work on another plan. What an earlier plan ended with, here and in `analysis`, is kept beside.
///
/// # Errors
///
/// [`Failure`] with exit code 75 where one is at work; where a file cannot be written.
pub fn write_plan(
    dir: &Path,
    sweep: &Sweep,
    analysis: &Path,
    observer: &dyn Observer,
) -> Result<(), Failure> {
    let json = sweep.plan_json();
    let before = Os.read(&dir.join(PLAN), MAX_PLAN).unwrap_or_default();
    if before != json {
        // A plan that cannot be read is no reason to refuse: its cells are found by their ids.
        let cells: Vec<Cell> = serde_json::from_slice(&before).unwrap_or_default();
        let cells: Vec<Cell> = cells.into_iter().filter(|c| c.recipe.id() == c.id).collect();
        if is_at_work(dir, &cells)? {
            return Err(at_work(dir).into());
        }
        if planned(dir).is_ok() {
            keep_earlier(dir, analysis, &before, observer)?;
        }
    }
    let seal = sealed(&json);
    if before != json || Os.read(&dir.join(SEAL), MAX_SEAL).ok() != Some(seal.clone()) {
        // Without a seal while it is neither the old one nor the new one.
        match Os.remove(&dir.join(SEAL)) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(FileError::new("remove", dir.join(SEAL))(e).into());
            }
            _ => {}
        }
        Os.write_atomic(&dir.join(PLAN), &json)?;
    }
    let (file, text) = (dir.join(SWEEP), sweep.text.as_bytes());
    if Os.read(&file, MAX_FILE as u64).ok().as_deref() != Some(text) {
        Os.write_atomic(&file, text)?;
    }
    if Os.read(&dir.join(SEAL), MAX_SEAL).ok() != Some(seal.clone()) {
        Os.write_atomic(&dir.join(SEAL), &seal)?;
    }
    Ok(())
}

/// An attempt by its cell and number, and its heartbeat.
type Beat = (String, Option<u64>);

/// Whether a runner trains one of these cells: an older isoflop, or one that has other data under the same sweep.
/// One on another machine is watched.
fn is_at_work(dir: &Path, cells: &[Cell]) -> Result<bool, Failure> {
    let elsewhere = || -> Result<Option<Vec<Beat>>, Failure> {
        let mut beats = Vec::new();
        for cell in cells {
            let dir = cell_dir(dir, &cell.id);
            let (attempts, state) = ledger::look(&dir)?;
            match (state, attempts.last()) {
                (State::Running { here: true, .. }, _) => return Ok(None),
                (State::Running { .. }, Some(last)) => {
                    let beat = lease::heartbeat(&dir, last.number);
                    beats.push((format!("{} {}", cell.id, last.number), beat));
                }
                _ => {}
            }
        }
        Ok(Some(beats))
    };
    let Some(beats) = elsewhere()? else { return Ok(true) };
    let mut watched = Watched::new(beats);
    while !watched.seen().is_empty() {
        std::thread::sleep(lease::beat().min(Duration::from_secs(1)));
        let Some(now) = elsewhere()? else { return Ok(true) };
        let beats = |(name, beat): &Beat| {
            watched.seen().iter().any(|(then, before)| then == name && before != beat)
        };
        if now.iter().any(beats) {
            return Ok(true);
        }
        if watched.still(now) > lease::lease() {
            break;
        }
    }
    Ok(false)
}

/// Copies what a plan ended with to `earlier/` of both directories, under the beginning of its hash.
fn keep_earlier(
    results: &Path,
    analysis: &Path,
    plan: &[u8],
    observer: &dyn Observer,
) -> Result<(), Failure> {
    let hash = hex(&Sha256::digest(plan));
    let place = |dir: &Path| dir.join(EARLIER).join(short(&hash));
    let copy = |from: PathBuf, to: PathBuf| -> Result<bool, Failure> {
        match Os.read(&from, MAX_KEPT) {
            Ok(bytes) => {
                Os.create_dirs(to.parent().unwrap_or(&to))?;
                Os.write_atomic(&to, &bytes)?;
                Ok(true)
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(FileError::new("read", from)(e).into()),
        }
    };
    let mut kept = Vec::new();
    if copy(results.join("ledger.csv"), place(results).join("ledger.csv"))? {
        for name in [PLAN, SWEEP] {
            copy(results.join(name), place(results).join(name))?;
        }
        kept.push(place(results));
    }
    if copy(analysis.join("fit.json"), place(analysis).join("fit.json"))? {
        copy(analysis.join("report.html"), place(analysis).join("report.html"))?;
        for figure in Os.list(&analysis.join("figures")).unwrap_or_default() {
            let name = figure.file_name().unwrap_or_default().to_owned();
            copy(figure, place(analysis).join("figures").join(name))?;
        }
        kept.push(place(analysis));
    }
    if !kept.is_empty() {
        let kept: Vec<String> = kept.iter().map(|p| format!("`{}`", p.display())).collect();
        observer.note(&format!(
            "The plan has changed: what the earlier one ended with is kept in {}.",
            kept.join(" and ")
        ));
    }
    Ok(())
}

/// Longest file of an earlier plan that is kept [bytes].
const MAX_KEPT: u64 = 1 << 30;
