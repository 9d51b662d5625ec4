//! What to leave out of a sweep so that it fits a span of time, at the least loss of what it is for.
//!
//! A sweep can do without its extra seeds, the highest first; without the outermost sizes of a budget; and
//! without its largest budget. One at a time, whichever widens the predicted intervals least for each
//! second it saves, until the rest fits. The intervals are those of N* and of the loss at ten times the
//! largest compute, from J'J of the five-parameter Chinchilla law at the cells that stay, with the published
//! exponents at the grid's centre.
//!
//! Limits: errors of ln L alike and independent; a law that holds. What seeds say about the scatter itself,
//! and outer sizes about the form of the law, is not counted. Grids without budgets lose seeds alone.

mod grid;
mod law;

use serde::Serialize;

use crate::plan::Cell;
use crate::plan::queue::{Task, makespan};
use crate::points::AHEAD;
use grid::{Candidate, Grid};
use law::{Local, outer, plus};

/// A smaller sweep.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Proposal {
    /// Span of time that was asked for [s].
    pub target: f64,
    /// Predicted wall-clock of what is left of the whole sweep [s].
    pub before: f64,
    /// The same of the smaller one [s].
    pub seconds: f64,
    /// Whether that is within the target.
    pub fits: bool,
    /// What is left out, in this order. Empty where everything fits.
    pub drops: Vec<Drop>,
}

/// One thing to leave out.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Drop {
    /// In words.
    pub what: String,
    /// Ids of the cells.
    pub cells: Vec<String>,
    /// Wall-clock that it saves [s].
    pub saves: f64,
    /// By how much the interval of N* is wider, with this and everything before it left out [-].
    pub params_wider: f64,
    /// The same of the loss [-].
    pub loss_wider: f64,
}

/// What is to be trained of some cells of a sweep, given by their places in order, and of each the place of its trunk
/// in the sweep.
pub type Tasks<'a> = &'a dyn Fn(&[usize], &[Option<usize>]) -> Vec<Task>;

/// What to drop of `cells` so that what is left takes at most `target` seconds with `workers` cells side by side.
/// `done` cells are never dropped.
pub fn propose(
    cells: &[Cell],
    done: &[bool],
    tasks: Tasks<'_>,
    workers: usize,
    target: f64,
) -> Proposal {
    let grid = Grid::of(cells);
    let tasks = |kept: &[usize]| tasks(kept, &grid.trunks(kept));
    let (law, mut kept) = (Local::about(cells), (0..cells.len()).collect::<Vec<usize>>());
    let rows: Vec<[f64; 5]> = cells.iter().map(|c| law.row_of(c)).collect();
    let ahead = AHEAD * cells.iter().map(|c| c.recipe.flops()).fold(0.0, f64::max);
    let information = |places: &[usize]| {
        places.iter().fold([[0.0; 5]; 5], |sum, i| plus(sum, outer(rows[*i]), 1.0))
    };
    let mut known = information(&kept);
    let whole = law.variances(known, ahead);
    let spread = |v: (f64, f64)| v.0.ln() + v.1.ln();
    let before = makespan(&tasks(&kept), workers);
    let (mut now, mut drops) = (before, Vec::<Drop>::new());
    while now > target {
        let widest = spread(law.variances(known, ahead));
        // Work divided among the workers is the least that the rest can take, so that this is the least price.
        let mut judged: Vec<(f64, Candidate)> = Vec::new();
        for mut candidate in grid.candidates(&kept) {
            candidate.gone.retain(|i| !done[*i]);
            if candidate.gone.is_empty() {
                continue;
            }
            let rest = without(&kept, &candidate.gone);
            let work: f64 = tasks(&rest).iter().map(|t| t.seconds).sum();
            let most = now - work / workers.max(1) as f64 * (1.0 - 1e-12);
            let wider =
                spread(law.variances(plus(known, information(&candidate.gone), -1.0), ahead));
            if most > 0.0 {
                judged.push(((wider - widest).max(0.0) / most, candidate));
            }
        }
        judged.sort_by(|l, r| l.0.total_cmp(&r.0));
        let mut best: Option<(f64, Candidate, f64)> = None;
        for (least, candidate) in judged {
            if best.as_ref().is_some_and(|(price, ..)| *price < least) {
                break;
            }
            let then = makespan(&tasks(&without(&kept, &candidate.gone)), workers);
            let less = plus(known, information(&candidate.gone), -1.0);
            let price = (spread(law.variances(less, ahead)) - widest).max(0.0) / (now - then);
            let better = best.as_ref().is_none_or(|(least, first, _)| {
                price < *least || (price == *least && candidate.place < first.place)
            });
            if then < now && better {
                best = Some((price, candidate, then));
            }
        }
        let Some((_, Candidate { what, gone, .. }, then)) = best else { break };
        kept = without(&kept, &gone);
        known = information(&kept);
        let variances = law.variances(known, ahead);
        let wider = |part: f64, of: f64| (part / of).sqrt() - 1.0;
        drops.push(Drop {
            what,
            cells: gone.iter().map(|i| cells[*i].id.clone()).collect(),
            saves: now - then,
            params_wider: wider(variances.0, whole.0),
            loss_wider: wider(variances.1, whole.1),
        });
        now = then;
    }
    Proposal { target, before, seconds: now, fits: now <= target, drops }
}

/// Places that are not among `gone`; both in order.
fn without(kept: &[usize], gone: &[usize]) -> Vec<usize> {
    let mut gone = gone.iter().peekable();
    kept.iter().copied().filter(|i| gone.next_if_eq(&i).is_none()).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::grid::LEAST;
    use super::*;
    use crate::plan::tests::{SWEEP, plan};

    /// Seconds of a machine of 1e9 FLOP/s with one worker.
    fn seconds(cells: &[Cell]) -> f64 {
        cells.iter().map(Cell::flops_spent).sum::<f64>() / 1e9
    }

    pub(super) fn seeds(cell: &Cell) -> (u64, u64) {
        (cell.recipe.init_seed, cell.recipe.order())
    }

    /// The same, cell by cell.
    fn on_one(cells: &[Cell], done: &[bool], target: f64) -> Proposal {
        let task = |i: &usize| Task { seconds: cells[*i].flops_spent() / 1e9, after: None };
        propose(cells, done, &|kept, _| kept.iter().map(task).collect(), 1, target)
    }

    pub(super) fn variances(law: &Local, cells: &[Cell], ahead: f64) -> (f64, f64) {
        let rows = cells.iter().map(|c| outer(law.row_of(c)));
        law.variances(rows.fold([[0.0; 5]; 5], |sum, row| plus(sum, row, 1.0)), ahead)
    }

    pub(super) fn study() -> Vec<Cell> {
        let budgets = "budgets = [1e10, 3e10, 1e11, 3e11, 1e12]";
        let text = SWEEP.replace("budgets = [3e10, 1e11, 3e11, 1e12]", budgets);
        plan(&format!("seeds = 2\n{}", text.replace("sizes = 6", "sizes = 7"))).cells
    }

    #[test]
    fn what_is_dropped_saves_what_is_needed_and_leaves_a_study() {
        let cells = study();
        let none = vec![false; cells.len()];
        let whole = seconds(&cells);
        let enough = on_one(&cells, &none, whole);
        assert!(enough.fits && enough.drops.is_empty());
        for share in [0.9, 0.6, 0.3] {
            let got = on_one(&cells, &none, share * whole);
            assert!(got.fits && got.seconds <= share * whole, "{share}");
            let saved: f64 = got.drops.iter().map(|d| d.saves).sum();
            assert!((whole - saved - got.seconds).abs() < 1e-6 * whole);
            let gone: BTreeSet<&String> = got.drops.iter().flat_map(|d| &d.cells).collect();
            let kept: Vec<Cell> = cells.iter().filter(|c| !gone.contains(&c.id)).cloned().collect();
            assert!((seconds(&kept) - got.seconds).abs() < 1e-6 * whole);
            let widths: Vec<f64> = got.drops.iter().map(|d| d.params_wider).collect();
            assert!(widths.is_sorted() && widths[0] > 0.0, "less is never narrower: {widths:?}");
        }
        let least = on_one(&cells, &none, 0.0);
        assert!(!least.fits);
        let gone: BTreeSet<&String> = least.drops.iter().flat_map(|d| &d.cells).collect();
        let kept: Vec<&Cell> = cells.iter().filter(|c| !gone.contains(&c.id)).collect();
        let budgets: BTreeSet<u64> = kept.iter().map(|c| c.budget.unwrap() as u64).collect();
        assert_eq!((budgets.len(), budgets.last()), (LEAST.1, Some(&300_000_000_000)));
        assert!(kept.iter().all(|c| seeds(c) == (0, 0)), "one seed");
        for budget in budgets {
            // Two wished sizes may be one shape: a family may be smaller than five to begin with.
            let of = |c: &&Cell| c.budget.unwrap() as u64 == budget && seeds(c) == (0, 0);
            let before = cells.iter().filter(of).count();
            let after = kept.iter().filter(|c| of(c)).count();
            assert_eq!(after, before.min(LEAST.0), "{budget}");
        }
        // What is trained stays.
        let all_done = on_one(&cells, &vec![true; cells.len()], 0.0);
        assert!(all_done.drops.is_empty());
    }

    /// The trunks of any part of a sweep, against those that the plan itself would give it.
    #[test]
    fn trunks_of_a_part_are_those_of_its_plan() {
        let text = SWEEP[..SWEEP.find("[schedule").unwrap()].to_owned()
            + "[schedule.trunk]\nwarmup = 0.5\ndecay = 0.2\nend = 0.0\n";
        let cells = plan(&format!("seeds = 2\n{text}")).cells;
        let grid = Grid::of(&cells);
        let stream = crate::random::Stream::new(1, "parts");
        let mut branches = 0;
        for round in 0..50 {
            let kept: Vec<usize> =
                (0..cells.len()).filter(|i| stream.child(round).uniform(*i as u64) < 0.6).collect();
            let mut part: Vec<Cell> = kept.iter().map(|i| cells[*i].clone()).collect();
            crate::plan::trunk::join(&mut part);
            let got = grid.trunks(&kept).into_iter().map(|t| t.map(|t| cells[t].id.clone()));
            assert_eq!(
                got.collect::<Vec<_>>(),
                part.iter().map(|c| c.trunk.clone()).collect::<Vec<_>>()
            );
            branches += part.iter().filter(|c| c.trunk.is_some()).count();
        }
        assert!(branches > 100, "{branches}");
    }

    /// The cheapest of all each time, whichever are looked at: against a search that asks for the price of each.
    #[test]
    fn what_is_dropped_is_the_cheapest_each_time() {
        // A ladder of sizes that is fine enough for seven of a budget.
        let budgets = "budgets = [1e10, 3e10, 1e11, 3e11, 1e12]";
        let text = SWEEP.replace("budgets = [3e10, 1e11, 3e11, 1e12]", budgets);
        let text = text.replace("sizes = 6", "sizes = 7") + "[model]\nwidth_multiple = 2\n";
        let cells = plan(&format!("seeds = 2\n{text}")).cells;
        let (grid, law) = (Grid::of(&cells), Local::about(&cells));
        let ahead = AHEAD * cells.iter().map(|c| c.recipe.flops()).fold(0.0, f64::max);
        let task = |i: &usize| Task { seconds: cells[*i].flops_spent() / 1e9, after: None };
        let tasks = |kept: &[usize], _: &[Option<usize>]| kept.iter().map(task).collect::<Vec<_>>();
        let spread = |kept: &[usize]| {
            let part: Vec<Cell> = kept.iter().map(|i| cells[*i].clone()).collect();
            let (params, loss) = variances(&law, &part, ahead);
            params.ln() + loss.ln()
        };
        for workers in [1, 3] {
            let seconds = |kept: &[usize]| makespan(&tasks(kept, &[]), workers);
            let (mut kept, mut want) = ((0..cells.len()).collect::<Vec<_>>(), Vec::new());
            loop {
                let priced = grid.candidates(&kept).into_iter().filter_map(|candidate| {
                    let rest = without(&kept, &candidate.gone);
                    let saved = seconds(&kept) - seconds(&rest);
                    let wider = (spread(&rest) - spread(&kept)).max(0.0);
                    (saved > 0.0).then_some((wider / saved, candidate.what, rest))
                });
                let Some(best) = priced.min_by(|l, r| l.0.total_cmp(&r.0)) else { break };
                want.push(best.1);
                kept = best.2;
            }
            assert!(want.len() > 8, "{want:?}");
            let none = vec![false; cells.len()];
            let got = propose(&cells, &none, &tasks, workers, 0.0);
            assert_eq!(got.drops.iter().map(|d| d.what.clone()).collect::<Vec<_>>(), want);
        }
    }
}
