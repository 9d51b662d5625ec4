//! Byte-level BPE, quicker: text is split by hand as the tokenizer's pattern splits it, and each piece's ids are
//! remembered. The `tokenizers` crate makes the ids of a piece when it is first seen, so they are the crate's own.
//!
//! Patterns are those of GPT-2 and of cl100k, Llama 3 and Qwen 2. Any other tokenizer, and any text with an added token
//! such as `<|endoftext|>` in it, goes to the crate whole.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{LazyLock, Mutex, PoisonError};

use serde_json::Value;
use tokenizers::utils::SysRegex;
use tokenizers::{
    Decoder, Model, Normalizer, PostProcessor, PreTokenizer, Tokenizer, TokenizerImpl,
};
use xxhash_rust::xxh3::xxh3_64;

/// Longest piece that is remembered [bytes].
const LONGEST: usize = 128;
/// Most pieces that one cache remembers: some 64 MB; then it begins anew.
const MOST: usize = 1 << 19;

/// What `tokenizers` says: its own error type is this box.
pub type EncodeError = Box<dyn std::error::Error + Send + Sync>;

/// How text is split before merges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pattern {
    /// `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
    Gpt2,
    /// [`CL100K`], with at most so many digits in a piece.
    Cl100k { digits: usize },
}

/// cl100k and Llama 3, then Qwen 2, as their `tokenizer.json` spells them.
const CL100K: [(&str, usize); 2] = [
    (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        3,
    ),
    (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        1,
    ),
];

/// A tokenizer of the crate.
pub trait Slow {
    /// The ids of a text, without special tokens around it.
    ///
    /// # Errors
    ///
    /// What the crate says of the text.
    fn ids(&self, text: &str) -> Result<Vec<u32>, EncodeError>;
}

impl<M, N, PT, PP, D> Slow for TokenizerImpl<M, N, PT, PP, D>
where
    M: Model,
    N: Normalizer,
    PT: PreTokenizer,
    PP: PostProcessor,
    D: Decoder,
{
    fn ids(&self, text: &str) -> Result<Vec<u32>, EncodeError> {
        Ok(self.encode_fast(text, false)?.get_ids().to_vec())
    }
}

impl Slow for Tokenizer {
    fn ids(&self, text: &str) -> Result<Vec<u32>, EncodeError> {
        Ok(self.encode_fast(text, false)?.get_ids().to_vec())
    }
}

/// A tokenizer with the quick way in front, where there is one.
pub struct Quick<T> {
    slow: T,
    pattern: Option<Pattern>,
    /// Texts that are ids of their own wherever they stand.
    added: Vec<String>,
    /// One for each thread that encodes.
    caches: Mutex<Vec<Cache>>,
}

impl<T: Slow> Quick<T> {
    /// A tokenizer that splits as GPT-2 does, with no normaliser and with these added tokens.
    pub fn gpt2(slow: T, added: Vec<String>) -> Self {
        Self { slow, pattern: Some(Pattern::Gpt2), added, caches: Mutex::default() }
    }

    /// The tokenizer of the crate.
    pub fn slow(&self) -> &T {
        &self.slow
    }

    /// Is there a quick way?
    pub fn is_quick(&self) -> bool {
        self.pattern.is_some()
    }

    /// Appends the ids of a text, those of the crate.
    ///
    /// # Errors
    ///
    /// What the crate says of a piece.
    pub fn encode(&self, text: &str, ids: &mut Vec<u32>) -> Result<(), EncodeError> {
        let Some(pattern) = self.pattern.filter(|_| !self.holds_added(text)) else {
            ids.extend(self.slow.ids(text)?);
            return Ok(());
        };
        let free = || self.caches.lock().unwrap_or_else(PoisonError::into_inner);
        let mut cache = free().pop().unwrap_or_default();
        let done = self.pieces(pattern, text, &mut cache, ids);
        free().push(cache);
        done
    }

    fn pieces(
        &self,
        pattern: Pattern,
        text: &str,
        cache: &mut Cache,
        ids: &mut Vec<u32>,
    ) -> Result<(), EncodeError> {
        let mut at = 0;
        while at < text.len() {
            let end = at + pattern.piece(&text[at..]);
            let piece = &text[at..end];
            at = end;
            if piece.len() > LONGEST {
                ids.extend(self.slow.ids(piece)?);
            } else if let Some(known) = cache.get(piece) {
                ids.extend_from_slice(known);
            } else {
                let new = self.slow.ids(piece)?;
                ids.extend_from_slice(&new);
                cache.put(piece, &new);
            }
        }
        Ok(())
    }

    fn holds_added(&self, text: &str) -> bool {
        self.added.iter().any(|token| text.contains(token.as_str()))
    }
}

impl Quick<Tokenizer> {
    /// Any tokenizer: the quick way where it splits by a known pattern, normalises nothing and merges as BPE does.
    ///
    /// # Errors
    ///
    /// What the crate says when it writes the tokenizer down.
    pub fn of(slow: Tokenizer) -> Result<Self, EncodeError> {
        let file: Value = serde_json::from_str(&slow.to_string(false)?)?;
        let pattern = pattern_of(&file);
        let added = slow.get_added_vocabulary().get_vocab().keys().cloned().collect();
        Ok(Self { slow, pattern, added, caches: Mutex::default() })
    }
}

/// How a `tokenizer.json` splits, if that is known here, and all else in it leaves pieces alone.
fn pattern_of(file: &Value) -> Option<Pattern> {
    let none = ["normalizer", "truncation", "padding"].iter().all(|key| file[*key].is_null());
    let model = &file["model"];
    if !none || model["type"] != "BPE" || !model["dropout"].is_null() {
        return None;
    }
    let bytes = |step: &Value, splits: bool| {
        step["type"] == "ByteLevel"
            && step["add_prefix_space"] == false
            && step["use_regex"].as_bool().unwrap_or(true) == splits
    };
    let first = &file["pre_tokenizer"];
    if bytes(first, true) {
        return Some(Pattern::Gpt2);
    }
    let [split, after] = first["pretokenizers"].as_array()?.as_slice() else { return None };
    let isolated = split["type"] == "Split" && split["behavior"] == "Isolated";
    if first["type"] != "Sequence" || !isolated || split["invert"] != false || !bytes(after, false)
    {
        return None;
    }
    let spelt = split["pattern"]["Regex"].as_str()?;
    let known = CL100K.iter().find(|(pattern, _)| *pattern == spelt);
    known.map(|(_, digits)| Pattern::Cl100k { digits: *digits })
}

/// Ids of pieces.
#[derive(Default)]
struct Cache {
    /// Where the ids of a piece begin, and how many they are.
    places: HashMap<Box<str>, (u32, u32), BuildHasherDefault<Xxh3>>,
    ids: Vec<u32>,
}

impl Cache {
    fn get(&self, piece: &str) -> Option<&[u32]> {
        let (start, count) = *self.places.get(piece)?;
        Some(&self.ids[start as usize..(start + count) as usize])
    }

    fn put(&mut self, piece: &str, ids: &[u32]) {
        if self.places.len() >= MOST {
            self.places.clear();
            self.ids.clear();
        }
        let place = (self.ids.len() as u32, ids.len() as u32);
        self.ids.extend_from_slice(ids);
        self.places.insert(piece.into(), place);
    }
}

/// Hashes the bytes of one string.
#[derive(Default)]
pub(super) struct Xxh3(u64);

impl Hasher for Xxh3 {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 ^= xxh3_64(bytes);
    }

    /// The end of a string.
    fn write_u8(&mut self, _: u8) {}
}

/// What a character is to a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    /// `\s`.
    Space,
    /// `\p{L}`.
    Letter,
    /// `\p{N}`.
    Number,
    Other,
}

/// Classes of characters beyond ASCII, as the crate's own regular expressions know them: (first, class), each up to the
/// next.
static CLASSES: LazyLock<Vec<(u32, Class)>> = LazyLock::new(|| {
    // Between these planes and above them nothing but private characters is assigned.
    let all: String = ('\u{80}'..'\u{40000}').chain('\u{e0000}'..'\u{e1000}').collect();
    let mut runs = vec![(0x80, Class::Other)];
    for (pattern, class) in
        [(r"\s+", Class::Space), (r"\p{L}+", Class::Letter), (r"\p{N}+", Class::Number)]
    {
        let Ok(regex) = SysRegex::new(pattern) else { continue };
        for (start, end) in regex.find_iter(&all) {
            let first = all[start..].chars().next().map_or(0, u32::from);
            runs.push((first, class));
            // What follows is of no class, unless another run begins there.
            let after = all[end..].chars().next().map_or(u32::MAX, u32::from);
            runs.push((after, Class::Other));
        }
    }
    // A run that begins where another ends comes after it.
    runs.sort_by_key(|(first, class)| (*first, *class != Class::Other));
    runs
});

fn class(c: char) -> Class {
    match c {
        'a'..='z' | 'A'..='Z' => Class::Letter,
        '0'..='9' => Class::Number,
        ' ' | '\t'..='\r' => Class::Space,
        c if c.is_ascii() => Class::Other,
        c => {
            let after = CLASSES.partition_point(|(first, _)| *first <= u32::from(c));
            CLASSES[after - 1].1
        }
    }
}

/// Length of what stands in front and is of the class [bytes], at most so many characters.
fn run(text: &str, of: Class, most: usize) -> usize {
    let mut chars = text.char_indices().take(most);
    let other = chars.find(|(_, c)| class(*c) != of);
    other.map_or_else(|| text.chars().take(most).map(char::len_utf8).sum(), |(at, _)| at)
}

impl Pattern {
    /// Length of the first piece of a text that is not empty [bytes].
    fn piece(self, text: &str) -> usize {
        match self {
            Self::Gpt2 => gpt2(text),
            Self::Cl100k { digits } => cl100k(text, digits),
        }
    }
}

/// The words of a text that GPT-2's pattern makes.
pub(super) fn gpt2_words(mut text: &str) -> impl Iterator<Item = &str> {
    std::iter::from_fn(move || {
        let (word, later) = text.split_at(if text.is_empty() { 0 } else { gpt2(text) });
        text = later;
        (!word.is_empty()).then_some(word)
    })
}

/// Length of the first piece [bytes].
fn gpt2(text: &str) -> usize {
    if let Some(rest) = text.strip_prefix('\'') {
        let short = ["s", "t", "re", "ve", "m", "ll", "d"];
        if let Some(tail) = short.iter().find(|tail| rest.starts_with(**tail)) {
            return 1 + tail.len();
        }
    }
    // A space before anything but a space joins it.
    let space = usize::from(text.starts_with(' '));
    match text[space..].chars().next().map(class) {
        None => space,
        Some(Class::Space) => spaces(text),
        Some(of) => space + run(&text[space..], of, usize::MAX),
    }
}

/// `\s+(?!\S)|\s+`: white space, but for its last character where something follows.
fn spaces(text: &str) -> usize {
    let all = run(text, Class::Space, usize::MAX);
    let last = text[..all].chars().next_back().map_or(0, char::len_utf8);
    if all == text.len() || all == last { all } else { all - last }
}

/// Length of the first piece [bytes].
fn cl100k(text: &str, digits: usize) -> usize {
    if let Some(rest) = text.strip_prefix('\'') {
        let short = ["s", "t", "re", "ve", "m", "ll", "d"];
        let fits = |tail: &&&str| {
            let mut chars = rest.chars();
            tail.chars().all(|want| chars.next().is_some_and(|c| is_either(c, want)))
        };
        if let Some(tail) = short.iter().find(fits) {
            return 1 + rest.chars().take(tail.len()).map(char::len_utf8).sum::<usize>();
        }
    }
    let Some(first) = text.chars().next() else { return 0 };
    let of = class(first);
    let len = first.len_utf8();
    if of == Class::Letter {
        return run(text, Class::Letter, usize::MAX);
    }
    if of == Class::Number {
        return run(text, Class::Number, digits);
    }
    if !matches!(first, '\r' | '\n') {
        let letters = run(&text[len..], Class::Letter, usize::MAX);
        if letters > 0 {
            return len + letters;
        }
    }
    let space = usize::from(first == ' ');
    let others = run(&text[space..], Class::Other, usize::MAX);
    if others > 0 {
        let rest = &text[space + others..];
        return text.len() - rest.trim_start_matches(['\r', '\n']).len();
    }
    let all = run(text, Class::Space, usize::MAX);
    match text[..all].rfind(['\r', '\n']) {
        Some(last) => last + 1,
        None => spaces(text),
    }
}

/// Is `c` this lower-case letter in either case? The long s is an s.
fn is_either(c: char, want: char) -> bool {
    c.eq_ignore_ascii_case(&want) || want == 's' && c == 'ſ'
}

#[cfg(test)]
mod tests;
