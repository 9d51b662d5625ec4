//! Tuning as part of the study: where the best rate, batch and decay lie at a few small cells, the rules in
//! (N, D) that follow, and whether enough was tried.
//!
//! Pure: from (place, values, losses) to vertices, rules with intervals and verdicts. What to try next is
//! [`design`]'s; the runs themselves are ordinary cells. Every loss is handled as ln L.

mod agreement;
pub mod design;
mod found;
mod rules;
mod scatter;
mod sufficiency;
mod vertex;

use serde::{Deserialize, Serialize};

use crate::fit::numeric::stats;
use crate::sound::{Refused, above, inside, level, not_negative};
pub use agreement::Agreement;
pub use found::Found;
pub use rules::{FittedRule, Term, Transfer};
pub use sufficiency::{Sufficiency, best_of};
pub use vertex::{Vertex, VertexState};

/// Version of tune.json.
pub const TUNE_VERSION: u32 = 1;

/// Level of every interval here.
pub const LEVEL: f64 = 0.9;

/// One tuning cell, and what the sweep's rules say there.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Place {
    /// N, matmul convention [parameters].
    pub params: f64,
    /// D [tokens].
    pub tokens: f64,
    /// Peak learning rate of the rule, as `optim.learning_rate` means it [1/step].
    pub learning_rate: f64,
    /// Batch size of the rule [tokens/step].
    pub batch_tokens: f64,
    /// Weight decay of the rule [-].
    pub weight_decay: f64,
}

/// One configuration that was trained at a place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Which of the places.
    pub place: usize,
    /// Peak learning rate [1/step].
    pub learning_rate: f64,
    /// Batch size [tokens/step].
    pub batch_tokens: f64,
    /// Weight decay [-].
    pub weight_decay: f64,
    /// Whether it was trained to search the decay, at the best rate and batch.
    pub decay_search: bool,
    /// Final held-out loss of each seed; none where all diverged or failed [nats/token].
    pub losses: Vec<f64>,
}

impl Run {
    /// Mean over seeds.
    pub fn loss(&self) -> Option<f64> {
        (!self.losses.is_empty())
            .then(|| self.losses.iter().sum::<f64>() / self.losses.len() as f64)
    }
}

/// Scatter of ln L that a vertex and a verdict are held against.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Noise {
    /// Standard deviation of ln L.
    pub sd: f64,
    /// Degrees of freedom it rests on.
    pub dof: f64,
    /// From replicates; else from what the parabolas miss.
    pub from_seeds: bool,
}

/// Vertex of one key at a place.
type Of = fn(&Found) -> Option<&Vertex>;

/// All of it: tune.json.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tuning {
    /// [`TUNE_VERSION`].
    pub version: u32,
    /// Name of the sweep.
    pub sweep: String,
    /// Level of every interval.
    pub level: f64,
    /// Every configuration.
    pub runs: Vec<Run>,
    /// By place, in the sweep's order.
    pub found: Vec<Found>,
    /// Scatter that was measured; none with too few runs for it.
    pub noise: Option<Noise>,
    /// Rules in (N, D) that the vertices give: learning rate, batch, decay, as far as each was searched.
    pub rules: Vec<FittedRule>,
    /// How far the best rate moves with N at equal D.
    pub transfer: Option<Transfer>,
}

impl Tuning {
    /// Reads a tune.json.
    ///
    /// # Errors
    ///
    /// What is wrong with it: not JSON of that form, of another version, or a number that no tuning has.
    pub fn read(json: &[u8]) -> Result<Self, String> {
        let tuning: Self = serde_json::from_slice(json).map_err(|e| e.to_string())?;
        if tuning.version != TUNE_VERSION {
            return Err(format!("it has version {}", tuning.version));
        }
        tuning.check()?;
        Ok(tuning)
    }

    fn check(&self) -> Refused {
        level("level", self.level)?;
        for (i, run) in self.runs.iter().enumerate() {
            above(&format!("runs[{i}].learning_rate"), run.learning_rate)?;
            above(&format!("runs[{i}].batch_tokens"), run.batch_tokens)?;
            not_negative(&format!("runs[{i}].weight_decay"), run.weight_decay)?;
            run.losses.iter().try_for_each(|l| above(&format!("runs[{i}].losses"), *l))?;
        }
        for (i, found) in self.found.iter().enumerate() {
            let place = &found.place;
            for (name, value) in [
                ("params", place.params),
                ("tokens", place.tokens),
                ("learning_rate", place.learning_rate),
                ("batch_tokens", place.batch_tokens),
            ] {
                above(&format!("found[{i}].place.{name}"), value)?;
            }
            above(&format!("found[{i}].best_loss"), found.best_loss)?;
            let best = [&found.batch, &found.learning_rate, &found.weight_decay];
            let vertices = best.into_iter().flatten().chain(found.by_batch.iter().map(|b| &b.1));
            for vertex in vertices {
                vertex.check(&format!("found[{i}]: a vertex"))?;
            }
            for (batch, _) in &found.by_batch {
                above(&format!("found[{i}].by_batch"), *batch)?;
            }
        }
        for (i, rule) in self.rules.iter().enumerate() {
            above(&format!("rules[{i}].params_ref"), rule.params_ref)?;
            above(&format!("rules[{i}].tokens_ref"), rule.tokens_ref)?;
            for term in &rule.terms {
                let place = format!("rules[{i}].{}", term.name);
                term.interval.iter().try_for_each(|ends| inside(&place, term.value, *ends))?;
            }
        }
        Ok(())
    }

    /// From what was trained.
    pub fn new(sweep: &str, places: &[Place], runs: Vec<Run>) -> Self {
        let noise = scatter::scatter(places.len(), &runs);
        let found: Vec<Found> = places
            .iter()
            .enumerate()
            .filter_map(|(i, place)| {
                let here: Vec<&Run> = runs.iter().filter(|r| r.place == i).collect();
                found::find(*place, &here, noise.as_ref())
            })
            .collect();
        let searched: [(&str, Of); 3] = [
            ("learning_rate", |f| f.learning_rate.as_ref()),
            ("batch_tokens", |f| f.batch.as_ref()),
            ("weight_decay", |f| f.weight_decay.as_ref()),
        ];
        let rules = searched
            .into_iter()
            .filter_map(|(name, of)| {
                let at: Vec<(Place, Vertex)> =
                    found.iter().filter_map(|f| Some((f.place, *of(f)?))).collect();
                (!at.is_empty()).then(|| rules::fit(name, &at, noise.as_ref()))
            })
            .collect();
        let rates: Vec<(Place, Vertex)> =
            found.iter().filter_map(|f| Some((f.place, f.learning_rate?))).collect();
        Self {
            version: TUNE_VERSION,
            sweep: sweep.to_owned(),
            level: LEVEL,
            transfer: rules::transfer(&rates, noise.as_ref()),
            runs,
            found,
            noise,
            rules,
        }
    }

    /// The fitted rules as lines of `[optim]`.
    pub fn toml(&self) -> String {
        self.rules.iter().filter_map(FittedRule::toml).collect::<Vec<_>>().join("\n")
    }
}

/// Half the width of an interval over its standard error.
fn quantile(dof: f64) -> f64 {
    stats::student(0.5 + 0.5 * LEVEL, dof.max(1.0)).unwrap_or(f64::INFINITY)
}

#[cfg(test)]
mod tests;
