//! How well the larger runs were predicted from the smaller: the rows that `isoflop backtest` prints.

use maud::{Markup, html};

use super::grid::table;
use crate::backtest::{Backtest, EPOCHS_HEADER, HEADER, LEGEND};

/// The last backtest of these runs, or how to make one.
pub(super) fn section(backtest: Option<&Backtest>) -> Markup {
    let Some(b) = backtest else {
        return html! {
            p { "Not made for these runs: " code { "isoflop backtest" } " cuts them short and predicts the larger ones "
                "from the smaller; " code { "isoflop report" } " does it too and shows it here." }
        };
    };
    let heads = |names: &[&'static str]| {
        names.iter().enumerate().map(|(i, name)| (*name, "", i > 0)).collect::<Vec<_>>()
    };
    let cells = |row: &[String]| {
        html! {
            tr { @for (i, cell) in row.iter().enumerate() { td.n[i > 0] { (cell.replace('-', "−")) } } }
        }
    };
    html! {
        p { "The runs up to each cut were taken for all there is, fitted, and the average of their forms of law was asked for those beyond: " (b.plan()) "." }
        (table(
            &heads(&["Fitted up to C [FLOP]", "Runs", "Predicted"]),
            &html! { @for row in b.cut_rows() { (cells(&row)) } },
        ))
        @if b.all.is_none() {
            p { "Nothing could be predicted: the smaller runs determine no law." }
        } @else {
            (table(&heads(&HEADER), &html! { @for row in b.rows() { (cells(&row)) } }))
            @if !b.by_epochs.is_empty() {
                (table(
                    &heads(&EPOCHS_HEADER),
                    &html! { @for row in b.epoch_rows() { (cells(&row)) } },
                ))
            }
            p.note { (LEGEND) }
            @for warning in &b.warnings { p { b { (warning) } } }
            @if let Some(told) = b.sizes_told() { p { (told) } }
        }
    }
}
