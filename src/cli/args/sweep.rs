//! Verbs of a sweep: plan, run, tune, status, check, score.

use std::path::PathBuf;

use clap::Args;

use super::values::{failures, pair, positive, span};
use crate::exec::job::Every;
use crate::ledger::StateName;
use crate::spec::{DeviceKind, Matmul};
use crate::study::Dirs;

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

/// Where a run, or a recipe, is worked on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Launcher {
    /// By this process.
    Local,
    /// By a job array on a Slurm cluster.
    Slurm,
}

/// Where cells are trained, and which again: of every verb that trains.
#[derive(Debug, Args)]
pub struct TrainingArgs {
    /// Instead of the sweep's device.
    #[arg(long)]
    pub device: Option<DeviceKind>,
    /// Instead of the sweep's choice of kernels for matrix products on a GPU.
    #[arg(long)]
    pub matmul: Option<Matmul>,
    /// Cells side by side, instead of the sweep's.
    #[arg(long, value_name = "N")]
    pub workers: Option<usize>,
    /// Train cells in these states again: failed, damaged, stuck, disputed, diverged.
    #[arg(
        long,
        value_delimiter = ',',
        value_parser = failures(),
        value_name = "STATE"
    )]
    pub retry: Vec<StateName>,
}

/// `run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Sweep file.
    pub sweep: PathBuf,
    /// Show the plan and stop.
    #[arg(long)]
    pub dry_run: bool,
    /// Where cells are trained, and which again.
    #[command(flatten)]
    pub training: TrainingArgs,
    /// Train here, or in a job array on a Slurm cluster.
    #[arg(long, default_value = "local")]
    pub launcher: Launcher,
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
    /// Where cells are trained, and which again.
    #[command(flatten)]
    pub training: TrainingArgs,
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
    /// Sweep file, a directory under results/, or a dataset.
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
    /// Sweep file, a directory under results/, or a dataset.
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
