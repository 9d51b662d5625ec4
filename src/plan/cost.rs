//! What a cell costs before it runs: memory from its dimensions, time from a short probe.

use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, HashMap};

use crate::plan::Cell;

/// Bytes of one f32.
const F32: f64 = 4.0;

/// Rows whose activations are held at once on the CPU, where a context is shorter.
const ROWS: f64 = 1024.0;

/// Peak memory of training a cell on one thread of the CPU, estimated from its dimensions [bytes].
///
/// Weights, gradients in sum and in part, two moments (20 bytes a parameter), and the activations that the
/// backward pass reads: per token and block about 6 widths, the packed queries, keys and values, two hidden
/// layers of twice `ff`, and once the logits. Another thread adds its gradients and activations. An
/// estimate for planning (a factor of two either way), not an accounting.
fn memory_bytes(cell: &Cell) -> f64 {
    let shape = &cell.recipe.shape;
    let (d, ff, v) = (shape.width as f64, shape.ff as f64, shape.vocab as f64);
    let per_token = shape.layers as f64 * (9.0 * d + 3.0 * ff) + v + 10.0 * d + 3.0 * ff;
    let rows = ROWS.max(shape.context as f64).min(cell.recipe.batch_tokens() as f64);
    F32 * (5.0 * shape.counts().total + per_token * rows)
}

/// Time between two looks of a worker that has nothing to train [s].
pub const LOOK: u64 = 1;

/// Whose memory a cell is trained in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// The machine's.
    Cpu,
    /// A GPU's, where the activations of a cell may take so many bytes at most.
    Gpu(u64),
}

impl Room {
    /// Peak memory of training a cell [bytes].
    pub fn of(self, cell: &Cell) -> f64 {
        match self {
            Self::Cpu => memory_bytes(cell),
            Self::Gpu(activations) => gpu_memory_bytes(cell, activations),
        }
    }

    /// That of the `workers` cells that need most, side by side [bytes].
    pub fn side_by_side(self, cells: &[&Cell], workers: usize) -> f64 {
        let mut each: Vec<f64> = cells.iter().map(|c| self.of(c)).collect();
        each.sort_by(|l, r| r.total_cmp(l));
        each.iter().take(workers.max(1)).sum()
    }
}

/// Peak memory of training a cell on a GPU, estimated from its dimensions [bytes].
///
/// Weights, gradients and two moments in f32 and the copies of bf16 (18 bytes a parameter), and the activations
/// of a micro-batch (`Shape::activation_bytes`), at least of one sequence. What the pools of the runtime keep
/// beyond that is not counted.
fn gpu_memory_bytes(cell: &Cell, activations: u64) -> f64 {
    let shape = &cell.recipe.shape;
    let row = shape.activation_bytes(2) as u64;
    let sequence = row * shape.context as u64;
    let batch = row * cell.recipe.batch_tokens();
    18.0 * shape.counts().total + batch.min(activations.max(sequence)) as f64
}

/// A cell and where its training is to begin.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Left<'a> {
    /// Which.
    pub cell: &'a Cell,
    /// Steps that are kept, in a checkpoint of its own or in its trunk.
    pub first: u64,
}

impl<'a> Left<'a> {
    /// All of a cell that is its own.
    pub fn all(cell: &'a Cell) -> Self {
        Self { cell, first: cell.recipe.steps - cell.own_steps() }
    }

    /// Steps that are to be trained.
    pub fn steps(&self) -> u64 {
        self.cell.recipe.steps.saturating_sub(self.first)
    }

    /// Evaluations before step `end` of those that are spread evenly over the whole cell.
    fn evals(&self, times: u64, end: u64) -> u64 {
        let done = |step: u64| step * times / self.cell.recipe.steps.max(1);
        (done(end) - done(self.first.min(end))).min(end.saturating_sub(self.first))
    }

    /// Share of what is left that is done after the cell's step `step`, counted from 0.
    pub fn share(&self, step: u64) -> f64 {
        let to_come = self.cell.recipe.steps.saturating_sub(step + 1);
        (1.0 - to_come as f64 / self.steps().max(1) as f64).max(0.0)
    }
}

/// Compute of one step [FLOP].
pub fn step_flops(cell: &Cell) -> f64 {
    cell.recipe.flops() / cell.recipe.steps as f64
}

/// Compute of one evaluation: the forward third of training [FLOP].
pub fn eval_flops(cell: &Cell) -> f64 {
    cell.recipe.shape.flops_per_token().total() / 3.0 * cell.recipe.eval_tokens as f64
}

/// What was measured of one cell, with all workers busy.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Timing {
    /// Compute of one step [FLOP].
    pub step_flops: f64,
    /// Seconds of one step [s].
    pub step: f64,
    /// Compute of one evaluation [FLOP].
    pub eval_flops: f64,
    /// Seconds of one evaluation; `None` where it was not timed [s].
    pub eval: Option<f64>,
    /// Parameters in all.
    pub params: f64,
    /// Seconds to build its weights [s].
    pub start: f64,
}

/// Seconds of every cell, interpolated between those that were measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Probe {
    step: Curve,
    eval: Option<Curve>,
    start: Curve,
}

impl Probe {
    /// From what was measured; `None` without anything.
    pub fn new(timings: &[Timing]) -> Option<Self> {
        let curve = |of: &dyn Fn(&Timing) -> Option<(f64, f64)>| {
            Curve::new(timings.iter().filter_map(of).collect())
        };
        Some(Self {
            step: curve(&|t| Some((t.step_flops, t.step)))?,
            eval: curve(&|t| Some((t.eval_flops, t.eval?))),
            start: curve(&|t| Some((t.params, t.start)))?,
        })
    }

    /// Predicted seconds of one step of a cell.
    pub fn step_seconds(&self, cell: &Cell) -> f64 {
        self.step.seconds(step_flops(cell))
    }

    /// Predicted seconds of one evaluation of a cell. Where none was measured, at the speed of training.
    pub fn eval_seconds(&self, cell: &Cell) -> f64 {
        let flops = eval_flops(cell);
        match &self.eval {
            Some(eval) => eval.seconds(flops),
            None => self.step_seconds(cell) * flops / step_flops(cell),
        }
    }

    /// Predicted seconds of what is left of a cell: its start, its steps and its evaluations, where the
    /// whole cell has `times` of them.
    pub fn seconds(&self, left: Left<'_>, times: u64) -> f64 {
        self.seconds_until(left, times, left.cell.recipe.steps)
    }

    /// The same, of its steps before step `end`.
    fn seconds_until(&self, left: Left<'_>, times: u64, end: u64) -> f64 {
        let cell = left.cell;
        self.start.seconds(cell.recipe.shape.counts().total)
            + self.step_seconds(cell) * end.saturating_sub(left.first) as f64
            + self.eval_seconds(cell) * left.evals(times, end) as f64
    }
}

/// Seconds as a function of an amount of work, interpolated between measured points.
#[derive(Debug, Clone, PartialEq)]
struct Curve {
    /// (work, seconds), by work.
    points: Vec<(f64, f64)>,
}

impl Curve {
    /// Equal amounts of work become one point with their mean; `None` without any.
    fn new(mut points: Vec<(f64, f64)>) -> Option<Self> {
        points.retain(|p| p.0 > 0.0 && p.1 > 0.0 && p.1.is_finite());
        points.sort_by(|l, r| l.0.total_cmp(&r.0));
        let mean = |same: &[(f64, f64)]| {
            (same[0].0, same.iter().map(|p| p.1).sum::<f64>() / same.len() as f64)
        };
        let points: Vec<_> = points.chunk_by(|l, r| l.0 == r.0).map(mean).collect();
        (!points.is_empty()).then_some(Self { points })
    }

    /// Work done in a second is interpolated linearly in the logarithms and held constant outside the
    /// measured range.
    fn seconds(&self, work: f64) -> f64 {
        let rate = |i: usize| self.points[i].0 / self.points[i].1;
        let last = self.points.len() - 1;
        let above = self.points.partition_point(|p| p.0 < work);
        let rate = match above {
            0 => rate(0),
            i if i > last => rate(last),
            i => {
                let (low, high) = (self.points[i - 1].0.ln(), self.points[i].0.ln());
                let t = (work.ln() - low) / (high - low);
                rate(i - 1).powf(1.0 - t) * rate(i).powf(t)
            }
        };
        work / rate
    }
}

/// What is left of a study, priced.
#[derive(Debug, Clone, PartialEq)]
pub struct Price {
    /// Cells side by side.
    pub workers: usize,
    /// Predicted seconds of each cell, in the order they were given [s].
    pub cells: Vec<f64>,
    /// Predicted wall-clock [s].
    pub seconds: f64,
}

impl Price {
    /// Of `left`, in the order in which cells are handed out; a whole cell is evaluated `times` times. A
    /// branch waits for its trunk, where that is among `left` too.
    pub fn new(probe: &Probe, left: &[Left<'_>], times: u64, workers: usize) -> Self {
        let cells: Vec<f64> = left.iter().map(|l| probe.seconds(*l, times)).collect();
        let at: HashMap<&str, usize> =
            left.iter().enumerate().map(|(i, l)| (l.cell.id.as_str(), i)).collect();
        let turn = |(l, seconds): (&Left<'_>, &f64)| {
            let trunk = l.cell.trunk.as_ref().and_then(|id| at.get(id.as_str()).copied());
            let fork = l.cell.recipe.stable_steps();
            let after = trunk
                .filter(|i| fork > left[*i].first)
                .map(|i| (i, probe.seconds_until(left[i], times, fork)));
            Turn { seconds: *seconds, after }
        };
        let turns: Vec<Turn> = left.iter().zip(&cells).map(turn).collect();
        Self { workers, seconds: makespan(&turns, workers), cells }
    }

    /// Money for all of it, at a price for an hour of the machine.
    pub fn usd(&self, per_hour: f64) -> f64 {
        self.seconds / 3600.0 * per_hour
    }

    /// Money for one cell: its part of the machine that it shares with the others, idle ends left out.
    pub fn cell_usd(&self, seconds: f64, per_hour: f64) -> f64 {
        seconds / self.workers.max(1) as f64 / 3600.0 * per_hour
    }
}

/// A cell in the queue.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Turn {
    /// What it takes [s].
    pub seconds: f64,
    /// It can start only so many seconds after another cell's start: the place of that one, and [s].
    pub after: Option<(usize, f64)>,
}

/// Wall-clock of cells handed out to `workers`: a free one takes the first that does not wait; one that
/// finds none looks again every [`LOOK`] seconds, until all have ended [s].
pub fn makespan(turns: &[Turn], workers: usize) -> f64 {
    let mut free = vec![0.0_f64; workers.clamp(1, turns.len().max(1))];
    let mut waiting: Vec<Vec<usize>> = vec![Vec::new(); turns.len()];
    for (i, turn) in turns.iter().enumerate() {
        if let Some((trunk, _)) = turn.after {
            waiting[trunk].push(i);
        }
    }
    let mut started = vec![false; turns.len()];
    // Those that may start, those that may from a time on, and the first of all that have not started.
    let mut ready: BinaryHeap<Reverse<usize>> =
        (0..turns.len()).filter(|i| turns[*i].after.is_none()).map(Reverse).collect();
    let mut due: BinaryHeap<Reverse<(Seconds, usize)>> = BinaryHeap::new();
    let (mut first, mut ends, mut last) = (0, 0.0_f64, 0.0_f64);
    let look = LOOK as f64;
    let woken = |now: f64, due: f64| now + ((due - now) / look).ceil().max(0.0) * look;
    while let Some(worker) = (0..free.len()).min_by(|l, r| free[*l].total_cmp(&free[*r])) {
        let now = free[worker];
        while let Some(Reverse((at, i))) = due.peek().copied().filter(|d| d.0.0.0 <= now) {
            due.pop();
            debug_assert!(at.0 <= now);
            ready.push(Reverse(i));
        }
        while started.get(first) == Some(&true) {
            first += 1;
        }
        let next = match (ready.pop(), due.peek()) {
            (Some(Reverse(i)), _) => i,
            (None, Some(Reverse((soonest, _)))) => {
                free[worker] = woken(now, soonest.0).max(now + look * 1e-3);
                continue;
            }
            (None, None) if first < turns.len() => first,
            (None, None) => {
                last = last.max(woken(now, ends));
                free.remove(worker);
                continue;
            }
        };
        started[next] = true;
        free[worker] = now + turns[next].seconds;
        ends = ends.max(free[worker]);
        for i in waiting[next].drain(..).filter(|i| !started[*i]) {
            let delay = turns[i].after.map_or(0.0, |(_, delay)| delay);
            due.push(Reverse((Seconds(now + delay), i)));
        }
    }
    last
}

/// Seconds, sorted as numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Seconds(f64);

impl Eq for Seconds {}

impl Ord for Seconds {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl PartialOrd for Seconds {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// What each cell of a sweep takes, to price many parts of it.
#[derive(Debug, Clone)]
pub struct Clock<'a> {
    cells: &'a [Cell],
    /// Steps that are kept of a cell itself; nothing where it is not to be trained.
    kept: Vec<Option<u64>>,
    times: u64,
    /// Seconds of the start, of a step and of an evaluation of each.
    each: Vec<[f64; 3]>,
}

impl<'a> Clock<'a> {
    /// Of `cells`, of which so many steps are `kept`, by the speeds of a probe; a whole cell is evaluated `times`
    /// times.
    pub fn new(probe: &Probe, cells: &'a [Cell], kept: Vec<Option<u64>>, times: u64) -> Self {
        let each = |cell: &Cell| {
            let start = probe.start.seconds(cell.recipe.shape.counts().total);
            [start, probe.step_seconds(cell), probe.eval_seconds(cell)]
        };
        Self { cells, kept, times, each: cells.iter().map(each).collect() }
    }

    /// The turns of those of `part` that are to be trained, given the trunk of each, as [`Price::new`] has them.
    /// `forked`: whether the trunk, which is not trained any more, has left the fork of a cell.
    pub fn turns(
        &self,
        part: &[usize],
        trunks: &[Option<usize>],
        forked: &dyn Fn(usize, usize) -> bool,
    ) -> Vec<Turn> {
        let mut places: Vec<Option<usize>> = vec![None; self.cells.len()];
        let todo = || part.iter().zip(trunks).filter(|(i, _)| self.kept[**i].is_some());
        todo().enumerate().for_each(|(place, (i, _))| places[*i] = Some(place));
        let turn = |(i, trunk): (&usize, &Option<usize>)| {
            let (cell, own) = (&self.cells[*i], self.kept[*i].unwrap_or(0));
            let Some(trunk) = *trunk else {
                return Turn { seconds: self.seconds(*i, own, cell.recipe.steps), after: None };
            };
            let fork = cell.recipe.stable_steps();
            let comes = places[trunk].is_some() || forked(trunk, *i);
            let first = if comes { own.max(fork) } else { own };
            let begins = self.kept[trunk].unwrap_or(0);
            let after = places[trunk].filter(|_| fork > begins);
            Turn {
                seconds: self.seconds(*i, first, cell.recipe.steps),
                after: after.map(|place| (place, self.seconds(trunk, begins, fork))),
            }
        };
        todo().map(turn).collect()
    }

    fn seconds(&self, i: usize, first: u64, end: u64) -> f64 {
        let [start, step, eval] = self.each[i];
        let left = Left { cell: &self.cells[i], first };
        start + step * end.saturating_sub(first) as f64 + eval * left.evals(self.times, end) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::tests::{SWEEP, plan};

    #[test]
    fn a_curve_reproduces_its_points_and_interpolates_between_them() {
        let curve = Curve::new(vec![(1e9, 0.1), (1e7, 0.01), (1e9, 0.1), (1e8, f64::NAN)]).unwrap();
        assert!((curve.seconds(1e7) - 0.01).abs() < 1e-12);
        assert!((curve.seconds(1e9) - 0.1).abs() < 1e-12);
        // Rates 1e9 and 1e10 of work a second: the geometric mean half way.
        assert!((curve.seconds(1e8) - 1e8 / 10f64.powf(9.5)).abs() < 1e-12);
        assert!((curve.seconds(1e10) - 1.0).abs() < 1e-9, "constant speed beyond");
        assert_eq!(Curve::new(vec![(1.0, f64::NAN)]), None);
    }

    /// A machine of 1e9 FLOP/s in training, 2e9 in evaluation, 1e6 weights a second.
    const TIMING: Timing = Timing {
        step_flops: 1e8,
        step: 0.1,
        eval_flops: 1e8,
        eval: Some(0.05),
        params: 1e6,
        start: 1.0,
    };

    /// By hand.
    #[test]
    fn a_cell_takes_its_start_its_steps_and_its_evaluations() {
        let plan = plan(SWEEP);
        let cell = &plan.cells[3];
        let probe = Probe::new(&[TIMING]).unwrap();
        let (start, train) = (cell.recipe.shape.counts().total / 1e6, cell.recipe.flops() / 1e9);
        let forward = cell.recipe.shape.flops_per_token().total() / 3.0;
        let eval = forward * cell.recipe.eval_tokens as f64 / 2e9;
        let close = |got: f64, want: f64| assert!((got / want - 1.0).abs() < 1e-12, "{got} {want}");
        close(probe.seconds(Left::all(cell), 4), start + train + 4.0 * eval);
        // Three quarters are kept: a quarter of the steps and one of four evaluations are to come.
        let first = cell.recipe.steps - cell.recipe.steps / 4;
        let left = Left { cell, first };
        let part = left.steps() as f64 / cell.recipe.steps as f64;
        close(probe.seconds(left, 4), start + part * train + eval);
        assert_eq!((left.share(first - 1), left.share(cell.recipe.steps - 1)), (0.0, 1.0));
        let unevaluated = Probe::new(&[Timing { eval: None, ..TIMING }]).unwrap();
        close(unevaluated.seconds(Left::all(cell), 4), start + train + 8.0 * eval);
        assert_eq!(Probe::new(&[]), None);
    }

    #[test]
    fn money_follows_the_clock_and_cells_share_the_machine() {
        let price = Price { workers: 2, cells: vec![3600.0, 1800.0, 1800.0], seconds: 3600.0 };
        assert_eq!(price.usd(3.0), 3.0);
        let parts: f64 = price.cells.iter().map(|s| price.cell_usd(*s, 3.0)).sum();
        assert_eq!(parts, 3.0, "no worker is ever idle here");
    }

    fn free(seconds: f64) -> Turn {
        Turn { seconds, after: None }
    }

    #[test]
    fn workers_take_the_next_cell_when_free() {
        assert_eq!(makespan(&[3.0, 2.0, 2.0, 1.0].map(free), 2), 4.0);
        assert_eq!(makespan(&[3.0, 2.0].map(free), 1), 5.0);
        assert_eq!(makespan(&[], 2), 0.0);
        // The second is free at 0.25 and looks every second for the end of the first, at 2.
        assert_eq!(makespan(&[2.0, 0.25].map(free), 2), 2.25);
    }

    #[test]
    fn a_branch_waits_for_its_trunk_and_others_go_first() {
        let branch = |seconds, delay| Turn { seconds, after: Some((0, delay)) };
        // The trunk 0..10; the branch, ready at 6, goes after the cell of 7: 7..9, and its worker looks on.
        let turns = [free(10.0), branch(2.0, 6.0), free(7.0)];
        assert_eq!(makespan(&turns, 2), 10.0);
        // Ready only at 9.5: the worker looks at 8, 9 and 10, and trains until 12.
        let turns = [free(10.0), branch(2.0, 9.5), free(7.0)];
        assert_eq!(makespan(&turns, 2), 12.0);
        // A single worker has the trunk ended when it comes to the branch.
        assert_eq!(makespan(&turns, 1), 19.0);
    }

    /// A machine of 1e9 FLOP/s and nothing else: under a trunk only own steps are paid.
    #[test]
    fn a_study_of_trunks_takes_its_own_steps() {
        let text = format!(
            "{}[schedule.trunk]\nwarmup = 0.5\ndecay = 0.2\nend = 0.0\n",
            SWEEP[..SWEEP.find("[schedule").unwrap()].replace(
                &SWEEP[SWEEP.find("[grid").unwrap()..SWEEP.find("[optim]").unwrap()],
                "[grid.product]\nparams = [1e4]\ntokens = [1e6, 4e6, 2e6]\n"
            )
        );
        let plan = plan(&text);
        let timing = Timing {
            step_flops: 1e8,
            step: 0.1,
            eval_flops: 1e20,
            eval: Some(1e-9),
            params: 1e6,
            start: 1e-12,
        };
        let probe = Probe::new(&[timing]).unwrap();
        let left: Vec<Left<'_>> = plan.cells.iter().map(Left::all).collect();
        let want = plan.flops_spent() / 1e9;
        let one = Price::new(&probe, &left, 1, 1).seconds;
        assert!((one / want - 1.0).abs() < 1e-6, "{one} {want}");
        assert!(one < 0.75 * plan.flops() / 1e9);
        // Side by side the cooldowns run beside the trunk, not before they are forked.
        let two = Price::new(&probe, &left, 1, 2).seconds;
        let trunk = plan.cells[0].recipe.flops() / 1e9;
        assert!((trunk..=trunk + 1.0).contains(&two), "{two} {trunk}");
    }

    /// As [`makespan`] is defined, looking at every cell each time.
    fn slowly(turns: &[Turn], workers: usize) -> f64 {
        let mut free = vec![0.0_f64; workers.clamp(1, turns.len().max(1))];
        let mut started: Vec<Option<f64>> = vec![None; turns.len()];
        let (mut last, look) = (0.0_f64, LOOK as f64);
        let woken = |now: f64, due: f64| now + ((due - now) / look).ceil().max(0.0) * look;
        while let Some(worker) = (0..free.len()).min_by(|l, r| free[*l].total_cmp(&free[*r])) {
            let now = free[worker];
            let ready = |i: usize| match turns[i].after {
                None => 0.0,
                Some((trunk, delay)) => started[trunk].map_or(f64::INFINITY, |start| start + delay),
            };
            let open: Vec<usize> = (0..turns.len()).filter(|i| started[*i].is_none()).collect();
            let soonest = open.iter().map(|i| ready(*i)).fold(f64::INFINITY, f64::min);
            let next = match open.first() {
                Some(first) if soonest.is_infinite() => Some(*first),
                Some(_) => open.iter().copied().find(|i| ready(*i) <= now),
                None => {
                    let ends =
                        started.iter().zip(turns).filter_map(|(s, t)| Some((*s)? + t.seconds));
                    last = last.max(woken(now, ends.fold(0.0, f64::max)));
                    free.remove(worker);
                    continue;
                }
            };
            match next {
                Some(i) => {
                    started[i] = Some(now);
                    free[worker] = now + turns[i].seconds;
                }
                None => free[worker] = woken(now, soonest).max(now + look * 1e-3),
            }
        }
        last
    }

    #[test]
    fn the_wall_clock_is_that_of_looking_at_every_cell_each_time() {
        for round in 0..400 {
            let stream = crate::random::Stream::new(round, "turns");
            let n = stream.below(0, 30);
            let turns: Vec<Turn> = (0..n)
                .map(|i| {
                    let of = stream.child(i);
                    let after = (of.uniform(0) < 0.5)
                        .then(|| (of.below(1, n) as usize, 5.0 * of.uniform(2)))
                        .filter(|(trunk, _)| *trunk != i as usize);
                    Turn { seconds: 4.0 * of.uniform(3), after }
                })
                .collect();
            let workers = 1 + stream.below(1, 5) as usize;
            assert_eq!(makespan(&turns, workers), slowly(&turns, workers), "{turns:?} {workers}");
        }
    }

    #[test]
    fn a_clock_has_the_turns_of_a_price() {
        let text = SWEEP[..SWEEP.find("[schedule").unwrap()].to_owned()
            + "[schedule.trunk]\nwarmup = 0.5\ndecay = 0.2\nend = 0.0\n";
        let plan = plan(&text);
        let (cells, times) = (&plan.cells, 3);
        let at = |id: &String| cells.iter().position(|c| c.id == *id);
        let trunks: Vec<Option<usize>> =
            cells.iter().map(|c| c.trunk.as_ref().and_then(at)).collect();
        assert!(trunks.iter().flatten().count() > 2);
        let probe = Probe::new(&[TIMING]).unwrap();
        let left: Vec<Left<'_>> = cells.iter().map(Left::all).collect();
        let clock = Clock::new(&probe, cells, vec![Some(0); cells.len()], times);
        let all: Vec<usize> = (0..cells.len()).collect();
        let turns = clock.turns(&all, &trunks, &|_, _| panic!("every trunk is trained"));
        for workers in [1, 2, 5] {
            let price = Price::new(&probe, &left, times, workers);
            assert_eq!(turns.iter().map(|t| t.seconds).collect::<Vec<_>>(), price.cells);
            assert_eq!(makespan(&turns, workers), price.seconds);
        }
    }
}
