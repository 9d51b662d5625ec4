//! How a weight's initial scale and its optimiser's numbers depend on width and depth.
//!
//! With m_N = width / reference width, m_L = layers / reference layers, the standard deviation of the
//! draw, and what rate, decay and eps of AdamW are multiplied by:
//!
//! | role | `mup-hidden-rates` std, rate | `standard` std | `complete-p` std, rate, decay, eps |
//! |---|---|---|---|
//! | embedding | `embedding_std`, 1 | the same | the same, 1, –, 1/m_N |
//! | hidden matrix | 1/√fan-in, 1/m_N | 1/√fan-in | 1/√fan-in, 1/m_N, m_N, 1/(m_N m_L) |
//! | residual output | 1/√(fan-in 2L), 1/m_N | 1/√(fan-in 2L) | 1/√(fan-in 2L_ref) /m_L, 1/(m_N m_L), m_N m_L, 1/m_N |
//! | head | 1/width, 1 | 1/√width | 1/width, 1/m_N, m_N, 1 |
//! | gain in a block | 1, 1 | 1 | 1, 1, –, 1/(m_N m_L) |
//! | gain before the head | 1, 1 | 1 | 1, 1, –, 1/m_N |
//!
//! What is not given is 1; embeddings and gains are not decayed.
//!
//! `complete-p` is that of Dey et al. 2025 (2505.01618, table 1, alpha = 1), in which each branch is added
//! to the stream times 1/m_L and the logits are multiplied by 1/m_N. The forward pass here has no such
//! multipliers: they are *folded* into the weights before them. Let y = s·x·W, and W' = s·W, so that
//! y = x·W'. Then dL/dW = s·dL/dW', and AdamW's step W ← (1 − η λ)·W − η·m/(√v + ε), times s, is
//!
//! ```text
//! W' ← (1 − (s η)(λ/s)) W' − (s η) m'/(√v' + ε/s),    m' = m/s, v' = v/s²
//! ```
//!
//! the same AdamW with initial standard deviation s·σ, rate s·η, decay λ/s and eps ε/s: the function is
//! the same after any number of steps. The paper's table for hidden matrices (σ² by 1/m_N, η by 1/m_N ·
//! m_L^(alpha − 1), λ by m_N, ε by 1/(m_N m_L)) with s = 1/m_L is the row of residual outputs; its
//! unembedding (σ, η and λ as they are, ε by 1/m_N) with s = 1/m_N is that of the head. In every row rate
//! times decay is η·λ, whatever the shape. ε goes as the gradient does: 1/m_N from the logits' multiplier,
//! 1/m_L within a branch.
//!
//! DIFFERENCE: global clipping sees the gradients of the folded weights, 1/s times those of the paper's.
//! DIFFERENCE: `mup-hidden-rates` is not all of Yang et al. 2022 (2203.03466): with the head starting at
//! 1/width its rate should fall as 1/width too (table 8 has the multiplier, folded as above), and here it
//! does not; the logits' change per step then grows with width. Hence its name: initial scales are those of
//! muP, its rates are given to hidden matrices only. It was called `mup` until 28 November 2026 and was the
//! default until then; it is kept because finished studies were trained so, and recipes do not write it.
//!
//! Limits: tied matrices are embedding and head in one and cannot have two rates; `complete-p` refuses
//! them. The gains of `qk_norm` are shared by the heads, whose number grows with width; the paper has none.

use super::Role;
use crate::plan::Recipe;
use crate::shape::Shape;
use crate::spec::Parametrization;

/// A parametrization and the shape at which its rates are meant.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scaling {
    parametrization: Parametrization,
    embedding_std: f64,
    /// 0 for no scaling by width.
    reference_width: usize,
    /// 0 for no scaling by depth.
    reference_layers: usize,
}

/// Factors on AdamW's numbers for one weight [-].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Factors {
    /// On the learning rate.
    pub rate: f64,
    /// On the weight decay, 0 for none.
    pub decay: f64,
    /// On eps.
    pub eps: f64,
}

impl Scaling {
    /// That of a recipe.
    pub fn of(recipe: &Recipe) -> Self {
        let Recipe { parametrization, embedding_std, reference_width, reference_layers, .. } =
            *recipe;
        Self { parametrization, embedding_std, reference_width, reference_layers }
    }

    /// The initial scales of muP, and one rate for all weights.
    pub fn one_rate(embedding_std: f64) -> Self {
        let parametrization = Parametrization::MupHiddenRates;
        Self { parametrization, embedding_std, reference_width: 0, reference_layers: 0 }
    }

    /// Standard deviation of the initial values of a weight with `fan_in` rows. Gains start at one.
    pub fn std(&self, role: Role, shape: &Shape, fan_in: usize) -> f64 {
        let preserving = 1.0 / (fan_in as f64).sqrt();
        // 1/fan-in: muP's rule for the output, so that initial logits shrink with width (Yang et al. 2022,
        // 2203.03466, table 8).
        let output = |width: usize| match self.parametrization {
            Parametrization::Standard => 1.0 / (width as f64).sqrt(),
            Parametrization::MupHiddenRates | Parametrization::CompleteP => 1.0 / width as f64,
        };
        match role {
            // Tied, the matrix is also the head, and takes the head's scale.
            Role::Embedding if shape.tied => output(shape.width),
            // The stream starts at this scale; RMSNorm makes the first block see unit variance.
            Role::Embedding => self.embedding_std,
            // Variance preserving: muP's rule for hidden matrices (ibid.).
            Role::Matrix => preserving,
            // Each block adds two terms to the stream; dividing by sqrt(2 L) keeps its variance from
            // growing with depth (Radford et al. 2019, GPT-2, section 2.3).
            Role::Residual => match self.parametrization {
                Parametrization::MupHiddenRates | Parametrization::Standard => {
                    preserving / (2.0 * shape.layers as f64).sqrt()
                }
                Parametrization::CompleteP => {
                    preserving / (2.0 * self.reference_layers as f64).sqrt() / self.depth(shape)
                }
            },
            Role::Head => output(fan_in),
            Role::Gain | Role::FinalGain => 0.0,
        }
    }

    /// What AdamW's numbers are multiplied by for weights of this role.
    pub fn factors(&self, role: Role, shape: &Shape) -> Factors {
        // Adam's step for a hidden matrix shrinks as 1/width (Yang et al. 2022, table 8).
        let slower = match self.reference_width {
            0 => 1.0,
            reference => reference as f64 / shape.width as f64,
        };
        let undecayed = role == Role::Embedding || role.is_gain();
        let (rate, decay, eps) = match self.parametrization {
            Parametrization::Standard => (1.0, 1.0, 1.0),
            Parametrization::MupHiddenRates => match role {
                Role::Matrix | Role::Residual => (slower, 1.0, 1.0),
                Role::Embedding | Role::Head | Role::Gain | Role::FinalGain => (1.0, 1.0, 1.0),
            },
            Parametrization::CompleteP => {
                let shallower = 1.0 / self.depth(shape);
                let (rate, eps) = match role {
                    Role::Embedding | Role::FinalGain => (1.0, slower),
                    Role::Matrix => (slower, slower * shallower),
                    Role::Residual => (slower * shallower, slower),
                    Role::Head => (slower, 1.0),
                    Role::Gain => (1.0, slower * shallower),
                };
                (rate, 1.0 / rate, eps)
            }
        };
        Factors { rate, decay: if undecayed { 0.0 } else { decay }, eps }
    }

    /// m_L, layers over reference layers.
    fn depth(&self, shape: &Shape) -> f64 {
        match self.reference_layers {
            0 => 1.0,
            reference => shape.layers as f64 / reference as f64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(width: usize, layers: usize) -> Shape {
        let (heads, ff) = (width / 16, 3 * width);
        Shape { vocab: 64, context: 8, width, layers, heads, ff, qk_norm: false, tied: false }
    }

    fn scaling(parametrization: Parametrization) -> Scaling {
        let (reference_width, reference_layers) = match parametrization {
            Parametrization::MupHiddenRates => (32, 0),
            Parametrization::Standard => (0, 0),
            Parametrization::CompleteP => (32, 2),
        };
        Scaling { parametrization, embedding_std: 0.5, reference_width, reference_layers }
    }

    const ROLES: [Role; 6] =
        [Role::Embedding, Role::Matrix, Role::Residual, Role::Head, Role::Gain, Role::FinalGain];

    /// By hand from the paper's table: four times the width, three times the depth.
    #[test]
    fn complete_p_is_the_papers_table_folded() {
        let (s, big) = (scaling(Parametrization::CompleteP), shape(128, 6));
        let want = [
            (Role::Embedding, 0.5, 1.0, 0.0, 0.25),
            (Role::Matrix, 0.125, 0.25, 4.0, 1.0 / 12.0),
            // 1/sqrt(64 * 2 * 2) at two layers, a third of it at six.
            (Role::Residual, 1.0 / 16.0 / 3.0, 1.0 / 12.0, 12.0, 0.25),
            (Role::Head, 1.0 / 64.0, 0.25, 4.0, 1.0),
            (Role::Gain, 0.0, 1.0, 0.0, 1.0 / 12.0),
            (Role::FinalGain, 0.0, 1.0, 0.0, 0.25),
        ];
        for (role, std, rate, decay, eps) in want {
            let f = s.factors(role, &big);
            let got = [s.std(role, &big, 64), f.rate, f.decay, f.eps];
            for (got, want) in got.into_iter().zip([std, rate, decay, eps]) {
                assert!((got - want).abs() < 1e-15, "{role:?}: {got}, {want}");
            }
        }
    }

    /// Decoupled decay takes rate times decay of a weight each step: the same share at every shape. Under
    /// `mup-hidden-rates` it falls with width, as it did before there was a choice.
    #[test]
    fn decay_per_step_does_not_shrink_with_the_shape() {
        let share = |p, role, shape: &Shape| {
            let f = scaling(p).factors(role, shape);
            f.rate * f.decay
        };
        for role in [Role::Matrix, Role::Residual, Role::Head] {
            for shape in [shape(16, 2), shape(32, 2), shape(256, 16)] {
                assert_eq!(share(Parametrization::CompleteP, role, &shape), 1.0, "{role:?}");
            }
        }
        assert_eq!(share(Parametrization::MupHiddenRates, Role::Matrix, &shape(256, 2)), 0.125);
    }

    /// At the reference shape `complete-p` and `mup-hidden-rates` are one; the latter at no reference scales nothing.
    #[test]
    fn at_the_reference_all_is_as_it_was() {
        let reference = shape(32, 2);
        for role in ROLES {
            let [one, two] =
                [Parametrization::CompleteP, Parametrization::MupHiddenRates].map(scaling);
            assert_eq!(one.factors(role, &reference), two.factors(role, &reference), "{role:?}");
            assert_eq!(one.std(role, &reference, 32), two.std(role, &reference, 32), "{role:?}");
            let f = Scaling::one_rate(0.5).factors(role, &shape(256, 16));
            assert_eq!((f.rate, f.eps), (1.0, 1.0));
            let plain = scaling(Parametrization::Standard);
            assert_eq!(plain.factors(role, &shape(256, 16)), f);
            let head = if role == Role::Head { 1.0 / 8.0 } else { two.std(role, &reference, 64) };
            assert_eq!(plain.std(role, &reference, 64), head, "{role:?}");
        }
    }
}
