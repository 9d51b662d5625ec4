//! The same runs under every convention of N: how much of the answer is bookkeeping.
//!
//! Counting embeddings or not moves the exponent at small sizes by more than any fitting method does
//! (Pearce & Song 2024, arXiv:2406.12907: .74-.78 against .5).

use crate::fit::data::sample::Sample;
use crate::fit::result::{Compute, ConventionFit};
use crate::fit::surface::lse;
use crate::fit::surface::varpro;
use crate::fit::{Method, Options};
use crate::points::{Counts, Point};

/// The leading surface fit under each convention, with C = 6ND for the N in hand. Empty unless every
/// run carries its counts; a convention that cannot be fitted is left out.
pub(in crate::fit) fn compare(points: &[Point], options: &Options) -> Vec<ConventionFit> {
    type Count = fn(&Counts) -> f64;
    let counts: Vec<Counts> = points.iter().filter_map(|p| p.counts).collect();
    if counts.is_empty() || counts.len() < points.len() {
        return Vec::new();
    }
    let conventions: [(&str, Count); 4] = [
        ("total", |c| c.total),
        ("non_embedding", |c| c.non_embedding),
        ("matmul", |c| c.matmul),
        ("flops_over_6", |c| c.flops_over_6),
    ];
    conventions
        .iter()
        .filter_map(|(name, of)| {
            let recounted: Vec<Point> = points
                .iter()
                .zip(&counts)
                .map(|(p, c)| {
                    let params = of(c);
                    Point { params, flops: 6.0 * params * p.tokens, ..p.clone() }
                })
                .collect();
            if recounted.iter().any(|p| !(p.params.is_finite() && p.params > 0.0)) {
                return None;
            }
            let sample = Sample::pinned(&recounted, options.pins);
            if sample.unfit().is_some() {
                return None;
            }
            let squares = varpro::fit(&sample);
            let lead = if options.methods.contains(&Method::LseHuber) {
                lse::fit(&sample, options.delta, &[squares.surface])
            } else {
                squares
            };
            if !lead.has_frontier() {
                return None;
            }
            let (least, most) = recounted
                .iter()
                .fold((f64::MAX, 0.0_f64), |(l, h), p| (l.min(p.flops), h.max(p.flops)));
            let frontier = lead.surface.frontier(&Compute::SixNd, least, most)?;
            let (params, tokens) = lead.surface.optimum(&Compute::SixNd, most)?;
            Some(ConventionFit {
                params: (*name).into(),
                exponents: frontier.exponents(),
                e: lead.surface.e,
                tokens_per_param: tokens / params,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::data::sample::tests::{TRUTH, study};

    /// Without embeddings N shrinks most where it is small, so N* appears to grow faster (Pearce & Song
    /// 2024, arXiv:2406.12907); under the convention that made the data the truth comes back.
    #[test]
    fn leaving_out_embeddings_raises_the_exponent() {
        let mut points = study(&[1e15, 1e16, 1e17, 1e18], 7, 4.0, 0.0, 1);
        for p in &mut points {
            let embedding = 0.4 * p.params.powf(2.0 / 3.0) * 20.0;
            p.counts = Some(Counts {
                total: p.params,
                non_embedding: p.params - embedding.min(0.9 * p.params),
                matmul: p.params - 0.5 * embedding.min(0.9 * p.params),
                flops_over_6: p.params,
            });
        }
        let compared = compare(&points, &Options::default());
        let names: Vec<&str> = compared.iter().map(|c| c.params.as_str()).collect();
        assert_eq!(names, ["total", "non_embedding", "matmul", "flops_over_6"]);
        let a: Vec<f64> = compared.iter().map(|c| c.exponents.a).collect();
        assert!((a[0] - TRUTH.beta / (TRUTH.alpha + TRUTH.beta)).abs() < 1e-6, "{a:?}");
        assert!(a[1] > a[2] && a[2] > a[0], "{a:?}");
        assert!((compared[3].e - TRUTH.e).abs() < 1e-6);
    }

    #[test]
    fn a_table_without_counts_is_not_compared() {
        assert_eq!(compare(&study(&[1e18, 1e19], 6, 4.0, 0.0, 1), &Options::default()), []);
    }
}
