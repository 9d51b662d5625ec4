//! The directory of work: what is to be done, fixed when it begins, and what was done.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::DataError;
use super::writing::Writing;
use crate::corpus::{Shard, ShardWriter, manifest};
use crate::documents::{self, Cut, Fields, Kind, Part};
use crate::error::{FileError, InputError, exit};
use crate::fs::{Disk as _, Os, Scratch, read_file};
use crate::seal::{seal, unseal};
use crate::spec::{DataRecipe, DomainRecipe, Read};

/// Input of a unit [bytes].
const UNIT: u64 = 64 << 20;
/// Directory of unfinished work in that of the dataset.
pub(super) const WORK: &str = "work";
/// What is to be done.
const PLAN: &str = "plan.json";
/// Longest list of units, and longest result of one, that is read [bytes].
const MAX_LINE: u64 = 1 << 30;

/// Files, or parts of one, that are done together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unit {
    /// Place of the domain in the recipe.
    pub domain: usize,
    /// What it reads, in this order.
    pub parts: Vec<Part>,
    /// What these files hold on disk, as far as it is known [bytes].
    pub bytes: u64,
}

/// What is fixed when work begins.
#[derive(Debug, Serialize, Deserialize)]
struct Plan {
    v: u32,
    recipe: String,
    units: Vec<Unit>,
}

/// A dataset that is being made.
#[derive(Debug)]
pub struct Work {
    /// Directory of the dataset.
    pub dir: PathBuf,
    /// What names in the recipe are relative to.
    pub base: PathBuf,
    /// The recipe.
    pub recipe: DataRecipe,
    /// The recipe as it was given.
    pub text: String,
    /// All units, domain after domain.
    pub units: Vec<Unit>,
    /// What was found and not taken, for each domain.
    pub left_out: Vec<String>,
    /// What is made once for all units that this worker writes.
    pub(super) writing: OnceLock<Writing>,
}

impl Work {
    /// Begins, or goes on with what was begun.
    ///
    /// # Errors
    ///
    /// [`DataError`]: a recipe that cannot be read, input that is not there, or that changed since.
    pub fn open(dir: &Path, recipe: &Path) -> Result<Self, DataError> {
        let work = Self::plan(dir, recipe)?;
        let path = dir.join(WORK).join(PLAN);
        let units: Vec<Unit> = work.units.iter().map(|unit| work.named_unit(unit)).collect();
        if path.exists() {
            let plan: Plan = sealed(&path)?;
            if plan.recipe != work.text || plan.units != units {
                let what = if plan.recipe == work.text { "input" } else { "recipe" };
                return Err(InputError::new(
                    format!("the {what} changed since `{}` was begun", dir.join(WORK).display()),
                    format!("remove {} to begin anew", dir.join(WORK).display()),
                )
                .into());
            }
            return Ok(work);
        }
        // Another worker ended it in the meantime.
        if dir.join(manifest::FILE).exists() {
            return Ok(work);
        }
        Os.create_dirs(&dir.join(WORK))?;
        let plan = Plan { v: 1, recipe: work.text.clone(), units };
        Os.write_atomic(&path, seal(&plan).as_bytes())?;
        Ok(work)
    }

    /// What would be done; nothing is written.
    ///
    /// # Errors
    ///
    /// [`DataError`]: a recipe that cannot be read, or input that is not there.
    pub fn plan(dir: &Path, recipe: &Path) -> Result<Self, DataError> {
        let (parsed, text) = read_recipe(recipe)?;
        let base = recipe.parent().filter(|p| !p.as_os_str().is_empty());
        let base = base.unwrap_or(Path::new(".")).to_owned();
        let (mut units, mut left_out) = (Vec::new(), Vec::new());
        for (i, (name, domain)) in parsed.domains().into_iter().enumerate() {
            let (mut own, left) = listed(i, name, domain, &base)?;
            units.append(&mut own);
            left_out.push(left);
        }
        let (dir, writing) = (dir.to_owned(), OnceLock::new());
        Ok(Self { dir, base, recipe: parsed, text, units, left_out, writing })
    }

    /// What was begun in `dir` and has not ended, to see how far it is; `None` where nothing was. It knows no place
    /// that its input is read from.
    ///
    /// # Errors
    ///
    /// [`DataError`] for a list of units that is damaged.
    pub fn begun(dir: &Path) -> Result<Option<Self>, DataError> {
        let path = dir.join(WORK).join(PLAN);
        if !path.exists() {
            return Ok(None);
        }
        let Plan { recipe: text, units, .. } = sealed(&path)?;
        let recipe = parsed(&path, &text)?;
        let (dir, base, writing) = (dir.to_owned(), PathBuf::new(), OnceLock::new());
        Ok(Some(Self { dir, base, recipe, text, units, left_out: Vec::new(), writing }))
    }

    /// A file of the input as plan and card name it, whatever directory a command was given in: from that of the
    /// recipe, where it lies below it.
    pub(super) fn named<'a>(&self, path: &'a Path) -> &'a Path {
        let base: PathBuf =
            self.base.components().filter(|c| *c != std::path::Component::CurDir).collect();
        // Without a base nothing is cut, and what is no path stays as it is.
        if base.as_os_str().is_empty() { path } else { path.strip_prefix(base).unwrap_or(path) }
    }

    fn named_unit(&self, unit: &Unit) -> Unit {
        let mut unit = unit.clone();
        for part in &mut unit.parts {
            part.file.path = self.named(&part.file.path).to_owned();
        }
        unit
    }

    /// Name and recipe of a unit's domain.
    pub fn domain(&self, unit: usize) -> (&str, &DomainRecipe) {
        self.recipe.domains()[self.units[unit].domain]
    }

    /// The units of a domain.
    pub(super) fn units_of(&self, domain: usize) -> Range<usize> {
        let place = |of: usize| self.units.partition_point(|unit| unit.domain < of);
        place(domain)..place(domain + 1)
    }

    /// How many files a domain has.
    pub(super) fn files_of(&self, domain: usize) -> u64 {
        let units = &self.units[self.units_of(domain)];
        let parts = units.iter().flat_map(|unit| unit.parts.iter());
        parts.map(|part| &part.file.path).collect::<BTreeSet<_>>().len() as u64
    }

    /// A file of a stage, for a unit.
    pub(super) fn file(&self, stage: &str, unit: usize, ending: &str) -> PathBuf {
        self.dir.join(WORK).join(stage).join(format!("{unit:05}.{ending}"))
    }

    /// Writes the sealed line of a unit: it is done.
    pub(super) fn done<T: Serialize>(
        &self,
        stage: &str,
        unit: usize,
        result: &T,
    ) -> Result<(), DataError> {
        write_whole(&self.file(stage, unit, "json"), seal(result).as_bytes())
    }

    /// What a unit that is done found.
    pub(super) fn result<T: DeserializeOwned>(
        &self,
        stage: &str,
        unit: usize,
    ) -> Result<T, DataError> {
        sealed(&self.file(stage, unit, "json"))
    }

    /// Each document of a unit with its number, in order.
    pub(super) fn documents(
        &self,
        unit: usize,
        progress: &dyn Fn(u64),
        each: &mut dyn FnMut(u32, documents::Document) -> Result<(), DataError>,
    ) -> Result<documents::Tally, DataError> {
        let (_, domain) = self.domain(unit);
        let fields = fields(domain);
        let mut number = 0;
        let mut all = documents::Tally::default();
        for part in &self.units[unit].parts {
            let mut reader = documents::read(part, &fields)?;
            let mut before = 0;
            while let Some(document) = reader.next() {
                each(number, document?)?;
                number += 1;
                let now = reader.consumed();
                if now - before > 1 << 20 {
                    progress(now - before);
                    before = now;
                }
            }
            progress(reader.consumed() - before);
            all.add(reader.tally());
        }
        Ok(all)
    }

    /// The manifest of the finished dataset, where there is one.
    ///
    /// # Errors
    ///
    /// [`DataError`] for one that is damaged.
    pub fn finished(dir: &Path) -> Result<Option<manifest::Manifest>, DataError> {
        let path = dir.join(manifest::FILE);
        if !path.exists() {
            return Ok(None);
        }
        let bytes = read_file(&path, manifest::MAX_FILE)?;
        let manifest = manifest::Manifest::parse(&bytes).map_err(|why| damaged(&path, &why))?;
        Ok(Some(manifest))
    }
}

/// A recipe, and its text.
///
/// # Errors
///
/// [`DataError`] where it cannot be read.
pub fn read_recipe(path: &Path) -> Result<(DataRecipe, String), DataError> {
    let bytes = read_file(path, crate::spec::MAX_RECIPE as u64)?;
    let text = String::from_utf8(bytes).map_err(|_| {
        let message = format!("`{}` is not UTF-8 text", path.display());
        InputError::new(message, "a recipe is a TOML file")
    })?;
    Ok((parsed(path, &text)?, text))
}

fn parsed(path: &Path, text: &str) -> Result<DataRecipe, InputError> {
    DataRecipe::parse(text).map_err(|e| InputError {
        message: e.render(&path.display().to_string(), text),
        hint: None,
        code: exit::INPUT,
    })
}

/// Writes a file that is whole or not there.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), DataError> {
    if let Some(parent) = path.parent() {
        Os.create_dirs(parent)?;
    }
    Ok(Os.write_atomic(path, bytes)?)
}

fn sealed<T: DeserializeOwned>(path: &Path) -> Result<T, DataError> {
    let bytes = read_file(path, MAX_LINE)?;
    unseal(&bytes).map_err(|why| damaged(path, &why).into())
}

fn damaged(path: &Path, why: &str) -> InputError {
    InputError::new(
        format!("`{}` is damaged: {why}", path.display()),
        "remove the directory it lies in; the same command makes it anew",
    )
    .with_code(exit::DAMAGED)
}

/// How a domain's files are read.
pub(super) fn fields(domain: &DomainRecipe) -> Fields {
    Fields {
        text: domain.text.clone(),
        id: domain.id.clone(),
        group: domain.group.clone(),
        filter: domain.filter.clone(),
        cut: domain.paragraphs.map_or(Cut::Whole, Cut::Paragraphs),
    }
}

/// The units of a domain, and what of its names was not taken.
fn listed(
    place: usize,
    name: &str,
    domain: &DomainRecipe,
    base: &Path,
) -> Result<(Vec<Unit>, String), DataError> {
    let mut listing = documents::find(domain.read.names(), base)?;
    let asked = match domain.read {
        Read::Files(_) => None,
        Read::Text(_) => Some(Kind::Text),
        Read::Jsonl(_) => Some(Kind::Jsonl),
        Read::Parquet(_) => Some(Kind::Parquet),
    };
    if let Some(kind) = asked {
        listing.files.iter_mut().for_each(|file| file.kind = kind);
    }
    let units = documents::units(&listing.files, UNIT)?;
    if units.is_empty() {
        return Err(InputError::new(
            format!("domain `{name}` has no file to read"),
            "name files, folders or patterns that hold text",
        )
        .into());
    }
    let units = units.into_iter().map(|parts| {
        let whole = |p: &Part| p.file.bytes;
        let bytes = parts.iter().map(|p| match p.range {
            documents::Range::Lines { from, to } => to.min(p.file.bytes) - from,
            _ => whole(p),
        });
        Unit { domain: place, bytes: bytes.sum(), parts }
    });
    let left: Vec<String> =
        listing.left_out.iter().map(|(what, left)| format!("{} {what}", left.count)).collect();
    Ok((units.collect(), left.join(", ")))
}

/// A shard in the making, which gets its name when it is whole.
pub(super) struct Output {
    writer: ShardWriter<Scratch>,
    dir: PathBuf,
    name: String,
}

impl Output {
    /// An empty one, `name` without its ending, of ids below `vocab`.
    pub(super) fn create(work: &Work, name: String, vocab: u32) -> Result<Self, DataError> {
        let path = work.dir.join(format!("{name}.bin"));
        if let Some(parent) = path.parent() {
            Os.create_dirs(parent)?;
        }
        let writer = ShardWriter::new(Scratch::beside(&path)?, vocab);
        let writer = writer.map_err(FileError::new("write", path))?;
        Ok(Self { writer, dir: work.dir.clone(), name })
    }

    /// Adds a document.
    pub(super) fn push(&mut self, ids: &[u32], key: u64) -> Result<(), DataError> {
        let pushed = self.writer.push(ids, key);
        Ok(pushed.map_err(|e| FileError::new("write", self.dir.join(&self.name))(e))?)
    }

    /// Makes it durable with its index; nothing where no document was added.
    pub(super) fn finish(self) -> Result<Option<Shard>, DataError> {
        let (bin, idx) = (format!("{}.bin", self.name), format!("{}.idx", self.name));
        let path = self.dir.join(&bin);
        let (file, written) = self.writer.finish().map_err(FileError::new("write", path))?;
        file.keep()?;
        write_whole(&self.dir.join(&idx), &written.index)?;
        let shard = Shard::of(&written, bin, idx);
        Ok((shard.documents > 0).then_some(shard))
    }
}
