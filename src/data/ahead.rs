//! Batches of one run in their order, read before they are asked for.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::{Batch, DataError, Dataset, Tokens};
use crate::plan::{Draw, Recipe};

/// Batches that are read before the step that wants them.
const AHEAD: usize = 2;
/// A batch that takes longer than this is read by several threads from then on.
const SLOW: Duration = Duration::from_millis(5);

/// How long reading is tried, and windows of a batch then.
const TRIAL: Duration = Duration::from_millis(300);
const WINDOWS: usize = 16;

/// The batches of a run, from one step to its last. What is read from a disk is read by a thread of its own.
#[derive(Debug)]
pub struct Batches<'a> {
    data: &'a Dataset,
    draw: Draw,
    sequences: usize,
    step: u64,
    reader: Option<Reader>,
}

/// What comes of the thread that reads, and the thread.
type Reader = (Receiver<Result<Batch, DataError>>, JoinHandle<()>);

impl<'a> Batches<'a> {
    pub(super) fn new(data: &'a Dataset, recipe: &Recipe, from: u64) -> Self {
        let (draw, sequences) = (recipe.draw(), recipe.batch_sequences as usize);
        let reader = match &data.tokens {
            Tokens::Prepared(prepared) if prepared.is_read_from_disk() => {
                let (prepared, steps) = (Arc::clone(prepared), from..recipe.steps);
                // One is held by the reader until there is room.
                let (send, receive) = sync_channel(AHEAD - 1);
                let read = move || {
                    let mut slow = false;
                    for step in steps {
                        let begun = Instant::now();
                        let batch = prepared.batch(draw, step, sequences, slow);
                        slow |= begun.elapsed() > SLOW;
                        // Nobody wants it any more.
                        if send.send(batch).is_err() {
                            break;
                        }
                    }
                };
                // Without a thread they are read as they are asked for.
                std::thread::Builder::new().spawn(read).ok().map(|thread| (receive, thread))
            }
            _ => None,
        };
        Self { data, draw, sequences, step: from, reader }
    }

    /// The batch of the next step.
    ///
    /// # Errors
    ///
    /// [`DataError`] where it cannot be read.
    pub fn next_batch(&mut self) -> Result<Batch, DataError> {
        let step = self.step;
        self.step += 1;
        if let Some(batch) = self.reader.as_ref().and_then(|(batches, _)| batches.recv().ok()) {
            return batch;
        }
        self.data.batch(self.draw, step, self.sequences)
    }
}

impl Dataset {
    /// Windows that one thread reads in a second; `None` where they are kept in memory.
    ///
    /// # Errors
    ///
    /// [`DataError`] where they cannot be read.
    pub fn windows_per_second(&self, draw: Draw) -> Result<Option<f64>, DataError> {
        let Tokens::Prepared(prepared) = &self.tokens else { return Ok(None) };
        if !prepared.is_read_from_disk() {
            return Ok(None);
        }
        let begun = Instant::now();
        let mut batches = 0;
        while batches == 0 || begun.elapsed() < TRIAL {
            prepared.batch(draw, batches, WINDOWS, false)?;
            batches += 1;
        }
        Ok(Some((batches * WINDOWS as u64) as f64 / begun.elapsed().as_secs_f64()))
    }
}

impl Drop for Batches<'_> {
    fn drop(&mut self) {
        if let Some((batches, thread)) = self.reader.take() {
            drop(batches);
            // It ends with the batch that it is reading; what it says is of no use to anybody.
            let _ = thread.join();
        }
    }
}
