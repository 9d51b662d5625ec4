//! JSON lines: an object a line, of which a few fields are looked at.

use std::borrow::Cow;
use std::fmt;
use std::io::{BufRead as _, Read as _, Seek as _, SeekFrom};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, de};

use super::text::clean;
use super::{Document, Fields, Found, MAX_DOCUMENT, Part, Range, ReadError, Source, Tally, unpack};
use crate::error::{FileError, InputError};
use crate::fs::open_regular;
use crate::spec::Scalar;

/// Longest line that is read, escapes and other fields included [bytes].
const MAX_LINE: usize = 2 * MAX_DOCUMENT;
/// One line in so many may be unreadable.
const ONE_IN: u64 = 1000;
/// After so many lines of which more than half are unreadable, the rest is not looked at.
const HOPELESS: u64 = 1000;

/// A file of lines that is being read.
pub(super) struct Lines {
    reader: unpack::Reader,
    file: Found,
    fields: Fields,
    line: Vec<u8>,
    /// Where the next line begins in the unpacked file, and where lines are no longer ours.
    at: u64,
    to: u64,
    /// Lines so far, those without anything included; unknown places are told by their byte.
    number: u64,
    from_start: bool,
    /// Lines that hold something, and those of them that were no document.
    told: u64,
    unread: u64,
    /// Whether the file begins as one JSON value over many lines.
    pretty: bool,
}

pub(super) fn open(
    part: &Part,
    fields: &Fields,
    consumed: &Arc<AtomicU64>,
) -> Result<Lines, ReadError> {
    let file = part.file.clone();
    let (from, to) = match part.range {
        Range::Lines { from, to } => (from, to),
        _ => (0, u64::MAX),
    };
    let named = |e| FileError::new("read", &file.path)(e);
    let mut opened = open_regular(&file.path).map_err(named)?;
    if from > 0 {
        opened.seek(SeekFrom::Start(from - 1)).map_err(named)?;
    }
    let reader = unpack::unpacked(opened, file.packing, consumed);
    let (line, fields) = (Vec::new(), fields.clone());
    let (number, told, unread) = (0, 0, 0);
    // The line of the byte before is another part's; a line that begins here is ours.
    let (at, from_start, pretty) = (from.saturating_sub(1), from == 0, false);
    let mut lines =
        Lines { reader, file, fields, line, at, to, number, from_start, told, unread, pretty };
    if from > 0 {
        lines.skip_line()?;
    }
    Ok(lines)
}

/// What a line holds of what is looked at.
struct Line<'l> {
    text: Cow<'l, str>,
    id: Option<String>,
    group: Option<String>,
    wanted: bool,
}

impl Lines {
    fn skip_line(&mut self) -> Result<(), ReadError> {
        loop {
            let buffer = self.reader.fill_buf().map_err(|e| unpack::failed(&self.file, e))?;
            let end = buffer.iter().position(|b| *b == b'\n').map(|at| at + 1);
            let n = end.unwrap_or(buffer.len());
            self.reader.consume(n);
            self.at += n as u64;
            if end.is_some() || n == 0 {
                return Ok(());
            }
        }
    }

    fn place(&self, began: u64) -> String {
        if self.from_start {
            format!("line {}", self.number)
        } else {
            format!("the line at byte {began}")
        }
    }

    /// Reads the next line; where it began, or `None` at the end.
    fn advance(&mut self) -> Result<Option<u64>, ReadError> {
        let began = self.at;
        if began >= self.to {
            return Ok(None);
        }
        self.line.clear();
        let mut bounded = (&mut self.reader).take(MAX_LINE as u64 + 1);
        let read = bounded.read_until(b'\n', &mut self.line);
        let read = read.map_err(|e| unpack::failed(&self.file, e))?;
        if read == 0 {
            return Ok(None);
        }
        self.at += read as u64;
        self.number += 1;
        if read > MAX_LINE {
            return Err(self.too_long("line", began, MAX_LINE).into());
        }
        Ok(Some(began))
    }

    fn too_long(&self, what: &str, began: u64, most: usize) -> InputError {
        InputError::new(
            format!(
                "`{}`: {} is a {what} of more than {} MiB, the most that is read as one",
                self.file.path.display(),
                self.place(began),
                most >> 20
            ),
            "write long texts as several documents, or as text files",
        )
    }

    fn count_unread(&mut self, began: u64, why: &str, tally: &mut Tally) -> Result<(), ReadError> {
        self.unread += 1;
        tally.unread += 1;
        if tally.first_unread.is_none() {
            tally.first_unread = Some(format!("{}: {why}", self.place(began)));
        }
        let hopeless = self.told >= HOPELESS && self.unread > self.told / 2;
        if hopeless { self.judge(tally) } else { Ok(()) }
    }

    /// Whether too many lines were unreadable.
    fn judge(&self, tally: &Tally) -> Result<(), ReadError> {
        if self.unread.saturating_mul(ONE_IN) <= self.told {
            return Ok(());
        }
        let first = tally.first_unread.as_deref().unwrap_or_default();
        let hint = if self.pretty {
            "JSON lines hold one object a line: `jq -c '.[]' FILE` makes them of a list over many lines"
        } else {
            "every line is an object with the text in a field, `text` unless said otherwise; a file that was cut short ends in half a line: fetch it again, or remove that line"
        };
        Err(InputError::new(
            format!(
                "`{}`: {} of {} lines {} no document, and one in {ONE_IN} may be; the first is {first}",
                self.file.path.display(),
                self.unread,
                self.told,
                if self.unread == 1 { "is" } else { "are" },
            ),
            hint,
        )
        .into())
    }
}

impl Source for Lines {
    fn next(&mut self, tally: &mut Tally) -> Result<Option<Document>, ReadError> {
        loop {
            let Some(began) = self.advance()? else {
                self.judge(tally)?;
                return Ok(None);
            };
            let mut line = self.line.as_slice();
            if began == 0 {
                line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
            }
            let line = line.trim_ascii();
            if line.is_empty() {
                continue;
            }
            self.told += 1;
            self.pretty |= self.from_start && self.told == 1 && matches!(line, b"[" | b"{");
            match parse(line, &self.fields) {
                Ok(line) if !line.wanted => tally.filtered += 1,
                Ok(Line { text, id, group, .. }) => {
                    let text = clean(text).into_owned();
                    if text.len() > MAX_DOCUMENT {
                        return Err(self.too_long("document", began, MAX_DOCUMENT).into());
                    }
                    return Ok(Some(Document { text, id, group }));
                }
                Err(why) => self.count_unread(began, &why, tally)?,
            }
        }
    }
}

/// A line as an object; `Err` says why it is no document.
fn parse<'l>(line: &'l [u8], fields: &Fields) -> Result<Line<'l>, String> {
    let mut json = serde_json::Deserializer::from_slice(line);
    let read = Wanted(fields).deserialize(&mut json);
    let read = read.and_then(|line| json.end().map(|()| line));
    // The line of the message is always the first: what is parsed is one.
    read.map_err(|e| e.to_string().replace(" at line 1 column ", " at column "))
}

/// Looks at a few fields of an object.
struct Wanted<'f>(&'f Fields);

impl<'de> DeserializeSeed<'de> for Wanted<'_> {
    type Value = Line<'de>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Line<'de>, D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Wanted<'_> {
    type Value = Line<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object with the field `{}`", self.0.text)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Line<'de>, A::Error> {
        let fields = self.0;
        let name = fields.id.as_deref().unwrap_or("id");
        let (mut text, mut id, mut group) = (None, Scalar::Other, Scalar::Other);
        let mut equal = 0;
        while let Some(Text(key)) = map.next_key()? {
            // A field can be several things at once.
            let filter = fields.filter.get(&*key);
            let (is_id, is_group) = (key == name, fields.group.as_deref() == Some(&*key));
            if key == fields.text && text.is_none() {
                let value: Option<Text<'de>> = map.next_value()?;
                text = Some(value.map_or(Cow::Borrowed(""), |Text(value)| value));
            } else if filter.is_some() || is_id || is_group {
                let value: Scalar = map.next_value()?;
                equal += usize::from(filter.is_some_and(|want| *want == value));
                if is_id {
                    id = value.clone();
                }
                if is_group {
                    group = value;
                }
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        let wanted = equal == fields.filter.len();
        let (id, group) = (id.into_text(), group.into_text());
        let text = match text {
            Some(text) => text,
            None if !wanted => Cow::Borrowed(""),
            None => return Err(de::Error::custom(format!("no field `{}`", fields.text))),
        };
        Ok(Line { text, id, group, wanted })
    }
}

/// Text, borrowed where it holds no escapes.
struct Text<'t>(Cow<'t, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        from.deserialize_str(Any)
    }
}
