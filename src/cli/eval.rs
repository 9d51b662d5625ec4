//! `isoflop eval`: trained models scored on tasks.

use serde::Serialize;

use super::args::EvalArgs;
use super::show::{self, table};
use super::watch::Stderr;
use super::{print, print_json};
use crate::error::InputError;
use crate::fit::downstream::gate::Gate;
use crate::ledger::tasks::TaskRecord;
use crate::plan::short;
use crate::study::eval::{self, Evaluated, Scores, Signal};
use crate::study::{Failure, models, sweep};
use crate::task::Kind;
use crate::task::metric::{Measured, Metric, Metrics};
use crate::terminal::note;
use crate::units::{count, several};

pub(super) fn execute(args: &EvalArgs) -> Result<u8, Failure> {
    if models::is_directory(&args.model) {
        if !args.cell.is_empty() {
            let message =
                format!("`{}` is one model, and --cell names cells", args.model.display());
            return Err(InputError::new(message, "leave --cell out").into());
        }
        let tasks = eval::tasks(&args.tasks)?;
        named(&tasks)?;
        let evaluated = eval::directory(&args.model, &tasks, args.out.as_deref(), &Stderr)?;
        return Ok(show(&evaluated, args.json));
    }
    if args.out.is_some() {
        let message = "--out is for a model directory: scores of cells are kept in their results";
        return Err(InputError::new(message, "leave it out; --json prints them").into());
    }
    let mut paths = args.tasks.clone();
    if paths.is_empty() && !args.model.is_dir() {
        paths = sweep::read_spec(&args.model)?.0.task_files();
    }
    let tasks = eval::tasks(&paths)?;
    named(&tasks)?;
    let place = (args.model.as_path(), args.dirs.results.as_path());
    let evaluated = eval::cells(place, &args.cell, &tasks, &Stderr)?;
    Ok(show(&evaluated, args.json))
}

fn named<T>(tasks: &[T]) -> Result<(), Failure> {
    if !tasks.is_empty() {
        return Ok(());
    }
    let hint = "--tasks evals/agreement.toml, or a sweep file with eval.tasks";
    Err(InputError::new("no task is named", hint).into())
}

/// Everything, as JSON.
#[derive(Serialize)]
struct Output<'a> {
    models: Vec<OutputModel<'a>>,
    left_out: Vec<LeftOut<'a>>,
    signals: Vec<OutputSignal>,
    made: usize,
}

#[derive(Serialize)]
struct OutputModel<'a> {
    id: &'a str,
    params: f64,
    tokens: Option<f64>,
    flops: Option<f64>,
    loss: Option<f64>,
    tasks: Vec<OutputTask<'a>>,
}

#[derive(Serialize)]
struct OutputTask<'a> {
    task: &'a str,
    kind: Kind,
    task_sha256: &'a str,
    weights_sha256: &'a str,
    chance: Option<f64>,
    window: u64,
    long: u64,
    metrics: &'a Metrics,
}

#[derive(Serialize)]
struct LeftOut<'a> {
    id: &'a str,
    why: &'a str,
}

/// What the gate says of a metric, as JSON.
#[derive(Serialize)]
pub(super) struct OutputSignal {
    task: String,
    metric: Metric,
    #[serde(flatten)]
    gate: Gate,
    why: Option<String>,
}

impl OutputSignal {
    pub(super) fn of(signal: &Signal) -> Self {
        let Signal { task, metric, gate } = signal;
        Self { task: task.clone(), metric: *metric, gate: *gate, why: gate.why() }
    }
}

impl<'a> OutputTask<'a> {
    fn of(record: &'a TaskRecord) -> Self {
        Self {
            task: &record.task,
            kind: record.kind,
            task_sha256: &record.task_sha256,
            weights_sha256: &record.weights_sha256,
            chance: record.chance,
            window: record.window,
            long: record.long,
            metrics: &record.metrics,
        }
    }
}

impl<'a> OutputModel<'a> {
    fn of(model: &'a Scores) -> Self {
        let Scores { params, tokens, flops, loss, .. } = *model;
        let tasks = model.records.iter().map(OutputTask::of).collect();
        Self { id: &model.id, params, tokens, flops, loss, tasks }
    }
}

fn show(evaluated: &Evaluated, json: bool) -> u8 {
    let signals = evaluated.signals();
    if json {
        let left_out = evaluated.left_out.iter().map(|(id, why)| LeftOut { id, why });
        print_json(&Output {
            models: evaluated.models.iter().map(OutputModel::of).collect(),
            left_out: left_out.collect(),
            signals: signals.iter().map(OutputSignal::of).collect(),
            made: evaluated.made,
        });
        return 0;
    }
    let tasks = evaluated.models.first().map_or(0, |model| model.records.len());
    for i in 0..tasks {
        print(&of_task(evaluated, i));
    }
    print(&verdicts(&signals));
    for (id, why) in &evaluated.left_out {
        note!("left out: {id}: {why}");
    }
    note!(
        "{} of {} scored now",
        evaluated.made,
        several(evaluated.models.iter().map(|m| m.records.len()).sum(), "record")
    );
    0
}

/// One task by all models.
fn of_task(evaluated: &Evaluated, i: usize) -> String {
    let first = &evaluated.models[0].records[i];
    let chance = first.chance.map_or_else(String::new, |c| format!(", chance {c:.3}"));
    let items = several(first.metrics.items, "item");
    let mut out = format!("\n{}: {}, {items}{chance}\n", first.task, first.kind.name());
    let has = |metric: Metric| first.metrics.get(metric).is_some();
    let shown: Vec<Metric> = SHOWN.into_iter().filter(|(m, _)| has(*m)).map(|(m, _)| m).collect();
    let heads = SHOWN.into_iter().filter(|(m, _)| has(*m)).map(|(_, head)| head);
    let header: Vec<&str> = ["model", "N", "D"].into_iter().chain(heads).collect();
    let row = |model: &Scores| {
        let dash = || "-".to_owned();
        let name =
            if model.loss.is_some() { short(&model.id).to_owned() } else { model.id.clone() };
        let metrics = &model.records[i].metrics;
        let mut row = vec![name, count(model.params), model.tokens.map_or_else(dash, count)];
        row.extend(shown.iter().map(|m| metrics.get(*m).map_or_else(dash, |v| number(*m, v))));
        row
    };
    out += &table(&header, 1, &evaluated.models.iter().map(row).collect::<Vec<_>>());
    let sum = |of: fn(&TaskRecord) -> u64| -> u64 {
        evaluated.models.iter().map(|model| of(&model.records[i])).sum()
    };
    if first.long > 0 {
        out += &format!(
            "  {} are longer than the window of {} tokens: their context was cut, or they were scored in pieces\n",
            several(first.long as usize, "request"),
            first.window
        );
    }
    let ties = sum(|record| record.metrics.ties as u64);
    if ties > 0 {
        out += &format!(
            "  {} within 1e-3 nats, over all models: rounding may decide them\n",
            several(ties as usize, "tie")
        );
    }
    out
}

/// Metrics in the order of columns, with their heads. What there is no room for, --json has.
const SHOWN: [(Metric, &str); 5] = [
    (Metric::BitsPerByte, "bits/byte"),
    (Metric::Margin, "margin, nats"),
    (Metric::Accuracy, "accuracy"),
    (Metric::AccuracyNorm, "norm"),
    (Metric::AccuracyBytes, "bytes"),
];

/// A value with its standard error over items, where that is not the same as that of the column before it.
fn number(metric: Metric, measured: Measured) -> String {
    let Measured { value, se } = measured;
    let places = if metric == Metric::Margin { 2 } else { 3 };
    let text = match metric {
        Metric::Margin => show::signed(value, places),
        _ => format!("{value:.places$}"),
    };
    match (metric, se) {
        (Metric::AccuracyNorm | Metric::AccuracyBytes, _) | (_, None) => text,
        (_, Some(se)) => format!("{text} ±{se:.places$}"),
    }
}

/// What the gate says of every task.
pub(super) fn verdicts(signals: &[Signal]) -> String {
    if signals.iter().all(|s| s.gate.cells < 2) {
        return String::new();
    }
    let row = |s: &Signal| {
        let Gate { correlation, p_value, spread, noise, passes, .. } = s.gate;
        let p = if p_value < 1e-4 { "<0.0001".to_owned() } else { format!("{p_value:.4}") };
        vec![
            s.task.clone(),
            s.metric.name().to_owned(),
            if passes { "signal" } else { "no signal" }.to_owned(),
            show::signed(correlation, 2),
            p,
            show::signed(spread, 3),
            format!("{noise:.3}"),
        ]
    };
    let header = ["task", "metric", "at these sizes", "rank corr.", "p", "spread", "noise"];
    let mut out = format!("\nSignal over {}\n", several(signals[0].gate.cells, "cell"));
    out += &table(&header, 3, &signals.iter().map(row).collect::<Vec<_>>());
    for signal in signals {
        if let Some(why) = signal.gate.why() {
            out += &format!("  {} {}: {why}\n", signal.task, signal.metric.name());
        }
    }
    out + "  rank corr.: with the held-out loss. spread: the third of the cells with the lowest loss against that with the highest. \
           noise: of one cell, items and seeds together. Only what has a signal is fitted.\n"
}
