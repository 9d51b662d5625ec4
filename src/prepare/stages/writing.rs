//! What a worker makes once for all units that it writes.

use std::collections::BTreeSet;

use super::encoder::Encoder;
use crate::prepare::ngrams::Index;

/// What every unit is written with.
pub(super) struct Writing {
    pub(super) encoder: Encoder,
    /// Every id is below this.
    pub(super) vocab: u32,
    /// What training documents must not share an n-gram with.
    pub(super) contacts: Option<Contacts>,
}

/// What is to be measured, by n-grams.
pub(super) struct Contacts {
    pub(super) index: Index,
    /// Sets by name, each with the first item that is not of it any more.
    pub(super) sets: Vec<(String, u32)>,
}

impl Contacts {
    /// The names of the sets that a normalised text shares an n-gram with, each once.
    pub(super) fn of(&self, normalised: &str) -> BTreeSet<&str> {
        let hits = self.index.scan(normalised);
        let set = |place: &u32| {
            let item = self.index.item(*place);
            self.sets[self.sets.partition_point(|(_, end)| *end <= item)].0.as_str()
        };
        hits.places.iter().map(set).collect()
    }
}

impl std::fmt::Debug for Writing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writing").field("vocab", &self.vocab).finish_non_exhaustive()
    }
}
