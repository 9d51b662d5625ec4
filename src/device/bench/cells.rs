//! Models that train side by side on one device, as `isoflop run` trains them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError, mpsc};

use super::job::Job;
use crate::device::{Chosen, in_parallel};
use crate::train::Trainer;

/// Why it ended early: the panic of a cell.
#[derive(Debug, thiserror::Error)]
#[error("a cell of {0} ended early: {1}")]
pub struct Ended(pub String, pub String);

/// Losses and gradient norms of the steps of one cell.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub(super) struct Steps {
    /// Of each step, before the update [nats/token].
    pub losses: Vec<f64>,
    /// Before clipping [-].
    pub norms: Vec<f64>,
}

/// Asks all cells for so many steps, and waits for them.
pub(super) type Ask<'a> = dyn FnMut(u64) -> Result<Vec<Steps>, Ended> + 'a;

/// Trains `cells` models, each on its share of the cores or of the cards; `drive` says how many steps at a
/// time. Its second argument is the threads of one cell.
///
/// # Errors
///
/// [`Ended`] when a cell panics, or what `drive` gives.
pub(super) fn side_by_side<T, E: From<Ended>>(
    device: &Chosen,
    job: &Job,
    cells: usize,
    drive: impl FnOnce(&mut Ask<'_>, usize) -> Result<T, E>,
) -> Result<T, E> {
    let (orders, inboxes): (Vec<_>, Vec<_>) =
        (0..cells).map(|_| mpsc::channel::<u64>()).map(|(to, from)| (to, Mutex::new(from))).unzip();
    let (answer, answers) = mpsc::channel::<Result<Answer, String>>();
    let work = |worker: usize| {
        let inbox = inboxes[worker].lock().unwrap_or_else(PoisonError::into_inner);
        let train = || {
            let mut trainer = Trainer::new(&job.recipe, &device.place(worker, cells));
            let mut step = 0;
            let _ = answer.send(Ok(Answer::Ready(rayon::current_num_threads())));
            for steps in inbox.iter() {
                let (losses, norms) =
                    (step..step + steps).map(|step| trainer.step(job.batch(step), step)).unzip();
                step += steps;
                // Nobody listens when the driver has failed; the inbox then ends too.
                let _ = answer.send(Ok(Answer::Done(Steps { losses, norms })));
            }
        };
        if let Err(panic) = catch_unwind(AssertUnwindSafe(train)) {
            let _ = answer.send(Err(crate::error::panic_text(&*panic)));
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| in_parallel(cells, work));
        let next = || {
            let told = answers.recv().unwrap_or_else(|_| Err("without a word".to_owned()));
            told.map_err(|why| Ended(job.name.clone(), why))
        };
        let drive_all = || {
            let mut threads = 0;
            for _ in 0..cells {
                if let Answer::Ready(n) = next()? {
                    threads = n;
                }
            }
            let mut ask = |steps| {
                // A cell that is gone has said why.
                for to in &orders {
                    let _ = to.send(steps);
                }
                let mut all = Vec::with_capacity(cells);
                for _ in 0..cells {
                    if let Answer::Done(steps) = next()? {
                        all.push(steps);
                    }
                }
                Ok(all)
            };
            drive(&mut ask, threads)
        };
        let out = drive_all();
        drop(orders);
        out
    })
}

enum Answer {
    /// Built, on so many threads.
    Ready(usize),
    Done(Steps),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::{Wanted, choose};
    use crate::spec::{DeviceKind, Matmul};

    fn device() -> Chosen {
        choose(&Wanted::one(DeviceKind::Cpu, Matmul::Fixed)).unwrap()
    }

    #[test]
    fn cells_side_by_side_take_the_same_steps() {
        let job = Job::parse("30k:64").unwrap();
        let cells = side_by_side(&device(), &job, 2, |ask, threads| {
            assert!(threads > 0);
            ask(1)?;
            ask(2)
        });
        let cells = cells.map_err(|e: Ended| e).unwrap();
        assert_eq!((cells.len(), cells[0].losses.len()), (2, 2));
        assert_eq!(cells[0], cells[1]);
        assert!(cells[0].losses.iter().chain(&cells[0].norms).all(|v| v.is_finite()));
    }

    /// A cell that panics is an answer, not a wait for ever.
    #[test]
    fn a_cell_that_panics_ends_the_measurement_by_its_words() {
        let mut job = Job::parse("30k:64").unwrap();
        // An id beyond the vocabulary.
        job.batches[0].targets[0] = 1 << 20;
        let ended: Result<Vec<Steps>, Ended> = side_by_side(&device(), &job, 2, |ask, _| ask(1));
        let Ended(name, why) = ended.unwrap_err();
        assert!(name == "30k:64" && !why.is_empty(), "{name}: {why}");
    }
}
