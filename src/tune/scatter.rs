//! The scatter of ln L among tuning runs: between seeds, else about the parabolas in the rate.

use super::{Noise, Run, vertex};

/// Scatter among seeds, else what all parabolas in the rate miss.
pub(super) fn scatter(places: usize, runs: &[Run]) -> Option<Noise> {
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

/// Groups of runs that differ in one value only, as (ln value, ln L).
pub(super) fn lines(runs: &[&Run]) -> Vec<(f64, Vec<(f64, f64)>)> {
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
