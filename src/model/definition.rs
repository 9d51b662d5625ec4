//! The model: what every other path computes faster, and is held to.
//!
//! ```text
//! x = embed[ids]                                          [tokens, width]
//! for each block
//!     q, k, v = norm(x) @ qkv                             RMSNorm over q and k of each head with `qk_norm`
//!     x += softmax(rope(q) rope(k)' / sqrt(head_dim)) v @ out    a token sees those before it and itself
//!     gate, up = norm(x) @ gate_up
//!     x += silu(gate) * up @ down
//! logits = norm(x) @ head                                 [tokens, vocab]; head = embed' when tied
//! loss = mean of -ln softmax(logits)[target]              [nats/token]
//! ```

use burn::tensor::{Int, Tensor, TensorData};

use super::{Transformer, Weight};
use crate::data::Batch;
use crate::ops::{self, Heads};

/// What a model computes on a batch.
#[derive(Debug, Clone)]
pub struct Activations {
    /// The residual stream after each block, `[sequences x context, width]`.
    pub stream: Vec<Tensor<2>>,
    /// `[sequences x context, vocab]`.
    pub logits: Tensor<2>,
}

impl Transformer {
    /// Mean next-token loss of a batch by separate operations, shape `[1]` [nats/token].
    pub(super) fn composed(&self, batch: &Batch) -> Tensor<1> {
        ops::cross_entropy(self.activations(batch).logits, &batch.targets)
    }

    /// What the model computes on a batch, by separate operations.
    ///
    /// # Panics
    ///
    /// When ids are not below the vocabulary or do not fill sequences of the batch's context.
    pub fn activations(&self, batch: &Batch) -> Activations {
        self.forward(batch, [1.0; 2])
    }

    /// The same with every branch and the logits multiplied: by 1 but where the tests hold the folded
    /// weights of `complete-p` against the multipliers they stand for.
    pub(crate) fn forward(&self, batch: &Batch, [branch, output]: [f32; 2]) -> Activations {
        let device = self.embed.value.device();
        let ids = TensorData::new(batch.inputs.clone(), [batch.inputs.len()]);
        let ids = Tensor::<1, Int>::from_data(ids, &device);
        let heads = Heads {
            sequences: batch.sequences,
            context: batch.context,
            heads: self.shape.heads,
            head_dim: self.shape.head_dim(),
        };
        let norm = |x, gain: &Weight| ops::rms_norm(x, gain.value.clone());
        let linear = |x: Tensor<2>, weight: &Weight| x.matmul(weight.value.clone());
        let times = |x: Tensor<2>, s: f32| if s == 1.0 { x } else { x.mul_scalar(s) };

        let mut x = self.embed.value.clone().select(0, ids);
        let mut stream = Vec::with_capacity(self.blocks.len());
        for block in &self.blocks {
            let qkv = linear(norm(x.clone(), &block.norm1), &block.qkv);
            let qkv = match &block.qk_norm {
                Some(gains) => self.norm_heads(&qkv, gains),
                None => qkv,
            };
            let seen = ops::attention(qkv, heads, &self.rope);
            x = x + times(linear(seen, &block.out), branch);
            let hidden = linear(norm(x.clone(), &block.norm2), &block.gate_up);
            x = x + times(linear(ops::swiglu(hidden), &block.down), branch);
            stream.push(x.clone());
        }
        let x = norm(x, &self.norm_f);
        let logits = match &self.head {
            Some(head) => linear(x, head),
            None => x.matmul(self.embed.value.clone().transpose()),
        };
        Activations { stream, logits: times(logits, output) }
    }

    /// RMSNorm over each head of the queries and keys (Henry et al. 2020, 2010.04245; as in Qwen3).
    fn norm_heads(&self, qkv: &Tensor<2>, gains: &[Weight; 2]) -> Tensor<2> {
        let [rows, _] = qkv.dims();
        let (d, hd) = (self.shape.width, self.shape.head_dim());
        let normed = |i: usize, gain: &Weight| {
            let part = qkv.clone().slice([0..rows, i * d..(i + 1) * d]);
            let part = part.reshape([rows * self.shape.heads, hd]);
            ops::rms_norm(part, gain.value.clone()).reshape([rows, d])
        };
        let v = qkv.clone().slice([0..rows, 2 * d..3 * d]);
        Tensor::cat(vec![normed(0, &gains[0]), normed(1, &gains[1]), v], 1)
    }
}
