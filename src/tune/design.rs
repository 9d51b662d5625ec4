//! Which configurations to train next at one tuning cell, given what was trained there.
//!
//! First every rate at every batch. Then, while the best lies at an end of what was tried, one more value
//! beyond that end. Last the weight decays, at the best rate and batch. A pure function of the outcomes, so
//! that the same command again asks for the same runs.

use std::collections::{BTreeMap, BTreeSet};

use crate::spec::TuneSpec;
use crate::tune::Place;

/// A longer batch leaves fewer steps than this, and warmup decides the loss: no axis is extended there.
const LEAST_STEPS: f64 = 20.0;

/// Values along one axis, and beyond both of its ends.
#[derive(Debug, Clone)]
struct Ladder {
    values: Vec<f64>,
    /// Between two values beyond the lowest and beyond the highest.
    ratios: [f64; 2],
    /// Values are whole multiples of this; 0 for any.
    quantum: f64,
    limits: [f64; 2],
    /// Values that may be added beyond each end.
    extend: i64,
}

impl Ladder {
    fn at(&self, i: i64) -> f64 {
        let n = self.values.len().cast_signed() as i64;
        let (first, last) = (self.values[0], self.values[self.values.len() - 1]);
        let powi = |ratio: f64, steps: i64| ratio.powi(steps as i32);
        match i {
            i if i < 0 => whole(first / powi(self.ratios[0], -i), self.quantum),
            i if i >= n => whole(last * powi(self.ratios[1], i - n + 1), self.quantum),
            i => self.values[i as usize],
        }
    }

    /// Whether value `i` may be tried: within the extensions, within what makes sense, and a value of its own.
    fn has(&self, i: i64) -> bool {
        let n = self.values.len().cast_signed() as i64;
        let inner = (0..n).contains(&i);
        let toward = if i < 0 { i + 1 } else { i - 1 };
        inner
            || (-self.extend..n + self.extend).contains(&i)
                && (self.limits[0]..=self.limits[1]).contains(&self.at(i))
                && self.at(i) != self.at(toward)
    }

    fn steps(&self) -> std::ops::Range<i64> {
        0..self.values.len().cast_signed() as i64
    }
}

fn whole(value: f64, quantum: f64) -> f64 {
    if quantum > 0.0 { (value / quantum).round().max(1.0) * quantum } else { value }
}

/// One configuration, by its steps along the axes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Config {
    rate: i64,
    batch: i64,
    decay: Decay,
}

impl Config {
    /// Whether it belongs to the search for the decay.
    pub fn searches_decay(&self) -> bool {
        self.decay != Decay::Rule
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Decay {
    /// What the sweep's rule says.
    Rule,
    Zero,
    Step(i64),
}

/// What was trained, and its loss; none for a run that diverged or failed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tried {
    /// Which.
    pub config: Config,
    /// Mean over its seeds [nats/token].
    pub loss: Option<f64>,
}

/// The search at one cell.
#[derive(Debug, Clone)]
pub struct Design {
    rates: Ladder,
    batches: Ladder,
    decays: Option<Ladder>,
    zero: bool,
    rule_decay: f64,
    tuned: [bool; 2],
}

impl Design {
    /// Around the rules' values at `place`; batches are multiples of `context` tokens.
    pub fn new(tune: &TuneSpec, place: &Place, context: f64) -> Self {
        let extend = (*tune.extend.get_ref()).cast_signed();
        let ladder = |axis: &Option<toml::Spanned<crate::spec::Axis>>, centre: f64, quantum| {
            let mut values = axis.as_ref().map_or(vec![centre], |a| a.get_ref().around(centre));
            for v in &mut values {
                *v = whole(*v, quantum);
            }
            values.retain(|v| *v > 0.0);
            values.dedup();
            let factor = axis.as_ref().and_then(|a| a.get_ref().factor);
            let ratio = |pair: Option<&[f64]>| match (factor, pair) {
                (Some(factor), _) => factor,
                (None, Some([low, high])) => high / low,
                _ => 2.0,
            };
            let ratios =
                [ratio(values.get(..2)), ratio(values.len().checked_sub(2).map(|i| &values[i..]))];
            let extend = if axis.is_some() { extend } else { 0 };
            Ladder { values, ratios, quantum, limits: [0.0, f64::MAX], extend }
        };
        let mut batches = ladder(&tune.batch_tokens, place.batch_tokens, context);
        batches.limits = [context, place.tokens / LEAST_STEPS];
        let zero = tune
            .weight_decay
            .as_ref()
            .is_some_and(|a| a.get_ref().values.iter().flatten().any(|v| v.0 == 0.0));
        let decays =
            tune.weight_decay.as_ref().map(|_| ladder(&tune.weight_decay, place.weight_decay, 0.0));
        Self {
            rates: ladder(&tune.learning_rate, place.learning_rate, 0.0),
            batches,
            decays: decays.filter(|l| !l.values.is_empty()),
            zero,
            rule_decay: place.weight_decay,
            tuned: [tune.learning_rate.is_some(), tune.batch_tokens.is_some()],
        }
    }

    /// Learning rate [1/step], batch [tokens/step] and weight decay of a configuration.
    pub fn values(&self, config: Config) -> [f64; 3] {
        let decay = match (config.decay, &self.decays) {
            (Decay::Step(i), Some(ladder)) => ladder.at(i),
            (Decay::Zero, _) => 0.0,
            _ => self.rule_decay,
        };
        [self.rates.at(config.rate), self.batches.at(config.batch), decay]
    }

    /// What to train next; nothing when the search is over. `tried` is all that was ever asked for.
    pub fn next(&self, tried: &[Tried]) -> Vec<Config> {
        let outcome: BTreeMap<Config, Option<f64>> =
            tried.iter().map(|t| (t.config, t.loss)).collect();
        let new = |wanted: Vec<Config>| -> Vec<Config> {
            wanted.into_iter().filter(|c| !outcome.contains_key(c)).collect()
        };
        let at = |rate, batch, decay| Config { rate, batch, decay };
        let product = self
            .batches
            .steps()
            .flat_map(|b| self.rates.steps().map(move |r| at(r, b, Decay::Rule)));
        let first = new(product.collect());
        if !first.is_empty() {
            return first;
        }
        let searched = |c: &Config| c.decay == Decay::Rule;
        let Some(best) = lowest(&outcome, searched) else { return Vec::new() };
        let beyond = new(self.beyond(best, &outcome));
        if !beyond.is_empty() {
            return beyond;
        }
        let Some(decays) = &self.decays else {
            let zero = self.zero.then_some(at(best.rate, best.batch, Decay::Zero));
            return new(zero.into_iter().collect());
        };
        let zero = self.zero.then_some(Decay::Zero);
        let listed = decays.steps().map(Decay::Step).chain(zero);
        let listed = new(listed.map(|d| at(best.rate, best.batch, d)).collect());
        if !listed.is_empty() {
            return listed;
        }
        let here =
            |c: &Config| (c.rate, c.batch) == (best.rate, best.batch) && c.decay != Decay::Rule;
        let Some(Config { decay: Decay::Step(i), .. }) = lowest(&outcome, here) else {
            return Vec::new();
        };
        let ends = [i - 1, i + 1].into_iter().filter(|i| decays.has(*i));
        new(ends.map(|i| at(best.rate, best.batch, Decay::Step(i))).collect())
    }

    /// What lies beyond the best, where nothing was tried on that side of it. Batches are compared at the best
    /// rate of each: so the rates are followed at the batches beside the best one too, and a batch that is
    /// new gets the rates around the best.
    fn beyond(&self, best: Config, outcome: &BTreeMap<Config, Option<f64>>) -> Vec<Config> {
        let searched = || outcome.keys().filter(|c| c.decay == Decay::Rule);
        let batches: BTreeSet<i64> = searched().map(|c| c.batch).collect();
        let open = |tried: &BTreeSet<i64>, at: i64| {
            let below = tried.range(..at).next().is_none().then_some(at - 1);
            let above = tried.range(at + 1..).next().is_none().then_some(at + 1);
            below.into_iter().chain(above)
        };
        let mut out = Vec::new();
        let beside = best.batch - 1..=best.batch + 1;
        for batch in beside.filter(|batch| self.tuned[0] && batches.contains(batch)) {
            let here = |c: &Config| c.decay == Decay::Rule && c.batch == batch;
            let rates: BTreeSet<i64> = searched().filter(|c| here(c)).map(|c| c.rate).collect();
            let Some(own) = lowest(outcome, here) else { continue };
            let rates = open(&rates, own.rate).filter(|r| self.rates.has(*r));
            out.extend(rates.map(|rate| Config { rate, ..own }));
        }
        if self.tuned[1] {
            for batch in open(&batches, best.batch).filter(|b| self.batches.has(*b)) {
                let near = best.rate - 1..=best.rate + 1;
                let near = near.filter(|r| self.rates.has(*r));
                out.extend(near.map(|rate| Config { rate, batch, ..best }));
            }
        }
        out
    }
}

/// The configuration of least loss among some.
fn lowest(
    outcome: &BTreeMap<Config, Option<f64>>,
    among: impl Fn(&Config) -> bool,
) -> Option<Config> {
    let losses = outcome.iter().filter(|(c, _)| among(c)).filter_map(|(c, l)| Some((*c, (*l)?)));
    losses.min_by(|l, r| l.1.total_cmp(&r.1)).map(|(c, _)| c)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::tests::SWEEP;
    use crate::spec::Spec;

    fn design(axes: &str) -> Design {
        let cells = "cells = [{ params = \"10k\", tokens = \"1M\" }]";
        let spec = Spec::parse(&format!("{SWEEP}[tune]\n{cells}\n{axes}")).unwrap();
        let place = Place {
            params: 1e4,
            tokens: 1e6,
            learning_rate: 0.01,
            batch_tokens: 1024.0,
            weight_decay: 0.0,
        };
        Design::new(spec.tune.unwrap().get_ref(), &place, 128.0)
    }

    /// Trains by a formula until the search is over; all rounds, each as its values.
    fn search(design: &Design, loss: impl Fn([f64; 3]) -> Option<f64>) -> Vec<Vec<[f64; 3]>> {
        let (mut tried, mut rounds) = (Vec::new(), Vec::new());
        loop {
            let next = design.next(&tried);
            if next.is_empty() {
                return rounds;
            }
            rounds.push(next.iter().map(|c| design.values(*c)).collect());
            tried.extend(next.iter().map(|c| Tried { config: *c, loss: loss(design.values(*c)) }));
            assert!(rounds.len() < 100);
        }
    }

    fn bowl(x: f64, best: f64) -> f64 {
        (x / best).ln().powi(2)
    }

    const RATES: &str = "learning_rate = { factor = 2.0, points = 5 }\n";

    /// The ladder is 0.0025 .. 0.04: with the optimum within it nothing is added, beyond it exactly as many
    /// as it takes to pass it, and never more than three.
    #[test]
    fn an_axis_is_extended_exactly_while_the_best_is_at_its_end() {
        for (best, added) in [
            (0.01, 0),
            (0.02, 0),
            (0.005, 0),
            (0.042, 1),
            (0.08, 2),
            (0.16, 3),
            (5.0, 3),
            (0.0012, 2),
        ] {
            let rounds = search(&design(RATES), |v| Some(1.0 + bowl(v[0], best)));
            assert_eq!(rounds[0].len(), 5);
            let more: Vec<f64> = rounds[1..].iter().flatten().map(|v| v[0]).collect();
            assert_eq!(more.len(), added, "{best}: {more:?}");
            let away = |v: &f64| if best > 0.01 { *v > 0.04 } else { *v < 0.0025 };
            assert!(more.iter().all(away), "{best}: {more:?}");
        }
    }

    #[test]
    fn a_rate_that_diverges_ends_the_axis() {
        let loss = |v: [f64; 3]| (v[0] < 0.05).then(|| 1.0 + bowl(v[0], 0.1));
        let rounds = search(&design(RATES), loss);
        assert_eq!(rounds[1..].concat().iter().map(|v| v[0]).collect::<Vec<_>>(), [0.08]);
        assert!(search(&design(RATES), |_| None).len() == 1);
    }

    /// Rates and batches that move together: the search follows the valley, every rate at each batch first.
    #[test]
    fn batches_are_extended_with_the_rates_around_the_best() {
        let axes = format!("{RATES}batch_tokens = {{ factor = 2.0, points = 3 }}\n");
        let loss = |v: [f64; 3]| {
            Some(2.0 + bowl(v[1], 4096.0) + bowl(v[0], 0.01 * (v[1] / 1024.0).sqrt()))
        };
        let rounds = search(&design(&axes), loss);
        assert_eq!(rounds[0].len(), 15);
        assert_eq!(rounds[1].len(), 3);
        assert!(rounds[1].iter().all(|v| v[1] == 4096.0), "{rounds:?}");
        let last = rounds.last().unwrap();
        assert!(last.iter().all(|v| v[1] == 8192.0), "passed: {rounds:?}");
    }

    /// The best rate grows with the batch so fast that those beside the best have theirs off the ladder: it is
    /// followed there, or the batch could not be told.
    #[test]
    fn rates_are_followed_at_the_batches_beside_the_best() {
        let axes = format!("{RATES}batch_tokens = {{ factor = 2.0, points = 3 }}\n");
        let loss = |v: [f64; 3]| {
            Some(2.0 + bowl(v[1], 1024.0) + bowl(v[0], 0.01 * (v[1] / 1024.0).powi(3)))
        };
        let rounds = search(&design(&axes), loss);
        let more: Vec<(f64, f64)> = rounds[1..].iter().flatten().map(|v| (v[1], v[0])).collect();
        // 0.01 / 8 and 0.01 x 8, between what the ladder 0.0025 .. 0.04 lacks.
        for batch in [512.0, 2048.0] {
            let rates: Vec<f64> = more.iter().filter(|m| m.0 == batch).map(|m| m.1).collect();
            assert_eq!(rates.len(), 2, "{batch}: {more:?}");
        }
        assert_eq!(more.len(), 4, "none at the best batch itself: {more:?}");
    }

    #[test]
    fn a_batch_is_whole_sequences_and_leaves_steps() {
        let axes = "batch_tokens = { values = [100, 128, 256] }\n";
        let rounds = search(&design(axes), |v| Some(1.0 + v[1]));
        let tried: Vec<f64> = rounds.concat().iter().map(|v| v[1]).collect();
        assert_eq!(tried, [128.0, 256.0], "no batch below one sequence");
        let axes = "batch_tokens = { factor = 4.0, points = 3 }\nextend = 9\n";
        let rounds = search(&design(axes), |v| Some(1.0 / v[1]));
        let most = rounds.concat().iter().map(|v| v[1]).fold(0.0, f64::max);
        assert_eq!(most, 16384.0, "65536 would leave 15 steps");
    }

    #[test]
    fn decays_come_last_at_the_best_rate_and_zero_is_the_end() {
        let axes = format!("{RATES}weight_decay = {{ values = [0.0, 0.1, 0.3] }}\n");
        let at_best = |best: f64| {
            search(&design(&axes), move |v| {
                let decay = if v[2] == 0.0 { 3.0 } else { bowl(v[2], best) };
                Some(1.0 + bowl(v[0], 0.02) + 0.01 * decay)
            })
        };
        let rounds = at_best(0.15);
        assert_eq!(rounds.len(), 3);
        assert!(rounds[1..].concat().iter().all(|v| v[0] == 0.02), "{rounds:?}");
        assert_eq!(rounds[1].iter().map(|v| v[2]).collect::<Vec<_>>(), [0.1, 0.3, 0.0]);
        let more: Vec<f64> = at_best(1.0)[2..].concat().iter().map(|v| v[2]).collect();
        let want = [0.9, 2.7];
        assert!(more.iter().zip(want).all(|(m, w)| (m - w).abs() < 1e-12), "{more:?}");
        assert_eq!(more.len(), 2, "{more:?}");
        // Down from 0.1 in the ratio of the lowest two that are above zero.
        assert_eq!(
            at_best(0.05)[2].iter().map(|v| (v[2] * 1e3).round()).collect::<Vec<_>>(),
            [33.0]
        );
        let none = search(&design(&axes), |v| Some(1.0 + bowl(v[0], 0.02) + v[2]));
        assert_eq!(none.len(), 2, "zero is best and is no edge: {none:?}");
    }
}
