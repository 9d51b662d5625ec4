//! Runs that share noise, and how many independent runs they are worth: the one place where every interval and
//! every p-value gets its degrees of freedom.
//!
//! Trunks, checkpoints of one run and copies are no independent trials. The residuals of a law say how much of
//! their scatter the runs of a cluster have in common, the intraclass correlation rho (one-way analysis of
//! variance, Donner 1986). So many runs are then worth n / (1 + (m - 1) rho) independent ones, m being the size of a
//! cluster (the design effect of Kish 1965, "Survey sampling", section 5.4): n where they have nothing in common,
//! the number of clusters where they are alike. Every standard deviation and every degree of freedom is that of
//! such a number.
//!
//! Limits: equal scatter and equal correlation in every cluster. A law that bends through few clusters takes part
//! of what they share into its parameters, and rho is then measured too small.

use crate::fit::numeric::stats::Random;
use crate::fit::result::SampleSize;
use crate::points::Point;

/// How a draw is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::fit) enum Scheme {
    /// Whole clusters of runs, drawn with replacement (Efron & Tibshirani 1993, section 9.5).
    Cases,
    /// The fitted law with new normal noise on ln L.
    Noise,
}

/// Clusters from which on whole cases are resampled: the fewest at which they hold every nominal level
/// within 5 points (the table in `bootstrap`), and then preferred, because they need no equal scatter.
const MANY: usize = 48;

/// Runs that share noise, as indices: `of[i]` is the cluster of row i, below `count`.
#[derive(Debug, Clone)]
pub(in crate::fit) struct Clusters {
    pub(in crate::fit) of: Vec<usize>,
    pub(in crate::fit) count: usize,
}

impl Clusters {
    /// Of `points`, in their order.
    pub(in crate::fit) fn of_points(points: &[Point]) -> Self {
        Self::new(points.iter().map(|p| p.cluster.as_str()))
    }

    /// Clusters of rows by name, numbered by first appearance in the sorted table.
    pub(in crate::fit) fn new<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let mut seen = std::collections::BTreeMap::new();
        let of = names
            .map(|name| {
                let next = seen.len();
                *seen.entry(name).or_insert(next)
            })
            .collect();
        Self { of, count: seen.len() }
    }

    /// How often each row counts when `count` clusters are drawn with replacement.
    pub(in crate::fit) fn resample(&self, random: &mut Random) -> Vec<f64> {
        let mut times = vec![0.0; self.count];
        for _ in 0..self.count {
            times[random.below(self.count)] += 1.0;
        }
        self.of.iter().map(|c| times[*c]).collect()
    }

    /// What the rows are worth, by the residuals of the law that speaks for them.
    pub(in crate::fit) fn sample_size(&self, residuals: &[f64]) -> SampleSize {
        let shared = self.shared(residuals);
        SampleSize {
            runs: self.of.len(),
            clusters: self.count,
            shared,
            effective: self.worth(shared),
        }
    }

    pub(in crate::fit) fn scheme(&self) -> Scheme {
        if self.count >= MANY { Scheme::Cases } else { Scheme::Noise }
    }

    /// Share of the residual variance that runs of one cluster have in common, by one-way analysis of
    /// variance (Fisher's intraclass correlation, with the mean cluster size of Donner 1986).
    pub(in crate::fit) fn shared(&self, residuals: &[f64]) -> f64 {
        let (n, k) = (residuals.len() as f64, self.count as f64);
        if self.count < 2 || residuals.len() <= self.count {
            return 0.0;
        }
        let mut sums = vec![(0.0, 0.0); self.count];
        for (r, c) in residuals.iter().zip(&self.of) {
            sums[*c].0 += r;
            sums[*c].1 += 1.0;
        }
        let mean = residuals.iter().sum::<f64>() / n;
        let between = sums.iter().map(|(s, m)| m * (s / m - mean).powi(2)).sum::<f64>() / (k - 1.0);
        let within = residuals
            .iter()
            .zip(&self.of)
            .map(|(r, c)| (r - sums[*c].0 / sums[*c].1).powi(2))
            .sum::<f64>()
            / (n - k);
        let size = self.size();
        let rho = (between - within) / (between + (size - 1.0) * within);
        if rho.is_finite() { rho.clamp(0.0, 1.0) } else { 0.0 }
    }

    /// Mean size of a cluster as Donner weighs it; the plain mean where all are equal.
    fn size(&self) -> f64 {
        let (n, k) = (self.of.len() as f64, self.count as f64);
        if self.count < 2 {
            return n;
        }
        let mut sizes = vec![0.0; self.count];
        for c in &self.of {
            sizes[*c] += 1.0;
        }
        (n - sizes.iter().map(|m| m * m).sum::<f64>() / n) / (k - 1.0)
    }

    /// How many times fewer independent runs these are worth (Kish's design effect) [-].
    pub(in crate::fit) fn design_effect(&self, shared: f64) -> f64 {
        1.0 + (self.size() - 1.0) * shared
    }

    /// How many independent runs these are worth.
    pub(in crate::fit) fn worth(&self, shared: f64) -> f64 {
        self.of.len() as f64 / self.design_effect(shared)
    }

    /// Degrees of freedom that `parameters` leave of what the runs are worth. At least 1.
    pub(in crate::fit) fn dof(&self, shared: f64, parameters: usize) -> f64 {
        (self.worth(shared) - parameters as f64).max(1.0)
    }

    /// The scatter that a draw repeats, from the residuals of a law of so many parameters. Runs that move
    /// together hide more of their scatter in the parameters than independent ones.
    pub(in crate::fit) fn noise(&self, residuals: &[f64], parameters: usize) -> Noise {
        let shared = self.shared(residuals);
        let (dof, n) = (self.dof(shared, parameters), residuals.len() as f64);
        let squares = residuals.iter().map(|r| r * r).sum::<f64>();
        let sd = (squares / n * (dof + parameters as f64) / dof).sqrt();
        Noise { sd, shared, dof: dof as usize }
    }

    /// What the runs of each cluster have in common in one draw, of unit variance; nothing is drawn where they
    /// share nothing.
    pub(in crate::fit) fn common(&self, shared: f64, random: &mut Random) -> Vec<f64> {
        (0..self.count).map(|_| if shared > 0.0 { random.normal() } else { 0.0 }).collect()
    }

    /// New normal noise for every run, as `noise` says; for `noises` at once, which then differ by their
    /// size and by how much of it is in common, but not by their luck.
    pub(in crate::fit) fn draw<const K: usize>(
        &self,
        noises: [Noise; K],
        random: &mut Random,
    ) -> [Vec<f64>; K] {
        let common: Vec<f64> = (0..self.count).map(|_| random.normal()).collect();
        let own: Vec<f64> = (0..self.of.len()).map(|_| random.normal()).collect();
        let dof = noises.iter().map(|n| n.dof).min().unwrap_or(1);
        let scale = random.scale(dof);
        noises.map(|Noise { sd, shared, .. }| {
            let of = |(cluster, own): (&usize, &f64)| {
                let in_common: f64 = common[*cluster];
                scale * sd * (shared.sqrt() * in_common + (1.0 - shared).sqrt() * own)
            };
            self.of.iter().zip(&own).map(of).collect()
        })
    }
}

/// The scatter of runs about a law.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::fit) struct Noise {
    /// Standard deviation of ln L [-].
    pub(in crate::fit) sd: f64,
    /// Share of its square that runs of a cluster have in common [0, 1].
    pub(in crate::fit) shared: f64,
    /// Degrees of freedom behind `sd`.
    pub(in crate::fit) dof: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_one_cluster_are_drawn_together() {
        let clusters = Clusters::new(["trunk a", "b", "trunk a", "c", "b"].into_iter());
        assert_eq!((clusters.count, &clusters.of), (3, &vec![0, 1, 0, 2, 1]));
        for draw in 0..50 {
            let w = clusters.resample(&mut Random::new(1, draw));
            assert!(w[0] == w[2] && w[1] == w[4]);
            assert_eq!(w[0] + w[1] + w[3], 3.0);
        }
    }

    /// Fisher's intraclass correlation at its two ends: pairs that agree have 1, pairs that contradict
    /// each other have at most 0.
    #[test]
    fn shared_noise_is_measured_by_the_agreement_of_a_cluster() {
        let clusters = Clusters::new(["a", "a", "b", "b", "c", "c"].into_iter());
        assert_eq!(clusters.shared(&[1.0, 1.0, -2.0, -2.0, 1.0, 1.0]), 1.0);
        assert_eq!(clusters.shared(&[1.0, -1.0, -2.0, 2.0, 1.0, -1.0]), 0.0);
        let alone = Clusters::new(["a", "b", "c"].into_iter());
        assert_eq!(alone.shared(&[1.0, 2.0, -3.0]), 0.0);
    }

    /// Two runs of a cluster that agree are one run; two that have nothing in common are two.
    #[test]
    fn runs_that_move_together_are_worth_fewer() {
        let names: Vec<String> = (0..16).map(|i| (i / 2).to_string()).collect();
        let pairs = Clusters::new(names.iter().map(String::as_str));
        assert_eq!((pairs.dof(0.0, 5), pairs.dof(1.0, 5)), (16.0 - 5.0, 8.0 - 5.0));
        let agree: Vec<f64> = (0..16).map(|i| [1.0, -1.0][i / 2 % 2]).collect();
        let Noise { sd, shared, dof } = pairs.noise(&agree, 5);
        // Eight independent squares of 1, less five.
        assert!((sd - (8.0_f64 / 3.0).sqrt()).abs() < 1e-12 && shared == 1.0 && dof == 3);
        let alone = Clusters::new(["a", "b", "c", "d", "e", "f", "g"].into_iter());
        assert!((alone.noise(&[1.0; 7], 5).sd - (7.0_f64 / 2.0).sqrt()).abs() < 1e-12);
    }
}
