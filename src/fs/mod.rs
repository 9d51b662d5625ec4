//! Files that are whole or not there: the only place that writes.
//!
//! Everything that must survive goes through [`Disk`]: few operations, each of which can fail or be cut.
//! [`Os`] is the machine's; tests have one that fails at the n-th call and one that loses power.
//!
//! Reads: `error`. Read by: `data`, `ledger`, `exec`, `cli`.

#[cfg(test)]
pub(crate) mod doubles;

use std::fmt::Debug;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use crate::error::FileError;

/// What a disk can do, and what is built on it.
pub trait Disk: Sync + Debug {
    /// All bytes of a file, an error where it is longer than `most`.
    ///
    /// # Errors
    ///
    /// The system's; `FileTooLarge` above the cap.
    fn read(&self, path: &Path, most: u64) -> io::Result<Vec<u8>>;

    /// Paths in a directory, sorted by name.
    ///
    /// # Errors
    ///
    /// The system's.
    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>>;

    /// Creates one directory.
    ///
    /// # Errors
    ///
    /// `AlreadyExists` when it is there, else the system's.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;

    /// Creates a file that must not exist, for appending.
    ///
    /// # Errors
    ///
    /// `AlreadyExists` when it is there, else the system's.
    fn create_file(&self, path: &Path) -> io::Result<Box<dyn Sink>>;

    /// Gives a file another name, in place of a file that has it.
    ///
    /// # Errors
    ///
    /// The system's.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file, or a directory with all in it.
    ///
    /// # Errors
    ///
    /// The system's.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes the entries of a directory durable.
    ///
    /// # Errors
    ///
    /// The system's.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Creates a directory that must not exist yet; `false` when it does. Its creation is the claim: of any
    /// number of callers exactly one is told `true`.
    ///
    /// # Errors
    ///
    /// [`FileError`] with the path, for any other reason.
    fn claim_dir(&self, dir: &Path) -> Result<bool, FileError> {
        match self.create_dir(dir) {
            Ok(()) => {
                let parent = parent(dir);
                self.sync_dir(parent).map_err(FileError::new("sync", parent)).map(|()| true)
            }
            Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok(false),
            Err(e) => Err(FileError::new("create", dir)(e)),
        }
    }

    /// Creates a directory and its parents.
    ///
    /// # Errors
    ///
    /// [`FileError`] with the path.
    fn create_dirs(&self, dir: &Path) -> Result<(), FileError> {
        match self.create_dir(dir) {
            Err(e) if e.kind() == ErrorKind::NotFound && parent(dir) != dir => {
                self.create_dirs(parent(dir))?;
                self.claim_dir(dir).map(|_| ())
            }
            Ok(()) => self.sync_dir(parent(dir)).map_err(FileError::new("sync", parent(dir))),
            Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok(()),
            Err(e) => Err(FileError::new("create", dir)(e)),
        }
    }

    /// Writes a file so that a reader, and a machine that loses power, sees the old content or the new,
    /// never a part: scratch file beside it, sync, rename, sync of the directory.
    ///
    /// # Errors
    ///
    /// [`FileError`] with the path; the old content is then untouched.
    fn write_atomic(&self, path: &Path, bytes: &[u8]) -> Result<(), FileError> {
        let scratch = scratch_beside(path);
        let written = (|| {
            let mut file = match self.create_file(&scratch) {
                // Left by a process of the same number that died.
                Err(e) if e.kind() == ErrorKind::AlreadyExists => {
                    self.remove(&scratch)?;
                    self.create_file(&scratch)?
                }
                other => other?,
            };
            write_all(&mut *file, bytes)?;
            file.sync()?;
            self.rename(&scratch, path)
        })();
        if let Err(source) = written {
            // The scratch file is ours alone; failing to remove it must not hide the first error.
            let _ = self.remove(&scratch);
            return Err(FileError::new("write", path)(source));
        }
        self.sync_dir(parent(path)).map_err(FileError::new("sync", parent(path)))
    }

    /// Creates a file that must not exist and only grows.
    ///
    /// # Errors
    ///
    /// [`FileError`] with the path.
    fn appender(&self, path: &Path) -> Result<Appender, FileError> {
        let sink = self.create_file(path).map_err(FileError::new("create", path))?;
        self.sync_dir(parent(path)).map_err(FileError::new("sync", parent(path)))?;
        Ok(Appender { sink, path: path.to_owned() })
    }
}

/// A file that is being written.
pub trait Sink: Send {
    /// Appends some of the bytes and says how many.
    ///
    /// # Errors
    ///
    /// The system's.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// Waits until what was written is durable.
    ///
    /// # Errors
    ///
    /// The system's. Final: what a disk says after a failed sync proves nothing.
    fn sync(&mut self) -> io::Result<()>;
}

fn write_all(sink: &mut dyn Sink, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match sink.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(n) => bytes = &bytes[n..],
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// The directory a path is in.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        Some(_) => Path::new("."),
        None => path,
    }
}

fn scratch_beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}.tmp", std::process::id()))
}

/// The machine's own disk.
#[derive(Debug, Clone, Copy)]
pub struct Os;

impl Disk for Os {
    fn read(&self, path: &Path, most: u64) -> io::Result<Vec<u8>> {
        if fs::metadata(path)?.len() > most {
            return Err(io::Error::new(
                ErrorKind::FileTooLarge,
                format!("longer than {most} bytes"),
            ));
        }
        fs::read(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        let mut paths =
            fs::read_dir(dir)?.map(|e| e.map(|e| e.path())).collect::<io::Result<Vec<_>>>()?;
        paths.sort();
        Ok(paths)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        fs::create_dir(dir)
    }

    fn create_file(&self, path: &Path) -> io::Result<Box<dyn Sink>> {
        let file = OpenOptions::new().append(true).create_new(true).open(path)?;
        Ok(Box::new(file))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }
}

impl Sink for File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        io::Write::write(self, bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.flush()?;
        self.sync_data()
    }
}

/// A file that only grows; what [`Appender::append`] returns from with `sync` is on the disk.
pub struct Appender {
    sink: Box<dyn Sink>,
    path: PathBuf,
}

impl Debug for Appender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Appender").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Appender {
    /// Appends and, if `sync`, waits until the bytes are durable.
    ///
    /// # Errors
    ///
    /// [`FileError`] with the path. A failed sync is final: the file must not be written again.
    pub fn append(&mut self, bytes: &[u8], sync: bool) -> Result<(), FileError> {
        write_all(&mut *self.sink, bytes).map_err(FileError::new("write", &self.path))?;
        if sync {
            self.sink.sync().map_err(FileError::new("sync", &self.path))?;
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
        Os.write_atomic(&path, b"one").unwrap();
        // As a process that died would leave it.
        fs::write(scratch_beside(&path), b"half").unwrap();
        Os.write_atomic(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn an_error_names_the_path() {
        let error = Os.write_atomic(Path::new("/nowhere/at/all.txt"), b"x").unwrap_err();
        assert!(error.to_string().contains("/nowhere/at/all.txt"), "{error}");
        assert_eq!(error.code(), 2);
    }

    #[test]
    fn a_directory_is_claimed_once() {
        let dir = tempfile::tempdir().unwrap();
        let claim = dir.path().join("attempt-0001");
        assert!(Os.claim_dir(&claim).unwrap());
        assert!(!Os.claim_dir(&claim).unwrap());
    }

    #[test]
    fn a_file_above_the_cap_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("long");
        fs::write(&path, [0; 10]).unwrap();
        assert_eq!(Os.read(&path, 10).unwrap().len(), 10);
        assert_eq!(Os.read(&path, 9).unwrap_err().kind(), ErrorKind::FileTooLarge);
    }
}
