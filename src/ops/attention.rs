//! Causal self-attention with rotary positions, no T x T matrix kept.
//!
//! The forward keeps its output and one log-sum-exp a row; the backward computes the probabilities
//! again, block of rows by block of rows (Dao et al. 2022, 2205.14135, without its tiling of columns:
//! on a CPU a block of rows fits the cache).

use std::sync::{Arc, OnceLock};

use super::math;
use super::matrix::{View, multiply};
use burn::tensor::{Bool, Device, Tensor, TensorData, activation};

/// Query rows handled at a time.
const BLOCK: usize = 64;
/// Base of the rotary frequencies (Su et al. 2021, 2104.09864).
pub const ROPE_BASE: f64 = 10_000.0;

/// How the rows and columns of a packed `[sequences x context, 3 width]` tensor divide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heads {
    /// Sequences B.
    pub sequences: usize,
    /// Tokens of one sequence T.
    pub context: usize,
    /// Heads H.
    pub heads: usize,
    /// Width of one head, even.
    pub head_dim: usize,
}

impl Heads {
    pub(super) fn width(self) -> usize {
        self.heads * self.head_dim
    }

    pub(super) fn scale(self) -> f32 {
        1.0 / (self.head_dim as f32).sqrt()
    }
}

/// Cosines and sines of every position and pair, `[context, head_dim / 2]` each.
///
/// Pairs are (i, i + head_dim / 2), the order of Llama in `transformers`.
#[derive(Debug, Clone)]
pub struct Rope {
    cos: Arc<[f32]>,
    sin: Arc<[f32]>,
    half: usize,
    tables: Arc<OnceLock<[Tensor<2>; 2]>>,
}

impl Rope {
    /// For sequences up to `context` tokens.
    pub fn new(context: usize, head_dim: usize) -> Self {
        let half = head_dim / 2;
        let angle =
            |t: usize, i: usize| t as f64 * ROPE_BASE.powf(-2.0 * i as f64 / head_dim as f64);
        let table = |f: fn(f64) -> f64| {
            (0..context * half).map(|n| f(angle(n / half, n % half)) as f32).collect()
        };
        Self { cos: table(f64::cos), sin: table(f64::sin), half, tables: Arc::default() }
    }

    /// Cosines and sines on a device, `[context, head_dim / 2]` each; kept, for one device.
    pub(super) fn tables(&self, device: &Device) -> [Tensor<2>; 2] {
        let make = |values: &[f32]| {
            let shape = [values.len() / self.half, self.half];
            Tensor::from_data(TensorData::new(values.to_vec(), shape), device)
        };
        self.tables.get_or_init(|| [make(&self.cos), make(&self.sin)]).clone()
    }

    /// Turns queries or keys `[B, H, T, head_dim]` by burn's operations; back with a `sign` of -1.
    pub(super) fn turn(&self, x: Tensor<4>, sign: f32) -> Tensor<4> {
        let [b, h, t, hd] = x.dims();
        let [cos, sin] = self.tables(&x.device());
        let first = |table: Tensor<2>| table.slice([0..t, 0..hd / 2]).reshape([1, 1, t, hd / 2]);
        let (cos, sin) = (first(cos), first(sin) * sign);
        let x1 = x.clone().slice([0..b, 0..h, 0..t, 0..hd / 2]);
        let x2 = x.slice([0..b, 0..h, 0..t, hd / 2..hd]);
        let y1 = x1.clone() * cos.clone() - x2.clone() * sin.clone();
        Tensor::cat(vec![y1, x2 * cos + x1 * sin], 3)
    }

    fn at(&self, t: usize) -> (&[f32], &[f32]) {
        let range = t * self.half..(t + 1) * self.half;
        (&self.cos[range.clone()], &self.sin[range])
    }
}

/// Turns the queries and keys of packed `[context, 3 width]` sequences by their positions; back with a
/// `sign` of -1, which is also the derivative.
pub(super) fn rotate(qkv: &mut [f32], heads: Heads, rope: &Rope, sign: f32) {
    let d = heads.width();
    for sequence in qkv.chunks_mut(heads.context * 3 * d) {
        for (t, row) in sequence.chunks_mut(3 * d).enumerate() {
            let (cos, sin) = rope.at(t);
            math::rotate(&mut row[..2 * d], cos, sin, sign);
        }
    }
}

/// What the backward of one sequence reads.
pub(super) struct Saved<'a> {
    /// Rotated, `[context, 3 width]`.
    pub(super) qkv: &'a [f32],
    /// `[context, width]`.
    pub(super) out: &'a [f32],
    /// Log-sum-exp of the scores, `[heads, context]`.
    pub(super) lse: &'a [f32],
}

/// Probabilities of one block of rows and their gradient.
pub(super) struct Scratch {
    p: Vec<f32>,
    dp: Vec<f32>,
}

impl Scratch {
    pub(super) fn new(heads: Heads) -> Self {
        let block = || vec![0.0; BLOCK.min(heads.context) * heads.context];
        Self { p: block(), dp: block() }
    }
}

/// Blocks of query rows: first row and the one after the last. A block sees keys before its end only.
fn blocks(context: usize) -> impl DoubleEndedIterator<Item = (usize, usize)> {
    (0..context.div_ceil(BLOCK)).map(move |b| (b * BLOCK, ((b + 1) * BLOCK).min(context)))
}

/// Places of the queries, keys and values of head `h` in rotated rows `[context, 3 width]`: queries from
/// `first` to `last`, keys and values up to `last`.
fn parts(heads: Heads, h: usize, first: usize, last: usize) -> [View; 3] {
    let (d, hd) = (heads.width(), heads.head_dim);
    let at = |part: usize, row: usize| row * 3 * d + part * d + h * hd;
    [
        View::new(at(0, first), last - first, hd, 3 * d),
        View::new(at(1, 0), last, hd, 3 * d),
        View::new(at(2, 0), last, hd, 3 * d),
    ]
}

/// One sequence: rotated `qkv` to `out` and `lse`, shaped as in [`Saved`].
pub(super) fn forward(
    scratch: &mut Scratch,
    qkv: &[f32],
    out: &mut [f32],
    lse: &mut [f32],
    heads: Heads,
) {
    let (d, hd, t) = (heads.width(), heads.head_dim, heads.context);
    for (h, lse) in lse.chunks_mut(t).enumerate() {
        for (first, last) in blocks(t) {
            let scores = View::new(0, last - first, last, t);
            let [q, k, v] = parts(heads, h, first, last);
            let p = &mut scratch.p;
            multiply((p, scores), (qkv, q), (qkv, k.transposed()), heads.scale(), false);
            for (row, p) in (first..last).zip(p.chunks_mut(t)) {
                lse[row] = math::softmax_row(&mut p[..last], row + 1);
            }
            let o = View::new(first * d + h * hd, last - first, hd, d);
            multiply((out, o), (p, scores), (qkv, v), 1.0, false);
        }
    }
}

/// Gradient of one sequence by its rotated `qkv`.
pub(super) fn backward(
    scratch: &mut Scratch,
    saved: &Saved<'_>,
    grad: &[f32],
    dqkv: &mut [f32],
    heads: Heads,
) {
    let (d, hd, t) = (heads.width(), heads.head_dim, heads.context);
    let Saved { qkv, out, lse } = *saved;
    let Scratch { p, dp } = scratch;
    for (h, lse) in lse.chunks(t).enumerate() {
        // From the end, so that the first block writes the gradient of every key and the rest add to it.
        for (first, last) in blocks(t).rev() {
            let add = last < t;
            let scores = View::new(0, last - first, last, t);
            let [q, k, v] = parts(heads, h, first, last);
            let g = View::new(first * d + h * hd, last - first, hd, d);
            multiply((p, scores), (qkv, q), (qkv, k.transposed()), heads.scale(), false);
            multiply((dp, scores), (grad, g), (qkv, v.transposed()), 1.0, false);
            for (row, (p, dp)) in (first..last).zip(p.chunks_mut(t).zip(dp.chunks_mut(t))) {
                // sum_j p_j dp_j equals the inner product of output and its gradient (Dao et al., eq. 4).
                let at = row * d + h * hd..row * d + (h + 1) * hd;
                let shift = math::dot(&out[at.clone()], &grad[at]);
                let (p, dp) = (&mut p[..last], &mut dp[..last]);
                math::softmax_row_backward(p, dp, row + 1, lse[row], shift, heads.scale());
            }
            multiply((dqkv, v), (p, scores.transposed()), (grad, g), 1.0, add);
            multiply((dqkv, q), (dp, scores), (qkv, k), 1.0, false);
            multiply((dqkv, k), (dp, scores.transposed()), (qkv, q), 1.0, add);
        }
    }
}

/// Packed queries, keys and values `[B T, 3 width]` to attention output `[B T, width]`, by burn's
/// operations. The columns are q, k, v, each heads x `head_dim`; queries and keys are rotated here.
pub fn attention(qkv: Tensor<2>, heads: Heads, rope: &Rope) -> Tensor<2> {
    let Heads { sequences: b, context: t, heads: h, head_dim: hd } = heads;
    let device = qkv.device();
    let parts = qkv.reshape([b, t, 3 * h, hd]).swap_dims(1, 2);
    let part = |i: usize| parts.clone().slice([0..b, i * h..(i + 1) * h]);
    let (q, k, v) = (rope.turn(part(0), 1.0), rope.turn(part(1), 1.0), part(2));
    let scores = q.matmul(k.transpose()) * heads.scale();
    let mask = Tensor::<2, Bool>::tril_mask([t, t], 0, &device).reshape([1, 1, t, t]);
    let probabilities = activation::softmax(scores.mask_fill(mask, f32::NEG_INFINITY), 3);
    probabilities.matmul(v).swap_dims(1, 2).reshape([b * t, h * hd])
}

#[cfg(test)]
mod tests {
    use super::super::tests::{assert_close, normal, pull, values};
    use super::*;

    /// Output and gradient by the kernels, weighted as in `pull`.
    fn kernels(x: &Tensor<2>, heads: Heads) -> Vec<Vec<f32>> {
        let rope = Rope::new(heads.context, heads.head_dim);
        let (n, d) = (heads.sequences * heads.context, heads.width());
        let mut qkv = values(x.clone());
        rotate(&mut qkv, heads, &rope, 1.0);
        let grad = values(normal(99, n, d));
        let (mut out, mut dqkv) = (vec![f32::NAN; n * d], vec![f32::NAN; n * 3 * d]);
        let mut lse = vec![f32::NAN; heads.context * heads.heads];
        let mut scratch = Scratch::new(heads);
        scratch.p.fill(f32::NAN);
        scratch.dp.fill(f32::NAN);
        let rows = heads.context;
        for s in 0..heads.sequences {
            let (wide, narrow) =
                (s * rows * 3 * d..(s + 1) * rows * 3 * d, s * rows * d..(s + 1) * rows * d);
            let (qkv, out) = (&qkv[wide.clone()], &mut out[narrow.clone()]);
            forward(&mut scratch, qkv, out, &mut lse, heads);
            let saved = Saved { qkv, out, lse: &lse };
            backward(&mut scratch, &saved, &grad[narrow], &mut dqkv[wide], heads);
        }
        rotate(&mut dqkv, heads, &rope, -1.0);
        vec![out, dqkv]
    }

    #[test]
    fn the_kernel_agrees_with_the_composition_at_awkward_shapes() {
        for (b, t, h, hd) in [(1, 1, 1, 2), (2, 3, 1, 4), (2, 65, 2, 8), (1, 130, 3, 6)] {
            let heads = Heads { sequences: b, context: t, heads: h, head_dim: hd };
            let rope = Rope::new(t, hd);
            let x = normal(1, b * t, 3 * h * hd);
            let want = pull(std::slice::from_ref(&x), |x| attention(x[0].clone(), heads, &rope));
            assert_close(&kernels(&x, heads), &want, 1e-5, &format!("{heads:?}"));
        }
    }

    #[test]
    fn a_token_does_not_see_the_future() {
        let heads = Heads { sequences: 1, context: 70, heads: 2, head_dim: 4 };
        let run = |x: &Tensor<2>| kernels(x, heads).swap_remove(0);
        let x = normal(1, 70, 24);
        let changed = x.clone().slice_assign([69..70, 0..24], normal(2, 1, 24));
        let (before, after) = (run(&x), run(&changed));
        assert_eq!(before[..69 * 8], after[..69 * 8]);
        assert_ne!(before[69 * 8..], after[69 * 8..]);
    }
}
