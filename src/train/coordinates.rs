//! The coordinate check: how far training moves the activations of a model, layer by layer.
//!
//! If the parametrization is right, a few steps at one rate move the stream and the logits by as much in
//! a wide or deep model as in a small one (Yang et al. 2022, 2203.03466, appendix D.1; Dey et al. 2025,
//! 2505.01618). If it is not, the movement is a power of width or depth, and so is the best rate.

use burn::tensor::Tensor;

use super::{Place, Trainer};
use crate::data::Dataset;
use crate::plan::Recipe;

/// Root mean squares over all tokens and coordinates.
#[derive(Debug, Clone, PartialEq)]
pub struct Coordinates {
    /// Of the stream after each block.
    pub stream: Vec<f64>,
    /// Of what training changed in it.
    pub stream_change: Vec<f64>,
    /// Of the logits.
    pub logits: f64,
    /// Of what training changed in them.
    pub logits_change: f64,
}

/// Takes `steps` steps of a recipe and measures on a batch that was not trained on.
pub fn coordinates(recipe: &Recipe, data: &Dataset, place: &Place, steps: u64) -> Coordinates {
    let batch = |step| data.batch(recipe.order_seed, step, recipe.batch_sequences as usize);
    let probe = batch(steps);
    let mut trainer = Trainer::new(recipe, place);
    let before = trainer.model.activations(&probe);
    for step in 0..steps {
        trainer.step(&batch(step), step);
    }
    let after = trainer.model.activations(&probe);
    let change = before.stream.into_iter().zip(&after.stream).map(|(b, a)| rms(&(a.clone() - b)));
    Coordinates {
        stream_change: change.collect(),
        stream: after.stream.iter().map(rms).collect(),
        logits_change: rms(&(after.logits.clone() - before.logits)),
        logits: rms(&after.logits),
    }
}

fn rms(x: &Tensor<2>) -> f64 {
    f64::from(x.clone().powi_scalar(2).mean().into_scalar::<f32>()).sqrt()
}
