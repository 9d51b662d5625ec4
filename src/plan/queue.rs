//! How long cells take that are handed out to workers in task, branches after their trunks [s].

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

/// Time between two looks of a worker that has nothing to train [s].
pub const LOOK: u64 = 1;

/// A cell in the queue.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Task {
    /// What it takes [s].
    pub seconds: f64,
    /// It can start only so many seconds after another cell's start: the place of that one, and [s].
    pub after: Option<(usize, f64)>,
}

/// Wall-clock of cells handed out to `workers`: a free one takes the first that does not wait; one that
/// finds none looks again every [`LOOK`] seconds, until all have ended [s].
pub fn makespan(tasks: &[Task], workers: usize) -> f64 {
    let mut free = vec![0.0_f64; workers.clamp(1, tasks.len().max(1))];
    let mut waiting: Vec<Vec<usize>> = vec![Vec::new(); tasks.len()];
    for (i, task) in tasks.iter().enumerate() {
        if let Some((trunk, _)) = task.after {
            waiting[trunk].push(i);
        }
    }
    let mut started = vec![false; tasks.len()];
    // Those that may start, those that may from a time on, and the first of all that have not started.
    let mut ready: BinaryHeap<Reverse<usize>> =
        (0..tasks.len()).filter(|i| tasks[*i].after.is_none()).map(Reverse).collect();
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
            (None, None) if first < tasks.len() => first,
            (None, None) => {
                last = last.max(woken(now, ends));
                free.remove(worker);
                continue;
            }
        };
        started[next] = true;
        free[worker] = now + tasks[next].seconds;
        ends = ends.max(free[worker]);
        for i in waiting[next].drain(..).filter(|i| !started[*i]) {
            let delay = tasks[i].after.map_or(0.0, |(_, delay)| delay);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn free(seconds: f64) -> Task {
        Task { seconds, after: None }
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
        let branch = |seconds, delay| Task { seconds, after: Some((0, delay)) };
        // The trunk 0..10; the branch, ready at 6, goes after the cell of 7: 7..9, and its worker looks on.
        let tasks = [free(10.0), branch(2.0, 6.0), free(7.0)];
        assert_eq!(makespan(&tasks, 2), 10.0);
        // Ready only at 9.5: the worker looks at 8, 9 and 10, and trains until 12.
        let tasks = [free(10.0), branch(2.0, 9.5), free(7.0)];
        assert_eq!(makespan(&tasks, 2), 12.0);
        // A single worker has the trunk ended when it comes to the branch.
        assert_eq!(makespan(&tasks, 1), 19.0);
    }

    /// As [`makespan`] is defined, looking at every cell each time.
    fn slowly(tasks: &[Task], workers: usize) -> f64 {
        let mut free = vec![0.0_f64; workers.clamp(1, tasks.len().max(1))];
        let mut started: Vec<Option<f64>> = vec![None; tasks.len()];
        let (mut last, look) = (0.0_f64, LOOK as f64);
        let woken = |now: f64, due: f64| now + ((due - now) / look).ceil().max(0.0) * look;
        while let Some(worker) = (0..free.len()).min_by(|l, r| free[*l].total_cmp(&free[*r])) {
            let now = free[worker];
            let ready = |i: usize| match tasks[i].after {
                None => 0.0,
                Some((trunk, delay)) => started[trunk].map_or(f64::INFINITY, |start| start + delay),
            };
            let open: Vec<usize> = (0..tasks.len()).filter(|i| started[*i].is_none()).collect();
            let soonest = open.iter().map(|i| ready(*i)).fold(f64::INFINITY, f64::min);
            let next = match open.first() {
                Some(first) if soonest.is_infinite() => Some(*first),
                Some(_) => open.iter().copied().find(|i| ready(*i) <= now),
                None => {
                    let ends =
                        started.iter().zip(tasks).filter_map(|(s, t)| Some((*s)? + t.seconds));
                    last = last.max(woken(now, ends.fold(0.0, f64::max)));
                    free.remove(worker);
                    continue;
                }
            };
            match next {
                Some(i) => {
                    started[i] = Some(now);
                    free[worker] = now + tasks[i].seconds;
                }
                None => free[worker] = woken(now, soonest).max(now + look * 1e-3),
            }
        }
        last
    }

    #[test]
    fn the_wall_clock_is_that_of_looking_at_every_cell_each_time() {
        for round in 0..400 {
            let stream = crate::random::Stream::new(round, "tasks");
            let n = stream.below(0, 30);
            let tasks: Vec<Task> = (0..n)
                .map(|i| {
                    let of = stream.child(i);
                    let after = (of.uniform(0) < 0.5)
                        .then(|| (of.below(1, n) as usize, 5.0 * of.uniform(2)))
                        .filter(|(trunk, _)| *trunk != i as usize);
                    Task { seconds: 4.0 * of.uniform(3), after }
                })
                .collect();
            let workers = 1 + stream.below(1, 5) as usize;
            assert_eq!(makespan(&tasks, workers), slowly(&tasks, workers), "{tasks:?} {workers}");
        }
    }
}
