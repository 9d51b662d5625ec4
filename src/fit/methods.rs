//! Every method on the same runs, with its draws; or what it lacks.

use std::collections::BTreeMap;

use crate::fit::data::budgets::Group;
use crate::fit::data::checks;
use crate::fit::data::clusters::Clusters;
use crate::fit::data::sample::{Sample, SurfaceFit};
use crate::fit::frontier::{envelope, line, parabola};
use crate::fit::interval::bootstrap;
use crate::fit::surface::{lse, varpro};
use crate::fit::{
    BudgetFit, Certificate, Compute, Draws, EnvelopePoint, Fit, Frontier, Method, Options, Surface,
    Warning, stats,
};
use crate::points::Point;

/// What every method says.
pub(in crate::fit) struct Methods {
    /// Every fit, those whose optimum is in doubt last, the others in the order in which methods lead.
    pub(in crate::fit) fits: Vec<Fit>,
    /// The parabolas of approach 2.
    pub(in crate::fit) isoflop: Vec<BudgetFit>,
    /// The runs of approach 1.
    pub(in crate::fit) envelope: Vec<EnvelopePoint>,
    /// Why methods are missing.
    pub(in crate::fit) lacking: Vec<String>,
}

/// Fits every method of the options.
pub(in crate::fit) fn all(
    (points, groups, clusters): (&[Point], &[Group], &Clusters),
    compute: &Compute,
    options: &Options,
    warnings: &mut Vec<Warning>,
) -> Methods {
    let plan = (options.bootstrap, options.seed, options.level);
    let mut lacking = Vec::new();
    let mut fits = surfaces(points, clusters, compute, options, &mut lacking, warnings);
    let (mut isoflop, line) = parabola::fit(points, groups, compute, plan);
    if options.wants(Method::Isoflop) {
        match line.ok_or_else(|| parabola::lacking(groups, &isoflop)).and_then(sound) {
            Ok(line) => fits.push(line),
            Err(reason) => lacking.push(format!("isoflop: {reason}")),
        }
    } else {
        isoflop.clear();
    }
    let (mut envelope, line) = envelope::fit(points, clusters, plan);
    if options.wants(Method::Envelope) {
        let few = || format!("{} runs on it, a line needs 3", envelope.len());
        let apart = |line| Sample::new(points).confounded().map_or(Ok(line), Err);
        match line.ok_or_else(few).and_then(apart).and_then(sound) {
            Ok(line) => fits.push(line),
            Err(reason) => lacking.push(format!("envelope: {reason}")),
        }
    } else {
        envelope.clear();
    }
    // Stable.
    fits.sort_by_key(checks::in_doubt);
    Methods { fits, isoflop, envelope, lacking }
}

/// A line that may be told, or why it may not.
fn sound(line: Fit) -> Result<Fit, String> {
    match line::implausible(&line.frontier).or_else(|| line::undetermined(&line)) {
        Some(reason) => Err(reason),
        None => Ok(line),
    }
}

/// Both surface fits with their draws. Variable projection is always run: it starts the other.
pub(in crate::fit) fn surfaces(
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
        let estimate = of(&(fit.surface, frontier));
        if let Some(interval) = stats::interval_about(estimate, &values, level) {
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
