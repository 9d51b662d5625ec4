//! The tables, each a rounding of what `fit` and `predict` computed.

use maud::{Markup, html};

use super::described::{self, sentences};
use super::grid::table;
use super::number::{count_with_interval, loss, percent, with_interval};
use super::{CellRow, Input};
use crate::describe::{self, Scale, method_title};
use crate::figure::power;
use crate::fit::{Analysis, Compute, Fit, Holdout};
use crate::predict::Prediction;
use crate::units::{BITS_PER_BYTE, NATS_PER_TOKEN, count, digits3};

/// Every fit with its coefficients, objective and certificate.
pub(super) fn fits(analysis: &Analysis) -> Markup {
    html! {
        (sentences(describe::disagreement(analysis).as_slice()))
        (described::table(&describe::methods(analysis)))
        ul.note { @for fit in &analysis.fits { li { (fit.method) " minimised: " (fit.objective_is) } } }
        @if !analysis.profile.is_empty() { (profile(analysis)) }
        @if let Some(n) = &analysis.noise { (sentences(&[describe::noise(n)])) }
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
    heads.extend(surfaces.iter().map(|f| ("Bootstrap", method_title(&f.method), true)));
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

/// Every prediction, by every method.
pub(super) fn predictions(analysis: &Analysis, predictions: &[Prediction]) -> Markup {
    let scale = Scale::of(analysis);
    html! { @for p in predictions { (described::answer(&describe::optimal(p, &scale))) } }
}

/// The largest budget, predicted by a fit that did not see it.
pub(super) fn holdout(h: &Holdout, level: f64, unit: &str) -> Markup {
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
        (sentences(&[describe::holdout(h, level)]))
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
        (sentences(&describe::budgets(analysis)))
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
    html! {
        (sentences(describe::choices(analysis).as_slice()))
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
