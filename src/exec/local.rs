//! Cells on this machine, several side by side, beside whatever other runners do.
//!
//! A worker is a thread with a compute pool of its own, so that small models share neither locks nor
//! cores. It takes the next cell that nobody has, the most expensive first, and trains it from its newest
//! checkpoint. Any number of runners may serve one results directory.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

use super::attempt::{self, Ended, Stuck};
use super::job::{Every, Job, Watch};
use super::queue::{Next, Queue};
use super::stop::Stop;
use crate::data::DataError;
use crate::device::in_parallel;
use crate::error::FileError;
use crate::ledger::event::Event;
use crate::ledger::lease::{self, Lease};
use crate::ledger::{State, forks};
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
    /// The data cannot be read, or are damaged.
    #[error(transparent)]
    Data(DataError),
    /// The device does nothing more for this process.
    #[error("{0} was lost: {1}")]
    Device(String, String),
}

impl From<Stuck> for Broken {
    fn from(stuck: Stuck) -> Self {
        match stuck {
            Stuck::Record(error) => Self::Record(error),
            Stuck::Data(error) => Self::Data(error),
        }
    }
}

/// Trains all `cells` that are to be trained. A cell that fails is recorded and the others go on; a record
/// that cannot be written, data that cannot be read, or a device that is lost, stops the run. Returns when every cell has ended, by this
/// runner or another, or when it was asked to stop.
///
/// # Errors
///
/// [`Broken`]: the first record that could not be written or data that could not be read, or how the device was lost.
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
                    Next::Take(cell, lease, before) => {
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
                    Next::Wait => {
                        std::thread::sleep(LOOK);
                        Ok(true)
                    }
                    Next::Done => Ok(false),
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::job::Quiet;
    use super::*;
    use crate::data::Dataset;
    use crate::device::{self, Chosen, Wanted};
    use crate::ledger::{self, cell_dir};
    use crate::plan::Plan;
    use crate::spec::{DeviceKind, Keep, Matmul, Spec};
    use crate::train::Progress;

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
        Job {
            results,
            data,
            planned,
            eval_times,
            device,
            workers: 2,
            keep,
            tasks: &[],
            forecast: None,
        }
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
        run(job, conduct, &cells, &Quiet).unwrap();
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
