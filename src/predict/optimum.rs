//! The compute-optimal run at a compute: N*, D*, D*/N* and the loss, and what a wrong size costs.
//!
//! The loss is flat in N around N*, so its size is known less well than its loss. What that is worth is
//! said in two units: loss at half and at twice N*, and deadweight compute loss (DCL; arXiv:2603.22339),
//! the share of the compute that a better choice would have saved.

use serde::{Deserialize, Serialize};

use super::average::Average;
use super::belief::Belief;
use super::estimator::silent;
use super::method::{self, MethodPrediction};
use super::repetition::{self, Repeated};
use super::{Cost, Estimate, Fixed, FormShare, PredictError, not_below_zero, positive};
use crate::fit::numeric::stats;
use crate::fit::{Analysis, Code, Warning};
use crate::units::count;

/// Compute that a run wastes if the truth is a draw of the law and not the law itself, as a share of
/// its compute [-]. The run is the recommendation, which under the average wastes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Deadweight {
    /// Half of the draws waste less.
    pub median: f64,
    /// One-sided: the level's share of the draws wastes less.
    pub upper: f64,
}

/// The compute-optimal run at one compute.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// Compute C [FLOP].
    pub flops: f64,
    /// N* [parameters].
    pub params: Estimate,
    /// D* [tokens].
    pub tokens: Estimate,
    /// D*/N* [tokens/parameter].
    pub tokens_per_param: Estimate,
    /// Loss of that run, averaged over the forms of law: a prediction interval (form, parameters and
    /// residual noise) [nats/token].
    pub loss: Estimate,
    /// The forms that it is averaged over, the weightiest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forms: Vec<FormShare>,
    /// Level of every interval [0, 1].
    pub level: f64,
    /// Who answers: `average of 5 forms`, or the only form.
    pub method: String,
    /// C over the largest compute that was fitted [-].
    pub extrapolation: f64,
    /// Loss at half and at twice N* for the same compute, over the loss at N*, minus one; nothing where no form answers
    /// there [-].
    pub regret_half: Option<f64>,
    /// See [`Prediction::regret_half`].
    pub regret_twice: Option<f64>,
    /// Compute wasted by this run if a draw of the law is the truth. Nothing without draws.
    pub deadweight: Option<Deadweight>,
    /// Compute wasted at half and at twice N*, as a share of C; nothing where no form says anything there [-].
    pub deadweight_half: Option<Estimate>,
    /// See [`Prediction::deadweight_half`].
    pub deadweight_twice: Option<Estimate>,
    /// Every method on the same compute: their spread is part of the answer.
    pub methods: Vec<MethodPrediction>,
    /// What this run comes to on the corpus of the study, where that is known and holds fewer tokens than D*.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeated: Option<Repeated>,
    /// Time and money on the device that was named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<Cost>,
    /// What a reader must know before believing the numbers.
    pub warnings: Vec<Warning>,
}

/// The compute-optimal run at compute `flops` [FLOP]: that of lowest average loss.
///
/// Intervals of N*, D* and D*/N* are percentiles of what the draws of every form hold for the best run, and of
/// the draws of the lines of approach 1 and 2: they hold the choice of form and of method. The loss is that of
/// **one run at (N*, D*)**; its prediction interval holds form, parameters, discrepancy and a run's own scatter.
///
/// # Errors
///
/// [`PredictError`]: compute out of range, no surface to read a loss from, or no optimum.
///
/// # Example
///
/// ```
/// use isoflop::fit::Analysis;
/// use isoflop::predict::at_flops;
///
/// let analysis = Analysis::read(&std::fs::read("analysis/prose/fit.json")?)?;
/// let best = at_flops(&analysis, 9.1e13)?;
/// assert!(best.params.lo < best.params.value && best.params.value < best.params.hi);
/// // The run that was trained there, of which the fit knows nothing, had a loss of 1.2693 nats/token.
/// assert!(best.loss.lo < 1.2693 && 1.2693 < best.loss.hi);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn at_flops(analysis: &Analysis, flops: f64) -> Result<Prediction, PredictError> {
    positive("compute", "FLOP", flops)?;
    let average = Average::of(analysis)?;
    let (lead, compute, ln_c) = (&average.lead, &analysis.compute, flops.ln());
    let no_optimum = || lead.no_optimum(Fixed::Flops(flops));
    let ln_n = average.best(ln_c).ok_or_else(no_optimum)?;
    let ln_tokens = |ln_n: f64| ln_c - compute.log_per_token(ln_n).0;
    let ln_d = ln_tokens(ln_n);
    let (params, tokens) = (ln_n.exp(), ln_d.exp());
    let sizes = average.sizes(ln_c, ln_n);
    let of = |value: f64, of: &dyn Fn(f64) -> f64| {
        let drawn: Vec<(f64, f64)> = sizes.iter().map(|(n, w)| (of(*n), *w)).collect();
        average.between(value, &drawn).ok_or_else(no_optimum)
    };
    let averaged = average.loss(params, tokens).ok_or_else(no_optimum)?;
    let beside = |ratio: f64| (ln_n + ratio.ln(), ln_tokens(ln_n + ratio.ln()));
    let regret = |ratio: f64| {
        let (n, d) = beside(ratio);
        let regret = (average.ln_loss(n, d) - averaged.loss.value.ln()).exp_m1();
        regret.is_finite().then_some(regret)
    };
    let wasted = |law: &dyn Belief, (n, d): (f64, f64)| {
        let loss = Some(law.ln_loss(n, d)).filter(|loss| loss.is_finite())?;
        Some(wasted(law.reaching(compute, loss, (ln_c, ln_n))?, ln_c))
    };
    let deadweight = |ratio: f64| average.estimate(|law| wasted(law, beside(ratio)));
    let methods = method::all(&average, flops);
    let mut warnings = lead.warnings_at(flops);
    warnings.extend(lead.implausible(averaged.loss.value));
    warnings.extend(no_form(&average, params, tokens));
    disagreement(&methods, &mut warnings);
    let others = analysis.fits.iter().filter(|f| f.method != lead.method());
    warnings.extend(others.filter_map(silent));
    let repeated = repetition::on_known(&average, (ln_n, ln_d));
    warnings.extend(repeated.as_ref().map(|r| scarce(r, "D*", analysis.convention.loss_unit())));
    let method = average.name_of(&averaged.forms);
    Ok(Prediction {
        flops,
        params: of(params, &f64::exp)?,
        tokens: of(tokens, &|n| ln_tokens(n).exp())?,
        tokens_per_param: of(tokens / params, &|n| (ln_tokens(n) - n).exp())?,
        loss: averaged.loss,
        forms: averaged.forms,
        level: lead.level(),
        method,
        extrapolation: lead.extrapolation(flops),
        regret_half: regret(0.5),
        regret_twice: regret(2.0),
        deadweight: upper(&average.drawn(|law| wasted(law, (ln_n, ln_d))), lead.level()),
        deadweight_half: deadweight(0.5),
        deadweight_twice: deadweight(2.0),
        methods,
        repeated,
        cost: None,
        warnings,
    })
}

/// Share of C that reaching the same loss at ln C_eq would save: 1 - C_eq / C [-] (arXiv:2603.22339).
pub(super) fn wasted(ln_equivalent: f64, ln_c: f64) -> f64 {
    // Rounding may put a run of the path a hair below it.
    not_below_zero(-(ln_equivalent - ln_c).exp_m1())
}

/// The forms that say nothing of a run, by name.
pub(super) fn no_form(average: &Average<'_>, params: f64, tokens: f64) -> Option<Warning> {
    let names = average.silent(params, tokens);
    (!names.is_empty()).then(|| {
        let text = format!(
            "left out of the average at N {params:.3e}, D {tokens:.3e}: {}: the loss of such a form rises with N or D there, \
             or is no number",
            names.join(", ")
        );
        Warning::new(Code::FormUnheard, text)
    })
}

/// That a run wants more tokens than the corpus holds, and what it comes to.
pub(super) fn scarce(r: &Repeated, what: &str, unit: &str) -> Warning {
    let best = &r.best;
    let text = format!(
        "{what} is {:.3} epochs of the {} distinct tokens that are known of the corpus: on these the run reaches \
         {:.4} {unit}, {:.4} above fresh tokens; the best on them at this compute is N {}, D {}, {:.3} epochs, loss {:.4} \
         (--tokens-available {})",
        r.epochs,
        count(r.unique_tokens),
        r.loss.value,
        r.price.value,
        count(best.params),
        count(best.tokens),
        best.epochs,
        best.loss,
        count(r.unique_tokens),
    );
    Warning::new(Code::RepeatsTokens, text)
}

/// Median and one-sided upper end of `shares`; nothing under 20 of them, as for any interval.
fn upper(shares: &[(f64, f64)], level: f64) -> Option<Deadweight> {
    let [median, _] = stats::weighted_interval(shares, 0.0)?;
    let [_, upper] = stats::weighted_interval(shares, 2.0 * level - 1.0)?;
    Some(Deadweight { median, upper })
}

/// Methods whose N* lie outside each other's intervals.
fn disagreement(methods: &[MethodPrediction], warnings: &mut Vec<Warning>) {
    let inside = |v: f64, e: &Estimate| (e.lo..=e.hi).contains(&v);
    let Some((first, others)) = methods.split_first() else { return };
    for other in others {
        let (one, two) = (&first.params, &other.params);
        if !inside(one.value, two) && !inside(two.value, one) {
            warnings.push(Warning::new(
                Code::MethodsDisagree,
                format!(
                    "{} and {} disagree beyond their intervals: N* {} against {}, a factor {:.2}",
                    first.method,
                    other.method,
                    count(one.value),
                    count(two.value),
                    (one.value / two.value).max(two.value / one.value)
                ),
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{EPOCH, analysis};
    use super::*;
    use crate::fit::{Compute, Draws, FIT_VERSION, Frontier, Noise, Surface};

    /// Chinchilla's form alone: what a closed form can be held against.
    fn of_one_form(mut analysis: Analysis) -> Analysis {
        let averaging = analysis.averaging.as_mut().unwrap();
        averaging.discrepancy = 0.0;
        for form in &mut averaging.forms {
            form.weight = f64::from(u8::from(form.law == "chinchilla"));
        }
        analysis
    }

    /// Epoch's point implies 72.36B parameters and 1.327T tokens at Chinchilla's compute (18.3 a parameter).
    /// A table that a fuzzer made: the one form that counts has no number at twice N*.
    #[test]
    fn a_size_of_which_no_form_speaks_has_no_regret_and_wastes_nothing_known() {
        let csv = "params,tokens,flops,loss\n8.53815e+06,1.95202e+09,1e+17,4.50743\n\
                   1.70763e+07,9.76012e+07,1e+17,4.36744\n3.41526e+07,4.88006e+08,1e+17,4.30998\n\
                   6.83052e+07,2.44003e+08,1e+17,8.42569\n1.47885e+07,3.381e+09,3e+17,4.05182\n\
                   2.9577e+07[[,1.6905e+09,3e+17,3.92938\n5.9154e+07,8.45251e+08,3e+17,3.93818\n\
                   1.18308e+08,4.22625e+08,3e+17,4.00179\n";
        let table =
            crate::import::parse(csv.as_bytes(), "x.csv", &crate::import::Options::default())
                .unwrap()
                .table;
        let options =
            crate::fit::Options { bootstrap: 0, holdout: 0, ..crate::fit::Options::default() };
        let compute = Compute::fit(&table.flops_per_token());
        let analysis = crate::fit::analyse(&table, compute, &options).unwrap();
        let p = at_flops(&analysis, 1e19).unwrap();
        assert!(p.regret_half.unwrap() > 0.0 && p.deadweight_half.unwrap().value > 0.0, "{p:?}");
        assert_eq!((p.regret_twice, p.deadweight_twice), (None, None));
    }

    #[test]
    fn the_optimum_of_the_published_law_is_predicted() {
        let p = at_flops(&of_one_form(analysis(0)), 5.76e23).unwrap();
        assert!((p.params.value / 7.236e10 - 1.0).abs() < 1e-3, "{p:?}");
        assert!((p.tokens.value / 1.327e12 - 1.0).abs() < 1e-3, "{p:?}");
        assert!((p.tokens_per_param.value - 18.3).abs() < 0.06, "{p:?}");
        assert!((p.extrapolation - 576.0).abs() < 1e-9);
        assert!(p.warnings.iter().any(|w| w.text.contains("576 times beyond")));
        assert!(p.warnings.iter().any(|w| w.text.contains("no interval")));
        // Regret by the law itself.
        let at = |n: f64| EPOCH.loss(n, 5.76e23 / 6.0 / n);
        let want = at(3.618e10) / at(7.236e10) - 1.0;
        assert!(
            (p.regret_half.unwrap() / want - 1.0).abs() < 1e-2 && p.regret_twice.unwrap() > 0.0,
            "{p:?}"
        );
    }

    #[test]
    fn the_interval_of_the_loss_holds_a_runs_own_scatter() {
        let analysis = analysis(100);
        let p = at_flops(&analysis, 1e20).unwrap();
        assert!(p.loss.lo < p.loss.value && p.loss.value < p.loss.hi);
        let scatter = analysis.fits[0].residual_sd.unwrap() * p.loss.value;
        assert!(p.loss.hi - p.loss.lo > 2.0 * 1.6 * scatter, "{p:?}");
        assert!(p.params.lo < p.params.value && p.params.value < p.params.hi);
        assert_eq!(p.methods.len(), analysis.fits.len());
        assert!(p.warnings.iter().all(|w| !w.text.contains("extrapolates")), "{:?}", p.warnings);
        let far = at_flops(&analysis, 1e20 * 1e3).unwrap();
        assert!(far.params.hi / far.params.lo > p.params.hi / p.params.lo);
        assert!(far.warnings.iter().any(|w| w.text.contains("extrapolates 100 times")));
    }

    /// Without draws the interval is value·exp(±t·sd), sd the larger of residuals' and seeds': t at 95% on
    /// 24 - 5 = 19 degrees of freedom is 1.729133 (any table).
    #[test]
    fn the_interval_holds_no_less_than_the_scatter_of_seeds() {
        let mut analysis = of_one_form(analysis(0));
        for form in &mut analysis.laws {
            form.residual_sd = 0.0;
        }
        assert!((analysis.fits[0].level - 0.9).abs() < 1e-12);
        let mut half_width = |residual: f64, seeds: Option<f64>| {
            analysis.fits[0].residual_sd = Some(residual);
            analysis.noise = seeds.map(|sd| Noise {
                replicates: 4,
                sd,
                dof: 2,
                by_size: vec![],
                lack_of_fit: None,
            });
            let loss = at_flops(&analysis, 1e20).unwrap().loss;
            let [down, up] = [(loss.value / loss.lo).ln(), (loss.hi / loss.value).ln()];
            assert!((down - up).abs() < 1e-6, "{loss:?}");
            up / 1.729_133
        };
        for (residual, seeds, want) in [
            (0.004, None, 0.004),
            (0.004, Some(0.003), 0.004),
            (0.004, Some(0.006), 0.006),
            (0.0, Some(0.002), 0.002),
        ] {
            let got = half_width(residual, seeds);
            assert!((got / want - 1.0).abs() < 1e-4, "{residual}, {seeds:?}: {got}");
        }
    }

    #[test]
    fn a_frontier_alone_does_not_predict_a_loss() {
        let mut analysis = analysis(0);
        analysis.fits.retain(|f| f.params.is_none());
        let error = at_flops(&analysis, 1e20).unwrap_err();
        assert!(error.to_string().contains("no loss surface"), "{error}");
        let error = at_flops(&analysis, 0.0).unwrap_err();
        assert_eq!(error.to_string(), "compute is `0`, want a finite number of FLOP above 0");
        assert!(at_flops(&analysis, f64::NAN).is_err());
        assert_eq!(analysis.version, FIT_VERSION);
    }

    #[test]
    fn methods_that_contradict_each_other_are_named() {
        let mut analysis = analysis(100);
        let line = analysis.fits.iter_mut().find(|f| f.method == "isoflop").unwrap();
        let moved = |f: Frontier| Frontier { n0: f.n0 + 2.0, d0: f.d0 - 2.0, ..f };
        line.frontier = moved(line.frontier);
        if let Draws::Frontiers(draws) = &mut line.draws {
            for f in draws {
                *f = moved(*f);
            }
        }
        let p = at_flops(&analysis, 1e22).unwrap();
        assert!(
            p.warnings.iter().any(|w| w.text.contains("lse-huber and isoflop disagree")),
            "{:?}",
            p.warnings
        );
    }

    /// The oracle is the definition: in draw k, the compute at which the path reaches the loss that
    /// the recommended run has there.
    #[test]
    fn the_waste_of_the_recommendation_is_that_of_the_draws() {
        let analysis = of_one_form(analysis(100));
        let p = at_flops(&analysis, 1e22).unwrap();
        let Draws::Surfaces(draws) = &analysis.fits[0].draws else { panic!() };
        let wasted = |s: &Surface| {
            let loss = s.loss(p.params.value, p.tokens.value);
            let best = |c: f64| {
                let (n, d) = s.optimum(&Compute::SixNd, c).unwrap();
                s.loss(n, d)
            };
            let (mut lo, mut hi) = (1e18_f64.ln(), 1e22_f64.ln());
            for _ in 0..80 {
                let mid = 0.5 * (lo + hi);
                if best(mid.exp()) > loss { lo = mid } else { hi = mid }
            }
            1.0 - hi.exp() / 1e22
        };
        let mut all: Vec<f64> = draws.iter().map(wasted).collect();
        all.sort_by(f64::total_cmp);
        let below = |v: f64| all.iter().filter(|w| **w < v).count();
        let told = p.deadweight.unwrap();
        assert!(
            below(told.median).abs_diff(50) <= 1 && below(told.upper).abs_diff(90) <= 1,
            "{told:?}"
        );
        assert!(0.0 < told.median && told.median < told.upper && told.upper < 0.2, "{told:?}");
        let (half, twice) = (p.deadweight_half.unwrap(), p.deadweight_twice.unwrap());
        assert!(half.lo <= half.value && half.value <= half.hi && half.value > told.median);
        assert!(twice.lo <= twice.value && twice.value <= twice.hi && twice.value > told.median);
        assert_eq!(at_flops(&super::super::sample::analysis(0), 1e22).unwrap().deadweight, None);
    }

    /// Approach 2 without noise on a lopsided design is biased; corrected by the surface, it finds the
    /// surface's own optimum, since without noise that surface is the truth.
    #[test]
    fn approach_2_speaks_with_its_bias_taken_off() {
        let mut analysis = analysis(0);
        let at = |analysis: &Analysis| {
            let p = at_flops(analysis, 1e22).unwrap();
            p.methods.into_iter().find(|m| m.method == "isoflop").unwrap()
        };
        let (want, _) = EPOCH.optimum(&Compute::SixNd, 1e22).unwrap();
        let corrected = at(&analysis);
        assert!(corrected.corrected);
        assert!((corrected.params.value / want - 1.0).abs() < 1e-5, "{corrected:?}");
        let bias = analysis.isoflop_bias.take().unwrap().params_ahead;
        let raw = at(&analysis);
        assert!(!raw.corrected && bias.abs() > 1e-3);
        assert!((raw.params.value / want - 1.0 - bias).abs() < 1e-4, "{raw:?} {bias}");
    }
}
