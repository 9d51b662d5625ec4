//! The model, its gradients and the optimiser against PyTorch: same weights, same batches, ten steps. And
//! against itself: the same bits twice. For the tests, and for `isoflop device check`.
//!
//! `tests/golden/torch_ten_steps.py` made the numbers and checked the model against `transformers`
//! (Llama, Qwen3, tied Llama). Its gains, clipped and unclipped steps, and small embeddings are chosen
//! so that a wrong epsilon, decay or clipping constant is seen.

use std::collections::HashMap;

use burn::tensor::{FloatDType, Tensor, TensorData};
use safetensors::SafeTensors;
use serde::Deserialize;

use super::optim::AdamW;
use super::{Place, Trainer};
use crate::data::Batch;
use crate::model::{Scaling, Transformer};
use crate::ops::{Case, Kernels, largest_difference, relative_difference};
use crate::plan::Recipe;
use crate::shape::Shape;

const STEPS: &str = include_str!("../../tests/golden/torch_ten_steps.json");
const TENSORS: &[u8] = include_bytes!("../../tests/golden/torch_ten_steps.safetensors");

#[derive(Deserialize)]
struct Golden {
    model: Model,
    optimiser: Optimiser,
    inputs: Vec<Vec<Vec<i32>>>,
    targets: Vec<Vec<Vec<i32>>>,
    variants: HashMap<String, Variant>,
}

#[derive(Deserialize)]
struct Model {
    vocab: usize,
    #[serde(rename = "d_model")]
    width: usize,
    layers: usize,
    heads: usize,
    ff: usize,
    context: usize,
}

#[derive(Deserialize)]
struct Optimiser {
    beta1: f64,
    beta2: f64,
    eps: f64,
    weight_decay: f64,
    clip: f64,
    lr: Vec<f64>,
}

#[derive(Deserialize)]
struct Variant {
    qk_norm: bool,
    tied: bool,
    losses: Vec<f64>,
    grad_norms: Vec<f64>,
}

fn tensor(all: &SafeTensors<'_>, name: &str) -> Vec<f32> {
    let view = all.tensor(name).unwrap_or_else(|e| panic!("{name}: {e}"));
    let bytes = view.data().chunks_exact(4);
    bytes.map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

fn values(x: &Tensor<2>) -> Vec<f32> {
    x.clone().into_data().try_to_vec::<f32>().expect("weights and gradients are f32")
}

/// The record's models: a Llama, a Qwen3 and a Llama whose head is its embedding.
pub const MODELS: [&str; 3] = ["plain", "qk_norm", "tied"];

/// What may be off: losses [nats/token], gradients (share of the largest), norms (share), weights.
struct Tolerance {
    loss: f64,
    gradient: f64,
    norm: f64,
    weight: f64,
}

/// f32 in another order; and bf16, which keeps 8 bits of every operand. AdamW turns any difference of a small
/// gradient into one of the size of its rate, so weights say less there.
const F32: Tolerance = Tolerance { loss: 3e-6, gradient: 1e-4, norm: 5e-5, weight: 1.5e-4 };
const BF16: Tolerance = Tolerance { loss: 2e-2, gradient: 5e-2, norm: 0.1, weight: 0.1 };

/// Ten steps of one of the [`MODELS`] beside PyTorch's.
///
/// # Panics
///
/// For another name.
pub fn ten_steps(name: &str, place: &Place, tell: &mut dyn FnMut(Case)) {
    let golden: Golden = serde_json::from_str(STEPS).expect("the record is part of isoflop");
    let all = SafeTensors::deserialize(TENSORS).expect("the record is part of isoflop");
    let (variant, m, o) = (&golden.variants[name], &golden.model, &golden.optimiser);
    let may = if is_bf16(place.kernels) { BF16 } else { F32 };
    let mut tell = |what: String, worst: f64, tolerance: f64| {
        tell(Case::new(format!("{name}: {what}"), worst, tolerance));
    };
    let shape = Shape {
        vocab: m.vocab,
        context: m.context,
        width: m.width,
        layers: m.layers,
        heads: m.heads,
        ff: m.ff,
        qk_norm: variant.qk_norm,
        tied: variant.tied,
    };
    let recipe = Recipe {
        steps: 10,
        batch_sequences: 4,
        learning_rate: 1.0,
        betas: [o.beta1, o.beta2],
        eps: o.eps,
        weight_decay: o.weight_decay,
        clip: o.clip,
        eval_tokens: 20,
        ..Recipe::bare(shape)
    };
    let mut model = Transformer::new(shape, Scaling::of(&recipe), 0, place);
    for (weight_name, weight) in model.weights_mut() {
        let start = tensor(&all, &format!("init/{weight_name}"));
        let dims = weight.value.dims();
        weight.value = Tensor::from_data(TensorData::new(start, dims), &place.device);
    }
    let mut optimiser = AdamW::new(&recipe, &mut model);
    for step in 0..10 {
        let batch = Batch {
            inputs: golden.inputs[step].concat(),
            targets: golden.targets[step].concat(),
            sequences: 4,
            context: m.context,
        };
        let (loss, grads) = model.gradients(&batch);
        tell(format!("loss of step {step}"), (loss - variant.losses[step]).abs(), may.loss);
        if step == 0 {
            for ((weight_name, _), grad) in model.weights_mut().into_iter().zip(&grads) {
                let want = tensor(&all, &format!("{name}/grad1/{weight_name}"));
                let off = relative_difference(&want, &values(grad));
                tell(format!("first gradient of {weight_name}"), off, may.gradient);
            }
        }
        let norm = optimiser.step(&mut model, grads, step as u64, o.lr[step]);
        let want = variant.grad_norms[step];
        let off = (norm - want).abs() / if is_bf16(place.kernels) { want } else { 1.0 };
        tell(format!("gradient norm of step {step}"), off, may.norm);
    }
    for (weight_name, weight) in model.weights_mut() {
        let want = tensor(&all, &format!("{name}/final/{weight_name}"));
        let off = largest_difference(&want, &values(&weight.value));
        tell(format!("{weight_name} after ten steps"), off, may.weight);
    }
}

fn is_bf16(kernels: Kernels) -> bool {
    match kernels {
        Kernels::Tensors(compute) => compute == FloatDType::BF16,
        #[cfg(feature = "cube")]
        Kernels::Cubes(compute, _) => compute == FloatDType::BF16,
        Kernels::Fused | Kernels::Composed => false,
    }
}

/// Steps that are taken twice.
const STEPS_TWICE: u64 = 5;

/// The same steps of a small model twice: how many losses, norms and weights differ in any bit. Widths fill
/// no tile and no padded row; with `activations` for one sequence, every batch is cut.
pub fn twice(place: &Place, tell: &mut dyn FnMut(Case)) {
    for (qk_norm, cut) in [(false, false), (true, true)] {
        let shape = Shape {
            vocab: 257,
            context: 65,
            width: 132,
            layers: 2,
            heads: 2,
            ff: 344,
            qk_norm,
            tied: false,
        };
        let recipe = Recipe {
            steps: STEPS_TWICE,
            batch_sequences: 5,
            learning_rate: 0.01,
            weight_decay: 0.1,
            clip: 0.5,
            ..Recipe::bare(shape)
        };
        let activations = if cut { 0 } else { place.activations };
        let place = Place { activations, ..place.clone() };
        let run = || {
            let mut trainer = Trainer::new(&recipe, &place);
            let mut told = Vec::new();
            for step in 0..STEPS_TWICE {
                let batch = crate::model::check::batch(&shape, 5);
                let (loss, norm) = trainer.step(&batch, step);
                told.extend([loss.to_bits(), norm.to_bits()]);
            }
            (told, trainer.tensors())
        };
        let (first, second) = (run(), run());
        let differs = first.0.iter().zip(&second.0).filter(|(a, b)| a != b).count();
        let bytes = first.1.iter().zip(&second.1).filter(|(a, b)| a != b).count();
        let name = if cut { "normed, cut into single sequences" } else { "plain" };
        let name = format!("the same bits twice, {name}");
        tell(Case { name, worst: (differs + bytes) as f64, tolerance: 0.0 });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str) {
        for kernels in [Kernels::Fused, Kernels::Composed, Kernels::Tensors(FloatDType::BF16)] {
            let mut count = 0;
            ten_steps(name, &Place::cpu(kernels), &mut |case| {
                assert!(case.holds(), "{kernels:?}: {case:?}");
                count += 1;
            });
            assert!(count > 40, "{count}");
        }
    }

    #[test]
    fn ten_steps_agree_with_pytorch_on_a_llama() {
        check("plain");
    }

    #[test]
    fn ten_steps_agree_with_pytorch_on_a_qwen3() {
        check("qk_norm");
    }

    #[test]
    fn ten_steps_agree_with_pytorch_on_a_tied_llama() {
        check("tied");
    }

    /// The path of a GPU on CubeCL's CPU runtime.
    #[cfg(feature = "cube-cpu")]
    #[test]
    fn our_kernels_take_the_steps_of_pytorch_and_the_same_bits_twice() {
        let place = Place {
            device: burn::tensor::Device::cpu(),
            kernels: Kernels::Cubes(FloatDType::F32, crate::ops::Products::Reference),
            activations: u64::MAX,
        };
        let mut holds = |case: Case| assert!(case.holds(), "{case:?}");
        for name in MODELS {
            ten_steps(name, &place, &mut holds);
        }
        twice(&place, &mut holds);
    }

    #[test]
    fn a_step_has_the_same_bits_twice() {
        for kernels in [Kernels::Fused, Kernels::Tensors(FloatDType::F32)] {
            twice(&Place::cpu(kernels), &mut |case| assert!(case.holds(), "{kernels:?}: {case:?}"));
        }
    }
}
