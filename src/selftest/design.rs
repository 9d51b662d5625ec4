//! What a synthetic study looks like: the runs of a real one, a truth, and the scatter about it.

use crate::fit::{Analysis, Compute, Surface, shared_noise};
use crate::points::{Convention, Point, Table};
use crate::random::Stream;
use crate::units::NATS_PER_TOKEN;

/// A study to be repeated with other noise.
#[derive(Debug, Clone, PartialEq)]
pub struct Design {
    /// Where the runs come from.
    pub source: String,
    /// What N and C mean.
    pub convention: Convention,
    /// How FLOPs per token depend on N: the constraint of the frontier.
    pub compute: Compute,
    /// The runs: N, D, C, budget and cluster are kept, the loss is drawn anew in every study.
    pub points: Vec<Point>,
    /// The law that the studies are drawn from.
    pub truth: Surface,
    /// Standard deviation of ln L about it [-].
    pub noise: f64,
    /// Share of that variance that runs of one cluster have in common [0, 1].
    pub shared: f64,
}

impl Design {
    /// Hoffmann's law (2022, approach 3, as printed) with C = 6ND: `budgets` budgets over two decades up
    /// to 1e20 FLOP, `sizes` sizes each within a factor 4 of the optimum, sd of ln L .003.
    pub fn standard(budgets: usize, sizes: usize) -> Self {
        let truth = Surface { a: 406.4, b: 410.7, e: 1.69, alpha: 0.34, beta: 0.28 };
        Self::isoflop(truth, (1e18, 1e20), budgets, sizes)
    }

    /// The same on any law and between any two computes [FLOP]; a law without an optimum has no runs.
    pub fn isoflop(truth: Surface, range: (f64, f64), budgets: usize, sizes: usize) -> Self {
        let share = |i: usize, n: usize| i as f64 / (n.max(2) - 1) as f64;
        let mut points = Vec::new();
        for b in 0..budgets {
            let flops = range.0 * (range.1 / range.0).powf(share(b, budgets));
            let Some((best, _)) = truth.optimum(&Compute::SixNd, flops) else { continue };
            for i in 0..sizes {
                let params = best * 4.0_f64.powf(2.0 * share(i, sizes) - 1.0);
                let tokens = flops / (6.0 * params);
                points.push(Point {
                    id: format!("cell {b}.{i}"),
                    cluster: format!("cell {b}.{i}"),
                    params,
                    tokens,
                    flops,
                    loss: truth.loss(params, tokens),
                    budget: Some(flops),
                    unique_tokens: None,
                    counts: None,
                });
            }
        }
        let convention = Convention {
            params: "as given".into(),
            flops: "6ND".into(),
            loss: NATS_PER_TOKEN.into(),
        };
        Self {
            source: format!("{budgets} budgets of {sizes} sizes within a factor 4 of the optimum"),
            convention,
            compute: Compute::SixNd,
            points,
            truth,
            noise: 0.003,
            shared: 0.0,
        }
    }

    /// The runs of `analysis`, its leading surface as the truth, and that fit's scatter. Nothing without
    /// a surface.
    pub fn of(analysis: &Analysis) -> Option<Self> {
        let (fit, truth) = analysis.fits.iter().find_map(|f| Some((f, f.params?)))?;
        // Counts would have every study fitted under every convention; the synthetic tokens are fresh.
        let plain = |p: &Point| Point { counts: None, unique_tokens: None, ..p.clone() };
        let points = analysis.points.iter().map(plain).collect();
        Some(Self {
            source: analysis.source.clone(),
            convention: analysis.convention.clone(),
            compute: analysis.compute,
            points,
            truth,
            noise: fit.residual_sd.unwrap_or(0.0),
            shared: shared_noise(&analysis.points, &truth),
        })
    }

    /// Smallest and largest compute [FLOP].
    pub fn range(&self) -> (f64, f64) {
        self.points.iter().fold((f64::MAX, 0.0), |(l, h), p| (l.min(p.flops), h.max(p.flops)))
    }

    /// Clusters, in the order of their first run, and which one each run is in.
    pub(super) fn clusters(&self) -> (usize, Vec<usize>) {
        let mut seen = std::collections::BTreeMap::new();
        let of = self
            .points
            .iter()
            .map(|p| {
                let next = seen.len();
                *seen.entry(p.cluster.as_str()).or_insert(next)
            })
            .collect();
        (seen.len(), of)
    }

    /// One study: the runs with losses of the truth and noise from `stream`.
    pub(super) fn study(&self, stream: Stream) -> Table {
        let (_, cluster) = self.clusters();
        let (own, common) = (stream.child(0), stream.child(1));
        let noise = |i: usize| {
            self.noise
                * (self.shared.sqrt() * common.normal(cluster[i] as u64)
                    + (1.0 - self.shared).sqrt() * own.normal(i as u64))
        };
        let points = self
            .points
            .iter()
            .enumerate()
            .map(|(i, p)| Point {
                loss: self.truth.loss(p.params, p.tokens) * noise(i).exp(),
                ..p.clone()
            })
            .collect();
        Table::new(self.source.clone(), self.convention.clone(), points)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2000 runs of 1000 pairs: the standard deviation to 2%, and the correlation of pairs to three
    /// standard errors (3 / sqrt(1000) = .09).
    #[test]
    fn noise_has_the_wanted_size_and_is_shared_as_wanted() {
        let mut design = Design::standard(2, 1000);
        design.shared = 0.5;
        for (i, p) in design.points.iter_mut().enumerate() {
            p.cluster = (i / 2).to_string();
        }
        let study = design.study(Stream::new(3, "test"));
        let noise: Vec<f64> = study
            .points
            .iter()
            .map(|p| (p.loss / design.truth.loss(p.params, p.tokens)).ln() / 0.003)
            .collect();
        let n = noise.len() as f64;
        let variance = noise.iter().map(|z| z * z).sum::<f64>() / n;
        let pairs = noise.chunks(2).map(|p| p[0] * p[1]).sum::<f64>() / (0.5 * n);
        assert!((variance - 1.0).abs() < 0.1 && (pairs - 0.5).abs() < 0.1, "{variance} {pairs}");
    }

    #[test]
    fn the_standard_design_is_centred_on_the_optimum() {
        let design = Design::standard(5, 6);
        assert_eq!((design.points.len(), design.range()), (30, (1e18, 1e20)));
        let (best, _) = design.truth.optimum(&Compute::SixNd, 1e18).unwrap();
        let (least, most) = (design.points[0].params, design.points[5].params);
        assert!((least * 4.0 / best - 1.0).abs() < 1e-9 && (most / 4.0 / best - 1.0).abs() < 1e-9);
    }
}
