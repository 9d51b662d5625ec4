//! The largest sets of copies, as the card shows them.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::places::Places;
use super::{DataError, Work};

/// Largest sets of which the card shows documents.
const SHOWN: usize = 3;
/// How much of a document it shows [bytes].
const EXCERPT: usize = 300;

/// Documents that are copies of each other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CopySet {
    /// How many.
    pub documents: u64,
    /// How many of each domain.
    pub domains: BTreeMap<String, u64>,
    /// The first and the last of them, as they are read.
    pub members: Vec<Member>,
}

/// A document of a set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Member {
    /// Its name, where it has one.
    pub id: String,
    /// How it begins.
    pub begins: String,
}

/// The largest sets, while all documents are gone through in order: once for their sizes, once for what they hold.
#[derive(Default)]
pub(super) struct Largest(Vec<Set>);

/// A set, by its first document.
struct Set {
    first: u64,
    size: u64,
    last: u64,
    /// Documents by domain.
    domains: BTreeMap<usize, u64>,
}

impl Largest {
    /// A set has grown by one, to `size`.
    pub(super) fn grow(&mut self, first: u64, size: u64) {
        let known = self.0.iter().position(|set| set.first == first);
        let place = known.or_else(|| {
            let least = (0..self.0.len()).min_by_key(|i| (self.0[*i].size, Reverse(*i)))?;
            (self.0.len() == SHOWN && self.0[least].size < size).then_some(least)
        });
        let new = Set { first, size, last: first, domains: BTreeMap::new() };
        match place {
            Some(place) => self.0[place] = new,
            None if self.0.len() < SHOWN => self.0.push(new),
            None => {}
        }
    }

    /// A document of a set.
    pub(super) fn see(&mut self, first: u64, place: u64, domain: usize) {
        if let Some(set) = self.0.iter_mut().find(|set| set.first == first) {
            set.last = place;
            *set.domains.entry(domain).or_default() += 1;
        }
    }

    /// Reads the first and the last document of each.
    pub(super) fn read(mut self, work: &Work, places: &Places) -> Result<Vec<CopySet>, DataError> {
        self.0.sort_by_key(|set| (Reverse(set.size), set.first));
        let mut wanted: BTreeMap<usize, Vec<u32>> = BTreeMap::new();
        for place in self.0.iter().flat_map(|set| [set.first, set.last]) {
            let (unit, number) = places.unit(place);
            wanted.entry(unit).or_default().push(number);
        }
        let mut members: BTreeMap<u64, Member> = BTreeMap::new();
        for (unit, numbers) in wanted {
            work.documents(unit, &|_| (), &mut |number, document| {
                if numbers.contains(&number) {
                    let id = document.id.unwrap_or_default();
                    let end = document.text.floor_char_boundary(EXCERPT);
                    let id = work.named(Path::new(&id)).display().to_string();
                    let member = Member { id, begins: document.text[..end].to_owned() };
                    members.insert(places.of(unit as u32, number), member);
                }
                Ok(())
            })?;
        }
        let domains = work.recipe.domains();
        let shown = |set: &Set| CopySet {
            documents: set.size,
            domains: set.domains.iter().map(|(i, n)| (domains[*i].0.to_owned(), *n)).collect(),
            members: [set.first, set.last].iter().filter_map(|p| members.get(p).cloned()).collect(),
        };
        Ok(self.0.iter().map(shown).collect())
    }
}
