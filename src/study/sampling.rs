//! A text that a model goes on with, token by token.
//!
//! The n-th token is drawn by the n-th number of a stream of the seed: the same model, prompt and settings give the
//! same text. The whole context is computed again for each token, which takes a millisecond for a model of a million
//! parameters and a second for one of a hundred million; of a longer text the model reads the last tokens that its
//! context holds.

use super::Failure;
use super::models::Model;
use crate::error::InputError;
use crate::hf::Text;
use crate::model::Choice;
use crate::ops::Likelihood;
use crate::random::Stream;

/// Most tokens of one text.
const MAX_TOKENS: usize = 100_000;

/// What is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// What the text begins with; empty for the begin of a document.
    pub prompt: String,
    /// Most tokens to add.
    pub tokens: usize,
    /// How each is chosen.
    pub choice: Choice,
    /// Seed of what is drawn.
    pub seed: u64,
}

/// What a model went on with.
#[derive(Debug, Clone, PartialEq)]
pub struct Sampled {
    /// Ids of the prompt, as the model read them.
    pub prompt: Vec<u32>,
    /// Ids that it added, without that which ends a text.
    pub ids: Vec<u32>,
    /// Logarithm of the probability of each, as the model has it, whatever the temperature [nats].
    pub log_likelihoods: Vec<f64>,
    /// Their text.
    pub text: String,
    /// Whether the model ended the text.
    pub ended: bool,
}

/// Samples; `tell` is given every piece of text as soon as it is certain.
///
/// # Errors
///
/// [`Failure`] where the model has no tokenizer, or a number is out of its range.
pub fn sample(
    model: &Model,
    request: &Request,
    tell: &mut dyn FnMut(&str),
) -> Result<Sampled, Failure> {
    let Request { prompt, tokens, choice, seed } = request;
    check(*tokens, choice)?;
    let text = model.text()?;
    let failed =
        |why: String| InputError::new(format!("the tokenizer: {why}"), "try another prompt");
    let mut read = text.prompt(prompt).map_err(failed)?;
    if read.is_empty() {
        // What stands before the begin of a document is the separator of the last one.
        read.extend(model.begin.or(model.end).or(Some(0)));
    }
    let transformer = model.transformer()?;
    let stream = Stream::new(*seed, "sample");
    let signed = |id: &u32| i32::try_from(*id).unwrap_or(0);
    let mut ids: Vec<i32> = read.iter().map(signed).collect();
    let (ids_made, log_likelihoods) = (Vec::new(), Vec::new());
    let mut out =
        Sampled { prompt: read, ids: ids_made, log_likelihoods, text: String::new(), ended: false };
    for n in 0..*tokens {
        let from = ids.len().saturating_sub(model.shape.context);
        let logits = transformer.next_logits(&[&ids[from..]]).remove(0);
        let id = choice.of(&logits, stream.uniform(n as u64)) as u32;
        if Some(id) == model.end {
            out.ended = true;
            break;
        }
        out.ids.push(id);
        out.log_likelihoods.push(Likelihood::of(&logits, id as usize).log);
        ids.push(signed(&id));
        tell(&out.add(text, false).map_err(failed)?);
    }
    tell(&out.add(text, true).map_err(failed)?);
    Ok(out)
}

impl Sampled {
    /// Text that has become certain, and adds it; what may be the begin of a character waits, unless all is said.
    fn add(&mut self, text: &Text, all: bool) -> Result<String, String> {
        let whole = text.text(&self.ids)?;
        let certain = if all { whole.as_str() } else { whole.trim_end_matches('\u{FFFD}') };
        let new = certain.get(self.text.len()..).unwrap_or_default().to_owned();
        self.text += &new;
        Ok(new)
    }
}

fn check(tokens: usize, choice: &Choice) -> Result<(), InputError> {
    let refuse = |what: String, hint: &str| Err(InputError::new(what, hint));
    let Choice { temperature, top_p } = choice;
    if !(1..=MAX_TOKENS).contains(&tokens) {
        return refuse(format!("--tokens is {tokens}"), "1 to 100,000");
    }
    if !temperature.is_finite() || *temperature < 0.0 {
        return refuse(
            format!("--temperature is {temperature}"),
            "0 for the most likely token, or above",
        );
    }
    if !(*top_p > 0.0 && *top_p <= 1.0) {
        return refuse(format!("--top-p is {top_p}"), "above 0, and 1 at most");
    }
    Ok(())
}
