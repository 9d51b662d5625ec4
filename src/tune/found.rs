//! What tuning found at one place: the best batch, the best learning rate at it, the best decay, and what the sweep's own
//! rule costs.

use serde::{Deserialize, Serialize};

use super::scatter::lines;
use super::sufficiency::{self, Sufficiency};
use super::vertex::{self, Vertex, VertexState};
use super::{Noise, Place, Run, quantile};

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

pub(super) fn find(place: Place, runs: &[&Run], noise: Option<&Noise>) -> Option<Found> {
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
