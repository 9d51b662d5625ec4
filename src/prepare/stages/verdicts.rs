//! What became of each document of a unit, in order.

use std::io::ErrorKind;

use super::records::Reader;
use super::{DataError, Work};

/// Bytes of a document as it was judged: key, code, flags, length of its text.
const JUDGED: usize = 8 + 1 + 1 + 4;
/// Bytes of one that goes as a copy: its number, and why.
const COPY: usize = 4 + 1;
/// The document is held out.
const HELD_OUT: u8 = 1;

/// One document as it was judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Judged {
    /// First 8 bytes of the SHA-256 of its raw text.
    pub(super) key: u64,
    /// 0 for one that stays, else the place of its rule and one.
    pub(super) code: u8,
    /// Whether it is set aside.
    pub(super) held_out: bool,
    /// Length of its raw text [bytes].
    pub(super) bytes: u32,
}

impl Judged {
    pub(super) fn encode(self) -> [u8; JUDGED] {
        let mut out = [0; JUDGED];
        out[..8].copy_from_slice(&self.key.to_le_bytes());
        (out[8], out[9]) = (self.code, if self.held_out { HELD_OUT } else { 0 });
        out[10..].copy_from_slice(&self.bytes.to_le_bytes());
        out
    }

    fn decode(b: [u8; JUDGED]) -> Self {
        Self {
            key: u64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]),
            code: b[8],
            held_out: b[9] == HELD_OUT,
            bytes: u32::from_le_bytes([b[10], b[11], b[12], b[13]]),
        }
    }

    /// The documents of a unit, one after another.
    pub(super) fn all(work: &Work, unit: usize) -> Result<AllJudged, DataError> {
        Ok(AllJudged(Reader::open(work.file("judge", unit, "documents"))?))
    }
}

/// See [`Judged::all`].
pub(super) struct AllJudged(Reader<JUDGED>);

impl AllJudged {
    pub(super) fn next(&mut self) -> Result<Option<Judged>, DataError> {
        Ok(self.0.next()?.map(Judged::decode))
    }
}

/// Why a document goes as a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Copy {
    /// Another of the same words stays.
    Exact = 1,
    /// Another that is nearly the same stays.
    Near = 2,
    /// It is a copy, or nearly one, of a held-out document.
    HeldOut = 3,
}

impl Copy {
    /// Its name on the card.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Exact => "copy",
            Self::Near => "near-copy",
            Self::HeldOut => "copy-of-held-out",
        }
    }

    /// The record of the document of this number.
    pub(super) fn encode(self, number: u32) -> [u8; COPY] {
        let n = number.to_le_bytes();
        [n[0], n[1], n[2], n[3], self as u8]
    }
}

/// What became of one document.
#[derive(Debug, Clone, Copy)]
pub(super) struct Verdict {
    pub(super) judged: Judged,
    /// Why it goes as a copy.
    pub(super) copy: Option<Copy>,
}

impl Verdict {
    /// Is it trained on, unless it holds what is to be measured?
    pub(super) fn stays(&self) -> bool {
        self.judged.code == 0 && !self.judged.held_out && self.copy.is_none()
    }
}

/// What became of the documents of a unit, one after another.
pub(super) struct Verdicts {
    judged: AllJudged,
    copies: Reader<COPY>,
    /// The next that goes as a copy.
    next: Option<(u32, Copy)>,
    number: u32,
}

impl Verdicts {
    pub(super) fn open(work: &Work, unit: usize) -> Result<Self, DataError> {
        let copies = Reader::open(work.file("resolve", unit, "copies"))?;
        let judged = Judged::all(work, unit)?;
        let mut all = Self { judged, copies, next: None, number: 0 };
        all.advance()?;
        Ok(all)
    }

    fn advance(&mut self) -> Result<(), DataError> {
        let Some(b) = self.copies.next()? else {
            self.next = None;
            return Ok(());
        };
        let why = match b[4] {
            1 => Copy::Exact,
            2 => Copy::Near,
            3 => Copy::HeldOut,
            _ => return Err(self.copies.failed(ErrorKind::InvalidData)),
        };
        self.next = Some((u32::from_le_bytes([b[0], b[1], b[2], b[3]]), why));
        Ok(())
    }

    pub(super) fn next(&mut self) -> Result<Option<Verdict>, DataError> {
        let Some(judged) = self.judged.next()? else { return Ok(None) };
        let copy = self.next.filter(|(number, _)| *number == self.number).map(|(_, why)| why);
        if copy.is_some() {
            self.advance()?;
        }
        self.number += 1;
        Ok(Some(Verdict { judged, copy }))
    }
}
