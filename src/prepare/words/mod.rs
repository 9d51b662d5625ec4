//! Words, as datatrove counts them: the rules of spaCy's English tokeniser by hand.
//!
//! White space separates *chunks*. Of a chunk punctuation, quotes, symbols and units are peeled off in front and
//! behind; what is left is an address, which stays whole, or is split at hyphens, commas, colons and the like between
//! letters. Exceptions (abbreviations, contractions, emoticons) come first and last. The filters of datatrove 0.10.1
//! split so, and their decisions depend on it.

mod address;
mod exceptions;

use super::unicode::{self, ALPHA, LOWER, PUNCTUATION, SPACE, SYMBOL, UPPER};
use exceptions::{EXCEPTIONS, Exception};

/// Changes when words do: joins the version of every filter that counts words.
pub(super) const VERSION: u32 = 1;

/// A word, or a piece of white space that counts as one for sentences, by its bytes in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) start: u32,
    pub(super) end: u32,
}

/// Calls `word` with the place in bytes of every word of `text`, in order.
pub(super) fn words(text: &str, mut word: impl FnMut(Token)) {
    let mut scratch = Scratch::default();
    chunks(text, |start, end, kind| {
        // Most words.
        if kind == Kind::Plain && EXCEPTIONS.get(&text[start..end]).is_none() {
            word(token(start, end));
        } else if kind != Kind::Space {
            chunk(text, start, end, &mut scratch);
            scratch.tokens.iter().for_each(|token| word(*token));
        }
    });
}

/// The number of sentences of a line, at least one: each ends with a word such as `.` or `?` and the punctuation
/// after it.
pub(super) fn sentences(line: &str) -> usize {
    let mut scratch = Scratch::default();
    let (mut count, mut ended) = (1, false);
    let mut token = |text: &str| {
        if is_sentence_end(text) {
            ended = true;
        } else if ended && !text.chars().all(|c| unicode::is(Some(c), PUNCTUATION)) {
            count += 1;
            ended = false;
        }
    };
    let mut first = true;
    chunks(line, |start, end, kind| {
        if kind == Kind::Space {
            // A single space between words is no token.
            let single = line[start..end].starts_with(' ');
            let start = start + usize::from(single && !first);
            if start < end {
                token(&line[start..end]);
            }
        } else {
            chunk(line, start, end, &mut scratch);
            for t in &scratch.tokens {
                token(&line[t.start as usize..t.end as usize]);
            }
        }
        first = false;
    });
    count
}

fn is_sentence_end(token: &str) -> bool {
    let mut chars = token.chars();
    chars.next().is_some_and(unicode::ends_sentence) && chars.next().is_none()
}

/// What a run of characters is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// White space.
    Space,
    /// Letters of ASCII, or letters and digits with a digit at the end: one word, unless it is an exception.
    Plain,
    /// All else.
    Other,
}

const SPACES: u8 = 1;
const LETTERS: u8 = 2;
const DIGITS: u8 = 4;
const SIGNS: u8 = 8;

/// The kind of each byte of ASCII; those above begin characters.
const BYTES: [u8; 128] = {
    let mut table = [SIGNS; 128];
    let mut byte = 0;
    while byte < 128 {
        table[byte] = match byte as u8 {
            b'\t'..=b'\r' | 0x1c..=0x1f | b' ' => SPACES,
            b'a'..=b'z' | b'A'..=b'Z' => LETTERS,
            b'0'..=b'9' => DIGITS,
            _ => SIGNS,
        };
        byte += 1;
    }
    table
};

/// Runs of white space and of all else, in order: from, to, and what it is.
fn chunks(text: &str, mut run: impl FnMut(usize, usize, Kind)) {
    let bytes = text.as_bytes();
    let mut tell = |start: usize, end: usize, kinds: u8| {
        let plain =
            kinds == LETTERS || kinds & (SPACES | SIGNS) == 0 && bytes[end - 1].is_ascii_digit();
        let kind = match kinds {
            SPACES => Kind::Space,
            _ if plain => Kind::Plain,
            _ => Kind::Other,
        };
        run(start, end, kind);
    };
    let (mut at, mut start, mut kinds) = (0, 0, 0);
    while at < bytes.len() {
        let (kind, len) = if bytes[at] < 128 {
            (BYTES[bytes[at] as usize], 1)
        } else {
            let c = text[at..].chars().next().unwrap_or(' ');
            (if unicode::classes(c) & SPACE == 0 { SIGNS } else { SPACES }, c.len_utf8())
        };
        if start < at && (kind == SPACES) != (kinds == SPACES) {
            tell(start, at, kinds);
            (start, kinds) = (at, 0);
        }
        kinds |= kind;
        at += len;
    }
    if start < at {
        tell(start, at, kinds);
    }
}

/// What splitting a chunk needs, kept between chunks.
#[derive(Default)]
struct Scratch {
    /// The words of the chunk.
    tokens: Vec<Token>,
    /// Lengths of what was peeled off behind, the last first [bytes].
    behind: Vec<u32>,
}

/// Fills `scratch.tokens` with the words of the chunk `text[start..end]`.
fn chunk(text: &str, start: usize, end: usize, scratch: &mut Scratch) {
    scratch.tokens.clear();
    let part = &text[start..end];
    if let Some(exception) = EXCEPTIONS.get(part) {
        exception.put(start, &mut scratch.tokens);
        return;
    }
    if let Some(end_of_word) = word_and_sign(part) {
        match EXCEPTIONS.get(&part[..end_of_word]) {
            Some(exception) => exception.put(start, &mut scratch.tokens),
            None => scratch.tokens.push(token(start, start + end_of_word)),
        }
        scratch.tokens.push(token(start + end_of_word, end));
        return;
    }
    split(text, start, end, Some(&EXCEPTIONS), scratch);
    if scratch.tokens.len() > 1 {
        EXCEPTIONS.join(text, &mut scratch.tokens);
    }
}

/// The short way for letters of ASCII with one sign behind, that is no part of the word: the length of the word.
fn word_and_sign(part: &str) -> Option<usize> {
    let (sign, word) = part.as_bytes().split_last()?;
    let letters = !word.is_empty() && word.iter().all(u8::is_ascii_alphabetic);
    let peeled = match sign {
        b',' | b';' | b':' | b'!' | b'?' => true,
        b'.' => word.last().is_some_and(u8::is_ascii_lowercase),
        _ => false,
    };
    (letters && peeled).then_some(word.len())
}

fn token(start: usize, end: usize) -> Token {
    Token { start: start as u32, end: end as u32 }
}

/// Peels, then splits inside. Without `exceptions` where their own parts are found.
fn split(
    text: &str,
    mut start: usize,
    mut end: usize,
    exceptions: Option<&exceptions::Exceptions>,
    scratch: &mut Scratch,
) {
    let special = |part: &str| -> Option<&Exception> { exceptions.and_then(|e| e.get(part)) };
    scratch.behind.clear();
    while start < end {
        let part = &text[start..end];
        if special(part).is_some() {
            break;
        }
        let front = prefix(part);
        if front > 0 && front < part.len() && special(&part[front..]).is_some() {
            scratch.tokens.push(token(start, start + front));
            start += front;
            break;
        }
        let back = suffix(&part[front..]);
        if back > 0 && back < part.len() && special(&part[..part.len() - back]).is_some() {
            scratch.behind.push(back as u32);
            end -= back;
            break;
        }
        if front == 0 && back == 0 {
            break;
        }
        if front > 0 {
            scratch.tokens.push(token(start, start + front));
            start += front;
        }
        if back > 0 {
            scratch.behind.push(back as u32);
            end -= back;
        }
    }
    if start < end {
        let part = &text[start..end];
        if let Some(exception) = special(part) {
            exception.put(start, &mut scratch.tokens);
        } else if address::is_address(part) {
            scratch.tokens.push(token(start, end));
        } else {
            inside(part, start, &mut scratch.tokens);
        }
    }
    let mut from = end;
    for len in scratch.behind.iter().rev() {
        scratch.tokens.push(token(from, from + *len as usize));
        from += *len as usize;
    }
}

fn is_quote(c: char) -> bool {
    matches!(
        c,
        '\'' | '"'
            | '`'
            | ','
            | '\u{201d}'
            | '\u{201c}'
            | '\u{2018}'
            | '\u{b4}'
            | '\u{2019}'
            | '\u{201a}'
            | '\u{201e}'
            | '\u{bb}'
            | '\u{ab}'
            | '\u{300c}'
            | '\u{300d}'
            | '\u{300e}'
            | '\u{300f}'
            | '\u{ff08}'
            | '\u{ff09}'
            | '\u{3014}'
            | '\u{3015}'
            | '\u{3010}'
            | '\u{3011}'
            | '\u{300a}'
            | '\u{300b}'
            | '\u{3008}'
            | '\u{3009}'
            | '\u{2329}'
            | '\u{232a}'
            | '\u{27e6}'
            | '\u{27e7}'
    )
}

fn is_punctuation(c: char) -> bool {
    matches!(
        c,
        ',' | ':'
            | ';'
            | '!'
            | '?'
            | '('
            | ')'
            | '['
            | ']'
            | '{'
            | '}'
            | '<'
            | '>'
            | '_'
            | '#'
            | '*'
            | '&'
            | '\u{2026}'
            | '\u{bf}'
            | '\u{61f}'
            | '\u{a1}'
            | '\u{3002}'
            | '\u{ff1f}'
            | '\u{ff01}'
            | '\u{ff0c}'
            | '\u{3001}'
            | '\u{ff1b}'
            | '\u{ff1a}'
            | '\u{ff5e}'
            | '\u{b7}'
            | '\u{964}'
            | '\u{60c}'
            | '\u{6d4}'
            | '\u{61b}'
            | '\u{66a}'
    )
}

fn is_currency(c: char) -> bool {
    matches!(c, '$' | '\u{a3}' | '\u{a5}' | '\u{e3f}' | '\u{fdfc}' | '\u{20a0}'..='\u{20bf}')
}

/// Peeled in front and behind alike.
fn is_peeled(c: char) -> bool {
    is_punctuation(c)
        || is_quote(c)
        || matches!(c, '\u{2013}' | '\u{2014}')
        || unicode::is(Some(c), SYMBOL)
}

/// Length of what is peeled off in front [bytes], 0 for nothing.
fn prefix(part: &str) -> usize {
    let mut chars = part.chars();
    let Some(c) = chars.next() else { return 0 };
    let next = chars.next();
    match c {
        'a'..='z' | '0'..='9' => 0,
        'U' if part.starts_with("US$") => 3,
        'C' | 'A' if next == Some('$') => 2,
        '.' => {
            let dots = part.bytes().take_while(|b| *b == b'.').count();
            if dots > 1 { dots } else { 0 }
        }
        '+' => usize::from(!next.is_some_and(|c| c.is_ascii_digit())),
        '%' | '=' => 1,
        '\u{a7}' => 2,
        c if is_peeled(c) || is_currency(c) => c.len_utf8(),
        _ => 0,
    }
}

/// Length of what is peeled off behind [bytes], 0 for nothing.
fn suffix(part: &str) -> usize {
    let mut chars = part.chars().rev();
    let Some(c) = chars.next() else { return 0 };
    let before = chars.next();
    match c {
        '.' => {
            let dots = part.bytes().rev().take_while(|b| *b == b'.').count();
            if dots > 1 { dots } else { usize::from(full_stop(before, chars.next())) }
        }
        's' | 'S' if matches!(before, Some('\'' | '\u{2019}')) => {
            1 + before.map_or(0, char::len_utf8)
        }
        '+' => usize::from(before.is_some_and(|c| c.is_ascii_digit())),
        '\u{2026}' if before == Some(c) => 2 * c.len_utf8(),
        '0'..='9' => 0,
        c if is_peeled(c) => c.len_utf8(),
        _ => unit(part),
    }
}

/// Is a single `.` after these two characters no part of the word?
fn full_stop(before: Option<char>, earlier: Option<char>) -> bool {
    let Some(c) = before else { return false };
    c.is_ascii_digit()
        || matches!(c, '%' | '²' | '-' | '+' | '|')
        || is_punctuation(c)
        || is_quote(c)
        || unicode::is(before, LOWER)
        || unicode::is(before, UPPER) && unicode::is(earlier, UPPER)
        || earlier == Some('°') && matches!(c, 'F' | 'f' | 'C' | 'c' | 'K' | 'k')
}

/// Longest unit [characters].
const LONGEST_UNIT: usize = 5;

/// Length of a unit or currency behind a digit [bytes], 0 for none.
fn unit(part: &str) -> usize {
    let digit = part.char_indices().rev().take(LONGEST_UNIT + 1).find(|(_, c)| c.is_ascii_digit());
    let Some((at, _)) = digit else { return 0 };
    let rest = &part[at + 1..];
    let mut chars = rest.chars();
    let currency = chars.next().is_some_and(is_currency) && chars.next().is_none();
    let known = currency || matches!(rest, "US$" | "C$" | "A$") || is_unit(rest);
    if known { rest.len() } else { 0 }
}

#[rustfmt::skip]
fn is_unit(text: &str) -> bool {
    matches!(
        text,
        "km" | "km²" | "km³" | "m" | "m²" | "m³" | "dm" | "dm²" | "dm³" | "cm" | "cm²" | "cm³" | "mm" | "mm²" | "mm³"
            | "ha" | "µm" | "nm" | "yd" | "in" | "ft" | "kg" | "g" | "mg" | "µg" | "t" | "lb" | "oz" | "m/s" | "km/h"
            | "kmh" | "mph" | "hPa" | "Pa" | "mbar" | "mb" | "MB" | "kb" | "KB" | "gb" | "GB" | "tb" | "TB" | "T"
            | "G" | "M" | "K" | "%"
            | "км" | "км²" | "км³" | "м" | "м²" | "м³" | "дм" | "дм²" | "дм³" | "см" | "см²" | "см³" | "мм" | "мм²"
            | "мм³" | "нм" | "кг" | "г" | "мг" | "м/с" | "км/ч" | "кПа" | "Па" | "мбар" | "Кб" | "КБ" | "кб" | "Мб"
            | "МБ" | "мб" | "Гб" | "ГБ" | "гб" | "Тб" | "ТБ"
            | "كم" | "كم²" | "كم³" | "م" | "م²" | "م³" | "سم" | "سم²" | "سم³" | "مم" | "مم²" | "مم³"
            | "غرام" | "جرام" | "جم" | "كغ" | "ملغ" | "كوب" | "اكواب"
    )
}

/// Splits at ellipses, symbols, and at some punctuation between letters or digits. `part` begins at `base`.
fn inside(part: &str, base: usize, tokens: &mut Vec<Token>) {
    let (mut from, mut at, mut before) = (0, 0, None);
    while at < part.len() {
        let mut chars = part[at..].chars();
        let Some(c) = chars.next() else { break };
        let len = if c.is_ascii_alphanumeric() { 0 } else { separator(&part[at..], c, before) };
        if len == 0 {
            before = Some(c);
            at += c.len_utf8();
            continue;
        }
        // One that begins the part belongs to what follows.
        if at > 0 {
            if from < at {
                tokens.push(token(base + from, base + at));
            }
            tokens.push(token(base + at, base + at + len));
            from = at + len;
        }
        before = part[..at + len].chars().next_back();
        at += len;
    }
    if from < part.len() {
        tokens.push(token(base + from, base + part.len()));
    }
}

/// Length of what splits a word here [bytes], 0 for nothing. `rest` begins with `c`, which stands after `before`.
fn separator(rest: &str, c: char, before: Option<char>) -> usize {
    let alpha = |c: Option<char>| unicode::is(c, ALPHA);
    let digit = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit());
    let after = |len: usize| rest[len..].chars().next();
    let one = |fits: bool| usize::from(fits);
    match c {
        '.' => {
            let dots = rest.bytes().take_while(|b| *b == b'.').count();
            if dots > 1 {
                return dots;
            }
            let quote = |c: Option<char>| c.is_some_and(is_quote);
            one((unicode::is(before, LOWER) || quote(before))
                && (unicode::is(after(1), UPPER) || quote(after(1))))
        }
        '+' | '-' | '*' | '^' if digit(before) && (digit(after(1)) || after(1) == Some('-')) => 1,
        ',' => one(alpha(before) && alpha(after(1))),
        ':' | '<' | '>' | '=' | '/' => one((alpha(before) || digit(before)) && alpha(after(1))),
        '-' | '~' | '\u{2013}' | '\u{2014}' if alpha(before) || digit(before) => {
            let hyphens = ["-", "\u{2013}", "\u{2014}", "--", "---", "\u{2014}\u{2014}", "~"];
            let fits = |h: &&&str| rest.starts_with(**h) && alpha(after(h.len()));
            hyphens.iter().find(fits).map_or(0, |h| h.len())
        }
        '\u{2026}' => c.len_utf8(),
        c if unicode::is(Some(c), SYMBOL) => c.len_utf8(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests;
