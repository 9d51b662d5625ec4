//! What a trained model says of token sequences: the likelihood of each token, and the logits of the next.
//!
//! Without gradients, in f32 on every device: rounding to bf16 moves a log-likelihood by a hundredth of a nat. The same
//! weights and sequences give the same bits, for any number of threads. A batch may hold sequences of different
//! lengths: they are padded on the right, which is harmless, since a token sees none behind it; beside others a
//! sequence's numbers may differ by the rounding of f32, for products of another size are summed in another order.

use burn::tensor::FloatDType;

use super::Transformer;
#[cfg(feature = "cube")]
use crate::ops;
use crate::ops::{Kernels, Likelihood, Plain};

/// A sequence of which some tokens are scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scored<'a> {
    /// At least two, and one more than the model's context at most: the last is not read by the model.
    pub ids: &'a [i32],
    /// Place of the first token that is scored: it and all behind it are; at least 1, for the first has none before it.
    pub from: usize,
}

impl Transformer {
    /// The likelihood of each scored token given all tokens before it: for every sequence `ids.len() - from` of them.
    ///
    /// # Panics
    ///
    /// When a sequence is empty but for one token or longer than the context and one, `from` is 0 or beyond it, or an
    /// id is not below the vocabulary.
    ///
    /// # Example
    ///
    /// ```
    /// use isoflop::model::{Place, Scaling, Scored, Transformer};
    /// use isoflop::{ops::Kernels, shape::Shape};
    ///
    /// let (vocab, context, width, layers, heads, ff) = (256, 8, 16, 1, 1, 32);
    /// let (qk_norm, tied) = (false, false);
    /// let shape = Shape { vocab, context, width, layers, heads, ff, qk_norm, tied };
    /// let place = Place::cpu(Kernels::Fused);
    /// let model = Transformer::new(shape, Scaling::one_rate(0.5), 0, &place);
    /// let said = model.log_likelihoods(&[Scored { ids: &[0, 84, 104, 101], from: 1 }]);
    /// // A fresh model knows nothing: each of the three has about a chance of 1/256.
    /// assert!(said[0].iter().all(|token| (token.log + 256_f64.ln()).abs() < 1.0));
    /// ```
    pub fn log_likelihoods(&self, sequences: &[Scored<'_>]) -> Vec<Vec<Likelihood>> {
        let fits = |s: &Scored<'_>| {
            (2..=self.shape.context + 1).contains(&s.ids.len())
                && (1..s.ids.len()).contains(&s.from)
        };
        assert!(
            sequences.iter().all(fits),
            "each sequence has a scored token and fits the context"
        );
        let inputs: Vec<(&[i32], usize)> =
            sequences.iter().map(|s| (&s.ids[..s.ids.len() - 1], s.from - 1)).collect();
        self.read(&inputs, |i, row, logits| {
            Likelihood::of(logits, sequences[i].ids[row + 1] as usize)
        })
    }

    /// Logits of the token that follows each sequence, `[sequences][vocab]`.
    ///
    /// # Panics
    ///
    /// When a sequence is empty or longer than the context, or an id is not below the vocabulary.
    pub fn next_logits(&self, sequences: &[&[i32]]) -> Vec<Vec<f32>> {
        let inputs: Vec<(&[i32], usize)> =
            sequences.iter().map(|ids| (*ids, ids.len().saturating_sub(1))).collect();
        self.read(&inputs, |_, _, logits| logits.to_vec()).into_iter().flatten().collect()
    }

    /// What `read` makes of each row of logits from the second number of an input on; see [`Decoder::read`](crate::ops::Decoder::read).
    fn read<T: Send>(
        &self,
        inputs: &[(&[i32], usize)],
        read: impl Fn(usize, usize, &[f32]) -> T + Sync,
    ) -> Vec<Vec<T>> {
        let known = |id: &i32| usize::try_from(*id).is_ok_and(|id| id < self.shape.vocab);
        let fits = |(ids, _): &(&[i32], usize)| {
            (1..=self.shape.context).contains(&ids.len()) && ids.iter().all(known)
        };
        assert!(inputs.iter().all(fits), "each sequence is of the vocabulary and fits the context");
        match self.place.kernels {
            Kernels::Fused | Kernels::Composed => self.on_cpu(|decoder| decoder.read(inputs, read)),
            Kernels::Tensors(_) => self.on_device(FloatDType::F32, Plain).read(inputs, read),
            #[cfg(feature = "cube")]
            Kernels::Cubes(_, products) => {
                self.on_device(FloatDType::F32, ops::Cubes(products)).read(inputs, read)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::shape;
    use super::super::{Place, Scaling, check};
    use super::*;

    fn model(kernels: Kernels, qk_norm: bool, tied: bool) -> Transformer {
        let shape = shape(qk_norm, tied);
        Transformer::new(shape, Scaling::one_rate(0.5), 3, &Place::cpu(kernels))
    }

    const PATHS: [Kernels; 2] = [Kernels::Fused, Kernels::Tensors(FloatDType::BF16)];

    /// Oracle: the loss that training measures on the same windows.
    #[test]
    fn the_mean_over_windows_is_the_loss_of_the_batch() {
        for (qk_norm, tied) in [(false, false), (true, true)] {
            let want_of = model(Kernels::Fused, qk_norm, tied);
            let batch = check::batch(&want_of.shape(), 300);
            let windows: Vec<Vec<i32>> = batch
                .inputs
                .chunks(8)
                .zip(batch.targets.chunks(8))
                .map(|(inputs, targets)| [inputs, &targets[7..]].concat())
                .collect();
            // Targets of the check's batches do not follow the inputs; those here do.
            let follow = crate::data::Batch {
                targets: windows.iter().flat_map(|w| w[1..].to_vec()).collect(),
                ..batch
            };
            let want = want_of.loss(&follow);
            for kernels in PATHS {
                let scored: Vec<Scored<'_>> =
                    windows.iter().map(|ids| Scored { ids, from: 1 }).collect();
                let said = model(kernels, qk_norm, tied).log_likelihoods(&scored).concat();
                assert_eq!(said.len(), follow.targets.len());
                let mean = -said.iter().map(|t| t.log).sum::<f64>() / said.len() as f64;
                assert!((mean - want).abs() < 1e-6, "{kernels:?}: {mean}, {want}");
            }
        }
    }

    #[test]
    fn beside_longer_sequences_and_from_any_place_a_token_has_the_same_likelihood() {
        for kernels in PATHS {
            let model = model(kernels, true, false);
            let ids: Vec<i32> = (0..9).map(|i| (i * 7 + 3) % 31).collect();
            let of = |ids: &[i32]| model.next_logits(&[ids]).remove(0);
            let all: Vec<&[i32]> = (1..9).map(|n| &ids[..n]).collect();
            let together = model.next_logits(&all);
            let scored: Vec<Scored<'_>> =
                (1..9).map(|n| Scored { ids: &ids[..=n], from: n }).collect();
            let said = model.log_likelihoods(&scored);
            let whole = model.log_likelihoods(&[Scored { ids: &ids, from: 1 }]).remove(0);
            for (n, (logits, said)) in together.iter().zip(&said).enumerate() {
                let alone = of(&ids[..=n]);
                assert!(alone.iter().zip(logits).all(|(l, r)| (l - r).abs() < 2e-6), "{n}");
                assert_eq!(said.len(), 1);
                let want = Likelihood::of(&alone, ids[n + 1] as usize);
                for got in [said[0], whole[n]] {
                    assert!((got.log - want.log).abs() < 2e-6, "{kernels:?} {n}");
                    assert_eq!(got.is_argmax, want.is_argmax);
                }
            }
            assert_eq!(together, model.next_logits(&all), "the same bits");
        }
    }
}
