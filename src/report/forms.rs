//! The forms side by side, and the methods: how much of the answer is the choice of a model.

use maud::{Markup, html};

use super::number::{difference, percent, with_interval};
use super::tables::table;
use crate::figure::{method_name, power};
use crate::fit::{Ahead, Analysis, Disagreement};
use crate::predict::{ahead, counts, irreducible, untried, weighed};
use crate::units::{count, digits3};

/// Every law on the same runs, by AICc and by its error on the largest budget.
pub(super) fn forms(analysis: &Analysis) -> Markup {
    let unit = analysis.convention.loss_unit();
    let rows = html! {
        @for fit in &analysis.laws {
            tr.lead[fit.delta_aicc == Some(0.0)] {
                td { b { (fit.law) } }
                td.n { (fit.n) }
                td.n { (fit.k) }
                td.n { (percent(fit.residual_sd).trim_start_matches('+')) }
                td.n { @match fit.delta_aicc { Some(d) => (format!("{d:.1}")), None => "–" } }
                td.n { @match counts(analysis, &fit.law) { Some(w) => (format!("{:.0}%", 100.0 * w)), None => "–" } }
                @match &fit.heldout {
                    Some(h) => { td.n { (percent(h.mean_error)) } td.n { (percent(h.max_error).trim_start_matches('+')) } }
                    None => { td.n { "–" } td.n { "–" } }
                }
                (told(ahead(analysis, fit).as_ref()))
                td.wrap {
                    (fit.certificate.starts_at_best) " of " (fit.certificate.starts) " starts agree"
                    @if !fit.certificate.at_bound.is_empty() { small { b { "not determined: " (fit.certificate.at_bound.join(", ")) } } }
                }
            }
        }
    };
    html! {
        div.wide { (table(
            &[
                ("Law", "", false), ("Runs", "", true), ("k", "", true), ("Scatter", "sd of ln L", true),
                ("ΔAICc", "", true), ("Counts", "", true), ("Held out", "mean error", true), ("Held out", "largest", true),
                ("a", "at 10×", true), ("N*", "at 10×, parameters", true), ("Loss", &format!("at 10×, {unit}"), true),
                ("Certificate", "", false),
            ],
            &rows,
        )) }
        p.note {
            "Scatter, ΔAICc and held out: by robust least squares of ln L, since AICc needs a likelihood. At 10×: each form's own "
            "compute-optimal run at "
            @if let Some(ahead) = analysis.laws.iter().find_map(|f| f.ahead.as_ref()) { (power(ahead.flops)) " FLOP, " }
            "ten times the largest compute (a prediction asks all forms at the N* of their average), where the leading fit above "
            "speaks for Chinchilla's form. ΔAICc: 0 is the best on these runs, above 10 has no support (a law of the frontier alone "
            "is fitted to other points and has none), and runs of one trunk count for what they are worth. Held out: fitted without the largest budgets, which it then "
            "predicts. " (weighed(analysis).replacen('c', "C", 1))
            @if let Some(untried) = untried(analysis) { " " (untried) }
        }
        @if let Some(i) = irreducible(analysis).filter(|_| analysis.pins.e.is_none()) {
            p {
                "E averaged over the forms (answers average the losses, each form with its own E): " b { (format!("{:.4}", i.e.value)) } " (" (format!("{:.4}", i.e.lo)) " to "
                (format!("{:.4}", i.e.hi)) ")"
                @if let Some(entropy) = analysis.entropy {
                    ", " (percent(i.e.value / entropy - 1.0)) " of the exact entropy " (format!("{entropy:.4}"))
                    @if (i.e.lo..=i.e.hi).contains(&entropy) { ", which the interval holds" } @else { ", which the interval misses" }
                }
                "."
            }
        }
        @if !analysis.laws_missing.is_empty() {
            p.note { "Not fitted: " @for (i, m) in analysis.laws_missing.iter().enumerate() {
                @if i > 0 { "; " } (m.law) ": " (m.reason)
            } "." }
        }
        details {
            summary { "Parameters of every law" }
            @for fit in &analysis.laws {
                p { b { (fit.law) } ", " (fit.equation) " (" (fit.source) ")" }
                (table(
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

fn told(ahead: Option<&Ahead>) -> Markup {
    html! {
        td.n { @match ahead.and_then(|a| a.a) { Some(a) => (format!("{a:.3}")), None => "–" } }
        td.n { @match ahead.and_then(|a| a.params) { Some(n) => (count(n)), None => "–" } }
        td.n { @match ahead { Some(a) => (format!("{:.4}", a.loss)), None => "–" } }
    }
}

/// How far the methods are apart, in two sentences.
pub(super) fn disagreement(spread: &Disagreement, largest: f64) -> Markup {
    let [low, high] = &spread.a;
    let factor = |ends: &[crate::fit::MethodValue; 2]| digits3(ends[1].value / ends[0].value);
    html! {
        p {
            "The methods put a between " b { (format!("{:.3}", low.value)) } " (" (method_name(&low.method)) ") and "
            b { (format!("{:.3}", high.value)) } " (" (method_name(&high.method)) "), " (difference(high.value - low.value).trim_start_matches('+'))
            " apart. Their N* differ by a factor " b { (factor(&spread.params_at_largest)) } " at " (power(largest))
            " FLOP, the largest compute, and by " b { (factor(&spread.params_ahead)) } " at ten times that. "
            @if spread.beyond_intervals.is_empty() {
                "No two of them exclude each other's value of a."
            } @else {
                "Intervals of a that exclude each other: "
                @for (i, [one, two]) in spread.beyond_intervals.iter().enumerate() {
                    @if i > 0 { ", " } (method_name(one)) " and " (method_name(two))
                } "."
            }
        }
    }
}
