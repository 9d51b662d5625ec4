//! The pages of an analysis: fit.json, every figure, and the report.

use std::fmt::Display;
use std::path::Path;

use super::{Failure, Runs, backtest, continued, corpus, figures, score, tuning};
use crate::error::InputError;
use crate::figure;
use crate::fit::Analysis;
use crate::fs::{Disk as _, Os};
use crate::import::Taken;
use crate::ledger;
use crate::predict::Prediction;
use crate::report;

/// Writes fit.json, every figure as SVG and PNG, and the report; warnings of what could not be shown there.
///
/// # Errors
///
/// [`Failure`] where a file cannot be written, or the fit could not be read again.
pub fn write(
    dir: &Path,
    runs: &Runs,
    analysis: &Analysis,
    predictions: &[Prediction],
) -> Result<Vec<String>, Failure> {
    let json = serde_json::to_vec(analysis).map_err(unwritable)?;
    // A NaN is written as null, which no reader takes for a number.
    if let Err(e) = Analysis::read(&json) {
        return Err(unwritable(format!("it could not be read again: it {e}")).into());
    }
    Os.create_dirs(&dir.join("figures"))?;
    Os.write_atomic(&dir.join("fit.json"), &json)?;
    let forecasts = match &runs.results {
        Some(results) => score::card(dir, results, &runs.name)?,
        None => Vec::new(),
    };
    let figures = figure::all(analysis, &runs.curves, predictions, &forecasts);
    figures::write(dir, &figures)?;
    let tuning = runs.spec.as_ref().and_then(|spec| {
        Some(tuning::read(dir)?.map(|tuning| {
            let agreement = tuning.agreement(&spec.optim);
            (tuning, agreement)
        }))
    });
    let warnings = tuning.iter().filter_map(|read| read.as_ref().err().cloned()).collect();
    let cells = runs.ledger.as_ref().map(ledger::cell_rows).unwrap_or_default();
    let html = report::html(&report::Input {
        analysis,
        figures: &figures,
        predictions,
        sweep_toml: runs.published().as_deref(),
        cells: &cells,
        tuning: tuning.as_ref(),
        forecasts: &forecasts,
        backtest: backtest::stored(dir, &runs.table.points, &analysis.pins).as_ref(),
        continued: continued::of(runs).as_ref(),
        provenance: &provenance(runs),
    });
    Os.write_atomic(&dir.join("report.html"), html.as_bytes())?;
    Ok(warnings)
}

fn unwritable(why: impl Display) -> InputError {
    InputError::new(
        format!("the fit is not written: {why}"),
        "look at the columns that were read and at the units of their numbers",
    )
}

/// Where the numbers come from, for the end of the report.
fn provenance(runs: &Runs) -> Vec<(String, String)> {
    let mut out = vec![("isoflop".to_owned(), env!("CARGO_PKG_VERSION").to_owned())];
    let mut push = |name: &str, value: String| out.push((name.to_owned(), value));
    push("source of the runs", runs.table.source.clone());
    for Taken { symbol, from } in &runs.taken {
        push(symbol, from.clone());
    }
    if let Some((cell, _)) = runs.ledger.as_ref().and_then(|l| l.cells.first()) {
        let recipe = &cell.recipe;
        push("data", format!("{}, tokenizer {:?}", recipe.source, recipe.tokenizer));
        push("SHA-256 of the data", recipe.data_sha256.clone());
        push(
            "held-out evaluation",
            format!("{} tokens, the same for every cell", recipe.eval_tokens),
        );
        if let Some(corpus) = runs.results.as_deref().and_then(corpus::read) {
            push("held-out text", corpus.held_out.told().trim_end().to_owned());
        }
        push("precision", "f32 weights, activations and moments".to_owned());
        push(
            "seeds",
            "weights and data order are drawn from the cell's seed by counter".to_owned(),
        );
    }
    out
}
