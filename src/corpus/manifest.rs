//! The manifest of a dataset: one sealed line that names every other file with its length and SHA-256. It is written
//! last, so a dataset without one is half made.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::index;
use super::shard::{self, Width, Written};
use crate::plan::hex;
use crate::seal::{seal, unseal};

/// Its name in the dataset's directory.
pub const FILE: &str = "manifest.json";
/// Longest one that is read [bytes].
pub const MAX_FILE: u64 = 256 << 20;
/// Version of the format. A higher one is refused.
pub const VERSION: u32 = 1;
/// More ids than any tokenizer in use.
pub const MAX_VOCAB: u32 = 1 << 20;
/// Longest name of a domain.
const MAX_NAME: usize = 64;

/// What a dataset holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`VERSION`] of the writer.
    pub v: u32,
    /// [`Manifest::identity`]: what cells know the dataset by.
    pub id: String,
    /// How text became ids.
    pub tokenizer: Tokenizer,
    /// Named parts, in the recipe's order.
    pub domains: Vec<Domain>,
    /// The recipe as it was given; none for shards that were there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipe: Option<serde_json::Value>,
    /// Version of every rule that decided what is in it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rules: BTreeMap<String, u32>,
    /// What was found of tasks and held-out documents in the training documents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contamination: Option<serde_json::Value>,
}

/// A file beside the manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileFacts {
    /// Path from the manifest's directory; of shards that are taken in place it may lead out of it.
    pub file: String,
    /// Length [bytes].
    pub bytes: u64,
    /// SHA-256, hexadecimal.
    pub sha256: String,
}

impl FileFacts {
    /// Of a file of these bytes.
    pub fn of(file: impl Into<String>, bytes: &[u8]) -> Self {
        let sha256 = hex(&Sha256::digest(bytes));
        Self { file: file.into(), bytes: bytes.len() as u64, sha256 }
    }
}

/// How text became ids.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tokenizer {
    /// `bytes`, `bpe` (trained for the dataset), `file` (given), or `unknown`, where nobody said.
    pub kind: String,
    /// The `tokenizer.json`; none for bytes and where it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<FileFacts>,
    /// Every id is below this.
    pub vocab: u32,
    /// The id after each document, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub separator: Option<u32>,
}

/// A named part with its own shards, held-out set, weight and loss.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Domain {
    /// Lower-case letters, digits, `-` and `_`.
    pub name: String,
    /// What is trained on; without shards for a domain that is only measured.
    pub train: Set,
    /// Held-out documents that pass the domain's filters.
    pub held_out: Set,
    /// All held-out documents, the same under every treatment of one source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_out_raw: Option<Set>,
}

/// Documents that are used together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Set {
    /// How many documents; 0 where their bounds are not known.
    pub documents: u64,
    /// How many ids, separators included [tokens].
    pub tokens: u64,
    /// How often each document is among them, at least 1.
    #[serde(default = "once", skip_serializing_if = "is_once")]
    pub copies: u32,
    /// Raw text, where it is known [bytes].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// SHA-256 over the SHA-256 of the raw text of each document, for a held-out set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw_sha256: Option<String>,
    /// Standard error of a loss measured on all of it as one of all such text, over the loss, for a held-out set of
    /// text that was read; as far as it can be told before a model is trained [-].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub noise: Option<f64>,
    /// The files, in the order of their windows.
    pub shards: Vec<Shard>,
}

impl Set {
    /// Of these shards, whose documents are all in it.
    pub fn new(shards: Vec<Shard>, bytes: Option<u64>) -> Self {
        let documents = shards.iter().map(|shard| shard.documents).sum();
        let tokens = shards.iter().map(Shard::used).sum();
        Self { documents, tokens, bytes, copies: 1, raw_sha256: None, noise: None, shards }
    }
}

impl Default for Set {
    fn default() -> Self {
        Self::new(Vec::new(), None)
    }
}

fn once() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives references")]
fn is_once(copies: &u32) -> bool {
    *copies == 1
}

/// A file of ids and its index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shard {
    /// The ids.
    #[serde(flatten)]
    pub file: FileFacts,
    /// The `.idx`.
    pub index: FileFacts,
    /// Bytes before the first id.
    pub offset: u64,
    /// Bytes of an id.
    pub width: Width,
    /// Documents of the file; 0 where their bounds are not known.
    pub documents: u64,
    /// Ids of the file [tokens].
    pub tokens: u64,
    /// (first token, tokens) of what is passed over, because it is held out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub without: Vec<[u64; 2]>,
}

impl Shard {
    /// One that was written, under these names in the dataset's directory.
    pub fn of(written: &Written, file: impl Into<String>, index: impl Into<String>) -> Self {
        let Written { bytes, sha256, width, documents, tokens, .. } = written;
        Self {
            file: FileFacts { file: file.into(), bytes: *bytes, sha256: sha256.clone() },
            index: FileFacts::of(index, &written.index),
            offset: shard::HEADER as u64,
            width: *width,
            documents: *documents,
            tokens: *tokens,
            without: Vec::new(),
        }
    }

    /// Ids that are not passed over [tokens].
    pub fn used(&self) -> u64 {
        self.tokens.saturating_sub(self.without.iter().map(|[_, n]| n).sum())
    }

    fn check(&self) -> Result<(), String> {
        let Self { file, index, offset, width, documents, tokens, without } = self;
        let at = |what: String| Err(format!("shard `{}`: {what}", file.file));
        let bytes = tokens.checked_mul(width.bytes() as u64).and_then(|n| n.checked_add(*offset));
        if bytes != Some(file.bytes) {
            return at(format!("{} bytes are not those of {tokens} tokens", file.bytes));
        }
        if index::length(*documents, file.bytes) != Some(index.bytes) {
            return at(format!("an index of {} bytes is not its own", index.bytes));
        }
        let mut end = 0;
        for [start, length] in without {
            let next = start.checked_add(*length).filter(|next| next <= tokens);
            match next {
                Some(next) if *start >= end && *length > 0 => end = next,
                _ => {
                    return at(format!(
                        "what it is read without, {start} and {length} tokens, does not lie in it"
                    ));
                }
            }
        }
        for file in [file, index] {
            check_file(file)?;
        }
        Ok(())
    }
}

fn check_file(file: &FileFacts) -> Result<(), String> {
    let hexadecimal = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
    if file.file.is_empty() || file.file.contains('\0') {
        return Err(format!("{:?} is no name of a file", file.file));
    }
    if file.sha256.len() != 64 || !file.sha256.bytes().all(hexadecimal) {
        return Err(format!("`{}`: {:?} is no SHA-256", file.file, file.sha256));
    }
    Ok(())
}

/// Whether a domain may be called so.
///
/// # Errors
///
/// What a name must be.
pub fn check_name(name: &str) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    if !name.is_empty() && name.len() <= MAX_NAME && name.chars().all(plain) {
        return Ok(());
    }
    Err(format!(
        "{name:?} is no name of a domain, which has 1 to {MAX_NAME} lower-case letters, digits, `-` and `_`"
    ))
}

impl Domain {
    fn sets(&self) -> impl Iterator<Item = (&'static str, &Set)> {
        let all = [("train", Some(&self.train)), ("held-out", Some(&self.held_out))];
        let all = all.into_iter().chain([("held-out-raw", self.held_out_raw.as_ref())]);
        all.filter_map(|(what, set)| Some((what, set?)))
    }
}

impl Manifest {
    /// A manifest of these domains, with its version and id.
    pub fn new(tokenizer: Tokenizer, domains: Vec<Domain>) -> Self {
        let mut manifest = Self {
            v: VERSION,
            id: String::new(),
            tokenizer,
            domains,
            recipe: None,
            rules: BTreeMap::new(),
            contamination: None,
        };
        manifest.id = manifest.identity();
        manifest
    }

    /// What the dataset is, whatever its files are called and whoever made it: the SHA-256 of these lines.
    ///
    /// ```text
    /// tokenizer <SHA-256 of tokenizer.json, or `bytes`, or `unknown`>
    /// domain <name>
    /// train <SHA-256 of the shard>          one line a shard, in their order
    /// held-out <SHA-256 of the shard>
    /// held-out-raw <SHA-256 of the shard>
    /// ```
    ///
    /// A shard that is not as isoflop writes them has ` <offset> <width>` after its hash, and ` -<first>+<tokens>` for
    /// each stretch that is passed over.
    pub fn identity(&self) -> String {
        let Tokenizer { kind, file, .. } = &self.tokenizer;
        let mut lines = format!("tokenizer {}\n", file.as_ref().map_or(kind, |f| &f.sha256));
        for domain in &self.domains {
            lines += &format!("domain {}\n", domain.name);
            for (what, set) in domain.sets() {
                for shard in &set.shards {
                    lines += &format!("{what} {}", shard.file.sha256);
                    if shard.offset != shard::HEADER as u64 {
                        lines += &format!(" {} {}", shard.offset, shard.width.bytes());
                    }
                    for [start, length] in &shard.without {
                        lines += &format!(" -{start}+{length}");
                    }
                    lines.push('\n');
                }
            }
        }
        hex(&Sha256::digest(lines))
    }

    /// The line that is written.
    pub fn seal(&self) -> String {
        seal(self)
    }

    /// From the bytes of the file.
    ///
    /// # Errors
    ///
    /// Why they are no manifest, or one that contradicts itself.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Version {
            v: u32,
        }
        let Version { v } = unseal(bytes)?;
        if v > VERSION {
            return Err(format!("written by a newer isoflop (format {v})"));
        }
        let manifest: Self = unseal(bytes)?;
        manifest.check()?;
        Ok(manifest)
    }

    /// Whether it agrees with itself.
    ///
    /// # Errors
    ///
    /// What does not.
    pub fn check(&self) -> Result<(), String> {
        let Tokenizer { file, vocab, separator, .. } = &self.tokenizer;
        if !(2..=MAX_VOCAB).contains(vocab) || separator.is_some_and(|id| id >= *vocab) {
            return Err(format!("a vocabulary of {vocab} with the separator {separator:?}"));
        }
        file.iter().try_for_each(check_file)?;
        let mut names = BTreeSet::new();
        for domain in &self.domains {
            let name = &domain.name;
            check_name(name)?;
            if !names.insert(name) {
                return Err(format!("two domains are called `{name}`"));
            }
            for (what, set) in domain.sets() {
                set.shards.iter().try_for_each(Shard::check)?;
                let (copies, noise) = (set.copies, set.noise.unwrap_or(0.0));
                if !(1..=1000).contains(&copies) || !(0.0..=1e6).contains(&noise) {
                    return Err(format!("`{name}`, {what}: {copies} copies, a noise of {noise}"));
                }
                let tokens = set.shards.iter().try_fold(0_u64, |sum, s| sum.checked_add(s.used()));
                if tokens != Some(set.tokens) {
                    return Err(format!(
                        "`{name}`, {what}: {} tokens are not those of its shards",
                        set.tokens
                    ));
                }
            }
        }
        if names.is_empty() {
            return Err("it has no domain".to_owned());
        }
        if self.id != self.identity() {
            return Err("its id does not follow from its shards".to_owned());
        }
        Ok(())
    }

    /// Every file but the manifest.
    pub fn files(&self) -> impl Iterator<Item = &FileFacts> {
        let shards = self.shards().flat_map(|shard| [&shard.file, &shard.index]);
        self.tokenizer.file.iter().chain(shards)
    }

    /// Every shard of every set.
    pub fn shards(&self) -> impl Iterator<Item = &Shard> {
        self.domains.iter().flat_map(Domain::sets).flat_map(|(_, set)| &set.shards)
    }
}

#[cfg(test)]
mod tests;
