//! Cells on this machine, several side by side.
//!
//! A worker is a thread with a compute pool of its own, so that small models share neither locks nor
//! cores. It takes the next cell, the most expensive first, and writes that cell's run log.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::device::Chosen;
use crate::data::Dataset;
use crate::error::FileError;
use crate::ledger::cell_dir;
use crate::ledger::event::Event;
use crate::ledger::log::AttemptLog;
use crate::plan::{Cell, cost};
use crate::train::{self, Outcome, Progress};

/// What a watcher is told; calls come from several threads.
pub trait Watch: Sync {
    /// A worker takes a cell.
    fn started(&self, worker: usize, cell: &Cell);
    /// A cell moves on.
    fn progress(&self, worker: usize, cell: &Cell, progress: Progress);
    /// A cell ended.
    fn ended(&self, worker: usize, cell: &Cell, event: &Event);
}

/// What all workers share.
#[derive(Debug, Clone, Copy)]
pub struct Job<'a> {
    /// `results/<sweep>`.
    pub results: &'a Path,
    /// What is trained and evaluated on.
    pub data: &'a Dataset,
    /// Evaluations on the way.
    pub eval_times: u64,
    /// Where.
    pub device: &'a Chosen,
    /// Cells side by side, at least 1.
    pub workers: usize,
}

/// Trains all `cells`. A cell that fails is recorded and the others go on; a record that cannot be
/// written stops the run.
///
/// # Errors
///
/// [`FileError`]: the first record that could not be written.
pub fn run(job: Job<'_>, cells: &[&Cell], watch: &dyn Watch) -> Result<(), FileError> {
    let next = AtomicUsize::new(0);
    let stop = AtomicBool::new(false);
    let first_error = Mutex::new(None);
    in_parallel(job.workers, |worker| {
        while !stop.load(Ordering::Relaxed) {
            let Some(cell) = cells.get(next.fetch_add(1, Ordering::Relaxed)) else { break };
            watch.started(worker, cell);
            match attempt(job, cell, &stop, &|p| watch.progress(worker, cell, p)) {
                Ok(event) => watch.ended(worker, cell, &event),
                Err(error) => {
                    stop.store(true, Ordering::Relaxed);
                    first_error
                        .lock()
                        .unwrap_or_else(std::sync::PoisonError::into_inner)
                        .get_or_insert(error);
                }
            }
        }
    });
    match first_error.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

/// A way to divide the cores that was tried.
#[derive(Debug, Clone, PartialEq)]
pub struct Trial {
    /// Cells side by side.
    pub workers: usize,
    /// Time of a step.
    pub probe: cost::Probe,
    /// Predicted wall-clock of all cells, evaluation not counted [s].
    pub seconds: f64,
}

/// Tries one cell on all cores, then twice as many side by side each time up to `most`; the quickest comes
/// first. Each times steps of `probes` cells. Empty without cells.
pub fn trials(job: Job<'_>, cells: &[&Cell], most: usize, probes: usize) -> Vec<Trial> {
    let most = most.clamp(1, cells.len().max(1));
    let doubled = std::iter::successors(Some(1), |k| Some(2 * k)).take_while(|k| *k < most);
    let tried = doubled.chain([most]);
    let mut tried: Vec<Trial> =
        tried.filter_map(|workers| trial(Job { workers, ..job }, cells, probes)).collect();
    tried.sort_by(|l, r| l.seconds.total_cmp(&r.seconds));
    tried
}

/// What the job's own number of workers would take. `None` without cells.
pub fn trial(job: Job<'_>, cells: &[&Cell], probes: usize) -> Option<Trial> {
    let probe = probe(job, cells, probes)?;
    let seconds = cost::makespan(cells.iter().map(|c| probe.cell_seconds(c)), job.workers);
    Some(Trial { workers: job.workers, probe, seconds })
}

/// Times single steps of a few cells, all workers busy as they will be. At most `probes` cells, spread
/// over the range of costs.
fn probe(job: Job<'_>, cells: &[&Cell], probes: usize) -> Option<cost::Probe> {
    let step_flops = |c: &Cell| c.recipe.flops() / c.recipe.steps as f64;
    let mut by_cost: Vec<&Cell> = cells.to_vec();
    by_cost.sort_by(|l, r| step_flops(l).total_cmp(&step_flops(r)));
    by_cost.dedup_by_key(|c| (c.recipe.shape, c.recipe.batch_sequences));
    let last = by_cost.len().checked_sub(1)?;
    let n = probes.min(by_cost.len()).max(1);
    let chosen: Vec<&Cell> =
        (0..n).map(|i| by_cost[if n == 1 { last } else { i * last / (n - 1) }]).collect();
    let points = Mutex::new(Vec::new());
    in_parallel(job.workers, |_| {
        // Every worker times every cell, so that each is measured with the others at work.
        for cell in &chosen {
            let seconds = train::time_step(&cell.recipe, job.data, &job.device.place, 3);
            let mut points = points.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            points.push((step_flops(cell), seconds));
        }
    });
    let points = points.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    // The mean over workers of each probed cell.
    let mean = |flops: f64| {
        let times: Vec<f64> = points.iter().filter(|p| p.0 == flops).map(|p| p.1).collect();
        (flops, times.iter().sum::<f64>() / times.len() as f64)
    };
    cost::Probe::new(chosen.iter().map(|c| mean(step_flops(c))).collect())
}

/// Runs `work` in `workers` threads, each with its share of the cores as a compute pool.
pub fn in_parallel(workers: usize, work: impl Fn(usize) + Sync) {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = (cores / workers.max(1)).max(1);
    std::thread::scope(|scope| {
        for worker in 0..workers.max(1) {
            let work = &work;
            scope.spawn(move || {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
                match pool {
                    Ok(pool) => pool.install(|| work(worker)),
                    // Without a pool of its own the worker uses the shared one: slower, not wrong.
                    Err(_) => work(worker),
                }
            });
        }
    });
}

/// Why an attempt ended early.
enum Cut {
    Record(FileError),
    Stopped,
}

/// One attempt at one cell; the event that ended it.
fn attempt(
    job: Job<'_>,
    cell: &Cell,
    stop: &AtomicBool,
    progress: &dyn Fn(Progress),
) -> Result<Event, FileError> {
    let clock = || jiff::Timestamp::now().to_string();
    let facts = &job.data.facts;
    let started = Event::Started {
        cell: Box::new(cell.clone()),
        isoflop: env!("CARGO_PKG_VERSION").to_owned(),
        device: job.device.name.clone(),
        entropy: facts.entropy,
        bytes_per_token: facts.bytes_per_token,
        train_tokens: facts.train_tokens,
    };
    let mut log = AttemptLog::start(&cell_dir(job.results, &cell.id), started, clock())?;
    let recipe = &cell.recipe;
    let mut observe = |p: Progress| -> Result<(), Cut> {
        if stop.load(Ordering::Relaxed) {
            return Err(Cut::Stopped);
        }
        match p {
            Progress::Step { loss, grad_norm, .. } => log.step(loss, grad_norm),
            Progress::Eval { step, loss } => {
                let tokens = step * recipe.batch_tokens();
                let flops = recipe.shape.flops_per_token().total() * tokens as f64;
                log.event(Event::Eval { step, tokens, flops, loss }, clock())
            }
        }
        .map_err(Cut::Record)?;
        progress(p);
        Ok(())
    };
    let place = &job.device.place;
    let trained = catch_unwind(AssertUnwindSafe(|| {
        train::train(recipe, job.data, job.eval_times, place, &mut observe)
    }));
    let event = match trained {
        Ok(Ok(Outcome::Completed { loss, loss_se, seconds })) => {
            let tokens_per_second = recipe.tokens() as f64 / seconds;
            Event::Completed { loss, loss_se, seconds, tokens_per_second }
        }
        Ok(Ok(Outcome::Diverged { step, why })) => Event::Diverged { step, why },
        Ok(Err(Cut::Record(error))) => return Err(error),
        Ok(Err(Cut::Stopped)) => {
            return Ok(Event::Failed { why: "another cell's record failed".into() });
        }
        Err(panic) => Event::Failed { why: message(&*panic) },
    };
    log.event(event.clone(), clock())?;
    Ok(event)
}

/// The text of a panic.
fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    format!("panic: {}", text.unwrap_or_else(|| "without a message".to_owned()))
}
