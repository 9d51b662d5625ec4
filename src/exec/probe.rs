//! What a study will take on this device, found out by training a little of some of its cells.
//!
//! Three looks, each only as long as the one before allows: a few steps of the smallest and the largest cell,
//! which bound everything; a few cells for each way to divide the cores, where nobody said how; then as many cells as
//! time allows with that many side by side, in rounds, because a machine is not equally fast all the time.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::job::Job;
use crate::device::{in_parallel, memory};
use crate::plan::Cell;
use crate::plan::cost::{self, Left, Price, Probe, Timing};
use crate::train::{self, Timed};

/// Longest that the probe of a run takes [s].
pub const LONGEST: f64 = 60.0;
/// Share of what is to be done that a probe may take.
const SHARE: f64 = 0.1;
/// Share of a probe that goes into finding out how many cells to train side by side.
const TRIALS: f64 = 0.3;
/// Cells that are timed for each way to divide the cores.
const FEW: usize = 4;
/// Times that every cell is looked at in the last look.
const ROUNDS: usize = 3;
/// Longest that one cell is timed at a time [s].
const SLICE: f64 = 1.0;
/// The first look [s].
const GLANCE: f64 = 0.03;

/// A step of more FLOPs may take a CPU longer than all of a probe: such cells are not timed [FLOP].
const LONG_STEP: f64 = 1e12;

/// What a probe is to find out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ask {
    /// Cells side by side; `None` to find out what is quickest.
    pub workers: Option<usize>,
    /// A study that takes less is not worth a probe [s].
    pub worth: f64,
    /// Time that the probe may take in any case [s].
    pub least: f64,
    /// Longest that it takes, but for a single step that takes longer [s].
    pub most: f64,
}

/// What a probe found out.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// Time of steps, evaluations and starts.
    pub probe: Probe,
    /// What is left, priced.
    pub price: Price,
    /// Other ways to divide the cores: cells side by side, and the wall-clock that was predicted [s].
    pub slower: Vec<(usize, f64)>,
    /// What the probe itself took [s].
    pub took: f64,
}

impl Found {
    /// Another part of the same study, at the same speeds.
    pub fn price_of(&self, job: Job<'_>, left: &[Left<'_>]) -> Price {
        Price::new(&self.probe, left, job.eval_times, self.price.workers)
    }
}

/// Prices what is `left`. `None` where nothing is left, where it is not worth the probe, where no cell can be
/// trained or a step is too long to be tried, or where `halt` says to stop: no step is begun after that.
pub fn price(
    job: Job<'_>,
    left: &[Left<'_>],
    ask: Ask,
    halt: &(dyn Fn() -> bool + Sync),
) -> Option<Found> {
    let begin = Instant::now();
    let pairs = pairs(job, left);
    let largest = pairs.last().copied()?;
    if job.device.is_cpu() && cost::step_flops(largest) > LONG_STEP {
        return None;
    }
    let most = left.len().min(job.device.most_workers).max(1);
    let asked = ask.workers.map(|w| w.clamp(1, left.len()));
    // Small models do less in a second: both ends.
    let ends = [pairs[0], largest];
    let ends = if pairs.len() > 1 { &ends[..] } else { &ends[1..] };
    let sample = |workers: usize, cells: &[&Cell], seconds: f64, rounds: usize| {
        sample(job, workers, cells, seconds, rounds, halt)
    };
    let glance = Probe::new(&sample(1, ends, GLANCE, 0))?;
    let rough = Price::new(&glance, left, job.eval_times, 1).seconds;
    if rough < ask.worth {
        return None;
    }
    let allowed = (SHARE * rough).max(ask.least).min(ask.most);
    let spent = || begin.elapsed().as_secs_f64();

    // One cell on all cores, or on each card, then twice as many side by side each time.
    let ways: Vec<usize> = if let Some(workers) = asked {
        vec![workers]
    } else {
        // No card is left idle.
        let least = job.device.cards().min(most);
        let doubled = std::iter::successors(Some(least), |k| Some(2 * k));
        doubled.take_while(|k| *k < most).chain([most]).collect()
    };
    let mut tried: Vec<(usize, Vec<Timing>, f64)> = Vec::new();
    if ways.len() > 1 {
        let each = TRIALS * allowed / ways.len() as f64;
        for workers in &ways {
            let chosen = affordable(&glance, *workers, &pairs, FEW, each);
            let timings = sample(*workers, &chosen, each, 1);
            if let Some(probe) = Probe::new(&timings) {
                let seconds = Price::new(&probe, left, job.eval_times, *workers).seconds;
                tried.push((*workers, timings, seconds));
            }
        }
        tried.sort_by(|l, r| l.2.total_cmp(&r.2));
    }
    let (workers, mut timings) = match tried.first() {
        Some((workers, timings, _)) => (*workers, timings.clone()),
        None => (ways[0], Vec::new()),
    };
    // Side by side each is slower, at worst by as much as there are.
    let (known, slower) = match Probe::new(&timings) {
        Some(known) => (known, 1),
        None => (glance.clone(), workers),
    };
    let rest = (allowed - spent()).max(0.0);
    let chosen = affordable(&known, slower * ROUNDS, &pairs, usize::MAX, rest);
    // The last look stands alone: it saw the machine for longest.
    let last = sample(workers, &chosen, rest, ROUNDS);
    if halt() {
        return None;
    }
    if !last.is_empty() {
        timings = last;
    }
    let probe = Probe::new(&timings).unwrap_or(glance);
    let price = Price::new(&probe, left, job.eval_times, workers);
    let slower = tried.iter().skip(1).map(|t| (t.0, t.2)).collect();
    Some(Found { probe, price, slower, took: spent() })
}

/// One cell of each shape and batch, by the FLOPs of a step; those that fit the memory.
fn pairs<'a>(job: Job<'_>, left: &[Left<'a>]) -> Vec<&'a Cell> {
    let fits = |c: &&Cell| memory::lacking(&c.recipe, job.device.memory).is_none();
    let mut pairs: Vec<&Cell> = left.iter().map(|l| l.cell).filter(fits).collect();
    let key = |c: &Cell| (c.recipe.shape.width, c.recipe.shape.layers, c.recipe.batch_sequences);
    pairs.sort_by(|l, r| {
        cost::step_flops(l).total_cmp(&cost::step_flops(r)).then(key(l).cmp(&key(r)))
    });
    pairs.dedup_by_key(|c| (c.recipe.shape, c.recipe.batch_sequences));
    pairs
}

/// As many of `pairs` as can be timed in `seconds`, at most `most`, spread evenly and with both ends; the
/// smallest alone where nothing else can. `times` is how often each is visited, or how much slower it is
/// than is known.
fn affordable<'a>(
    known: &Probe,
    times: usize,
    pairs: &[&'a Cell],
    most: usize,
    seconds: f64,
) -> Vec<&'a Cell> {
    let visit = |c: &Cell| {
        let batches = c.recipe.eval_tokens.div_ceil(train::EVAL_BATCH as u64).max(1) as f64;
        let eval = known.eval_seconds(c) * (2.0 / batches).min(1.0);
        times as f64 * (3.0 * known.step_seconds(c) + eval)
    };
    let spread = |n: usize| -> Vec<&'a Cell> {
        let last = pairs.len() - 1;
        (0..n).map(|i| pairs[if n == 1 { 0 } else { i * last / (n - 1) }]).collect()
    };
    let fits = |n: &usize| spread(*n).iter().map(|c| visit(c)).sum::<f64>() <= seconds;
    spread((2..=most.min(pairs.len())).rev().find(fits).unwrap_or(1))
}

/// Times every cell of `cells` in each of `workers` workers at once, in `rounds`, within about `seconds`;
/// no round that cannot end in time. Each worker begins with another cell, as they will train. With
/// no rounds there is one, without evaluation. The median over workers and rounds; a
/// cell that fails is left out: the run will say so.
fn sample(
    job: Job<'_>,
    workers: usize,
    cells: &[&Cell],
    seconds: f64,
    rounds: usize,
    halt: &(dyn Fn() -> bool + Sync),
) -> Vec<Timing> {
    let begin = Instant::now();
    let (rounds, eval) = (rounds.max(1), rounds > 0);
    // A visit has a step to warm up and an evaluation besides what is timed.
    let slice = 0.7 * seconds / (cells.len() * rounds).max(1) as f64;
    let slice = Duration::from_secs_f64(slice.clamp(0.0, SLICE));
    let found: Mutex<Vec<(usize, Timed)>> = Mutex::new(Vec::new());
    in_parallel(workers, |worker| {
        for round in 0..rounds {
            let due = seconds * (round + 1) as f64 / rounds as f64;
            if round > 0 && begin.elapsed().as_secs_f64() > due {
                break;
            }
            for i in 0..cells.len() {
                if halt() {
                    return;
                }
                let at = (i + worker * cells.len() / workers) % cells.len();
                let recipe = &cells[at].recipe;
                let place = job.device.place(worker, workers);
                let time = || train::time_cell(recipe, job.data, &place, slice, eval, halt);
                if let Ok(Ok(timed)) = catch_unwind(AssertUnwindSafe(time)) {
                    found.lock().unwrap_or_else(PoisonError::into_inner).push((at, timed));
                }
            }
        }
    });
    let found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    let timing = |(at, cell): (usize, &&Cell)| {
        let of = |part: &dyn Fn(&Timed) -> Option<f64>| {
            median(found.iter().filter(|f| f.0 == at).filter_map(|f| part(&f.1)).collect())
        };
        Some(Timing {
            step_flops: cost::step_flops(cell),
            step: of(&|t| Some(t.step))?,
            eval_flops: cost::eval_flops(cell),
            eval: of(&|t| t.eval),
            params: cell.recipe.shape.counts().total,
            start: of(&|t| Some(t.start))?,
        })
    };
    cells.iter().enumerate().filter_map(timing).collect()
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let n = values.len();
    (n > 0).then(|| 0.5 * (values[(n - 1) / 2] + values[n / 2]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::tests::{SWEEP, plan};

    #[test]
    fn as_many_cells_are_timed_as_there_is_time_for_with_both_ends() {
        let plan = plan(SWEEP);
        let mut cells: Vec<&Cell> = plan.cells.iter().collect();
        cells.sort_by(|l, r| cost::step_flops(l).total_cmp(&cost::step_flops(r)));
        let one = Timing {
            step_flops: 1e9,
            step: 1.0,
            eval_flops: 1e9,
            eval: Some(0.5),
            params: 1e6,
            start: 1.0,
        };
        let probe = Probe::new(&[one]).unwrap();
        let all = affordable(&probe, 3, &cells, usize::MAX, 1e9);
        assert_eq!(all.len(), cells.len());
        let few = affordable(&probe, 3, &cells, 4, 1e9);
        assert_eq!(few.len(), 4);
        assert!(few[0].id == cells[0].id && few[3].id == cells[cells.len() - 1].id);
        assert_eq!(affordable(&probe, 3, &cells, 9, 0.0), [cells[0]]);
        let counts =
            [0.1, 1.0, 3.0, 10.0, 30.0].map(|s| affordable(&probe, 3, &cells, usize::MAX, s).len());
        assert!(counts.is_sorted() && counts[0] < counts[4], "more time, more cells: {counts:?}");
    }

    /// A signal during the trials: no step is begun after it, and nothing is priced.
    #[test]
    fn a_probe_that_is_told_to_stop_begins_nothing() {
        use crate::data::Dataset;
        use crate::device::{Wanted, choose};
        use crate::spec::{DeviceKind, Matmul, Spec};
        let spec = Spec::parse(SWEEP).unwrap();
        let (plan, data) = (plan(SWEEP), Dataset::load(&spec, None).unwrap());
        let device = choose(&Wanted::one(DeviceKind::Cpu, Matmul::Fixed)).unwrap();
        let job = Job {
            results: std::path::Path::new("nowhere"),
            data: &data,
            planned: &plan.cells,
            eval_times: 1,
            device: &device,
            workers: 1,
            keep: crate::spec::Keep::None,
            tasks: &[],
            forecast: None,
        };
        let left: Vec<Left<'_>> = plan.cells.iter().map(Left::all).collect();
        let ask = Ask { workers: None, worth: 0.0, least: 0.0, most: LONGEST };
        let looks = std::sync::atomic::AtomicUsize::new(0);
        let after = |most: usize| {
            looks.store(0, std::sync::atomic::Ordering::Relaxed);
            let halt = || looks.fetch_add(1, std::sync::atomic::Ordering::Relaxed) >= most;
            (price(job, &left, ask, &halt), looks.load(std::sync::atomic::Ordering::Relaxed))
        };
        let (stopped, asked) = after(4);
        assert!(stopped.is_none());
        assert!(asked < 40, "every trial ends at its next look: {asked}");
    }

    #[test]
    fn a_median_is_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0]), Some(2.5));
        assert_eq!(median(vec![]), None);
    }
}
