//! Text files, read bit by bit, and text as all documents have it.

use std::borrow::Cow;
use std::io::Read as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::cut::{Cut, Cutter};
use super::{Document, Found, MAX_DOCUMENT, ReadError, Source, Tally, unpack};
use crate::error::InputError;

/// Bytes that are read at a time.
const BIT: usize = 64 << 10;

/// The byte order mark.
pub(super) const MARK: char = '\u{feff}';

/// Text with `\n` for every line end (`\r\n` and `\r` too), without zero bytes and without a byte order mark in front.
pub fn clean(text: Cow<'_, str>) -> Cow<'_, str> {
    let text = match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.strip_prefix(MARK).unwrap_or(text)),
        Cow::Owned(mut text) => {
            if text.starts_with(MARK) {
                text.drain(..MARK.len_utf8());
            }
            Cow::Owned(text)
        }
    };
    ends(text)
}

/// The same for a part of a text.
fn ends(text: Cow<'_, str>) -> Cow<'_, str> {
    let odd = |bytes: &[u8]| bytes.iter().filter(|b| matches!(b, b'\r' | 0)).count() > 0;
    if !text.as_bytes().chunks(256).any(odd) {
        return text;
    }
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\0' => {}
            '\r' => {
                chars.next_if_eq(&'\n');
                out.push('\n');
            }
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// A text file that is being read.
pub(super) struct Text {
    reader: unpack::Reader,
    file: Found,
    cutter: Cutter,
    /// Bytes that were read and are not yet text: part of a character, or a `\r` whose `\n` may come.
    held: Vec<u8>,
    /// Bytes of the file's text that were read and those before `held`.
    read: u64,
    pieces: u64,
    ended: bool,
}

pub(super) fn open(file: &Found, cut: Cut, consumed: &Arc<AtomicU64>) -> Result<Text, ReadError> {
    let reader = unpack::open(file, consumed)?;
    let (cutter, held) = (Cutter::new(cut), Vec::with_capacity(BIT));
    Ok(Text { reader, file: file.clone(), cutter, held, read: 0, pieces: 0, ended: false })
}

impl Text {
    fn path(&self) -> &PathBuf {
        &self.file.path
    }

    /// Reads a bit more into the cutter.
    fn fill(&mut self) -> Result<(), ReadError> {
        let before = self.held.len();
        let got = (&mut self.reader).take(BIT as u64).read_to_end(&mut self.held);
        got.map_err(|e| unpack::failed(&self.file, e))?;
        self.ended = self.held.len() == before;
        let invalid = |at: u64| {
            InputError::new(
                format!("`{}` is not UTF-8 text: byte {at} is invalid", self.path().display()),
                "convert it, for example with `iconv -t UTF-8`; a folder takes files by their ending, so a file of another kind needs another name",
            )
        };
        let valid = match std::str::from_utf8(&self.held) {
            Ok(text) => text,
            Err(e) if e.error_len().is_some() || self.ended => {
                return Err(invalid(self.read + e.valid_up_to() as u64).into());
            }
            Err(e) => str::from_utf8(&self.held[..e.valid_up_to()]).unwrap_or_default(),
        };
        // What follows a `\r` decides what it is.
        let text = if self.ended { valid } else { valid.strip_suffix('\r').unwrap_or(valid) };
        let first = self.read == 0 && !text.is_empty();
        let n = text.len();
        let text = if first { clean(text.into()) } else { ends(text.into()) };
        self.cutter.push(text);
        self.held.drain(..n);
        self.read += n as u64;
        if self.cutter.len() > MAX_DOCUMENT {
            return Err(InputError::new(
                format!(
                    "`{}` holds a document of more than {} MiB, the most that is read as one",
                    self.path().display(),
                    MAX_DOCUMENT >> 20
                ),
                "cut it: `paragraphs = 4096` in a recipe makes documents of about so many words, at blank lines",
            )
            .into());
        }
        Ok(())
    }
}

impl Source for Text {
    fn next(&mut self, _: &mut Tally) -> Result<Option<Document>, ReadError> {
        loop {
            if let Some(text) = self.cutter.next(self.ended) {
                self.pieces += 1;
                let path = self.path().display();
                let alone = self.pieces == 1 && self.ended && self.cutter.is_empty();
                let id = if alone { format!("{path}") } else { format!("{path}#{}", self.pieces) };
                return Ok(Some(Document { text, id: Some(id), group: None }));
            }
            if self.ended {
                return Ok(None);
            }
            self.fill()?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_ends_zero_bytes_and_marks_are_made_one_way() {
        for (raw, want) in [
            ("a\r\nb\rc\n", "a\nb\nc\n"),
            ("\u{feff}a\0b\r", "ab\n"),
            ("a\u{feff}b", "a\u{feff}b"),
            ("\r\r\n\n", "\n\n\n"),
        ] {
            assert_eq!(clean(raw.into()), want);
            assert_eq!(clean(raw.to_owned().into()), want);
        }
        assert!(matches!(clean("plain\n".into()), Cow::Borrowed(_)));
    }
}
