//! What two documents are compared by: the same words in lower case, without punctuation, marks and numbers.

use unicode_normalization::char::decompose_canonical;
use xxhash_rust::xxh3::xxh3_128;

use super::unicode::{self, MARK, SPACE};
use super::words;

/// Text as datatrove 0.10.1 compares it: lower case, `0` for each number, a space for each run of punctuation and white
/// space, letters without their marks.
pub fn normalise(text: &str) -> String {
    // The one letter whose lower case depends on where it stands.
    if text.contains('Σ') {
        return reduce(&text.to_lowercase());
    }
    reduce(text)
}

fn reduce(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = String::with_capacity(text.len());
    let (mut at, mut gap) = (0, false);
    while at < bytes.len() {
        let letters = bytes[at..].iter().take_while(|b| b.is_ascii_alphabetic()).count();
        let c = if letters > 0 { 'a' } else { text[at..].chars().next().unwrap_or(' ') };
        // Numbers come before what separates: a full-width one is both.
        let digit = letters == 0 && unicode::is_digit(c);
        if letters == 0 && !digit && (unicode::is_separator(c) || unicode::is(Some(c), SPACE)) {
            at += c.len_utf8();
            gap = true;
            continue;
        }
        if gap && !out.is_empty() {
            out.push(' ');
        }
        gap = false;
        if letters > 0 {
            let from = out.len();
            out.push_str(&text[at..at + letters]);
            out[from..].make_ascii_lowercase();
            at += letters;
        } else if digit {
            at = number(text, at);
            out.push('0');
        } else {
            at += c.len_utf8();
            decompose(c, |part| {
                if !unicode::is(Some(part), MARK) {
                    out.push(part);
                }
            });
        }
    }
    out.truncate(unicode::strip_end(&out).len());
    out
}

/// A character in lower case and in its canonical parts.
fn decompose(c: char, mut part: impl FnMut(char)) {
    c.to_lowercase().for_each(|c| decompose_canonical(c, &mut part));
}

/// Where a number that begins here ends: digits, or digits, a decimal mark, digits.
fn number(text: &str, at: usize) -> usize {
    let digits = |at: usize| {
        let rest = &text[at..];
        text.len() - rest.trim_start_matches(unicode::is_digit).len()
    };
    let end = digits(at);
    let mark = text[end..].chars().next();
    let is_mark = |c| matches!(c, '.' | ',' | '\u{60c}' | '\u{66b}' | '\u{2396}'..='\u{2398}');
    match mark.filter(|c| is_mark(*c)).map(|c| end + c.len_utf8()) {
        Some(after) if digits(after) > after => digits(after),
        _ => end,
    }
}

/// Equal for documents that are equal but for case, punctuation, marks, numbers and white space: XXH3-128 of
/// [`normalise`].
pub fn exact_key(normalised: &str) -> u128 {
    xxh3_128(normalised.as_bytes())
}

/// The words of a normalised text, each followed by a space but the last, with the place of each.
pub(super) struct Words {
    joined: String,
    places: Vec<(u32, u32)>,
}

impl Words {
    /// The words of `words.rs`.
    pub(super) fn new(normalised: &str) -> Self {
        let mut all = Self::with_room(normalised);
        words::words(normalised, |t| all.push(&normalised[t.start as usize..t.end as usize]));
        all
    }

    /// What stands between white space.
    pub(super) fn by_space(normalised: &str) -> Self {
        let mut all = Self::with_room(normalised);
        let space = |c| unicode::is(Some(c), SPACE);
        normalised.split(space).filter(|word| !word.is_empty()).for_each(|word| all.push(word));
        all
    }

    fn with_room(text: &str) -> Self {
        let joined = String::with_capacity(text.len() + text.len() / 16);
        Self { joined, places: Vec::with_capacity(text.len() / 5) }
    }

    fn push(&mut self, word: &str) {
        if !self.joined.is_empty() {
            self.joined.push(' ');
        }
        let start = self.joined.len() as u32;
        self.joined.push_str(word);
        self.places.push((start, self.joined.len() as u32));
    }

    /// The n-gram of `n` words that begins at this word, joined by spaces.
    pub(super) fn ngram(&self, at: usize, n: usize) -> Option<&[u8]> {
        let words = self.places.get(at..at + n)?;
        Some(&self.joined.as_bytes()[words[0].0 as usize..words[n - 1].1 as usize])
    }

    /// All n-grams of `n` words, in order.
    pub(super) fn ngrams(&self, n: usize) -> impl ExactSizeIterator<Item = &[u8]> {
        let bytes = self.joined.as_bytes();
        self.places
            .windows(n)
            .map(move |words| &bytes[words[0].0 as usize..words[n - 1].1 as usize])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What datatrove 0.10.1's `simplify_text` makes of it.
    #[test]
    fn text_is_compared_as_datatrove_compares_it() {
        for (text, want) in [
            ("", ""),
            ("  Hello,\tWORLD!!\n", "hello world"),
            ("1|2|3", "0 0 0"),
            ("3.14,15 .5 5. 1,2.3 x1y2", "0 0 0 0 0 0 x0y0"),
            ("3.14 and 1,000,000 and 5.", "0 and 0 0 and 0"),
            ("don't U.S. e-mail", "don t u s e mail"),
            ("Ünïcödé ÉLAN", "unicode elan"),
            ("ΣΑΣ ﬁ", "σας ﬁ"),
            ("٣٫١٤ １２ a１ ² Ⅳ", "0 0 a0 ² ⅳ"),
            ("“quoted” … ‘x’", "quoted ‘x"),
            ("a\u{301}\u{a0}\u{301} b", "a  b"),
            (
                "한국어 語。東京",
                "\u{1112}\u{1161}\u{11ab}\u{1100}\u{116e}\u{11a8}\u{110b}\u{1165} 語 東京",
            ),
            ("x\u{0}y\u{1c}z", "x y z"),
        ] {
            assert_eq!(normalise(text), want, "{text:?}");
        }
    }

    #[test]
    fn ngrams_are_joined_by_spaces() {
        let words = Words::new("i dont know km 0km");
        let found: Vec<&str> = words.ngrams(3).map(|n| std::str::from_utf8(n).unwrap()).collect();
        assert_eq!(found, ["i do nt", "do nt know", "nt know km", "know km 0", "km 0 km"]);
        assert_eq!(Words::by_space("i dont know").ngrams(4).len(), 0);
    }
}
