//! The `[model]` block: the family of models, its shape rule and its parametrization.

use serde::de::IntoDeserializer;
use serde::{Deserialize, Deserializer, Serialize};

/// The family of models and its shape rule. `shape.rs` says how dimensions follow from one dial.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelSpec {
    /// Sequence length T [tokens].
    pub context: usize,
    /// Widths are multiples of this.
    pub width_multiple: usize,
    /// Width over layers: the aspect ratio that the family keeps.
    pub aspect: f64,
    /// No model is shallower.
    pub min_layers: usize,
    /// Head dimension to aim for.
    pub head_dim: usize,
    /// Hidden width of SwiGLU over width; 8/3 gives 8 d^2 parameters as in Llama.
    pub ff_ratio: f64,
    /// RMSNorm on queries and keys.
    pub qk_norm: bool,
    /// Share the embedding with the output head.
    pub tied: bool,
    /// Standard deviation of the initial embedding.
    pub embedding_std: f64,
    /// How initial scales and rates depend on width and depth; [`ModelSpec::parametrization`] when absent.
    #[serde(deserialize_with = "parametrization")]
    pub parametrization: Option<Parametrization>,
    /// Width at which `optim.learning_rate` is meant for matrices, 32 when absent. With `mup-hidden-rates`, 0
    /// turns the scaling of rates off.
    pub reference_width: Option<usize>,
    /// Layers at which `optim.learning_rate` is meant, 2 when absent. Only for `complete-p`.
    pub reference_layers: Option<usize>,
}

impl ModelSpec {
    /// The parametrization that is given, else `complete-p`; `mup-hidden-rates` where the other keys are of no use
    /// with that: tied matrices, or a reference width of 0.
    pub fn parametrization(&self) -> Parametrization {
        let ruled_out = self.tied || self.reference_width == Some(0);
        let default =
            if ruled_out { Parametrization::MupHiddenRates } else { Parametrization::CompleteP };
        self.parametrization.unwrap_or(default)
    }

    /// Reference width and layers, each 0 where the parametrization does not scale by it.
    pub fn reference(&self) -> (usize, usize) {
        let width = self.reference_width.unwrap_or(32);
        match self.parametrization() {
            Parametrization::MupHiddenRates => (width, 0),
            Parametrization::Standard => (0, 0),
            Parametrization::CompleteP => (width, self.reference_layers.unwrap_or(2)),
        }
    }
}

impl Default for ModelSpec {
    fn default() -> Self {
        Self {
            context: 128,
            width_multiple: 8,
            aspect: 16.0,
            min_layers: 2,
            head_dim: 16,
            ff_ratio: 8.0 / 3.0,
            qk_norm: false,
            tied: false,
            embedding_std: 0.5,
            parametrization: None,
            reference_width: None,
            reference_layers: None,
        }
    }
}

/// How a weight's initial scale and its optimiser's numbers depend on width and depth. The table and its
/// derivation are in `model::Scaling`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Parametrization {
    /// muP's initial scales, and its rates for hidden matrices only: the head starts at 1/width, and its rate does
    /// not fall with it, as it does in Yang et al. 2022.
    MupHiddenRates,
    /// As GPT-2: one rate for all, every matrix at 1/sqrt(fan-in).
    Standard,
    /// In width and depth, with residual branches by 1/layers (Dey et al. 2025, 2505.01618, alpha = 1).
    CompleteP,
}

/// A parametrization, by its name or the one that `mup-hidden-rates` had in older sweep files, which no error should
/// offer.
fn parametrization<'de, D>(deserializer: D) -> Result<Option<Parametrization>, D::Error>
where
    D: Deserializer<'de>,
{
    let name = String::deserialize(deserializer)?;
    let name = if name == "mup" { "mup-hidden-rates" } else { &name };
    Parametrization::deserialize(IntoDeserializer::<D::Error>::into_deserializer(name)).map(Some)
}
