//! The running system: its name in the record, and locks that it frees when a process is gone.
//!
//! The name is a hash, so that a record may be published. Tests play several machines on one by the environment:
//! `ISOFLOP_TEST_MACHINE` is the name, `ISOFLOP_TEST_LOCKS` a directory that locks reach no farther than, and
//! `ISOFLOP_TEST_CLOCK` what the clock is ahead of that of the file server [s].

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use sha2::{Digest as _, Sha256};

/// A running system, as far as locks go.
#[derive(Debug, Clone, PartialEq)]
pub struct Machine {
    /// In the record; the same for every process of one boot and for no other.
    pub name: String,
    /// Where its locks are taken; beside what they protect where there is none.
    locks: Option<PathBuf>,
    /// What its clock is ahead [s].
    ahead: f64,
}

impl Machine {
    /// This one.
    pub fn this() -> &'static Self {
        static THIS: OnceLock<Machine> = OnceLock::new();
        THIS.get_or_init(|| {
            let set = |name| std::env::var(name).ok().filter(|v| !v.is_empty());
            let locks = set("ISOFLOP_TEST_LOCKS").map(PathBuf::from);
            let ahead = set("ISOFLOP_TEST_CLOCK").and_then(|s| s.parse().ok()).unwrap_or(0.0);
            Self { name: name_of(&set("ISOFLOP_TEST_MACHINE").unwrap_or_else(boot)), locks, ahead }
        })
    }

    /// One whose locks reach no farther than this directory.
    #[cfg(test)]
    pub(crate) fn apart(name: &str, locks: &Path) -> Self {
        Self { name: name_of(name), locks: Some(locks.to_owned()), ahead: 0.0 }
    }

    /// Takes the lock of an open file, if nobody has it as far as this machine can see. Kept as long as what is
    /// returned.
    ///
    /// # Errors
    ///
    /// The system's: a file system without locks.
    pub fn lock(&self, file: File) -> io::Result<Option<File>> {
        let file = self.reached(file)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(e)) => Err(e),
        }
    }

    /// Whether a process that this machine can see has the lock of a file.
    pub fn sees_locked(&self, path: &Path) -> bool {
        let file = File::open(path).and_then(|file| self.reached(file));
        file.is_ok_and(|f| matches!(f.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }

    /// How long ago a file was written, by the clocks of two machines: for people, never for a decision. None where
    /// it was written in the future.
    pub fn age(&self, path: &Path) -> Option<Duration> {
        let written = std::fs::metadata(path).ok()?.modified().ok()?;
        let ahead = Duration::from_secs_f64(self.ahead.abs());
        let now = SystemTime::now();
        let now = if self.ahead < 0.0 { now - ahead } else { now + ahead };
        now.duration_since(written).ok()
    }

    /// The file whose lock stands for that of `file` here.
    fn reached(&self, file: File) -> io::Result<File> {
        let Some(dir) = &self.locks else { return Ok(file) };
        let (device, inode) = number(&file.metadata()?);
        let path = dir.join(format!("{device}-{inode}"));
        OpenOptions::new().create(true).append(true).read(true).open(path)
    }
}

#[cfg(unix)]
fn number(of: &std::fs::Metadata) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt as _;
    (of.dev(), of.ino())
}

#[cfg(not(unix))]
fn number(of: &std::fs::Metadata) -> (u64, u64) {
    (0, of.len())
}

/// What the kernel calls this boot. Where it says nothing a process trusts no lock but its own.
fn boot() -> String {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    match kernel.trim() {
        "" => format!("process {:016x}", super::random()),
        kernel => kernel.to_owned(),
    }
}

/// The name in the record of a running system that the kernel calls so.
pub fn name_of(boot: &str) -> String {
    let digest = Sha256::digest(format!("isoflop machine {boot}"));
    let first = digest.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte));
    format!("{first:016x}")
}
