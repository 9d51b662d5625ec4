//! What went as copies, and what shares an n-gram with what is measured.

use std::collections::BTreeSet;

use maud::{Markup, html};

use super::{begins, grouped, share, some};
use crate::corpus::Manifest;
use crate::prepare::stages::{Card, CopySet};
use crate::report::grid::table;
use crate::units::several;

pub(super) fn copies(card: &Card) -> Markup {
    let found = &card.copies;
    if found.clusters == 0 {
        return html! { p { "No document was found to be a copy of another." } };
    }
    let rows = html! {
        @for d in &card.domains {
            @let of = |kind: &str| d.copies.get(kind).copied().unwrap_or(0);
            tr {
                td { b { (d.name) } }
                td.n { (some(of("copy"))) }
                td.n { (some(of("near-copy"))) }
                td.n { (some(of("copy-of-held-out"))) }
                td.n { (share(d.copies(), d.documents)) }
            }
        }
    };
    html! {
        p {
            @if found.clusters == 1 { "One set of documents are" } @else { (grouped(found.clusters)) " sets of documents are" }
            " copies of each other, the largest of " (several(found.largest as usize, "document"))
            ". Of each set one stays; of one with a held-out document no other."
        }
        (table(
            &[
                ("Domain", "", false), ("Copies", "the same words", true), ("Near-copies", "MinHash", true),
                ("Copies of held-out", "equal or near", true), ("Share gone", "of documents read", true),
            ],
            &rows,
        ))
        @if !found.examples.is_empty() {
            h3 { "The largest sets" }
            @for set in &found.examples { (example(set)) }
        }
    }
}

fn example(set: &CopySet) -> Markup {
    let domains: Vec<String> =
        set.domains.iter().map(|(name, n)| format!("{} in {name}", grouped(*n))).collect();
    html! {
        div.sample {
            p { b { (several(set.documents as usize, "document")) } ": " (domains.join(", ")) "." }
            @for member in &set.members {
                p.note { @if !member.id.is_empty() { b { (member.id) } " " } q { (begins(&member.begins)) } }
            }
        }
    }
}

pub(super) fn contamination(card: &Card, manifest: &Manifest) -> Markup {
    let rule = manifest.recipe.as_ref().and_then(|recipe| recipe.get("decontaminate"));
    let of = |key: &str| rule.and_then(|rule| rule.get(key));
    let action = of("action").and_then(|action| action.as_str()).unwrap_or("drop");
    let ngram = of("ngram").and_then(serde_json::Value::as_u64).unwrap_or(12);
    if action == "ignore" {
        return html! { p { "It was not looked for (" code { "action = \"ignore\"" } ")." } };
    }
    let sets: BTreeSet<&String> = card.domains.iter().flat_map(|d| d.contacts.keys()).collect();
    let mut heads = vec![("Domain", "", false), ("Documents", "any of them", true)];
    heads.extend(sets.iter().map(|set| (set.as_str(), "", true)));
    let rows = html! {
        @for d in &card.domains {
            tr {
                td { b { (d.name) } }
                td.n { (some(d.contaminated)) }
                @for set in &sets { td.n { (some(d.contacts.get(*set).copied().unwrap_or(0))) } }
            }
        }
    };
    let all: u64 = card.domains.iter().map(|d| d.contaminated).sum();
    html! {
        p {
            (grouped(all)) " training documents share " (ngram) " words in a row with held-out documents or with what "
            code { "decontaminate.against" } " names; they " (if action == "drop" { "were dropped." } else { "were counted and kept." })
        }
        @if all > 0 {
            div.wide { (table(&heads, &rows)) }
            p.note { "A document that shares words with several sets is counted at each of them." }
        }
    }
}
