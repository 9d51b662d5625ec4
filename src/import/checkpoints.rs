//! Rows that are checkpoints of one run, in a table that names no runs.
//!
//! Losses along one run share its noise: taken as runs of their own they make every interval too narrow. Rows of
//! one size are taken for one run where their tokens rise from row to row and either evenly, as a loop writes
//! them, or so often as no grid has lengths. An `id` column says it without any guess.
//! Read by: the reader beside it.

use crate::points::{Point, Remark, Table, Topic};
use crate::units::count;

/// So many rows of one size, evenly apart, are a run.
const EVEN: usize = 5;
/// So many rows of one size are a run, however far apart.
const MANY: usize = 12;
/// Distances that differ by less are equal [-].
const ALIKE: f64 = 0.02;

/// Gives rows of one run a common cluster, and says so. `settings` tells apart runs of equal size: it must be
/// equal along a run.
pub(super) fn gather(table: &mut Table, settings: impl Fn(&str) -> String) -> Option<Remark> {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    let mut from = 0;
    while from < table.points.len() {
        let mut to = from + 1;
        let key = settings(&table.points[from].id);
        while to < table.points.len()
            && follows(&table.points[to - 1], &table.points[to])
            && settings(&table.points[to].id) == key
        {
            to += 1;
        }
        if to - from >= MANY || to - from >= EVEN && even(&table.points[from..to]) {
            runs.push((from, to));
        }
        from = to;
    }
    let rows: usize = runs.iter().map(|(from, to)| to - from).sum();
    let (first, last) = *runs.first()?;
    for (from, to) in &runs {
        let cluster = format!("run of {}", table.points[*from].id);
        for point in &mut table.points[*from..*to] {
            point.cluster.clone_from(&cluster);
        }
    }
    let text = format!(
        "{rows} rows look like checkpoints of {} run{} without an id (the first: N {}, {} rows of rising D): each run \
         is one cluster, for its losses share its noise; and a loss on the way, before the rate has decayed, is above \
         that of a run that ends there. A column `id` says which rows are one run",
        runs.len(),
        if runs.len() == 1 { "" } else { "s" },
        count(table.points[first].params),
        last - first
    );
    Some(Remark { topic: Topic::Checkpoints, text })
}

fn follows(before: &Point, after: &Point) -> bool {
    before.params == after.params && after.tokens > before.tokens
}

/// Whether most distances in D are the same.
fn even(points: &[Point]) -> bool {
    let mut steps: Vec<f64> = points.windows(2).map(|w| w[1].tokens - w[0].tokens).collect();
    steps.sort_by(f64::total_cmp);
    let middle = steps[steps.len() / 2];
    let alike = steps.iter().filter(|s| (**s / middle - 1.0).abs() < ALIKE).count();
    10 * alike >= 8 * steps.len()
}
