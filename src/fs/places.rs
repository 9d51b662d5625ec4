//! Files that are read at places, and files that are written at places before they get their name.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::machine::Machine;
use super::{Disk as _, Os, open_regular, parent, scratch_beside};
use crate::error::FileError;

/// Length of a regular file [bytes].
///
/// # Errors
///
/// [`FileError`] with the path.
pub fn length(path: &Path) -> Result<u64, FileError> {
    let kind = fs::metadata(path).map_err(FileError::new("read", path))?;
    if kind.is_file() {
        return Ok(kind.len());
    }
    let source = io::Error::new(io::ErrorKind::InvalidInput, "not a regular file");
    Err(FileError::new("read", path)(source))
}

/// A regular file that is read at places, by any number of threads.
#[derive(Debug)]
pub struct Placed {
    file: File,
    path: PathBuf,
}

impl Placed {
    /// Opens it.
    ///
    /// # Errors
    ///
    /// [`FileError`] with the path.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        let file = open_regular(path).map_err(FileError::new("read", path))?;
        Ok(Self { file, path: path.to_owned() })
    }

    /// Fills `out` with the bytes from `at` on.
    ///
    /// # Errors
    ///
    /// [`FileError`] with the path; `UnexpectedEof` where the file ends before.
    pub fn read_at(&self, out: &mut [u8], at: u64) -> Result<(), FileError> {
        #[cfg(unix)]
        let read = std::os::unix::fs::FileExt::read_exact_at(&self.file, out, at);
        #[cfg(not(unix))]
        let read = self.file.try_clone().and_then(|mut file| {
            file.seek(SeekFrom::Start(at))?;
            file.read_exact(out)
        });
        read.map_err(FileError::new("read", &self.path))
    }
}

impl Read for Placed {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.file.read(out)
    }
}

/// A file in the making, beside the place that it will have: read and written anywhere in it, and seen by nobody until
/// it is kept. One that is dropped is removed, one of a killed process is swept away by the next writer of the same.
#[derive(Debug)]
pub struct Scratch {
    file: File,
    made: PathBuf,
    path: PathBuf,
    kept: bool,
    _lock: Option<File>,
}

impl Scratch {
    /// An empty one that will be `path`.
    ///
    /// # Errors
    ///
    /// [`FileError`] with the path.
    pub fn beside(path: &Path) -> Result<Self, FileError> {
        let made = scratch_beside(path);
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create_new(true).open(&made);
        let file = file.map_err(FileError::new("create", path))?;
        let lock = file.try_clone().and_then(|file| Machine::this().lock(file)).ok().flatten();
        Ok(Self { file, made, path: path.to_owned(), kept: false, _lock: lock })
    }

    /// Makes it durable and gives it its name, in place of a file that has it.
    ///
    /// # Errors
    ///
    /// [`FileError`] with the path; nothing is there then but what was.
    pub fn keep(mut self) -> Result<(), FileError> {
        let path = self.path.clone();
        self.file.sync_data().map_err(FileError::new("sync", &path))?;
        fs::rename(&self.made, &path).map_err(FileError::new("write", &path))?;
        self.kept = true;
        Os.sweep(&path);
        Os.sync_dir(parent(&path)).map_err(FileError::new("sync", parent(&path)))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !self.kept {
            // It is ours alone, and of no use to anybody.
            let _ = fs::remove_file(&self.made);
        }
    }
}

impl Read for Scratch {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.file.read(out)
    }
}

impl Write for Scratch {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Seek for Scratch {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scratch_file_has_its_name_when_it_is_kept_and_is_gone_when_it_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.bin");
        let there = || fs::read_dir(dir.path()).unwrap().count();
        let mut file = Scratch::beside(&path).unwrap();
        file.write_all(b"0123").unwrap();
        assert!(!path.exists() && there() == 1);
        drop(file);
        assert_eq!(there(), 0);
        // As a process that was killed would leave it.
        fs::write(scratch_beside(&path), b"half").unwrap();
        let mut file = Scratch::beside(&path).unwrap();
        file.write_all(b"0123456").unwrap();
        file.rewind().unwrap();
        file.write_all(b"ab").unwrap();
        file.keep().unwrap();
        assert_eq!((fs::read(&path).unwrap(), there()), (b"ab23456".to_vec(), 1));
        assert_eq!(length(&path).unwrap(), 7);
        let placed = Placed::open(&path).unwrap();
        let mut out = [0; 3];
        placed.read_at(&mut out, 1).unwrap();
        assert_eq!(&out, b"b23");
        let error = placed.read_at(&mut out, 5).unwrap_err();
        assert_eq!(error.source.kind(), io::ErrorKind::UnexpectedEof);
        assert!(length(dir.path()).is_err());
    }
}
