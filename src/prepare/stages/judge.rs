//! First reading: what becomes of each document, and what tells copies apart.

use std::collections::BTreeMap;
use std::io::BufReader;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::records::Writer;
use super::runs::Runs;
use super::scatter::Scatter;
use super::verdicts::Judged;
use super::{DataError, Work};
use crate::corpus::index;
use crate::data::noise::Sums;
use crate::documents::{Document, Tally, raw_key};
use crate::error::{FileError, InputError};
use crate::fs::open_regular;
use crate::prepare::filter::{self, Judgement, Removed};
use crate::prepare::language::Detector;
use crate::prepare::minhash::Signer;
use crate::prepare::{exact_key, ngrams, normalise};
use crate::spec::{DataRecipe, DomainRecipe, OnContact};

pub(super) const STAGE: &str = "judge";
/// Examples of what a rule removes, of each unit.
const EXAMPLES: usize = 3;
/// Longest example that is kept [bytes].
const EXCERPT: usize = 300;
/// Largest file of a stage that is read [bytes].
pub(super) const MAX_FILE: u64 = 4 << 30;

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
    /// Runs of keys that were written.
    pub(super) runs: u32,
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
                let file = open_regular(&path).map_err(FileError::new("read", &path))?;
                Ok::<_, DataError>(Detector::model(name, &mut BufReader::new(file))?)
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

    /// The text that stays, as filters leave it, or why it goes; and its language, where the recipe asks for it.
    pub(super) fn judge(&self, text: &str) -> (Result<Option<String>, Removed>, Option<String>) {
        let mut language = None;
        if let (Some(detector), Some(rule)) = (&self.detector, &self.domain.language) {
            let removed;
            (language, removed) = detector.judge(text, rule);
            if let Some(removed) = removed {
                return (Err(removed), language);
            }
        }
        (self.filtered(text), language)
    }

    /// The same of a text whose language is right.
    pub(super) fn filtered(&self, text: &str) -> Result<Option<String>, Removed> {
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
            match self.beyond_share(&raw).map_or_else(|| self.judge(&document.text).0, Err) {
                Ok(_) => &mut found.kept,
                Err(removed) => return note(found, document, removed),
            }
        };
        *all = [all[0] + one[0], all[1] + one[1]];
    }
}

/// The list of a run that holds what equal documents are known by; those of MinHash follow, a bucket each, and the last
/// one holds n-grams of held-out documents.
pub(super) const EXACT: usize = 0;

/// Lists of the runs of a recipe.
pub(super) fn lists(recipe: &DataRecipe) -> usize {
    EXACT + 1 + recipe.dedup.near.numbers().map_or(0, |near| near.buckets) + 1
}

/// What documents are known by, as they are read.
struct Keys<'w> {
    recipe: &'w DataRecipe,
    signer: Option<Signer>,
    runs: Runs<'w>,
}

impl<'w> Keys<'w> {
    fn new(work: &'w Work, unit: usize) -> Self {
        let recipe = &work.recipe;
        let signer = recipe.dedup.near.numbers().map(Signer::new);
        Self { recipe, signer, runs: Runs::new(work, STAGE, unit, lists(recipe)) }
    }

    /// Takes a document that stays or is held out: its text, as filters leave it, and as it was read.
    fn add(&mut self, number: u32, text: &str, raw: &str, held_out: bool) -> Result<(), DataError> {
        let normalised = normalise(text);
        if self.recipe.dedup.exact {
            self.runs.push(EXACT, exact_key(&normalised), number)?;
        }
        if let Some(signer) = &self.signer
            && let Some(signature) = signer.sign(&normalised)
        {
            for (bucket, key) in signer.keys(&signature).into_iter().enumerate() {
                self.runs.push(EXACT + 1 + bucket, key.into(), number)?;
            }
        }
        let rule = &self.recipe.decontaminate;
        if held_out && rule.action != OnContact::Ignore {
            let raw = if text == raw { normalised } else { normalise(raw) };
            for hash in ngrams::hashes(&raw, rule.ngram) {
                self.runs.push(lists(self.recipe) - 1, hash.into(), number)?;
            }
        }
        Ok(())
    }
}

/// Judges one unit.
pub(super) fn unit(work: &Work, unit: usize, progress: &dyn Fn(u64)) -> Result<(), DataError> {
    let (name, domain) = work.domain(unit);
    let judge = Judge::new(work, domain)?;
    let mut keys = Keys::new(work, unit);
    let mut records = Writer::create(work.file(STAGE, unit, "documents"))?;
    let (mut found, mut scatter) = (Found::default(), Scatter::new());
    let tally = work.documents(unit, progress, &mut |number, document| {
        let raw = raw_key(&document.text);
        let held_out = judge.held_out(&document, &raw);
        let bytes = u32::try_from(document.text.len()).map_err(|_| too_long(name))?;
        let beyond = if held_out { None } else { judge.beyond_share(&raw) };
        let (judged, language) = match beyond {
            Some(removed) => (Err(removed), None),
            None => judge.judge(&document.text),
        };
        let one = [1, u64::from(bytes)];
        let add = |all: &mut [u64; 2]| *all = [all[0] + one[0], all[1] + one[1]];
        if let Some(language) = language {
            add(found.languages.entry(language).or_default());
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
            add(&mut found.held_out);
            scatter.held_out(&document.text, document.group.as_deref(), judged.is_ok());
        } else if judged.is_ok() {
            add(&mut found.kept);
            scatter.trained(&document.text);
        }
        if held_out || judged.is_ok() {
            let edited = judged.ok().flatten();
            let text = edited.as_deref().unwrap_or(&document.text);
            keys.add(number, text, &document.text, held_out)?;
        }
        records.write(&Judged { key: index::key(&raw), code, held_out, bytes }.encode())
    })?;
    found.tally = tally;
    found.scatter = scatter.finish();
    found.runs = keys.runs.finish()?;
    records.keep()?;
    work.done(STAGE, unit, &found)
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

/// What was found in a unit.
pub(super) fn found(work: &Work, unit: usize) -> Result<Found, DataError> {
    work.result(STAGE, unit)
}
