//! The report: one HTML page that needs nothing but itself.
//!
//! Fonts, style and figures are inline; there is no script, and a content security policy that would
//! refuse one. Everything a person wrote (ids, reasons, the sweep file) is escaped. Every printed number
//! is a rounding of a value that `fit` or `predict` computed and that `fit.json` holds.

mod answer;
mod backtest;
mod forecasts;
mod forms;
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
        part(!a.fits.is_empty(), "fits", "Fits", &|| {
            let largest = a.points.iter().map(|p| p.flops).fold(0.0, f64::max);
            html! {
                @if let Some(spread) = &a.disagreement { (forms::disagreement(spread, largest)) }
                (tables::fits(a))
            }
        }),
        part(!a.laws.is_empty(), "forms", "Other laws on the same runs", &|| forms::forms(a)),
        part(!input.forecasts.is_empty(), "forecasts", "Forecasts", &|| {
            forecasts::forecasts(input.forecasts, a.convention.loss_unit())
        }),
        a.holdout.as_ref().map(|h| Part {
            id: "held-out",
            title: "Held out",
            body: tables::holdout(h, a.convention.loss_unit()),
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
mod tests {
    use super::*;
    use crate::figure::{all, sample};
    use crate::fit::{LackOfFit, Noise, SizeNoise};

    fn input<'a>(
        analysis: &'a Analysis,
        figures: &'a [Figure],
        predictions: &'a [Prediction],
        cells: &'a [CellRow],
    ) -> Input<'a> {
        Input {
            analysis,
            figures,
            predictions,
            sweep_toml: None,
            cells,
            forecasts: &[],
            tuning: None,
            backtest: None,
            provenance: &[],
        }
    }

    fn cell(id: &str, state: &str) -> CellRow {
        CellRow {
            id: id.into(),
            state: state.into(),
            params: 46e3,
            tokens: 3.4e6,
            flops: 1e12,
            tokens_per_param: 73.9,
            shape: "3 × 32, 2 heads".into(),
            learning_rate: 0.01,
            batch_tokens: 1024.0,
            loss: (state == "completed").then_some(1.6191),
            bits_per_byte: (state == "completed").then_some(2.3359),
            tokens_per_second: Some(41_000.0),
            minutes: Some(1.4),
            note: None,
        }
    }

    fn save(name: &str, page: &str) {
        if let Ok(folder) = std::env::var("ISOFLOP_FIGURES") {
            std::fs::write(format!("{folder}/{name}.html"), page).unwrap();
        }
    }

    #[test]
    fn a_study_is_reported_from_answer_to_provenance_with_the_same_bytes() {
        let (analysis, curves, predictions) = sample::tiny();
        let figures = all(&analysis, &curves, &predictions, &[]);
        let cells: Vec<CellRow> = analysis
            .points
            .iter()
            .map(|p| CellRow {
                params: p.params,
                tokens: p.tokens,
                flops: p.flops,
                tokens_per_param: p.tokens / p.params,
                loss: Some(p.loss),
                bits_per_byte: Some(p.loss / std::f64::consts::LN_2),
                ..cell(&p.id, "completed")
            })
            .chain([CellRow {
                note: Some("loss not a number at step 112".into()),
                ..cell("deadbeef", "diverged")
            }])
            .chain([cell("0badcafe", "missing")])
            .collect();
        let provenance =
            [("program", "isoflop 0.1.0"), ("device", "CPU, 2 cores"), ("data", "sha256 1f3a")]
                .map(|(a, b)| (a.to_owned(), b.to_owned()));
        let input = Input {
            sweep_toml: Some("name = \"quickstart\"\n\n[grid]\nflops = [3e10, 1e11, 3e11, 1e12]\n"),
            provenance: &provenance,
            ..input(&analysis, &figures, &predictions, &cells)
        };
        let page = html(&input);
        assert_eq!(page, html(&input));
        save("tiny", &page);
        let wasted = predictions[0].deadweight.unwrap();
        assert!(page.contains(&format!("this run wastes {}", number::share(wasted.median))));
        assert!(page.contains(" of C</small>") && page.contains("bias taken off"));
        let order = [
            "<h1>",
            "For <b>10¹³ FLOP</b>",
            "What not to believe",
            "Figure 1.",
            ">Predictions</h2>",
            ">Fits</h2>",
            ">Held out</h2>",
            ">IsoFLOP minima</h2>",
            ">What N and C mean</h2>",
            ">How much depends on choices</h2>",
            ">squares of ln L<",
            ">Left out, and why</h2>",
            ">All cells</h2>",
            "[grid]",
            ">Provenance</h2>",
        ];
        let places: Vec<usize> =
            order.iter().map(|s| page.find(s).unwrap_or_else(|| panic!("no {s}"))).collect();
        assert!(places.is_sorted(), "{places:?}");
        // Once among the doubts, once in the table of what was left out.
        assert!(page.matches("diverged at step 112").count() >= 2);
    }

    #[test]
    fn the_page_asks_for_nothing_outside_itself_and_runs_nothing() {
        let (analysis, predictions) = sample::imported();
        let figures = all(&analysis, &[], &predictions, &[]);
        let page = html(&input(&analysis, &figures, &predictions, &[]));
        save("imported", &page);
        let bare = page.replace("http://www.w3.org/2000/svg", "");
        for needle in ["http:", "https:", "<script", "<link", "<img", "@import", "url(//"] {
            assert!(!bare.contains(needle), "{needle}");
        }
        assert_eq!(bare.matches("url(").count(), bare.matches("url(data:font/otf").count());
    }

    #[test]
    fn hostile_text_stays_text() {
        let (mut analysis, curves, predictions) = sample::tiny();
        let evil = "<script>alert(1)</script>";
        analysis.source = evil.into();
        analysis.warnings[0].text = evil.into();
        analysis.excluded[0].reason = evil.into();
        analysis.points[0].id = evil.into();
        analysis.isoflop[0].excluded = Some(evil.into());
        analysis.convention.params = "\"><img src=x onerror=alert(1)>".into();
        let cells = [CellRow {
            state: "x\" onclick=\"alert(1)".into(),
            note: Some("=cmd|' /C calc'!A0".into()),
            ..cell(evil, "completed")
        }];
        let figures = all(&analysis, &curves, &predictions, &[]);
        let provenance = [(evil.to_owned(), evil.to_owned())];
        let page = html(&Input {
            sweep_toml: Some("# </pre></code><script>"),
            provenance: &provenance,
            ..input(&analysis, &figures, &predictions, &cells)
        });
        assert!(
            !page.contains("<script") && !page.contains("<img") && !page.contains(" onclick=\"")
        );
        assert!(page.contains("=cmd|' /C calc'!A0"));
        assert!(page.contains("&lt;script&gt;alert(1)"));
    }

    #[test]
    fn a_study_with_nothing_to_fit_says_so() {
        let empty = sample::empty();
        let page = html(&input(&empty, &[], &[], &[]));
        assert!(page.contains("No run can be fitted yet."), "{page}");
        let cells = [cell("a", "diverged"), cell("b", "diverged")];
        let page = html(&input(&empty, &[], &[], &cells));
        assert!(
            page.contains(
                "Every run diverged, so there is nothing to fit. Of 2 cells: 2 diverged."
            )
        );
        let (mut one, _, _) = sample::tiny();
        one.points.truncate(1);
        let one = Analysis { points: one.points, ..sample::empty() };
        let cells = [cell("a", "completed"), cell("b", "missing")];
        let page = html(&input(&one, &all(&one, &[], &[], &[]), &[], &cells));
        save("one", &page);
        assert!(
            page.contains("No law can be fitted to 1 run yet. Of 2 cells: 1 completed, 1 missing.")
        );
    }

    #[test]
    fn methods_that_lie_outside_each_others_intervals_are_said_to_disagree() {
        let (mut analysis, _, predictions) = sample::tiny();
        analysis.fits.truncate(2);
        analysis.disagreement.as_mut().unwrap().beyond_intervals.clear();
        assert!(
            html(&input(&analysis, &[], &predictions, &[])).contains("The methods agree within")
        );
        let pair = ["lse-huber", "varpro"].map(str::to_owned);
        analysis.disagreement.as_mut().unwrap().beyond_intervals.push(pair);
        assert!(
            html(&input(&analysis, &[], &predictions, &[])).contains("The methods disagree beyond")
        );
    }

    #[test]
    fn the_bias_of_approach_2_is_told_where_it_is_known() {
        let (mut analysis, predictions) = sample::imported();
        let bias = analysis.isoflop_bias.as_mut().unwrap();
        (bias.a, bias.params_ahead, bias.corrected.a) = (-0.0031, 0.0526, 0.4823);
        let page = html(&input(&analysis, &[], &predictions, &[]));
        assert!(page.contains("off by <b>−0.003</b> in a and by <b>+5.26%</b> in N*"), "{page}");
        assert!(page.contains("a is <span title=\"0.4823\"><b>0.482</b></span>."));
        analysis.isoflop_bias = None;
        let page = html(&input(&analysis, &[], &predictions, &[]));
        assert!(!page.contains("Bias of this design"));
    }

    #[test]
    fn profile_intervals_and_seeds_stand_beside_the_bootstrap() {
        let (mut analysis, predictions) = sample::imported();
        (analysis.profile[1].lo, analysis.profile[1].note) = (None, Some("no end".into()));
        analysis.noise = Some(Noise {
            replicates: 12,
            sd: 0.0031,
            dof: 8,
            by_size: vec![
                SizeNoise { params: 1.2e6, replicates: 4, sd: 0.0042, dof: 3 },
                SizeNoise { params: 3e6, replicates: 8, sd: 0.0021, dof: 5 },
            ],
            lack_of_fit: Some(LackOfFit { f: 3.5, dof: 21, p: 0.0312 }),
        });
        let page = html(&input(&analysis, &[], &predictions, &[]));
        assert!(page.contains("open – <span") && page.contains("no end"));
        assert!(page.contains("F = 3.50 with 21 and 8 degrees of freedom, p = 3.12e-2."), "{page}");
        assert!(
            page.contains("By size: 0.42% at N = 1.20M (3), 0.21% at N = 3.00M (5), with"),
            "{page}"
        );
        (analysis.profile, analysis.noise) = (vec![], None);
        let page = html(&input(&analysis, &[], &predictions, &[]));
        assert!(!page.contains("Least squares") && !page.contains("Seeds: "));
    }

    #[test]
    fn base64_is_rfc_4648() {
        let vectors = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("foobar", "Zm9vYmFy"),
        ];
        for (plain, coded) in vectors {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }
}
