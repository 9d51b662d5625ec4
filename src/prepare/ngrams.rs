//! Does a document hold what is to be measured? N-grams of normalised words, shared with items of tasks or with
//! held-out documents.

use xxhash_rust::xxh64::xxh64;

use super::normal::Words;

/// Buckets of the index hold about this many hashes.
const PER_BUCKET: usize = 4;

/// What is looked for, as it is put together.
pub struct Gather {
    ngram: usize,
    /// (hash, item).
    entries: Vec<(u64, u32)>,
    items: u32,
}

/// What is looked for: 12 bytes for each n-gram, and one more.
pub struct Index {
    ngram: usize,
    /// Of all n-grams of all items, in order; equal ones of several items stand side by side.
    hashes: Vec<u64>,
    /// The item of each.
    items: Vec<u32>,
    /// For each value of the leading bits, where its hashes begin.
    starts: Vec<u32>,
    shift: u32,
    /// Different n-grams of each item.
    totals: Vec<u32>,
}

/// What a document shares with the index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hits {
    /// N-grams of the document.
    pub ngrams: usize,
    /// How many of them some item has.
    pub hits: usize,
    /// Places in the index of what it has, each once, in order: for [`Index::items_seen`].
    pub places: Vec<u32>,
}

/// Of an item, how much was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Its different n-grams that were seen.
    pub seen: u32,
    /// Its different n-grams.
    pub ngrams: u32,
}

impl Gather {
    /// An empty one, for n-grams of so many words.
    pub fn new(ngram: usize) -> Self {
        Self { ngram, entries: Vec::new(), items: 0 }
    }

    /// Adds an item by its normalised text; its number. One shorter than an n-gram cannot be found.
    pub fn add(&mut self, normalised: &str) -> u32 {
        let item = self.items;
        let words = Words::new(normalised);
        self.entries.extend(words.ngrams(self.ngram).map(|ngram| (xxh64(ngram, 0), item)));
        self.items += 1;
        item
    }

    /// Ready to be looked into.
    pub fn finish(mut self) -> Index {
        self.entries.sort_unstable();
        self.entries.dedup();
        let mut totals = vec![0; self.items as usize];
        for (_, item) in &self.entries {
            totals[*item as usize] += 1;
        }
        let bits = (self.entries.len() / PER_BUCKET).next_power_of_two().ilog2().max(1);
        let shift = 64 - bits;
        let mut starts = vec![0_u32; (1 << bits) + 1];
        for (hash, _) in &self.entries {
            starts[(hash >> shift) as usize + 1] += 1;
        }
        for bucket in 1..starts.len() {
            starts[bucket] += starts[bucket - 1];
        }
        let (hashes, items) = self.entries.into_iter().unzip();
        Index { ngram: self.ngram, hashes, items, starts, shift, totals }
    }
}

impl Index {
    /// Number of n-grams.
    pub fn len(&self) -> usize {
        self.hashes.len()
    }

    /// Is there nothing to look for?
    pub fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    /// What a normalised document shares with it.
    pub fn scan(&self, normalised: &str) -> Hits {
        let words = Words::new(normalised);
        let (mut ngrams, mut hits, mut places) = (0, 0, Vec::new());
        for ngram in words.ngrams(self.ngram) {
            ngrams += 1;
            let hash = xxh64(ngram, 0);
            let bucket = (hash >> self.shift) as usize;
            let (from, to) = (self.starts[bucket], self.starts[bucket + 1]);
            let here = &self.hashes[from as usize..to as usize];
            let before = places.len();
            let equal = here.iter().enumerate().filter(|(_, other)| **other == hash);
            places.extend(equal.map(|(i, _)| from + i as u32));
            hits += usize::from(places.len() > before);
        }
        places.sort_unstable();
        places.dedup();
        Hits { ngrams, hits, places }
    }

    /// The item that a place of [`Hits::places`] is of.
    pub fn item(&self, place: u32) -> u32 {
        self.items[place as usize]
    }

    /// Of each item, how many of its n-grams were seen: `seen` says of a place whether some document had it.
    pub fn items_seen(&self, seen: impl Fn(u32) -> bool) -> Vec<Seen> {
        let mut all: Vec<Seen> = self.totals.iter().map(|n| Seen { seen: 0, ngrams: *n }).collect();
        for (place, item) in self.items.iter().enumerate() {
            all[*item as usize].seen += u32::from(seen(place as u32));
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(from: usize, to: usize) -> String {
        (from..to).map(|i| format!("w{}", "x".repeat(i))).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_document_is_found_by_an_ngram_of_an_item_and_not_by_a_shorter_piece() {
        let mut gather = Gather::new(12);
        let long = gather.add(&words(0, 20));
        let short = gather.add(&words(30, 41));
        let other = gather.add(&words(50, 70));
        let index = gather.finish();
        assert_eq!((long, short, other), (0, 1, 2));
        // 9 n-grams of 20 words each; none of 11.
        assert_eq!(index.len(), 18);
        // 11 words of an item, and all of one that is too short.
        let near = format!("{} y {}", words(3, 14), words(30, 41));
        assert_eq!(index.scan(&near).hits, 0, "11 words are no 12-gram");
        // 14 words: three n-grams.
        let held = format!("before {} after", words(3, 17));
        let found = index.scan(&held);
        assert_eq!((found.ngrams, found.hits, found.places.len()), (5, 3, 3));
        let seen = index.items_seen(|place| found.places.binary_search(&place).is_ok());
        let want = [(3, 9), (0, 0), (0, 9)].map(|(seen, ngrams)| Seen { seen, ngrams });
        assert_eq!(seen, want);
    }

    #[test]
    fn an_ngram_of_two_items_is_seen_of_both_and_counted_once() {
        let mut gather = Gather::new(3);
        gather.add("one two three four");
        gather.add("zero one two three");
        gather.add("one two three one two three");
        let index = gather.finish();
        let found = index.scan("one two three");
        assert_eq!((found.ngrams, found.hits, found.places.len()), (1, 1, 3));
        let seen = index.items_seen(|place| found.places.contains(&place));
        let want = [(1, 2), (1, 2), (1, 3)].map(|(seen, ngrams)| Seen { seen, ngrams });
        assert_eq!(seen, want);
        let none = Gather::new(3).finish();
        assert!(none.is_empty() && none.scan("one two three four").hits == 0);
    }
}
