//! A run somebody has settled on: its loss, and what it wastes against the compute-optimal run.
//!
//! Two of N, D and C settle the third, by C = c(N) D.

use serde::{Deserialize, Serialize};

use super::average::Average;
use super::belief::Belief;
use super::optimum::{no_form, scarce, wasted};
use super::repetition::{self, Corpus, Repeated, Repetition};
use super::{Cost, Estimate, Fixed, FormShare, PredictError, Run, not_below_zero, positive};
use crate::fit::{Analysis, Code, Compute, Warning, bisect};

/// One run, wherever it lies.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Chosen {
    /// N [parameters].
    pub params: f64,
    /// D [tokens].
    pub tokens: f64,
    /// Training compute C [FLOP].
    pub flops: f64,
    /// D/N [tokens/parameter].
    pub tokens_per_param: f64,
    /// Loss of that run, averaged over the forms of law: a prediction interval (form, parameters and
    /// residual noise) [nats/token].
    pub loss: Estimate,
    /// Standard deviation of ln L that goes with it [-].
    pub sd: f64,
    /// The forms that it is averaged over, the weightiest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forms: Vec<FormShare>,
    /// Loss over that of the compute-optimal run of the same compute, minus one [-].
    pub regret: Estimate,
    /// Compute wasted, as a share of C [-]: the optimal run reaches the same loss with that much less.
    pub deadweight: Estimate,
    /// The compute-optimal run of the same compute, on fresh tokens.
    pub optimal: Run,
    /// What it is on so many distinct tokens, where that was asked for: `loss`, `regret` and `deadweight` are then
    /// those of the run that repeats. Nothing for fresh tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeated: Option<Repeated>,
    /// Level of every interval [0, 1].
    pub level: f64,
    /// Who answers: `average of 5 forms`, or the only form.
    pub method: String,
    /// C over the largest compute that was fitted [-].
    pub extrapolation: f64,
    /// Time and money on the device that was named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<Cost>,
    /// What a reader must know before believing the numbers.
    pub warnings: Vec<Warning>,
}

/// The run of `params` [parameters] on `tokens` [tokens].
///
/// Regret and waste are read in each bootstrap draw against that draw's own optimum.
///
/// # Errors
///
/// [`PredictError`]: a value out of range, or no loss surface.
pub fn chosen(analysis: &Analysis, params: f64, tokens: f64) -> Result<Chosen, PredictError> {
    let (_, unit, _) = Fixed::Params(params).words();
    positive("model size", unit, params)?;
    positive("the number of training tokens", "tokens", tokens)?;
    let average = Average::of(analysis)?;
    let (lead, compute) = (&average.lead, &analysis.compute);
    let flops = positive("compute", "FLOP", compute.per_token(params) * tokens)?;
    let no_optimum = || lead.no_optimum(Fixed::Flops(flops));
    let (ln_n, ln_d, ln_c) = (params.ln(), tokens.ln(), flops.ln());
    let best = average.best(ln_c).ok_or_else(no_optimum)?;
    let waste = |law: &dyn Belief| {
        let equivalent = law.reaching(compute, law.ln_loss(ln_n, ln_d), (ln_c, best))?;
        Some(wasted(equivalent, ln_c))
    };
    let regret = |law: &dyn Belief| {
        let best = law.optimum(compute, ln_c, best)?;
        let least = law.ln_loss(best, ln_c - compute.log_per_token(best).0);
        // Rounding may put a run of the path a hair below it.
        Some(not_below_zero((law.ln_loss(ln_n, ln_d) - least).exp_m1()))
    };
    let mut warnings = lead.warnings_at(flops);
    warnings.extend(no_form(&average, params, tokens));
    warnings.extend(lead.unusual_ratio(tokens / params));
    let repeated = repetition::on_known(&average, (ln_n, ln_d));
    warnings.extend(repeated.map(|r| scarce(&r, "D", analysis.convention.loss_unit())));
    let averaged = average.loss(params, tokens).ok_or_else(no_optimum)?;
    warnings.extend(lead.implausible(averaged.loss.value));
    let method = average.name_of(&averaged.forms);
    Ok(Chosen {
        params,
        tokens,
        flops,
        tokens_per_param: tokens / params,
        loss: averaged.loss,
        sd: averaged.sd,
        forms: averaged.forms,
        regret: average.estimate(regret).ok_or_else(no_optimum)?,
        deadweight: average.estimate(waste).ok_or_else(no_optimum)?,
        optimal: Run {
            params: best.exp(),
            tokens: (ln_c - compute.log_per_token(best).0).exp(),
            flops,
        },
        repeated: None,
        level: lead.level(),
        method,
        extrapolation: lead.extrapolation(flops),
        cost: None,
        warnings,
    })
}

/// A model of `params` trained with compute `flops`: D = C / c(N).
///
/// # Errors
///
/// As [`chosen`].
pub fn chosen_params(analysis: &Analysis, flops: f64, params: f64) -> Result<Chosen, PredictError> {
    positive("compute", "FLOP", flops)?;
    positive("model size", "parameters", params)?;
    chosen(analysis, params, flops / analysis.compute.per_token(params))
}

/// A model that sees `tokens` with compute `flops`: the N of c(N) = C / D.
///
/// # Errors
///
/// As [`chosen`].
pub fn chosen_tokens(analysis: &Analysis, flops: f64, tokens: f64) -> Result<Chosen, PredictError> {
    positive("compute", "FLOP", flops)?;
    positive("the number of training tokens", "tokens", tokens)?;
    let closed = flops / (6.0 * tokens);
    let params = match &analysis.compute {
        Compute::SixNd => closed,
        compute @ Compute::Attention { .. } => {
            let ln = (flops / tokens).ln();
            bisect(|n| compute.log_per_token(n).0 - ln, closed.ln()).map_or(f64::NAN, f64::exp)
        }
    };
    chosen(analysis, params, tokens)
}

/// A settled run on a corpus of `unique` [tokens]: its loss and what it wastes are then those of the run that
/// repeats what is not there.
///
/// # Errors
///
/// [`PredictError`]: a value out of range, or no loss surface.
pub fn repeating(
    analysis: &Analysis,
    chosen: Chosen,
    unique: f64,
    law: &Repetition,
) -> Result<Chosen, PredictError> {
    let corpus = Corpus::new(analysis, unique, law)?;
    let average = Average::of(analysis)?;
    let no_optimum = || average.lead.no_optimum(Fixed::Flops(chosen.flops));
    let (run, ln_c) = ((chosen.params.ln(), chosen.tokens.ln()), chosen.flops.ln());
    let best = average.best(ln_c).ok_or_else(no_optimum)?;
    let compute = &analysis.compute;
    let fed = corpus.fed(&average, compute, (ln_c, best)).ok_or_else(no_optimum)?;
    let (told, averaged) = repetition::repeated(&average, &corpus, run).ok_or_else(no_optimum)?;
    let waste = |law: &dyn Belief, draw: Option<usize>| {
        let reached = corpus.ln_loss(law, run, fed, draw);
        Some(wasted(law.reaching(compute, reached, (ln_c, best))?, ln_c))
    };
    let regret = |law: &dyn Belief, draw: Option<usize>| {
        let best = law.optimum(compute, ln_c, best)?;
        let least = law.ln_loss(best, ln_c - compute.log_per_token(best).0);
        Some(not_below_zero((corpus.ln_loss(law, run, fed, draw) - least).exp_m1()))
    };
    let mut warnings = chosen.warnings;
    // What a run on a known corpus would be is now answered.
    warnings.retain(|w| w.code != Code::RepeatsTokens);
    warnings.extend(corpus.warnings_at(told.epochs));
    Ok(Chosen {
        loss: averaged.loss,
        sd: averaged.sd,
        forms: averaged.forms,
        regret: average.estimate_by(regret).ok_or_else(no_optimum)?,
        deadweight: average.estimate_by(waste).ok_or_else(no_optimum)?,
        repeated: Some(told),
        warnings,
        ..chosen
    })
}

#[cfg(test)]
mod tests {
    use super::super::{at_flops, sample};
    use super::*;
    use crate::fit::Code;

    #[test]
    fn the_optimal_run_wastes_nothing_and_any_two_of_n_d_and_c_name_it() {
        for compute in [Compute::SixNd, sample::ATTENTION] {
            let analysis = Analysis { compute, ..sample::analysis(60) };
            let p = at_flops(&analysis, 1e21).unwrap();
            let (n, d) = (p.params.value, p.tokens.value);
            for c in [
                chosen(&analysis, n, d).unwrap(),
                chosen_params(&analysis, 1e21, n).unwrap(),
                chosen_tokens(&analysis, 1e21, d).unwrap(),
            ] {
                for (got, want) in [(c.params, n), (c.tokens, d), (c.flops, 1e21)] {
                    assert!((got / want - 1.0).abs() < 1e-10, "{got} {want}");
                }
                assert!(c.deadweight.value < 1e-8 && c.regret.value < 1e-9, "{c:?}");
                // In the draws it is some other run that is optimal.
                assert!(c.deadweight.hi > p.deadweight.unwrap().median, "{c:?}");
                let ends = |e: Estimate| [e.value, e.lo, e.hi];
                for (got, want) in ends(c.loss).into_iter().zip(ends(p.loss)) {
                    assert!((got / want - 1.0).abs() < 1e-9);
                }
                assert!(c.warnings.is_empty(), "{:?}", c.warnings);
            }
        }
    }

    /// Half of N* at the same compute: the same numbers as beside the recommendation.
    #[test]
    fn half_the_size_costs_what_the_curve_says() {
        let analysis = sample::analysis(60);
        let p = at_flops(&analysis, 1e21).unwrap();
        let c = chosen_params(&analysis, 1e21, 0.5 * p.params.value).unwrap();
        assert!((c.regret.value / p.regret_half.unwrap() - 1.0).abs() < 1e-6);
        assert!((c.deadweight.value / p.deadweight_half.unwrap().value - 1.0).abs() < 1e-6);
        assert!((c.optimal.params / p.params.value - 1.0).abs() < 1e-9);
    }

    #[test]
    fn a_ratio_that_no_run_has_tried_is_warned_of_on_either_side() {
        let analysis = sample::analysis(0);
        let code = |n: f64, d: f64| {
            let c = chosen(&analysis, n, d).unwrap();
            c.warnings.iter().filter(|w| w.code == Code::RatioBeyondRuns).count()
        };
        assert_eq!((code(1e9, 2e10), code(1e8, 2e12), code(1e10, 1e10)), (0, 1, 1));
        let error = chosen(&analysis, 1e9, f64::INFINITY).unwrap_err();
        assert!(error.to_string().contains("training tokens is `inf`"), "{error}");
        assert!(chosen_tokens(&analysis, 1e-300, 1e300).is_err());
        assert!(chosen(&analysis, 1e200, 1e200).is_err());
    }

    /// By hand: the law gives 10.2 nats/token at a million parameters and 20 million tokens, far above the runs.
    #[test]
    fn a_loss_that_no_trained_model_has_is_warned_of() {
        let codes = |uniform_loss: Option<f64>| -> Vec<Code> {
            let analysis = Analysis { uniform_loss, ..sample::analysis(0) };
            let chosen = chosen(&analysis, 1e6, 2e7).unwrap();
            chosen.warnings.iter().map(|w| w.code).collect()
        };
        assert!(codes(Some(10.0)).contains(&Code::LossAboveGuess));
        for guess in [None, Some(10.8)] {
            assert!(!codes(guess).contains(&Code::LossAboveGuess));
            assert!(codes(guess).contains(&Code::LossAboveRuns));
        }
    }
}
