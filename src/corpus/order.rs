//! Which window a sequence of a run is: a pure function of the seed and the sequence's number.
//!
//! ```text
//! b, i = g div 1024, g mod 1024                    g: the g-th sequence of the run
//! p    = a permutation of 1024, new for each b, at i
//! d    : start_d <= p < start_d + n_d              n_d of 1024 are domain d's
//! k    = b n_d + (p - start_d)                     the k-th sequence of domain d
//! e, j = k div W_d, k mod W_d                      its epoch, and its place in it
//! w    = a permutation of W_d, new for each epoch of each domain, at j
//! ```
//!
//! Where not all windows of a domain are read, w goes through one more permutation of all of them that depends on the
//! domain's name alone: a smaller number of distinct tokens is part of a larger one, under every seed. A single domain
//! has neither d nor k: g is its own, and the order is what it was before there were domains.
//!
//! Any number of any epoch costs the same few permutations; there is no state, and nothing depends on the batch size or on
//! how far a run goes.

use crate::plan::mixture::{BLOCK, Mixture, Portion};
use crate::random::{Permutation, Stream};

/// Weights as sequences of 1024, by largest remainder, each at least one.
///
/// # Errors
///
/// A weight that is no positive number, or too small to be one of 1024: its index and the least share of the sum that
/// works.
pub fn shares(weights: &[f64]) -> Result<Vec<u64>, (usize, f64)> {
    let least = 0.5 / BLOCK as f64;
    let sum: f64 = weights.iter().sum();
    let small = |w: &f64| !(w.is_finite() && *w > 0.0 && w / sum >= least);
    if let Some(bad) = weights.iter().position(small) {
        return Err((bad, least));
    }
    // Those below one of 1024 are raised to it at the cost of the others, of whom that may bring more below.
    let mut raised = vec![false; weights.len()];
    let quotas = loop {
        let ones = raised.iter().filter(|r| **r).count() as u64;
        let rest: f64 = weights.iter().zip(&raised).filter(|(_, r)| !**r).map(|(w, _)| w).sum();
        let Some(left) = BLOCK.checked_sub(ones).filter(|left| *left > 0 || rest == 0.0) else {
            return Err((weights.len() - 1, 1.0 / BLOCK as f64));
        };
        let quota = |(w, r): (&f64, &bool)| if *r { 1.0 } else { w / rest * left as f64 };
        let quotas: Vec<f64> = weights.iter().zip(&raised).map(quota).collect();
        match quotas.iter().zip(&raised).position(|(q, r)| !*r && *q < 1.0) {
            Some(low) => raised[low] = true,
            None => break quotas,
        }
    };
    let mut out: Vec<u64> = quotas.iter().map(|q| q.floor() as u64).collect();
    let mut by_remainder: Vec<usize> = (0..out.len()).collect();
    by_remainder.sort_by(|l, r| {
        // Equal ones are equal whatever their last bits.
        let remainder = |i: usize| ((quotas[i] - quotas[i].floor()) * 1e9).round();
        remainder(*r).total_cmp(&remainder(*l)).then(l.cmp(r))
    });
    let missing = BLOCK.saturating_sub(out.iter().sum()) as usize;
    for i in by_remainder.into_iter().cycle().take(missing) {
        out[i] += 1;
    }
    Ok(out)
}

/// The order of one mixture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    domains: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Part {
    /// Sequences of a block.
    share: u64,
    /// Windows that are read.
    windows: u64,
    /// Which of all windows these are, where they are not all.
    subset: Option<(Stream, u64)>,
}

impl Order {
    /// Of so many distinct tokens, or of all there are.
    pub fn new(mixture: &Mixture, unique: Option<u64>) -> Self {
        let parts = mixture.domains.iter().zip(mixture.in_use(unique));
        let part = |(portion, windows): (&Portion, u64)| Part {
            share: portion.share,
            windows,
            subset: (windows < portion.windows).then(|| {
                let stream = Stream::new(0, &format!("unique tokens of {}", portion.name));
                (stream, portion.windows)
            }),
        };
        Self { domains: parts.map(part).collect() }
    }

    /// Domain and window of the `g`-th sequence of a run.
    pub fn at(&self, seed: u64, g: u64) -> (usize, u64) {
        let order = Stream::new(seed, "data order");
        let (domain, k, order) = if self.domains.len() == 1 {
            (0, g, order)
        } else {
            let (block, i) = (g / BLOCK, g % BLOCK);
            let mix = Stream::new(seed, "data mix").child(block);
            let mut place = Permutation::new(mix, BLOCK).at(i);
            let mut domain = 0;
            while place >= self.domains[domain].share {
                place -= self.domains[domain].share;
                domain += 1;
            }
            (domain, block * self.domains[domain].share + place, order.child(domain as u64))
        };
        let part = &self.domains[domain];
        let (epoch, place) = (k / part.windows, k % part.windows);
        let window = Permutation::new(order.child(epoch), part.windows).at(place);
        let window = match part.subset {
            Some((stream, of)) => Permutation::new(stream, of).at(window),
            None => window,
        };
        (domain, window)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    fn mixture(domains: &[(u64, u64)]) -> Mixture {
        let portion = |(i, (share, windows)): (usize, &(u64, u64))| Portion {
            name: format!("d{i}"),
            share: *share,
            windows: *windows,
            copies: 1,
        };
        Mixture { context: 1, domains: domains.iter().enumerate().map(portion).collect() }
    }

    #[test]
    fn weights_are_realised_by_largest_remainder_and_none_is_lost() {
        assert_eq!(shares(&[0.6, 0.2, 0.1, 0.05, 0.05]).unwrap(), [615, 205, 102, 51, 51]);
        assert_eq!(shares(&[3.0]).unwrap(), [1024]);
        assert_eq!(shares(&[1.0, 1.0, 1.0]).unwrap(), [342, 341, 341]);
        // 0.6 of 1024 of a sequence is one.
        assert_eq!(shares(&[1024.0 - 0.6, 0.6]).unwrap(), [1023, 1]);
        assert_eq!(shares(&[1.0, 0.0004]), Err((1, 1.0 / 2048.0)));
        assert_eq!(shares(&[1.0, f64::NAN]).unwrap_err().0, 0);
        assert_eq!(shares(&[1.0, 0.0]).unwrap_err().0, 1);
        assert_eq!(shares(&[1.0; 1024]).unwrap(), [1; 1024]);
        assert!(shares(&[1.0; 1025]).is_err());
    }

    /// As `Dataset::batch` had it: bits of results that there are depend on it.
    #[test]
    fn one_domain_has_the_order_that_there_was() {
        let order = Order::new(&mixture(&[(1024, 97)]), None);
        for (seed, g) in [(1, 0), (1, 96), (1, 97), (7, 5000), (u64::MAX, 123_456_789)] {
            let (epoch, place) = (g / 97, g % 97);
            let stream = Stream::new(seed, "data order");
            let want = Permutation::new(stream.child(epoch), 97).at(place);
            assert_eq!(order.at(seed, g), (0, want));
        }
    }

    /// Three domains and a million sequences: every prefix of whole blocks has exactly its share of each, and every
    /// epoch of a domain each window once.
    #[test]
    fn a_million_sequences_keep_weights_and_epochs_exactly() {
        let (shares, windows) = ([700, 300, 24], [20_011_u64, 997, 5000]);
        let domains: Vec<(u64, u64)> = shares.into_iter().zip(windows).collect();
        let order = Order::new(&mixture(&domains), None);
        let blocks = 1_000_000_u64.div_ceil(BLOCK);
        let mut seen: Vec<Vec<u64>> = windows.iter().map(|w| vec![0; *w as usize]).collect();
        for block in 0..blocks {
            for g in block * BLOCK..(block + 1) * BLOCK {
                let (domain, window) = order.at(3, g);
                seen[domain][window as usize] += 1;
            }
            for (domain, share) in shares.iter().enumerate() {
                let drawn = (block + 1) * share;
                assert_eq!(seen[domain].iter().sum::<u64>(), drawn);
                // Looked at where an epoch ends, and at the end.
                if drawn % windows[domain] < *share || block + 1 == blocks {
                    let (least, most) = (drawn / windows[domain], drawn.div_ceil(windows[domain]));
                    assert!(seen[domain].iter().all(|n| (least..=most).contains(n)), "{domain}");
                }
            }
        }
    }

    #[test]
    fn orders_of_other_seeds_and_epochs_differ() {
        let order = Order::new(&mixture(&[(512, 512), (512, 512)]), None);
        let of =
            |seed, from: u64| (from..from + 1024).map(|g| order.at(seed, g)).collect::<Vec<_>>();
        assert_ne!(of(1, 0), of(2, 0));
        assert_ne!(of(1, 0), of(1, 1024));
        // Neither domain follows the other's order.
        let windows =
            |d| of(1, 0).into_iter().filter(|x| x.0 == d).map(|x| x.1).collect::<Vec<_>>();
        assert_ne!(windows(0), windows(1));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn fewer_distinct_windows_are_part_of_more_under_every_seed(
            few in 1_u64..200, more in 1_u64..200, seeds in any::<(u64, u64)>(), several: bool,
        ) {
            let (few, more) = (few.min(more), few.max(more));
            let domains: &[(u64, u64)] =
                if several { &[(600, 300), (424, 150)] } else { &[(1024, 300)] };
            let drawn = |unique, seed| {
                let order = Order::new(&mixture(domains), Some(unique));
                (0..4 * BLOCK).map(|g| order.at(seed, g)).collect::<BTreeSet<_>>()
            };
            let small = drawn(few, seeds.0);
            prop_assert!(small.is_subset(&drawn(more, seeds.1)));
            let want: u64 = mixture(domains).in_use(Some(few)).iter().sum();
            prop_assert_eq!(small.len() as u64, want);
        }

        #[test]
        fn any_weights_give_1024_sequences_near_their_quota(weights in prop::collection::vec(0.001_f64..1.0, 1..60)) {
            let sum: f64 = weights.iter().sum();
            let Ok(shares) = shares(&weights) else { return Ok(()) };
            prop_assert_eq!(shares.iter().sum::<u64>(), BLOCK);
            let low = weights.iter().filter(|w| *w / sum * 1024.0 < 1.0).count() as f64;
            for (n, w) in shares.iter().zip(&weights) {
                let quota = w / sum * 1024.0;
                prop_assert!(*n >= 1 && (*n as f64 - quota).abs() <= 1.0 + low * w / sum, "{} {}", n, quota);
            }
        }

        #[test]
        fn an_epoch_of_each_domain_has_each_window_once(seed: u64, a in 1_u64..40, b in 1_u64..40) {
            let order = Order::new(&mixture(&[(1000, a), (24, b)]), None);
            let mut seen: BTreeMap<(usize, u64), u64> = BTreeMap::new();
            for g in 0..a * b * BLOCK {
                *seen.entry(order.at(seed, g)).or_default() += 1;
            }
            prop_assert!((0..a).all(|w| seen[&(0, w)] == b * 1000));
            prop_assert!((0..b).all(|w| seen[&(1, w)] == a * 24));
        }
    }
}
