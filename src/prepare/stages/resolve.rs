//! Which documents are copies of others, and which of them go; and what no training document may share.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::numbers::{Joined, Numbers};
use super::places::Places;
use super::records::Writer;
use super::runs::{self, Source};
use super::sets::{CopySet, Largest};
use super::verdicts::{Copy, Judged};
use super::{DataError, Work, alike, contacts, judge};

const STAGE: &str = "resolve";
/// Clusters above this are checked.
const LARGE: u64 = 100;
/// Bit of a cluster's size: its documents are not alike. Bit of the one that stays: some are held out.
const FLAG: u64 = 1 << 63;

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Copies {
    /// Sets of documents that are copies of each other.
    pub clusters: u64,
    /// Documents of the largest.
    pub largest: u64,
    /// Large clusters that were left alone, since their documents are not alike: documents, and median similarity.
    pub left_alone: Vec<(u64, f64)>,
    /// The largest sets, with documents of theirs.
    #[serde(default)]
    pub examples: Vec<CopySet>,
}

/// What is known of all documents while copies are looked for.
struct Looking<'w> {
    work: &'w Work,
    places: Places,
    exact: Joined,
    joined: Joined,
}

/// Finds copies and says which documents go: for each unit a file of numbers and reasons. And puts together what no
/// training document may share with what is measured.
pub(super) fn all(work: &Work) -> Result<(), DataError> {
    let (mut sources, mut places) = (Vec::new(), Places::default());
    for unit in 0..work.units.len() {
        let found = judge::found(work, unit)?;
        sources.extend(runs::sources(work, judge::STAGE, unit, found.runs));
        places.add(found.tally.documents);
    }
    contacts::gather(work, &sources)?;
    let scratch = |name: &str| work.file(STAGE, 0, name);
    let mut looking = Looking {
        work,
        places,
        exact: Joined::new(&scratch("exact")),
        joined: Joined::new(&scratch("joined")),
    };
    for list in 0..judge::lists(&work.recipe) - 1 {
        looking.join(&sources, list)?;
    }
    let mut copies = Copies::default();
    looking.check(&scratch("sizes"), &mut copies)?;
    looking.write([scratch("sizes"), scratch("stays"), scratch("keys")], &mut copies)?;
    work.done(STAGE, 0, &copies)
}

impl Looking<'_> {
    /// Joins the documents of equal keys.
    fn join(&mut self, sources: &[Source], list: usize) -> Result<(), DataError> {
        let across = self.work.recipe.dedup.across;
        // The last document of the same key, in each domain.
        let mut last: (u128, Vec<Option<u64>>) = (0, Vec::new());
        let domains = self.work.recipe.domains().len();
        let lists = judge::lists(&self.work.recipe);
        runs::merge(sources, list, lists, &mut |key, unit, number| {
            if key != last.0 || last.1.is_empty() {
                last = (key, vec![None; domains]);
            }
            let place = self.places.of(unit, number);
            let domain = if across { 0 } else { self.work.units[unit as usize].domain };
            if let Some(before) = last.1[domain].replace(place) {
                self.joined.join(before, place)?;
                if list == judge::EXACT {
                    self.exact.join(before, place)?;
                }
            }
            Ok(())
        })
    }

    /// Compares documents of large sets: chains of MinHash have joined thousands of documents that are not alike. Of
    /// those that are not, only what is equal stays joined.
    fn check(&mut self, scratch: &std::path::Path, copies: &mut Copies) -> Result<(), DataError> {
        let mut sizes = Numbers::new(scratch);
        let (mut large, mut unlike) = (Vec::new(), false);
        for place in self.places.all() {
            if let Some(set) = self.joined.set(place)? {
                let size = sizes.get(set)? + 1;
                sizes.set(set, size)?;
                if size == LARGE + 1 {
                    large.push(set);
                }
            }
        }
        let Some(near) = self.work.recipe.dedup.near.numbers() else { return Ok(()) };
        large.sort_unstable();
        for sets in large.chunks(alike::AT_ONCE) {
            let mut picks = alike::Picks::default();
            for set in sets {
                picks.choose(*set, sizes.get(*set)?, self.places.unit(*set));
            }
            for place in self.places.all() {
                if let Some(set) = self.joined.known(place)? {
                    picks.see(set, place);
                }
            }
            for (set, median) in picks.compare(self.work, &self.places, near.ngram)? {
                if median < alike::LIKE {
                    let size = sizes.get(set)?;
                    copies.left_alone.push((size, median));
                    sizes.set(set, size | FLAG)?;
                    unlike = true;
                }
            }
        }
        if unlike {
            for place in self.places.all() {
                if let Some(set) = self.joined.known(place)?
                    && sizes.get(set)? & FLAG != 0
                {
                    let equal = self.exact.set(place)?;
                    self.joined.put(place, equal)?;
                }
            }
        }
        Ok(())
    }

    /// Says which documents of each set go. Held-out documents stay, whatever else is dropped: they are the same under
    /// every treatment.
    fn write(&mut self, scratch: [PathBuf; 3], copies: &mut Copies) -> Result<(), DataError> {
        // By set: how many it has; the one that stays and one, with a flag where some are held out; its key.
        let [mut sizes, mut stays, mut keys] = scratch.map(|path| Numbers::new(&path));
        let domain = |place: u64| self.work.units[self.places.unit(place).0].domain;
        let mut largest = Largest::default();
        for unit in 0..self.work.units.len() {
            let mut judged = Judged::all(self.work, unit)?;
            let mut place = self.places.of(unit as u32, 0);
            while let Some(one) = judged.next()? {
                if let Some(set) = self.joined.known(place)? {
                    let size = sizes.get(set)? + 1;
                    sizes.set(set, size)?;
                    copies.largest = copies.largest.max(size);
                    largest.grow(set, size);
                    copies.clusters += u64::from(set == place);
                    let best = stays.get(set)?;
                    let now = (best & !FLAG).checked_sub(1);
                    if one.held_out {
                        stays.set(set, best | FLAG)?;
                    } else if match now {
                        Some(now) => (domain(place), one.key) < (domain(now), keys.get(set)?),
                        None => true,
                    } {
                        stays.set(set, (best & FLAG) | (place + 1))?;
                        keys.set(set, one.key)?;
                    }
                }
                place += 1;
            }
        }
        for unit in 0..self.work.units.len() {
            let mut out = Writer::create(self.work.file(STAGE, unit, "copies"))?;
            let mut judged = Judged::all(self.work, unit)?;
            let first = self.places.of(unit as u32, 0);
            let mut place = first;
            while let Some(one) = judged.next()? {
                let set = self.joined.known(place)?;
                if let Some(set) = set {
                    largest.see(set, place, domain(place));
                }
                if let Some(set) = set
                    && !one.held_out
                {
                    let best = stays.get(set)?;
                    let stays = (best & !FLAG).saturating_sub(1);
                    let why = if best & FLAG != 0 {
                        Some(Copy::HeldOut)
                    } else if stays == place {
                        None
                    } else if equal(&mut self.exact, stays, place)? {
                        Some(Copy::Exact)
                    } else {
                        Some(Copy::Near)
                    };
                    if let Some(why) = why {
                        out.write(&why.encode((place - first) as u32))?;
                    }
                }
                place += 1;
            }
            out.keep()?;
        }
        copies.examples = largest.read(self.work, &self.places)?;
        Ok(())
    }
}

/// Are both of one set of equal documents?
fn equal(exact: &mut Joined, one: u64, other: u64) -> Result<bool, DataError> {
    let set = exact.set(one)?;
    Ok(set.is_some() && set == exact.set(other)?)
}

/// What was found of copies.
pub(super) fn found(work: &Work) -> Result<Copies, DataError> {
    work.result(STAGE, 0)
}
