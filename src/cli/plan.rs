//! `isoflop plan`: the whole study before it runs.

use serde::Serialize;

use super::study::Study;
use super::{Failure, args::PlanArgs, print, print_json, show};
use crate::exec::device;
use crate::exec::local::{self, Job, Trial};
use crate::plan::{Cell, cost};
use crate::points::Counts;
use crate::shape::FlopsPerToken;
use crate::units::{count, duration, flops};

/// Cells that are timed; the rest is interpolated.
const PROBES: usize = 6;

/// The plan as JSON.
#[derive(Serialize)]
struct Output<'a> {
    sweep: &'a str,
    flops: f64,
    device: &'a str,
    workers: usize,
    /// Predicted wall-clock of the whole grid [s].
    seconds: Option<f64>,
    train_tokens: Option<u64>,
    entropy: Option<f64>,
    /// Compute with shared warmup-stable-decay trunks over compute without.
    #[serde(skip_serializing_if = "Option::is_none")]
    trunk_share: Option<f64>,
    warnings: &'a [String],
    cells: Vec<OutputCell<'a>>,
}

/// One cell with everything derived from it.
#[derive(Serialize)]
struct OutputCell<'a> {
    #[serde(rename = "cell")]
    cell: &'a Cell,
    params: Counts,
    tokens: u64,
    tokens_per_param: f64,
    flops: f64,
    flops_6nd: f64,
    flops_per_token: FlopsPerToken,
    steps: u64,
    batch_tokens: u64,
    learning_rate: f64,
    memory_bytes: f64,
    seconds: Option<f64>,
}

pub(super) fn execute(args: &PlanArgs) -> Result<u8, Failure> {
    let study = Study::open(&args.sweep, None)?;
    let kind = args.device.unwrap_or(study.spec.device.kind);
    let device = device::choose(kind)?;
    let cells = &study.plan.cells;
    let all: Vec<&Cell> = cells.iter().collect();
    let asked = asked(&study, args.workers);
    let job = Job {
        results: std::path::Path::new(""),
        data: &study.data,
        planned: &study.plan.cells,
        eval_times: 1,
        device: &device,
        workers: asked.unwrap_or(device.most_workers).min(all.len()).max(1),
    };
    let trials = match asked {
        _ if args.no_probe => Vec::new(),
        None => local::trials(job, &all, device.most_workers, PROBES),
        Some(_) => local::trial(job, &all, PROBES).into_iter().collect(),
    };
    let (probe, seconds) = (trials.first().map(|t| &t.probe), trials.first().map(|t| t.seconds));
    let workers = trials.first().map_or(job.workers, |t| t.workers);
    if args.json {
        print_json(&Output {
            sweep: &study.plan.name,
            flops: study.plan.flops(),
            device: &device.name,
            workers,
            seconds,
            train_tokens: study.data.facts.train_tokens,
            entropy: study.data.facts.entropy,
            trunk_share: study.plan.trunk_share(),
            warnings: &study.plan.warnings,
            cells: cells.iter().map(|c| output(c, probe)).collect(),
        });
        return Ok(0);
    }
    let mut out = format!(
        "Sweep {}: {} cells, {} FLOP",
        study.plan.name,
        cells.len(),
        flops(study.plan.flops())
    );
    if let Some(tokens) = study.data.facts.train_tokens {
        out += &format!("; the corpus has {} training tokens", count(tokens as f64));
    }
    out += ".\n\n";
    out += &show::plan(cells, probe);
    if let Some(seconds) = seconds {
        out += &format!(
            "\nOn {}, {}: about {} (from a few steps; evaluation adds to it).\n",
            device.name,
            side_by_side(workers),
            duration(seconds)
        );
        out += &others(&trials);
    }
    if let Some(share) = study.plan.trunk_share() {
        out += &format!(
            "\nOne trunk a size with cooldowns forked from it would cost {:.0}% of this; every horizon is trained apart.\n",
            100.0 * share
        );
    }
    print(&out);
    eprint!("{}", show::warnings(&study.plan.warnings));
    Ok(0)
}

/// Cells side by side as the command line asks, else the sweep; `None` leaves it to a trial.
fn asked(study: &Study, given: Option<usize>) -> Option<usize> {
    let asked = given.unwrap_or(*study.spec.device.workers.get_ref() as usize);
    (asked > 0).then_some(asked)
}

/// How many of `cells` to train side by side: what is asked for, else what a trial finds quickest.
pub(super) fn workers(job: Job<'_>, study: &Study, given: Option<usize>, cells: &[&Cell]) -> usize {
    let most = job.device.most_workers;
    let workers = asked(study, given).or_else(|| {
        let trials = (most > 1).then(|| local::trials(job, cells, most, PROBES))?;
        trials.first().map(|t| t.workers)
    });
    workers.unwrap_or(1).clamp(1, cells.len().max(1))
}

/// `3 cells side by side`.
pub(super) fn side_by_side(workers: usize) -> String {
    match workers {
        1 => "one cell at a time".to_owned(),
        n => format!("{n} cells side by side"),
    }
}

/// What was tried and is slower, a line, or nothing.
fn others(trials: &[Trial]) -> String {
    let rest: Vec<String> = trials
        .iter()
        .skip(1)
        .map(|t| format!("{}: {}", side_by_side(t.workers), duration(t.seconds)))
        .collect();
    if rest.is_empty() { String::new() } else { format!("Also tried: {}.\n", rest.join("; ")) }
}

fn output<'a>(cell: &'a Cell, probe: Option<&cost::Probe>) -> OutputCell<'a> {
    let (recipe, n) = (&cell.recipe, cell.recipe.shape.counts());
    let tokens = recipe.tokens();
    OutputCell {
        cell,
        params: n,
        tokens,
        tokens_per_param: tokens as f64 / n.matmul,
        flops: recipe.flops(),
        flops_6nd: 6.0 * n.matmul * tokens as f64,
        flops_per_token: recipe.shape.flops_per_token(),
        steps: recipe.steps,
        batch_tokens: recipe.batch_tokens(),
        learning_rate: recipe.learning_rate,
        memory_bytes: cost::memory_bytes(cell),
        seconds: probe.map(|p| p.cell_seconds(cell)),
    }
}
