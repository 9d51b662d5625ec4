//! Two disks that fail as real ones do, for tests.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use super::{Disk, Os, Sink, parent};

/// The machine's disk, whose n-th call fails, and every later one where `for_ever`.
#[derive(Debug, Clone)]
pub(crate) struct Faulty {
    state: Arc<Mutex<(u64, u64)>>,
    fault: Fault,
    for_ever: bool,
}

/// How a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// An error of this kind.
    Error(ErrorKind),
    /// A write takes half of its bytes and succeeds; other calls succeed.
    Short,
}

impl Faulty {
    /// Fails at call `at`, counted from 0.
    pub(crate) fn new(at: u64, fault: Fault, for_ever: bool) -> Self {
        Self { state: Arc::new(Mutex::new((0, at))), fault, for_ever }
    }

    /// Calls so far.
    pub(crate) fn calls(&self) -> u64 {
        self.state.lock().unwrap().0
    }

    /// Whether this call is the one.
    fn hit(&self) -> bool {
        let mut state = self.state.lock().unwrap();
        let (now, at) = *state;
        state.0 += 1;
        now == at || self.for_ever && now > at
    }

    /// Fails, or says whether the call is to be short.
    fn pass(&self) -> io::Result<bool> {
        match (self.hit(), self.fault) {
            (true, Fault::Error(kind)) => Err(kind.into()),
            (hit, _) => Ok(hit),
        }
    }
}

impl Disk for Faulty {
    fn read(&self, path: &Path, most: u64) -> io::Result<Vec<u8>> {
        self.pass()?;
        Os.read(path, most)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        self.pass()?;
        Os.list(dir)
    }

    fn is_dir(&self, path: &Path) -> bool {
        Os.is_dir(path)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.pass()?;
        Os.create_dir(dir)
    }

    fn create_file(&self, path: &Path) -> io::Result<Box<dyn Sink>> {
        self.pass()?;
        Ok(Box::new(FaultyFile { disk: self.clone(), file: Os.create_file(path)? }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.pass()?;
        Os.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.pass()?;
        Os.remove(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.pass()?;
        Os.sync_dir(dir)
    }
}

struct FaultyFile {
    disk: Faulty,
    file: Box<dyn Sink>,
}

impl Sink for FaultyFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let most = if self.disk.pass()? { bytes.len().div_ceil(2) } else { bytes.len() };
        self.file.write(&bytes[..most])
    }

    fn sync(&mut self) -> io::Result<()> {
        self.disk.pass()?;
        self.file.sync()
    }
}

/// A disk in memory that loses power: after a number of syncs every call fails, and what then is there is
/// one of the images that a real disk may leave.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shadow(Arc<Mutex<Image>>);

#[derive(Debug, Clone, Default)]
struct Image {
    /// Names as a running system sees them, and as they survive.
    names: BTreeMap<PathBuf, Node>,
    durable: BTreeMap<PathBuf, Node>,
    /// Contents as a running system sees them, and how much survives for sure.
    files: Vec<(Vec<u8>, usize)>,
    syncs: u64,
    /// Syncs after which the power goes.
    last: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Node {
    Dir,
    File(usize),
}

/// What a disk may have kept of what was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    /// Nothing.
    Nothing,
    /// All of it.
    All,
    /// The names, without contents.
    Names,
    /// The names, and half of each content.
    Half,
    /// Contents of files whose names were synced.
    Contents,
}

/// Every image there is.
pub(crate) const KEPT: [Kept; 5] =
    [Kept::Nothing, Kept::All, Kept::Names, Kept::Half, Kept::Contents];

impl Shadow {
    /// Loses power at sync `last`, counted from 0: that one is not done.
    pub(crate) fn until(last: u64) -> Self {
        Self(Arc::new(Mutex::new(Image { last: Some(last), ..Image::default() })))
    }

    /// Syncs so far.
    pub(crate) fn syncs(&self) -> u64 {
        self.0.lock().unwrap().syncs
    }

    /// The disk after the power came back.
    pub(crate) fn after(&self, kept: Kept) -> Self {
        let image = self.0.lock().unwrap();
        let names = if matches!(kept, Kept::Nothing | Kept::Contents) {
            &image.durable
        } else {
            &image.names
        };
        // A name is reached through the names above it.
        let reached = |path: &Path| {
            let above = path.ancestors().skip(1);
            above
                .filter(|dir| dir.parent().is_some_and(|_| *dir != Path::new("")))
                .all(|dir| names.contains_key(dir))
        };
        let names: BTreeMap<_, _> =
            names.iter().filter(|(path, _)| reached(path)).map(|(p, n)| (p.clone(), *n)).collect();
        let files = image.files.iter().map(|(bytes, sure)| {
            let most = match kept {
                Kept::Nothing | Kept::Names => *sure,
                Kept::All | Kept::Contents => bytes.len(),
                Kept::Half => sure + (bytes.len() - sure) / 2,
            };
            (bytes[..most].to_vec(), most)
        });
        Self(Arc::new(Mutex::new(Image {
            names: names.clone(),
            durable: names.clone(),
            files: files.collect(),
            ..Image::default()
        })))
    }

    fn on(&self) -> io::Result<MutexGuard<'_, Image>> {
        let image = self.0.lock().unwrap();
        if image.last.is_some_and(|last| image.syncs > last) {
            return Err(io::Error::other("the power is gone"));
        }
        Ok(image)
    }
}

impl Image {
    /// Counts a sync; false where it is the one that is not done.
    fn sync(&mut self) -> io::Result<()> {
        self.syncs += 1;
        match self.last {
            Some(last) if self.syncs > last => Err(io::Error::other("the power is gone")),
            _ => Ok(()),
        }
    }

    fn has_dir(&self, dir: &Path) -> bool {
        // What lies outside of the test's tree is there.
        dir.parent().is_none() || dir == Path::new(".") || self.names.get(dir) == Some(&Node::Dir)
    }

    fn free(&self, path: &Path) -> io::Result<()> {
        if self.names.contains_key(path) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        if self.has_dir(parent(path)) { Ok(()) } else { Err(ErrorKind::NotFound.into()) }
    }
}

impl Disk for Shadow {
    fn read(&self, path: &Path, most: u64) -> io::Result<Vec<u8>> {
        let image = self.on()?;
        match image.names.get(path) {
            Some(Node::File(i)) if image.files[*i].0.len() as u64 > most => {
                Err(ErrorKind::FileTooLarge.into())
            }
            Some(Node::File(i)) => Ok(image.files[*i].0.clone()),
            _ => Err(ErrorKind::NotFound.into()),
        }
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        let image = self.on()?;
        if !image.has_dir(dir) {
            return Err(ErrorKind::NotFound.into());
        }
        Ok(image.names.keys().filter(|p| *p != dir && parent(p) == dir).cloned().collect())
    }

    fn is_dir(&self, path: &Path) -> bool {
        self.on().is_ok_and(|image| image.has_dir(path))
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        let mut image = self.on()?;
        image.free(dir)?;
        image.names.insert(dir.to_owned(), Node::Dir);
        Ok(())
    }

    fn create_file(&self, path: &Path) -> io::Result<Box<dyn Sink>> {
        let mut image = self.on()?;
        image.free(path)?;
        let index = image.files.len();
        image.files.push((Vec::new(), 0));
        image.names.insert(path.to_owned(), Node::File(index));
        Ok(Box::new(ShadowFile { disk: self.clone(), index }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut image = self.on()?;
        let node = image.names.remove(from).ok_or(ErrorKind::NotFound)?;
        image.names.insert(to.to_owned(), node);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut image = self.on()?;
        if !image.names.contains_key(path) {
            return Err(ErrorKind::NotFound.into());
        }
        image.names.retain(|name, _| !name.starts_with(path));
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut image = self.on()?;
        image.sync()?;
        let inside = |name: &PathBuf| name != dir && parent(name) == dir;
        let Image { names, durable, .. } = &mut *image;
        durable.retain(|name, _| !inside(name));
        durable.extend(names.iter().filter(|(n, _)| inside(n)).map(|(n, node)| (n.clone(), *node)));
        Ok(())
    }
}

struct ShadowFile {
    disk: Shadow,
    index: usize,
}

impl Sink for ShadowFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut image = self.disk.on()?;
        image.files[self.index].0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut image = self.disk.on()?;
        image.sync()?;
        let (bytes, sure) = &mut image.files[self.index];
        *sure = bytes.len();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The double must be able to lose what a careless program loses.
    #[test]
    fn power_loss_takes_what_was_not_synced() {
        let disk = Shadow::default();
        let dir = Path::new("/r");
        disk.create_dirs(dir).unwrap();
        disk.create_file(&dir.join("careless")).unwrap().write(b"lost").unwrap();
        disk.write_atomic(&dir.join("careful"), b"kept").unwrap();
        let after = disk.after(Kept::Nothing);
        assert_eq!(after.read(&dir.join("careful"), 99).unwrap(), b"kept");
        // Its name was synced with its neighbour's; its content never.
        assert_eq!(after.read(&dir.join("careless"), 99).unwrap(), b"");
        assert_eq!(disk.after(Kept::All).read(&dir.join("careless"), 99).unwrap(), b"lost");
    }

    #[test]
    fn an_atomic_write_is_old_or_new_whenever_the_power_goes() {
        let path = Path::new("/r/file");
        let whole = Shadow::default();
        let write = |disk: &Shadow| {
            disk.create_dirs(Path::new("/r"))?;
            disk.write_atomic(path, b"old")?;
            disk.write_atomic(path, b"newer")
        };
        write(&whole).unwrap();
        for last in 0..whole.syncs() {
            let disk = Shadow::until(last);
            assert!(write(&disk).is_err());
            for kept in KEPT {
                let got = disk.after(kept).read(path, 99);
                let fine = got.as_ref().map_or(true, |b| b == b"old" || b == b"newer");
                assert!(fine, "power loss at sync {last}, {kept:?}: {got:?}");
            }
        }
    }
}
