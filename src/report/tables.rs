//! The tables, each a rounding of what `fit` and `predict` computed.

use maud::{Markup, html};

use super::number::{
    count_with_interval, difference, ends, loss, percent, share, told, with_interval,
};
use super::{CellRow, Input};
use crate::figure::{method_name, power};
use crate::fit::{Analysis, Compute, Fit, Holdout, Noise, SensitivityRow};
use crate::predict::{Estimate, Prediction};
use crate::units::{BITS_PER_BYTE, NATS_PER_TOKEN, count, digits3};

/// One head cell: name and unit, right-aligned when it heads numbers.
fn head(name: &str, unit: &str, numeric: bool) -> Markup {
    html! { th.n[numeric] { (name) @if !unit.is_empty() { small { (unit) } } } }
}

pub(super) fn table(heads: &[(&str, &str, bool)], rows: &Markup) -> Markup {
    html! {
        div.scroll tabindex="0" {
            table {
                thead { tr { @for (name, unit, numeric) in heads { (head(name, unit, *numeric)) } } }
                tbody { (rows) }
            }
        }
    }
}

/// Every fit with its coefficients, objective and certificate.
pub(super) fn fits(analysis: &Analysis) -> Markup {
    let unit = analysis.convention.loss_unit();
    let rows = html! {
        @for (i, fit) in analysis.fits.iter().enumerate() {
            tr.lead[i == 0] {
                td { b { (method_name(&fit.method)) } small { code { (fit.method) } ", n = " (fit.n) } }
                @for name in ["E", "A", "B", "alpha", "beta", "a", "b"] {
                    td.n { @match analysis.parameter(fit, name) {
                        Some((value, _)) if analysis.pins.get(name).is_some() => { (value) small { "pinned" } }
                        Some((value, interval)) => (with_interval(value, interval)),
                        None => "–",
                    } }
                }
                td.n { @match fit.residual_sd { Some(sd) => (percent(sd).trim_start_matches('+')), None => "–" } }
                td.n { @match fit.objective {
                    Some(value) => span title=(value) { (format!("{value:.6e}")) },
                    None => "–",
                } }
                td.wrap { (certificate(fit)) }
                td.n { (fit.draws.len()) @if fit.draws_failed > 0 { small { (fit.draws_failed) " failed" } } }
            }
        }
    };
    html! {
        div.wide { (table(
            &[
                ("Method", "", false), ("E", unit, true), ("A", "", true), ("B", "", true),
                ("α", "", true), ("β", "", true), ("a", "N* ∼ Cᵃ", true), ("b", "D* ∼ Cᵇ", true),
                ("Scatter", "sd of ln L", true), ("Objective", "", true), ("Certificate", "", false),
                ("Draws", "", true),
            ],
            &rows,
        )) }
        p.note {
            "Chinchilla's form alone, L(N, D) = E + A N" sup { "−α" } " + B D" sup { "−β" } "; answers have the E of the average of "
            "the forms. Second line: interval at "
            @if let Some(fit) = analysis.fits.first() { (format!("{:.0}%", 100.0 * fit.level)) }
            ", of the parameter, which is no prediction interval of one run. The shaded fit leads. What each method minimised:"
        }
        ul.note { @for fit in &analysis.fits { li { (method_name(&fit.method)) ": " (fit.objective_is) } } }
        @if !analysis.profile.is_empty() { (profile(analysis)) }
        @if let Some(n) = &analysis.noise { (noise(n)) }
    }
}

/// Profile likelihood beside the bootstrap.
fn profile(analysis: &Analysis) -> Markup {
    let surfaces: Vec<&Fit> = analysis.fits.iter().filter(|f| f.params.is_some()).collect();
    let rows = html! {
        @for p in &analysis.profile {
            tr {
                td { @match p.flops {
                    Some(flops) => { "D*/N* at " (power(flops)) " FLOP" },
                    None => (p.quantity),
                } }
                td.n { (with_interval(p.value, None)) }
                td.n { (between(p.lo, p.hi)) }
                @for fit in &surfaces {
                    td.n { @match p.bootstrap(fit, &analysis.compute) {
                        Some([lo, hi]) => (between(Some(lo), Some(hi))),
                        None => "–",
                    } }
                }
                td.wrap { (p.note.as_deref().unwrap_or("")) }
            }
        }
    };
    let mut heads = vec![
        ("Parameter", "", false),
        ("Least squares", "of ln L", true),
        ("Profile", "likelihood", true),
    ];
    heads.extend(surfaces.iter().map(|f| ("Bootstrap", method_name(&f.method), true)));
    heads.push(("", "", false));
    html! {
        (table(&heads, &rows))
        p.note {
            "Intervals of the parameter at " (format!("{:.0}%", 100.0 * analysis.profile[0].level)) " by two "
            "methods. The profile takes ln L to scatter normally and alike in every run, assumes no shape of the "
            "estimate, and leaves an end open that the runs do not set. A Huber objective is no likelihood: the "
            "profile belongs to least squares of ln L, whose value may differ from that of the leading fit."
        }
    }
}

fn between(lo: Option<f64>, hi: Option<f64>) -> Markup {
    let end = |v: Option<f64>| v.map_or_else(|| html! { "open" }, |v| with_interval(v, None));
    html! { (end(lo)) " – " (end(hi)) }
}

/// What runs of equal N and D say of the scatter, and of the law.
fn noise(noise: &Noise) -> Markup {
    html! {
        p.note {
            "Seeds: " (noise.replicates) " runs share N and D with another; the standard deviation of their ln L about the mean "
            "of their N and D is " (percent(noise.sd).trim_start_matches('+')) " (" (noise.dof) " degrees of freedom)."
            @if let Some(test) = &noise.lack_of_fit {
                " Against that the law's own misses have F = " (format!("{:.2}", test.f)) " with " (test.dof) " and "
                (noise.dof) " degrees of freedom, p = " (format!("{:.2e}", test.p)) "."
            }
            @if noise.by_size.len() > 1 {
                " By size:"
                @for (i, s) in noise.by_size.iter().enumerate() {
                    @if i > 0 { "," }
                    " " (percent(s.sd).trim_start_matches('+')) " at N = " (count(s.params)) " (" (s.dof) ")"
                }
                ", with the degrees of freedom in brackets."
            }
        }
    }
}

fn certificate(fit: &Fit) -> Markup {
    let c = &fit.certificate;
    let numbers = format!("gradient {:.0e}, condition {:.1e}", c.gradient, c.condition);
    html! {
        @if c.iterations == 0 {
            "least squares in closed form"
            small { (numbers) }
        } @else {
            (c.starts_at_best) " of " (c.starts) " starts agree"
            small { (numbers) ", " (c.iterations) " iterations" }
        }
        @if !c.at_bound.is_empty() { small { b { "not determined: " (c.at_bound.join(", ")) } } }
    }
}

/// Every prediction, by every method.
pub(super) fn predictions(analysis: &Analysis, predictions: &[Prediction]) -> Markup {
    let unit = analysis.convention.loss_unit();
    let bits = |e: &Estimate| {
        let unit = analysis.bytes_per_token? * std::f64::consts::LN_2;
        Some(with_interval(e.value / unit, ends(e).map(|i| i.map(|v| v / unit))))
    };
    let counted = |e: &Estimate| count_with_interval(e.value, ends(e));
    let number = |e: &Estimate| with_interval(e.value, ends(e));
    let rows = html! {
        @for p in predictions {
            tr.lead.group {
                td.n { b { (power(p.flops)) } small { (digits3(p.extrapolation)) "× the runs" } }
                td {
                    b { (method_name(&p.method)) }
                    small { "the answer" }
                }
                td.n { (counted(&p.params)) }
                td.n { (counted(&p.tokens)) }
                td.n { (number(&p.tokens_per_param)) }
                td.n { (number(&p.loss)) }
                @if analysis.bytes_per_token.is_some() { td.n { (bits(&p.loss).unwrap_or_default()) } }
                td.n { (told(p.regret_half, percent)) small { (told(p.deadweight_half.map(|e| e.value), share)) " of C" } }
                td.n { (told(p.regret_twice, percent)) small { (told(p.deadweight_twice.map(|e| e.value), share)) " of C" } }
            }
            @for m in p.methods.iter().filter(|m| m.method != p.method) {
                tr {
                    td {}
                    td { (method_name(&m.method)) @if m.corrected { small { "bias taken off" } } }
                    td.n { (counted(&m.params)) }
                    td.n { (counted(&m.tokens)) }
                    td.n { (number(&m.tokens_per_param)) }
                    td.n { @match &m.loss { Some(e) => (number(e)), None => "–" } }
                    @if analysis.bytes_per_token.is_some() {
                        td.n { (m.loss.as_ref().and_then(bits).unwrap_or_else(|| html! { "–" })) }
                    }
                    td.n {}
                    td.n {}
                }
            }
        }
    };
    let mut heads = vec![
        ("C", "FLOP", true),
        ("Method", "", false),
        ("N*", "parameters", true),
        ("D*", "tokens", true),
        ("D*/N*", "tokens/parameter", true),
        ("Loss", unit, true),
    ];
    if analysis.bytes_per_token.is_some() {
        heads.push(("Loss", "bits/byte", true));
    }
    heads.extend([("At ½ N*", "loss, waste", true), ("At 2 N*", "loss, waste", true)]);
    html! {
        (table(&heads, &rows))
        p.note {
            "Second line: for N*, D* and D*/N* the interval of the parameter, for the loss a prediction interval "
            "of one run. The first row is the answer, by all forms of law: its intervals hold their spread. The others hold for one form: "
            "compare them. Waste: the compute-optimal run reaches the same loss with that much less (deadweight compute "
            "loss)."
        }
    }
}

/// The largest budget, predicted by a fit that did not see it.
pub(super) fn holdout(h: &Holdout, unit: &str) -> Markup {
    let rows = html! {
        @for run in &h.runs {
            @let inside = (run.interval[0]..=run.interval[1]).contains(&run.measured);
            tr {
                td { code { (run.id) } }
                td.n { (count(run.params)) }
                td.n { (count(run.tokens)) }
                td.n { (loss(Some(run.measured))) }
                td.n { (loss(Some(run.predicted))) }
                td.n { (loss(Some(run.interval[0]))) " – " (loss(Some(run.interval[1]))) }
                td.n { (percent(run.predicted / run.measured - 1.0)) }
                td { (if inside { "inside" } else { "outside" }) }
            }
        }
    };
    html! {
        p {
            "From " (power(h.from_flops)) " FLOP on " (h.kept_out()) " were kept out; " (method_name(&h.method))
            " alone (not the average of the forms, which answers and which the backtest tests) was fitted to " (h.rest()) ", up to " (power(h.fitted_to)) " FLOP. Mean error " b { (percent(h.mean_error)) }
            ", largest " b { (percent(h.max_error).trim_start_matches('+')) } "; " (h.covered) " of " (h.runs.len())
            " runs lie inside their prediction interval."
        }
        (table(
            &[
                ("Run", "", false), ("N", "parameters", true), ("D", "tokens", true),
                ("Measured", unit, true), ("Predicted", unit, true), ("Interval", unit, true),
                ("Error", "predicted / measured − 1", true), ("", "", false),
            ],
            &rows,
        ))
    }
}

/// One parabola for each budget.
pub(super) fn isoflop(analysis: &Analysis) -> Markup {
    let unit = analysis.convention.loss_unit();
    let rows = html! {
        @for b in &analysis.isoflop {
            tr.out[b.excluded.is_some()] {
                td.n { (power(b.flops)) }
                td.n { (b.n) }
                td.n { (count(b.sampled[0])) " – " (count(b.sampled[1])) }
                td.n { @match b.params { Some(n) => (count_with_interval(n, b.params_interval)), None => "–" } }
                td.n { (b.tokens.map_or_else(|| "–".to_owned(), count)) }
                td.n { @match (b.tokens, b.params) { (Some(d), Some(n)) => (digits3(d / n)), _ => "–" } }
                td.n { (loss(b.loss)) }
                td.n { @match b.off_centre { Some(v) => (format!("{v:+.2}").replace('-', "−")), None => "–" } }
                td.wrap { @match &b.excluded { Some(reason) => { "not used: " (reason) }, None => "used" } }
            }
        }
    };
    html! { (table(
        &[
            ("C", "FLOP", true),
            ("Runs", "", true),
            ("Sizes", "parameters", true),
            ("N*", "parameters", true),
            ("D*", "tokens", true),
            ("D*/N*", "tokens/parameter", true),
            ("Loss", unit, true),
            ("Off centre", "log₂", true),
            ("", "", false),
        ],
        &rows,
    ))
        p.note {
            "Off centre: log₂ of N* over the middle of the sampled sizes. A parabola of an off-centre budget is "
            "biased; sample the next study around N*."
        }
        @if let Some(bias) = &analysis.isoflop_bias {
            p.note {
                "Bias of this design: a parabola is not the shape of a slice of the surface. Without noise, on the "
                "surface of " (method_name(&bias.surface_method)) ", the same runs and budgets are off by "
                b { (difference(bias.a)) } " in a and by " b { (percent(bias.params_ahead)) }
                " in N* at ten times the largest compute (" (percent(bias.params_at_largest))
                " at the largest). That is taken off in every other table and answer, where a is "
                span title=(bias.corrected.a) { b { (format!("{:.3}", bias.corrected.a).replace('-', "−")) } } "."
            }
        }
    }
}

/// The same fit under other ways of counting N.
pub(super) fn conventions(analysis: &Analysis) -> Markup {
    let unit = analysis.convention.loss_unit();
    let rows = html! {
        @for c in &analysis.conventions {
            tr.lead[c.params == analysis.convention.params] {
                td { code { (c.params) } }
                td.wrap { (super::answer::params_in_words(&c.params)) }
                td.n { (with_interval(c.exponents.a, None)) }
                td.n { (with_interval(c.exponents.b, None)) }
                td.n { (with_interval(c.e, None)) }
                td.n { (digits3(c.tokens_per_param)) }
            }
        }
    };
    html! {
        p {
            "In this report N counts " (super::answer::params_in_words(&analysis.convention.params))
            " (" code { (analysis.convention.params) } "), C is counted as " code { (analysis.convention.flops) }
            ", and the frontier uses " (constraint(&analysis.compute)) "."
        }
        @if !analysis.conventions.is_empty() {
            (table(
                &[
                    ("N", "", false), ("What it counts", "", false), ("a", "", true), ("b", "", true),
                    ("E", unit, true), ("D*/N*", "at the largest budget", true),
                ],
                &rows,
            ))
        }
    }
}

fn constraint(compute: &Compute) -> Markup {
    html! {
        @match compute {
            Compute::SixNd => "C = 6ND",
            Compute::Attention { k, q, max_error } => {
                "C = (6N + " (digits3(*k)) " N" sup { (digits3(*q)) } ") D, which meets the exact counts of the runs within "
                (percent(*max_error).trim_start_matches('+'))
            }
        }
    }
}

/// The leading fit with one choice at a time made otherwise.
pub(super) fn choices(analysis: &Analysis) -> Markup {
    let unit = analysis.convention.loss_unit();
    let all = &analysis.sensitivity;
    let new_group = |i: usize| i == 0 || all[i - 1].group != all[i].group;
    let rows = html! {
        @for (i, r) in all.iter().enumerate() {
            tr.lead[i == 0].group[new_group(i)] {
                td { @if new_group(i) { (r.group) } }
                td.wrap { (r.choice) }
                td.n { (r.n) }
                td.n { (with_interval(r.exponents.a, None)) }
                td.n { (with_interval(r.exponents.b, None)) }
                td.n { (loss(Some(r.e))) }
                td.n { (digits3(r.tokens_per_param)) }
                td.n { (loss(Some(r.loss_ahead))) }
            }
        }
    };
    let most = analysis.points.iter().map(|p| p.flops).fold(0.0, f64::max);
    let range = |of: fn(&SensitivityRow) -> f64| {
        all.iter().map(of).fold([f64::MAX, f64::MIN], |[l, h], v| [l.min(v), h.max(v)])
    };
    let (a, ratio, ahead) =
        (range(|r| r.exponents.a), range(|r| r.tokens_per_param), range(|r| r.loss_ahead));
    html! {
        p {
            "Over these " (all.len()) " answers a lies between " b { (format!("{:.3}", a[0])) } " and "
            b { (format!("{:.3}", a[1])) } ", D*/N* at " (power(most)) " FLOP between " b { (digits3(ratio[0])) }
            " and " b { (digits3(ratio[1])) } ", and the compute-optimal loss at ten times that compute between "
            b { (loss(Some(ahead[0]))) } " and " b { (loss(Some(ahead[1]))) } " [" (unit) "]."
            @if let Some(widest) = analysis.widest_choice() { " Farthest from the fit: " (widest.choice) "." }
        }
        (table(
            &[
                ("", "", false), ("Choice", "", false), ("Runs", "", true), ("a", "N* ∼ Cᵃ", true),
                ("b", "D* ∼ Cᵇ", true), ("E", unit, true), ("D*/N*", "at the largest compute", true),
                ("Loss", &format!("at 10× that, {unit}"), true),
            ],
            &rows,
        ))
        p.note {
            "One choice at a time made otherwise, all else as in the shaded fit. Not an interval: these are choices, "
            "not draws. Of single runs the most influential are shown; where there are more than 60, of the 12 "
            "farthest from the law."
        }
    }
}

/// Rows the fit did not use.
pub(super) fn exclusions(analysis: &Analysis) -> Markup {
    let rows = html! {
        @for e in &analysis.excluded {
            tr { td { code { (e.id) } } td { (e.what) } td.wrap { (e.reason) } }
        }
    };
    table(&[("Run", "", false), ("What", "", false), ("Why", "", false)], &rows)
}

/// All cells of the sweep, finished or not.
pub(super) fn cells(input: &Input) -> Markup {
    let number = |v: Option<f64>| v.map_or_else(|| "–".to_owned(), digits3);
    let row = |c: &CellRow| {
        html! {
            tr {
                td { code { (c.id) } }
                td { span class={ "state " (known(&c.state)) } { (c.state) } }
                td.n { (count(c.params)) }
                td.n { (count(c.tokens)) }
                td.n { (power(c.flops)) }
                td.n { (digits3(c.tokens_per_param)) }
                td { (c.shape) }
                td.n { (format!("{:.2e}", c.learning_rate)) }
                td.n { (count(c.batch_tokens)) }
                td.n { (loss(c.loss)) }
                td.n { (loss(c.bits_per_byte)) }
                td.n { (c.tokens_per_second.map_or_else(|| "–".to_owned(), count)) }
                td.n { (number(c.minutes)) }
                td.wrap { (c.note.as_deref().unwrap_or("")) }
            }
        }
    };
    let rows = html! { @for cell in input.cells { (row(cell)) } };
    html! {
        details open {
            summary { (input.cells.len()) " cells" }
            div.wide { (table(
                &[
                    ("Cell", "", false), ("State", "", false), ("N", "parameters", true), ("D", "tokens", true),
                    ("C", "FLOP", true), ("D/N", "", true), ("Shape", "", false), ("Peak rate", "1/step", true),
                    ("Batch", "tokens", true), ("Loss", NATS_PER_TOKEN, true), ("Loss", BITS_PER_BYTE, true),
                    ("Speed", "tokens/s", true), ("Time", "min", true), ("", "", false),
                ],
                &rows,
            )) }
        }
    }
}

/// The state as a class name: only words we know reach the style sheet.
fn known(state: &str) -> &str {
    if ["completed", "diverged", "failed", "missing"].contains(&state) { state } else { "other" }
}
