//! How much each form of law is believed beyond the runs, and how far all of them may miss there: both measured
//! on the runs themselves, by fitting the forms to the smaller ones and asking for the larger.
//!
//! A form that fits better is not a form that predicts better: with hundreds of runs a tenth of a percent of
//! scatter decides any criterion of fit, and the error of a form grows with the reach. So
//!
//! 1. **weights** are those of combined forecasts (Bates & Granger 1969, doi:10.1057/jors.1969.103): a form counts
//!    with 1 / (e^2 + v + s0^2). e^2 is the mean square error of ln L beyond the cuts; v the variance of what the
//!    form says at ten times the compute, by the delta method, since one or two cuts may flatter a form that knows
//!    nothing there; s0 the scatter of one run that no form can foresee. A form that counts for less than
//!    [`WINDOW`] of the best is left out (Occam's window: Madigan & Raftery 1994, doi:10.1080/01621459.1994.10476894);
//! 2. **discrepancy** (Kennedy & O'Hagan 2001, doi:10.1111/1467-9868.00294): what the average misses beyond its
//!    scatter and beyond the spread of the forms, which the interval holds already, is taken to grow in
//!    proportion to ln(C / C_max); its slope b [per e-fold] is that of the cuts, shrunk towards [`PRIOR`], which
//!    counts as [`PRIOR_CUTS`] cuts.
//!
//! Cuts keep clusters whole: a run whose relative lies beyond the cut is in neither part.
//!
//! Limits: both speak of the reach that was tried, a few e-folds, and of the forms that are there.

use rayon::prelude::*;

use crate::fit::data::clusters::Clusters;
use crate::fit::law::{self, Fitted, Run, Scale};
use crate::fit::result::{Averaging, FormWeight};
use crate::points::{self, AHEAD, Point};

/// What a form counts, for a person.
pub const COUNTS: &str = "counts: part of a form in every answer, 1 / (e^2 + v + s^2) over the sum of all; below a tenth of the \
                          largest it is 0% and in no answer. e: its rms error of ln L for the larger runs, when it is fitted \
                          to the smaller ones alone (below 35, 50, 65 and 80% of the runs); v: variance that it claims for \
                          itself at ten times the compute; s: scatter of seeds.";

/// Shares of the runs, by compute, below which the forms are fitted.
const CUTS: [f64; 4] = [0.35, 0.5, 0.65, 0.8];

/// Least s0: seeds that nobody has repeated scatter by about so much [-].
const SCATTER: f64 = 0.002;

/// Discrepancy per e-fold of compute where nothing is known: with it the intervals of `benches/backtest` hold
/// what they promise on the tables of four families [-].
const PRIOR: f64 = 0.004;
/// Cuts that the prior counts for.
const PRIOR_CUTS: f64 = 5.0;

/// Errors beyond this are counted as this: a form that is lost is lost [-].
const LOST: f64 = 1.0;

/// Runs nearer than this to the cut say little of reach [-].
const NEAR: f64 = 0.3;

/// Least weight of a form, as a share of the largest [-].
const WINDOW: f64 = 0.1;

/// One form on the runs, as it is refitted.
pub(in crate::fit) struct Rival<'a> {
    pub(in crate::fit) fitted: &'a Fitted,
    /// The runs with their losses as the robust fit takes them, sorted by compute.
    pub(in crate::fit) points: &'a [Point],
}

/// One form at one cut.
struct Trial {
    /// Mean square of ln fitted - ln measured of the runs below.
    scatter: f64,
    /// The same difference of each run beyond.
    errors: Vec<f64>,
}

/// Runs below a cut and beyond it, as indices.
struct Cut {
    below: Vec<usize>,
    beyond: Vec<usize>,
    /// ln of the largest compute below.
    ln_flops: f64,
}

/// Weights of the rivals and the discrepancy of their average. `seeds`: the scatter of seeds where known, else 0.
/// Without a cut that all can be tried on, all count alike. `points` are the runs, sorted by compute.
pub(in crate::fit) fn measure(rivals: &[Rival<'_>], points: &[Point], seeds: f64) -> Averaging {
    let floor = seeds.max(SCATTER).powi(2);
    // Collected in the order of the cuts, so the number of threads changes nothing.
    let trials: Vec<(Cut, Vec<Option<Trial>>)> = cuts(points)
        .into_par_iter()
        .map(|cut| {
            let tried = rivals.par_iter().map(|rival| trial(rival, &cut)).collect();
            (cut, tried)
        })
        .filter(|(_, tried): &(Cut, Vec<Option<Trial>>)| tried.iter().any(Option::is_some))
        .collect();
    let square = |errors: &[f64]| errors.iter().map(|e| e * e).sum::<f64>() / errors.len() as f64;
    // A form that cannot be fitted below a cut is taken for the worst there.
    let errors: Vec<f64> = (0..rivals.len())
        .map(|form| {
            let at = trials.iter().map(|(_, tried)| {
                let all = tried.iter().flatten().map(|t| square(&t.errors));
                tried[form].as_ref().map_or(all.fold(0.0, f64::max), |t| square(&t.errors))
            });
            at.sum::<f64>() / trials.len().max(1) as f64
        })
        .collect();
    let claims: Vec<f64> = rivals.iter().map(|rival| claim(rival.fitted, points)).collect();
    let mut raw: Vec<f64> =
        errors.iter().zip(&claims).map(|(error, claim)| 1.0 / (error + claim + floor)).collect();
    let least = WINDOW * raw.iter().copied().fold(0.0, f64::max);
    raw.iter_mut().filter(|w| **w < least).for_each(|w| *w = 0.0);
    let total: f64 = raw.iter().sum();
    let weights: Vec<f64> = raw.iter().map(|w| w / total).collect();
    let slopes: Vec<f64> =
        trials.iter().filter_map(|(cut, tried)| slope(cut, tried, &weights, points)).collect();
    let cuts = slopes.len();
    let variance =
        (PRIOR_CUTS * PRIOR.powi(2) + slopes.iter().sum::<f64>()) / (PRIOR_CUTS + cuts as f64);
    let forms = (0..rivals.len()).map(|form| FormWeight {
        law: rivals[form].fitted.law.name.into(),
        weight: weights[form],
        error: (!trials.is_empty()).then_some(errors[form].sqrt()),
        sd_ahead: Some(claims[form].sqrt()),
    });
    Averaging { forms: forms.collect(), discrepancy: variance.sqrt(), cuts }
}

/// The variance of ln L that a form claims of itself ahead: the mean over the larger half of the runs, each moved to
/// ten times its compute at equal D/N [-].
fn claim(fitted: &Fitted, points: &[Point]) -> f64 {
    let larger = &points[points.len() / 2..];
    let lost = LOST * LOST;
    let ahead = |p: &Point| Run::new(p.params * AHEAD.sqrt(), p.tokens * AHEAD.sqrt());
    let each = |p: &Point| fitted.variance(&ahead(p)).map_or(lost, |v| v.min(lost));
    larger.iter().map(each).sum::<f64>() / larger.len() as f64
}

/// The cuts that leave runs on both sides.
fn cuts(points: &[Point]) -> Vec<Cut> {
    let mut out: Vec<Cut> = Vec::new();
    for share in CUTS {
        let last = ((points.len() as f64 * share) as usize).min(points.len() - 1);
        let (below, beyond) = points::cut(points, points[last].flops);
        let ln_flops = below.last().map_or(0.0, |i| points[*i].flops.ln());
        let cut = Cut { below, beyond, ln_flops };
        let new = out.last().is_none_or(|before| before.below.len() < cut.below.len());
        if new && !cut.below.is_empty() && !cut.beyond.is_empty() {
            out.push(cut);
        }
    }
    out
}

fn trial(rival: &Rival<'_>, cut: &Cut) -> Option<Trial> {
    let own = points::pick(rival.points, &cut.below);
    let fitted = law::refit(rival.fitted, &own, Scale::Log).ok()?;
    let off = |i: &usize| {
        let point = &rival.points[*i];
        let error = fitted.ln_loss(&Run::of(point)) - point.loss.ln();
        if error.is_finite() { error.clamp(-LOST, LOST) } else { LOST }
    };
    let misses: Vec<f64> = own.iter().map(|p| fitted.ln_loss(&Run::of(p)) - p.loss.ln()).collect();
    let noise = Clusters::of_points(&own).noise(&misses, fitted.free());
    Some(Trial { scatter: noise.sd.powi(2), errors: cut.beyond.iter().map(off).collect() })
}

/// The square of the slope of the average's discrepancy at one cut.
fn slope(cut: &Cut, tried: &[Option<Trial>], weights: &[f64], points: &[Point]) -> Option<f64> {
    let tried: Vec<(f64, &Trial)> =
        weights.iter().zip(tried).filter_map(|(w, t)| Some((*w, t.as_ref()?))).collect();
    let total: f64 = tried.iter().map(|(w, _)| w).sum();
    if total <= 0.0 {
        return None;
    }
    let mean =
        |of: &dyn Fn(&Trial) -> f64| tried.iter().map(|(w, t)| w * of(t)).sum::<f64>() / total;
    let n = cut.beyond.len() as f64;
    let error = (0..cut.beyond.len()).map(|i| mean(&|t| t.errors[i]).powi(2)).sum::<f64>() / n;
    let reach = cut.beyond.iter().map(|i| (points[*i].flops.ln() - cut.ln_flops).max(NEAR).powi(2));
    let between = |i: usize| {
        let centre = mean(&|t| t.errors[i]);
        mean(&|t| (t.errors[i] - centre).powi(2))
    };
    let spread = (0..cut.beyond.len()).map(between).sum::<f64>() / n;
    let excess = (error - mean(&|t| t.scatter) - spread).max(0.0);
    Some(excess / (reach.sum::<f64>() / n))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::data::sample::tests::study;
    use crate::fit::law::Law;

    fn measured(points: &[Point], laws: &[&str]) -> Averaging {
        let fitted: Vec<Fitted> = laws
            .iter()
            .map(|law| law::fit(Law::named(law).unwrap(), points, Scale::Log).unwrap())
            .collect();
        let rivals: Vec<Rival<'_>> = fitted.iter().map(|fitted| Rival { fitted, points }).collect();
        measure(&rivals, points, 0.0)
    }

    /// On Chinchilla's law with two unlike exponents the form that shares one is near, and Kaplan's, which has no
    /// floor, misses beyond every cut by so much that it is left out.
    #[test]
    fn a_form_counts_by_what_it_missed_and_by_what_it_claims() {
        let points = study(&[1e18, 3e18, 1e19, 3e19, 1e20], 8, 4.0, 0.004, 11);
        let a = measured(&points, &["chinchilla", "shared", "kaplan"]);
        let [chinchilla, shared, kaplan] = [&a.forms[0], &a.forms[1], &a.forms[2]];
        assert!((a.forms.iter().map(|f| f.weight).sum::<f64>() - 1.0).abs() < 1e-12);
        let odds = |f: &FormWeight| {
            1.0 / (f.error.unwrap().powi(2) + f.sd_ahead.unwrap().powi(2) + SCATTER.powi(2))
        };
        let want = odds(chinchilla) / (odds(chinchilla) + odds(shared));
        assert!((chinchilla.weight - want).abs() < 1e-12 && shared.weight > 0.0, "{a:?}");
        assert!(odds(kaplan) < WINDOW * odds(chinchilla) && kaplan.weight == 0.0, "{a:?}");
        assert!(a.cuts >= 3, "{a:?}");
    }

    /// Where the law is true, what a form claims of itself ahead is what its refits on new noise scatter by there.
    #[test]
    fn a_claim_is_the_scatter_of_refits() {
        let law = Law::named("chinchilla").unwrap();
        let ahead = |p: &Point| Run::new(p.params * AHEAD.sqrt(), p.tokens * AHEAD.sqrt());
        let fits = (0..60).map(|seed| {
            let points = study(&[1e18, 1e19, 1e20, 1e21], 8, 4.0, 0.004, 100 + seed);
            let fitted = law::fit(law, &points, Scale::Log).unwrap();
            let last = points.last().unwrap();
            (fitted.ln_loss(&ahead(last)), fitted.variance(&ahead(last)).unwrap())
        });
        let (said, claimed): (Vec<f64>, Vec<f64>) = fits.unzip();
        let mean = said.iter().sum::<f64>() / 60.0;
        let scatter = said.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 59.0;
        let claim = claimed.iter().sum::<f64>() / 60.0;
        // A variance of 60 draws is known to a fifth.
        assert!((scatter / claim).ln().abs() < 0.5, "{scatter} {claim}");
    }

    /// A law that bends away from its form: the discrepancy is above what is taken for granted.
    #[test]
    fn what_all_forms_miss_widens_with_reach() {
        let honest = study(&[1e18, 3e18, 1e19, 3e19, 1e20], 8, 4.0, 0.001, 11);
        let mut bent = honest.clone();
        for p in &mut bent {
            // A break at 1e19, by 1% for each e-fold beyond.
            p.loss *= (0.01 * (p.flops / 1e19).ln().max(0.0)).exp();
        }
        let [straight, broken] =
            [&honest, &bent].map(|points| measured(points, &["chinchilla", "shared"]).discrepancy);
        assert!(straight <= PRIOR && broken > 1.5 * straight, "{straight} {broken}");
    }
}
