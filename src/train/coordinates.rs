//! The coordinate check: how far training moves the activations of a model, layer by layer.
//!
//! If the parametrization is right, a few steps at one rate move the stream and the logits by as much in
//! a wide or deep model as in a small one (Yang et al. 2022, 2203.03466, appendix D.1; Dey et al. 2025,
//! 2505.01618). If it is not, the movement is a power of width or depth, and so is the best rate.

use burn::tensor::Tensor;

use super::{Place, Trainer};
use crate::data::{DataError, Dataset};
use crate::plan::Recipe;

/// Root mean squares over all tokens and coordinates.
#[derive(Debug, Clone, PartialEq)]
pub struct Coordinates {
    /// Of the stream after each block.
    pub stream: Vec<f64>,
    /// Of what training changed in it.
    pub stream_change: Vec<f64>,
    /// Of the logits.
    pub logits: f64,
    /// Of what training changed in them.
    pub logits_change: f64,
}

/// Takes `steps` steps of a recipe and measures on a batch that was not trained on.
///
/// # Errors
///
/// [`DataError`] where a dataset cannot be read.
pub fn coordinates(
    recipe: &Recipe,
    data: &Dataset,
    place: &Place,
    steps: u64,
) -> Result<Coordinates, DataError> {
    let batch = |step| data.batch(recipe.draw(), step, recipe.batch_sequences as usize);
    let probe = batch(steps)?;
    let mut trainer = Trainer::new(recipe, place);
    let before = trainer.model.activations(&probe);
    for step in 0..steps {
        trainer.step(&batch(step)?, step);
    }
    let after = trainer.model.activations(&probe);
    let change = before.stream.into_iter().zip(&after.stream).map(|(b, a)| rms(&(a.clone() - b)));
    Ok(Coordinates {
        stream_change: change.collect(),
        stream: after.stream.iter().map(rms).collect(),
        logits_change: rms(&(after.logits.clone() - before.logits)),
        logits: rms(&after.logits),
    })
}

fn rms(x: &Tensor<2>) -> f64 {
    f64::from(x.clone().powi_scalar(2).mean().into_scalar::<f32>()).sqrt()
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::data::Batch;
    use crate::model::Role;
    use crate::ops::{self, AdamStep, Kernels};
    use crate::plan::{Draw, Plan};
    use crate::shape::Shape;
    use crate::spec::{Parametrization, Schedule, Spec};

    const GRAPH: &str = r#"
        name = "coordinates"
        [data]
        source = { graph-walk = { nodes = 64, degree = 8, skew = 1.0 } }
        [model]
        context = 32
        [grid.product]
        params = [2e4]
        tokens = [1e6]
        [optim]
        learning_rate = 0.01
        batch_tokens = 512
        [schedule.wsd]
        warmup = 0.0
        decay = 0.001
        end = 1.0
    "#;

    fn data() -> (Dataset, Recipe) {
        let spec = Spec::parse(GRAPH).unwrap();
        let data = Dataset::load(&spec, None).unwrap();
        let recipe = Plan::new(&spec, &data.facts).cells.swap_remove(0).recipe;
        (data, recipe)
    }

    fn of(base: &Recipe, parametrization: Parametrization, width: usize, layers: usize) -> Recipe {
        let (reference_width, reference_layers) = match parametrization {
            Parametrization::MupHiddenRates => (32, 0),
            Parametrization::Standard => (0, 0),
            Parametrization::CompleteP => (32, 2),
        };
        let (heads, ff) = (width / 16, width * 5 / 2);
        let shape = Shape { width, layers, heads, ff, ..base.shape };
        Recipe { shape, reference_width, parametrization, reference_layers, ..base.clone() }
    }

    /// Slope of the least-squares line of ln y against ln x.
    fn slope(xy: &[(f64, f64)]) -> f64 {
        let n = xy.len() as f64;
        let logs: Vec<_> = xy.iter().map(|(x, y)| (x.ln(), y.ln())).collect();
        let (mx, my) = logs.iter().fold((0.0, 0.0), |m, p| (m.0 + p.0 / n, m.1 + p.1 / n));
        let covariance: f64 = logs.iter().map(|p| (p.0 - mx) * (p.1 - my)).sum();
        covariance / logs.iter().map(|p| (p.0 - mx).powi(2)).sum::<f64>()
    }

    /// Exponents of RMS against width or depth after eight steps, over the seeds 0 to 2: of the stream after
    /// the last block, of its change, of the logits and of their change.
    fn exponents(parametrization: Parametrization, shapes: [(usize, usize); 4]) -> [f64; 4] {
        let (data, base) = data();
        let place = Place::cpu(Kernels::Fused);
        let by_width = shapes[0].0 != shapes[1].0;
        let found: Vec<(f64, [f64; 4])> = (0..3)
            .flat_map(|seed| shapes.map(|(width, layers)| (seed, width, layers)))
            .map(|(seed, width, layers)| {
                let recipe = of(&base, parametrization, width, layers);
                let recipe = Recipe { init_seed: seed, ..recipe };
                let c = coordinates(&recipe, &data, &place, 8).unwrap();
                assert_eq!((c.stream.len(), c.stream_change.len()), (layers, layers));
                let last = layers - 1;
                let x = if by_width { width } else { layers } as f64;
                (x, [c.stream[last], c.stream_change[last], c.logits, c.logits_change])
            })
            .collect();
        std::array::from_fn(|k| slope(&found.iter().map(|(x, y)| (*x, y[k])).collect::<Vec<_>>()))
    }

    const WIDTHS: [(usize, usize); 4] = [(16, 2), (32, 2), (64, 2), (128, 2)];
    const DEPTHS: [(usize, usize); 4] = [(32, 2), (32, 4), (32, 8), (32, 16)];
    /// Below this an exponent counts as none; ...
    const FLAT: f64 = 0.2;
    /// ... and above this as growth. A power of 1/2 or 1 is what theory has for what is not scaled.
    const GROWS: f64 = 0.35;

    #[test]
    fn complete_p_moves_the_same_at_every_width_and_depth() {
        for shapes in [WIDTHS, DEPTHS] {
            let found = exponents(Parametrization::CompleteP, shapes);
            assert!(found.iter().all(|e| e.abs() < FLAT), "{shapes:?}: {found:.3?}");
        }
    }

    /// What is not scaled grows: the stream with width under `standard` and with depth under both others,
    /// and the logits with width under `mup-hidden-rates`, whose head keeps one rate.
    #[test]
    fn the_others_move_more_the_wider_or_deeper() {
        let [stream, moved, ..] = exponents(Parametrization::Standard, WIDTHS);
        assert!(stream > GROWS && moved > GROWS, "standard, width: {stream:.3}, {moved:.3}");
        for parametrization in [Parametrization::Standard, Parametrization::MupHiddenRates] {
            let [stream, moved, ..] = exponents(parametrization, DEPTHS);
            assert!(
                stream > GROWS && moved > GROWS,
                "{parametrization:?}: {stream:.3}, {moved:.3}"
            );
        }
        let [stream, moved, logits, logits_moved] =
            exponents(Parametrization::MupHiddenRates, WIDTHS);
        assert!(
            stream.abs() < FLAT && moved.abs() < FLAT,
            "hidden rates, width: {stream:.3}, {moved:.3}"
        );
        assert!(
            logits > GROWS && logits_moved > GROWS,
            "hidden rates: {logits:.3}, {logits_moved:.3}"
        );
    }

    /// `complete-p` by its definition, with multipliers in the forward pass and AdamW as in the paper's
    /// table, against the folded weights that are trained: the same losses, step after step.
    #[test]
    fn folded_weights_train_as_the_multipliers_they_stand_for() {
        let (data, base) = data();
        let (m_n, m_l) = (2.0_f64, 4.0_f64);
        let recipe = Recipe {
            eps: 1e-4,
            weight_decay: 0.5,
            clip: 0.0,
            learning_rate: 0.02,
            ..of(&base, Parametrization::CompleteP, 64, 8)
        };
        let recipe =
            Recipe { schedule: Schedule::Wsd { warmup: 0.0, decay: 1e-9, end: 1.0 }, ..recipe };
        let place = Place::cpu(Kernels::Composed);
        let mut folded = Trainer::new(&recipe, &place);
        let mut model = folded.model.clone();
        let fold = |role| match role {
            Role::Residual => 1.0 / m_l,
            Role::Head => 1.0 / m_n,
            _ => 1.0,
        };
        for (_, weight) in model.weights_mut() {
            weight.value = weight.value.clone() / fold(weight.role);
        }
        let mut moments: Vec<[Tensor<2>; 2]> = model
            .weights_mut()
            .iter()
            .map(|(_, w)| [w.value.zeros_like(), w.value.zeros_like()])
            .collect();
        let multipliers = [1.0 / m_l, 1.0 / m_n].map(|s| s as f32);
        for step in 0..8 {
            let batch: Batch = data.batch(Draw::of(1), step, 8).unwrap();
            let (want, grads) = model.differentiated(|m| {
                ops::cross_entropy(m.forward(&batch, multipliers).logits, &batch.targets)
            });
            let (got, _) = folded.step(&batch, step);
            assert!((got - want).abs() < 1e-4, "step {step}: {got} folded, {want} multiplied");
            let weights = model.weights_mut();
            for (((_, weight), grad), moments) in weights.into_iter().zip(grads).zip(&mut moments) {
                // Dey et al. 2025, table 1, alpha = 1.
                let (rate, decay, eps) = match weight.role {
                    Role::Embedding | Role::FinalGain => (1.0, 0.0, 1.0 / m_n),
                    Role::Matrix | Role::Residual => (1.0 / m_n, m_n, 1.0 / (m_n * m_l)),
                    Role::Head => (1.0, 1.0, 1.0 / m_n),
                    Role::Gain => (1.0, 0.0, 1.0 / (m_n * m_l)),
                };
                let t = step as i32 + 1;
                let adam = AdamStep {
                    clip: 1.0,
                    betas: recipe.betas,
                    corrections: recipe.betas.map(|b| 1.0 - b.powi(t)),
                    eps: recipe.eps * eps,
                    rate: recipe.learning_rate * rate,
                    decay: recipe.weight_decay * decay,
                };
                let value = weight.value.clone();
                weight.value = ops::adamw(value, grad, moments, &adam, Kernels::Composed);
            }
        }
    }
}
