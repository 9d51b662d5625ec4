//! The training loop: one cell, from fresh weights or a kept state to its final loss.
//!
//! Everything that decides the result is in the recipe and the data; what happens on the way is told to
//! an observer, which may keep the state and may stop the run by failing. A run that goes on from a kept
//! state takes the same steps, bit for bit, as one that was never stopped; where kernels are tuned, the choice
//! may differ from process to process, and so may the last bits.

pub mod check;
mod coordinates;
mod optim;
mod timing;

use std::time::Instant;

use burn::tensor::{Tensor, TensorData};

use crate::data::{Batch, DataError, Dataset};
pub use crate::model::Place;
use crate::model::{Scaling, Transformer};
use crate::plan::Recipe;
use optim::AdamW;
pub use timing::{Timed, time_cell};

pub use coordinates::{Coordinates, coordinates};

/// A loss this many times that of a uniform guess, this many steps in a row, has diverged.
const DIVERGED: (f64, u32) = (3.0, 20);
/// Tokens of one evaluation batch; a constant, so that sums run in the same order for every cell.
pub const EVAL_BATCH: usize = 4096;

/// What an observer is told.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Progress {
    /// A step was taken.
    Step {
        /// Counted from 0.
        step: u64,
        /// Training loss of its batch, before the update [nats/token].
        loss: f32,
        /// Global gradient norm before clipping.
        grad_norm: f32,
    },
    /// The held-out loss was measured.
    Eval {
        /// Steps taken so far.
        step: u64,
        /// Held-out loss [nats/token].
        loss: f64,
    },
}

/// All that decides the steps to come, with the recipe and the data.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    /// Steps taken.
    pub step: u64,
    /// Value and both moments of every weight, in the model's order, little-endian f32.
    pub tensors: Vec<u8>,
    /// The last evaluation and its standard error [nats/token].
    pub evaluated: Option<(f64, f64)>,
    /// Steps in a row with a loss out of reason.
    pub bad_steps: u32,
    /// Seconds spent in training steps so far [s].
    pub seconds: f64,
}

/// Who is told, and who keeps states.
pub trait Observer {
    /// Why the run is to end; data that cannot be read are a reason.
    type Error: From<DataError>;

    /// Told after every step and every evaluation.
    ///
    /// # Errors
    ///
    /// Ends the run.
    fn progress(&mut self, progress: Progress) -> Result<(), Self::Error>;

    /// Asked between two batches of an evaluation, which may take long.
    ///
    /// # Errors
    ///
    /// Ends the run; the steps since the last state that was kept are taken again.
    fn evaluating(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }

    /// Whether to keep the state after this many steps.
    fn due(&mut self, steps: u64) -> bool;

    /// Given the state when it was due.
    ///
    /// # Errors
    ///
    /// Ends the run.
    fn keep(&mut self, state: State) -> Result<(), Self::Error>;

    /// Given the model after all steps of a cell that did not diverge, before it is said that it is completed.
    ///
    /// # Errors
    ///
    /// Ends the run.
    fn trained(&mut self, _model: &mut Transformer) -> Result<(), Self::Error> {
        Ok(())
    }
}

/// How a cell ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// All steps were taken.
    Completed {
        /// Final held-out loss [nats/token].
        loss: f64,
        /// Standard error of that loss over evaluation batches [nats/token].
        loss_se: f64,
        /// Seconds spent in training steps, evaluation not counted [s].
        seconds: f64,
    },
    /// The loss left the range of numbers or of reason. It would do so again.
    Diverged {
        /// Step at which that was seen.
        step: u64,
        /// What was seen.
        why: String,
    },
}

/// A model in training: its weights and the state of its optimiser.
#[derive(Debug)]
pub struct Trainer {
    model: Transformer,
    optimiser: AdamW,
    recipe: Recipe,
}

impl Trainer {
    /// Fresh weights and moments.
    pub fn new(recipe: &Recipe, place: &Place) -> Self {
        let Recipe { shape, init_seed: seed, .. } = *recipe;
        let scaling = Scaling::of(recipe);
        let mut model = Transformer::new(shape, scaling, seed, place);
        let optimiser = AdamW::new(recipe, &mut model);
        Self { model, optimiser, recipe: recipe.clone() }
    }

    /// One step: forward, backward, clipping by the global norm, update. Returns the loss of the batch
    /// before the update [nats/token] and the gradient norm before clipping.
    ///
    /// `step` counts from 0 and decides the learning rate.
    pub fn step(&mut self, batch: &Batch, step: u64) -> (f64, f64) {
        let (loss, grads) = self.model.gradients(batch);
        let rate = optim::learning_rate(&self.recipe, step);
        (loss, self.optimiser.step(&mut self.model, grads, step, rate))
    }

    /// Value and both moments of every weight, in the model's order, little-endian f32.
    ///
    /// # Panics
    ///
    /// When the device cannot be read.
    pub fn tensors(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        for ((_, weight), moments) in self.model.weights_mut().iter().zip(self.optimiser.moments())
        {
            for tensor in [&weight.value, &moments[0], &moments[1]] {
                let values = tensor.clone().into_data().try_to_vec::<f32>();
                out.extend(values.expect("weights are f32").iter().flat_map(|v| v.to_le_bytes()));
            }
        }
        out
    }

    /// Puts back what [`tensors`](Self::tensors) gave; `false`, and nothing done, for another length.
    #[must_use]
    pub fn restore(&mut self, bytes: &[u8]) -> bool {
        let weights = self.model.weights_mut();
        let elements: usize = weights.iter().map(|(_, w)| w.value.shape().num_elements()).sum();
        if bytes.len() != 3 * 4 * elements {
            return false;
        }
        let mut values =
            bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
        for ((_, weight), moments) in weights.into_iter().zip(self.optimiser.moments_mut()) {
            let [m, v] = moments;
            for tensor in [&mut weight.value, m, v] {
                let (dims, device) = (tensor.dims(), tensor.device());
                let part: Vec<f32> = values.by_ref().take(dims.iter().product()).collect();
                *tensor = Tensor::from_data(TensorData::new(part, dims), &device);
            }
        }
        true
    }

    /// The model as it stands.
    pub fn model_mut(&mut self) -> &mut Transformer {
        &mut self.model
    }
}

/// Trains one cell, from the start or from a state that was kept.
///
/// # Errors
///
/// The observer's: its first error ends the run, and so do data that cannot be read.
///
/// # Panics
///
/// When the state is not one of this recipe's.
pub fn train<O: Observer>(
    recipe: &Recipe,
    data: &Dataset,
    eval_times: u64,
    place: &Place,
    from: Option<State>,
    observer: &mut O,
) -> Result<Outcome, O::Error> {
    let Recipe { shape, steps, .. } = *recipe;
    let mut trainer = Trainer::new(recipe, place);
    let uniform = (shape.vocab as f64).ln();
    let (mut first, mut seconds, mut bad_steps, mut last) = (0, 0.0, 0, None);
    if let Some(state) = from {
        assert!(trainer.restore(&state.tensors), "a state of {} bytes", state.tensors.len());
        (first, seconds, bad_steps, last) =
            (state.step, state.seconds, state.bad_steps, state.evaluated);
    }
    let mut batches = data.batches(recipe, first);
    for step in first..steps {
        let started = Instant::now();
        let batch = batches.next_batch()?;
        let (loss, grad_norm) = trainer.step(&batch, step);
        seconds += started.elapsed().as_secs_f64();
        observer.progress(Progress::Step {
            step,
            loss: loss as f32,
            grad_norm: grad_norm as f32,
        })?;
        if !loss.is_finite() || !grad_norm.is_finite() {
            let what = if loss.is_finite() { "gradient norm" } else { "loss" };
            return Ok(Outcome::Diverged { step, why: format!("{what} is not a number") });
        }
        bad_steps = if loss > DIVERGED.0 * uniform { bad_steps + 1 } else { 0 };
        if bad_steps >= DIVERGED.1 {
            let why = format!("loss {loss:.3} stayed above {:.3}", DIVERGED.0 * uniform);
            return Ok(Outcome::Diverged { step, why });
        }
        if evaluate_after(step, steps, eval_times) {
            let asked = &mut || observer.evaluating();
            let (loss, se) = evaluate(&trainer.model, data, recipe.eval_tokens, asked)?;
            last = Some((loss, se));
            observer.progress(Progress::Eval { step: step + 1, loss })?;
        }
        if step + 1 < steps && observer.due(step + 1) {
            let tensors = trainer.tensors();
            let state = State { step: step + 1, tensors, evaluated: last, bad_steps, seconds };
            observer.keep(state)?;
        }
    }
    let (loss, loss_se) = last.unwrap_or((f64::NAN, f64::NAN));
    if loss.is_finite() {
        observer.trained(&mut trainer.model)?;
        Ok(Outcome::Completed { loss, loss_se, seconds })
    } else {
        let why = "final held-out loss is not a number".to_owned();
        Ok(Outcome::Diverged { step: steps, why })
    }
}

/// Evenly spaced over the run; the last one is always after the last step.
fn evaluate_after(step: u64, steps: u64, times: u64) -> bool {
    let done = |s: u64| s * times / steps;
    done(step + 1) > done(step)
}

/// Held-out loss of a model on so many tokens, as a cell's is measured, and its standard error over batches
/// [nats/token].
///
/// # Errors
///
/// [`DataError`] where a dataset cannot be read.
pub fn held_out(model: &Transformer, data: &Dataset, tokens: u64) -> Result<(f64, f64), DataError> {
    evaluate(model, data, tokens, &mut || Ok(()))
}

/// Held-out loss [nats/token] and its standard error over batches, unless `asked` ends it.
fn evaluate<E: From<DataError>>(
    model: &Transformer,
    data: &Dataset,
    tokens: u64,
    asked: &mut dyn FnMut() -> Result<(), E>,
) -> Result<(f64, f64), E> {
    let sequences = (EVAL_BATCH / model.shape().context).max(1);
    let (mut n, mut sum, mut squares, mut batches) = (0.0, 0.0, 0.0, 0.0);
    for batch in data.held_out(tokens, sequences) {
        let batch = batch?;
        let loss = model.loss(&batch);
        let weight = batch.targets.len() as f64;
        n += weight;
        sum += weight * loss;
        squares += loss * loss;
        batches += 1.0;
        asked()?;
    }
    let mean = sum / n;
    let variance = (squares / batches - mean * mean).max(0.0);
    Ok((mean, (variance / batches).sqrt()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evaluations_are_as_many_as_asked_and_the_last_is_at_the_end() {
        for (steps, times, want) in [(100, 4, 4), (7, 3, 3), (3, 10, 3), (1, 1, 1)] {
            let at: Vec<u64> = (0..steps).filter(|s| evaluate_after(*s, steps, times)).collect();
            assert_eq!(at.len(), want, "{steps} steps, {times} evaluations");
            assert_eq!(at.last(), Some(&(steps - 1)));
        }
    }
}
