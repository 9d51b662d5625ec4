//! The model, its gradients and the optimiser against PyTorch: same weights, same batches, ten steps.
//!
//! `tests/golden/torch_ten_steps.py` made the numbers and checked the model against `transformers`
//! (Llama, Qwen3, tied Llama). Its gains, clipped and unclipped steps, and small embeddings are chosen
//! so that a wrong epsilon, decay or clipping constant is seen.

use std::collections::HashMap;

use burn::tensor::{Device, Tensor, TensorData};
use safetensors::SafeTensors;
use serde::Deserialize;

use super::optim::AdamW;
use crate::data::Batch;
use crate::model::{Scaling, Transformer};
use crate::ops::Kernels;
use crate::plan::Recipe;
use crate::shape::Shape;
use crate::spec::{Parametrization, Schedule, Source, Tokenizer};

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
    view.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
}

fn values(x: &Tensor<2>) -> Vec<f32> {
    x.clone().into_data().try_to_vec::<f32>().unwrap()
}

/// Largest difference, over the largest magnitude of the tensor where `relative`.
fn worst(got: &[f32], want: &[f32], relative: bool) -> f64 {
    assert_eq!(got.len(), want.len());
    let scale = want.iter().fold(0_f32, |m, w| m.max(w.abs()));
    let difference = got.iter().zip(want).fold(0_f32, |m, (g, w)| m.max((g - w).abs()));
    f64::from(if relative { difference / scale } else { difference })
}

fn check(name: &str, kernels: Kernels) {
    let golden: Golden = serde_json::from_str(STEPS).unwrap();
    let all = SafeTensors::deserialize(TENSORS).unwrap();
    let (variant, m, o) = (&golden.variants[name], &golden.model, &golden.optimiser);
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
        version: 1,
        source: Source::PdProse,
        tokenizer: Tokenizer::Bytes,
        data_sha256: String::new(),
        shape,
        embedding_std: 0.5,
        reference_width: 0,
        parametrization: Parametrization::Mup,
        reference_layers: 0,
        steps: 10,
        batch_sequences: 4,
        learning_rate: 1.0,
        betas: [o.beta1, o.beta2],
        eps: o.eps,
        weight_decay: o.weight_decay,
        clip: o.clip,
        schedule: Schedule::Cosine { warmup: 0.0, end: 1.0 },
        eval_tokens: 20,
        horizon: None,
        init_seed: 0,
        order_seed: None,
    };
    let device = Device::flex();
    let mut model = Transformer::new(shape, Scaling::of(&recipe), 0, &device, kernels);
    for (weight_name, weight) in model.weights_mut() {
        let start = tensor(&all, &format!("init/{weight_name}"));
        let dims = weight.value.dims();
        weight.value = Tensor::from_data(TensorData::new(start, dims), &device);
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
        assert!((loss - variant.losses[step]).abs() < 3e-6, "{name} step {step}: loss {loss}");
        if step == 0 {
            for ((weight_name, _), grad) in model.weights_mut().into_iter().zip(&grads) {
                let want = tensor(&all, &format!("{name}/grad1/{weight_name}"));
                let got = values(grad);
                let off = worst(&got, &want, true);
                assert!(off < 1e-4, "{name}: gradient of {weight_name} differs by {off}");
            }
        }
        let norm = optimiser.step(&mut model, grads, step as u64, o.lr[step]);
        let off = (norm - variant.grad_norms[step]).abs();
        assert!(off < 5e-5, "{name} step {step}: gradient norm {norm} differs by {off}");
    }
    for (weight_name, weight) in model.weights_mut() {
        let want = tensor(&all, &format!("{name}/final/{weight_name}"));
        let off = worst(&values(&weight.value), &want, false);
        assert!(off < 1.5e-4, "{name}: {weight_name} after ten steps differs by {off}");
    }
}

#[test]
fn ten_steps_agree_with_pytorch_on_a_llama() {
    check("plain", Kernels::Fused);
    check("plain", Kernels::Composed);
}

#[test]
fn ten_steps_agree_with_pytorch_on_a_qwen3() {
    check("qk_norm", Kernels::Fused);
    check("qk_norm", Kernels::Composed);
}

#[test]
fn ten_steps_agree_with_pytorch_on_a_tied_llama() {
    check("tied", Kernels::Fused);
    check("tied", Kernels::Composed);
}
