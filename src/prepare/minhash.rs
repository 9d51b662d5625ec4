//! MinHash signatures, equal to datatrove 0.10.1's: which documents are nearly the same?
//!
//! Each n-gram of words of the normalised text has a hash h (XXH64 of its words joined by spaces). A signature is the
//! minimum of `(h·a + b) mod 2^64 mod (2^61 − 1)` over all n-grams, for each of `buckets · hashes` pairs (a, b) of
//! NumPy's `RandomState(1)`. Documents that agree in all minima of one bucket are taken for near-duplicates.

use xxhash_rust::xxh3::xxh3_64_with_seed;
use xxhash_rust::xxh64::xxh64;

use super::normal::Words;
use super::numpy::RandomState;
use crate::spec::Near;

/// 2^61 − 1, a Mersenne prime.
const PRIME: u64 = (1 << 61) - 1;

/// Minima taken at once, in registers.
const LANES: usize = 8;

/// Signs documents under one choice of numbers.
pub struct Signer {
    near: Near,
    a: Vec<u64>,
    b: Vec<u64>,
}

impl Signer {
    /// A signer with datatrove's constants.
    pub fn new(near: Near) -> Self {
        let mut random = RandomState::new(1);
        let count = near.buckets * near.hashes;
        let a = (0..count).map(|_| random.randint(1, PRIME)).collect();
        let b = (0..count).map(|_| random.randint(0, PRIME)).collect();
        Self { near, a, b }
    }

    /// The signature of a normalised text: the minima, bucket after bucket. None where it has fewer words than an
    /// n-gram.
    pub fn sign(&self, normalised: &str) -> Option<Vec<u64>> {
        self.sign_words(&Words::new(normalised))
    }

    /// The same with what white space separates for words.
    pub fn sign_by_space(&self, normalised: &str) -> Option<Vec<u64>> {
        self.sign_words(&Words::by_space(normalised))
    }

    fn sign_words(&self, words: &Words) -> Option<Vec<u64>> {
        let shingles = shingles(words, self.near.ngram);
        if shingles.is_empty() {
            return None;
        }
        let mut minima = vec![u64::MAX; self.a.len()];
        let constants = self.a.chunks(LANES).zip(self.b.chunks(LANES));
        for (minima, (a, b)) in minima.chunks_mut(LANES).zip(constants) {
            match (<&mut [u64; LANES]>::try_from(&mut *minima), a.try_into(), b.try_into()) {
                (Ok(minima), Ok(a), Ok(b)) => fold(&shingles, a, b, minima),
                _ => {
                    for (minimum, (a, b)) in minima.iter_mut().zip(a.iter().zip(b)) {
                        *minimum =
                            shingles.iter().map(|h| permute(*h, *a, *b)).min().unwrap_or(PRIME);
                    }
                }
            }
        }
        Some(minima)
    }

    /// One number for each bucket of a signature: equal where all its minima are.
    pub fn keys(&self, signature: &[u64]) -> Vec<u64> {
        let buckets = signature.chunks(self.near.hashes).enumerate();
        buckets
            .map(|(bucket, minima)| {
                let bytes: Vec<u8> = minima.iter().flat_map(|m| m.to_le_bytes()).collect();
                xxh3_64_with_seed(&bytes, bucket as u64)
            })
            .collect()
    }
}

/// The smallest hashes of a text's n-grams: enough to tell how alike two texts are.
pub struct Sketch {
    smallest: Vec<u64>,
    /// Whether there are no others.
    whole: bool,
}

impl Sketch {
    /// Hashes that are kept.
    const KEPT: usize = 1024;

    /// That of a normalised text.
    pub fn new(normalised: &str, ngram: usize) -> Self {
        let mut smallest = shingles(&Words::new(normalised), ngram);
        smallest.sort_unstable();
        smallest.dedup();
        let whole = smallest.len() <= Self::KEPT;
        smallest.truncate(Self::KEPT);
        smallest.shrink_to_fit();
        Self { smallest, whole }
    }

    /// The Jaccard similarity of the n-grams of two texts: exactly where both have at most 1,024 different ones, else
    /// with a standard error of at most 0.016; 1 for two without any.
    pub fn jaccard(&self, other: &Self) -> f64 {
        let most = if self.whole && other.whole { usize::MAX } else { Self::KEPT };
        let (mut left, mut right) = (self.smallest.as_slice(), other.smallest.as_slice());
        let (mut both, mut all) = (0, 0);
        while all < most {
            let (step_left, step_right) = match (left.first(), right.first()) {
                (None, None) => break,
                (Some(l), Some(r)) => (l <= r, r <= l),
                (l, r) => (l.is_some(), r.is_some()),
            };
            left = &left[usize::from(step_left)..];
            right = &right[usize::from(step_right)..];
            both += usize::from(step_left && step_right);
            all += 1;
        }
        if all == 0 { 1.0 } else { both as f64 / all as f64 }
    }
}

fn shingles(words: &Words, n: usize) -> Vec<u64> {
    words.ngrams(n).map(|ngram| xxh64(ngram, 0)).collect()
}

/// `(h·a + b) mod 2^64 mod (2^61 − 1)`, without a branch.
#[inline(always)]
#[expect(clippy::inline_always, reason = "part of the inner loop below")]
fn permute(hash: u64, a: u64, b: u64) -> u64 {
    let x = hash.wrapping_mul(a).wrapping_add(b);
    let sum = (x & PRIME) + (x >> 61);
    (sum + ((sum + 1) >> 61)) & PRIME
}

/// Minima over all shingles of `LANES` permutations.
#[multiversion::multiversion(targets("x86_64+avx512f+avx512dq", "x86_64+avx2"))]
fn fold(shingles: &[u64], a: &[u64; LANES], b: &[u64; LANES], minima: &mut [u64; LANES]) {
    // Below 2^61, so signed numbers are in the same order, and quicker to compare.
    let mut best = [i64::MAX; LANES];
    for hash in shingles {
        for lane in 0..LANES {
            let value = permute(*hash, a[lane], b[lane]).cast_signed();
            best[lane] = if value < best[lane] { value } else { best[lane] };
        }
    }
    *minima = best.map(i64::cast_unsigned);
}

#[cfg(test)]
mod tests {
    use super::super::normalise;
    use super::*;

    #[test]
    fn constants_are_numpys() {
        let signer = Signer::new(Near::default());
        // RandomState(1).randint(1, 2**61 - 1, dtype=uint64, size=112), then from 0.
        let first = [775169054918279404, 1758426461858698313, 2109959069025162];
        assert_eq!(signer.a[..3], first);
        let first = [1062448801025099917, 1324811268927594100, 1217488311597731462];
        assert_eq!(signer.b[..3], first);
        assert_eq!((signer.a.len(), signer.b.len()), (112, 112));
    }

    #[test]
    fn permutations_are_taken_modulo_the_prime() {
        for (x, want) in [
            (0, 0),
            (PRIME - 1, PRIME - 1),
            (PRIME, 0),
            (PRIME + 1, 1),
            (2 * PRIME, 0),
            (7 * PRIME - 1, PRIME - 1),
            (7 * PRIME, 0),
            (u64::MAX, u64::MAX % PRIME),
        ] {
            assert_eq!(permute(1, 0, x), want, "{x} mod 2^61 - 1");
            assert_eq!(permute(x, 1, 0), want, "{x} mod 2^61 - 1");
        }
    }

    /// Sizes whose number of minima is no multiple of the lanes are signed as the others.
    #[test]
    fn a_signature_is_the_minimum_over_ngrams() {
        let text =
            normalise("the quick brown fox jumps over the lazy dog and then some more of it");
        for near in [Near::default(), Near { ngram: 3, buckets: 5, hashes: 3 }] {
            let signer = Signer::new(near);
            let hashes: Vec<u64> = text
                .split(' ')
                .collect::<Vec<_>>()
                .windows(near.ngram)
                .map(|w| xxh64(w.join(" ").as_bytes(), 0))
                .collect();
            let want: Vec<u64> = signer
                .a
                .iter()
                .zip(&signer.b)
                .map(|(a, b)| {
                    hashes
                        .iter()
                        .map(|h| h.wrapping_mul(*a).wrapping_add(*b) % PRIME)
                        .min()
                        .unwrap()
                })
                .collect();
            assert_eq!(signer.sign_by_space(&text), Some(want.clone()));
            assert_eq!(signer.sign(&text), Some(want.clone()));
            assert_eq!(signer.keys(&want).len(), near.buckets);
        }
        let signer = Signer::new(Near::default());
        assert_eq!(signer.sign("only four words here"), None);
        assert!(signer.sign("just five words are here").is_some());
    }

    #[test]
    fn keys_differ_between_buckets_and_agree_only_with_all_minima() {
        let signer = Signer::new(Near { ngram: 5, buckets: 2, hashes: 3 });
        let same = signer.keys(&[1, 2, 3, 1, 2, 3]);
        assert_ne!(same[0], same[1]);
        let other = signer.keys(&[1, 2, 3, 1, 2, 4]);
        assert!(same[0] == other[0] && same[1] != other[1]);
    }

    #[test]
    fn jaccard_counts_shared_ngrams() {
        let alike = |left: &str, right: &str| {
            let [left, right] = [left, right].map(|text| Sketch::new(text, 2));
            (left.jaccard(&right), right.jaccard(&left))
        };
        // ab bc cd, bc cd de: 2 of 4.
        assert_eq!(alike("a1 b1 c1 d1", "b1 c1 d1 e1"), (0.5, 0.5));
        assert_eq!(alike("a1 b1", "c1 d1"), (0.0, 0.0));
        assert_eq!(alike("", "x"), (1.0, 1.0));
        // 2000 of 4000, and 500 of 4500, of which not all are kept.
        let words = |from: usize, to: usize| {
            (from..to)
                .map(|i| {
                    format!(
                        "w{}",
                        i.to_string().bytes().map(|b| char::from(b + 49)).collect::<String>()
                    )
                })
                .collect::<Vec<_>>()
                .join(" ")
        };
        for (from, want) in [(1000, 0.5), (2500, 0.091)] {
            let (one, other) = alike(&words(0, 3001), &words(from, from + 3001));
            assert!(one == other && (one - want).abs() < 0.05, "{one}");
        }
    }
}
