//! The scorecard: what was foretold before it was run, and what came.

use maud::{Markup, html};

use super::grid::table;
use super::number::{loss, percent};
use crate::figure::power;
use crate::forecast::{Entry, Outcome, Score};
use crate::units::count;

/// Every locked forecast, scored, open or void.
pub(super) fn forecasts(entries: &[Entry], unit: &str) -> Markup {
    let scores: Vec<&Score> = entries.iter().filter_map(|e| e.outcome.score()).collect();
    let inside = scores.iter().filter(|s| s.inside).count();
    let open = entries.iter().filter(|e| matches!(e.outcome, Outcome::Open(_))).count();
    let void = entries.len() - scores.len() - open;
    let rows = html! { @for entry in entries { (row(entry)) } };
    html! {
        p {
            "Each was locked before its run began: the run's own record names the forecast's SHA-256 in its "
            "first line. "
            @if !scores.is_empty() {
                b { (inside) " of " (scores.len()) } " measured losses lie inside their prediction interval"
                @if open + void > 0 { "; " } @else { "." }
            }
            @if open > 0 { (open) " not yet measured" @if void > 0 { ", " } @else { "." } }
            @if void > 0 { (void) " void, and not counted." }
        }
        (table(
            &[
                ("Locked", "", false), ("Cell", "", false), ("C", "FLOP", true), ("N", "parameters", true),
                ("D", "tokens", true), ("Predicted", unit, true), ("Interval", unit, true),
                ("Measured", unit, true), ("Error", "predicted / measured − 1", true), ("", "", false),
                ("SHA-256", "", false),
            ],
            &rows,
        ))
    }
}

fn row(entry: &Entry) -> Markup {
    let score = entry.outcome.score();
    html! {
        tr.out[matches!(entry.outcome, Outcome::Void(_))] {
            @match &entry.forecast {
                Some(f) => {
                    // The day and the minute; the rest is for nobody.
                    td { (f.locked.chars().take(16).collect::<String>().replace('T', " ")) }
                    td { code { (f.cell.short()) } }
                    td.n { (power(f.flops)) }
                    td.n { (count(f.params)) }
                    td.n { (count(f.tokens)) }
                    td.n { (loss(Some(f.loss.value))) }
                    td.n { (loss(Some(f.loss.lo))) " – " (loss(Some(f.loss.hi))) }
                }
                None => { td colspan="7" { code { (entry.file) } } }
            }
            td.n { (loss(score.map(|s| s.measured))) }
            td.n { (score.map_or_else(|| "–".to_owned(), |s| percent(s.error))) }
            td {
                @match &entry.outcome {
                    Outcome::Scored(s) => (if s.inside { "inside" } else { "outside" }),
                    Outcome::Open(why) => { "open: " (why) }
                    Outcome::Void(why) => { "void: " (why) }
                }
            }
            td { @if let Some(f) = &entry.forecast { code { (f.sha256.chars().take(8).collect::<String>()) } } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forecast::tests::forecast;

    fn entry(outcome: Outcome) -> Entry {
        Entry { file: "a.json".into(), forecast: Some(forecast()), outcome }
    }

    #[test]
    fn only_what_was_measured_is_counted_and_nothing_is_left_out() {
        let scored = |measured| entry(Outcome::Scored(forecast().score(measured, 0.01)));
        let evil = "<script>alert(1)</script>";
        let entries = [
            scored(1.95),
            scored(2.5),
            entry(Outcome::Open("not trained yet".into())),
            entry(Outcome::Void(evil.into())),
            Entry { file: evil.into(), forecast: None, outcome: Outcome::Void("edited".into()) },
        ];
        let page = forecasts(&entries, "nats/token").into_string();
        assert!(page.contains("<b>1 of 2</b>"), "{page}");
        assert!(page.contains("; 1 not yet measured, 2 void, and not counted."), "{page}");
        assert_eq!(page.matches("<tr").count(), 1 + entries.len());
        // 2.0 over 2.5 and over 1.95.
        assert!(page.contains("−20.00%") && page.contains("+2.56%"), "{page}");
        assert!(page.contains("open: not trained yet") && page.contains("void: edited"));
        assert!(!page.contains("<script") && page.contains("&lt;script&gt;"));
        let one = forecasts(&entries[..1], "nats/token").into_string();
        assert!(
            one.contains("<b>1 of 1</b> measured losses lie inside their prediction interval."),
            "{one}"
        );
    }
}
