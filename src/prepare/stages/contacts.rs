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
/// Bytes of an n-gram in the file: its hash, and a bit for each set that has it.
const ENTRY: usize = 16;
/// Sets that are told apart; those beyond are the last.
const SETS: usize = 64;

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
        for (set, name) in rule.against.iter().enumerate() {
            for file in documents::find(std::slice::from_ref(name), &work.base)?.files {
                for part in documents::parts(&file, u64::MAX)? {
                    for item in documents::read(&part, &Fields::default())? {
                        for hash in ngrams::hashes(&normalise(&item?.text), rule.ngram) {
                            items.push(list, hash.into(), u32::MAX - set as u32)?;
                        }
                    }
                }
            }
        }
        let count = items.finish()?;
        sources.extend(runs::sources(work, STAGE, 0, count));
    }
    let mut out = Writer::create(work.file(STAGE, 0, "contacts"))?;
    let mut held: Option<(u64, u64)> = None;
    let mut write = |(hash, sets): (u64, u64)| {
        out.write(&hash.to_le_bytes())?;
        out.write(&sets.to_le_bytes())
    };
    runs::merge(&sources, list, lists, &mut |hash, unit, number| {
        let against = (u32::MAX - number) as usize;
        let set = if against < rule.against.len() {
            against
        } else {
            rule.against.len() + work.units[unit as usize].domain
        };
        let (hash, bit) = (hash as u64, 1 << set.min(SETS - 1));
        match &mut held {
            Some((before, sets)) if *before == hash => *sets |= bit,
            _ => {
                if let Some(before) = held.replace((hash, bit)) {
                    write(before)?;
                }
            }
        }
        Ok(())
    })?;
    held.map(&mut write).transpose()?;
    out.keep()
}

/// Names of the sets: files of items, then the held-out documents of each domain.
fn names(work: &Work) -> Vec<String> {
    let held_out = work.recipe.domains();
    let held_out = held_out.iter().map(|(name, _)| format!("held-out {name}"));
    let mut names: Vec<String> =
        work.recipe.decontaminate.against.iter().cloned().chain(held_out).collect();
    if names.len() > SETS {
        names.truncate(SETS - 1);
        names.push("others".to_owned());
    }
    names
}

/// The n-grams, ready to be looked for.
pub(super) struct Contacts {
    ngram: usize,
    filter: Filter,
    /// The first hash of each block of the file.
    firsts: Vec<u64>,
    file: Placed,
    count: u64,
    names: Vec<String>,
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
        let count = crate::fs::length(&path)? / ENTRY as u64;
        let mut filter = Filter::of(count);
        let (mut firsts, mut hashes, mut n) = (Vec::new(), Reader::<ENTRY>::open(path)?, 0);
        while let Some(bytes) = hashes.next()? {
            let (hash, _) = entry(&bytes);
            if n % BLOCK == 0 {
                firsts.push(hash);
            }
            filter.add(hash);
            n += 1;
        }
        let (ngram, names) = (rule.ngram, names(work));
        Ok((count > 0).then_some(Self { ngram, filter, firsts, file, count, names }))
    }

    /// The names of the sets that a normalised text shares one with.
    pub(super) fn shared(&self, normalised: &str) -> Result<Vec<&str>, DataError> {
        let mut sets = 0_u64;
        for hash in ngrams::hashes(normalised, self.ngram) {
            if self.filter.may_hold(hash) {
                sets |= self.sets(hash)?;
            }
        }
        let has = |(set, _): &(usize, &String)| sets >> set & 1 == 1;
        Ok(self.names.iter().enumerate().filter(has).map(|(_, name)| name.as_str()).collect())
    }

    /// A bit for each set that has an n-gram.
    fn sets(&self, hash: u64) -> Result<u64, DataError> {
        let Some(block) = self.firsts.partition_point(|first| *first <= hash).checked_sub(1) else {
            return Ok(0);
        };
        let from = block as u64 * BLOCK as u64;
        let mut bytes = vec![0; ENTRY * (self.count - from).min(BLOCK as u64) as usize];
        self.file.read_at(&mut bytes, ENTRY as u64 * from)?;
        let (entries, _) = bytes.as_chunks::<ENTRY>();
        let found = entries.binary_search_by_key(&hash, |bytes| entry(bytes).0);
        Ok(found.map_or(0, |place| entry(&entries[place]).1))
    }
}

/// A hash and its sets.
fn entry(bytes: &[u8; ENTRY]) -> (u64, u64) {
    let number = u128::from_le_bytes(*bytes);
    (number as u64, (number >> 64) as u64)
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
