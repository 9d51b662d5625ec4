//! The stages of an analysis, in their order: the runs, every method and every form of law on them, and what a reader
//! must know before believing any of it.

use crate::fit::data::budgets::{self, Group};
use crate::fit::data::checks;
use crate::fit::data::clusters::Clusters;
use crate::fit::data::sample::Sample;
use crate::fit::frontier::{bias, parabola};
use crate::fit::interval::profile;
use crate::fit::methods::{self, Methods};
use crate::fit::select::forms::{self, Tried};
use crate::fit::select::repeats;
use crate::fit::select::verdicts;
use crate::fit::validate::{conventions, disagreement, holdout, replicates, sensitivity};
use crate::fit::{
    Analysis, Code, Compute, FIT_VERSION, Fit, FitError, Method, Options, Surface, Warning,
};
use crate::points::{Point, Table};
use crate::units::of_losses_in;

/// The runs of a table as they are fitted.
struct Design {
    /// Runs on fresh tokens, by compute: those of every law.
    points: Vec<Point>,
    /// Their budgets.
    groups: Vec<Group>,
    /// Their clusters.
    clusters: Clusters,
    /// The law of repeated tokens, or why there is none.
    repetition: Result<Tried, String>,
    /// The fresh runs as they are recorded, and those on repeated tokens.
    kept: Vec<Point>,
    apart: Vec<Point>,
    /// Distinct tokens of the corpus, where runs say so [tokens].
    corpus: Option<f64>,
}

impl Design {
    fn of(table: &Table, options: &Options, warnings: &mut Vec<Warning>) -> Result<Self, FitError> {
        let points = admitted(table, options)?;
        let corpus = repeats::corpus(&points);
        let parted = repeats::part(points, options.pins, warnings);
        let points = enough(parted.fresh)?;
        Ok(Self {
            groups: budgets::budgets(&points),
            clusters: Clusters::of_points(&points),
            points,
            repetition: parted.law,
            kept: parted.kept,
            apart: parted.apart,
            corpus,
        })
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
    let mut warnings = Vec::new();
    let Design { points, groups, clusters, repetition, kept, apart, corpus } =
        Design::of(table, options, &mut warnings)?;
    checks::excluded(table, &mut warnings);
    warnings.extend(options.pins.warning());

    let Methods { fits, isoflop, envelope, lacking } =
        methods::all((&points, &groups, &clusters), &compute, options, &mut warnings);
    let forms::Compared { mut laws, missing: laws_missing, averaging } =
        forms::compare(&points, &groups, &clusters, &compute, options, repetition);
    for value in laws.iter_mut().flat_map(|law| &mut law.params) {
        value.unit = of_losses_in(&value.unit, &table.convention.loss);
    }
    if fits.is_empty() && laws.is_empty() && isoflop.iter().all(|b| b.excluded.is_some()) {
        return Err(FitError::Unidentifiable { what: lacking });
    }
    warnings.extend(lacking.into_iter().map(|l| Warning::new(Code::MethodMissing, l)));
    if options.wants(Method::Isoflop) {
        checks::design(&points, &groups, &isoflop, &compute, &mut warnings);
        warnings.extend(parabola::exact(&points, &groups));
    }
    let isoflop_bias = bias::of(&points, &groups, &isoflop, &fits, &compute, &mut warnings);
    if options.bootstrap == 0 {
        let text = "no bootstrap was asked for: no interval of any parameter";
        warnings.push(Warning::new(Code::NoIntervals, text));
    }
    let lead = fits.iter().find(|fit| fit.params.is_some());
    let holdout = lead.and_then(|_| holdout::of(&points, &groups, options, &mut warnings));
    let sensitivity =
        sensitivity::compare(&points, &groups, &compute, options, &fits, &mut warnings);
    let likelihood = profile::Likelihood::new(&points, &fits, options.pins);
    let profile =
        profile::of(likelihood.as_ref(), &points, &fits, &compute, options.level, &mut warnings);
    let noise = replicates::estimate(&points, likelihood.as_ref(), &mut warnings);
    verdicts::warn(&laws, &averaging, lead, &compute, &mut warnings);
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
        points: kept,
        repeated: apart,
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
    let fits =
        methods::surfaces(&points, &clusters, &compute, options, &mut lacking, &mut Vec::new());
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
    checks::allowed(&options.pins, table)?;
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
