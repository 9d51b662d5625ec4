//! `data`.

use std::path::PathBuf;

use clap::Args;

use super::sweep::Launcher;
use super::values::pair;
use crate::corpus::foreign::Format;

/// Who wrote token shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Shards {
    /// Ids of two bytes without a header.
    Nanogpt,
    /// Behind llm.c's header, as modded-nanogpt has it too.
    Llmc,
    /// Megatron-LM, GPT-NeoX, NeMo: .bin and .idx.
    Megatron,
    /// .ds and .ds.index.
    Datatrove,
}

impl From<Shards> for Format {
    fn from(shards: Shards) -> Self {
        match shards {
            Shards::Nanogpt => Self::Nanogpt,
            Shards::Llmc => Self::Llmc,
            Shards::Megatron => Self::Megatron,
            Shards::Datatrove => Self::Datatrove,
        }
    }
}

/// `data`.
#[derive(Debug, Args)]
#[command(after_help = "\
A recipe is a TOML file (docs/DATA.md). Units of work are shared by --workers here, and by the same command elsewhere on \
the same directory; the command again does what is left.\n\nShards are read where they lie and never changed: indices of hashes and manifest.json are written beside them, or \
into --out. A file in DIR is of the domain `all`, one in a directory below of the domain that is called like that. \
Held out are files with val, valid or validation in their name, else documents by the hash of their ids, else, \
where documents are not known, the end of the last file. A sweep reads it by `source = { dataset = \"DIR\" }`.")]
pub struct DataArgs {
    /// The recipe, a TOML file.
    #[arg(value_name = "RECIPE", required_unless_present = "index")]
    pub recipe: Option<PathBuf>,
    /// Only show what would be read, kept and held out, by a sample of each domain; of --launcher slurm the batch
    /// script.
    #[arg(long, visible_alias = "dry-run", requires = "recipe", conflicts_with = "look")]
    pub plan: bool,
    /// Only show documents of a domain that each rule removes, with the number that does.
    #[arg(long, requires = "recipe", value_name = "DOMAIN")]
    pub look: Option<String>,
    /// Processes side by side, in each task of a job array too [default: one for each core].
    #[arg(long, requires = "recipe", value_name = "N")]
    pub workers: Option<usize>,
    /// Work here, or in a job array on a Slurm cluster.
    #[arg(long, requires = "recipe", default_value = "local")]
    pub launcher: Launcher,
    /// What the job array asks for, as in a sweep's [slurm] table: partition=cpu,time=4:00:00,tasks=8,cpus_per_task=16.
    #[arg(long, requires = "launcher", value_delimiter = ',', value_parser = pair, value_name = "KEY=VALUE")]
    pub slurm: Vec<(String, String)>,
    /// One process of those that share the work.
    #[arg(long, hide = true, requires = "recipe")]
    pub worker: bool,
    /// Directory of token shards to take.
    #[arg(long, value_name = "DIR", conflicts_with = "recipe", requires = "format")]
    pub index: Option<PathBuf>,
    /// Who wrote them.
    #[arg(long, requires = "index")]
    pub format: Option<Shards>,
    /// Their tokenizer.json: the vocabulary, the separator and bytes per token are taken from it. Without it the
    /// vocabulary is the largest id and one.
    #[arg(long, requires = "index", value_name = "FILE")]
    pub tokenizer: Option<PathBuf>,
    /// The id between documents, where the tokenizer does not say.
    #[arg(long, requires = "index", value_name = "ID")]
    pub separator: Option<u32>,
    /// Share that is held out, where no file is called so.
    #[arg(long, default_value_t = 0.005, value_parser = share, value_name = "X")]
    pub held_out: f64,
    /// Directory of the dataset [default: datasets/NAME; for shards, beside them].
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Print JSON: the plan, the card, or the manifest of shards.
    #[arg(long)]
    pub json: bool,
}

fn share(text: &str) -> Result<f64, String> {
    let good = text.parse().ok().filter(|x| *x > 0.0 && *x < 1.0);
    good.ok_or_else(|| "want a number between 0 and 1".to_owned())
}
