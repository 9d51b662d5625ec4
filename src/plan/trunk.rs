//! What a study would cost if cells of one size and seed shared a trunk.
//!
//! Under warmup-stable-decay the stable part of a short run is the beginning of a long one: one trunk to
//! the longest horizon, and for every shorter horizon only its cooldown, forked from the trunk (Haegele
//! et al. 2024, arXiv:2405.18392). isoflop trains every horizon apart; `plan` says what that costs.
//!
//! Limits: here warmup is a share of each run, a trunk would have one warmup for all its horizons.

use std::collections::BTreeMap;

use crate::plan::Cell;
use crate::spec::Schedule;

/// (C_max + f sum of the others) / (sum of all), for the compute of one size at its horizons and the
/// share `f` of a run that cools down.
fn share(flops: &[f64], cooldown: f64) -> f64 {
    let (all, most) = flops.iter().fold((0.0, 0.0_f64), |(s, m), c| (s + c, m.max(*c)));
    (most + cooldown * (all - most)) / all
}

/// Compute with trunks over compute without (0, 1], where any size under this schedule has more than one
/// horizon.
pub(super) fn shared(cells: &[Cell]) -> Option<f64> {
    let mut trunks: BTreeMap<String, (Vec<f64>, f64)> = BTreeMap::new();
    for recipe in cells.iter().map(|c| &c.recipe) {
        let Schedule::Wsd { decay, .. } = &recipe.schedule else { return None };
        // What must be equal before the cooldown.
        let stem = format!(
            "{:?} {} {} {} {}",
            recipe.shape,
            recipe.seed,
            recipe.batch_sequences,
            recipe.learning_rate,
            recipe.weight_decay
        );
        trunks.entry(stem).or_insert_with(|| (Vec::new(), *decay)).0.push(recipe.flops());
    }
    if trunks.values().all(|t| t.0.len() < 2) {
        return None;
    }
    let (with, without) = trunks.values().fold((0.0, 0.0), |(with, without), (flops, cooldown)| {
        let all: f64 = flops.iter().sum();
        (with + share(flops, *cooldown) * all, without + all)
    });
    Some(with / without)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::tests::{SWEEP, plan};

    /// Oracle: 3 horizons with a fifth in cooldown, by exact fractions: 8/15 and 5/9.
    #[test]
    fn the_share_of_three_horizons_is_the_exact_fraction() {
        assert!((share(&[37.5, 62.5, 50.0], 0.2) - 8.0 / 15.0).abs() < 1e-15);
        assert!((share(&[25.0, 37.5, 50.0], 0.2) - 5.0 / 9.0).abs() < 1e-15);
        assert_eq!(share(&[7.0], 0.2), 1.0);
    }

    /// Two sizes at 1M and 3M tokens, a fifth in cooldown: (3 + .2) / 4 of the compute for each. Another
    /// batch for the longer horizon, or a cosine, shares nothing.
    #[test]
    fn only_cells_with_one_stem_share_a_trunk() {
        let sweep = |batch: &str, schedule: &str| {
            let grid = "[grid.product]\nparams = [1e4, 1e5]\ntokens = [1e6, 3e6]\n";
            let start = &SWEEP[..SWEEP.find("[grid").unwrap()];
            let optim = format!("[optim]\nlearning_rate = 0.01\nbatch_tokens = {batch}\n");
            plan(&format!("{start}{grid}{optim}{schedule}\nwarmup = 0.1\nend = 0.0\n")).cells
        };
        let wsd = "[schedule.wsd]\ndecay = 0.2";
        let got = shared(&sweep("2048", wsd)).unwrap();
        assert!((got - 0.8).abs() < 2e-3, "{got}");
        let growing = "{ value = 2048, tokens_exponent = 1.0, tokens_ref = 1e6 }";
        assert_eq!(shared(&sweep(growing, wsd)), None);
        assert_eq!(shared(&sweep("2048", "[schedule.cosine]")), None);
    }
}
