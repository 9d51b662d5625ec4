//! `isoflop plan`: the whole study before it runs.

use serde::Serialize;

use super::{args::PlanArgs, print, print_json, show};
use crate::exec::probe::Found;
use crate::ledger::StateName;
use crate::plan::cost::Price;
use crate::plan::fit_in::Proposal;
use crate::plan::memory::Room;
use crate::plan::mixture::Portion;
use crate::plan::{Cell, Corpus, Plan};
use crate::points::Counts;
use crate::shape::FlopsPerToken;
use crate::study::pricing::{Priced, Request};
use crate::study::training::side_by_side;
use crate::study::{Failure, Sweep};
use crate::terminal::note;
use crate::units::{bytes, count, duration, flops, several};

/// What always stays.
const LEAST_DESIGN: &str =
    "1 seed, 5 sizes of a budget and 4 budgets stay (a grid without budgets loses only seeds)";

/// The plan as JSON.
#[derive(Serialize)]
struct Output<'a> {
    sweep: &'a str,
    flops: f64,
    /// What trunks share is counted once [FLOP].
    flops_spent: f64,
    device: &'a str,
    workers: usize,
    /// Memory of the largest cells side by side [bytes].
    memory_bytes: f64,
    /// Predicted wall-clock of the whole grid [s].
    seconds: Option<f64>,
    /// The same of the cells that are not completed [s].
    seconds_left: Option<f64>,
    /// What the probe took [s].
    probe_seconds: Option<f64>,
    /// Price of the whole grid, where that of an hour is given [$].
    #[serde(skip_serializing_if = "Option::is_none")]
    usd: Option<f64>,
    /// Domains of a dataset, by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    domains: Vec<OutputDomain<'a>>,
    train_tokens: Option<u64>,
    entropy: Option<f64>,
    /// Files that were read, and what of them is held out.
    #[serde(skip_serializing_if = "Option::is_none")]
    corpus: Option<&'a Corpus>,
    /// Compute with shared trunks over compute without.
    #[serde(skip_serializing_if = "Option::is_none")]
    trunk_share: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fit_in: Option<&'a Proposal>,
    warnings: &'a [String],
    cells: Vec<OutputCell<'a>>,
}

/// One domain of the mixture.
#[derive(Serialize)]
struct OutputDomain<'a> {
    name: &'a str,
    /// Realised (0, 1].
    weight: f64,
    /// Tokens that there are.
    tokens: u64,
    /// The fewest and the most of a cell.
    epochs: [f64; 2],
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
    /// Steps that are not shared with its trunk.
    own_steps: u64,
    batch_tokens: u64,
    learning_rate: f64,
    memory_bytes: f64,
    /// Distinct tokens that it sees, where it is trained on a dataset.
    #[serde(skip_serializing_if = "Option::is_none")]
    unique_tokens: Option<u64>,
    seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usd: Option<f64>,
}

pub(super) fn execute(args: &PlanArgs) -> Result<u8, Failure> {
    let priced = Priced::new(&Request {
        sweep: args.sweep.clone(),
        results: args.results.clone(),
        device: args.device,
        matmul: args.matmul,
        workers: args.workers,
        probe: !args.no_probe,
        fit_in: args.fit_in,
    })?;
    if args.json {
        print_json(&output(&priced, args.usd_per_hour));
        return Ok(0);
    }
    print(&text(&priced, args.usd_per_hour));
    note!("{}", show::warnings(&priced.sweep.plan.warnings));
    Ok(0)
}

/// The plan as a person reads it.
fn text(priced: &Priced, usd: Option<f64>) -> String {
    let Priced { sweep, device, workers, memory, .. } = priced;
    let (cells, room, workers, memory) =
        (&sweep.plan.cells, device.room(*workers), *workers, *memory);
    let mut out = format!(
        "Sweep {}: {}, {} FLOP",
        sweep.plan.name,
        several(cells.len(), "cell"),
        flops(sweep.plan.flops())
    );
    if let Some(tokens) = sweep.data.facts.train_tokens {
        out += &format!("; the corpus has {} training tokens", count(tokens as f64));
    }
    out += ".\n";
    if let Some(corpus) = &sweep.data.corpus {
        out += &format!("\n{}", corpus.told());
    }
    out += "\n";
    let domains = domains(sweep);
    if !domains.is_empty() {
        out += &show::domains(&domains);
        out.push('\n');
    }
    let cost_of = |seconds: f64| cell_usd(priced, usd, seconds).unwrap_or(f64::NAN);
    out += &show::plan(
        cells,
        room,
        &|c| priced.seconds(c),
        usd.map(|_| &cost_of as &dyn Fn(f64) -> f64),
    );
    let there = match (&device.memory, device.is_cpu()) {
        (Some(memory), false) => {
            format!(" of {}", bytes(device.cards() as f64 * *memory as f64))
        }
        _ => String::new(),
    };
    out += &format!("\nMemory: {}{there} with {}.\n", bytes(memory), side_by_side(workers));
    if let (Some(found), Some(left)) = (&priced.found, &priced.left) {
        out += &times(priced, found, left, usd);
    }
    out += &trunks(&sweep.plan);
    if let Some(proposal) = &priced.proposal {
        out += &proposed(proposal);
    }
    out
}

/// What all of it takes and costs, what is left of that, and what else was tried.
fn times(priced: &Priced, found: &Found, left: &Price, usd: Option<f64>) -> String {
    let price = &found.price;
    let usd = usd.map(|usd| format!(", {}", show::dollars(price.usd(usd))));
    let mut out = format!(
        "On {}, {}: about {}{}",
        priced.device.name,
        side_by_side(priced.workers),
        duration(price.seconds),
        usd.unwrap_or_default()
    );
    match priced.ledger.count(StateName::Completed) {
        0 => {}
        all if all == priced.ledger.cells.len() => out += "; every cell is trained already",
        _ => out += &format!("; what is left of it about {}", duration(left.seconds)),
    }
    out += &format!(" (timed for {}).\n", duration(found.took));
    out + &others(&found.slower)
}

/// What a cell costs that takes so long [$].
fn cell_usd(priced: &Priced, usd: Option<f64>, seconds: f64) -> Option<f64> {
    Some(priced.whole()?.cell_usd(seconds, usd?))
}

/// The plan as JSON.
fn output(priced: &Priced, usd: Option<f64>) -> Output<'_> {
    let Sweep { plan, data, .. } = &priced.sweep;
    let (whole, room) = (priced.whole(), priced.device.room(priced.workers));
    let of_cell = |cell| {
        let seconds = priced.seconds(cell);
        let usd = seconds.and_then(|s| cell_usd(priced, usd, s));
        let facts = &data.facts;
        let unique_tokens = facts.mixture.as_ref().and(facts.unique_tokens(&cell.recipe));
        OutputCell { unique_tokens, seconds, usd, ..output_cell(cell, room) }
    };
    Output {
        sweep: &plan.name,
        flops: plan.flops(),
        flops_spent: plan.flops_spent(),
        device: &priced.device.name,
        workers: priced.workers,
        memory_bytes: priced.memory,
        seconds: whole.map(|p| p.seconds),
        seconds_left: priced.left.as_ref().map(|p| p.seconds),
        probe_seconds: priced.found.as_ref().map(|f| f.took),
        usd: usd.and_then(|usd| Some(whole?.usd(usd))),
        domains: domains(&priced.sweep)
            .into_iter()
            .map(|(p, tokens, epochs)| OutputDomain {
                name: &p.name,
                weight: p.weight(),
                tokens,
                epochs,
            })
            .collect(),
        train_tokens: data.facts.train_tokens,
        entropy: data.facts.entropy,
        corpus: data.corpus.as_ref(),
        trunk_share: plan.trunk_share(),
        fit_in: priced.proposal.as_ref(),
        warnings: &plan.warnings,
        cells: plan.cells.iter().map(of_cell).collect(),
    }
}

/// Each domain of a dataset, the tokens that there are of it, and the fewest and most epochs of a cell.
fn domains(sweep: &Sweep) -> Vec<(&Portion, u64, [f64; 2])> {
    let Some(mixture) = &sweep.data.facts.mixture else { return Vec::new() };
    let of = |cell: &Cell| mixture.epochs(cell.recipe.tokens(), cell.recipe.unique_tokens);
    let epochs: Vec<Vec<f64>> = sweep.plan.cells.iter().map(of).collect();
    let domains = mixture.domains.iter().zip(mixture.available(None)).enumerate();
    domains
        .map(|(i, (portion, tokens))| {
            let of_cells = epochs.iter().map(|e| e[i]);
            let (least, most) =
                (of_cells.clone().fold(f64::INFINITY, f64::min), of_cells.fold(0.0, f64::max));
            (portion, tokens, [least, most])
        })
        .collect()
}

/// A proposal as a person reads it.
fn proposed(proposal: &Proposal) -> String {
    let Proposal { target, before, seconds, fits, drops } = proposal;
    if *before <= 0.0 {
        return "\nNothing is left to train.\n".to_owned();
    }
    let (target, before) = (duration(*target), duration(*before));
    if drops.is_empty() && *fits {
        return format!("\nFits in {target}: what is left takes about {before}.\n");
    }
    let mut out = match drops.len() {
        0 => format!("\nWhat is left takes about {before}, more than {target}.\n"),
        _ => format!("\nTo fit in {target}, from about {before}, leave out:\n"),
    };
    for drop in drops {
        out += &format!(
            "  - {}: {} cells, saves {}; intervals at 10 times the largest compute are then wider by {:.0}% (N*) and {:.0}% (loss)\n",
            drop.what,
            drop.cells.len(),
            duration(drop.saves),
            100.0 * drop.params_wider,
            100.0 * drop.loss_wider
        );
    }
    let left = duration(*seconds);
    out += &match (*fits, drops.len()) {
        (true, _) => format!(
            "What is left then takes about {left}. Nothing was changed: edit the sweep file.\n"
        ),
        (false, 0) => format!("Nothing can be left out of this design: {LEAST_DESIGN}.\n"),
        (false, _) => format!(
            "That still takes about {left}, and no more can be left out: {LEAST_DESIGN}. Nothing was changed.\n"
        ),
    };
    out
}

/// What trunks save, or would.
fn trunks(plan: &Plan) -> String {
    let Some(share) = plan.trunk_share() else { return String::new() };
    let percent = 100.0 * share;
    if plan.cells.iter().any(|c| c.trunk.is_some()) {
        return format!(
            "\nOne trunk a size with cooldowns forked from it: {} FLOP are spent, {percent:.0}% of what the cells would cost apart.\n",
            flops(plan.flops_spent())
        );
    }
    format!(
        "\nOne trunk a size with cooldowns forked from it would cost {percent:.0}% of this (schedule.trunk); every horizon is trained apart.\n"
    )
}

/// What was tried and is slower, a line, or nothing.
fn others(slower: &[(usize, f64)]) -> String {
    let rest: Vec<String> =
        slower.iter().map(|(n, s)| format!("{}: {}", side_by_side(*n), duration(*s))).collect();
    if rest.is_empty() { String::new() } else { format!("Also tried: {}.\n", rest.join("; ")) }
}

fn output_cell(cell: &Cell, room: Room) -> OutputCell<'_> {
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
        own_steps: cell.own_steps(),
        batch_tokens: recipe.batch_tokens(),
        learning_rate: recipe.learning_rate,
        memory_bytes: room.of(cell),
        unique_tokens: None,
        seconds: None,
        usd: None,
    }
}
