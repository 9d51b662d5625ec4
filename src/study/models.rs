//! A trained model, opened: a cell with the weights that it ended with, or a directory of Hugging Face's.
//!
//! Every command that takes a cell takes such a directory as well.

use std::path::{Path, PathBuf};

use super::Failure;
use super::results::{Results, recorded};
use super::sweep::read_spec;
use crate::data::{Dataset, dataset, kept_bpe};
use crate::error::{FileError, InputError, exit};
use crate::fs::{Disk as _, Os};
use crate::hf::card::{self, Provenance};
use crate::hf::{Config, Text, config, tensors, tokenizer};
use crate::ledger::event::Event;
use crate::ledger::log::{Attempt, LOG, MAX_LOG};
use crate::ledger::{self, State, cell_dir, weights};
use crate::model::{Place, Transformer, Values};
use crate::ops::Kernels;
use crate::plan::{Cell, hex, short};
use crate::shape::Shape;
use crate::spec::{Source, Spec, Tokenizer};
use sha2::{Digest as _, Sha256};

/// Longest file of weights that is read [bytes]: 10^10 parameters.
const MAX_WEIGHTS: u64 = 40 << 30;
/// What several files of weights come with.
const INDEX: &str = "model.safetensors.index.json";

/// A trained model.
#[derive(Debug, Clone)]
pub struct Model {
    /// Dimensions.
    pub shape: Shape,
    /// Every weight.
    pub values: Vec<Values>,
    /// How text becomes ids; `None` where its data are no text.
    pub text: Option<Text>,
    /// The id before a text, where there is one; isoflop's separator is both.
    pub begin: Option<u32>,
    /// The id behind a text, where there is one.
    pub end: Option<u32>,
    /// Where it comes from.
    pub origin: Origin,
}

/// Where a model comes from.
#[derive(Debug, Clone)]
pub enum Origin {
    /// A cell of a sweep.
    Cell(Box<OfCell>),
    /// A directory of Hugging Face's: its path, and what isoflop wrote of it, if it did.
    Directory(PathBuf, Option<Box<Provenance>>),
}

/// A completed cell whose weights are kept.
#[derive(Debug, Clone)]
pub struct OfCell {
    /// `results/<sweep>`.
    pub results: PathBuf,
    /// What the sweep file says; paths in it are followed from [`base`](Self::base).
    pub spec: Spec,
    /// Directory of the sweep file.
    pub base: PathBuf,
    /// Directory of the attempt that completed it.
    pub attempt: PathBuf,
    /// What an export says of it; `dtype` is that of the kept weights.
    pub provenance: Provenance,
}

impl Origin {
    /// `cell 61301598 of prose`, or the path of a directory.
    pub fn name(&self) -> String {
        match self {
            Self::Cell(of) => {
                format!("cell {} of {}", of.provenance.cell.short(), of.provenance.sweep)
            }
            Self::Directory(path, _) => path.display().to_string(),
        }
    }

    /// What is known of the cell that it was.
    pub fn provenance(&self) -> Option<&Provenance> {
        match self {
            Self::Cell(of) => Some(&of.provenance),
            Self::Directory(_, provenance) => provenance.as_deref(),
        }
    }
}

impl Model {
    /// Opens the model at a path: a directory with a `config.json`; or a sweep file or a directory under `results`,
    /// and of that the cell whose id begins with `cell`, else of all whose weights are kept the one of the lowest
    /// loss. It need not be of the grid: a tuned cell and that of a forecast have weights too.
    ///
    /// # Errors
    ///
    /// [`Failure`] where there is no such cell or it has no weights (exit code 2), or they are damaged (3); and what a
    /// directory has that isoflop's model has not, by the name of the field.
    pub fn open(path: &Path, results: &Path, cell: Option<&str>) -> Result<Self, Failure> {
        if is_directory(path) {
            if cell.is_some() {
                let message =
                    format!("`{}` is one model, and --cell is for a sweep", path.display());
                return Err(InputError::new(message, "leave --cell out").into());
            }
            return of_directory(path);
        }
        let sweep = At::of(path, results)?;
        let (attempt, cell) = match cell {
            Some(id) => sweep.cell(id)?,
            None => sweep.best()?,
        };
        sweep.open(&attempt, cell)
    }

    /// On the CPU, by the operations that train there.
    ///
    /// # Errors
    ///
    /// [`Failure`] where the weights are not those of the shape.
    pub fn transformer(&self) -> Result<Transformer, Failure> {
        let place = Place::cpu(Kernels::Fused);
        Transformer::with_values(self.shape, &self.values, &place).map_err(|why| {
            let message =
                format!("the weights of {} are of another shape: {why}", self.origin.name());
            let hint = "`isoflop check` names what is damaged of a sweep";
            InputError::new(message, hint).with_code(exit::DAMAGED).into()
        })
    }

    /// How text becomes ids.
    ///
    /// # Errors
    ///
    /// [`Failure`] where nothing says so.
    pub fn text(&self) -> Result<&Text, Failure> {
        self.text.as_ref().ok_or_else(|| {
            let message =
                format!("{} has no tokenizer: its data are ids and no text", self.origin.name());
            InputError::new(message, "a sweep on text, or a dataset with a tokenizer, has one")
                .into()
        })
    }
}

/// Whether a path is a directory of Hugging Face's.
pub fn is_directory(path: &Path) -> bool {
    path.join(config::FILE).is_file()
}

/// A sweep whose cells are opened.
struct At {
    results: PathBuf,
    spec: Spec,
    base: PathBuf,
}

impl At {
    fn of(path: &Path, results: &Path) -> Result<Self, Failure> {
        let dir = Results::dir(path, results)?;
        let file = if path.is_dir() { None } else { Some(path) };
        let spec = match file {
            Some(path) => read_spec(path)?.0,
            None => recorded(&dir)?.1,
        };
        let base = file.unwrap_or(&dir).parent().unwrap_or(Path::new("")).to_owned();
        Ok(Self { results: dir, spec, base })
    }

    /// The completed attempt at the cell whose id begins so.
    fn cell(&self, id: &str) -> Result<(PathBuf, Cell), Failure> {
        let cells = cell_dir(&self.results, "");
        let named = |path: &PathBuf| {
            path.file_name()
                .map(|name| name.to_string_lossy().into_owned())
                .filter(|n| n.starts_with(id))
        };
        let found: Vec<String> = match Os.list(&cells) {
            Ok(paths) => paths.iter().filter_map(named).collect(),
            Err(e) => return Err(FileError::new("read", cells)(e).into()),
        };
        let hint = format!("`isoflop status {}` lists the cells", self.results.display());
        let [whole] = found.as_slice() else {
            let message = match found.len() {
                0 => format!(
                    "no cell of `{}` has an id that begins with `{id}`",
                    self.results.display()
                ),
                n => format!(
                    "the ids of {n} cells of `{}` begin with `{id}`",
                    self.results.display()
                ),
            };
            return Err(InputError::new(message, hint).into());
        };
        let (attempts, state) = ledger::look(&cell_dir(&self.results, whole))?;
        let State::Completed { dir, .. } = state else {
            let why = state.why().map_or_else(String::new, |why| format!(": {why}"));
            let message = format!("cell {} is {}{why}", short(whole), state.name().word());
            let hint = "only a completed cell has final weights";
            return Err(InputError::new(message, hint).into());
        };
        if !weights::are_kept(&Os, &dir) {
            return Err(without_weights(&format!("cell {}", short(whole))).into());
        }
        let started = attempts.iter().find(|a| a.dir == dir).and_then(started);
        let cell = started.map(|(cell, _)| cell.clone());
        let cell =
            cell.ok_or_else(|| InputError::new(format!("cell {whole} has no record"), hint))?;
        Ok((dir, cell))
    }

    /// The completed attempt of the lowest loss that has weights.
    fn best(&self) -> Result<(PathBuf, Cell), Failure> {
        let results = Results::open(&self.results)?;
        let completed = results.ledger.cells.into_iter().filter_map(|(cell, state)| match state {
            State::Completed { loss, dir, .. } => Some((loss, dir, cell)),
            _ => None,
        });
        let mut completed: Vec<_> = completed.collect();
        if completed.is_empty() {
            let message = format!("no cell of `{}` is completed", self.results.display());
            return Err(InputError::new(message, "`isoflop run SWEEP` trains them").into());
        }
        completed.retain(|(_, dir, _)| weights::are_kept(&Os, dir));
        let best = completed.into_iter().min_by(|l, r| l.0.total_cmp(&r.0));
        let (_, dir, cell) = best
            .ok_or_else(|| without_weights(&format!("no cell of `{}`", self.results.display())))?;
        Ok((dir, cell))
    }

    fn open(self, attempt: &Path, cell: Cell) -> Result<Model, Failure> {
        let read = weights::read(&Os, attempt)?;
        let read = read.ok_or_else(|| without_weights(&format!("cell {}", cell.short())))?;
        let (attempts, state) = ledger::look(&cell_dir(&self.results, &cell.id))?;
        let (loss, loss_se) = match state {
            State::Completed { loss, loss_se, .. } => (loss, loss_se),
            _ => (f64::NAN, f64::NAN),
        };
        let bytes = attempts.iter().find(|a| a.dir == attempt).and_then(started);
        let log = attempt.join(LOG);
        let log = Os.read(&log, MAX_LOG).map_err(FileError::new("read", &log))?;
        let (text, end) = self.text(&cell)?;
        let provenance = Provenance {
            v: card::VERSION,
            isoflop: env!("CARGO_PKG_VERSION").to_owned(),
            sweep: self.spec.name.get_ref().clone(),
            loss,
            loss_se,
            bytes_per_token: bytes.and_then(|(_, bytes)| bytes),
            licence: (cell.recipe.source == Source::PdProse).then(|| "public domain".to_owned()),
            run_log_sha256: hex(&Sha256::digest(&log)),
            weights_sha256: read.manifest.sha256,
            dtype: crate::hf::Precision::F32.name().to_owned(),
            cell,
        };
        let shape = provenance.cell.recipe.shape;
        let At { results, spec, base } = self;
        let attempt = attempt.to_owned();
        let origin = Origin::Cell(Box::new(OfCell { results, spec, base, attempt, provenance }));
        Ok(Model { shape, values: read.tensors, text, begin: end, end, origin })
    }

    /// How the cell's text becomes ids, and the id that separates documents.
    fn text(&self, cell: &Cell) -> Result<(Option<Text>, Option<u32>), Failure> {
        let unusable = |file: &Path, why: &str| {
            let message = format!("`{}` cannot be used: {why}", file.display());
            InputError::new(message, "`isoflop run SWEEP` makes it again once it is away")
        };
        match (&cell.recipe.source, &cell.recipe.tokenizer) {
            (Source::ZipfFact(_) | Source::GraphWalk(_), _) => Ok((None, None)),
            (Source::Dataset(_), _) => self.text_of_dataset(cell),
            (_, Tokenizer::Bpe { vocab }) => {
                let json = kept_bpe(&self.results, *vocab)?.ok_or_else(|| {
                    let message =
                        format!("`{}` holds no tokenizer of {vocab} ids", self.results.display());
                    InputError::new(message, "`isoflop run SWEEP` trains it again on the same text")
                })?;
                let text = Text::read(&json).map_err(|why| unusable(&self.results, &why))?;
                Ok((Some(text), Some(0)))
            }
            _ => Ok((Some(Text::bytes()), Some(0))),
        }
    }

    fn text_of_dataset(&self, cell: &Cell) -> Result<(Option<Text>, Option<u32>), Failure> {
        let dir = self.dataset();
        let manifest = dataset::manifest(&dir)?;
        let said = &manifest.tokenizer;
        if said.vocab as usize != cell.recipe.shape.vocab {
            let message = format!(
                "`{}` has {} ids, and cell {} was trained on {}",
                dir.display(),
                said.vocab,
                cell.short(),
                cell.recipe.shape.vocab
            );
            let hint = "give the sweep file, from the place where it was trained, and not the results directory";
            return Err(InputError::new(message, hint).into());
        }
        let text = match (&said.file, said.kind.as_str()) {
            (Some(file), _) => {
                let path = dir.join(&file.file);
                let json = Os.read(&path, tokenizer::MAX_FILE);
                let json = json.map_err(FileError::new("read", &path))?;
                if hex(&Sha256::digest(&json)) != file.sha256 {
                    let message = format!("`{}` is not as it was written", path.display());
                    let hint = "prepare the dataset again, or take it from a copy";
                    return Err(InputError::new(message, hint).with_code(exit::DAMAGED).into());
                }
                let text = Text::read(&json).map_err(|why| {
                    let message = format!("`{}` cannot be used: {why}", path.display());
                    InputError::new(message, "it was read when the dataset was prepared")
                })?;
                Some(text)
            }
            (None, "bytes") => Some(Text::bytes()),
            _ => None,
        };
        Ok((text, said.separator))
    }

    /// Where the sweep's dataset lies.
    fn dataset(&self) -> PathBuf {
        match self.spec.data.source.get_ref() {
            Source::Dataset(name) => dataset::beside(&self.base, name),
            _ => PathBuf::new(),
        }
    }
}

/// `what` says whose weights are missing: `cell X`, or `no cell of Y`.
fn without_weights(what: &str) -> InputError {
    let verb = if what.starts_with("no ") { "has kept weights" } else { "has no kept weights" };
    InputError::new(
        format!(
            "{what} {verb}: it was trained with `keep = \"none\"`, or by an isoflop that kept none"
        ),
        "leave `keep` out of the sweep file, move the cell's folder under `cells/` away, and `isoflop run SWEEP` trains \
         it again",
    )
}

impl OfCell {
    /// What the cell was trained on and measured with; `None` where it is not at hand any more, or is other text.
    pub fn data(&self) -> Option<Dataset> {
        let mut spec = self.spec.clone();
        self.base.clone_into(&mut spec.data.base);
        if let Source::Dataset(name) = spec.data.source.get_mut() {
            *name = dataset::beside(&self.base, name).to_string_lossy().into_owned();
        }
        let cache = crate::data::Cache { dir: &self.results, keep: false };
        let data = Dataset::load(&spec, Some(cache)).ok()?;
        let wanted = &self.provenance.cell.recipe.data_sha256;
        (data.facts.sha256 == *wanted || data.documents.as_ref() == Some(wanted)).then_some(data)
    }
}

/// What an attempt says of its cell, and of the bytes of its held-out tokens.
fn started(attempt: &Attempt) -> Option<(&Cell, Option<f64>)> {
    match attempt.events.first() {
        Some(Event::Started { cell, bytes_per_token, .. }) => {
            Some((cell.as_ref(), *bytes_per_token))
        }
        _ => None,
    }
}

fn of_directory(dir: &Path) -> Result<Model, Failure> {
    let refuse = |file: &str, why: &str| {
        let message = format!("`{}`: {why}", dir.join(file).display());
        let hint = "isoflop reads Llama and Qwen3 of its own kind: one key for each query, SiLU, no biases, positions \
                    that are not scaled, one file of weights";
        InputError::new(message, hint)
    };
    let bytes = |file: &str, most: u64| {
        let path = dir.join(file);
        Os.read(&path, most).map_err(|e| Failure::from(FileError::new("read", path)(e)))
    };
    let json = bytes(config::FILE, config::MAX_FILE)?;
    let Config { shape, bos, eos } =
        Config::read(&json).map_err(|why| refuse(config::FILE, &why))?;
    if dir.join(INDEX).exists() {
        return Err(refuse(INDEX, "the weights are in several files, and one is read").into());
    }
    let file = bytes(tensors::FILE, MAX_WEIGHTS)?;
    let values = tensors::read(&shape, &file).map_err(|why| refuse(tensors::FILE, &why))?;
    let text = if dir.join(tokenizer::FILE).exists() {
        let json = bytes(tokenizer::FILE, tokenizer::MAX_FILE)?;
        let text = Text::read(&json).map_err(|why| refuse(tokenizer::FILE, &why))?;
        if text.vocab() > shape.vocab {
            let why = format!("it has {} ids, and `vocab_size` is {}", text.vocab(), shape.vocab);
            return Err(refuse(tokenizer::FILE, &why).into());
        }
        Some(text)
    } else {
        None
    };
    let provenance = if dir.join(card::PROVENANCE).exists() {
        let json = bytes(card::PROVENANCE, card::MAX_PROVENANCE)?;
        Some(Box::new(Provenance::read(&json).map_err(|why| refuse(card::PROVENANCE, &why))?))
    } else {
        None
    };
    let origin = Origin::Directory(dir.to_owned(), provenance);
    Ok(Model { shape, values, text, begin: bos, end: eos, origin })
}

/// How text becomes ids in a sweep's results, and the id that separates documents; the paths of `spec` are followed from
/// where the command runs.
///
/// # Errors
///
/// [`Failure`] where the tokenizer cannot be read.
pub(super) fn text_of(
    results: &Path,
    spec: &Spec,
    cell: &Cell,
) -> Result<(Option<Text>, Option<u32>), Failure> {
    At { results: results.to_owned(), spec: spec.clone(), base: PathBuf::new() }.text(cell)
}
