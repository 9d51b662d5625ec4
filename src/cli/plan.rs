//! `isoflop plan`: the whole study before it runs.

use serde::Serialize;

use super::study::Study;
use super::{Failure, args::PlanArgs, print, print_json, show};
use crate::exec::device;
use crate::exec::local::{self, Job};
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
    let workers = workers(&study, &device, args.workers);
    let probe = if args.no_probe {
        None
    } else {
        let job = Job {
            results: std::path::Path::new(""),
            data: &study.data,
            eval_times: 1,
            device: &device,
            workers,
        };
        local::probe(job, &study.plan.cells, PROBES)
    };
    let cells = &study.plan.cells;
    let seconds =
        probe.as_ref().map(|p| cost::makespan(cells.iter().map(|c| p.cell_seconds(c)), workers));
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
            cells: cells.iter().map(|c| output(c, probe.as_ref())).collect(),
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
    out += &show::plan(cells, probe.as_ref());
    if let Some(seconds) = seconds {
        out += &format!(
            "\nOn {}, {workers} cells side by side: about {} (from a probe of a few steps; evaluation adds to it).\n",
            device.name,
            duration(seconds)
        );
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

/// How many cells run side by side: the command line, else the sweep, else what suits the device.
pub(super) fn workers(study: &Study, device: &device::Chosen, given: Option<usize>) -> usize {
    let asked = given.unwrap_or(*study.spec.device.workers.get_ref() as usize);
    let workers = if asked == 0 { device.default_workers } else { asked };
    workers.clamp(1, study.plan.cells.len().max(1))
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
