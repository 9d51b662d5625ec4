//! What all forms of law together say: the one estimator of every answer.
//!
//! Several forms may fit the same runs and part beyond them, and the interval of any one of them knows nothing
//! of that. So every answer is that of their average, the weighted mean of ln L: its loss, its compute-optimal
//! run, the compute that reaches a loss. How much a form counts, and how far all of them may miss, was measured
//! when the runs were fitted ([`Averaging`](crate::fit::Averaging)). A form whose loss rises with N or D where
//! it is asked, or is no number, does not count there.
//!
//! The interval of a run's loss is the exact quantiles of the mixture of the forms' own predictive
//! distributions: draws, a run's scatter, and the discrepancy that grows with ln(C / C_max). The interval of
//! any other number is the percentiles of what each draw of each form says of it. An interval holds its value.
//!
//! Limits: the truth may be none of the forms, and they may all be wrong alike.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::belief::Belief;
use super::estimator::{Estimator, Leading, Optimal};
use super::member::{LEAD, Member, alone, member, weight};
use super::{Estimate, Fixed, PredictError};
use crate::fit::numeric::stats::{self, Part, Student};
use crate::fit::{Analysis, Compute};

/// A step in ln C over which the path is a straight line [-].
const RISE: f64 = 0.1;

/// Draws of the lines are paired with draws of compute this far apart: a prime, so that all are used.
const STRIDE: usize = 7919;

/// What a line (approach 1 or 2) counts beside the forms in the intervals of N* and D* [-].
const LINE: f64 = 0.5;

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
    /// The forms that answered, the weightiest first.
    pub(super) forms: Vec<FormShare>,
}

/// The average of the forms.
pub(super) struct Average<'a> {
    pub(super) lead: Leading<'a>,
    /// Every method, in the order in which they lead.
    pub(super) estimators: Vec<Estimator<'a>>,
    pub(super) members: Vec<Member>,
    student: Student,
    /// Of ln L for each e-fold beyond the runs [-].
    pub(super) discrepancy: f64,
    /// ln of the largest compute that was fitted.
    pub(super) ln_most: f64,
}

impl Belief for Average<'_> {
    fn ln_loss(&self, ln_n: f64, ln_d: f64) -> f64 {
        let (mut sum, mut total) = (0.0, 0.0);
        for m in self.answering(ln_n, ln_d) {
            sum += m.weight * m.best.ln_loss(ln_n, ln_d);
            total += m.weight;
        }
        if total > 0.0 { sum / total } else { f64::NAN }
    }
}

impl<'a> Average<'a> {
    pub(super) fn of(analysis: &'a Analysis) -> Result<Self, PredictError> {
        let lead = Leading::of(analysis)?;
        let seeds = lead.estimator.seeds;
        let mut members: Vec<Member> = analysis
            .laws
            .iter()
            .filter_map(|form| member(&lead, form, weight(analysis, form)?, seeds))
            .collect();
        if members.is_empty() {
            members.push(alone(&lead, 1.0, seeds));
        }
        let total: f64 = members.iter().map(|m| m.weight).sum();
        for m in &mut members {
            m.weight /= total;
        }
        members.sort_by(|l, r| r.weight.total_cmp(&l.weight));
        let no_surface = || PredictError::NoSurface { source_table: analysis.source.clone() };
        let student = Student::new(lead.estimator.dof).ok_or_else(no_surface)?;
        let most = analysis.points.iter().map(|p| p.flops).fold(0.0, f64::max);
        let discrepancy = analysis.averaging.as_ref().map_or(0.0, |a| a.discrepancy);
        let estimators = Estimator::all(analysis);
        Ok(Self { lead, estimators, members, student, discrepancy, ln_most: most.ln() })
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

    /// The same of an answer that these forms gave: those that say nothing of its run are not in it.
    pub(super) fn name_of(&self, forms: &[FormShare]) -> String {
        match forms {
            all if all.len() == self.members.len() => self.name(),
            [one] => one.law.clone(),
            some => format!("average of {} of {} forms", some.len(), self.members.len()),
        }
    }

    /// Forms that say something of a run.
    fn answering(&self, ln_n: f64, ln_d: f64) -> Vec<&Member> {
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
    pub(super) fn drawn<T: Send>(
        &self,
        of: impl Fn(&dyn Belief) -> Option<T> + Sync,
    ) -> Vec<(T, f64)> {
        self.drawn_by(|law, _| of(law))
    }

    /// The same for what depends on the number of the draw too.
    pub(super) fn drawn_by<T: Send>(
        &self,
        of: impl Fn(&dyn Belief, usize) -> Option<T> + Sync,
    ) -> Vec<(T, f64)> {
        let mut out = Vec::new();
        for m in &self.members {
            let every = if m.law == LEAD { 1 } else { m.draws.len().div_ceil(ASKED).max(1) };
            // Collected in the order of the draws, so the number of threads changes nothing.
            let asked = m.draws.par_iter().enumerate().step_by(every);
            let said: Vec<T> = asked.filter_map(|(i, d)| of(d.as_ref(), i)).collect();
            let each = m.weight / said.len().max(1) as f64;
            out.extend(said.into_iter().map(|v| (v, each)));
        }
        out
    }

    /// The runs (N, D) of `fixed` by the draws of approach 1 and 2, each draw with its weight: such a line knows
    /// nothing of the form of the law, and shares none of its error.
    pub(super) fn lines(&self, fixed: Fixed) -> Vec<((f64, f64), f64)> {
        let lines = self.estimators.iter().filter(|estimator| estimator.fit.params.is_none());
        let found = lines.filter_map(|line| line.optimal(self.compute(), fixed));
        let weighed = |found: Optimal| {
            let each = LINE / found.drawn.len().max(1) as f64;
            found.drawn.into_iter().map(move |run| (run, each))
        };
        found.flat_map(weighed).collect()
    }

    /// What the draws of the forms and of the lines hold for ln N* at ln C, each with its weight.
    pub(super) fn sizes(&self, ln_c: f64, near: f64) -> Vec<(f64, f64)> {
        let mut sizes = self.drawn(|law| law.optimum(self.compute(), ln_c, near));
        sizes.extend(self.aside(ln_c, near).into_iter().map(|(off, weight)| (near + off, weight)));
        sizes
    }

    /// How far the draws of the lines put ln N* at ln C from `ln_n`, each with its weight [-]. Questions whose answer
    /// such a line cannot give itself move theirs by as much.
    pub(super) fn aside(&self, ln_c: f64, ln_n: f64) -> Vec<(f64, f64)> {
        let lines = self.lines(Fixed::Flops(ln_c.exp()));
        lines.into_iter().map(|((n, _), weight)| (n.ln() - ln_n, weight)).collect()
    }

    /// The same where the compute is uncertain: `computes` are the draws of ln C, each with its weight. One size for
    /// each, as (ln C, ln N): the average's, moved as a draw of the lines says.
    pub(super) fn aside_over(
        &self,
        (ln_c, ln_n): (f64, f64),
        computes: &[(f64, f64)],
    ) -> Vec<((f64, f64), f64)> {
        let aside = self.aside(ln_c, ln_n);
        if aside.is_empty() || computes.iter().all(|(c, _)| (c - ln_c).abs() < 1e-9) {
            return aside.into_iter().map(|(off, weight)| ((ln_c, ln_n + off), weight)).collect();
        }
        let total: f64 = aside.iter().map(|(_, weight)| weight).sum();
        let beside = |step: f64| self.optimum(self.compute(), ln_c + step, ln_n + 0.5 * step);
        let rise = beside(RISE).zip(beside(-RISE)).map_or(0.5, |(h, l)| 0.5 * (h - l) / RISE);
        let paired = |(j, &(c, weight)): (usize, &(f64, f64))| {
            let (off, _) = aside[j * STRIDE % aside.len()];
            ((c, ln_n + rise * (c - ln_c) + off), weight * total)
        };
        computes.iter().enumerate().map(paired).collect()
    }

    /// `value` between the percentiles of `drawn`.
    pub(super) fn between(&self, value: f64, drawn: &[(f64, f64)]) -> Option<Estimate> {
        let ends = stats::weighted_interval(drawn, self.lead.level()).unwrap_or([value; 2]);
        Estimate::holding(value, ends)
    }

    /// What `of` says of the average, between the percentiles of what it says of the draws.
    pub(super) fn estimate(
        &self,
        of: impl Fn(&dyn Belief) -> Option<f64> + Sync,
    ) -> Option<Estimate> {
        self.estimate_by(|law, _| of(law))
    }

    /// The same for what depends on the number of the draw too; the average has none.
    pub(super) fn estimate_by(
        &self,
        of: impl Fn(&dyn Belief, Option<usize>) -> Option<f64> + Sync,
    ) -> Option<Estimate> {
        self.between(of(self, None)?, &self.drawn_by(|law, draw| of(law, Some(draw))))
    }

    /// The loss of a run of `params` on `tokens` fresh tokens. Nothing where no form says anything of it.
    pub(super) fn loss(&self, params: f64, tokens: f64) -> Option<Averaged> {
        let (ln_n, ln_d) = (params.ln(), tokens.ln());
        let run = (ln_n, ln_d);
        self.loss_by(run, run, |law, _| Some(law.ln_loss(ln_n, ln_d)))
    }

    /// The same for a loss that is read off a law, and off a numbered draw of it, in another way: of `run`, read off
    /// each law at `asked`, both (ln N, ln D).
    pub(super) fn loss_by(
        &self,
        run: (f64, f64),
        asked @ (ln_n, ln_d): (f64, f64),
        of: impl Fn(&dyn Belief, Option<usize>) -> Option<f64> + Sync,
    ) -> Option<Averaged> {
        let members = self.answering(asked.0, asked.1);
        let ln_c = self.compute().log_per_token(run.0).0 + run.1;
        let reach = self.discrepancy * (ln_c - self.ln_most).max(0.0);
        let mut parts = Vec::new();
        let mut said: Vec<(f64, FormShare)> = Vec::new();
        for m in members {
            let Some(value) = of(m.best.as_ref(), None).filter(|v| v.is_finite()) else { continue };
            let mut centres: Vec<f64> = m
                .draws
                .iter()
                .enumerate()
                .filter(|(_, d)| d.falls(ln_n, ln_d))
                .filter_map(|(i, d)| of(d.as_ref(), Some(i)))
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
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::{Repetition, at_flops, chosen, limited, optimal_with, sample};
    use super::*;
    use crate::fit::law::{Law, Run};
    use crate::fit::{Averaging, Code, Draws, FormWeight};

    /// The forms of `weights` and no others.
    pub(in crate::predict) fn told(weights: &[(&str, f64)]) -> Analysis {
        let mut analysis = sample::analysis(60);
        for form in &mut analysis.laws {
            form.draws = vec![form.fitted(); 30];
        }
        let forms = weights.iter().map(|(law, weight)| FormWeight {
            law: (*law).to_owned(),
            weight: *weight,
            error: None,
            sd_ahead: None,
        });
        analysis.averaging = Some(Averaging { forms: forms.collect(), discrepancy: 0.0, cuts: 0 });
        analysis
    }

    /// By hand: two forms of 3:1 at their weighted geometric mean; the interval reaches both, and the standard
    /// deviation holds the distance between them.
    #[test]
    fn forms_count_by_their_weight() {
        let mut analysis = told(&[("chinchilla", 0.75), ("kaplan", 0.25)]);
        let (n, d) = (3e9, 1e11);
        for form in analysis.laws.iter_mut().filter(|f| f.law == "kaplan") {
            // Nc and Dc a hundredth: a form far below the other.
            form.params[0].value *= 1e-2;
            form.params[1].value *= 1e-2;
            form.draws = vec![form.fitted(); 30];
            form.residual_sd = 1e-3;
        }
        let average = Average::of(&analysis).unwrap();
        let got = average.loss(n, d).unwrap();
        let kaplan = analysis.laws.iter().find(|f| f.law == "kaplan").unwrap();
        let other = Law::named("kaplan").unwrap().loss(&kaplan.draws[0], &Run::new(n, d)).unwrap();
        let own = average.lead.surface.loss(n, d);
        let want = (0.75 * own.ln() + 0.25 * other.ln()).exp();
        assert!((got.loss.value / want - 1.0).abs() < 1e-12, "{got:?} {want}");
        assert!((own / other).ln().abs() > 0.1, "{own} {other}");
        assert!(got.loss.lo < own.min(other) && own.max(other) < got.loss.hi, "{got:?}");
        // Between the forms alone: sqrt(3/16) of their distance.
        let between = (3.0_f64 / 16.0).sqrt() * (own / other).ln().abs();
        assert!(got.sd > between && got.sd < 1.1 * between, "{} {between}", got.sd);
        let named: Vec<(&str, f64)> =
            got.forms.iter().map(|f| (f.law.as_str(), f.weight)).collect();
        assert_eq!(named, [("chinchilla", 0.75), ("kaplan", 0.25)]);
    }

    /// Kaplan's exponents below zero: a loss that rises with N. It has all but no say, and the answer says so.
    #[test]
    fn a_form_that_rises_does_not_count_and_is_named() {
        let mut analysis = told(&[("chinchilla", 0.5), ("kaplan", 0.5)]);
        for form in analysis.laws.iter_mut().filter(|f| f.law == "kaplan") {
            form.params[2].value = -0.1;
            form.draws = vec![form.fitted(); 30];
        }
        let p = chosen(&analysis, 3e9, 1e11).unwrap();
        assert_eq!(p.forms.len(), 1);
        assert!((p.forms[0].weight - 1.0).abs() < 1e-12);
        let told = p.warnings.iter().find(|w| w.code == Code::FormUnheard).unwrap();
        assert!(told.text.contains("kaplan") && !told.text.contains("chinchilla"), "{told}");
        // A form that is no number likewise.
        for form in analysis.laws.iter_mut().filter(|f| f.law == "kaplan") {
            form.params[0].value = f64::NAN;
        }
        let again = chosen(&analysis, 3e9, 1e11).unwrap();
        assert!((again.loss.value / p.loss.value - 1.0).abs() < 1e-12);
    }

    #[test]
    fn values_do_not_depend_on_whether_a_bootstrap_ran() {
        let with = sample::analysis(60);
        let mut without = with.clone();
        for form in &mut without.laws {
            form.draws.clear();
        }
        for fit in &mut without.fits {
            fit.draws = match &fit.draws {
                Draws::Surfaces(_) => Draws::Surfaces(Vec::new()),
                Draws::Frontiers(_) => Draws::Frontiers(Vec::new()),
            };
        }
        let [p, q] = [&with, &without].map(|a| at_flops(a, 1e22).unwrap());
        assert_eq!(
            (p.params.value, p.tokens.value, p.loss.value),
            (q.params.value, q.tokens.value, q.loss.value)
        );
        assert_eq!(p.forms, q.forms);
    }

    /// Every question: values are finite and inside their intervals.
    #[test]
    fn every_estimate_holds_its_value() {
        let analysis = sample::analysis(60);
        let inside =
            |e: &Estimate| assert!(e.lo <= e.value && e.value <= e.hi && e.hi.is_finite(), "{e:?}");
        for c in [1e17, 1e21, 1e24] {
            let p = at_flops(&analysis, c).unwrap();
            [p.params, p.tokens, p.tokens_per_param, p.loss, p.deadweight_half.unwrap()]
                .iter()
                .for_each(inside);
            assert!((p.forms.iter().map(|f| f.weight).sum::<f64>() - 1.0).abs() < 1e-9);
            let q = optimal_with(&analysis, Fixed::Loss(p.loss.value)).unwrap();
            [q.flops, q.params, q.tokens, q.loss].iter().for_each(inside);
            let r = limited(&analysis, c, 0.1 * p.tokens.value, &Repetition::PUBLISHED).unwrap();
            [r.params, r.tokens, r.price, r.loss, r.deadweight].iter().for_each(inside);
        }
    }

    /// A law that Chinchilla's form can only bend to: at a hundred times the largest compute the average is nearer to
    /// it, and its interval holds it.
    #[test]
    fn a_truth_of_another_form_is_met_where_the_lead_alone_bends() {
        let law = Law::named("coupled").unwrap();
        let truth =
            |n: f64, d: f64| law.loss(&[1.2, 3e4, 2e5, 0.62, 0.66, 0.4], &Run::new(n, d)).unwrap();
        let analysis = sample::on(&truth, 60);
        let average = Average::of(&analysis).unwrap();
        let (n, d) = average.lead.surface.optimum(&analysis.compute, 1e23).unwrap();
        let (averaged, alone) =
            (average.loss(n, d).unwrap().loss, average.lead.estimator.loss((n, d)).unwrap());
        let off = |e: Estimate| (e.value / truth(n, d)).ln().abs();
        assert!((averaged.lo..=averaged.hi).contains(&truth(n, d)), "{averaged:?} {}", truth(n, d));
        assert!(off(averaged) < off(alone), "{averaged:?} {alone:?} {}", truth(n, d));
    }
}
