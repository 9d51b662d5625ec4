//! Verbs of laws: fit, predict, backtest, selftest, report.

use std::path::PathBuf;

use clap::{ArgGroup, Args};

use super::table::{Columns, Pinned};
use super::values::{decay, quantity, share};
use crate::error::InputError;
use crate::fit::Options;
use crate::predict::hardware::DEFAULT_MFU;
use crate::study::Dirs;

/// `fit`.
#[derive(Debug, Args)]
pub struct FitArgs {
    /// A sweep file, a directory under results/, a table (CSV, TSV, JSON or Parquet), or a fit.json.
    pub input: PathBuf,
    /// Print fit.json.
    #[arg(long)]
    pub json: bool,
    /// How to read a CSV.
    #[command(flatten)]
    pub columns: Columns,
    /// Where Huber's loss turns from square to linear, in ln L.
    #[arg(long, default_value_t = 1e-3)]
    pub delta: f64,
    /// Bootstrap refits; 0 leaves the intervals out [default: that of the sweep, else 1000].
    #[arg(long, value_name = "COUNT")]
    pub bootstrap: Option<usize>,
    /// Level of the intervals [default: that of the sweep, else 0.9].
    #[arg(long)]
    pub level: Option<f64>,
    /// Largest budgets kept out and predicted from the rest [default: that of the sweep, else 1].
    #[arg(long, value_name = "COUNT")]
    pub holdout: Option<usize>,
    /// What is not fitted.
    #[command(flatten)]
    pub pinned: Pinned,
    /// For a sweep: fit the bits per byte of a task that its cells were scored on (`isoflop eval`), and accuracy from them.
    #[arg(long, value_name = "TASK", conflicts_with = "map")]
    pub target: Option<String>,
    /// A CSV of other models' scores for the step to accuracy: bits_per_byte, accuracy, and se or items.
    #[arg(long, value_name = "FILE", requires = "target")]
    pub with: Option<PathBuf>,
    /// Seed of the bootstrap.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Directory of fit.json, figures and report; analysis/<name> otherwise.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

impl FitArgs {
    /// What is asked, over what the runs' own sweep or fit says.
    pub(in crate::cli) fn options(&self, defaults: Options) -> Result<Options, InputError> {
        Ok(Options {
            delta: self.delta,
            bootstrap: self.bootstrap.unwrap_or(defaults.bootstrap),
            level: self.level.unwrap_or(defaults.level),
            holdout: self.holdout.unwrap_or(defaults.holdout),
            seed: self.seed,
            pins: self.pinned.pins()?,
            ..defaults
        })
    }
}

/// `backtest`.
#[derive(Debug, Args)]
pub struct BacktestArgs {
    /// A sweep file, a directory under results/, a table (CSV, TSV, JSON or Parquet), or a fit.json.
    pub input: PathBuf,
    /// Print every prediction, and what they come to, as JSON.
    #[arg(long)]
    pub json: bool,
    /// How to read a CSV.
    #[command(flatten)]
    pub columns: Columns,
    /// What is not fitted.
    #[command(flatten)]
    pub pinned: Pinned,
    /// Bootstrap refits at each cut.
    #[arg(long, default_value_t = crate::study::backtest::BOOTSTRAP, value_name = "COUNT")]
    pub bootstrap: usize,
    /// Level of the intervals [default: that of the sweep, else 0.9].
    #[arg(long)]
    pub level: Option<f64>,
    /// Seed of the bootstrap.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Where results and analyses lie.
    #[command(flatten)]
    pub dirs: Dirs,
}

/// `compare`.
#[derive(Debug, Args)]
pub struct CompareArgs {
    /// A sweep file, a directory under results/, a table (CSV, TSV, JSON or Parquet), or a fit.json.
    pub a: PathBuf,
    /// The other.
    pub b: PathBuf,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// How to read tables.
    #[command(flatten)]
    pub columns: Columns,
    /// Level of the intervals.
    #[arg(long, default_value = "0.9", value_parser = share)]
    pub level: f64,
}

/// `predict`.
#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("budget").args(["flops", "hours", "usd"]),
    after_help = "\
Questions:
  --flops C                  the compute-optimal run at C
  --params N | --tokens D    where that is optimal; with a budget, the run it leaves
  --params N --tokens D      that run: its loss, and the compute it wastes
  --loss L                   the cheapest run that reaches a loss
  --inference-tokens D       the cheapest run to train and serve, at a budget's quality
  --tokens-available U       the best run at a budget when only U distinct tokens exist
  --params N --tokens D --tokens-available U
                             that run on U distinct tokens, D/U epochs: its loss and what repetition costs
A budget is --flops, or --hours or --usd on a --gpu.

--lock makes the answer to --flops C [--params N] a forecast that is held against its run:
  isoflop predict analysis/S/fit.json --flops C --lock       before the run
  isoflop run SWEEP --forecast analysis/S/forecasts/ID.json  trains that cell and scores it
  isoflop score analysis/S/forecasts/ID.json                 the score again"
)]
pub struct PredictArgs {
    /// A fit.json; or a sweep file, a directory under results/ or a table, which is then fitted first.
    #[arg(required_unless_present = "gpus")]
    pub fit: Option<PathBuf>,
    /// Training compute C [FLOP]; several with commas.
    #[arg(long, value_delimiter = ',', value_parser = quantity, value_name = "C")]
    pub flops: Vec<f64>,
    /// Budget as hours on the clock.
    #[arg(long, value_parser = quantity, requires = "gpu", value_name = "HOURS")]
    pub hours: Option<f64>,
    /// Budget as money, at --usd-per-hour.
    #[arg(long, value_parser = quantity, requires = "gpu", value_name = "USD")]
    pub usd: Option<f64>,
    /// Model size N, as the fit counts it [parameters].
    #[arg(long, value_parser = quantity, value_name = "N")]
    pub params: Option<f64>,
    /// Training tokens D [tokens].
    #[arg(long, value_parser = quantity, value_name = "D")]
    pub tokens: Option<f64>,
    /// Loss to reach, in the unit of the fit.
    #[arg(long, value_parser = quantity, value_name = "L", conflicts_with_all = ["budget", "params", "tokens"])]
    pub loss: Option<f64>,
    /// Tokens to serve over the model's life, at 2N FLOPs each [tokens].
    #[arg(long, value_parser = quantity, value_name = "D", conflicts_with_all = ["params", "tokens"])]
    pub inference_tokens: Option<f64>,
    /// Cost of a FLOP of inference over that of a FLOP of training.
    #[arg(long, value_parser = quantity, value_name = "RATIO", default_value_t = 1.0, requires = "inference_tokens")]
    pub inference_cost_ratio: f64,
    /// Distinct tokens that exist; more are repetitions [tokens]. Of a budget, or of a settled run.
    #[arg(long, value_parser = quantity, value_name = "U", conflicts_with_all = ["loss", "inference_tokens"])]
    pub tokens_available: Option<f64>,
    /// Decay of repeated tokens and of excess parameters, R_D*,R_N*; unless given the fit's own, where its runs
    /// repeat and determine them, else those of Muennighoff et al. 2023.
    #[arg(long, value_parser = decay, value_name = "RD,RN", requires = "tokens_available")]
    pub repeat_decay: Option<(f64, f64)>,
    /// Device to train on: a name of --gpus, or custom with --peak-tflops. Adds time to every answer.
    #[arg(long, value_name = "NAME")]
    pub gpu: Option<String>,
    /// Dense bf16 peak of one device, instead of the table's [TFLOP/s].
    #[arg(long, value_parser = quantity, value_name = "X", requires = "gpu")]
    pub peak_tflops: Option<f64>,
    /// Devices side by side.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..), requires = "gpu")]
    pub count: u32,
    /// Model FLOPs over peak FLOPs.
    #[arg(long, default_value_t = DEFAULT_MFU, value_parser = share, value_name = "SHARE", requires = "gpu")]
    pub mfu: f64,
    /// Price of one device for an hour; adds money to every answer.
    #[arg(long, value_parser = quantity, value_name = "USD", requires = "gpu")]
    pub usd_per_hour: Option<f64>,
    /// Lock a forecast of the real cell at one --flops, of N* or of --params, before it is run.
    #[arg(long, requires = "flops", conflicts_with_all = ["tokens", "loss", "inference_tokens", "tokens_available", "gpu", "gpus"])]
    pub lock: bool,
    /// Seed of weights and data order of the locked cell.
    #[arg(long, default_value_t = 0, requires = "lock", value_name = "K")]
    pub seed: u64,
    /// How to read a table.
    #[command(flatten)]
    pub columns: Columns,
    /// What is not fitted, where the path is no fit.json.
    #[command(flatten)]
    pub pinned: Pinned,
    /// Where results and analyses lie, for --lock.
    #[command(flatten)]
    pub dirs: Dirs,
    /// List the devices whose peak is known, and stop.
    #[arg(long)]
    pub gpus: bool,
    /// Print as JSON: one object, or a list for several computes.
    #[arg(long)]
    pub json: bool,
}

/// `selftest`.
#[derive(Debug, Args)]
pub struct SelftestArgs {
    /// A CSV of runs, a directory under results/, or a fit.json: its runs are the design, its fitted law
    /// the truth, its residuals the noise. Without it: 5 budgets of 6 sizes on Hoffmann's law.
    pub input: Option<PathBuf>,
    /// Synthetic studies.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..=1_000_000), value_name = "COUNT")]
    pub studies: u64,
    /// Bootstrap refits in each study.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(20..=1_000_000), value_name = "COUNT")]
    pub bootstrap: u64,
    /// Level of the intervals.
    #[arg(long, default_value_t = 0.9)]
    pub level: f64,
    /// Standard deviation of ln L about the law, instead of that of the residuals.
    #[arg(long, value_parser = quantity, value_name = "SD")]
    pub noise: Option<f64>,
    /// Where Huber's loss turns from square to linear, in ln L.
    #[arg(long, default_value_t = 1e-3)]
    pub delta: f64,
    /// Seed of noise and bootstraps.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Print as JSON.
    #[arg(long)]
    pub json: bool,
    /// How to read a CSV.
    #[command(flatten)]
    pub columns: Columns,
}

/// `report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// A sweep file, a directory under results/, a table (CSV, TSV, JSON or Parquet), or a fit.json.
    pub input: PathBuf,
    /// How to read a table.
    #[command(flatten)]
    pub columns: Columns,
    /// What is not fitted, where the path is no fit.json.
    #[command(flatten)]
    pub pinned: Pinned,
    /// Where results and analyses lie.
    #[command(flatten)]
    pub dirs: Dirs,
}
