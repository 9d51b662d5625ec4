//! Long documents in pieces that together are all of them.

use std::borrow::Cow;

/// How long documents are cut.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Cut {
    /// Not at all.
    #[default]
    Whole,
    /// Text files at the first line end after so many bytes; where there is none within twice so many, at white space;
    /// where there is none within four times so many, there. Documents of other files stay whole.
    Lines(usize),
    /// At the first blank line after so many words; where there is none within twice so many, at a line end.
    Paragraphs(u64),
}

/// Cuts text that comes bit by bit.
#[derive(Debug)]
pub(super) struct Cutter {
    cut: Cut,
    text: String,
    /// Where what was not yet handed out begins.
    from: usize,
    /// How far after it was looked, at a line's begin; the words up to there, and whether the line before is blank.
    seen: usize,
    words: u64,
    blank: bool,
}

impl Cutter {
    pub(super) fn new(cut: Cut) -> Self {
        Self { cut, text: String::new(), from: 0, seen: 0, words: 0, blank: false }
    }

    pub(super) fn cuts(&self) -> bool {
        self.cut != Cut::Whole
    }

    /// Takes a whole text; what was left of the one before is gone.
    pub(super) fn give(&mut self, text: String) {
        *self = Self { text, ..Self::new(self.cut) };
    }

    /// Takes the next bit of the text.
    pub(super) fn push(&mut self, text: Cow<'_, str>) {
        if self.from > 0 && self.from >= self.text.len() / 2 {
            self.text.drain(..self.from);
            self.from = 0;
        }
        if self.text.is_empty() {
            self.text = text.into_owned();
        } else {
            self.text.push_str(&text);
        }
    }

    /// Bytes that were not yet handed out.
    pub(super) fn len(&self) -> usize {
        self.text.len() - self.from
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The next piece; `None` where more of the text is needed, or nothing is left. `ended`: no more comes.
    pub(super) fn next(&mut self, ended: bool) -> Option<String> {
        if self.is_empty() {
            return None;
        }
        let end = match self.cut {
            Cut::Whole => None,
            Cut::Lines(size) => lines(&self.text[self.from..], size),
            Cut::Paragraphs(words) => self.paragraphs(words),
        };
        let end = match end {
            Some(end) => end,
            None if ended => self.len(),
            None => return None,
        };
        let whole = self.from == 0 && end == self.text.len();
        let piece = if whole {
            std::mem::take(&mut self.text)
        } else {
            self.text[self.from..self.from + end].to_owned()
        };
        self.from = if whole { 0 } else { self.from + end };
        (self.seen, self.words, self.blank) = (0, 0, false);
        Some(piece)
    }

    /// Looks at lines that are whole; what comes after the last of them waits for its end.
    fn paragraphs(&mut self, want: u64) -> Option<usize> {
        let rest = &self.text[self.from..];
        for line in rest[self.seen..].split_inclusive('\n') {
            let blank = line.trim().is_empty();
            let enough = self.words >= want && self.blank && !blank;
            if (enough || self.words >= want.saturating_mul(2)) && self.seen > 0 {
                return Some(self.seen);
            }
            if !line.ends_with('\n') {
                break;
            }
            self.words += line.split_whitespace().count() as u64;
            self.blank = blank;
            self.seen += line.len();
        }
        None
    }
}

/// A text in pieces as [`Cut::Lines`] makes them.
pub fn pieces(mut text: &str, size: usize) -> impl Iterator<Item = &str> {
    std::iter::from_fn(move || {
        let (head, tail) = text.split_at(lines(text, size).unwrap_or(text.len()));
        text = tail;
        (!head.is_empty()).then_some(head)
    })
}

/// Where the first piece of a text ends; `None` where it may end later.
fn lines(text: &str, size: usize) -> Option<usize> {
    let find = |from: usize, to: usize, end: fn(char) -> bool| {
        let (from, to) = (text.ceil_char_boundary(from), text.floor_char_boundary(to));
        let at = text.get(from..to)?.find(end)?;
        let width = text[from + at..].chars().next().map_or(0, char::len_utf8);
        Some(from + at + width)
    };
    // Else a line end may yet come.
    let within = |to: usize| text.len() >= to;
    let (spaces, anywhere) = (2 * size, 4 * size);
    find(size, spaces, |c| c == '\n')
        .or_else(|| within(spaces).then(|| find(spaces, anywhere, char::is_whitespace)).flatten())
        .or_else(|| within(anywhere).then(|| text.floor_char_boundary(anywhere)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pieces of a text that comes in bits of so many bytes.
    fn pieces(cut: Cut, text: &str, bit: usize) -> Vec<String> {
        let (mut cutter, mut out, mut rest) = (Cutter::new(cut), Vec::new(), text);
        while !rest.is_empty() {
            let (head, tail) = rest.split_at(rest.ceil_char_boundary(bit));
            cutter.push(head.into());
            rest = tail;
            out.extend(std::iter::from_fn(|| cutter.next(false)));
        }
        out.extend(std::iter::from_fn(|| cutter.next(true)));
        out
    }

    #[test]
    fn pieces_are_all_of_the_text_and_the_same_however_it_comes() {
        let words: String = (0..40_000)
            .map(|n| format!("word{n}{}", [" ", "\n"][n % 2]))
            .collect::<Vec<_>>()
            .concat();
        let paragraphs = (0..3000).fold(String::new(), |s, n| s + &format!("line {n}\nor two\n\n"));
        let long = "é".repeat(200_000);
        for text in [&words, &paragraphs, &long] {
            for cut in [Cut::Whole, Cut::Lines(32 << 10), Cut::Paragraphs(100)] {
                let want = pieces(cut, text, text.len());
                assert_eq!(want.concat(), *text);
                for bit in [7, 4096, 65_536] {
                    assert_eq!(pieces(cut, text, bit), want, "{cut:?} {bit}");
                }
            }
        }
        assert_eq!(pieces(Cut::Whole, &words, 4096).len(), 1);
        let lines = pieces(Cut::Lines(32 << 10), &words, 4096);
        assert!(super::pieces(&words, 32 << 10).eq(lines.iter().map(String::as_str)));
        assert!(lines.len() > 5 && lines.iter().all(|p| p.ends_with('\n') && p.len() < 33 << 10));
    }

    #[test]
    fn paragraphs_end_at_blank_lines_after_so_many_words() {
        let text = (0..100).fold(String::new(), |s, n| s + &format!("four words here {n}\n\n"));
        let pieces = pieces(Cut::Paragraphs(40), &text, 100);
        assert_eq!(pieces.len(), 10);
        assert!(pieces.iter().all(|p| p.split_whitespace().count() == 40 && p.ends_with("\n\n")));
    }

    #[test]
    fn text_without_blank_lines_or_line_ends_is_cut_too() {
        let lines = "four words a line\n".repeat(100);
        let at_lines = pieces(Cut::Paragraphs(40), &lines, 1000);
        assert!(at_lines.iter().all(|p| p.split_whitespace().count() == 80), "{at_lines:?}");
        let one_line = "word ".repeat(60_000);
        let at_spaces = pieces(Cut::Lines(32 << 10), &one_line, 5000);
        assert_eq!(at_spaces.len(), 5);
        assert!(at_spaces.iter().all(|p| p.ends_with(' ')));
        let blob = pieces(Cut::Lines(32 << 10), &"x".repeat(300_000), 5000);
        assert_eq!(blob.iter().map(String::len).collect::<Vec<_>>(), [131_072, 131_072, 37_856]);
    }
}
