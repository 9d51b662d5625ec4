//! Scores of trained models on tasks: what is missing is computed and kept, and all of it given back.

use std::path::{Path, PathBuf};

use super::scorer::{Opened, Tokenizer};
use super::{Failure, Observer, Results, models};
use crate::error::{InputError, exit};
use crate::eval::Prepared;
use crate::fit::downstream::gate::{Gate, Reading};
use crate::fs::{Disk as _, Os, read_file};
use crate::ledger::tasks::{self, TaskRecord};
use crate::ledger::{State, cell_dir, weights};
use crate::plan::Cell;
use crate::seal::seal;
use crate::spec::Spec;
use crate::task::Task;
use crate::task::metric::Metric;
use crate::task::spec::{MAX_FILE, TaskSpec};
use crate::task::tokens::Reader;
use crate::units::few;

/// Longest file of items that is read [bytes].
const MAX_ITEMS: u64 = 256 << 20;

/// Reads task files, each with its items.
///
/// # Errors
///
/// [`Failure`]: a file that cannot be read or is no task, an item that cannot be scored, two tasks of one name.
pub fn tasks(paths: &[PathBuf]) -> Result<Vec<Task>, Failure> {
    let mut all: Vec<Task> = Vec::new();
    for path in paths {
        let made = task(path)?;
        if all.iter().any(|other| other.name == made.name) {
            let message =
                format!("`{}` is a second task of the name `{}`", path.display(), made.name);
            return Err(InputError::new(
                message,
                "give each task file once, and each task a name of its own",
            )
            .into());
        }
        all.push(made);
    }
    Ok(all)
}

fn task(path: &Path) -> Result<Task, Failure> {
    let text = |path: &Path, most: u64| -> Result<String, Failure> {
        String::from_utf8(read_file(path, most)?).map_err(|e| {
            let message = format!("`{}` is not UTF-8 text: {}", path.display(), e.utf8_error());
            InputError::new(message, "save it as UTF-8").into()
        })
    };
    let written = text(path, MAX_FILE as u64)?;
    let spec = TaskSpec::parse(&written).map_err(|e| Failure {
        message: e.render(&path.display().to_string(), &written).trim_end().to_owned(),
        code: exit::INPUT,
    })?;
    let items = path.parent().unwrap_or(Path::new("")).join(&spec.items);
    let lines = text(&items, MAX_ITEMS)?;
    Ok(Task::new(&spec, &lines, &items.display().to_string())?)
}

/// A model with its scores.
#[derive(Debug)]
pub struct Scores {
    /// Id of the cell, or the path of a model of somebody else's.
    pub id: String,
    /// Model size N, matmul convention [parameters].
    pub params: f64,
    /// Training tokens D, where they are known [tokens].
    pub tokens: Option<f64>,
    /// Training compute C, where it is known [FLOP].
    pub flops: Option<f64>,
    /// Held-out loss, where it is known [nats/token].
    pub loss: Option<f64>,
    /// One for each task, in their order.
    pub records: Vec<TaskRecord>,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Evaluated {
    /// Models with all their scores, by compute and size.
    pub models: Vec<Scores>,
    /// Cells that have none, and why.
    pub left_out: Vec<(String, String)>,
    /// Records that were made now.
    pub made: usize,
}

/// Scores every completed cell that has its weights, or those that are named, on every task. What was scored before is
/// read. `path` is a sweep file or its results, which lie under `root`.
///
/// # Errors
///
/// [`Failure`]: no such cell, damaged weights or records, a record that cannot be written.
pub fn cells(
    (path, root): (&Path, &Path),
    named: &[String],
    tasks: &[Task],
    observer: &dyn Observer,
) -> Result<Evaluated, Failure> {
    let results = &Results::open(&Results::dir(path, root)?)?;
    let mut chosen = chosen(results, named)?;
    chosen.sort_by(|(l, _), (r, _)| {
        let key = |c: &Cell| (c.recipe.flops(), c.params());
        key(l).0.total_cmp(&key(r).0).then(key(l).1.total_cmp(&key(r).1))
    });
    let mut evaluated = Evaluated::default();
    // Cells of one sweep share tokenizer and window.
    let mut prepared: Option<Vec<Prepared<'_>>> = None;
    for (cell, state) in chosen {
        let State::Completed { loss, dir, .. } = state else {
            evaluated.left_out.push((cell.id.clone(), state.name().word().to_owned()));
            continue;
        };
        let Some(kept) = weights::manifest(&Os, dir)? else {
            let why = "its weights were not kept".to_owned();
            evaluated.left_out.push((cell.id.clone(), why));
            continue;
        };
        let home = cell_dir(&results.dir, &cell.id);
        let mut records = tasks
            .iter()
            .map(|task| tasks::read(&Os, &home, task, &kept.sha256))
            .collect::<Result<Vec<_>, _>>()?;
        if records.iter().any(Option::is_none) {
            let mut model = Opened::open(path, root, Some(&cell.id))?;
            let all = match prepared.take() {
                Some(all) => all,
                None => prepare(tasks, model.window(), &model.tokenizer)?,
            };
            for (record, prepared) in records.iter_mut().zip(&all) {
                if record.is_none() {
                    let made = scored(prepared, &mut model, observer)?;
                    tasks::write(&Os, &home, &made)?;
                    *record = Some(made);
                    evaluated.made += 1;
                }
            }
            prepared = Some(all);
        }
        evaluated.models.push(Scores {
            id: cell.id.clone(),
            params: cell.params(),
            tokens: Some(cell.recipe.tokens() as f64),
            flops: Some(cell.recipe.flops()),
            loss: Some(*loss),
            records: records.into_iter().flatten().collect(),
        });
    }
    Ok(evaluated)
}

/// The cells that are named, by id or the first digits of it; all of them where none is.
fn chosen<'a>(results: &'a Results, named: &[String]) -> Result<Vec<&'a (Cell, State)>, Failure> {
    let all = &results.ledger.cells;
    if named.is_empty() {
        return Ok(all.iter().collect());
    }
    let one = |name: &String| {
        let found: Vec<&(Cell, State)> =
            all.iter().filter(|(cell, _)| cell.id.starts_with(name.as_str())).collect();
        let hint = format!("`isoflop status {}` lists them", results.dir.display());
        match found.as_slice() {
            [one] => Ok(*one),
            [] => {
                let message = format!("no cell of `{}` is called {name}", results.name);
                Err(InputError::new(message, hint).into())
            }
            several => {
                let ids: Vec<&str> = several.iter().map(|(cell, _)| cell.id.as_str()).collect();
                let message = format!("{name} begins the names of several cells: {}", few(&ids, 4));
                Err(InputError::new(message, hint).into())
            }
        }
    };
    named.iter().map(one).collect()
}

/// Scores a directory as Hugging Face writes them; with `out` the records are written there too, as lines.
///
/// # Errors
///
/// [`Failure`]: a model that cannot be read, a file that cannot be written.
pub fn directory(
    dir: &Path,
    tasks: &[Task],
    out: Option<&Path>,
    observer: &dyn Observer,
) -> Result<Evaluated, Failure> {
    let mut model = Opened::open(dir, Path::new(""), None)?;
    let all = prepare(tasks, model.window(), &model.tokenizer)?;
    let mut records = Vec::new();
    for prepared in &all {
        records.push(scored(prepared, &mut model, observer)?);
    }
    if let Some(out) = out {
        let lines: String = records.iter().map(seal).collect();
        Os.write_atomic(out, lines.as_bytes())?;
    }
    let (id, made) = (dir.display().to_string(), records.len());
    let params = model.model.shape().counts().matmul;
    let scores = Scores { id, params, tokens: None, flops: None, loss: None, records };
    Ok(Evaluated { models: vec![scores], left_out: Vec::new(), made })
}

/// Every task as a model's tokenizer cuts it.
fn prepare<'a>(
    tasks: &'a [Task],
    window: usize,
    tokenizer: &Tokenizer,
) -> Result<Vec<Prepared<'a>>, InputError> {
    let mut encode = |text: &str| tokenizer.encode(text);
    let reader = Reader { window, separator: tokenizer.separator };
    tasks.iter().map(|task| Prepared::new(task, reader, &mut encode)).collect()
}

/// The tasks of a sweep for the cells that are to be trained.
pub(super) fn for_run<'a>(
    tasks: &'a [Task],
    (results, spec): (&Path, &Spec),
    todo: &[&Cell],
) -> Result<Vec<Prepared<'a>>, Failure> {
    let Some(cell) = todo.first().filter(|_| !tasks.is_empty()) else { return Ok(Vec::new()) };
    let (text, separator) = models::text_of(results, spec, cell)?;
    let tokenizer = Tokenizer::new(text, cell.recipe.shape.vocab, separator);
    Ok(prepare(tasks, cell.recipe.shape.context, &tokenizer)?)
}

fn scored(
    prepared: &Prepared<'_>,
    model: &mut Opened,
    observer: &dyn Observer,
) -> Result<TaskRecord, Failure> {
    let (task, long) = (prepared.task, prepared.long());
    observer.note(&format!("scoring {} on {}", model.name, task.name));
    let of = tasks::Model {
        cell: model.cell.as_deref(),
        weights_sha256: &model.weights_sha256,
        window: model.window(),
    };
    let scores = prepared.score::<Failure>(&mut model.model, &mut |_| Ok(()))?;
    Ok(TaskRecord::new(task, of, scores, long))
}

/// What the gate says of one metric of one task.
#[derive(Debug)]
pub struct Signal {
    /// Name of the task.
    pub task: String,
    /// The metric.
    pub metric: Metric,
    /// Over all cells with a loss.
    pub gate: Gate,
}

impl Evaluated {
    /// What the gate says of each task: of `bits_per_byte`, and of `margin`, or `accuracy` where there is no margin.
    pub fn signals(&self) -> Vec<Signal> {
        let tasks = self.models.first().map_or(&[][..], |model| &model.records);
        let mut out = Vec::new();
        for (i, record) in tasks.iter().enumerate() {
            let second = record.metrics.margin.map_or(Metric::Accuracy, |_| Metric::Margin);
            for metric in [Metric::BitsPerByte, second] {
                let readings: Vec<Reading> =
                    self.models.iter().filter_map(|m| reading(m, &m.records[i], metric)).collect();
                if !readings.is_empty() {
                    let (task, gate) = (record.task.clone(), Gate::of(&readings, metric.rises()));
                    out.push(Signal { task, metric, gate });
                }
            }
        }
        out
    }
}

fn reading(model: &Scores, record: &TaskRecord, metric: Metric) -> Option<Reading> {
    let measured = record.metrics.get(metric)?;
    let (tokens, loss) = (model.tokens?, model.loss?);
    let se = measured.se.unwrap_or(0.0);
    Some(Reading { params: model.params, tokens, loss, value: measured.value, se })
}
