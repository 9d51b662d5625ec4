//! How often each domain of a dataset is seen: realised weights, epochs, distinct tokens.

use std::collections::BTreeMap;

/// Sequences over which weights are realised exactly: in every block of so many each domain has its share.
pub const BLOCK: u64 = 1024;

/// Domains that are trained on together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mixture {
    /// Tokens of a sequence.
    pub context: u64,
    /// At least one, by name.
    pub domains: Vec<Portion>,
}

/// One domain's part in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Portion {
    /// Name of the domain.
    pub name: String,
    /// Sequences of each block of [`BLOCK`], at least 1.
    pub share: u64,
    /// Windows of `context` tokens that there are, at least 1.
    pub windows: u64,
    /// How often each document is among them, at least 1.
    pub copies: u64,
}

impl Portion {
    /// Realised weight (0, 1].
    pub fn weight(&self) -> f64 {
        self.share as f64 / BLOCK as f64
    }

    /// Different windows among so many, drawn without replacement from all there are: of `copies` copies each.
    fn different(&self, read: f64) -> f64 {
        let (all, copies) = (self.windows as f64, self.copies as f64);
        if self.copies == 1 { read } else { all / copies * (1.0 - (1.0 - read / all).powf(copies)) }
    }
}

impl Mixture {
    /// Sequences of each block by domain.
    pub fn shares(&self) -> BTreeMap<String, u64> {
        self.domains.iter().map(|p| (p.name.clone(), p.share)).collect()
    }

    /// Windows of each domain that are read where only `unique` distinct tokens may be: each domain has its share of
    /// them, at least one window, and no more than there are.
    pub fn in_use(&self, unique: Option<u64>) -> Vec<u64> {
        let part = |p: &Portion| match unique {
            None => p.windows,
            Some(tokens) => {
                let windows = u128::from(tokens) * u128::from(p.share)
                    / u128::from(self.context.max(1) * BLOCK);
                windows.clamp(1, u128::from(p.windows)) as u64
            }
        };
        self.domains.iter().map(part).collect()
    }

    /// Tokens of each domain that are read [tokens].
    pub fn available(&self, unique: Option<u64>) -> Vec<u64> {
        self.in_use(unique).into_iter().map(|windows| windows * self.context).collect()
    }

    /// How often a run of so many tokens goes through the different text of each domain.
    pub fn epochs(&self, tokens: u64, unique: Option<u64>) -> Vec<f64> {
        let parts = self.domains.iter().zip(self.in_use(unique));
        let epochs = |(p, windows): (&Portion, u64)| {
            let there = p.different(windows as f64) * self.context as f64;
            p.weight() * tokens as f64 / there
        };
        parts.map(epochs).collect()
    }

    /// Distinct tokens that a run of so many sees: of each domain its share of them or all there are, copies once [tokens].
    pub fn distinct(&self, tokens: u64, unique: Option<u64>) -> u64 {
        let parts = self.domains.iter().zip(self.available(unique));
        let context = self.context.max(1) as f64;
        let seen = parts.map(|(p, there)| {
            let read = (p.weight() * tokens as f64).min(there as f64);
            p.different(read / context) * context
        });
        (seen.sum::<f64>().round() as u64).min(tokens)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mixture() -> Mixture {
        let portion =
            |name: &str, share, windows| Portion { name: name.into(), share, windows, copies: 1 };
        Mixture { context: 100, domains: vec![portion("a", 768, 900), portion("b", 256, 50)] }
    }

    /// By hand: 80k tokens are 60k of a, which has 90k, and 20k of b, which has 5k.
    #[test]
    fn epochs_and_distinct_tokens_are_counted_by_domain() {
        let mixture = mixture();
        assert_eq!(mixture.epochs(80_000, None), [60.0 / 90.0, 4.0]);
        assert_eq!(mixture.distinct(80_000, None), 65_000);
        assert_eq!(mixture.distinct(1_000, None), 1_000);
        // 40k of a are 75% of 53.3k; b's 25% of that are more than it has.
        assert_eq!(mixture.in_use(Some(53_400)), [400, 50]);
        assert_eq!(mixture.epochs(80_000, Some(53_400)), [1.5, 4.0]);
        assert_eq!(mixture.distinct(80_000, Some(53_400)), 45_000);
        assert_eq!(mixture.in_use(Some(1)), [1, 1]);
        assert_eq!(mixture.in_use(Some(u64::MAX)), [900, 50]);
    }

    /// Against a count of draws without replacement from a list of copies.
    #[test]
    fn copies_are_counted_once_however_much_of_them_is_read() {
        let portion = Portion { name: "a".into(), share: BLOCK, windows: 4000, copies: 8 };
        let mixture = Mixture { context: 100, domains: vec![portion] };
        let order = crate::random::Permutation::new(crate::random::Stream::new(1, "copies"), 4000);
        for read in [100_u64, 500, 2000, 4000] {
            let seen: std::collections::HashSet<u64> =
                (0..read).map(|i| order.at(i) % 500).collect();
            let (seen, told) =
                (seen.len() as f64, mixture.distinct(100 * read, None) as f64 / 100.0);
            assert!((told / seen - 1.0).abs() < 0.04, "{read}: {told} {seen}");
        }
        assert_eq!(mixture.epochs(400_000, None), [8.0]);
        assert_eq!(mixture.distinct(800_000, None), 50_000);
    }
}
