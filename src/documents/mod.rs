//! What files hold, as documents: text, JSON lines and Parquet, packed or not.
//!
//! Names become a sorted list of files ([`find()`]), long files become parts ([`parts()`]), and a part is a stream of
//! documents in bounded memory ([`read()`]): no more than a document of [`MAX_DOCUMENT`] and what its format needs beside
//! it, whatever the bytes of a file declare.
//!
//! Text is handed out as the rest of the program wants it: line ends are `\n`, there is no byte order mark and no zero
//! byte. What cannot be read is counted in a [`Tally`]; above a thousandth of a file it is an error.

mod cut;
mod find;
mod jsonl;
mod parquet;
mod parts;
mod text;
mod unpack;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::error::{FileError, InputError};
use crate::spec::Scalar;

pub use cut::{Cut, pieces};
pub use find::{LeftOut, Listing, find};
pub use parts::{parts, units};
pub use text::clean;

/// Longest document that is read [bytes]: what judging one needs is 20 times as much.
pub const MAX_DOCUMENT: usize = 16 << 20;

/// One document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Its text: line ends are `\n`, no byte order mark, no zero byte.
    pub text: String,
    /// What its file calls it. Of text files their path. A piece of a longer one has `#` and its number behind it.
    pub id: Option<String>,
    /// What it belongs to, such as a repository, where [`Fields::group`] asks for it.
    pub group: Option<String>,
}

/// How a file holds documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// One document, unless it is cut.
    Text,
    /// One JSON object a line.
    Jsonl,
    /// One row a document.
    Parquet,
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Jsonl => "JSON lines",
            Self::Parquet => "Parquet",
        })
    }
}

/// How a file as a whole is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Packing {
    /// Not at all.
    Plain,
    /// gzip, of one or more members.
    Gzip,
    /// Zstandard, of one or more frames.
    Zstd,
}

/// A file that was found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Found {
    /// Where it lies.
    pub path: PathBuf,
    /// Its length on disk [bytes].
    pub bytes: u64,
    /// How it holds documents.
    pub kind: Kind,
    /// How it is packed.
    pub packing: Packing,
}

/// A file, or a range of one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Which file.
    pub file: Found,
    /// What of it.
    pub range: Range,
}

/// What of a file is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Range {
    /// All of it.
    All,
    /// Of plain JSON lines: those whose first byte lies here.
    Lines {
        /// First byte.
        from: u64,
        /// The byte after the last.
        to: u64,
    },
    /// Of Parquet: these row groups.
    RowGroups {
        /// The first.
        from: usize,
        /// The one after the last.
        to: usize,
    },
}

/// Which fields of a file are looked at, and how long documents are cut.
#[derive(Debug, Clone, PartialEq)]
pub struct Fields {
    /// Field, or column, of the text.
    pub text: String,
    /// That of the name of a document; where it is not said, `id` if there is one.
    pub id: Option<String>,
    /// That of what a document belongs to.
    pub group: Option<String>,
    /// Only documents whose fields have these values are taken.
    pub filter: BTreeMap<String, Scalar>,
    /// How long documents are cut.
    pub cut: Cut,
}

impl Default for Fields {
    fn default() -> Self {
        Self {
            text: "text".to_owned(),
            id: None,
            group: None,
            filter: BTreeMap::new(),
            cut: Cut::Whole,
        }
    }
}

/// What was read of a part, and what was not.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Documents that were handed out; the pieces of one are so many.
    pub documents: u64,
    /// Bytes of their text [bytes].
    pub bytes: u64,
    /// Documents without any text.
    pub empty: u64,
    /// Documents that another value of a field ([`Fields::filter`]) left out.
    pub filtered: u64,
    /// Lines that hold no document that can be read.
    pub unread: u64,
    /// The first of them: where it is and why.
    pub first_unread: Option<String>,
}

impl Tally {
    /// Adds what was read of another part.
    pub fn add(&mut self, other: &Self) {
        self.documents += other.documents;
        self.bytes += other.bytes;
        self.empty += other.empty;
        self.filtered += other.filtered;
        self.unread += other.unread;
        self.first_unread = self.first_unread.take().or_else(|| other.first_unread.clone());
    }
}

/// Files that cannot be read as documents.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The system's error over a file.
    #[error(transparent)]
    File(#[from] FileError),
    /// What a file holds, or what was asked of it.
    #[error(transparent)]
    Input(#[from] InputError),
}

/// What a file holds, one after another.
trait Source: Send {
    /// The next document as the file has it, or `None` at the end. Counts what it leaves out.
    fn next(&mut self, tally: &mut Tally) -> Result<Option<Document>, ReadError>;
}

/// The documents of a part: an iterator that ends after its first error.
pub struct Documents {
    source: Box<dyn Source>,
    cutter: cut::Cutter,
    /// Name and group of the document whose pieces are handed out, and how many were.
    whole: Option<(Option<String>, Option<String>, u64)>,
    tally: Tally,
    consumed: Arc<AtomicU64>,
    over: bool,
}

impl std::fmt::Debug for Documents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Documents").field("tally", &self.tally).finish_non_exhaustive()
    }
}

/// Opens a part.
///
/// # Errors
///
/// [`ReadError`]: a file that is not there, not what its name says, or without the fields.
pub fn read(part: &Part, fields: &Fields) -> Result<Documents, ReadError> {
    let consumed = Arc::new(AtomicU64::new(0));
    // Text is cut as it is read, other documents when they are whole.
    let mut cut = fields.cut;
    let source: Box<dyn Source> = match part.file.kind {
        Kind::Text => {
            let text = text::open(&part.file, std::mem::replace(&mut cut, Cut::Whole), &consumed)?;
            Box::new(text)
        }
        Kind::Jsonl => Box::new(jsonl::open(part, fields, &consumed)?),
        Kind::Parquet => Box::new(parquet::open(part, fields, &consumed)?),
    };
    if matches!(cut, Cut::Lines(_)) {
        cut = Cut::Whole;
    }
    let cutter = cut::Cutter::new(cut);
    let tally = Tally::default();
    Ok(Documents { source, cutter, whole: None, tally, consumed, over: false })
}

impl Documents {
    /// What was read so far; all of the part once the iterator has ended.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Bytes of the file, as it lies on disk, that were read so far: for a progress bar.
    pub fn consumed(&self) -> u64 {
        self.consumed.load(Ordering::Relaxed)
    }

    fn advance(&mut self) -> Result<Option<Document>, ReadError> {
        loop {
            if let Some((id, group, pieces)) = &mut self.whole {
                if let Some(text) = self.cutter.next(true) {
                    *pieces += 1;
                    let id = id.as_ref().map(|id| match (*pieces, self.cutter.is_empty()) {
                        (1, true) => id.clone(),
                        (n, _) => format!("{id}#{n}"),
                    });
                    return Ok(Some(Document { text, id, group: group.clone() }));
                }
                self.whole = None;
            }
            let Some(document) = self.source.next(&mut self.tally)? else {
                return Ok(None);
            };
            if document.text.is_empty() {
                self.tally.empty += 1;
            } else if self.cutter.cuts() {
                self.cutter.give(document.text);
                self.whole = Some((document.id, document.group, 0));
            } else {
                return Ok(Some(document));
            }
        }
    }
}

impl Iterator for Documents {
    type Item = Result<Document, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.over {
            return None;
        }
        let next = self.advance();
        match &next {
            Ok(Some(document)) => {
                self.tally.documents += 1;
                self.tally.bytes += document.text.len() as u64;
            }
            Ok(None) | Err(_) => self.over = true,
        }
        next.transpose()
    }
}

/// SHA-256 of a document's text as it was read: what hold-out looks at, before anything is filtered or edited.
pub fn raw_key(text: &str) -> [u8; 32] {
    Sha256::digest(text).into()
}

#[cfg(test)]
mod tests;
