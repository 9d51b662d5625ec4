//! The `[grid]` block: which sizes on how many tokens, as budgets x sizes, sizes x tokens, or run by run.

use serde::Deserialize;
use toml::Spanned;

use super::spanned::{spanned, unspanned};
use crate::units::Quantity;

/// Which sizes on how many tokens.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Grid {
    /// Budgets x sizes: every budget is spent on several sizes around a guessed optimum.
    Isoflop(Isoflop),
    /// Sizes x token counts.
    Product(Product),
    /// One entry a run.
    Cells(Spanned<Vec<ExplicitCell>>),
}

/// Budgets x sizes.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Isoflop {
    /// Training compute of each budget, exact FLOPs with attention and head [FLOP].
    pub budgets: Spanned<Vec<Quantity>>,
    /// Sizes at each budget, spaced evenly in ln N.
    pub sizes: Spanned<u64>,
    /// Sizes reach from centre / span to centre x span.
    #[serde(deserialize_with = "spanned")]
    pub span: Spanned<f64>,
    /// Guessed D*/N* at the geometric mean of the budgets [tokens/parameter].
    #[serde(deserialize_with = "spanned")]
    pub tokens_per_param: Spanned<f64>,
    /// Guessed exponent of N* ~ C^a around that point.
    #[serde(default = "half", deserialize_with = "spanned")]
    pub exponent: Spanned<f64>,
}

fn half() -> Spanned<f64> {
    unspanned(0.5)
}

/// Sizes x token counts.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Product {
    /// Matmul parameters to aim for [parameters].
    pub params: Spanned<Vec<Quantity>>,
    /// Training tokens [tokens].
    #[serde(default)]
    pub tokens: Option<Spanned<Vec<Quantity>>>,
    /// Training tokens over parameters, instead of `tokens` [tokens/parameter].
    #[serde(default)]
    pub tokens_per_param: Option<Spanned<Vec<Quantity>>>,
}

/// One run, spelled out.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExplicitCell {
    /// Matmul parameters to aim for [parameters].
    pub params: Spanned<Quantity>,
    /// Training tokens [tokens].
    pub tokens: Spanned<Quantity>,
    /// Instead of the rule [1/step].
    #[serde(default)]
    pub learning_rate: Option<Quantity>,
    /// Instead of the rule [tokens/step].
    #[serde(default)]
    pub batch_tokens: Option<Quantity>,
}
