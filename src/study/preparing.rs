//! A dataset from its recipe: workers that share its units, watched to the end.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Failure;
use crate::corpus::Manifest;
use crate::error::{InputError, exit};
use crate::exec::stop::Stop;
use crate::fs::read_file;
use crate::prepare::stages::{Card, Queue, Stage, Work};

/// Workers that may end without a reason, such as a signal, before the command gives up.
const MOST_DEATHS: usize = 20;
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
    /// Directory of the dataset.
    ///
    /// # Errors
    ///
    /// [`Failure`]: a recipe that cannot be read, or input that is not there.
    pub fn dir(&self) -> Result<PathBuf, Failure> {
        if let Some(out) = &self.out {
            return Ok(out.clone());
        }
        let work = Work::plan(Path::new(""), &self.recipe)?;
        Ok(Path::new("datasets").join(work.recipe.name.get_ref()))
    }

    /// What would be done.
    ///
    /// # Errors
    ///
    /// [`Failure`]: a recipe that cannot be read, or input that is not there.
    pub fn plan(&self) -> Result<Work, Failure> {
        Ok(Work::plan(&self.dir()?, &self.recipe)?)
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

/// Makes what is missing of a dataset. The same command again goes on where it was cut.
///
/// # Errors
///
/// [`Failure`]: a recipe or input that cannot be used; a dataset of another recipe in its place; exit code 75 where it
/// was asked to stop.
pub fn prepare(request: &Request, watch: &dyn Watch) -> Result<(Manifest, Card), Failure> {
    let stop = Stop::on_signals()
        .map_err(|e| InputError::new(format!("signals cannot be handled: {e}"), "try again"))?;
    let dir = request.dir()?;
    if let Some(manifest) = Work::finished(&dir)? {
        let work = Work::plan(&dir, &request.recipe)?;
        let recipe = toml::from_str::<serde_json::Value>(&work.text).ok();
        if manifest.recipe == recipe {
            watch.note("Prepared before: nothing is left to do.");
            return Ok((manifest, card(&dir)?));
        }
        return Err(InputError::new(
            format!("`{}` holds a dataset of another recipe", dir.display()),
            "give this one another name, or another --out",
        )
        .into());
    }
    let work = Work::open(&dir, &request.recipe)?;
    work.retry()?;
    drive(request, &work, &stop, watch)?;
    let manifest = Work::finished(&dir)?;
    let manifest = manifest.ok_or_else(|| {
        InputError::new("the workers ended and no manifest is there", "repeat the command")
            .with_code(exit::BUG)
    })?;
    Ok((manifest, card(&dir)?))
}

/// The card of a dataset.
///
/// # Errors
///
/// [`Failure`]: it is not there or not readable.
pub fn card(dir: &Path) -> Result<Card, Failure> {
    let path = dir.join(crate::prepare::stages::CARD);
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
        let work = Work::open(&request.dir()?, &request.recipe)?;
        let read = |stage: Stage, bytes| say(&Said::Read(stage.name().to_owned(), bytes));
        // Who started it is gone, and so nobody hears it.
        work.work(&read, &|| crate::terminal::failed().is_some())?;
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

/// Starts workers, restarts those that die, and watches them.
fn drive(request: &Request, work: &Work, stop: &Stop, watch: &dyn Watch) -> Result<(), Failure> {
    let all = 2 * work.units.iter().map(|unit| unit.bytes).sum::<u64>();
    // What was done before.
    let mut queue = Queue::default();
    let mut done: u64 = [Stage::Judge, Stage::Write]
        .iter()
        .flat_map(|stage| (0..work.units.len()).map(move |unit| (*stage, unit)))
        .filter(|(stage, unit)| queue.is_done(work, *stage, *unit))
        .map(|(_, unit)| work.units[unit].bytes)
        .sum();
    let (sender, heard) = mpsc::channel();
    let mut children: Vec<Child> = Vec::new();
    let (mut deaths, mut failed): (usize, Vec<(String, u8)>) = (0, Vec::new());
    for _ in 0..request.workers.max(1) {
        children.push(start(request, sender.clone())?);
    }
    let mut stage = Stage::Judge.name().to_owned();
    while !children.is_empty() {
        if stop.asked() {
            end(&mut children);
            let message = format!("stopped by {}; what was done stays", stop.why());
            let hint = "the same command goes on";
            return Err(InputError::new(message, hint).with_code(exit::AGAIN).into());
        }
        match heard.recv_timeout(Duration::from_millis(200)) {
            Ok(Said::Read(of, bytes)) => {
                done += bytes;
                stage = of;
            }
            Ok(Said::Failed(message, code)) => {
                if !failed.iter().any(|(before, _)| *before == message) {
                    failed.push((message, code));
                }
            }
            Err(_) => {}
        }
        watch.read(&stage, done.min(all), all);
        let mut i = 0;
        while i < children.len() {
            match children[i].try_wait() {
                Ok(Some(status)) => {
                    // It has ended: this asks nothing of the system.
                    let _ = children.remove(i).wait();
                    // One that says why it ends has a code.
                    if status.code().is_none_or(|code| code == 101) {
                        deaths += 1;
                        watch.note(&format!("A worker ended ({status}); another goes on."));
                        if deaths <= MOST_DEATHS {
                            children.push(start(request, sender.clone())?);
                        }
                    }
                }
                _ => i += 1,
            }
        }
    }
    // What was said last.
    while let Ok(said) = heard.recv_timeout(Duration::from_millis(50)) {
        if let Said::Failed(message, code) = said
            && !failed.iter().any(|(before, _)| *before == message)
        {
            failed.push((message, code));
        }
    }
    let worst = failed.iter().map(|(_, code)| *code).min();
    match worst {
        None => Ok(()),
        Some(code) => {
            let all: Vec<String> = failed.into_iter().map(|(message, _)| message).collect();
            Err(Failure { message: all.join("\n"), code })
        }
    }
}

fn start(request: &Request, said: mpsc::Sender<Said>) -> Result<Child, Failure> {
    let failed = |e: std::io::Error| {
        InputError::new(format!("a worker cannot be started: {e}"), "try again, or --workers 1")
    };
    let program = std::env::current_exe().map_err(failed)?;
    let mut command = Command::new(program);
    command.arg("data").arg(&request.recipe).arg("--worker");
    if let Some(out) = &request.out {
        command.arg("--out").arg(out);
    }
    // Units are what runs side by side.
    command.env("RAYON_NUM_THREADS", "1").stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().map_err(failed)?;
    let out = child.stdout.take().expect("it is piped");
    std::thread::spawn(move || {
        for line in BufReader::new(out).lines().map_while(Result::ok) {
            if let Ok(one) = serde_json::from_str(&line)
                && said.send(one).is_err()
            {
                return;
            }
        }
    });
    Ok(child)
}

fn end(children: &mut [Child]) {
    for child in children.iter_mut() {
        // It may have ended by itself.
        let _ = child.kill();
        let _ = child.wait();
    }
}
