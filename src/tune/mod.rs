//! Tuning as part of the study: where the best rate, batch and decay lie at a few small cells, the rules in
//! (N, D) that follow, and whether enough was tried.
//!
//! Pure: from (place, values, losses) to vertices, rules with intervals and verdicts. What to try next is
//! [`design`]'s; the runs themselves are ordinary cells. Every loss is handled as ln L.

mod agreement;
pub mod design;
mod rules;
mod sufficiency;
mod vertex;

use serde::{Deserialize, Serialize};

use crate::fit::numeric::stats;
use crate::sound::{Refused, above, inside, level, not_negative};
pub use agreement::Agreement;
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
    /// Best learning rate at the best batch: between the batches on both sides of it where that is
    /// resolved, else at the batch whose loss is least; none where no rate was searched.
    pub learning_rate: Option<Vertex>,
    /// Best weight decay, 0 where none helped; none where none was searched.
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
        let noise = scatter(places.len(), &runs);
        let found: Vec<Found> = places
            .iter()
            .enumerate()
            .filter_map(|(i, place)| {
                let here: Vec<&Run> = runs.iter().filter(|r| r.place == i).collect();
                find(*place, &here, noise.as_ref())
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
    let batch = (by_batch.len() > 1).then(|| best_batch(&by_batch, noise)).flatten();
    let learning_rate = batch.and_then(|b| rate_at(&b, &by_batch, noise)).or_else(|| {
        let least = by_batch.iter().min_by(|l, r| l.1.loss.total_cmp(&r.1.loss))?.1;
        (least.points > 1).then_some(least)
    });
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
        weight_decay: best_decay(runs, noise),
        best_loss,
        vertex_loss,
        left_on_the_table: rule.and_then(|r| Some(r.loss()? / floor - 1.0)),
        sufficiency: sufficiency::judge(&losses, without, resolved.map(|v| v.loss), noise),
        by_batch,
    })
}

/// Best batch of the least loss at each; at a single rate of the runs, else of the slices whose best rate is
/// resolved, for elsewhere a batch is not seen at its best.
fn best_batch(by_batch: &[(f64, Vertex)], noise: Option<&Noise>) -> Option<Vertex> {
    let one_rate = by_batch.iter().all(|(_, v)| v.points == 1);
    let seen = |v: &Vertex| one_rate || v.state == VertexState::Resolved;
    let slices: Vec<&(f64, Vertex)> = by_batch.iter().filter(|(_, v)| seen(v)).collect();
    if slices.len() < 3 {
        let all: Vec<(f64, f64)> = by_batch.iter().map(|(b, v)| (b.ln(), v.loss.ln())).collect();
        return vertex::of(&all, noise).map(|v| {
            let best = by_batch.iter().min_by(|l, r| l.1.loss.total_cmp(&r.1.loss));
            let (value, loss) = best.map_or((v.value, v.loss), |(b, v)| (*b, v.loss));
            let state = VertexState::TooFew;
            Vertex { value, interval: None, se: None, loss, curvature: None, state, ..v }
        });
    }
    let line: Vec<(f64, f64)> = slices.iter().map(|(b, v)| (b.ln(), v.loss.ln())).collect();
    let variance = slices.iter().filter_map(|(_, v)| v.loss_se).map(|se| se * se).sum::<f64>();
    let sd = (variance / slices.len() as f64).sqrt();
    vertex::of(&line, noise.map(|noise| Noise { sd, ..*noise }).as_ref())
}

/// Best learning rate at a resolved best batch: ln rate linear in ln batch between the resolved slices on
/// both sides.
fn rate_at(batch: &Vertex, by_batch: &[(f64, Vertex)], noise: Option<&Noise>) -> Option<Vertex> {
    if batch.state != VertexState::Resolved {
        return None;
    }
    let resolved: Vec<&(f64, Vertex)> =
        by_batch.iter().filter(|(_, v)| v.state == VertexState::Resolved).collect();
    let pair = resolved.windows(2).find(|w| (w[0].0..=w[1].0).contains(&batch.value))?;
    let ([(b0, low), (b1, high)], step) = ([pair[0], pair[1]], (pair[1].0 / pair[0].0).ln());
    let t = (batch.value / b0).ln() / step;
    let slope = (high.value / low.value).ln() / (b1 / b0).ln();
    let between = |l: f64, r: f64| (1.0 - t) * l + t * r;
    let x = between(low.value.ln(), high.value.ln());
    // The errors of both slices, and that of the batch along the slope between them.
    let se = low.se.zip(high.se).zip(batch.se).map(|((l, h), b)| {
        (((1.0 - t) * l).powi(2) + (t * h).powi(2) + (slope * b).powi(2)).sqrt()
    });
    Some(Vertex {
        value: x.exp(),
        interval: noise.zip(se).map(|(noise, se)| {
            let half = quantile(noise.dof) * se;
            [(x - half).exp(), (x + half).exp()]
        }),
        se,
        loss: batch.loss,
        loss_se: batch.loss_se,
        curvature: low.curvature.zip(high.curvature).map(|(l, h)| between(l, h)),
        points: low.points.min(high.points),
        state: VertexState::Resolved,
    })
}

/// Best decay of those above zero, or zero where that was tried and none above it is better.
fn best_decay(runs: &[&Run], noise: Option<&Noise>) -> Option<Vertex> {
    let tried: Vec<(f64, f64)> = runs
        .iter()
        .filter(|r| r.decay_search)
        .filter_map(|r| Some((r.weight_decay, r.loss()?.ln())))
        .collect();
    let zero = tried.iter().filter(|t| t.0 == 0.0).map(|t| t.1).reduce(f64::min);
    let above: Vec<(f64, f64)> =
        tried.iter().filter(|t| t.0 > 0.0).map(|t| (t.0.ln(), t.1)).collect();
    match zero {
        Some(zero) if above.iter().all(|t| zero <= t.1) => Some(Vertex {
            value: 0.0,
            interval: None,
            se: None,
            loss: zero.exp(),
            loss_se: noise.map(|noise| noise.sd),
            curvature: None,
            points: tried.len(),
            state: VertexState::Zero,
        }),
        _ => vertex::of(&above, noise),
    }
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
        let is = |t: &Term, truth: f64, within: f64| {
            let [lo, hi] = t.interval.unwrap();
            assert!((t.value - truth).abs() < within && lo < truth && truth < hi, "{t:?}");
        };
        is(&d, 0.4, 0.06);
        is(&of(batch, "params_exponent"), 0.0, 0.06);
        let rate = rule("learning_rate");
        is(&of(rate, "params_exponent"), -0.3, 0.08);
        is(&of(rate, "tokens_exponent"), -0.2, 0.08);
        assert!(tuning.toml().contains("tokens_exponent"), "{}", tuning.toml());
        for f in &tuning.found {
            // Half a step along each axis, at most, from the best tried to the vertex.
            let gain = f.sufficiency.as_ref().unwrap().gain.unwrap();
            let half = 0.02 * (0.5 * 1.5_f64.ln()).powi(2) + 0.01 * (0.5 * 2_f64.ln()).powi(2);
            assert!((-3e-4..half + 3e-4).contains(&gain), "{gain} {half}");
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

    /// A batch whose best rate lies beyond what was tried looks worse than it is, and is left out.
    #[test]
    fn a_batch_not_seen_at_its_best_rate_does_not_count() {
        let place = places(&CELLS)[4];
        let all = runs(&[place], 0.0, 1);
        let found = |keep: &dyn Fn(&Run) -> bool| {
            let kept = all.iter().filter(|r| keep(r)).cloned().collect();
            Tuning::new("t", &[place], kept).found.remove(0)
        };
        let whole = found(&|_| true).batch.unwrap();
        assert_eq!(whole.state, VertexState::Resolved);
        // At 1024 tokens only the rates far below its best.
        let cut = found(&|r| r.batch_tokens != 1024.0 || r.learning_rate < 0.007);
        assert_eq!(cut.by_batch.len(), 5);
        let batch = cut.batch.unwrap();
        assert_eq!(batch.state, VertexState::Resolved);
        assert!((batch.value / whole.value - 1.0).abs() < 0.02, "{batch:?} {whole:?}");
        let most = found(&|r| [256.0, 512.0].contains(&r.batch_tokens) || r.learning_rate < 0.004);
        assert_eq!(most.batch.unwrap().state, VertexState::TooFew);
    }

    #[test]
    fn no_decay_is_the_answer_where_none_helped() {
        let place = places(&CELLS)[4];
        let with = |at: &dyn Fn(f64) -> f64| {
            let mut all = runs(&[place], 0.0, 1);
            let run = |&decay: &f64| Run {
                weight_decay: decay,
                decay_search: true,
                losses: vec![at(decay)],
                ..all[0].clone()
            };
            let decays: Vec<Run> = [0.0, 0.03, 0.1, 0.3].iter().map(run).collect();
            all.extend(decays);
            Tuning::new("t", &[place], all)
        };
        // A bowl above zero whose floor lies above the loss without any.
        let bowl = |d: f64, floor: f64| floor + 0.01 * (d / 0.1).ln().powi(2);
        let none = with(&|d| if d == 0.0 { 2.0 } else { bowl(d, 2.01) });
        let v = none.found[0].weight_decay.unwrap();
        assert_eq!((v.value, v.state), (0.0, VertexState::Zero));
        assert!(none.toml().contains("weight_decay = 0"), "{}", none.toml());
        let some = with(&|d| if d == 0.0 { 2.0 } else { bowl(d, 1.99) });
        let v = some.found[0].weight_decay.unwrap();
        assert_eq!(v.state, VertexState::Resolved);
        assert!((v.value - 0.1).abs() < 0.01, "{v:?}");
    }
}
