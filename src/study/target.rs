//! The law of a task: its bits per byte as the loss of every cell, and accuracy as a curve of those.
//!
//! Nothing is fitted that shows no signal ([`gate`](crate::fit::downstream::gate)): the bits of the right answer may fall where labels
//! are random, so the step to accuracy asks for a signal of `margin` too (of `accuracy` itself where there are no
//! choices), and for rows that are clearly above chance.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::eval::{Evaluated, Scores, Signal};
use super::{Failure, Observer, Results, Runs, analysis, losses, pages};
use crate::error::{FileError, InputError};
use crate::fit::downstream::curve::{AccuracyOfBits, LEAST, Scored, above_chance};
use crate::fit::{Analysis, Options};
use crate::fs::{Disk as _, Os};
use crate::ledger::tasks::{self, TaskRecord};
use crate::ledger::{State, cell_dir, weights};
use crate::predict::{self, Estimate, Prediction};
use crate::task::metric::Metric;

/// Longest table of other people's scores that is read [bytes].
const MAX_SCORES: u64 = 16 << 20;

/// What is said of a task.
#[derive(Debug)]
pub struct Target {
    /// Its name.
    pub task: String,
    /// What the gate says of it.
    pub signals: Vec<Signal>,
    /// Where fit.json, figures and report are.
    pub directory: PathBuf,
    /// The fit of its bits per byte.
    pub fit: Analysis,
    /// The runs that are predicted.
    pub predictions: Vec<Prediction>,
    /// The step to accuracy, or why there is none.
    pub accuracy: Result<Step, String>,
}

/// Accuracy from bits per byte.
#[derive(Debug, Serialize)]
pub struct Step {
    /// The curve.
    pub curve: AccuracyOfBits,
    /// Rows that it was fitted to: cells, and other people's models.
    pub rows: usize,
    /// How many of them are clearly above chance.
    pub above_chance: usize,
    /// The runs that are predicted.
    pub runs: Vec<RunAccuracy>,
}

/// What a run will reach on a task.
#[derive(Debug, Serialize)]
pub struct RunAccuracy {
    /// Training compute C [FLOP].
    pub flops: f64,
    /// Model size N [parameters].
    pub params: f64,
    /// Training tokens D [tokens].
    pub tokens: f64,
    /// Prediction interval of one run [bits/byte].
    pub bits_per_byte: Estimate,
    /// Likewise [0, 1].
    pub accuracy: Estimate,
}

/// Fits the law of a task to the scores of a sweep's cells.
///
/// # Errors
///
/// [`Failure`]: no cell was scored on it, two tasks of the name, no signal, or no law.
pub fn fit(
    results: Results,
    task: &str,
    with: Option<&Path>,
    (options, out): (impl FnOnce(Options) -> Result<Options, InputError>, &Path),
    observer: &dyn Observer,
) -> Result<Target, Failure> {
    let others = with.map_or(Ok(Vec::new()), scores)?;
    let evaluated = recorded(&results, task)?;
    let signals = evaluated.signals();
    if let Some(refused) = signals.iter().find(|s| s.metric == Metric::BitsPerByte)
        && let Some(why) = refused.gate.why()
    {
        let message = format!("no signal of `{task}` at these sizes, so no law is fitted: {why}");
        let hint = "larger models, more tokens, or a task of easier items; `isoflop eval` has the numbers of all tasks";
        return Err(InputError::new(message, hint).into());
    }
    let bits = |m: &Scores| (m.id.clone(), m.records[0].metrics.bits_per_byte.value);
    let runs = Runs::recorded(results).of_task(task, &evaluated.models.iter().map(bits).collect());
    let options = options(runs.options())?;
    let seed = options.seed;
    let fit = analysis::analyse(&runs, &options, observer)?;
    let predictions = analysis::predictions(&runs, &fit);
    let directory = out.join(losses::directory(task));
    pages::write(&directory, &runs, &fit, &predictions)?;
    let accuracy = step(&evaluated, &signals, others, (&fit, &predictions), seed);
    Ok(Target { task: task.to_owned(), signals, directory, fit, predictions, accuracy })
}

/// The record of a task for every completed cell that has one.
fn recorded(results: &Results, task: &str) -> Result<Evaluated, Failure> {
    let mut evaluated = Evaluated::default();
    let (mut contents, mut names) = (BTreeSet::new(), BTreeSet::new());
    for (cell, state) in &results.ledger.cells {
        let State::Completed { loss, dir, .. } = state else { continue };
        let kept = weights::manifest(&Os, dir)?.map(|manifest| manifest.sha256);
        let all = tasks::read_all(&Os, &cell_dir(&results.dir, &cell.id))?;
        // Without kept weights there are the scores that were made when they were at hand.
        let own = |r: &TaskRecord| kept.as_ref().is_none_or(|sha256| r.weights_sha256 == *sha256);
        for record in all.into_iter().filter(own) {
            names.insert(record.task.clone());
            if record.task != task {
                continue;
            }
            contents.insert(record.task_sha256.clone());
            evaluated.models.push(Scores {
                id: cell.id.clone(),
                params: cell.params(),
                tokens: Some(cell.recipe.tokens() as f64),
                flops: Some(cell.recipe.flops()),
                loss: Some(*loss),
                records: vec![record],
            });
        }
    }
    let cells: BTreeSet<&str> = evaluated.models.iter().map(|m| m.id.as_str()).collect();
    if contents.len() > 1 || evaluated.models.len() > cells.len() {
        let message = format!(
            "cells of `{}` were scored on several tasks of the name `{task}`, or by several weights",
            results.name
        );
        let hint = "a task that was changed is another one: give it another name and score the cells on it";
        return Err(InputError::new(message, hint).into());
    }
    if evaluated.models.is_empty() {
        let known = names.into_iter().collect::<Vec<_>>().join(", ");
        let known = if known.is_empty() { "none".to_owned() } else { known };
        let message = format!(
            "no cell of `{}` was scored on a task `{task}`; there are: {known}",
            results.name
        );
        let hint = format!("`isoflop eval {} --tasks FILE` scores them", results.dir.display());
        return Err(InputError::new(message, hint).into());
    }
    Ok(evaluated)
}

/// The step to accuracy, or why there is none.
fn step(
    evaluated: &Evaluated,
    signals: &[Signal],
    others: Vec<Scored>,
    (fit, predictions): (&Analysis, &[Prediction]),
    seed: u64,
) -> Result<Step, String> {
    let first = &evaluated.models[0].records[0];
    let (Some(chance), Some(_)) = (first.chance, first.metrics.accuracy) else {
        return Err(format!("a task of the kind {} has no accuracy", first.kind.name()));
    };
    let second = signals.iter().find(|s| s.metric != Metric::BitsPerByte);
    if let Some(signal) = second
        && let Some(why) = signal.gate.why()
    {
        return Err(format!("no signal of {} at these sizes: {why}", signal.metric.name()));
    }
    let own = evaluated.models.iter().filter_map(|model| {
        let metrics = &model.records[0].metrics;
        let accuracy = metrics.accuracy?;
        Some(Scored {
            id: model.id.clone(),
            bits_per_byte: metrics.bits_per_byte.value,
            accuracy: accuracy.value,
            se: accuracy.se?,
        })
    });
    let rows: Vec<Scored> = own.chain(others).collect();
    let above = above_chance(&rows, chance);
    if above < LEAST {
        return Err(format!(
            "{above} of {} rows are above chance ({chance:.3}) by three standard errors, want {LEAST}: larger models, or \
             other people's scores by --with",
            rows.len()
        ));
    }
    let pairs: Vec<(f64, f64)> = rows.iter().map(|r| (r.bits_per_byte, r.accuracy)).collect();
    let curve = AccuracyOfBits::fit(&pairs, chance).ok_or("the rows determine no curve")?;
    let run = |p: &Prediction| {
        let (params, tokens) = (p.params.value, p.tokens.value);
        let accuracy = predict::accuracy(fit, (params, tokens), &pairs, chance, seed)?;
        Some(RunAccuracy { flops: p.flops, params, tokens, bits_per_byte: p.loss, accuracy })
    };
    let runs = predictions.iter().filter_map(run).collect();
    Ok(Step { curve, rows: rows.len(), above_chance: above, runs })
}

/// A row of other people's scores, as it is written.
#[derive(Deserialize)]
struct Row {
    model: Option<String>,
    bits_per_byte: f64,
    accuracy: f64,
    se: Option<f64>,
    items: Option<f64>,
}

/// A table of other people's scores: `bits_per_byte`, `accuracy`, and `se` or `items`.
fn scores(path: &Path) -> Result<Vec<Scored>, Failure> {
    let bytes = Os.read(path, MAX_SCORES).map_err(FileError::new("read", path))?;
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(bytes.as_slice());
    let refused = |line: usize, why: String| {
        let message = format!("{}:{line}: {why}", path.display());
        let hint = "want the columns bits_per_byte, accuracy (0 to 1), and se or items (how many were scored)";
        Failure::from(InputError::new(message, hint))
    };
    let mut rows = Vec::new();
    for (i, row) in reader.deserialize::<Row>().enumerate() {
        let line = i + 2;
        let row = row.map_err(|e| refused(line, e.to_string()))?;
        let by_items = |n: f64| (row.accuracy * (1.0 - row.accuracy) / n).sqrt();
        let Some(se) = row.se.or_else(|| row.items.map(by_items)) else {
            return Err(refused(line, "neither se nor items".to_owned()));
        };
        let sound = (0.0..=1.0).contains(&row.accuracy) && se.is_finite() && se >= 0.0;
        if !(sound && row.bits_per_byte.is_finite() && row.bits_per_byte > 0.0) {
            let Row { bits_per_byte, accuracy, .. } = row;
            let why =
                format!("bits_per_byte {bits_per_byte}, accuracy {accuracy}, standard error {se}");
            return Err(refused(line, why));
        }
        let id = row.model.unwrap_or_else(|| format!("row {line}"));
        let Row { bits_per_byte, accuracy, .. } = row;
        rows.push(Scored { id, bits_per_byte, accuracy, se });
    }
    Ok(rows)
}
