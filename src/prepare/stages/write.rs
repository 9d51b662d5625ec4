//! Second reading: what stays becomes token shards.

use std::cell::RefCell;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::encoder::Encoder;
use super::judge::{Judge, Judged, held_texts};
use super::work::{Output, WORK};
use super::writing::{Contacts, Writing};
use super::{DataError, Work, resolve, tokens};
use crate::corpus::Shard;
use crate::documents::{self, Fields};
use crate::error::InputError;
use crate::prepare::ngrams::Gather;
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
    /// SHA-256 of the raw text of each held-out document, hexadecimal.
    pub(super) raw_keys: Vec<String>,
    /// Documents that went as copies, by kind.
    pub(super) copies: BTreeMap<String, u64>,
    /// Training documents that share an n-gram with what must not be in them.
    pub(super) contaminated: u64,
    /// The same by the set that they share it with.
    pub(super) contacts: BTreeMap<String, u64>,
}

/// What every unit is written with, made for the first.
fn writing(work: &Work) -> Result<&Writing, DataError> {
    if work.writing.get().is_none() {
        let (encoder, vocab) = (tokens::encoder(work)?, tokens::made(work)?.vocab);
        let made = Writing { encoder, vocab, contacts: contacts(work)? };
        // Another thread may have made the same.
        let _ = work.writing.set(made);
    }
    Ok(work.writing.get().expect("it is set"))
}

/// Writes one unit.
pub(super) fn unit(work: &Work, unit: usize, progress: &dyn Fn(u64)) -> Result<(), DataError> {
    let (name, domain) = work.domain(unit);
    let judge = Judge::new(work, domain)?;
    let judged = Judged::all(work, unit)?;
    let dropped = resolve::dropped(work, unit)?;
    let Writing { encoder, vocab, contacts } = writing(work)?;
    let vocab = *vocab;
    let edits = domain.filters.iter().any(|filter| matches!(filter, Filter::C4(_)));
    let first = work.units.iter().position(|u| u.domain == work.units[unit].domain);
    let number = unit - first.unwrap_or(0);
    let held = |which: &str| format!("{WORK}/{STAGE}/{which}-{unit:05}");
    let mut train = Output::create(work, format!("{name}/train-{number:05}"), vocab)?;
    let mut held_out = Output::create(work, held("held-out"), vocab)?;
    let mut raw = Output::create(work, held("held-out-raw"), vocab)?;
    let mut wrote = Wrote::default();
    let ids = RefCell::new(Vec::new());
    work.documents(unit, progress, &mut |number, document| {
        let Some(was) = judged.get(number as usize) else { return Err(changed(name)) };
        let bytes = document.text.len() as u64;
        if u64::from(was.bytes) != bytes {
            return Err(changed(name));
        }
        let mut ids = ids.borrow_mut();
        if was.held_out {
            encode(encoder, &document.text, &mut ids)?;
            raw.push(&ids, was.key)?;
            wrote.raw_bytes += bytes;
            wrote.raw_keys.push(crate::plan::hex(&documents::raw_key(&document.text)));
        }
        if was.code != 0 {
            return Ok(());
        }
        if let Some(why) = dropped.get(&number) {
            *wrote.copies.entry(why.name().to_owned()).or_default() += 1;
            return Ok(());
        }
        // Only an edit is made again: what stays was decided.
        let edited = if edits { judge.judge(&document.text).ok().flatten() } else { None };
        let text = edited.as_deref().unwrap_or(&document.text);
        if was.held_out {
            encode(encoder, text, &mut ids)?;
            held_out.push(&ids, was.key)?;
            wrote.held_out_bytes += text.len() as u64;
            return Ok(());
        }
        if let Some(contacts) = contacts {
            let sets = contacts.of(&normalise(text));
            if !sets.is_empty() {
                wrote.contaminated += 1;
                for set in sets {
                    *wrote.contacts.entry(set.to_owned()).or_default() += 1;
                }
                if work.recipe.decontaminate.action == OnContact::Drop {
                    return Ok(());
                }
            }
        }
        encode(encoder, text, &mut ids)?;
        for _ in 0..domain.copies {
            train.push(&ids, was.key)?;
            wrote.bytes += text.len() as u64;
        }
        Ok(())
    })?;
    wrote.train = train.finish()?;
    wrote.held_out = held_out.finish()?;
    wrote.raw = raw.finish()?;
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

/// What training documents must not share an n-gram with: items, then held-out documents.
fn contacts(work: &Work) -> Result<Option<Contacts>, DataError> {
    let rule = &work.recipe.decontaminate;
    if rule.action == OnContact::Ignore {
        return Ok(None);
    }
    let mut gather = Gather::new(rule.ngram);
    let (mut sets, mut items) = (Vec::new(), 0);
    for name in &rule.against {
        for file in documents::find(std::slice::from_ref(name), &work.base)?.files {
            for part in documents::parts(&file, u64::MAX)? {
                for item in documents::read(&part, &Fields::default())? {
                    items = gather.add(&normalise(&item?.text)) + 1;
                }
            }
        }
        sets.push((name.clone(), items));
    }
    for unit in 0..work.units.len() {
        for text in held_texts(work, unit)? {
            items = gather.add(&normalise(&text)) + 1;
        }
        sets.push((format!("held-out {}", work.domain(unit).0), items));
    }
    let index = gather.finish();
    Ok((!index.is_empty()).then_some(Contacts { index, sets }))
}

/// What was written of a unit.
pub(super) fn wrote(work: &Work, unit: usize) -> Result<Wrote, DataError> {
    work.result(STAGE, unit)
}
