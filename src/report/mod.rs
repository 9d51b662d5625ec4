//! The report of a study, and the card of a dataset: HTML pages that need nothing but themselves.
//!
//! Fonts, style and figures are inline; there is no script, and a content security policy that would
//! refuse one. Everything a person wrote (ids, reasons, the sweep file) is escaped. Every printed number
//! is a rounding of a value that `fit` or `predict` computed and that `fit.json` holds, or, on a card, `report.json`.

mod answer;
mod backtest;
pub mod card;
mod continued;
mod described;
mod forecasts;
mod forms;
mod grid;
mod health;
mod number;
mod page;
mod tables;
mod tuning;

use maud::{Markup, PreEscaped, html};
use page::{Page, Part};

use crate::backtest::Backtest;
use crate::figure::Figure;
use crate::fit::Analysis;
use crate::forecast::Entry;
use crate::points::CellRow;
use crate::predict::Prediction;
use crate::tune::{Agreement, Tuning};
use crate::units::after_loss;
pub use continued::{Continuations, Continued};

/// What a page is made of.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// The fits; possibly without any, the reason being in its warnings.
    pub analysis: &'a Analysis,
    /// Figures in the order of the page.
    pub figures: &'a [Figure],
    /// Predictions; the first one is the answer at the top.
    pub predictions: &'a [Prediction],
    /// The sweep file, as written. `None` for an imported table.
    pub sweep_toml: Option<&'a str>,
    /// Every cell of the sweep, in the order of the plan. Empty for an imported table.
    pub cells: &'a [CellRow],
    /// Locked forecasts with what came of them. Empty where there are none.
    pub forecasts: &'a [Entry],
    /// What `tune` found, where it was asked, and how far the sweep's `[optim]` is from it; or why that
    /// cannot be read.
    pub tuning: Option<&'a Result<(Tuning, Vec<Agreement>), String>>,
    /// The last backtest of these runs, where one was made.
    pub backtest: Option<&'a Backtest>,
    /// What the best model of each budget goes on with, where weights are kept.
    pub continued: Option<&'a Continuations>,
    /// Version, device, dates, hashes, as (name, value).
    pub provenance: &'a [(String, String)],
}

/// The page. The same input gives the same bytes; what a table or a sweep file holds is shown, not obeyed.
///
/// # Example
///
/// ```
/// use isoflop::fit::Analysis;
/// use isoflop::predict::at_flops;
/// use isoflop::report::{Input, html};
///
/// let analysis = Analysis::read(&std::fs::read("analysis/prose/fit.json")?)?;
/// let predictions = [at_flops(&analysis, 9.1e13)?];
/// let page = html(&Input {
///     analysis: &analysis,
///     figures: &isoflop::figure::all(&analysis, &[], &predictions, &[]),
///     predictions: &predictions,
///     sweep_toml: None,
///     cells: &[],
///     forecasts: &[],
///     tuning: None,
///     backtest: None,
///     continued: None,
///     provenance: &[],
/// });
/// assert!(page.contains("<svg") && !page.contains("<script"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn html(input: &Input) -> String {
    let analysis = input.analysis;
    let page = Page {
        title: &format!("Scaling law of {}", named(&analysis.source)),
        subtitle: &subtitle(input),
        first: html! { (answer::answer(input)) (answer::doubts(input)) },
        parts: sections(input),
        numbers: "fit.json",
    };
    page.html()
}

fn subtitle(input: &Input) -> String {
    let a = input.analysis;
    let budgets = a.isoflop.len();
    let size = a.sample_size();
    let mut parts = vec![match (size.runs, size.clusters) {
        (1, _) => "1 run".to_owned(),
        (n, clusters) if clusters == n => format!("{n} runs"),
        _ => size.to_string(),
    }];
    if budgets > 0 {
        parts.push(format!("{budgets} budget{}", if budgets == 1 { "" } else { "s" }));
    }
    if !a.excluded.is_empty() {
        parts.push(format!("{} left out", a.excluded.len()));
    }
    parts.push(format!("N: {}", a.convention.params));
    parts.push(format!("C: {}", a.convention.flops));
    parts.extend(a.loss_column.as_ref().map(|column| format!("loss: {column}")));
    let unit = after_loss(&a.convention.loss);
    parts.extend(a.entropy.map(|e| format!("exact entropy {e:.4}{unit}")));
    parts.join(" · ")
}

/// A sweep's name, or the last part of a path; the whole of it stands in the provenance.
fn named(source: &str) -> &str {
    source.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or(source)
}

/// The sections that have something to say, in the order of the page.
fn sections(input: &Input) -> Vec<Part> {
    let a = input.analysis;
    let part = |given: bool, id, title, body: &dyn Fn() -> Markup| {
        given.then(|| Part { id, title, body: body() })
    };
    [
        part(!input.figures.is_empty(), "figures", "Figures", &|| figures(input.figures)),
        part(!input.predictions.is_empty(), "predictions", "Predictions", &|| {
            tables::predictions(a, input.predictions)
        }),
        input.tuning.map(|t| Part { id: "tuning", title: "Tuning", body: tuning::section(t) }),
        part(!a.fits.is_empty(), "fits", "Fits", &|| tables::fits(a)),
        part(!a.laws.is_empty(), "forms", "Other laws on the same runs", &|| forms::forms(a)),
        part(!input.forecasts.is_empty(), "forecasts", "Forecasts", &|| {
            forecasts::forecasts(input.forecasts, a.convention.loss_unit())
        }),
        a.holdout.as_ref().map(|h| Part {
            id: "held-out",
            title: "Held out",
            body: tables::holdout(
                h,
                a.fits.first().map_or(0.9, |f| f.level),
                a.convention.loss_unit(),
            ),
        }),
        part(!a.fits.is_empty(), "backtest", "Backtest", &|| backtest::section(input.backtest)),
        part(!a.isoflop.is_empty(), "isoflop", "IsoFLOP minima", &|| tables::isoflop(a)),
        a.health.as_ref().map(|h| Part {
            id: "curves",
            title: "Loss curves",
            body: health::curves(h),
        }),
        part(true, "conventions", "What N and C mean", &|| tables::conventions(a)),
        part(a.sensitivity.len() > 1, "choices", "How much depends on choices", &|| {
            tables::choices(a)
        }),
        part(!a.excluded.is_empty(), "left-out", "Left out, and why", &|| tables::exclusions(a)),
        input.continued.map(|c| Part {
            id: "texts",
            title: "What the models say",
            body: continued::section(c),
        }),
        part(!input.cells.is_empty(), "runs", "All cells", &|| tables::cells(input)),
        input.sweep_toml.map(|toml| Part {
            id: "sweep",
            title: "The sweep file",
            body: html! { pre { code { (toml) } } },
        }),
        part(!input.provenance.is_empty(), "provenance", "Provenance", &|| {
            html! {
                dl.pairs {
                    @for (name, value) in input.provenance { dt { (name) } dd { (value) } }
                }
            }
        }),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn figures(figures: &[Figure]) -> Markup {
    html! {
        @for (i, figure) in figures.iter().enumerate() {
            figure id={ "figure-" (figure.name) } {
                // Our own SVG, whose text was escaped when it was drawn.
                div.scroll tabindex="0" { (PreEscaped(&figure.svg)) }
                figcaption { b { "Figure " (i + 1) ". " (figure.title) ". " } (figure.caption) }
            }
        }
    }
}

#[cfg(test)]
mod tests;
