//! What each rule removed, with documents to look at.

use maud::{Markup, html};

use super::{begins, grouped, share};
use crate::prepare::filter::measures;
use crate::prepare::stages::{Card, DomainCard, Example, Rule};
use crate::report::grid::table;
use crate::units::{bytes, plain3};

pub(super) fn section(card: &Card) -> Markup {
    let some: Vec<&DomainCard> = card.domains.iter().filter(|d| !d.removed.is_empty()).collect();
    let none: Vec<&str> =
        card.domains.iter().filter(|d| d.removed.is_empty()).map(|d| d.name.as_str()).collect();
    html! {
        @if some.is_empty() {
            p { "No rule removed a document." }
        } @else {
            p.note {
                "A document goes by the first rule that it does not pass, in the order of the recipe's filters. Below each "
                "rule documents that went, with what was measured against the limit; judge by them whether the rule fits "
                "the text."
            }
            @for d in &some { (domain(d)) }
            @if !none.is_empty() { p.note { "Nothing was removed from " (none.join(", ")) "." } }
        }
    }
}

fn domain(d: &DomainCard) -> Markup {
    let mut rules: Vec<(&String, &Rule)> = d.removed.iter().collect();
    rules.sort_by_key(|(_, rule)| std::cmp::Reverse(rule.documents));
    let rows = html! {
        @for (name, rule) in rules {
            tr.group {
                td { b { (name) } }
                td.n { (grouped(rule.documents)) }
                td.n { (share(rule.documents, d.documents)) }
                td.n { (bytes(rule.bytes as f64)) }
                td.wrap { (measures(name).unwrap_or_default()) }
            }
            @for one in &rule.examples {
                tr.example { td colspan="5" { (example(one)) } }
            }
        }
    };
    html! {
        h3 { (d.name) ": " (grouped(d.removed())) " of " (grouped(d.documents)) " documents" }
        (table(
            &[
                ("Rule", "", false), ("Documents", "", true), ("Share", "of the domain", true), ("Text", "", true),
                ("It measures", "", false),
            ],
            &rows,
        ))
    }
}

fn example(of: &Example) -> Markup {
    html! {
        span.measured { (number(of.value)) " against " (number(of.limit)) }
        @if !of.id.is_empty() { " " b { (of.id) } }
        " " q { (begins(&of.begins)) }
    }
}

/// A count as it is, a share with three digits.
fn number(value: f64) -> String {
    if value.fract() == 0.0 && value.abs() < 1e15 { format!("{value:.0}") } else { plain3(value) }
}
