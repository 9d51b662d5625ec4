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

use std::collections::BTreeSet;

use serde::Serialize;

use crate::plan::{Cell, trunk};

/// Least sizes of a budget that stay, and least budgets: a parabola with something to judge it by, and a
/// power law with the same.
const LEAST: (usize, usize) = (5, 4);
/// Where the intervals are held: this many times the largest compute.
const AHEAD: f64 = 10.0;
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

/// What to drop of `cells` so that what is left takes at most `target` seconds. `seconds` is the predicted
/// wall-clock of a sweep of such cells, what is done not counted; `done` cells are never dropped.
pub fn propose(
    cells: &[Cell],
    done: &dyn Fn(&Cell) -> bool,
    seconds: &dyn Fn(&[Cell]) -> f64,
    target: f64,
) -> Proposal {
    let before = seconds(cells);
    let mut drops: Vec<Drop> = Vec::new();
    let (mut now, mut kept) = (before, cells.to_vec());
    let law = Local::about(cells);
    let ahead = AHEAD * cells.iter().map(|c| c.recipe.flops()).fold(0.0, f64::max);
    let whole = law.variances(cells, ahead);
    let spread = |v: (f64, f64)| v.0.ln() + v.1.ln();
    let mut known = whole;
    while now > target {
        let judged = candidates(&kept).into_iter().filter_map(|(what, gone)| {
            let out = |c: &Cell| gone.contains(&c.id) && !done(c);
            let names: Vec<String> = kept.iter().filter(|c| out(c)).map(|c| c.id.clone()).collect();
            let mut rest: Vec<Cell> = kept.iter().filter(|c| !out(c)).cloned().collect();
            trunk::join(&mut rest);
            let then = seconds(&rest);
            let variances = law.variances(&rest, ahead);
            let price = (spread(variances) - spread(known)).max(0.0) / (now - then);
            (!names.is_empty() && then < now).then_some((price, what, names, rest, then, variances))
        });
        let Some(best) = judged.min_by(|l, r| l.0.total_cmp(&r.0)) else { break };
        let (_, what, names, rest, then, variances) = best;
        let wider = |part: f64, of: f64| (part / of).sqrt() - 1.0;
        drops.push(Drop {
            what,
            cells: names,
            saves: now - then,
            params_wider: wider(variances.0, whole.0),
            loss_wider: wider(variances.1, whole.1),
        });
        (now, kept, known) = (then, rest, variances);
    }
    Proposal { target, before, seconds: now, fits: now <= target, drops }
}

/// Everything that can be left out next: in words, and ids.
fn candidates(cells: &[Cell]) -> Vec<(String, BTreeSet<String>)> {
    let ids = |which: &dyn Fn(&Cell) -> bool| -> BTreeSet<String> {
        cells.iter().filter(|c| which(c)).map(|c| c.id.clone()).collect()
    };
    let mut out = Vec::new();
    let seeds: BTreeSet<(u64, u64)> = cells.iter().map(seeds).collect();
    if let Some(last) = seeds.last().filter(|_| seeds.len() > 1) {
        out.push((
            format!("the cells with seeds {} and {} (weights, order)", last.0, last.1),
            ids(&|c| self::seeds(c) == *last),
        ));
    }
    let mut budgets: Vec<f64> = cells.iter().filter_map(|c| c.budget).collect();
    budgets.sort_by(f64::total_cmp);
    budgets.dedup();
    if let Some(top) = budgets.last().filter(|_| budgets.len() > LEAST.1) {
        out.push((format!("the largest budget, {top:.2e} FLOP"), ids(&|c| c.budget == Some(*top))));
    }
    for budget in budgets {
        let of = |c: &Cell| c.budget == Some(budget);
        let sizes: BTreeSet<u64> =
            cells.iter().filter(|c| of(c)).map(|c| c.params() as u64).collect();
        if sizes.len() <= LEAST.0 {
            continue;
        }
        for (name, size) in [("smallest", sizes.first()), ("largest", sizes.last())] {
            let Some(size) = size else { continue };
            out.push((
                format!(
                    "the {name} size of budget {budget:.2e}, {} parameters",
                    crate::units::count(*size as f64)
                ),
                ids(&|c| of(c) && c.params() as u64 == *size),
            ));
        }
    }
    out
}

fn seeds(cell: &Cell) -> (u64, u64) {
    (cell.recipe.init_seed, cell.recipe.order())
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

    /// Variances of ln N* and of ln L there at compute `ahead`, in units of that of one cell's ln L.
    fn variances(&self, cells: &[Cell], ahead: f64) -> (f64, f64) {
        let mut squares = [[0.0; 5]; 5];
        for (i, row) in squares.iter_mut().enumerate() {
            row[i] = PRIOR;
        }
        for cell in cells {
            let u = cell.params().ln() - self.centre.0;
            let v = (cell.recipe.tokens() as f64).ln() - self.centre.1;
            let row = self.row(u, v);
            for i in 0..5 {
                for j in 0..5 {
                    squares[i][j] += row[i] * row[j];
                }
            }
        }
        // C = 6 N D is near enough for where to look.
        let c = (ahead / 6.0).ln() - self.centre.0 - self.centre.1;
        let best = self.best(c);
        (quadratic(squares, self.best_row(c)), quadratic(squares, self.row(best, c - best)))
    }
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
        let (l, r) = (law.variances(&one, 1e13), law.variances(&two, 1e13));
        assert!((l.0 / r.0 - 2.0).abs() < 0.02 && (l.1 / r.1 - 2.0).abs() < 0.02, "{l:?} {r:?}");
    }

    #[test]
    fn what_is_dropped_saves_what_is_needed_and_leaves_a_study() {
        let cells = study();
        let none = |_: &Cell| false;
        let whole = seconds(&cells);
        let enough = propose(&cells, &none, &seconds, whole);
        assert!(enough.fits && enough.drops.is_empty());
        for share in [0.9, 0.6, 0.3] {
            let got = propose(&cells, &none, &seconds, share * whole);
            assert!(got.fits && got.seconds <= share * whole, "{share}");
            let saved: f64 = got.drops.iter().map(|d| d.saves).sum();
            assert!((whole - saved - got.seconds).abs() < 1e-6 * whole);
            let gone: BTreeSet<&String> = got.drops.iter().flat_map(|d| &d.cells).collect();
            let kept: Vec<Cell> = cells.iter().filter(|c| !gone.contains(&c.id)).cloned().collect();
            assert!((seconds(&kept) - got.seconds).abs() < 1e-6 * whole);
            let widths: Vec<f64> = got.drops.iter().map(|d| d.params_wider).collect();
            assert!(widths.is_sorted() && widths[0] > 0.0, "less is never narrower: {widths:?}");
        }
        let least = propose(&cells, &none, &seconds, 0.0);
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
        let all_done = propose(&cells, &|_| true, &seconds, 0.0);
        assert!(all_done.drops.is_empty());
    }
}
