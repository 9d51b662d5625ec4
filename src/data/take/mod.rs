//! Token shards of other tools, taken in place: hashed, indexed, and named by a manifest.
//!
//! A file in the directory is of the domain `all`, one in a directory below it of the domain that is called like that.
//! Held out are the files whose names say so (`val`, `valid`, `validation`); where none does, documents by the hash of
//! their ids, and where documents are not known, the end of the last file. Only what is held out that way is copied; the
//! shards are read without it.

mod scan;
mod tokenizer;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;
use sha2::{Digest as _, Sha256};

use self::scan::{Scanned, scan};
use self::tokenizer::Foreign;
use super::DataError;
use crate::corpus::foreign::Format;
use crate::corpus::manifest::{
    self, Domain, FileFacts, Manifest, Set, Shard, Tokenizer, check_name,
};
use crate::corpus::{ShardWriter, index};
use crate::error::{FileError, InputError};
use crate::fs::{Disk as _, Os, Placed, Scratch, length};

/// The domain of files that lie in no directory below.
const ALL: &str = "all";
/// Words in the name of a file that is held out.
const HELD_OUT: [&str; 3] = ["val", "valid", "validation"];
/// Least that is held out at the end of a file, if that is no more than a tenth of it [tokens].
const LEAST: u64 = 65_536;
/// Most that is held out there [tokens].
const MOST: u64 = 8 << 20;

/// What is to be taken, and how.
#[derive(Debug, Clone, Copy)]
pub struct Taking<'a> {
    /// Where the shards lie.
    pub dir: &'a Path,
    /// Who wrote them.
    pub format: Format,
    /// Their `tokenizer.json`.
    pub tokenizer: Option<&'a Path>,
    /// The id between documents, where the tokenizer does not say.
    pub separator: Option<u32>,
    /// Share of what is held out (0, 1).
    pub held_out: f64,
    /// Where manifest and indices are written.
    pub out: &'a Path,
}

/// A shard that was found.
struct Found {
    domain: String,
    path: PathBuf,
    held_out: bool,
}

/// Takes all shards of a directory; the same ones give the same id wherever they lie. `watch` is told what was read of
/// them, and all that there is [bytes].
///
/// # Errors
///
/// [`DataError`] names the file that does not fit, and why.
pub fn take(taking: Taking<'_>, watch: &(dyn Fn(u64, u64) + Sync)) -> Result<Manifest, DataError> {
    let found = find(taking.dir, taking.format)?;
    let foreign = taking.tokenizer.map(Foreign::read).transpose()?;
    let separator = taking.separator.or(foreign.as_ref().and_then(|f| f.tokenizer.separator));
    let vocab = foreign.as_ref().map(|f| f.tokenizer.vocab);
    let lengths = found.iter().map(|f| length(&f.path)).collect::<Result<Vec<u64>, _>>()?;
    let (all, done) = (lengths.iter().sum(), AtomicU64::new(0));
    let read = |bytes| watch(done.fetch_add(bytes, Ordering::Relaxed) + bytes, all);
    let scanned: Vec<Scanned> = found
        .par_iter()
        .map(|f| scan(&f.path, taking.format, separator, &read))
        .collect::<Result<_, _>>()?;
    let largest = scanned.iter().map(|s| s.largest).max().unwrap_or(0);
    let most = u64::from(vocab.unwrap_or(manifest::MAX_VOCAB));
    if let Some((f, s)) = found.iter().zip(&scanned).find(|(_, s)| s.largest >= most) {
        let (message, hint) = (
            format!("`{}` has the id {}, the vocabulary has {most}", f.path.display(), s.largest),
            "give the tokenizer that the ids are of, and the format that they are in",
        );
        return Err(InputError::new(message, hint).into());
    }
    let vocab = vocab.unwrap_or(largest as u32 + 1).max(separator.map_or(2, |id| id + 1));
    Os.create_dirs(taking.out)?;
    let mut domains: BTreeMap<&str, Vec<(&Found, Scanned)>> = BTreeMap::new();
    for (f, s) in found.iter().zip(scanned) {
        domains.entry(&f.domain).or_default().push((f, s));
    }
    let domains = domains
        .into_iter()
        .map(|(name, shards)| domain(taking, foreign.as_ref(), vocab, name, shards))
        .collect::<Result<Vec<_>, _>>()?;
    let file = match &foreign {
        Some(foreign) => {
            Os.write_atomic(&taking.out.join("tokenizer.json"), &foreign.json)?;
            Some(FileFacts::of("tokenizer.json", &foreign.json))
        }
        None => None,
    };
    let kind = if file.is_some() { "file" } else { "unknown" }.to_owned();
    let manifest = Manifest::new(Tokenizer { kind, file, vocab, separator }, domains);
    Os.write_atomic(&taking.out.join(manifest::FILE), manifest.seal().as_bytes())?;
    Ok(manifest)
}

/// All token files of a format, by domain and name.
fn find(dir: &Path, format: Format) -> Result<Vec<Found>, DataError> {
    let list = |dir: &Path| Os.list(dir).map_err(FileError::new("read", dir));
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let (mut out, entries) = (Vec::new(), list(dir)?);
    let mut add = |domain: &str, path: PathBuf| {
        let file = name(&path);
        // What was held out of an earlier taking lies beside the shards.
        if file.ends_with(format.ending()) && file != HELD_OUT_FILE && !file.starts_with('.') {
            let mut words = file.split(|c: char| !c.is_ascii_alphanumeric());
            let held_out = words.any(|word| HELD_OUT.contains(&word.to_ascii_lowercase().as_str()));
            out.push(Found { domain: domain.to_owned(), path, held_out });
        }
    };
    for path in &entries {
        if Os.is_dir(path) {
            let domain = name(path);
            for file in list(path)?.into_iter().filter(|p| !Os.is_dir(p)) {
                add(&domain, file);
            }
        } else {
            add(ALL, path.clone());
        }
    }
    for found in &out {
        check_name(&found.domain).map_err(|why| {
            let message = format!("`{}`: {why}", found.path.display());
            InputError::new(message, "rename the directory: it names the domain")
        })?;
    }
    if out.is_empty() {
        let message = format!("`{}` has no file ending in {}", dir.display(), format.ending());
        return Err(InputError::new(
            message,
            "give the directory of the shards, and their --format",
        )
        .into());
    }
    Ok(out)
}

/// Name of the shard of what is held out here.
const HELD_OUT_FILE: &str = "held-out.bin";

/// One domain: indices are written, and what is held out is copied.
fn domain(
    taking: Taking<'_>,
    foreign: Option<&Foreign>,
    vocab: u32,
    name: &str,
    shards: Vec<(&Found, Scanned)>,
) -> Result<Domain, DataError> {
    let dir = if name == ALL { taking.out.to_owned() } else { taking.out.join(name) };
    Os.create_dirs(&dir)?;
    let named = shards.iter().any(|(found, _)| found.held_out);
    let mut train: Vec<(Shard, PathBuf)> = Vec::new();
    let (mut held_out, mut keys) = (Vec::new(), Vec::new());
    for (found, scanned) in shards {
        let file = found.path.file_name().unwrap_or_default().to_string_lossy();
        let index = dir.join(format!("{file}.idx"));
        let bytes = scanned.index.encode();
        Os.write_atomic(&index, &bytes)?;
        let shard = Shard {
            file: FileFacts {
                file: from(taking.out, &found.path)?,
                bytes: scanned.bytes,
                sha256: scanned.sha256,
            },
            index: FileFacts::of(from(taking.out, &index)?, &bytes),
            offset: scanned.layout.offset,
            width: scanned.layout.width,
            documents: scanned.index.lengths.len() as u64,
            tokens: scanned.layout.tokens,
            without: Vec::new(),
        };
        if found.held_out {
            held_out.push((shard, found.path.clone()));
        } else {
            train.push((shard, found.path.clone()));
            keys.push(scanned.index);
        }
    }
    let mut bytes = None;
    let mut held = if named {
        if let Some(foreign) = foreign {
            bytes = foreign.bytes_of(&held_out, vocab)?;
        }
        Set::new(held_out.into_iter().map(|(shard, _)| shard).collect(), None)
    } else {
        let wanted = wanted(&keys, &train, taking.held_out);
        let copied = dir.join(HELD_OUT_FILE);
        let written = copy(&copied, &mut train, &wanted, vocab)?;
        if let Some(foreign) = foreign {
            bytes = foreign.bytes_of(&[(written.clone(), copied.clone())], vocab)?;
        }
        let shard = Shard {
            file: FileFacts { file: from(taking.out, &copied)?, ..written.file.clone() },
            index: FileFacts {
                file: from(taking.out, &copied.with_extension("idx"))?,
                ..written.index.clone()
            },
            ..written
        };
        Set::new(vec![shard], None)
    };
    held.bytes = bytes;
    let mut train_set = Set::new(train.into_iter().map(|(shard, _)| shard).collect(), None);
    if !named {
        train_set.documents = train_set.documents.saturating_sub(held.documents);
    }
    Ok(Domain { name: name.to_owned(), train: train_set, held_out: held, held_out_raw: None })
}

/// (first token, tokens, key) of what is held out of each shard: documents by their key, or the end of the last shard.
fn wanted(indices: &[index::Index], train: &[(Shard, PathBuf)], share: f64) -> Vec<Vec<[u64; 3]>> {
    let known = indices.iter().all(|index| !index.lengths.is_empty());
    let mut out = vec![Vec::new(); train.len()];
    if known {
        let below = (share * 2.0_f64.powi(64)) as u64;
        let least = indices.iter().flat_map(|index| &index.keys).min().copied().unwrap_or(0);
        for (shard, index) in indices.iter().enumerate() {
            let mut start = 0;
            for (length, key) in index.lengths.iter().zip(&index.keys) {
                if (*key < below || *key == least) && *length > 0 {
                    out[shard].push([start, u64::from(*length), *key]);
                }
                start += u64::from(*length);
            }
        }
    } else if let (Some(last), Some(out)) = (train.last(), out.last_mut()) {
        let all: u64 = train.iter().map(|(shard, _)| shard.tokens).sum();
        let there = last.0.tokens;
        let tokens =
            ((share * all as f64) as u64).max(LEAST.min(there / 10)).min(there / 2).min(MOST);
        if tokens > 0 {
            out.push([there - tokens, tokens, 0]);
        }
    }
    out
}

/// Copies what is held out into a shard of its own, and notes what the others are then read without.
fn copy(
    path: &Path,
    train: &mut [(Shard, PathBuf)],
    wanted: &[Vec<[u64; 3]>],
    vocab: u32,
) -> Result<Shard, DataError> {
    let failed = || FileError::new("write", path);
    let mut writer = ShardWriter::new(Scratch::beside(path)?, vocab).map_err(failed())?;
    for ((shard, from), wanted) in train.iter_mut().zip(wanted) {
        let file = Placed::open(from)?;
        for [start, tokens, key] in wanted {
            let ids = scan::ids(&file, shard, *start, *tokens, vocab)?;
            writer.push(&ids, *key).map_err(failed())?;
            match shard.without.last_mut() {
                Some(last) if last[0] + last[1] == *start => last[1] += tokens,
                _ => shard.without.push([*start, *tokens]),
            }
        }
    }
    let (mut file, written) = writer.finish().map_err(failed())?;
    file.flush().map_err(failed())?;
    file.keep()?;
    Os.write_atomic(&path.with_extension("idx"), &written.index)?;
    Ok(Shard::of(&written, HELD_OUT_FILE, "held-out.idx"))
}

/// The way from a directory to a file, both of which are there.
fn from(dir: &Path, file: &Path) -> Result<String, DataError> {
    let whole = |path: &Path| path.canonicalize().map_err(FileError::new("read", path));
    let (dir, file) = (whole(dir)?, whole(file)?);
    let shared = dir.components().zip(file.components()).take_while(|(l, r)| l == r).count();
    let up = std::iter::repeat_n("..", dir.components().count() - shared).map(PathBuf::from);
    let down = file.components().skip(shared).collect::<PathBuf>();
    let way: PathBuf = up.chain([down]).collect();
    way.to_str().map(str::to_owned).ok_or_else(|| {
        let message = format!("`{}` is not a name in UTF-8", file.display());
        InputError::new(message, "rename it: a manifest is text").into()
    })
}

/// The first 8 bytes of the SHA-256 of ids as little-endian numbers of 4 bytes.
fn key(hash: Sha256) -> u64 {
    index::key(&hash.finalize().into())
}

#[cfg(test)]
mod tests;
