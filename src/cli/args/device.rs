//! The verb of the device, and its own.

use clap::{ArgGroup, Args, Subcommand};

use super::values::{seconds, tflops};
use crate::device;
use crate::spec::{DeviceKind, Matmul};

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
