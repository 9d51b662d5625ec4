//! First reading: what becomes of each document, and what tells copies apart.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::scatter::Scatter;
use super::work::write_whole;
use super::{DataError, Work};
use crate::corpus::index;
use crate::data::noise::Sums;
use crate::documents::{Document, Tally, raw_key};
use crate::error::InputError;
use crate::fs::read_file;
use crate::prepare::filter::{self, Judgement, Removed};
use crate::prepare::language::Detector;
use crate::prepare::minhash::Signer;
use crate::prepare::{exact_key, normalise};
use crate::spec::DomainRecipe;

const STAGE: &str = "judge";
/// Bytes of a document in the file of all: key, code, flags, length of its text.
const RECORD: usize = 8 + 1 + 1 + 4;
/// The document is held out.
const HELD_OUT: u8 = 1;
/// Examples of what a rule removes, of each unit.
const EXAMPLES: usize = 3;
/// Longest example that is kept [bytes].
const EXCERPT: usize = 300;
/// Largest file of a stage that is read [bytes].
pub(super) const MAX_FILE: u64 = 4 << 30;

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

/// What a rule removed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    /// How many documents.
    pub documents: u64,
    /// Their raw text [bytes].
    pub bytes: u64,
    /// A few of them.
    pub examples: Vec<Example>,
}

/// A document that a rule removed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Example {
    /// Its name, where it has one.
    pub id: String,
    /// What the rule measured, and its limit.
    pub value: f64,
    /// What it may be at most, or at least.
    pub limit: f64,
    /// How it begins.
    pub begins: String,
}

/// What was found in a unit.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Found {
    pub(super) tally: Tally,
    /// By rule.
    pub(super) removed: BTreeMap<String, Rule>,
    /// Documents and bytes by language, as far as it was asked.
    pub(super) languages: BTreeMap<String, [u64; 2]>,
    /// Documents of up to 2^i bytes, by i.
    pub(super) lengths: BTreeMap<u32, u64>,
    /// Documents that stay and are trained on, and their raw text [bytes].
    pub(super) kept: [u64; 2],
    /// Documents set aside, and their raw text [bytes].
    pub(super) held_out: [u64; 2],
    /// How the loss differs between those that the filters keep, and between all that are set aside.
    pub(super) scatter: [Sums; 2],
}

impl Found {
    pub(super) fn add(&mut self, other: &Self) {
        self.tally.add(&other.tally);
        for (rule, removed) in &other.removed {
            let all = self.removed.entry(rule.clone()).or_default();
            all.documents += removed.documents;
            all.bytes += removed.bytes;
            let room = EXAMPLES.saturating_sub(all.examples.len());
            all.examples.extend(removed.examples.iter().take(room).cloned());
        }
        for (language, [documents, bytes]) in &other.languages {
            let all = self.languages.entry(language.clone()).or_default();
            *all = [all[0] + documents, all[1] + bytes];
        }
        for (length, documents) in &other.lengths {
            *self.lengths.entry(*length).or_default() += documents;
        }
        for (all, one) in [(&mut self.kept, other.kept), (&mut self.held_out, other.held_out)] {
            *all = [all[0] + one[0], all[1] + one[1]];
        }
        for (all, one) in self.scatter.iter_mut().zip(other.scatter) {
            *all = all.and(one);
        }
    }
}

/// Judges documents of a domain, one after the other.
pub(super) struct Judge<'a> {
    domain: &'a DomainRecipe,
    detector: Option<Detector>,
    share: f64,
}

impl<'a> Judge<'a> {
    pub(super) fn new(work: &Work, domain: &'a DomainRecipe) -> Result<Self, DataError> {
        let share = if domain.train { *work.recipe.held_out.get_ref() } else { 1.0 };
        let detector = domain.language.as_ref().map(|rule| match &rule.model {
            None => Ok(Detector::Whatlang),
            Some(name) => {
                let path = work.base.join(name);
                let bytes = read_file(&path, MAX_FILE)?;
                Ok::<_, DataError>(Detector::model(name, &mut bytes.as_slice())?)
            }
        });
        Ok(Self { domain, detector: detector.transpose()?, share })
    }

    /// Whether a document is set aside: by the hash of its raw text, or of what it belongs to. The documents of a
    /// smaller share are among those of a larger one.
    pub(super) fn held_out(&self, document: &Document, raw: &[u8; 32]) -> bool {
        let hash = match &document.group {
            Some(group) => Sha256::digest(group).into(),
            None => *raw,
        };
        let number = u64::from_be_bytes([
            hash[0], hash[1], hash[2], hash[3], hash[4], hash[5], hash[6], hash[7],
        ]);
        self.share >= 1.0 || (number as f64) < self.share * 2_f64.powi(64)
    }

    /// Why a document is not trained on, whatever its text: it is not in the domain's share.
    fn beyond_share(&self, raw: &[u8; 32]) -> Option<Removed> {
        let number = u64::from_be_bytes([
            raw[8], raw[9], raw[10], raw[11], raw[12], raw[13], raw[14], raw[15],
        ]);
        let value = number as f64 / 2_f64.powi(64);
        let limit = self.domain.share;
        (value >= limit && limit < 1.0).then_some(Removed { rule: filter::SHARE, value, limit })
    }

    /// The text that stays, as filters leave it; or why it goes.
    pub(super) fn judge(&self, text: &str) -> Result<Option<String>, Removed> {
        if let (Some(detector), Some(rule)) = (&self.detector, &self.domain.language)
            && let Some(removed) = detector.judge(text, rule)
        {
            return Err(removed);
        }
        match filter::judge(&self.domain.filters, text) {
            Judgement::Keep(edited) => Ok(edited),
            Judgement::Remove(_, removed) => Err(removed),
        }
    }

    /// Counts a document of a sample.
    pub(super) fn count(&self, found: &mut Found, document: &Document) {
        let one = [1, document.text.len() as u64];
        let raw = raw_key(&document.text);
        let all = if self.held_out(document, &raw) {
            &mut found.held_out
        } else {
            match self.beyond_share(&raw).map_or_else(|| self.judge(&document.text), Err) {
                Ok(_) => &mut found.kept,
                Err(removed) => return note(found, document, removed),
            }
        };
        *all = [all[0] + one[0], all[1] + one[1]];
    }

    fn language(&self, text: &str) -> Option<String> {
        Some(self.detector.as_ref()?.guess(text, &[])?.0)
    }
}

/// What copies are known by.
#[derive(Default)]
struct Copies {
    exact: Vec<(u128, u32)>,
    /// Of each bucket, as wide as exact keys, so that one merge serves both.
    near: Vec<Vec<(u128, u32)>>,
}

/// Judges one unit.
pub(super) fn unit(work: &Work, unit: usize, progress: &dyn Fn(u64)) -> Result<(), DataError> {
    let (name, domain) = work.domain(unit);
    let judge = Judge::new(work, domain)?;
    let near = work.recipe.dedup.near.numbers();
    let signer = near.map(Signer::new);
    let mut copies =
        Copies { near: vec![Vec::new(); near.map_or(0, |near| near.buckets)], ..Copies::default() };
    let (mut records, mut held_texts) = (Vec::new(), Vec::new());
    let (mut found, mut scatter) = (Found::default(), Scatter::new());
    let tally = work.documents(unit, progress, &mut |number, document| {
        let raw = raw_key(&document.text);
        let held_out = judge.held_out(&document, &raw);
        let bytes = u32::try_from(document.text.len()).map_err(|_| too_long(name))?;
        let beyond = if held_out { None } else { judge.beyond_share(&raw) };
        let judged = beyond.map_or_else(|| judge.judge(&document.text), Err);
        let one = [1, u64::from(bytes)];
        if let Some(language) = judge.language(&document.text) {
            let all = found.languages.entry(language).or_default();
            *all = [all[0] + 1, all[1] + one[1]];
        }
        *found.lengths.entry(bytes.max(1).next_power_of_two().ilog2()).or_default() += 1;
        let code = match &judged {
            Ok(_) => 0,
            Err(removed) => {
                note(&mut found, &document, *removed);
                filter::code(removed.rule).map_or(u8::MAX, |place| place + 1)
            }
        };
        if held_out {
            found.held_out = [found.held_out[0] + 1, found.held_out[1] + one[1]];
            // Its length, then its text.
            held_texts.extend_from_slice(&bytes.to_le_bytes());
            held_texts.extend_from_slice(document.text.as_bytes());
            scatter.held_out(&document.text, document.group.as_deref(), judged.is_ok());
        } else if judged.is_ok() {
            scatter.trained(&document.text);
            found.kept = [found.kept[0] + 1, found.kept[1] + one[1]];
        }
        if held_out || judged.is_ok() {
            let text = judged.ok().flatten();
            let normalised = normalise(text.as_deref().unwrap_or(&document.text));
            if work.recipe.dedup.exact {
                copies.exact.push((exact_key(&normalised), number));
            }
            let signer = signer.as_ref();
            if let Some((signer, signature)) = signer.and_then(|s| Some((s, s.sign(&normalised)?)))
            {
                let keys = signer.keys(&signature).into_iter().map(u128::from);
                keys.zip(&mut copies.near).for_each(|(key, bucket)| bucket.push((key, number)));
            }
        }
        let judged = Judged { key: index::key(&raw), code, held_out, bytes };
        judged.write(&mut records);
        Ok(())
    })?;
    found.tally = tally;
    found.scatter = scatter.finish();
    write_whole(&work.file(STAGE, unit, "held"), &held_texts)?;
    write_whole(&work.file(STAGE, unit, "documents"), &records)?;
    write_whole(&work.file(STAGE, unit, "exact"), &run(copies.exact))?;
    for (bucket, keys) in copies.near.into_iter().enumerate() {
        write_whole(&work.file(STAGE, unit, &near_ending(bucket)), &run(keys))?;
    }
    work.done(STAGE, unit, &found)
}

/// Ending of the file of a bucket.
pub(super) fn near_ending(bucket: usize) -> String {
    format!("near-{bucket:03}")
}

fn too_long(domain: &str) -> DataError {
    let message = format!("a document of domain `{domain}` has 4 GiB or more");
    InputError::new(message, "cut it: `paragraphs = 4096`").into()
}

/// Counts what a rule removed, and keeps a few examples.
pub(super) fn note(found: &mut Found, document: &Document, removed: Removed) {
    let rule = found.removed.entry(removed.rule.to_owned()).or_default();
    rule.documents += 1;
    rule.bytes += document.text.len() as u64;
    if rule.examples.len() < EXAMPLES {
        let end = document.text.floor_char_boundary(EXCERPT);
        rule.examples.push(Example {
            id: document.id.clone().unwrap_or_default(),
            value: removed.value,
            limit: removed.limit,
            begins: document.text[..end].to_owned(),
        });
    }
}

/// Sorted by key, so that units can be merged.
fn run(mut of: Vec<(u128, u32)>) -> Vec<u8> {
    of.sort_unstable();
    let one =
        |(key, number): (u128, u32)| key.to_le_bytes().into_iter().chain(number.to_le_bytes());
    of.into_iter().flat_map(one).collect()
}

impl Judged {
    fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.key.to_le_bytes());
        out.extend_from_slice(&[self.code, if self.held_out { HELD_OUT } else { 0 }]);
        out.extend_from_slice(&self.bytes.to_le_bytes());
    }

    /// The documents of a unit.
    pub(super) fn all(work: &Work, unit: usize) -> Result<Vec<Self>, DataError> {
        let bytes = read_file(&work.file(STAGE, unit, "documents"), MAX_FILE)?;
        let one = |b: &[u8; RECORD]| Self {
            key: u64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]),
            code: b[8],
            held_out: b[9] == HELD_OUT,
            bytes: u32::from_le_bytes([b[10], b[11], b[12], b[13]]),
        };
        Ok(bytes.as_chunks::<RECORD>().0.iter().map(one).collect())
    }
}

/// Texts of held-out documents of a unit.
pub(super) fn held_texts(work: &Work, unit: usize) -> Result<Vec<String>, DataError> {
    let bytes = read_file(&work.file(STAGE, unit, "held"), MAX_FILE)?;
    let (mut rest, mut out) = (bytes.as_slice(), Vec::new());
    while let Some((length, later)) = rest.split_first_chunk::<4>() {
        let length = (u32::from_le_bytes(*length) as usize).min(later.len());
        out.push(String::from_utf8_lossy(&later[..length]).into_owned());
        rest = &later[length..];
    }
    Ok(out)
}

/// What was found in a unit.
pub(super) fn found(work: &Work, unit: usize) -> Result<Found, DataError> {
    work.result(STAGE, unit)
}
