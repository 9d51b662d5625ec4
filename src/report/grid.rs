//! A table on a page, which scrolls where it is wider than the page.

use maud::{Markup, html};

/// One head cell: name and unit, right-aligned when it heads numbers.
fn head(name: &str, unit: &str, numeric: bool) -> Markup {
    html! { th.n[numeric] { (name) @if !unit.is_empty() { small { (unit) } } } }
}

pub(super) fn table(heads: &[(&str, &str, bool)], rows: &Markup) -> Markup {
    html! {
        div.scroll tabindex="0" {
            table {
                thead { tr { @for (name, unit, numeric) in heads { (head(name, unit, *numeric)) } } }
                tbody { (rows) }
            }
        }
    }
}
