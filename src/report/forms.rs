//! The forms of law side by side, with the parameters of each.

use maud::{Markup, html};

use super::described::{sentences, table};
use super::grid;
use super::number::with_interval;
use crate::describe;
use crate::fit::Analysis;

/// Every law on the same runs, by AICc and by its error on the largest budget.
pub(super) fn forms(analysis: &Analysis) -> Markup {
    html! {
        (table(&describe::forms(analysis)))
        (sentences(&describe::irreducible(analysis)))
        details {
            summary { "Parameters of every law" }
            @for fit in &analysis.laws {
                p { b { (fit.law) } ", " (fit.equation) " (" (fit.source) ")" }
                (grid::table(
                    &[("Parameter", "", false), ("Value", "", true), ("Sd", "linear model", true), ("Unit", "", false)],
                    &html! { @for p in &fit.params { tr {
                        td { (p.name) }
                        td.n { span title=(p.value) { (with_interval(p.value, None)) } }
                        td.n { @match p.sd { Some(sd) => (format!("{sd:.2e}")), None => "–" } }
                        td { (p.unit) }
                    } } },
                ))
            }
        }
    }
}
