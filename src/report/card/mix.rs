//! Kinds of text beside published mixtures.

use maud::{Markup, html};

use super::percent;
use crate::prepare::stages::Mix;
use crate::report::grid::table;
use crate::spec::TextKind;

pub(super) fn section(mix: &Mix) -> Markup {
    let kinds: Vec<&str> = TextKind::ALL
        .iter()
        .map(|kind| kind.name())
        .filter(|kind| {
            mix.shares.contains_key(*kind)
                || mix.references.iter().any(|reference| reference.shares.contains_key(*kind))
        })
        .collect();
    let mut heads = vec![("Kind of text", "", false), ("This dataset", "of tokens", true)];
    heads.extend(mix.references.iter().map(|reference| (reference.name.as_str(), "", true)));
    let rows = html! {
        @for kind in kinds {
            tr.out[!mix.shares.contains_key(kind)] {
                td { (kind) @if !mix.shares.contains_key(kind) { small { "not in this dataset" } } }
                td.n { b { (percent(mix.shares.get(kind).copied().unwrap_or(0.0))) } }
                @for reference in &mix.references {
                    td.n { (percent(reference.shares.get(kind).copied().unwrap_or(0.0))) }
                }
            }
        }
    };
    html! {
        p {
            "A reference, not a goal: which text helps depends on what is to be predicted, and " code { "data.mix" }
            " of a sweep may weigh domains otherwise. "
            @if mix.lacks.is_empty() {
                "This dataset has every kind of text that these mixtures name."
            } @else {
                "Kinds of text that these mixtures have and this dataset lacks: " b { (mix.lacks.join(", ")) } "."
            }
        }
        (table(&heads, &rows))
        @for reference in &mix.references { p.note { (reference.name) ": " (reference.source) "." } }
        p.note {
            "A domain is of the kind that " code { "kind" } " says in the recipe, or that its name is; any other counts as other."
        }
    }
}
