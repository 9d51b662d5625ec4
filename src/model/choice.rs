//! Which token comes next: the most likely one, or one drawn from the model's distribution.

use crate::ops::argmax;

/// How the next token is chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Choice {
    /// What logits are divided by; 0 takes the most likely token [-].
    pub temperature: f64,
    /// Of the tokens in the order of their probability only the first are drawn from, as many as have this share
    /// together; 1 for all (Holtzman et al. 2020, 1904.09751) [-].
    pub top_p: f64,
}

impl Choice {
    /// The id that a uniform number in [0, 1) chooses; in f64, tokens of equal probability in the order of their ids.
    ///
    /// # Panics
    ///
    /// When there are no logits.
    pub fn of(&self, logits: &[f32], uniform: f64) -> usize {
        let best = argmax(logits);
        if self.temperature == 0.0 {
            return best;
        }
        let weight = |l: &f32| (f64::from(*l - logits[best]) / self.temperature).exp();
        let mut tokens: Vec<(usize, f64)> = logits.iter().map(weight).enumerate().collect();
        tokens.sort_by(|l, r| r.1.total_cmp(&l.1).then(l.0.cmp(&r.0)));
        let total: f64 = tokens.iter().map(|(_, weight)| weight).sum();
        let mut share = 0.0;
        let kept = tokens.iter().take_while(|(_, weight)| {
            let among = share < self.top_p * total;
            share += weight;
            among
        });
        let kept = kept.count().max(1);
        let place = uniform * tokens[..kept].iter().map(|(_, weight)| weight).sum::<f64>();
        let mut sum = 0.0;
        let drawn = tokens[..kept].iter().find(|(_, weight)| {
            sum += weight;
            place < sum
        });
        drawn.unwrap_or(&tokens[kept - 1]).0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Stream;

    #[test]
    fn tokens_come_as_often_as_their_probability_says() {
        let logits = [0.0_f32, 2_f32.ln(), 5_f32.ln(), f32::NEG_INFINITY];
        let stream = Stream::new(1, "choice");
        let shares = |choice: Choice| -> Vec<f64> {
            let n = 20_000;
            let mut counts = [0.0; 4];
            (0..n).for_each(|i| counts[choice.of(&logits, stream.uniform(i))] += 1.0 / n as f64);
            counts.to_vec()
        };
        for (temperature, top_p, want) in [
            (1.0, 1.0, [1.0 / 8.0, 2.0 / 8.0, 5.0 / 8.0]),
            (0.5, 1.0, [1.0 / 30.0, 4.0 / 30.0, 25.0 / 30.0]),
            (1.0, 0.8, [0.0, 2.0 / 7.0, 5.0 / 7.0]),
            (1.0, 0.6, [0.0, 0.0, 1.0]),
            (0.0, 1.0, [0.0, 0.0, 1.0]),
        ] {
            let got = shares(Choice { temperature, top_p });
            for (got, want) in got.iter().zip(want) {
                // Three standard errors of a share of 20,000.
                assert!((got - want).abs() < 0.011, "{temperature} {top_p}: {got}, {want}");
            }
            assert_eq!(got[3], 0.0);
        }
    }
}
