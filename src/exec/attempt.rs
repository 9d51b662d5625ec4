//! One attempt at one cell: from its newest checkpoint to its last event.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::job::{Every, Job, Watch};
use crate::data::DataError;
use crate::device::memory;
use crate::error::{FileError, InputError, is_of_one_file, panic_text};
use crate::eval::Prepared;
use crate::fs::Os;
use crate::fs::machine::Machine;
use crate::ledger::cell_dir;
use crate::ledger::checkpoint::{self, Checkpoint, Manifest};
use crate::ledger::event::{Event, Resumed};
use crate::ledger::log::{Attempt, AttemptLog, History, STEP_BYTES, read_attempts};
use crate::ledger::tasks::{self, TaskRecord};
use crate::ledger::weights;
use crate::model::{Transformer, Values};
use crate::plan::{Cell, trunk};
use crate::spec::Keep;
use crate::train::{self, Observer, Outcome, Progress, State};

/// Time between two looks for whoever took the cell over.
const LOOK: Duration = Duration::from_secs(1);

/// An evaluation that was begun may end within this time after a run was asked to stop; then it is given up, and
/// with it the steps since the last checkpoint.
const PATIENCE: Duration = Duration::from_secs(4);

/// How an attempt left its cell.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "one a cell")]
pub(super) enum Ended {
    /// With this event.
    Event(Event),
    /// To another runner, who has taken it over.
    Lost,
    /// As if this process had been cut off: the device is gone for it, and why. Nothing more was written.
    Adrift(String),
}

/// Why an attempt could not go on; the same command goes on from what was kept.
#[derive(Debug)]
pub(super) enum Stuck {
    /// A record could not be written.
    Record(FileError),
    /// The data cannot be read, or are damaged.
    Data(DataError),
}

impl From<FileError> for Stuck {
    fn from(error: FileError) -> Self {
        Self::Record(error)
    }
}

/// What is asked on the way.
#[derive(Clone, Copy)]
pub(super) struct Asks<'a> {
    /// Between two checkpoints.
    pub every: Every,
    /// Whether to stop, with a checkpoint.
    pub halt: &'a dyn Fn() -> bool,
    /// What asked for that.
    pub why: &'a dyn Fn() -> String,
    /// Whether another has taken the cell over.
    pub lost: &'a dyn Fn() -> bool,
}

/// Who is told on the way.
#[derive(Clone, Copy)]
pub(super) struct Told<'a> {
    /// Who watches.
    pub watch: &'a dyn Watch,
    /// As whom.
    pub worker: usize,
}

/// Trains a cell into a directory that this runner holds.
///
/// # Errors
///
/// [`Stuck`]: a record could not be written, or the data not be read.
pub(super) fn run(
    job: Job<'_>,
    cell: &Cell,
    dir: &Path,
    before: &[Attempt],
    asks: Asks<'_>,
    told: Told<'_>,
) -> Result<Ended, Stuck> {
    let clock = || jiff::Timestamp::now().to_string();
    let Origin { from, resumed, history } = origin(job, cell, before, told.watch)?;
    let started = started(job, cell, resumed);
    let mut log = AttemptLog::start(&Os, dir, started, &history, &clock)?;
    if let Some(why) = memory::lacking(&cell.recipe, job.device.memory) {
        let event = Event::Failed { why };
        log.event(event.clone(), clock())?;
        return Ok(Ended::Event(event));
    }
    let mut recorder = Recorder {
        cell,
        dir,
        asks,
        told,
        log,
        clock: &clock,
        weights: job.keep == Keep::Weights,
        tasks: job.tasks,
        home: cell_dir(job.results, &cell.id),
        forks: trunk::forks(cell, job.planned),
        saved: from.as_ref().map_or(0, |state| state.step),
        asked: None,
        kept: Instant::now(),
        looked: Instant::now(),
        lost: false,
    };
    // Its own copy first: what an attempt needs lies in its own directory.
    if let Some(state) = &from {
        recorder.write(state)?;
    }
    let recipe = &cell.recipe;
    let place = job.device.place(told.worker, job.workers);
    let trained = catch_unwind(AssertUnwindSafe(|| {
        train::train(recipe, job.data, job.eval_times, &place, from, &mut recorder)
    }));
    let event = match trained {
        Ok(Ok(Outcome::Completed { loss, loss_se, seconds })) => {
            let tokens_per_second = recipe.tokens() as f64 / seconds;
            let steps_crc = Some(recorder.log.sync_steps()?.1);
            Event::Completed { loss, loss_se, seconds, tokens_per_second, steps_crc }
        }
        Ok(Ok(Outcome::Diverged { step, why })) => Event::Diverged { step, why },
        Ok(Err(Cut::Record(error))) => return Err(error.into()),
        Ok(Err(Cut::Data(error))) => return Err(Stuck::Data(error)),
        Ok(Err(Cut::Lost)) => {
            told.watch.note(&format!("cell {} was taken over by another runner", cell.id));
            return Ok(Ended::Lost);
        }
        Ok(Err(Cut::Stopped(step))) => Event::Paused { step, why: (asks.why)() },
        Err(panic) => match message(&*panic) {
            why if is_lost(&why) => return Ok(Ended::Adrift(why)),
            why => Event::Failed { why },
        },
    };
    recorder.log.event(event.clone(), clock())?;
    if matches!(event, Event::Completed { .. })
        && !before.is_empty()
        && let Err(e) = weights::remove_cut(&cell_dir(job.results, &cell.id))
    {
        told.watch.note(&format!("{e}; what an attempt before this one has left stays there"));
    }
    Ok(Ended::Event(event))
}

/// The first line of its log.
fn started(job: Job<'_>, cell: &Cell, resumed: Option<Resumed>) -> Event {
    let facts = &job.data.facts;
    Event::Started {
        cell: Box::new(cell.clone()),
        isoflop: env!("CARGO_PKG_VERSION").to_owned(),
        device: job.device.name.clone(),
        numerics: job.device.numerics.clone(),
        entropy: facts.entropy,
        bytes_per_token: facts.bytes_per_token,
        train_tokens: facts.train_tokens,
        unique_tokens: facts.mixture.as_ref().and(facts.unique_tokens(&cell.recipe)),
        machine: Machine::this().name.clone(),
        resumed,
        forecast: job.forecast.map(str::to_owned),
    }
}

/// Where an attempt begins.
#[derive(Default)]
struct Origin {
    /// `None` for fresh weights.
    from: Option<State>,
    resumed: Option<Resumed>,
    /// The way to there.
    history: History,
}

impl Origin {
    fn at(cell: Option<&Cell>, attempt: &Attempt, checkpoint: Checkpoint) -> Self {
        let Manifest { step, evaluated, bad_steps, seconds, .. } = checkpoint.manifest;
        Self {
            from: Some(State { step, tensors: checkpoint.state, evaluated, bad_steps, seconds }),
            resumed: Some(Resumed {
                cell: cell.map(|c| c.id.clone()),
                attempt: attempt.number,
                step,
            }),
            history: attempt.history(step),
        }
    }

    fn step(&self) -> u64 {
        self.from.as_ref().map_or(0, |state| state.step)
    }
}

/// The farthest state that this cell's own steps lead through: one of its own, or one that a cell of the
/// same stem passed before either cools down. A relative whose record cannot be read is named and passed over.
fn origin(
    job: Job<'_>,
    cell: &Cell,
    before: &[Attempt],
    watch: &dyn Watch,
) -> Result<Origin, FileError> {
    let tell = |notes: Vec<String>| notes.iter().for_each(|note| watch.note(note));
    let (found, notes) = checkpoint::resume_point(&Os, before, &cell.id, u64::MAX)?;
    tell(notes);
    let mut best =
        found.map_or_else(Origin::default, |(attempt, found)| Origin::at(None, attempt, found));
    let Some(stem) = cell.recipe.stem() else { return Ok(best) };
    for relative in job.planned {
        if relative.id == cell.id || relative.recipe.stem().as_ref() != Some(&stem) {
            continue;
        }
        let most = cell.recipe.stable_steps().min(relative.recipe.stable_steps());
        if most <= best.step() {
            continue;
        }
        let attempts = match read_attempts(&Os, &cell_dir(job.results, &relative.id)) {
            Err(e) if is_of_one_file(&e.source) => {
                tell(vec![format!("{e}; cell {} begins without it", cell.short())]);
                continue;
            }
            attempts => attempts?,
        };
        let (found, notes) = checkpoint::resume_point(&Os, &attempts, &relative.id, most)?;
        tell(notes);
        if let Some((attempt, found)) = found
            && found.manifest.step > best.step()
        {
            best = Origin::at(Some(relative), attempt, found);
        }
    }
    Ok(best)
}

/// Why training ended early.
enum Cut {
    Record(FileError),
    Data(DataError),
    Stopped(u64),
    Lost,
}

impl From<InputError> for Cut {
    fn from(error: InputError) -> Self {
        Self::Data(error.into())
    }
}

impl From<DataError> for Cut {
    fn from(error: DataError) -> Self {
        Self::Data(error)
    }
}

/// Writes what happens into an attempt's directory.
struct Recorder<'a> {
    cell: &'a Cell,
    dir: &'a Path,
    asks: Asks<'a>,
    told: Told<'a>,
    log: AttemptLog,
    clock: &'a dyn Fn() -> String,
    /// Whether the weights are kept.
    weights: bool,
    /// On what they are scored.
    tasks: &'a [Prepared<'a>],
    /// Where the scores belong.
    home: PathBuf,
    /// Steps at which other cells branch off, fewest first.
    forks: Vec<u64>,
    /// Step of the last checkpoint.
    saved: u64,
    /// When an evaluation was first told that the run is to stop.
    asked: Option<Instant>,
    kept: Instant,
    looked: Instant,
    lost: bool,
}

impl Recorder<'_> {
    fn write(&mut self, state: &State) -> Result<(), FileError> {
        let (steps_bytes, steps_crc) = self.log.sync_steps()?;
        debug_assert_eq!(steps_bytes, state.step * STEP_BYTES);
        let manifest = Manifest {
            v: 0,
            cell: self.cell.id.clone(),
            step: state.step,
            evaluated: state.evaluated,
            bad_steps: state.bad_steps,
            seconds: state.seconds,
            bytes: 0,
            sha256: String::new(),
            steps_bytes,
            steps_crc,
        };
        if self.forks.contains(&state.step) {
            checkpoint::save_fork(&Os, self.dir, manifest, &state.tensors)?;
        } else {
            checkpoint::save(&Os, self.dir, manifest, &state.tensors)?;
        }
        self.log.event(Event::Checkpoint { step: state.step, steps_crc }, (self.clock)())?;
        self.kept = Instant::now();
        self.saved = state.step;
        Ok(())
    }

    /// Scores a trained model on every task.
    fn score(&mut self, model: &mut Transformer, values: &[Values]) -> Result<(), Cut> {
        let sha256 = weights::sha256(values).map_err(Cut::Record)?;
        let of = tasks::Model {
            cell: Some(&self.cell.id),
            weights_sha256: &sha256,
            window: self.cell.recipe.shape.context,
        };
        for prepared in self.tasks {
            let scores = prepared.score::<Cut>(model, &mut |_| self.evaluating())?;
            let record = TaskRecord::new(prepared.task, of, scores, prepared.long());
            tasks::write(&Os, &self.home, &record).map_err(Cut::Record)?;
        }
        Ok(())
    }
}

impl Observer for Recorder<'_> {
    type Error = Cut;

    fn progress(&mut self, progress: Progress) -> Result<(), Cut> {
        if self.looked.elapsed() > LOOK {
            self.looked = Instant::now();
            self.lost = (self.asks.lost)();
        }
        // Before the next record: the cell's history goes on in another directory.
        if self.lost {
            return Err(Cut::Lost);
        }
        match progress {
            Progress::Step { loss, grad_norm, .. } => self.log.step(loss, grad_norm),
            Progress::Eval { step, loss } => {
                let recipe = &self.cell.recipe;
                let tokens = step * recipe.batch_tokens();
                let flops = recipe.shape.flops_per_token().total() * tokens as f64;
                self.log.event(Event::Eval { step, tokens, flops, loss }, (self.clock)())
            }
        }
        .map_err(Cut::Record)?;
        self.told.watch.progress(self.told.worker, self.cell, progress);
        Ok(())
    }

    fn evaluating(&mut self) -> Result<(), Cut> {
        if (self.asks.halt)() && self.asked.get_or_insert_with(Instant::now).elapsed() > PATIENCE {
            return Err(Cut::Stopped(self.saved));
        }
        Ok(())
    }

    fn due(&mut self, steps: u64) -> bool {
        let time = match self.asks.every {
            Every::Time(time) => self.kept.elapsed() >= time,
            Every::Steps(n) => steps.is_multiple_of(n),
        };
        time || self.forks.contains(&steps) || (self.asks.halt)()
    }

    fn keep(&mut self, state: State) -> Result<(), Cut> {
        self.write(&state).map_err(Cut::Record)?;
        if (self.asks.halt)() { Err(Cut::Stopped(state.step)) } else { Ok(()) }
    }

    fn trained(&mut self, model: &mut Transformer) -> Result<(), Cut> {
        if !self.weights && self.tasks.is_empty() {
            return Ok(());
        }
        let values = model.values();
        if self.weights {
            let of = (self.cell.id.as_str(), self.cell.recipe.steps);
            weights::save(&Os, self.dir, of, &values).map_err(Cut::Record)?;
        }
        if self.tasks.is_empty() { Ok(()) } else { self.score(model, &values) }
    }
}

/// Whether a message says that the device will do nothing more for this process: no fault of the cell's, or
/// of no other.
fn is_lost(message: &str) -> bool {
    const WORDS: [&str; 6] = [
        "poisoned",
        "CUDA_ERROR_ILLEGAL_ADDRESS",
        "CUDA_ERROR_LAUNCH_FAILED",
        "CUDA_ERROR_ECC_UNCORRECTABLE",
        "CUDA_ERROR_DEVICE_UNAVAILABLE",
        "CUDA_ERROR_DEINITIALIZED",
    ];
    WORDS.iter().any(|word| message.contains(word))
}

/// The text of a panic, and whether memory was what lacked.
fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic_text(panic);
    let what = if memory::ran_out(&text) { memory::OUT_OF_MEMORY } else { "panic" };
    format!("{what}: {text}")
}
