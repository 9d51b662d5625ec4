//! Filters: does a document stay, and if not, which rule removes it, with the number that did.
//!
//! Each file holds one profile of rules; all are pure functions of the text and the profile's numbers. The rules and
//! their order are those of datatrove 0.10.1, so a decision can be held against its own (`benches/peers/data.py`).

mod c4;
mod fineweb;
mod gopher_quality;
mod gopher_repetition;
mod lines;
mod measures;
#[cfg(test)]
mod tests;

pub use measures::measures;

use crate::prepare::hashed::Hashes;
use crate::prepare::text::Text;
use crate::prepare::words;
use crate::spec::Filter;

/// What a filter says of a document.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// It stays as it is.
    Keep,
    /// It stays as this.
    Edit(String),
    /// It goes.
    Remove(Removed),
}

/// Why a document goes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Removed {
    /// One of [`RULES`].
    pub rule: &'static str,
    /// What the rule measured.
    pub value: f64,
    /// What it may be at most, or at least.
    pub limit: f64,
}

/// All rules, by name. Their places do not change: a place is a code of one byte.
pub const RULES: &[&str] = &[
    "empty",
    "language",
    // Gopher, repetition.
    "duplicate-paragraphs",
    "duplicate-paragraph-characters",
    "duplicate-lines",
    "duplicate-line-characters",
    "top-1-gram",
    "top-2-gram",
    "top-3-gram",
    "top-4-gram",
    "top-5-gram",
    "top-6-gram",
    "top-7-gram",
    "top-8-gram",
    "top-9-gram",
    "top-10-gram",
    "top-11-gram",
    "top-12-gram",
    "top-13-gram",
    "duplicate-1-grams",
    "duplicate-2-grams",
    "duplicate-3-grams",
    "duplicate-4-grams",
    "duplicate-5-grams",
    "duplicate-6-grams",
    "duplicate-7-grams",
    "duplicate-8-grams",
    "duplicate-9-grams",
    "duplicate-10-grams",
    "duplicate-11-grams",
    "duplicate-12-grams",
    "duplicate-13-grams",
    // Gopher, quality.
    "too-few-words",
    "too-many-words",
    "short-words",
    "long-words",
    "hashes",
    "ellipses",
    "bullets",
    "ellipsis-lines",
    "non-alphabetic-words",
    "stop-words",
    // C4.
    "lorem-ipsum",
    "curly-bracket",
    "too-few-sentences",
    "paragraphs",
    // FineWeb.
    "terminal-punctuation",
    "short-lines",
    "repeated-lines",
    "line-ends",
    // Code.
    "longest-line",
    "mean-line",
    "alphanumeric",
    // Of the recipe.
    SHARE,
];

/// The document is not in the domain's `share`.
pub(super) const SHARE: &str = "share";

/// Places in [`RULES`] of n-grams of one word.
const TOP_1: usize = 6;
const DUPLICATE_1: usize = 19;

/// The place of a rule in [`RULES`].
pub fn code(rule: &str) -> Option<u8> {
    RULES.iter().position(|r| *r == rule).map(|place| place as u8)
}

impl Filter {
    /// What it says of this text.
    pub fn judge(&self, text: &Text<'_>) -> Verdict {
        let removed = match self {
            Self::GopherRepetition(numbers) => gopher_repetition::judge(text, numbers),
            Self::GopherQuality(numbers) => gopher_quality::judge(text, numbers),
            Self::C4(numbers) => return c4::judge(text, numbers),
            Self::C4Paragraphs(numbers) => c4::paragraphs(text, numbers),
            Self::Fineweb(numbers) => fineweb::judge(text, numbers),
            Self::Lines(numbers) => lines::judge(text, numbers),
        };
        removed.map_or(Verdict::Keep, Verdict::Remove)
    }

    /// Changes when its decisions or edits do, with the same numbers: part of a manifest.
    pub fn version(&self) -> u32 {
        let own = 1;
        match self {
            Self::Lines(_) | Self::C4Paragraphs(_) => own,
            _ => own + 100 * words::VERSION,
        }
    }
}

/// What all filters of a domain say of a document, one after the other.
#[derive(Debug, Clone, PartialEq)]
pub enum Judgement {
    /// It stays; with its text where filters changed it.
    Keep(Option<String>),
    /// It goes, by the filter of this place in the list.
    Remove(usize, Removed),
}

/// Judges by each filter in turn; each sees what the one before it left.
pub fn judge(filters: &[Filter], text: &str) -> Judgement {
    let mut edited: Option<String> = None;
    let mut at = 0;
    while at < filters.len() {
        // Lines and words are counted once for all filters up to the next edit.
        let now = Text::new(edited.as_deref().unwrap_or(text));
        let mut change = None;
        while at < filters.len() && change.is_none() {
            match filters[at].judge(&now) {
                Verdict::Keep => {}
                Verdict::Edit(new) => change = Some(new),
                Verdict::Remove(removed) => return Judgement::Remove(at, removed),
            }
            at += 1;
        }
        if change.is_some() {
            edited = change;
        }
    }
    Judgement::Keep(edited)
}

/// `value` where it must be at most `limit`.
fn above(rule: &'static str, value: f64, limit: f64) -> Option<Removed> {
    (value > limit).then_some(Removed { rule, value, limit })
}

/// `value` where it must be at least `limit`.
fn below(rule: &'static str, value: f64, limit: f64) -> Option<Removed> {
    (value < limit).then_some(Removed { rule, value, limit })
}

/// 0 of nothing is nothing.
fn ratio(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// How many of these (hash, characters) stood before, and their characters.
fn duplicates(parts: impl Iterator<Item = (u64, u32)>) -> (usize, usize) {
    let mut seen = Hashes::default();
    parts
        .filter(|(hash, _)| !seen.insert(*hash))
        .fold((0, 0), |(count, sum), (_, characters)| (count + 1, sum + characters as usize))
}
