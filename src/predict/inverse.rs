//! The path walked backwards: the compute at which a size, a token count or a loss is the optimal one.
//!
//! For somebody whose model size is settled by a device, whose tokens by a corpus, or whose loss by a
//! rival: how much compute makes that the right choice. Read by: `cli`.

use serde::{Deserialize, Serialize};

use super::voice::{Lead, Voice, silent};
use super::{Cost, Estimate, Fixed, PredictError, path, positive};
use crate::fit::{Analysis, Code, Compute, Warning};

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
    /// Loss of the leading run: a prediction interval (parameters and residual noise) [nats/token].
    pub loss: Estimate,
    /// Level of every interval [0, 1].
    pub level: f64,
    /// Method of the leading values.
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
/// Each draw of the bootstrap walks its own path, so the interval of what is fixed is the value itself.
/// For a loss: that of the leading surface alone, which the forms of law do not share. Draws whose E is
/// not below it never get there; they are left out of the intervals, and a warning counts them.
///
/// # Errors
///
/// [`PredictError`]: a value out of range, no loss surface, or a loss that the law does not reach.
pub fn optimal_with(analysis: &Analysis, fixed: Fixed) -> Result<Inverse, PredictError> {
    let (what, unit, value) = fixed.spoken();
    positive(what, unit, value)?;
    let lead = Lead::of(analysis)?;
    if let Fixed::Loss(loss) = fixed {
        lead.reaches(loss)?;
    }
    let compute = &analysis.compute;
    let answers: Vec<(MethodInverse, Estimate, usize)> =
        Voice::all(analysis).iter().filter_map(|v| by_method(v, compute, fixed)).collect();
    let (leading, tokens_per_param, answered) = answers
        .iter()
        .find(|(m, ..)| m.method == lead.method())
        .cloned()
        .ok_or_else(|| lead.no_optimum(fixed))?;
    let run = (leading.params.value, leading.tokens.value);
    let mut warnings = lead.doubts(leading.flops.value);
    warnings.extend(lead.out_of_reach(fixed, answered));
    let methods: Vec<MethodInverse> = answers.into_iter().map(|(m, ..)| m).collect();
    let others = analysis.fits.iter().filter(|f| f.method != lead.method());
    let told = others.filter(|f| methods.iter().any(|m| m.method == f.method));
    warnings.extend(told.filter_map(silent));
    Ok(Inverse {
        fixed,
        flops: leading.flops,
        params: leading.params,
        tokens: leading.tokens,
        tokens_per_param,
        loss: lead.voice.loss(run).ok_or_else(|| lead.no_optimum(fixed))?,
        level: lead.level(),
        method: lead.method(),
        extrapolation: lead.extrapolation(leading.flops.value),
        methods,
        cost: None,
        warnings,
    })
}

/// One method's answer, its D*/N*, and how many of its draws answered.
fn by_method(
    voice: &Voice,
    compute: &Compute,
    fixed: Fixed,
) -> Option<(MethodInverse, Estimate, usize)> {
    let found = voice.optimal(compute, fixed)?;
    let flops = |run: &(f64, f64)| match fixed {
        Fixed::Flops(c) => c,
        _ => compute.per_token(run.0) * run.1,
    };
    path::sound(flops(&found.best))?;
    let answer = MethodInverse {
        method: voice.fit.method.clone(),
        flops: found.estimate(flops),
        params: found.estimate(|d| d.0),
        tokens: found.estimate(|d| d.1),
        corrected: voice.corrected,
    };
    Some((answer, found.estimate(|d| d.1 / d.0), found.drawn.len()))
}

impl Lead<'_> {
    /// Refuses a loss at or below E of the leading law.
    pub(super) fn reaches(&self, loss: f64) -> Result<(), PredictError> {
        let irreducible = self.surface.e;
        if loss > irreducible {
            return Ok(());
        }
        Err(PredictError::BelowIrreducible { method: self.method(), loss, irreducible })
    }

    /// Says how many draws never reach the loss of `fixed`, when `answered` of them do.
    pub(super) fn out_of_reach(&self, fixed: Fixed, answered: usize) -> Option<Warning> {
        let Fixed::Loss(loss) = fixed else { return None };
        let all = self.voice.draws.len();
        (answered < all).then(|| {
            let text = format!(
                "in {} of {all} draws no compute reaches a loss of {loss}: the intervals are of the \
                 others, and the upper ends are too low",
                all - answered
            );
            Warning::new(Code::LossOutOfReach, text)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{at_flops, sample};
    use super::*;
    use crate::fit::Draws;

    fn near(got: f64, want: f64, tolerance: f64) {
        assert!((got / want - 1.0).abs() < tolerance, "{got}, want {want}");
    }

    #[test]
    fn asking_for_the_optimum_of_a_compute_gives_the_compute_back() {
        let analysis = sample::analysis(60);
        let p = at_flops(&analysis, 1e22).unwrap();
        let by_lead = p.methods[0].loss.unwrap();
        for fixed in [
            Fixed::Params(p.params.value),
            Fixed::Tokens(p.tokens.value),
            Fixed::Loss(by_lead.value),
            Fixed::Flops(1e22),
        ] {
            let back = optimal_with(&analysis, fixed).unwrap();
            near(back.flops.value, 1e22, 1e-9);
            near(back.params.value, p.params.value, 1e-9);
            near(back.tokens.value, p.tokens.value, 1e-9);
            near(back.loss.lo, by_lead.lo, 1e-12);
            assert!(back.flops.lo <= 1e22 && 1e22 <= back.flops.hi, "{back:?}");
            let methods: Vec<&str> = back.methods.iter().map(|m| m.method.as_str()).collect();
            match fixed {
                Fixed::Loss(_) => assert_eq!(methods, ["lse-huber", "varpro"]),
                _ => assert_eq!(methods, ["lse-huber", "varpro", "isoflop", "envelope"]),
            }
        }
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

    /// Epoch's published law: 72.36B parameters and 1.327T tokens are optimal at 5.76e23 FLOP.
    #[test]
    fn the_compute_of_the_published_optimum_is_found() {
        let analysis = sample::analysis(0);
        near(optimal_with(&analysis, Fixed::Params(7.236e10)).unwrap().flops.value, 5.76e23, 2e-3);
        let p = optimal_with(&analysis, Fixed::Tokens(1.327e12)).unwrap();
        near(p.flops.value, 5.76e23, 2e-3);
        assert!(p.warnings.iter().any(|w| w.code == Code::FarExtrapolation));
        assert_eq!(p.flops.lo, p.flops.hi);
    }

    #[test]
    fn a_loss_that_some_draws_never_reach_is_warned_of_and_one_below_e_refused() {
        let analysis = sample::analysis(60);
        let Draws::Surfaces(draws) = &analysis.fits[0].draws else { panic!() };
        let e = analysis.fits[0].params.unwrap().e;
        let loss = e + 1e-6;
        let never = draws.iter().filter(|s| s.e >= loss).count();
        assert!((5..=55).contains(&never), "{never}");
        let p = optimal_with(&analysis, Fixed::Loss(loss)).unwrap();
        let told = p.warnings.iter().find(|w| w.code == Code::LossOutOfReach).unwrap();
        assert!(told.text.starts_with(&format!("in {never} of 60 draws")), "{told}");
        let error = optimal_with(&analysis, Fixed::Loss(e)).unwrap_err();
        assert!(error.to_string().starts_with("no compute reaches a loss"), "{error}");
        let error = optimal_with(&analysis, Fixed::Params(-1.0)).unwrap_err();
        assert!(error.to_string().starts_with("model size is `-1`"), "{error}");
    }
}
