//! What each method says about one compute, beside the average.

use serde::{Deserialize, Serialize};

use super::average::Average;
use super::estimator::Estimator;
use super::{Estimate, Fixed, path};
use crate::fit::Compute;

/// What one method says about one compute.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MethodPrediction {
    /// `lse-huber`, `varpro`, `isoflop`, `envelope`.
    pub method: String,
    /// N* [parameters].
    pub params: Estimate,
    /// D* [tokens].
    pub tokens: Estimate,
    /// D*/N* [tokens/parameter].
    pub tokens_per_param: Estimate,
    /// Loss at (N*, D*), where the method has a loss surface [nats/token].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss: Option<Estimate>,
    /// Whether the bias of approach 2 on this design was taken off.
    pub corrected: bool,
}

/// What each method says of `flops`, in the order in which they lead; nothing of one without an optimum there.
pub(super) fn all(average: &Average<'_>, flops: f64) -> Vec<MethodPrediction> {
    average
        .estimators
        .iter()
        .filter_map(|estimator| one(estimator, average.compute(), flops))
        .collect()
}

fn one(estimator: &Estimator, compute: &Compute, flops: f64) -> Option<MethodPrediction> {
    let found = estimator.optimal(compute, Fixed::Flops(flops))?;
    path::sound(found.best.1 / found.best.0)?;
    Some(MethodPrediction {
        method: estimator.fit.method.clone(),
        params: found.estimate(|d| d.0)?,
        tokens: found.estimate(|d| d.1)?,
        tokens_per_param: found.estimate(|d| d.1 / d.0)?,
        loss: estimator.loss(found.best),
        corrected: estimator.corrected,
    })
}
