//! Do the intervals hold the truth as often as they say? Measured on synthetic studies of one's own shape.
//!
//! Each study has the runs of a [`Design`] and losses drawn from its truth; `fit` and `predict` see it as
//! they see any table, bootstrap included, and their intervals are held against the truth (Hastie,
//! Tibshirani & Friedman 2009, "The elements of statistical learning", section 8.2, for the method; no
//! published scaling-law tool ships it). A design whose intervals miss here must not be believed there.
//!
//! What this is not: a test of the law. The truth is a Chinchilla surface and the noise normal, equal in
//! every run; a real study is worse in both.
//!
//! Pure: the same design, plan and seed give the same bits, whatever the number of threads.

mod design;
mod tally;

use rayon::prelude::*;
use serde::Serialize;

pub use design::Design;
pub use tally::{Coverage, Verdict};

use crate::fit::numeric::stats;
use crate::fit::{self, Analysis, Draws, FitError, Frontier, Method, Surface, analyse};
use crate::points::AHEAD;
use crate::predict::{Estimate, MeanLoss};
use crate::random::Stream;
use tally::Trial;

/// What is measured, in the order of the table.
const ROWS: [(&str, &[&str]); 6] = [
    ("lse-huber", &["a", "E", "alpha", "beta", "N*", "D*", "loss"]),
    ("varpro", &["a", "E", "alpha", "beta", "N*", "D*", "loss"]),
    ("forms", &["N*", "loss"]),
    ("profile", &["a", "E", "D*/N*"]),
    ("isoflop", &["a", "N*"]),
    ("isoflop corrected", &["a", "N*"]),
];

/// One interval of one study: method, quantity, how it went.
type Entry = (&'static str, &'static str, Trial);

/// How much to simulate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plan {
    /// Synthetic studies [count].
    pub studies: usize,
    /// Bootstrap draws in each [count].
    pub bootstrap: usize,
    /// Level of every interval (0, 1).
    pub level: f64,
    /// Huber's delta, in ln L [-].
    pub delta: f64,
    /// Seed of noise and bootstraps.
    pub seed: u64,
}

impl Default for Plan {
    fn default() -> Self {
        Self { studies: 1000, bootstrap: 200, level: 0.9, delta: 1e-3, seed: 0 }
    }
}

/// What was simulated, and the coverage of every interval.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Selftest {
    /// Where the runs of the design come from.
    pub source: String,
    /// Runs and clusters of each study [count].
    pub runs: usize,
    /// See [`Selftest::runs`].
    pub clusters: usize,
    /// Smallest and largest compute of the design [FLOP].
    pub flops: [f64; 2],
    /// The law that the studies were drawn from.
    pub truth: Surface,
    /// Standard deviation of ln L about it [-].
    pub noise: f64,
    /// Share of that variance in common to a cluster [0, 1].
    pub shared: f64,
    /// Studies drawn [count].
    pub studies: usize,
    /// Bootstrap draws in each [count].
    pub bootstrap: usize,
    /// Level of every interval (0, 1).
    pub level: f64,
    /// Seed.
    pub seed: u64,
    /// Compute of N*, D* and the loss of a new run: ten times the largest [FLOP].
    pub flops_ahead: f64,
    /// Studies that no law could be fitted to [count]; they are in no coverage.
    pub refused: usize,
    /// One row for each method and quantity.
    pub coverage: Vec<Coverage>,
}

/// Draws `plan.studies` studies of `design` and measures the coverage of their intervals. `each` is told
/// of every finished study, from any thread.
///
/// # Errors
///
/// [`FitError`]: what the first study was refused for, when every study was.
pub fn run(design: &Design, plan: &Plan, each: &(dyn Fn() + Sync)) -> Result<Selftest, FitError> {
    let flops = AHEAD * design.range().1;
    let stream = Stream::new(plan.seed, "selftest");
    // In the order of the studies, so the number of threads changes nothing.
    let outcomes: Vec<Result<Vec<Entry>, FitError>> = (0..plan.studies as u64)
        .into_par_iter()
        .map(|study| {
            let outcome = one(design, plan, stream.child(study), flops);
            each();
            outcome
        })
        .collect();
    let refused = outcomes.iter().filter(|o| o.is_err()).count();
    let mut entries = Vec::new();
    for outcome in outcomes {
        match outcome {
            Ok(study) => entries.extend(study),
            Err(refusal) if refused == plan.studies => return Err(refusal),
            Err(_) => {}
        }
    }
    let truth = Truth::of(design, flops);
    let (least, most) = design.range();
    Ok(Selftest {
        source: design.source.clone(),
        runs: design.points.len(),
        clusters: design.clusters().0,
        flops: [least, most],
        truth: design.truth,
        noise: design.noise,
        shared: design.shared,
        studies: plan.studies,
        bootstrap: plan.bootstrap,
        level: plan.level,
        seed: plan.seed,
        flops_ahead: flops,
        refused,
        coverage: ROWS
            .iter()
            .flat_map(|(method, quantities)| quantities.iter().map(move |q| (*method, *q)))
            .filter_map(|(method, quantity)| {
                let trials: Vec<Trial> = entries
                    .iter()
                    .filter(|(m, q, _)| (*m, *q) == (method, quantity))
                    .map(|(_, _, trial)| *trial)
                    .collect();
                tally::coverage((method, quantity), truth.value(quantity), &trials, plan.level)
            })
            .collect(),
    })
}

/// The true values of what is estimated.
struct Truth {
    surface: Surface,
    a: f64,
    /// Compute of the predictions [FLOP].
    flops: f64,
    /// (N*, D*) there [parameters, tokens].
    optimum: (f64, f64),
}

impl Truth {
    fn of(design: &Design, flops: f64) -> Self {
        let (least, most) = design.range();
        let frontier = design.truth.frontier(&design.compute, least, most);
        let nan = f64::NAN;
        Self {
            surface: design.truth,
            a: frontier.map_or(nan, |f| f.a),
            flops,
            optimum: design.truth.optimum(&design.compute, flops).unwrap_or((nan, nan)),
        }
    }

    fn value(&self, quantity: &str) -> Option<f64> {
        let (n, d) = self.optimum;
        match quantity {
            "a" => Some(self.a),
            "E" => Some(self.surface.e),
            "alpha" => Some(self.surface.alpha),
            "beta" => Some(self.surface.beta),
            "N*" => Some(n),
            "D*" => Some(d),
            "D*/N*" => Some(d / n),
            _ => None,
        }
    }
}

/// Every interval of one study.
fn one(design: &Design, plan: &Plan, stream: Stream, flops: f64) -> Result<Vec<Entry>, FitError> {
    let table = design.study(stream.child(0));
    let analysis = analyse(&table, design.compute, &options(plan, stream.bits(0)))?;
    let noise = design.noise * stream.child(1).normal(0);
    Ok(entries(&analysis, &Truth::of(design, flops), noise))
}

fn options(plan: &Plan, seed: u64) -> fit::Options {
    fit::Options {
        delta: plan.delta,
        bootstrap: plan.bootstrap,
        level: plan.level,
        seed,
        holdout: 0,
        methods: vec![Method::LseHuber, Method::Varpro, Method::Isoflop],
        pins: fit::Pins::default(),
    }
}

/// Every interval of an analysis against the truth.
///
/// - `noise`: that of the new run, in ln L [-].
fn entries(analysis: &Analysis, truth: &Truth, noise: f64) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mean = MeanLoss::new(analysis);
    surfaces(analysis, (truth, noise), mean.as_ref(), &mut entries);
    profiles(analysis, truth, &mut entries);
    lines(analysis, truth, &mut entries);
    entries
}

/// The surface fits: parameters, and what `predict` says of the run ahead.
fn surfaces(
    analysis: &Analysis,
    (truth, noise): (&Truth, f64),
    mean: Option<&MeanLoss<'_>>,
    out: &mut Vec<Entry>,
) {
    // A new run at the size and the tokens that somebody recommends: the interval must hold the run
    // with its noise, its centre is held against the law.
    let new_run = |(n, d): (f64, f64), loss: &Estimate| {
        let law = truth.surface.loss(n, d);
        let held = (loss.lo..=loss.hi).contains(&(law * noise.exp()));
        Trial { held, ..Trial::of("loss", loss.value, [loss.lo, loss.hi], law) }
    };
    let methods = mean.map_or_else(Vec::new, |mean| mean.methods(truth.flops));
    let ends = |e: &Estimate| Some([e.lo, e.hi]).filter(|_| e.lo < e.hi);
    for fit in &analysis.fits {
        let (Some(method), Some(surface)) =
            (ROWS[..2].iter().map(|r| r.0).find(|m| *m == fit.method), fit.params)
        else {
            continue;
        };
        let mut push = |quantity: &'static str, estimate, ends: Option<[f64; 2]>, truth: f64| {
            if let Some(ends) = ends {
                out.push((method, quantity, Trial::of(quantity, estimate, ends, truth)));
            }
        };
        let named = |name: &str| fit.intervals.get(name).copied();
        push("a", fit.exponents.a, named("a"), truth.a);
        push("E", surface.e, named("E"), truth.surface.e);
        push("alpha", surface.alpha, named("alpha"), truth.surface.alpha);
        push("beta", surface.beta, named("beta"), truth.surface.beta);
        let Some(m) = methods.iter().find(|m| m.method == method) else { continue };
        push("N*", m.params.value, ends(&m.params), truth.optimum.0);
        push("D*", m.tokens.value, ends(&m.tokens), truth.optimum.1);
        if let Some(loss) = &m.loss {
            out.push((method, "loss", new_run((m.params.value, m.tokens.value), loss)));
        }
    }
    let Some(mean) = mean else { return };
    if let Some(size) = mean.size(truth.flops)
        && let Some(ends) = ends(&size)
    {
        out.push(("forms", "N*", Trial::of("N*", size.value, ends, truth.optimum.0)));
    }
    if let Some(best) = mean.best(truth.flops)
        && let Some(loss) = mean.interval(best.0, best.1)
    {
        out.push(("forms", "loss", new_run(best, &loss)));
    }
}

/// Profile likelihood; an open end holds whatever lies beyond.
fn profiles(analysis: &Analysis, truth: &Truth, out: &mut Vec<Entry>) {
    for p in &analysis.profile {
        let (quantity, least, value) = match p.quantity.as_str() {
            "a" => ("a", f64::NEG_INFINITY, truth.a),
            "E" => ("E", f64::NEG_INFINITY, truth.surface.e),
            _ if p.flops.is_some_and(|c| (c / truth.flops - 1.0).abs() < 1e-6) => {
                ("D*/N*", 0.0, truth.optimum.1 / truth.optimum.0)
            }
            _ => continue,
        };
        let ends = [p.lo.unwrap_or(least), p.hi.unwrap_or(f64::INFINITY)];
        out.push(("profile", quantity, Trial::of(quantity, p.value, ends, value)));
    }
}

/// Approach 2, as it is and with its bias for the design taken off.
fn lines(analysis: &Analysis, truth: &Truth, out: &mut Vec<Entry>) {
    let Some(fit) = analysis.fits.iter().find(|f| f.method == "isoflop") else { return };
    let Draws::Frontiers(draws) = &fit.draws else { return };
    let bias = analysis.isoflop_bias.as_ref().map(|b| b.frontier_bias);
    let plain = Frontier { n0: 0.0, a: 0.0, d0: 0.0, b: 0.0 };
    for (method, bias) in [("isoflop", Some(plain)), ("isoflop corrected", bias)] {
        let Some(bias) = bias else { continue };
        let size =
            |f: &Frontier| (f.at(truth.flops).0.ln() - bias.n0 - bias.a * truth.flops.ln()).exp();
        let slope = |f: &Frontier| f.a - bias.a;
        let mut push = |quantity, of: &dyn Fn(&Frontier) -> f64, truth| {
            let drawn: Vec<f64> = draws.iter().map(of).collect();
            if let Some(ends) = stats::percentile_interval(&drawn, fit.level) {
                out.push((method, quantity, Trial::of(quantity, of(&fit.frontier), ends, truth)));
            }
        };
        push("a", &slope, truth.a);
        push("N*", &size, truth.optimum.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quick(studies: usize) -> Plan {
        Plan { studies, bootstrap: 40, ..Plan::default() }
    }

    fn silent() {}

    /// Sixty studies hold nominal 90% in 46 or more with a chance of 99.8% a row (binomial tail), and
    /// rows of one study move together. Approach 2 with its bias is not promised anything.
    #[test]
    fn intervals_of_the_standard_design_hold_the_truth() {
        let test = run(&Design::standard(5, 6), &quick(60), &silent).unwrap();
        assert_eq!((test.refused, test.runs, test.clusters, test.flops_ahead), (0, 30, 30, 1e21));
        assert_eq!(test.coverage.len(), ROWS.iter().map(|r| r.1.len()).sum::<usize>());
        for row in &test.coverage {
            assert!(row.studies >= 55, "{row:?}");
            assert!(row.coverage >= 46.0 / 60.0 || row.method == "isoflop", "{row:?}");
            assert!(row.width.is_some_and(|w| w.is_finite() && w > 0.0), "{row:?}");
            assert!(row.bias.unwrap().abs() < 0.25, "{row:?}");
        }
    }

    /// The whole measurement, minutes in release: run it with `--ignored` after any change of `fit` or
    /// `predict`. A row fails when it is out of its 5 points by two standard errors.
    #[test]
    #[ignore = "minutes of simulation"]
    fn intervals_hold_the_truth_as_often_as_they_say() {
        for (budgets, sizes) in [(4, 6), (5, 6), (6, 6), (8, 9), (12, 12)] {
            let test = run(&Design::standard(budgets, sizes), &Plan::default(), &silent).unwrap();
            for row in test.coverage.iter().filter(|r| r.method != "isoflop") {
                println!("{budgets} x {sizes}: {row:?}");
                assert!(matches!(row.verdict, Verdict::Holds | Verdict::Unclear), "{row:?}");
            }
        }
    }

    #[test]
    fn the_number_of_threads_changes_no_bit_and_the_seed_does() {
        let design = Design::standard(4, 6);
        let with = |threads, seed| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let plan = Plan { seed, ..quick(6) };
            pool.install(|| serde_json::to_string(&run(&design, &plan, &silent).unwrap()).unwrap())
        };
        assert_eq!(with(1, 0), with(3, 0));
        assert_ne!(with(1, 0), with(1, 1));
    }

    /// Noise that the runs of a cluster share, which the bootstrap is told of, and noise that it is not:
    /// the intervals then miss, and the test says so.
    #[test]
    fn noise_that_the_bootstrap_cannot_know_is_found_out() {
        let covered = |secret: bool| {
            let mut design = Design::standard(5, 12);
            design.shared = 1.0;
            for (i, p) in design.points.iter_mut().enumerate() {
                // Four sizes of a budget move together.
                p.cluster = (i / 4).to_string();
            }
            let plan = quick(40);
            let stream = Stream::new(9, "test");
            let truth = Truth::of(&design, AHEAD * design.range().1);
            let hits = (0..40).filter(|study| {
                let mut table = design.study(stream.child(*study));
                for p in table.points.iter_mut().filter(|_| secret) {
                    p.cluster.clone_from(&p.id);
                }
                let analysis = analyse(&table, design.compute, &options(&plan, *study)).unwrap();
                entries(&analysis, &truth, 0.0)
                    .iter()
                    .any(|(m, q, t)| (*m, *q) == ("lse-huber", "N*") && t.held)
            });
            hits.count()
        };
        let (told, secret) = (covered(false), covered(true));
        assert!(told >= 30 && secret < told, "{told} {secret}");
    }

    #[test]
    fn a_design_that_determines_no_law_is_refused() {
        let mut design = Design::standard(5, 6);
        design.points.truncate(2);
        assert!(matches!(run(&design, &quick(3), &silent), Err(FitError::TooFewPoints { .. })));
        let plan = Plan { level: 1.5, ..quick(3) };
        let refusal = run(&Design::standard(5, 6), &plan, &silent);
        assert!(matches!(refusal, Err(FitError::BadOption { option: "level", .. })));
    }
}
