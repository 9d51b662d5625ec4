//! `isoflop plan`: the whole study before it runs.

use std::cell::RefCell;
use std::collections::HashMap;

use serde::Serialize;

use super::study::Study;
use super::{Failure, args::PlanArgs, print, print_json, show};
use crate::device::{self, Chosen, Wanted};
use crate::error::{InputError, exit};
use crate::exec::job::Job;
use crate::exec::probe::{self, Ask, Found};
use crate::fs::Os;
use crate::ledger::checkpoint::has_fork;
use crate::ledger::{Ledger, State};
use crate::plan::cost::{Clock, Left, Price};
use crate::plan::fit_in::{self, Proposal};
use crate::plan::memory::Room;
use crate::plan::{Cell, Plan};
use crate::points::Counts;
use crate::shape::FlopsPerToken;
use crate::spec::DeviceKind;
use crate::terminal::note;
use crate::units::{bytes, count, duration, flops, several};

/// Time that a probe may take even where a tenth of the study is less [s].
const LEAST: f64 = 4.0;

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
    train_tokens: Option<u64>,
    entropy: Option<f64>,
    /// Compute with shared trunks over compute without.
    #[serde(skip_serializing_if = "Option::is_none")]
    trunk_share: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fit_in: Option<&'a Proposal>,
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
    /// Steps that are not shared with its trunk.
    own_steps: u64,
    batch_tokens: u64,
    learning_rate: f64,
    memory_bytes: f64,
    seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usd: Option<f64>,
}

pub(super) fn execute(args: &PlanArgs) -> Result<u8, Failure> {
    let study = Study::open(&args.sweep, &args.results, false)?;
    // Without a probe nothing runs, and the device need not be here.
    let kind = if args.no_probe { Some(DeviceKind::Cpu) } else { args.device };
    let device = device::choose(&Wanted::of(&study.spec.device, kind, args.matmul))?;
    let cells = &study.plan.cells;
    let asked = asked(&study, args.workers);
    let job = Job {
        results: &args.results.join(&study.plan.name),
        data: &study.data,
        planned: cells,
        eval_times: *study.spec.eval.times.get_ref(),
        device: &device,
        workers: asked.unwrap_or(device.most_workers).min(cells.len()).max(1),
        keep: study.spec.keep,
        forecast: None,
    };
    let all: Vec<Left<'_>> = cells.iter().map(Left::all).collect();
    let ask = Ask { workers: asked, worth: 0.0, least: LEAST };
    let found = (!args.no_probe).then(|| probe::price(job, &all, ask, &|| false)).flatten();
    let workers = found.as_ref().map_or(job.workers, |f| f.price.workers);
    let ledger = Ledger::read(job.results, cells)?;
    let left = found.as_ref().map(|f| f.price_of(job, &left(&ledger)));
    let proposal = match (args.fit_in, &found) {
        (None, _) => None,
        (Some(target), Some(found)) => Some(fit(job, found, &ledger, target)),
        (Some(_), None) => {
            return Err(InputError {
                message: "--fit-in: no cell of this sweep could be timed on this device".to_owned(),
                hint: Some("`isoflop plan` without it shows what each needs".to_owned()),
                code: exit::INPUT,
            }
            .into());
        }
    };
    let priced = Priced {
        study: &study,
        device: &device,
        found: found.as_ref(),
        workers,
        left,
        proposal,
        usd: args.usd_per_hour,
    };
    if args.json {
        print_json(&priced.output());
        return Ok(0);
    }
    print(&priced.told(&ledger));
    note!("{}", show::warnings(&study.plan.warnings));
    Ok(0)
}

/// A study with what was found of its costs.
struct Priced<'a> {
    study: &'a Study,
    device: &'a Chosen,
    /// What a probe found; nothing without one.
    found: Option<&'a Found>,
    /// Cells side by side.
    workers: usize,
    /// Of what is not trained yet.
    left: Option<Price>,
    /// What to leave out, where that was asked.
    proposal: Option<Proposal>,
    /// Price of an hour of the machine, where it is given [$].
    usd: Option<f64>,
}

impl Priced<'_> {
    fn cells(&self) -> &[Cell] {
        &self.study.plan.cells
    }

    /// Of the whole grid.
    fn whole(&self) -> Option<&Price> {
        self.found.map(|f| &f.price)
    }

    /// Seconds of each cell, in the plan's order [s].
    fn seconds(&self) -> impl Fn(&Cell) -> Option<f64> {
        let places: HashMap<&str, usize> =
            self.cells().iter().enumerate().map(|(i, c)| (c.id.as_str(), i)).collect();
        move |cell| {
            let at = *places.get(cell.id.as_str())?;
            self.whole().map(|price| price.cells[at])
        }
    }

    /// Money for a cell of so many seconds [$].
    fn cell_usd(&self, seconds: f64) -> Option<f64> {
        Some(self.whole()?.cell_usd(seconds, self.usd?))
    }

    /// Memory of the largest cells side by side [bytes].
    fn memory(&self) -> f64 {
        let all: Vec<&Cell> = self.cells().iter().collect();
        self.device.room(self.workers).side_by_side(&all, self.workers)
    }

    fn output(&self) -> Output<'_> {
        let (study, whole) = (self.study, self.whole());
        let (room, seconds) = (self.device.room(self.workers), self.seconds());
        let cell = |c| output(c, room, seconds(c), |seconds| self.cell_usd(seconds));
        Output {
            sweep: &study.plan.name,
            flops: study.plan.flops(),
            flops_spent: study.plan.flops_spent(),
            device: &self.device.name,
            workers: self.workers,
            memory_bytes: self.memory(),
            seconds: whole.map(|p| p.seconds),
            seconds_left: self.left.as_ref().map(|p| p.seconds),
            probe_seconds: self.found.map(|f| f.took),
            usd: self.usd.and_then(|usd| Some(whole?.usd(usd))),
            train_tokens: study.data.facts.train_tokens,
            entropy: study.data.facts.entropy,
            trunk_share: study.plan.trunk_share(),
            fit_in: self.proposal.as_ref(),
            warnings: &study.plan.warnings,
            cells: self.cells().iter().map(cell).collect(),
        }
    }

    /// All of it as a person reads it.
    fn told(&self, ledger: &Ledger) -> String {
        let (study, device, cells) = (self.study, self.device, self.cells());
        let mut out = format!(
            "Sweep {}: {}, {} FLOP",
            study.plan.name,
            several(cells.len(), "cell"),
            flops(study.plan.flops())
        );
        if let Some(tokens) = study.data.facts.train_tokens {
            out += &format!("; the corpus has {} training tokens", count(tokens as f64));
        }
        out += ".\n\n";
        let cost_of = |seconds: f64| self.cell_usd(seconds).unwrap_or(f64::NAN);
        let usd = self.usd.map(|_| &cost_of as &dyn Fn(f64) -> f64);
        out += &show::plan(cells, device.room(self.workers), &self.seconds(), usd);
        let there = match (&device.memory, device.is_cpu()) {
            (Some(memory), false) => {
                format!(" of {}", bytes(device.cards() as f64 * *memory as f64))
            }
            _ => String::new(),
        };
        let memory = bytes(self.memory());
        out += &format!("\nMemory: {memory}{there} with {}.\n", side_by_side(self.workers));
        if let (Some(found), Some(left)) = (self.found, &self.left) {
            out += &self.times(found, left, ledger);
        }
        out += &trunks(&study.plan);
        if let Some(proposal) = &self.proposal {
            out += &proposed(proposal);
        }
        out
    }

    /// What all of it takes and costs, what is left of that, and what else was tried.
    fn times(&self, found: &Found, left: &Price, ledger: &Ledger) -> String {
        let price = &found.price;
        let usd = self.usd.map(|usd| format!(", {}", show::dollars(price.usd(usd))));
        let mut out = format!(
            "On {}, {}: about {}{}",
            self.device.name,
            side_by_side(self.workers),
            duration(price.seconds),
            usd.unwrap_or_default()
        );
        match ledger.count("completed") {
            0 => {}
            all if all == self.cells().len() => out += "; every cell is trained already",
            _ => out += &format!("; what is left of it about {}", duration(left.seconds)),
        }
        out += &format!(" (timed for {}).\n", duration(found.took));
        out + &others(&found.slower)
    }
}

/// What is left of cells that are to be trained.
fn left(ledger: &Ledger) -> Vec<Left<'_>> {
    let todo: Vec<&Cell> =
        ledger.cells.iter().filter(|(_, s)| s.is_open()).map(|(c, _)| c).collect();
    super::price::left(&todo, Some(ledger))
}

/// What to leave out. The ledger is that of the planned cells, in their order.
fn fit(job: Job<'_>, found: &Found, ledger: &Ledger, target: f64) -> Proposal {
    let kept = ledger.cells.iter().map(|(_, state)| match state {
        State::Missing { step, .. } => Some(*step),
        state => state.is_open().then_some(0),
    });
    let clock = Clock::new(&found.probe, job.planned, kept.collect(), job.eval_times);
    let known: RefCell<HashMap<(usize, usize), bool>> = RefCell::default();
    let forked = |trunk: usize, cell: usize| match &ledger.cells[trunk].1 {
        State::Completed { dir, .. } => *known
            .borrow_mut()
            .entry((trunk, cell))
            .or_insert_with(|| has_fork(&Os, dir, job.planned[cell].recipe.stable_steps())),
        _ => false,
    };
    let turns = |part: &[usize], trunks: &[Option<usize>]| clock.turns(part, trunks, &forked);
    let done: Vec<bool> = ledger.cells.iter().map(|(_, state)| !state.is_open()).collect();
    fit_in::propose(job.planned, &done, &turns, found.price.workers, target)
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

/// Cells side by side as the command line asks, else the sweep; `None` leaves it to a trial.
pub(super) fn asked(study: &Study, given: Option<usize>) -> Option<usize> {
    let asked = given.unwrap_or(*study.spec.device.workers.get_ref() as usize);
    (asked > 0).then_some(asked)
}

/// `3 cells side by side`.
pub(super) fn side_by_side(workers: usize) -> String {
    match workers {
        1 => "one cell at a time".to_owned(),
        n => format!("{n} cells side by side"),
    }
}

/// What was tried and is slower, a line, or nothing.
fn others(slower: &[(usize, f64)]) -> String {
    let rest: Vec<String> =
        slower.iter().map(|(n, s)| format!("{}: {}", side_by_side(*n), duration(*s))).collect();
    if rest.is_empty() { String::new() } else { format!("Also tried: {}.\n", rest.join("; ")) }
}

fn output(
    cell: &Cell,
    room: Room,
    seconds: Option<f64>,
    usd: impl Fn(f64) -> Option<f64>,
) -> OutputCell<'_> {
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
        seconds,
        usd: seconds.and_then(usd),
    }
}
