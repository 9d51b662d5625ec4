//! Files that are whole or not there: the only place that writes.
//!
//! Reads: `error`. Read by: `data`, `ledger`, `exec`, `cli`.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::error::FileError;

/// Writes a file so that a reader, and a machine that loses power, sees the old content or the new,
/// never a part: scratch file beside it, sync, rename, sync of the directory.
///
/// # Errors
///
/// [`FileError`] with the path; the old content is then untouched.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let scratch = scratch_beside(path);
    let written = (|| {
        let mut file = File::create(&scratch)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&scratch, path)
    })();
    if let Err(source) = written {
        // The scratch file is ours alone; failing to remove it must not hide the first error.
        let _ = fs::remove_file(&scratch);
        return Err(FileError::new("write", path)(source));
    }
    sync_dir(path.parent().unwrap_or(Path::new(".")))
}

fn scratch_beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}.tmp", std::process::id()))
}

/// Makes the directory's entries durable.
///
/// # Errors
///
/// [`FileError`] with the path.
pub fn sync_dir(dir: &Path) -> Result<(), FileError> {
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    File::open(dir).and_then(|d| d.sync_all()).map_err(FileError::new("sync", dir))
}

/// Creates a directory and its parents.
///
/// # Errors
///
/// [`FileError`] with the path.
pub fn create_dirs(dir: &Path) -> Result<(), FileError> {
    fs::create_dir_all(dir).map_err(FileError::new("create", dir))
}

/// Creates a directory that must not exist yet; `false` when it does. Its creation is the claim: of any
/// number of callers exactly one is told `true`.
///
/// # Errors
///
/// [`FileError`] with the path, for any other reason.
pub fn claim_dir(dir: &Path) -> Result<bool, FileError> {
    match fs::create_dir(dir) {
        Ok(()) => sync_dir(dir.parent().unwrap_or(Path::new("."))).map(|()| true),
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Ok(false),
        Err(e) => Err(FileError::new("create", dir)(e)),
    }
}

/// A file that only grows; what [`Appender::append`] returns from is on the disk.
#[derive(Debug)]
pub struct Appender {
    file: File,
    path: PathBuf,
}

impl Appender {
    /// Creates a file that must not exist.
    ///
    /// # Errors
    ///
    /// [`FileError`] with the path.
    pub fn create(path: &Path) -> Result<Self, FileError> {
        let file = OpenOptions::new()
            .append(true)
            .create_new(true)
            .open(path)
            .map_err(FileError::new("create", path))?;
        sync_dir(path.parent().unwrap_or(Path::new(".")))?;
        Ok(Self { file, path: path.to_owned() })
    }

    /// Appends and, if `sync`, waits until the bytes are durable.
    ///
    /// # Errors
    ///
    /// [`FileError`] with the path. A failed sync is final: the file must not be written again.
    pub fn append(&mut self, bytes: &[u8], sync: bool) -> Result<(), FileError> {
        self.file.write_all(bytes).map_err(FileError::new("write", &self.path))?;
        if sync {
            self.file.sync_data().map_err(FileError::new("sync", &self.path))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_atomic_write_replaces_and_leaves_no_scratch_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.txt");
        write_atomic(&path, b"one").unwrap();
        write_atomic(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn an_error_names_the_path() {
        let error = write_atomic(Path::new("/nowhere/at/all.txt"), b"x").unwrap_err();
        assert!(error.to_string().contains("/nowhere/at/all.txt"), "{error}");
        assert_eq!(error.code(), 2);
    }

    #[test]
    fn a_directory_is_claimed_once() {
        let dir = tempfile::tempdir().unwrap();
        let claim = dir.path().join("attempt-0001");
        assert!(claim_dir(&claim).unwrap());
        assert!(!claim_dir(&claim).unwrap());
    }
}
