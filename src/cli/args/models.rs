//! Verbs of what leaves: export, of tables and of models; and sample.

use std::path::PathBuf;

use clap::builder::PossibleValue;
use clap::{Args, ValueEnum};

use super::table::Columns;
use crate::export;
use crate::hf::Precision;
use crate::model::Choice;

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// The runs.
    Runs(export::Format),
    /// One model.
    Hf,
}

impl ValueEnum for Format {
    fn value_variants<'a>() -> &'a [Self] {
        use export::Format as F;
        const ALL: [Format; 5] = [
            Format::Runs(F::Chinchilla),
            Format::Runs(F::OpenAthena),
            Format::Runs(F::Nanochat),
            Format::Runs(F::SimpleScalingLaws),
            Format::Hf,
        ];
        &ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        match self {
            Self::Runs(format) => format.to_possible_value(),
            Self::Hf => Some(
                PossibleValue::new("hf").help("A model as a directory that `transformers` loads"),
            ),
        }
    }
}

/// `export`.
#[derive(Debug, Args)]
#[command(after_help = "\
A model:
  isoflop export results/prose --cell 61301598 --format hf --out prose-596k
writes config.json, model.safetensors, tokenizer.json and a model card, all or nothing.")]
pub struct ExportArgs {
    /// A sweep file, a directory under results/, a table (CSV, TSV, JSON or Parquet), or a fit.json.
    pub input: PathBuf,
    /// Whose table to write, or `hf` for a model.
    #[arg(long)]
    pub format: Format,
    /// How to read a table.
    #[command(flatten)]
    pub columns: Columns,
    /// File to write, stdout otherwise; of a model the directory.
    #[arg(long, short, value_name = "PATH")]
    pub out: Option<PathBuf>,
    /// The begin of the id of the cell whose model to write [default: that of the lowest loss].
    #[arg(long, value_name = "ID")]
    pub cell: Option<String>,
    /// Type of a model's weights; bf16 is rounded, and the loss that costs is measured.
    #[arg(long, value_name = "TYPE", default_value = "f32")]
    pub dtype: Precision,
}

/// `sample`.
#[derive(Debug, Args)]
pub struct SampleArgs {
    /// A sweep file, a directory under results/, or one of Hugging Face's (with a config.json).
    pub model: PathBuf,
    /// The begin of the cell's id [default: that of the lowest loss whose weights are kept].
    #[arg(long, value_name = "ID")]
    pub cell: Option<String>,
    /// What the text begins with; nothing for the begin of a document.
    #[arg(long, default_value = "", value_name = "TEXT")]
    pub prompt: String,
    /// Most tokens to add.
    #[arg(long, default_value_t = 200, value_name = "COUNT")]
    pub tokens: usize,
    /// What logits are divided by; 0 takes the most likely token.
    #[arg(long, default_value_t = 0.8)]
    pub temperature: f64,
    /// Draw from the most likely tokens that have this share of the probability together; 1 for all.
    #[arg(long, default_value_t = 0.95, value_name = "SHARE")]
    pub top_p: f64,
    /// Seed: the same command prints the same text.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Print text, ids and the model as JSON.
    #[arg(long)]
    pub json: bool,
    /// Directory of run logs, one folder a sweep.
    #[arg(long, default_value = "results", value_name = "DIR")]
    pub results: PathBuf,
}

impl SampleArgs {
    /// How tokens are chosen.
    pub(in crate::cli) fn choice(&self) -> Choice {
        Choice { temperature: self.temperature, top_p: self.top_p }
    }
}
