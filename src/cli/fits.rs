//! An analysis on the terminal: methods, law, budgets, forms, doubts.

use super::answer;
use super::show::{shares, short, signed, table, with_interval};
use crate::fit::{Analysis, Fit, MethodValue, SensitivityRow, SizeNoise};
use crate::points::AHEAD;
use crate::predict::{self, Prediction};
use crate::units::{after_loss, count, digits3, flops};

/// What the terminal shows of an analysis.
pub(super) fn text(analysis: &Analysis, predictions: &[Prediction]) -> String {
    let mut out = fits(analysis);
    if let Some(health) = &analysis.health {
        out += &format!("\n{}\n", health.line());
    }
    for prediction in predictions {
        out += "\n";
        out += &answer::prediction(prediction, &after_loss(&analysis.convention.loss));
    }
    out
}

/// All fits, the methods under one another so that their disagreement is seen.
fn fits(analysis: &Analysis) -> String {
    let level = analysis.fits.first().map_or(0.9, |f| f.level);
    let mut out = quantities(analysis);
    out += &format!(
        "  N: {}, C: {}, loss: {}; in brackets the {:.0}% interval of the parameter (bootstrap), which is no prediction interval of one run.\n",
        analysis.convention.params,
        analysis.convention.flops,
        analysis.convention.loss,
        100.0 * level
    );
    if analysis.fits.iter().any(|f| f.params.is_some()) {
        out += "  E, A, B, alpha, beta: of Chinchilla's form alone, L = E + A/N^alpha + B/D^beta. Answers average the \
                losses of all forms, each with its own E.\n";
    }
    out += &format!("  {}.\n", analysis.sample_size());
    out += &profile(analysis);
    out += &noise(analysis);
    out += &irreducible(analysis);
    out += &budgets(analysis);
    if let Some(h) = &analysis.holdout {
        out += &format!(
            "  Hold-out of {} alone, not of the average that answers (`isoflop backtest` tests that): {} from {} FLOP on, predicted from {}: error (predicted / measured - 1) {:+.2}% on average, {:.2}% at most; {} of {} inside their {:.0}% prediction interval of one run.\n",
            h.method,
            h.kept_out(),
            flops(h.from_flops),
            h.rest(),
            100.0 * h.mean_error,
            100.0 * h.max_error,
            h.covered,
            h.runs.len(),
            100.0 * level
        );
    }
    if !analysis.conventions.is_empty() {
        let parts: Vec<String> = analysis
            .conventions
            .iter()
            .map(|c| {
                format!("{} a {:.3}, D/N {}", c.params, c.exponents.a, digits3(c.tokens_per_param))
            })
            .collect();
        out += &format!("  Counted otherwise (C = 6ND of that N): {}.\n", parts.join("; "));
    }
    out + &choices(analysis) + &disagreement(analysis) + &forms(analysis)
}

/// Quantities down, methods across: their disagreement is read along a line.
fn quantities(analysis: &Analysis) -> String {
    let pins = &analysis.pins;
    let with = |fit: &Fit, name: &str| match analysis.parameter(fit, name) {
        None => "-".to_owned(),
        Some((v, None)) if pins.get(name).is_some() => format!("{v} pinned"),
        Some(parameter) => with_interval(parameter),
    };
    let line = |label: &str, show: &dyn Fn(&Fit) -> String| {
        std::iter::once(label.to_owned()).chain(analysis.fits.iter().map(show)).collect()
    };
    let mut rows: Vec<Vec<String>> = vec![line("points", &|f| f.n.to_string())];
    for (label, name) in [("a: N* ~ C^a", "a"), ("b: D* ~ C^b", "b")] {
        rows.push(line(label, &|f| with(f, name)));
    }
    if analysis.fits.iter().any(|f| f.params.is_some()) {
        for name in ["E", "A", "B", "alpha", "beta"] {
            rows.push(line(name, &|f| with(f, name)));
        }
        rows.push(line("objective", &|f| {
            f.objective.map_or_else(|| "-".to_owned(), |o| format!("{o:.6e}"))
        }));
    }
    let header: Vec<&str> =
        std::iter::once("").chain(analysis.fits.iter().map(|f| f.method.as_str())).collect();
    table(&header, 1, &rows)
}

/// How many budgets have a minimum, why the others have none, and the bias of approach 2.
fn budgets(analysis: &Analysis) -> String {
    let mut out = String::new();
    let edges: Vec<&_> = analysis.isoflop.iter().filter(|b| b.excluded.is_some()).collect();
    if !analysis.isoflop.is_empty() {
        out += &format!(
            "  IsoFLOP: {} of {} budgets have an interior minimum",
            analysis.isoflop.len() - edges.len(),
            analysis.isoflop.len()
        );
        for edge in edges {
            out += &format!(
                "; {} left out: {}",
                flops(edge.flops),
                edge.excluded.as_deref().unwrap_or_default()
            );
        }
        out += ".\n";
    }
    if let Some(bias) = &analysis.isoflop_bias {
        out += &format!(
            "  IsoFLOP bias of this design, by simulation on the fitted surface: a {}, N* {}% at 10x the largest compute; \
             taken off above and in every answer.\n",
            signed(bias.a, 3),
            signed(100.0 * bias.params_ahead, 1)
        );
    }
    out
}

/// How far the methods are apart, in a line.
fn disagreement(analysis: &Analysis) -> String {
    let Some(spread) = &analysis.disagreement else { return String::new() };
    let [low, high] = &spread.a;
    let factor = |ends: &[MethodValue; 2]| digits3(ends[1].value / ends[0].value);
    format!(
        "  Methods: a {:.3} ({}) to {:.3} ({}); their N* differ by a factor {} at the largest compute, {} at 10x.\n",
        low.value,
        low.method,
        high.value,
        high.method,
        factor(&spread.params_at_largest),
        factor(&spread.params_ahead)
    )
}

/// E by all forms, and what it should be where that is known.
fn irreducible(analysis: &Analysis) -> String {
    // A pinned E is no result.
    let averaged = predict::irreducible(analysis).filter(|_| analysis.pins.e.is_none());
    let mut out = String::new();
    if let Some(i) = &averaged {
        out += &format!(
            "  E averaged over the forms (answers average the losses, each form with its own E): {:.4} ({:.4}..{:.4}); E by form: {}.\n",
            i.e.value,
            i.e.lo,
            i.e.hi,
            shares(&i.forms)
        );
    }
    let Some(entropy) = analysis.entropy else { return out };
    let off = |e: f64| format!("{:+.1}%", 100.0 * (e / entropy - 1.0));
    let unit = after_loss(&analysis.convention.loss);
    out += &format!("  The data's exact entropy is {entropy:.4}{unit}");
    if let Some(i) = &averaged {
        let inside = (i.e.lo..=i.e.hi).contains(&entropy);
        let place = if inside { "inside" } else { "outside" };
        out += &format!("; the average is {} of it, which is {place} its interval", off(i.e.value));
    }
    if let Some((fit, s)) = analysis.fits.iter().find_map(|f| Some((f, f.params?))) {
        let method = &fit.method;
        out += &format!("; E of Chinchilla's form by {method} alone is {:.4} ({})", s.e, off(s.e));
    }
    out + ".\n"
}

/// Every law on the same runs, and why the others are missing.
fn forms(analysis: &Analysis) -> String {
    if analysis.laws.is_empty() {
        return String::new();
    }
    let dash = || "-".to_owned();
    let rows = analysis.laws.iter().map(|f| {
        let (held, ahead) = (f.heldout.as_ref(), predict::ahead(analysis, f));
        let ahead = ahead.as_ref();
        vec![
            f.law.clone(),
            f.k.to_string(),
            format!("{:.2}%", 100.0 * f.residual_sd),
            f.delta_aicc.map_or_else(dash, |d| format!("{d:.1}")),
            predict::counts(analysis, &f.law).map_or_else(dash, |w| format!("{:.0}%", 100.0 * w)),
            held.map_or_else(dash, |h| format!("{:+.2}%", 100.0 * h.mean_error)),
            held.map_or_else(dash, |h| format!("{:.2}%", 100.0 * h.max_error)),
            ahead.and_then(|a| a.a).map_or_else(dash, |a| format!("{a:.3}")),
            ahead.and_then(|a| a.params).map_or_else(dash, count),
            ahead.map_or_else(dash, |a| format!("{:.4}", a.loss)),
        ]
    });
    let header = [
        "law",
        "k",
        "scatter",
        "dAICc",
        "counts",
        "held out",
        "at most",
        "a at 10x",
        "N* at 10x",
        "loss at 10x",
    ];
    let mut out = "\n".to_owned() + &table(&header, 1, &rows.collect::<Vec<_>>());
    out += "  Forms of law on the same runs. scatter, dAICc (how well one fits, 0 is best), held out, at most: by robust least \
            squares of ln L.\n";
    out += &format!("  {}\n", predict::weighed(analysis));
    let ahead = analysis.laws.iter().find_map(|f| f.ahead.as_ref());
    if let (Some(lead), Some(ahead)) = (analysis.fits.iter().find(|f| f.params.is_some()), ahead) {
        out += &format!(
            "  at 10x: at C = {} FLOP, {AHEAD} times the largest compute, each form at its own N* (where a prediction says \
             `by form`, all are asked at the N* of the average); {} speaks for chinchilla.\n",
            flops(ahead.flops),
            lead.method
        );
    }
    if let Some(untried) = predict::untried(analysis) {
        out += &format!("  {untried}\n");
    }
    for missing in &analysis.laws_missing {
        out += &format!("  {}: not fitted: {}.\n", missing.law, missing.reason);
    }
    out
}

/// The intervals of the profile likelihood, in a line.
fn profile(analysis: &Analysis) -> String {
    let Some(first) = analysis.profile.first() else { return String::new() };
    let parts: Vec<String> = analysis
        .profile
        .iter()
        .map(|p| {
            let end = |v: Option<f64>| v.map_or_else(|| "open".to_owned(), short);
            let name = match p.flops {
                Some(c) => format!("D*/N* at {}", flops(c)),
                None => p.quantity.clone(),
            };
            format!("{name} {} ({}..{})", short(p.value), end(p.lo), end(p.hi))
        })
        .collect();
    format!(
        "  Profile likelihood of Chinchilla's form (least squares of ln L), {:.0}% intervals of the parameter: {}.\n",
        100.0 * first.level,
        parts.join(", ")
    )
}

/// What seeds say of the scatter, in a line.
fn noise(analysis: &Analysis) -> String {
    let Some(noise) = &analysis.noise else { return String::new() };
    let test = noise.lack_of_fit.map_or_else(String::new, |t| {
        format!("; lack of fit of the law beyond that: F = {:.2}, p = {}", t.f, short(t.p))
    });
    format!(
        "  Seeds: the losses of runs of equal N and D differ by {} (standard deviation of ln L about their mean, pooled over {} such runs, {} degrees of freedom){test}.\n",
        percent(noise.sd),
        noise.replicates,
        noise.dof
    ) + &noise_by_size(&noise.by_size)
}

/// The scatter of each size, in a line. One size alone is the line before.
fn noise_by_size(sizes: &[SizeNoise]) -> String {
    if sizes.len() < 2 {
        return String::new();
    }
    let one = |s: &SizeNoise| format!("{} at N = {} ({})", percent(s.sd), count(s.params), s.dof);
    let all = sizes.iter().map(one).collect::<Vec<_>>().join(", ");
    format!("  The same by size (degrees of freedom): {all}.\n")
}

/// A standard deviation of ln L, which is a share of the loss.
fn percent(sd: f64) -> String {
    format!("{:.2}%", 100.0 * sd)
}

/// How far the answer moves when one choice at a time is made otherwise, in a line.
fn choices(analysis: &Analysis) -> String {
    let lead = analysis.fits.iter().find(|f| f.params.is_some());
    let Some((widest, lead)) = analysis.widest_choice().zip(lead) else { return String::new() };
    let most = analysis.points.iter().map(|p| p.flops).fold(0.0, f64::max);
    let range = |of: fn(&SensitivityRow) -> f64| {
        let values = analysis.sensitivity.iter().map(of);
        values.fold([f64::MAX, f64::MIN], |[l, h], v| [l.min(v), h.max(v)])
    };
    let [a0, a1] = range(|r| r.exponents.a);
    let [r0, r1] = range(|r| r.tokens_per_param);
    let [l0, l1] = range(|r| r.loss_ahead);
    format!(
        "  Choices in the fit of {} (delta, objective, a budget, a size or a run left out): a {a0:.3}..{a1:.3}, \
         D*/N* {}..{} at {}, loss at 10x {l0:.4}..{l1:.4}; widest: {}.\n",
        lead.method,
        digits3(r0),
        digits3(r1),
        flops(most),
        widest.choice
    )
}
