//! The plain answer: the mean of ln L_B - ln L_A over runs of equal N, D and seeds, and how it goes with compute.
//!
//! What pairs share (the held-out text, the initial weights, the order of the data) cancels in the difference. Runs of one trunk are not
//! independent, so errors are those of sums over clusters (Liang and Zeger 1986), with Student's t of the clusters.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use crate::fit::stats::student;
use crate::predict::Estimate;

/// A run of one of the two studies.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// What a run of the other study must have in common with it: N, D and seeds.
    pub key: String,
    /// Runs that share noise carry the same.
    pub cluster: String,
    /// Training compute C [FLOP].
    pub flops: f64,
    /// Final held-out loss, in the same unit for both studies.
    pub loss: f64,
}

/// How B differs from A.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// Pairs of equal N, D and seeds.
    pub pairs: usize,
    /// Clusters of them, which the intervals rest on.
    pub clusters: usize,
    /// Level of the intervals.
    pub level: f64,
    /// Mean of ln L_B - ln L_A [-].
    pub mean: Estimate,
    /// What an e-fold of C adds to it; nothing for fewer than 3 clusters or one compute [-].
    pub slope: Option<Estimate>,
    /// By compute, smallest first.
    pub by_flops: Vec<At>,
}

/// Pairs of about one compute: the same N and D may cost the two studies not quite the same.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct At {
    /// Geometric mean of the compute of A's runs [FLOP].
    pub flops: f64,
    /// How many pairs.
    pub pairs: usize,
    /// Mean loss of A's runs.
    pub a: f64,
    /// Mean loss of B's.
    pub b: f64,
    /// Mean of ln L_B - ln L_A [-].
    pub difference: f64,
}

/// Compute within this ratio is one compute.
const ONE_COMPUTE: f64 = 1.05;

/// Runs of equal keys, pair by pair. `None` for fewer than 2 clusters of them, which have no interval.
pub fn difference(a: &[Run], b: &[Run], level: f64) -> Option<Difference> {
    let of_b: HashMap<&str, &Run> = b.iter().map(|run| (run.key.as_str(), run)).collect();
    let pairs: Vec<(&Run, &Run)> =
        a.iter().filter_map(|run| Some((run, *of_b.get(run.key.as_str())?))).collect();
    let logs: Vec<f64> = pairs.iter().map(|(a, b)| (b.loss / a.loss).ln()).collect();
    let n = logs.len() as f64;
    let mean = logs.iter().sum::<f64>() / n;
    let clusters = Clusters::of(&pairs);
    let ones = vec![1.0; logs.len()];
    let rests: Vec<f64> = logs.iter().map(|d| d - mean).collect();
    let of_mean = clusters.error(&ones, &rests, n)?;
    let slope = || {
        let x: Vec<f64> = pairs.iter().map(|(a, _)| a.flops.ln()).collect();
        let middle = x.iter().sum::<f64>() / n;
        let x: Vec<f64> = x.iter().map(|x| x - middle).collect();
        let squares: f64 = x.iter().map(|x| x * x).sum();
        if squares < 1e-6 {
            return None;
        }
        let slope = x.iter().zip(&rests).map(|(x, d)| x * d).sum::<f64>() / squares;
        let rests: Vec<f64> = x.iter().zip(&rests).map(|(x, d)| d - slope * x).collect();
        let error = clusters.error(&x, &rests, squares)?;
        estimate(slope, error, level, clusters.count() as f64 - 2.0)
    };
    Some(Difference {
        pairs: pairs.len(),
        clusters: clusters.count(),
        level,
        mean: estimate(mean, of_mean, level, clusters.count() as f64 - 1.0)?,
        slope: slope(),
        by_flops: by_flops(&pairs),
    })
}

fn estimate(value: f64, error: f64, level: f64, dof: f64) -> Option<Estimate> {
    let reach = error * student(0.5 + level / 2.0, (dof >= 1.0).then_some(dof)?)?;
    Some(Estimate { value, lo: value - reach, hi: value + reach })
}

/// Which pairs share noise.
struct Clusters(Vec<usize>);

impl Clusters {
    /// Of pairs whose runs of A or of B are of one cluster.
    fn of(pairs: &[(&Run, &Run)]) -> Self {
        let mut numbers: HashMap<(bool, &str), usize> = HashMap::new();
        let mut of_pair: Vec<usize> = (0..pairs.len()).collect();
        for (i, (a, b)) in pairs.iter().enumerate() {
            for name in [(false, a.cluster.as_str()), (true, b.cluster.as_str())] {
                let other = of_pair[*numbers.entry(name).or_insert(i)];
                let own = of_pair[i];
                let (low, high) = (own.min(other), own.max(other));
                of_pair.iter_mut().filter(|c| **c == high).for_each(|c| *c = low);
            }
        }
        Self(of_pair)
    }

    fn count(&self) -> usize {
        self.0.iter().enumerate().filter(|(i, cluster)| i == *cluster).count()
    }

    /// Standard error of a coefficient: of sums over clusters of what each row weighs and its rest.
    fn error(&self, weights: &[f64], rests: &[f64], squares: f64) -> Option<f64> {
        let mut sums: BTreeMap<usize, f64> = BTreeMap::new();
        for ((cluster, weight), rest) in self.0.iter().zip(weights).zip(rests) {
            *sums.entry(*cluster).or_default() += weight * rest;
        }
        let count = sums.len() as f64;
        let meat: f64 = sums.values().map(|sum| sum * sum).sum();
        (count >= 2.0).then(|| (meat * count / (count - 1.0)).sqrt() / squares)
    }
}

fn by_flops(pairs: &[(&Run, &Run)]) -> Vec<At> {
    let mut sorted: Vec<&(&Run, &Run)> = pairs.iter().collect();
    sorted.sort_by(|one, other| one.0.flops.total_cmp(&other.0.flops));
    let same = |one: &&(&Run, &Run), next: &&(&Run, &Run)| next.0.flops < ONE_COMPUTE * one.0.flops;
    sorted
        .chunk_by(same)
        .map(|some| {
            let mean = |of: &dyn Fn(&(&Run, &Run)) -> f64| {
                some.iter().map(|pair| of(pair)).sum::<f64>() / some.len() as f64
            };
            At {
                flops: mean(&|(a, _)| a.flops.ln()).exp(),
                pairs: some.len(),
                a: mean(&|(a, _)| a.loss),
                b: mean(&|(_, b)| b.loss),
                difference: mean(&|(a, b)| (b.loss / a.loss).ln()),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Stream;

    fn run(i: usize, cluster: usize, loss: f64) -> Run {
        let flops = 1e10 * [1.0, 2.0, 4.0, 8.0][i % 4];
        let cluster = cluster.to_string();
        Run { key: i.to_string(), cluster, flops, loss }
    }

    /// Studies of `n` runs in clusters of `of`, B's loss `ratio` of A's, with noise of the run and of the cluster.
    fn studies(seed: u64, n: usize, of: usize, ratio: f64) -> [Vec<Run>; 2] {
        let stream = Stream::new(seed, "pairs");
        let noise = |side: u64, i: usize| {
            let own = stream.child(side).normal(i as u64);
            let shared = stream.child(side + 2).normal((i / of) as u64);
            0.002 * own + 0.01 * shared
        };
        let side = |side: u64, ratio: f64| {
            (0..n).map(|i| run(i, i / of, ratio * 2.0 * (noise(side, i)).exp())).collect()
        };
        [side(0, 1.0), side(1, ratio)]
    }

    #[test]
    fn intervals_hold_the_truth_as_often_as_they_say_with_and_without_clusters() {
        for of in [1, 4] {
            let (mut held, mut slopes) = (0, 0);
            for seed in 0..400 {
                let [a, b] = studies(seed, 40, of, 1.03);
                let found = difference(&a, &b, 0.9).unwrap();
                assert_eq!((found.pairs, found.clusters), (40, 40 / of));
                let truth = 1.03_f64.ln();
                held += usize::from(found.mean.lo < truth && truth < found.mean.hi);
                let slope = found.slope.unwrap();
                slopes += usize::from(slope.lo < 0.0 && 0.0 < slope.hi);
            }
            assert!(
                (336..=384).contains(&held) && (328..=388).contains(&slopes),
                "{held} {slopes}"
            );
        }
    }

    #[test]
    fn only_equal_runs_are_pairs_and_one_cluster_has_no_interval() {
        let [a, b] = studies(1, 8, 1, 1.1);
        let found = difference(&a, &b[2..], 0.9).unwrap();
        assert_eq!(found.pairs, 6);
        assert_eq!(found.by_flops.iter().map(|at| at.pairs).sum::<usize>(), 6);
        assert!(found.by_flops.windows(2).all(|two| two[0].flops < two[1].flops));
        assert_eq!(difference(&a, &[], 0.9), None);
        let [a, b] = studies(1, 4, 4, 1.1);
        assert_eq!(difference(&a, &b, 0.9), None);
    }
}
