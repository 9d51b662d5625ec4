//! The compute-optimal model size and token count against compute, by every method.

use super::canvas::{Canvas, Rect, Stroke, Type};
use super::label::{Labels, in_margin};
use super::palette::{self, ACCENT, Colour, DIM, SOFT};
use super::panel::{Axis, Panel, SMALL};
use super::scale::{Label, Scale, between};
use super::{Figure, law, reach};
use crate::describe::method_title;
use crate::fit::Analysis;
use crate::predict::Prediction;

/// Tokens per parameter of the reference line (Hoffmann et al. 2022, as usually quoted).
const RULE_OF_THUMB: f64 = 20.0;

/// Which of the two panels.
#[derive(Clone, Copy, PartialEq)]
enum Half {
    Params,
    Tokens,
}

impl Half {
    fn of<T: Copy>(self, pair: (T, T)) -> T {
        if self == Self::Params { pair.0 } else { pair.1 }
    }

    /// N or D of [`RULE_OF_THUMB`] at C = 6ND.
    fn thumb(self, c: f64) -> f64 {
        let n = (c / (6.0 * RULE_OF_THUMB)).sqrt();
        self.of((n, RULE_OF_THUMB * n))
    }
}

/// The intervals of N* and of D* at one compute.
type Ends = ([f64; 2], [f64; 2]);

pub(super) fn draw(analysis: &Analysis, predictions: &[Prediction]) -> Option<Figure> {
    if analysis.fits.is_empty() {
        return None;
    }
    let title = "Compute-optimal frontier".to_owned();
    let mut canvas = Canvas::new(860.0, 700.0);
    let reach = reach(analysis, predictions);
    let shown: Vec<&Prediction> = predictions.iter().filter(|p| p.flops <= reach).collect();
    let runs = analysis.points.iter().map(|p| p.flops);
    let budgets = analysis.isoflop.iter().map(|b| b.flops);
    let x = Scale::log(runs.chain(budgets).chain(shown.iter().map(|p| p.flops)), 0.04);

    // One band for both panels: a draw's optimum is the costly part of this page.
    let band: Vec<(f64, Ends)> = analysis.fits.first().map_or_else(Vec::new, |fit| {
        let on = |c: f64| {
            let [n, d] = law::frontier_band(analysis, fit, c)?;
            Some((c, (n, d)))
        };
        x.steps(25).into_iter().filter_map(on).collect()
    });
    for (half, top) in [(Half::Params, 18.0), (Half::Tokens, 350.0)] {
        let frame = Rect { x: 76.0, y: top, w: 560.0, h: 292.0 };
        panel(&mut canvas, analysis, &shown, &band, frame, x, half);
    }

    let mut notes = vec![
        "Above: N*, below: D*. Lines: each method's compute-optimal frontier, with its \
                       exponent; dashed beyond the runs."
            .to_owned(),
    ];
    if let Some(fit) = analysis.fits.first() {
        notes.push(format!(
            "Band: the middle {:.0}% of the bootstrap draws of the leading fit ({}).",
            100.0 * fit.level,
            method_title(&fit.method)
        ));
    }
    if analysis.isoflop.iter().any(|b| b.params.is_some()) {
        notes.push("Diamonds: IsoFLOP minima with their intervals.".to_owned());
    }
    if !shown.is_empty() {
        notes.push("Stars: predictions.".to_owned());
    }
    notes.push("Grey dashes: 20 tokens per parameter, C = 6ND, for reference.".to_owned());
    Some(Figure { name: "frontier", svg: canvas.svg(&title), title, caption: notes.join(" ") })
}

/// One of the panels; `band` is that of the leading fit.
fn panel(
    canvas: &mut Canvas,
    analysis: &Analysis,
    shown: &[&Prediction],
    band: &[(f64, Ends)],
    frame: Rect,
    x: Scale,
    half: Half,
) {
    let grid = x.steps(49);
    let lines: Vec<Vec<(f64, f64)>> = analysis
        .fits
        .iter()
        .map(|fit| {
            let on = |c: &f64| Some((*c, half.of(law::frontier(analysis, fit, *c)?)));
            grid.iter().filter_map(on).collect()
        })
        .collect();
    let wanted = wanted(analysis, shown, &lines, x, half);
    let y = Scale::log(wanted.iter().copied(), 0.05);
    let panel = Panel { frame, x, y };

    let largest = analysis.points.iter().map(|p| p.flops).fold(0.0, f64::max);
    let beyond = shown.iter().any(|p| p.flops > 1.01 * largest);
    if beyond {
        panel.shade_from(canvas, largest);
    }
    let title = half.of(("N* [parameters]", "D* [tokens]"));
    panel.axes(
        canvas,
        Axis { title: half.of(("", "training compute C [FLOP]")), label: Label::Power },
        Axis { title, label: Label::Count },
    );

    if beyond {
        panel.name_shade(canvas, largest, half == Half::Tokens);
    }
    if let Some(fit) = analysis.fits.first() {
        let edges: Vec<_> =
            band.iter().map(|(c, nd)| (*c, half.of(*nd)[0], half.of(*nd)[1])).collect();
        panel.band(canvas, &edges, palette::method(&fit.method).fade(0.16));
    }
    let mut labels = Labels::new(frame);
    if !wanted.is_empty() {
        let line = [(x.lo, half.thumb(x.lo)), (x.hi, half.thumb(x.hi))];
        panel.line(canvas, &line, Stroke::new(DIM, 1.3).dashed(4.0, 4.0));
        labels.avoid_line(&line.map(|v| panel.at(v.0, v.1)));
    }
    let names = methods(canvas, &panel, &mut labels, (analysis, &lines, largest), half);
    minima(canvas, &panel, &mut labels, analysis, half);
    predicted(canvas, &panel, &mut labels, shown, half);
    if !wanted.is_empty() {
        let steps = between(x.lo, x.hi, 11, true);
        let line: Vec<_> =
            [3, 2, 4, 5, 6, 7, 8].map(|i| panel.at(steps[i], half.thumb(steps[i]))).into();
        labels.along(canvas, &line, "20 tokens per parameter", Type::new(SMALL, SOFT));
    }
    panel.edges(canvas);
    in_margin(canvas, &names, frame.right() + 20.0, (frame.y + 8.0, frame.bottom() - 4.0), SMALL);
}

/// The values that the axis must hold. Everything but the band, and predictions by at most a decade either way: an
/// interval that knows nothing must not hide the lines.
fn wanted(
    analysis: &Analysis,
    shown: &[&Prediction],
    lines: &[Vec<(f64, f64)>],
    x: Scale,
    half: Half,
) -> Vec<f64> {
    let minima = analysis.isoflop.iter().filter_map(|b| Some(half.of((b.params?, b.tokens?))));
    let runs = analysis.points.iter().map(|p| half.of((p.params, p.tokens)));
    let stars = shown.iter().flat_map(|p| {
        let e = half.of((p.params, p.tokens));
        [e.lo.max(0.1 * e.value), e.value, e.hi.min(10.0 * e.value)]
    });
    let ends = lines.iter().flatten().map(|v| v.1);
    let mut wanted: Vec<f64> = minima.chain(stars).chain(ends).collect();
    if wanted.is_empty() {
        wanted = runs.collect();
    }
    if !wanted.is_empty() {
        wanted.extend([half.thumb(x.lo), half.thumb(x.hi)]);
    }
    wanted
}

/// A name with the place of what it names, and its colour.
type Name = ((f64, f64), String, Colour);

/// The line of every method, dashed beyond the runs, which end at `largest`; their names.
fn methods(
    canvas: &mut Canvas,
    panel: &Panel,
    labels: &mut Labels,
    (analysis, lines, largest): (&Analysis, &[Vec<(f64, f64)>], f64),
    half: Half,
) -> Vec<Name> {
    let mut names = Vec::new();
    for (fit, line) in analysis.fits.iter().zip(lines).rev() {
        let colour = palette::method(&fit.method);
        let width = if std::ptr::eq(fit, &raw const analysis.fits[0]) { 2.4 } else { 1.5 };
        let split = line.partition_point(|v| v.0 <= largest).max(1).min(line.len());
        panel.line(canvas, &line[..split], Stroke::new(colour, width));
        let beyond = &line[split.saturating_sub(1)..];
        panel.line(canvas, beyond, Stroke::new(colour, width).dashed(7.0, 4.0));
        if let Some(&(c, v)) = line.last() {
            let letter = half.of(("a", "b"));
            let exponent = analysis.parameter(fit, letter).map_or(f64::NAN, |p| p.0);
            let text = format!("{}, {letter} = {exponent:.3}", method_title(&fit.method));
            names.push((panel.at(c, v), text, colour));
        }
        for piece in panel.visible(line) {
            labels.avoid_line(&piece);
        }
    }
    names
}

/// The minimum of every budget with its interval.
fn minima(
    canvas: &mut Canvas,
    panel: &Panel,
    labels: &mut Labels,
    analysis: &Analysis,
    half: Half,
) {
    let compute = &analysis.compute;
    for budget in &analysis.isoflop {
        let Some((n, _)) = law::minimum(budget) else { continue };
        let d = budget.flops / compute.per_token(n);
        let colour = if budget.excluded.is_some() { DIM } else { palette::method("isoflop") };
        let stroke = Stroke::new(colour, 1.5);
        if let Some(interval) = budget.params_interval {
            let bought = interval.map(|n| budget.flops / compute.per_token(n));
            panel.interval_y(canvas, budget.flops, half.of((interval, bought)), stroke);
        }
        let at = panel.at(budget.flops, half.of((n, d)));
        if panel.shows(at) {
            canvas.diamond(at, 5.5, stroke);
            labels.avoid(at, 7.0);
        }
    }
}

/// The predictions with their intervals.
fn predicted(
    canvas: &mut Canvas,
    panel: &Panel,
    labels: &mut Labels,
    shown: &[&Prediction],
    half: Half,
) {
    for p in shown {
        let estimate = half.of((p.params, p.tokens));
        let stroke = Stroke::new(ACCENT, 1.6);
        panel.interval_y(canvas, p.flops, [estimate.lo, estimate.hi], stroke);
        let at = panel.at(p.flops, estimate.value);
        canvas.star(at, 7.0, stroke);
        labels.avoid(at, 9.0);
    }
}
