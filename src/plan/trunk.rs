//! Trunks and branches: cells that share all steps before their cooldown.
//!
//! Under a trunk schedule the stable part of a short run is the beginning of a long one: the longest cell
//! of each size and seed is the trunk, and every shorter horizon is only its cooldown, forked from it
//! (Haegele et al. 2024, arXiv:2405.18392). A branch takes the same steps, bit for bit, as the same cell
//! trained alone, so what is shared is a matter of cost and never of identity: the plan is a DAG whose one
//! kind of edge is [`Cell::trunk`].

use std::collections::BTreeMap;

use crate::plan::Cell;
use crate::spec::Schedule;

/// Gives every cell but the longest of its stem the id of that cell as its trunk.
pub fn join(cells: &mut [Cell]) {
    let stems: Vec<Option<String>> = cells.iter().map(|c| c.recipe.stem()).collect();
    let mut longest: BTreeMap<&str, (u64, String)> = BTreeMap::new();
    for (cell, stem) in cells.iter().zip(&stems) {
        if let Some(stem) = stem {
            let this = (cell.recipe.stable_steps(), cell.id.clone());
            let most = longest.entry(stem).or_insert_with(|| this.clone());
            *most = this.max(most.clone());
        }
    }
    for (cell, stem) in cells.iter_mut().zip(&stems) {
        let trunk = stem.as_ref().map(|stem| longest[stem.as_str()].1.clone());
        cell.trunk = trunk.filter(|id| *id != cell.id);
    }
}

/// Steps at which the trunk of a cell is to be kept for the branches of it, fewest first.
pub fn forks(trunk: &Cell, cells: &[Cell]) -> Vec<u64> {
    let branches = cells.iter().filter(|c| c.trunk.as_ref() == Some(&trunk.id));
    let mut steps: Vec<u64> =
        branches.map(|c| c.recipe.stable_steps()).filter(|s| *s > 0).collect();
    steps.sort_unstable();
    steps.dedup();
    steps
}

/// Compute with trunks over compute without (0, 1], where any size under a schedule with a stable part has
/// more than one horizon.
pub(super) fn shared(cells: &[Cell]) -> Option<f64> {
    let spent = |cells: &[Cell]| -> f64 { cells.iter().map(Cell::flops_spent).sum() };
    let apart: f64 = cells.iter().map(|c| c.recipe.flops()).sum();
    if cells.iter().any(|c| c.trunk.is_some()) {
        return Some(spent(cells) / apart);
    }
    // What it would be: warmup is then one for all horizons of a size, so its share is left out.
    let mut trunks: Vec<Cell> = cells.to_vec();
    for cell in &mut trunks {
        let Schedule::Wsd { decay, end, .. } = cell.recipe.schedule else { return None };
        cell.recipe.schedule = Schedule::Trunk { warmup: 0.0, decay, end };
    }
    join(&mut trunks);
    trunks.iter().any(|c| c.trunk.is_some()).then(|| spent(&trunks) / apart)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::tests::{SWEEP, plan};

    /// A sweep of two sizes at these tokens.
    fn sweep(tokens: &str, batch: &str, schedule: &str) -> String {
        let grid = format!("[grid.product]\nparams = [1e4, 1e5]\ntokens = {tokens}\n");
        let start = &SWEEP[..SWEEP.find("[grid").unwrap()];
        let optim = format!("[optim]\nlearning_rate = 0.01\nbatch_tokens = {batch}\n");
        format!("{start}{grid}{optim}{schedule}\n")
    }

    const TRUNK: &str = "[schedule.trunk]\nwarmup = 0.5\ndecay = 0.2\nend = 0.0";
    const WSD: &str = "[schedule.wsd]\nwarmup = 0.1\ndecay = 0.2\nend = 0.0";

    /// Oracle: 3 horizons with a fifth in cooldown, by exact fractions: 8/15 and 5/9
    /// (Haegele et al. 2024, flops.ipynb). Rounding to steps moves it by less than 1e-3.
    #[test]
    fn the_share_of_three_horizons_is_the_exact_fraction() {
        for (tokens, want) in
            [("[37.5e6, 62.5e6, 50e6]", 8.0 / 15.0), ("[25e6, 37.5e6, 50e6]", 5.0 / 9.0)]
        {
            for schedule in [TRUNK, WSD] {
                let got = plan(&sweep(tokens, "2048", schedule)).trunk_share().unwrap();
                assert!((got - want).abs() < 1e-3, "{tokens}: {got}");
            }
        }
        assert_eq!(plan(&sweep("[25e6]", "2048", TRUNK)).trunk_share(), None);
    }

    #[test]
    fn the_longest_cell_of_a_stem_is_the_trunk_of_the_others() {
        let plan = plan(&format!("seeds = 2\n{}", sweep("[1e6, 4e6, 2e6]", "2048", TRUNK)));
        let trunks: Vec<&Cell> = plan.cells.iter().filter(|c| c.trunk.is_none()).collect();
        assert_eq!((plan.cells.len(), trunks.len()), (12, 4), "two sizes, two seeds");
        for trunk in trunks {
            assert_eq!(trunk.recipe.steps, 1953);
            // 488 and 977 steps, a fifth of them in cooldown.
            assert_eq!(forks(trunk, &plan.cells), [488 - 98, 977 - 195]);
            assert_eq!(trunk.own_steps(), 1953);
        }
        let branch = plan.cells.iter().find(|c| c.recipe.steps == 488).unwrap();
        assert_eq!(branch.own_steps(), 98);
        assert!(plan.flops_spent() < 0.75 * plan.flops());
    }

    #[test]
    fn another_batch_or_a_cosine_shares_nothing() {
        let growing = "{ value = 2048, tokens_exponent = 1.0, tokens_ref = 1e6 }";
        assert_eq!(plan(&sweep("[1e6, 3e6]", growing, WSD)).trunk_share(), None);
        let cosine = "[schedule.cosine]\nwarmup = 0.1\nend = 0.0";
        assert_eq!(plan(&sweep("[1e6, 3e6]", "2048", cosine)).trunk_share(), None);
    }

    /// Sizes of all budgets are rungs of one ladder, at most half a rung off the wished centre.
    #[test]
    fn an_isoflop_grid_under_a_trunk_has_its_sizes_on_one_ladder() {
        let budgets = "budgets = [1e11, 1.78e11, 3.16e11, 5.62e11, 1e12]";
        let text = SWEEP.replace("budgets = [3e10, 1e11, 3e11, 1e12]", budgets);
        let text = format!(
            "{}{TRUNK}\n[model]\nwidth_multiple = 2\n",
            &text[..text.find("[schedule").unwrap()]
        );
        let plan = plan(&text);
        assert_eq!(plan.cells.len(), 30);
        let mut sizes: Vec<u64> = plan.cells.iter().map(|c| c.params() as u64).collect();
        sizes.sort_unstable();
        sizes.dedup();
        // Six rungs, and N* moves by sqrt(10) = 1.15 ln over rungs of 0.555 ln: two more.
        assert!(sizes.len() <= 9, "{sizes:?}");
        assert!(plan.trunk_share().unwrap() < 0.75);
    }
}
