//! The minimum of a bowl seen at a few points: a parabola in the logarithm of the axis.
//!
//! Through the least loss and its nearest neighbours, five points at most, by least squares: loss against
//! the logarithm of a rate, batch or decay is a parabola near its minimum and steeper far from it.

use serde::{Deserialize, Serialize};

use super::{Noise, quantile};
use crate::fit::numeric::qr::ordinary;
use crate::sound::{Refused, above, inside, not_negative};

/// Points of one parabola.
const POINTS: usize = 5;

/// Whether the minimum lies inside what was tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VertexState {
    /// Inside, on a convex parabola.
    Resolved,
    /// The best that was tried lies at an end.
    AtEdge,
    /// The points around the best do not bend upwards.
    NotConvex,
    /// Fewer than three points.
    TooFew,
    /// Zero was tried and nothing above it was better: the value is 0.
    Zero,
}

impl VertexState {
    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Resolved => "resolved",
            Self::AtEdge => "at the edge",
            Self::NotConvex => "not convex",
            Self::TooFew => "too few points",
            Self::Zero => "none helped",
        }
    }
}

/// The best value along one axis.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Vertex {
    /// Of the parabola where it is resolved, else the best that was tried.
    pub value: f64,
    /// Interval at the tuning's level; none where it is not resolved or no scatter is known.
    pub interval: Option<[f64; 2]>,
    /// Standard error of ln value.
    pub se: Option<f64>,
    /// Loss there [nats/token].
    pub loss: f64,
    /// Standard error of ln loss; less than the scatter of one run, for several make the parabola.
    pub loss_se: Option<f64>,
    /// ln L rises by this times the square of ln(value / best).
    pub curvature: Option<f64>,
    /// Points that were tried.
    pub points: usize,
    /// Whether to believe it.
    pub state: VertexState,
}

impl Vertex {
    /// Refuses one that was read and that no search ends with.
    pub(super) fn check(&self, place: &str) -> Refused {
        not_negative(place, self.value)?;
        above(&format!("{place}: the loss"), self.loss)?;
        self.interval.iter().try_for_each(|ends| inside(place, self.value, *ends))
    }
}

/// A parabola c0 + c1 u + c2 u^2 in u = x - centre.
struct Parabola {
    centre: f64,
    c: [f64; 3],
    /// (X'X)^-1.
    inverse: Vec<Vec<f64>>,
    rss: f64,
    n: usize,
}

/// The points that a parabola goes through: the best and its nearest, by x.
fn near(line: &[(f64, f64)]) -> Option<(Vec<(f64, f64)>, f64)> {
    let best = line.iter().copied().min_by(|l, r| l.1.total_cmp(&r.1))?;
    let mut near = line.to_vec();
    near.sort_by(|l, r| (l.0 - best.0).abs().total_cmp(&(r.0 - best.0).abs()));
    near.truncate(POINTS);
    Some((near, best.0))
}

fn parabola(points: &[(f64, f64)], centre: f64) -> Option<Parabola> {
    if points.len() < 3 {
        return None;
    }
    let power = |k: i32| points.iter().map(|(x, _)| (x - centre).powi(k)).collect::<Vec<f64>>();
    let y: Vec<f64> = points.iter().map(|p| p.1).collect();
    let (c, inverse) = ordinary(vec![power(0), power(1), power(2)], &y)?;
    let miss = |(x, y): &(f64, f64)| {
        let u = x - centre;
        y - c[0] - c[1] * u - c[2] * u * u
    };
    let rss = points.iter().map(|p| miss(p).powi(2)).sum();
    Some(Parabola { centre, c: [c[0], c[1], c[2]], inverse, rss, n: points.len() })
}

/// Sum of squares that a parabola misses by, and its degrees of freedom, where it has any.
pub(super) fn misses(line: &[(f64, f64)]) -> Option<(f64, f64)> {
    let (points, centre) = near(line)?;
    let p = parabola(&points, centre)?;
    (p.n > 3 && p.c[2] > 0.0).then_some((p.rss, (p.n - 3) as f64))
}

/// The vertex of (ln value, ln L); none without points.
pub(super) fn of(line: &[(f64, f64)], noise: Option<&Noise>) -> Option<Vertex> {
    let (points, best) = near(line)?;
    let least = points.iter().find(|p| p.0 == best)?.1;
    let tried = |state| Vertex {
        value: best.exp(),
        interval: None,
        se: None,
        loss: least.exp(),
        loss_se: noise.map(|noise| noise.sd),
        curvature: None,
        points: line.len(),
        state,
    };
    if line.len() < 3 {
        return Some(tried(VertexState::TooFew));
    }
    let ends = line.iter().fold((f64::MAX, f64::MIN), |e, p| (e.0.min(p.0), e.1.max(p.0)));
    if best == ends.0 || best == ends.1 {
        return Some(tried(VertexState::AtEdge));
    }
    let Some(p) = parabola(&points, best).filter(|p| p.c[2] > 0.0) else {
        return Some(tried(VertexState::NotConvex));
    };
    let [c0, c1, c2] = p.c;
    let u = -c1 / (2.0 * c2);
    let x = p.centre + u;
    if !(ends.0..=ends.1).contains(&x) {
        return Some(tried(VertexState::AtEdge));
    }
    let error = |gradient: [f64; 3]| {
        let pairs = (0..3).flat_map(|i| (0..3).map(move |j| (i, j)));
        let variance: f64 = pairs.map(|(i, j)| gradient[i] * p.inverse[i][j] * gradient[j]).sum();
        noise.map(|noise| noise.sd * variance.max(0.0).sqrt())
    };
    let se = error([0.0, -0.5 / c2, c1 / (2.0 * c2 * c2)]);
    let interval = noise.zip(se).map(|(noise, se)| {
        let half = quantile(noise.dof) * se;
        [(x - half).exp(), (x + half).exp()]
    });
    Some(Vertex {
        value: x.exp(),
        interval,
        se,
        loss: (c0 + c1 * u + c2 * u * u).exp(),
        // The loss does not change with u at the vertex.
        loss_se: error([1.0, u, u * u]),
        curvature: Some(c2),
        points: line.len(),
        state: VertexState::Resolved,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Stream;

    fn line(best: f64, sd: f64, seed: u64) -> Vec<(f64, f64)> {
        let stream = Stream::new(seed, "vertex test");
        let at = |i: u64| {
            let x = -1.2 + 0.4 * i as f64;
            (x, 0.7 + 0.05 * (x - best).powi(2) + sd * stream.normal(i))
        };
        (0..7).map(at).collect()
    }

    #[test]
    fn the_vertex_of_a_parabola_is_exact() {
        let noise = Noise { sd: 1e-3, dof: 10.0, from_seeds: true };
        let v = of(&line(0.13, 0.0, 0), Some(&noise)).unwrap();
        assert_eq!(v.state, VertexState::Resolved);
        assert!((v.value.ln() - 0.13).abs() < 1e-10, "{v:?}");
        assert!((v.loss.ln() - 0.7).abs() < 1e-12 && (v.curvature.unwrap() - 0.05).abs() < 1e-10);
        let [lo, hi] = v.interval.unwrap();
        assert!(lo < v.value && v.value < hi);
    }

    #[test]
    fn what_is_not_a_minimum_is_said() {
        let state = |line: &[(f64, f64)]| of(line, None).unwrap().state;
        assert_eq!(state(&line(3.0, 0.0, 0)), VertexState::AtEdge);
        assert_eq!(state(&line(-3.0, 0.0, 0)), VertexState::AtEdge);
        assert_eq!(state(&line(0.0, 0.0, 0)[..2]), VertexState::TooFew);
        assert_eq!(state(&line(0.1, 0.0, 0)), VertexState::Resolved);
        let bump = [(-2.0, 1.0), (-1.0, 0.2), (0.0, 0.1), (1.0, 0.2), (2.0, -0.9), (3.0, 1.0)];
        assert_eq!(
            of(&[(0.0, 1.0), (0.0, 1.0), (0.0, 1.0)], None).unwrap().state,
            VertexState::AtEdge
        );
        assert!(of(&bump, None).is_some());
        assert_eq!(of(&[], None), None);
    }

    /// Against the spread of the losses themselves over many noisy bowls.
    #[test]
    fn the_error_of_a_vertex_loss_is_its_spread() {
        let noise = Noise { sd: 1e-3, dof: 10.0, from_seeds: true };
        let vertices: Vec<Vertex> =
            (0..400).filter_map(|seed| of(&line(0.1, 1e-3, seed), Some(&noise))).collect();
        let n = vertices.len() as f64;
        let mean = vertices.iter().map(|v| v.loss.ln()).sum::<f64>() / n;
        let spread = vertices.iter().map(|v| (v.loss.ln() - mean).powi(2)).sum::<f64>() / n;
        let said = vertices.iter().map(|v| v.loss_se.unwrap()).sum::<f64>() / n;
        assert!((said / spread.sqrt() - 1.0).abs() < 0.15, "{said} {}", spread.sqrt());
        assert!(said < 0.8e-3, "{said}");
    }

    /// 90% intervals over 400 noisy bowls; the scatter is estimated from the same bowls, five at a time.
    #[test]
    fn intervals_hold_the_vertex_as_often_as_they_say() {
        let (mut held, mut all) = (0.0, 0.0);
        for group in 0..80 {
            let lines: Vec<_> = (0..5).map(|i| line(0.1, 2e-3, 5 * group + i)).collect();
            let misses: Vec<_> = lines.iter().filter_map(|l| misses(l)).collect();
            let (rss, dof) = misses.iter().fold((0.0, 0.0), |s, m| (s.0 + m.0, s.1 + m.1));
            let noise = Noise { sd: (rss / dof).sqrt(), dof, from_seeds: false };
            for line in &lines {
                let v = of(line, Some(&noise)).unwrap();
                if let Some([lo, hi]) = v.interval {
                    all += 1.0;
                    held += f64::from(u8::from((lo.ln()..hi.ln()).contains(&0.1)));
                }
            }
        }
        assert!(all > 380.0);
        let share: f64 = held / all;
        assert!((0.85..=0.95).contains(&share), "{share}");
    }
}
