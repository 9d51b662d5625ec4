use super::page::base64;
use super::*;
use crate::describe::{self, Scale};
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
        continued: None,
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

/// Every number and sentence of the answer that the terminal prints stands on the page.
fn the_page_says(page: &str, answer: &describe::Answer) {
    let on_page = |text: &str| {
        let escaped = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        let typeset = described::typeset(&escaped);
        assert!(page.contains(&escaped) || page.contains(&typeset), "{text}");
    };
    on_page(&answer.heading);
    for line in &answer.lines {
        on_page(&line.value.text);
        line.value.interval.iter().flatten().for_each(|end| on_page(end));
    }
    let methods = answer.methods.as_ref().unwrap();
    methods.rows.iter().flatten().for_each(|value| on_page(&value.text));
    answer.notes.iter().chain(&methods.notes).for_each(|note| on_page(note));
    assert!(answer.lines.len() > 6 && methods.rows.len() > 1);
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
    the_page_says(&page, &describe::optimal(&predictions[0], &Scale::of(&analysis)));
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
    assert!(!page.contains("<script") && !page.contains("<img") && !page.contains(" onclick=\""));
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
        page.contains("Every run diverged, so there is nothing to fit. Of 2 cells: 2 diverged.")
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
    assert!(html(&input(&analysis, &[], &predictions, &[])).contains("The methods agree within"));
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
    assert!(page.contains(": a -0.003, N* +5.26% at 10x the largest compute"), "{page}");
    assert!(page.contains("in every answer, where a is 0.482."));
    analysis.isoflop_bias = None;
    let page = html(&input(&analysis, &[], &predictions, &[]));
    assert!(!page.contains("bias of this design"));
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
    assert!(page.contains("F = 3.50 with 21 and 8 degrees of freedom, p = 3.1e-2."), "{page}");
    let by_size = "by size (degrees of freedom): 0.42% at N = 1.20M (3), 0.21% at N = 3.00M (5).";
    assert!(page.contains(by_size), "{page}");
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
