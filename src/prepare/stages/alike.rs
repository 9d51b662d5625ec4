//! Are the documents of a large set alike? Some pairs of them are compared.

use std::collections::{BTreeMap, HashMap};

use super::places::Places;
use super::{DataError, Work};
use crate::prepare::minhash::Sketch;
use crate::prepare::normalise;
use crate::random::Stream;

/// Sets that are compared together: 13 kB of sketches a pair.
pub(super) const AT_ONCE: usize = 128;
/// Pairs of a set that are compared.
const PAIRS: u64 = 50;
/// Median Jaccard similarity of its pairs below which a set is left alone.
pub(super) const LIKE: f64 = 0.7;

/// The pairs of some sets.
#[derive(Default)]
pub(super) struct Picks {
    sets: BTreeMap<u64, Picked>,
}

/// The pairs of a set.
struct Picked {
    /// How many of its documents were seen.
    seen: u64,
    /// Of each document that is in a pair, by how many of the set come before it: its place.
    places: BTreeMap<u64, u64>,
    pairs: Vec<[u64; 2]>,
}

impl Picks {
    /// Chooses pairs of a set of so many documents, by unit and number of its first.
    pub(super) fn choose(&mut self, set: u64, size: u64, (unit, number): (usize, u32)) {
        let stream = Stream::new((unit as u64) << 32 | u64::from(number), "pairs");
        let pick = |n: u64| stream.below(n, size);
        let pairs: Vec<[u64; 2]> = (0..PAIRS).map(|n| [pick(2 * n), pick(2 * n + 1)]).collect();
        let places = pairs.iter().flatten().map(|nth| (*nth, 0)).collect();
        self.sets.insert(set, Picked { seen: 0, places, pairs });
    }

    /// Takes the next document of a set.
    pub(super) fn see(&mut self, set: u64, place: u64) {
        if let Some(picked) = self.sets.get_mut(&set) {
            if let Some(chosen) = picked.places.get_mut(&picked.seen) {
                *chosen = place;
            }
            picked.seen += 1;
        }
    }

    /// Reads the documents: for each set the median similarity of its pairs.
    pub(super) fn compare(
        self,
        work: &Work,
        places: &Places,
        ngram: usize,
    ) -> Result<Vec<(u64, f64)>, DataError> {
        let mut wanted: BTreeMap<usize, Vec<u32>> = BTreeMap::new();
        for place in self.sets.values().flat_map(|set| set.places.values()) {
            let (unit, number) = places.unit(*place);
            wanted.entry(unit).or_default().push(number);
        }
        let mut sketches: HashMap<u64, Sketch> = HashMap::new();
        for (unit, mut numbers) in wanted {
            numbers.sort_unstable();
            work.documents(unit, &|_| (), &mut |number, document| {
                if numbers.binary_search(&number).is_ok() {
                    let sketch = Sketch::new(&normalise(&document.text), ngram);
                    sketches.insert(places.of(unit as u32, number), sketch);
                }
                Ok(())
            })?;
        }
        let median = |set: &Picked| {
            let sketch = |nth: &u64| &sketches[&set.places[nth]];
            let alike = set.pairs.iter().map(|[l, r]| sketch(l).jaccard(sketch(r)));
            let mut alike: Vec<f64> = alike.collect();
            alike.sort_by(f64::total_cmp);
            alike[alike.len() / 2]
        };
        Ok(self.sets.iter().map(|(set, picked)| (*set, median(picked))).collect())
    }
}
