//! The `[optim]` and `[schedule]` blocks: the recipe of the optimiser, and the learning rate over time.

use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::rule::Rule;
use super::spanned::{number, spanned, unspanned};

/// The recipe: AdamW (Loshchilov and Hutter 2019) with global gradient-norm clipping.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OptimSpec {
    /// Peak learning rate as a rule in (N, D) [1/step].
    pub learning_rate: Spanned<Rule>,
    /// Batch size as a rule in (N, D), rounded to whole sequences [tokens/step].
    pub batch_tokens: Spanned<Rule>,
    /// Decay rates of the two moments.
    #[serde(default = "betas")]
    pub betas: Spanned<[f64; 2]>,
    /// Added to the root of the second moment.
    #[serde(default = "eps", deserialize_with = "spanned")]
    pub eps: Spanned<f64>,
    /// Decoupled weight decay on matrices, times the learning rate, as a rule in (N, D).
    #[serde(default = "no_decay")]
    pub weight_decay: Spanned<Rule>,
    /// Largest global gradient norm; 0 turns clipping off.
    #[serde(default = "clip", deserialize_with = "spanned")]
    pub clip: Spanned<f64>,
}

fn betas() -> Spanned<[f64; 2]> {
    unspanned([0.9, 0.95])
}

fn eps() -> Spanned<f64> {
    unspanned(1e-8)
}

fn no_decay() -> Spanned<Rule> {
    unspanned(Rule::constant(0.0))
}

fn clip() -> Spanned<f64> {
    unspanned(1.0)
}

/// The learning rate over one cell's steps. Both kinds end at the cell's own horizon.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Schedule {
    /// Linear warmup, then half a cosine.
    Cosine {
        /// Share of all steps [0, 1).
        #[serde(deserialize_with = "number")]
        warmup: f64,
        /// Last learning rate over the peak [0, 1].
        #[serde(deserialize_with = "number")]
        end: f64,
    },
    /// Warmup, stable, decay: constant, then falling as 1 - sqrt (Haegele et al. 2024).
    Wsd {
        /// Share of all steps [0, 1).
        #[serde(deserialize_with = "number")]
        warmup: f64,
        /// Share of all steps that decay (0, 1].
        #[serde(deserialize_with = "number")]
        decay: f64,
        /// Last learning rate over the peak [0, 1].
        #[serde(deserialize_with = "number")]
        end: f64,
    },
    /// The same, so that cells that differ only in their tokens share all steps before their cooldown:
    /// a warmup that does not depend on the horizon, and one trunk from which every horizon branches.
    Trunk {
        /// Warmup [tokens/parameter].
        #[serde(deserialize_with = "number")]
        warmup: f64,
        /// Share of all steps that decay (0, 1]: the cooldown of each branch.
        #[serde(deserialize_with = "number")]
        decay: f64,
        /// Last learning rate over the peak [0, 1].
        #[serde(deserialize_with = "number")]
        end: f64,
    },
}
