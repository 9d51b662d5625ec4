//! A number for each of any number of places, and sets of places that are joined: the numbers in use lie in memory, the
//! others in a file.

use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use super::DataError;
use crate::error::FileError;
use crate::fs::Scratch;

/// Numbers of a page.
const PAGE: usize = 1 << 13;
/// Pages in memory: 32 MiB.
const PAGES: usize = 512;

/// A number for each place, 0 at first.
pub(super) struct Numbers {
    /// Page `p` lies at `p` modulo their number, if it is there.
    pages: Vec<Option<Page>>,
    file: Option<Scratch>,
    path: PathBuf,
}

struct Page {
    number: u64,
    changed: bool,
    values: Vec<u64>,
}

impl Numbers {
    /// All 0. What memory does not hold is written beside `path`, and removed in the end.
    pub(super) fn new(path: &Path) -> Self {
        Self::with_pages(path, PAGES)
    }

    fn with_pages(path: &Path, pages: usize) -> Self {
        let pages = std::iter::repeat_with(|| None).take(pages).collect();
        Self { pages, file: None, path: path.to_owned() }
    }

    pub(super) fn get(&mut self, place: u64) -> Result<u64, DataError> {
        let (page, at) = (place / PAGE as u64, place as usize % PAGE);
        Ok(self.page(page)?.values[at])
    }

    pub(super) fn set(&mut self, place: u64, value: u64) -> Result<(), DataError> {
        let (page, at) = (place / PAGE as u64, place as usize % PAGE);
        let page = self.page(page)?;
        page.changed |= page.values[at] != value;
        page.values[at] = value;
        Ok(())
    }

    fn page(&mut self, number: u64) -> Result<&mut Page, DataError> {
        let slot = number as usize % self.pages.len();
        if self.pages[slot].as_ref().is_none_or(|page| page.number != number) {
            let before = self.pages[slot].take();
            let page =
                self.exchange(before, number).map_err(FileError::new("write", &self.path))?;
            self.pages[slot] = Some(page);
        }
        Ok(self.pages[slot].as_mut().expect("it was put there"))
    }

    /// Writes one page and reads another in its place.
    fn exchange(&mut self, before: Option<Page>, number: u64) -> std::io::Result<Page> {
        let Some(mut page) = before else {
            return Ok(Page { number, changed: false, values: vec![0; PAGE] });
        };
        let start = |page: u64| SeekFrom::Start(page * 8 * PAGE as u64);
        if self.file.is_none() {
            self.file = Some(Scratch::beside(&self.path).map_err(|e| e.source)?);
        }
        let file = self.file.as_mut().expect("it was made");
        if page.changed {
            let bytes: Vec<u8> = page.values.iter().flat_map(|v| v.to_le_bytes()).collect();
            file.seek(start(page.number))?;
            file.write_all(&bytes)?;
        }
        let mut bytes = vec![0; 8 * PAGE];
        file.seek(start(number))?;
        match file.read_exact(&mut bytes) {
            // Nothing was written there or behind.
            Err(e) if e.kind() == ErrorKind::UnexpectedEof => bytes.fill(0),
            read => read?,
        }
        for (value, b) in page.values.iter_mut().zip(bytes.as_chunks::<8>().0) {
            *value = u64::from_le_bytes(*b);
        }
        (page.number, page.changed) = (number, false);
        Ok(page)
    }
}

/// Places that are joined. Each set is known by its first place.
pub(super) struct Joined(Numbers);

impl Joined {
    /// None is joined. See [`Numbers::new`].
    pub(super) fn new(path: &Path) -> Self {
        Self(Numbers::new(path))
    }

    /// The first place of a place's set, where it is joined with others.
    pub(super) fn set(&mut self, place: u64) -> Result<Option<u64>, DataError> {
        let mut root = place;
        loop {
            match self.0.get(root)? {
                0 => return Ok(None),
                parent if parent - 1 == root => break,
                parent => root = parent - 1,
            }
        }
        let mut at = place;
        while at != root {
            let parent = self.0.get(at)? - 1;
            self.0.set(at, root + 1)?;
            at = parent;
        }
        Ok(Some(root))
    }

    /// Makes one set of those of two places.
    pub(super) fn join(&mut self, left: u64, right: u64) -> Result<(), DataError> {
        let (left, right) = (self.set(left)?.unwrap_or(left), self.set(right)?.unwrap_or(right));
        let (low, high) = (left.min(right), left.max(right));
        self.0.set(low, low + 1)?;
        self.0.set(high, low + 1)
    }

    /// Puts a place into another set, or into none. The sets of all places up to it, and of those that are joined with
    /// it, must have been asked for since the last [`join`](Self::join).
    pub(super) fn put(&mut self, place: u64, set: Option<u64>) -> Result<(), DataError> {
        self.0.set(place, set.map_or(0, |set| set + 1))
    }

    /// The same as [`set`](Self::set) once it was asked for: one look.
    pub(super) fn known(&mut self, place: u64) -> Result<Option<u64>, DataError> {
        Ok(self.0.get(place)?.checked_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::random::Stream;

    #[test]
    fn numbers_are_kept_whatever_memory_holds() {
        let dir = tempfile::tempdir().unwrap();
        let mut numbers = Numbers::with_pages(&dir.path().join("numbers"), 3);
        let (stream, mut want) = (Stream::new(1, "numbers"), HashMap::new());
        for n in 0..20_000 {
            let place = stream.below(2 * n, 20 * PAGE as u64);
            if n % 3 == 0 {
                want.insert(place, n);
                numbers.set(place, n).unwrap();
            }
            let asked = stream.below(2 * n + 1, 30 * PAGE as u64);
            for place in [place, asked] {
                assert_eq!(numbers.get(place).unwrap(), want.get(&place).copied().unwrap_or(0));
            }
        }
        assert!(want.iter().all(|(place, n)| numbers.get(*place).unwrap() == *n));
        drop(numbers);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn joined_places_are_known_by_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let mut joined = Joined::new(&dir.path().join("joined"));
        for (left, right) in [(7, 3), (9, 8), (8, 7), (1, 2), (3, 9)] {
            joined.join(left, right).unwrap();
        }
        let sets: Vec<_> = (0..10).map(|place| joined.set(place).unwrap()).collect();
        let [one, three] = [Some(1), Some(3)];
        assert_eq!(sets, [None, one, one, three, None, None, None, three, three, three]);
        assert_eq!(joined.known(8).unwrap(), three);
        joined.put(8, None).unwrap();
        assert_eq!((joined.set(8).unwrap(), joined.set(9).unwrap()), (None, three));
    }
}
