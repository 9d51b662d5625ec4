//! A fit: what its methods found, and how far that can be trusted. A sentence or a table each.

use super::forms::shares_of_sizes;
use super::number::{difference, loss, number, or_dash, percent, scatter};
use super::{Table, Value, numbers, words};
use crate::fit::{Analysis, Fit, Holdout, MethodValue, Noise, SensitivityRow};
use crate::units::{digits3, flops};

/// What a method is called beside its name.
pub fn method_title(method: &str) -> &str {
    match method {
        "lse-huber" => "surface (Huber)",
        "varpro" => "surface (varpro)",
        "isoflop" => "IsoFLOP minima",
        other => other,
    }
}

/// Every method with its coefficients, objective and certificate.
pub fn methods(analysis: &Analysis) -> Table {
    let surface = analysis.fits.iter().any(|f| f.params.is_some());
    let coefficients: &[(&'static str, &'static str)] = &[
        ("a", "N* ~ C^a"),
        ("b", "D* ~ C^b"),
        ("E", "irreducible loss"),
        ("A", ""),
        ("B", ""),
        ("alpha", ""),
        ("beta", ""),
    ];
    let coefficients = if surface { coefficients } else { &coefficients[..2] };
    let mut columns = vec![words("method", ""), numbers("points", "")];
    columns.extend(coefficients.iter().map(|(name, unit)| numbers(name, unit)));
    if surface {
        columns.push(numbers("objective", ""));
        columns.push(numbers("scatter", "sd of ln L").on_a_page());
    }
    columns.push(words("certificate", "").on_a_page());
    columns.push(numbers("draws", "").on_a_page());
    let row = |fit: &Fit| {
        let title = Some(method_title(&fit.method)).filter(|title| *title != fit.method);
        let method = Value::words(&fit.method).then(title.unwrap_or_default());
        let mut row = vec![method, Value::words(fit.n.to_string())];
        row.extend(coefficients.iter().map(|(name, _)| coefficient(analysis, fit, name)));
        if surface {
            row.push(or_dash(fit.objective, |o| format!("{o:.6e}")));
            row.push(or_dash(fit.residual_sd, scatter));
        }
        row.push(certificate(fit));
        let failed = (fit.draws_failed > 0).then(|| format!("{} failed", fit.draws_failed));
        row.push(Value::words(fit.draws.len().to_string()).then(failed.unwrap_or_default()));
        row
    };
    let rows = analysis.fits.iter().map(row).collect();
    Table {
        columns,
        rows,
        leading: (!analysis.fits.is_empty()).then_some(0),
        notes: how_to_read(analysis, surface),
    }
}

fn how_to_read(analysis: &Analysis, surface: bool) -> Vec<String> {
    let level = analysis.fits.first().map_or(0.9, |f| f.level);
    let convention = &analysis.convention;
    let mut notes = vec![format!(
        "N: {}, C: {}, loss: {}; in brackets the {:.0}% interval of the parameter (bootstrap), which is no prediction interval of one run.",
        convention.params,
        convention.flops,
        convention.loss,
        100.0 * level
    )];
    if surface {
        notes.push(
            "E, A, B, alpha, beta: of Chinchilla's form alone, L = E + A/N^alpha + B/D^beta. Answers average the losses of all \
             forms, each with its own E."
                .to_owned(),
        );
    }
    notes.push(format!("{}.", analysis.sample_size()));
    notes
}

fn coefficient(analysis: &Analysis, fit: &Fit, name: &str) -> Value {
    match analysis.parameter(fit, name) {
        None => Value::words("-"),
        Some((v, None)) if analysis.pins.get(name).is_some() => Value::words(format!("{v} pinned")),
        Some((value, interval)) => number(value, interval),
    }
}

/// How far an optimum can be trusted.
fn certificate(fit: &Fit) -> Value {
    let c = &fit.certificate;
    let mut after = format!("gradient {:.0e}, condition {:.1e}", c.gradient, c.condition);
    let text = if c.iterations == 0 {
        "least squares in closed form".to_owned()
    } else {
        after += &format!(", {} iterations", c.iterations);
        format!("{} of {} starts agree", c.starts_at_best, c.starts)
    };
    if !c.at_bound.is_empty() {
        after += &format!("; not determined: {}", c.at_bound.join(", "));
    }
    Value::words(text).then(after)
}

/// What seeds say of the scatter.
pub fn noise(noise: &Noise) -> String {
    let test = noise.lack_of_fit.as_ref().map_or_else(String::new, |t| {
        let (f, p) = (format!("{:.2}", t.f), format!("{:.1e}", t.p));
        format!(
            "; lack of fit of the law beyond that: F = {f} with {} and {} degrees of freedom, p = {p}",
            t.dof, noise.dof
        )
    });
    let by_size = shares_of_sizes(&noise.by_size);
    format!(
        "Seeds: the losses of runs of equal N and D differ by {} (standard deviation of ln L about their mean, pooled over {} such runs, {} degrees of freedom){test}.{by_size}",
        scatter(noise.sd),
        noise.replicates,
        noise.dof
    )
}

/// The intervals of the profile likelihood.
fn profile(analysis: &Analysis) -> Option<String> {
    let first = analysis.profile.first()?;
    let one = |p: &crate::fit::Profile| {
        let end = |v: Option<f64>| v.map_or_else(|| "open".to_owned(), |v| number(v, None).text);
        let name = match p.flops {
            Some(c) => format!("D*/N* at {}", flops(c)),
            None => p.quantity.clone(),
        };
        format!("{name} {} ({}..{})", number(p.value, None).text, end(p.lo), end(p.hi))
    };
    Some(format!(
        "Profile likelihood of Chinchilla's form (least squares of ln L), {:.0}% intervals of the parameter: {}.",
        100.0 * first.level,
        analysis.profile.iter().map(one).collect::<Vec<_>>().join(", ")
    ))
}

/// How many budgets have a minimum, why the others have none, and the bias of approach 2.
pub fn budgets(analysis: &Analysis) -> Vec<String> {
    let mut out = Vec::new();
    let edges: Vec<&_> = analysis.isoflop.iter().filter(|b| b.excluded.is_some()).collect();
    if !analysis.isoflop.is_empty() {
        let (all, with) = (analysis.isoflop.len(), analysis.isoflop.len() - edges.len());
        let left_out = |edge: &&crate::fit::BudgetFit| {
            let why = edge.excluded.as_deref().unwrap_or_default();
            format!("; {} left out: {why}", flops(edge.flops))
        };
        let left_out: String = edges.iter().map(left_out).collect();
        out.push(format!("IsoFLOP: {with} of {all} budgets have an interior minimum{left_out}."));
    }
    out.extend(analysis.isoflop_bias.as_ref().map(|bias| {
        format!(
            "IsoFLOP bias of this design, by simulation without noise on the surface of {}: a {}, N* {} at 10x the largest compute \
             ({} at the largest); taken off above and in every answer, where a is {:.3}.",
            bias.surface_method,
            difference(bias.a),
            percent(bias.params_ahead),
            percent(bias.params_at_largest),
            bias.corrected.a
        )
    }));
    out
}

/// The largest runs, predicted by a fit that did not see them.
pub fn holdout(h: &Holdout, level: f64) -> String {
    format!(
        "Hold-out of {} alone, not of the average that answers (`isoflop backtest` tests that): {} from {} FLOP on, predicted from {}, up to {} FLOP: error (predicted / measured - 1) {} on average, {} at most; {} of {} inside their {:.0}% prediction interval of one run.",
        h.method,
        h.kept_out(),
        flops(h.from_flops),
        h.rest(),
        flops(h.fitted_to),
        percent(h.mean_error),
        scatter(h.max_error),
        h.covered,
        h.runs.len(),
        100.0 * level
    )
}

/// The same fit under other ways of counting N.
fn conventions(analysis: &Analysis) -> Option<String> {
    let one = |c: &crate::fit::ConventionFit| {
        format!("{} a {:.3}, D/N {}", c.params, c.exponents.a, digits3(c.tokens_per_param))
    };
    let all: Vec<String> = analysis.conventions.iter().map(one).collect();
    let most = largest(analysis);
    (!all.is_empty()).then(|| {
        format!(
            "Counted otherwise (C = 6ND of that N; D/N at {}): {}.",
            flops(most),
            all.join("; ")
        )
    })
}

/// The largest compute of the runs [FLOP].
fn largest(analysis: &Analysis) -> f64 {
    analysis.points.iter().map(|p| p.flops).fold(0.0, f64::max)
}

/// How far the answer moves when one choice at a time is made otherwise.
pub fn choices(analysis: &Analysis) -> Option<String> {
    let lead = analysis.fits.iter().find(|f| f.params.is_some())?;
    let widest = analysis.widest_choice()?;
    let range = |of: fn(&SensitivityRow) -> f64| {
        let values = analysis.sensitivity.iter().map(of);
        values.fold([f64::MAX, f64::MIN], |[l, h], v| [l.min(v), h.max(v)])
    };
    let [a0, a1] = range(|r| r.exponents.a);
    let [r0, r1] = range(|r| r.tokens_per_param);
    let [l0, l1] = range(|r| r.loss_ahead);
    Some(format!(
        "Choices in the fit of {} ({} answers: delta, objective, a budget, a size or a run left out): a {a0:.3}..{a1:.3}, \
         D*/N* {}..{} at {}, loss at 10x {}..{}; widest: {}.",
        lead.method,
        analysis.sensitivity.len(),
        digits3(r0),
        digits3(r1),
        flops(largest(analysis)),
        loss(l0),
        loss(l1),
        widest.choice
    ))
}

/// How far the methods are apart.
pub fn disagreement(analysis: &Analysis) -> Option<String> {
    let spread = analysis.disagreement.as_ref()?;
    let [low, high] = &spread.a;
    let factor = |ends: &[MethodValue; 2]| digits3(ends[1].value / ends[0].value);
    let pairs: Vec<String> =
        spread.beyond_intervals.iter().map(|[one, two]| format!("{one} and {two}")).collect();
    let beyond = if pairs.is_empty() {
        "no two of them exclude each other's value of a".to_owned()
    } else {
        format!("intervals of a that exclude each other: {}", pairs.join(", "))
    };
    Some(format!(
        "Methods: a {:.3} ({}) to {:.3} ({}); their N* differ by a factor {} at the largest compute, {} at 10x; {beyond}.",
        low.value,
        low.method,
        high.value,
        high.method,
        factor(&spread.params_at_largest),
        factor(&spread.params_ahead)
    ))
}

/// What all of a fit's sentences say, in the order in which they are read.
pub fn reading(analysis: &Analysis) -> Vec<String> {
    let level = analysis.fits.first().map_or(0.9, |f| f.level);
    let mut out = Vec::new();
    out.extend(profile(analysis));
    out.extend(analysis.noise.as_ref().map(noise));
    out.extend(super::irreducible(analysis));
    out.extend(budgets(analysis));
    out.extend(analysis.holdout.as_ref().map(|h| holdout(h, level)));
    out.extend(conventions(analysis));
    out.extend(choices(analysis));
    out.extend(disagreement(analysis));
    out
}
