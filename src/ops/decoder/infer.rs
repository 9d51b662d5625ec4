//! What the decoder says of sequences, without gradients.
//!
//! Sequences of different lengths go forward together, padded on the right to the longest of their chunk. A token
//! sees itself and those before it, so what stands behind a sequence changes nothing in it. Logits are made for the
//! rows that are asked for, a few at a time.

use std::ops::Range;

use rayon::prelude::*;

use super::{Decoder, ROWS, Room};
use crate::ops::math;

/// Logits that are there at a time on each thread: 16 MiB of f32.
const LOGITS: usize = 4 << 20;

/// What a model says of one token, given those before it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Likelihood {
    /// Logarithm of its probability [nats].
    pub log: f64,
    /// Whether it has the largest logit; of several equal ones, the first of the vocabulary counts.
    pub is_argmax: bool,
}

impl Likelihood {
    /// Of `id`, whose row of logits this is.
    pub(crate) fn of(logits: &[f32], id: usize) -> Self {
        let log = -f64::from(math::log_sum_exp(logits) - logits[id]);
        Self { log, is_argmax: argmax(logits) == id }
    }
}

/// The place of the first of the largest logits.
pub fn argmax(logits: &[f32]) -> usize {
    let later = |best: usize, at: usize| if logits[at] > logits[best] { at } else { best };
    (0..logits.len()).fold(0, later)
}

/// Whole sequences in order, as many at a time as have `rows` rows together when padded to their longest.
pub(crate) fn padded_chunks(lengths: &[usize], rows: usize) -> Vec<Range<usize>> {
    let mut chunks: Vec<Range<usize>> = Vec::new();
    let mut longest = 0;
    for (i, length) in lengths.iter().enumerate() {
        longest = longest.max(*length);
        match chunks.last_mut() {
            Some(chunk) if (i + 1 - chunk.start) * longest <= rows => chunk.end = i + 1,
            _ => {
                longest = *length;
                chunks.push(i..i + 1);
            }
        }
    }
    chunks
}

/// Inputs one after the other, each with zeros behind it up to the longest; and that length.
pub(crate) fn padded(inputs: &[&[i32]]) -> (Vec<i32>, usize) {
    let longest = inputs.iter().map(|ids| ids.len()).max().unwrap_or(0);
    let mut all = Vec::with_capacity(inputs.len() * longest);
    for ids in inputs {
        all.extend_from_slice(ids);
        all.resize(all.len() + longest - ids.len(), 0);
    }
    (all, longest)
}

impl Decoder<'_> {
    /// What `read` makes of the row of logits `[vocab]` behind each input from its `from` on, in order: `[sequences]`
    /// lists of `inputs.len() - from` each. `read` is given the place of the sequence and that of the row in it.
    ///
    /// # Panics
    ///
    /// When an input is empty or longer than the rotary table, or an id is not below the vocabulary.
    pub fn read<T: Send>(
        &self,
        inputs: &[(&[i32], usize)],
        read: impl Fn(usize, usize, &[f32]) -> T + Sync,
    ) -> Vec<Vec<T>> {
        let lengths: Vec<usize> = inputs.iter().map(|(ids, _)| ids.len()).collect();
        let chunk = |chunk: Range<usize>| {
            let ids: Vec<&[i32]> = inputs[chunk.clone()].iter().map(|(ids, _)| *ids).collect();
            let (all, context) = padded(&ids);
            self.with_space(ids.len(), context, Room::Hidden, |s| {
                self.hidden(s, &all);
                let rows = |i: usize| {
                    let first = (i - chunk.start) * context;
                    &s.h[first * self.shape.width..(first + lengths[i]) * self.shape.width]
                };
                let of = |i: usize| self.rows(rows(i), inputs[i].1, |row, x| read(i, row, x));
                chunk.clone().map(of).collect::<Vec<Vec<T>>>()
            })
        };
        padded_chunks(&lengths, ROWS[1]).into_par_iter().flat_map_iter(chunk).collect()
    }

    /// `read` of the logits of each row of one sequence's stream `[length, width]` from `from` on.
    fn rows<T>(&self, h: &[f32], from: usize, read: impl Fn(usize, &[f32]) -> T) -> Vec<T> {
        let (d, vocab) = (self.shape.width, self.shape.vocab);
        let some = (LOGITS / vocab).max(1);
        let mut logits = Vec::new();
        let mut out = Vec::new();
        for h in h[from * d..].chunks(some * d) {
            logits.resize(h.len() / d * vocab, 0.0);
            self.head(h, &mut logits);
            let first = from + out.len();
            out.extend(logits.chunks(vocab).enumerate().map(|(i, x)| read(first + i, x)));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_leave_nothing_out_and_stay_below_their_rows() {
        let lengths = [3, 100, 2, 2, 2, 50, 1, 1000, 2000, 1];
        let chunks = padded_chunks(&lengths, 1024);
        assert_eq!(chunks, [0..7, 7..8, 8..9, 9..10]);
        assert!(padded_chunks(&[], 10).is_empty());
        assert_eq!(padded(&[&[1, 2, 3], &[4]]), (vec![1, 2, 3, 4, 0, 0], 3));
    }

    #[test]
    fn the_first_of_equal_logits_is_the_argmax() {
        assert_eq!(argmax(&[1.0, 3.0, 3.0, -1.0]), 1);
        let equal = Likelihood::of(&[0.0; 4], 1);
        assert!((equal.log + 4_f64.ln()).abs() < 1e-7 && !equal.is_argmax);
    }
}
