//! Random numbers as pure functions: the n-th number of a stream depends on its key and on n alone.
//!
//! Nothing here has a state to save or to restore: initial weights, data order and synthetic data are
//! drawn by key, so a resumed run, another worker count or another order of drawing sees the same
//! numbers. Backends' own generators are never used (their seeds are process-global).

/// A stream of random numbers, addressed by index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stream(u64);

impl Stream {
    /// The stream of a seed and a purpose. Different labels give unrelated streams.
    pub fn new(seed: u64, label: &str) -> Self {
        // FNV-1a over the label, then mixed with the seed.
        let hash = label.bytes().fold(0xcbf2_9ce4_8422_2325, |h: u64, b| {
            (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3)
        });
        Self(mix(hash ^ mix(seed)))
    }

    /// A sub-stream, for example one for each document.
    #[must_use]
    pub fn child(self, index: u64) -> Self {
        Self(mix(self.0 ^ mix(index ^ 0xa076_1d64_78bd_642f)))
    }

    /// The n-th number, uniform over all 64 bits.
    #[inline]
    pub fn bits(self, n: u64) -> u64 {
        mix(self.0.wrapping_add(n.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
    }

    /// The n-th number, uniform in [0, 1).
    #[inline]
    pub fn uniform(self, n: u64) -> f64 {
        (self.bits(n) >> 11) as f64 * (1.0 / (1_u64 << 53) as f64)
    }

    /// The n-th number, uniform in `0..bound`, by multiplication (bias below bound / 2^64).
    #[inline]
    pub fn below(self, n: u64, bound: u64) -> u64 {
        ((u128::from(self.bits(n)) * u128::from(bound)) >> 64) as u64
    }

    /// The n-th standard normal number (Box and Muller 1958).
    pub fn normal(self, n: u64) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform(2 * n)).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform(2 * n + 1)).cos()
    }
}

/// The finaliser of SplitMix64 (Steele, Lea and Flood 2014, doi:10.1145/2660193.2660195), a bijection.
#[inline]
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A keyed permutation of `0..n`, evaluated at one index: a Feistel network over the next even power
/// of two, walked until it lands inside (Black and Rogaway 2002, "cycle walking").
///
/// A pure function, so the order of an epoch has no state; every index is visited exactly once.
#[derive(Debug, Clone, Copy)]
pub struct Permutation {
    stream: Stream,
    n: u64,
    half_bits: u32,
}

impl Permutation {
    /// The permutation of `0..n` under a stream. `n` is at least 1 and below 2^62.
    pub fn new(stream: Stream, n: u64) -> Self {
        let bits = 64 - n.saturating_sub(1).leading_zeros();
        Self { stream, n, half_bits: bits.div_ceil(2).max(1) }
    }

    /// Where index `i` goes. `i` must be below n.
    pub fn at(self, i: u64) -> u64 {
        debug_assert!(i < self.n);
        let mask = (1_u64 << self.half_bits) - 1;
        let mut x = i;
        loop {
            let (mut left, mut right) = (x >> self.half_bits, x & mask);
            for round in 0..4_u64 {
                let f = self.stream.child(round).bits(right) & mask;
                (left, right) = (right, left ^ f);
            }
            x = (left << self.half_bits) | right;
            if x < self.n {
                return x;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permutation_is_a_bijection_and_not_the_identity() {
        for n in [1_u64, 2, 3, 7, 64, 65, 1000, 4099] {
            let p = Permutation::new(Stream::new(3, "order"), n);
            let image: Vec<u64> = (0..n).map(|i| p.at(i)).collect();
            let mut sorted = image.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..n).collect::<Vec<_>>(), "n = {n}");
            assert!(n < 64 || image != sorted, "the order must be shuffled");
        }
    }

    #[test]
    fn streams_of_other_seeds_and_labels_differ() {
        let draw =
            |seed, label| (0..4).map(|n| Stream::new(seed, label).bits(n)).collect::<Vec<_>>();
        assert_ne!(draw(1, "init"), draw(2, "init"));
        assert_ne!(draw(1, "init"), draw(1, "order"));
        assert_eq!(draw(1, "init"), draw(1, "init"));
    }

    /// Moments of the standard normal: 0, 1, 0, 3. With 200 000 draws the standard error of the fourth
    /// moment is sqrt(96 / n) = 0.022.
    #[test]
    fn normal_numbers_have_the_moments_of_a_normal() {
        let stream = Stream::new(7, "normal");
        let n = 200_000_u64;
        let moment = |p: i32| (0..n).map(|i| stream.normal(i).powi(p)).sum::<f64>() / n as f64;
        assert!(moment(1).abs() < 0.01, "{}", moment(1));
        assert!((moment(2) - 1.0).abs() < 0.015, "{}", moment(2));
        assert!(moment(3).abs() < 0.03, "{}", moment(3));
        assert!((moment(4) - 3.0).abs() < 0.1, "{}", moment(4));
    }
}
