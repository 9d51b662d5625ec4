//! `eval`.

use std::path::PathBuf;

use clap::Args;

use crate::study::Dirs;

/// `eval`.
#[derive(Debug, Args)]
#[command(after_help = "\
A task file names its items and which of their texts are scored (docs/FORMATS.md); evals/ has examples. The rule is that of
lm-evaluation-harness 0.4.13. Scores of cells are kept under results/<sweep>/cells/<id>/tasks: the same command again
scores only what is missing.")]
pub struct EvalArgs {
    /// A sweep file or a directory under results/; or a model directory as Hugging Face writes it.
    pub model: PathBuf,
    /// Task files [default: eval.tasks of the sweep file].
    #[arg(long, num_args = 1.., value_name = "FILE")]
    pub tasks: Vec<PathBuf>,
    /// Only this cell, by its id or the first digits of it; may be given several times.
    #[arg(long, value_name = "ID")]
    pub cell: Vec<String>,
    /// For a model directory: a file for its scores, one line a task.
    #[arg(long, short, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Print as JSON.
    #[arg(long)]
    pub json: bool,
    /// Where results and analyses lie.
    #[command(flatten)]
    pub dirs: Dirs,
}
