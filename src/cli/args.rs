//! The command line, as types. No logic.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Parser, Subcommand};

use crate::device;
use crate::error::InputError;
use crate::exec::job::Every;
use crate::fit::Pins;
use crate::import;
use crate::ledger::State;
use crate::predict::hardware::DEFAULT_MFU;
use crate::spec::{DeviceKind, Matmul};
use crate::units::{parse_duration, parse_quantity};

/// Scaling-law experiments: train a grid, fit the law, predict the larger run.
#[derive(Debug, Parser)]
#[command(
    name = "isoflop",
    version,
    after_help = "Exit codes: 0 done, 1 a cell failed or a bug, 2 bad input, 3 damaged record, 75 try again.\n\
                  Data goes to stdout, progress to stderr. Numbers may be written 1e18, 2.5B, 30M."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Show every cell of a sweep, its cost and what the design cannot tell, before anything runs.
    Plan(PlanArgs),
    /// Train what is missing, then fit and report. The same command again does only what is left.
    Run(RunArgs),
    /// Search learning rate, batch and weight decay at the sweep's [tune] cells; fit rules in N and D.
    Tune(TuneArgs),
    /// Every cell of a sweep by state.
    Status(StatusArgs),
    /// Fit scaling laws to a results directory or to any CSV of runs.
    Fit(FitArgs),
    /// The run worth buying, for a budget, a size, a demand or a corpus, with intervals.
    Predict(PredictArgs),
    /// Do the intervals hold the truth? Measured on synthetic studies of the shape of yours.
    Selftest(SelftestArgs),
    /// How well the larger runs are predicted from the smaller ones, cut by cut.
    Backtest(BacktestArgs),
    /// A locked forecast beside the run that it foretold.
    Score(ScoreArgs),
    /// Write figures and the report again from what is recorded.
    Report(ReportArgs),
    /// The runs of a results directory or a CSV in a format that other tools read.
    Export(ExportArgs),
    /// Is every record as it was written? Verifies all logs, steps, checkpoints and weights.
    Check(CheckArgs),
    /// What can train here; whether it computes right; how fast it is.
    Device(DeviceArgs),
}

/// Where results and analyses lie.
#[derive(Debug, Clone, Args)]
pub struct Dirs {
    /// Directory of run logs, one folder a sweep.
    #[arg(long, default_value = "results", value_name = "DIR")]
    pub results: PathBuf,
    /// Directory of fits, figures and reports, one folder a sweep.
    #[arg(long, default_value = "analysis", value_name = "DIR")]
    pub analysis: PathBuf,
}

/// The role of a table's losses in `--map`.
const LOSS: &str = "loss";

/// How to read a CSV of runs.
#[derive(Debug, Clone, Args)]
pub struct Columns {
    /// Which column means what: params=N,tokens=D,loss=L,flops=C,budget=B; a unit may follow: "params=N (M)". For
    /// `fit`, loss= may be given several times: a law for each.
    #[arg(long, value_parser = pairs, value_name = "ROLE=COLUMN")]
    pub map: Vec<Pairs>,
    /// Use only rows with this value in this column; may be given several times.
    #[arg(long = "where", value_parser = pair, value_name = "COLUMN=VALUE")]
    pub filters: Vec<(String, String)>,
    /// Fit runs of several data sets, tokenizers or experiments as one study.
    #[arg(long)]
    pub mixed: bool,
    /// Take every row for a run of its own, also where rows look like checkpoints of one.
    #[arg(long)]
    pub separate: bool,
}

impl Columns {
    /// The same for `import`, of one loss.
    pub(super) fn options(&self) -> Result<import::Options, InputError> {
        let options = self.each();
        if options.map.iter().filter(|(role, _)| role == LOSS).count() > 1 {
            let hint = "`isoflop fit` takes several and fits a law to each; here give one";
            return Err(InputError::new("--map names more than one column of losses", hint));
        }
        Ok(options)
    }

    /// The same for each loss that is named, with its column; none where fewer than two are.
    pub(super) fn losses(&self) -> Vec<(String, import::Options)> {
        let all = self.each();
        let of = |role: &str| role == LOSS;
        let losses: Vec<&String> =
            all.map.iter().filter(|(role, _)| of(role)).map(|(_, column)| column).collect();
        let one = |column: &&String| {
            let mut map: Vec<_> = all.map.iter().filter(|(role, _)| !of(role)).cloned().collect();
            map.push((LOSS.to_owned(), (*column).clone()));
            ((*column).clone(), import::Options { map, ..all.clone() })
        };
        if losses.len() < 2 { Vec::new() } else { losses.iter().map(one).collect() }
    }

    fn each(&self) -> import::Options {
        import::Options {
            map: self.map.iter().flat_map(|pairs| pairs.0.clone()).collect(),
            filters: self.filters.clone(),
            mixed: self.mixed,
            separate: self.separate,
        }
    }
}

/// Parameters that are given and not fitted.
#[derive(Debug, Clone, Args)]
pub struct Pinned {
    /// Hold a parameter of the law instead of fitting it: E=1.6 (in the unit of the losses), alpha=0.34, beta=0.28.
    #[arg(long, value_delimiter = ',', value_parser = pin, value_name = "NAME=VALUE")]
    pub pin: Vec<(String, f64)>,
}

impl Pinned {
    /// The same for `fit`.
    pub(super) fn pins(&self) -> Result<Pins, InputError> {
        Pins::new(self.pin.iter().map(|(name, value)| (name.as_str(), *value))).ok_or_else(|| {
            InputError::new("--pin names a parameter twice", "give each of E, alpha and beta once")
        })
    }
}

/// `plan`.
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// Sweep file.
    pub sweep: PathBuf,
    /// Print the plan as JSON.
    #[arg(long)]
    pub json: bool,
    /// Do not time steps on this device; times are then left out.
    #[arg(long)]
    pub no_probe: bool,
    /// Instead of the sweep's device.
    #[arg(long)]
    pub device: Option<DeviceKind>,
    /// Instead of the sweep's choice of kernels for matrix products on a GPU.
    #[arg(long)]
    pub matmul: Option<Matmul>,
    /// Instead of the sweep's workers.
    #[arg(long, value_name = "N")]
    pub workers: Option<usize>,
    /// Price of the machine for an hour, to show what cells and study cost [$/h].
    #[arg(long, value_parser = positive, value_name = "X", conflicts_with = "no_probe")]
    pub usd_per_hour: Option<f64>,
    /// Propose what to leave out so that what is left takes at most so long: 90m, 2h, 1h30m.
    #[arg(long, value_parser = span, value_name = "TIME", conflicts_with = "no_probe")]
    pub fit_in: Option<f64>,
    /// Directory of run logs: cells that are completed there are not left.
    #[arg(long, default_value = "results", value_name = "DIR")]
    pub results: PathBuf,
}

/// A finite amount above 0.
fn positive(text: &str) -> Result<f64, String> {
    quantity(text)
        .ok()
        .filter(|x| *x > 0.0)
        .ok_or_else(|| "write a number above 0, such as 2.5".to_owned())
}

/// Seconds of a measurement or a limit [s].
fn seconds(text: &str) -> Result<f64, String> {
    positive(text)
        .ok()
        .filter(|s| *s <= 1e6)
        .ok_or_else(|| "write a number of seconds above 0, at most 1e6".to_owned())
}

/// The peak of a device [TFLOP/s].
fn tflops(text: &str) -> Result<f64, String> {
    positive(text)
        .ok()
        .filter(|x| (1e-6..=1e6).contains(x))
        .ok_or_else(|| "write TFLOP/s between 1e-6 and 1e6".to_owned())
}

/// A span of time [s].
fn span(text: &str) -> Result<f64, String> {
    parse_duration(text).ok_or_else(|| "write it as 90m, 2h or 1h30m".to_owned())
}

/// What else is trained than cells that have not ended, for every verb that trains.
#[derive(Debug, Args)]
pub struct Again {
    /// Train cells in these states again: failed, damaged, stuck, disputed, diverged.
    #[arg(
        long,
        value_delimiter = ',',
        value_parser = ["failed", "damaged", "stuck", "disputed", "diverged"],
        value_name = "STATE"
    )]
    pub retry: Vec<String>,
}

impl Again {
    /// Whether a cell in such a state is.
    pub fn includes(&self, state: &State) -> bool {
        self.retry.iter().any(|name| name == state.name())
    }
}

/// `run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Sweep file.
    pub sweep: PathBuf,
    /// Show the plan and stop.
    #[arg(long)]
    pub dry_run: bool,
    /// Instead of the sweep's device.
    #[arg(long)]
    pub device: Option<DeviceKind>,
    /// Instead of the sweep's choice of kernels for matrix products on a GPU.
    #[arg(long)]
    pub matmul: Option<Matmul>,
    /// Cells side by side, instead of the sweep's.
    #[arg(long, value_name = "N")]
    pub workers: Option<usize>,
    /// Cells that are to be trained again.
    #[command(flatten)]
    pub again: Again,
    /// Train here, or in a job array on a Slurm cluster.
    #[arg(long, default_value = "local", value_parser = ["local", "slurm"])]
    pub launcher: String,
    /// Instead of the sweep's [slurm] table: partition=gpu,time=4:00:00,tasks=8.
    #[arg(long, value_delimiter = ',', value_parser = pair, value_name = "KEY=VALUE")]
    pub slurm: Vec<(String, String)>,
    /// Train only; no fit, no report.
    #[arg(long)]
    pub train_only: bool,
    /// How often the state of a cell is kept: 300s, 5m, 500steps.
    #[arg(long, default_value = "5m", value_name = "INTERVAL")]
    pub checkpoint: Every,
    /// Train only the cell of a locked forecast, and hold the forecast against it.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["dry_run", "train_only"])]
    pub forecast: Option<PathBuf>,
    /// Where results and analyses lie.
    #[command(flatten)]
    pub dirs: Dirs,
}

/// `score`.
#[derive(Debug, Args)]
#[command(after_help = "\
The forecast is one of `isoflop predict FIT --flops C --lock`. Its run names it in the first line of every
attempt (`isoflop run SWEEP --forecast FILE`); a run that was begun without it is refused with exit code 2,
a forecast that was changed since it was locked with 3.")]
pub struct ScoreArgs {
    /// A file of analysis/<sweep>/forecasts/.
    pub forecast: PathBuf,
    /// Print as JSON.
    #[arg(long)]
    pub json: bool,
    /// Where results and analyses lie.
    #[command(flatten)]
    pub dirs: Dirs,
}

/// `tune`.
#[derive(Debug, Args)]
pub struct TuneArgs {
    /// Sweep file with a [tune] block.
    pub sweep: PathBuf,
    /// Show the first round and stop.
    #[arg(long)]
    pub dry_run: bool,
    /// Print tune.json.
    #[arg(long)]
    pub json: bool,
    /// Instead of the sweep's device.
    #[arg(long)]
    pub device: Option<DeviceKind>,
    /// Instead of the sweep's choice of kernels for matrix products on a GPU.
    #[arg(long)]
    pub matmul: Option<Matmul>,
    /// Cells side by side, instead of the sweep's.
    #[arg(long, value_name = "N")]
    pub workers: Option<usize>,
    /// Cells that are to be trained again.
    #[command(flatten)]
    pub again: Again,
    /// How often the state of a cell is kept: 300s, 5m, 500steps.
    #[arg(long, default_value = "5m", value_name = "INTERVAL")]
    pub checkpoint: Every,
    /// Where results and analyses lie.
    #[command(flatten)]
    pub dirs: Dirs,
}

/// `status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Sweep file, or a directory under results/.
    pub sweep: PathBuf,
    /// Print as JSON.
    #[arg(long)]
    pub json: bool,
    /// Where results and analyses lie.
    #[command(flatten)]
    pub dirs: Dirs,
}

/// `check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Sweep file, or a directory under results/.
    pub sweep: PathBuf,
    /// Move damaged attempts, checkpoints and weights aside; nothing is deleted.
    #[arg(long)]
    pub repair: bool,
    /// Print as JSON.
    #[arg(long)]
    pub json: bool,
    /// Where results and analyses lie.
    #[command(flatten)]
    pub dirs: Dirs,
}

/// `device`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct DeviceArgs {
    /// Print as JSON.
    #[arg(long)]
    pub json: bool,
    /// What to do with it; without a word, show what is there.
    #[command(subcommand)]
    pub verb: Option<DeviceVerb>,
}

/// The verbs of `device`.
#[derive(Debug, Subcommand)]
pub enum DeviceVerb {
    /// Does it compute right? Every operation, whole steps and ten steps of PyTorch's, against the CPU.
    Check(DeviceCheckArgs),
    /// How fast is it? Tokens/s, FLOP/s and their share of the peak, launches and host time of a step.
    Bench(DeviceBenchArgs),
}

/// Which device.
#[derive(Debug, Clone, Args)]
pub struct Which {
    /// Whether the CPU or a GPU.
    #[arg(long, default_value = "cpu")]
    pub device: DeviceKind,
    /// Which GPU, as `isoflop device` counts them; the first unless given.
    #[arg(long, value_name = "NUMBER")]
    pub card: Option<usize>,
    /// How the kernels of matrix products are chosen on a GPU.
    #[arg(long)]
    pub matmul: Option<Matmul>,
    /// Begin nothing more after so many seconds [s].
    #[arg(long, default_value = "600", value_parser = seconds, value_name = "SECONDS", allow_negative_numbers = true)]
    pub limit: f64,
    /// Print as JSON.
    #[arg(long)]
    pub json: bool,
}

/// `device check`.
#[derive(Debug, Args)]
pub struct DeviceCheckArgs {
    /// Which device.
    #[command(flatten)]
    pub which: Which,
    /// Only these checks.
    #[arg(long, value_delimiter = ',', value_name = "CHECK")]
    pub only: Vec<device::check::Check>,
    /// Compile and launch every kernel, but do not look at what it computes: for a machine without a GPU.
    #[arg(long)]
    pub compile_only: bool,
}

/// `device bench`.
#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("what").args(["products", "export", "serve", "gemm"]),
    after_help = "\
A JOB is SIZE:VOCAB: a model of about so many parameters (embedding and head of a usual
vocabulary included from 124M on) and a vocabulary from 2 to 1048576.
Sizes: 30k, 300k, 3M, 10M, 30M, 50M, 124M, 350M.
A step is the one that `isoflop run` takes; batches are ready in memory.
Exit code 75: the limit was over before all was measured."
)]
pub struct DeviceBenchArgs {
    /// Models to train; a few that suit the device when none is given.
    pub jobs: Vec<String>,
    /// Which device.
    #[command(flatten)]
    pub which: Which,
    /// Models that train side by side (the cells of a sweep), each number in turn: 1,2,4.
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=1024), value_name = "N,...")]
    pub cells: Vec<u32>,
    /// Least time of one measurement [s].
    #[arg(long, default_value = "2", value_parser = seconds, value_name = "SECONDS", allow_negative_numbers = true)]
    pub seconds: f64,
    /// Exactly so many steps, instead of a time.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..), value_name = "N")]
    pub steps: Option<u64>,
    /// Peak that shares are of, in place of the one known for this card [TFLOP/s].
    #[arg(long, value_parser = tflops, value_name = "X", allow_negative_numbers = true)]
    pub peak_tflops: Option<f64>,
    /// Time every kernel for the matrix products of these models on a GPU.
    #[arg(long)]
    pub products: bool,
    /// Write the initial weights and the batches of a model, for another trainer.
    #[arg(long, num_args = 2, value_names = ["JOB", "FILE"], conflicts_with = "jobs")]
    pub export: Vec<String>,
    /// Train as many steps as each line of stdin says, for a benchmark that takes turns.
    #[arg(long, num_args = 2, value_names = ["JOB", "CELLS"], conflicts_with = "jobs")]
    pub serve: Vec<String>,
    /// Time the matrix products of a CPU alone.
    #[arg(long, conflicts_with = "jobs")]
    pub gemm: bool,
}

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
    /// Seed of the bootstrap.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Directory of fit.json, figures and report; analysis/<name> otherwise.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
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
    #[arg(long, default_value_t = super::backtest::BOOTSTRAP, value_name = "COUNT")]
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

/// `export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// A sweep file, a directory under results/, a table (CSV, TSV, JSON or Parquet), or a fit.json.
    pub input: PathBuf,
    /// Whose table to write.
    #[arg(long, value_parser = ["chinchilla", "open-athena", "nanochat", "simple-scaling-laws"])]
    pub format: String,
    /// How to read a table.
    #[command(flatten)]
    pub columns: Columns,
    /// File to write; stdout otherwise.
    #[arg(long, short, value_name = "FILE")]
    pub out: Option<PathBuf>,
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

/// Several pairs of one option.
#[derive(Debug, Clone)]
pub struct Pairs(Vec<(String, String)>);

/// `params=N,loss=loss, nats`: a comma begins another pair where a role and `=` follow.
fn pairs(text: &str) -> Result<Pairs, String> {
    let mut parts: Vec<String> = Vec::new();
    for part in text.split(',') {
        let role = part.split_once('=').map(|(role, _)| role.trim());
        let begins = role.is_some_and(|r| {
            !r.is_empty() && r.chars().all(|c| c.is_ascii_lowercase() || c == '_')
        });
        match parts.last_mut() {
            Some(last) if !begins => *last += &format!(",{part}"),
            _ => parts.push(part.to_owned()),
        }
    }
    parts.iter().map(|p| pair(p)).collect::<Result<_, _>>().map(Pairs)
}

fn pair(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .map(|(a, b)| (a.trim().to_owned(), b.trim().to_owned()))
        .filter(|(a, b)| !a.is_empty() && !b.is_empty())
        .ok_or_else(|| "want NAME=VALUE".to_owned())
}

/// `E=1.6`. What the value may be depends on the runs, and `fit` says it.
fn pin(text: &str) -> Result<(String, f64), String> {
    let (name, value) = pair(text)?;
    if !Pins::NAMES.contains(&name.as_str()) {
        return Err(format!("`{name}` cannot be pinned; want one of {}", Pins::NAMES.join(", ")));
    }
    let value = value.parse().map_err(|_| "want a number after =, as in E=1.6".to_owned())?;
    Ok((name, value))
}

fn quantity(text: &str) -> Result<f64, String> {
    parse_quantity(text)
        .filter(|v| *v > 0.0)
        .ok_or_else(|| "want a finite number above 0, such as 1e21".to_owned())
}

fn share(text: &str) -> Result<f64, String> {
    quantity(text).ok().filter(|v| *v <= 1.0).ok_or_else(|| "want a share in (0, 1]".to_owned())
}

fn decay(text: &str) -> Result<(f64, f64), String> {
    let parts = text.split_once(',').map(|(d, n)| (quantity(d), quantity(n)));
    match parts {
        Some((Ok(tokens), Ok(params))) => Ok((tokens, params)),
        _ => Err("want two numbers above 0, such as 15.4,5.3".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
