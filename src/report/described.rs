//! Descriptions ([`describe`](crate::describe)) on a page.

use maud::{Markup, html};

use super::grid;
use crate::describe::{Answer, Line, Table, Value};

/// A value: its number with all digits on hover, its interval below, and what follows.
pub(super) fn value(v: &Value) -> Markup {
    html! {
        @match v.exact {
            Some(exact) => span title=(exact) { (typeset(&v.text)) },
            None => (v.text),
        }
        @if let Some([lo, hi]) = &v.interval { small { (typeset(lo)) " – " (typeset(hi)) } }
        @if !v.after.is_empty() { small { (v.after.trim_start_matches([' ', ';', ','])) } }
    }
}

/// A table, and how to read it. Its first column names the rows.
pub(super) fn table(of: &Table) -> Markup {
    let heads: Vec<(&str, &str, bool)> =
        of.columns.iter().map(|c| (c.name, c.unit, c.numeric)).collect();
    let rows = html! {
        @for (i, row) in of.rows.iter().enumerate() {
            tr.lead[of.leading == Some(i)] {
                @for (c, v) in row.iter().enumerate() {
                    td.n[of.columns[c].numeric] { @if c == 0 { b { (value(v)) } } @else { (value(v)) } }
                }
            }
        }
    };
    html! {
        div.wide { (grid::table(&heads, &rows)) }
        (sentences(&of.notes))
    }
}

/// An answer without its warnings, which stand at the top of the page.
pub(super) fn answer(of: &Answer) -> Markup {
    html! {
        p { b { (of.heading) } }
        (lines(&of.lines))
        (sentences(&of.notes))
        @if let Some(methods) = &of.methods { (table(methods)) }
    }
}

fn lines(of: &[Line]) -> Markup {
    let rows = html! {
        @for line in of {
            tr {
                td { b { (line.name) } }
                td.n { @if line.value.exact.is_some() { (number(&line.value)) } }
                td.n { @if let Some([lo, hi]) = &line.value.interval { (typeset(lo)) " – " (typeset(hi)) } }
                td.wrap { @if line.value.exact.is_none() { (line.value.text) } (line.value.after.trim_start_matches([' ', ';', ','])) }
            }
        }
    };
    grid::table(&[("", "", false), ("", "", true), ("interval", "", true), ("", "", false)], &rows)
}

fn number(v: &Value) -> Markup {
    html! { span title=[v.exact] { (typeset(&v.text)) } }
}

/// Sentences, one below the other.
pub(super) fn sentences(of: &[String]) -> Markup {
    html! { @for sentence in of { p.note { (sentence) } } }
}

/// A number with the minus sign of print.
pub(super) fn typeset(text: &str) -> String {
    if text == "-" { "–".to_owned() } else { text.replace('-', "−") }
}
