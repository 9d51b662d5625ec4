//! What a person writes: the sweep file, as typed values.
//!
//! A [`Spec`] says what to vary and what to hold fixed. It knows nothing of tensors, disks or clusters.
//! The only way to make one is [`Spec::parse`], so a `Spec` in hand is a valid `Spec`. Derived numbers
//! (steps, widths, learning rates) live in the plan, never here.

mod check;
mod check_files;
mod data;
mod device;
mod files;
mod filter;
mod grid;
mod keep;
mod kind;
mod model;
mod optim;
mod recipe;
mod rule;
mod scalar;
mod seeds;
mod slurm;
mod spanned;
mod tune;

use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;

use crate::error::SpecError;
use crate::health;
use crate::units::Quantity;
use spanned::unspanned;

pub(crate) use check::MAX_BATCH;
pub use data::{DataSpec, GraphWalk, Source, Tokenizer, UniqueTokens, ZipfFact};
pub use device::{DeviceKind, DeviceSpec, Matmul};
pub use files::{Files, HeldOut};
pub use filter::{
    C4, C4Paragraphs, Filter, Fineweb, GopherQuality, GopherRepetition, Language, Lines, MAX_NGRAM,
    Near,
};
pub use grid::{ExplicitCell, Grid, Isoflop, Product};
pub use keep::Keep;
pub use kind::TextKind;
pub use model::{ModelSpec, Parametrization};
pub use optim::{OptimSpec, Schedule};
pub use recipe::{
    ByteSize, DataRecipe, Decontaminate, Dedup, DomainRecipe, MAX_RECIPE, NearOrNot, OnContact,
    Read, RecipeTokenizer,
};
pub use rule::Rule;
pub use scalar::Scalar;
pub use seeds::Seeds;
pub use slurm::SlurmSpec;
pub use tune::{Axis, TuneCell, TuneSpec};

/// Largest sweep file that is read [bytes].
pub const MAX_FILE: usize = 1 << 20;

/// Largest grid one file may ask for. A slip of the keyboard must fail in a millisecond.
pub const MAX_CELLS: u64 = 10_000;

/// One sweep: a grid of training runs that share data, a model family and a recipe.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// Name of the sweep; becomes a directory under `results/` and `analysis/`.
    pub name: Spanned<String>,
    /// How often the whole grid is repeated, with other weights, another data order, or both.
    #[serde(default = "one")]
    pub seeds: Spanned<Seeds>,
    /// What is kept of a completed cell beside its record.
    #[serde(default)]
    pub keep: Keep,
    /// What the models read.
    pub data: DataSpec,
    /// Which models: the family and its shape rule.
    #[serde(default)]
    pub model: ModelSpec,
    /// Which sizes on how many tokens.
    pub grid: Grid,
    /// The recipe.
    pub optim: OptimSpec,
    /// The learning rate over time.
    pub schedule: Schedule,
    /// How the loss is measured.
    #[serde(default)]
    pub eval: EvalSpec,
    /// Where cells run.
    #[serde(default)]
    pub device: DeviceSpec,
    /// What a job array on a cluster asks for.
    #[serde(default = "no_slurm")]
    pub slurm: Spanned<SlurmSpec>,
    /// How the law is fitted.
    #[serde(default)]
    pub fit: FitSpec,
    /// Where rates, batches and decay are searched.
    #[serde(default)]
    pub tune: Option<Spanned<TuneSpec>>,
}

impl Spec {
    /// Parses and checks a sweep file.
    ///
    /// # Errors
    ///
    /// [`SpecError`], which points into `text` and says what to try.
    ///
    /// # Example
    ///
    /// ```
    /// use isoflop::spec::Spec;
    ///
    /// let text = r#"
    /// name = "tiny"
    /// data.source = "pd-prose"
    /// grid.product = { params = [1e4, "30k"], tokens = ["1M", "3M"] }
    /// optim = { learning_rate = 0.01, batch_tokens = 1024 }
    /// schedule.cosine = { warmup = 0.1, end = 0.02 }
    /// "#;
    /// assert_eq!(Spec::parse(text)?.name.get_ref(), "tiny");
    ///
    /// let text = text.replace("0.01", "-0.01");
    /// let error = Spec::parse(&text).unwrap_err().render("tiny.toml", &text);
    /// assert!(error.contains("`optim.learning_rate`") && error.contains("tiny.toml:5"), "{error}");
    /// # Ok::<(), isoflop::error::SpecError>(())
    /// ```
    pub fn parse(text: &str) -> Result<Self, SpecError> {
        if text.len() > MAX_FILE {
            return Err(SpecError::TooLong { bytes: text.len(), max: MAX_FILE });
        }
        let spec: Self = toml::from_str(text).map_err(|e| SpecError::Syntax(Box::new(e)))?;
        check::check(&spec)?;
        Ok(spec)
    }
}

impl Spec {
    /// The task files, where they lie from where the command runs.
    pub fn task_files(&self) -> Vec<PathBuf> {
        self.eval.tasks.iter().map(|name| self.data.base.join(name)).collect()
    }
}

fn one() -> Spanned<Seeds> {
    unspanned(Seeds::Together(1))
}

fn no_slurm() -> Spanned<SlurmSpec> {
    unspanned(SlurmSpec::default())
}

/// How the loss is measured.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EvalSpec {
    /// Held-out tokens, the same for every cell [tokens].
    pub tokens: Spanned<Quantity>,
    /// How many times on the way, the end included.
    pub times: Spanned<u64>,
    /// Task files on which every cell is scored after its last step, relative to the sweep file. No part of a cell.
    pub tasks: Vec<String>,
}

impl Default for EvalSpec {
    fn default() -> Self {
        Self { tokens: unspanned(Quantity(131_072.0)), times: unspanned(4), tasks: Vec::new() }
    }
}

/// How the law is fitted.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FitSpec {
    /// Largest budgets kept out of the hold-out test.
    pub holdout: Spanned<u64>,
    /// Bootstrap refits.
    pub bootstrap: Spanned<u64>,
    /// Level of intervals (0, 1).
    pub level: Spanned<f64>,
    /// Rules for loss curves: a run that breaks one of these is left out of the fit by name.
    pub exclude: Vec<health::Rule>,
    /// Compute to predict in the report; ten times the largest budget when empty [FLOP].
    pub predict: Spanned<Vec<Quantity>>,
}

impl Default for FitSpec {
    fn default() -> Self {
        Self {
            holdout: unspanned(1),
            bootstrap: unspanned(1000),
            level: unspanned(0.9),
            exclude: health::Rule::ALL.to_vec(),
            predict: unspanned(Vec::new()),
        }
    }
}
