//! What tuning found, and whether the sweep's recipe agrees with it.

use maud::{Markup, PreEscaped, html};

use super::grid::table;
use super::number::percent;
use crate::figure::tuning as figures;
use crate::tune::{Agreement, FittedRule, Tuning, Vertex, VertexState};
use crate::units::{count, plain3};

/// The section's body.
pub(super) fn section(t: &Result<(Tuning, Vec<Agreement>), String>) -> Markup {
    match t {
        Ok((tuning, agreement)) => found(tuning, agreement),
        Err(why) => html! { p { (why) "." } },
    }
}

fn found(t: &Tuning, agreement: &[Agreement]) -> Markup {
    let vertex = |v: Option<&Vertex>| match v {
        None => html! { "–" },
        Some(v) => html! {
            (plain3(v.value))
            @match (v.state, v.interval) {
                (VertexState::Resolved, Some([lo, hi])) => small { (plain3(lo)) " to " (plain3(hi)) },
                (VertexState::Resolved, None) => {},
                (state, _) => small { (state.name()) },
            }
        },
    };
    let rows = html! {
        @for f in &t.found {
            tr {
                td.n { (count(f.place.params)) } td.n { (count(f.place.tokens)) }
                td.n { (plain3(f.place.learning_rate)) } td.n { (vertex(f.learning_rate.as_ref())) }
                td.n { (count(f.place.batch_tokens)) } td.n { (vertex(f.batch.as_ref())) }
                td.n { (vertex(f.weight_decay.as_ref())) }
                td.n { (f.left_on_the_table.map_or("–".to_owned(), percent)) }
                td.wrap { @if let Some(s) = &f.sufficiency { (s.tried) " tried: " (s.verdict) } }
            }
        }
    };
    html! {
        @for figure in figures(t) {
            figure id={ "figure-" (figure.name) } {
                div.scroll tabindex="0" { (PreEscaped(&figure.svg)) }
                figcaption { b { (figure.title) ". " } (figure.caption) }
            }
        }
        div.wide { (table(
            &[
                ("N", "parameters", true), ("D", "tokens", true), ("Rate", "the rule", true), ("Rate", "best", true),
                ("Batch", "the rule", true), ("Batch", "best", true), ("Decay", "best", true),
                ("Rule costs", "of the loss", true), ("Enough tried?", "", false),
            ],
            &rows,
        )) }
        @for rule in &t.rules { (fitted(rule)) }
        @if let Some(horizon) = t.horizon() { p { (horizon) } }
        @if let Some(transfer) = &t.transfer {
            p {
                "At equal D (" (transfer.tokens.iter().map(|d| count(*d)).collect::<Vec<_>>().join(", ")) " tokens) the best rate goes as N to the power " (format!("{:.2}", transfer.exponent))
                (transfer.interval.map_or(" (no interval)".to_owned(), |[lo, hi]| format!(" ({lo:.2} to {hi:.2})")))
                ", for N from " (count(transfer.params[0])) " to " (count(transfer.params[1]))
                ": near 0, one rate serves every width."
            }
        }
        @if !agreement.is_empty() { (agrees(agreement)) }
        p.note {
            "Best: the vertex of a parabola in the logarithm, with its " (format!("{:.0}%", 100.0 * t.level)) " interval. "
            "Rule costs: the loss at the sweep's own values over the least that was tried or is promised. "
            "Rules are least squares over the cells whose vertex is resolved."
        }
    }
}

/// The sweep's own values beside the vertices.
fn agrees(agreement: &[Agreement]) -> Markup {
    let rows = html! {
        @for a in agreement {
            tr {
                td { (a.name) } td.n { (count(a.params)) } td.n { (count(a.tokens)) }
                td.n { (plain3(a.says)) } td.n { (plain3(a.vertex)) }
                td.n { (a.ratio().map_or("–".to_owned(), |r| format!("{r:.2}"))) }
                td { (match a.inside { Some(true) => "inside", Some(false) => "outside", None => "no interval" }) }
            }
        }
    };
    html! {
        h3 { "Does the sweep's [optim] agree?" }
        div.wide { (table(
            &[
                ("Key", "of [optim]", false), ("N", "parameters", true), ("D", "tokens", true),
                ("The sweep", "says", true), ("Best", "the vertex", true), ("Ratio", "sweep / best", true),
                ("In the interval?", "", false),
            ],
            &rows,
        )) }
    }
}

fn fitted(rule: &FittedRule) -> Markup {
    html! {
        p {
            b { (rule.name) } " "
            @for (i, term) in rule.terms.iter().enumerate() {
                @if i > 0 { ", " }
                (term.name) " " (plain3(term.value))
                @match term.interval {
                    Some([lo, hi]) => { " (" (plain3(lo)) " to " (plain3(hi)) ")" },
                    None => " (no interval)",
                }
            }
            "; " (rule.resolved) " of " (rule.searched) " cells resolved"
            @if let Some(note) = &rule.note { "; " (note) } "."
        }
    }
}
