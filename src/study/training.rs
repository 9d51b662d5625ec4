//! Training the cells of a sweep: workers chosen, time predicted and held against what came.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::price::{self, Quote, Taken};
use super::{Failure, Observer, Sweep};
use crate::device::Chosen;
use crate::error::exit;
use crate::eval::Prepared;
use crate::exec::job::{Every, Job, Watch};
use crate::exec::local::{self, Broken, Conduct};
use crate::exec::probe::{self, Ask};
use crate::exec::stop::Stop;
use crate::ledger::event::Event;
use crate::ledger::{Ledger, State, StateName};
use crate::plan::Cell;
use crate::plan::cost::Left;
use crate::train::Progress;
use crate::units::{duration, several};

/// Where cells are trained, and how they are kept.
#[derive(Debug, Clone, Copy)]
pub struct Setup<'a> {
    /// The device.
    pub device: &'a Chosen,
    /// Cells side by side, instead of the sweep's.
    pub workers: Option<usize>,
    /// Between two checkpoints of a cell.
    pub every: Every,
    /// States of which cells are tried once more.
    pub retry: &'a [StateName],
    /// Asked to end.
    pub stop: &'a Stop,
}

impl Setup<'_> {
    /// Whether a cell in this state is tried once more.
    pub fn again(&self, state: &State) -> bool {
        self.retry.contains(&state.name())
    }
}

/// Of which cells, and how.
#[derive(Debug, Clone, Copy)]
pub struct Training<'a> {
    /// What is trained.
    pub sweep: &'a Sweep,
    /// `results/<sweep>`.
    pub results: &'a Path,
    /// Where and how.
    pub setup: Setup<'a>,
    /// Cells whose trunks are shared.
    pub planned: &'a [Cell],
    /// On what every cell is scored after its last step.
    pub tasks: &'a [Prepared<'a>],
    /// SHA-256 of the forecast that the runs are held against.
    pub forecast: Option<&'a str>,
    /// The sweep before this run, where what it takes is to be predicted and kept.
    pub before: Option<&'a Ledger>,
}

/// Cells that take less are not worth a prediction [s].
const WORTH: f64 = 2.0;

impl Training<'_> {
    /// Trains `todo`; `false` when a signal ended it.
    ///
    /// # Errors
    ///
    /// [`Failure`] where a record cannot be written, data not be read, or the device is lost; what was acknowledged is kept.
    pub fn train(&self, todo: &[&Cell], observer: &dyn Observer) -> Result<bool, Failure> {
        let Setup { device, workers, every, stop, .. } = self.setup;
        if todo.is_empty() {
            return Ok(true);
        }
        let job = Job {
            results: self.results,
            data: &self.sweep.data,
            planned: self.planned,
            eval_times: *self.sweep.spec.eval.times.get_ref(),
            device,
            workers: 1,
            keep: self.sweep.spec.keep,
            tasks: self.tasks,
            forecast: self.forecast,
        };
        let left = price::left(todo, self.before);
        // Another runner takes some of these: what it leaves to this one cannot be said.
        let alone = self.before.is_some_and(|ledger| ledger.count(StateName::Running) == 0);
        let asked = asked(self.sweep, workers);
        let ask = Ask { workers: asked, worth: WORTH, least: 0.0, most: probe::LONGEST };
        let wanted = alone || asked.is_none();
        let found = wanted.then(|| probe::price(job, &left, ask, &|| stop.asked())).flatten();
        let most = asked.unwrap_or(device.most_workers);
        let workers = found.as_ref().map_or(most, |f| f.price.workers).clamp(1, todo.len());
        let priced = found.filter(|_| alone);
        let name = &device.name;
        observer.note(&match &priced {
            Some(found) => format!(
                "Training on {name}: about {} for {}, {}.",
                duration(found.price.seconds),
                several(todo.len(), "cell"),
                side_by_side(workers)
            ),
            None => format!("Training on {name}, {}.", side_by_side(workers)),
        });
        let quote = priced.as_ref().map(|f| Quote::open(self.results, device, &left, f, observer));
        let watch = observer.training(workers, &left, priced.as_ref().map(|f| &f.price));
        let clocked = Clocked::new(&*watch, workers, &left);
        let job = Job { workers, ..job };
        let trained = local::run(
            job,
            Conduct { every, stop, again: &|state| self.setup.again(state) },
            todo,
            &clocked,
        );
        let taken = clocked.taken();
        drop(watch);
        if let Some(said) = quote.and_then(|q| q.close(&taken, observer)) {
            observer.note(&said);
        }
        // What was acknowledged is there, and the same command goes on.
        trained.map_err(|broken| match broken {
            // Who may not write there will not by waiting.
            Broken::Record(e) if e.source.kind() == std::io::ErrorKind::PermissionDenied => e.into(),
            Broken::Record(e) => Failure { code: exit::AGAIN, ..e.into() },
            Broken::Data(e) => e.into(),
            lost @ Broken::Device(..) => Failure {
                message: format!(
                    "{lost}\nhint: no cell was recorded as failed; the same command goes on from what was kept"
                ),
                code: exit::AGAIN,
            },
        })?;
        if stop.asked() {
            let why = stop.why();
            observer.note(&format!("Stopped by {why}. All is kept; the same command goes on."));
        }
        Ok(!stop.asked())
    }
}

/// Cells side by side as a person asks, else the sweep; `None` leaves it to a trial.
pub fn asked(sweep: &Sweep, given: Option<usize>) -> Option<usize> {
    let asked = given.unwrap_or(*sweep.spec.device.workers.get_ref() as usize);
    (asked > 0).then_some(asked)
}

/// `3 cells side by side`.
pub fn side_by_side(workers: usize) -> String {
    match workers {
        1 => "one cell at a time".to_owned(),
        n => format!("{n} cells side by side"),
    }
}

/// Listens to signals, once a process.
///
/// # Errors
///
/// [`Failure`] where the system does not let it.
pub fn stop_on_signals() -> Result<Stop, Failure> {
    Stop::on_signals()
        .map_err(|e| Failure { message: format!("cannot listen to signals: {e}"), code: exit::BUG })
}

/// A watcher, and what the cells take meanwhile.
struct Clocked<'a> {
    watch: &'a dyn Watch,
    started: Instant,
    /// The first step that is left of each cell.
    left: BTreeMap<&'a str, u64>,
    state: Mutex<(Vec<Option<Running>>, Taken)>,
}

/// The cell that a worker trains.
#[derive(Clone, Copy)]
struct Running {
    since: Instant,
    /// Its first step in this run.
    first: Option<u64>,
}

impl<'a> Clocked<'a> {
    fn new(watch: &'a dyn Watch, workers: usize, left: &[Left<'a>]) -> Self {
        Self {
            watch,
            started: Instant::now(),
            left: left.iter().map(|l| (l.cell.id.as_str(), l.first)).collect(),
            state: Mutex::new((vec![None; workers], Taken::default())),
        }
    }

    fn taken(&self) -> Taken {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let seconds = self.started.elapsed().as_secs_f64();
        let whole = state.1.completed == self.left.len();
        Taken { seconds, whole, ..state.1.clone() }
    }
}

impl Watch for Clocked<'_> {
    fn started(&self, worker: usize, cell: &Cell) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.0[worker] = Some(Running { since: Instant::now(), first: None });
        drop(state);
        self.watch.started(worker, cell);
    }

    fn progress(&self, worker: usize, cell: &Cell, progress: Progress) {
        if let Progress::Step { step, .. } = progress {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(running) = &mut state.0[worker] {
                running.first.get_or_insert(step);
            }
        }
        self.watch.progress(worker, cell, progress);
    }

    fn ended(&self, worker: usize, cell: &Cell, event: &Event) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let running = state.0[worker].take();
        if matches!(event, Event::Completed { .. }) {
            state.1.completed += 1;
            // Trained from where it was expected: its time can be held against the prediction.
            if let Some(Running { since, first: Some(first) }) = running
                && self.left.get(cell.id.as_str()) == Some(&first)
            {
                state.1.cells.insert(cell.id.clone(), since.elapsed().as_secs_f64());
            }
        }
        drop(state);
        self.watch.ended(worker, cell, event);
    }

    fn note(&self, text: &str) {
        self.watch.note(text);
    }
}
