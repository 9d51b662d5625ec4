//! Second reading: what stays becomes token shards.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::contacts::Contacts;
use super::encoder::Encoder;
use super::judge::Judge;
use super::records::{Reader, Writer};
use super::verdicts::Verdicts;
use super::work::{Output, WORK};
use super::writing::Writing;
use super::{DataError, Work, tokens};
use crate::corpus::Shard;
use crate::documents;
use crate::error::InputError;
use crate::prepare::normalise;
use crate::spec::{Filter, OnContact};

const STAGE: &str = "write";

/// What was written of a unit.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Wrote {
    /// The shard of training documents; none without any.
    pub(super) train: Option<Shard>,
    /// Raw text of its documents [bytes].
    pub(super) bytes: u64,
    /// Held-out documents that pass the filters, and all of them.
    pub(super) held_out: Option<Shard>,
    pub(super) held_out_bytes: u64,
    pub(super) raw: Option<Shard>,
    pub(super) raw_bytes: u64,
    /// Documents that went as copies, by kind.
    pub(super) copies: BTreeMap<String, u64>,
    /// Training documents that share an n-gram with what must not be in them.
    pub(super) contaminated: u64,
    /// The same by the set that they share it with.
    pub(super) contacts: BTreeMap<String, u64>,
}

impl Wrote {
    /// Does a text share an n-gram with what is measured? Of a copy this was counted before.
    fn touches(
        &mut self,
        contacts: &Contacts,
        text: &str,
        counted: bool,
    ) -> Result<bool, DataError> {
        let sets = contacts.shared(&normalise(text))?;
        if counted && !sets.is_empty() {
            self.contaminated += 1;
            for set in &sets {
                *self.contacts.entry((*set).to_owned()).or_default() += 1;
            }
        }
        Ok(!sets.is_empty())
    }
}

/// What every unit is written with, made for the first.
fn writing(work: &Work) -> Result<&Writing, DataError> {
    if work.writing.get().is_none() {
        let (encoder, vocab) = (tokens::encoder(work)?, tokens::made(work)?.vocab);
        let made = Writing { encoder, vocab, contacts: Contacts::open(work)? };
        // Another thread may have made the same.
        let _ = work.writing.set(made);
    }
    Ok(work.writing.get().expect("it is set"))
}

/// Writes one unit.
pub(super) fn unit(work: &Work, unit: usize, progress: &dyn Fn(u64)) -> Result<(), DataError> {
    let (name, domain) = work.domain(unit);
    let judge = Judge::new(work, domain)?;
    let Writing { encoder, vocab, contacts } = writing(work)?;
    let vocab = *vocab;
    let edits = domain.filters.iter().any(|filter| matches!(filter, Filter::C4(_)));
    let number = unit - work.units_of(work.units[unit].domain).start;
    let held = |which: &str| format!("{WORK}/{STAGE}/{which}-{unit:05}");
    let mut train = Output::create(work, format!("{name}/train-{number:05}"), vocab)?;
    let mut held_out = Output::create(work, held("held-out"), vocab)?;
    let mut raw = Output::create(work, held("held-out-raw"), vocab)?;
    let mut raw_keys = Writer::create(keys_file(work, unit))?;
    let mut wrote = Wrote::default();
    let ids = RefCell::new(Vec::new());
    // All documents once, then all of them again: copies that are neighbours would be one window.
    for copy in 0..domain.copies {
        let first = copy == 0;
        let mut verdicts = Verdicts::open(work, unit)?;
        let told: &dyn Fn(u64) = if first { progress } else { &|_| () };
        work.documents(unit, told, &mut |_, document| {
            let Some(verdict) = verdicts.next()? else { return Err(changed(name)) };
            let was = verdict.judged;
            if !first && (was.held_out || was.code != 0 || verdict.copy.is_some()) {
                return Ok(());
            }
            let bytes = document.text.len() as u64;
            if u64::from(was.bytes) != bytes {
                return Err(changed(name));
            }
            let mut ids = ids.borrow_mut();
            if was.held_out {
                encode(encoder, &document.text, &mut ids)?;
                raw.push(&ids, was.key)?;
                wrote.raw_bytes += bytes;
                raw_keys.write(&documents::raw_key(&document.text))?;
            }
            if was.code != 0 {
                return Ok(());
            }
            if let Some(why) = verdict.copy {
                *wrote.copies.entry(why.name().to_owned()).or_default() += 1;
                return Ok(());
            }
            // Only an edit is made again: what stays was decided.
            let edited = if edits { judge.filtered(&document.text).ok().flatten() } else { None };
            let text = edited.as_deref().unwrap_or(&document.text);
            if was.held_out {
                encode(encoder, text, &mut ids)?;
                held_out.push(&ids, was.key)?;
                wrote.held_out_bytes += text.len() as u64;
                return Ok(());
            }
            if let Some(contacts) = contacts
                && wrote.touches(contacts, text, first)?
                && work.recipe.decontaminate.action == OnContact::Drop
            {
                return Ok(());
            }
            encode(encoder, text, &mut ids)?;
            train.push(&ids, was.key)?;
            wrote.bytes += text.len() as u64;
            Ok(())
        })?;
    }
    wrote.train = train.finish()?;
    wrote.held_out = held_out.finish()?;
    wrote.raw = raw.finish()?;
    raw_keys.keep()?;
    work.done(STAGE, unit, &wrote)
}

fn changed(domain: &str) -> DataError {
    InputError::new(
        format!("a file of domain `{domain}` changed while the dataset was made"),
        "remove the dataset's `work` directory to begin anew",
    )
    .into()
}

/// The ids of a text with their separator.
fn encode(encoder: &Encoder, text: &str, ids: &mut Vec<u32>) -> Result<(), DataError> {
    ids.clear();
    encoder.encode(text, ids)?;
    ids.push(encoder.separator());
    Ok(())
}

/// SHA-256 of the raw text of each held-out document, in order.
pub(super) fn raw_keys(work: &Work, unit: usize) -> Result<Reader<32>, DataError> {
    Reader::open(keys_file(work, unit))
}

fn keys_file(work: &Work, unit: usize) -> PathBuf {
    work.file(STAGE, unit, "raw-keys")
}

/// What was written of a unit.
pub(super) fn wrote(work: &Work, unit: usize) -> Result<Wrote, DataError> {
    work.result(STAGE, unit)
}
