//! AdamW with global gradient-norm clipping, and the learning rate over time.

use burn::tensor::Tensor;

use crate::model::{Factors, Scaling, Transformer};
use crate::ops::{self, AdamStep};
use crate::plan::Recipe;
use crate::spec::Schedule;

/// Moments of every weight, in the model's order.
#[derive(Debug)]
pub(super) struct AdamW {
    betas: [f64; 2],
    eps: f64,
    weight_decay: f64,
    clip: f64,
    /// What the parametrization makes of rate, decay and eps, weight by weight.
    factors: Vec<Factors>,
    moments: Vec<[Tensor<2>; 2]>,
}

impl AdamW {
    pub(super) fn new(recipe: &Recipe, model: &mut Transformer) -> Self {
        let zeros = |w: &Tensor<2>| w.zeros_like();
        let scaling = Scaling::of(recipe);
        let weights = model.weights_mut();
        Self {
            betas: recipe.betas,
            eps: recipe.eps,
            weight_decay: recipe.weight_decay,
            clip: recipe.clip,
            factors: weights.iter().map(|(_, w)| scaling.factors(w.role, &recipe.shape)).collect(),
            moments: weights.iter().map(|(_, w)| [zeros(&w.value), zeros(&w.value)]).collect(),
        }
    }

    /// Both moments of every weight.
    pub(super) fn moments(&self) -> &[[Tensor<2>; 2]] {
        &self.moments
    }

    /// The same, to be put back.
    pub(super) fn moments_mut(&mut self) -> &mut [[Tensor<2>; 2]] {
        &mut self.moments
    }

    /// Updates every weight and returns the global gradient norm before clipping [-].
    ///
    /// `step` counts from 0. Nothing is updated when the norm is not finite.
    pub(super) fn step(
        &mut self,
        model: &mut Transformer,
        grads: Vec<Tensor<2>>,
        step: u64,
        rate: f64,
    ) -> f64 {
        let kernels = model.kernels();
        let weights = model.weights_mut();
        let norm = ops::norm(&grads, kernels);
        if !norm.is_finite() {
            return norm;
        }
        // The constant is that of torch.nn.utils.clip_grad_norm_.
        let clip = if self.clip > 0.0 { (self.clip / (norm + 1e-6)).min(1.0) } else { 1.0 };
        let t = i32::try_from(step + 1).unwrap_or(i32::MAX);
        let parts = weights.into_iter().zip(grads).zip(&mut self.moments).zip(&self.factors);
        for ((((_, weight), grad), moments), factors) in parts {
            let step = AdamStep {
                clip,
                betas: self.betas,
                corrections: self.betas.map(|b| 1.0 - b.powi(t)),
                eps: self.eps * factors.eps,
                rate: rate * factors.rate,
                decay: self.weight_decay * factors.decay,
            };
            // The model gives its handle up, so that the kernel may write in place.
            let gone = Tensor::empty([1, 1], &weight.value.device());
            let value = std::mem::replace(&mut weight.value, gone);
            weight.value = ops::adamw(value, grad, moments, &step, kernels);
        }
        norm
    }
}

/// The learning rate of a recipe at a step, counted from 0.
///
/// Warmup rises linearly and reaches the peak at its last step. The rate reaches `end` of the peak at
/// the last step, whatever the length: every cell is decayed to its own horizon. What comes before the
/// cooldown does not depend on the length under a trunk schedule.
pub(super) fn learning_rate(recipe: &Recipe, step: u64) -> f64 {
    let at = step + 1;
    let tokens = (at * recipe.batch_tokens()) as f64;
    let peak = recipe.learning_rate
        * recipe.horizon.map_or(1.0, |h| (tokens / h.tokens).max(1.0).powf(h.exponent));
    let (warm, stable) = (recipe.warmup_steps(), recipe.stable_steps());
    let warmed = |at: u64| if at < warm { at as f64 / warm as f64 } else { 1.0 };
    if at <= stable {
        return peak * warmed(at);
    }
    let gone = (at - stable) as f64 / (recipe.steps - stable) as f64;
    let (end, left) = match recipe.schedule {
        Schedule::Cosine { end, .. } => (end, 0.5 * (1.0 + (std::f64::consts::PI * gone).cos())),
        Schedule::Wsd { end, .. } | Schedule::Trunk { end, .. } => (end, 1.0 - gone.sqrt()),
    };
    peak * warmed(stable) * (end + (1.0 - end) * left)
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::plan::Horizon;
    use crate::plan::tests::{SWEEP, plan};

    /// A recipe of this many steps of 1024 tokens.
    fn recipe(schedule: Schedule, peak: f64, steps: u64) -> Recipe {
        let planned = plan(SWEEP).cells.swap_remove(0).recipe;
        Recipe { schedule, learning_rate: peak, steps, ..planned }
    }

    #[test]
    fn cosine_rises_to_the_peak_and_ends_where_it_should() {
        let recipe = recipe(Schedule::Cosine { warmup: 0.1, end: 0.02 }, 2.0, 100);
        let rate = |step| learning_rate(&recipe, step);
        assert!((rate(0) - 0.2).abs() < 1e-12);
        assert!((rate(9) - 2.0).abs() < 1e-12);
        assert!((rate(54) - (0.04 + 1.96 * 0.5)).abs() < 1e-12, "half way down: {}", rate(54));
        assert!((rate(99) - 0.04).abs() < 1e-12);
        assert!((10..99).all(|s| rate(s) < rate(s - 1)));
    }

    #[test]
    fn wsd_is_flat_between_warmup_and_decay() {
        let recipe = recipe(Schedule::Wsd { warmup: 0.1, decay: 0.2, end: 0.0 }, 1.0, 100);
        let rate = |step| learning_rate(&recipe, step);
        assert!((9..80).all(|s| rate(s) == 1.0));
        assert!((rate(84) - 0.5).abs() < 1e-12, "1 - sqrt(1/4): {}", rate(84));
        assert_eq!(rate(99), 0.0);
    }

    #[test]
    fn a_run_of_one_step_has_a_rate() {
        for schedule in [
            Schedule::Cosine { warmup: 0.0, end: 0.0 },
            Schedule::Wsd { warmup: 0.0, decay: 1.0, end: 0.5 },
        ] {
            assert!(learning_rate(&recipe(schedule, 1.0, 1), 0).is_finite());
        }
    }

    /// The rate before the cooldown is that of any longer run, also where it falls with the tokens.
    #[test]
    fn a_trunk_does_not_know_its_horizon() {
        let schedule = Schedule::Trunk { warmup: 0.2, decay: 0.2, end: 0.0 };
        for horizon in [None, Some(Horizon { tokens: 1e6, exponent: -0.3 })] {
            let of = |steps| Recipe { horizon, ..recipe(schedule.clone(), 1.0, steps) };
            let (long, short) = (of(4000), of(1500));
            assert!(short.stem().is_some() && short.stem() == long.stem());
            assert_ne!(short.id(), long.id());
            assert_eq!(short.stable_steps(), 1200);
            assert!(short.warmup_steps() > 2 && short.warmup_steps() == long.warmup_steps());
            let same = |s| learning_rate(&short, s) == learning_rate(&long, s);
            assert!((0..1200).all(same) && !same(1200));
            assert_eq!(learning_rate(&short, 1499), 0.0);
        }
        // Shorter than its warmup: the way up is that of any longer run, and it cools down from where it got.
        let slow = Schedule::Trunk { warmup: 10.0, decay: 0.2, end: 0.0 };
        let long = recipe(slow.clone(), 1.0, 100_000);
        let warm = long.warmup_steps();
        let brief = recipe(slow, 1.0, warm / 2);
        let stable = brief.stable_steps();
        assert!(warm > 100 && stable == warm / 2 - (0.2 * (warm / 2) as f64).round() as u64);
        assert!((0..stable).all(|s| learning_rate(&brief, s) == learning_rate(&long, s)));
        assert!((learning_rate(&brief, stable - 1) - stable as f64 / warm as f64).abs() < 1e-12);
        assert!(learning_rate(&brief, stable) < learning_rate(&long, stable - 1));
        assert_eq!(learning_rate(&brief, warm / 2 - 1), 0.0);
        let falling = Recipe {
            horizon: Some(Horizon { tokens: 1e6, exponent: -0.3 }),
            ..recipe(schedule, 2.0, 10_000)
        };
        // 1,024,000 and 8,192,000 tokens.
        for (step, want) in
            [(500, 2.0), (999, 2.0 * 1.024_f64.powf(-0.3)), (7999, 2.0 * 8.192_f64.powf(-0.3))]
        {
            assert!((learning_rate(&falling, step) - want).abs() < 1e-12, "step {step}");
        }
    }
}
