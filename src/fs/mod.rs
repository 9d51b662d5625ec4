//! Files that are whole or not there: the only place that writes.
//!
//! Everything that must survive goes through [`Disk`]: few operations, each of which can fail or be cut.
//! [`Os`] is the machine's; tests have one that fails at the n-th call and one that loses power.

#[cfg(test)]
pub(crate) mod doubles;
pub mod machine;
mod places;

use std::collections::hash_map::RandomState;
use std::fmt::Debug;
use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher as _, Hasher as _};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};

use crate::error::FileError;
use machine::Machine;
pub use places::{Placed, Scratch, length};

/// Times that a scratch file is made anew that another writer of the same file took for abandoned.
const TRIES: usize = 50;

/// What a disk can do, and what is built on it.
pub trait Disk: Sync + Debug {
    /// All bytes of a regular file, an error where it is longer than `most`: what is there to be read counts, not
    /// what the file system says.
    ///
    /// # Errors
    ///
    /// The system's; `FileTooLarge` above the cap, `InvalidInput` where it is no regular file.
    fn read(&self, path: &Path, most: u64) -> io::Result<Vec<u8>>;

    /// Paths in a directory, sorted by name.
    ///
    /// # Errors
    ///
    /// The system's; `NotADirectory` for a link to nothing.
    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>>;

    /// Whether there is a directory.
    fn is_dir(&self, path: &Path) -> bool;

    /// Whether a scratch file was left by a process that is gone, as far as that can be known.
    fn is_abandoned(&self, _scratch: &Path) -> bool {
        false
    }

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
    /// never a part: scratch file beside it, sync, rename, sync of the directory. What dead processes left of the
    /// same is removed.
    ///
    /// # Errors
    ///
    /// [`FileError`] with the path; the old content is then untouched.
    fn write_atomic(&self, path: &Path, bytes: &[u8]) -> Result<(), FileError> {
        let mut tries = 0;
        loop {
            let scratch = scratch_beside(path);
            let written = (|| {
                let mut file = self.create_file(&scratch)?;
                write_all(&mut *file, bytes)?;
                file.sync()?;
                self.rename(&scratch, path)
            })();
            tries += 1;
            match written {
                Ok(()) => break,
                // Taken for abandoned in the moment before it was locked.
                Err(e) if e.kind() == ErrorKind::NotFound && tries < TRIES => {}
                Err(source) => {
                    // The scratch file is ours alone; failing to remove it must not hide the first error.
                    let _ = self.remove(&scratch);
                    return Err(FileError::new("write", path)(source));
                }
            }
        }
        self.sweep(path);
        self.sync_dir(parent(path)).map_err(FileError::new("sync", parent(path)))
    }

    /// Removes what processes that are gone left beside `path` while they made it.
    fn sweep(&self, path: &Path) {
        let prefix = format!(".{}.", name(path));
        let own = |p: &PathBuf| is_scratch(p) && name(p).starts_with(&prefix);
        for scratch in self.list(parent(path)).unwrap_or_default().iter().filter(|p| own(p)) {
            if self.is_abandoned(scratch) {
                // Another may be faster.
                let _ = self.remove(scratch);
            }
        }
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

/// A number that no other process draws, whatever its id.
pub(crate) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Where a file or directory is made before it is renamed to `path`: a name that nobody else draws.
pub(crate) fn scratch_beside(path: &Path) -> PathBuf {
    let machine = &Machine::this().name;
    path.with_file_name(format!(".{}.{machine}.{:016x}.tmp", name(path), random()))
}

/// Whether a path is one of [`scratch_beside`], of whichever machine.
pub(crate) fn is_scratch(path: &Path) -> bool {
    let name = name(path);
    let hexadecimal = |s: &str| s.len() == 16 && s.bytes().all(|b| b.is_ascii_hexdigit());
    let mut parts = name.rsplit('.');
    name.starts_with('.')
        && parts.next() == Some("tmp")
        && parts.next().is_some_and(hexadecimal)
        && parts.next().is_some_and(hexadecimal)
}

/// All bytes of a regular file of at most so many.
///
/// # Errors
///
/// [`FileError`] with the path.
pub fn read_file(path: &Path, most: u64) -> Result<Vec<u8>, FileError> {
    Os.read(path, most).map_err(FileError::new("read", path))
}

/// Opens a regular file. A pipe is not waited for.
///
/// # Errors
///
/// The system's; `InvalidInput` where it is no regular file.
pub(crate) fn open_regular(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.custom_flags(libc::O_NONBLOCK);
    }
    let file = options.open(path)?;
    let kind = file.metadata()?;
    if kind.is_dir() {
        return Err(ErrorKind::IsADirectory.into());
    }
    if !kind.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "not a regular file"));
    }
    Ok(file)
}

/// The machine's own disk.
#[derive(Debug, Clone, Copy)]
pub struct Os;

impl Disk for Os {
    fn read(&self, path: &Path, most: u64) -> io::Result<Vec<u8>> {
        let file = open_regular(path)?;
        // A hint and no more.
        let length = file.metadata()?.len().min(most);
        let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
        file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > most {
            let why = format!("longer than {most} bytes");
            return Err(io::Error::new(ErrorKind::FileTooLarge, why));
        }
        Ok(bytes)
    }

    fn is_dir(&self, path: &Path) -> bool {
        path.is_dir()
    }

    /// A scratch file is locked while its maker lives, a scratch directory by the file `lock` in it. Those of other
    /// machines are left: their locks need not reach.
    fn is_abandoned(&self, scratch: &Path) -> bool {
        let machine = Machine::this();
        let own = name(scratch).rsplit('.').nth(2) == Some(machine.name.as_str());
        let lock = if scratch.is_dir() { scratch.join("lock") } else { scratch.to_owned() };
        own && !machine.sees_locked(&lock)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        let entries = fs::read_dir(dir).map_err(|e| {
            // Else it would look as if nothing were there, and nothing could be made there.
            let dangling = e.kind() == ErrorKind::NotFound
                && fs::symlink_metadata(dir).is_ok_and(|kind| kind.is_symlink());
            if dangling { io::Error::new(ErrorKind::NotADirectory, "a link to nothing") } else { e }
        })?;
        let mut paths = entries.map(|e| e.map(|e| e.path())).collect::<io::Result<Vec<_>>>()?;
        paths.sort();
        Ok(paths)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        fs::create_dir(dir)
    }

    fn create_file(&self, path: &Path) -> io::Result<Box<dyn Sink>> {
        let file = OpenOptions::new().append(true).create_new(true).open(path)?;
        // Where there are no locks nobody takes it for abandoned either, but a process on this machine.
        let made = is_scratch(path).then(|| file.try_clone().and_then(|f| Machine::this().lock(f)));
        Ok(Box::new(OsFile { file, _lock: made.and_then(Result::ok).flatten() }))
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

/// A file of the machine's, locked while it is a scratch file.
struct OsFile {
    file: File,
    _lock: Option<File>,
}

impl Sink for OsFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.flush()?;
        self.file.sync_data()
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
        // What another is at work on stays.
        let live = scratch_beside(&path);
        let file = Os.create_file(&live).unwrap();
        Os.write_atomic(&path, b"three").unwrap();
        assert!(live.exists());
        drop(file);
        Os.write_atomic(&path, b"four").unwrap();
        assert!(!live.exists());
    }

    #[test]
    fn writers_of_one_file_do_not_meet() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.txt");
        std::thread::scope(|scope| {
            for writer in 0..8_u8 {
                let path = &path;
                scope.spawn(move || {
                    for _ in 0..50 {
                        Os.write_atomic(path, &[writer; 5000]).unwrap();
                        let read = Os.read(path, 5000).unwrap();
                        assert!(read.len() == 5000 && read.iter().all(|b| *b == read[0]));
                    }
                });
            }
        });
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_no_regular_file_or_has_no_end_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let kind = |path: &Path| Os.read(path, 1 << 20).unwrap_err().kind();
        assert_eq!(kind(Path::new("/dev/zero")), ErrorKind::InvalidInput);
        assert_eq!(kind(dir.path()), ErrorKind::IsADirectory);
        // Files of the kernel say that they have no length; all of theirs is read, up to the cap.
        let stat = Path::new("/proc/self/stat");
        if stat.exists() {
            assert!(Os.read(stat, 1 << 16).unwrap().len() > 10);
            assert_eq!(Os.read(stat, 10).unwrap_err().kind(), ErrorKind::FileTooLarge);
        }
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
