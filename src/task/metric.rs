//! What the log-likelihoods of a task come to.
//!
//! Accuracies are those of lm-evaluation-harness; the first of equal choices counts. Means have the standard error of a
//! mean over items, `bits_per_byte` that of a ratio.

use std::f64::consts::LN_2;

use serde::{Deserialize, Serialize};

use super::{Item, Kind, Task};

/// Two choices whose log-likelihoods differ by less are tied: rounding may decide between them [nats].
pub const TIE: f64 = 1e-3;

/// What a model says of one request. Records have it as a list of three, for there are many.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(from = "(f64, bool, u64)", into = "(f64, bool, u64)")]
pub struct Score {
    /// Of the continuation after its context [nats].
    pub log_likelihood: f64,
    /// Whether each of its tokens is the likeliest one there.
    pub greedy: bool,
    /// Tokens of the continuation.
    pub tokens: u64,
}

impl From<(f64, bool, u64)> for Score {
    fn from((log_likelihood, greedy, tokens): (f64, bool, u64)) -> Self {
        Self { log_likelihood, greedy, tokens }
    }
}

impl From<Score> for (f64, bool, u64) {
    fn from(score: Score) -> Self {
        (score.log_likelihood, score.greedy, score.tokens)
    }
}

/// A number and its standard error over items.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// In the unit of its metric.
    pub value: f64,
    /// In the same unit; `None` for a single item.
    pub se: Option<f64>,
}

/// A metric of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Of the gold continuation, summed over items [bits/byte].
    BitsPerByte,
    /// Log-likelihood of the gold choice minus that of the best other [nats].
    Margin,
    /// Of the gold among the choices, by softmax of log-likelihood per byte [0, 1].
    Probability,
    /// Share of items whose gold is the likeliest; without choices, of those that are every argmax [0, 1].
    Accuracy,
    /// The same by log-likelihood per character [0, 1].
    AccuracyNorm,
    /// The same by log-likelihood per byte [0, 1].
    AccuracyBytes,
}

impl Metric {
    /// In the order of tables.
    pub const ALL: [Self; 6] = [
        Self::BitsPerByte,
        Self::Margin,
        Self::Probability,
        Self::Accuracy,
        Self::AccuracyNorm,
        Self::AccuracyBytes,
    ];

    /// As records and tables have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::BitsPerByte => "bits_per_byte",
            Self::Margin => "margin",
            Self::Probability => "probability",
            Self::Accuracy => "accuracy",
            Self::AccuracyNorm => "accuracy_norm",
            Self::AccuracyBytes => "accuracy_bytes",
        }
    }

    /// Whether more of it is better.
    pub fn rises(self) -> bool {
        self != Self::BitsPerByte
    }
}

/// All metrics of a task; those that its kind does not have are left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Items.
    pub items: usize,
    /// Items whose gold is tied with the best other: rounding may decide their accuracy.
    pub ties: usize,
    /// [`Metric::BitsPerByte`].
    pub bits_per_byte: Measured,
    /// [`Metric::Margin`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub margin: Option<Measured>,
    /// [`Metric::Probability`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probability: Option<Measured>,
    /// [`Metric::Accuracy`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<Measured>,
    /// [`Metric::AccuracyNorm`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accuracy_norm: Option<Measured>,
    /// [`Metric::AccuracyBytes`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accuracy_bytes: Option<Measured>,
}

impl Metrics {
    /// Of a task's items; `scores` has one for each request of each item.
    ///
    /// # Panics
    ///
    /// Where there are not as many.
    pub fn of(task: &Task, scores: &[Vec<Score>]) -> Self {
        assert_eq!(task.items.len(), scores.len(), "a score for each item");
        let all: Vec<(&Item, &[Score])> =
            task.items.iter().zip(scores.iter().map(Vec::as_slice)).collect();
        let bits = |(item, s): &(&Item, &[Score])| {
            (-s[item.gold].log_likelihood / LN_2, item.requests[item.gold].bytes as f64)
        };
        let chosen = matches!(task.kind, Kind::Choices | Kind::Contexts | Kind::Pairs);
        let over = |of: &dyn Fn(&Item, &[Score]) -> f64| {
            let values: Vec<f64> = all.iter().map(|(item, s)| of(item, s)).collect();
            chosen.then(|| mean(&values))
        };
        let right = |of: &dyn Fn(&Item, &[Score], usize) -> f64| {
            over(&|item, s| f64::from(first_best(s.len(), |i| of(item, s, i)) == item.gold))
        };
        let ll = |s: &[Score], i: usize| s[i].log_likelihood;
        let greedy: Vec<f64> = all.iter().map(|(item, s)| f64::from(s[item.gold].greedy)).collect();
        Self {
            items: all.len(),
            ties: all.iter().filter(|(item, s)| chosen && margin(item, s).abs() < TIE).count(),
            bits_per_byte: ratio(&all.iter().map(bits).collect::<Vec<_>>()),
            margin: over(&margin),
            probability: over(&probability),
            accuracy: match task.kind {
                Kind::Continuation => Some(mean(&greedy)),
                _ => right(&|_, s, i| ll(s, i)),
            },
            accuracy_norm: right(&|item, s, i| {
                ll(s, i) / item.requests[i].choice.characters as f64
            }),
            accuracy_bytes: right(&|item, s, i| ll(s, i) / item.requests[i].choice.bytes as f64),
        }
    }

    /// One of them, where the task has it.
    pub fn get(&self, metric: Metric) -> Option<Measured> {
        match metric {
            Metric::BitsPerByte => Some(self.bits_per_byte),
            Metric::Margin => self.margin,
            Metric::Probability => self.probability,
            Metric::Accuracy => self.accuracy,
            Metric::AccuracyNorm => self.accuracy_norm,
            Metric::AccuracyBytes => self.accuracy_bytes,
        }
    }
}

/// The first of the largest, as `numpy.argmax` has it.
fn first_best(n: usize, of: impl Fn(usize) -> f64) -> usize {
    (1..n).fold(0, |best, i| if of(i) > of(best) { i } else { best })
}

/// Log-likelihood of the gold choice minus that of the best other [nats].
fn margin(item: &Item, scores: &[Score]) -> f64 {
    let others = scores.iter().enumerate().filter(|(i, _)| *i != item.gold);
    let best = others.map(|(_, s)| s.log_likelihood).fold(f64::NEG_INFINITY, f64::max);
    scores[item.gold].log_likelihood - best
}

/// Of the gold among the choices, by softmax of log-likelihood per byte of what is scored [0, 1].
fn probability(item: &Item, scores: &[Score]) -> f64 {
    let rates: Vec<f64> =
        scores.iter().zip(&item.requests).map(|(s, r)| s.log_likelihood / r.bytes as f64).collect();
    let most = rates.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = rates.iter().map(|r| (r - most).exp()).sum();
    (rates[item.gold] - most).exp() / sum
}

/// A mean with its standard error, by the sample's standard deviation as the harness does.
fn mean(values: &[f64]) -> Measured {
    ratio(&values.iter().map(|v| (*v, 1.0)).collect::<Vec<_>>())
}

/// Sum of the first over sum of the second, with the standard error of a ratio (Cochran 1977, section 2.11).
fn ratio(parts: &[(f64, f64)]) -> Measured {
    let n = parts.len() as f64;
    let (above, below) = parts.iter().fold((0.0, 0.0), |s, p| (s.0 + p.0, s.1 + p.1));
    let value = above / below;
    let squares: f64 = parts.iter().map(|(y, x)| (y - value * x).powi(2)).sum();
    let se = (parts.len() > 1).then(|| (squares * n / (n - 1.0)).sqrt() / below);
    Measured { value, se }
}

#[cfg(test)]
mod tests {
    use super::super::spec::TaskSpec;
    use super::*;

    fn task(form: &str, items: &str) -> Task {
        let spec = format!("name = \"a\"\nitems = \"a\"\n{form}");
        Task::new(&TaskSpec::parse(&spec).unwrap(), items, "a").unwrap()
    }

    fn score(log_likelihood: f64) -> Score {
        Score { log_likelihood, greedy: log_likelihood > -1.0, tokens: 1 }
    }

    fn close(measured: Option<Measured>, value: f64, se: f64) {
        let got = measured.unwrap();
        let near = |l: f64, r: f64| (l - r).abs() < 1e-12;
        assert!(near(got.value, value) && near(got.se.unwrap(), se), "{got:?} {value} {se}");
    }

    /// By hand, from the harness's formulas: argmax of lls, of lls / characters, of lls / bytes.
    #[test]
    fn each_accuracy_divides_by_its_own_length() {
        let form = "kind = \"choices\"\ncontext = \"q\"\nchoices = \"{c}\"\ngold = \"{g}\"";
        let items = "{\"c\": [\"a\", \"éééé\"], \"g\": 1}\n{\"c\": [\"a\", \"éééé\"], \"g\": 0}\n";
        let task = task(form, items);
        // By nats the first, by character (1 against 4) the second, by byte (1 against 8) the second.
        let scores = [vec![score(-2.0), score(-6.0)], vec![score(-1.0), score(-6.0)]];
        let metrics = Metrics::of(&task, &scores);
        close(metrics.accuracy, 0.5, 0.5);
        // -2 and -1.5; -1 and -1.5.
        close(metrics.accuracy_norm, 1.0, 0.0);
        // -2 and -0.75; -1 and -0.75.
        close(metrics.accuracy_bytes, 0.5, 0.5);
        close(metrics.margin, 0.5, 4.5);
        let p = |gold: f64, other: f64| 1.0 / (1.0 + (other - gold).exp());
        let (a, b) = (p(-0.75, -2.0), p(-1.0, -0.75));
        close(metrics.probability, f64::midpoint(a, b), (a - b).abs() / 2.0);
        // 6 nats in 8 bytes and 1 in 1.
        let r = 7.0 / 9.0 / LN_2;
        let residual = (6.0 / LN_2 - 8.0 * r).abs();
        close(Some(metrics.bits_per_byte), r, 2.0 * residual / 9.0);
        assert_eq!((metrics.items, metrics.ties), (2, 0));
    }

    #[test]
    fn equal_choices_are_ties_and_the_first_counts() {
        let pairs = task(
            "kind = \"pairs\"\ngood = \"{a}\"\nbad = \"{b}\"",
            "{\"a\": \"x\", \"b\": \"y\"}\n{\"a\": \"x\", \"b\": \"y\"}",
        );
        let metrics =
            Metrics::of(&pairs, &[vec![score(-3.0); 2], vec![score(-3.0), score(-2.9995)]]);
        assert_eq!((metrics.ties, metrics.accuracy.unwrap().value), (2, 0.5));
    }

    #[test]
    fn without_choices_accuracy_is_of_the_argmax_and_a_text_has_none() {
        let form = "kind = \"continuation\"\ncontext = \"q\"\ncontinuation = \"{a}\"";
        let one = task(form, "{\"a\": \"xy\"}");
        let metrics = Metrics::of(&one, &[vec![score(-0.5)]]);
        assert_eq!(metrics.accuracy, Some(Measured { value: 1.0, se: None }));
        assert_eq!(metrics.bits_per_byte.value, 0.25 / LN_2);
        assert_eq!((metrics.margin, metrics.accuracy_norm), (None, None));
        let text = task("kind = \"text\"\ntext = \"{a}\"", "{\"a\": \"xy\"}");
        assert_eq!(Metrics::of(&text, &[vec![score(-0.5)]]).accuracy, None);
    }
}
