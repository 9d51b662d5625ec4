//! Keys of documents in sorted runs on disk, and runs merged: in memory that does not grow with how many there are.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;

use super::records::Writer;
use super::{DataError, Work};
use crate::error::FileError;
use crate::fs::open_regular;

/// Bytes of an entry on disk: a key and a number.
const ENTRY: usize = 16 + 4;
/// Entries that are held until they are sorted and written, 32 bytes each.
const HELD: usize = 2 << 20;
/// Entries of all runs together that are read ahead, and the fewest of one run.
const AHEAD: usize = 2 << 20;
const LEAST: usize = 64;

/// A key, and the number of the document that has it.
type Entry = (u128, u32);

/// Writes the runs of a unit. A run has several lists, each sorted: how long they are, then their entries.
pub(super) struct Runs<'w> {
    work: &'w Work,
    stage: &'static str,
    unit: usize,
    lists: Vec<Vec<Entry>>,
    held: usize,
    most: usize,
    written: u32,
}

impl<'w> Runs<'w> {
    pub(super) fn new(work: &'w Work, stage: &'static str, unit: usize, lists: usize) -> Self {
        Self { work, stage, unit, lists: vec![Vec::new(); lists], held: 0, most: HELD, written: 0 }
    }

    /// Adds an entry to a list.
    pub(super) fn push(&mut self, list: usize, key: u128, number: u32) -> Result<(), DataError> {
        if self.held == self.most {
            self.write()?;
        }
        self.held += 1;
        self.lists[list].push((key, number));
        Ok(())
    }

    fn write(&mut self) -> Result<(), DataError> {
        let mut out = Writer::create(path(self.work, self.stage, self.unit, self.written))?;
        for list in &self.lists {
            out.write(&(list.len() as u64).to_le_bytes())?;
        }
        for list in &mut self.lists {
            list.sort_unstable();
            for (key, number) in list.drain(..) {
                out.write(&key.to_le_bytes())?;
                out.write(&number.to_le_bytes())?;
            }
        }
        self.written += 1;
        self.held = 0;
        out.keep()
    }

    /// Writes what is left; the number of runs.
    pub(super) fn finish(mut self) -> Result<u32, DataError> {
        if self.held > 0 {
            self.write()?;
        }
        Ok(self.written)
    }
}

fn path(work: &Work, stage: &str, unit: usize, run: u32) -> PathBuf {
    work.file(stage, unit, &format!("run-{run:03}"))
}

/// Where the runs of a unit are.
#[derive(Debug, Clone)]
pub(super) struct Source {
    path: PathBuf,
    unit: u32,
}

/// The runs that a unit wrote, so many of them.
pub(super) fn sources(
    work: &Work,
    stage: &str,
    unit: usize,
    runs: u32,
) -> impl Iterator<Item = Source> {
    (0..runs).map(move |run| Source { path: path(work, stage, unit, run), unit: unit as u32 })
}

/// One list of a run on disk. No file stays open, since there may be more runs than files may be.
struct Run<'s> {
    source: &'s Source,
    /// Bytes of the list that are not read yet.
    left: std::ops::Range<u64>,
    ahead: usize,
    entries: std::vec::IntoIter<Entry>,
}

impl<'s> Run<'s> {
    fn open(
        source: &'s Source,
        list: usize,
        lists: usize,
        ahead: usize,
    ) -> Result<Self, DataError> {
        let failed = |e| FileError::new("read", &source.path)(e);
        let mut header = vec![0; 8 * lists];
        let mut file = open_regular(&source.path).map_err(failed)?;
        file.read_exact(&mut header).map_err(failed)?;
        let lengths = header.as_chunks::<8>().0.iter().map(|b| u64::from_le_bytes(*b));
        let mut from = header.len() as u64;
        for (i, length) in lengths.enumerate() {
            let bytes = length.checked_mul(ENTRY as u64);
            let to = bytes.and_then(|bytes| from.checked_add(bytes));
            let to = to.ok_or_else(|| failed(ErrorKind::InvalidData.into()))?;
            if i == list {
                let entries = Vec::new().into_iter();
                return Ok(Self { source, left: from..to, ahead, entries });
            }
            from = to;
        }
        Err(failed(ErrorKind::InvalidData.into()).into())
    }

    fn next(&mut self) -> Result<Option<Entry>, DataError> {
        if let Some(entry) = self.entries.next() {
            return Ok(Some(entry));
        }
        if self.left.is_empty() {
            return Ok(None);
        }
        let failed = |e| FileError::new("read", &self.source.path)(e);
        let mut file = open_regular(&self.source.path).map_err(failed)?;
        file.seek(SeekFrom::Start(self.left.start)).map_err(failed)?;
        let length = (self.left.end - self.left.start).min((ENTRY * self.ahead) as u64);
        let mut bytes = vec![0; length as usize];
        file.read_exact(&mut bytes).map_err(failed)?;
        self.left.start += length;
        let entry = |b: &[u8; ENTRY]| {
            let (key, number) = b.split_at(16);
            let key = u128::from_le_bytes(key.try_into().expect("16 bytes"));
            (key, u32::from_le_bytes(number.try_into().expect("4 bytes")))
        };
        let entries: Vec<Entry> = bytes.as_chunks::<ENTRY>().0.iter().map(entry).collect();
        self.entries = entries.into_iter();
        Ok(self.entries.next())
    }
}

/// Calls `each` with key, unit and number of every entry of one of so many lists, in their order.
pub(super) fn merge(
    sources: &[Source],
    list: usize,
    lists: usize,
    each: &mut dyn FnMut(u128, u32, u32) -> Result<(), DataError>,
) -> Result<(), DataError> {
    let ahead = (AHEAD / sources.len().max(1)).clamp(LEAST, 1 << 14);
    let mut runs = Vec::with_capacity(sources.len());
    for source in sources {
        runs.push(Run::open(source, list, lists, ahead)?);
    }
    let mut heap = BinaryHeap::new();
    for (i, run) in runs.iter_mut().enumerate() {
        heap.extend(run.next()?.map(|(key, number)| Reverse((key, run.source.unit, number, i))));
    }
    while let Some(Reverse((key, unit, number, i))) = heap.pop() {
        each(key, unit, number)?;
        let run = &mut runs[i];
        heap.extend(run.next()?.map(|(key, number)| Reverse((key, unit, number, i))));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::random::Stream;

    #[test]
    fn entries_come_sorted_from_any_number_of_runs() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a.txt"), "text").unwrap();
        let recipe = "name = \"a\"\n[domain.a]\nread = { text = [\"a.txt\"] }\n";
        fs::write(dir.path().join("a.toml"), recipe).unwrap();
        let work = Work::plan(&dir.path().join("out"), &dir.path().join("a.toml")).unwrap();
        let stream = Stream::new(1, "keys");
        let (mut all, mut want) = (Vec::new(), vec![Vec::new(); 3]);
        for (unit, entries) in [0, 1, 400].into_iter().enumerate() {
            let mut runs = Runs { most: 90, ..Runs::new(&work, "judge", unit, 3) };
            for number in 0..entries {
                let key = u128::from(stream.below(number, 50)) << 70;
                let list = stream.below(1000 + number, 2) as usize * 2;
                want[list].push((key, unit as u32, number as u32));
                runs.push(list, key, number as u32).unwrap();
            }
            let count = runs.finish().unwrap();
            assert_eq!(u64::from(count), entries.div_ceil(90));
            all.extend(sources(&work, "judge", unit, count));
        }
        for (list, mut want) in want.into_iter().enumerate() {
            let mut found = Vec::new();
            let mut each = |key, unit, number| {
                found.push((key, unit, number));
                Ok(())
            };
            merge(&all, list, 3, &mut each).unwrap();
            want.sort_unstable();
            assert_eq!(found, want);
        }
        assert!(merge(&all, 3, 3, &mut |_, _, _| Ok(())).is_err());
    }
}
