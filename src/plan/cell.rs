//! One point of the grid: everything that determines a training run, and its identity.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::shape::Shape;
use crate::spec::{Parametrization, Schedule, Source, Tokenizer};

/// Raised when the same recipe would train differently: old results are then no longer reused.
const RECIPE_VERSION: u32 = 1;

/// Everything that determines the weights and the loss of a run. Two equal recipes give the same bits on
/// one machine with one binary; where the run happens and how often it is evaluated are not part of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    /// Version of the meaning of these fields.
    pub version: u32,
    /// Kind of the data. Where files lie is no part of it; only recipes from before 28 November 2026 say it.
    pub source: Source,
    /// How text becomes ids.
    pub tokenizer: Tokenizer,
    /// Hash of the training and held-out token ids, or of the generator's parameters. Ids that are bytes follow
    /// from the documents, whose hash it then is. Of a prepared dataset its id.
    pub data_sha256: String,
    /// Dimensions.
    pub shape: Shape,
    /// Standard deviation of the initial embedding.
    pub embedding_std: f64,
    /// Reference width of the learning rate for matrices, 0 for no width scaling.
    pub reference_width: usize,
    /// How scales and rates depend on width and depth. `mup-hidden-rates`, which all cells had before there was
    /// a choice, is not written: their recipes and ids are as they were.
    #[serde(default = "unwritten", skip_serializing_if = "is_unwritten")]
    pub parametrization: Parametrization,
    /// Layers at which the learning rate is meant, 0 (not written) for no depth scaling.
    #[serde(default, skip_serializing_if = "is_default")]
    pub reference_layers: usize,
    /// Optimiser steps.
    pub steps: u64,
    /// Sequences of `shape.context` tokens in one step.
    pub batch_sequences: u64,
    /// Peak learning rate [1/step].
    pub learning_rate: f64,
    /// Decay rates of the moments.
    pub betas: [f64; 2],
    /// Added to the root of the second moment.
    pub eps: f64,
    /// Decoupled weight decay on matrices.
    pub weight_decay: f64,
    /// Largest global gradient norm, 0 for none.
    pub clip: f64,
    /// Learning rate over time.
    pub schedule: Schedule,
    /// How the rate of a trunk goes on after so many tokens; `None` for a constant one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub horizon: Option<Horizon>,
    /// Held-out tokens of the evaluation.
    pub eval_tokens: u64,
    /// Seed of the initial weights. Its name in the record is from when it was that of the order too.
    #[serde(rename = "seed")]
    pub init_seed: u64,
    /// Seed of the data order, where it is not that of the weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order_seed: Option<u64>,
    /// Sequences of each 1024 that are of a domain, where the sweep says how a dataset is mixed; else it follows from
    /// the dataset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mix: Option<BTreeMap<String, u64>>,
    /// Distinct tokens that are read of a dataset, where not all are [tokens].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unique_tokens: Option<u64>,
}

/// Which sequences a run sees, and in which order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Draw {
    /// Seed of the order.
    pub seed: u64,
    /// Distinct tokens, where not all of a dataset are read [tokens].
    pub unique_tokens: Option<u64>,
}

impl Draw {
    /// Of all that there is, by this seed.
    pub fn of(seed: u64) -> Self {
        Self { seed, unique_tokens: None }
    }
}

/// The stable rate of a trunk after `tokens`: it follows (tokens so far / `tokens`)^`exponent`, so that a
/// branch finds about the rate that suits its horizon (Shen et al. 2024, 2408.13359).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Horizon {
    /// Until here the rate is constant [tokens].
    pub tokens: f64,
    /// Exponent of D in the rule of the learning rate [-].
    pub exponent: f64,
}

impl Recipe {
    /// The version this code trains.
    pub fn current_version() -> u32 {
        RECIPE_VERSION
    }

    /// A recipe for checks and benchmarks, which are of no sweep: a constant rate, one step of one sequence, bytes
    /// of the built-in text. What matters is set by who asks.
    pub fn bare(shape: Shape) -> Self {
        Self {
            version: RECIPE_VERSION,
            source: Source::PdProse,
            tokenizer: Tokenizer::Bytes,
            data_sha256: String::new(),
            shape,
            embedding_std: 0.5,
            reference_width: 0,
            parametrization: unwritten(),
            reference_layers: 0,
            steps: 1,
            batch_sequences: 1,
            learning_rate: 1e-3,
            betas: [0.9, 0.95],
            eps: 1e-8,
            weight_decay: 0.1,
            clip: 1.0,
            schedule: Schedule::Cosine { warmup: 0.0, end: 1.0 },
            horizon: None,
            eval_tokens: 0,
            init_seed: 0,
            order_seed: None,
            mix: None,
            unique_tokens: None,
        }
    }

    /// The first 16 hexadecimal digits of the SHA-256 of the recipe's JSON. The layout of the sweep file
    /// and the cell's place in the grid do not matter; every field that changes the run does.
    ///
    /// # Panics
    ///
    /// Never: a recipe has no map with keys other than text, the one thing JSON cannot write.
    pub fn id(&self) -> String {
        let json = serde_json::to_vec(self).expect("a recipe has no map with other keys than text");
        hex(&Sha256::digest(json))[..16].to_owned()
    }

    /// Identity of the steps before the cooldown, under a trunk schedule: recipes of one stem take the same
    /// steps, bit for bit, until the first of them cools down.
    pub fn stem(&self) -> Option<String> {
        let Schedule::Trunk { warmup, .. } = self.schedule else { return None };
        let schedule = Schedule::Trunk { warmup, decay: 1.0, end: 0.0 };
        Some(Self { steps: 0, eval_tokens: 0, schedule, ..self.clone() }.id())
    }

    /// Steps of the warmup; under a trunk schedule possibly more than the run has.
    pub fn warmup_steps(&self) -> u64 {
        let steps = match self.schedule {
            Schedule::Cosine { warmup, .. } | Schedule::Wsd { warmup, .. } => {
                warmup * self.steps as f64
            }
            Schedule::Trunk { warmup, .. } => {
                warmup * self.shape.counts().matmul / self.batch_tokens() as f64
            }
        };
        steps.round() as u64
    }

    /// Steps before the rate begins to fall to its end. Under a trunk schedule a run that is shorter than the
    /// warmup cools down from as far as it got, so that every branch has a cooldown.
    pub fn stable_steps(&self) -> u64 {
        let before = |decay: f64| {
            let cooldown = (decay * self.steps as f64).round() as u64;
            self.steps.saturating_sub(cooldown)
        };
        match self.schedule {
            Schedule::Cosine { .. } => self.warmup_steps(),
            Schedule::Wsd { decay, .. } => before(decay).max(self.warmup_steps()),
            Schedule::Trunk { decay, .. } => before(decay).min(self.steps.saturating_sub(1)),
        }
    }

    /// Seed of the data order.
    pub fn order(&self) -> u64 {
        self.order_seed.unwrap_or(self.init_seed)
    }

    /// Which sequences it sees, and in which order.
    pub fn draw(&self) -> Draw {
        Draw { seed: self.order(), unique_tokens: self.unique_tokens }
    }

    /// Training tokens of one step [tokens/step].
    pub fn batch_tokens(&self) -> u64 {
        self.batch_sequences * self.shape.context as u64
    }

    /// Training tokens D [tokens].
    pub fn tokens(&self) -> u64 {
        self.steps * self.batch_tokens()
    }

    /// Training compute C, exact [FLOP].
    pub fn flops(&self) -> f64 {
        self.shape.flops_per_token().total() * self.tokens() as f64
    }
}

/// What a recipe without a parametrization has, whatever new sweeps have.
fn unwritten() -> Parametrization {
    Parametrization::MupHiddenRates
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_unwritten(parametrization: &Parametrization) -> bool {
    *parametrization == unwritten()
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut out, b| {
        let _ = write!(out, "{b:02x}");
        out
    })
}

/// The beginning of an id or hash, as tables show it; all of one that is short or no hash.
pub fn short(id: &str) -> &str {
    id.get(..8).unwrap_or(id)
}

/// One planned run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// [`Recipe::id`].
    pub id: String,
    /// The budget it spends, in an IsoFLOP grid [FLOP].
    pub budget: Option<f64>,
    /// Id of the cell from whose trunk it branches, if any: then only its cooldown is its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trunk: Option<String>,
    /// What is trained.
    pub recipe: Recipe,
}

impl Cell {
    /// A cell with the identity of its recipe.
    pub fn new(budget: Option<f64>, recipe: Recipe) -> Self {
        Self { id: recipe.id(), budget, trunk: None, recipe }
    }

    /// The beginning of its id, as tables show it.
    pub fn short(&self) -> &str {
        short(&self.id)
    }

    /// Steps that are planned to be its own: all of them, or the cooldown of a branch.
    pub fn own_steps(&self) -> u64 {
        let shared = self.trunk.as_ref().map_or(0, |_| self.recipe.stable_steps());
        self.recipe.steps - shared
    }

    /// Compute that is planned to be spent on it alone [FLOP].
    pub fn flops_spent(&self) -> f64 {
        self.recipe.flops() * (self.own_steps() as f64 / self.recipe.steps as f64)
    }

    /// N, matmul convention [parameters].
    pub fn params(&self) -> f64 {
        self.recipe.shape.counts().matmul
    }
}
