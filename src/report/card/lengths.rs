//! How long documents are, and in which languages.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::{bar, grouped, share, some};
use crate::prepare::stages::Card;
use crate::report::grid::table;
use crate::units::bytes;

/// Parts of a domain's documents, by length, whose longest is told.
const QUANTILES: [f64; 3] = [0.1, 0.5, 0.9];

pub(super) fn lengths(card: &Card) -> Markup {
    let mut all: BTreeMap<u32, u64> = BTreeMap::new();
    for (length, n) in card.domains.iter().flat_map(|d| &d.lengths) {
        *all.entry(*length).or_default() += n;
    }
    let (Some((first, _)), Some((last, _))) = (all.first_key_value(), all.last_key_value()) else {
        return html! { p { "Nothing was read." } };
    };
    let most = all.values().copied().max().unwrap_or(1);
    let sum: u64 = all.values().sum();
    let rows = html! {
        @for length in *first..=*last {
            @let n = all.get(&length).copied().unwrap_or(0);
            tr {
                td.n { (size(length)) }
                td.bars { (bar(n as f64 / most as f64)) }
                td.n { (some(n)) }
                td.n { (share(n, sum)) }
            }
        }
    };
    let by_domain = html! {
        @for d in card.domains.iter().filter(|d| d.documents > 0) {
            tr {
                td { b { (d.name) } }
                @for q in QUANTILES { td.n { (size(quantile(&d.lengths, q))) } }
                td.n { (bytes(d.bytes as f64 / d.documents as f64)) }
            }
        }
    };
    html! {
        p.note { "Of documents read, by their raw text; each class ends at twice the length of the one before." }
        (table(&[("Up to", "", true), ("", "", false), ("Documents", "", true), ("Share", "", true)], &rows))
        (table(
            &[
                ("Domain", "", false), ("10%", "have up to", true), ("Half", "have up to", true),
                ("90%", "have up to", true), ("Mean", "", true),
            ],
            &by_domain,
        ))
    }
}

/// The class in which a part of the documents ends.
fn quantile(of: &BTreeMap<u32, u64>, part: f64) -> u32 {
    let wanted = part * of.values().sum::<u64>() as f64;
    let mut so_far = 0;
    let found = of.iter().find(|(_, n)| {
        so_far += **n;
        so_far as f64 >= wanted
    });
    found.map_or(0, |(length, _)| *length)
}

/// 2^i bytes.
fn size(i: u32) -> String {
    let unit = ["B", "KiB", "MiB", "GiB"][(i / 10).min(3) as usize];
    format!("{} {unit}", 1_u64 << (i - 10 * (i / 10).min(3)))
}

pub(super) fn languages(card: &Card) -> Markup {
    let asked: Vec<_> = card.domains.iter().filter(|d| !d.languages.is_empty()).collect();
    if asked.is_empty() {
        return html! { p { "The recipe asks for no language, so none was looked for." } };
    }
    let rows = html! {
        @for d in asked {
            @let all: u64 = d.languages.values().map(|of| of[0]).sum();
            @let most: u64 = d.languages.values().map(|of| of[0]).max().unwrap_or(1);
            @for (i, (name, [documents, text])) in sorted(&d.languages).into_iter().enumerate() {
                tr.group[i == 0] {
                    td { @if i == 0 { b { (d.name) } } }
                    td { (name) }
                    td.bars { (bar(documents as f64 / most as f64)) }
                    td.n { (grouped(documents)) }
                    td.n { (share(documents, all)) }
                    td.n { (bytes(text as f64)) }
                }
            }
        }
    };
    html! {
        p.note {
            "Of documents read in domains whose recipe asks for a language, as its detector guesses: short documents, lists "
            "and code are often taken for a language that they are not in."
        }
        (table(
            &[
                ("Domain", "", false), ("Language", "", false), ("", "", false), ("Documents", "", true),
                ("Share", "", true), ("Text", "", true),
            ],
            &rows,
        ))
    }
}

/// The most frequent languages, and the others together.
fn sorted(of: &BTreeMap<String, [u64; 2]>) -> Vec<(String, [u64; 2])> {
    const SHOWN: usize = 8;
    let mut all: Vec<(String, [u64; 2])> = of.iter().map(|(name, n)| (name.clone(), *n)).collect();
    all.sort_by_key(|(_, [documents, _])| std::cmp::Reverse(*documents));
    if all.len() > SHOWN + 1 {
        let rest = all.split_off(SHOWN);
        let sum = |i: usize| rest.iter().map(|(_, n)| n[i]).sum();
        all.push((format!("{} others", rest.len()), [sum(0), sum(1)]));
    }
    all
}
