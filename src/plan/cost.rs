//! What a cell takes before it runs, from a short probe: seconds, and money.

use std::collections::HashMap;

use crate::plan::Cell;
use crate::plan::queue::{Task, makespan};

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
        let task = |(l, seconds): (&Left<'_>, &f64)| {
            let trunk = l.cell.trunk.as_ref().and_then(|id| at.get(id.as_str()).copied());
            let fork = l.cell.recipe.stable_steps();
            let after = trunk
                .filter(|i| fork > left[*i].first)
                .map(|i| (i, probe.seconds_until(left[i], times, fork)));
            Task { seconds: *seconds, after }
        };
        let tasks: Vec<Task> = left.iter().zip(&cells).map(task).collect();
        Self { workers, seconds: makespan(&tasks, workers), cells }
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

    /// The tasks of those of `part` that are to be trained, given the trunk of each, as [`Price::new`] has them.
    /// `forked`: whether the trunk, which is not trained any more, has left the fork of a cell.
    pub fn tasks(
        &self,
        part: &[usize],
        trunks: &[Option<usize>],
        forked: &dyn Fn(usize, usize) -> bool,
    ) -> Vec<Task> {
        let mut places: Vec<Option<usize>> = vec![None; self.cells.len()];
        let todo = || part.iter().zip(trunks).filter(|(i, _)| self.kept[**i].is_some());
        todo().enumerate().for_each(|(place, (i, _))| places[*i] = Some(place));
        let task = |(i, trunk): (&usize, &Option<usize>)| {
            let (cell, own) = (&self.cells[*i], self.kept[*i].unwrap_or(0));
            let Some(trunk) = *trunk else {
                return Task { seconds: self.seconds(*i, own, cell.recipe.steps), after: None };
            };
            let fork = cell.recipe.stable_steps();
            let comes = places[trunk].is_some() || forked(trunk, *i);
            let first = if comes { own.max(fork) } else { own };
            let begins = self.kept[trunk].unwrap_or(0);
            let after = places[trunk].filter(|_| fork > begins);
            Task {
                seconds: self.seconds(*i, first, cell.recipe.steps),
                after: after.map(|place| (place, self.seconds(trunk, begins, fork))),
            }
        };
        todo().map(task).collect()
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
        let tasks = clock.tasks(&all, &trunks, &|_, _| panic!("every trunk is trained"));
        for workers in [1, 2, 5] {
            let price = Price::new(&probe, &left, times, workers);
            assert_eq!(tasks.iter().map(|t| t.seconds).collect::<Vec<_>>(), price.cells);
            assert_eq!(makespan(&tasks, workers), price.seconds);
        }
    }
}
