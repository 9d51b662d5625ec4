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

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::plan::Cell;
use crate::plan::cost::{Turn, makespan};
use crate::points::AHEAD;

/// Least sizes of a budget that stay, and least budgets: a parabola with something to judge it by, and a
/// power law with the same.
const LEAST: (usize, usize) = (5, 4);
/// Exponents of size and data (Hoffmann et al. 2022, unrounded as in arXiv:2404.10102).
const EXPONENTS: (f64, f64) = (0.3392, 0.2849);
/// Share of the loss at the centre that size and data can take away, as at Chinchilla's smaller runs.
const REDUCIBLE: f64 = 0.33;
/// Precision of a weak prior of each parameter over that of one cell's ln L: no design is singular.
const PRIOR: f64 = 1e-6;

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
pub type Turns<'a> = &'a dyn Fn(&[usize], &[Option<usize>]) -> Vec<Turn>;

/// What to drop of `cells` so that what is left takes at most `target` seconds with `workers` cells side by side.
/// `done` cells are never dropped.
pub fn propose(
    cells: &[Cell],
    done: &[bool],
    turns: Turns<'_>,
    workers: usize,
    target: f64,
) -> Proposal {
    let grid = Grid::of(cells);
    let turns = |kept: &[usize]| turns(kept, &grid.trunks(kept));
    let (law, mut kept) = (Local::about(cells), (0..cells.len()).collect::<Vec<usize>>());
    let rows: Vec<[f64; 5]> = cells.iter().map(|c| law.row_of(c)).collect();
    let ahead = AHEAD * cells.iter().map(|c| c.recipe.flops()).fold(0.0, f64::max);
    let information = |places: &[usize]| {
        places.iter().fold([[0.0; 5]; 5], |sum, i| plus(sum, outer(rows[*i]), 1.0))
    };
    let mut known = information(&kept);
    let whole = law.variances(known, ahead);
    let spread = |v: (f64, f64)| v.0.ln() + v.1.ln();
    let before = makespan(&turns(&kept), workers);
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
            let work: f64 = turns(&rest).iter().map(|t| t.seconds).sum();
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
            let then = makespan(&turns(&without(&kept, &candidate.gone)), workers);
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

/// Something that can be left out next.
struct Candidate {
    /// Its place among all of a round.
    place: usize,
    /// In words.
    what: String,
    /// Places of its cells, in order.
    gone: Vec<usize>,
}

/// What the choice asks of every cell, found out once.
struct Grid {
    budgets: Vec<Option<f64>>,
    sizes: Vec<u64>,
    seeds: Vec<(u64, u64)>,
    /// Number of the cell's stem, under a trunk schedule.
    stems: Vec<Option<usize>>,
    /// Place of a cell when they are sorted by how far their stable part goes.
    reach: Vec<usize>,
}

impl Grid {
    fn of(cells: &[Cell]) -> Self {
        let mut numbers: BTreeMap<String, usize> = BTreeMap::new();
        let stem = |cell: &Cell| {
            let next = numbers.len();
            Some(*numbers.entry(cell.recipe.stem()?).or_insert(next))
        };
        let stems = cells.iter().map(stem).collect();
        let mut order: Vec<usize> = (0..cells.len()).collect();
        order.sort_by_key(|i| (cells[*i].recipe.stable_steps(), &cells[*i].id));
        let mut reach = vec![0; cells.len()];
        order.iter().enumerate().for_each(|(place, i)| reach[*i] = place);
        Self {
            budgets: cells.iter().map(|c| c.budget).collect(),
            sizes: cells.iter().map(|c| c.params() as u64).collect(),
            seeds: cells.iter().map(|c| (c.recipe.init_seed, c.recipe.order())).collect(),
            stems,
            reach,
        }
    }

    /// The trunk of each, where only these are trained, as [`trunk::join`](crate::plan::trunk::join) has it.
    fn trunks(&self, kept: &[usize]) -> Vec<Option<usize>> {
        let mut longest: Vec<Option<usize>> = vec![None; self.stems.len()];
        for i in kept {
            if let Some(stem) = self.stems[*i] {
                let most = longest[stem].get_or_insert(*i);
                if self.reach[*i] > self.reach[*most] {
                    *most = *i;
                }
            }
        }
        kept.iter().map(|i| longest[self.stems[*i]?].filter(|trunk| trunk != i)).collect()
    }

    /// Everything that can be left out next of what is kept.
    fn candidates(&self, kept: &[usize]) -> Vec<Candidate> {
        let mut out = Vec::new();
        let mut add = |what: String, gone: Vec<usize>| {
            out.push(Candidate { place: out.len(), what, gone });
        };
        let seeds: BTreeSet<(u64, u64)> = kept.iter().map(|i| self.seeds[*i]).collect();
        if let Some(last) = seeds.last().filter(|_| seeds.len() > 1) {
            add(
                format!("the cells with seeds {} and {} (weights, order)", last.0, last.1),
                kept.iter().copied().filter(|i| self.seeds[*i] == *last).collect(),
            );
        }
        // The bits of numbers above 0 sort as they do.
        let mut budgets: BTreeMap<u64, BTreeMap<u64, Vec<usize>>> = BTreeMap::new();
        for i in kept {
            if let Some(budget) = self.budgets[*i] {
                budgets
                    .entry(budget.to_bits())
                    .or_default()
                    .entry(self.sizes[*i])
                    .or_default()
                    .push(*i);
            }
        }
        if let Some((top, sizes)) = budgets.last_key_value().filter(|_| budgets.len() > LEAST.1) {
            let mut all: Vec<usize> = sizes.values().flatten().copied().collect();
            all.sort_unstable();
            add(format!("the largest budget, {:.2e} FLOP", f64::from_bits(*top)), all);
        }
        for (budget, sizes) in budgets.iter().filter(|(_, sizes)| sizes.len() > LEAST.0) {
            let ends = [("smallest", sizes.first_key_value()), ("largest", sizes.last_key_value())];
            for (name, end) in ends {
                let Some((size, gone)) = end else { continue };
                let (budget, size) = (f64::from_bits(*budget), crate::units::count(*size as f64));
                add(
                    format!("the {name} size of budget {budget:.2e}, {size} parameters"),
                    gone.clone(),
                );
            }
        }
        out
    }
}

/// L = E + a exp(-alpha u) + b exp(-beta v) with u and v the logarithms of N and D over those of the
/// centre, where L = 1 and the size is the best for the compute.
#[derive(Debug, Clone, Copy)]
struct Local {
    /// Means of ln N and ln D.
    centre: (f64, f64),
    e: f64,
    a: f64,
    b: f64,
    alpha: f64,
    beta: f64,
}

impl Local {
    fn about(cells: &[Cell]) -> Self {
        let n = cells.len().max(1) as f64;
        let mean = |of: &dyn Fn(&Cell) -> f64| cells.iter().map(|c| of(c).ln()).sum::<f64>() / n;
        let (alpha, beta) = EXPONENTS;
        Self {
            centre: (mean(&Cell::params), mean(&|c| c.recipe.tokens() as f64)),
            e: 1.0 - REDUCIBLE,
            a: REDUCIBLE * beta / (alpha + beta),
            b: REDUCIBLE * alpha / (alpha + beta),
            alpha,
            beta,
        }
    }

    fn loss(&self, u: f64, v: f64) -> f64 {
        self.e + self.a * (-self.alpha * u).exp() + self.b * (-self.beta * v).exp()
    }

    /// Derivatives of ln L by E, ln a, ln b, alpha and beta.
    fn row(&self, u: f64, v: f64) -> [f64; 5] {
        let (size, data) = (self.a * (-self.alpha * u).exp(), self.b * (-self.beta * v).exp());
        [1.0, size, data, -u * size, -v * data].map(|d| d / self.loss(u, v))
    }

    /// ln of the best N at u + v = `c`, over the centre.
    fn best(&self, c: f64) -> f64 {
        ((self.alpha * self.a / (self.beta * self.b)).ln() + self.beta * c)
            / (self.alpha + self.beta)
    }

    /// Derivatives of that by the same five.
    fn best_row(&self, c: f64) -> [f64; 5] {
        let (best, sum) = (self.best(c), self.alpha + self.beta);
        [0.0, 1.0, -1.0, 1.0 / self.alpha - best, c - best - 1.0 / self.beta].map(|d| d / sum)
    }

    /// The derivatives at a cell.
    fn row_of(&self, cell: &Cell) -> [f64; 5] {
        let u = cell.params().ln() - self.centre.0;
        self.row(u, (cell.recipe.tokens() as f64).ln() - self.centre.1)
    }

    /// Variances of ln N* and of ln L there at compute `ahead`, in units of that of one cell's ln L, from the sum of
    /// the cells' [`outer`] products.
    fn variances(&self, mut information: [[f64; 5]; 5], ahead: f64) -> (f64, f64) {
        for (i, row) in information.iter_mut().enumerate() {
            row[i] += PRIOR;
        }
        // C = 6 N D is near enough for where to look.
        let c = (ahead / 6.0).ln() - self.centre.0 - self.centre.1;
        let best = self.best(c);
        (quadratic(information, self.best_row(c)), quadratic(information, self.row(best, c - best)))
    }
}

/// g g'.
fn outer(g: [f64; 5]) -> [[f64; 5]; 5] {
    g.map(|l| g.map(|r| l * r))
}

/// `sum` and `times` of `more`.
fn plus(mut sum: [[f64; 5]; 5], more: [[f64; 5]; 5], times: f64) -> [[f64; 5]; 5] {
    for (to, from) in sum.iter_mut().zip(more) {
        to.iter_mut().zip(from).for_each(|(to, from)| *to += times * from);
    }
    sum
}

/// g' S^-1 g for a positive definite S, by its Cholesky factor: the squared length of L^-1 g.
fn quadratic(s: [[f64; 5]; 5], g: [f64; 5]) -> f64 {
    let (mut l, mut y) = ([[0.0; 5]; 5], [0.0; 5]);
    for i in 0..5 {
        for j in 0..=i {
            let dot: f64 = (0..j).map(|k| l[i][k] * l[j][k]).sum();
            let rest = s[i][j] - dot;
            l[i][j] = if i == j { rest.max(f64::MIN_POSITIVE).sqrt() } else { rest / l[j][j] };
        }
        let dot: f64 = (0..i).map(|k| l[i][k] * y[k]).sum();
        y[i] = (g[i] - dot) / l[i][i];
    }
    y.iter().map(|v| v * v).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::tests::{SWEEP, plan};

    /// Seconds of a machine of 1e9 FLOP/s with one worker.
    fn seconds(cells: &[Cell]) -> f64 {
        cells.iter().map(Cell::flops_spent).sum::<f64>() / 1e9
    }

    fn seeds(cell: &Cell) -> (u64, u64) {
        (cell.recipe.init_seed, cell.recipe.order())
    }

    /// The same, cell by cell.
    fn on_one(cells: &[Cell], done: &[bool], target: f64) -> Proposal {
        let turn = |i: &usize| Turn { seconds: cells[*i].flops_spent() / 1e9, after: None };
        propose(cells, done, &|kept, _| kept.iter().map(turn).collect(), 1, target)
    }

    fn variances(law: &Local, cells: &[Cell], ahead: f64) -> (f64, f64) {
        let rows = cells.iter().map(|c| outer(law.row_of(c)));
        law.variances(rows.fold([[0.0; 5]; 5], |sum, row| plus(sum, row, 1.0)), ahead)
    }

    fn study() -> Vec<Cell> {
        let budgets = "budgets = [1e10, 3e10, 1e11, 3e11, 1e12]";
        let text = SWEEP.replace("budgets = [3e10, 1e11, 3e11, 1e12]", budgets);
        plan(&format!("seeds = 2\n{}", text.replace("sizes = 6", "sizes = 7"))).cells
    }

    #[test]
    fn derivatives_are_those_of_numbers() {
        let law = Local::about(&study());
        let (u, v, c, h) = (0.7, -0.4, 2.0, 1e-6);
        // The best size by search, not by the formula.
        let search = |law: &Local| {
            let (mut low, mut high) = (-10.0, 10.0);
            for _ in 0..200 {
                let (l, r) = (low + (high - low) / 3.0, high - (high - low) / 3.0);
                if law.loss(l, c - l) < law.loss(r, c - r) { high = r } else { low = l }
            }
            0.5 * (low + high)
        };
        assert!((law.best(c) - search(&law)).abs() < 1e-6);
        assert!(law.best(0.0).abs() < 1e-12, "the centre is optimal");
        let moved = |i: usize, by: f64| match i {
            0 => Local { e: law.e + by, ..law },
            1 => Local { a: law.a * by.exp(), ..law },
            2 => Local { b: law.b * by.exp(), ..law },
            3 => Local { alpha: law.alpha + by, ..law },
            _ => Local { beta: law.beta + by, ..law },
        };
        for i in 0..5 {
            let (less, more) = (moved(i, -h), moved(i, h));
            let slope = (more.loss(u, v).ln() - less.loss(u, v).ln()) / (2.0 * h);
            assert!((slope - law.row(u, v)[i]).abs() < 1e-8, "ln L by {i}");
            let wide = 1e-3;
            let slope = (search(&moved(i, wide)) - search(&moved(i, -wide))) / (2.0 * wide);
            assert!((slope - law.best_row(c)[i]).abs() < 1e-3, "ln N* by {i}: {slope}");
        }
    }

    #[test]
    fn the_quadratic_form_is_that_of_the_inverse() {
        let mut s = [[0.0; 5]; 5];
        for (i, row) in s.iter_mut().enumerate() {
            row[i] = (i + 1) as f64;
        }
        assert!((quadratic(s, [1.0; 5]) - (1.0 + 0.5 + 1.0 / 3.0 + 0.25 + 0.2)).abs() < 1e-12);
        // [[2, 1], [1, 2]]: its inverse is [[2, -1], [-1, 2]] / 3.
        (s[0][0], s[0][1], s[1][0], s[1][1]) = (2.0, 1.0, 1.0, 2.0);
        assert!((quadratic(s, [1.0, 2.0, 0.0, 0.0, 0.0]) - 2.0).abs() < 1e-12);
    }

    /// Twice the cells at the same places: half the variance.
    #[test]
    fn seeds_are_worth_their_number() {
        let two = study();
        let one: Vec<Cell> = two.iter().filter(|c| seeds(c) == (0, 0)).cloned().collect();
        assert_eq!(two.len(), 2 * one.len());
        let law = Local::about(&two);
        let (l, r) = (variances(&law, &one, 1e13), variances(&law, &two, 1e13));
        assert!((l.0 / r.0 - 2.0).abs() < 0.02 && (l.1 / r.1 - 2.0).abs() < 0.02, "{l:?} {r:?}");
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
        let turn = |i: &usize| Turn { seconds: cells[*i].flops_spent() / 1e9, after: None };
        let turns = |kept: &[usize], _: &[Option<usize>]| kept.iter().map(turn).collect::<Vec<_>>();
        let spread = |kept: &[usize]| {
            let part: Vec<Cell> = kept.iter().map(|i| cells[*i].clone()).collect();
            let (params, loss) = variances(&law, &part, ahead);
            params.ln() + loss.ln()
        };
        for workers in [1, 3] {
            let seconds = |kept: &[usize]| makespan(&turns(kept, &[]), workers);
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
            let got = propose(&cells, &none, &turns, workers, 0.0);
            assert_eq!(got.drops.iter().map(|d| d.what.clone()).collect::<Vec<_>>(), want);
        }
    }
}
