//! What all forms of law together say of one run's loss.
//!
//! Several forms may fit the same runs and part beyond them, and the interval of any one of them knows
//! nothing of that. So the predicted loss is an average: every form counts with its share of the evidence
//! (`weight` of a [`LawFit`]), the value being the weighted mean of ln L (Burnham & Anderson 2002, chapter 4).
//!
//! The interval is the exact quantiles of the mixture of the forms' own predictive distributions, draws and
//! scatter together. In it no form that bends as freely as Chinchilla's has odds below [`ODDS`] against the
//! best: that one form fits the runs better is weak evidence of what holds far beyond them, where the loss
//! is asked for, and even more so at infinity, where E is.
//!
//! Limits: the truth may be none of the forms, and they may all be wrong alike; N* and D* stay those of
//! the leading surface. Read by: `chosen`, `optimum`, `figure`.

use serde::{Deserialize, Serialize};

use super::Estimate;
use super::path;
use super::voice::Lead;
use crate::fit::law::Run;
use crate::fit::stats::{self, Part, Student};
use crate::fit::{Analysis, Draws, HEARD, LawFit, Surface, free};

/// The form whose surface leads.
const LEAD: &str = "chinchilla";

/// Least odds in an interval of a free form against the best.
const ODDS: f64 = 0.05;

/// One form's part in an average.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FormShare {
    /// Name of the law, as among the `laws` of a fit.
    pub law: String,
    /// Its share of the evidence [0, 1].
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
    /// Who was heard, the weightiest first. Empty where the leading surface speaks alone.
    pub(super) forms: Vec<FormShare>,
}

/// One form at one run.
struct Opinion {
    share: FormShare,
    /// What it counts in the interval [0, 1].
    odds: f64,
    /// ln L by its draws; the value alone where it has none.
    drawn: Vec<f64>,
    /// Standard deviation of ln L of one run about it [-].
    scatter: f64,
}

/// The loss of a run of `params` parameters on `tokens` fresh tokens. Nothing where the leading surface
/// says nothing of it.
pub(super) fn loss(lead: &Lead<'_>, params: f64, tokens: f64) -> Option<Averaged> {
    let alone = lead.voice.loss((params, tokens))?;
    let mut opinions: Vec<Opinion> = heard(lead.analysis)
        .into_iter()
        .filter_map(|heard| opinion(lead, &heard, (params, tokens)))
        .collect();
    let student = Student::new(lead.voice.fit.n as f64 - 5.0)?;
    if opinions.iter().all(|o| o.share.law == LEAD) {
        let sd = lead.voice.sd((params, tokens));
        return Some(Averaged { loss: alone, sd, forms: Vec::new() });
    }
    opinions.sort_by(|l, r| r.share.weight.total_cmp(&l.share.weight));
    let mean = |of: &dyn Fn(&Opinion) -> f64| -> f64 {
        opinions.iter().map(|o| o.share.weight * of(o)).sum()
    };
    let centre = mean(&|o| o.share.loss.ln());
    let variance = mean(&|o| {
        let about = o.drawn.iter().map(|l| (l - centre).powi(2)).sum::<f64>();
        about / o.drawn.len() as f64 + o.scatter.powi(2)
    });
    let parts: Vec<Part> = opinions
        .iter()
        .flat_map(|o| {
            let weight = o.odds / o.drawn.len() as f64;
            o.drawn.iter().map(move |centre| Part { centre: *centre, sd: o.scatter, weight })
        })
        .collect();
    let [lo, hi] = stats::mixture_interval(&parts, &student, lead.level()).map(f64::exp);
    Some(Averaged {
        loss: Estimate { value: centre.exp(), lo, hi },
        sd: variance.sqrt(),
        forms: counted(opinions.into_iter().map(|o| o.share)),
    })
}

/// The shares that count in the value.
fn counted(shares: impl Iterator<Item = FormShare>) -> Vec<FormShare> {
    shares.filter(|share| share.weight > 0.0).collect()
}

/// The value of that average without its interval: the curve of a figure. Nothing without a surface.
pub fn mean_loss(analysis: &Analysis, params: f64, tokens: f64) -> Option<f64> {
    let lead = analysis.fits.iter().find_map(|fit| fit.params.as_ref())?;
    let forms: Vec<(f64, f64)> = heard(analysis)
        .iter()
        .filter_map(|h| Some((h.weight, value(analysis, lead, h.form, (params, tokens))?)))
        .collect();
    if forms.is_empty() {
        return path::sound(lead.loss(params, tokens));
    }
    Some(forms.iter().map(|(weight, loss)| weight * loss.ln()).sum::<f64>().exp())
}

/// The loss of a run under one form; Chinchilla's speaks with the leading surface.
fn value(
    analysis: &Analysis,
    lead: &Surface,
    form: &LawFit,
    (params, tokens): (f64, f64),
) -> Option<f64> {
    if form.law == LEAD {
        return path::sound(lead.loss(params, tokens));
    }
    path::sound(form.loss(&run(analysis, params, tokens))?)
}

/// A run on fresh tokens, as the laws see it.
fn run(analysis: &Analysis, params: f64, tokens: f64) -> Run {
    Run::new(params, tokens).flops(analysis.compute.per_token(params) * tokens)
}

/// The loss that infinite N and D leave, averaged over the forms: their weighted mean, and the percentiles of
/// their draws by weight [nats/token].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Irreducible {
    /// E with its interval, of the parameter and not of a run [nats/token].
    pub e: Estimate,
    /// The forms, the weightiest first, with the E of each as its loss.
    pub forms: Vec<FormShare>,
}

/// [`Irreducible`] of a fit; nothing where the leading surface speaks alone, whose E stands among its
/// parameters.
pub fn irreducible(analysis: &Analysis) -> Option<Irreducible> {
    let fit = analysis.fits.iter().find(|fit| fit.params.is_some())?;
    let (mut forms, mut drawn) = (Vec::new(), Vec::new());
    for Heard { form, weight, odds } in heard(analysis) {
        let law = form.form()?;
        let (loss, draws): (Option<f64>, Vec<f64>) = match &fit.draws {
            Draws::Surfaces(draws) if form.law == LEAD => {
                (fit.params.map(|s| s.e), draws.iter().map(|s| s.e).collect())
            }
            _ => (
                (law.irreducible)(&form.fitted()),
                form.draws.iter().filter_map(|d| (law.irreducible)(d)).collect(),
            ),
        };
        let Some(loss) = loss else { continue };
        let each = odds / draws.len().max(1) as f64;
        drawn.extend(draws.into_iter().map(|e| (e, each)));
        forms.push(FormShare { law: form.law.clone(), weight, loss });
    }
    if forms.iter().all(|f| f.law == LEAD) {
        return None;
    }
    let total: f64 = forms.iter().map(|f| f.weight).sum();
    for form in &mut forms {
        form.weight /= total;
    }
    forms.sort_by(|l, r| r.weight.total_cmp(&l.weight));
    let value = forms.iter().map(|f| f.weight * f.loss).sum();
    let [lo, hi] = stats::weighted_interval(&drawn, fit.level).unwrap_or([value; 2]);
    Some(Irreducible { e: Estimate { value, lo, hi }, forms: counted(forms.into_iter()) })
}

/// A form with a say.
struct Heard<'a> {
    form: &'a LawFit,
    /// In the value: its share of the evidence among those heard, 0 below [`HEARD`] [0, 1].
    weight: f64,
    /// In the interval: the same, and not below [`ODDS`] of the best for a free form [0, 1].
    odds: f64,
}

/// The forms with a say: those with draws, and that of the leading surface.
fn heard(analysis: &Analysis) -> Vec<Heard<'_>> {
    let best = analysis.laws.iter().filter_map(|form| form.weight).fold(0.0, f64::max);
    let mut heard: Vec<Heard<'_>> =
        analysis.laws.iter().filter_map(|form| hear(form, best)).collect();
    let sum = |of: fn(&Heard<'_>) -> f64| heard.iter().map(of).sum::<f64>();
    let (weights, odds) = (sum(|h| h.weight), sum(|h| h.odds));
    if weights == 0.0 {
        return Vec::new();
    }
    for h in &mut heard {
        h.weight /= weights;
        h.odds /= odds;
    }
    heard
}

fn hear(form: &LawFit, best: f64) -> Option<Heard<'_>> {
    let share = form.weight.filter(|_| form.law == LEAD || !form.draws.is_empty())?;
    let weight = if share < HEARD { 0.0 } else { share };
    let odds = weight.max(if free(form) { ODDS * best } else { 0.0 });
    (odds > 0.0).then_some(Heard { form, weight, odds })
}

fn opinion(lead: &Lead<'_>, heard: &Heard<'_>, (params, tokens): (f64, f64)) -> Option<Opinion> {
    let Heard { form, weight, odds } = *heard;
    let loss = value(lead.analysis, &lead.surface, form, (params, tokens))?;
    let drawn: Vec<f64> = if form.law == LEAD {
        lead.drawn(|s| Some(s.loss(params, tokens)))
    } else {
        let (law, run) = (form.form()?, run(lead.analysis, params, tokens));
        form.draws.iter().filter_map(|draw| law.loss(draw, &run)).collect()
    };
    let mut drawn: Vec<f64> = drawn.into_iter().filter_map(path::sound).map(f64::ln).collect();
    if drawn.is_empty() {
        drawn.push(loss.ln());
    }
    // A law that fits exactly has no scatter, and a mixture needs some.
    let scatter = form.residual_sd.max(lead.voice.seeds).max(1e-9);
    let share = FormShare { law: form.law.clone(), weight, loss };
    Some(Opinion { share, odds, drawn, scatter })
}

#[cfg(test)]
mod tests {
    use super::super::{chosen, sample};
    use super::*;
    use crate::fit::law::Law;

    /// Runs of another law than the leading surface's, which the forms know.
    fn told(weights: &[(&str, f64)]) -> Analysis {
        let mut analysis = sample::analysis(60);
        for form in &mut analysis.laws {
            form.weight = weights.iter().find(|(law, _)| *law == form.law).map(|(_, w)| *w);
            form.draws = vec![form.fitted(); 30];
        }
        analysis
    }

    #[test]
    fn one_form_that_is_left_is_the_leading_surface_alone() {
        let analysis = told(&[("chinchilla", 1.0)]);
        let lead = Lead::of(&analysis).unwrap();
        let (n, d) = (3e9, 1e11);
        let averaged = loss(&lead, n, d).unwrap();
        assert_eq!(averaged.loss, lead.voice.loss((n, d)).unwrap());
        assert_eq!(mean_loss(&analysis, n, d), Some(averaged.loss.value));
        assert!(averaged.forms.is_empty() && averaged.sd > 0.0);
        let older = told(&[]);
        let lead = Lead::of(&older).unwrap();
        assert_eq!(loss(&lead, n, d).unwrap().loss, averaged.loss);
    }

    /// By hand: two forms of 3:1 at their weighted geometric mean; the interval reaches both, and the
    /// standard deviation holds the distance between them.
    #[test]
    fn forms_count_by_their_share() {
        let mut analysis = told(&[("chinchilla", 0.3), ("kaplan", 0.1), ("shared", 0.0)]);
        let (n, d) = (3e9, 1e11);
        let run = Run::new(n, d);
        for form in analysis.laws.iter_mut().filter(|f| f.law == "kaplan") {
            // Nc and Dc a hundredfold: a form far below the other.
            form.params[0].value *= 1e-2;
            form.params[1].value *= 1e-2;
            let values: Vec<f64> = form.params.iter().take(4).map(|p| p.value).collect();
            form.draws = vec![values; 30];
            form.residual_sd = 1e-3;
        }
        let c = chosen(&analysis, n, d).unwrap();
        let lead = Lead::of(&analysis).unwrap();
        let kaplan = analysis.laws.iter().find(|f| f.law == "kaplan").unwrap();
        let other = Law::named("kaplan").unwrap().loss(&kaplan.draws[0], &run).unwrap();
        let own = lead.surface.loss(n, d);
        let want = (0.75 * own.ln() + 0.25 * other.ln()).exp();
        assert!((c.loss.value / want - 1.0).abs() < 1e-12, "{c:?} {want}");
        assert!((mean_loss(&analysis, n, d).unwrap() / want - 1.0).abs() < 1e-12);
        assert!((own / other).ln().abs() > 0.1, "{own} {other}");
        assert!(c.loss.lo < own.min(other) && own.max(other) < c.loss.hi, "{c:?}");
        // Between the forms alone: sqrt(3/16) of their distance.
        let between = (3.0_f64 / 16.0).sqrt() * (own / other).ln().abs();
        assert!(c.sd > between && c.sd < 1.1 * between, "{} {between}", c.sd);
        let named: Vec<(&str, f64)> = c.forms.iter().map(|f| (f.law.as_str(), f.weight)).collect();
        assert_eq!(named, [("chinchilla", 0.3 / 0.4), ("kaplan", 0.1 / 0.4)]);
    }

    /// A law that Chinchilla's form can only bend to: at a hundred times the largest compute the average is nearer
    /// to it by far, with an interval that is narrower and holds it.
    #[test]
    fn a_truth_of_another_form_is_met_where_the_lead_alone_bends() {
        let law = Law::named("coupled").unwrap();
        let truth =
            |n: f64, d: f64| law.loss(&[1.2, 3e4, 2e5, 0.62, 0.66, 0.4], &Run::new(n, d)).unwrap();
        let analysis = sample::on(&truth, 60);
        let lead = Lead::of(&analysis).unwrap();
        let (n, d) = lead.surface.optimum(&analysis.compute, 1e23).unwrap();
        let (averaged, alone) = (loss(&lead, n, d).unwrap().loss, lead.voice.loss((n, d)).unwrap());
        let off = |e: Estimate| (e.value / truth(n, d)).ln().abs();
        let width = |e: Estimate| (e.hi / e.lo).ln();
        assert!((averaged.lo..=averaged.hi).contains(&truth(n, d)), "{averaged:?}");
        assert!(off(averaged) < 0.3 * off(alone), "{averaged:?} {alone:?} {}", truth(n, d));
        assert!(width(averaged) < width(alone), "{averaged:?} {alone:?}");
    }

    /// The runs prefer one form beyond doubt: the value is its own, and the interval of its E and of its losses
    /// still reaches towards another that is as free, and not towards a stiffer one.
    #[test]
    fn a_free_form_keeps_odds_of_one_to_twenty() {
        let analysis = |other: &str| {
            let mut analysis = told(&[("chinchilla", 1.0), (other, 1e-9)]);
            for form in analysis.laws.iter_mut().filter(|f| f.law == other) {
                // Far below in all that it says.
                for draw in &mut form.draws {
                    draw[0] *= 0.9;
                }
            }
            analysis
        };
        let of = |analysis: &Analysis| {
            let lead = Lead::of(analysis).unwrap();
            let alone = lead.voice.loss((3e9, 1e11)).unwrap();
            (loss(&lead, 3e9, 1e11).unwrap().loss, alone)
        };
        let free = analysis("coupled");
        let (averaged, alone) = of(&free);
        assert!((averaged.value / alone.value - 1.0).abs() < 1e-12, "{averaged:?} {alone:?}");
        assert!(averaged.lo < alone.lo && averaged.hi < alone.hi, "{averaged:?} {alone:?}");
        let i = irreducible(&free).unwrap();
        assert!((i.e.value / free.fits[0].params.unwrap().e - 1.0).abs() < 1e-12, "{i:?}");
        assert_eq!(i.forms.len(), 1);
        let stiff = analysis("shared");
        let (averaged, alone) = of(&stiff);
        assert_eq!(averaged, alone);
        assert_eq!(irreducible(&stiff), None);
    }

    /// The weighted mean of E, Kaplan's being 0, and percentiles of the draws by weight.
    #[test]
    fn the_irreducible_loss_is_averaged_like_the_loss() {
        assert_eq!(irreducible(&told(&[("chinchilla", 1.0)])), None);
        let analysis = told(&[("chinchilla", 0.9), ("kaplan", 0.3)]);
        let i = irreducible(&analysis).unwrap();
        let e = analysis.fits[0].params.unwrap().e;
        assert!((i.e.value / (0.75 * e) - 1.0).abs() < 1e-12, "{i:?}");
        assert!(i.e.lo == 0.0 && (i.e.hi / e - 1.0).abs() < 0.2, "{i:?}");
        let shares: Vec<(&str, f64)> = i.forms.iter().map(|f| (f.law.as_str(), f.loss)).collect();
        assert_eq!(shares, [("chinchilla", e), ("kaplan", 0.0)]);
        let farseer = Law::named("farseer").unwrap().irreducible;
        assert_eq!(farseer(&[0.5, 2.0, -0.3]), Some(0.5_f64.exp()));
        assert_eq!((farseer(&[0.5, -2.0, 0.3]), farseer(&[0.5, 2.0, 0.3])), (Some(0.0), None));
    }

    /// On runs of Chinchilla's law the richer forms agree with it, and the average with the lead.
    #[test]
    fn where_the_law_holds_the_average_is_its_own() {
        let analysis = sample::analysis(60);
        let lead = Lead::of(&analysis).unwrap();
        let c = chosen(&analysis, 3e9, 1e11).unwrap();
        let alone = lead.voice.loss((3e9, 1e11)).unwrap();
        assert!((c.loss.value / alone.value).ln().abs() < 0.3 * c.sd, "{c:?} {alone:?}");
        let width = |e: Estimate| (e.hi / e.lo).ln();
        assert!((0.9..1.5).contains(&(width(c.loss) / width(alone))), "{c:?} {alone:?}");
    }
}
