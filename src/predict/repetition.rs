//! What a run is worth that sees some of its tokens again, and what the repetition costs it.
//!
//! Repeated tokens, and parameters beyond what the distinct tokens feed, count for less and less
//! (Muennighoff et al. 2023, arXiv:2305.16264, eq. 5 and 6):
//!
//! ```text
//! D' = U   + U   R_D* (1 - exp(-(D/U - 1) / R_D*))      where D > U, else D
//! N' = U_N + U_N R_N* (1 - exp(-(N/U_N - 1) / R_N*))    where N > U_N, else N
//! L  = L(N', D')                                        by every form
//! ```
//!
//! U_N is the size for which U tokens are compute-optimal under the average. The laws are those of fresh tokens.
//! The two constants of decay are the table's own where its law of repetition was fitted and determines them; each
//! draw of a form is then asked with a draw of them, so that every interval holds their error too. Otherwise they
//! are the published ones, or those that the asker gives, which are in no interval: borrowed, since their runs had
//! other data, another tokenizer and another regularisation.
//!
//! DIFFERENCE: the paper takes for U the distinct tokens a run uses; here it is those that exist, also for
//! a run that does not reach the end of them. Both agree wherever D >= U, and this way the loss has no
//! jump at D = U.
//!
//! Limits: the loss of this law never rises with D or N, and that of a run that over-fits does.

use serde::{Deserialize, Serialize};

use super::average::{Average, Averaged};
use super::belief::{Belief, lowest};
use super::{Estimate, PredictError, not_below_zero, positive};
use crate::fit::numeric::stats;
use crate::fit::{Analysis, Code, Compute, LawFit, PUBLISHED, Warning, epochs, worth};

/// Up to here repeated tokens were found to be worth almost as much as new ones (Muennighoff et al. 2023,
/// abstract) [epochs].
const HARMLESS: f64 = 4.0;

/// From here on the runs of Muennighoff et al. 2023 over-fit, which no law here knows of: in a backtest on them the
/// intervals of 90% held 95% of the runs of 1 to 16 epochs, and 43% of those beyond [epochs].
const OVERFITS: f64 = 16.0;

/// How far the best size on limited data is looked for from that on unlimited, as ln.
const ASIDE: f64 = 8.0;

/// How fast repetition loses its worth.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Repetition {
    /// R_D*: repetitions after which a repeated token has lost 1 - 1/e of its worth [epochs].
    pub tokens: f64,
    /// R_N*: the same for parameters beyond U_N, in multiples of U_N [-].
    pub params: f64,
    /// Where the two come from.
    pub source: RepetitionSource,
    /// Interval of R_D*; nothing where it is borrowed or given, and without draws [epochs].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_interval: Option<[f64; 2]>,
    /// Interval of R_N* [-].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub params_interval: Option<[f64; 2]>,
}

/// Whose constants of decay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RepetitionSource {
    /// The runs that were fitted.
    Fitted,
    /// Muennighoff et al. 2023, fitted to C4.
    Published,
    /// The asker's.
    Given,
}

impl Repetition {
    /// Muennighoff et al. 2023, as in their repository (datablations, README).
    pub const PUBLISHED: Self = Self::of(PUBLISHED[0], PUBLISHED[1], RepetitionSource::Published);

    /// The asker's R_D* and R_N*.
    pub const fn given(tokens: f64, params: f64) -> Self {
        Self::of(tokens, params, RepetitionSource::Given)
    }

    const fn of(tokens: f64, params: f64, source: RepetitionSource) -> Self {
        Self { tokens, params, source, tokens_interval: None, params_interval: None }
    }

    /// The table's own where they are determined, else the published.
    pub fn known(analysis: &Analysis) -> Self {
        let Some((law, [tokens, params])) = own(analysis) else { return Self::PUBLISHED };
        let level = analysis.fits.first().map_or(0.9, |fit| fit.level);
        let interval = |of: fn(&(f64, f64)) -> f64, value: f64| {
            let drawn: Vec<f64> = drawn(law).iter().map(of).collect();
            stats::interval_about(value, &drawn, level)
        };
        Self {
            tokens_interval: interval(|d| d.0, tokens),
            params_interval: interval(|d| d.1, params),
            ..Self::of(tokens, params, RepetitionSource::Fitted)
        }
    }
}

/// The table's own law of repetition, and the decays that it determines.
fn own(analysis: &Analysis) -> Option<(&LawFit, [f64; 2])> {
    let law = analysis.laws.iter().find(|l| l.law == "repetition")?;
    Some((law, law.decays().ok()?))
}

/// R_D* and R_N* of its draws: the last two of its values.
fn drawn(law: &LawFit) -> Vec<(f64, f64)> {
    let two = |v: &Vec<f64>| match v[..] {
        [.., tokens, params] => Some((tokens, params)),
        _ => None,
    };
    law.draws.iter().filter_map(two).collect()
}

/// A corpus: what exists of it, and how fast its repetition loses worth.
pub(super) struct Corpus {
    pub(super) unique: f64,
    pub(super) repetition: Repetition,
    draws: Vec<(f64, f64)>,
    /// Most epochs of a run that the decays were fitted to.
    seen: f64,
}

impl Corpus {
    pub(super) fn new(
        analysis: &Analysis,
        unique: f64,
        repetition: &Repetition,
    ) -> Result<Self, PredictError> {
        positive("the number of distinct tokens", "tokens", unique)?;
        positive("R_D*", "epochs", repetition.tokens)?;
        positive("R_N*", "multiples", repetition.params)?;
        let law = own(analysis).filter(|_| repetition.source == RepetitionSource::Fitted);
        let runs = analysis.points.iter().chain(&analysis.repeated);
        Ok(Self {
            unique,
            repetition: *repetition,
            draws: law.map_or_else(Vec::new, |(law, _)| drawn(law)),
            seen: runs.map(epochs).fold(1.0, f64::max),
        })
    }

    /// R_D* and R_N*, of a draw where there are any.
    fn decays(&self, draw: Option<usize>) -> (f64, f64) {
        let drawn = draw.filter(|_| !self.draws.is_empty());
        drawn.map_or((self.repetition.tokens, self.repetition.params), |i| {
            self.draws[i % self.draws.len()]
        })
    }

    /// ln N' and ln D' of a run (ln N, ln D). `fed`: U_N. A run that repeats nothing is worth what it is, whatever its
    /// size: the laws of fresh tokens know what too many parameters cost.
    pub(super) fn worth(
        &self,
        (ln_n, ln_d): (f64, f64),
        fed: f64,
        draw: Option<usize>,
    ) -> (f64, f64) {
        if ln_d <= self.unique.ln() {
            return (ln_n, ln_d);
        }
        let (tokens, params) = self.decays(draw);
        (worth(ln_n.exp(), fed, params).ln(), worth(ln_d.exp(), self.unique, tokens).ln())
    }

    /// ln L of a run of (ln N, ln D) on this corpus.
    pub(super) fn ln_loss(
        &self,
        law: &dyn Belief,
        run: (f64, f64),
        fed: f64,
        draw: Option<usize>,
    ) -> f64 {
        let (ln_n, ln_d) = self.worth(run, fed, draw);
        law.ln_loss(ln_n, ln_d)
    }

    /// U_N: the size for which the distinct tokens are compute-optimal. `near`: the best run (ln C, ln N).
    pub(super) fn fed(&self, law: &dyn Belief, compute: &Compute, near: (f64, f64)) -> Option<f64> {
        let ln_c = law.fed(compute, self.unique.ln(), near)?;
        let ln_n = law.optimum(compute, ln_c, near.1 + 0.5 * (ln_c - near.0))?;
        Some(ln_n.exp())
    }

    /// ln N of the best run on this corpus at compute C, `best` being that on unlimited data.
    pub(super) fn best(
        &self,
        law: &dyn Belief,
        compute: &Compute,
        (ln_c, best): (f64, f64),
        fed: f64,
        draw: Option<usize>,
    ) -> Option<f64> {
        let tokens = |ln_n: f64| ln_c - compute.log_per_token(ln_n).0;
        if tokens(best) <= self.unique.ln() {
            return Some(best);
        }
        let at = |ln_n: f64| self.ln_loss(law, (ln_n, tokens(ln_n)), fed, draw);
        lowest(&at, best - ASIDE, best + ASIDE)
    }

    /// What to know of an answer of so many epochs.
    pub(super) fn warnings_at(&self, epochs: f64) -> Vec<Warning> {
        let mut out = Vec::new();
        match self.repetition.source {
            RepetitionSource::Published if epochs > HARMLESS => {
                let text = format!(
                    "{epochs:.1} epochs: beyond about {HARMLESS} repeated tokens lose much of their worth, and how \
                     fast is borrowed from other runs (Muennighoff et al. 2023), not measured on yours"
                );
                out.push(Warning::new(Code::BorrowedRepetition, text));
            }
            RepetitionSource::Fitted if epochs > 1.01 * self.seen => {
                let text = format!(
                    "{epochs:.1} epochs, and the runs that the decays were fitted to have at most {:.1}",
                    self.seen
                );
                out.push(Warning::new(Code::RepeatsTokens, text));
            }
            _ => {}
        }
        if epochs > OVERFITS {
            let text = format!(
                "{epochs:.1} epochs: beyond about {OVERFITS} runs over-fit, a large model first, and the loss rises \
                 again; no law here knows of that: on the runs of Muennighoff et al. (2023) the 90% intervals held \
                 43% of such runs"
            );
            out.push(Warning::new(Code::RepeatsTokens, text));
        }
        out
    }
}

/// A run that sees some of its tokens more than once: what that costs it, and the best run on as many.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Repeated {
    /// Distinct tokens U that exist [tokens].
    pub unique_tokens: f64,
    /// D/U [epochs].
    pub epochs: f64,
    /// What was assumed of repetition.
    pub repetition: Repetition,
    /// Loss of the run on these tokens: a prediction interval for one run [nats/token].
    pub loss: Estimate,
    /// Loss of the same run on fresh tokens: a prediction interval likewise [nats/token].
    pub fresh: Estimate,
    /// The one less the other: the interval is of the difference, without a run's scatter [nats/token].
    pub price: Estimate,
    /// The best run of the same compute on these tokens.
    pub best: BestRepeated,
}

/// The best run of a compute on so many distinct tokens, by the average.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct BestRepeated {
    /// N [parameters].
    pub params: f64,
    /// D [tokens].
    pub tokens: f64,
    /// D/U [epochs].
    pub epochs: f64,
    /// Its loss [nats/token].
    pub loss: f64,
}

/// What a run (ln N, ln D) comes to on a corpus, and its loss there as an average.
pub(super) fn repeated(
    average: &Average<'_>,
    corpus: &Corpus,
    run @ (ln_n, ln_d): (f64, f64),
) -> Option<(Repeated, Averaged)> {
    let compute = average.compute();
    let ln_c = compute.log_per_token(ln_n).0 + ln_d;
    let near = (ln_c, average.best(ln_c)?);
    // Parameters are worth what the average holds, for every form: the value is then that of the average.
    let fed = corpus.fed(average, compute, near)?;
    let on = |law: &dyn Belief, draw: Option<usize>| corpus.ln_loss(law, run, fed, draw);
    let worth = corpus.worth(run, fed, None);
    let loss = average.loss_by(run, worth, |law, draw| Some(on(law, draw)))?;
    let fresh = average.loss(ln_n.exp(), ln_d.exp())?.loss;
    let rise = |law: &dyn Belief, draw: usize| {
        let rise = on(law, Some(draw)).exp() - law.ln_loss(ln_n, ln_d).exp();
        rise.is_finite().then_some(rise.max(0.0))
    };
    let value = not_below_zero(loss.loss.value - fresh.value);
    let price = average.between(value, &average.drawn_by(rise))?;
    let best = corpus.best(average, compute, near, fed, None)?;
    let tokens = ln_c - compute.log_per_token(best).0;
    let best = BestRepeated {
        params: best.exp(),
        tokens: tokens.exp(),
        epochs: tokens.exp() / corpus.unique,
        loss: corpus.ln_loss(average, (best, tokens), fed, None).exp(),
    };
    let told = Repeated {
        unique_tokens: corpus.unique,
        epochs: ln_d.exp() / corpus.unique,
        repetition: corpus.repetition,
        loss: loss.loss,
        fresh,
        price,
        best,
    };
    Some((told, loss))
}

/// What a run of (ln N, ln D) comes to on the corpus that the study knows, where it repeats that.
pub(super) fn on_known(average: &Average<'_>, (ln_n, ln_d): (f64, f64)) -> Option<Repeated> {
    let analysis = average.lead.analysis;
    let unique = analysis.corpus.filter(|unique| ln_d.exp() > crate::fit::ONCE * unique)?;
    let corpus = Corpus::new(analysis, unique, &Repetition::known(analysis)).ok()?;
    Some(repeated(average, &corpus, (ln_n, ln_d))?.0)
}

#[cfg(test)]
mod tests {
    use super::super::{at_flops, chosen, limited, repeating, sample};
    use super::*;
    use crate::fit::{Averaging, FormWeight};

    /// Chinchilla's form alone: what a formula can be held against.
    fn of_one_form(bootstrap: usize) -> Analysis {
        let mut analysis = sample::analysis(bootstrap);
        let form =
            FormWeight { law: "chinchilla".into(), weight: 1.0, error: None, sd_ahead: None };
        analysis.averaging = Some(Averaging { forms: vec![form], discrepancy: 0.0, cuts: 0 });
        analysis
    }

    /// The same with a law of repetition of its own, whose draws differ by a factor `spread` up and down.
    fn with_own(mut analysis: Analysis, decays: [f64; 2], spread: f64) -> Analysis {
        let mut law = analysis.laws[0].clone();
        law.law = "repetition".into();
        law.k = 7;
        for (name, value) in [("R_D*", decays[0]), ("R_N*", decays[1])] {
            law.params.push(crate::fit::LawValue {
                name: name.into(),
                value,
                unit: "-".into(),
                sd: Some(0.1 * value),
            });
        }
        law.certificate.at_bound.clear();
        law.draws = (0..60)
            .map(|i| {
                let factor = spread.powf(f64::from(i) / 29.5 - 1.0);
                let mut values = law.params.iter().map(|p| p.value).collect::<Vec<_>>();
                values[5] *= factor;
                values
            })
            .collect();
        analysis.laws.push(law);
        analysis
    }

    /// The published decay of excess parameters holds for tokens that repeat: a run that has none pays nothing.
    #[test]
    fn a_run_that_repeats_nothing_has_the_loss_of_fresh_tokens() {
        let analysis = sample::analysis(0);
        let (n, d) = (8e9, 1e11);
        for unique in [d, 2.0 * d] {
            let run = chosen(&analysis, n, d).unwrap();
            let p = repeating(&analysis, run.clone(), unique, &Repetition::PUBLISHED).unwrap();
            assert_eq!(p.repeated.unwrap().price.value, 0.0);
            assert!((p.loss.value / run.loss.value - 1.0).abs() < 1e-12);
            assert!((p.regret.value - run.regret.value).abs() < 1e-9);
        }
    }

    /// By hand: a model that its distinct tokens feed (N < U_N) on 4 epochs of 10B is worth 37.257B fresh ones.
    #[test]
    fn a_run_on_repeated_tokens_has_the_loss_of_what_they_are_worth() {
        let analysis = of_one_form(0);
        let (n, d, u) = (2e8, 4e10, 1e10);
        let run = || chosen(&analysis, n, d).unwrap();
        let p = repeating(&analysis, run(), u, &Repetition::PUBLISHED).unwrap();
        let r = p.repeated.clone().unwrap();
        let (on_them, fresh) = (sample::EPOCH.loss(n, 3.725_68e10), sample::EPOCH.loss(n, d));
        assert!((r.loss.value / on_them - 1.0).abs() < 1e-6, "{r:?} {on_them}");
        assert!((r.fresh.value / fresh - 1.0).abs() < 1e-6 && (r.epochs / 4.0 - 1.0).abs() < 1e-12);
        assert!((r.price.value - (on_them - fresh)).abs() < 1e-5, "{r:?}");
        assert_eq!(p.loss, r.loss);
        assert!(p.regret.value > run().regret.value && p.deadweight.value > run().deadweight.value);
        // The best run of the same compute on them is that of the other question.
        let best = limited(&analysis, p.flops, u, &Repetition::PUBLISHED).unwrap();
        assert!((r.best.params / best.params.value - 1.0).abs() < 1e-6, "{r:?} {best:?}");
        assert!((r.best.loss / best.loss.value - 1.0).abs() < 1e-9 && r.best.loss <= r.loss.value);
        // As many as are needed: nothing is repeated.
        let plenty = repeating(&analysis, run(), 2.0 * d, &Repetition::PUBLISHED).unwrap();
        assert_eq!((plenty.loss, plenty.regret), (run().loss, run().regret));
        assert_eq!(plenty.repeated.unwrap().price.value, 0.0);
        assert!(repeating(&analysis, run(), 0.0, &Repetition::PUBLISHED).is_err());
    }

    #[test]
    fn the_tables_own_decays_are_taken_and_their_error_is_in_the_interval() {
        let known = Repetition::known(&of_one_form(60));
        assert_eq!(known, Repetition::PUBLISHED);
        let analysis = with_own(of_one_form(60), [8.0, 4.0], 3.0);
        let own = Repetition::known(&analysis);
        assert_eq!((own.tokens, own.params, own.source), (8.0, 4.0, RepetitionSource::Fitted));
        let [lo, hi] = own.tokens_interval.unwrap();
        assert!(lo < 4.0 && hi > 16.0, "{own:?}");
        let (n, d, u) = (2e8, 2e11, 1e10);
        let on = |law: &Repetition| {
            repeating(&analysis, chosen(&analysis, n, d).unwrap(), u, law)
                .unwrap()
                .repeated
                .unwrap()
        };
        let (fitted, given) = (on(&own), on(&Repetition::given(8.0, 4.0)));
        assert!((fitted.loss.value / given.loss.value - 1.0).abs() < 1e-12);
        let width = |e: Estimate| e.hi - e.lo;
        assert!(width(fitted.price) > 2.0 * width(given.price), "{fitted:?} {given:?}");
        assert!(width(fitted.loss) > width(given.loss));
        // Ends of R_D*, by hand: 20 epochs at 8/3 and at 24.
        let price =
            |decay: f64| sample::EPOCH.loss(n, u * (1.0 + decay * (1.0 - (-19.0 / decay).exp())));
        let rise = price(8.0 / 3.0) - price(24.0);
        assert!((0.6..1.1).contains(&(width(fitted.price) / rise)), "{fitted:?} {rise}");
        let limit = |law: &Repetition| limited(&analysis, 1e21, 1e9, law).unwrap().epochs;
        assert!(width(limit(&own)) > width(limit(&Repetition::given(8.0, 4.0))));
        // Decays that the runs leave open are nobody's.
        let mut open = analysis;
        open.laws.last_mut().unwrap().params[5].sd = Some(40.0);
        assert_eq!(Repetition::known(&open), Repetition::PUBLISHED);
    }

    #[test]
    fn a_budget_beyond_the_known_corpus_says_its_price() {
        let mut analysis = of_one_form(60);
        let free = at_flops(&analysis, 1e22).unwrap();
        assert!(free.repeated.is_none());
        analysis.corpus = Some(free.tokens.value / 8.0);
        let p = at_flops(&analysis, 1e22).unwrap();
        assert_eq!((p.loss, p.params), (free.loss, free.params));
        let r = p.repeated.unwrap();
        assert!(
            (r.epochs - 8.0).abs() < 1e-9 && r.price.value > 0.0 && r.price.lo <= r.price.value
        );
        assert!((r.loss.value - r.fresh.value - r.price.value).abs() < 1e-12);
        let best = limited(&analysis, 1e22, r.unique_tokens, &Repetition::PUBLISHED).unwrap();
        assert!((r.best.params / best.params.value - 1.0).abs() < 1e-6);
        assert!(r.best.loss < r.loss.value && r.best.params < p.params.value);
        assert!(
            p.warnings
                .iter()
                .any(|w| w.code == Code::RepeatsTokens && w.text.contains("8.000 epochs"))
        );
        // A settled run likewise, on fresh tokens unless it is asked on others.
        let run = chosen(&analysis, 1e9, free.tokens.value).unwrap();
        assert!(run.repeated.is_none());
        assert!(run.warnings.iter().any(|w| w.code == Code::RepeatsTokens), "{:?}", run.warnings);
        analysis.corpus = Some(1.1 * free.tokens.value);
        assert!(at_flops(&analysis, 1e22).unwrap().repeated.is_none());
    }
}
