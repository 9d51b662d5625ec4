//! Causal self-attention with rotary positions, no T x T matrix kept.
//!
//! The forward keeps its output and one log-sum-exp a row; the backward computes the probabilities
//! again, block of rows by block of rows (Dao et al. 2022, 2205.14135, without its tiling of columns:
//! on a CPU a block of rows fits the cache).

use std::sync::Arc;

use burn::tensor::{Bool, Tensor, TensorData, activation};
use rayon::prelude::*;

use super::matrix::{View, multiply};
use super::{Kernels, contiguous, from_vec, lower, math, register, slice};

/// Query rows handled at a time.
const BLOCK: usize = 64;
/// Base of the rotary frequencies (Su et al. 2021, 2104.09864).
const ROPE_BASE: f64 = 10_000.0;

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
    fn width(self) -> usize {
        self.heads * self.head_dim
    }

    fn scale(self) -> f32 {
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
        Self { cos: table(f64::cos), sin: table(f64::sin), half }
    }

    fn at(&self, t: usize) -> (&[f32], &[f32]) {
        let range = t * self.half..(t + 1) * self.half;
        (&self.cos[range.clone()], &self.sin[range])
    }
}

/// Packed queries, keys and values `[B T, 3 width]` to attention output `[B T, width]`.
///
/// The columns are q, k, v, each heads x `head_dim`. Queries and keys are rotated here.
pub fn attention(qkv: Tensor<2>, heads: Heads, rope: &Rope, kernels: Kernels) -> Tensor<2> {
    if kernels == Kernels::Composed {
        return composed(qkv, heads, rope);
    }
    let (rows, d) = (heads.sequences * heads.context, heads.width());
    let x = lower(qkv);
    let values = contiguous(&x);
    let mut out = vec![0.0; rows * d];
    let mut lse = vec![0.0; rows * heads.heads];
    let (t, rope) = (heads.context, rope.clone());
    out.par_chunks_mut(t * d)
        .zip(slice(&values).par_chunks(t * 3 * d))
        .zip(lse.par_chunks_mut(t * heads.heads))
        .for_each_init(
            || Scratch::new(heads),
            |scratch, ((out, qkv), lse)| {
                for h in 0..heads.heads {
                    forward(scratch, qkv, out, &mut lse[h * t..(h + 1) * t], h, heads, &rope);
                }
            },
        );
    let output = from_vec(out, &[rows, d]);
    let kept = output.clone();
    let pullback = Arc::new(move |grad: &[f32]| {
        let mut dqkv = vec![0.0; rows * 3 * d];
        dqkv.par_chunks_mut(t * 3 * d)
            .zip(slice(&values).par_chunks(t * 3 * d))
            .zip(slice(&kept).par_chunks(t * d))
            .zip(grad.par_chunks(t * d))
            .zip(lse.par_chunks(t * heads.heads))
            .for_each_init(
                || Scratch::new(heads),
                |scratch, ((((dqkv, qkv), out), grad), lse)| {
                    for h in 0..heads.heads {
                        let lse = &lse[h * t..(h + 1) * t];
                        backward(scratch, &Saved { qkv, out, lse }, grad, dqkv, h, heads, &rope);
                    }
                },
            );
        [dqkv]
    });
    register([x], output, pullback)
}

/// What the backward of one sequence reads.
pub(super) struct Saved<'a> {
    pub(super) qkv: &'a [f32],
    pub(super) out: &'a [f32],
    pub(super) lse: &'a [f32],
}

/// Buffers of one thread, used again for every head.
pub(super) struct Scratch {
    q: Vec<f32>,
    k: Vec<f32>,
    p: Vec<f32>,
    ds: Vec<f32>,
    dq: Vec<f32>,
    dk: Vec<f32>,
    dv: Vec<f32>,
}

impl Scratch {
    pub(super) fn new(heads: Heads) -> Self {
        let head = || vec![0.0; heads.context * heads.head_dim];
        let block = || vec![0.0; BLOCK.min(heads.context) * heads.context];
        Self { q: head(), k: head(), p: block(), ds: block(), dq: head(), dk: head(), dv: head() }
    }

    /// Rotated queries and keys of head `h`, `[context, head_dim]`.
    fn load(&mut self, qkv: &[f32], h: usize, heads: Heads, rope: &Rope) {
        let (d, hd) = (heads.width(), heads.head_dim);
        for t in 0..heads.context {
            let (cos, sin) = rope.at(t);
            let row = &qkv[t * 3 * d..(t + 1) * 3 * d];
            let to = t * hd..(t + 1) * hd;
            math::rotate(&row[h * hd..(h + 1) * hd], &mut self.q[to.clone()], cos, sin, 1.0);
            math::rotate(&row[d + h * hd..d + (h + 1) * hd], &mut self.k[to], cos, sin, 1.0);
        }
    }
}

/// One head of one sequence.
pub(super) fn forward(
    scratch: &mut Scratch,
    qkv: &[f32],
    out: &mut [f32],
    lse: &mut [f32],
    h: usize,
    heads: Heads,
    rope: &Rope,
) {
    let (d, hd, t) = (heads.width(), heads.head_dim, heads.context);
    scratch.load(qkv, h, heads, rope);
    for first in (0..t).step_by(BLOCK) {
        let last = (first + BLOCK).min(t);
        let rows = last - first;
        // Scores against every key up to the block's last row; later keys are never seen.
        let scores = View::new(0, rows, last, t);
        let q = View::new(first * hd, rows, hd, hd);
        let k = View::new(0, last, hd, hd).transposed();
        multiply((&mut scratch.p, scores), (&scratch.q, q), (&scratch.k, k), heads.scale(), false);
        for i in 0..rows {
            let (seen, hidden) = scratch.p[i * t..i * t + last].split_at_mut(first + i + 1);
            let (max, sum) = math::exp_row(seen);
            math::scale(seen, 1.0 / sum);
            hidden.fill(0.0);
            lse[first + i] = max + sum.ln();
        }
        let v = View::new(2 * d + h * hd, last, hd, 3 * d);
        let o = View::new(first * d + h * hd, rows, hd, d);
        multiply((out, o), (&scratch.p, scores), (qkv, v), 1.0, false);
    }
}

/// Gradient of one head of one sequence, written into its columns of `dqkv`.
pub(super) fn backward(
    scratch: &mut Scratch,
    saved: &Saved<'_>,
    grad: &[f32],
    dqkv: &mut [f32],
    h: usize,
    heads: Heads,
    rope: &Rope,
) {
    let (d, hd, t) = (heads.width(), heads.head_dim, heads.context);
    scratch.load(saved.qkv, h, heads, rope);
    let s = scratch;
    s.dk.fill(0.0);
    s.dv.fill(0.0);
    for first in (0..t).step_by(BLOCK) {
        let last = (first + BLOCK).min(t);
        let rows = last - first;
        let scores = View::new(0, rows, last, t);
        let q = View::new(first * hd, rows, hd, hd);
        let k = View::new(0, last, hd, hd);
        let v = View::new(2 * d + h * hd, last, hd, 3 * d);
        let g = View::new(first * d + h * hd, rows, hd, d);
        multiply((&mut s.p, scores), (&s.q, q), (&s.k, k.transposed()), heads.scale(), false);
        multiply((&mut s.ds, scores), (grad, g), (saved.qkv, v.transposed()), 1.0, false);
        for i in 0..rows {
            let row = i * t..i * t + last;
            let (seen, hidden) = s.p[row.clone()].split_at_mut(first + i + 1);
            math::exp_row_minus(seen, saved.lse[first + i]);
            hidden.fill(0.0);
            // sum_j p_j dp_j equals the inner product of output and its gradient (Dao et al., eq. 4).
            let at = (first + i) * d + h * hd..(first + i) * d + (h + 1) * hd;
            let shift = math::dot(&saved.out[at.clone()], &grad[at]);
            math::softmax_backward(&mut s.ds[row.clone()], &s.p[row], shift, heads.scale());
        }
        let all = View::new(0, last, hd, hd);
        multiply((&mut s.dv, all), (&s.p, scores.transposed()), (grad, g), 1.0, true);
        multiply((&mut s.dq, q), (&s.ds, scores), (&s.k, k), 1.0, false);
        multiply((&mut s.dk, all), (&s.ds, scores.transposed()), (&s.q, q), 1.0, true);
    }
    for t in 0..t {
        let (cos, sin) = rope.at(t);
        let (row, from) = (&mut dqkv[t * 3 * d..(t + 1) * 3 * d], t * hd..(t + 1) * hd);
        math::rotate(&s.dq[from.clone()], &mut row[h * hd..(h + 1) * hd], cos, sin, -1.0);
        math::rotate(&s.dk[from.clone()], &mut row[d + h * hd..d + (h + 1) * hd], cos, sin, -1.0);
        row[2 * d + h * hd..2 * d + (h + 1) * hd].copy_from_slice(&s.dv[from]);
    }
}

/// The same by burn's operations.
fn composed(qkv: Tensor<2>, heads: Heads, rope: &Rope) -> Tensor<2> {
    let Heads { sequences: b, context: t, heads: h, head_dim: hd } = heads;
    let device = qkv.device();
    let parts = qkv.reshape([b, t, 3 * h, hd]).swap_dims(1, 2);
    let part = |i: usize| parts.clone().slice([0..b, i * h..(i + 1) * h]);
    let table = |values: &[f32]| {
        let part = TensorData::new(values[..t * hd / 2].to_vec(), [1, 1, t, hd / 2]);
        Tensor::<4>::from_data(part, &device)
    };
    let (cos, sin) = (table(&rope.cos), table(&rope.sin));
    let rotated = |x: Tensor<4>| {
        let x1 = x.clone().slice([0..b, 0..h, 0..t, 0..hd / 2]);
        let x2 = x.slice([0..b, 0..h, 0..t, hd / 2..hd]);
        let y1 = x1.clone() * cos.clone() - x2.clone() * sin.clone();
        let y2 = x2 * cos.clone() + x1 * sin.clone();
        Tensor::cat(vec![y1, y2], 3)
    };
    let (q, k, v) = (rotated(part(0)), rotated(part(1)), part(2));
    let scores = q.matmul(k.transpose()) * heads.scale();
    let mask = Tensor::<2, Bool>::tril_mask([t, t], 0, &device).reshape([1, 1, t, t]);
    let probabilities = activation::softmax(scores.mask_fill(mask, f32::NEG_INFINITY), 3);
    probabilities.matmul(v).swap_dims(1, 2).reshape([b * t, h * hd])
}

#[cfg(test)]
mod tests {
    use super::super::tests::{assert_close, normal, pull, values};
    use super::*;

    #[test]
    fn the_kernel_agrees_with_the_composition_at_awkward_shapes() {
        for (b, t, h, hd) in [(1, 1, 1, 2), (2, 3, 1, 4), (2, 65, 2, 8), (1, 130, 3, 6)] {
            let heads = Heads { sequences: b, context: t, heads: h, head_dim: hd };
            let rope = Rope::new(t, hd);
            let x = [normal(1, b * t, 3 * h * hd)];
            let run = |kernels| pull(&x, |x| attention(x[0].clone(), heads, &rope, kernels));
            assert_close(
                &run(Kernels::Fused),
                &run(Kernels::Composed),
                1e-5,
                &format!("{heads:?}"),
            );
        }
    }

    #[test]
    fn a_token_does_not_see_the_future() {
        let heads = Heads { sequences: 1, context: 70, heads: 2, head_dim: 4 };
        let rope = Rope::new(70, 4);
        let run = |x: Tensor<2>| values(attention(x, heads, &rope, Kernels::Fused));
        let x = normal(1, 70, 24);
        let changed = x.clone().slice_assign([69..70, 0..24], normal(2, 1, 24));
        let (before, after) = (run(x), run(changed));
        assert_eq!(before[..69 * 8], after[..69 * 8]);
        assert_ne!(before[69 * 8..], after[69 * 8..]);
    }
}
