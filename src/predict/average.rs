//! What all forms of law together say: the one voice of every answer.
//!
//! Several forms may fit the same runs and part beyond them, and the interval of any one of them knows nothing
//! of that. So every answer is that of their average, the weighted mean of ln L: its loss, its compute-optimal
//! run, the compute that reaches a loss. How much a form counts, and how far all of them may miss, was measured
//! when the runs were fitted ([`Averaging`](crate::fit::Averaging)). A form whose loss rises with N or D where
//! it is asked, or is no number, is not heard there.
//!
//! The interval of a run's loss is the exact quantiles of the mixture of the forms' own predictive
//! distributions: draws, a run's scatter, and the discrepancy that grows with ln(C / C_max). The interval of
//! any other number is the percentiles of what each draw of each form says of it. An interval holds its value.
//!
//! Limits: the truth may be none of the forms, and they may all be wrong alike. Read by: the questions of
//! `predict`, `figure`.

use serde::{Deserialize, Serialize};

use super::belief::{Belief, Formed};
use super::voice::{Lead, Voice};
use super::{Estimate, PredictError, path};
use crate::fit::law::Curve;
use crate::fit::stats::{self, Part, Student};
use crate::fit::{Analysis, Compute, Draws, HEARD, LawFit};

/// The form whose surface leads the methods.
const LEAD: &str = "chinchilla";
/// Draws of a form that are asked what takes a search.
const ASKED: usize = 60;

/// One form's part in an average.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FormShare {
    /// Name of the law, as among the `laws` of a fit.
    pub law: String,
    /// What it counts [0, 1].
    pub weight: f64,
    /// Loss of the run, or E, under it alone [nats/token].
    pub loss: f64,
}

/// The loss of one run by all forms.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Averaged {
    /// Weighted mean of ln L, and the mixture's interval [nats/token].
    pub(super) loss: Estimate,
    /// Standard deviation of ln L of the mixture [-].
    pub(super) sd: f64,
    /// Who was heard, the weightiest first.
    pub(super) forms: Vec<FormShare>,
}

/// One form with what the bootstrap made of it.
struct Member {
    law: String,
    weight: f64,
    best: Box<dyn Belief + Sync>,
    draws: Vec<Box<dyn Belief + Sync>>,
    /// E of the form and of its draws; nothing where it has none [nats/token].
    floor: Option<f64>,
    floors: Vec<f64>,
    /// Standard deviation of ln L of one run about it [-].
    scatter: f64,
}

/// The average of the forms.
pub(super) struct Average<'a> {
    pub(super) lead: Lead<'a>,
    members: Vec<Member>,
    student: Student,
    /// Of ln L for each e-fold beyond the runs [-].
    discrepancy: f64,
    /// ln of the largest compute that was fitted.
    ln_most: f64,
}

impl Belief for Average<'_> {
    fn ln_loss(&self, ln_n: f64, ln_d: f64) -> f64 {
        let (mut sum, mut total) = (0.0, 0.0);
        for m in self.heard(ln_n, ln_d) {
            sum += m.weight * m.best.ln_loss(ln_n, ln_d);
            total += m.weight;
        }
        if total > 0.0 { sum / total } else { f64::NAN }
    }
}

impl<'a> Average<'a> {
    pub(super) fn of(analysis: &'a Analysis) -> Result<Self, PredictError> {
        let lead = Lead::of(analysis)?;
        let seeds = lead.voice.seeds;
        let mut members: Vec<Member> = analysis
            .laws
            .iter()
            .filter_map(|form| member(&lead, form, weight(analysis, form)?, seeds))
            .collect();
        if members.is_empty() {
            members.push(alone(&lead, 1.0, seeds));
        }
        let total: f64 = members.iter().map(|m| m.weight).sum();
        members.iter_mut().for_each(|m| m.weight /= total);
        members.sort_by(|l, r| r.weight.total_cmp(&l.weight));
        let no_surface = || PredictError::NoSurface { source_table: analysis.source.clone() };
        let student = Student::new(lead.voice.fit.n as f64 - 5.0).ok_or_else(no_surface)?;
        let most = analysis.points.iter().map(|p| p.flops).fold(0.0, f64::max);
        let discrepancy = analysis.averaging.as_ref().map_or(0.0, |a| a.discrepancy);
        Ok(Self { lead, members, student, discrepancy, ln_most: most.ln() })
    }

    pub(super) fn compute(&self) -> &'a Compute {
        &self.lead.analysis.compute
    }

    /// How many forms speak, as a person reads it.
    pub(super) fn name(&self) -> String {
        match self.members.as_slice() {
            [one] => one.law.clone(),
            all => format!("average of {} forms", all.len()),
        }
    }

    /// Forms that say something of a run.
    fn heard(&self, ln_n: f64, ln_d: f64) -> Vec<&Member> {
        self.members.iter().filter(|m| m.best.falls(ln_n, ln_d)).collect()
    }

    /// The forms that say nothing of a run, by name.
    pub(super) fn silent(&self, params: f64, tokens: f64) -> Vec<&str> {
        let (ln_n, ln_d) = (params.ln(), tokens.ln());
        self.members.iter().filter(|m| !m.best.falls(ln_n, ln_d)).map(|m| &*m.law).collect()
    }

    /// ln N of the best run at ln C.
    pub(super) fn best(&self, ln_c: f64) -> Option<f64> {
        self.optimum(self.compute(), ln_c, self.near(ln_c)?)
    }

    /// The weighted mean of what the forms hold for the best size.
    fn near(&self, ln_c: f64) -> Option<f64> {
        let guess = self.guess(ln_c);
        let found: Vec<(f64, f64)> = self
            .members
            .iter()
            .filter_map(|m| Some((m.best.optimum(self.compute(), ln_c, guess)?, m.weight)))
            .collect();
        let total: f64 = found.iter().map(|f| f.1).sum();
        (total > 0.0).then(|| found.iter().map(|(n, w)| n * w).sum::<f64>() / total)
    }

    /// Where to look for a best size: that of the leading surface, or half of what the compute grew.
    fn guess(&self, ln_c: f64) -> f64 {
        Belief::optimum(&self.lead.surface, self.compute(), ln_c, 0.0).unwrap_or(0.5 * ln_c)
    }

    /// A place on the path to start a search from: (ln C, ln N) at the largest compute of the runs.
    pub(super) fn start(&self) -> (f64, f64) {
        (self.ln_most, self.near(self.ln_most).unwrap_or_else(|| self.guess(self.ln_most)))
    }

    /// What `of` says of each draw, with the draw's weight: of all draws of surfaces, and of some of the others.
    pub(super) fn drawn<T>(&self, of: impl Fn(&dyn Belief) -> Option<T>) -> Vec<(T, f64)> {
        let mut out = Vec::new();
        for m in &self.members {
            let every = if m.law == LEAD { 1 } else { m.draws.len().div_ceil(ASKED).max(1) };
            let said: Vec<T> =
                m.draws.iter().step_by(every).filter_map(|d| of(d.as_ref())).collect();
            let each = m.weight / said.len().max(1) as f64;
            out.extend(said.into_iter().map(|v| (v, each)));
        }
        out
    }

    /// `value` between the percentiles of `drawn`.
    pub(super) fn between(&self, value: f64, drawn: &[(f64, f64)]) -> Option<Estimate> {
        let ends = stats::weighted_interval(drawn, self.lead.level()).unwrap_or([value; 2]);
        Estimate::holding(value, ends)
    }

    /// What `of` says of the average, between the percentiles of what it says of the draws.
    pub(super) fn estimate(&self, of: impl Fn(&dyn Belief) -> Option<f64>) -> Option<Estimate> {
        self.between(of(self)?, &self.drawn(&of))
    }

    /// The loss of a run of `params` on `tokens` fresh tokens. Nothing where no form says anything of it.
    pub(super) fn loss(&self, params: f64, tokens: f64) -> Option<Averaged> {
        let (ln_n, ln_d) = (params.ln(), tokens.ln());
        self.loss_by(ln_n, ln_d, |law| Some(law.ln_loss(ln_n, ln_d)))
    }

    /// The same for a loss that is read off a law in another way; `ln_n` and `ln_d` say where.
    pub(super) fn loss_by(
        &self,
        ln_n: f64,
        ln_d: f64,
        of: impl Fn(&dyn Belief) -> Option<f64>,
    ) -> Option<Averaged> {
        let heard = self.heard(ln_n, ln_d);
        let ln_c = self.compute().log_per_token(ln_n).0 + ln_d;
        let reach = self.discrepancy * (ln_c - self.ln_most).max(0.0);
        let mut parts = Vec::new();
        let mut said: Vec<(f64, FormShare)> = Vec::new();
        for m in heard {
            let Some(value) = of(m.best.as_ref()).filter(|v| v.is_finite()) else { continue };
            let mut centres: Vec<f64> = m
                .draws
                .iter()
                .filter(|d| d.falls(ln_n, ln_d))
                .filter_map(|d| of(d.as_ref()))
                .filter(|v| v.is_finite())
                .collect();
            if centres.is_empty() {
                centres.push(value);
            }
            // A mixture needs some scatter, also where a law fits exactly.
            let sd = m.scatter.hypot(reach).max(1e-9);
            let weight = m.weight / centres.len() as f64;
            parts.extend(centres.into_iter().map(|centre| Part { centre, sd, weight }));
            let share = FormShare { law: m.law.clone(), weight: m.weight, loss: value.exp() };
            said.push((value, share));
        }
        let total: f64 = said.iter().map(|(_, s)| s.weight).sum();
        if total <= 0.0 {
            return None;
        }
        let centre = said.iter().map(|(value, s)| s.weight * value).sum::<f64>() / total;
        let spread = parts.iter().map(|p| p.weight * ((p.centre - centre).powi(2) + p.sd.powi(2)));
        let sd = (spread.sum::<f64>() / total).sqrt();
        let ends = stats::mixture_interval(&parts, &self.student, self.lead.level()).map(f64::exp);
        let forms = said.into_iter().map(|(_, s)| FormShare { weight: s.weight / total, ..s });
        let loss = Estimate::holding(centre.exp(), ends)?;
        Some(Averaged { loss, sd, forms: forms.collect() })
    }

    /// The loss that infinite N and D leave: the weighted mean of E over the forms that have one.
    pub(super) fn irreducible(&self) -> Option<Irreducible> {
        let has: Vec<(&Member, f64)> =
            self.members.iter().filter_map(|m| Some((m, m.floor?))).collect();
        let total: f64 = has.iter().map(|(m, _)| m.weight).sum();
        if total <= 0.0 {
            return None;
        }
        let forms: Vec<FormShare> = has
            .iter()
            .map(|(m, e)| FormShare { law: m.law.clone(), weight: m.weight / total, loss: *e })
            .collect();
        let value = forms.iter().map(|f| f.weight * f.loss).sum();
        let drawn: Vec<(f64, f64)> = has
            .iter()
            .flat_map(|(m, _)| m.floors.iter().map(|e| (*e, m.weight / m.floors.len() as f64)))
            .collect();
        Some(Irreducible { e: self.between(value, &drawn)?, forms })
    }
}

/// What a form counts; nothing for one that is not heard.
fn weight(analysis: &Analysis, form: &LawFit) -> Option<f64> {
    let weight = match &analysis.averaging {
        Some(measured) => measured.forms.iter().find(|f| f.law == form.law)?.weight,
        None => form.weight?,
    };
    (weight >= HEARD).then_some(weight)
}

/// A form as it is heard; Chinchilla's speaks with the leading surface.
fn member(lead: &Lead<'_>, form: &LawFit, weight: f64, seeds: f64) -> Option<Member> {
    if form.law == LEAD {
        return Some(alone(lead, weight, form.residual_sd.max(seeds)));
    }
    let (law, compute) = (form.form()?, lead.analysis.compute);
    let formed = |values: &[f64]| Some(Formed { curve: Curve::new(law, values)?, compute });
    let values = form.fitted();
    Some(Member {
        law: form.law.clone(),
        weight,
        best: Box::new(formed(&values)?),
        draws: form
            .draws
            .iter()
            .filter_map(|d| Some(Box::new(formed(d)?) as Box<dyn Belief + Sync>))
            .collect(),
        floor: (law.irreducible)(&values),
        floors: form.draws.iter().filter_map(|d| (law.irreducible)(d)).collect(),
        scatter: form.residual_sd.max(seeds),
    })
}

fn alone(lead: &Lead<'_>, weight: f64, scatter: f64) -> Member {
    let draws = match &lead.voice.fit.draws {
        Draws::Surfaces(draws) => draws.as_slice(),
        Draws::Frontiers(_) => &[],
    };
    Member {
        law: LEAD.to_owned(),
        weight,
        best: Box::new(lead.surface),
        draws: draws.iter().map(|s| Box::new(*s) as Box<dyn Belief + Sync>).collect(),
        floor: Some(lead.surface.e),
        floors: draws.iter().map(|s| s.e).collect(),
        scatter: scatter.max(lead.voice.scatter()),
    }
}

/// The average, to be asked for the loss of many runs: the curves of a figure, a backtest.
pub struct MeanLoss<'a>(Average<'a>);

impl<'a> MeanLoss<'a> {
    /// Nothing without a surface.
    pub fn new(analysis: &'a Analysis) -> Option<Self> {
        Average::of(analysis).ok().map(Self)
    }

    /// Loss of a run of `params` parameters on `tokens` fresh tokens [nats/token].
    pub fn at(&self, params: f64, tokens: f64) -> Option<f64> {
        path::sound(self.0.ln_loss(params.ln(), tokens.ln()).exp())
    }

    /// The same with its prediction interval for one run.
    pub fn interval(&self, params: f64, tokens: f64) -> Option<Estimate> {
        Some(self.0.loss(params, tokens)?.loss)
    }

    /// The compute-optimal run at `flops` (N*, D*) [parameters, tokens].
    pub fn best(&self, flops: f64) -> Option<(f64, f64)> {
        let ln_n = self.0.best(flops.ln())?;
        let ln_d = flops.ln() - self.0.compute().log_per_token(ln_n).0;
        Some((path::sound(ln_n.exp())?, path::sound(ln_d.exp())?))
    }
}

/// The loss that infinite N and D leave, averaged over the forms that have such a limit [nats/token].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Irreducible {
    /// E with its interval, of the parameter and not of a run [nats/token].
    pub e: Estimate,
    /// The forms, the weightiest first, with the E of each as its loss.
    pub forms: Vec<FormShare>,
}

/// [`Irreducible`] of a fit; nothing without a surface.
pub fn irreducible(analysis: &Analysis) -> Option<Irreducible> {
    Average::of(analysis).ok()?.irreducible()
}

/// What a line of approach 1 or 2 says beside the forms, with its draws.
pub(super) fn lines<'a>(voices: &'a [Voice<'a>]) -> impl Iterator<Item = &'a Voice<'a>> {
    voices.iter().filter(|voice| voice.fit.params.is_none())
}
