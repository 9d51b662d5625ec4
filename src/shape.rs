//! The family of models: from one dial, the width, to every dimension; and from the dimensions, exactly,
//! to the number of parameters and to the FLOPs of a token.
//!
//! Counts come from the configuration alone and are checked against the real tensors in `model`.

use serde::{Deserialize, Serialize};

use crate::points::Counts;
use crate::spec::ModelSpec;

/// Dimensions of one decoder-only Transformer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// Number of token ids.
    pub vocab: usize,
    /// Longest sequence [tokens].
    pub context: usize,
    /// Width of the residual stream.
    pub width: usize,
    /// Number of blocks.
    pub layers: usize,
    /// Attention heads; `width / heads` is the head dimension.
    pub heads: usize,
    /// Width of the SwiGLU hidden layer.
    pub ff: usize,
    /// RMSNorm on queries and keys, as in Qwen3.
    pub qk_norm: bool,
    /// The output head shares the embedding's matrix.
    pub tied: bool,
}

/// Weights of one kind, or products in attention, that no model has.
const MOST_WEIGHTS: f64 = 1e17;

/// Training FLOPs of one token, itemised: forward and backward, backward counted as twice forward
/// (Hoffmann et al. 2022, appendix F) [FLOP/token].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct FlopsPerToken {
    /// Matrix products of the blocks: 6 times their parameters.
    pub blocks: f64,
    /// Scores and weighted values of causal attention, 6 L T d: a token sees T/2 others on average.
    ///
    /// DIFFERENCE: Hoffmann et al. and nanochat count the full T x T square, twice this.
    pub attention: f64,
    /// The output head: 6 V d.
    pub head: f64,
    /// The input embedding: a look-up, no FLOPs.
    pub embedding: f64,
}

impl FlopsPerToken {
    /// All of them [FLOP/token].
    pub fn total(self) -> f64 {
        self.blocks + self.attention + self.head + self.embedding
    }
}

impl Shape {
    /// The member of the family with this width.
    pub fn of_width(width: usize, vocab: usize, rule: &ModelSpec) -> Self {
        let layers = ((width as f64 / rule.aspect).round() as usize).max(rule.min_layers);
        // Heads must divide the width into even parts (rotary pairs); the closest to the wish wins.
        let heads = (1..=width / 2)
            .filter(|h| width.is_multiple_of(*h) && (width / h).is_multiple_of(2))
            .min_by(|l, r| {
                let miss = |h: &usize| (width as f64 / *h as f64 / rule.head_dim as f64).ln().abs();
                miss(l).total_cmp(&miss(r))
            })
            .unwrap_or(1);
        let ff = ((width as f64 * rule.ff_ratio / 8.0).round() as usize).max(1) * 8;
        Self {
            vocab,
            context: rule.context,
            width,
            layers,
            heads,
            ff,
            qk_norm: rule.qk_norm,
            tied: rule.tied,
        }
    }

    /// The member of the family whose matmul parameters are closest to `params`, in the logarithm.
    pub fn of_params(params: f64, vocab: usize, rule: &ModelSpec) -> Self {
        let shape = |i: usize| Self::of_width(i * rule.width_multiple, vocab, rule);
        let mut high = 1;
        while shape(high).counts().matmul < params && high < MAX_WIDTH_STEPS {
            high *= 2;
        }
        let (mut below, mut above) = (1, high);
        while above - below > 1 {
            let middle = usize::midpoint(below, above);
            if shape(middle).counts().matmul < params { below = middle } else { above = middle }
        }
        let miss = |i: usize| (shape(i).counts().matmul / params).ln().abs();
        if miss(below) <= miss(above) { shape(below) } else { shape(above) }
    }

    /// Whether there is such a model, and one whose counts are whole numbers of 64 bits.
    pub fn is_possible(&self) -> bool {
        let Self { vocab, context, width, layers, heads, ff, .. } = *self;
        let product = |of: &[usize]| of.iter().map(|v| *v as f64).product::<f64>();
        let all = [vocab, context, width, layers, heads, ff];
        let largest =
            [&[layers, width, width][..], &[layers, width, ff], &[layers, context, width]];
        all.iter().all(|v| *v > 0)
            && width.is_multiple_of(heads)
            && largest.into_iter().chain([&[vocab, width][..]]).all(|of| product(of) < MOST_WEIGHTS)
    }

    /// Width of one attention head.
    pub fn head_dim(&self) -> usize {
        self.width / self.heads
    }

    /// What a token of a batch takes at most while the forward and the backward by whole tensors hold its
    /// activations, where matrix products read elements of `size` bytes [bytes/token].
    ///
    /// Kept of a layer: the stream before each half in f32; both norms, queries, keys and values, what
    /// attention saw, gate, up and their product. Once: the logits and their gradient; of the layer that the
    /// backward is in: scores, probabilities and their gradients, `heads x context` each, and its gradients.
    pub fn activation_bytes(&self, size: usize) -> usize {
        let Self { vocab, context, width: d, layers, heads, ff, .. } = *self;
        let raw = if self.qk_norm { 3 * size * d } else { 0 };
        let kept = 8 * d + size * (6 * d + 3 * ff) + raw;
        let attention = heads * context * (4 + 2 * size);
        layers * kept + attention + size * (2 * vocab + 8 * d + 2 * ff) + 12 * d
    }

    /// Parameters in the matrices of all blocks.
    fn block_matrices(&self) -> usize {
        self.layers * (4 * self.width * self.width + 3 * self.width * self.ff)
    }

    /// Gains of all norms.
    fn gains(&self) -> usize {
        let qk = if self.qk_norm { 2 * self.head_dim() } else { 0 };
        self.layers * (2 * self.width + qk) + self.width
    }

    /// N under every convention [parameters].
    ///
    /// `matmul` counts the output head even when it is tied: its FLOPs are spent.
    pub fn counts(&self) -> Counts {
        let embedding = self.vocab * self.width;
        let head = if self.tied { 0 } else { embedding };
        Counts {
            total: (self.block_matrices() + self.gains() + embedding + head) as f64,
            non_embedding: (self.block_matrices() + self.gains()) as f64,
            matmul: (self.block_matrices() + embedding) as f64,
            flops_over_6: self.flops_per_token().total() / 6.0,
        }
    }

    /// Training FLOPs of one token at full context.
    pub fn flops_per_token(&self) -> FlopsPerToken {
        FlopsPerToken {
            blocks: 6.0 * self.block_matrices() as f64,
            attention: 6.0 * (self.layers * self.context * self.width) as f64,
            head: 6.0 * (self.vocab * self.width) as f64,
            embedding: 0.0,
        }
    }

    /// `d32 L3 H2 ff88`.
    pub fn short(&self) -> String {
        format!("d{} L{} H{} ff{}", self.width, self.layers, self.heads, self.ff)
    }
}

/// Bounds the search for a width: with a multiple of 8 this is far beyond any model ever trained.
const MAX_WIDTH_STEPS: usize = 1 << 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::ModelSpec;

    #[test]
    fn a_shape_whose_counts_would_wrap_is_none() {
        let rule = ModelSpec::default();
        let sound = Shape::of_width(64, 256, &rule);
        assert!(sound.is_possible());
        for shape in [
            Shape { width: 1 << 40, ..sound },
            Shape { ff: usize::MAX, ..sound },
            Shape { context: 1 << 60, ..sound },
            Shape { heads: 0, ..sound },
            Shape { heads: 3, ..sound },
            Shape { layers: 0, ..sound },
        ] {
            assert!(!shape.is_possible(), "{shape:?}");
        }
    }

    /// By hand, for width 32, 3 layers, ff 88, V 256, T 128:
    /// block 4*32^2 + 3*32*88 = 12 544; three of them 37 632; head 8 192; gains 3*64 + 32 = 224.
    #[test]
    fn counts_agree_with_arithmetic_on_paper() {
        let shape = Shape {
            vocab: 256,
            context: 128,
            width: 32,
            layers: 3,
            heads: 2,
            ff: 88,
            qk_norm: false,
            tied: false,
        };
        let n = shape.counts();
        assert_eq!(n.matmul, 45_824.0);
        assert_eq!(n.non_embedding, 37_856.0);
        assert_eq!(n.total, 37_632.0 + 224.0 + 2.0 * 8_192.0);
        let f = shape.flops_per_token();
        assert_eq!(f.attention, 73_728.0);
        assert_eq!(f.total(), 6.0 * 45_824.0 + 73_728.0);
        assert_eq!(n.flops_over_6 * 6.0, f.total());
    }

    #[test]
    fn the_family_is_valid_at_every_width_and_hits_its_target() {
        let rule = ModelSpec::default();
        for i in 1..200 {
            let shape = Shape::of_width(i * rule.width_multiple, 256, &rule);
            assert_eq!(shape.heads * shape.head_dim(), shape.width);
            assert_eq!(shape.head_dim() % 2, 0, "{shape:?}");
        }
        for target in [1e5, 1e6, 1e8, 7e9] {
            let got = Shape::of_params(target, 256, &rule).counts().matmul;
            assert!((got / target).ln().abs() < 0.25, "{target} got {got}");
        }
    }
}
