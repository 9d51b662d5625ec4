//! From a fit to the run one would buy: N*, D*, D/N and the loss at a given compute, with intervals.
//!
//! Pure: numbers in, numbers out. Reads `fit`'s result; read by `figure`, `report`, `cli`.

use serde::{Deserialize, Serialize};

use crate::fit::{Analysis, Code, Compute, Draws, Fit, Surface, Warning, stats};

/// A value with its interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// Best value.
    pub value: f64,
    /// Lower end of the interval.
    pub lo: f64,
    /// Upper end of the interval.
    pub hi: f64,
}

/// What one method says about one compute.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MethodPrediction {
    /// `lse-huber`, `varpro`, `isoflop`, `envelope`.
    pub method: String,
    /// N* [parameters].
    pub params: Estimate,
    /// D* [tokens].
    pub tokens: Estimate,
    /// D*/N* [tokens/parameter].
    pub tokens_per_param: Estimate,
    /// Loss at (N*, D*), where the method has a loss surface [nats/token].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss: Option<Estimate>,
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
    /// Loss of that run: a prediction interval (parameters and residual noise) [nats/token].
    pub loss: Estimate,
    /// Level of every interval [0, 1].
    pub level: f64,
    /// Method of the leading values.
    pub method: String,
    /// C over the largest compute that was fitted [-].
    pub extrapolation: f64,
    /// Loss at half and at twice N* for the same compute, over the loss at N*, minus one [-].
    pub regret_half: f64,
    /// See [`Prediction::regret_half`].
    pub regret_twice: f64,
    /// Every method on the same compute: their spread is part of the answer.
    pub methods: Vec<MethodPrediction>,
    /// What a reader must know before believing the numbers.
    pub warnings: Vec<Warning>,
}

/// Why nothing can be predicted.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PredictError {
    /// Not an amount of compute.
    #[error("compute is `{flops}`, want a finite number of FLOP above 0")]
    BadFlops {
        /// What was asked for [FLOP].
        flops: f64,
    },
    /// No method fitted a loss surface.
    #[error(
        "no loss surface was fitted to `{source_table}`, so the loss at a compute cannot be predicted\n\
         hint: the warnings of the fit say what the runs lack; frontier lines alone give N* and D*, \
         not the loss"
    )]
    NoSurface {
        /// The table that was fitted.
        source_table: String,
    },
    /// The leading surface has no optimum at this compute.
    #[error("{method} has no compute-optimal size at `{flops}` FLOP")]
    NoOptimum {
        /// The leading method.
        method: String,
        /// What was asked for [FLOP].
        flops: f64,
    },
}

/// From here on a prediction is called an extrapolation.
const FAR: f64 = 30.0;
/// From here on nobody has shown that such a prediction holds: 300-fold is the farthest forecast from
/// small runs that was published beforehand and met.
const VERY_FAR: f64 = 300.0;

/// The compute-optimal run at compute `flops` [FLOP], by the leading method and by all others.
///
/// The first surface fit leads. Intervals of N*, D* and D*/N* are percentiles of the bootstrap draws at
/// the fit's level. The interval of the loss is a prediction interval for **one run at the leading
/// (N*, D*)**: the draws' losses there, times a run's own scatter with Student's tails. Neither holds
/// the error of the form itself, which the warnings and the spread of the methods are for.
///
/// Without draws (no bootstrap) the parameters' intervals are the value itself, and a warning says so.
///
/// # Errors
///
/// [`PredictError`]: compute out of range, or no surface to read a loss from.
pub fn at_flops(analysis: &Analysis, flops: f64) -> Result<Prediction, PredictError> {
    if !(flops.is_finite() && flops > 0.0) {
        return Err(PredictError::BadFlops { flops });
    }
    let (lead, surface) = analysis
        .fits
        .iter()
        .find_map(|f| Some((f, f.params?)))
        .ok_or_else(|| PredictError::NoSurface { source_table: analysis.source.clone() })?;
    let no_optimum = || PredictError::NoOptimum { method: lead.method.clone(), flops };
    let (params, _) = surface.optimum(&analysis.compute, flops).ok_or_else(no_optimum)?;
    let methods: Vec<MethodPrediction> =
        analysis.fits.iter().filter_map(|f| by_method(f, &analysis.compute, flops)).collect();
    let leading =
        methods.iter().find(|m| m.method == lead.method).cloned().ok_or_else(no_optimum)?;
    let loss = leading.loss.ok_or_else(no_optimum)?;
    let at = |n: f64| surface.loss(n, flops / analysis.compute.per_token(n));
    let (least, most) = analysis
        .points
        .iter()
        .fold((f64::MAX, 0.0_f64), |(l, h), p| (l.min(p.flops), h.max(p.flops)));
    let mut warnings = Vec::new();
    distance(flops, least, most, &mut warnings);
    disagreement(&methods, &leading, &mut warnings);
    for fit in &analysis.fits {
        if fit.draws.is_empty() {
            warnings.push(Warning::new(
                Code::NoIntervals,
                format!("{}: no draws, so no interval: its ends repeat the value", fit.method),
            ));
        }
    }
    Ok(Prediction {
        flops,
        params: leading.params,
        tokens: leading.tokens,
        tokens_per_param: leading.tokens_per_param,
        loss,
        level: lead.level,
        method: lead.method.clone(),
        extrapolation: flops / most,
        regret_half: at(0.5 * params) / at(params) - 1.0,
        regret_twice: at(2.0 * params) / at(params) - 1.0,
        methods,
        warnings,
    })
}

/// One method's answer, or nothing where it has no optimum at this compute.
fn by_method(fit: &Fit, compute: &Compute, flops: f64) -> Option<MethodPrediction> {
    let (best, drawn): ((f64, f64), Vec<(f64, f64)>) = match (&fit.params, &fit.draws) {
        (Some(surface), Draws::Surfaces(draws)) => (
            surface.optimum(compute, flops)?,
            draws.iter().filter_map(|s| s.optimum(compute, flops)).collect(),
        ),
        (_, Draws::Frontiers(draws)) => {
            (fit.frontier.at(flops), draws.iter().map(|f| f.at(flops)).collect())
        }
        (None, Draws::Surfaces(_)) => (fit.frontier.at(flops), Vec::new()),
    };
    let loss = fit.params.and_then(|s| loss_of(fit, &s, best));
    // Laws bent beyond the range of numbers answer nothing, rather than infinity.
    let numbers = [best.0, best.1, best.1 / best.0, loss.map_or(1.0, |l| l.value)];
    if !numbers.iter().all(|v| v.is_finite() && *v > 0.0) {
        return None;
    }
    let estimate = |of: fn(&(f64, f64)) -> f64| {
        let values: Vec<f64> = drawn.iter().map(of).collect();
        let value = of(&best);
        let [lo, hi] = stats::percentile_interval(&values, fit.level).unwrap_or([value; 2]);
        Estimate { value, lo, hi }
    };
    Some(MethodPrediction {
        method: fit.method.clone(),
        params: estimate(|d| d.0),
        tokens: estimate(|d| d.1),
        tokens_per_param: estimate(|d| d.1 / d.0),
        loss,
    })
}

/// Prediction interval for the loss of one run.
fn loss_of(fit: &Fit, surface: &Surface, (params, tokens): (f64, f64)) -> Option<Estimate> {
    let value = surface.loss(params, tokens);
    let Draws::Surfaces(draws) = &fit.draws else { return None };
    let centres: Vec<f64> = draws.iter().map(|s| s.loss(params, tokens)).collect();
    let (sd, dof) = (fit.residual_sd.unwrap_or(0.0), fit.n as f64 - 5.0);
    let [lo, hi] = stats::noisy_interval(&centres, sd, dof, fit.level)
        .or_else(|| stats::noisy_interval(&[value; 20], sd, dof, fit.level))
        .unwrap_or([value; 2]);
    Some(Estimate { value, lo, hi })
}

fn distance(flops: f64, least: f64, most: f64, warnings: &mut Vec<Warning>) {
    let factor = flops / most;
    if factor > VERY_FAR {
        warnings.push(Warning::new(Code::FarExtrapolation, format!(
            "extrapolates {factor:.0} times beyond the largest run ({most:.2e} FLOP): no published \
             forecast has been shown to hold beyond {VERY_FAR:.0} times, and the interval does not \
             hold the error of the form"
        )));
    } else if factor > FAR {
        warnings.push(Warning::new(Code::Extrapolation, format!(
            "extrapolates {factor:.0} times beyond the largest run ({most:.2e} FLOP): the interval \
             does not hold the error of the form"
        )));
    } else if flops < least / FAR {
        warnings.push(Warning::new(
            Code::BelowRuns,
            format!(
                "{:.0} times below the smallest run ({least:.2e} FLOP): the law is not known there",
                least / flops
            ),
        ));
    }
}

/// Methods whose N* and the leading one's lie outside each other's intervals.
fn disagreement(
    methods: &[MethodPrediction],
    leading: &MethodPrediction,
    warnings: &mut Vec<Warning>,
) {
    let inside = |v: f64, e: &Estimate| (e.lo..=e.hi).contains(&v);
    for other in methods.iter().filter(|m| m.method != leading.method) {
        let (one, two) = (&leading.params, &other.params);
        if !inside(one.value, two) && !inside(two.value, one) {
            warnings.push(Warning::new(Code::MethodsDisagree, format!(
                "{} and {} disagree beyond their intervals: N* {:.3e} against {:.3e}, a factor {:.2}",
                leading.method,
                other.method,
                one.value,
                two.value,
                (one.value / two.value).max(two.value / one.value)
            )));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::{FIT_VERSION, Frontier, Options, analyse};
    use crate::points::{Convention, Point, Table};

    /// Epoch's published point (Besiroglu et al. 2024, arXiv:2404.10102).
    const EPOCH: Surface =
        Surface { e: 1.81686, a: 482.00572, b: 2085.4342, alpha: 0.34781, beta: 0.36585 };

    /// Noise-free IsoFLOP runs on [`EPOCH`], fitted without a bootstrap.
    fn analysis(bootstrap: usize) -> Analysis {
        let mut points = Vec::new();
        for c in [1e18, 1e19, 1e20, 1e21] {
            let (best, _) = EPOCH.optimum(&Compute::SixNd, c).unwrap();
            for i in 0..6 {
                let params = best * 4.0_f64.powf(f64::from(i) / 2.5 - 1.0);
                let tokens = c / (6.0 * params);
                let noise = 0.002 * (f64::from(i) * 2.3 + c.ln()).sin();
                points.push(Point {
                    id: format!("{c:e} {i}"),
                    cluster: format!("{c:e} {i}"),
                    params,
                    tokens,
                    flops: c,
                    loss: EPOCH.loss(params, tokens)
                        * (1.0 + if bootstrap > 0 { noise } else { 0.0 }),
                    budget: Some(c),
                    unique_tokens: None,
                    counts: None,
                });
            }
        }
        let table = Table {
            source: "synthetic".into(),
            convention: Convention {
                params: "total".into(),
                flops: "6ND".into(),
                loss: "nats/token".into(),
            },
            points,
            excluded: vec![],
            entropy: None,
            bytes_per_token: None,
        };
        let options = Options { bootstrap, holdout: 0, ..Options::default() };
        analyse(&table, Compute::SixNd, &options).unwrap()
    }

    /// Epoch's point implies 72.36B parameters and 1.327T tokens at Chinchilla's compute (18.3 a parameter).
    #[test]
    fn the_optimum_of_the_published_law_is_predicted() {
        let p = at_flops(&analysis(0), 5.76e23).unwrap();
        assert!((p.params.value / 7.236e10 - 1.0).abs() < 1e-3, "{p:?}");
        assert!((p.tokens.value / 1.327e12 - 1.0).abs() < 1e-3, "{p:?}");
        assert!((p.tokens_per_param.value - 18.3).abs() < 0.06, "{p:?}");
        assert!((p.extrapolation - 576.0).abs() < 1e-9);
        assert!(p.warnings.iter().any(|w| w.text.contains("576 times beyond")));
        assert!(p.warnings.iter().any(|w| w.text.contains("no interval")));
        // Regret by the law itself.
        let at = |n: f64| EPOCH.loss(n, 5.76e23 / 6.0 / n);
        let want = at(3.618e10) / at(7.236e10) - 1.0;
        assert!((p.regret_half / want - 1.0).abs() < 1e-2 && p.regret_twice > 0.0, "{p:?}");
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

    #[test]
    fn a_frontier_alone_does_not_predict_a_loss() {
        let mut analysis = analysis(0);
        analysis.fits.retain(|f| f.params.is_none());
        let error = at_flops(&analysis, 1e20).unwrap_err();
        assert!(error.to_string().contains("no loss surface"), "{error}");
        assert_eq!(at_flops(&analysis, 0.0), Err(PredictError::BadFlops { flops: 0.0 }));
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
}
