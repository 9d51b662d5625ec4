//! A document with what the filters count of it: lines and words, each once, when first asked for.

use std::cell::OnceCell;

use xxhash_rust::xxh3::xxh3_64;

use super::unicode::{self, LETTER};
use super::words::{self, Token};

/// A document to be judged. Line ends are `\n`.
pub struct Text<'a> {
    all: &'a str,
    characters: usize,
    lines: OnceCell<Vec<Line<'a>>>,
    words: OnceCell<Vec<Word>>,
}

/// What stands between two line ends.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line<'a> {
    pub(super) text: &'a str,
    /// Length [characters].
    pub(super) characters: u32,
    pub(super) hash: u64,
}

/// A word of `words.rs`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Word {
    pub(super) place: Token,
    /// Length [characters].
    pub(super) characters: u32,
    /// It has a letter.
    pub(super) letter: bool,
    /// It is only punctuation.
    pub(super) symbol: bool,
    pub(super) hash: u64,
}

impl<'a> Text<'a> {
    /// Nothing but characters is counted yet.
    pub fn new(text: &'a str) -> Self {
        let characters = text.chars().count();
        Self { all: text, characters, lines: OnceCell::new(), words: OnceCell::new() }
    }

    /// All of it.
    pub fn as_str(&self) -> &'a str {
        self.all
    }

    /// Length [characters].
    pub fn characters(&self) -> usize {
        self.characters
    }

    /// Number of words.
    pub fn word_count(&self) -> usize {
        self.words().len()
    }

    /// Each word, in order.
    pub fn each_word(&self) -> impl Iterator<Item = &'a str> {
        self.words().iter().map(|word| self.word(word))
    }

    /// All lines, the last one also where it is empty.
    pub(super) fn lines(&self) -> &[Line<'a>] {
        self.lines.get_or_init(|| self.all.split('\n').map(Line::new).collect())
    }

    pub(super) fn words(&self) -> &[Word] {
        self.words.get_or_init(|| {
            let mut all = Vec::with_capacity(self.all.len() / 5);
            words::words(self.all, |place| all.push(Word::new(self.all, place)));
            all
        })
    }

    pub(super) fn word(&self, word: &Word) -> &'a str {
        &self.all[word.place.start as usize..word.place.end as usize]
    }
}

impl<'a> Line<'a> {
    fn new(text: &'a str) -> Self {
        let characters = text.chars().count() as u32;
        Self { text, characters, hash: xxh3_64(text.as_bytes()) }
    }
}

impl Word {
    fn new(text: &str, place: Token) -> Self {
        let word = &text[place.start as usize..place.end as usize];
        let hash = xxh3_64(word.as_bytes());
        if word.is_ascii() {
            let letter = word.bytes().any(|b| b.is_ascii_alphabetic());
            let symbol = !letter && !word.bytes().any(|b| b.is_ascii_digit());
            return Self { place, characters: word.len() as u32, letter, symbol, hash };
        }
        Self {
            place,
            characters: word.chars().count() as u32,
            letter: word.chars().any(|c| unicode::is(Some(c), LETTER)),
            symbol: word.chars().all(unicode::is_symbol),
            hash,
        }
    }
}

/// Lines as Python's `splitlines` knows them: also at form feeds and the separators of Unicode; none after the last.
pub(super) fn all_lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = |c: char| {
            matches!(
                c,
                '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{1c}'
                    ..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}'
            )
        };
        let at = rest.find(end).unwrap_or(rest.len());
        let line = &rest[..at];
        rest = &rest[at..];
        if let Some(after) = rest.strip_prefix("\r\n") {
            rest = after;
        } else if let Some(c) = rest.chars().next() {
            rest = &rest[c.len_utf8()..];
        }
        Some(line)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_those_of_pythons_splitlines() {
        for (text, want) in [
            ("", &[][..]),
            ("a", &["a"]),
            ("a\n", &["a"]),
            ("\na\r\n\r\u{2028}b\u{1c}", &["", "a", "", "", "b"]),
        ] {
            assert_eq!(all_lines(text).collect::<Vec<_>>(), want, "{text:?}");
        }
    }

    #[test]
    fn words_know_their_letters_and_symbols() {
        let text = Text::new("Élan — 12 $5");
        let words: Vec<_> =
            text.words().iter().map(|w| (text.word(w), w.characters, w.letter, w.symbol)).collect();
        let want = [
            ("Élan", 4, true, false),
            ("—", 1, false, true),
            ("12", 2, false, false),
            ("$", 1, false, true),
            ("5", 1, false, false),
        ];
        assert_eq!(words, want);
        assert_eq!((text.characters(), text.word_count()), (12, 5));
    }
}
