//! Loss and gradients of the whole decoder by operations on whole tensors, forward and back without
//! autodiff: the path of devices.
//!
//! Weights are f32; their copies in the type of the matrix products live for one step. A step is cut into
//! micro-batches whose size follows from the shape alone, so that activations fit the memory; gradients are
//! summed in f32 in a fixed order, each with the factor of the whole batch, so the loss keeps its
//! definition. Probabilities of attention are computed again in the backward: one layer's are there at a
//! time.

use std::ops::Range;

use burn::tensor::{FloatDType, Tensor};

use super::attention::{Heads, Rope};
use super::decoder::{Ids, Places};
use super::primitives::{Primitives, ids_beside};
use crate::shape::Shape;

/// Activations of a micro-batch at most [bytes].
const ACTIVATIONS: usize = 8 << 30;

/// A decoder on a device: its shape and weights.
#[derive(Debug)]
pub struct TensorDecoder<'a, P> {
    /// Dimensions.
    pub shape: Shape,
    /// Rotary angles for at least its context.
    pub rope: &'a Rope,
    /// f32, without autodiff, in the order of `Transformer::weights_mut`.
    pub weights: Vec<Tensor<2>>,
    /// Type of matrix products and of what they read.
    pub compute: FloatDType,
    /// What happens between the products.
    pub primitives: P,
}

/// What the backward of one layer reads.
struct Layer {
    x: Tensor<2>,
    inverse1: Tensor<2>,
    h1: Tensor<2>,
    /// Raw queries and keys with the inverse roots of their heads, where they are normed.
    raw: Option<[(Tensor<2>, Tensor<2>); 2]>,
    qkv: [Tensor<3>; 3],
    seen: Tensor<2>,
    mid: Tensor<2>,
    inverse2: Tensor<2>,
    h2: Tensor<2>,
    gate_up: Tensor<2>,
    act: Tensor<2>,
}

/// What the backward of the whole reads.
struct Saved {
    heads: Heads,
    layers: Vec<Layer>,
    x: Tensor<2>,
    inverse: Tensor<2>,
    h: Tensor<2>,
    logits: Tensor<2>,
}

impl<P: Primitives> TensorDecoder<'_, P> {
    /// Mean loss of a batch [nats/token].
    ///
    /// # Panics
    ///
    /// When ids do not fill sequences of `context`.
    pub fn loss(&self, ids: Ids<'_>, context: usize) -> f64 {
        let copies = self.copies();
        let parts = self.micro_batches(ids.inputs.len(), context).into_iter().map(|rows| {
            let part = ids.part(rows);
            let logits = self.forward(&copies, part, context, false).logits;
            self.primitives.cross_entropy(logits, part.targets, 0.0).0.sum()
        });
        total(parts) / ids.inputs.len() as f64
    }

    /// Mean loss of a batch [nats/token] and its gradient by every weight, f32, in the order of the weights.
    ///
    /// # Panics
    ///
    /// As [`loss`](Self::loss).
    pub fn gradients(&self, ids: Ids<'_>, context: usize) -> (f64, Vec<Tensor<2>>) {
        let n = ids.inputs.len();
        let copies = self.copies();
        let mut grads: Vec<Option<Tensor<2>>> = vec![None; self.weights.len()];
        let losses: Vec<Tensor<1>> = self
            .micro_batches(n, context)
            .into_iter()
            .map(|rows| {
                let part = ids.part(rows);
                let saved = self.forward(&copies, part, context, true);
                self.backward(&copies, saved, part, 1.0 / n as f32, &mut grads)
            })
            .collect();
        let grads = grads.into_iter().map(|g| g.expect("the backward reaches every weight"));
        (total(losses) / n as f64, grads.collect())
    }

    /// The weights as matrix products read them; gains stay f32.
    fn copies(&self) -> Vec<Tensor<2>> {
        let copy = |w: &Tensor<2>| match w.dims() {
            [1, _] => w.clone(),
            _ => w.clone().cast(self.compute),
        };
        self.weights.iter().map(copy).collect()
    }

    /// Rows of each micro-batch: whole sequences, as many as [`ACTIVATIONS`] allows.
    fn micro_batches(&self, rows: usize, context: usize) -> Vec<Range<usize>> {
        assert!(rows > 0 && rows.is_multiple_of(context), "a batch is whole sequences");
        let Shape { width: d, ff, vocab, layers, heads, .. } = self.shape;
        // f32 for all: an upper bound.
        let per_row = 4 * (layers * (10 * d + 4 * ff) + 4 * d + 3 * vocab + 4 * heads * context);
        let sequences = (ACTIVATIONS / (per_row * context)).max(1);
        let step = sequences * context;
        (0..rows).step_by(step).map(|first| first..(first + step).min(rows)).collect()
    }

    /// Up to the logits. Without `keep`, only the last layer is saved.
    fn forward(&self, w: &[Tensor<2>], ids: Ids<'_>, context: usize, keep: bool) -> Saved {
        let (p, shape) = (&self.primitives, self.shape);
        let heads = Heads {
            sequences: ids.inputs.len() / context,
            context,
            heads: shape.heads,
            head_dim: shape.head_dim(),
        };
        let stream = |x: Tensor<2>, delta: Tensor<2>| x + delta.cast(FloatDType::F32);
        let norm =
            |x: &Tensor<2>, gain: &Tensor<2>| p.rms_norm(x.clone(), gain.clone(), self.compute);
        let mut x = self.weights[0].clone().select(0, ids_beside(ids.inputs, &self.weights[0]));
        let mut layers = Vec::new();
        for i in 0..shape.layers {
            let at = Places::of(shape, i);
            let (h1, inverse1) = norm(&x, &w[at.norm1]);
            let packed = h1.clone().matmul(w[at.qkv].clone());
            let (packed, raw) = match at.qk_norm {
                Some(gains) => {
                    let (packed, raw) = self.norm_heads(&packed, gains.map(|g| &w[g]));
                    (packed, Some(raw))
                }
                None => (packed, None),
            };
            let qkv = p.split_heads(packed, heads, self.rope);
            let seen = merge(self.probabilities(&qkv, heads).matmul(qkv[2].clone()), heads);
            let mid = stream(x.clone(), seen.clone().matmul(w[at.out].clone()));
            let (h2, inverse2) = norm(&mid, &w[at.norm2]);
            let gate_up = h2.clone().matmul(w[at.gate_up].clone());
            let act = p.swiglu(gate_up.clone());
            let next = stream(mid.clone(), act.clone().matmul(w[at.down].clone()));
            if keep {
                layers.push(Layer {
                    x,
                    inverse1,
                    h1,
                    raw,
                    qkv,
                    seen,
                    mid,
                    inverse2,
                    h2,
                    gate_up,
                    act,
                });
            }
            x = next;
        }
        let last = Places::of(shape, shape.layers).norm1;
        let (h, inverse) = norm(&x, &w[last]);
        let logits = if shape.tied {
            h.clone().matmul(w[0].clone().transpose())
        } else {
            h.clone().matmul(w[last + 1].clone())
        };
        Saved { heads, layers, x, inverse, h, logits }
    }

    /// Summed loss, `[1]`; adds the gradient of `factor` times that.
    fn backward(
        &self,
        w: &[Tensor<2>],
        saved: Saved,
        ids: Ids<'_>,
        factor: f32,
        grads: &mut [Option<Tensor<2>>],
    ) -> Tensor<1> {
        let (p, shape) = (&self.primitives, self.shape);
        let Saved { heads, layers, x, inverse, h, logits } = saved;
        let (losses, dlogits) = p.cross_entropy(logits, ids.targets, factor);
        let last = Places::of(shape, shape.layers).norm1;
        let dh = if shape.tied {
            add(&mut grads[0], outer(dlogits.clone(), h));
            dlogits.matmul(w[0].clone())
        } else {
            add(&mut grads[last + 1], outer(h, dlogits.clone()));
            dlogits.matmul(w[last + 1].clone().transpose())
        };
        let zeros = x.zeros_like();
        let (mut dx, dgain) = p.rms_norm_backward(x, dh, w[last].clone(), inverse, zeros);
        add(&mut grads[last], dgain);
        for (i, l) in layers.into_iter().enumerate().rev() {
            let at = Places::of(shape, i);
            let g = dx.clone().cast(self.compute);
            let dact = g.clone().matmul(w[at.down].clone().transpose());
            add(&mut grads[at.down], outer(l.act, g));
            let dwide = p.swiglu_backward(l.gate_up, dact);
            let dh = dwide.clone().matmul(w[at.gate_up].clone().transpose());
            add(&mut grads[at.gate_up], outer(l.h2, dwide));
            let gain = w[at.norm2].clone();
            let (dmid, dgain) = p.rms_norm_backward(l.mid, dh, gain, l.inverse2, dx);
            add(&mut grads[at.norm2], dgain);

            let g = dmid.clone().cast(self.compute);
            let dseen = g.clone().matmul(w[at.out].clone().transpose());
            add(&mut grads[at.out], outer(l.seen, g));
            let dqkv =
                p.join_heads(self.attention_backward(&l.qkv, dseen, heads), heads, self.rope);
            let dqkv = match (l.raw, at.qk_norm) {
                (Some(raw), Some(gains)) => self.norm_heads_backward(raw, &dqkv, gains, w, grads),
                _ => dqkv,
            };
            let dh = dqkv.clone().matmul(w[at.qkv].clone().transpose());
            add(&mut grads[at.qkv], outer(l.h1, dqkv));
            let gain = w[at.norm1].clone();
            let (dnext, dgain) = p.rms_norm_backward(l.x, dh, gain, l.inverse1, dmid);
            add(&mut grads[at.norm1], dgain);
            dx = dnext;
        }
        add(&mut grads[0], p.embedding_gradient(dx, ids.inputs, shape.vocab));
        losses.sum()
    }

    fn probabilities(&self, [q, k, _]: &[Tensor<3>; 3], heads: Heads) -> Tensor<3> {
        let scores = q.clone().matmul(k.clone().transpose());
        self.primitives.causal_softmax(scores, heads.scale())
    }

    /// Gradients of queries, keys and values from that of the output, `[B T, d]`.
    fn attention_backward(
        &self,
        qkv: &[Tensor<3>; 3],
        grad: Tensor<2>,
        heads: Heads,
    ) -> [Tensor<3>; 3] {
        let p = self.probabilities(qkv, heads);
        let [q, k, v] = qkv.clone();
        let grad = unmerge(grad, heads);
        let dv = p.clone().transpose().matmul(grad.clone());
        let dp = grad.matmul(v.transpose());
        let ds = self.primitives.causal_softmax_backward(p, dp, heads.scale());
        [ds.clone().matmul(k), ds.transpose().matmul(q), dv]
    }

    /// RMSNorm over each head of queries and keys; the raw ones, `[B T H, head_dim]` f32, with their inverse
    /// roots.
    fn norm_heads(
        &self,
        packed: &Tensor<2>,
        gains: [&Tensor<2>; 2],
    ) -> (Tensor<2>, [(Tensor<2>, Tensor<2>); 2]) {
        let [n, _] = packed.dims();
        let (d, hd) = (self.shape.width, self.shape.head_dim());
        let mut parts = Vec::with_capacity(3);
        let raw = [0, 1].map(|i| {
            let part = packed.clone().slice([0..n, i * d..(i + 1) * d]);
            let raw = part.reshape([n * self.shape.heads, hd]).cast(FloatDType::F32);
            let (normed, inverse) =
                self.primitives.rms_norm(raw.clone(), gains[i].clone(), self.compute);
            parts.push(normed.reshape([n, d]));
            (raw, inverse)
        });
        parts.push(packed.clone().slice([0..n, 2 * d..3 * d]));
        (Tensor::cat(parts, 1), raw)
    }

    fn norm_heads_backward(
        &self,
        raw: [(Tensor<2>, Tensor<2>); 2],
        dqkv: &Tensor<2>,
        gains: [usize; 2],
        w: &[Tensor<2>],
        grads: &mut [Option<Tensor<2>>],
    ) -> Tensor<2> {
        let [n, _] = dqkv.dims();
        let (d, hd) = (self.shape.width, self.shape.head_dim());
        let mut parts = Vec::with_capacity(3);
        for (i, (x, inverse)) in raw.into_iter().enumerate() {
            let part = dqkv.clone().slice([0..n, i * d..(i + 1) * d]);
            let part = part.reshape([n * self.shape.heads, hd]);
            let (zeros, gain) = (x.zeros_like(), w[gains[i]].clone());
            let (dx, dgain) = self.primitives.rms_norm_backward(x, part, gain, inverse, zeros);
            add(&mut grads[gains[i]], dgain);
            parts.push(dx.cast(self.compute).reshape([n, d]));
        }
        parts.push(dqkv.clone().slice([0..n, 2 * d..3 * d]));
        Tensor::cat(parts, 1)
    }
}

/// `[B H, T, head_dim]` to `[B T, d]`.
fn merge(x: Tensor<3>, heads: Heads) -> Tensor<2> {
    let Heads { sequences: b, context: t, heads: h, head_dim: hd } = heads;
    x.reshape([b, h, t, hd]).swap_dims(1, 2).reshape([b * t, h * hd])
}

/// Back from [`merge`].
fn unmerge(x: Tensor<2>, heads: Heads) -> Tensor<3> {
    let Heads { sequences: b, context: t, heads: h, head_dim: hd } = heads;
    x.reshape([b, t, h, hd]).swap_dims(1, 2).reshape([b * h, t, hd])
}

/// `xᵀ g`, the gradient of a weight.
fn outer(x: Tensor<2>, g: Tensor<2>) -> Tensor<2> {
    x.transpose().matmul(g)
}

/// Adds to a gradient in f32.
fn add(into: &mut Option<Tensor<2>>, part: Tensor<2>) {
    let part = part.cast(FloatDType::F32);
    *into = Some(match into.take() {
        None => part,
        Some(sum) => sum + part,
    });
}

/// The sum of the sums, read once.
fn total(parts: impl IntoIterator<Item = Tensor<1>>) -> f64 {
    let sums = Tensor::cat(parts.into_iter().collect(), 0);
    sums.into_data()
        .try_to_vec::<f32>()
        .expect("losses are f32")
        .iter()
        .map(|v| f64::from(*v))
        .sum()
}
