//! The command line, as types. No logic.

mod data;
mod device;
mod eval;
mod laws;
mod models;
mod sweep;
mod table;
mod values;

use clap::{Parser, Subcommand};

pub use data::{DataArgs, Shards};
pub use device::{DeviceArgs, DeviceBenchArgs, DeviceCheckArgs, DeviceVerb, Which};
pub use eval::EvalArgs;
pub use laws::{BacktestArgs, CompareArgs, FitArgs, PredictArgs, ReportArgs, SelftestArgs};
pub use models::{ExportArgs, Format, SampleArgs};
pub use sweep::{
    CheckArgs, Launcher, PlanArgs, RunArgs, ScoreArgs, StatusArgs, TrainingArgs, TuneArgs,
};
pub use table::{Columns, Pinned};

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
    /// Prepare a dataset: from a recipe, or from token shards that other tools wrote.
    Data(DataArgs),
    /// Show every cell of a sweep, its cost and what the design cannot tell, before anything runs.
    Plan(PlanArgs),
    /// Train what is missing, then fit and report. The same command again does only what is left.
    Run(RunArgs),
    /// Search learning rate, batch and weight decay at the sweep's [tune] cells; fit rules in N and D.
    Tune(TuneArgs),
    /// List every cell of a sweep by state, or say how far a dataset is.
    Status(StatusArgs),
    /// Fit scaling laws to a results directory or to any CSV of runs.
    Fit(FitArgs),
    /// Predict the run worth buying, for a budget, a size, a demand or a corpus, with intervals.
    Predict(PredictArgs),
    /// Measure how often the intervals hold the truth, on synthetic studies of the shape of yours.
    Selftest(SelftestArgs),
    /// Predict the larger runs from the smaller ones, cut by cut, and measure the errors.
    Backtest(BacktestArgs),
    /// Compare two studies: whether one loss is lower than the other, by how much, and how that goes with compute.
    Compare(CompareArgs),
    /// Compare a locked forecast with its run.
    Score(ScoreArgs),
    /// Write figures and the report again from what is recorded.
    Report(ReportArgs),
    /// Write runs, or the model of one cell, in a format that other tools read.
    Export(ExportArgs),
    /// Go on with a text by the model of a cell, or by one of Hugging Face's.
    Sample(SampleArgs),
    /// Verify every record: logs, steps, checkpoints and weights.
    Check(CheckArgs),
    /// Score trained models on tasks: cells that have kept their weights, or a Hugging Face directory.
    Eval(EvalArgs),
    /// Show what can train here, whether it computes correctly, and how fast it is.
    Device(DeviceArgs),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
