//! A dataset from a recipe, in stages of units that any number of workers share.
//!
//! ```text
//! judge      every document: kept, or which rule removes it; its key; what tells copies       one unit for some 64 MB
//! resolve    which copies go                                                                  one
//! tokenizer  trained on a sample, or taken                                                    one
//! write      the documents that stay, as token shards; held-out parts                         one for some 64 MB
//! seal       held-out sets, the card and the manifest; `work/` is removed                     one
//! ```
//!
//! A worker claims a unit ([`lease`](crate::ledger::lease)), writes its files and then one sealed line, which says that
//! the unit is done. What a unit writes depends on the recipe and its input alone, so a unit that was cut, or done
//! twice, or done by another machine, leaves the same bytes. A stage begins when every unit of the one before is done.

mod alike;
mod card;
mod contacts;
mod encoder;
mod judge;
mod numbers;
mod places;
mod progress;
mod queue;
mod records;
mod reference;
mod resolve;
mod runs;
mod sample;
mod scatter;
mod seal;
mod sets;
#[cfg(test)]
mod tests;
mod tokens;
mod verdicts;
mod work;
mod write;
mod writing;

use crate::data::DataError;

pub(crate) use card::CARD;
pub use card::{Card, DomainCard};
pub use judge::{Example, Rule};
pub use progress::{Progress, Reached};
pub use queue::{Next, Queue, Stage};
pub use reference::{Mix, Reference};
pub use resolve::Copies;
pub use sample::{Forecast, Sample};
pub use sets::{CopySet, Member};
pub use work::{Unit, Work, read_recipe};

impl Work {
    /// Does one unit. `progress` is told bytes of input as they are read.
    ///
    /// # Errors
    ///
    /// [`DataError`] with the file and the place.
    pub fn perform(
        &self,
        stage: Stage,
        unit: usize,
        progress: &dyn Fn(u64),
    ) -> Result<(), DataError> {
        match stage {
            Stage::Judge => judge::unit(self, unit, progress),
            Stage::Resolve => resolve::all(self),
            Stage::Tokenizer => tokens::make(self),
            Stage::Write => write::unit(self, unit, progress),
            Stage::Seal => seal::all(self),
        }
    }
}
