//! What a sweep takes before it runs: memory, time and, where an hour has a price, money.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::PathBuf;

use super::training::asked;
use super::{Failure, Sweep, price};
use crate::device::{self, Chosen, Wanted};
use crate::error::InputError;
use crate::exec::job::Job;
use crate::exec::probe::{self, Ask, Found};
use crate::fs::Os;
use crate::ledger::checkpoint::has_fork;
use crate::ledger::{Ledger, State};
use crate::plan::cost::{Clock, Left, Price};
use crate::plan::fit_in::{self, Proposal};
use crate::plan::{Cell, Draw};
use crate::spec::{DeviceKind, Matmul};
use crate::units::count;

/// Time that a probe may take even where a tenth of the study is less [s].
const LEAST: f64 = 4.0;
/// Longest that a plan times cells: somebody waits [s].
const MOST: f64 = 6.0;

/// What is to be priced, and how.
#[derive(Debug, Clone)]
pub struct Request {
    /// The sweep file.
    pub sweep: PathBuf,
    /// Where results lie: cells that are completed there are not left.
    pub results: PathBuf,
    /// The device, instead of the sweep's.
    pub device: Option<DeviceKind>,
    /// How matrix products are chosen on a GPU, instead of the sweep's.
    pub matmul: Option<Matmul>,
    /// Cells side by side, instead of the sweep's.
    pub workers: Option<usize>,
    /// Whether steps are timed on the device.
    pub probe: bool,
    /// Wall-clock into which what is left is to fit [s].
    pub fit_in: Option<f64>,
}

/// A sweep with what it takes.
#[derive(Debug)]
pub struct Priced {
    /// The sweep.
    pub sweep: Sweep,
    /// Where it would be trained.
    pub device: Chosen,
    /// Cells side by side.
    pub workers: usize,
    /// Memory of the largest cells side by side [bytes].
    pub memory: f64,
    /// What is there already.
    pub ledger: Ledger,
    /// What a probe found out, where one was made and could be.
    pub found: Option<Found>,
    /// What is left, priced.
    pub left: Option<Price>,
    /// What to leave out, where a time was wished for.
    pub proposal: Option<Proposal>,
    /// Places of cells by their ids.
    places: HashMap<String, usize>,
}

impl Priced {
    /// Opens a sweep and prices it.
    ///
    /// # Errors
    ///
    /// [`Failure`] where it cannot be opened, the device is not here, or no cell could be timed to fit a time.
    pub fn new(request: &Request) -> Result<Self, Failure> {
        let mut sweep = Sweep::open(&request.sweep, &request.results, false)?;
        // Without a probe nothing runs, and the device need not be here.
        let kind = if request.probe { request.device } else { Some(DeviceKind::Cpu) };
        let device = device::choose(&Wanted::of(&sweep.spec.device, kind, request.matmul))?;
        let cells = &sweep.plan.cells;
        let asked = asked(&sweep, request.workers);
        let job = Job {
            results: &request.results.join(&sweep.plan.name),
            data: &sweep.data,
            planned: cells,
            eval_times: *sweep.spec.eval.times.get_ref(),
            device: &device,
            workers: asked.unwrap_or(device.most_workers).min(cells.len()).max(1),
            keep: sweep.spec.keep,
            tasks: &[],
            forecast: None,
        };
        let all: Vec<Left<'_>> = cells.iter().map(Left::all).collect();
        let ask = Ask { workers: asked, worth: 0.0, least: LEAST, most: MOST };
        let found = request.probe.then(|| probe::price(job, &all, ask, &|| false)).flatten();
        let workers = found.as_ref().map_or(job.workers, |f| f.price.workers);
        let ledger = Ledger::read(job.results, cells)?;
        let left = found.as_ref().map(|f| f.price_of(job, &left(&ledger)));
        let proposal = match (request.fit_in, &found) {
            (None, _) => None,
            (Some(target), Some(found)) => Some(fit(job, found, &ledger, target)),
            (Some(_), None) => {
                let message = "--fit-in: no cell of this sweep could be timed on this device";
                let hint = "`isoflop plan` without it shows what each needs";
                return Err(InputError::new(message, hint).into());
            }
        };
        let most: Vec<&Cell> = cells.iter().collect();
        let memory = device.room(workers).side_by_side(&most, workers);
        let places = cells.iter().enumerate().map(|(i, c)| (c.id.clone(), i)).collect();
        let warning = found.as_ref().map(|found| reading(&sweep, &found.price)).transpose()?;
        sweep.plan.warnings.extend(warning.flatten());
        Ok(Self { sweep, device, workers, memory, ledger, found, left, proposal, places })
    }

    /// What the whole grid takes.
    pub fn whole(&self) -> Option<&Price> {
        self.found.as_ref().map(|found| &found.price)
    }

    /// Predicted training of a cell [s].
    pub fn seconds(&self, cell: &Cell) -> Option<f64> {
        let at = *self.places.get(&cell.id)?;
        self.whole().map(|price| price.cells[at])
    }
}

/// That reading a dataset will bind and not arithmetic, if it will: a batch takes longer to read than to train on.
fn reading(sweep: &Sweep, price: &Price) -> Result<Option<String>, Failure> {
    let Some(first) = sweep.plan.cells.first() else { return Ok(None) };
    // Other windows than those that the probe has read.
    let draw = Draw { seed: u64::MAX, ..first.recipe.draw() };
    let Some(windows) = sweep.data.windows_per_second(draw)? else { return Ok(None) };
    let cells = sweep.plan.cells.iter().zip(&price.cells).map(|(cell, seconds)| {
        let read = cell.recipe.batch_sequences as f64 / windows;
        (cell, read, seconds / cell.own_steps().max(1) as f64)
    });
    // A step that was timed reads its batch itself.
    let bound = cells.max_by(|l, r| (l.1 / l.2).total_cmp(&(r.1 / r.2)));
    Ok(bound.filter(|(_, read, step)| *read > 0.5 * step).map(|(cell, read, step)| {
        format!(
            "reading will bind, not arithmetic: a batch of cell {} takes {:.1} ms to read from this disk ({} windows/s \
             by one thread) and {:.1} ms with its step; a faster disk or a longer context helps",
            cell.short(),
            1e3 * read,
            count(windows),
            1e3 * step
        )
    }))
}

/// What is left of cells that are to be trained.
fn left(ledger: &Ledger) -> Vec<Left<'_>> {
    let todo: Vec<&Cell> =
        ledger.cells.iter().filter(|(_, s)| s.is_open()).map(|(c, _)| c).collect();
    price::left(&todo, Some(ledger))
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
    let tasks = |part: &[usize], trunks: &[Option<usize>]| clock.tasks(part, trunks, &forked);
    let done: Vec<bool> = ledger.cells.iter().map(|(_, state)| !state.is_open()).collect();
    fit_in::propose(job.planned, &done, &tasks, found.price.workers, target)
}
