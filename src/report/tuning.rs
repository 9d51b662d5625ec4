//! What tuning found, and whether the sweep's recipe agrees with it.

use maud::{Markup, PreEscaped, html};

use super::number::percent;
use super::tables::table;
use crate::figure::tuning as figures;
use crate::tune::{FittedRule, Tuning, Vertex, VertexState};
use crate::units::{count, digits3};

/// The section's body.
pub(super) fn tuning(t: &Tuning) -> Markup {
    let vertex = |v: Option<&Vertex>| match v {
        None => html! { "–" },
        Some(v) => html! {
            (format!("{:.3e}", v.value))
            @match (v.state, v.interval) {
                (VertexState::Resolved, Some([lo, hi])) => small { (format!("{lo:.2e} to {hi:.2e}")) },
                (VertexState::Resolved, None) => {},
                (state, _) => small { (state.name()) },
            }
        },
    };
    let rows = html! {
        @for f in &t.found {
            tr {
                td.n { (count(f.place.params)) } td.n { (count(f.place.tokens)) }
                td.n { (format!("{:.2e}", f.place.learning_rate)) } td.n { (vertex(f.learning_rate.as_ref())) }
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
        @if let Some(transfer) = t.transfer {
            p {
                "At " (count(transfer.tokens)) " tokens the best rate goes as N to the power " (format!("{:.2}", transfer.exponent))
                @if let Some([lo, hi]) = transfer.interval { (format!(" ({lo:.2} to {hi:.2})")) }
                ", for N from " (count(transfer.params[0])) " to " (count(transfer.params[1]))
                ": near 0, one rate serves every width."
            }
        }
        p.note {
            "Best: the vertex of a parabola in the logarithm, with its " (format!("{:.0}%", 100.0 * t.level)) " interval. "
            "Rule costs: the loss at the sweep's own values over the least that was tried or is promised. "
            "Rules are least squares over the cells whose vertex is resolved."
        }
    }
}

fn fitted(rule: &FittedRule) -> Markup {
    let number = |v: f64| if v.abs() > 1e3 { "?".to_owned() } else { digits3(v) };
    html! {
        p {
            b { (rule.name) } " "
            @for (i, term) in rule.terms.iter().enumerate() {
                @if i > 0 { ", " }
                (term.name) " " (number(term.value)) (format!(" ({} to {})", number(term.lo), number(term.hi)))
            }
            "; " (rule.resolved) " of " (rule.searched) " cells resolved"
            @if let Some(note) = &rule.note { "; " (note) } "."
        }
    }
}
