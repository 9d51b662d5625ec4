//! Figures of one analysis, as SVG, and as PNG from the same SVG.
//!
//! A figure shows values that `fit` and `predict` computed; it evaluates a fitted law on a grid and takes
//! the percentiles of bootstrap draws that make a band, and fits nothing. A figure with nothing to show
//! is left out. The same input gives the same bytes.

mod canvas;
mod collapse;
mod foretold;
mod frontier;
mod isoflop;
mod label;
mod law;
mod loss_vs_compute;
mod palette;
mod panel;
mod raster;
mod residuals;
#[cfg(test)]
pub(crate) mod sample;
mod scale;
mod tuning;
mod valley;

pub use raster::{FigureError, png};
pub use scale::power;

use crate::fit::Analysis;
use crate::forecast::Entry;
use crate::points::Curve;
use crate::predict::Prediction;
use crate::units::count;
use canvas::{Anchor, Canvas, Rect, Type};
use palette::{INK, SOFT, ramp};
use panel::SMALL;
use scale::{Label, Scale};

/// Predictions further than this beyond the runs are left to the tables: they would squeeze the runs
/// into a corner, and nobody should read them off a picture.
const REACH: f64 = 300.0;

/// One finished figure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Figure {
    /// File stem: `isoflop`.
    pub name: &'static str,
    /// Heading, in words.
    pub title: String,
    /// What the marks are and how to read them.
    pub caption: String,
    /// A complete SVG document, text as text.
    pub svg: String,
}

/// All figures, in the order in which a page shows them.
///
/// `curves` and `forecasts` may be empty (an imported table has none), and so may anything else; a figure that would be
/// empty is left out.
pub fn all(
    analysis: &Analysis,
    curves: &[Curve],
    predictions: &[Prediction],
    forecasts: &[Entry],
) -> Vec<Figure> {
    [
        loss_vs_compute::draw(analysis, curves, predictions, forecasts),
        isoflop::draw(analysis),
        frontier::draw(analysis, predictions),
        residuals::draw(analysis),
        valley::draw(analysis, predictions),
        collapse::draw(analysis),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Loss against learning rate and batch at the tuning cells.
pub fn tuning(tuning: &crate::tune::Tuning) -> Vec<Figure> {
    tuning::draw(tuning)
}

/// The embedded fonts as (CSS weight, bytes of an OpenType font), so that a page can carry them. The
/// SVG asks for the family `Inter` first.
pub fn fonts() -> [(u32, &'static [u8]); 2] {
    [(400, canvas::REGULAR), (700, canvas::BOLD)]
}

/// The largest compute a figure shows [FLOP].
fn reach(analysis: &Analysis, predictions: &[Prediction]) -> f64 {
    let runs = analysis.points.iter().map(|p| p.flops).fold(0.0, f64::max);
    if runs > 0.0 {
        runs * REACH
    } else {
        predictions.iter().map(|p| p.flops).fold(f64::INFINITY, f64::min)
    }
}

/// `95k`, not `95.0k`: a size as one says it, still to three digits.
fn short(n: f64) -> String {
    let text = count(n);
    let digits = text.trim_end_matches(char::is_alphabetic);
    match digits.split_once('.') {
        Some((whole, part)) if !text.contains('e') => {
            let part = part.trim_end_matches('0');
            let dot = if part.is_empty() { "" } else { "." };
            format!("{whole}{dot}{part}{}", &text[digits.len()..])
        }
        _ => text,
    }
}

/// A key of model sizes: each size where there are few, a ramp where there are many.
fn key(canvas: &mut Canvas, sizes: &[f64], (x, y): (f64, f64)) {
    let mut distinct: Vec<f64> = sizes.iter().copied().filter(|n| *n > 0.0).collect();
    distinct.sort_by(f64::total_cmp);
    distinct.dedup_by(|a, b| *a / *b < 1.02);
    if distinct.is_empty() {
        return;
    }
    let scale = Scale::log(distinct.iter().copied(), 0.0);
    canvas.text((x - 4.0, y + 4.0), "N [parameters]", Type::new(SMALL, INK));
    if distinct.len() <= 12 {
        for (i, n) in distinct.iter().rev().enumerate() {
            let line = y + 24.0 + 19.0 * i as f64;
            canvas.disc((x + 2.0, line), 4.5, ramp(scale.place(*n)));
            canvas.text((x + 14.0, line + 0.36 * SMALL), &short(*n), Type::new(SMALL, SOFT));
        }
        return;
    }
    let (top, height, steps) = (y + 20.0, 200.0, 50);
    for i in 0..steps {
        let t = 1.0 - (f64::from(i) + 0.5) / f64::from(steps);
        let h = height / f64::from(steps);
        // A little taller than a step, so that no seam shows between two.
        canvas.rect(Rect { x, y: top + h * f64::from(i), w: 12.0, h: h + 0.3 }, ramp(t));
    }
    for (n, name) in scale.ticks(Label::Count, height, |_| 22.0) {
        let at = top + height * (1.0 - scale.place(n));
        let style = Type::new(SMALL, SOFT).anchor(Anchor::Start);
        canvas.text((x + 20.0, at + 0.36 * SMALL), &name, style);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forecast::Outcome;
    use crate::predict::Estimate;

    fn check(name: &str, analysis: &Analysis, curves: &[Curve], predictions: &[Prediction]) {
        check_with(name, analysis, curves, predictions, &[]);
    }

    fn check_with(
        name: &str,
        analysis: &Analysis,
        curves: &[Curve],
        predictions: &[Prediction],
        forecasts: &[Entry],
    ) {
        let figures = all(analysis, curves, predictions, forecasts);
        let again = all(analysis, curves, predictions, forecasts);
        assert_eq!(figures, again, "{name}: not the same bytes");
        for figure in &figures {
            let png = png(&figure.svg).unwrap_or_else(|e| panic!("{name}/{}: {e}", figure.name));
            assert!(png.starts_with(b"\x89PNG"));
            assert!(!figure.svg.contains("NaN") && !figure.svg.contains("inf"));
            assert!(!figure.caption.contains("  "), "{}", figure.caption);
            // To look at them: ISOFLOP_FIGURES=some/folder cargo test figure.
            if let Ok(folder) = std::env::var("ISOFLOP_FIGURES") {
                let stem = format!("{folder}/{name}-{}", figure.name);
                std::fs::write(format!("{stem}.svg"), &figure.svg).unwrap();
                std::fs::write(format!("{stem}.png"), &png).unwrap();
            }
        }
    }

    #[test]
    fn the_same_input_gives_the_same_bytes() {
        let (analysis, curves, predictions) = sample::tiny();
        check("tiny", &analysis, &curves, &predictions);
        let figures = all(&analysis, &curves, &predictions, &[]);
        let want = ["loss-vs-compute", "isoflop", "frontier", "residuals", "valley"];
        assert_eq!(names(&figures), want);
    }

    #[test]
    fn an_imported_table_of_240_runs_is_drawn_without_curves() {
        let (analysis, predictions) = sample::imported();
        assert_eq!(analysis.points.len(), 240);
        check("imported", &analysis, &[], &predictions);
    }

    fn names(figures: &[Figure]) -> Vec<&str> {
        figures.iter().map(|f| f.name).collect()
    }

    /// A forecast at a compute [FLOP] that said so much [nats/token], and what came of it, if anything.
    fn entry(flops: f64, value: f64, measured: Option<f64>) -> Entry {
        let mut f = crate::forecast::tests::forecast();
        f.flops = flops;
        f.loss = Estimate { value, lo: 0.985 * value, hi: 1.015 * value };
        let outcome = match measured {
            Some(loss) => Outcome::Scored(f.score(loss, 0.001)),
            None => Outcome::Open("not trained yet".into()),
        };
        Entry { file: "a.json".into(), forecast: Some(f), outcome }
    }

    #[test]
    fn a_forecast_is_drawn_with_what_came_of_it_and_a_void_one_is_not() {
        let (analysis, curves, predictions) = sample::tiny();
        let said = |forecasts: &[Entry]| {
            let figure = all(&analysis, &curves, &predictions, forecasts).remove(0);
            (figure.svg, figure.caption)
        };
        let (now, later) = (predictions[0].flops, 3.0 * predictions[0].flops);
        let scored = entry(now, 1.234, Some(1.241));
        let open = entry(later, 1.2, None);
        let both = [scored.clone(), open.clone()];
        check_with("forecasts", &analysis, &curves, &predictions, &both);
        let (svg, caption) = said(&both);
        assert!(svg.contains("forecast 1.234, measured 1.241"), "{caption}");
        assert!(svg.contains("forecast 1.200") && !svg.contains("1.200,"));
        assert!(caption.contains("black stars"), "{caption}");
        // In the place of today's prediction of the same compute, and of no other.
        let predicted = |i: usize| format!("predicted {:.3}", predictions[i].loss.value);
        assert!(!svg.contains(&predicted(0)) && svg.contains(&predicted(1)));
        let (svg, caption) = said(&[open]);
        assert!(svg.contains(&predicted(0)) && !caption.contains("black stars"), "{caption}");
        let void = Entry { outcome: Outcome::Void("edited".into()), ..scored };
        assert_eq!(said(&[void]), said(&[]));
        let (svg, caption) = said(&[entry(1e30, 1.1, None)]);
        assert!(!svg.contains("forecast") && caption.contains("in the table only"), "{caption}");
        // Off a number, or many at one place: no figure breaks.
        let odd = [entry(f64::NAN, 1.1, None), entry(now, f64::INFINITY, Some(f64::NAN))];
        check_with("odd", &analysis, &curves, &predictions, &odd);
        let seeds: Vec<Entry> =
            (0..5).map(|i| entry(now, 1.234, Some(1.22 + 0.005 * f64::from(i)))).collect();
        check_with("seeds", &analysis, &curves, &predictions, &seeds);
    }

    #[test]
    fn what_has_nothing_to_show_is_left_out() {
        assert!(all(&sample::empty(), &[], &[], &[]).is_empty());
        let (mut analysis, mut curves, _) = sample::tiny();
        analysis.points.truncate(1);
        curves.truncate(1);
        analysis = Analysis { points: analysis.points, ..sample::empty() };
        check("one", &analysis, &curves, &[]);
        assert_eq!(names(&all(&analysis, &curves, &[], &[])), ["loss-vs-compute"]);
    }

    #[test]
    fn a_study_without_a_usable_budget_or_surface_is_drawn() {
        let (mut analysis, curves, predictions) = sample::tiny();
        for budget in &mut analysis.isoflop {
            budget.excluded = Some("minimum at the largest size".into());
            budget.params = None;
        }
        analysis.fits.retain(|f| f.params.is_none());
        check("no-surface", &analysis, &curves, &predictions);
        for fit in &mut analysis.fits {
            fit.draws = crate::fit::Draws::Frontiers(vec![]);
        }
        check("no-draws", &analysis, &curves, &[]);
    }

    #[test]
    fn numbers_that_are_not_numbers_break_no_figure() {
        let (mut analysis, mut curves, mut predictions) = sample::tiny();
        analysis.points[0].loss = f64::NAN;
        analysis.points[1].params = 0.0;
        analysis.points[2].flops = f64::INFINITY;
        analysis.fits[0].params.as_mut().unwrap().alpha = f64::NAN;
        analysis.fits[2].frontier.a = f64::INFINITY;
        analysis.isoflop[1].parabola = Some([f64::NAN; 3]);
        analysis.isoflop[2].sampled = [0.0, 0.0];
        curves[0].points[3].1 = f64::NAN;
        curves[1].points.clear();
        predictions[0].loss.hi = f64::INFINITY;
        predictions[1].params.lo = f64::NAN;
        check("nan", &analysis, &curves, &predictions);
    }

    #[test]
    fn hostile_names_are_escaped() {
        let (mut analysis, curves, predictions) = sample::tiny();
        analysis.isoflop[1].excluded = Some("<script>alert(1)</script>\u{0}".into());
        analysis.fits[1].method = "</text><script>".into();
        for figure in all(&analysis, &curves, &predictions, &[]) {
            assert!(!figure.svg.contains("<script") && !figure.svg.contains('\u{0}'));
        }
        check("hostile", &analysis, &curves, &predictions);
    }
}
