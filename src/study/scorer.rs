//! A trained model that is asked: its weights on the CPU, and how it takes text.

use std::path::Path;

use super::Failure;
use super::models::{Model, Origin};
use crate::error::InputError;
use crate::hf::Text;
use crate::ledger::weights;
use crate::model::Transformer;
use crate::task::tokens::SEPARATOR;

/// How text becomes ids.
#[derive(Debug, Clone)]
pub(super) struct Tokenizer {
    /// `None` where ids are no text: they are then written in decimal, parted by blanks.
    text: Option<Text>,
    /// Every id is below this.
    vocab: usize,
    /// Stands before a text without a context.
    pub(super) separator: i32,
}

impl Tokenizer {
    /// Of a model with so many ids; `separator` where it is known.
    pub(super) fn new(text: Option<Text>, vocab: usize, separator: Option<u32>) -> Self {
        Self { text, vocab, separator: separator.map_or(SEPARATOR, u32::cast_signed) }
    }

    /// The ids of a text.
    ///
    /// # Errors
    ///
    /// [`InputError`] where it cannot be encoded.
    pub(super) fn encode(&self, text: &str) -> Result<Vec<i32>, InputError> {
        let Some(tokenizer) = &self.text else {
            return text.split_whitespace().map(|word| self.number(word)).collect();
        };
        let refused = |why: String| {
            let shown: String = text.chars().take(40).collect();
            let message = format!("{shown:?} cannot be tokenised: {why}");
            InputError::new(message, "the tokenizer is the one that the model was trained with")
        };
        let ids = tokenizer.ids(text).map_err(refused)?;
        match ids.iter().find(|id| **id as usize >= self.vocab) {
            None => Ok(ids.into_iter().map(u32::cast_signed).collect()),
            Some(id) => Err(refused(format!("id {id} is not below {}", self.vocab))),
        }
    }

    fn number(&self, word: &str) -> Result<i32, InputError> {
        let id = word.parse::<i32>().ok();
        id.filter(|id| usize::try_from(*id).is_ok_and(|id| id < self.vocab)).ok_or_else(|| {
            let message = format!("`{word}` is no token id below {}", self.vocab);
            let hint = "these models were trained on ids and not on text: items are ids in decimal, parted by blanks";
            InputError::new(message, hint)
        })
    }
}

/// A model, ready.
pub(super) struct Opened {
    pub(super) model: Transformer,
    pub(super) tokenizer: Tokenizer,
    /// As a person calls it.
    pub(super) name: String,
    /// Id of the cell; `None` for a directory.
    pub(super) cell: Option<String>,
    /// SHA-256 of its weights as the ledger keeps them.
    pub(super) weights_sha256: String,
}

impl Opened {
    /// The model at a path: a directory of Hugging Face's, or a cell of the sweep that it is.
    ///
    /// # Errors
    ///
    /// [`Failure`] where it cannot be opened.
    pub(super) fn open(path: &Path, results: &Path, cell: Option<&str>) -> Result<Self, Failure> {
        let opened = Model::open(path, results, cell)?;
        let (weights_sha256, cell) = match &opened.origin {
            Origin::Cell(of) => {
                (of.provenance.weights_sha256.clone(), Some(of.provenance.cell.id.clone()))
            }
            Origin::Directory(..) => (weights::sha256(&opened.values)?, None),
        };
        let (model, name) = (opened.transformer()?, opened.origin.name());
        let separator = opened.begin.or(opened.end);
        let tokenizer = Tokenizer::new(opened.text, opened.shape.vocab, separator);
        Ok(Self { model, tokenizer, name, cell, weights_sha256 })
    }

    /// Tokens that it reads at once [tokens].
    pub(super) fn window(&self) -> usize {
        self.model.shape().context
    }
}
