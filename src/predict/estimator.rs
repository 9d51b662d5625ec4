//! Who answers: every method's law and its draws, and the leading surface with what it knows of a run.
//!
//! Approach 2 speaks with its bias for this design taken off, where that could be estimated
//! ([`IsoflopBias`](crate::fit::IsoflopBias)): line and draws are shifted alike.

use serde::{Deserialize, Serialize};

use super::{Estimate, PredictError, path};
use crate::fit::numeric::stats;
use crate::fit::{Analysis, Code, Compute, Draws, Fit, Frontier, Surface, Warning};
use crate::units::after_loss;

/// From here on a prediction is called an extrapolation.
const FAR: f64 = 30.0;
/// From here on nobody has shown that such a prediction holds: 300-fold is the farthest forecast from
/// small runs that was published beforehand and met.
const VERY_FAR: f64 = 300.0;

/// What names a point of the compute-optimal path.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fixed {
    /// Training compute C [FLOP].
    Flops(f64),
    /// Model size N [parameters].
    Params(f64),
    /// Training tokens D [tokens].
    Tokens(f64),
    /// Loss, in the unit of the fit.
    Loss(f64),
}

impl Fixed {
    /// Its name in messages, its unit, its value.
    pub(super) fn words(self) -> (&'static str, &'static str, f64) {
        match self {
            Self::Flops(v) => ("compute", "FLOP", v),
            Self::Params(v) => ("model size", "parameters", v),
            Self::Tokens(v) => ("the number of training tokens", "tokens", v),
            Self::Loss(v) => ("loss", "units of loss", v),
        }
    }
}

/// What a method fitted.
#[derive(Debug, Clone, Copy)]
pub(super) enum Law {
    Surface(Surface),
    Line(Frontier),
}

impl Law {
    /// The compute-optimal run (N, D) that `fixed` names [parameters, tokens]. A line knows no loss.
    pub(super) fn optimal(&self, compute: &Compute, fixed: Fixed) -> Option<(f64, f64)> {
        let (params, tokens) = match (self, fixed) {
            (Self::Surface(s), Fixed::Flops(c)) => s.optimum(compute, c)?,
            (Self::Surface(s), Fixed::Params(n)) => (n, path::tokens_for(s, compute, n)?),
            (Self::Surface(s), Fixed::Tokens(d)) => (path::params_for(s, compute, d)?, d),
            (Self::Surface(s), Fixed::Loss(l)) => path::run_for_loss(s, compute, l)?,
            (Self::Line(f), Fixed::Flops(c)) => f.at(c),
            // A line that does not rise names no compute.
            (Self::Line(f), Fixed::Params(n)) if f.a > 0.0 => {
                (n, f.at(((n.ln() - f.n0) / f.a).exp()).1)
            }
            (Self::Line(f), Fixed::Tokens(d)) if f.b > 0.0 => {
                (f.at(((d.ln() - f.d0) / f.b).exp()).0, d)
            }
            (Self::Line(_), _) => return None,
        };
        // Laws bent beyond the range of numbers answer nothing, rather than infinity.
        Some((path::sound(params)?, path::sound(tokens)?))
    }
}

/// (N, D) of a compute-optimal run, by the law and by its draws [parameters, tokens].
pub(super) struct Optimal {
    pub(super) best: (f64, f64),
    pub(super) drawn: Vec<(f64, f64)>,
    level: f64,
}

impl Optimal {
    /// `of` the run, with its interval.
    pub(super) fn estimate(&self, of: impl Fn(&(f64, f64)) -> f64) -> Option<Estimate> {
        Estimate::over(&self.best, &self.drawn, self.level, of)
    }
}

/// One method: its law and what the bootstrap made of it.
pub(super) struct Estimator<'a> {
    pub(super) fit: &'a Fit,
    pub(super) law: Law,
    pub(super) draws: Vec<Law>,
    /// Standard deviation of ln L of one run about the law: the residuals', but not less than the seeds',
    /// which a law that goes too close by its runs would hide [-].
    scatter: f64,
    /// Degrees of freedom behind it, of what the runs are worth.
    pub(super) dof: f64,
    /// The seeds' alone; 0 where no runs differ by their seed only [-].
    pub(super) seeds: f64,
    /// Whether the bias of approach 2 was taken off.
    pub(super) corrected: bool,
}

impl<'a> Estimator<'a> {
    /// Every method of `analysis`, in the order in which they lead.
    pub(super) fn all(analysis: &'a Analysis) -> Vec<Self> {
        analysis.fits.iter().map(|fit| Self::of(analysis, fit)).collect()
    }

    fn of(analysis: &Analysis, fit: &'a Fit) -> Self {
        let line = |f: &Frontier| Law::Line(analysis.drawn_line(fit, *f));
        let (law, draws) = match (fit.params, &fit.draws) {
            (Some(s), Draws::Surfaces(draws)) => {
                (Law::Surface(s), draws.iter().copied().map(Law::Surface).collect())
            }
            (_, Draws::Frontiers(draws)) => (line(&fit.frontier), draws.iter().map(line).collect()),
            (None, Draws::Surfaces(_)) => (line(&fit.frontier), Vec::new()),
        };
        let seeds = analysis.noise.as_ref().map_or(0.0, |noise| noise.sd);
        let scatter = fit.residual_sd.unwrap_or(0.0).max(seeds);
        let dof = analysis.sample_size().dof(analysis.pins.free());
        Self { fit, law, draws, scatter, dof, seeds, corrected: analysis.bias(fit).is_some() }
    }

    /// Standard deviation of ln L of one run about the law [-].
    pub(super) fn scatter(&self) -> f64 {
        self.scatter
    }

    /// The optimal run that `fixed` names, and the draws' answers; draws without one are left out.
    pub(super) fn optimal(&self, compute: &Compute, fixed: Fixed) -> Option<Optimal> {
        let best = self.law.optimal(compute, fixed)?;
        let drawn = self.draws.iter().filter_map(|l| l.optimal(compute, fixed)).collect();
        Some(Optimal { best, drawn, level: self.fit.level })
    }

    /// Prediction interval for the loss of one run, where the method has a surface.
    pub(super) fn loss(&self, (params, tokens): (f64, f64)) -> Option<Estimate> {
        self.loss_by(|s| Some(s.loss(params, tokens)))
    }

    /// Standard deviation of ln L that was predicted for one run: the draws' and its own scatter [-].
    pub(super) fn sd(&self, (params, tokens): (f64, f64)) -> f64 {
        let centres: Vec<f64> = surfaces(&self.draws).map(|s| s.loss(params, tokens)).collect();
        stats::log_sd(&centres).unwrap_or(0.0).hypot(self.scatter)
    }

    /// The same for a loss that is read off the surface in another way.
    ///
    /// The draws' values, times a run's own scatter with Student's tails, since the scatter was itself
    /// estimated from the runs. The tails are those of the fit's degrees of freedom also where the seeds'
    /// scatter is the larger: a pair of seeds would otherwise widen every interval fourfold by chance.
    pub(super) fn loss_by(&self, of: impl Fn(&Surface) -> Option<f64>) -> Option<Estimate> {
        let Law::Surface(surface) = &self.law else { return None };
        let value = path::sound(of(surface)?)?;
        let centres: Vec<f64> = surfaces(&self.draws).filter_map(of).collect();
        let (sd, student) = (self.scatter, stats::Student::new(self.dof));
        let noisy =
            |centres: &[f64]| stats::noisy_interval(centres, sd, student.as_ref()?, self.fit.level);
        let ends = noisy(&centres).or_else(|| noisy(&[value; 20])).unwrap_or([value; 2]);
        Estimate::holding(value, ends)
    }
}

fn surfaces(laws: &[Law]) -> impl Iterator<Item = &Surface> {
    laws.iter().filter_map(|l| match l {
        Law::Surface(s) => Some(s),
        Law::Line(_) => None,
    })
}

/// The leading surface: the first one among the fits.
pub(super) struct Leading<'a> {
    pub(super) analysis: &'a Analysis,
    pub(super) estimator: Estimator<'a>,
    pub(super) surface: Surface,
}

impl<'a> Leading<'a> {
    pub(super) fn of(analysis: &'a Analysis) -> Result<Self, PredictError> {
        let found =
            Estimator::all(analysis).into_iter().find_map(|estimator| match estimator.law {
                Law::Surface(surface) => Some((estimator, surface)),
                Law::Line(_) => None,
            });
        let (estimator, surface) = found
            .ok_or_else(|| PredictError::NoSurface { source_table: analysis.source.clone() })?;
        Ok(Self { analysis, estimator, surface })
    }

    pub(super) fn method(&self) -> String {
        self.estimator.fit.method.clone()
    }

    pub(super) fn level(&self) -> f64 {
        self.estimator.fit.level
    }

    pub(super) fn no_optimum(&self, fixed: Fixed) -> PredictError {
        let (what, _, value) = fixed.words();
        PredictError::NoOptimum { method: self.method(), what, value }
    }

    /// C over the largest compute that was fitted [-].
    pub(super) fn extrapolation(&self, flops: f64) -> f64 {
        flops / self.range(|p| p.flops)[1]
    }

    /// Smallest and largest value of `of` over the runs.
    fn range(&self, of: impl Fn(&crate::points::Point) -> f64) -> [f64; 2] {
        let values = self.analysis.points.iter().map(of);
        values.fold([f64::MAX, 0.0], |[l, h], v| [l.min(v), h.max(v)])
    }

    /// Whether a predicted loss is one that no trained model should have: above that of a guess which favours no
    /// token, or above every loss that was measured.
    pub(super) fn implausible(&self, loss: f64) -> Option<Warning> {
        let unit = after_loss(&self.analysis.convention.loss);
        if let Some(guess) = self.analysis.uniform_loss.filter(|guess| loss > *guess) {
            let text = format!(
                "the predicted loss {loss:.4} is above {guess:.4}{unit}, which a guess reaches that favours no \
                 token (ln V): no law of trained runs holds there"
            );
            return Some(Warning::new(Code::LossAboveGuess, text));
        }
        let [_, most] = self.range(|p| p.loss);
        (loss > most).then(|| {
            let text = format!(
                "the predicted loss {loss:.4} is above every measured one (up to {most:.4}{unit}): the law is not \
                 known there"
            );
            Warning::new(Code::LossAboveRuns, text)
        })
    }

    /// What to know before believing an answer at compute `flops`: distance from the runs, no intervals.
    pub(super) fn warnings_at(&self, flops: f64) -> Vec<Warning> {
        let mut warnings = Vec::new();
        let [least, most] = self.range(|p| p.flops);
        warnings.extend(distance(flops, least, most));
        warnings.extend(silent(self.estimator.fit));
        warnings.extend(self.analysis.pins.warning());
        warnings
    }

    /// Whether `ratio` tokens per parameter lie outside what the runs have tried.
    pub(super) fn unusual_ratio(&self, ratio: f64) -> Option<Warning> {
        let [least, most] = self.range(|p| p.tokens / p.params);
        let text = if ratio > most {
            format!(
                "{ratio:.0} tokens per parameter, beyond the runs' {most:.0}: laws fitted at ordinary \
                 ratios over-estimate what further tokens bring (Sardana et al. 2024)"
            )
        } else if ratio < least {
            format!(
                "{ratio:.2} tokens per parameter, below the runs' {least:.2}: the law is not known there"
            )
        } else {
            return None;
        };
        Some(Warning::new(Code::RatioBeyondRuns, text))
    }
}

/// A fit without draws.
pub(super) fn silent(fit: &Fit) -> Option<Warning> {
    fit.draws.is_empty().then(|| {
        let text = format!("{}: no draws, so no interval: its ends repeat the value", fit.method);
        Warning::new(Code::NoIntervals, text)
    })
}

fn distance(flops: f64, least: f64, most: f64) -> Option<Warning> {
    let factor = flops / most;
    if factor > VERY_FAR {
        Some(Warning::new(
            Code::FarExtrapolation,
            format!(
                "extrapolates {factor:.0} times beyond the largest run ({most:.2e} FLOP): no published \
             forecast has been shown to hold beyond {VERY_FAR:.0} times, and no interval holds a law \
             that is none of the forms"
            ),
        ))
    } else if factor > FAR {
        Some(Warning::new(
            Code::Extrapolation,
            format!(
                "extrapolates {factor:.0} times beyond the largest run ({most:.2e} FLOP): no interval \
             holds a law that is none of the forms"
            ),
        ))
    } else if flops < least / FAR {
        Some(Warning::new(
            Code::BelowRuns,
            format!(
                "{:.0} times below the smallest run ({least:.2e} FLOP): the law is not known there",
                least / flops
            ),
        ))
    } else {
        None
    }
}
