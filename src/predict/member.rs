//! One form of law as it counts in the average: its weight, its draws and its scatter.

use super::belief::{Belief, Formed};
use super::estimator::Leading;
use crate::fit::law::Curve;
use crate::fit::{Analysis, Draws, LEAST_WEIGHT, LawFit};

/// The form whose surface leads the methods, and which answers with that surface.
pub(super) const LEAD: &str = "chinchilla";

/// One form with what the bootstrap made of it.
pub(super) struct Member {
    pub(super) law: String,
    pub(super) weight: f64,
    pub(super) best: Box<dyn Belief + Sync>,
    pub(super) draws: Vec<Box<dyn Belief + Sync>>,
    /// E of the form and of its draws; nothing where it has none [nats/token].
    pub(super) floor: Option<f64>,
    pub(super) floors: Vec<f64>,
    /// Standard deviation of ln L of one run about it [-].
    pub(super) scatter: f64,
}

/// What a form of this name counts in every answer [0, 1]; nothing for one that is not averaged.
pub fn counts(analysis: &Analysis, law: &str) -> Option<f64> {
    match &analysis.averaging {
        Some(measured) => Some(measured.forms.iter().find(|f| f.law == law)?.weight),
        None => analysis.laws.iter().find(|f| f.law == law)?.weight,
    }
}

/// The same; nothing for a form that is too light to count.
pub(super) fn weight(analysis: &Analysis, form: &LawFit) -> Option<f64> {
    counts(analysis, &form.law).filter(|weight| *weight >= LEAST_WEIGHT)
}

/// A form as it answers; Chinchilla's with the leading surface.
pub(super) fn member(lead: &Leading<'_>, form: &LawFit, weight: f64, seeds: f64) -> Option<Member> {
    if form.law == LEAD {
        return Some(alone(lead, weight, form.residual_sd.max(seeds)));
    }
    let (law, compute) = (form.form()?, lead.analysis.compute);
    let formed = |values: &[f64]| Some(Formed { curve: Curve::new(law, values)?, compute });
    let values = form.fitted();
    Some(Member {
        law: form.law.clone(),
        weight,
        best: Box::new(formed(&values)?),
        draws: form
            .draws
            .iter()
            .filter_map(|d| Some(Box::new(formed(d)?) as Box<dyn Belief + Sync>))
            .collect(),
        floor: (law.irreducible)(&values),
        floors: form.draws.iter().filter_map(|d| (law.irreducible)(d)).collect(),
        scatter: form.residual_sd.max(seeds),
    })
}

pub(super) fn alone(lead: &Leading<'_>, weight: f64, scatter: f64) -> Member {
    let draws = match &lead.estimator.fit.draws {
        Draws::Surfaces(draws) => draws.as_slice(),
        Draws::Frontiers(_) => &[],
    };
    Member {
        law: LEAD.to_owned(),
        weight,
        best: Box::new(lead.surface),
        draws: draws.iter().map(|s| Box::new(*s) as Box<dyn Belief + Sync>).collect(),
        floor: Some(lead.surface.e),
        floors: draws.iter().map(|s| s.e).collect(),
        scatter: scatter.max(lead.estimator.scatter()),
    }
}
