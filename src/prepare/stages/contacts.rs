//! N-grams of what is measured, that no training document may share: sorted on disk, with a filter in memory that
//! tells nearly all others apart.

use super::judge::lists;
use super::records::{Reader, Writer};
use super::runs::{self, Runs, Source};
use super::{DataError, Work};
use crate::documents::{self, Fields};
use crate::fs::Placed;
use crate::prepare::{ngrams, normalise};
use crate::spec::OnContact;

const STAGE: &str = "resolve";
/// N-grams that are read at once.
const BLOCK: usize = 512;
/// Bits of the filter for each n-gram, and the most that it has: 128 MiB.
const BITS: u64 = 16;
const MOST: u64 = 1 << 30;

/// Writes the n-grams of held-out documents, which lie in runs, and of items down, sorted and each once.
pub(super) fn gather(work: &Work, sources: &[Source]) -> Result<(), DataError> {
    let rule = &work.recipe.decontaminate;
    if rule.action == OnContact::Ignore {
        return Ok(());
    }
    // Theirs is the last.
    let lists = lists(&work.recipe);
    let list = lists - 1;
    let mut sources = sources.to_vec();
    if !rule.against.is_empty() {
        let mut items = Runs::new(work, STAGE, 0, lists);
        for file in documents::find(&rule.against, &work.base)?.files {
            for part in documents::parts(&file, u64::MAX)? {
                for item in documents::read(&part, &Fields::default())? {
                    for hash in ngrams::hashes(&normalise(&item?.text), rule.ngram) {
                        items.push(list, hash.into(), 0)?;
                    }
                }
            }
        }
        let count = items.finish()?;
        sources.extend(runs::sources(work, STAGE, 0, count));
    }
    let mut out = Writer::create(work.file(STAGE, 0, "contacts"))?;
    let mut last = None;
    runs::merge(&sources, list, lists, &mut |hash, _, _| {
        if last.replace(hash) == Some(hash) {
            return Ok(());
        }
        out.write(&(hash as u64).to_le_bytes())
    })?;
    out.keep()
}

/// The n-grams, ready to be looked for.
pub(super) struct Contacts {
    ngram: usize,
    filter: Filter,
    /// The first hash of each block of the file.
    firsts: Vec<u64>,
    file: Placed,
    count: u64,
}

impl Contacts {
    /// Nothing where nothing is looked for.
    pub(super) fn open(work: &Work) -> Result<Option<Self>, DataError> {
        let rule = &work.recipe.decontaminate;
        if rule.action == OnContact::Ignore {
            return Ok(None);
        }
        let path = work.file(STAGE, 0, "contacts");
        let file = Placed::open(&path)?;
        let count = crate::fs::length(&path)? / 8;
        let mut filter = Filter::of(count);
        let (mut firsts, mut hashes, mut n) = (Vec::new(), Reader::<8>::open(path)?, 0);
        while let Some(bytes) = hashes.next()? {
            let hash = u64::from_le_bytes(bytes);
            if n % BLOCK == 0 {
                firsts.push(hash);
            }
            filter.add(hash);
            n += 1;
        }
        let ngram = rule.ngram;
        Ok((count > 0).then_some(Self { ngram, filter, firsts, file, count }))
    }

    /// Does a normalised text share one?
    pub(super) fn shares(&self, normalised: &str) -> Result<bool, DataError> {
        for hash in ngrams::hashes(normalised, self.ngram) {
            if self.filter.may_hold(hash) && self.holds(hash)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn holds(&self, hash: u64) -> Result<bool, DataError> {
        let Some(block) = self.firsts.partition_point(|first| *first <= hash).checked_sub(1) else {
            return Ok(false);
        };
        let from = block as u64 * BLOCK as u64;
        let mut bytes = vec![0; 8 * (self.count - from).min(BLOCK as u64) as usize];
        self.file.read_at(&mut bytes, 8 * from)?;
        let (hashes, _) = bytes.as_chunks::<8>();
        Ok(hashes.binary_search_by_key(&hash, |b| u64::from_le_bytes(*b)).is_ok())
    }
}

/// Which hashes there may be: two bits for each, by its leading and by its other bits.
struct Filter {
    bits: Vec<u64>,
    shift: u32,
}

impl Filter {
    /// For so many hashes.
    fn of(count: u64) -> Self {
        let bits = (count * BITS).clamp(64, MOST).next_power_of_two();
        Self { bits: vec![0; (bits / 64) as usize], shift: 64 - bits.ilog2() }
    }

    fn places(&self, hash: u64) -> [u64; 2] {
        [hash >> self.shift, hash.rotate_right(self.shift) >> self.shift]
    }

    fn add(&mut self, hash: u64) {
        for place in self.places(hash) {
            self.bits[(place / 64) as usize] |= 1 << (place % 64);
        }
    }

    fn may_hold(&self, hash: u64) -> bool {
        self.places(hash)
            .into_iter()
            .all(|place| self.bits[(place / 64) as usize] >> (place % 64) & 1 == 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Stream;

    #[test]
    fn the_filter_knows_all_of_its_hashes_and_few_others() {
        let stream = Stream::new(1, "hashes");
        for count in [1, 1000, 20_000] {
            let mut filter = Filter::of(count);
            (0..count).for_each(|n| filter.add(stream.bits(n)));
            assert!((0..count).all(|n| filter.may_hold(stream.bits(n))));
            let others = (0..20_000).filter(|n| filter.may_hold(stream.bits(count + n))).count();
            assert!(others < 600, "{others} of 20000, for {count}");
        }
    }
}
