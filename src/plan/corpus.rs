//! What was read of files, what of it is held out, and how well that tells the loss.

use serde::{Deserialize, Serialize};

use crate::units::{bytes, count, several};

/// Name of the file in a results directory that holds it.
pub const CORPUS: &str = "data.json";

/// A held-out loss that is known so well needs no word: one standard error over the loss [-].
pub const WELL_KNOWN: f64 = 0.002;

/// Text that was read as it lies in files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Corpus {
    /// What was read, by kind of file.
    pub kinds: Vec<Taken>,
    /// Length of all documents, line ends as `\n` [bytes].
    pub bytes: u64,
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
    /// them.
    pub by: String,
    /// Their share, by their hashes; null where files were named.
    pub share: Option<f64>,
    /// Different ones that are held out.
    pub documents: u64,
    /// Their length [bytes].
    pub bytes: u64,
    /// Tokens that the loss is measured on [tokens].
    pub evaluated_tokens: u64,
    /// Standard error of a loss measured on these tokens as one of all such text, over the loss, as far as that can be
    /// told before a model is trained; null where there is but one document [-].
    pub noise: Option<f64>,
    /// The same if all of the held-out text were evaluated [-].
    pub noise_of_all: Option<f64>,
    /// All held-out tokens [tokens].
    pub tokens: u64,
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
        format!(
            "Read {}: {}.\n{}",
            kinds.join(", "),
            bytes(self.bytes as f64),
            self.held_out.told()
        )
    }
}

impl HeldOutText {
    /// What is held out, and how well it tells the loss.
    #[must_use]
    pub fn told(&self) -> String {
        let share = self.share.map_or("by name".to_owned(), |share| {
            format!("{}% of the {}, by their hash", 100.0 * share, self.by)
        });
        format!(
            "Held out {share}: {} different, {}; the loss is measured on {} tokens of them and tells that of such text {}.\n",
            self.documents,
            bytes(self.bytes as f64),
            count(self.evaluated_tokens as f64),
            known(self.noise)
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
        if self.noise.is_none_or(|noise| noise > WELL_KNOWN) {
            let better = |noise| self.noise_of_all.is_some_and(|all| all < 0.8 * noise);
            let remedy = if self.noise.is_some_and(better) {
                format!(
                    "eval.tokens = {} measures on all of the held-out text, {}",
                    self.tokens,
                    known(self.noise_of_all)
                )
            } else {
                "more documents would say more".to_owned()
            };
            return Some(format!(
                "{} different held-out {} tell the loss of such text {}, and {:.1}% is wanted; the same for all cells, it moves E and no comparison within the study: {remedy}",
                self.documents,
                if self.by == "files" { "documents" } else { &self.by },
                known(self.noise),
                100.0 * WELL_KNOWN
            ));
        }
        None
    }
}

/// How well a loss is known.
fn known(noise: Option<f64>) -> String {
    noise.map_or("nobody knows how well, for there is but one".to_owned(), |noise| {
        format!("to about {:.2}% (one standard error)", 100.0 * noise)
    })
}
