//! A dataset from its recipe: workers that share its units, watched to the end.

mod workers;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};

use super::Failure;
use crate::corpus::Manifest;
use crate::error::{InputError, exit};
use crate::exec::stop::Stop;
use crate::fs::{Disk as _, Os, read_file};
use crate::prepare::stages::{CARD, Card, Progress, Stage, Work, read_recipe};
use crate::report;

/// Name of the card as a page, in the dataset's directory.
const PAGE: &str = "card.html";
/// Largest card that is read [bytes].
const MAX_CARD: u64 = 1 << 30;

/// What to make, and where.
#[derive(Debug, Clone)]
pub struct Request {
    /// The recipe.
    pub recipe: PathBuf,
    /// Directory of the dataset; `datasets/NAME` where it is not said.
    pub out: Option<PathBuf>,
    /// Workers side by side.
    pub workers: usize,
}

impl Request {
    /// Name and directory of the dataset.
    ///
    /// # Errors
    ///
    /// [`Failure`]: a recipe that cannot be read.
    pub fn place(&self) -> Result<(String, PathBuf), Failure> {
        let name = read_recipe(&self.recipe)?.0.name.into_inner();
        let dir = self.out.clone().unwrap_or_else(|| Path::new("datasets").join(&name));
        Ok((name, dir))
    }

    /// What would be done.
    ///
    /// # Errors
    ///
    /// [`Failure`]: a recipe that cannot be read, or input that is not there.
    pub fn plan(&self) -> Result<Work, Failure> {
        Ok(Work::plan(&self.place()?.1, &self.recipe)?)
    }
}

/// What a worker says on its way, a line of JSON each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Said {
    /// Input that was read in a stage [bytes].
    Read(String, u64),
    /// Why it ends.
    Failed(String, u8),
}

/// Is told how far the work is.
pub trait Watch {
    /// So much input was read of so much: each file is read twice [bytes].
    fn read(&self, stage: &str, done: u64, all: u64);
    /// What a person should know.
    fn note(&self, text: &str);
}

/// A dataset that is whole.
#[derive(Debug)]
pub struct Prepared {
    /// Its directory.
    pub dir: PathBuf,
    /// What it holds.
    pub manifest: Manifest,
    /// What was read and thrown away.
    pub card: Card,
}

impl Prepared {
    /// The card as a page.
    pub fn page(&self) -> PathBuf {
        self.dir.join(PAGE)
    }

    /// Writes the page where it is not there as it is now. The dataset is whole without it.
    fn show(&self, watch: &dyn Watch) {
        let html =
            report::card::html(report::card::Input { card: &self.card, manifest: &self.manifest });
        let before = read_file(&self.page(), MAX_CARD);
        if before.is_ok_and(|before| before == html.as_bytes()) {
            return;
        }
        if let Err(e) = Os.write_atomic(&self.page(), html.as_bytes()) {
            watch.note(&format!("{e}; the dataset is whole, and the same command writes its page"));
        }
    }
}

/// The dataset of a recipe, where it was prepared before.
///
/// # Errors
///
/// [`Failure`]: a recipe that cannot be read; a dataset of another recipe in its place.
pub fn prepared(request: &Request) -> Result<Option<Prepared>, Failure> {
    let (_, dir) = request.place()?;
    let Some(manifest) = Work::finished(&dir)? else { return Ok(None) };
    let (_, text) = read_recipe(&request.recipe)?;
    if manifest.recipe != toml::from_str(&text).ok() {
        return Err(InputError::new(
            format!("`{}` holds a dataset of another recipe", dir.display()),
            "give this one another name, or another --out",
        )
        .into());
    }
    let card = card(&dir)?;
    Ok(Some(Prepared { dir, manifest, card }))
}

/// Says what is to be done, for workers elsewhere; how far it is.
///
/// # Errors
///
/// [`Failure`]: a recipe or input that cannot be used.
pub fn begin(request: &Request) -> Result<Progress, Failure> {
    Ok(Work::open(&request.place()?.1, &request.recipe)?.progress())
}

/// Makes what is missing of a dataset. The same command again goes on where it was cut.
///
/// # Errors
///
/// [`Failure`]: a recipe or input that cannot be used; a dataset of another recipe in its place; exit code 75 where it
/// was asked to stop.
pub fn prepare(request: &Request, watch: &dyn Watch) -> Result<Prepared, Failure> {
    let stop = Stop::on_signals()
        .map_err(|e| InputError::new(format!("signals cannot be handled: {e}"), "try again"))?;
    if let Some(prepared) = prepared(request)? {
        watch.note("Prepared before: nothing is left to do.");
        prepared.show(watch);
        return Ok(prepared);
    }
    let work = Work::open(&request.place()?.1, &request.recipe)?;
    work.retry()?;
    workers::drive(request, &work, &stop, watch)?;
    let prepared = prepared(request)?.ok_or_else(|| {
        InputError::new("the workers ended and no manifest is there", "repeat the command")
            .with_code(exit::BUG)
    })?;
    prepared.show(watch);
    Ok(prepared)
}

/// How far the dataset in `dir` is; `None` where none is made there, or it was not made from a recipe.
///
/// # Errors
///
/// [`Failure`]: what lies there is damaged.
pub fn progress(dir: &Path) -> Result<Option<Progress>, Failure> {
    if let Some(work) = Work::begun(dir)? {
        return Ok(Some(work.progress()));
    }
    if Work::finished(dir)?.is_none() || !dir.join(CARD).exists() {
        return Ok(None);
    }
    Ok(Some(Progress {
        name: card(dir)?.name,
        finished: true,
        stages: Vec::new(),
        failed: Vec::new(),
    }))
}

/// The card of a dataset.
fn card(dir: &Path) -> Result<Card, Failure> {
    let path = dir.join(CARD);
    let bytes = read_file(&path, MAX_CARD)?;
    let read = serde_json::from_slice(&bytes);
    Ok(read.map_err(|e| {
        InputError::new(format!("`{}` is damaged: {e}", path.display()), "prepare it again")
            .with_code(exit::DAMAGED)
    })?)
}

/// One worker: does units until nothing is left, and says so on stdout.
///
/// # Errors
///
/// [`Failure`], which it has also said.
pub fn worker(request: &Request) -> Result<(), Failure> {
    let done = (|| {
        let work = Work::open(&request.place()?.1, &request.recipe)?;
        let read = |stage: Stage, bytes| say(&Said::Read(stage.name().to_owned(), bytes));
        let left = Arc::new(AtomicBool::new(false));
        let leave = Arc::clone(&left);
        std::thread::spawn(move || {
            // Its end, which alone comes there, is that of who started this worker: then nobody hears it.
            let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
            leave.store(true, Ordering::Relaxed);
        });
        work.work(&read, &|| left.load(Ordering::Relaxed))?;
        Ok::<(), Failure>(())
    })();
    if let Err(Failure { message, code }) = &done {
        say(&Said::Failed(message.clone(), *code));
    }
    done
}

fn say(said: &Said) {
    if let Ok(line) = serde_json::to_string(said) {
        crate::terminal::data(&(line + "\n"));
    }
}
