//! The `[data]` block: what the models read, and how text becomes token ids.

use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::spanned::unspanned;

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

fn bytes() -> Spanned<Tokenizer> {
    unspanned(Tokenizer::Bytes)
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
