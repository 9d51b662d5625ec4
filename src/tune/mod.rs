//! Tuning as part of the study: where the best rate, batch and decay lie at a few small cells, the rules in
//! (N, D) that follow, and whether enough was tried.
//!
//! Pure: from (place, values, losses) to vertices, rules with intervals and verdicts. What to try next is
//! [`design`]'s; the runs themselves are ordinary cells. Every loss is handled as ln L.
//!
//! Reads: `spec`, `fit::stats`. Read by: `figure`, `report`, `cli`.

pub mod design;
mod rules;
mod sufficiency;
mod vertex;

use serde::{Deserialize, Serialize};

use crate::fit::stats;
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

/// What tuning found at one place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Found {
    /// Where.
    pub place: Place,
    /// Best learning rate at each batch that was tried, smallest batch first.
    pub by_batch: Vec<(f64, Vertex)>,
    /// Best batch, of the best loss at each; none where one batch was tried.
    pub batch: Option<Vertex>,
    /// Best learning rate at the batch whose loss is least; none where no rate was searched.
    pub learning_rate: Option<Vertex>,
    /// Best weight decay, zero left out; none where none was searched.
    pub weight_decay: Option<Vertex>,
    /// Least loss that was tried [nats/token].
    pub best_loss: f64,
    /// Loss that the parabolas promise at their vertex [nats/token].
    pub vertex_loss: Option<f64>,
    /// Loss of the sweep's own rule, where that was tried, over the least promised or tried, minus one [-].
    pub left_on_the_table: Option<f64>,
    /// Was enough tried?
    pub sufficiency: Option<Sufficiency>,
}

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
    /// From what was trained.
    pub fn new(sweep: &str, places: &[Place], runs: Vec<Run>) -> Self {
        let noise = scatter(places.len(), &runs);
        let found: Vec<Found> = places
            .iter()
            .enumerate()
            .filter_map(|(i, place)| {
                let here: Vec<&Run> = runs.iter().filter(|r| r.place == i).collect();
                find(*place, &here, noise.as_ref())
            })
            .collect();
        type Of = fn(&Found) -> Option<&Vertex>;
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
                (!at.is_empty()).then(|| rules::fit(name, &at))
            })
            .collect();
        let rates: Vec<(Place, Vertex)> =
            found.iter().filter_map(|f| Some((f.place, f.learning_rate?))).collect();
        Self {
            version: TUNE_VERSION,
            sweep: sweep.to_owned(),
            level: LEVEL,
            transfer: rules::transfer(&rates),
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

/// Groups of runs that differ in one value only, as (ln value, ln L).
fn lines(runs: &[&Run]) -> Vec<(f64, Vec<(f64, f64)>)> {
    let mut batches: Vec<f64> =
        runs.iter().filter(|r| !r.decay_search).map(|r| r.batch_tokens).collect();
    batches.sort_by(f64::total_cmp);
    batches.dedup();
    let line = |batch: f64| -> Vec<(f64, f64)> {
        let here = runs.iter().filter(|r| !r.decay_search && r.batch_tokens == batch);
        here.filter_map(|r| Some((r.learning_rate.ln(), r.loss()?.ln()))).collect()
    };
    batches.into_iter().map(|b| (b, line(b))).collect()
}

/// Scatter among seeds, else what all parabolas in the rate miss.
fn scatter(places: usize, runs: &[Run]) -> Option<Noise> {
    let (mut squares, mut dof) = (0.0, 0.0);
    for run in runs.iter().filter(|r| r.losses.len() > 1) {
        let logs: Vec<f64> = run.losses.iter().map(|l| l.ln()).collect();
        let mean = logs.iter().sum::<f64>() / logs.len() as f64;
        squares += logs.iter().map(|l| (l - mean).powi(2)).sum::<f64>();
        dof += logs.len() as f64 - 1.0;
    }
    if dof > 0.0 {
        return Some(Noise { sd: (squares / dof).sqrt(), dof, from_seeds: true });
    }
    for place in 0..places {
        let here: Vec<&Run> = runs.iter().filter(|r| r.place == place).collect();
        for (_, line) in lines(&here) {
            if let Some((rss, free)) = vertex::misses(&line) {
                squares += rss;
                dof += free;
            }
        }
    }
    (dof > 0.0).then(|| Noise { sd: (squares / dof).sqrt(), dof, from_seeds: false })
}

fn find(place: Place, runs: &[&Run], noise: Option<&Noise>) -> Option<Found> {
    let losses: Vec<f64> = runs.iter().filter_map(|r| r.loss()).collect();
    let best_loss = losses.iter().copied().reduce(f64::min)?;
    let by_batch: Vec<(f64, Vertex)> = lines(runs)
        .into_iter()
        .filter_map(|(batch, line)| Some((batch, vertex::of(&line, noise)?)))
        .collect();
    let batch = (by_batch.len() > 1)
        .then(|| {
            let line: Vec<(f64, f64)> =
                by_batch.iter().map(|(b, v)| (b.ln(), v.loss.ln())).collect();
            vertex::of(&line, noise)
        })
        .flatten();
    let least = |l: &&(f64, Vertex), r: &&(f64, Vertex)| l.1.loss.total_cmp(&r.1.loss);
    let learning_rate = by_batch.iter().min_by(least).map(|(_, v)| *v);
    let learning_rate = learning_rate.filter(|v| v.points > 1);
    let decays: Vec<(f64, f64)> = runs
        .iter()
        .filter(|r| r.decay_search && r.weight_decay > 0.0)
        .filter_map(|r| Some((r.weight_decay.ln(), r.loss()?.ln())))
        .collect();
    let vertex_loss = batch.or(learning_rate).map(|v| v.loss);
    let rule = runs.iter().find(|r| {
        !r.decay_search
            && (r.learning_rate / place.learning_rate - 1.0).abs() < 1e-9
            && (r.batch_tokens / place.batch_tokens - 1.0).abs() < 1e-9
    });
    let floor = vertex_loss.map_or(best_loss, |v| v.min(best_loss));
    let without = runs.len() - losses.len();
    let resolved = batch.or(learning_rate).filter(|v| v.state == VertexState::Resolved);
    Some(Found {
        place,
        batch,
        learning_rate,
        weight_decay: vertex::of(&decays, noise),
        best_loss,
        vertex_loss,
        left_on_the_table: rule.and_then(|r| Some(r.loss()? / floor - 1.0)),
        sufficiency: sufficiency::judge(&losses, without, resolved.map(|v| v.loss), noise),
        by_batch,
    })
}

/// Half the width of an interval over its standard error.
fn quantile(dof: f64) -> f64 {
    stats::student(0.5 + 0.5 * LEVEL, dof.max(1.0)).unwrap_or(f64::INFINITY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Stream;

    /// The truth of these tests: rates and batches with exponents, a bowl in the logarithm.
    fn loss(p: &Place, rate: f64, batch: f64) -> f64 {
        let best_batch = 512.0 * (p.tokens / 1e6).powf(0.4);
        let best_rate = 0.01
            * (p.params / 2e4).powf(-0.3)
            * (p.tokens / 1e6).powf(-0.2)
            * (batch / best_batch).sqrt();
        let bowl =
            0.02 * (rate / best_rate).ln().powi(2) + 0.01 * (batch / best_batch).ln().powi(2);
        2.0 * (p.params / 2e4).powf(-0.1) * (p.tokens / 1e6).powf(-0.1) * (1.0 + bowl)
    }

    fn places(cells: &[(f64, f64)]) -> Vec<Place> {
        let place = |&(params, tokens): &(f64, f64)| Place {
            params,
            tokens,
            learning_rate: 0.012,
            batch_tokens: 512.0,
            weight_decay: 0.0,
        };
        cells.iter().map(place).collect()
    }

    fn runs(places: &[Place], sd: f64, seed: u64) -> Vec<Run> {
        let stream = Stream::new(seed, "tuning test");
        let mut out = Vec::new();
        for (i, place) in places.iter().enumerate() {
            for b in -2..=2 {
                for r in -3..=3 {
                    let (rate, batch) = (0.012 * 1.5_f64.powi(r), 512.0 * 2_f64.powi(b));
                    let noise = (sd * stream.normal(out.len() as u64)).exp();
                    out.push(Run {
                        place: i,
                        learning_rate: rate,
                        batch_tokens: batch,
                        weight_decay: 0.0,
                        decay_search: false,
                        losses: vec![loss(place, rate, batch) * noise],
                    });
                }
            }
        }
        out
    }

    const CELLS: [(f64, f64); 5] = [(1e4, 5e5), (1e4, 2e6), (4e4, 5e5), (4e4, 2e6), (2e4, 1e6)];

    #[test]
    fn exponents_of_rate_and_batch_are_recovered() {
        let places = places(&CELLS);
        let tuning = Tuning::new("t", &places, runs(&places, 1e-4, 1));
        let rule = |name: &str| tuning.rules.iter().find(|r| r.name == name).unwrap();
        let batch = rule("batch_tokens");
        let of = |r: &FittedRule, name: &str| {
            r.terms.iter().find(|t| t.name == name).unwrap_or_else(|| panic!("{name}")).clone()
        };
        let d = of(batch, "tokens_exponent");
        assert!((d.value - 0.4).abs() < 0.06 && d.lo < 0.4 && 0.4 < d.hi, "{d:?}");
        let n = of(batch, "params_exponent");
        assert!(n.lo < 0.0 && 0.0 < n.hi, "{n:?}");
        // The rate is that at the batch with the least loss, the nearest tried to the best: half a factor
        // of two off at most, which moves it by a fifth; the exponents hold within that.
        let rate = rule("learning_rate");
        let (n, d) = (of(rate, "params_exponent"), of(rate, "tokens_exponent"));
        assert!((n.value + 0.3).abs() < 0.15, "{n:?}");
        assert!((d.value + 0.2).abs() < 0.25, "{d:?}");
        assert!(tuning.toml().contains("tokens_exponent"), "{}", tuning.toml());
        for f in &tuning.found {
            assert!(f.sufficiency.as_ref().unwrap().enough, "{:?}", f.sufficiency);
        }
        let back: Tuning = serde_json::from_str(&serde_json::to_string(&tuning).unwrap()).unwrap();
        assert_eq!(back, tuning);
    }

    #[test]
    fn sizes_on_one_line_do_not_give_two_exponents() {
        let places = places(&[(1e4, 5e5), (2e4, 1e6), (4e4, 2e6), (8e4, 4e6)]);
        let tuning = Tuning::new("t", &places, runs(&places, 1e-4, 1));
        let rule = &tuning.rules[0];
        let names: Vec<&str> = rule.terms.iter().map(|t| t.name.as_str()).collect();
        assert_eq!(names, ["value", "params_exponent"], "{rule:?}");
        assert!(rule.note.as_ref().unwrap().contains("rise together"), "{rule:?}");
        let one = Tuning::new("t", &places[..1], runs(&places[..1], 1e-4, 1));
        assert_eq!(one.rules[0].terms.len(), 1);
    }

    #[test]
    fn a_rule_that_was_tried_tells_what_it_costs() {
        let places = places(&CELLS);
        let tuning = Tuning::new("t", &places, runs(&places, 0.0, 1));
        for found in &tuning.found {
            let best = loss(&found.place, 1.0, 1.0);
            assert!(best > found.vertex_loss.unwrap());
            let p = found.place;
            let floor = 2.0 * (p.params / 2e4).powf(-0.1) * (p.tokens / 1e6).powf(-0.1);
            let want = loss(&p, 0.012, 512.0) / floor - 1.0;
            let got = found.left_on_the_table.unwrap();
            assert!((got - want).abs() < 2e-3, "{got} {want}");
        }
    }
}
