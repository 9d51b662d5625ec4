//! What the parts of a cell's training take on this device, by doing a little of each.

use std::time::{Duration, Instant};

use super::{EVAL_BATCH, Place, Trainer};
use crate::data::{DataError, Dataset};
use crate::plan::{Draw, Recipe};

/// Steps that are timed at most: more say nothing new.
const STEPS: u64 = 50;
/// Evaluation batches that are timed at most.
const BATCHES: usize = 2;

/// Measured seconds of the parts of one cell.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Timed {
    /// Building weights and moments [s].
    pub start: f64,
    /// One training step, the mean of those that were timed [s].
    pub step: f64,
    /// One evaluation on all of the cell's held-out tokens; `None` where it was not timed [s].
    pub eval: Option<f64>,
}

/// Trains a cell for about `slice` after one step to warm up, at least one step and at most 50, and
/// evaluates a batch or two if `eval`. A first step that takes the slice alone is the measurement. Nothing more is
/// begun once `halt` says so.
///
/// # Errors
///
/// [`DataError`] where a dataset cannot be read.
pub fn time_cell(
    recipe: &Recipe,
    data: &Dataset,
    place: &Place,
    slice: Duration,
    eval: bool,
    halt: &dyn Fn() -> bool,
) -> Result<Timed, DataError> {
    let begin = Instant::now();
    let mut trainer = Trainer::new(recipe, place);
    let start = begin.elapsed().as_secs_f64();
    let draw = Draw { seed: 0, ..recipe.draw() };
    let mut step = |i: u64| {
        let begin = Instant::now();
        trainer.step(&data.batch(draw, i, recipe.batch_sequences as usize)?, i);
        Ok::<f64, DataError>(begin.elapsed().as_secs_f64())
    };
    let mut mean = step(0)?;
    if mean < slice.as_secs_f64() && !halt() {
        let (mut sum, mut n) = (0.0, 0);
        while n < STEPS && (n == 0 || sum < slice.as_secs_f64() && !halt()) {
            n += 1;
            sum += step(n)?;
        }
        mean = sum / n as f64;
    }
    let mut timed = Timed { start, step: mean, eval: None };
    if eval && !halt() {
        let sequences = (EVAL_BATCH / recipe.shape.context).max(1);
        let (mut sum, mut tokens) = (0.0, 0.0);
        for batch in data.held_out(recipe.eval_tokens, sequences).take(BATCHES) {
            let batch = batch?;
            let begin = Instant::now();
            trainer.model.loss(&batch);
            sum += begin.elapsed().as_secs_f64();
            tokens += batch.targets.len() as f64;
        }
        timed.eval = Some(sum / tokens * recipe.eval_tokens as f64);
    }
    Ok(timed)
}
