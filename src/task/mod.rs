//! Tasks: items on which a trained model is scored by the log-likelihood of texts. No disk, no model.
//!
//! ```text
//! spec       what a task file says
//! template   texts with fields of an item
//! render     items: requests of a context and a continuation
//! tokens     a request as windows of ids: the scoring rule
//! metric     log-likelihoods: bits per byte, margin, accuracy
//! ```
//!
//! The rule is that of lm-evaluation-harness 0.4.13 to the letter, so that both give the same numbers for the same
//! model. A task here is its file and its items together; its hash is that of what is scored, not of how it is written.

pub mod metric;
mod render;
pub mod spec;
mod template;
pub mod tokens;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::error::InputError;
use crate::plan::hex;

pub use render::{Item, Length, Request};
use spec::TaskSpec;

/// Raised when the same items would be scored differently: records of before are then not taken for these.
const RULE: u32 = 1;

/// What of an item is scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Each answer after one context (ARC, PIQA).
    Choices,
    /// One continuation after each context (WinoGrande).
    Contexts,
    /// One continuation after one context (LAMBADA).
    Continuation,
    /// Two whole sentences, the good one and the bad one (BLiMP).
    Pairs,
    /// A text from its first token to its last.
    Text,
}

impl Kind {
    /// As a task file writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Choices => "choices",
            Self::Contexts => "contexts",
            Self::Continuation => "continuation",
            Self::Pairs => "pairs",
            Self::Text => "text",
        }
    }
}

/// A task with its items, ready to be scored.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// Its name.
    pub name: String,
    /// What of an item is scored.
    pub kind: Kind,
    /// Accuracy of a guess [0, 1]; `None` for `text`, which has none.
    pub chance: Option<f64>,
    /// In the order of the file, one at least.
    pub items: Vec<Item>,
    /// SHA-256 of all requests and of which is right.
    pub sha256: String,
}

impl Task {
    /// Renders the items of a task; `file` is their name in messages.
    ///
    /// # Errors
    ///
    /// [`InputError`] with file, line and field.
    ///
    /// # Example
    ///
    /// ```
    /// use isoflop::task::{Task, spec::TaskSpec};
    ///
    /// let text = r#"
    /// name = "sums"
    /// kind = "choices"
    /// items = "sums.jsonl"
    /// context = "{question} ="
    /// choices = "{answers}"
    /// gold = "{right}"
    /// "#;
    /// let spec = TaskSpec::parse(text)?;
    /// let items = r#"{"question": "1 + 1", "answers": ["2", "3"], "right": 0}"#;
    /// let task = Task::new(&spec, items, "sums.jsonl")?;
    /// assert_eq!(task.items[0].requests[1].context, "1 + 1 =");
    /// assert_eq!(task.items[0].requests[1].continuation, " 3");
    /// assert_eq!(task.chance, Some(0.5));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new(spec: &TaskSpec, items: &str, file: &str) -> Result<Self, InputError> {
        let items = render::items(spec, items, file)?;
        let kind = spec.form.kind();
        let guess = |item: &Item| 1.0 / item.requests.len() as f64;
        let by_choices = items.iter().map(guess).sum::<f64>() / items.len() as f64;
        let chance = match kind {
            Kind::Text => None,
            Kind::Continuation => Some(spec.chance.unwrap_or(0.0)),
            _ => Some(spec.chance.unwrap_or(by_choices)),
        };
        let sha256 = sha256(kind, &items);
        Ok(Self { name: spec.name.clone(), kind, chance, items, sha256 })
    }
}

/// Every text with its length before it, so that no two tasks are the same bytes.
fn sha256(kind: Kind, items: &[Item]) -> String {
    let mut hash = Sha256::new();
    hash.update(format!("isoflop task {RULE} {}\n", kind.name()));
    for item in items {
        hash.update(format!("{} {}\n", item.requests.len(), item.gold));
        for request in &item.requests {
            for text in [&request.context, &request.continuation] {
                hash.update(format!("{}:{text}", text.len()));
            }
            let Length { characters, bytes } = request.choice;
            hash.update(format!(" {characters} {bytes} {}\n", request.bytes));
        }
    }
    hex(&hash.finalize())
}
