//! The command line, as types. No logic.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::spec::DeviceKind;
use crate::units::parse_quantity;

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
    /// Every cell of a sweep by state.
    Status(StatusArgs),
    /// Fit scaling laws to a results directory or to any CSV of runs.
    Fit(FitArgs),
    /// The compute-optimal run at a given compute, with intervals.
    Predict(PredictArgs),
    /// Write figures and the report again from what is recorded.
    Report(ReportArgs),
    /// The runs of a results directory or a CSV in a format that other tools read.
    Export(ExportArgs),
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
    /// Instead of the sweep's workers.
    #[arg(long, value_name = "N")]
    pub workers: Option<usize>,
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
    /// Cells side by side, instead of the sweep's.
    #[arg(long, value_name = "N")]
    pub workers: Option<usize>,
    /// Train cells again that failed or whose record is damaged.
    #[arg(long)]
    pub retry: bool,
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

/// `fit`.
#[derive(Debug, Args)]
pub struct FitArgs {
    /// A directory under results/, or a CSV file with a header line.
    pub input: PathBuf,
    /// Print fit.json.
    #[arg(long)]
    pub json: bool,
    /// Which column means what: params=N,tokens=D,loss=L,flops=C,budget=B.
    #[arg(long, value_delimiter = ',', value_parser = pair, value_name = "ROLE=COLUMN")]
    pub map: Vec<(String, String)>,
    /// Use only rows with this value in this column; may be given several times.
    #[arg(long = "where", value_parser = pair, value_name = "COLUMN=VALUE")]
    pub filters: Vec<(String, String)>,
    /// Fit runs of several data sets, tokenizers or experiments as one study.
    #[arg(long)]
    pub mixed: bool,
    /// Where Huber's loss turns from square to linear, in ln L.
    #[arg(long, default_value_t = 1e-3)]
    pub delta: f64,
    /// Bootstrap refits; 0 leaves the intervals out.
    #[arg(long, value_name = "COUNT")]
    pub bootstrap: Option<usize>,
    /// Level of the intervals.
    #[arg(long)]
    pub level: Option<f64>,
    /// Largest budgets kept out and predicted from the rest.
    #[arg(long, value_name = "COUNT")]
    pub holdout: Option<usize>,
    /// Seed of the bootstrap.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Directory of fit.json, figures and report; analysis/<name> otherwise.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

/// `export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// A directory under results/, or a CSV file with a header line.
    pub input: PathBuf,
    /// Whose table to write.
    #[arg(long, value_parser = ["chinchilla", "open-athena", "nanochat", "simple-scaling-laws"])]
    pub format: String,
    /// Which column means what, as in `fit`.
    #[arg(long, value_delimiter = ',', value_parser = pair, value_name = "ROLE=COLUMN")]
    pub map: Vec<(String, String)>,
    /// Use only rows with this value in this column; may be given several times.
    #[arg(long = "where", value_parser = pair, value_name = "COLUMN=VALUE")]
    pub filters: Vec<(String, String)>,
    /// Take runs of several data sets, tokenizers or experiments as one table.
    #[arg(long)]
    pub mixed: bool,
    /// File to write; stdout otherwise.
    #[arg(long, short, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// `predict`.
#[derive(Debug, Args)]
pub struct PredictArgs {
    /// A fit.json.
    pub fit: PathBuf,
    /// Training compute C [FLOP]; several with commas.
    #[arg(long, value_delimiter = ',', value_parser = quantity, required = true)]
    pub flops: Vec<f64>,
    /// Print as JSON: one object, or a list for several computes.
    #[arg(long)]
    pub json: bool,
}

/// `report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// Sweep file, or a directory under results/.
    pub sweep: PathBuf,
    /// Where results and analyses lie.
    #[command(flatten)]
    pub dirs: Dirs,
}

fn pair(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .map(|(a, b)| (a.trim().to_owned(), b.trim().to_owned()))
        .filter(|(a, b)| !a.is_empty() && !b.is_empty())
        .ok_or_else(|| "want NAME=VALUE".to_owned())
}

fn quantity(text: &str) -> Result<f64, String> {
    parse_quantity(text)
        .filter(|v| *v > 0.0)
        .ok_or_else(|| "want a finite number above 0, such as 1e21".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
