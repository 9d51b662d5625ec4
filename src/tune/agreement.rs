//! Whether the sweep's own `[optim]` agrees with what tuning found, and what the rate does with the horizon.

use serde::{Deserialize, Serialize};

use super::{FittedRule, Of, Tuning, Vertex, VertexState};
use crate::spec::{OptimSpec, Rule};

/// One key of `[optim]` at one tuning cell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Agreement {
    /// Key of `[optim]`.
    pub name: String,
    /// N [parameters].
    pub params: f64,
    /// D [tokens].
    pub tokens: f64,
    /// What the sweep says there.
    pub says: f64,
    /// The vertex that tuning found there.
    pub vertex: f64,
    /// Whether the sweep's value lies in the vertex's interval; none without an interval.
    pub inside: Option<bool>,
}

impl Agreement {
    /// The sweep's value over the vertex; none where both may be zero.
    pub fn ratio(&self) -> Option<f64> {
        (self.vertex > 0.0).then(|| self.says / self.vertex)
    }
}

impl Tuning {
    /// `optim` at every cell and key whose vertex is known, by key.
    pub fn agreement(&self, optim: &OptimSpec) -> Vec<Agreement> {
        let keys: [(&str, &Rule, Of); 3] = [
            ("learning_rate", optim.learning_rate.get_ref(), |f| f.learning_rate.as_ref()),
            ("batch_tokens", optim.batch_tokens.get_ref(), |f| f.batch.as_ref()),
            ("weight_decay", optim.weight_decay.get_ref(), |f| f.weight_decay.as_ref()),
        ];
        let known = |v: &&Vertex| matches!(v.state, VertexState::Resolved | VertexState::Zero);
        let mut out = Vec::new();
        for (name, rule, of) in keys {
            for found in &self.found {
                let Some(vertex) = of(found).filter(known) else { continue };
                let (params, tokens) = (found.place.params, found.place.tokens);
                let says = rule.at(params, tokens);
                let inside = match vertex.state {
                    VertexState::Zero => Some(says == 0.0),
                    _ => vertex.interval.map(|[lo, hi]| (lo..=hi).contains(&says)),
                };
                let vertex = vertex.value;
                out.push(Agreement { name: name.to_owned(), params, tokens, says, vertex, inside });
            }
        }
        out
    }

    /// How the best rate goes with D, beside what others found; none where the cells do not show it.
    pub fn horizon(&self) -> Option<String> {
        let rule: &FittedRule = self.rules.iter().find(|r| r.name == "learning_rate")?;
        let term = rule.terms.iter().find(|t| t.name == "tokens_exponent")?;
        let interval = match term.interval {
            Some([lo, hi]) => format!("{lo:.2} to {hi:.2}"),
            None => "no interval".to_owned(),
        };
        let batch = if self.found.iter().any(|f| f.batch.is_some()) {
            "each cell at its best batch"
        } else {
            "at the sweep's batch"
        };
        Some(format!(
            "The best learning rate goes as D^{:.2} ({interval}), {batch}. Others: D^-0.3 (Delphi), D^+0.3 (Step \
             Law, 2503.04715, where the batch grows with D).",
            term.value
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Spec;
    use crate::tune::{Place, Run};

    #[test]
    fn a_sweep_far_from_the_vertex_is_told_how_far() {
        let spec = Spec::parse(crate::plan::tests::SWEEP).unwrap();
        let says = spec.optim.learning_rate.get_ref().at(1e4, 1e6);
        let place = Place {
            params: 1e4,
            tokens: 1e6,
            learning_rate: says,
            batch_tokens: 1024.0,
            weight_decay: 0.0,
        };
        let runs = |best: f64| {
            let run = |i: i32| {
                let learning_rate = best * 1.5_f64.powi(i);
                let bowl = 0.02 * (learning_rate / best).ln().powi(2);
                // A little scatter, so that there is an interval.
                let loss = 2.0 * (bowl + 1e-5 * f64::from(i.pow(3) - 3 * i)).exp();
                Run {
                    place: 0,
                    learning_rate,
                    batch_tokens: 1024.0,
                    weight_decay: 0.0,
                    decay_search: false,
                    losses: vec![loss],
                }
            };
            Tuning::new("t", &[place], (-3..=3).map(run).collect())
        };
        let far = runs(2.0 * says).agreement(&spec.optim);
        assert_eq!((far.len(), far[0].inside), (1, Some(false)), "{far:?}");
        assert!((far[0].ratio().unwrap() - 0.5).abs() < 0.01, "{far:?}");
        assert_eq!(runs(says).agreement(&spec.optim)[0].inside, Some(true));
        assert_eq!(runs(says).horizon(), None, "one horizon shows no exponent");
    }
}
