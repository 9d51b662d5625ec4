//! Loss and gradients of the whole decoder on the CPU, a few sequences at a time.
//!
//! A chunk of sequences goes forward through every layer and back again before the next one starts: what
//! the backward needs is still in the cache, buffers are used again, and no thread waits for another
//! between operations. The operations are those of this folder's other files; `model` holds this path to
//! their plain composition, value and gradient.
//!
//! Chunks and the order in which their gradients are summed follow from the batch alone, so the result has
//! the same bits for any number of threads.

mod infer;

use std::cell::RefCell;
use std::ops::Range;

use rayon::prelude::*;

use super::attention::{self, Heads, Rope, Saved, Scratch};
use super::matrix::{View, multiply};
use super::{cross_entropy, math, rms_norm, swiglu};
use crate::shape::Shape;

pub use infer::{Likelihood, argmax};
pub(super) use infer::{padded, padded_chunks};

/// Rows of a chunk for each column of the model's width: products with a weight take as long as reading it
/// or longer.
const ROWS_PER_WIDTH: usize = 4;
/// Least and most rows of a chunk, as far as the context allows: below, products are slow; above, what a
/// layer leaves for the next is no longer in the cache.
const ROWS: [usize; 2] = [256, 1024];
/// Partial gradients of a step at most; each is summed by one thread.
const LANES: usize = 8;

/// A decoder on the CPU: its shape and weights.
#[derive(Debug)]
pub struct Decoder<'a> {
    /// Dimensions.
    pub shape: Shape,
    /// Rotary angles for at least its context.
    pub rope: &'a Rope,
    /// Weights, row-major, in the order of `Transformer::weights_mut`.
    pub weights: Vec<&'a [f32]>,
}

/// Token ids of a batch, sequences one after the other.
#[derive(Debug, Clone, Copy)]
pub struct Ids<'a> {
    /// `[sequences x context]`.
    pub inputs: &'a [i32],
    /// `[sequences x context]`.
    pub targets: &'a [i32],
}

impl Ids<'_> {
    pub(super) fn part(&self, rows: Range<usize>) -> Self {
        Self { inputs: &self.inputs[rows.clone()], targets: &self.targets[rows] }
    }
}

thread_local! {
    /// Buffers of this thread's last chunk; pages once had are worth keeping.
    static SPACE: RefCell<Option<Space>> = const { RefCell::new(None) };
}

impl Decoder<'_> {
    /// Mean loss of a batch [nats/token].
    ///
    /// # Panics
    ///
    /// When ids are not below the vocabulary or do not fill sequences of `context`.
    pub fn loss(&self, ids: Ids<'_>, context: usize) -> f64 {
        let sums: Vec<f64> = chunks(ids.inputs.len(), context, self.shape.width)
            .into_par_iter()
            .map(|rows| {
                let sequences = rows.len() / context;
                self.with_space(sequences, context, Room::Loss, |s| {
                    let part = ids.part(rows);
                    self.forward(s, part);
                    cross_entropy::forward(&s.logits, part.targets, self.shape.vocab)
                })
            })
            .collect();
        sums.iter().sum::<f64>() / ids.inputs.len() as f64
    }

    /// Mean loss of a batch [nats/token] and its gradient by every weight, in the order of the weights.
    ///
    /// # Panics
    ///
    /// As [`loss`](Self::loss).
    pub fn gradients(&self, ids: Ids<'_>, context: usize) -> (f64, Vec<Vec<f32>>) {
        let n = ids.inputs.len();
        let chunks = chunks(n, context, self.shape.width);
        let lanes: Vec<&[Range<usize>]> = chunks.chunks(chunks.len().div_ceil(LANES)).collect();
        let lane = |chunks: &&[Range<usize>]| {
            let mut grads: Vec<Vec<f32>> =
                self.weights.iter().map(|w| vec![0.0; w.len()]).collect();
            let mut sum = 0.0;
            for rows in *chunks {
                let sequences = rows.len() / context;
                sum += self.with_space(sequences, context, Room::Gradients, |s| {
                    let part = ids.part(rows.clone());
                    self.forward(s, part);
                    self.backward(s, part, 1.0 / n as f32, &mut grads)
                });
            }
            (sum, grads)
        };
        let mut total: Option<(f64, Vec<Vec<f32>>)> = None;
        // As many lanes at once as there are threads, summed in their own order.
        for wave in lanes.chunks(rayon::current_num_threads()) {
            for (sum, grads) in wave.par_iter().map(lane).collect::<Vec<_>>() {
                match &mut total {
                    None => total = Some((sum, grads)),
                    Some((all, into)) => {
                        *all += sum;
                        into.par_iter_mut().zip(grads).for_each(|(into, part)| {
                            math::add(into, &part);
                        });
                    }
                }
            }
        }
        let (sum, grads) = total.expect("a batch has a sequence");
        (sum / n as f64, grads)
    }

    /// Lends this thread's buffers, made anew when their shape is another.
    fn with_space<T>(
        &self,
        sequences: usize,
        context: usize,
        room: Room,
        work: impl FnOnce(&mut Space) -> T,
    ) -> T {
        SPACE.with_borrow_mut(|held| {
            let key = (self.shape, sequences, context, room);
            if held.as_ref().is_none_or(|s| s.key != key) {
                *held = None;
            }
            work(held.get_or_insert_with(|| Space::new(key)))
        })
    }

    /// Place of the last norm.
    fn norm_f(&self) -> usize {
        Places::of(self.shape, self.shape.layers).norm1
    }

    /// Logits of a chunk, and what the backward needs of as many layers as `s` has room for.
    fn forward(&self, s: &mut Space, ids: Ids<'_>) {
        self.hidden(s, ids.inputs);
        self.head(&s.h, &mut s.logits);
    }

    /// The normed stream after the last layer, into `s.h`.
    fn hidden(&self, s: &mut Space, inputs: &[i32]) {
        let Shape { width: d, ff, .. } = self.shape;
        let w = &self.weights;
        for (x, id) in s.x.chunks_mut(d).zip(inputs) {
            let at = *id as usize * d;
            x.copy_from_slice(&w[0][at..at + d]);
        }
        for i in 0..self.shape.layers {
            let places = Places::of(self.shape, i);
            let at = i.min(s.layers.len() - 1);
            let l = &mut s.layers[at];
            l.x.copy_from_slice(&s.x);
            rms_norm::forward(&l.x, w[places.norm1], &mut l.h1, &mut l.r1);
            linear(&l.h1, w[places.qkv], &mut l.qkv, d, 3 * d, false);
            if let Some(gains) = places.qk_norm {
                l.raw.copy_from_slice(&l.qkv);
                self.norm_heads(l, gains.map(|g| w[g]));
            }
            attention::rotate(&mut l.qkv, s.heads, self.rope, 1.0);
            see(s.heads, l, &mut s.scratch);
            linear(&l.seen, w[places.out], &mut s.x, d, d, true);
            l.mid.copy_from_slice(&s.x);
            rms_norm::forward(&l.mid, w[places.norm2], &mut l.h2, &mut l.r2);
            linear(&l.h2, w[places.gate_up], &mut l.gate_up, d, 2 * ff, false);
            swiglu::forward(&l.gate_up, &mut l.act, ff);
            linear(&l.act, w[places.down], &mut s.x, ff, d, true);
        }
        rms_norm::forward(&s.x, w[self.norm_f()], &mut s.h, &mut s.r);
    }

    /// Logits of rows of the normed stream.
    fn head(&self, h: &[f32], logits: &mut [f32]) {
        let Shape { width: d, vocab, .. } = self.shape;
        if self.shape.tied {
            linear_transposed(h, self.weights[0], logits, d, vocab);
        } else {
            linear(h, self.weights[self.norm_f() + 1], logits, d, vocab, false);
        }
    }

    /// Summed loss of the chunk that went forward last; adds the gradient of `factor` times that.
    fn backward(&self, s: &mut Space, ids: Ids<'_>, factor: f32, grads: &mut [Vec<f32>]) -> f64 {
        let Shape { width: d, ff, vocab, .. } = self.shape;
        let w = &self.weights;
        let sum = cross_entropy::backward(&mut s.logits, ids.targets, vocab, factor);
        let f = self.norm_f();
        if self.shape.tied {
            linear(&s.logits, w[0], &mut s.dh, vocab, d, false);
            outer(&s.logits, &s.h, &mut grads[0], vocab, d);
        } else {
            linear_transposed(&s.logits, w[f + 1], &mut s.dh, vocab, d);
            outer(&s.h, &s.logits, &mut grads[f + 1], d, vocab);
        }
        s.dx.fill(0.0);
        rms_norm::backward(&s.x, &s.dh, w[f], &s.r, &mut s.dx, &mut grads[f]);
        for i in (0..self.shape.layers).rev() {
            let p = Places::of(self.shape, i);
            let l = &s.layers[i];
            linear_transposed(&s.dx, w[p.down], &mut s.dact, d, ff);
            outer(&l.act, &s.dx, &mut grads[p.down], ff, d);
            swiglu::backward(&l.gate_up, &s.dact, &mut s.dwide, ff);
            linear_transposed(&s.dwide, w[p.gate_up], &mut s.dh, 2 * ff, d);
            outer(&l.h2, &s.dwide, &mut grads[p.gate_up], d, 2 * ff);
            rms_norm::backward(&l.mid, &s.dh, w[p.norm2], &l.r2, &mut s.dx, &mut grads[p.norm2]);

            linear_transposed(&s.dx, w[p.out], &mut s.dh, d, d);
            outer(&l.seen, &s.dx, &mut grads[p.out], d, d);
            see_backward(s.heads, l, &s.dh, &mut s.dqkv, &mut s.scratch);
            attention::rotate(&mut s.dqkv, s.heads, self.rope, -1.0);
            if let Some(gains) = p.qk_norm {
                for (place, part) in gains.into_iter().zip(0..2) {
                    self.norm_heads_backward(l, part, w[place], &mut s.dqkv, &mut grads[place]);
                }
            }
            linear_transposed(&s.dqkv, w[p.qkv], &mut s.dh, 3 * d, d);
            outer(&l.h1, &s.dqkv, &mut grads[p.qkv], d, 3 * d);
            rms_norm::backward(&l.x, &s.dh, w[p.norm1], &l.r1, &mut s.dx, &mut grads[p.norm1]);
        }
        for (dx, id) in s.dx.chunks(d).zip(ids.inputs) {
            let at = *id as usize * d;
            math::add(&mut grads[0][at..at + d], dx);
        }
        sum
    }

    /// RMSNorm over each head of queries and keys, from `raw` to `qkv`.
    fn norm_heads(&self, l: &mut Layer, gains: [&[f32]; 2]) {
        let (d, hd) = (self.shape.width, self.shape.head_dim());
        for (part, gain) in gains.into_iter().enumerate() {
            let rows = l.raw.chunks(3 * d).zip(l.qkv.chunks_mut(3 * d));
            for ((raw, qkv), r) in rows.zip(l.r_heads[part].chunks_mut(self.shape.heads)) {
                let range = part * d..(part + 1) * d;
                let heads = raw[range.clone()].chunks(hd).zip(qkv[range].chunks_mut(hd));
                for ((x, out), r) in heads.zip(r) {
                    rms_norm::forward(x, gain, out, std::slice::from_mut(r));
                }
            }
        }
    }

    /// Replaces the gradient of normed queries (part 0) or keys (1) by that of the raw ones.
    fn norm_heads_backward(
        &self,
        l: &Layer,
        part: usize,
        gain: &[f32],
        dqkv: &mut [f32],
        dgain: &mut [f32],
    ) {
        let (d, hd) = (self.shape.width, self.shape.head_dim());
        let mut dx = vec![0.0; hd];
        let rows = l.raw.chunks(3 * d).zip(dqkv.chunks_mut(3 * d));
        for ((raw, dqkv), r) in rows.zip(l.r_heads[part].chunks(self.shape.heads)) {
            let range = part * d..(part + 1) * d;
            let heads = raw[range.clone()].chunks(hd).zip(dqkv[range].chunks_mut(hd));
            for ((x, grad), r) in heads.zip(r) {
                dx.fill(0.0);
                rms_norm::backward(x, grad, gain, &[*r], &mut dx, dgain);
                grad.copy_from_slice(&dx);
            }
        }
    }
}

/// Attention of every sequence, from rotated queries and keys.
fn see(heads: Heads, l: &mut Layer, scratch: &mut Scratch) {
    let (t, d) = (heads.context, heads.width());
    let sequences = l.qkv.chunks(t * 3 * d).zip(l.seen.chunks_mut(t * d));
    for ((qkv, out), lse) in sequences.zip(l.lse.chunks_mut(t * heads.heads)) {
        attention::forward(scratch, qkv, out, lse, heads);
    }
}

fn see_backward(heads: Heads, l: &Layer, grad: &[f32], dqkv: &mut [f32], scratch: &mut Scratch) {
    let (t, d) = (heads.context, heads.width());
    let sequences = l.qkv.chunks(t * 3 * d).zip(l.seen.chunks(t * d)).zip(grad.chunks(t * d));
    let sequences = sequences.zip(dqkv.chunks_mut(t * 3 * d));
    for ((((qkv, out), grad), dqkv), lse) in sequences.zip(l.lse.chunks(t * heads.heads)) {
        attention::backward(scratch, &Saved { qkv, out, lse }, grad, dqkv, heads);
    }
}

/// Rows of the chunks of a batch: whole sequences each.
fn chunks(rows: usize, context: usize, width: usize) -> Vec<Range<usize>> {
    assert!(rows > 0 && rows.is_multiple_of(context), "a batch is whole sequences");
    let [least, most] = ROWS;
    let best = (ROWS_PER_WIDTH * width).clamp(least, most);
    // A small batch is divided all the same, down to what still fills a block of attention.
    let share = (rows / LANES).max(least / 4);
    let step = best.min(share).div_ceil(context) * context;
    (0..rows).step_by(step).map(|first| first..(first + step).min(rows)).collect()
}

/// Where a layer's weights are in the list.
pub(super) struct Places {
    pub(super) norm1: usize,
    pub(super) qkv: usize,
    pub(super) qk_norm: Option<[usize; 2]>,
    pub(super) out: usize,
    pub(super) norm2: usize,
    pub(super) gate_up: usize,
    pub(super) down: usize,
}

impl Places {
    /// Of layer `i`; the last norm is where `norm1` of one more would be.
    pub(super) fn of(shape: Shape, i: usize) -> Self {
        let norms = 2 * usize::from(shape.qk_norm);
        let first = 1 + i * (6 + norms);
        let out = first + 2 + norms;
        Self {
            norm1: first,
            qkv: first + 1,
            qk_norm: shape.qk_norm.then_some([first + 2, first + 3]),
            out,
            norm2: out + 1,
            gate_up: out + 2,
            down: out + 3,
        }
    }
}

/// What the backward of one layer reads, `[rows, ...]`.
struct Layer {
    x: Vec<f32>,
    r1: Vec<f32>,
    h1: Vec<f32>,
    /// Queries, keys and values before the norm of heads; empty without.
    raw: Vec<f32>,
    r_heads: [Vec<f32>; 2],
    qkv: Vec<f32>,
    lse: Vec<f32>,
    seen: Vec<f32>,
    mid: Vec<f32>,
    r2: Vec<f32>,
    h2: Vec<f32>,
    gate_up: Vec<f32>,
    act: Vec<f32>,
}

/// What a chunk's buffers have room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Room {
    /// The stream after the last layer.
    Hidden,
    /// Its logits as well.
    Loss,
    /// And what the backward reads and writes.
    Gradients,
}

/// All buffers of one chunk.
struct Space {
    key: (Shape, usize, usize, Room),
    heads: Heads,
    layers: Vec<Layer>,
    scratch: Scratch,
    /// The residual stream.
    x: Vec<f32>,
    r: Vec<f32>,
    h: Vec<f32>,
    logits: Vec<f32>,
    /// Gradients of the stream, a norm's output, packed q k v, gate and up, the MLP's inner layer.
    dx: Vec<f32>,
    dh: Vec<f32>,
    dqkv: Vec<f32>,
    dwide: Vec<f32>,
    dact: Vec<f32>,
}

impl Space {
    fn new(key: (Shape, usize, usize, Room)) -> Self {
        let (shape, sequences, context, room) = key;
        let back = room == Room::Gradients;
        let Shape { width: d, ff, vocab, heads, qk_norm, .. } = shape;
        let rows = sequences * context;
        let zeros = |columns: usize| vec![0.0; rows * columns];
        let only = |is: bool, columns: usize| if is { zeros(columns) } else { Vec::new() };
        let of_heads = |columns: usize| only(qk_norm, columns);
        let layer = |_| Layer {
            x: zeros(d),
            r1: zeros(1),
            h1: zeros(d),
            raw: of_heads(3 * d),
            r_heads: [of_heads(heads), of_heads(heads)],
            qkv: zeros(3 * d),
            lse: zeros(heads),
            seen: zeros(d),
            mid: zeros(d),
            r2: zeros(1),
            h2: zeros(d),
            gate_up: zeros(2 * ff),
            act: zeros(ff),
        };
        let heads = Heads { sequences, context, heads, head_dim: shape.head_dim() };
        Self {
            key,
            heads,
            layers: (0..if back { shape.layers } else { 1 }).map(layer).collect(),
            scratch: Scratch::new(heads),
            x: zeros(d),
            r: zeros(1),
            h: zeros(d),
            logits: only(room != Room::Hidden, vocab),
            dx: only(back, d),
            dh: only(back, d),
            dqkv: only(back, 3 * d),
            dwide: only(back, 2 * ff),
            dact: only(back, ff),
        }
    }
}

/// `y = x w` (`y += x w` with `add`): x `[rows, from]`, w `[from, to]`.
fn linear(x: &[f32], w: &[f32], y: &mut [f32], from: usize, to: usize, add: bool) {
    let n = x.len() / from;
    let (xv, wv, yv) =
        (View::new(0, n, from, from), View::new(0, from, to, to), View::new(0, n, to, to));
    multiply((y, yv), (x, xv), (w, wv), 1.0, add);
}

/// `y = x wᵀ`: x `[rows, from]`, w `[to, from]`.
fn linear_transposed(x: &[f32], w: &[f32], y: &mut [f32], from: usize, to: usize) {
    let n = x.len() / from;
    let wv = View::new(0, to, from, from).transposed();
    let (xv, yv) = (View::new(0, n, from, from), View::new(0, n, to, to));
    multiply((y, yv), (x, xv), (w, wv), 1.0, false);
}

/// `w += xᵀ g`: x `[rows, from]`, g `[rows, to]`, w `[from, to]`.
fn outer(x: &[f32], g: &[f32], w: &mut [f32], from: usize, to: usize) {
    let n = x.len() / from;
    let xv = View::new(0, n, from, from).transposed();
    let (gv, wv) = (View::new(0, n, to, to), View::new(0, from, to, to));
    multiply((w, wv), (x, xv), (g, gv), 1.0, true);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_whole_sequences_and_leave_nothing_out() {
        for (rows, context) in [(1, 1), (8, 8), (24, 8), (5 * 100, 100), (3 * 300, 300), (4096, 64)]
        {
            let chunks = chunks(rows, context, 128);
            assert_eq!(chunks.iter().map(Range::len).sum::<usize>(), rows);
            assert!(chunks.windows(2).all(|w| w[0].end == w[1].start));
            assert!(chunks.iter().all(|c| c.len().is_multiple_of(context) && !c.is_empty()));
        }
    }
}
