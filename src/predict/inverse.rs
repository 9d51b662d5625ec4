//! The path walked backwards: the compute at which a size, a token count or a loss is the optimal one.
//!
//! For somebody whose model size is settled by a device, whose tokens by a corpus, or whose loss by a
//! rival: how much compute makes that the right choice.

use serde::{Deserialize, Serialize};

use super::average::Average;
use super::belief::Belief;
use super::estimator::{Estimator, silent};
use super::member::Member;
use super::{Cost, Estimate, Fixed, FormShare, PredictError, path, positive};
use crate::fit::{Analysis, Code, Compute, Warning};
use crate::units::after_loss;

/// What forms may count whose E is above a loss that is asked for: more, and there is no answer [0, 1].
const MAJORITY: f64 = 0.5;

/// What one method says about one point of the path.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MethodInverse {
    /// `lse-huber`, `varpro`, `isoflop`, `envelope`.
    pub method: String,
    /// Compute C at which the run is optimal [FLOP].
    pub flops: Estimate,
    /// N* [parameters].
    pub params: Estimate,
    /// D* [tokens].
    pub tokens: Estimate,
    /// Whether the bias of approach 2 on this design was taken off.
    pub corrected: bool,
}

/// The compute-optimal run with one thing settled beforehand.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Inverse {
    /// What was settled.
    pub fixed: Fixed,
    /// Compute C at which it is optimal [FLOP].
    pub flops: Estimate,
    /// N* [parameters].
    pub params: Estimate,
    /// D* [tokens].
    pub tokens: Estimate,
    /// D*/N* [tokens/parameter].
    pub tokens_per_param: Estimate,
    /// Loss of that run, averaged over the forms of law: a prediction interval (form, parameters, discrepancy and
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
    /// Every method that can answer.
    pub methods: Vec<MethodInverse>,
    /// Time and money on the device that was named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<Cost>,
    /// What a reader must know before believing the numbers.
    pub warnings: Vec<Warning>,
}

/// The compute-optimal run that has the size, the tokens, the loss or the compute of `fixed`.
///
/// Each draw of each form walks its own path, so the interval of what is fixed is the value itself. Draws that
/// never get to a loss are left out of the intervals, and a warning counts them.
///
/// # Errors
///
/// [`PredictError`]: a value out of range, no loss surface, or a loss that the average does not reach.
pub fn optimal_with(analysis: &Analysis, fixed: Fixed) -> Result<Inverse, PredictError> {
    let (what, unit, value) = fixed.words();
    positive(what, unit, value)?;
    let average = Average::of(analysis)?;
    average.within_reach(fixed)?;
    let (lead, compute) = (&average.lead, &analysis.compute);
    let no_optimum = || lead.no_optimum(fixed);
    let place = |law: &dyn Belief, near: (f64, f64)| {
        let ln_c = match fixed {
            Fixed::Flops(c) => c.ln(),
            Fixed::Params(n) => law.sized(compute, n.ln(), near)?,
            Fixed::Tokens(d) => law.fed(compute, d.ln(), near)?,
            Fixed::Loss(l) => law.reaching(compute, l.ln(), near)?,
        };
        Some((ln_c, law.optimum(compute, ln_c, near.1 + 0.5 * (ln_c - near.0))?))
    };
    let (ln_c, ln_n) = place(&average, average.start()).ok_or_else(|| average.out(fixed))?;
    let mut drawn = average.drawn(|law| place(law, (ln_c, ln_n)));
    let all = average.drawn(|_| Some(())).len();
    let mut warnings = lead.warnings_at(ln_c.exp());
    warnings.extend(out_of_reach(fixed, drawn.len(), all));
    warnings.extend(never(analysis, fixed));
    let place = |(n, d): (f64, f64)| (compute.log_per_token(n.ln()).0 + d.ln(), n.ln());
    if let Fixed::Loss(_) = fixed {
        // A line knows no loss: it says which size is best at the compute that reaches it.
        let computes: Vec<(f64, f64)> = drawn.iter().map(|((c, _), w)| (*c, *w)).collect();
        drawn.extend(average.aside_over((ln_c, ln_n), &computes));
    } else {
        drawn.extend(average.lines(fixed).into_iter().map(|(run, weight)| (place(run), weight)));
    }
    let estimate = |of: &dyn Fn(f64, f64) -> f64| {
        let drawn: Vec<(f64, f64)> = drawn.iter().map(|((c, n), w)| (of(*c, *n), *w)).collect();
        average.between(of(ln_c, ln_n), &drawn).ok_or_else(no_optimum)
    };
    let ln_d = |c: f64, n: f64| c - compute.log_per_token(n).0;
    let (params, tokens) = (ln_n.exp(), ln_d(ln_c, ln_n).exp());
    let averaged = average.loss(params, tokens).ok_or_else(no_optimum)?;
    warnings.extend(lead.implausible(averaged.loss.value));
    let methods: Vec<MethodInverse> =
        average.estimators.iter().filter_map(|v| by_method(v, compute, fixed)).collect();
    let others = analysis.fits.iter().filter(|f| f.method != lead.method());
    let told = others.filter(|f| methods.iter().any(|m| m.method == f.method));
    warnings.extend(told.filter_map(silent));
    let settled = |is: bool, value: f64, estimate: Estimate| {
        if is { Estimate { value, lo: value, hi: value } } else { estimate }
    };
    let method = average.name_of(&averaged.forms);
    Ok(Inverse {
        fixed,
        flops: settled(matches!(fixed, Fixed::Flops(_)), value, estimate(&|c, _| c.exp())?),
        params: settled(matches!(fixed, Fixed::Params(_)), value, estimate(&|_, n| n.exp())?),
        tokens: settled(
            matches!(fixed, Fixed::Tokens(_)),
            value,
            estimate(&|c, n| ln_d(c, n).exp())?,
        ),
        tokens_per_param: estimate(&|c, n| (ln_d(c, n) - n).exp())?,
        loss: averaged.loss,
        forms: averaged.forms,
        level: lead.level(),
        method,
        extrapolation: lead.extrapolation(ln_c.exp()),
        methods,
        cost: None,
        warnings,
    })
}

/// One method's answer.
fn by_method(estimator: &Estimator, compute: &Compute, fixed: Fixed) -> Option<MethodInverse> {
    let found = estimator.optimal(compute, fixed)?;
    let flops = |run: &(f64, f64)| match fixed {
        Fixed::Flops(c) => c,
        _ => compute.per_token(run.0) * run.1,
    };
    path::sound(flops(&found.best))?;
    Some(MethodInverse {
        method: estimator.fit.method.clone(),
        flops: found.estimate(flops)?,
        params: found.estimate(|d| d.0)?,
        tokens: found.estimate(|d| d.1)?,
        corrected: estimator.corrected,
    })
}

impl Average<'_> {
    /// Refuses a loss at or below the E of forms that count for more than half: the average of the losses may get there
    /// by the others alone, at a compute of theirs that the majority denies.
    pub(super) fn within_reach(&self, fixed: Fixed) -> Result<(), PredictError> {
        let Fixed::Loss(loss) = fixed else { return Ok(()) };
        let above = |m: &&Member| m.floor.is_some_and(|floor| floor >= loss);
        let share: f64 = self.members.iter().filter(above).map(|m| m.weight).sum();
        if share <= MAJORITY {
            return Ok(());
        }
        let unit = after_loss(&self.lead.analysis.convention.loss);
        Err(match self.irreducible() {
            Some(floor) if floor.e.value >= loss => self.out(fixed),
            _ => PredictError::Unreached { loss, share, unit },
        })
    }

    /// Why there is no run of `fixed`: for a loss, that the average never gets there.
    pub(super) fn out(&self, fixed: Fixed) -> PredictError {
        match (fixed, self.irreducible()) {
            (Fixed::Loss(loss), Some(floor)) => PredictError::BelowIrreducible {
                method: self.name(),
                loss,
                irreducible: floor.e.value,
                unit: after_loss(&self.lead.analysis.convention.loss),
            },
            _ => self.lead.no_optimum(fixed),
        }
    }
}

/// Names the methods whose law levels off above the loss of `fixed`: they have no row among the answers.
fn never(analysis: &Analysis, fixed: Fixed) -> Vec<Warning> {
    let Fixed::Loss(loss) = fixed else { return Vec::new() };
    let fits = analysis.fits.iter().filter_map(|fit| Some((fit, fit.params.as_ref()?.e)));
    let never = fits.filter(|(_, e)| *e >= loss).map(|(fit, e)| {
        let text = format!("{} never reaches a loss of {loss}: its E is {e:.4}", fit.method);
        Warning::new(Code::LossOutOfReach, text)
    });
    never.collect()
}

/// Says how many draws never reach the loss of `fixed`, when `answered` of all do.
pub(super) fn out_of_reach(fixed: Fixed, answered: usize, all: usize) -> Option<Warning> {
    let Fixed::Loss(loss) = fixed else { return None };
    (answered < all).then(|| {
        let text = format!(
            "in {} of {all} draws no compute reaches a loss of {loss}: the intervals are of the others, and the \
             upper ends are too low",
            all - answered
        );
        Warning::new(Code::LossOutOfReach, text)
    })
}

#[cfg(test)]
mod tests {
    use super::super::average::tests::told;
    use super::super::{at_flops, sample};
    use super::*;

    fn near(got: f64, want: f64, tolerance: f64) {
        assert!((got / want - 1.0).abs() < tolerance, "{got}, want {want}");
    }

    #[test]
    fn asking_for_the_optimum_of_a_compute_gives_the_compute_back() {
        let analysis = sample::analysis(60);
        let p = at_flops(&analysis, 1e22).unwrap();
        for fixed in [
            Fixed::Params(p.params.value),
            Fixed::Tokens(p.tokens.value),
            Fixed::Loss(p.loss.value),
            Fixed::Flops(1e22),
        ] {
            let back = optimal_with(&analysis, fixed).unwrap();
            near(back.flops.value, 1e22, 1e-6);
            near(back.params.value, p.params.value, 1e-6);
            near(back.tokens.value, p.tokens.value, 1e-6);
            near(back.loss.value, p.loss.value, 1e-8);
            near(back.loss.lo, p.loss.lo, 1e-6);
            assert!(back.flops.lo <= 1e22 * (1.0 + 1e-6) && 1e22 * (1.0 - 1e-6) <= back.flops.hi);
            let methods: Vec<&str> = back.methods.iter().map(|m| m.method.as_str()).collect();
            match fixed {
                Fixed::Loss(_) => assert_eq!(methods, ["lse-huber", "varpro"]),
                _ => assert_eq!(methods, ["lse-huber", "varpro", "isoflop", "envelope"]),
            }
        }
    }

    /// Kaplan's form has no E and drags the average of the losses below that of any other: its compute is no answer
    /// where forms of a majority never get so low.
    #[test]
    fn a_loss_below_the_e_of_most_forms_is_refused_by_what_they_count() {
        let of = |chinchilla: f64| {
            let analysis = told(&[("chinchilla", chinchilla), ("kaplan", 1.0 - chinchilla)]);
            let e = analysis.fits[0].params.unwrap().e;
            optimal_with(&analysis, Fixed::Loss(0.99 * e))
        };
        let error = of(0.98).unwrap_err();
        assert!(
            matches!(error, PredictError::BelowIrreducible { .. })
                || matches!(error, PredictError::Unreached { .. })
        );
        let error = of(0.8).unwrap_err();
        assert!(error.to_string().contains("count 80% in the average level off"), "{error}");
        assert!(!matches!(of(0.3), Err(PredictError::Unreached { .. })));
    }

    #[test]
    fn a_method_whose_law_levels_off_above_a_loss_is_named() {
        let mut analysis = sample::analysis(0);
        let e = analysis.fits[1].params.as_mut().unwrap();
        e.e = 2.0;
        let told = never(&analysis, Fixed::Loss(1.9));
        assert_eq!(told.len(), 1);
        assert!(told[0].text.starts_with("varpro never reaches a loss of 1.9: its E is 2.0000"));
        assert!(never(&analysis, Fixed::Loss(2.1)).is_empty());
    }

    /// A line knows the compute of a size by its own inverse, and so does each of its draws.
    #[test]
    fn a_line_is_inverted_as_a_line() {
        let analysis = sample::analysis(60);
        let p = at_flops(&analysis, 1e22).unwrap();
        let line = p.methods.iter().find(|m| m.method == "isoflop").unwrap();
        let back = optimal_with(&analysis, Fixed::Params(line.params.value)).unwrap();
        let line = back.methods.iter().find(|m| m.method == "isoflop").unwrap();
        near(line.flops.value, 1e22, 1e-9);
        assert!(line.flops.lo < 1e22 && 1e22 < line.flops.hi && line.params.lo == line.params.hi);
    }

    /// Epoch's published law: 72.36B parameters and 1.327T tokens are optimal at 5.76e23 FLOP. Runs without noise:
    /// the forms that hold Chinchilla's as a special case agree with it.
    #[test]
    fn the_compute_of_the_published_optimum_is_found() {
        let analysis = sample::analysis(0);
        near(optimal_with(&analysis, Fixed::Params(7.236e10)).unwrap().flops.value, 5.76e23, 8e-2);
        let p = optimal_with(&analysis, Fixed::Tokens(1.327e12)).unwrap();
        near(p.flops.value, 5.76e23, 8e-2);
        assert!(p.warnings.iter().any(|w| w.code == Code::FarExtrapolation));
    }

    #[test]
    fn a_loss_that_nothing_reaches_is_refused_and_one_that_some_draws_never_reach_warned_of() {
        let analysis = sample::analysis(60);
        let error = optimal_with(&analysis, Fixed::Loss(0.01)).unwrap_err();
        assert!(error.to_string().starts_with("no compute reaches a loss"), "{error}");
        let error = optimal_with(&analysis, Fixed::Params(-1.0)).unwrap_err();
        assert!(error.to_string().starts_with("model size is `-1`"), "{error}");
        let told = out_of_reach(Fixed::Loss(1.8), 40, 60).unwrap();
        assert!(told.text.starts_with("in 20 of 60 draws"), "{told}");
        assert!(out_of_reach(Fixed::Loss(1.8), 60, 60).is_none());
    }
}
