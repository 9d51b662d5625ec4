//! What the best model of each budget goes on with, for the report.
//!
//! Drawn anew for each page, from the same seed: nothing is kept that could be of other weights. A model that would
//! take longer than a blink is named and not asked.

use std::path::Path;

use super::Runs;
use super::models::Model;
use super::sampling::{Request, sample};
use crate::fs::Os;
use crate::ledger::{State, weights};
use crate::model::Choice;
use crate::plan::Cell;
use crate::report::{Continuations, Continued};

/// What every text begins with.
const PROMPT: &str = "The ";
/// Tokens that are added.
const TOKENS: usize = 60;
/// How they are drawn.
const CHOICE: Choice = Choice { temperature: 0.8, top_p: 0.95 };
/// Compute of one text at most: a third of a second on one core [FLOP].
const MOST: f64 = 5e9;

/// A text of the best completed cell of each budget, or of all cells where the grid has none; `None` where no weights
/// are kept, or the data are no text.
pub(super) fn of(runs: &Runs) -> Option<Continuations> {
    let (results, ledger) = (runs.results.as_deref()?, runs.ledger.as_ref()?);
    let mut best: Vec<(&Cell, f64)> = Vec::new();
    for (cell, state) in &ledger.cells {
        let State::Completed { loss, dir, .. } = state else { continue };
        if !loss.is_finite() || !weights::are_kept(&Os, dir) {
            continue;
        }
        match best.iter_mut().find(|(other, _)| other.budget == cell.budget) {
            Some(found) if found.1 <= *loss => {}
            Some(found) => *found = (cell, *loss),
            None => best.push((cell, *loss)),
        }
    }
    let flops = |cell: &Cell| cell.budget.unwrap_or_else(|| cell.recipe.flops());
    best.sort_by(|l, r| flops(l.0).total_cmp(&flops(r.0)));
    let mut texts = Vec::new();
    for (cell, loss) in best {
        let params = cell.recipe.shape.counts().matmul;
        let text = if price(cell) > MOST { None } else { Some(text(results, &cell.id)?) };
        let (flops, cell) = (flops(cell), cell.short().to_owned());
        texts.push(Continued { flops, params, cell, loss, text });
    }
    let drawn = format!(
        "{TOKENS} tokens at temperature {} from the likeliest {:.0}%",
        CHOICE.temperature,
        100.0 * CHOICE.top_p
    );
    // A page of nothing but names says nothing.
    let some = texts.iter().any(|c: &Continued| c.text.is_some());
    some.then(|| Continuations { prompt: PROMPT.to_owned(), drawn, texts })
}

/// Compute of a text: the whole context again for each token [FLOP].
fn price(cell: &Cell) -> f64 {
    let forward = cell.recipe.shape.flops_per_token().total() / 3.0;
    let read = (PROMPT.len()..PROMPT.len() + TOKENS).map(|n| n.min(cell.recipe.shape.context));
    forward * read.sum::<usize>() as f64
}

/// What one cell goes on with; `None` where its weights or its tokenizer cannot be read, which `check` and `sample` say.
fn text(results: &Path, cell: &str) -> Option<String> {
    let model = Model::open(results, results, Some(cell)).ok()?;
    let prompt = PROMPT.to_owned();
    let request = Request { prompt, tokens: TOKENS, choice: CHOICE, seed: 0 };
    sample(&model, &request, &mut |_| {}).ok().map(|sampled| sampled.text)
}
