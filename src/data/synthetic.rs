//! Sources whose entropy is known exactly, so that a fitted E can be held against the truth.
//!
//! Windows are independent and aligned, so the best possible loss of a model that sees only its window
//! is the entropy printed, at every position.

use sha2::{Digest as _, Sha256};

use crate::plan::hex;
use crate::random::{Permutation, Stream};
use crate::spec::{GraphWalk, ZipfFact};

/// The fixed part of the world (maps, graphs) is drawn from this seed: cells of any seed share it.
const WORLD: u64 = 0;

/// A generator of token windows.
#[derive(Debug)]
pub(super) enum Generator {
    Zipf(Zipf),
    Graph(Graph),
}

/// Records (code of key, value): `P(key k) = k^-(1+a) / Z`, value a fixed random function of the key,
/// replaced by a uniform other value with probability `noise`. The Santa Fe process of Debowski with
/// finitely many facts (compare Hutter 2021, 2102.04074; Michaud et al. 2023, 2303.13506).
#[derive(Debug)]
pub(super) struct Zipf {
    spec: ZipfFact,
    /// `P(key <= k)`.
    cumulative: Vec<f64>,
    codes: Permutation,
    facts: Stream,
}

/// A walk on a random directed graph with `degree` distinct successors at every node, taken with
/// probabilities r^-skew / Z (compare Barkeshli et al. 2026, 2601.10684).
#[derive(Debug)]
pub(super) struct Graph {
    spec: GraphWalk,
    /// Row-major `[nodes, degree]`.
    successors: Vec<u32>,
    /// `P(rank <= r)`.
    cumulative: Vec<f64>,
}

impl Generator {
    pub(super) fn zipf_fact(spec: &ZipfFact) -> Self {
        let weights: Vec<f64> = (1..=spec.keys).map(|k| (k as f64).powf(-1.0 - spec.a)).collect();
        let world = Stream::new(WORLD, "zipf-fact");
        Self::Zipf(Zipf {
            cumulative: cumulative(&weights),
            codes: Permutation::new(world.child(0), spec.values.pow(spec.key_tokens)),
            facts: world.child(1),
            spec: spec.clone(),
        })
    }

    pub(super) fn graph_walk(spec: &GraphWalk) -> Self {
        let weights: Vec<f64> = (1..=spec.degree).map(|r| (r as f64).powf(-spec.skew)).collect();
        let world = Stream::new(WORLD, "graph-walk");
        let successors = (0..spec.nodes)
            .flat_map(|node| {
                let order = Permutation::new(world.child(node), spec.nodes);
                (0..spec.degree).map(move |r| order.at(r) as u32)
            })
            .collect();
        Self::Graph(Graph { spec: spec.clone(), successors, cumulative: cumulative(&weights) })
    }

    /// Number of token ids.
    pub(super) fn vocab(&self) -> usize {
        match self {
            Self::Zipf(z) => z.spec.values as usize,
            Self::Graph(g) => g.spec.nodes as usize,
        }
    }

    /// Exact entropy rate [nats/token].
    ///
    /// Zipf-fact: (H(key) + H_b(e) + e ln(M-1)) / (key tokens + 1). Graph walk: every node has the same
    /// transition probabilities to distinct successors, so the rate is their entropy, whatever the
    /// stationary distribution.
    pub(super) fn entropy(&self) -> f64 {
        match self {
            Self::Zipf(z) => {
                let e = z.spec.noise;
                let answer = if e > 0.0 {
                    -e * e.ln() - (1.0 - e) * (1.0 - e).ln() + e * (z.spec.values as f64 - 1.0).ln()
                } else {
                    0.0
                };
                (entropy(&z.cumulative) + answer) / f64::from(z.spec.key_tokens + 1)
            }
            Self::Graph(g) => entropy(&g.cumulative),
        }
    }

    /// Hash of the generator's parameters; its version is part of the text.
    pub(super) fn sha256(&self) -> String {
        let text = match self {
            Self::Zipf(z) => format!("zipf-fact 1 {:?}", z.spec),
            Self::Graph(g) => format!("graph-walk 1 {:?}", g.spec),
        };
        hex(&Sha256::digest(text))
    }

    /// Fills one window: window `index` of `stream`, whole records or a walk from a uniform node.
    pub(super) fn window(&self, stream: Stream, index: u64, out: &mut [i32]) {
        let draws = stream.child(index);
        match self {
            Self::Zipf(z) => {
                for (record, chunk) in out.chunks_mut(z.spec.key_tokens as usize + 1).enumerate() {
                    z.record(draws.child(record as u64), chunk);
                }
            }
            Self::Graph(g) => {
                let mut node = draws.below(0, g.spec.nodes) as u32;
                for (n, id) in out.iter_mut().enumerate() {
                    *id = node.cast_signed();
                    let rank = place(&g.cumulative, draws.uniform(n as u64 + 1));
                    node = g.successors[node as usize * g.spec.degree as usize + rank];
                }
            }
        }
    }
}

impl Zipf {
    /// One record; `out` may be cut short at the end of a window.
    fn record(&self, draws: Stream, out: &mut [i32]) {
        let key = place(&self.cumulative, draws.uniform(0)) as u64;
        let values = self.spec.values;
        let mut code = self.codes.at(key);
        let fact = self.facts.below(key, values);
        let value = if draws.uniform(1) < self.spec.noise {
            // One of the other values: skip over the fact itself.
            (fact + 1 + draws.below(2, values - 1)) % values
        } else {
            fact
        };
        for (i, id) in out.iter_mut().enumerate() {
            if i < self.spec.key_tokens as usize {
                *id = (code % values) as i32;
                code /= values;
            } else {
                *id = value as i32;
            }
        }
    }
}

fn cumulative(weights: &[f64]) -> Vec<f64> {
    let total: f64 = weights.iter().rev().sum();
    let mut sum = 0.0;
    let mut out: Vec<f64> = weights
        .iter()
        .map(|w| {
            sum += w / total;
            sum
        })
        .collect();
    // Rounding must not leave room above the last entry.
    if let Some(last) = out.last_mut() {
        *last = 1.0;
    }
    out
}

/// Index of the entry that a uniform number in [0, 1) falls into.
fn place(cumulative: &[f64], uniform: f64) -> usize {
    cumulative.partition_point(|c| *c <= uniform).min(cumulative.len() - 1)
}

/// Entropy of the distribution with these cumulative probabilities [nats].
fn entropy(cumulative: &[f64]) -> f64 {
    let mut last = 0.0;
    cumulative
        .iter()
        .map(|c| {
            let p = c - last;
            last = *c;
            if p > 0.0 { -p * p.ln() } else { 0.0 }
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph() -> Generator {
        Generator::graph_walk(&GraphWalk { nodes: 32, degree: 4, skew: 1.0 })
    }

    fn zipf(noise: f64) -> Generator {
        Generator::zipf_fact(&ZipfFact { keys: 200, a: 0.5, values: 16, key_tokens: 2, noise })
    }

    /// By hand: weights 1, 1/2, 1/3, 1/4 sum to 25/12.
    #[test]
    fn the_entropy_of_a_walk_is_that_of_its_steps() {
        let p = [12.0 / 25.0, 6.0 / 25.0, 4.0 / 25.0, 3.0 / 25.0_f64];
        let want: f64 = p.iter().map(|p| -p * p.ln()).sum();
        assert!((graph().entropy() - want).abs() < 1e-12);
        let uniform = Generator::graph_walk(&GraphWalk { nodes: 9, degree: 5, skew: 0.0 });
        assert!((uniform.entropy() - 5.0_f64.ln()).abs() < 1e-12);
    }

    /// The plug-in entropy of transitions counted over a long walk converges to the exact rate; with
    /// 128 transitions and 400 000 steps its bias is about 96 / 800 000.
    #[test]
    fn counted_transitions_have_the_exact_entropy() {
        let graph = graph();
        let mut counts = vec![[0_f64; 32]; 32];
        let mut window = vec![0; 401];
        for i in 0..1000 {
            graph.window(Stream::new(5, "test"), i, &mut window);
            for pair in window.windows(2) {
                counts[pair[0] as usize][pair[1] as usize] += 1.0;
            }
        }
        let total: f64 = counts.iter().flatten().sum();
        let measured: f64 = counts
            .iter()
            .map(|row| {
                let n: f64 = row.iter().sum();
                row.iter().filter(|c| **c > 0.0).map(|c| -c / total * (c / n).ln()).sum::<f64>()
            })
            .sum();
        assert!((measured - graph.entropy()).abs() < 3e-3, "{measured} {}", graph.entropy());
        assert!(counts.iter().all(|row| row.iter().filter(|c| **c > 0.0).count() == 4));
    }

    /// An oracle that knows the map scores -ln p(key) and -ln p(value | key); its mean is the entropy.
    #[test]
    fn an_oracle_reaches_the_entropy_of_zipf_facts() {
        let generator = zipf(0.1);
        let Generator::Zipf(z) = &generator else { panic!() };
        let key_of: std::collections::HashMap<u64, usize> =
            (0..200).map(|k| (z.codes.at(k), k as usize)).collect();
        let (mut nats, mut tokens) = (0.0, 0.0);
        let mut window = vec![0; 300];
        for i in 0..2000 {
            generator.window(Stream::new(1, "test"), i, &mut window);
            for record in window.chunks(3) {
                let key = key_of[&(record[0] as u64 + 16 * record[1] as u64)];
                let below = if key == 0 { 0.0 } else { z.cumulative[key - 1] };
                nats -= (z.cumulative[key] - below).ln();
                let right = z.facts.below(key as u64, 16) == record[2] as u64;
                nats -= if right { 0.9_f64.ln() } else { (0.1_f64 / 15.0).ln() };
                tokens += 3.0;
            }
        }
        let measured = nats / tokens;
        assert!(
            (measured - generator.entropy()).abs() < 0.01,
            "{measured} {}",
            generator.entropy()
        );
    }

    #[test]
    fn a_window_depends_on_stream_and_index_alone() {
        let generator = zipf(0.0);
        let draw = |seed, i| {
            let mut out = vec![0; 301];
            generator.window(Stream::new(seed, "x"), i, &mut out);
            out
        };
        assert_eq!(draw(1, 3), draw(1, 3));
        assert_ne!(draw(1, 3), draw(1, 4));
        assert_ne!(draw(1, 3), draw(2, 3));
    }
}
