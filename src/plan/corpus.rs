//! What was read of files, what of it is held out, and how well that tells the loss.

use serde::{Deserialize, Serialize};

use crate::units::{bytes, count, several};

/// Name of the file in a results directory that holds it.
pub const CORPUS: &str = "data.json";

/// A held-out loss that is known so well needs no word: one standard error over the loss [-].
pub const WELL_KNOWN: f64 = 0.002;

/// Text that was read as it lies in files, or the held-out text of a dataset.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Corpus {
    /// What was read, by kind of file; empty for a dataset.
    pub kinds: Vec<Taken>,
    /// Length of all documents, line ends as `\n`; null where a dataset does not tell it [bytes].
    pub bytes: Option<u64>,
    /// What is never trained on.
    pub held_out: HeldOutText,
}

/// Files of one kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Taken {
    /// `text`, `JSON lines` or `Parquet`.
    pub kind: String,
    /// How many files.
    pub files: u64,
    /// How many documents they hold.
    pub documents: u64,
}

/// The held-out part of a corpus.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HeldOutText {
    /// What is held out or trained on as a whole: `documents`, `pieces of 32 kB`, `pieces of 4 kB`; `files` where a person named
    /// them, `dataset` where it was prepared so.
    pub by: String,
    /// Their share, by their hashes; null where files were named and for a dataset.
    pub share: Option<f64>,
    /// Different ones that are held out; null where a dataset does not tell.
    pub documents: Option<u64>,
    /// Their length; null where a dataset does not tell it [bytes].
    pub bytes: Option<u64>,
    /// Tokens that the loss is measured on [tokens].
    pub evaluated_tokens: u64,
    /// Standard error of a loss measured on these tokens as one of all such text, over the loss, as far as that can be
    /// told before a model is trained; null where there is but one document and where text was not read [-].
    pub noise: Option<f64>,
    /// The same if all of the held-out text were evaluated [-].
    pub noise_of_all: Option<f64>,
    /// All held-out tokens [tokens].
    pub tokens: u64,
    /// Hash of the held-out text: studies with the same one are measured on the same text. None where an older isoflop
    /// wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

impl Corpus {
    /// For the first lines of a plan.
    #[must_use]
    pub fn told(&self) -> String {
        let kinds: Vec<String> = self
            .kinds
            .iter()
            .map(|taken| {
                format!(
                    "{} of {} ({})",
                    several(taken.files as usize, "file"),
                    taken.kind,
                    several(taken.documents as usize, "document")
                )
            })
            .collect();
        let held_out = self.held_out.told();
        match self.bytes.filter(|_| !kinds.is_empty()) {
            Some(read) => {
                format!("Read {}: {}.\n{held_out}", kinds.join(", "), bytes(read as f64))
            }
            None => held_out,
        }
    }
}

impl HeldOutText {
    /// What is held out, and how well it tells the loss.
    #[must_use]
    pub fn told(&self) -> String {
        let share = match self.share {
            Some(share) => format!("{}% of the {}, by their hash", 100.0 * share, self.by),
            None if self.by == "files" => "by name".to_owned(),
            None => "by the dataset".to_owned(),
        };
        let length = self.bytes.map_or_else(
            || format!("{} tokens", count(self.tokens as f64)),
            |length| bytes(length as f64),
        );
        let documents = self.documents.map(|n| {
            let kind = if self.by == "dataset" { "documents" } else { "different" };
            format!("{} {kind}, ", count(n as f64))
        });
        format!(
            "Held out {share}: {}{length}; the loss is measured on {} tokens of them and tells that of such text {}.\n",
            documents.unwrap_or_default(),
            count(self.evaluated_tokens as f64),
            self.known(self.noise)
        )
    }

    /// What a person should know of it.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut out = Vec::new();
        if self.by.starts_with("pieces") {
            out.push(format!(
                "held out are {}, for there are too few documents to hold out whole ones: the rest of the same documents is trained on, so the loss is that of text that continues them; data.held_out = {{ files = [..] }} names other text",
                self.by
            ));
        }
        out.extend(self.noise_told());
        out
    }

    /// That the loss is known less well than is wanted, if so.
    #[must_use]
    pub fn noise_told(&self) -> Option<String> {
        // Of a dataset without text nothing is said.
        let told = self.by != "dataset" || self.documents == Some(1);
        if self.noise.map_or(!told, |noise| noise <= WELL_KNOWN) {
            return None;
        }
        let better = |noise| self.noise_of_all.is_some_and(|all| all < 0.8 * noise);
        let remedy = if self.noise.is_some_and(better) {
            format!(
                "eval.tokens = {} measures on all of the held-out text, {}",
                self.tokens,
                self.known(self.noise_of_all)
            )
        } else {
            "more documents would say more".to_owned()
        };
        let by = if self.by.starts_with("pieces") { &self.by } else { "documents" };
        Some(format!(
            "{} different held-out {by} tell the loss of such text {}, and {:.1}% is wanted; the same for all cells, it moves E and no comparison within the study: {remedy}",
            self.documents.map_or_else(|| "the".to_owned(), |n| n.to_string()),
            self.known(self.noise),
            100.0 * WELL_KNOWN
        ))
    }

    /// How well a loss is known.
    fn known(&self, noise: Option<f64>) -> String {
        match noise {
            Some(noise) => format!("to about {:.2}% (one standard error)", 100.0 * noise),
            None if self.by != "dataset" || self.documents == Some(1) => {
                "nobody knows how well, for there is but one".to_owned()
            }
            None => "to an error that is not known before a model is trained".to_owned(),
        }
    }
}
