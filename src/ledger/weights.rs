//! The weights that a cell ended with, in one directory, visible when its manifest is.
//!
//! `attempt-NNNN/weights/weights.safetensors` holds the values of every weight under its name in the model, f32;
//! `manifest.json` its length and hash. They are written after the last step and before the attempt says that it is
//! completed: a completed attempt has them, unless the sweep says `keep = "none"` or it is of an older isoflop. An
//! attempt that was cut between the two has them as well: nobody looks at those, and who completes the cell removes
//! them. AdamW's moments are in the checkpoints alone.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};

use super::event::Event;
use super::lease::{self, Holder};
use super::{log, sealed};
use crate::error::{FileError, InputError, exit};
use crate::fs::{Disk, Os};
use crate::model::Values;

/// Version of the format. A higher one is not read.
const VERSION: u32 = 1;
/// Longest file of weights [bytes]: 10^10 parameters.
const MAX_BYTES: u64 = 40 << 30;

/// Name of the directory within that of its attempt.
pub const DIR: &str = "weights";
/// Name of the file in it.
pub const FILE: &str = "weights.safetensors";

/// What is said of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of the format.
    pub v: u32,
    /// Id of the cell.
    pub cell: String,
    /// Steps taken: all of the cell's.
    pub step: u64,
    /// Length of the file [bytes].
    pub bytes: u64,
    /// SHA-256 of the file.
    pub sha256: String,
}

/// Weights that verify.
#[derive(Debug, Clone, PartialEq)]
pub struct Weights {
    /// Whose they are.
    pub manifest: Manifest,
    /// Every weight, in the order of the file.
    pub tensors: Vec<Values>,
}

/// Writes the weights of a cell after its last step into an attempt's directory.
///
/// # Errors
///
/// [`FileError`] with the path.
pub fn save(
    disk: &dyn Disk,
    attempt: &Path,
    (cell, step): (&str, u64),
    tensors: &[Values],
) -> Result<(), FileError> {
    let dir = directory(attempt);
    let file = file(tensors)
        .map_err(|e| FileError::new("write", dir.join(FILE))(std::io::Error::other(e)))?;
    let manifest = Manifest {
        v: VERSION,
        cell: cell.to_owned(),
        step,
        bytes: file.len() as u64,
        sha256: sealed::hash(&file),
    };
    sealed::write(disk, &dir, (FILE, &file), &manifest)
}

/// SHA-256 of the file that [`save`] writes of these weights: what they are called in records of their scores.
///
/// # Errors
///
/// [`FileError`] where they cannot be written as safetensors.
pub fn sha256(tensors: &[Values]) -> Result<String, FileError> {
    let file =
        file(tensors).map_err(|e| FileError::new("write", FILE)(std::io::Error::other(e)))?;
    Ok(sealed::hash(&file))
}

/// Removes what attempts that were cut after their last step have left of weights, where another attempt has completed
/// the cell: for the holder of that one. What a holder elsewhere has written stays, for it may live; how many there
/// were.
///
/// # Errors
///
/// [`FileError`] with the path.
pub fn remove_cut(cell_dir: &Path) -> Result<usize, FileError> {
    // Holders are asked first: what one that is gone has said is there to be read.
    let all = log::numbered(&Os, cell_dir)?.into_iter().map(|(number, _)| number);
    let gone: Vec<u32> = all.filter(|n| lease::holder(cell_dir, *n) == Holder::Gone).collect();
    let (mut completed, mut left) = (false, Vec::new());
    for attempt in log::read_attempts(&Os, cell_dir)? {
        let dir = directory(&attempt.dir);
        let sound = attempt.damage.is_none();
        match attempt.end() {
            Some(Event::Completed { .. }) => completed |= sound,
            _ if sound && gone.contains(&attempt.number) && Os.is_dir(&dir) => left.push(dir),
            _ => {}
        }
    }
    if !completed {
        return Ok(0);
    }
    left.iter().try_for_each(|dir| sealed::remove(&Os, dir))?;
    Ok(left.len())
}

/// Whether an attempt, given its directory, has weights; they are not verified.
pub fn are_kept(disk: &dyn Disk, attempt: &Path) -> bool {
    sealed::is_visible(disk, &directory(attempt))
}

/// The weights of a completed attempt, given its directory, as they were written; `None` where none were kept.
///
/// ```no_run
/// use isoflop::fs::Os;
/// use isoflop::ledger::{State, cell_dir, look, weights};
///
/// let (_, state) = look(&cell_dir("results/prose".as_ref(), "faefdea85e89642d"))?;
/// if let State::Completed { dir, .. } = state
///     && let Some(kept) = weights::read(&Os, &dir)?
/// {
///     for tensor in &kept.tensors {
///         println!("{} {:?}", tensor.name, tensor.dims);
///     }
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// Damage, with the path and exit code 3.
pub fn read(disk: &dyn Disk, attempt: &Path) -> Result<Option<Weights>, InputError> {
    let dir = directory(attempt);
    if !sealed::is_visible(disk, &dir) {
        return Ok(None);
    }
    load(disk, &dir).map(Some).map_err(|why| unusable(&dir, &why))
}

/// What verifying an attempt's weights says, and where they lie; `None` where there are none, or half made ones.
pub(super) fn verify(
    disk: &dyn Disk,
    attempt: &Path,
    cell: &str,
) -> Option<(PathBuf, Result<(), String>)> {
    let dir = directory(attempt);
    let verified = || match load(disk, &dir)?.manifest.cell {
        own if own == cell => Ok(()),
        other => Err(format!("belongs to cell {other}")),
    };
    sealed::is_visible(disk, &dir).then(|| (dir.clone(), verified()))
}

/// What is said of the weights of a completed attempt, which are not read; `None` where none were kept.
///
/// # Errors
///
/// Damage, with the path and exit code 3.
pub fn manifest(disk: &dyn Disk, attempt: &Path) -> Result<Option<Manifest>, InputError> {
    let dir = directory(attempt);
    if !sealed::is_visible(disk, &dir) {
        return Ok(None);
    }
    let manifest = sealed::manifest(disk, &dir)
        .and_then(|manifest: Manifest| sealed::readable(manifest.v, VERSION).map(|()| manifest));
    manifest.map(Some).map_err(|why| unusable(&dir, &why))
}

fn unusable(dir: &Path, why: &str) -> InputError {
    let message = format!("the weights in `{}` cannot be used: {why}", dir.display());
    let hint = "the cell's loss does not rest on them; `isoflop check` names all that is damaged";
    InputError::new(message, hint).with_code(exit::DAMAGED)
}

fn directory(attempt: &Path) -> PathBuf {
    attempt.join(DIR)
}

/// As safetensors, in the order of the names: the same weights are the same bytes.
fn file(tensors: &[Values]) -> Result<Vec<u8>, safetensors::SafeTensorError> {
    let bytes = |t: &Values| -> Vec<u8> { t.values.iter().flat_map(|v| v.to_le_bytes()).collect() };
    let bytes: Vec<Vec<u8>> = tensors.iter().map(bytes).collect();
    let view = |(t, bytes)| -> Result<(&str, TensorView<'_>), safetensors::SafeTensorError> {
        let (t, bytes): (&Values, &Vec<u8>) = (t, bytes);
        Ok((t.name.as_str(), TensorView::new(Dtype::F32, t.dims.to_vec(), bytes)?))
    };
    let views = tensors.iter().zip(&bytes).map(view).collect::<Result<Vec<_>, _>>()?;
    safetensors::serialize(views, None::<HashMap<String, String>>)
}

fn load(disk: &dyn Disk, dir: &Path) -> Result<Weights, String> {
    let manifest: Manifest = sealed::manifest(disk, dir)?;
    sealed::readable(manifest.v, VERSION)?;
    let file = sealed::read(disk, dir, (FILE, MAX_BYTES), (manifest.bytes, &manifest.sha256))?;
    let all = SafeTensors::deserialize(&file).map_err(|e| format!("`{FILE}`: {e}"))?;
    let mut tensors = all.tensors();
    tensors.sort_by_key(|(_, view)| view.data().as_ptr());
    let tensors = tensors.into_iter().map(|(name, view)| match (view.dtype(), view.shape()) {
        (Dtype::F32, [rows, columns]) => {
            let values = view.data().chunks_exact(4);
            let values = values.map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
            Ok(Values { name, dims: [*rows, *columns], values })
        }
        (dtype, shape) => {
            Err(format!("`{FILE}`: `{name}` is {dtype} {shape:?}, want a matrix of f32"))
        }
    });
    Ok(Weights { manifest, tensors: tensors.collect::<Result<_, _>>()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::Os;

    fn tensors() -> Vec<Values> {
        let values = |name: &str, dims: [usize; 2], values: &[f32]| Values {
            name: name.into(),
            dims,
            values: values.to_vec(),
        };
        vec![
            values("head", [2, 3], &[0.1, -0.0, f32::MIN_POSITIVE / 8.0, 1e30, -2.5, 3.0]),
            values("embed", [1, 2], &[f32::MAX, 1.0 / 3.0]),
        ]
    }

    fn saved() -> tempfile::TempDir {
        let attempt = tempfile::tempdir().unwrap();
        save(&Os, attempt.path(), ("abc", 7), &tensors()).unwrap();
        attempt
    }

    #[test]
    fn weights_come_back_to_the_bit_by_their_names() {
        let attempt = saved();
        let read = read(&Os, attempt.path()).unwrap().unwrap();
        assert_eq!((read.manifest.cell.as_str(), read.manifest.step), ("abc", 7));
        let mut want = tensors();
        want.reverse();
        assert_eq!(read.tensors, want, "in the order of the names");
        let bits = |all: &[Values]| -> Vec<u32> {
            all.iter().flat_map(|t| t.values.iter().map(|v| v.to_bits())).collect()
        };
        assert_eq!(bits(&read.tensors), bits(&want));
        // Two savings of the same weights are the same bytes.
        let bytes = |dir: &Path| std::fs::read(dir.join(DIR).join(FILE)).unwrap();
        assert_eq!(bytes(attempt.path()), bytes(saved().path()));
        assert!(verify(&Os, attempt.path(), "abc").unwrap().1.is_ok());
        let other = verify(&Os, attempt.path(), "another").unwrap().1;
        assert_eq!(other, Err("belongs to cell abc".to_owned()));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_detected() {
        let attempt = saved();
        for name in [sealed::MANIFEST, FILE] {
            let path = attempt.path().join(DIR).join(name);
            let whole = std::fs::read(&path).unwrap();
            let refused = |bytes: &[u8]| {
                std::fs::write(&path, bytes).unwrap();
                let error = read(&Os, attempt.path()).unwrap_err();
                error.code == exit::DAMAGED && error.message.contains(name)
            };
            for bit in 0..whole.len() * 8 {
                let mut bytes = whole.clone();
                bytes[bit / 8] ^= 1 << (bit % 8);
                assert!(refused(&bytes), "{name}, bit {bit}");
            }
            for damaged in [&whole[..whole.len() - 1], &[], &vec![0; whole.len()]] {
                assert!(refused(damaged), "{name}");
            }
            std::fs::write(&path, &whole).unwrap();
        }
        assert!(read(&Os, attempt.path()).is_ok());
    }

    #[test]
    fn weights_of_cut_attempts_go_when_another_has_completed_the_cell_and_no_others() {
        use crate::ledger::event::tests::started;
        use crate::ledger::lease::attempt_dir;
        use crate::ledger::log::{AttemptLog, History};
        let spec = crate::spec::Spec::parse(crate::plan::tests::SWEEP).unwrap();
        let cell = crate::plan::Plan::new(&spec, &crate::plan::tests::facts()).cells.remove(0);
        let done = || {
            let (loss, loss_se, seconds, tokens_per_second) = (1.0, 0.0, 1.0, 1.0);
            Event::Completed { loss, loss_se, seconds, tokens_per_second, steps_crc: None }
        };
        let root = tempfile::tempdir().unwrap();
        let home = root.path().join(&cell.id);
        let attempt = |number: u32, last: Option<Event>| {
            let dir = attempt_dir(&home, number);
            std::fs::create_dir_all(&dir).unwrap();
            let (clock, way) = (|| "now".to_owned(), History::default());
            let started = started(cell.clone(), None);
            let mut log = AttemptLog::start(&Os, &dir, started, &way, &clock).unwrap();
            save(&Os, &dir, (&cell.id, 7), &tensors()).unwrap();
            if let Some(event) = last {
                log.event(event, clock()).unwrap();
            }
            dir
        };
        let kept = || -> Vec<u32> {
            (1..=5).filter(|n| attempt_dir(&home, *n).join(DIR).exists()).collect()
        };
        let (cut, half) = (attempt(1, None), attempt(2, None));
        std::fs::remove_file(half.join(DIR).join(sealed::MANIFEST)).unwrap();
        // Held on another machine, for all that is known here.
        std::fs::write(attempt(3, None).join(lease::LOCK), "another").unwrap();
        // What cannot be trusted may have been completed.
        let damaged = attempt(4, None).join(log::LOG);
        std::fs::write(&damaged, "no line of a log\n").unwrap();
        assert_eq!(remove_cut(&home).unwrap(), 0, "none has completed it");
        assert_eq!(kept(), [1, 2, 3, 4]);
        let completed = attempt(5, Some(done()));
        assert_eq!(remove_cut(&home).unwrap(), 2);
        assert_eq!(kept(), [3, 4, 5]);
        assert!(read(&Os, &completed).unwrap().is_some() && cut.join(log::LOG).exists());
        assert_eq!(remove_cut(&home).unwrap(), 0, "again");
    }

    #[test]
    fn what_is_half_made_is_not_seen() {
        let attempt = saved();
        std::fs::remove_file(attempt.path().join(DIR).join(sealed::MANIFEST)).unwrap();
        assert_eq!(read(&Os, attempt.path()).unwrap(), None);
        assert_eq!(verify(&Os, attempt.path(), "abc"), None);
    }
}
