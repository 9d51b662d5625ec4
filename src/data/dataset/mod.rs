//! A prepared dataset, opened for training.
//!
//! A start reads the manifest, the length of every file and the headers of the indices. Every 64 KiB of a shard is held
//! against its hash when it is first read; one that differs ends the run with exit code 3.

mod files;
mod shard;
mod verify;

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use self::files::Files;
use self::shard::{Open, damaged, has_length, whole_file};
use super::{Batch, DataError};
use crate::corpus::manifest::{FILE, MAX_FILE, Manifest, Set};
use crate::corpus::{Domain, Order, shares};
use crate::error::{FileError, InputError};
use crate::fs::{Disk as _, Os};
use crate::plan::mixture::{BLOCK, Mixture, Portion};
use crate::plan::{Corpus, DataFacts, Draw, HeldOutText, hex};
use crate::random::{Permutation, Stream};
use crate::spec::{DataSpec, HeldOut, Source};
pub use verify::{Damage, Verified, is_dataset, verify};

/// A dataset of fewer bytes is kept in memory, shard by shard as they are read.
const KEPT: u64 = 1 << 30;
/// Threads that read one batch, where reading is slow.
const READERS: usize = 8;

/// A dataset and the mixture that is trained on.
#[derive(Debug)]
pub(super) struct Prepared {
    id: String,
    vocab: u32,
    context: usize,
    mixture: Mixture,
    /// Of each domain of the mixture.
    parts: Vec<Part>,
    files: Files,
    kept: bool,
}

/// One domain of the mixture.
#[derive(Debug)]
struct Part {
    train: Windows,
    held_out: Windows,
    /// Of the held-out set: documents, ids [tokens], raw text [bytes], and how well it tells its loss, as far as they are known.
    facts: HeldOutFacts,
    /// Raw text of the held-out set over its tokens, where it is known [bytes/token].
    bytes_per_token: Option<f64>,
}

/// What the manifest says of a held-out set.
#[derive(Debug)]
struct HeldOutFacts {
    documents: u64,
    tokens: u64,
    bytes: Option<u64>,
    noise: Option<f64>,
    /// Hash of the raw text, or else of its ids.
    sha256: String,
}

/// Windows of the shards of a set, cut within each shard.
#[derive(Debug)]
struct Windows {
    shards: Vec<Open>,
    /// Windows of this shard and of all before it.
    ends: Vec<u64>,
}

impl Windows {
    fn open(at: &At<'_>, set: &Set) -> Result<Self, DataError> {
        let open = |facts| Open::new(at.dir, facts, at.vocab, at.kept);
        let shards = set.shards.iter().map(open).collect::<Result<Vec<_>, _>>()?;
        let mut ends = Vec::with_capacity(shards.len());
        for shard in &shards {
            let before = ends.last().copied().unwrap_or(0);
            ends.push(before + shard.tokens().saturating_sub(1) / at.context as u64);
        }
        Ok(Self { shards, ends })
    }

    fn count(&self) -> u64 {
        self.ends.last().copied().unwrap_or(0)
    }

    /// A window and the token after it.
    fn read(&self, window: u64, out: &mut [i32], files: &Files) -> Result<(), DataError> {
        let shard = self.ends.partition_point(|end| *end <= window);
        let before = shard.checked_sub(1).map_or(0, |i| self.ends[i]);
        let context = out.len() as u64 - 1;
        self.shards[shard].read((window - before) * context, out, files)
    }
}

/// Where shards are opened, and how.
struct At<'a> {
    dir: &'a Path,
    vocab: u32,
    context: usize,
    kept: bool,
}

/// The manifest of the dataset in `dir`.
///
/// # Errors
///
/// [`DataError`]: there is none (exit code 2), or it is damaged (3).
pub fn manifest(dir: &Path) -> Result<Manifest, DataError> {
    let path = dir.join(FILE);
    let bytes = match Os.read(&path, MAX_FILE) {
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            let what =
                if dir.is_dir() { "is not whole: it has no manifest.json" } else { "is not there" };
            return Err(InputError::new(
                format!("the dataset `{}` {what}", dir.display()),
                "`isoflop data RECIPE` makes it, and goes on where it was interrupted; a path is looked for beside the \
                 sweep file, then where the command runs",
            )
            .into());
        }
        bytes => bytes.map_err(FileError::new("read", &path))?,
    };
    Manifest::parse(&bytes).map_err(|why| damaged(&path, &why))
}

impl Prepared {
    /// Opens the dataset in `dir` for windows of `context` tokens.
    ///
    /// # Errors
    ///
    /// [`DataError`] where a file is missing or damaged, or where the sweep asks for what the dataset has not.
    pub(super) fn open(dir: &Path, spec: &DataSpec, context: usize) -> Result<Self, DataError> {
        Self::open_keeping(dir, spec, context, KEPT)
    }

    /// The same; a dataset of fewer than `most` bytes is kept in memory.
    fn open_keeping(
        dir: &Path,
        spec: &DataSpec,
        context: usize,
        most: u64,
    ) -> Result<Self, DataError> {
        let manifest = manifest(dir)?;
        if let Some(tokenizer) = &manifest.tokenizer.file {
            whole_file(&dir.join(&tokenizer.file), tokenizer)?;
        }
        for file in manifest.files() {
            has_length(&dir.join(&file.file), file)?;
        }
        let kept = manifest.shards().map(|shard| shard.file.bytes).sum::<u64>() < most;
        let vocab = manifest.tokenizer.vocab;
        let at = At { dir, vocab, context, kept };
        let weights = weights(&manifest, spec, dir)?;
        let (mut parts, mut portions) = (Vec::new(), Vec::new());
        let raw = spec.held_out.as_ref().is_some_and(|held| *held.get_ref() == HeldOut::Raw);
        for (domain, share) in weights {
            let part = Part::open(&at, domain, raw)?;
            let windows = part.train.count();
            let copies = u64::from(domain.train.copies);
            portions.push(Portion { name: domain.name.clone(), share, windows, copies });
            parts.push(part);
        }
        let mixture = Mixture { context: context as u64, domains: portions };
        let id = if raw { raw_id(&manifest.id) } else { manifest.id };
        Ok(Self { id, vocab, context, mixture, parts, files: Files::default(), kept })
    }

    /// What a plan needs to know.
    pub(super) fn facts(&self, source: &Source, unique: Option<u64>) -> DataFacts {
        let shares = self.mixture.domains.iter().zip(&self.parts);
        // All of a domain's held-out windows bound how many the mixture can have at its weights.
        let most = |(p, part): (&Portion, &Part)| {
            u128::from(part.held_out.count()) * u128::from(BLOCK) / u128::from(p.share)
        };
        let windows = shares.clone().map(most).min().unwrap_or(0) as u64;
        let bytes = shares.map(|(p, part)| Some(p.weight() * part.bytes_per_token?));
        DataFacts {
            vocab: self.vocab as usize,
            train_tokens: Some(self.mixture.available(unique).iter().sum()),
            held_out_tokens: windows * self.context as u64,
            source: source.identity(),
            sha256: self.id.clone(),
            bytes_per_token: bytes.sum(),
            entropy: None,
            mixture: Some(self.mixture.clone()),
        }
    }

    /// What is held out, and how well `asked` tokens of it tell the loss: windows are spread evenly over each domain's
    /// set, and documents of which none is read tell nothing.
    pub(super) fn corpus(&self, asked: u64, available: u64) -> Corpus {
        let window = self.context as u64;
        let evaluated = asked.min(available) / window * window;
        let windows = self.held_out_counts(evaluated / window);
        let domains = || self.mixture.domains.iter().zip(&self.parts);
        let variance = |windows: Option<&[u64]>| -> Option<f64> {
            let each = domains().enumerate().map(|(i, (portion, part))| {
                let documents = part.facts.documents.max(1) as f64;
                let read = windows.map_or(documents, |windows| documents.min(windows[i] as f64));
                Some((portion.weight() * part.facts.noise?).powi(2) * documents / read.max(1.0))
            });
            each.sum()
        };
        let facts = || self.parts.iter().map(|part| &part.facts);
        let documents: u64 = facts().map(|facts| facts.documents).sum();
        let held_out = HeldOutText {
            by: "dataset".to_owned(),
            share: None,
            documents: facts().all(|facts| facts.documents > 0).then_some(documents),
            bytes: facts().map(|facts| facts.bytes).sum(),
            evaluated_tokens: evaluated,
            noise: variance(Some(&windows)).map(f64::sqrt),
            noise_of_all: variance(None).map(f64::sqrt),
            tokens: facts().map(|facts| facts.tokens).sum(),
            sha256: Some(self.held_out_sha256()),
        };
        Corpus { kinds: Vec::new(), bytes: None, held_out }
    }

    /// Hash of the held-out text of the mixture, at its weights.
    fn held_out_sha256(&self) -> String {
        let mut all = Sha256::new();
        for (portion, part) in self.mixture.domains.iter().zip(&self.parts) {
            all.update(format!("{} {} {}\n", portion.name, portion.share, part.facts.sha256));
        }
        hex(&all.finalize())
    }

    /// Whether batches are better read before they are asked for.
    pub(super) fn is_read_from_disk(&self) -> bool {
        !self.kept
    }

    /// The batch of one step, read by several threads if `slow`.
    pub(super) fn batch(
        &self,
        draw: Draw,
        step: u64,
        sequences: usize,
        slow: bool,
    ) -> Result<Batch, DataError> {
        let order = Order::new(&self.mixture, draw.unique_tokens);
        let first = step * sequences as u64;
        let fill = |i: u64, out: &mut [i32]| {
            let (domain, window) = order.at(draw.seed, first + i);
            self.parts[domain].train.read(window, out, &self.files)
        };
        let mut windows = vec![0_i32; sequences * (self.context + 1)];
        let length = self.context + 1;
        if slow && sequences >= READERS {
            let each = sequences.div_ceil(READERS);
            std::thread::scope(|scope| {
                let readers: Vec<_> = windows
                    .chunks_mut(each * length)
                    .enumerate()
                    .map(|(n, some)| {
                        scope.spawn(move || {
                            let mut all = some.chunks_mut(length).enumerate();
                            all.try_for_each(|(i, out)| fill((n * each + i) as u64, out))
                        })
                    })
                    .collect();
                readers
                    .into_iter()
                    .try_for_each(|reader| reader.join().expect("reading does not panic"))
            })?;
        } else {
            for (i, out) in windows.chunks_mut(length).enumerate() {
                fill(i as u64, out)?;
            }
        }
        Ok(Batch::of_windows(&windows, self.context))
    }

    /// The `i`-th of `wanted` held-out windows: each domain has its weight of them, spread evenly over its set, and
    /// domains are mixed, so that every batch of them is a sample of the mixture.
    pub(super) fn held_out(&self, i: u64, wanted: u64, out: &mut [i32]) -> Result<(), DataError> {
        let counts = self.held_out_counts(wanted);
        let mut place = match counts.len() {
            1 => i,
            _ => Permutation::new(Stream::new(0, "held out"), wanted).at(i),
        };
        let mut domain = 0;
        while place >= counts[domain] {
            place -= counts[domain];
            domain += 1;
        }
        let windows = &self.parts[domain].held_out;
        let window = place * windows.count() / counts[domain];
        windows.read(window.min(windows.count() - 1), out, &self.files)
    }

    /// How many of `wanted` held-out windows are each domain's, by largest remainder.
    fn held_out_counts(&self, wanted: u64) -> Vec<u64> {
        let parts = self.mixture.domains.iter().map(|p| u128::from(p.share) * u128::from(wanted));
        let parts: Vec<u128> = parts.collect();
        let mut counts: Vec<u64> =
            parts.iter().map(|part| (part / u128::from(BLOCK)) as u64).collect();
        let mut order: Vec<usize> = (0..counts.len()).collect();
        order.sort_by_key(|i| (std::cmp::Reverse(parts[*i] % u128::from(BLOCK)), *i));
        let missing = wanted - counts.iter().sum::<u64>();
        for i in order.into_iter().take(missing as usize) {
            counts[i] += 1;
        }
        counts
    }
}

impl Part {
    fn open(at: &At<'_>, domain: &Domain, raw: bool) -> Result<Self, DataError> {
        let set = match &domain.held_out_raw {
            _ if !raw => &domain.held_out,
            Some(set) => set,
            None => {
                let name = &domain.name;
                let message = format!(
                    "the domain `{name}` of `{}` has no raw held-out set",
                    at.dir.display()
                );
                let hint =
                    "leave out data.held_out = \"raw\": it is for datasets that a recipe made";
                return Err(InputError::new(message, hint).into());
            }
        };
        let train = Windows::open(at, &domain.train)?;
        let held_out = Windows::open(at, set)?;
        for (what, windows, set) in
            [("training", &train, &domain.train), ("held-out", &held_out, set)]
        {
            if windows.count() == 0 {
                return Err(InputError::new(
                    format!(
                        "the domain `{}` of `{}` has {} {what} tokens, a window needs {} of one shard",
                        domain.name,
                        at.dir.display(),
                        set.tokens,
                        at.context + 1
                    ),
                    "leave it out of data.mix, prepare the dataset with more of it, or lower model.context",
                )
                .into());
            }
        }
        let (bytes, tokens) = (set.bytes, set.tokens);
        let bytes_per_token = bytes.map(|bytes| bytes as f64 / tokens as f64);
        let noise = set.noise;
        let ids = || set.shards.iter().map(|shard| shard.file.sha256.as_str()).collect::<Vec<_>>();
        let sha256 = set.raw_sha256.clone().unwrap_or_else(|| ids().concat());
        let facts = HeldOutFacts { documents: set.documents, tokens, bytes, noise, sha256 };
        Ok(Self { train, held_out, facts, bytes_per_token })
    }
}

/// What cells know a dataset by whose raw held-out sets are measured: other losses are other cells.
fn raw_id(id: &str) -> String {
    hex(&Sha256::digest(format!("{id} held-out-raw")))
}

/// The domains that are trained on, by name, with the sequences of each block that are theirs.
fn weights<'a>(
    manifest: &'a Manifest,
    spec: &DataSpec,
    dir: &Path,
) -> Result<Vec<(&'a Domain, u64)>, DataError> {
    let trained = |d: &&Domain| !d.train.shards.is_empty();
    let there: BTreeMap<&str, &Domain> =
        manifest.domains.iter().filter(trained).map(|d| (d.name.as_str(), d)).collect();
    let names = there.keys().copied().collect::<Vec<_>>().join(", ");
    let refuse = |message: String, hint: &str| Err(InputError::new(message, hint).into());
    if there.is_empty() {
        let message = format!("the dataset `{}` has nothing to train on", dir.display());
        return refuse(message, "give its recipe a domain without `train = false`");
    }
    let Some(mix) = &spec.mix else {
        // By size; a domain too small for its weight has the least there is.
        let sizes: Vec<f64> = there.values().map(|d| d.train.tokens as f64).collect();
        let least = sizes.iter().sum::<f64>() / (BLOCK as f64);
        let sizes: Vec<f64> = sizes.into_iter().map(|size| size.max(least)).collect();
        let Ok(shares) = shares(&sizes) else {
            let message = format!("`{}` has {} domains", dir.display(), sizes.len());
            return refuse(message, "choose at most 1024 of them with data.mix");
        };
        return Ok(there.into_values().zip(shares).collect());
    };
    let (mut domains, mut weights) = (Vec::new(), Vec::new());
    for (name, weight) in mix.get_ref() {
        let Some(domain) = there.get(name.as_str()) else {
            let message =
                format!("data.mix names `{name}`, which `{}` has not to train on", dir.display());
            return refuse(message, &format!("it has {names}"));
        };
        domains.push(*domain);
        weights.push(weight.0);
    }
    match shares(&weights) {
        Ok(shares) => Ok(domains.into_iter().zip(shares).collect()),
        Err((i, least)) => {
            let sum: f64 = weights.iter().sum();
            let message = format!(
                "data.mix gives `{}` {} of {sum}; weights are realised to 1/{BLOCK} of the sequences",
                domains[i].name, weights[i]
            );
            // Of the sum that it is then part of, and a little more.
            let works = 1.001 * least * (sum - weights[i]) / (1.0 - least);
            refuse(message, &format!("a weight of {works:.3e} works here"))
        }
    }
}

/// Where a dataset lies that a sweep file in `base` names: beside the file, or else where the command runs.
pub fn beside(base: &Path, name: &str) -> PathBuf {
    let path = base.join(name);
    if path.is_dir() || !Path::new(name).is_dir() { path } else { PathBuf::from(name) }
}

#[cfg(test)]
mod tests;
