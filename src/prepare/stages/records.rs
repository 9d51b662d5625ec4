//! Files of records, written and read in order: in memory that does not grow with them.

use std::fs::File;
use std::io::{BufReader, BufWriter, ErrorKind, Read as _, Write as _};
use std::path::PathBuf;

use super::DataError;
use crate::error::FileError;
use crate::fs::{Disk as _, Os, Scratch, open_regular};

/// Bytes that are read or written at once.
const BUFFER: usize = 128 << 10;

/// A file in the making, which gets its name when it is whole.
pub(super) struct Writer {
    file: BufWriter<Scratch>,
    path: PathBuf,
}

impl Writer {
    pub(super) fn create(path: PathBuf) -> Result<Self, DataError> {
        if let Some(parent) = path.parent() {
            Os.create_dirs(parent)?;
        }
        Ok(Self { file: BufWriter::with_capacity(BUFFER, Scratch::beside(&path)?), path })
    }

    /// Adds bytes.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), DataError> {
        Ok(self.file.write_all(bytes).map_err(|e| FileError::new("write", &self.path)(e))?)
    }

    /// Makes it durable.
    pub(super) fn keep(self) -> Result<(), DataError> {
        let whole = self.file.into_inner().map_err(std::io::IntoInnerError::into_error);
        Ok(whole.map_err(FileError::new("write", self.path))?.keep()?)
    }
}

/// Records of `N` bytes, one after another.
pub(super) struct Reader<const N: usize> {
    file: BufReader<File>,
    path: PathBuf,
}

impl<const N: usize> Reader<N> {
    pub(super) fn open(path: PathBuf) -> Result<Self, DataError> {
        let file = open_regular(&path).map_err(FileError::new("read", &path))?;
        Ok(Self { file: BufReader::with_capacity(BUFFER, file), path })
    }

    /// The next record, `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<[u8; N]>, DataError> {
        let (mut record, mut have) = ([0; N], 0);
        while have < N {
            match self.file.read(&mut record[have..]) {
                Ok(0) if have == 0 => return Ok(None),
                Ok(0) => return Err(self.failed(ErrorKind::UnexpectedEof)),
                Ok(n) => have += n,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(FileError::new("read", &self.path)(e).into()),
            }
        }
        Ok(Some(record))
    }

    /// What is said of a record that cannot be.
    pub(super) fn failed(&self, kind: ErrorKind) -> DataError {
        FileError::new("read", &self.path)(kind.into()).into()
    }
}
