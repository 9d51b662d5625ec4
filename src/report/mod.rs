//! The report: one HTML page that needs nothing but itself.
//!
//! Fonts, style and figures are inline; there is no script, and a content security policy that would
//! refuse one. Everything a person wrote (ids, reasons, the sweep file) is escaped. Every printed number
//! is a rounding of a value that `fit` or `predict` computed and that `fit.json` holds.

mod answer;
mod backtest;
mod continued;
mod described;
mod forecasts;
mod forms;
mod grid;
mod health;
mod number;
mod tables;
mod tuning;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::backtest::Backtest;
use crate::figure::{Figure, fonts};
use crate::fit::Analysis;
use crate::forecast::Entry;
use crate::points::CellRow;
use crate::predict::Prediction;
use crate::terminal;
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
    let parts = sections(input);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                // No script and no request can come from this page, whatever a table's cells hold.
                meta http-equiv="Content-Security-Policy"
                    content="default-src 'none'; style-src 'unsafe-inline'; font-src data:; img-src data:";
                title { "Scaling law of " (named(&analysis.source)) }
                style { (PreEscaped(style())) }
            }
            body {
                main {
                    header {
                        h1 { "Scaling law of " (named(&analysis.source)) }
                        p.sub { (subtitle(input)) }
                    }
                    (answer::answer(input))
                    (answer::doubts(input))
                    nav { @for part in &parts { a href={ "#" (part.id) } { (part.title) } } }
                    @for part in &parts {
                        section id=(part.id) { h2 { (part.title) } (part.body) }
                    }
                    footer { "Made by isoflop " (env!("CARGO_PKG_VERSION")) ". Every number is in fit.json with all its digits." }
                }
            }
        }
    };
    terminal::escaped(&page.into_string()).into_owned()
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

struct Part {
    id: &'static str,
    title: &'static str,
    body: Markup,
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

fn style() -> String {
    let faces = fonts().map(|(weight, bytes)| {
        format!(
            "@font-face {{ font-family: Inter; font-weight: {weight}; \
             src: url(data:font/otf;base64,{}) format(\"opentype\"); }}\n",
            base64(bytes)
        )
    });
    format!("{}{}", faces.concat(), include_str!("style.css"))
}

/// RFC 4648, section 4, with padding.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word =
            chunk.iter().fold(0u32, |word, b| word << 8 | u32::from(*b)) << (8 * (3 - chunk.len()));
        for i in 0..4 {
            let sextet = (word >> (18 - 6 * i)) & 63;
            out.push(if i <= chunk.len() { char::from(ALPHABET[sextet as usize]) } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests;
