//! A fitted law where a figure needs a curve. Nothing is fitted here.

use crate::fit::numeric::stats;
use crate::fit::{Analysis, BudgetFit, Draws, Fit, Surface};

/// The fit that leads: the first with a surface.
pub(super) fn lead(analysis: &Analysis) -> Option<(&Fit, &Surface)> {
    analysis.fits.iter().find_map(|fit| fit.params.as_ref().map(|surface| (fit, surface)))
}

/// (N*, D*) of one fit at `flops`: from its surface, or from its straight line where it has none.
pub(super) fn frontier(analysis: &Analysis, fit: &Fit, flops: f64) -> Option<(f64, f64)> {
    match &fit.params {
        Some(surface) => surface.optimum(&analysis.compute, flops),
        None => Some(analysis.line(fit).at(flops)),
    }
}

/// The pointwise interval of N* and of D* over a fit's draws, at the fit's own level.
pub(super) fn frontier_band(analysis: &Analysis, fit: &Fit, flops: f64) -> Option<[[f64; 2]; 2]> {
    let drawn: Vec<(f64, f64)> = match &fit.draws {
        Draws::Surfaces(draws) => {
            draws.iter().filter_map(|s| s.optimum(&analysis.compute, flops)).collect()
        }
        Draws::Frontiers(draws) => {
            draws.iter().map(|f| analysis.drawn_line(fit, *f).at(flops)).collect()
        }
    };
    let [params, tokens] = [|d: &(f64, f64)| d.0, |d: &(f64, f64)| d.1]
        .map(|of| drawn.iter().map(of).collect::<Vec<f64>>());
    let interval = |values: &[f64]| stats::percentile_interval(values, fit.level);
    Some([interval(&params)?, interval(&tokens)?])
}

/// (N, L) at the vertex of a budget's parabola. Nothing when the vertex lies outside the sampled sizes:
/// such a minimum is a guess, and a mark would give it a weight that it has not.
pub(super) fn minimum(budget: &BudgetFit) -> Option<(f64, f64)> {
    let (params, loss) = (budget.params?, budget.loss?);
    let [lo, hi] = budget.sampled;
    (budget.excluded.is_none() || (lo..=hi).contains(&params)).then_some((params, loss))
}
