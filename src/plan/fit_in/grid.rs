//! What can be left out of a grid next, and the trunks of what stays.

use std::collections::{BTreeMap, BTreeSet};

use crate::plan::Cell;

/// Least sizes of a budget that stay, and least budgets: a parabola with something to judge it by, and a
/// power law with the same.
pub(super) const LEAST: (usize, usize) = (5, 4);

/// Something that can be left out next.
pub(super) struct Candidate {
    /// Its place among all of a round.
    pub(super) place: usize,
    /// In words.
    pub(super) what: String,
    /// Places of its cells, in order.
    pub(super) gone: Vec<usize>,
}

/// What the choice asks of every cell, found out once.
pub(super) struct Grid {
    budgets: Vec<Option<f64>>,
    sizes: Vec<u64>,
    seeds: Vec<(u64, u64)>,
    /// Number of the cell's stem, under a trunk schedule.
    stems: Vec<Option<usize>>,
    /// Place of a cell when they are sorted by how far their stable part goes.
    reach: Vec<usize>,
}

impl Grid {
    pub(super) fn of(cells: &[Cell]) -> Self {
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
    pub(super) fn trunks(&self, kept: &[usize]) -> Vec<Option<usize>> {
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
    pub(super) fn candidates(&self, kept: &[usize]) -> Vec<Candidate> {
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
