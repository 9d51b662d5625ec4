//! All state of a cell after some steps, in one directory, visible when its manifest is.
//!
//! `attempt-NNNN/checkpoint-<step>/state.bin` first, then `manifest.json` with its length and hash: a
//! directory without one is half made and nobody looks at it. Of several the one with the most steps
//! that verifies counts; no clock is asked. A fork, `attempt-NNNN/fork-<step>/`, is a checkpoint of a trunk
//! at a step where another cell branches off; [`forks`](super::forks) says how long it is kept.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::log::{Attempt, STEP_BYTES};
use super::sealed;
use crate::error::FileError;
use crate::fs::Disk;

/// Version of the format. A higher one is not read.
const VERSION: u32 = 1;
/// Checkpoints of an attempt that are kept.
const KEPT: usize = 2;
/// Longest state [bytes]: 10^10 parameters.
const MAX_STATE: u64 = 120 << 30;

const PREFIX: &str = "checkpoint-";
const FORK: &str = "fork-";
/// Name of the file with the state.
pub(super) const STATE: &str = "state.bin";

/// What is kept beside the tensors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of the format.
    pub v: u32,
    /// Id of the cell.
    pub cell: String,
    /// Steps taken.
    pub step: u64,
    /// Last evaluation and its standard error [nats/token].
    pub evaluated: Option<(f64, f64)>,
    /// Steps in a row with a loss out of reason.
    pub bad_steps: u32,
    /// Seconds in training steps [s].
    pub seconds: f64,
    /// Length of `state.bin` [bytes].
    pub bytes: u64,
    /// SHA-256 of `state.bin`.
    pub sha256: String,
    /// Length of `steps.f32` [bytes].
    pub steps_bytes: u64,
    /// CRC-32 of that much of it.
    pub steps_crc: u32,
}

/// A checkpoint that verifies.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// What is kept beside the tensors.
    pub manifest: Manifest,
    /// The tensors.
    pub state: Vec<u8>,
}

/// Writes a checkpoint into an attempt's directory and removes all but the last ones there. Lengths, hashes
/// and version are filled in.
///
/// # Errors
///
/// [`FileError`] with the path; older checkpoints are then untouched.
pub fn save(
    disk: &dyn Disk,
    attempt: &Path,
    manifest: Manifest,
    state: &[u8],
) -> Result<(), FileError> {
    write(disk, &directory(attempt, PREFIX, manifest.step), manifest, state)?;
    let mut old = directories(disk, attempt, &[PREFIX])?;
    old.truncate(old.len().saturating_sub(KEPT));
    old.iter().try_for_each(|(_, dir)| sealed::remove(disk, dir))
}

/// Writes the state of a trunk where another cell branches off; it is kept until [`remove_forks`].
///
/// # Errors
///
/// [`FileError`] with the path.
pub fn save_fork(
    disk: &dyn Disk,
    attempt: &Path,
    manifest: Manifest,
    state: &[u8],
) -> Result<(), FileError> {
    write(disk, &directory(attempt, FORK, manifest.step), manifest, state)
}

/// Whether an attempt's directory has a fork at this step; what it holds is not verified.
pub fn has_fork(disk: &dyn Disk, attempt: &Path, step: u64) -> bool {
    sealed::is_visible(disk, &directory(attempt, FORK, step))
}

/// Removes all forks of an attempt, and what is left of them where that was cut; how many there were.
///
/// # Errors
///
/// [`FileError`] with the path.
pub(super) fn remove_forks(disk: &dyn Disk, attempt: &Path) -> Result<usize, FileError> {
    let entries = disk.list(attempt).map_err(FileError::new("read", attempt))?;
    let is_fork = |p: &&PathBuf| {
        let name = p.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with(FORK) && is_one(&name) && disk.is_dir(p)
    };
    let forks: Vec<&PathBuf> = entries.iter().filter(is_fork).collect();
    forks.iter().try_for_each(|dir| sealed::remove(disk, dir))?;
    Ok(forks.len())
}

/// Whether a name is that of a checkpoint or of a fork.
pub(super) fn is_one(name: &str) -> bool {
    let step = name.strip_prefix(PREFIX).or_else(|| name.strip_prefix(FORK));
    step.is_some_and(|step| step.len() == 12 && step.bytes().all(|b| b.is_ascii_digit()))
}

/// Twelve digits, so that names sort by step.
fn directory(attempt: &Path, prefix: &str, step: u64) -> PathBuf {
    attempt.join(format!("{prefix}{step:012}"))
}

fn write(
    disk: &dyn Disk,
    dir: &Path,
    mut manifest: Manifest,
    state: &[u8],
) -> Result<(), FileError> {
    manifest.v = VERSION;
    manifest.bytes = state.len() as u64;
    manifest.sha256 = sealed::hash(state);
    sealed::write(disk, dir, (STATE, state), &manifest)
}

/// Directories of these kinds with a manifest, fewest steps first.
fn directories(
    disk: &dyn Disk,
    attempt: &Path,
    prefixes: &[&str],
) -> Result<Vec<(u64, PathBuf)>, FileError> {
    let entries = disk.list(attempt).map_err(FileError::new("read", attempt))?;
    let step = |p: &PathBuf| -> Option<u64> {
        let name = p.file_name()?.to_str()?;
        prefixes.iter().find_map(|prefix| name.strip_prefix(prefix))?.parse().ok()
    };
    let mut found: Vec<(u64, PathBuf)> = entries
        .into_iter()
        .filter_map(|p| Some((step(&p)?, p)))
        .filter(|(_, p)| sealed::is_visible(disk, p))
        .collect();
    found.sort();
    Ok(found)
}

/// A checkpoint's directory, and what it holds or why it cannot be used.
pub type Verified = (PathBuf, Result<Checkpoint, String>);

/// Every checkpoint of an attempt with what verifying it says, fewest steps first. `steps` is the
/// attempt's `steps.f32`.
///
/// # Errors
///
/// [`FileError`] when the attempt's directory cannot be read.
pub fn all(
    disk: &dyn Disk,
    attempt: &Path,
    cell: &str,
    steps: &[u8],
) -> Result<Vec<Verified>, FileError> {
    let dirs = directories(disk, attempt, &[PREFIX, FORK])?;
    let verified = |(step, dir): (u64, PathBuf)| {
        let loaded = load(disk, &dir, (cell, step), steps);
        (dir, loaded)
    };
    Ok(dirs.into_iter().map(verified).collect())
}

/// The newest checkpoint of an attempt, of at most so many steps, that verifies, and what is wrong with
/// newer ones.
///
/// # Errors
///
/// As [`all`].
pub fn newest(
    disk: &dyn Disk,
    attempt: &Path,
    cell: &str,
    steps: &[u8],
    most: u64,
) -> Result<(Option<Checkpoint>, Vec<String>), FileError> {
    let mut notes = Vec::new();
    let dirs = directories(disk, attempt, &[PREFIX, FORK])?.into_iter().rev();
    for (step, dir) in dirs.filter(|(step, _)| *step <= most) {
        match load(disk, &dir, (cell, step), steps) {
            Ok(checkpoint) => return Ok((Some(checkpoint), notes)),
            Err(why) => notes.push(format!("{}: {why}; not used", dir.display())),
        }
    }
    Ok((None, notes))
}

/// A checkpoint and whose it is.
pub type Found<'a> = (&'a Attempt, Checkpoint);

/// The checkpoint with the most steps, and no more than `most`, of all attempts, and whose it is.
///
/// # Errors
///
/// [`FileError`] when an attempt's directory cannot be read.
pub fn resume_point<'a>(
    disk: &dyn Disk,
    attempts: &'a [Attempt],
    cell: &str,
    most: u64,
) -> Result<(Option<Found<'a>>, Vec<String>), FileError> {
    let (mut best, mut notes): (Option<Found<'_>>, _) = (None, Vec::new());
    for attempt in attempts {
        if let Some(why) = &attempt.damage {
            notes.push(format!("{why}; that attempt is not used"));
            continue;
        }
        let (found, bad) = newest(disk, &attempt.dir, cell, &attempt.steps, most)?;
        notes.extend(bad);
        if let Some(found) = found
            && best.as_ref().is_none_or(|(_, b)| b.manifest.step <= found.manifest.step)
        {
            best = Some((attempt, found));
        }
    }
    Ok((best, notes))
}

/// What lies in the directory of a cell's state after so many steps.
fn load(
    disk: &dyn Disk,
    dir: &Path,
    (cell, step): (&str, u64),
    steps: &[u8],
) -> Result<Checkpoint, String> {
    let manifest: Manifest = sealed::manifest(disk, dir)?;
    sealed::readable(manifest.v, VERSION)?;
    if manifest.cell != cell {
        return Err(format!("belongs to cell {}", manifest.cell));
    }
    // Its name decides whether a branch may begin there.
    if manifest.step != step || step.checked_mul(STEP_BYTES) != Some(manifest.steps_bytes) {
        let (own, bytes) = (manifest.step, manifest.steps_bytes);
        return Err(format!("holds step {own}, with {bytes} bytes of steps before it"));
    }
    let state = sealed::read(disk, dir, (STATE, MAX_STATE), (manifest.bytes, &manifest.sha256))?;
    match steps.get(..manifest.steps_bytes as usize) {
        Some(seen) if crc32fast::hash(seen) == manifest.steps_crc => {}
        _ => return Err("the recorded steps before it do not match".to_owned()),
    }
    Ok(Checkpoint { manifest, state })
}

#[cfg(test)]
mod tests {
    use super::sealed::MANIFEST;
    use super::*;
    use crate::fs::Os;

    const STEPS: [u8; 32] = [7; 32];

    fn manifest(step: u64) -> Manifest {
        Manifest {
            v: 0,
            cell: "abc".into(),
            step,
            evaluated: Some((0.1 + 0.2, 1e-3)),
            bad_steps: 1,
            seconds: 1.0 / 3.0,
            bytes: 0,
            sha256: String::new(),
            steps_bytes: 8 * step,
            steps_crc: crc32fast::hash(&STEPS[..8 * step as usize]),
        }
    }

    fn step(found: &(Option<Checkpoint>, Vec<String>)) -> Option<u64> {
        found.0.as_ref().map(|c| c.manifest.step)
    }

    #[test]
    fn the_last_two_are_kept_and_the_newest_comes_back_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        for n in 1..5 {
            save(&Os, dir.path(), manifest(n), &[n as u8; 100]).unwrap();
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
        let (found, notes) = newest(&Os, dir.path(), "abc", &STEPS, u64::MAX).unwrap();
        let found = found.unwrap();
        assert_eq!((found.state.as_slice(), notes.len()), ([4; 100].as_slice(), 0));
        assert_eq!(found.manifest.evaluated, manifest(4).evaluated);
        assert_eq!(found.manifest.seconds, 1.0 / 3.0);
        assert_eq!(step(&newest(&Os, dir.path(), "another", &STEPS, u64::MAX).unwrap()), None);
    }

    #[test]
    fn every_flipped_bit_is_detected_and_the_one_before_is_used() {
        let dir = tempfile::tempdir().unwrap();
        for n in 1..3 {
            save(&Os, dir.path(), manifest(n), &[n as u8; 40]).unwrap();
        }
        let newest_dir = dir.path().join(format!("{PREFIX}{:012}", 2));
        for name in [MANIFEST, STATE] {
            let path = newest_dir.join(name);
            let whole = std::fs::read(&path).unwrap();
            for bit in 0..whole.len() * 8 {
                let mut bytes = whole.clone();
                bytes[bit / 8] ^= 1 << (bit % 8);
                std::fs::write(&path, &bytes).unwrap();
                let found = newest(&Os, dir.path(), "abc", &STEPS, u64::MAX).unwrap();
                assert_eq!(step(&found), Some(1), "{name}, bit {bit}");
                assert_eq!(found.1.len(), 1, "it is said");
            }
            for damaged in [&whole[..whole.len() - 1], &[], &vec![0; whole.len()]] {
                std::fs::write(&path, damaged).unwrap();
                assert_eq!(
                    step(&newest(&Os, dir.path(), "abc", &STEPS, u64::MAX).unwrap()),
                    Some(1)
                );
            }
            std::fs::write(&path, &whole).unwrap();
        }
        assert_eq!(step(&newest(&Os, dir.path(), "abc", &STEPS, u64::MAX).unwrap()), Some(2));
    }

    #[test]
    fn steps_that_were_changed_or_cut_are_detected() {
        let dir = tempfile::tempdir().unwrap();
        save(&Os, dir.path(), manifest(2), b"state").unwrap();
        let mut changed = STEPS;
        changed[15] ^= 1;
        assert_eq!(step(&newest(&Os, dir.path(), "abc", &changed, u64::MAX).unwrap()), None);
        assert_eq!(step(&newest(&Os, dir.path(), "abc", &STEPS[..15], u64::MAX).unwrap()), None);
        assert_eq!(step(&newest(&Os, dir.path(), "abc", &STEPS[..16], u64::MAX).unwrap()), Some(2));
    }

    /// A branch may begin at no step after its cooldown has begun: the name alone does not say which it is.
    #[test]
    fn a_state_under_another_steps_name_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        for n in [1, 3] {
            save(&Os, dir.path(), manifest(n), b"state").unwrap();
        }
        let at = |n: u64| dir.path().join(format!("{PREFIX}{n:012}"));
        std::fs::rename(at(3), at(2)).unwrap();
        let found = newest(&Os, dir.path(), "abc", &STEPS, 2).unwrap();
        assert_eq!(step(&found), Some(1));
        assert!(found.1[0].contains("holds step 3"), "{:?}", found.1);
        // The steps before it are those of another one.
        save_fork(&Os, dir.path(), Manifest { step: 4, ..manifest(3) }, b"state").unwrap();
        assert_eq!(step(&newest(&Os, dir.path(), "abc", &STEPS, 4).unwrap()), Some(1));
    }

    #[test]
    fn what_is_half_made_is_not_seen() {
        let dir = tempfile::tempdir().unwrap();
        save(&Os, dir.path(), manifest(1), b"state").unwrap();
        let half = dir.path().join(format!("{PREFIX}{:012}", 3));
        std::fs::create_dir(&half).unwrap();
        std::fs::write(half.join(STATE), b"state").unwrap();
        let found = newest(&Os, dir.path(), "abc", &STEPS, u64::MAX).unwrap();
        assert_eq!((step(&found), found.1.len()), (Some(1), 0));
    }
}
