//! Scaling laws fitted by four methods: numbers in, numbers out.
//!
//! [`analyse`] takes a [`Table`] and returns an [`Analysis`]: the Chinchilla surface by robust fit in
//! the logarithm (`lse`, approach 3) and by variable projection (`varpro`), the IsoFLOP parabolas
//! (`isoflop`, approach 2), the lower envelope (`envelope`, approach 1), each with intervals and a
//! certificate, the bias of approach 2 for this design (`bias`), a held-out budget, the same law under
//! other choices (`sensitivity`), other laws on the same runs (`forms`), and what a reader must know
//! before believing any of it. Runs on repeated tokens are kept apart from laws of fresh ones (`repeats`).
//!
//! Pure: no files, no clock, no device, no randomness but the given seed. Equal tables give equal bits,
//! whatever the order of the rows and the number of threads.
//!
//! Reads: `points`. Read by: `predict`, `figure`, `report`, `cli`.

mod ahead;
mod averaging;
mod bias;
mod bootstrap;
mod checks;
mod clusters;
mod compute;
mod conventions;
mod disagreement;
pub mod dual;
mod envelope;
mod forms;
mod grid;
mod groups;
mod holdout;
mod huber;
mod isoflop;
mod lanes;
pub mod law;
pub mod least;
mod lse;
mod newton;
mod noise;
mod pins;
mod profile;
pub(crate) mod qr;
mod read;
mod repeats;
pub mod result;
mod sample;
mod sensitivity;
pub(crate) mod stats;
mod surface;
mod varpro;
mod warning;

use std::collections::BTreeMap;

pub use pins::Pins;
pub use read::ReadError;
pub use result::*;
pub use warning::{Code, Warning};

use crate::points::{Point, Table};
use crate::units::of_losses_in;
use clusters::Clusters;
use sample::{Sample, SurfaceFit};

pub(crate) use forms::HEARD;
pub use groups::budget_of_each;
pub use lse::objective;
pub(crate) use repeats::{ONCE, PUBLISHED, epochs, worth};
pub(crate) use surface::bisect;

/// What to fit, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Where Huber's function turns from square to linear, in ln L [-]. Hoffmann et al. use 1e-3.
    pub delta: f64,
    /// Bootstrap draws [count]; 0 for none, and then no intervals.
    pub bootstrap: usize,
    /// Level of every interval (0, 1).
    pub level: f64,
    /// Seed of the bootstrap.
    pub seed: u64,
    /// How many of the largest budgets to keep out and predict from the rest [count]; 0 for none.
    pub holdout: usize,
    /// Methods to report. The result lists them in the order of [`Method`].
    pub methods: Vec<Method>,
    /// Parameters that are given and not fitted.
    pub pins: Pins,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            delta: 1e-3,
            bootstrap: 1000,
            level: 0.9,
            seed: 0,
            holdout: 1,
            methods: Method::ALL.to_vec(),
            pins: Pins::default(),
        }
    }
}

/// A method of fitting, in the order in which results lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Method {
    /// The surface in ln L under Huber's loss (approach 3).
    LseHuber,
    /// The surface in L by least squares (variable projection).
    Varpro,
    /// A parabola for each budget, and a line (approach 2).
    Isoflop,
    /// The lower envelope, and a line (approach 1).
    Envelope,
}

impl Method {
    /// Every method.
    pub const ALL: [Self; 4] = [Self::LseHuber, Self::Varpro, Self::Isoflop, Self::Envelope];

    /// The name in `fit.json`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::LseHuber => "lse-huber",
            Self::Varpro => "varpro",
            Self::Isoflop => "isoflop",
            Self::Envelope => "envelope",
        }
    }
}

/// Why nothing could be fitted. A refusal is a result, not a crash: the report prints it.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FitError {
    /// Fewer runs than any method needs.
    #[error(
        "`{have}` runs, want at least `{need}`\n\
         hint: finish more cells of the sweep, or look at the excluded rows"
    )]
    TooFewPoints {
        /// Runs in the table.
        have: usize,
        /// Runs the least demanding method needs.
        need: usize,
    },
    /// More runs than can be fitted in a time that anybody waits.
    #[error(
        "{have} runs, and at most {most} are fitted\n\
         hint: a table of runs has one row a run; choose the last row of each with --where, or a part of the study"
    )]
    TooManyPoints {
        /// Runs in the table.
        have: usize,
        /// The cap.
        most: usize,
    },
    /// A value that no fit can use.
    #[error(
        "{row}: {column} is `{value}`, want a finite number above 0\n\
         hint: exclude the row by name, with its reason"
    )]
    BadValue {
        /// Id of the run, or `row 17`.
        row: String,
        /// Column.
        column: &'static str,
        /// The value.
        value: f64,
    },
    /// An option out of range.
    #[error("option {option} is `{value}`, want {want}")]
    BadOption {
        /// Name of the option.
        option: &'static str,
        /// The value.
        value: f64,
        /// What would do.
        want: &'static str,
    },
    /// A pinned value that these runs rule out.
    #[error(
        "{name} is pinned at `{value}`, want {want}\n\
         hint: --pin takes a value in the unit of the fitted losses, as `isoflop fit` without it prints E"
    )]
    BadPin {
        /// The parameter.
        name: &'static str,
        /// The value.
        value: f64,
        /// What would do.
        want: String,
    },
    /// No method has anything to say about these runs.
    #[error(
        "these runs determine no law: {}\n\
         hint: vary N and D independently; four budgets of five sizes each are a small study",
        .what.join("; ")
    )]
    Unidentifiable {
        /// What each method lacks.
        what: Vec<String>,
    },
}

impl Draws {
    /// Number of draws.
    pub fn len(&self) -> usize {
        match self {
            Self::Surfaces(draws) => draws.len(),
            Self::Frontiers(draws) => draws.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Fits every method of `options` to `table`.
///
/// - `compute`: how FLOPs per token depend on N ([`Compute::fit`]); the constraint of the frontier.
///   Runs keep the compute that the table gives them.
///
/// What cannot be fitted is left out with a warning, the rest is given. The order of the rows does not
/// matter: points are sorted first, and any shuffle gives the same bits.
///
/// # Errors
///
/// [`FitError`]: a value or an option out of range, fewer than three runs, or runs about which no
/// method can say anything.
///
/// # Example
///
/// ```
/// use isoflop::fit::{Compute, Options, analyse};
///
/// // L = 1.7 + 400 / N^0.34 + 410 / D^0.28, to a thousandth.
/// let mut csv = String::from("N,D,loss\n");
/// for n in [1e6_f64, 2e6, 4e6, 8e6, 1.6e7] {
///     for d in [2e7_f64, 4e7, 8e7, 1.6e8, 3.2e8] {
///         let noise = 1.0 + 0.001 * (n * d).sin();
///         let loss = noise * (1.7 + 400.0 / n.powf(0.34) + 410.0 / d.powf(0.28));
///         csv += &format!("{n},{d},{loss}\n");
///     }
/// }
/// let table = isoflop::import::parse(csv.as_bytes(), "runs.csv", &Default::default())?.table;
///
/// let compute = Compute::fit(&table.flops_per_token());
/// let options = Options { bootstrap: 100, ..Options::default() };
/// let analysis = analyse(&table, compute, &options)?;
/// let fit = &analysis.fits[0];
/// // N* goes as C^a, a = beta / (alpha + beta).
/// let [lo, hi] = fit.intervals["a"];
/// assert!(lo < 0.28 / 0.62 && 0.28 / 0.62 < hi, "{lo} to {hi}");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn analyse(table: &Table, compute: Compute, options: &Options) -> Result<Analysis, FitError> {
    let points = admitted(table, options)?;
    let mut warnings = Vec::new();
    let corpus = repeats::corpus(&points);
    let parted = repeats::part(points, options.pins, &mut warnings);
    let points = enough(parted.fresh)?;
    let groups = groups::budgets(&points);
    let clusters = Clusters::of_points(&points);
    let plan = (options.bootstrap, options.seed, options.level);
    let wants = |method| options.methods.contains(&method);
    let mut lacking = Vec::new();
    checks::excluded(table, &mut warnings);
    warnings.extend(options.pins.warning());

    let mut fits = surface_fits(&points, &clusters, &compute, options, &mut lacking, &mut warnings);
    let (mut isoflop, line) = isoflop::fit(&points, &groups, &compute, plan);
    if !wants(Method::Isoflop) {
        isoflop.clear();
    } else if let Some(line) = line {
        match isoflop::implausible(&line.frontier).or_else(|| isoflop::undetermined(&line)) {
            Some(reason) => lacking.push(format!("isoflop: {reason}")),
            None => fits.push(line),
        }
    } else if groups.is_empty() {
        lacking.push(
            "isoflop: no compute budgets in the table (none planned, and no four sizes within 15% of \
             one compute)"
                .into(),
        );
    } else {
        let usable = isoflop.iter().filter(|b| b.excluded.is_none()).count();
        lacking.push(format!(
            "isoflop: {usable} of {} budgets with an interior minimum, a line needs 2",
            isoflop.len()
        ));
    }
    let (mut envelope, line) = envelope::fit(&points, &clusters, plan);
    if !wants(Method::Envelope) {
        envelope.clear();
    } else if let Some(line) = line {
        let refused = Sample::new(&points).confounded();
        let reason = refused
            .or_else(|| isoflop::implausible(&line.frontier))
            .or_else(|| isoflop::undetermined(&line));
        match reason {
            Some(reason) => lacking.push(format!("envelope: {reason}")),
            None => fits.push(line),
        }
    } else {
        lacking.push(format!("envelope: {} runs on it, a line needs 3", envelope.len()));
    }
    let forms::Compared { mut laws, missing: laws_missing, averaging } =
        forms::compare(&points, &groups, &clusters, &compute, options, parted.law);
    for value in laws.iter_mut().flat_map(|law| &mut law.params) {
        value.unit = of_losses_in(&value.unit, &table.convention.loss);
    }
    if fits.is_empty() && laws.is_empty() && isoflop.iter().all(|b| b.excluded.is_some()) {
        return Err(FitError::Unidentifiable { what: lacking });
    }

    warnings.extend(lacking.into_iter().map(|l| Warning::new(Code::MethodMissing, l)));
    if wants(Method::Isoflop) {
        checks::design(&points, &groups, &isoflop, &compute, &mut warnings);
        let exact = isoflop::exact_parabolas(&points, &groups);
        if exact > 0 {
            warnings.push(Warning::new(
                Code::ExactParabolas,
                format!(
                    "{exact} budgets have three runs: their parabolas fit exactly and show no error"
                ),
            ));
        }
    }
    // Stable: those whose optimum is in doubt come last, the others in the order in which methods lead.
    fits.sort_by_key(checks::in_doubt);
    let isoflop_bias =
        bias::estimate(&points, &groups, &isoflop, &fits, &compute).unwrap_or_else(|reason| {
            warnings.push(bias::refusal(&reason));
            None
        });
    warnings.extend(isoflop_bias.as_ref().and_then(bias::warning));
    if options.bootstrap == 0 {
        let text = "no bootstrap was asked for: no interval of any parameter";
        warnings.push(Warning::new(Code::NoIntervals, text));
    }
    let mut holdout = None;
    if options.holdout > 0 && fits.iter().any(|f| f.params.is_some()) {
        match holdout::predict(&points, &groups, options) {
            Ok(held) => holdout = Some(held),
            Err(why) => {
                let text = format!("no budget could be held out: {why}");
                warnings.push(Warning::new(Code::NoHoldout, text));
            }
        }
    }
    let sensitivity =
        sensitivity::compare(&points, &groups, &compute, options, &fits, &mut warnings);
    let likelihood = profile::Likelihood::new(&points, &fits, options.pins);
    let profile = likelihood
        .as_ref()
        .map_or_else(Vec::new, |l| profile::intervals(l, &points, &compute, options.level));
    profile::warnings(&profile, &fits, &compute, &mut warnings);
    let noise = noise::estimate(&points, likelihood.as_ref(), &mut warnings);
    let lead = fits.iter().find(|fit| fit.params.is_some());
    forms::verdicts(&laws, &averaging, lead, &compute, &mut warnings);
    let sample_size = lead
        .and_then(|fit| fit.params)
        .map(|surface| clusters.sample_size(&Sample::new(&points).residuals(&surface)));
    let mut analysis = Analysis {
        version: FIT_VERSION,
        source: table.source.clone(),
        convention: table.convention.clone(),
        loss_column: None,
        pins: options.pins,
        compute,
        conventions: conventions::compare(&points, options),
        sensitivity,
        profile,
        noise,
        points: parted.kept,
        repeated: parted.apart,
        corpus,
        excluded: table.excluded.clone(),
        fits,
        isoflop,
        isoflop_bias,
        envelope,
        sample_size,
        holdout,
        entropy: table.entropy,
        bytes_per_token: table.bytes_per_token,
        uniform_loss: None,
        laws,
        laws_missing,
        averaging: Some(averaging),
        disagreement: None,
        health: None,
        warnings: Vec::new(),
    };
    analysis.disagreement = disagreement::between(&analysis, &mut warnings);
    checks::verdicts(&analysis, &mut warnings);
    analysis.warnings = warnings;
    Ok(analysis)
}

/// Fits the surface methods of `options` and nothing around them: no parabolas, no envelope, no
/// hold-out, no other choices, no warnings. For a program that wants a law, or a law many times over.
///
/// Each fit is the one that [`analyse`] gives for the same options, draws and intervals included.
///
/// # Errors
///
/// [`FitError`]: a value or an option out of range, fewer than three runs, or no surface method that
/// these runs determine.
pub fn surfaces(table: &Table, compute: Compute, options: &Options) -> Result<Vec<Fit>, FitError> {
    let parted = repeats::part(admitted(table, options)?, options.pins, &mut Vec::new());
    let points = enough(parted.fresh)?;
    let clusters = Clusters::of_points(&points);
    let mut lacking = Vec::new();
    let fits = surface_fits(&points, &clusters, &compute, options, &mut lacking, &mut Vec::new());
    if !fits.is_empty() {
        return Ok(fits);
    }
    if lacking.is_empty() {
        lacking.push("surface: no method of the options fits one".into());
    }
    Err(FitError::Unidentifiable { what: lacking })
}

/// The points of a table that may be fitted, sorted.
fn admitted(table: &Table, options: &Options) -> Result<Vec<Point>, FitError> {
    checks::options(options)?;
    checks::few_enough(table)?;
    checks::values(table)?;
    options.pins.allowed(table)?;
    enough(checks::sorted(&table.points))
}

/// Refuses fewer runs than any method needs.
fn enough(points: Vec<Point>) -> Result<Vec<Point>, FitError> {
    if points.len() < 3 {
        return Err(FitError::TooFewPoints { have: points.len(), need: 3 });
    }
    Ok(points)
}

/// Share of the scatter about `surface` that runs of one cluster have in common [0, 1]: what a bootstrap
/// of few clusters takes it for.
pub fn shared_noise(points: &[Point], surface: &Surface) -> f64 {
    let points = checks::sorted(points);
    let clusters = Clusters::of_points(&points);
    clusters.shared(&Sample::new(&points).residuals(surface))
}

/// Both surface fits with their draws. Variable projection is always run: it starts the other.
fn surface_fits(
    points: &[Point],
    clusters: &Clusters,
    compute: &Compute,
    options: &Options,
    lacking: &mut Vec<String>,
    warnings: &mut Vec<Warning>,
) -> Vec<Fit> {
    let wanted: Vec<Method> = [Method::LseHuber, Method::Varpro]
        .into_iter()
        .filter(|m| options.methods.contains(m))
        .collect();
    if wanted.is_empty() {
        return Vec::new();
    }
    let sample = Sample::pinned(points, options.pins);
    if let Some(reason) = sample.unfit() {
        lacking.push(format!("surface: {reason}"));
        return Vec::new();
    }
    let squares = varpro::fit(&sample);
    // The robust fit costs most. Draws are made with both; without them it runs if it was asked for.
    let huber = if options.bootstrap > 0 || wanted.contains(&Method::LseHuber) {
        lse::fit(&sample, options.delta, &[squares.surface])
    } else {
        SurfaceFit::none(0)
    };
    let plan = (options.bootstrap, options.seed, clusters.scheme());
    let refits = bootstrap::surfaces(&sample, clusters, &huber, &squares, options.delta, plan);
    let range = (points[0].flops, points[points.len() - 1].flops);
    let mut fits = Vec::new();
    for method in wanted {
        let (fit, draws, objective_is) = match method {
            Method::LseHuber => (
                &huber,
                &refits.lse,
                format!("sum over runs of Huber(ln fitted - ln measured), delta {}", options.delta),
            ),
            _ => (&squares, &refits.varpro, "sum over runs of (fitted - measured)^2".into()),
        };
        let dressed = dress(
            method,
            fit,
            draws,
            objective_is,
            (&sample, clusters),
            compute,
            (range, options.level),
        );
        match dressed {
            Some(dressed) => {
                checks::surface(&dressed, &sample, points, warnings);
                fits.push(dressed);
            }
            None => lacking.push(format!(
                "{}: {} ended at a bound, so these runs do not determine both terms of the law",
                method.name(),
                fit.at_bound.join(", ")
            )),
        }
    }
    fits
}

/// A surface fit as a reader gets it, or nothing when it has no frontier.
fn dress(
    method: Method,
    fit: &SurfaceFit,
    draws: &[Option<Surface>],
    objective_is: String,
    (sample, clusters): (&Sample, &Clusters),
    compute: &Compute,
    ((from, to), level): ((f64, f64), f64),
) -> Option<Fit> {
    type Of = fn(&(Surface, Frontier)) -> f64;
    if !fit.has_frontier() {
        return None;
    }
    let frontier = fit.surface.frontier(compute, from, to)?;
    let kept: Vec<(Surface, Frontier)> =
        draws.iter().flatten().filter_map(|s| Some((*s, s.frontier(compute, from, to)?))).collect();
    let mut intervals = BTreeMap::new();
    let named: [(&str, Of); 7] = [
        ("E", |d| d.0.e),
        ("A", |d| d.0.a),
        ("B", |d| d.0.b),
        ("alpha", |d| d.0.alpha),
        ("beta", |d| d.0.beta),
        ("a", |d| d.1.a),
        ("b", |d| d.1.b),
    ];
    for (name, of) in named.into_iter().filter(|(name, _)| sample.pins.get(name).is_none()) {
        let values: Vec<f64> = kept.iter().map(of).collect();
        if let Some(interval) = stats::percentile_interval(&values, level) {
            intervals.insert(name.to_string(), interval);
        }
    }
    Some(Fit {
        law: "chinchilla".into(),
        method: method.name().into(),
        n: sample.len(),
        params: Some(fit.surface),
        objective: Some(fit.objective),
        objective_is,
        exponents: frontier.exponents(),
        frontier,
        intervals,
        level,
        residual_sd: Some(clusters.noise(&sample.residuals(&fit.surface), sample.pins.free()).sd),
        certificate: Certificate {
            starts: fit.starts,
            starts_at_best: fit.starts_at_best,
            gradient: fit.gradient,
            condition: fit.condition,
            iterations: fit.iterations,
            at_bound: fit.at_bound.clone(),
        },
        draws_failed: draws.len() - kept.len(),
        draws: Draws::Surfaces(kept.into_iter().map(|d| d.0).collect()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::points::Convention;
    use sample::tests::study;

    pub(crate) fn table(points: Vec<Point>) -> Table {
        Table {
            source: "synthetic".into(),
            convention: Convention {
                params: "total".into(),
                flops: "6ND".into(),
                loss: "nats/token".into(),
            },
            points,
            excluded: Vec::new(),
            entropy: None,
            bytes_per_token: None,
        }
    }

    fn quick() -> Options {
        Options { bootstrap: 40, ..Options::default() }
    }

    fn five_budgets() -> Vec<Point> {
        study(&[1e18, 3e18, 1e19, 3e19, 1e20], 6, 4.0, 0.003, 11)
    }

    #[test]
    fn four_methods_report_in_the_order_in_which_they_lead() {
        let analysis = analyse(&table(five_budgets()), Compute::SixNd, &quick()).unwrap();
        let methods: Vec<&str> = analysis.fits.iter().map(|f| f.method.as_str()).collect();
        assert_eq!(methods, ["lse-huber", "varpro", "isoflop", "envelope"]);
        for fit in &analysis.fits[..2] {
            let s = fit.params.unwrap();
            assert_eq!(fit.exponents.a, s.beta / (s.alpha + s.beta));
            let [lo, hi] = fit.intervals["a"];
            assert!(lo < fit.exponents.a && fit.exponents.a < hi, "{lo} {hi}");
            assert!((0.002..0.0045).contains(&fit.residual_sd.unwrap()), "{:?}", fit.residual_sd);
        }
        assert!(analysis.holdout.is_some() && analysis.isoflop.len() == 5);
    }

    /// One of 126 starts, and a descent that stopped short: neither may lead.
    #[test]
    fn a_fit_whose_optimum_is_in_doubt_comes_last() {
        let analysis = analyse(&table(five_budgets()), Compute::SixNd, &quick()).unwrap();
        let told = |starts, starts_at_best, gradient| {
            let mut fit = analysis.fits[0].clone();
            let own = fit.certificate.clone();
            fit.certificate = Certificate { starts, starts_at_best, gradient, ..own };
            checks::in_doubt(&fit)
        };
        assert!(told(126, 1, 1e-9) && told(126, 126, 1e-2));
        assert!(
            !told(126, 40, 1e-9)
                && !told(1, 1, 1e-9)
                && !analysis.fits.iter().any(checks::in_doubt)
        );
    }

    /// Every size at one D: the slope of the envelope is that of the design, 1, whatever the losses are.
    #[test]
    fn what_the_design_alone_decides_is_refused_with_its_reason() {
        let mut points = study(&[1e18], 7, 4.0, 0.01, 3);
        for p in &mut points {
            (p.tokens, p.flops, p.budget) = (4.4196e9, 6.0 * p.params * 4.4196e9, None);
            p.loss = sample::tests::TRUTH.loss(p.params, p.tokens);
        }
        let told = match analyse(&table(points), Compute::SixNd, &quick()) {
            Ok(analysis) => {
                assert!(analysis.fits.is_empty(), "{:?}", analysis.fits);
                analysis.warnings.iter().map(|w| w.text.clone()).collect()
            }
            Err(FitError::Unidentifiable { what }) => what,
            Err(other) => panic!("{other}"),
        };
        let envelope = told.iter().find(|text| text.starts_with("envelope")).unwrap();
        assert!(envelope.contains("1 distinct token counts D"), "{told:?}");
    }

    /// Oracle: the long way round, bit for bit; the fits that were not asked for change nothing.
    #[test]
    fn surfaces_alone_are_those_of_the_analysis() {
        let table = table(five_budgets());
        let both = analyse(&table, Compute::SixNd, &quick()).unwrap();
        for (methods, bootstrap, from) in [
            (vec![Method::LseHuber, Method::Varpro], 40, 0),
            (vec![Method::Varpro], 40, 1),
            (vec![Method::LseHuber], 0, 0),
            (vec![Method::Varpro], 0, 1),
        ] {
            let options = Options { bootstrap, methods, ..quick() };
            let alone = surfaces(&table, Compute::SixNd, &options).unwrap();
            assert_eq!(alone.len(), options.methods.len());
            for (got, want) in alone.iter().zip(&both.fits[from..]) {
                assert_eq!((got.params, got.objective), (want.params, want.objective));
                assert_eq!(got.certificate, want.certificate);
                if bootstrap > 0 {
                    assert_eq!(got, want);
                }
            }
        }
        let options = Options { methods: vec![Method::Isoflop], ..quick() };
        let refused = surfaces(&table, Compute::SixNd, &options).unwrap_err().to_string();
        assert!(refused.contains("no method of the options"), "{refused}");
    }

    #[test]
    fn every_number_survives_the_file() {
        let analysis = analyse(&table(five_budgets()), Compute::SixNd, &quick()).unwrap();
        let text = serde_json::to_string(&analysis).unwrap();
        assert!(!text.contains("null,\"flops\""), "a NaN would be written as null");
        let back: Analysis = serde_json::from_str(&text).unwrap();
        assert_eq!(back, analysis);
    }

    #[test]
    fn a_bad_value_is_refused_by_row_and_column() {
        for (value, column) in [(f64::NAN, "loss"), (-1.0, "params"), (0.0, "tokens")] {
            let mut points = five_budgets();
            match column {
                "loss" => points[7].loss = value,
                "params" => points[7].params = value,
                _ => points[7].tokens = value,
            }
            let error = analyse(&table(points), Compute::SixNd, &quick()).unwrap_err();
            let text = error.to_string();
            assert!(text.contains("cell 1.1") && text.contains(column), "{text}");
        }
    }

    #[test]
    fn too_little_to_say_anything_is_refused() {
        let points = five_budgets();
        let refused = |points: &[Point], options: &Options| {
            analyse(&table(points.to_vec()), Compute::SixNd, options).unwrap_err()
        };
        assert_eq!(refused(&points[..2], &quick()), FitError::TooFewPoints { have: 2, need: 3 });
        let options = Options { level: 1.0, ..quick() };
        assert!(matches!(refused(&points, &options), FitError::BadOption { option: "level", .. }));
        // Three sizes of one budget whose loss falls throughout: no minimum, no line, no surface.
        let falling: Vec<Point> = points[..3].to_vec();
        assert!(matches!(refused(&falling, &quick()), FitError::Unidentifiable { .. }));
    }

    #[test]
    fn one_budget_gives_its_minimum_and_says_what_it_lacks() {
        let points = study(&[1e18], 7, 4.0, 0.001, 3);
        let analysis = analyse(&table(points), Compute::SixNd, &quick()).unwrap();
        assert!(analysis.fits.is_empty() && analysis.isoflop[0].params.is_some());
        assert!(analysis.warnings.iter().any(|w| w.text.contains("D is a power of N")));
    }

    #[test]
    fn known_entropy_outside_the_interval_is_a_warning() {
        let mut t = table(five_budgets());
        t.entropy = Some(1.0);
        let analysis = analyse(&t, Compute::SixNd, &quick()).unwrap();
        assert!(analysis.warnings.iter().any(|w| w.text.contains("known entropy")));
        t.entropy = Some(9.0);
        let analysis = analyse(&t, Compute::SixNd, &quick()).unwrap();
        assert!(analysis.warnings.iter().any(|w| w.text.contains("below the known entropy")));
    }

    #[test]
    fn an_outlier_is_named() {
        let mut points = five_budgets();
        points[8].loss *= 1.2;
        let analysis = analyse(&table(points), Compute::SixNd, &quick()).unwrap();
        assert!(
            analysis
                .warnings
                .iter()
                .any(|w| w.text.starts_with("lse-huber") && w.text.contains("cell 1.2")),
            "{:?}",
            analysis.warnings
        );
    }
}
