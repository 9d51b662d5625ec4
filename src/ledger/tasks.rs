//! What the weights of a cell score on a task: `cells/<id>/tasks/<hash>.json`, one sealed line, whole or not there.
//!
//! The name is a hash of what is scored and of the weights, so a record is never changed: other items or other weights
//! are another record. Two that score the same at one time write the same.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::sealed;
use crate::error::{FileError, InputError, exit};
use crate::fs::Disk;
use crate::plan::hex;
use crate::seal::{seal, unseal};
use crate::task::metric::{Metrics, Score};
use crate::task::{Kind, Task};

/// Version of the format. A higher one is not read.
const VERSION: u32 = 1;
/// Longest record that is read [bytes].
const MAX_BYTES: u64 = 1 << 30;

/// Name of the directory within that of its cell.
pub const DIR: &str = "tasks";

/// One model on one task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskRecord {
    /// Version of the format.
    pub v: u32,
    /// Name of the task.
    pub task: String,
    /// What of an item is scored.
    pub kind: Kind,
    /// SHA-256 of what is scored.
    pub task_sha256: String,
    /// Accuracy of a guess, where there is one [0, 1].
    pub chance: Option<f64>,
    /// Id of the cell; `None` for a model of somebody else's.
    pub cell: Option<String>,
    /// SHA-256 of the file of weights.
    pub weights_sha256: String,
    /// Tokens that the model reads at once [tokens].
    pub window: u64,
    /// Requests that were longer than that.
    pub long: u64,
    /// Version of isoflop.
    pub isoflop: String,
    /// What the scores come to.
    pub metrics: Metrics,
    /// Of each request of each item, in the order of the items.
    pub scores: Vec<Vec<Score>>,
}

/// Whose scores they are.
#[derive(Debug, Clone, Copy)]
pub struct Model<'a> {
    /// Id of the cell; `None` for a model of somebody else's.
    pub cell: Option<&'a str>,
    /// SHA-256 of the file of weights.
    pub weights_sha256: &'a str,
    /// Tokens that it reads at once [tokens].
    pub window: usize,
}

impl TaskRecord {
    /// Of a task's scores; `long` requests did not fit the window.
    pub fn new(task: &Task, model: Model<'_>, scores: Vec<Vec<Score>>, long: usize) -> Self {
        Self {
            v: VERSION,
            task: task.name.clone(),
            kind: task.kind,
            task_sha256: task.sha256.clone(),
            chance: task.chance,
            cell: model.cell.map(str::to_owned),
            weights_sha256: model.weights_sha256.to_owned(),
            window: model.window as u64,
            long: long as u64,
            isoflop: env!("CARGO_PKG_VERSION").to_owned(),
            metrics: Metrics::of(task, &scores),
            scores,
        }
    }

    /// The file's name, without its ending.
    fn hash(&self) -> String {
        hash(&self.task_sha256, &self.weights_sha256)
    }
}

/// The first 16 digits of the hash of both hashes.
fn hash(task_sha256: &str, weights_sha256: &str) -> String {
    hex(&Sha256::digest(format!("{task_sha256} {weights_sha256}")))[..16].to_owned()
}

fn file(cell_dir: &Path, hash: &str) -> PathBuf {
    cell_dir.join(DIR).join(format!("{hash}.json"))
}

/// Writes a record; where it lies.
///
/// # Errors
///
/// [`FileError`] with the path.
pub fn write(disk: &dyn Disk, cell_dir: &Path, record: &TaskRecord) -> Result<PathBuf, FileError> {
    let path = file(cell_dir, &record.hash());
    disk.create_dirs(&cell_dir.join(DIR))?;
    disk.write_atomic(&path, seal(record).as_bytes())?;
    Ok(path)
}

/// The record of a task by some weights; `None` where they were not scored on it.
///
/// # Errors
///
/// Damage, with the path and exit code 3.
pub fn read(
    disk: &dyn Disk,
    cell_dir: &Path,
    task: &Task,
    weights_sha256: &str,
) -> Result<Option<TaskRecord>, InputError> {
    let path = file(cell_dir, &hash(&task.sha256, weights_sha256));
    match disk.read(&path, MAX_BYTES) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        raw => load(&path, raw).map(Some).map_err(|why| damaged(&path, &why)),
    }
}

/// All records of a cell, in the order of their names.
///
/// # Errors
///
/// Damage, with the path and exit code 3.
pub fn read_all(disk: &dyn Disk, cell_dir: &Path) -> Result<Vec<TaskRecord>, InputError> {
    let verified = verify(disk, cell_dir).into_iter();
    verified.map(|(path, record)| record.map_err(|why| damaged(&path, &why))).collect()
}

/// Every record of a cell with its path, or why it cannot be used.
pub(super) fn verify(
    disk: &dyn Disk,
    cell_dir: &Path,
) -> Vec<(PathBuf, Result<TaskRecord, String>)> {
    let paths = disk.list(&cell_dir.join(DIR)).unwrap_or_default();
    let records = paths.into_iter().filter(|p| p.extension().is_some_and(|e| e == "json"));
    records.map(|path| (path.clone(), load(&path, disk.read(&path, MAX_BYTES)))).collect()
}

/// What lies among the records and is none.
pub(super) fn strays(disk: &dyn Disk, cell_dir: &Path) -> Vec<PathBuf> {
    let paths = disk.list(&cell_dir.join(DIR)).unwrap_or_default();
    paths.into_iter().filter(|p| p.extension().is_none_or(|e| e != "json")).collect()
}

fn load(path: &Path, raw: std::io::Result<Vec<u8>>) -> Result<TaskRecord, String> {
    #[derive(Deserialize)]
    struct Head {
        v: u32,
    }
    let raw = raw.map_err(|e| e.to_string())?;
    sealed::readable(unseal::<Head>(&raw)?.v, VERSION)?;
    let record: TaskRecord = unseal(&raw)?;
    if path.file_stem().is_some_and(|name| *name == *record.hash()) {
        return Ok(record);
    }
    Err("its name is not that of its content".to_owned())
}

fn damaged(path: &Path, why: &str) -> InputError {
    let message = format!("`{}` cannot be used: {why}", path.display());
    let hint = "`isoflop check --repair` moves it aside; `isoflop eval` then scores the task again";
    InputError::new(message, hint).with_code(exit::DAMAGED)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::Os;
    use crate::task::spec::TaskSpec;

    fn task(good: &str) -> Task {
        let spec = "name = \"a\"\nkind = \"pairs\"\nitems = \"a\"\ngood = \"{g}\"\nbad = \"no\"";
        let items = format!("{{\"g\": \"{good}\"}}");
        Task::new(&TaskSpec::parse(spec).unwrap(), &items, "a").unwrap()
    }

    #[test]
    fn a_record_comes_back_and_every_flipped_bit_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let task = task("yes");
        let score = |log_likelihood| Score { log_likelihood, greedy: false, tokens: 3 };
        let weights_sha256 = "ab";
        let model = Model { cell: Some("0123"), weights_sha256, window: 64 };
        let record = TaskRecord::new(&task, model, vec![vec![score(-0.1), score(-2.7)]], 0);
        let read = |task: &Task, weights: &str| read(&Os, dir.path(), task, weights);
        assert_eq!(read(&task, "ab").unwrap(), None);
        let path = write(&Os, dir.path(), &record).unwrap();
        assert_eq!(read(&task, "ab").unwrap().as_ref(), Some(&record));
        assert_eq!(read_all(&Os, dir.path()).unwrap(), [record]);
        // Other weights and other items are another record.
        assert_eq!(read(&task, "ac").unwrap(), None);
        assert_eq!(read(&super::tests::task("Yes"), "ab").unwrap(), None);
        let whole = std::fs::read(&path).unwrap();
        for bit in 0..whole.len() * 8 {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            std::fs::write(&path, &bytes).unwrap();
            assert_eq!(read(&task, "ab").unwrap_err().code, exit::DAMAGED, "bit {bit}");
        }
        // A whole record under another's name.
        std::fs::write(&path, &whole).unwrap();
        std::fs::rename(&path, path.with_file_name("0123456789abcdef.json")).unwrap();
        assert!(read_all(&Os, dir.path()).unwrap_err().message.contains("its name is not"));
    }
}
