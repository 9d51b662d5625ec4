//! The forms side by side: every law that these runs can determine, by least squares in ln L.
//!
//! A form that is wrong bends until it fits the runs and misses the next budget (Farseer,
//! arXiv:2506.10972), so each is judged twice: by the corrected Akaike criterion on all runs (Hurvich &
//! Tsai 1989, doi:10.1093/biomet/76.2.297) and by its error on the budgets that `holdout` keeps out.
//!
//! AICc needs a likelihood, and that is normal errors of ln L with one standard deviation: so the
//! objective is the sum of squares here, where the leading fit uses Huber's function. Values of the
//! Chinchilla law therefore differ a little from those of `lse`. Runs of one cluster count for what they are
//! worth, by the share of the best form's scatter that they have in common.
//!
//! Each form is fitted robustly ([`law::robust`]). `weight` is its share of the evidence, exp(-delta/2) of its AICc
//! (Burnham & Anderson 2002, section 2.9): how well it fits. What it counts in an answer is measured in `averaging`;
//! for that every form that counts is drawn anew, as a surface is in `bootstrap`.
//!
//! Limits: the truth may be none of the forms of [`LAWS`]; a parameter at a
//! bound counts like any other; refits of a draw start from the fit alone.

use rayon::prelude::*;

use crate::fit::Options;
use crate::fit::data::budgets::{self, Group};
use crate::fit::data::clusters::{Clusters, Scheme};
use crate::fit::law::{self, Fitted, LAWS, Law, Run, Scale};
use crate::fit::numeric::stats::Random;
use crate::fit::pins::Pins;
use crate::fit::result::{
    Averaging, Certificate, Compute, HeldOutError, LawFit, LawMissing, LawValue,
};
use crate::fit::select::extrapolate;
use crate::fit::select::weights::{self, Rival};
use crate::fit::validate::holdout::{self, Split};
use crate::fit::validate::replicates;
use crate::points::{Point, pick};

/// A form that counts for less than this is in no answer, and is not drawn.
pub(crate) const LEAST_WEIGHT: f64 = 0.01;

impl LawFit {
    /// Its law; nothing for a name that this isoflop does not know.
    pub(crate) fn form(&self) -> Option<&'static Law> {
        Law::named(&self.law)
    }

    /// The fitted and given values, without those that follow from them.
    pub(crate) fn fitted(&self) -> Vec<f64> {
        let all = self.form().map_or(self.k, |law| law.free + law.given);
        self.params.iter().take(all).map(|p| p.value).collect()
    }

    /// The loss of a run [nats/token].
    pub(crate) fn loss(&self, run: &Run) -> Option<f64> {
        self.form()?.loss(&self.fitted(), run)
    }
}

/// Most draws of one form. Fewer than of the leading surface: they refine the ends of its interval.
const DRAWS: usize = 200;

/// Most runs of all draws of one form together: a table of thousands of runs is drawn less often, but at least
/// [`FEWEST_DRAWS`] times. Its intervals are narrow, and their ends need no more.
const DRAWN_RUNS: usize = 200_000;

/// See [`DRAWN_RUNS`].
const FEWEST_DRAWS: usize = 60;

/// A law on the runs that it speaks of.
pub(in crate::fit) struct Tried {
    pub(in crate::fit) fitted: Fitted,
    rows: Vec<usize>,
    /// The runs of `rows` with their losses as the robust fit takes them.
    points: Vec<Point>,
}

impl Tried {
    /// Whether it is fitted to repeated runs too, and so is no rival of the others.
    fn repeats(&self) -> bool {
        self.fitted.law.name == REPETITION
    }
}

/// The law that knows of repetition.
const REPETITION: &str = "repetition";

/// That law on fresh and repeated runs, or what these lack.
pub(in crate::fit) fn repetition(points: &[Point], pins: Pins) -> Result<Tried, String> {
    let law = Law::named(REPETITION).ok_or("no law of repetition")?;
    try_on(law, points, &[], pins)
}

/// Every law on the runs.
pub(in crate::fit) struct Compared {
    pub(in crate::fit) laws: Vec<LawFit>,
    pub(in crate::fit) missing: Vec<LawMissing>,
    pub(in crate::fit) averaging: Averaging,
}

/// Fits every law to `points`, which must be sorted by compute. Laws come in the order of [`LAWS`]; what
/// cannot be fitted is named with its reason.
pub(in crate::fit) fn compare(
    points: &[Point],
    groups: &[Group],
    clusters: &Clusters,
    compute: &Compute,
    options: &Options,
    repetition: Result<Tried, String>,
) -> Compared {
    let kept = match options.holdout {
        0 => None,
        budgets => holdout::split(points, groups, budgets).ok(),
    };
    let (mut tried, mut missing) = (Vec::new(), Vec::new());
    // Collected in the order of the laws, so the number of threads changes nothing.
    let all: Vec<Option<Result<Tried, String>>> = LAWS
        .par_iter()
        .map(|law| (law.name != REPETITION).then(|| try_on(law, points, groups, options.pins)))
        .collect();
    let mut repetition = Some(repetition);
    for (law, outcome) in LAWS.iter().zip(all) {
        let Some(outcome) = outcome.or_else(|| repetition.take()) else { continue };
        match outcome {
            Ok(form) => tried.push(form),
            Err(reason) => missing.push(LawMissing { law: law.name.into(), reason }),
        }
    }
    let worth = worth(&tried, points, clusters);
    let mut fits: Vec<LawFit> =
        tried.par_iter().map(|form| dress(form, points, compute, kept.as_ref(), worth)).collect();
    let rivals = fits.iter().filter(|f| is_rival(f)).filter_map(|f| f.aicc);
    let best = rivals.fold(f64::INFINITY, f64::min);
    for fit in &mut fits {
        fit.delta_aicc = fit.aicc.filter(|_| is_rival(fit)).map(|aicc| aicc - best);
    }
    let evidence = |delta: f64| (-0.5 * delta).exp();
    let total: f64 = fits.iter().filter_map(|f| f.delta_aicc).map(evidence).sum();
    let rivals: Vec<Rival<'_>> = tried
        .iter()
        .filter(|form| form.fitted.law.surface && !form.repeats())
        .map(|form| Rival { fitted: &form.fitted, points: &form.points })
        .collect();
    let averaging = weights::measure(&rivals, points, replicates::pooled_sd(points));
    for (form, fit) in tried.iter().zip(&mut fits) {
        fit.weight = fit.delta_aicc.map(|delta| evidence(delta) / total);
        let counts = averaging.forms.iter().find(|f| f.law == fit.law).map(|f| f.weight);
        // Chinchilla's form has the draws of the leading fit.
        if counts.is_some_and(|w| w >= LEAST_WEIGHT) && fit.law != "chinchilla" {
            fit.draws = draw(form, clusters, options);
        } else if form.repeats() {
            fit.draws = draw(form, &clusters_of(form), options);
        }
    }
    Compared { laws: fits, missing, averaging }
}

/// Whether a fit is to all fresh runs and no others, so that its AICc is a rival of the others'.
fn is_rival(fit: &LawFit) -> bool {
    fit.form().is_some_and(|law| law.surface) && fit.law != REPETITION
}

/// The clusters of a form's own runs.
fn clusters_of(form: &Tried) -> Clusters {
    Clusters::of_points(&form.points)
}

fn try_on(
    law: &'static Law,
    points: &[Point],
    groups: &[Group],
    pins: Pins,
) -> Result<Tried, String> {
    let rows = law.rows(points, groups);
    let (fitted, points) = law::robust(law, &pick(points, &rows), pins)?;
    Ok(Tried { fitted, rows, points })
}

/// Independent runs that all runs are worth, by the form that comes nearest to them.
fn worth(tried: &[Tried], points: &[Point], clusters: &Clusters) -> f64 {
    let surfaces = tried.iter().filter(|t| t.fitted.law.surface && !t.repeats());
    let best = surfaces.min_by(|l, r| l.fitted.solution.rss.total_cmp(&r.fitted.solution.rss));
    best.map_or(points.len() as f64, |t| clusters.worth(clusters.shared(&residuals(t))))
}

/// ln fitted - ln measured of every run that the form speaks of.
fn residuals(form: &Tried) -> Vec<f64> {
    form.points.iter().map(|p| form.fitted.ln_loss(&Run::of(p)) - p.loss.ln()).collect()
}

/// A fit as a reader gets it. `worth`: of all runs, for a law that speaks of them all.
fn dress(
    form: &Tried,
    points: &[Point],
    compute: &Compute,
    kept: Option<&Split>,
    worth: f64,
) -> LawFit {
    let Tried { fitted, rows, .. } = form;
    let (law, solution) = (fitted.law, &fitted.solution);
    let (n, k) = (rows.len(), fitted.free());
    let worth = match law.surface {
        true if form.repeats() => clusters_of(form).sample_size(&residuals(form)).effective,
        true => worth,
        false => n as f64,
    };
    let spare = (worth - k as f64).max(1.0);
    // The linear model takes all runs for independent.
    let wider = ((n - k) as f64 / spare).sqrt();
    let values = law.values.iter().zip(fitted.values()).map(|(v, (value, sd))| LawValue {
        name: v.name.into(),
        value,
        unit: v.unit.into(),
        sd: sd.map(|sd| wider * sd),
    });
    // Its runs are others than those that the split counts.
    let kept = kept.filter(|_| !form.repeats());
    LawFit {
        law: law.name.into(),
        equation: law.equation.into(),
        source: law.source.into(),
        params: values.collect(),
        k,
        n,
        worth,
        rss: solution.rss,
        residual_sd: (solution.rss / n as f64 * (spare + k as f64) / spare).sqrt(),
        aicc: aicc(solution.rss / n as f64, worth, k),
        delta_aicc: None,
        weight: None,
        certificate: Certificate {
            starts: solution.starts,
            starts_at_best: solution.starts_at_best,
            gradient: solution.gradient,
            condition: solution.condition,
            iterations: solution.iterations,
            at_bound: fitted.at_bound().into_iter().map(Into::into).collect(),
        },
        heldout: kept.and_then(|kept| heldout(fitted, points, rows, kept)),
        ahead: extrapolate::of(fitted, compute, points),
        draws: Vec::new(),
    }
}

/// The form on other data of the same kind, as `bootstrap` makes them: the fitted values of each draw.
fn draw(form: &Tried, clusters: &Clusters, options: &Options) -> Vec<Vec<f64>> {
    let (fitted, free, points) = (&form.fitted, form.fitted.law.free, &form.points);
    let noise = clusters.noise(&residuals(form), fitted.free());
    let laws: Vec<f64> = points.iter().map(|p| fitted.ln_loss(&Run::of(p))).collect();
    let seed = options.seed ^ 0x0005;
    let one = |draw: usize| {
        let mut random = Random::new(seed, draw as u64);
        let drawn: Vec<Point> = match clusters.scheme() {
            Scheme::Cases => {
                let times = clusters.resample(&mut random);
                let again = |(p, times): (&Point, f64)| vec![p.clone(); times as usize];
                points.iter().zip(times).flat_map(again).collect()
            }
            Scheme::Noise => {
                let [noise] = clusters.draw([noise], &mut random);
                let moved = |((p, law), e): ((&Point, &f64), f64)| Point {
                    loss: (law + e).exp(),
                    ..p.clone()
                };
                points.iter().zip(&laws).zip(noise).map(moved).collect()
            }
        };
        let values = law::again(fitted, &drawn, Scale::Log).ok()?.values();
        let whole = free + fitted.law.given;
        Some(values.into_iter().take(whole).map(|(value, _)| value).collect())
    };
    let most = (DRAWN_RUNS / points.len()).clamp(FEWEST_DRAWS, DRAWS);
    (0..options.bootstrap.min(most)).into_par_iter().filter_map(one).collect()
}

/// m ln(variance) + 2K + 2K(K+1)/(m-K-1), K counting the scatter besides the `k` parameters and m being
/// the independent runs that all are worth. Nothing where the correction has no meaning, and for an exact
/// fit.
fn aicc(variance: f64, worth: f64, k: usize) -> Option<f64> {
    let all = k as f64 + 1.0;
    let left = worth - all - 1.0;
    // Below this the residuals are rounding.
    if left <= 0.0 || variance <= 1e-24 {
        return None;
    }
    Some(worth * variance.ln() + 2.0 * all + 2.0 * all * (all + 1.0) / left)
}

/// The law refitted to the points below the split, and its errors on those of `rows` beyond.
fn heldout(full: &Fitted, points: &[Point], rows: &[usize], split: &Split) -> Option<HeldOutError> {
    let smaller = pick(points, &split.fitted);
    // Who speaks of all runs needs no budgets, and to look for them takes long in a large table.
    let own = if full.law.surface {
        smaller
    } else {
        pick(&smaller, &full.law.rows(&smaller, &budgets::budgets(&smaller)))
    };
    let fitted = law::refit(full, &own, Scale::Log).ok()?;
    let errors: Vec<f64> = rows
        .iter()
        .filter(|row| split.held.binary_search(row).is_ok())
        .map(|row| fitted.loss(&Run::of(&points[*row])) / points[*row].loss - 1.0)
        .collect();
    let n = errors.len();
    (n > 0).then(|| HeldOutError {
        mean_error: errors.iter().sum::<f64>() / n as f64,
        max_error: errors.iter().map(|e| e.abs()).fold(0.0, f64::max),
        n,
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::fit::data::sample::tests::study;
    use crate::fit::result::{Analysis, Surface};
    use crate::fit::select::verdicts::CLEAR;
    use crate::fit::tests::table;
    use crate::fit::{Code, analyse};

    pub(in crate::fit::select) fn options() -> Options {
        Options { bootstrap: 40, ..Options::default() }
    }

    pub(in crate::fit::select) fn five_budgets() -> Vec<Point> {
        study(&[1e18, 3e18, 1e19, 3e19, 1e20], 8, 4.0, 0.003, 11)
    }

    /// The design of [`five_budgets`] on another law.
    pub(in crate::fit::select) fn on(law: &str, values: &[f64], sigma: f64) -> Vec<Point> {
        let law = Law::named(law).unwrap();
        let mut random = Random::new(5, 0);
        let mut points = study(&[1e18, 1e19, 1e20, 1e21, 1e22], 8, 5.0, 0.0, 1);
        for p in &mut points {
            p.loss = law.loss(values, &Run::of(p)).unwrap() * (sigma * random.normal()).exp();
        }
        points
    }

    pub(in crate::fit::select) fn named<'a>(laws: &'a [LawFit], name: &str) -> &'a LawFit {
        laws.iter().find(|l| l.law == name).unwrap()
    }

    fn codes(analysis: &Analysis) -> Vec<Code> {
        analysis.warnings.iter().map(|w| w.code).collect()
    }

    /// Oracle: the constants that the losses were made with, and the closed form of the optimum.
    #[test]
    fn the_true_form_leads_and_its_optimum_ahead_is_the_closed_one() {
        let analysis = analyse(&table(five_budgets()), Compute::SixNd, &options()).unwrap();
        let chinchilla = named(&analysis.laws, "chinchilla");
        assert!(chinchilla.delta_aicc.unwrap() < 6.0, "{:?}", chinchilla.delta_aicc);
        assert!(named(&analysis.laws, "kaplan").delta_aicc.unwrap() > CLEAR);
        assert_eq!(named(&analysis.laws, "compute").delta_aicc, None);
        assert!(!codes(&analysis).contains(&Code::AnotherForm), "{:?}", analysis.warnings);
        for (value, truth) in chinchilla.params.iter().zip([1.69, 406.4, 410.7, 0.34, 0.28]) {
            assert!((value.value - truth).abs() < 4.0 * value.sd.unwrap(), "{value:?}");
        }
        let ahead = chinchilla.ahead.as_ref().unwrap();
        let [e, a, b, alpha, beta] = [0, 1, 2, 3, 4].map(|i: usize| chinchilla.params[i].value);
        let surface = Surface { e, a, b, alpha, beta };
        let (n, d) = surface.optimum(&Compute::SixNd, 1e21).unwrap();
        assert!((ahead.flops / 1e21 - 1.0).abs() < 1e-12);
        assert!((ahead.params.unwrap() / n - 1.0).abs() < 1e-8, "{ahead:?} {n}");
        assert!((ahead.tokens.unwrap() / d - 1.0).abs() < 1e-8);
        assert!((ahead.loss / surface.loss(n, d) - 1.0).abs() < 1e-13);
        assert!((ahead.a.unwrap() - beta / (alpha + beta)).abs() < 1e-8);
    }

    /// By hand: 10 ln(1/10) + 2*3 + 2*3*4/6 with two parameters and the scatter.
    #[test]
    fn aicc_counts_the_scatter_and_has_its_limits() {
        let by_hand = 10.0 * 0.1_f64.ln() + 6.0 + 4.0;
        assert!((aicc(0.1, 10.0, 2).unwrap() - by_hand).abs() < 1e-12);
        assert_eq!((aicc(0.25, 4.0, 2), aicc(0.0, 10.0, 2)), (None, None));
    }

    /// D = 20 N: no law of both, but a law of compute.
    #[test]
    fn a_ladder_of_one_ratio_has_a_law_of_compute_alone() {
        let mut points = Vec::new();
        for (i, p) in study(&[1e18], 9, 20.0, 0.0, 1).into_iter().enumerate() {
            let tokens = 20.0 * p.params;
            let flops = 6.0 * p.params * tokens;
            let wobble = 1.0 + 1e-4 * (2.7 * i as f64).sin();
            let loss = (1.7 + 900.0 * flops.powf(-0.15)) * wobble;
            points.push(Point { tokens, flops, loss, budget: None, ..p });
        }
        let analysis = analyse(&table(points), Compute::SixNd, &options()).unwrap();
        let names: Vec<&str> = analysis.laws.iter().map(|l| l.law.as_str()).collect();
        assert_eq!(names, ["compute"]);
        let gamma = &analysis.laws[0].params[2];
        assert!((gamma.value - 0.15).abs() < 0.01 && gamma.sd.unwrap() > 0.0, "{gamma:?}");
        let ahead = analysis.laws[0].ahead.as_ref().unwrap();
        let truth = 1.7 + 900.0 * ahead.flops.powf(-0.15);
        assert!((ahead.loss / truth - 1.0).abs() < 2e-3 && ahead.params.is_none(), "{ahead:?}");
        assert_eq!(analysis.laws_missing.len(), 7);
        let why =
            |name: &str| &analysis.laws_missing.iter().find(|m| m.law == name).unwrap().reason;
        assert!(why("chinchilla").contains("D is a power of N"), "{}", why("chinchilla"));
        assert!(why("repetition").contains("unique_tokens"), "{}", why("repetition"));
    }

    /// Every run twice, and both of one cluster: nothing new is known, and nothing more is claimed.
    #[test]
    fn copies_of_one_cluster_are_worth_one_run() {
        let once = analyse(&table(five_budgets()), Compute::SixNd, &options()).unwrap();
        let mut points = five_budgets();
        let copies = points.clone();
        points.extend(copies.into_iter().map(|p| Point { id: format!("{}'", p.id), ..p }));
        let twice = |apart: bool| {
            let mut points = points.clone();
            points.iter_mut().filter(|_| apart).for_each(|p| p.cluster.clone_from(&p.id));
            analyse(&table(points), Compute::SixNd, &options()).unwrap()
        };
        let delta = |a: &Analysis| named(&a.laws, "kaplan").delta_aicc.unwrap();
        let worth = |a: &Analysis| named(&a.laws, "kaplan").worth;
        let (together, apart) = (twice(false), twice(true));
        assert!((worth(&once) - 40.0).abs() < 1e-9 && (worth(&apart) - 80.0).abs() < 1e-9);
        assert!((worth(&together) - 40.0).abs() < 1e-6, "{}", worth(&together));
        assert!((delta(&together) / delta(&once) - 1.0).abs() < 1e-6);
        assert!(delta(&apart) > 1.8 * delta(&once), "{} {}", delta(&apart), delta(&once));
        let total: f64 = together.laws.iter().filter_map(|l| l.weight).sum();
        assert!((total - 1.0).abs() < 1e-12);
        let drawn = |law: &str| named(&once.laws, law).draws.len();
        assert_eq!((drawn("chinchilla"), drawn("kaplan"), drawn("coupled")), (0, 0, 40));
    }

    #[test]
    fn nothing_held_out_gives_no_error() {
        let options = Options { holdout: 0, ..options() };
        let analysis = analyse(&table(five_budgets()), Compute::SixNd, &options).unwrap();
        assert!(analysis.laws.iter().all(|l| l.heldout.is_none()) && analysis.laws.len() >= 4);
    }
}
