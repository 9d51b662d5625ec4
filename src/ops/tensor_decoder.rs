//! Loss and gradients of the whole decoder by operations on whole tensors, forward and back without
//! autodiff: the path of devices.
//!
//! Weights are f32; their copies in the type of the matrix products live for one step. A step is cut into
//! micro-batches, so that activations fit the memory that this cell may use for them; gradients are
//! summed in f32 in a fixed order, each with the factor of the whole batch, so the loss keeps its
//! definition. Scores and probabilities of attention are computed again in the backward: one layer's are
//! there at a time.

use std::ops::Range;

use burn::tensor::{DType, FloatDType, Tensor};

use super::attention::{Heads, Rope};
use super::decoder::{Ids, Places, padded, padded_chunks};
use super::primitives::Primitives;
use crate::shape::Shape;

/// What the activations of sequences that are read may take at most [bytes].
const READ: u64 = 1 << 30;

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
    /// The operations.
    pub primitives: P,
    /// What the activations of a micro-batch may take at most [bytes]; one sequence is taken in any case.
    pub activations: u64,
}

/// What the backward of one layer reads.
struct Layer {
    x: Tensor<2>,
    inverse1: Tensor<2>,
    h1: Tensor<2>,
    /// Packed queries, keys and values before the norm of heads, and the inverse roots of that.
    raw: Option<(Tensor<2>, Tensor<2>)>,
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
            self.primitives.sum(self.primitives.losses(logits, part.targets))
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

    /// What `read` makes of rows of logits; as [`Decoder::read`](super::Decoder::read), and as many logits are there at
    /// a time as the activations of a micro-batch may take, up to 1 GiB.
    ///
    /// # Panics
    ///
    /// When an input is empty or longer than the rotary table.
    pub fn read<T>(
        &self,
        inputs: &[(&[i32], usize)],
        read: impl Fn(usize, usize, &[f32]) -> T,
    ) -> Vec<Vec<T>> {
        let copies = self.copies();
        let lengths: Vec<usize> = inputs.iter().map(|(ids, _)| ids.len()).collect();
        let row = self.shape.activation_bytes(DType::from(self.compute).size()) as u64;
        let rows = (self.activations.min(READ) / row) as usize;
        let mut out = Vec::with_capacity(inputs.len());
        for chunk in padded_chunks(&lengths, rows) {
            let ids: Vec<&[i32]> = inputs[chunk.clone()].iter().map(|(ids, _)| *ids).collect();
            let (all, context) = padded(&ids);
            let logits =
                self.forward(&copies, Ids { inputs: &all, targets: &[] }, context, false).logits;
            let logits = logits.cast(FloatDType::F32).into_data();
            let logits = logits.try_to_vec::<f32>().expect("logits are f32");
            for (i, logits) in chunk.zip(logits.chunks(context * self.shape.vocab)) {
                let wanted = inputs[i].1..lengths[i];
                let rows = logits.chunks(self.shape.vocab).enumerate();
                let rows = rows.skip(wanted.start).take(wanted.len());
                out.push(rows.map(|(row, logits)| read(i, row, logits)).collect());
            }
        }
        out
    }

    /// The weights as matrix products read them; gains stay f32.
    fn copies(&self) -> Vec<Tensor<2>> {
        let copy = |w: &Tensor<2>| match w.dims() {
            [1, _] => w.clone(),
            _ => self.primitives.cast(w.clone(), self.compute),
        };
        self.weights.iter().map(copy).collect()
    }

    /// Rows of each micro-batch: whole sequences, as many as [`activations`](Self::activations) allows.
    fn micro_batches(&self, rows: usize, context: usize) -> Vec<Range<usize>> {
        assert!(rows > 0 && rows.is_multiple_of(context), "a batch is whole sequences");
        let row = self.shape.activation_bytes(DType::from(self.compute).size()) as u64;
        let sequences = (self.activations / (row * context as u64)).max(1) as usize;
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
        let norm =
            |x: &Tensor<2>, gain: &Tensor<2>| p.rms_norm(x.clone(), gain.clone(), self.compute);
        let product = |x: &Tensor<2>, w: &Tensor<2>| p.product(x.clone(), w.clone(), self.compute);
        let mut x = p.embed(self.weights[0].clone(), ids.inputs);
        let mut layers = Vec::new();
        for i in 0..shape.layers {
            let at = Places::of(shape, i);
            let (h1, inverse1) = norm(&x, &w[at.norm1]);
            let packed = product(&h1, &w[at.qkv]);
            let (packed, raw) = match at.qk_norm {
                Some(gains) => {
                    let gains = gains.map(|g| w[g].clone());
                    let (normed, inverse) = p.norm_heads(packed.clone(), gains, heads);
                    (normed, Some((packed, inverse)))
                }
                None => (packed, None),
            };
            let qkv = p.split_heads(packed, heads, self.rope);
            let seen = p.product(self.probabilities(&qkv, heads), qkv[2].clone(), self.compute);
            let seen = p.merge(seen, heads);
            let mid = p.residual(x.clone(), product(&seen, &w[at.out]));
            let (h2, inverse2) = norm(&mid, &w[at.norm2]);
            let gate_up = product(&h2, &w[at.gate_up]);
            let act = p.swiglu(gate_up.clone());
            let next = p.residual(mid.clone(), product(&act, &w[at.down]));
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
            product(&h, &w[0].clone().transpose())
        } else {
            product(&h, &w[last + 1])
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
        // The gradient of what came in, and of the weight.
        let back = |g: &Tensor<2>, w: &Tensor<2>| {
            p.product(g.clone(), w.clone().transpose(), self.compute)
        };
        let outer = |x: Tensor<2>, g: Tensor<2>| p.product(x.transpose(), g, FloatDType::F32);
        let last = Places::of(shape, shape.layers).norm1;
        let dh = if shape.tied {
            add(&mut grads[0], outer(dlogits.clone(), h));
            p.product(dlogits, w[0].clone(), self.compute)
        } else {
            add(&mut grads[last + 1], outer(h, dlogits.clone()));
            back(&dlogits, &w[last + 1])
        };
        let (mut dx, dgain) = p.rms_norm_backward(x, dh, w[last].clone(), inverse, None);
        add(&mut grads[last], dgain);
        for (i, l) in layers.into_iter().enumerate().rev() {
            let at = Places::of(shape, i);
            let g = p.cast(dx.clone(), self.compute);
            let dact = back(&g, &w[at.down]);
            add(&mut grads[at.down], outer(l.act, g));
            let dwide = p.swiglu_backward(l.gate_up, dact);
            let dh = back(&dwide, &w[at.gate_up]);
            add(&mut grads[at.gate_up], outer(l.h2, dwide));
            let gain = w[at.norm2].clone();
            let (dmid, dgain) = p.rms_norm_backward(l.mid, dh, gain, l.inverse2, Some(dx));
            add(&mut grads[at.norm2], dgain);

            let g = p.cast(dmid.clone(), self.compute);
            let dseen = back(&g, &w[at.out]);
            add(&mut grads[at.out], outer(l.seen, g));
            let dparts = self.attention_backward(&l.qkv, dseen, heads);
            let mut dqkv = p.join_heads(dparts, heads, self.rope);
            if let (Some((packed, inverse)), Some(gains)) = (l.raw, at.qk_norm) {
                let weights = gains.map(|g| w[g].clone());
                let (grad, dgains) = p.norm_heads_backward(packed, dqkv, weights, inverse, heads);
                gains.into_iter().zip(dgains).for_each(|(g, dgain)| add(&mut grads[g], dgain));
                dqkv = grad;
            }
            let dh = back(&dqkv, &w[at.qkv]);
            add(&mut grads[at.qkv], outer(l.h1, dqkv));
            let gain = w[at.norm1].clone();
            let (dnext, dgain) = p.rms_norm_backward(l.x, dh, gain, l.inverse1, Some(dmid));
            add(&mut grads[at.norm1], dgain);
            dx = dnext;
        }
        add(&mut grads[0], p.embedding_gradient(dx, ids.inputs, shape.vocab));
        p.sum(losses)
    }

    fn probabilities(&self, [q, k, _]: &[Tensor<3>; 3], heads: Heads) -> Tensor<3> {
        let p = &self.primitives;
        let scores = p.product(q.clone(), k.clone().transpose(), FloatDType::F32);
        p.causal_softmax(scores, heads.scale(), self.compute)
    }

    /// Gradients of queries, keys and values from that of the output, `[B T, d]`.
    fn attention_backward(
        &self,
        qkv: &[Tensor<3>; 3],
        grad: Tensor<2>,
        heads: Heads,
    ) -> [Tensor<3>; 3] {
        let (p, compute) = (&self.primitives, self.compute);
        let seen = self.probabilities(qkv, heads);
        let [q, k, v] = qkv.clone();
        let grad = p.unmerge(grad, heads);
        let dv = p.product(seen.clone().transpose(), grad.clone(), compute);
        let dseen = p.product(grad, v.transpose(), FloatDType::F32);
        let ds = p.causal_softmax_backward(seen, dseen, heads.scale());
        let dq = p.product(ds.clone(), k, compute);
        [dq, p.product(ds.transpose(), q, compute), dv]
    }
}

/// Adds to a gradient, f32.
fn add(into: &mut Option<Tensor<2>>, part: Tensor<2>) {
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

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;
    use crate::ops::Plain;

    #[test]
    fn scores_reach_the_softmax_in_f32() {
        let shape = Shape {
            vocab: 5,
            context: 2,
            width: 4,
            layers: 1,
            heads: 1,
            ff: 8,
            qk_norm: false,
            tied: false,
        };
        let decoder = TensorDecoder {
            shape,
            rope: &Rope::new(2, 4),
            weights: Vec::new(),
            compute: FloatDType::BF16,
            primitives: Plain,
            activations: u64::MAX,
        };
        let heads = Heads { sequences: 1, context: 2, heads: 1, head_dim: 4 };
        let part = |rows: [f32; 8]| {
            Tensor::<3>::from_data(TensorData::new(rows.to_vec(), [1, 2, 4]), &Device::flex())
                .cast(FloatDType::BF16)
        };
        // The second token's scores are 256 and 257: bf16 has no 257.
        let q = part([16.0, 1.0, 0.0, 0.0, 16.0, 1.0, 0.0, 0.0]);
        let k = part([16.0, 0.0, 0.0, 0.0, 16.0, 1.0, 0.0, 0.0]);
        let p = decoder.probabilities(&[q.clone(), k, q], heads);
        let p = p.cast(FloatDType::F32).into_data().try_to_vec::<f32>().unwrap();
        let want = 1.0 / (1.0 + (-0.5_f32).exp());
        assert!((p[3] - want).abs() < 4e-3, "{p:?}");
    }
}
