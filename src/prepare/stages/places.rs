//! All documents of a dataset by one number: those of a unit follow those of the one before.

/// Where the documents of each unit begin.
pub(super) struct Places {
    /// The first of each unit, and the one after the last.
    firsts: Vec<u64>,
}

impl Default for Places {
    fn default() -> Self {
        Self { firsts: vec![0] }
    }
}

impl Places {
    /// Adds a unit of so many documents.
    pub(super) fn add(&mut self, documents: u64) {
        self.firsts.push(self.all().end + documents);
    }

    pub(super) fn of(&self, unit: u32, number: u32) -> u64 {
        self.firsts[unit as usize] + u64::from(number)
    }

    /// Its unit, and its number there.
    pub(super) fn unit(&self, place: u64) -> (usize, u32) {
        let unit = self.firsts.partition_point(|first| *first <= place) - 1;
        (unit, (place - self.firsts[unit]) as u32)
    }

    pub(super) fn all(&self) -> std::ops::Range<u64> {
        0..self.firsts.last().copied().unwrap_or(0)
    }
}
