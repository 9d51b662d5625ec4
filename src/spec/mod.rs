//! What a person writes: the sweep file, as typed values.
//!
//! A [`Spec`] says what to vary and what to hold fixed. It knows nothing of tensors, disks or clusters.
//! The only way to make one is [`Spec::parse`], so a `Spec` in hand is a valid `Spec`. Derived numbers
//! (steps, widths, learning rates) live in the plan, never here.

mod check;
pub(crate) use check::MAX_BATCH;
mod keep;
mod rule;
mod seeds;
mod tune;

use serde::de::IntoDeserializer;
use serde::{Deserialize, Deserializer, Serialize};
use toml::Spanned;

use crate::error::SpecError;
use crate::health;
use crate::units::Quantity;
pub use keep::Keep;
pub use rule::Rule;
pub use tune::{Axis, TuneCell, TuneSpec};

/// Largest sweep file that is read [bytes].
pub const MAX_FILE: usize = 1 << 20;
/// Largest grid one file may ask for. A slip of the keyboard must fail in a millisecond.
pub const MAX_CELLS: u64 = 10_000;

/// One sweep: a grid of training runs that share data, a model family and a recipe.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// Name of the sweep; becomes a directory under `results/` and `analysis/`.
    pub name: Spanned<String>,
    /// How often the whole grid is repeated, with other weights, another data order, or both.
    #[serde(default = "one")]
    pub seeds: Spanned<Seeds>,
    /// What is kept of a completed cell beside its record.
    #[serde(default)]
    pub keep: Keep,
    /// What the models read.
    pub data: DataSpec,
    /// Which models: the family and its shape rule.
    #[serde(default)]
    pub model: ModelSpec,
    /// Which sizes on how many tokens.
    pub grid: Grid,
    /// The recipe.
    pub optim: OptimSpec,
    /// The learning rate over time.
    pub schedule: Schedule,
    /// How the loss is measured.
    #[serde(default)]
    pub eval: EvalSpec,
    /// Where cells run.
    #[serde(default)]
    pub device: DeviceSpec,
    /// What a job array on a cluster asks for.
    #[serde(default = "no_slurm")]
    pub slurm: Spanned<SlurmSpec>,
    /// How the law is fitted.
    #[serde(default)]
    pub fit: FitSpec,
    /// Where rates, batches and decay are searched.
    #[serde(default)]
    pub tune: Option<Spanned<TuneSpec>>,
}

/// Repetitions of the grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seeds {
    /// Each with other weights and another data order.
    Together(u64),
    /// Every drawing of weights with every data order: tells the two kinds of noise apart.
    Crossed {
        /// Drawings of the initial weights.
        init: u64,
        /// Data orders.
        order: u64,
    },
}

impl Seeds {
    /// How many; `None` beyond 2^64.
    pub fn count(self) -> Option<u64> {
        match self {
            Self::Together(n) => Some(n),
            Self::Crossed { init, order } => init.checked_mul(order),
        }
    }

    /// (seed of the weights, seed of the data order) of each.
    pub fn pairs(self) -> impl Iterator<Item = (u64, u64)> {
        let (init, order) = match self {
            Self::Together(n) => (n, 0),
            Self::Crossed { init, order } => (init, order),
        };
        (0..init).flat_map(move |i| {
            let orders = if matches!(self, Self::Together(_)) { i..i + 1 } else { 0..order };
            orders.map(move |o| (i, o))
        })
    }
}

/// What the models read.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataSpec {
    /// Where the text comes from.
    pub source: Spanned<Source>,
    /// How text becomes token ids. Synthetic sources have their own ids and take none.
    #[serde(default = "bytes")]
    pub tokenizer: Spanned<Tokenizer>,
}

/// A source of text or of token ids.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Source {
    /// The embedded public-domain English prose, 25 MB.
    PdProse,
    /// UTF-8 text files; one file is one document.
    Files {
        /// Paths, relative to the directory the command runs in. Not in a recipe: what is read is identified by
        /// its content.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        paths: Vec<String>,
    },
    /// Records (key, value) with Zipf-distributed keys and a fixed random map: exact entropy, and
    /// exponents known in advance (docs/DESIGN.md).
    ZipfFact(ZipfFact),
    /// A random walk on a fixed random graph: exact entropy.
    GraphWalk(GraphWalk),
}

impl Source {
    /// What a recipe says of it: all but where files lie.
    #[must_use]
    pub fn identity(&self) -> Self {
        match self {
            Self::Files { .. } => Self::Files { paths: Vec::new() },
            other => other.clone(),
        }
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::PdProse => f.write_str("pd-prose"),
            Self::Files { .. } => f.write_str("text files"),
            other => write!(f, "{other:?}"),
        }
    }
}

/// Parameters of the Zipf-fact source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ZipfFact {
    /// Number of keys K.
    pub keys: u64,
    /// Zipf exponent: `p_k` falls as k^-(1+a).
    pub a: f64,
    /// Number of values M, which is also the vocabulary.
    pub values: u64,
    /// Tokens that spell a key.
    pub key_tokens: u32,
    /// Probability that a value is replaced by another one.
    pub noise: f64,
}

/// Parameters of the graph-walk source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GraphWalk {
    /// Number of nodes, which is also the vocabulary.
    pub nodes: u64,
    /// Edges out of every node.
    pub degree: u64,
    /// Zipf exponent of the transition probabilities; 0 for equal ones.
    pub skew: f64,
}

/// How text becomes token ids.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Tokenizer {
    /// One id a byte; V = 256.
    #[default]
    Bytes,
    /// Byte-level BPE trained on the training documents.
    Bpe {
        /// Number of ids, at least 257.
        vocab: u32,
    },
}

/// The family of models and its shape rule. `shape.rs` says how dimensions follow from one dial.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelSpec {
    /// Sequence length T [tokens].
    pub context: usize,
    /// Widths are multiples of this.
    pub width_multiple: usize,
    /// Width over layers: the aspect ratio that the family keeps.
    pub aspect: f64,
    /// No model is shallower.
    pub min_layers: usize,
    /// Head dimension to aim for.
    pub head_dim: usize,
    /// Hidden width of SwiGLU over width; 8/3 gives 8 d^2 parameters as in Llama.
    pub ff_ratio: f64,
    /// RMSNorm on queries and keys.
    pub qk_norm: bool,
    /// Share the embedding with the output head.
    pub tied: bool,
    /// Standard deviation of the initial embedding.
    pub embedding_std: f64,
    /// How initial scales and rates depend on width and depth; [`ModelSpec::parametrization`] when absent.
    #[serde(deserialize_with = "parametrization")]
    pub parametrization: Option<Parametrization>,
    /// Width at which `optim.learning_rate` is meant for matrices, 32 when absent. With `mup-hidden-rates`, 0
    /// turns the scaling of rates off.
    pub reference_width: Option<usize>,
    /// Layers at which `optim.learning_rate` is meant, 2 when absent. Only for `complete-p`.
    pub reference_layers: Option<usize>,
}

impl ModelSpec {
    /// The parametrization that is given, else `complete-p`; `mup-hidden-rates` where the other keys are of no use
    /// with that: tied matrices, or a reference width of 0.
    pub fn parametrization(&self) -> Parametrization {
        let ruled_out = self.tied || self.reference_width == Some(0);
        let default =
            if ruled_out { Parametrization::MupHiddenRates } else { Parametrization::CompleteP };
        self.parametrization.unwrap_or(default)
    }

    /// Reference width and layers, each 0 where the parametrization does not scale by it.
    pub fn reference(&self) -> (usize, usize) {
        let width = self.reference_width.unwrap_or(32);
        match self.parametrization() {
            Parametrization::MupHiddenRates => (width, 0),
            Parametrization::Standard => (0, 0),
            Parametrization::CompleteP => (width, self.reference_layers.unwrap_or(2)),
        }
    }
}

/// How a weight's initial scale and its optimiser's numbers depend on width and depth. The table and its
/// derivation are in `model::Scaling`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Parametrization {
    /// muP's initial scales, and its rates for hidden matrices only: the head starts at 1/width, and its rate does
    /// not fall with it, as it does in Yang et al. 2022.
    MupHiddenRates,
    /// As GPT-2: one rate for all, every matrix at 1/sqrt(fan-in).
    Standard,
    /// In width and depth, with residual branches by 1/layers (Dey et al. 2025, 2505.01618, alpha = 1).
    CompleteP,
}

/// A parametrization, by its name or the one that `mup-hidden-rates` had in older sweep files, which no error should
/// offer.
fn parametrization<'de, D>(deserializer: D) -> Result<Option<Parametrization>, D::Error>
where
    D: Deserializer<'de>,
{
    let name = String::deserialize(deserializer)?;
    let name = if name == "mup" { "mup-hidden-rates" } else { &name };
    Parametrization::deserialize(IntoDeserializer::<D::Error>::into_deserializer(name)).map(Some)
}

impl Default for ModelSpec {
    fn default() -> Self {
        Self {
            context: 128,
            width_multiple: 8,
            aspect: 16.0,
            min_layers: 2,
            head_dim: 16,
            ff_ratio: 8.0 / 3.0,
            qk_norm: false,
            tied: false,
            embedding_std: 0.5,
            parametrization: None,
            reference_width: None,
            reference_layers: None,
        }
    }
}

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

/// The recipe: AdamW (Loshchilov and Hutter 2019) with global gradient-norm clipping.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OptimSpec {
    /// Peak learning rate as a rule in (N, D) [1/step].
    pub learning_rate: Spanned<Rule>,
    /// Batch size as a rule in (N, D), rounded to whole sequences [tokens/step].
    pub batch_tokens: Spanned<Rule>,
    /// Decay rates of the two moments.
    #[serde(default = "betas")]
    pub betas: Spanned<[f64; 2]>,
    /// Added to the root of the second moment.
    #[serde(default = "eps", deserialize_with = "spanned")]
    pub eps: Spanned<f64>,
    /// Decoupled weight decay on matrices, times the learning rate, as a rule in (N, D).
    #[serde(default = "no_decay")]
    pub weight_decay: Spanned<Rule>,
    /// Largest global gradient norm; 0 turns clipping off.
    #[serde(default = "clip", deserialize_with = "spanned")]
    pub clip: Spanned<f64>,
}

/// The learning rate over one cell's steps. Both kinds end at the cell's own horizon.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Schedule {
    /// Linear warmup, then half a cosine.
    Cosine {
        /// Share of all steps [0, 1).
        #[serde(deserialize_with = "number")]
        warmup: f64,
        /// Last learning rate over the peak [0, 1].
        #[serde(deserialize_with = "number")]
        end: f64,
    },
    /// Warmup, stable, decay: constant, then falling as 1 - sqrt (Haegele et al. 2024).
    Wsd {
        /// Share of all steps [0, 1).
        #[serde(deserialize_with = "number")]
        warmup: f64,
        /// Share of all steps that decay (0, 1].
        #[serde(deserialize_with = "number")]
        decay: f64,
        /// Last learning rate over the peak [0, 1].
        #[serde(deserialize_with = "number")]
        end: f64,
    },
    /// The same, so that cells that differ only in their tokens share all steps before their cooldown:
    /// a warmup that does not depend on the horizon, and one trunk from which every horizon branches.
    Trunk {
        /// Warmup [tokens/parameter].
        #[serde(deserialize_with = "number")]
        warmup: f64,
        /// Share of all steps that decay (0, 1]: the cooldown of each branch.
        #[serde(deserialize_with = "number")]
        decay: f64,
        /// Last learning rate over the peak [0, 1].
        #[serde(deserialize_with = "number")]
        end: f64,
    },
}

/// How the loss is measured.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EvalSpec {
    /// Held-out tokens, the same for every cell [tokens].
    pub tokens: Spanned<Quantity>,
    /// How many times on the way, the end included.
    pub times: Spanned<u64>,
}

impl Default for EvalSpec {
    fn default() -> Self {
        Self { tokens: unspanned(Quantity(131_072.0)), times: unspanned(4) }
    }
}

fn no_slurm() -> Spanned<SlurmSpec> {
    unspanned(SlurmSpec::default())
}

/// What a job array on a Slurm cluster asks for; each task is a runner that shares the sweep.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SlurmSpec {
    /// Tasks of the array.
    pub tasks: u32,
    /// Partition.
    pub partition: Option<String>,
    /// Account.
    pub account: Option<String>,
    /// Time limit, as Slurm writes it: `4:00:00`.
    pub time: Option<String>,
    /// Memory, as Slurm writes it: `16G`.
    pub mem: Option<String>,
    /// Cores of a task.
    pub cpus_per_task: Option<u32>,
    /// GPUs of a task.
    pub gpus_per_task: Option<u32>,
    /// Warning before the time limit, for the checkpoint [s].
    pub grace: u32,
    /// More options of `sbatch`, as `--constraint=h100`.
    pub extra: Vec<String>,
}

impl Default for SlurmSpec {
    fn default() -> Self {
        Self {
            tasks: 1,
            partition: None,
            account: None,
            time: None,
            mem: None,
            cpus_per_task: None,
            gpus_per_task: None,
            grace: 120,
            extra: Vec::new(),
        }
    }
}

impl SlurmSpec {
    /// Sets one key from text, as the sweep file would; the reason where it cannot be.
    ///
    /// # Errors
    ///
    /// A line for a person.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        let number = || value.parse().map_err(|_| format!("`{key}` is `{value}`, want a number"));
        let text = Some(value.to_owned());
        match key {
            "tasks" => self.tasks = number()?,
            "grace" => self.grace = number()?,
            "cpus_per_task" => self.cpus_per_task = Some(number()?),
            "gpus_per_task" => self.gpus_per_task = Some(number()?),
            "partition" => self.partition = text,
            "account" => self.account = text,
            "time" => self.time = text,
            "mem" => self.mem = text,
            "extra" => self.extra.push(value.to_owned()),
            _ => {
                return Err(format!(
                    "no key `{key}`; there are tasks, partition, account, time, mem, cpus_per_task, \
                     gpus_per_task, grace, extra"
                ));
            }
        }
        self.unfit().map_or(Ok(()), Err)
    }

    /// What cannot go into a batch script, if anything: a value must stay the value of its line.
    pub fn unfit(&self) -> Option<String> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.,:=/@+%".contains(c);
        let words = [&self.partition, &self.account, &self.time, &self.mem];
        let mut words = words.into_iter().flatten();
        if let Some(word) =
            words.find(|w| w.is_empty() || w.starts_with('-') || !w.chars().all(plain))
        {
            return Some(format!("`{}`", word.escape_debug()));
        }
        let mut extra = self.extra.iter();
        let bad = |w: &&String| !w.starts_with("--") || !w.chars().all(plain);
        if let Some(word) = extra.find(bad) {
            return Some(format!("extra `{}`", word.escape_debug()));
        }
        let counts = (1..=100_000).contains(&self.tasks) && (10..=65_535).contains(&self.grace);
        (!counts).then(|| format!("tasks {} or grace {}", self.tasks, self.grace))
    }
}

/// Where cells run.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DeviceSpec {
    /// `cpu` or `cuda`.
    pub kind: DeviceKind,
    /// Cells side by side; 0 lets a short trial choose.
    pub workers: Spanned<u64>,
    /// GPUs by their number, to which cells are dealt; the first one alone when empty.
    pub devices: Spanned<Vec<usize>>,
    /// How the kernels of matrix products are chosen on a GPU.
    pub matmul: Matmul,
}

impl Default for DeviceSpec {
    fn default() -> Self {
        Self {
            kind: DeviceKind::Cpu,
            workers: unspanned(0),
            devices: unspanned(Vec::new()),
            matmul: Matmul::Fixed,
        }
    }
}

/// A kind of device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum DeviceKind {
    /// Any CPU.
    Cpu,
    /// An NVIDIA GPU, through burn-cuda.
    Cuda,
}

/// How the kernel of a matrix product is chosen on a GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Matmul {
    /// By types and layouts alone: the same kernel, and bits, every time.
    Fixed,
    /// The quickest of all, found by trials at the first use of a shape; may differ from process to process.
    Autotune,
}

/// How the law is fitted.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FitSpec {
    /// Largest budgets kept out of the hold-out test.
    pub holdout: Spanned<u64>,
    /// Bootstrap refits.
    pub bootstrap: Spanned<u64>,
    /// Level of intervals (0, 1).
    pub level: Spanned<f64>,
    /// Rules for loss curves: a run that breaks one of these is left out of the fit by name.
    pub exclude: Vec<health::Rule>,
    /// Compute to predict in the report; ten times the largest budget when empty [FLOP].
    pub predict: Spanned<Vec<Quantity>>,
}

impl Default for FitSpec {
    fn default() -> Self {
        Self {
            holdout: unspanned(1),
            bootstrap: unspanned(1000),
            level: unspanned(0.9),
            exclude: health::Rule::ALL.to_vec(),
            predict: unspanned(Vec::new()),
        }
    }
}

fn unspanned<T>(value: T) -> Spanned<T> {
    Spanned::new(0..0, value)
}
fn one() -> Spanned<Seeds> {
    unspanned(Seeds::Together(1))
}
fn bytes() -> Spanned<Tokenizer> {
    unspanned(Tokenizer::Bytes)
}
fn half() -> Spanned<f64> {
    unspanned(0.5)
}
fn no_decay() -> Spanned<Rule> {
    unspanned(Rule::constant(0.0))
}
fn clip() -> Spanned<f64> {
    unspanned(1.0)
}
/// A number, or text such as `"0.1"`.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Quantity::deserialize(deserializer).map(|q| q.0)
}
/// The same with its place in the text.
fn spanned<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Spanned<f64>, D::Error> {
    let quantity = Spanned::<Quantity>::deserialize(deserializer)?;
    Ok(Spanned::new(quantity.span(), quantity.into_inner().0))
}
fn eps() -> Spanned<f64> {
    unspanned(1e-8)
}
fn betas() -> Spanned<[f64; 2]> {
    unspanned([0.9, 0.95])
}

impl Spec {
    /// Parses and checks a sweep file.
    ///
    /// # Errors
    ///
    /// [`SpecError`], which points into `text` and says what to try.
    ///
    /// # Example
    ///
    /// ```
    /// use isoflop::spec::Spec;
    ///
    /// let text = r#"
    /// name = "tiny"
    /// data.source = "pd-prose"
    /// grid.product = { params = [1e4, "30k"], tokens = ["1M", "3M"] }
    /// optim = { learning_rate = 0.01, batch_tokens = 1024 }
    /// schedule.cosine = { warmup = 0.1, end = 0.02 }
    /// "#;
    /// assert_eq!(Spec::parse(text)?.name.get_ref(), "tiny");
    ///
    /// let text = text.replace("0.01", "-0.01");
    /// let error = Spec::parse(&text).unwrap_err().render("tiny.toml", &text);
    /// assert!(error.contains("`optim.learning_rate`") && error.contains("tiny.toml:5"), "{error}");
    /// # Ok::<(), isoflop::error::SpecError>(())
    /// ```
    pub fn parse(text: &str) -> Result<Self, SpecError> {
        if text.len() > MAX_FILE {
            return Err(SpecError::TooLong { bytes: text.len(), max: MAX_FILE });
        }
        let spec: Self = toml::from_str(text).map_err(|e| SpecError::Syntax(Box::new(e)))?;
        check::check(&spec)?;
        Ok(spec)
    }
}
