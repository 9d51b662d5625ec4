//! The operations between the matrix products of a decoder, forward and back, on tensors without autodiff.
//!
//! Each is one pass over memory on a device that has a kernel for it. [`Plain`] does the same by burn's
//! operations on any device, and is what kernels are held to.
//!
//! T is the type of matrix products, f32 or bf16. Arithmetic and sums are f32, as are the residual stream,
//! the scores of attention and all gradients that are summed.

use burn::tensor::{Bool, FloatDType, IndexingUpdateOp, Int, Tensor, TensorData, activation};

use super::attention::{Heads, Rope};
use super::rms_norm::EPS;

/// See the module.
pub trait Primitives {
    /// The matrix product of two tensors of T, whose last two dimensions may be transposed views; summed in
    /// f32 and rounded once, to the type `to`.
    fn product<const D: usize>(&self, a: Tensor<D>, b: Tensor<D>, to: FloatDType) -> Tensor<D>;

    /// A copy in another type.
    fn cast(&self, x: Tensor<2>, to: FloatDType) -> Tensor<2>;

    /// Rows of a table f32 `[vocab, d]` by their ids, f32 `[n, d]`.
    fn embed(&self, table: Tensor<2>, ids: &[i32]) -> Tensor<2>;

    /// The stream f32 `[n, d]` and what is added to it, T `[n, d]`.
    fn residual(&self, x: Tensor<2>, delta: Tensor<2>) -> Tensor<2>;

    /// x f32 `[n, d]`, gain f32 `[1, d]` to the norm in the type `to`, `[n, d]`, and the inverse root of each
    /// row's mean square, f32 `[n, 1]`.
    fn rms_norm(&self, x: Tensor<2>, gain: Tensor<2>, to: FloatDType) -> (Tensor<2>, Tensor<2>);

    /// The gradient by x, f32, added to `dx` f32 where there is one; and the one by the gain, f32 `[1, d]`.
    /// `grad` T `[n, d]`.
    fn rms_norm_backward(
        &self,
        x: Tensor<2>,
        grad: Tensor<2>,
        gain: Tensor<2>,
        inverse: Tensor<2>,
        dx: Option<Tensor<2>>,
    ) -> (Tensor<2>, Tensor<2>);

    /// RMSNorm over each head of queries and keys in packed T `[B T, 3 d]`, with the two gains f32
    /// `[1, head_dim]`; and the inverse root of each head's mean square, f32 `[B T, 2 H]`.
    fn norm_heads(
        &self,
        packed: Tensor<2>,
        gains: [Tensor<2>; 2],
        heads: Heads,
    ) -> (Tensor<2>, Tensor<2>);

    /// The gradient of [`norm_heads`](Self::norm_heads) by `packed`, T, and by the two gains.
    fn norm_heads_backward(
        &self,
        packed: Tensor<2>,
        grad: Tensor<2>,
        gains: [Tensor<2>; 2],
        inverse: Tensor<2>,
        heads: Heads,
    ) -> (Tensor<2>, [Tensor<2>; 2]);

    /// Gate and up T `[n, 2 ff]` to T `[n, ff]`.
    fn swiglu(&self, gate_up: Tensor<2>) -> Tensor<2>;

    /// T `[n, 2 ff]` from the gradient T `[n, ff]`.
    fn swiglu_backward(&self, gate_up: Tensor<2>, grad: Tensor<2>) -> Tensor<2>;

    /// Packed T `[B T, 3 d]` to queries, keys and values, each T `[B H, T, head_dim]`, the first two rotated.
    fn split_heads(&self, qkv: Tensor<2>, heads: Heads, rope: &Rope) -> [Tensor<3>; 3];

    /// The gradient of [`split_heads`](Self::split_heads): packed, rotated back.
    fn join_heads(&self, parts: [Tensor<3>; 3], heads: Heads, rope: &Rope) -> Tensor<2>;

    /// `[B H, T, head_dim]` to `[B T, d]`.
    fn merge(&self, x: Tensor<3>, heads: Heads) -> Tensor<2>;

    /// Back from [`merge`](Self::merge).
    fn unmerge(&self, x: Tensor<2>, heads: Heads) -> Tensor<3>;

    /// Scores f32 `[B H, T, T]` to the probabilities of `scale` times them in the type `to`, columns after the
    /// row 0.
    fn causal_softmax(&self, scores: Tensor<3>, scale: f32, to: FloatDType) -> Tensor<3>;

    /// The gradient by the scores, T, from the probabilities T and their gradient f32.
    fn causal_softmax_backward(&self, p: Tensor<3>, dp: Tensor<3>, scale: f32) -> Tensor<3>;

    /// Logits T `[n, V]` and a target each to losses f32 `[n, 1]` [nats].
    fn losses(&self, logits: Tensor<2>, targets: &[i32]) -> Tensor<2>;

    /// The same losses, and `factor` times their gradient, T.
    fn cross_entropy(
        &self,
        logits: Tensor<2>,
        targets: &[i32],
        factor: f32,
    ) -> (Tensor<2>, Tensor<2>);

    /// f32 `[vocab, d]` from the gradient of the rows looked up, f32 `[n, d]`; the same bits every time.
    fn embedding_gradient(&self, dx: Tensor<2>, ids: &[i32], vocab: usize) -> Tensor<2>;

    /// The sum of all elements of an f32 tensor, `[1]`; the same bits every time.
    fn sum(&self, x: Tensor<2>) -> Tensor<1>;

    /// The sum of the squares of all elements of f32 tensors, `[1]`; the same bits every time.
    fn squares(&self, tensors: &[Tensor<2>]) -> Tensor<1>;
}

/// By burn's operations.
#[derive(Debug, Clone, Copy)]
pub struct Plain;

/// In f32.
fn wide<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    x.cast(FloatDType::F32)
}

/// In the type of another tensor.
fn like<const D: usize, const E: usize>(x: Tensor<D>, other: &Tensor<E>) -> Tensor<D> {
    x.cast(FloatDType::from(other.dtype()))
}

/// Ids as a tensor beside another one.
pub(super) fn ids_beside<const D: usize>(ids: &[i32], other: &Tensor<D>) -> Tensor<1, Int> {
    Tensor::from_data(TensorData::new(ids.to_vec(), [ids.len()]), &other.device())
}

impl Primitives for Plain {
    fn product<const D: usize>(&self, a: Tensor<D>, b: Tensor<D>, to: FloatDType) -> Tensor<D> {
        // burn's CPU backend rounds a product to the type of its operands: sums are f32 here.
        a.cast(FloatDType::F32).matmul(b.cast(FloatDType::F32)).cast(to)
    }

    fn cast(&self, x: Tensor<2>, to: FloatDType) -> Tensor<2> {
        x.cast(to)
    }

    fn embed(&self, table: Tensor<2>, ids: &[i32]) -> Tensor<2> {
        let ids = ids_beside(ids, &table);
        table.select(0, ids)
    }

    fn residual(&self, x: Tensor<2>, delta: Tensor<2>) -> Tensor<2> {
        x + wide(delta)
    }

    fn rms_norm(&self, x: Tensor<2>, gain: Tensor<2>, to: FloatDType) -> (Tensor<2>, Tensor<2>) {
        let inverse = (x.clone().powi_scalar(2).mean_dim(1) + EPS).sqrt().recip();
        ((x * inverse.clone() * gain).cast(to), inverse)
    }

    fn rms_norm_backward(
        &self,
        x: Tensor<2>,
        grad: Tensor<2>,
        gain: Tensor<2>,
        inverse: Tensor<2>,
        dx: Option<Tensor<2>>,
    ) -> (Tensor<2>, Tensor<2>) {
        let grad = wide(grad);
        let normed = x * inverse.clone();
        let dgain = (grad.clone() * normed.clone()).sum_dim(0);
        let inner = grad * gain;
        let mean = (inner.clone() * normed.clone()).mean_dim(1);
        let own = (inner - normed * mean) * inverse;
        (dx.map_or_else(|| own.clone(), |dx| dx + own.clone()), dgain)
    }

    fn norm_heads(
        &self,
        packed: Tensor<2>,
        gains: [Tensor<2>; 2],
        heads: Heads,
    ) -> (Tensor<2>, Tensor<2>) {
        let (n, d, to) = (packed.dims()[0], heads.width(), FloatDType::from(packed.dtype()));
        let [q, k, v] = columns(&packed);
        let [q, k] = [q, k].map(|x| wide(x).reshape([n * heads.heads, heads.head_dim]));
        let [gain_q, gain_k] = gains;
        let [(q, rq), (k, rk)] = [self.rms_norm(q, gain_q, to), self.rms_norm(k, gain_k, to)];
        let packed = Tensor::cat(vec![q.reshape([n, d]), k.reshape([n, d]), v], 1);
        (packed, Tensor::cat([rq, rk].map(|r| r.reshape([n, heads.heads])).to_vec(), 1))
    }

    fn norm_heads_backward(
        &self,
        packed: Tensor<2>,
        grad: Tensor<2>,
        gains: [Tensor<2>; 2],
        inverse: Tensor<2>,
        heads: Heads,
    ) -> (Tensor<2>, [Tensor<2>; 2]) {
        let (n, d, kind) = (packed.dims()[0], heads.width(), grad.clone());
        let rows = n * heads.heads;
        let ([xq, xk, _], [gq, gk, gv]) = (columns(&packed), columns(&grad));
        let [rq, rk] = columns(&inverse);
        let [gain_q, gain_k] = gains;
        let one = |x: Tensor<2>, g: Tensor<2>, gain, r: Tensor<2>| {
            let [x, g] = [wide(x), wide(g)].map(|t| t.reshape([rows, heads.head_dim]));
            let (dx, dgain) = self.rms_norm_backward(x, g, gain, r.reshape([rows, 1]), None);
            (like(dx.reshape([n, d]), &kind), dgain)
        };
        let (dq, dgain_q) = one(xq, gq, gain_q, rq);
        let (dk, dgain_k) = one(xk, gk, gain_k, rk);
        (Tensor::cat(vec![dq, dk, gv], 1), [dgain_q, dgain_k])
    }

    fn swiglu(&self, gate_up: Tensor<2>) -> Tensor<2> {
        like(super::swiglu(wide(gate_up.clone())), &gate_up)
    }

    fn swiglu_backward(&self, gate_up: Tensor<2>, grad: Tensor<2>) -> Tensor<2> {
        let [n, width] = gate_up.dims();
        let (x, grad) = (wide(gate_up.clone()), wide(grad));
        let (gate, up) = (x.clone().slice([0..n, 0..width / 2]), x.slice([0..n, width / 2..width]));
        let s = activation::sigmoid(gate.clone());
        let dup = grad.clone() * gate.clone() * s.clone();
        let slope = s.clone() * ((1.0 - s) * gate + 1.0);
        like(Tensor::cat(vec![grad * up * slope, dup], 1), &gate_up)
    }

    fn split_heads(&self, qkv: Tensor<2>, heads: Heads, rope: &Rope) -> [Tensor<3>; 3] {
        let Heads { sequences: b, context: t, heads: h, head_dim: hd } = heads;
        let parts = wide(qkv.clone()).reshape([b, t, 3 * h, hd]).swap_dims(1, 2);
        let part = |i: usize| parts.clone().slice([0..b, i * h..(i + 1) * h]);
        [rope.turn(part(0), 1.0), rope.turn(part(1), 1.0), part(2)]
            .map(|x| like(x, &qkv).reshape([b * h, t, hd]))
    }

    fn join_heads(&self, parts: [Tensor<3>; 3], heads: Heads, rope: &Rope) -> Tensor<2> {
        let Heads { sequences: b, context: t, heads: h, head_dim: hd } = heads;
        let kind = parts[0].clone();
        let [q, k, v] = parts.map(|x| wide(x).reshape([b, h, t, hd]));
        let packed = Tensor::cat(vec![rope.turn(q, -1.0), rope.turn(k, -1.0), v], 1);
        like(packed.swap_dims(1, 2).reshape([b * t, 3 * h * hd]), &kind)
    }

    fn merge(&self, x: Tensor<3>, heads: Heads) -> Tensor<2> {
        let Heads { sequences: b, context: t, heads: h, head_dim: hd } = heads;
        x.reshape([b, h, t, hd]).swap_dims(1, 2).reshape([b * t, h * hd])
    }

    fn unmerge(&self, x: Tensor<2>, heads: Heads) -> Tensor<3> {
        let Heads { sequences: b, context: t, heads: h, head_dim: hd } = heads;
        x.reshape([b, t, h, hd]).swap_dims(1, 2).reshape([b * h, t, hd])
    }

    fn causal_softmax(&self, scores: Tensor<3>, scale: f32, to: FloatDType) -> Tensor<3> {
        let [_, t, _] = scores.dims();
        let mask = Tensor::<2, Bool>::tril_mask([t, t], 0, &scores.device()).reshape([1, t, t]);
        let masked = (scores * scale).mask_fill(mask, f32::NEG_INFINITY);
        activation::softmax(masked, 2).cast(to)
    }

    fn causal_softmax_backward(&self, p: Tensor<3>, dp: Tensor<3>, scale: f32) -> Tensor<3> {
        let wide_p = wide(p.clone());
        let shift = (wide_p.clone() * dp.clone()).sum_dim(2);
        like(wide_p * (dp - shift) * scale, &p)
    }

    fn losses(&self, logits: Tensor<2>, targets: &[i32]) -> Tensor<2> {
        let logs = activation::log_softmax(wide(logits), 1);
        let targets = ids_beside(targets, &logs).reshape([targets.len(), 1]);
        logs.gather(1, targets).neg()
    }

    fn cross_entropy(
        &self,
        logits: Tensor<2>,
        targets: &[i32],
        factor: f32,
    ) -> (Tensor<2>, Tensor<2>) {
        let logs = activation::log_softmax(wide(logits.clone()), 1);
        let targets = ids_beside(targets, &logits).reshape([targets.len(), 1]);
        let losses = logs.clone().gather(1, targets.clone()).neg();
        let ones = losses.ones_like().neg();
        let grad = logs.exp().scatter(1, targets, ones, IndexingUpdateOp::Add) * factor;
        (losses, like(grad, &logits))
    }

    fn embedding_gradient(&self, dx: Tensor<2>, ids: &[i32], vocab: usize) -> Tensor<2> {
        let [_, d] = dx.dims();
        let ids = ids_beside(ids, &dx);
        Tensor::zeros([vocab, d], &dx.device()).select_assign(0, ids, dx, IndexingUpdateOp::Add)
    }

    fn sum(&self, x: Tensor<2>) -> Tensor<1> {
        x.sum_dim(0).sum_dim(1).reshape([1])
    }

    fn squares(&self, tensors: &[Tensor<2>]) -> Tensor<1> {
        let each = tensors.iter().map(|x| self.sum(x.clone().powi_scalar(2)));
        each.reduce(|sum, part| sum + part).expect("one tensor at least")
    }
}

/// Equal parts of the columns.
fn columns<const N: usize>(x: &Tensor<2>) -> [Tensor<2>; N] {
    let [n, width] = x.dims();
    let each = width / N;
    std::array::from_fn(|i| x.clone().slice([0..n, i * each..(i + 1) * each]))
}
