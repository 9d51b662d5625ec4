//! A forecast beside what came of its run.

use serde::Serialize;

use super::{Forecast, MethodLoss};
use crate::predict::{Estimate, FormShare};

/// A forecast beside its run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Score {
    /// Loss that was foretold, with its prediction interval [nats/token].
    pub predicted: Estimate,
    /// Loss that came [nats/token].
    pub measured: f64,
    /// Its standard error over evaluation batches [nats/token].
    pub measured_se: f64,
    /// Predicted over measured, minus one [-].
    pub error: f64,
    /// ln(measured / predicted) in standard deviations that were predicted, as in a hold-out; `None`
    /// without any [-].
    pub z: Option<f64>,
    /// Whether the interval holds what came.
    pub inside: bool,
    /// Every method with a loss surface.
    pub methods: Vec<Claim>,
    /// Every other form of law.
    pub laws: Vec<Claim>,
}

/// One more prediction of the same run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Claim {
    /// Method or law.
    pub by: String,
    /// Loss [nats/token].
    pub predicted: f64,
    /// Predicted over measured, minus one [-].
    pub error: f64,
    /// The form of law that it is in the average of the forecast; nothing where it is not in it.
    pub speaks_for: Option<String>,
    /// What that form counts in the average [0, 1].
    pub weight: Option<f64>,
}

impl Forecast {
    /// The method whose surface speaks for a form in the average, where the form's own fit among the laws is another:
    /// so it was in forecasts of old, whose Chinchilla is there twice.
    fn speaker(&self, form: &FormShare) -> Option<&MethodLoss> {
        let same = |loss: f64| (loss / form.loss - 1.0).abs() < 1e-9;
        let own = self.laws.iter().find(|law| law.law == form.law)?;
        self.methods.iter().find(|m| same(m.loss.value)).filter(|_| !same(own.loss))
    }

    /// Whether its forms were weighed by AICc, as by the isoflop that let one method answer for N* and D*; since then a
    /// form counts by how well it predicts the larger runs from the smaller.
    pub fn weighed_by_evidence(&self) -> bool {
        !self.forms.is_empty() && self.methods.iter().any(|m| m.method == self.method)
    }

    /// Holds the forecast against what was measured [nats/token].
    pub fn score(&self, measured: f64, measured_se: f64) -> Score {
        let error = |predicted: f64| predicted / measured - 1.0;
        let by = |name: &str, predicted: f64, speaks_for: Option<&FormShare>| Claim {
            by: name.to_owned(),
            predicted,
            error: error(predicted),
            speaks_for: speaks_for.map(|form| form.law.clone()),
            weight: speaks_for.map(|form| form.weight),
        };
        let methods = self.methods.iter().map(|m| {
            let form = self.forms.iter().find(|form| self.speaker(form) == Some(m));
            by(&m.method, m.loss.value, form)
        });
        let laws = self.laws.iter().map(|l| {
            let form = self.forms.iter().find(|form| form.law == l.law);
            by(&l.law, l.loss, form.filter(|form| self.speaker(form).is_none()))
        });
        let z = (measured / self.loss.value).ln() / self.sd;
        Score {
            predicted: self.loss,
            measured,
            measured_se,
            error: error(self.loss.value),
            z: z.is_finite().then_some(z),
            inside: (self.loss.lo..=self.loss.hi).contains(&measured),
            methods: methods.collect(),
            laws: laws.collect(),
        }
    }
}

/// What came of a forecast.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// It was run, and is genuine.
    Scored(Score),
    /// Its run has not ended with a loss; why, as a person reads it.
    Open(String),
    /// It does not count; why.
    Void(String),
}

impl Outcome {
    /// The score, where there is one.
    pub fn score(&self) -> Option<&Score> {
        match self {
            Self::Scored(score) => Some(score),
            Self::Open(_) | Self::Void(_) => None,
        }
    }
}

/// One line of a scorecard.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Name of the file.
    pub file: String,
    /// Its content, where that can be believed.
    pub forecast: Option<Forecast>,
    /// What came of it.
    pub outcome: Outcome,
}

#[cfg(test)]
mod tests {
    use super::super::tests::forecast;
    use super::*;
    use crate::predict::LawLoss;

    /// As the published forecast: Chinchilla's form answers with the surface of lse-huber, and was fitted for itself too.
    #[test]
    fn what_a_form_counts_stands_with_the_prediction_that_is_in_the_average() {
        let share = |law: &str, weight, loss| FormShare { law: law.into(), weight, loss };
        let mut f = forecast();
        f.forms = vec![share("kaplan", 0.7, 2.5), share("chinchilla", 0.3, 2.0)];
        f.laws.push(LawLoss { law: "chinchilla".into(), loss: 2.1 });
        let told = |f: &Forecast| {
            let score = f.score(2.5, 0.01);
            let all = score.methods.into_iter().chain(score.laws);
            all.map(|s| (s.by, s.speaks_for.unwrap_or_default(), s.weight)).collect::<Vec<_>>()
        };
        let said = |by: &str, of: &str, weight| (by.to_owned(), of.to_owned(), weight);
        assert_eq!(
            told(&f),
            [
                said("lse-huber", "chinchilla", Some(0.3)),
                said("varpro", "", None),
                said("kaplan", "kaplan", Some(0.7)),
                said("chinchilla", "", None),
            ]
        );
        assert!(f.weighed_by_evidence());
        // Since then the law answers with that surface among the laws too, and the average has a name.
        f.laws[1].loss = 2.0;
        f.method = "average of 2 forms".into();
        assert_eq!(told(&f)[0], said("lse-huber", "", None));
        assert_eq!(told(&f)[3], said("chinchilla", "chinchilla", Some(0.3)));
        assert!(!f.weighed_by_evidence() && !forecast().weighed_by_evidence());
    }

    /// By hand: 2.0 foretold, 2.5 measured: 20% too low; ln 1.25 = 0.223143551 is 4.46287103 times 0.05.
    #[test]
    fn a_score_is_the_arithmetic_of_the_two_losses() {
        let score = forecast().score(2.5, 0.01);
        let near = |got: f64, want: f64| assert!((got - want).abs() < 1e-8, "{got} {want}");
        near(score.error, -0.2);
        near(score.z.unwrap(), 4.462_871_03);
        assert!(!score.inside);
        near(score.methods[1].error, 0.1);
        near(score.laws[0].error, 0.0);
        let names: Vec<&str> = score.methods.iter().map(|m| m.by.as_str()).collect();
        assert_eq!(names, ["lse-huber", "varpro"]);
        for (measured, inside) in [(1.899, false), (1.9, true), (2.1, true), (2.101, false)] {
            assert_eq!(forecast().score(measured, 0.0).inside, inside, "{measured}");
        }
        let sure = Forecast { sd: 0.0, ..forecast() };
        assert_eq!(sure.score(2.5, 0.0).z, None);
    }
}
