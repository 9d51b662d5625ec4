//! The end: held-out sets, the card, and the manifest that makes the dataset visible.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read as _};
use std::path::Path;

use sha2::{Digest as _, Sha256};

use super::card::{CARD, Card, DomainCard};
use super::judge::{Found, MAX_FILE, found};
use super::reference::Mix;
use super::work::{Output, WORK, write_whole};
use super::write::{Wrote, raw_keys, wrote};
use super::{DataError, Work, resolve, tokens};
use crate::corpus::manifest::{self, Domain, Manifest, Set};
use crate::corpus::{Index, Shard, shard};
use crate::error::{FileError, InputError};
use crate::fs::{Disk as _, Os, open_regular, read_file};
use crate::plan::hex;

/// Ends the work.
pub(super) fn all(work: &Work) -> Result<(), DataError> {
    let tokenizer = tokens::made(work)?;
    let (mut domains, mut cards) = (Vec::new(), Vec::new());
    for (place, (name, domain)) in work.recipe.domains().into_iter().enumerate() {
        let (mut written, mut judged) = (Vec::new(), Found::default());
        let mut keys = Sha256::new();
        for unit in work.units_of(place) {
            written.push(wrote(work, unit)?);
            judged.add(&found(work, unit)?);
            let mut raw = raw_keys(work, unit)?;
            while let Some(key) = raw.next()? {
                keys.update(hex(&key));
            }
        }
        let bytes = |of: fn(&Wrote) -> u64| written.iter().map(of).sum::<u64>();
        let shards = |of: fn(&Wrote) -> &Option<Shard>| {
            written.iter().filter_map(move |w| of(w).clone()).collect::<Vec<Shard>>()
        };
        let mut train = Set::new(shards(|w| &w.train), Some(bytes(|w| w.bytes)));
        train.copies = domain.copies;
        let mut held =
            joined(work, &format!("{name}/held-out"), &shards(|w| &w.held_out), tokenizer.vocab)?;
        held.bytes = Some(bytes(|w| w.held_out_bytes));
        held.noise = judged.scatter[0].error();
        let mut raw =
            joined(work, &format!("{name}/held-out-raw"), &shards(|w| &w.raw), tokenizer.vocab)?;
        raw.bytes = Some(bytes(|w| w.raw_bytes));
        raw.noise = judged.scatter[1].error();
        raw.raw_sha256 = Some(hex(&keys.finalize()));
        name_examples(work, &mut judged);
        cards.push(DomainCard {
            name: name.to_owned(),
            kind: domain.kind(name).name().to_owned(),
            files: work.files_of(place),
            documents: judged.tally.documents,
            bytes: judged.tally.bytes,
            train_documents: train.documents,
            train_bytes: bytes(|w| w.bytes),
            train_tokens: train.tokens,
            held_out_documents: held.documents,
            held_out_bytes: bytes(|w| w.held_out_bytes),
            held_out_tokens: held.tokens,
            held_out_noise: held.noise,
            removed: judged.removed,
            copies: summed(written.iter().map(|w| &w.copies)),
            contaminated: bytes(|w| w.contaminated),
            contacts: summed(written.iter().map(|w| &w.contacts)),
            languages: judged.languages,
            lengths: judged.lengths,
            unread: [judged.tally.unread, judged.tally.empty, judged.tally.filtered],
        });
        domains.push(Domain {
            name: name.to_owned(),
            train,
            held_out: held,
            held_out_raw: Some(raw),
        });
    }
    refuse_empty(&domains)?;
    let mut manifest = Manifest::new(tokenizer, domains);
    manifest.recipe = toml::from_str::<serde_json::Value>(&work.text).ok();
    manifest.rules = rules(work);
    let contaminated: BTreeMap<&str, u64> =
        cards.iter().map(|card| (card.name.as_str(), card.contaminated)).collect();
    manifest.contamination = serde_json::to_value(contaminated).ok();
    write_card(work, &manifest, cards)?;
    Os.write_atomic(&work.dir.join(manifest::FILE), manifest.seal().as_bytes())?;
    let leftover = work.dir.join(WORK);
    match Os.remove(&leftover) {
        // Who claimed a unit in this moment has removed it too.
        Err(e) if e.kind() != ErrorKind::NotFound => {
            Err(FileError::new("remove", leftover)(e).into())
        }
        _ => Ok(()),
    }
}

/// Files are named as the recipe names them.
fn name_examples(work: &Work, judged: &mut Found) {
    for example in judged.removed.values_mut().flat_map(|rule| &mut rule.examples) {
        example.id = work.named(Path::new(&example.id)).display().to_string();
    }
}

fn refuse_empty(domains: &[Domain]) -> Result<(), DataError> {
    if domains.iter().all(|domain| domain.train.tokens == 0) {
        let hint = "`isoflop data RECIPE --look DOMAIN` shows what each rule removes";
        return Err(InputError::new("no document is left to train on", hint).into());
    }
    Ok(())
}

fn write_card(work: &Work, manifest: &Manifest, cards: Vec<DomainCard>) -> Result<(), DataError> {
    let domains = work.recipe.domains();
    let kinds = domains.iter().map(|(name, domain)| domain.kind(name));
    let card = Card {
        name: work.recipe.name.get_ref().clone(),
        id: manifest.id.clone(),
        mix: Mix::of(kinds.zip(cards.iter().map(|card| card.train_tokens))),
        domains: cards,
        copies: resolve::found(work)?,
    };
    let json = serde_json::to_vec_pretty(&card).map_err(|e| {
        InputError::new(format!("the card cannot be written: {e}"), "this is a bug of isoflop")
    })?;
    write_whole(&work.dir.join(CARD), &json)
}

/// Counts by name, added up.
fn summed<'a>(of: impl Iterator<Item = &'a BTreeMap<String, u64>>) -> BTreeMap<String, u64> {
    let mut all: BTreeMap<String, u64> = BTreeMap::new();
    for (name, n) in of.flatten() {
        *all.entry(name.clone()).or_default() += n;
    }
    all
}

/// The version of every rule that decided.
fn rules(work: &Work) -> BTreeMap<String, u32> {
    let domains = work.recipe.domains();
    let filters = domains.iter().flat_map(|(_, domain)| &domain.filters);
    filters.map(|filter| (filter.name().to_owned(), filter.version())).collect()
}

/// One shard of several, document by document.
fn joined(work: &Work, name: &str, parts: &[Shard], vocab: u32) -> Result<Set, DataError> {
    if parts.is_empty() {
        return Ok(Set::default());
    }
    let mut output = Output::create(work, name.to_owned(), vocab)?;
    for part in parts {
        let path = work.dir.join(&part.index.file);
        let index = Index::decode(&read_file(&path, MAX_FILE)?).map_err(|why| {
            InputError::new(format!("`{}`: {why}", path.display()), "remove the `work` directory")
        })?;
        let path = work.dir.join(&part.file.file);
        let failed = |e| FileError::new("read", &path)(e);
        let mut ids =
            std::io::BufReader::with_capacity(1 << 20, open_regular(&path).map_err(failed)?);
        ids.by_ref().seek_relative(part.offset.cast_signed()).map_err(failed)?;
        for (length, key) in index.lengths.iter().zip(&index.keys) {
            let mut bytes = vec![0; *length as usize * part.width.bytes()];
            ids.read_exact(&mut bytes).map_err(failed)?;
            let mut out = vec![0; *length as usize];
            shard::decode(&bytes, part.width, vocab, &mut out)
                .map_err(|id| failed(std::io::Error::other(format!("id {id} in it"))))?;
            let out: Vec<u32> = out.into_iter().map(|id| id as u32).collect();
            output.push(&out, *key)?;
        }
    }
    Ok(Set::new(output.finish()?.into_iter().collect(), None))
}
