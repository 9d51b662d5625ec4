//! How well a few documents tell the loss of all such text, before any model is trained.
//!
//! Documents differ: a loss measured on some is that of all of them give or take how much. How much is estimated with a
//! model of text that needs no training, of the four bytes before each, by counts that back off as Witten and Bell
//! (1991) have it; each byte is left out of the counts that it is judged by. On the embedded prose its loss differs between
//! documents by 13% of its mean, and that of small trained models by 11%; a model of pairs of bytes says 4%.
//!
//! The error is that of a ratio of sums over clusters (Cochran, Sampling Techniques, 1977, §6.4): documents are drawn,
//! not bytes, and a long one counts as one.

use serde::{Deserialize, Serialize};

/// Bytes before a byte that it is judged by.
const ORDER: usize = 4;
/// Counters of a byte after others, by how many others; and of these others alone [bits].
const AFTER: [u32; ORDER + 1] = [8, 16, 20, 21, 22];
const BEFORE: [u32; ORDER + 1] = [1, 8, 16, 17, 18];

/// How often bytes followed others.
pub(crate) struct Contexts {
    orders: Vec<Order>,
}

/// The same for so many others.
struct Order {
    /// Times that a byte followed, by a hash of it and of those before.
    after: Vec<u32>,
    /// Times that those before stood there, and how many different bytes followed, by a hash of them.
    before: Vec<(u32, u32)>,
}

/// Places of a byte in the counters of an order; `past` holds the bytes before, the last one lowest.
fn places(order: usize, past: u64, byte: u8) -> (usize, usize) {
    let before = past & ((1 << (8 * order)) - 1);
    let hash = |n: u64, bits: u32| {
        (n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - bits)) as usize
    };
    (hash(before << 8 | u64::from(byte), AFTER[order]), hash(before, BEFORE[order]))
}

impl Contexts {
    /// Counts.
    pub(crate) fn of<'t>(texts: impl Iterator<Item = &'t [u8]>) -> Self {
        let order = |n: usize| Order {
            after: vec![0; 1 << AFTER[n]],
            before: vec![(0, 0); 1 << BEFORE[n]],
        };
        let mut contexts = Self { orders: (0..=ORDER).map(order).collect() };
        texts.for_each(|text| contexts.count(text));
        contexts
    }

    /// Counts one more text.
    pub(crate) fn count(&mut self, text: &[u8]) {
        let mut past = 0_u64;
        for byte in text {
            for (n, order) in self.orders.iter_mut().enumerate() {
                let (after, before) = places(n, past, *byte);
                let (times, kinds) = &mut order.before[before];
                *times = times.saturating_add(1);
                *kinds += u32::from(order.after[after] == 0);
                order.after[after] = order.after[after].saturating_add(1);
            }
            past = past << 8 | u64::from(*byte);
        }
    }

    /// Nats of a text that was counted, as if it had not been.
    pub(crate) fn nats(&self, text: &[u8]) -> f64 {
        let (mut sum, mut past) = (0.0, 0_u64);
        for byte in text {
            let mut chance = 1.0 / 256.0;
            for (n, order) in self.orders.iter().enumerate() {
                let (after, before) = places(n, past, *byte);
                let (times, kinds) = order.before[before];
                let follows = order.after[after];
                let others = f64::from(times.saturating_sub(1));
                let kinds = f64::from(kinds.saturating_sub(u32::from(follows == 1)));
                if others + kinds > 0.0 {
                    let follows = f64::from(follows.saturating_sub(1));
                    chance = (follows + kinds * chance) / (others + kinds);
                }
            }
            sum -= chance.max(1e-9).ln();
            past = past << 8 | u64::from(*byte);
        }
        sum
    }
}

/// Sums over what is drawn together: nats, and bytes.
pub(crate) type Cluster = (f64, f64);

/// Sums over clusters, which tell the error of their mean loss without the clusters themselves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sums {
    clusters: f64,
    nats: f64,
    bytes: f64,
    nats_nats: f64,
    nats_bytes: f64,
    bytes_bytes: f64,
}

impl Sums {
    /// Of these.
    pub(crate) fn of(clusters: impl IntoIterator<Item = Cluster>) -> Self {
        let one = |(nats, bytes): Cluster| Self {
            clusters: 1.0,
            nats,
            bytes,
            nats_nats: nats * nats,
            nats_bytes: nats * bytes,
            bytes_bytes: bytes * bytes,
        };
        clusters.into_iter().fold(Self::default(), |all, cluster| all.and(one(cluster)))
    }

    /// Of both.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            clusters: self.clusters + other.clusters,
            nats: self.nats + other.nats,
            bytes: self.bytes + other.bytes,
            nats_nats: self.nats_nats + other.nats_nats,
            nats_bytes: self.nats_bytes + other.nats_bytes,
            bytes_bytes: self.bytes_bytes + other.bytes_bytes,
        }
    }

    /// Relative variance of a mean loss for each cluster that is drawn: that of a mean over n of them is an n-th of it.
    /// Not a number for fewer than two clusters.
    pub(super) fn variance(&self) -> f64 {
        let loss = self.nats / self.bytes;
        let squares =
            self.nats_nats - 2.0 * loss * self.nats_bytes + loss * loss * self.bytes_bytes;
        squares.max(0.0) / (self.clusters - 1.0) / (self.nats / self.clusters).powi(2)
    }

    /// Standard error of the mean loss over the clusters, over the loss [-]; none for fewer than two of them.
    pub(crate) fn error(&self) -> Option<f64> {
        let error = (self.variance() / self.clusters).sqrt();
        (self.clusters > 1.5 && error.is_finite()).then_some(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Stream;

    /// Against what is known: the scatter of the mean over many draws from one population.
    #[test]
    fn the_error_is_the_scatter_of_repeated_draws() {
        let stream = Stream::new(7, "clusters");
        let population: Vec<Cluster> = (0..4000)
            .map(|n| {
                let bytes = 1.0 + stream.below(2 * n, 1000) as f64;
                (bytes * (1.0 + stream.below(2 * n + 1, 1000) as f64 / 1000.0), bytes)
            })
            .collect();
        let draws = Stream::new(8, "draws");
        let draw = |d: u64| -> Vec<Cluster> {
            (0..50).map(|n| population[draws.below(50 * d + n, 4000) as usize]).collect()
        };
        let ratio =
            |c: &[Cluster]| c.iter().map(|c| c.0).sum::<f64>() / c.iter().map(|c| c.1).sum::<f64>();
        let truth = ratio(&population);
        let all: Vec<Vec<Cluster>> = (0..800).map(draw).collect();
        let scatter = all.iter().map(|c| (ratio(c) / truth - 1.0).powi(2)).sum::<f64>() / 800.0;
        let error = |c: &[Cluster]| Sums::of(c.iter().copied()).error();
        let told = all.iter().map(|c| error(c).unwrap().powi(2)).sum::<f64>() / 800.0;
        // Draws that are told of in two halves are the same.
        let halves = |c: &[Cluster]| {
            let (one, other) = c.split_at(20);
            Sums::of(one.iter().copied()).and(Sums::of(other.iter().copied())).error().unwrap()
        };
        assert!(all.iter().all(|c| (halves(c) / error(c).unwrap() - 1.0).abs() < 1e-9));
        assert!((told / scatter - 1.0).abs() < 0.15, "{told} {scatter}");
        assert_eq!(error(&[(1.0, 1.0)]), None);
    }

    #[test]
    fn text_that_repeats_costs_less_and_a_byte_is_not_judged_by_itself() {
        let stream = Stream::new(9, "bytes");
        let noise: Vec<u8> = (0..100_000).map(|n| stream.below(n, 256) as u8).collect();
        let words = b"the whale and the sea and the ship ".repeat(1000);
        let contexts = Contexts::of([&noise[..], &words].into_iter());
        // Uniform bytes cannot be told; what counts itself would seem to.
        let each = contexts.nats(&noise) / noise.len() as f64;
        assert!(each > 256_f64.ln() - 0.05, "{each}");
        assert!(contexts.nats(&words) / (words.len() as f64) < 1.0);
    }
}
