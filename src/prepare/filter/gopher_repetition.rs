//! MassiveText's rules on repetition (Rae et al. 2021, arXiv:2112.11446, table A1), as datatrove counts.

use super::{DUPLICATE_1, RULES, Removed, TOP_1, above, duplicates, ratio};
use crate::prepare::hashed::{ByHash, Hashes};
use crate::prepare::text::{Text, Word};
use crate::prepare::unicode;
use crate::spec::GopherRepetition;

pub(super) fn judge(text: &Text<'_>, numbers: &GopherRepetition) -> Option<Removed> {
    if text.as_str().is_empty() {
        return Some(Removed { rule: "empty", value: 0.0, limit: 1.0 });
    }
    let share = |characters| ratio(characters, text.characters());
    let paragraphs = paragraphs(text.as_str());
    let (count, characters) = duplicates(paragraphs.iter().copied());
    above("duplicate-paragraphs", ratio(count, paragraphs.len()), numbers.duplicate_paragraphs)
        .or_else(|| {
            let limit = numbers.duplicate_paragraph_characters;
            above("duplicate-paragraph-characters", share(characters), limit)
        })
        .or_else(|| {
            // Line ends in a row count as one; an empty line is left in front or behind.
            let lines = text.lines();
            let last = lines.len() - 1;
            let kept = lines.iter().enumerate();
            let kept = kept.filter(|(i, l)| !l.text.is_empty() || *i == 0 || *i == last);
            let kept: Vec<(u64, u32)> = kept.map(|(_, l)| (l.hash, l.characters)).collect();
            let (count, characters) = duplicates(kept.iter().copied());
            above("duplicate-lines", ratio(count, kept.len()), numbers.duplicate_lines).or_else(
                || {
                    let limit = numbers.duplicate_line_characters;
                    above("duplicate-line-characters", share(characters), limit)
                },
            )
        })
        .or_else(|| ngrams(text, numbers))
}

/// (hash, characters) of what stands between two or more line ends.
fn paragraphs(text: &str) -> Vec<(u64, u32)> {
    let mut all = Vec::new();
    let mut rest = unicode::strip(text);
    loop {
        let end = rest.find("\n\n");
        let paragraph = &rest[..end.unwrap_or(rest.len())];
        let hash = xxhash_rust::xxh3::xxh3_64(paragraph.as_bytes());
        all.push((hash, paragraph.chars().count() as u32));
        match end {
            Some(end) => rest = rest[end..].trim_start_matches('\n'),
            None => return all,
        }
    }
}

fn ngrams(text: &Text<'_>, numbers: &GopherRepetition) -> Option<Removed> {
    let share = |characters| ratio(characters, text.characters());
    let mut repeated = Repeated::new(text.words());
    for (n, limit) in &numbers.top_ngrams {
        let found = above(RULES[TOP_1 + n - 1], share(repeated.top(*n)), *limit);
        if found.is_some() {
            return found;
        }
    }
    for (n, limit) in &numbers.duplicate_ngrams {
        let found = above(RULES[DUPLICATE_1 + n - 1], share(repeated.duplicated(*n)), *limit);
        if found.is_some() {
            return found;
        }
    }
    None
}

/// Where n-grams stand that stand elsewhere too. What is in a repeated n-gram of n + 1 words begins with a repeated one
/// of n, so each n looks only at the places that the last one left.
struct Repeated<'a> {
    words: &'a [Word],
    /// Characters of all words before each.
    before: Vec<usize>,
    /// Places of repeated n-grams of `n` words, with their hashes; all places at first.
    places: Vec<(u32, u64)>,
    n: usize,
    /// By hash: how often, and where first.
    counts: ByHash<(u32, u32)>,
}

impl<'a> Repeated<'a> {
    fn new(words: &'a [Word]) -> Self {
        let mut before = Vec::with_capacity(words.len() + 1);
        let mut sum = 0;
        before.push(0);
        for word in words {
            sum += word.characters as usize;
            before.push(sum);
        }
        Self { words, before, places: Vec::new(), n: 0, counts: ByHash::default() }
    }

    fn hash(&self, place: usize, n: usize) -> u64 {
        const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
        let mix = |all: u64, word: &Word| (all.rotate_left(23) ^ word.hash).wrapping_mul(MIX);
        let all = self.words[place..place + n].iter().fold(0, mix);
        all ^ (all >> 32)
    }

    /// Characters of the words of the n-gram at a place, without spaces.
    fn characters(&self, place: usize, n: usize) -> usize {
        self.before[place + n] - self.before[place]
    }

    /// Leaves in `places` those of repeated n-grams of `n` words.
    fn narrow(&mut self, n: usize) {
        let count = (self.words.len() + 1).saturating_sub(n);
        let mut places = std::mem::take(&mut self.places);
        if self.n == 0 || n < self.n {
            places = (0..count as u32).map(|place| (place, 0)).collect();
        }
        self.n = n;
        self.counts.clear();
        self.counts.reserve(places.len());
        places.retain_mut(|(place, hash)| {
            let fits = (*place as usize) < count;
            if fits {
                *hash = self.hash(*place as usize, n);
                self.counts.entry(*hash).or_insert((0, *place)).0 += 1;
            }
            fits
        });
        places.retain(|(_, hash)| self.counts[hash].0 > 1);
        self.places = places;
    }

    /// Characters of the most frequent n-gram, with spaces, times how often it stands; of the first one among equals.
    fn top(&mut self, n: usize) -> usize {
        if self.words.len() < n {
            return 0;
        }
        self.narrow(n);
        let counts = self.places.iter().map(|(_, hash)| self.counts[hash]);
        let first_most =
            |best: (u32, u32), one: (u32, u32)| if one.0 > best.0 { one } else { best };
        let (count, place) = counts.fold((1, 0), first_most);
        (self.characters(place as usize, n) + n - 1) * count as usize
    }

    /// Characters of n-grams that stood before, without spaces; what is in one is not counted in another.
    fn duplicated(&mut self, n: usize) -> usize {
        self.narrow(n);
        let mut seen = Hashes::default();
        let (mut sum, mut free) = (0, 0);
        for (place, hash) in &self.places {
            let place = *place as usize;
            if place < free {
                continue;
            }
            if !seen.insert(*hash) {
                sum += self.characters(place, n);
                free = place + n;
            }
        }
        sum
    }
}
