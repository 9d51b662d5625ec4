//! Files that stay open between reads, as many as a process may well have.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::FileError;
use crate::fs::Placed;

/// Most files that are open at once.
const OPEN: usize = 512;

/// The files that were read last, the newest at the end.
#[derive(Debug, Default)]
pub(super) struct Files {
    open: Mutex<Vec<(PathBuf, Arc<Placed>)>>,
}

impl Files {
    /// This file, opened where it is not open.
    pub(super) fn get(&self, path: &Path) -> Result<Arc<Placed>, FileError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        // The newest are the likeliest.
        if let Some(at) = open.iter().rposition(|(name, _)| name == path) {
            let last = open.len() - 1;
            open[at..].rotate_left(1);
            return Ok(Arc::clone(&open[last].1));
        }
        let file = Arc::new(Placed::open(path)?);
        if open.len() == OPEN {
            open.remove(0);
        }
        open.push((path.to_owned(), Arc::clone(&file)));
        Ok(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_that_were_read_last_stay_open_and_no_more() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::default();
        let path = |i: usize| dir.path().join(i.to_string());
        for i in 0..OPEN + 3 {
            std::fs::write(path(i), [i as u8]).unwrap();
            files.get(&path(i)).unwrap();
            files.get(&path(0)).unwrap();
        }
        let open = files.open.lock().unwrap();
        assert_eq!(open.len(), OPEN);
        assert_eq!(open[OPEN - 1].0, path(0));
        assert_eq!(open[0].0, path(4));
        drop(open);
        // What has no name any more is read where it is open.
        for (i, there) in [(0, true), (3, false)] {
            std::fs::remove_file(path(i)).unwrap();
            assert_eq!(files.get(&path(i)).is_ok(), there, "{i}");
        }
    }
}
