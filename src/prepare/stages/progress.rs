//! How far a dataset is, for who does not work on it.

use serde::Serialize;

use super::queue::failure;
use super::{Queue, Stage, Work};

/// How far a dataset is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Progress {
    /// Its name.
    pub name: String,
    /// Whether all is done.
    pub finished: bool,
    /// Every stage, in order.
    pub stages: Vec<Reached>,
    /// Why units could not be done.
    pub failed: Vec<String>,
}

/// How far a stage is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Reached {
    /// Its name.
    pub stage: &'static str,
    /// Units that are done.
    pub done: usize,
    /// All of its units.
    pub units: usize,
    /// Input of those that are done, and of all [bytes]; 0 where a stage reads none.
    pub bytes: [u64; 2],
}

impl Work {
    /// How far it is.
    pub fn progress(&self) -> Progress {
        let mut queue = Queue::default();
        let finished = queue.is_done(self, Stage::Seal, 0);
        let mut failed = Vec::new();
        let stages = Stage::ALL.into_iter().map(|stage| {
            let units = stage.units(self);
            let done: Vec<usize> =
                (0..units).filter(|unit| finished || queue.is_done(self, stage, *unit)).collect();
            failed.extend((0..units).filter_map(|unit| failure(self, stage, unit)));
            let bytes = |of: &mut dyn Iterator<Item = usize>| match stage {
                Stage::Judge | Stage::Write => of.map(|unit| self.units[unit].bytes).sum(),
                _ => 0,
            };
            let bytes = [bytes(&mut done.iter().copied()), bytes(&mut (0..units))];
            Reached { stage: stage.name(), done: done.len(), units, bytes }
        });
        let (name, stages) = (self.recipe.name.get_ref().clone(), stages.collect());
        Progress { name, finished, stages, failed }
    }
}
