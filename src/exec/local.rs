//! Cells on this machine, several side by side, beside whatever other runners do.
//!
//! A worker is a thread with a compute pool of its own, so that small models share neither locks nor
//! cores. It takes the next cell that nobody has, the most expensive first, and trains it from its newest
//! checkpoint. Any number of runners may serve one results directory.

use std::collections::HashSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

use super::attempt::{self, Ended};
use super::job::{Every, Job, Watch};
use super::stop::Stop;
use crate::device::in_parallel;
use crate::error::FileError;
use crate::fs::Os;
use crate::ledger::event::Event;
use crate::ledger::lease::{self, Lease, Watched};
use crate::ledger::log::{self, Attempt};
use crate::ledger::{self, State, cell_dir, checkpoint, forks};
use crate::plan::{Cell, queue};

/// Time between two looks at the cells that other runners have.
const LOOK: Duration = Duration::from_secs(queue::LOOK);

/// How a run keeps what it does, and when it ends.
#[derive(Clone, Copy)]
pub struct Conduct<'a> {
    /// Between two checkpoints of a cell.
    pub every: Every,
    /// Asked to end.
    pub stop: &'a Stop,
    /// Whether to train a cell in such a state once more; those that are missing are trained anyway.
    pub again: &'a (dyn Fn(&State) -> bool + Sync),
}

/// Why a run ended before its cells did; the same command goes on from what was kept.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// A record could not be written.
    #[error(transparent)]
    Record(#[from] FileError),
    /// The device does nothing more for this process.
    #[error("{0} was lost: {1}")]
    Device(String, String),
}

/// Trains all `cells` that are to be trained. A cell that fails is recorded and the others go on; a record
/// that cannot be written, or a device that is lost, stops the run. Returns when every cell has ended, by this
/// runner or another, or when it was asked to stop.
///
/// # Errors
///
/// [`Broken`]: the first record that could not be written, or how the device was lost.
pub fn run(
    job: Job<'_>,
    conduct: Conduct<'_>,
    cells: &[&Cell],
    watch: &dyn Watch,
) -> Result<(), Broken> {
    let Conduct { every, stop, again } = conduct;
    let queue = Mutex::new(Queue::new(cells));
    let broken = AtomicBool::new(false);
    let first_error = Mutex::new(None);
    let leases: Mutex<Vec<(usize, Lease)>> = Mutex::new(Vec::new());
    let (done, ended) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let ended = ended;
            while ended.recv_timeout(lease::beat()) == Err(mpsc::RecvTimeoutError::Timeout) {
                held(&leases).iter_mut().for_each(|(_, lease)| lease.beat());
            }
        });
        let halt = || broken.load(Ordering::Relaxed) || stop.asked();
        in_parallel(job.workers, |worker| {
            while !halt() {
                let turn = held(&queue).next(job.results, again, watch).map_err(Broken::from);
                let ended = turn.and_then(|turn| match turn {
                    Turn::Take(cell, lease, before) => {
                        watch.started(worker, cell);
                        let dir = lease.dir.clone();
                        held(&leases).push((worker, lease));
                        let lost = || {
                            held(&leases).iter().any(|(w, lease)| *w == worker && lease.is_lost())
                        };
                        let why = || stop.why();
                        let asks = attempt::Asks { every, halt: &halt, why: &why, lost: &lost };
                        let told = attempt::Told { watch, worker };
                        let ended = attempt::run(job, cell, &dir, &before, asks, told);
                        held(&leases).retain(|(w, _)| *w != worker);
                        let ended = ended?;
                        held(&queue).ended(cell, &ended);
                        match ended {
                            Ended::Event(event) => {
                                watch.ended(worker, cell, &event);
                                if matches!(event, Event::Completed { .. })
                                    && let Err(e) = forks::release(job.results, cell, job.planned)
                                {
                                    watch.note(&format!("{e}; the next run tries again"));
                                }
                            }
                            Ended::Lost => {}
                            Ended::Adrift(why) => {
                                return Err(Broken::Device(job.device.name.clone(), why));
                            }
                        }
                        Ok(true)
                    }
                    Turn::Wait => {
                        std::thread::sleep(LOOK);
                        Ok(true)
                    }
                    Turn::Done => Ok(false),
                });
                match ended {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(error) => {
                        broken.store(true, Ordering::Relaxed);
                        held(&first_error).get_or_insert(error);
                    }
                }
            }
        });
        drop(done);
    });
    match first_error.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a worker does next.
enum Turn<'a> {
    /// Trains a cell; all attempts before this one.
    Take(&'a Cell, Lease, Vec<Attempt>),
    /// All that is left is with other workers or runners.
    Wait,
    /// Nothing is left.
    Done,
}

/// The cells that have not ended, as far as this runner knows.
struct Queue<'a> {
    open: Vec<Open<'a>>,
    /// Theirs.
    ids: HashSet<&'a str>,
    waited: bool,
}

struct Open<'a> {
    cell: &'a Cell,
    /// A worker of this runner has it.
    mine: bool,
    /// Attempts when it was first looked at: one more than that is a second try.
    first: Option<usize>,
    /// Attempt and heartbeat of another runner.
    watched: Option<Watched<(u32, Option<u64>)>>,
    /// It was said that a holder on this machine is silent.
    told: bool,
}

impl<'a> Queue<'a> {
    fn new(cells: &[&'a Cell]) -> Self {
        let open =
            |cell: &&'a Cell| Open { cell, mine: false, first: None, watched: None, told: false };
        let ids = cells.iter().map(|c| c.id.as_str()).collect();
        Self { open: cells.iter().map(open).collect(), ids, waited: false }
    }

    /// Looks at the cells in their order and claims the first that is free.
    fn next(
        &mut self,
        results: &Path,
        again: &dyn Fn(&State) -> bool,
        watch: &dyn Watch,
    ) -> Result<Turn<'a>, FileError> {
        let mut at = 0;
        while at < self.open.len() {
            if self.open[at].mine || self.awaits_trunk(results, self.open[at].cell) {
                at += 1;
                continue;
            }
            let open = &mut self.open[at];
            let dir = cell_dir(results, &open.cell.id);
            let (attempts, state) = ledger::look(&dir)?;
            let first = *open.first.get_or_insert(attempts.len());
            let wanted = match state {
                State::Missing { .. } => Some(true),
                State::Running { here, .. } => {
                    let silent = open.still(&dir, &attempts) > lease::lease();
                    if here && silent && !open.told {
                        open.told = true;
                        watch.note(&format!(
                            "cell {} is held by a process on this machine that is silent: it may be stopped; \
                             continue it (SIGCONT) or end it",
                            open.cell.short()
                        ));
                    }
                    Some(silent && !here)
                }
                State::Completed { .. } => None,
                // In the place of its directory is something else: there is no room for an attempt.
                State::Damaged { .. } if attempts.is_empty() => None,
                state => (attempts.len() == first && again(&state)).then_some(true),
            };
            let Some(wanted) = wanted else {
                self.ids.remove(self.open.remove(at).cell.id.as_str());
                continue;
            };
            if wanted {
                let number = log::next(&Os, &dir, &attempts);
                if let Some(lease) = Lease::claim(&dir, number)? {
                    open.mine = true;
                    return Ok(Turn::Take(open.cell, lease, attempts));
                }
            }
            at += 1;
        }
        if self.open.is_empty() {
            return Ok(Turn::Done);
        }
        let ours = |o: &Open<'_>| o.mine || self.awaits_trunk(results, o.cell);
        let others = self.open.iter().filter(|o| !ours(o)).count();
        if others > 0 && !self.waited {
            self.waited = true;
            let lease = lease::lease().as_secs_f64();
            watch.note(&format!(
                "waiting for {others} cells that another runner has; on another machine, or before this one was \
                 started anew, it is taken for dead after {lease:.0} s of silence"
            ));
        }
        Ok(Turn::Wait)
    }

    /// Whether the trunk that a cell branches from is to be trained in this run and has not got so far.
    fn awaits_trunk(&self, results: &Path, cell: &Cell) -> bool {
        let Some(trunk) = &cell.trunk else { return false };
        let step = cell.recipe.stable_steps();
        let has_fork = || {
            let attempts = log::numbered(&Os, &cell_dir(results, trunk)).unwrap_or_default();
            attempts.iter().any(|(_, dir)| checkpoint::has_fork(&Os, dir, step))
        };
        step > 0 && self.ids.contains(trunk.as_str()) && !has_fork()
    }

    fn ended(&mut self, cell: &Cell, ended: &Ended) {
        match ended {
            Ended::Event(_) => {
                self.open.retain(|o| o.cell.id != cell.id);
                self.ids.remove(cell.id.as_str());
            }
            // Another runner has it now, or will.
            Ended::Lost | Ended::Adrift(_) => {
                self.open.iter_mut().filter(|o| o.cell.id == cell.id).for_each(|o| o.mine = false);
            }
        }
    }
}

impl Open<'_> {
    /// How long the heartbeat of a holder has stood still, by our clock, which is the only one that is asked.
    fn still(&mut self, dir: &Path, attempts: &[Attempt]) -> Duration {
        let Some(last) = attempts.last() else { return Duration::ZERO };
        let now = (last.number, lease::heartbeat(dir, last.number));
        self.watched.get_or_insert_with(|| Watched::new(now)).still(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Dataset;
    use crate::device::{self, Chosen, Wanted};
    use crate::ledger::log::{AttemptLog, History, read_attempts};
    use crate::plan::{Plan, tests::SWEEP, tests::facts};
    use crate::spec::{DeviceKind, Keep, Matmul, Spec};
    use crate::train::Progress;

    struct Silent;

    impl Watch for Silent {
        fn started(&self, _: usize, _: &Cell) {}
        fn progress(&self, _: usize, _: &Cell, _: Progress) {}
        fn ended(&self, _: usize, _: &Cell, _: &Event) {}
        fn note(&self, _: &str) {}
    }

    /// What a runner does, with training that takes no time.
    fn runner(results: &Path, cells: &[&Cell]) {
        let mut queue = Queue::new(cells);
        loop {
            match queue.next(results, &|_| false, &Silent).unwrap() {
                Turn::Done => return,
                Turn::Wait => std::thread::yield_now(),
                Turn::Take(cell, lease, _) => {
                    let started = crate::ledger::event::tests::started(cell.clone(), None);
                    let clock = || "now".to_owned();
                    let history = History::default();
                    let log = AttemptLog::start(&Os, &lease.dir, started, &history, &clock);
                    let (loss, loss_se, seconds, tokens_per_second) = (1.0, 0.0, 1.0, 1.0);
                    let steps_crc = Some(crc32fast::hash(&[]));
                    let event =
                        Event::Completed { loss, loss_se, seconds, tokens_per_second, steps_crc };
                    log.unwrap().event(event.clone(), clock()).unwrap();
                    queue.ended(cell, &Ended::Event(event));
                }
            }
        }
    }

    /// Panics in the cells of one size, as a fault in their training would.
    struct Faulty<'a> {
        cell: &'a str,
        says: &'a str,
    }

    impl Watch for Faulty<'_> {
        fn started(&self, _: usize, _: &Cell) {}
        fn progress(&self, _: usize, cell: &Cell, _: Progress) {
            assert!(cell.id != self.cell, "{}", self.says);
        }
        fn ended(&self, _: usize, _: &Cell, _: &Event) {}
        fn note(&self, _: &str) {}
    }

    /// Four cells of a moment each.
    fn four() -> (Plan, Dataset, Chosen) {
        let text = r#"
            name = "four"
            [data]
            source = { graph-walk = { nodes = 16, degree = 4, skew = 0.0 } }
            [model]
            context = 32
            width_multiple = 4
            [grid.product]
            params = [3e3, 6e3]
            tokens = [2e4, 4e4]
            [optim]
            learning_rate = 0.02
            batch_tokens = 2048
            [schedule.cosine]
            warmup = 0.1
            end = 0.02
            [eval]
            tokens = 4096
        "#;
        let spec = Spec::parse(text).unwrap();
        let data = Dataset::load(&spec, None).unwrap();
        let plan = Plan::new(&spec, &data.facts);
        (plan, data, device::choose(&Wanted::one(DeviceKind::Cpu, Matmul::Fixed)).unwrap())
    }

    fn job<'a>(
        results: &'a Path,
        plan: &'a Plan,
        data: &'a Dataset,
        device: &'a Chosen,
    ) -> Job<'a> {
        let (planned, eval_times, keep) = (&plan.cells, 1, Keep::Weights);
        Job { results, data, planned, eval_times, device, workers: 2, keep, forecast: None }
    }

    /// A lost device is no fault of its cells: the run ends, nothing is recorded as failed, and the next run
    /// trains them all.
    #[test]
    fn a_lost_device_ends_the_run_and_fails_no_cell() {
        let (plan, data, device) = four();
        let cells: Vec<&Cell> = plan.cells.iter().collect();
        let results = tempfile::tempdir().unwrap();
        let results = results.path();
        let job = job(results, &plan, &data, &device);
        let stop = Stop::default();
        let conduct = Conduct { every: Every::Steps(7), stop: &stop, again: &|_| false };
        let says = "The device is poisoned\nCaused by: CUDA_ERROR_ILLEGAL_ADDRESS";
        let lost = run(job, conduct, &cells, &Faulty { cell: &cells[1].id, says }).unwrap_err();
        assert!(matches!(&lost, Broken::Device(name, why)
            if *name == device.name && why.contains("ILLEGAL_ADDRESS")));
        for cell in &cells {
            let (_, state) = ledger::look(&cell_dir(results, &cell.id)).unwrap();
            assert!(!ledger::StateName::FAILURES.contains(&state.name()), "{state:?}");
        }
        run(job, conduct, &cells, &Silent).unwrap();
        for cell in &cells {
            let (_, state) = ledger::look(&cell_dir(results, &cell.id)).unwrap();
            assert_eq!(state.name().word(), "completed");
        }
    }

    #[test]
    fn a_cell_that_panics_fails_by_name_and_the_others_go_on() {
        let (plan, data, device) = four();
        let cells: Vec<&Cell> = plan.cells.iter().collect();
        for (says, why) in [
            ("index out of bounds", "panic: index out of bounds"),
            ("CUDA_ERROR_OUT_OF_MEMORY", "out of memory: CUDA_ERROR_OUT_OF_MEMORY"),
        ] {
            let results = tempfile::tempdir().unwrap();
            let results = results.path();
            let job = job(results, &plan, &data, &device);
            let stop = Stop::default();
            let mut tries = 0;
            // A second run leaves it, the third is told to try again.
            for again in [false, false, true] {
                let conduct = Conduct { every: Every::Steps(7), stop: &stop, again: &|_| again };
                run(job, conduct, &cells, &Faulty { cell: &cells[1].id, says }).unwrap();
                tries += usize::from(again || tries == 0);
                for (i, cell) in cells.iter().enumerate() {
                    let (attempts, state) = ledger::look(&cell_dir(results, &cell.id)).unwrap();
                    if i == 1 {
                        assert_eq!(state, State::Failed { why: why.to_owned() });
                        assert_eq!(attempts.len(), tries);
                    } else {
                        assert_eq!((state.name().word(), attempts.len()), ("completed", 1));
                    }
                }
            }
        }
    }

    fn rounds(rounds: usize) {
        let plan = Plan::new(&Spec::parse(SWEEP).unwrap(), &facts());
        let cells: Vec<&Cell> = plan.cells.iter().take(20).collect();
        assert_eq!(cells.len(), 20);
        for round in 0..rounds {
            let results = tempfile::tempdir().unwrap();
            std::thread::scope(|scope| {
                for _ in 0..16 {
                    scope.spawn(|| runner(results.path(), &cells));
                }
            });
            for cell in &cells {
                let attempts = read_attempts(&Os, &cell_dir(results.path(), &cell.id)).unwrap();
                assert_eq!(attempts.len(), 1, "round {round}, cell {}", cell.id);
                assert!(matches!(attempts[0].end(), Some(Event::Completed { .. })));
            }
        }
    }

    #[test]
    fn sixteen_runners_end_every_cell_once() {
        rounds(5);
    }

    #[test]
    #[ignore = "the long tier"]
    fn deep_sixteen_runners_end_every_cell_once_a_hundred_times() {
        rounds(100);
        println!("100 rounds of 16 runners on 20 cells: each completed exactly once");
    }

    #[test]
    fn intervals_are_read_as_they_are_written() {
        for text in ["300s", "500steps"] {
            assert_eq!(text.parse::<Every>().unwrap().to_string(), text);
        }
        assert_eq!("5m".parse::<Every>().unwrap().to_string(), "300s");
        for text in ["", "5", "0s", "-1s", "5 minutes", "s"] {
            assert!(text.parse::<Every>().is_err(), "{text}");
        }
    }
}
