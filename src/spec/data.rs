//! The `[data]` block: what the models read, and how text becomes token ids.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::Spec;
use super::check::{ensure, out_of_range};
use super::files::{Files, HeldOut};
use super::spanned::unspanned;
use crate::error::SpecError;
use crate::units::Quantity;

/// More ids than any tokenizer in use; token ids are stored as u32.
const MAX_VOCAB: u64 = 1 << 20;
/// Most ways to spell a key: what a permutation can shuffle.
const MAX_CODES: u64 = 1 << 62;
/// Most edges of a graph, which lies in memory [edges of 4 bytes].
const MAX_EDGES: u64 = 1 << 26;
/// More tokens than there are [tokens].
const MAX_UNIQUE: u64 = 1_000_000_000_000_000_000;

/// What the models read.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataSpec {
    /// Where the text comes from.
    pub source: Spanned<Source>,
    /// How text becomes token ids. Synthetic sources have their own ids and take none.
    #[serde(default = "bytes")]
    pub tokenizer: Spanned<Tokenizer>,
    /// Weights of a dataset's domains; by their sizes where they are not given. Domains that are not named are not
    /// trained on.
    #[serde(default)]
    pub mix: Option<Spanned<BTreeMap<String, Quantity>>>,
    /// How many distinct tokens of a dataset are read: one number, or several as one more axis of the grid [tokens].
    #[serde(default)]
    pub unique_tokens: Option<Spanned<UniqueTokens>>,
    /// What is held out, where not a share of the documents of files.
    #[serde(default)]
    pub held_out: Option<Spanned<HeldOut>>,
    /// Where paths begin: the directory of the sweep file, which whoever reads that file says.
    #[serde(skip)]
    pub base: PathBuf,
}

impl DataSpec {
    /// Each number of distinct tokens that the grid is trained on, `None` for all that there are [tokens].
    pub fn unique_tokens(&self) -> Vec<Option<u64>> {
        let whole = |q: &Quantity| Some(q.0 as u64);
        match self.unique_tokens.as_ref().map(Spanned::get_ref) {
            None => vec![None],
            Some(UniqueTokens::One(one)) => vec![whole(one)],
            Some(UniqueTokens::Several(several)) => several.iter().map(whole).collect(),
        }
    }

    /// The largest of them: what a run off the grid reads [tokens].
    pub fn most_unique(&self) -> Option<u64> {
        self.unique_tokens().into_iter().flatten().max()
    }

    /// What a recipe says of the tokenizer.
    pub fn tokenizer(&self) -> Tokenizer {
        match self.source.get_ref() {
            Source::Dataset(_) => Tokenizer::Dataset,
            _ => self.tokenizer.get_ref().clone(),
        }
    }
}

/// Numbers of distinct tokens.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged, expecting = "a number such as \"20M\", or a list of them")]
pub enum UniqueTokens {
    /// The same for every cell.
    One(Quantity),
    /// An axis of the grid.
    Several(Vec<Quantity>),
}

fn bytes() -> Spanned<Tokenizer> {
    unspanned(Tokenizer::Bytes)
}

/// A source of text or of token ids.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Source {
    /// The embedded public-domain English prose, 25 MB.
    PdProse,
    /// Text as it lies in files: text, JSON lines, Parquet.
    Files(Files),
    /// A prepared dataset, which brings its tokenizer: its directory. Not in a recipe: it is identified by its id.
    Dataset(String),
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
            Self::Files(_) => Self::Files(Files::default()),
            Self::Dataset(_) => Self::Dataset(String::new()),
            other => other.clone(),
        }
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::PdProse => f.write_str("pd-prose"),
            Self::Files(_) => f.write_str("text files"),
            Self::Dataset(_) => f.write_str("a dataset"),
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
    /// The dataset's own: what recipes say, and no sweep has to.
    Dataset,
}

/// What the types cannot say of it.
pub(super) fn check(spec: &Spec) -> Result<(), SpecError> {
    super::check_files::check(&spec.data)?;
    let source = &spec.data.source;
    let refuse = |got: String, want, hint| {
        Err(SpecError::OutOfRange { field: "data.source", span: source.span(), got, want, hint })
    };
    match source.get_ref() {
        Source::PdProse | Source::Files(_) => {}
        Source::Dataset(dir) => {
            if dir.is_empty() {
                return refuse("no path".into(), "a directory", "dataset = \"datasets/x\"");
            }
        }
        Source::ZipfFact(z) => {
            let good = (2..=1 << 24).contains(&z.keys)
                && (2..=MAX_VOCAB).contains(&z.values)
                && (1..=8).contains(&z.key_tokens)
                && z.a.is_finite()
                && z.a > 0.0
                && (0.0..1.0).contains(&z.noise);
            if !good {
                let want = "keys 2..2^24, values 2..2^20, key_tokens 1..8, a > 0, noise in [0, 1)";
                return refuse(format!("{z:?}"), want, "see sweeps/zipf-fact.toml");
            }
            if (z.values as f64).powi(z.key_tokens.cast_signed()) < z.keys as f64 {
                let want = "values^key_tokens >= keys, so that every key has a spelling";
                return refuse(format!("{z:?}"), want, "raise key_tokens by one");
            }
            if z.values.checked_pow(z.key_tokens).is_none_or(|codes| codes >= MAX_CODES) {
                let want = "values^key_tokens below 2^62";
                return refuse(
                    format!("{z:?}"),
                    want,
                    "lower key_tokens: as many spellings as keys are enough",
                );
            }
            let record = z.key_tokens as usize + 1;
            if !spec.model.context.is_multiple_of(record) {
                let want = "model.context a multiple of key_tokens + 1";
                let hint = "else windows cut records and the loss cannot reach the entropy";
                return refuse(format!("a record of {record} tokens"), want, hint);
            }
        }
        Source::GraphWalk(g) => {
            if !((2..=MAX_VOCAB).contains(&g.nodes)
                && (1..=g.nodes.min(4096)).contains(&g.degree)
                && g.skew.is_finite()
                && (0.0..=8.0).contains(&g.skew))
            {
                let want = "nodes 2..2^20, degree 1..4096 and at most nodes, skew in [0, 8]";
                return refuse(format!("{g:?}"), want, "see sweeps/graph-walk.toml");
            }
            if g.nodes * g.degree > MAX_EDGES {
                let got = format!("a graph of {} edges", g.nodes * g.degree);
                let want = "nodes * degree at most 2^26, which are 256 MiB";
                return refuse(got, want, "lower degree: the entropy is that of one node's edges");
            }
        }
    }
    dataset(spec)?;
    tokenizer(spec)
}

fn tokenizer(spec: &Spec) -> Result<(), SpecError> {
    let (source, tokenizer) = (&spec.data.source, &spec.data.tokenizer);
    let given = !tokenizer.span().is_empty();
    if *tokenizer.get_ref() == Tokenizer::Dataset
        || given && matches!(source.get_ref(), Source::Dataset(_))
    {
        let hint = "a dataset brings its own";
        return Err(out_of_range("data.tokenizer", tokenizer, "no such line", hint));
    }
    if let Tokenizer::Bpe { vocab } = tokenizer.get_ref() {
        ensure((257..=65_536).contains(vocab), || {
            let hint = "256 byte ids and at least one merge";
            out_of_range("data.tokenizer", tokenizer, "a vocabulary of 257 to 65536", hint)
        })?;
        if matches!(source.get_ref(), Source::ZipfFact(_) | Source::GraphWalk(_)) {
            return Err(SpecError::OutOfRange {
                field: "data.source",
                span: source.span(),
                got: "synthetic, with ids of its own".into(),
                want: "no tokenizer",
                hint: "drop the line",
            });
        }
    }
    Ok(())
}

/// What only a dataset has.
fn dataset(spec: &Spec) -> Result<(), SpecError> {
    let DataSpec { source, mix, unique_tokens, .. } = &spec.data;
    let prepared = matches!(source.get_ref(), Source::Dataset(_));
    let (want, hint) = ("none with this source", "give `source = { dataset = \"datasets/x\" }`");
    if let Some(mix) = mix {
        ensure(prepared, || out_of_range("data.mix", mix, want, hint))?;
        let good = |q: &Quantity| q.0.is_finite() && q.0 > 0.0;
        ensure(!mix.get_ref().is_empty() && mix.get_ref().values().all(good), || {
            let hint =
                "mix = { web = 0.7, code = 0.3 }; a domain that is left out is not trained on";
            out_of_range("data.mix", mix, "a weight above 0 for each domain", hint)
        })?;
    }
    if let Some(unique) = unique_tokens {
        ensure(prepared, || out_of_range("data.unique_tokens", unique, want, hint))?;
        let numbers: Vec<Option<u64>> = spec.data.unique_tokens();
        let distinct: BTreeSet<_> = numbers.iter().flatten().collect();
        let good = distinct.len() == numbers.len()
            && !numbers.is_empty()
            && distinct.iter().all(|n| (1..=MAX_UNIQUE).contains(*n));
        ensure(good, || {
            let want = "numbers of tokens from 1 to 1e18, none twice";
            out_of_range("data.unique_tokens", unique, want, "\"20M\", or [\"5M\", \"20M\"]")
        })?;
    }
    Ok(())
}
