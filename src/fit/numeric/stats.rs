//! Small statistics that every part of the fit shares: percentiles, straight lines, random numbers.
//!
//! Knows nothing of laws or tables.

use statrs::distribution::{Continuous, ContinuousCDF, StudentsT};

/// A straight line y = intercept + slope x.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Line {
    pub(crate) intercept: f64,
    pub(crate) slope: f64,
}

/// Least-squares line through `(x, y)`, or nothing when x takes fewer than two values.
pub(crate) fn line(points: &[(f64, f64)]) -> Option<Line> {
    let n = points.len() as f64;
    let (sx, sy) = points.iter().fold((0.0, 0.0), |s, p| (s.0 + p.0, s.1 + p.1));
    let (mx, my) = (sx / n, sy / n);
    let (sxx, sxy) = points.iter().fold((0.0, 0.0), |s, p| {
        let d = p.0 - mx;
        (s.0 + d * d, s.1 + d * (p.1 - my))
    });
    // Relative to the size of x, so that equal budgets with rounding noise do not make a slope.
    if !sxx.is_finite() || sxx <= 1e-18 * (1.0 + mx * mx) * n {
        return None;
    }
    let slope = sxy / sxx;
    Some(Line { intercept: my - slope * mx, slope })
}

/// The central interval at `level` of `values`, by linear interpolation between order statistics
/// (type 7 of Hyndman & Fan 1996, doi:10.2307/2684934). Nothing under 20 values: the tails of fewer
/// draws are not an interval.
pub(crate) fn percentile_interval(values: &[f64], level: f64) -> Option<[f64; 2]> {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|v| v.is_finite()).collect();
    if sorted.len() < 20 {
        return None;
    }
    sorted.sort_by(f64::total_cmp);
    let tail = 0.5 * (1.0 - level);
    Some([quantile(&sorted, tail), quantile(&sorted, 1.0 - tail)])
}

/// The same about an estimate, which it holds: where all draws lie on one side, that side ends at the estimate.
pub(crate) fn interval_about(estimate: f64, values: &[f64], level: f64) -> Option<[f64; 2]> {
    let [lo, hi] = percentile_interval(values, level)?;
    Some([lo.min(estimate), hi.max(estimate)])
}

/// Standard deviation of the logarithms of `values`, or nothing under two that are finite and above 0.
pub(crate) fn log_sd(values: &[f64]) -> Option<f64> {
    let logs: Vec<f64> =
        values.iter().filter(|v| v.is_finite() && **v > 0.0).map(|v| v.ln()).collect();
    if logs.len() < 2 {
        return None;
    }
    let n = logs.len() as f64;
    let mean = logs.iter().sum::<f64>() / n;
    Some((logs.iter().map(|l| (l - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt())
}

/// The central interval at `level` of values that count by their weights: linear between the middles of
/// their weights, so that for equal weights it is Hazen's (type 5 of Hyndman & Fan 1996). Nothing under 20
/// values.
pub(crate) fn weighted_interval(values: &[(f64, f64)], level: f64) -> Option<[f64; 2]> {
    let mut sorted: Vec<(f64, f64)> =
        values.iter().copied().filter(|(v, w)| v.is_finite() && *w > 0.0).collect();
    if sorted.len() < 20 {
        return None;
    }
    sorted.sort_by(|l, r| l.0.total_cmp(&r.0));
    let total: f64 = sorted.iter().map(|v| v.1).sum();
    let mut below = 0.0;
    let middles: Vec<(f64, f64)> = sorted
        .iter()
        .map(|(value, weight)| {
            below += weight;
            ((below - 0.5 * weight) / total, *value)
        })
        .collect();
    let at = |p: f64| {
        let next = middles.partition_point(|m| m.0 < p);
        match (next.checked_sub(1).map(|i| middles[i]), middles.get(next)) {
            (Some(l), Some(r)) => l.1 + (p - l.0) / (r.0 - l.0) * (r.1 - l.1),
            (Some(end), None) => end.1,
            (None, _) => middles[0].1,
        }
    };
    let tail = 0.5 * (1.0 - level);
    Some([at(tail), at(1.0 - tail)])
}

/// Quantile `p` of values that are sorted and not empty.
pub(crate) fn quantile(sorted: &[f64], p: f64) -> f64 {
    let position = p.clamp(0.0, 1.0) * (sorted.len() - 1) as f64;
    let below = position.floor() as usize;
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + (position - below as f64) * (sorted[above] - sorted[below])
}

/// Student's distribution for sums over many values: its lower tail from a table.
///
/// Cubic Hermite interpolation of the tail and its density at steps of 1/128, which is within 2e-11 of
/// the tail itself (h^4/384 times the density's third derivative, below 1.5); beyond 16 the tail itself.
#[derive(Debug, Clone)]
pub(crate) struct Student {
    exact: StudentsT,
    /// (P(T < -t), density) at t = 0, h, 2h, ...
    nodes: Vec<(f64, f64)>,
}

impl Student {
    const STEP: f64 = 1.0 / 128.0;

    /// With `dof` degrees of freedom, but at least one.
    pub(crate) fn new(dof: f64) -> Option<Self> {
        let exact = StudentsT::new(0.0, 1.0, dof.max(1.0)).ok()?;
        let node = |i: i32| f64::from(i) * Self::STEP;
        let nodes = (0..=16 * 128).map(node).map(|t| (exact.cdf(-t), exact.pdf(t))).collect();
        Some(Self { exact, nodes })
    }

    /// P(T < t).
    pub(crate) fn below(&self, t: f64) -> f64 {
        self.exact.cdf(t)
    }

    /// P(T < t) and the density at t.
    fn at(&self, t: f64) -> (f64, f64) {
        let at = t.abs() / Self::STEP;
        let Some([l, r]) = self.nodes.get(at as usize..).and_then(|n| n.first_chunk()) else {
            return (self.exact.cdf(t), self.exact.pdf(t));
        };
        let u = at.fract();
        let (drop, dl, dr) = (r.0 - l.0, -l.1 * Self::STEP, -r.1 * Self::STEP);
        // l + u (dl + u (c2 + u c3)) has the values and the slopes of both ends.
        let (c2, c3) = (3.0 * drop - 2.0 * dl - dr, dl + dr - 2.0 * drop);
        let tail = l.0 + u * (dl + u * (c2 + u * c3));
        let density = -(dl + u * (2.0 * c2 + u * 3.0 * c3)) / Self::STEP;
        (if t < 0.0 { tail } else { 1.0 - tail }, density)
    }
}

/// Interval at `level` of a value that is drawn from `centres` and then multiplied by exp(sd t), t
/// from Student's distribution with as many degrees of freedom as sd was estimated from. The exact
/// quantiles of that mixture, so no second round of random numbers.
pub(crate) fn noisy_interval(
    centres: &[f64],
    sd: f64,
    student: &Student,
    level: f64,
) -> Option<[f64; 2]> {
    let plain = percentile_interval(centres, level)?;
    if !(sd.is_finite() && sd > 0.0) {
        return Some(plain);
    }
    let parts: Vec<Part> = centres
        .iter()
        .filter(|c| c.is_finite() && **c > 0.0)
        .map(|c| Part { centre: c.ln(), sd, weight: 1.0 })
        .collect();
    if parts.len() < 20 {
        return None;
    }
    Some(mixture_interval(&parts, student, level).map(f64::exp))
}

/// One part of a mixture: centre + sd t, t from Student's distribution.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Part {
    pub(crate) centre: f64,
    /// Above 0.
    pub(crate) sd: f64,
    /// How much it counts, above 0. Weights need not add up to one.
    pub(crate) weight: f64,
}

/// The central interval at `level` of a mixture of at least one part: its exact quantiles.
pub(crate) fn mixture_interval(parts: &[Part], student: &Student, level: f64) -> [f64; 2] {
    let total: f64 = parts.iter().map(|part| part.weight).sum();
    let mixture = |x: f64| {
        let (below, density) = parts.iter().fold((0.0, 0.0), |sum, part| {
            let (below, density) = student.at((x - part.centre) / part.sd);
            (sum.0 + part.weight * below, sum.1 + part.weight * density / part.sd)
        });
        (below / total, density / total)
    };
    let (least, most, widest) = parts.iter().fold((f64::MAX, f64::MIN, 0.0_f64), |(l, m, w), p| {
        (l.min(p.centre), m.max(p.centre), w.max(p.sd))
    });
    // Newton's method between bounds that every step tightens.
    let solve = |p: f64| {
        let (mut lo, mut hi) = (least - 100.0 * widest, most + 100.0 * widest);
        let mut x = 0.5 * (least + most);
        for _ in 0..100 {
            let (below, density) = mixture(x);
            if below < p {
                lo = x;
            } else {
                hi = x;
            }
            let newton = x - (below - p) / density;
            let next = if lo < newton && newton < hi { newton } else { 0.5 * (lo + hi) };
            let moved = (next - x).abs();
            x = next;
            if moved <= 1e-13 * (1.0 + x.abs()) {
                break;
            }
        }
        x
    };
    let tail = 0.5 * (1.0 - level);
    [solve(tail), solve(1.0 - tail)]
}

/// Quantile `p` of Student's distribution.
pub(crate) fn student(p: f64, dof: f64) -> Option<f64> {
    let t = StudentsT::new(0.0, 1.0, dof).ok()?.inverse_cdf(p);
    t.is_finite().then_some(t)
}

/// A counter-based random stream: every (seed, draw) has its own, so the order in which threads take
/// the draws cannot change a bit.
///
/// splitmix64 (Steele, Lea & Flood 2014, doi:10.1145/2660193.2660195, fig. 16). Good enough to choose
/// rows and to make noise; not for secrets.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64, draw: u64) -> Self {
        let mut key = Self(seed ^ 0x6973_6f66_6c6f_7001);
        let first = key.bits();
        let mut mixed = Self(first ^ draw.wrapping_mul(0xd1b5_4a32_d192_ed03));
        Self(mixed.bits())
    }

    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A whole number below `n`, by the high bits of a 128-bit product (bias below n / 2^64).
    pub(crate) fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.bits()) * n as u128) >> 64) as usize
    }

    /// Uniform in (0, 1), neither end included.
    fn unit(&mut self) -> f64 {
        ((self.bits() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    /// Standard normal, by Box and Muller 1958 (doi:10.1214/aoms/1177706645).
    pub(crate) fn normal(&mut self) -> f64 {
        let (u, v) = (self.unit(), self.unit());
        (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
    }

    /// sqrt(dof / chi^2_dof): what to multiply an estimated standard deviation by so that normal draws
    /// with the product are Student's draws.
    pub(crate) fn scale(&mut self, dof: usize) -> f64 {
        let dof = dof.max(1);
        let sum: f64 = (0..dof).map(|_| self.normal().powi(2)).sum();
        (dof as f64 / sum).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Vigna's reference splitmix64.c (prng.di.unimi.it): from state 1234567 the first outputs.
    #[test]
    fn the_stream_is_splitmix64() {
        let mut random = Random(1234567);
        assert_eq!(random.bits(), 6457827717110365317);
        assert_eq!(random.bits(), 3203168211198807973);
        assert_eq!(random.bits(), 9817491932198370423);
    }

    #[test]
    fn normals_have_the_moments_of_a_normal() {
        let mut random = Random::new(7, 3);
        let n = 20_000;
        let draws: Vec<f64> = (0..n).map(|_| random.normal()).collect();
        let mean = draws.iter().sum::<f64>() / f64::from(n);
        let variance = draws.iter().map(|d| d * d).sum::<f64>() / f64::from(n);
        assert!(mean.abs() < 0.025 && (variance - 1.0).abs() < 0.04, "{mean} {variance}");
    }

    /// R's `quantile(1:21, c(.05, .95))` (type 7, its default) is 2 and 20.
    #[test]
    fn percentiles_agree_with_r() {
        let values: Vec<f64> = (1..=21).rev().map(f64::from).collect();
        let [lo, hi] = percentile_interval(&values, 0.9).unwrap();
        assert!((lo - 2.0).abs() < 1e-12 && (hi - 20.0).abs() < 1e-12, "{lo} {hi}");
        assert_eq!(percentile_interval(&values[..19], 0.9), None);
        assert_eq!(interval_about(0.5 * (lo + hi), &values, 0.9), Some([lo, hi]));
        assert_eq!(interval_about(hi + 1.0, &values, 0.9), Some([lo, hi + 1.0]));
        assert_eq!(interval_about(lo - 1.0, &values, 0.9), Some([lo - 1.0, hi]));
    }

    /// With no spread in the centres the interval is Student's own: 1.8124611 sd at 90% and 10
    /// degrees of freedom (any table of t).
    #[test]
    fn noise_alone_gives_students_interval() {
        let student = Student::new(10.0).unwrap();
        let [lo, hi] = noisy_interval(&[2.0; 50], 0.01, &student, 0.9).unwrap();
        assert!((lo - 2.0 * (-0.018124611_f64).exp()).abs() < 1e-9);
        assert!((hi - 2.0 * (0.018124611_f64).exp()).abs() < 1e-9);
    }

    /// Oracle: the distribution itself; near 0 its own error is the larger one, as it takes t from
    /// dof / (dof + t^2).
    #[test]
    fn the_table_of_students_distribution_is_exact_to_ten_digits() {
        for dof in [1.0, 3.0, 31.0, 1900.0] {
            let student = Student::new(dof).unwrap();
            for i in -50_000..50_000 {
                let t = f64::from(i) * 4.03e-4;
                let (below, density) = student.at(t);
                assert!((below - student.exact.cdf(t)).abs() < 1e-10, "{dof} {t}");
                assert!((density - student.exact.pdf(t)).abs() < 1e-7, "{dof} {t}");
            }
        }
    }

    /// The definition: half a tail lies beyond each end, of centres near and far in units of sd.
    #[test]
    fn a_noisy_interval_has_its_level_of_the_mixture() {
        let student = StudentsT::new(0.0, 1.0, 7.0).unwrap();
        let table = Student::new(7.0).unwrap();
        for (spread, level) in [(1e-3, 0.9), (0.05, 0.5), (1.0, 0.9), (1.0, 0.999)] {
            let logs: Vec<f64> = (0..200).map(|i| spread * f64::from(i * i % 97) / 97.0).collect();
            let centres: Vec<f64> = logs.iter().map(|l| l.exp()).collect();
            let interval = noisy_interval(&centres, 0.01, &table, level).unwrap();
            let tails = [0.5 * (1.0 - level), 0.5 * (1.0 + level)];
            for (end, want) in interval.iter().zip(tails) {
                let below = |m: &f64| student.cdf((end.ln() - m) / 0.01);
                let got = logs.iter().map(below).sum::<f64>() / 200.0;
                assert!((got - want).abs() < 1e-9, "{spread} {level}: {got}");
            }
        }
    }

    /// Hazen's quantiles of 1 to 20: p n + 1/2. A value of double weight counts as two of them.
    #[test]
    fn a_weighted_interval_is_hazens_for_equal_weights() {
        let equal: Vec<(f64, f64)> = (1..=20).rev().map(|i| (f64::from(i), 0.3)).collect();
        let [lo, hi] = weighted_interval(&equal, 0.9).unwrap();
        assert!((lo - 1.5).abs() < 1e-12 && (hi - 19.5).abs() < 1e-12, "{lo} {hi}");
        let heavy: Vec<(f64, f64)> =
            (1..=30).map(|i| (f64::from(i), if i > 20 { 1e-9 } else { 1.0 })).collect();
        let [lo, hi] = weighted_interval(&heavy, 0.9).unwrap();
        assert!((lo - 1.5).abs() < 1e-6 && (hi - 19.5).abs() < 1e-6, "{lo} {hi}");
        assert_eq!(weighted_interval(&equal[..19], 0.9), None);
    }

    /// The definition again, for parts of unequal weight and width.
    #[test]
    fn a_mixture_has_its_level_between_its_ends() {
        let student = Student::new(9.0).unwrap();
        let part = |centre, sd, weight| Part { centre, sd, weight };
        let parts = [part(0.0, 0.01, 6.0), part(0.2, 0.03, 3.0), part(-0.5, 0.2, 1.0)];
        let below = |x: f64| {
            parts.iter().map(|p| 0.1 * p.weight * student.at((x - p.centre) / p.sd).0).sum::<f64>()
        };
        let [lo, hi] = mixture_interval(&parts, &student, 0.9);
        assert!((below(lo) - 0.05).abs() < 1e-9 && (below(hi) - 0.95).abs() < 1e-9);
        assert_eq!(
            mixture_interval(&parts[..1], &student, 0.9),
            mixture_interval(&[part(0.0, 0.01, 0.3); 4], &student, 0.9)
        );
    }

    #[test]
    fn a_line_needs_two_different_x() {
        assert_eq!(line(&[(1.0, 2.0), (1.0, 3.0)]), None);
        assert_eq!(line(&[(44.0, 2.0), (44.0 + 1e-14, 3.0)]), None);
        let l = line(&[(0.0, 1.0), (1.0, 3.0), (2.0, 5.0)]).unwrap();
        assert_eq!((l.intercept, l.slope), (1.0, 2.0));
    }
}
