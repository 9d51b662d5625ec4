//! Numbers of the tables that only a page has.

use maud::{Markup, html};

use super::described::{typeset, value};
use crate::describe;

/// A number and, below it, its interval; the full precision on hover.
pub(super) fn with_interval(number: f64, interval: Option<[f64; 2]>) -> Markup {
    value(&describe::number(number, interval))
}

/// The same for a count: `110k`.
pub(super) fn count_with_interval(count: f64, interval: Option<[f64; 2]>) -> Markup {
    value(&describe::counted(count, interval))
}

/// A share as a percentage with its sign: `+0.42%`.
pub(super) fn percent(share: f64) -> String {
    typeset(&describe::percent(share))
}

/// A loss, where there is one.
pub(super) fn loss(value: Option<f64>) -> Markup {
    html! { (value.map_or_else(|| "–".to_owned(), |v| typeset(&describe::loss(v)))) }
}
