//! Rows that are checkpoints of one run, in a table that names no runs.
//!
//! Losses along one run share its noise: taken as runs of their own they make every interval too narrow. That rows
//! are of one run is a guess, so the rule is strict. All of these must hold: the rows follow one another; N and
//! every setting, seed or name beside it are equal; D rises from row to row; the loss falls as along a curve; and D
//! rises evenly, as a loop writes it, or so often as no grid has lengths. What was taken is said, with the way to
//! say otherwise: a column `id`, or `--separate`.

use crate::points::{Point, Remark, Table, Topic};
use crate::units::count;

/// So many rows of one size, evenly apart, are a run.
const EVEN: usize = 5;
/// So many rows of one size are a run, however far apart.
const MANY: usize = 12;
/// Distances that differ by less are equal [-].
const ALIKE: f64 = 0.02;
/// Share of the steps along which the loss of one run may rise: evaluations have their own noise [-].
const RISES: f64 = 0.2;

/// Gives rows of one run a common cluster, and says so. `settings` is what tells runs of one size apart: it must be
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
        let rows = &table.points[from..to];
        if (rows.len() >= MANY || rows.len() >= EVEN && even(rows)) && falls(rows) {
            runs.push((from, to));
        }
        from = to;
    }
    let rows: usize = runs.iter().map(|(from, to)| to - from).sum();
    let (first, last) = *runs.first()?;
    let ends = [first, last - 1].map(|i| table.points[i].id.clone());
    for (from, to) in &runs {
        let cluster = format!("run of {}", table.points[*from].id);
        for point in &mut table.points[*from..*to] {
            point.cluster.clone_from(&cluster);
        }
    }
    let text = format!(
        "{rows} rows are taken for checkpoints of {} run{}, by equal N and settings, rising D and falling loss (the \
         first: {} to {}, N {}, {} rows): each run is one cluster, for its losses share its noise; and a loss on \
         the way, before the rate has decayed, is above that of a run that ends there. If they are runs of their \
         own, say --separate; a column `id`, or --map id=COLUMN, says which rows are one run",
        runs.len(),
        if runs.len() == 1 { "" } else { "s" },
        ends[0],
        ends[1],
        count(table.points[first].params),
        last - first
    );
    Some(Remark { topic: Topic::Checkpoints, text })
}

fn follows(before: &Point, after: &Point) -> bool {
    before.params == after.params && after.tokens > before.tokens
}

/// Whether the losses are those of one curve: lower at the end, and seldom higher than the one before.
fn falls(points: &[Point]) -> bool {
    let rises = points.windows(2).filter(|w| w[1].loss > w[0].loss).count();
    let ends = points.last().zip(points.first());
    ends.is_some_and(|(last, first)| last.loss < first.loss)
        && rises as f64 <= RISES * (points.len() - 1) as f64
}

/// Whether most distances in D are the same.
fn even(points: &[Point]) -> bool {
    let mut steps: Vec<f64> = points.windows(2).map(|w| w[1].tokens - w[0].tokens).collect();
    steps.sort_by(f64::total_cmp);
    let middle = steps[steps.len() / 2];
    let alike = steps.iter().filter(|s| (**s / middle - 1.0).abs() < ALIKE).count();
    10 * alike >= 8 * steps.len()
}
