//! Approach 1: the runs on the lower envelope of loss against compute, and the line through them.
//!
//! DIFFERENCE: Hoffmann et al. 2022 (section 3.1) take the envelope of whole training curves. Under a
//! schedule that decays to its horizon a loss on the way is not the loss of a run that ends there, so
//! only final losses are used here, and the envelope is the lower convex hull of ln L over ln C
//! (as in McLeish et al. 2025, arXiv:2502.06857). Few runs lie on it: read it as a check, not a result.

use rayon::prelude::*;

use crate::fit::data::clusters::Clusters;
use crate::fit::frontier::line::{frontier_fit, through};
use crate::fit::numeric::stats::Random;
use crate::fit::result::{EnvelopePoint, Fit, Frontier};
use crate::points::Point;

/// No loss falls as fast as C^-0.5 along an envelope; a steeper first edge says only that the cheapest
/// run was a bad one (the cheapest of a budget is seldom its best).
const STEEPEST: f64 = -0.5;

/// The hull's runs by compute, and the frontier through them where there are three.
///
/// Intervals by resampling clusters: each draw takes the hull anew.
pub(in crate::fit) fn fit(
    points: &[Point],
    clusters: &Clusters,
    (draws, seed, level): (usize, u64, f64),
) -> (Vec<EnvelopePoint>, Option<Fit>) {
    let all: Vec<usize> = (0..points.len()).collect();
    let hull = hull(points, &all);
    let envelope = hull
        .iter()
        .map(|i| {
            let p = &points[*i];
            EnvelopePoint {
                id: p.id.clone(),
                flops: p.flops,
                params: p.params,
                tokens: p.tokens,
                loss: p.loss,
            }
        })
        .collect();
    let Some(line) = line(points, &hull) else { return (envelope, None) };
    let lines: Vec<Frontier> = (0..draws)
        .into_par_iter()
        .filter_map(|draw| {
            let mut random = Random::new(seed ^ 0x0001, draw as u64);
            let weight = clusters.resample(&mut random);
            let drawn: Vec<usize> = all.iter().copied().filter(|i| weight[*i] > 0.0).collect();
            self::line(points, &self::hull(points, &drawn))
        })
        .collect();
    let fit = frontier_fit(
        "envelope",
        &optima(points, &hull),
        "sum of squares of ln N and of ln D about a line in ln C, over the runs on the lower convex \
         hull of ln L against ln C",
        line,
        lines,
        draws,
        level,
    );
    (envelope, Some(fit))
}

/// Indices of the falling part of the lower convex hull, by compute (Andrew's monotone chain, 1979).
/// `rows` must be ascending in compute.
pub(in crate::fit) fn hull(points: &[Point], rows: &[usize]) -> Vec<usize> {
    let at = |i: usize| (points[i].flops.ln(), points[i].loss.ln());
    let mut chain: Vec<usize> = Vec::new();
    for &i in rows {
        let (x, y) = at(i);
        // Of runs with one compute only the best can be on the hull.
        if let Some(&last) = chain.last()
            && at(last).0 == x
        {
            if at(last).1 <= y {
                continue;
            }
            chain.pop();
        }
        while let [.., p, q] = chain[..] {
            let ((px, py), (qx, qy)) = (at(p), at(q));
            if (qx - px) * (y - py) - (qy - py) * (x - px) > 0.0 {
                break;
            }
            chain.pop();
        }
        chain.push(i);
    }
    let lowest =
        (0..chain.len()).min_by(|l, r| at(chain[*l]).1.total_cmp(&at(chain[*r]).1)).unwrap_or(0);
    chain.truncate(lowest + 1);
    let steep = |p: usize, q: usize| {
        let ((px, py), (qx, qy)) = (at(p), at(q));
        (qy - py) / (qx - px) < STEEPEST
    };
    let first = chain.windows(2).take_while(|w| steep(w[0], w[1])).count();
    chain.split_off(first.min(chain.len()))
}

fn line(points: &[Point], hull: &[usize]) -> Option<Frontier> {
    through(&optima(points, hull)).filter(|_| hull.len() >= 3)
}

/// (ln C, ln N, ln D) of the hull's runs.
fn optima(points: &[Point], hull: &[usize]) -> Vec<[f64; 3]> {
    hull.iter().map(|i| &points[*i]).map(|p| [p.flops.ln(), p.params.ln(), p.tokens.ln()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(params: f64, flops: f64, loss: f64) -> Point {
        Point {
            id: format!("{params} at {flops}"),
            cluster: format!("{params} at {flops}"),
            params,
            tokens: flops / (6.0 * params),
            flops,
            loss,
            budget: None,
            unique_tokens: None,
            counts: None,
        }
    }

    /// Losses on an exact power law of C are one straight line; anything above is off the hull.
    #[test]
    fn runs_on_a_straight_frontier_give_its_exponent() {
        let mut points = Vec::new();
        for i in 0..6 {
            let c = 1e18 * 4.0_f64.powi(i);
            points.push(point(
                0.1 * c.sqrt(),
                c,
                30.0 * c.powf(-0.05) * (1.0 - 1e-6 * f64::from(i * (6 - i))),
            ));
            points.push(point(0.3 * c.sqrt(), c * 1.1, 33.0 * c.powf(-0.05)));
        }
        points.sort_by(|l, r| l.flops.total_cmp(&r.flops));
        let clusters = Clusters::of_points(&points);
        let (envelope, fit) = fit(&points, &clusters, (0, 0, 0.9));
        assert_eq!(envelope.len(), 6);
        let fit = fit.unwrap();
        assert!((fit.exponents.a - 0.5).abs() < 1e-12 && (fit.exponents.b - 0.5).abs() < 1e-12);
    }

    #[test]
    fn the_cheapest_bad_run_is_not_on_the_envelope() {
        let points = [
            point(1e9, 0.999e18, 9.0),
            point(1e8, 1e18, 4.0),
            point(3e8, 1e19, 3.5),
            point(1e9, 1e20, 3.2),
        ];
        assert_eq!(hull(&points, &[0, 1, 2, 3]), [1, 2, 3]);
    }

    #[test]
    fn a_rise_after_the_best_run_is_not_on_the_envelope() {
        let points = [point(1e8, 1e18, 4.0), point(3e8, 1e19, 3.5), point(1e8, 1e20, 3.6)];
        assert_eq!(hull(&points, &[0, 1, 2]), [0, 1]);
    }
}
