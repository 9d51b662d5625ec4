//! The decoder-only Transformer: pre-norm RMSNorm, rotary attention, SwiGLU, no biases: the shapes of
//! Llama, and of Qwen3 with `qk_norm`.
//!
//! `definition.rs` is the model, a page of named operations; burn's autodiff differentiates it on any device. The
//! fused paths of [`crate::ops`] compute the same faster and are held to it, in value and gradient.
//!
//! Weights are plain tensors with a role; the optimiser and the record walk them by name. Linear layers
//! are `[in, out]`, gains `[1, width]`.

pub mod check;
mod choice;
mod definition;
mod infer;
mod init;
mod scaling;
mod values;

use burn::tensor::{Device, FloatDType, Tensor};

use crate::data::Batch;
use crate::ops::{self, CpuWeights, Decoder, Ids, Kernels, Plain, Primitives, Rope, TensorDecoder};
use crate::shape::Shape;

pub use choice::Choice;
pub use definition::Activations;
pub use infer::Scored;
pub use scaling::{Factors, Scaling};
pub use values::Values;

/// What a weight is for: decides its initial scale, learning rate and weight decay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Rows are looked up, never multiplied.
    Embedding,
    /// A hidden matrix: fan-in and fan-out grow with the width.
    Matrix,
    /// A hidden matrix whose output is added to the stream: `out` and `down`.
    Residual,
    /// From the width to the vocabulary.
    Head,
    /// The gain of a norm within a block.
    Gain,
    /// The gain of the norm before the head.
    FinalGain,
}

impl Role {
    /// Whether it is the gain of a norm, which starts at one.
    pub fn is_gain(self) -> bool {
        matches!(self, Self::Gain | Self::FinalGain)
    }
}

/// One trainable tensor.
#[derive(Debug, Clone)]
pub struct Weight {
    /// What it is for.
    pub role: Role,
    /// Its values, without autodiff: burn frees the nodes of tracked tensors at a backward only, so that
    /// anything else done with them leaks.
    pub value: Tensor<2>,
}

/// Where tensors live and which operations they use.
#[derive(Debug, Clone)]
pub struct Place {
    /// Device, without autodiff.
    pub device: Device,
    /// Implementation of the operations.
    pub kernels: Kernels,
    /// What the activations of a micro-batch may take at most, where kernels work on whole tensors [bytes].
    pub activations: u64,
}

impl Place {
    /// On burn's CPU backend.
    pub fn cpu(kernels: Kernels) -> Self {
        Self { device: Device::flex(), kernels, activations: u64::MAX }
    }
}

/// One block: attention and MLP, each on a normed copy of the stream and added to it.
#[derive(Debug, Clone)]
struct Block {
    norm1: Weight,
    qkv: Weight,
    qk_norm: Option<[Weight; 2]>,
    out: Weight,
    norm2: Weight,
    gate_up: Weight,
    down: Weight,
}

/// A model with its weights on one device.
#[derive(Debug, Clone)]
pub struct Transformer {
    shape: Shape,
    place: Place,
    rope: Rope,
    embed: Weight,
    blocks: Vec<Block>,
    norm_f: Weight,
    /// `None` when tied to the embedding.
    head: Option<Weight>,
}

impl Transformer {
    /// A model with fresh weights, a pure function of the shape, the scaling and the seed.
    pub fn new(shape: Shape, scaling: Scaling, seed: u64, place: &Place) -> Self {
        let mut make = init::Maker::new(shape, scaling, seed, &place.device);
        let mut draw = |name: &str, role, rows, columns| make.weight(name, role, rows, columns);
        Self::build(shape, place, &mut draw)
    }

    /// A model of what `value` gives for each weight: its name, role, rows and columns.
    fn build(
        shape: Shape,
        place: &Place,
        value: &mut dyn FnMut(&str, Role, usize, usize) -> Tensor<2>,
    ) -> Self {
        let mut weight = |name: &str, role, rows, columns| Weight {
            role,
            value: value(name, role, rows, columns),
        };
        let Shape { width: d, ff, vocab, .. } = shape;
        let hd = shape.head_dim();
        let embed = weight("embed", Role::Embedding, vocab, d);
        let blocks = (0..shape.layers)
            .map(|i| {
                let mut part = |name, role, rows, columns| {
                    weight(&format!("blocks.{i}.{name}"), role, rows, columns)
                };
                Block {
                    norm1: part("norm1", Role::Gain, 1, d),
                    qkv: part("qkv", Role::Matrix, d, 3 * d),
                    qk_norm: shape.qk_norm.then(|| {
                        [part("q_norm", Role::Gain, 1, hd), part("k_norm", Role::Gain, 1, hd)]
                    }),
                    out: part("out", Role::Residual, d, d),
                    norm2: part("norm2", Role::Gain, 1, d),
                    gate_up: part("gate_up", Role::Matrix, d, 2 * ff),
                    down: part("down", Role::Residual, ff, d),
                }
            })
            .collect();
        let norm_f = weight("norm_f", Role::FinalGain, 1, d);
        let head = (!shape.tied).then(|| weight("head", Role::Head, d, vocab));
        let rope = Rope::new(shape.context, hd);
        Self { shape, place: place.clone(), rope, embed, blocks, norm_f, head }
    }

    /// Dimensions.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Implementation of the operations.
    pub fn kernels(&self) -> Kernels {
        self.place.kernels
    }

    /// Every weight with its name, in the order of the forward pass.
    pub fn weights_mut(&mut self) -> Vec<(String, &mut Weight)> {
        let mut out = vec![("embed".to_owned(), &mut self.embed)];
        for (i, block) in self.blocks.iter_mut().enumerate() {
            let mut push = |name: &str, weight| out.push((format!("blocks.{i}.{name}"), weight));
            push("norm1", &mut block.norm1);
            push("qkv", &mut block.qkv);
            if let Some([q, k]) = &mut block.qk_norm {
                push("q_norm", q);
                push("k_norm", k);
            }
            push("out", &mut block.out);
            push("norm2", &mut block.norm2);
            push("gate_up", &mut block.gate_up);
            push("down", &mut block.down);
        }
        out.push(("norm_f".to_owned(), &mut self.norm_f));
        out.extend(self.head.as_mut().map(|head| ("head".to_owned(), head)));
        out
    }

    /// Mean next-token loss of a batch [nats/token].
    pub fn loss(&self, batch: &Batch) -> f64 {
        match self.place.kernels {
            Kernels::Fused => self.on_cpu(|decoder| decoder.loss(ids(batch), batch.context)),
            Kernels::Tensors(compute) => {
                self.on_device(compute, Plain).loss(ids(batch), batch.context)
            }
            #[cfg(feature = "cube")]
            Kernels::Cubes(compute, products) => {
                self.on_device(compute, ops::Cubes(products)).loss(ids(batch), batch.context)
            }
            Kernels::Composed => f64::from(self.composed(batch).into_scalar::<f32>()),
        }
    }

    /// The loss of a batch [nats/token] and its gradient by every weight, in the order of
    /// [`weights_mut`](Self::weights_mut).
    ///
    /// # Panics
    ///
    /// When ids are not below the vocabulary or do not fill sequences of the batch's context.
    pub fn gradients(&self, batch: &Batch) -> (f64, Vec<Tensor<2>>) {
        match self.place.kernels {
            Kernels::Fused => {
                let (loss, grads) = self.on_cpu(|d| d.gradients(ids(batch), batch.context));
                let grads = grads.into_iter().zip(self.weights());
                (loss, grads.map(|(g, w)| ops::cpu_tensor(g, w.value.dims())).collect())
            }
            Kernels::Tensors(compute) => {
                self.on_device(compute, Plain).gradients(ids(batch), batch.context)
            }
            #[cfg(feature = "cube")]
            Kernels::Cubes(compute, products) => {
                self.on_device(compute, ops::Cubes(products)).gradients(ids(batch), batch.context)
            }
            Kernels::Composed => self.differentiated(|tracked| tracked.composed(batch)),
        }
    }

    /// A loss by separate operations and its gradients by burn's autodiff.
    pub(crate) fn differentiated(
        &self,
        loss: impl FnOnce(&Self) -> Tensor<1>,
    ) -> (f64, Vec<Tensor<2>>) {
        let mut tracked = self.clone();
        for (_, weight) in tracked.weights_mut() {
            weight.value = weight.value.clone().autodiff().require_grad();
        }
        let loss = loss(&tracked);
        let grads = loss.backward();
        let grad = |w: &Weight| w.value.grad(&grads).expect("part of the loss");
        let all = tracked.weights().into_iter().map(grad).collect();
        (f64::from(loss.into_scalar::<f32>()), all)
    }

    /// The fused path: all operations at once, a few sequences at a time.
    fn on_cpu<T>(&self, work: impl FnOnce(&Decoder<'_>) -> T) -> T {
        let weights = CpuWeights::new(self.weights().into_iter().map(|w| w.value.clone()));
        work(&Decoder { shape: self.shape, rope: &self.rope, weights: weights.slices() })
    }

    /// The path of devices: whole tensors, one operation after the other.
    fn on_device<P: Primitives>(&self, compute: FloatDType, primitives: P) -> TensorDecoder<'_, P> {
        let weights = self.weights().into_iter().map(|w| w.value.clone()).collect();
        let (shape, rope, activations) = (self.shape, &self.rope, self.place.activations);
        TensorDecoder { shape, rope, weights, compute, primitives, activations }
    }

    /// Every weight, in the order of [`weights_mut`](Self::weights_mut).
    fn weights(&self) -> Vec<&Weight> {
        let mut out = vec![&self.embed];
        for block in &self.blocks {
            out.extend([&block.norm1, &block.qkv]);
            out.extend(block.qk_norm.iter().flatten());
            out.extend([&block.out, &block.norm2, &block.gate_up, &block.down]);
        }
        out.push(&self.norm_f);
        out.extend(&self.head);
        out
    }
}

fn ids(batch: &Batch) -> Ids<'_> {
    Ids { inputs: &batch.inputs, targets: &batch.targets }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn shape(qk_norm: bool, tied: bool) -> Shape {
        Shape { vocab: 31, context: 8, width: 12, layers: 2, heads: 3, ff: 24, qk_norm, tied }
    }

    fn model(shape: Shape, kernels: Kernels) -> Transformer {
        Transformer::new(shape, Scaling::one_rate(0.5), 3, &Place::cpu(kernels))
    }

    #[test]
    fn the_counts_of_the_config_are_the_tensors_that_exist() {
        for (qk_norm, tied) in [(false, false), (true, false), (false, true), (true, true)] {
            let shape = shape(qk_norm, tied);
            let mut model = model(shape, Kernels::Fused);
            let count = |filter: &dyn Fn(Role) -> bool, model: &mut Transformer| -> usize {
                let weights = model.weights_mut();
                let kept = weights.iter().filter(|(_, w)| filter(w.role));
                kept.map(|(_, w)| w.value.dims().iter().product::<usize>()).sum()
            };
            let hidden = |r| matches!(r, Role::Matrix | Role::Residual);
            let counts = shape.counts();
            assert_eq!(counts.total, count(&|_| true, &mut model) as f64);
            let block = count(&|r| r.is_gain() || hidden(r), &mut model);
            assert_eq!(counts.non_embedding, block as f64);
            let head = if tied { Role::Embedding } else { Role::Head };
            let matmul = count(&|r| hidden(r) || r == head, &mut model);
            assert_eq!(counts.matmul, matmul as f64);
        }
    }

    #[test]
    fn a_fresh_model_knows_nothing_and_says_so() {
        let ids: Vec<i32> = (0..8 * 50).map(|i| i * 7 % 31).collect();
        let batch = Batch { inputs: ids.clone(), targets: ids, sequences: 50, context: 8 };
        let loss = model(shape(false, false), Kernels::Fused).loss(&batch);
        assert!((loss - 31_f64.ln()).abs() < 0.1, "{loss} against ln 31 = {}", 31_f64.ln());
    }

    /// Oracle: burn's autodiff over the composition.
    #[test]
    fn every_path_has_the_loss_and_gradients_of_the_composition() {
        for kernels in
            [Kernels::Fused, Kernels::Tensors(FloatDType::F32), Kernels::Tensors(FloatDType::BF16)]
        {
            let mut count = 0;
            check::cases(&Place::cpu(kernels), &mut |case| {
                assert!(case.holds(), "{kernels:?}: {case:?}");
                count += 1;
            });
            assert!(count > 100, "{kernels:?}: {count}");
        }
    }

    #[test]
    fn the_gradients_have_the_same_bits_for_any_number_of_threads() {
        let shape = shape(true, false);
        let model = model(shape, Kernels::Fused);
        // Many chunks, each of the best size; and so few rows that their number decides the size.
        for batch in [700, 100].map(|sequences| check::batch(&shape, sequences)) {
            let run = |threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let (loss, grads) = pool.install(|| model.gradients(&batch));
                let bits = |g: Tensor<2>| {
                    g.into_data().try_to_vec::<f32>().unwrap().into_iter().map(f32::to_bits)
                };
                (loss.to_bits(), grads.into_iter().flat_map(bits).collect::<Vec<_>>())
            };
            let one = run(1);
            assert!([2, 3, 5, 16].into_iter().all(|threads| run(threads) == one));
        }
    }
}
