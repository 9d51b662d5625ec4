//! Approach 2: loss against model size, one curve for each budget.

use super::canvas::{Canvas, Rect, Stroke, Type};
use super::label::Labels;
use super::palette::{Colour, DIM, INK, ramp};
use super::panel::{Axis, Panel, SMALL};
use super::scale::{Label, Scale, between, power};
use super::{Figure, law};
use crate::fit::{Analysis, BudgetFit};
use crate::points::Point;
use crate::predict::MeanLoss;

/// One budget on the page.
struct Slice<'a> {
    budget: &'a BudgetFit,
    /// Smallest first.
    runs: Vec<&'a Point>,
    colour: Colour,
}

pub(super) fn draw(analysis: &Analysis) -> Option<Figure> {
    let title = "IsoFLOP curves".to_owned();
    let mut canvas = Canvas::new(860.0, 520.0);
    let frame = Rect { x: 76.0, y: 18.0, w: 756.0, h: 440.0 };
    let slices = slices(analysis);
    let all: Vec<&Point> = slices.iter().flat_map(|s| s.runs.iter().copied()).collect();
    if all.is_empty() {
        return None;
    }
    let minima: Vec<_> = slices.iter().filter_map(|s| law::minimum(s.budget)).collect();
    let x = Scale::log(all.iter().map(|p| p.params).chain(minima.iter().map(|m| m.0)), 0.04);
    // Room on the right for the names of the curves that end there.
    let x = x.longer(0.14);
    let y = Scale::log(all.iter().map(|p| p.loss).chain(minima.iter().map(|m| m.1)), 0.05);
    let panel = Panel { frame, x, y };
    panel.axes(
        &mut canvas,
        Axis { title: "model size N [parameters]", label: Label::Count },
        Axis { title: &format!("loss [{}]", analysis.convention.loss_unit()), label: Label::Plain },
    );

    let mut labels = Labels::new(Rect { x: frame.x, y: frame.y, w: frame.w + 24.0, h: frame.h });
    laws(&mut canvas, &panel, &mut labels, analysis, &slices);
    let radius = if all.len() > 80 { 2.8 } else { 4.0 };
    for slice in &slices {
        curve(&mut canvas, &panel, &mut labels, slice, radius);
    }
    for slice in &slices {
        minimum(&mut canvas, &panel, &mut labels, slice.budget);
    }
    for slice in &slices {
        name(&mut canvas, &panel, &mut labels, slice);
    }
    panel.edges(&mut canvas);
    let caption = notes(analysis, &slices, all.len()).join(" ");
    Some(Figure { name: "isoflop", svg: canvas.svg(&title), title, caption })
}

/// The budgets with their runs, smallest first.
fn slices<'a>(analysis: &'a Analysis) -> Vec<Slice<'a>> {
    let mut budgets: Vec<&BudgetFit> = analysis.isoflop.iter().collect();
    budgets.sort_by(|a, b| a.flops.total_cmp(&b.flops));
    let order = Scale::log(budgets.iter().map(|b| b.flops), 0.0);
    let slice = |budget: &'a BudgetFit| {
        let near = |b: f64| (b / budget.flops - 1.0).abs() < 1e-6;
        let mut runs: Vec<_> =
            analysis.points.iter().filter(|p| p.budget.is_some_and(near)).collect();
        runs.sort_by(|a, b| a.params.total_cmp(&b.params));
        let used = budget.excluded.is_none();
        let colour = if used { ramp(order.place(budget.flops)) } else { DIM.fade(0.8) };
        Slice { budget, runs, colour }
    };
    budgets.into_iter().map(slice).collect()
}

/// What the average of the forms says at each budget, dotted.
fn laws(
    canvas: &mut Canvas,
    panel: &Panel,
    labels: &mut Labels,
    analysis: &Analysis,
    slices: &[Slice<'_>],
) {
    let mean = MeanLoss::new(analysis);
    for Slice { budget, runs, colour } in slices {
        let Some([lo, hi]) = ends(budget, runs) else { continue };
        let line: Vec<_> = between(lo / 1.25, hi * 1.25, 80, true)
            .into_iter()
            .filter_map(|n| {
                let tokens = budget.flops / analysis.compute.per_token(n);
                Some((n, mean.as_ref()?.at(n, tokens)?))
            })
            .collect();
        panel.line(canvas, &line, Stroke::new(*colour, 1.3).dashed(1.5, 3.0));
        for piece in panel.visible(&line) {
            labels.avoid_line(&piece);
        }
    }
}

/// The parabola of a budget and its runs.
fn curve(canvas: &mut Canvas, panel: &Panel, labels: &mut Labels, slice: &Slice<'_>, radius: f64) {
    let Slice { budget, runs, colour } = slice;
    if let (Some([c0, c1, c2]), Some([lo, hi])) = (budget.parabola, ends(budget, runs)) {
        let curve: Vec<_> = between(lo, hi, 80, true)
            .into_iter()
            .map(|n| (n, c0 + c1 * n.ln() + c2 * n.ln() * n.ln()))
            .collect();
        panel.line(canvas, &curve, Stroke::new(*colour, 1.8));
        for piece in panel.visible(&curve) {
            labels.avoid_line(&piece);
        }
    }
    for run in runs {
        let at = panel.at(run.params, run.loss);
        canvas.dot(at, radius, *colour);
        labels.avoid(at, radius + 1.0);
    }
}

/// The minimum of a budget with the interval of N*.
fn minimum(canvas: &mut Canvas, panel: &Panel, labels: &mut Labels, budget: &BudgetFit) {
    let Some((n, loss)) = law::minimum(budget) else { return };
    let ink = if budget.excluded.is_some() { DIM } else { INK };
    if let Some(interval) = budget.params_interval {
        panel.interval_x(canvas, loss, interval, Stroke::new(ink, 1.4));
    }
    let at = panel.at(n, loss);
    if panel.shows(at) {
        canvas.diamond(at, 6.0, Stroke::new(ink, 1.5));
        labels.avoid(at, 7.0);
    }
}

/// The name of a budget beside its last run, and why it is not used.
fn name(canvas: &mut Canvas, panel: &Panel, labels: &mut Labels, slice: &Slice<'_>) {
    let Slice { budget, runs, colour } = slice;
    let Some(last) = runs.last() else { return };
    let name = format!("{} FLOP", power(budget.flops));
    let style = Type::new(SMALL, colour.fade(1.0)).bold();
    let at = panel.at(last.params, last.loss);
    // The reason is in the caption too, so it may be left out where there is no room.
    let told = budget.excluded.as_ref().is_some_and(|reason| {
        labels.beside(canvas, at, &format!("{name}, not used: {reason}"), style)
    });
    if !told {
        labels.beside(canvas, at, &name, style);
    }
}

/// What the marks are, a sentence each; `shown` runs have a budget.
fn notes(analysis: &Analysis, slices: &[Slice<'_>], shown: usize) -> Vec<String> {
    let mut notes = vec![
        "Dots: runs; lines: a parabola in ln N for each budget; diamonds: its minimum \
                       with the interval of N*."
            .to_owned(),
    ];
    if law::lead(analysis).is_some() {
        notes.push(
            "Dotted: the fitted laws at the same budget, averaged over their forms. Where dotted and \
             solid part, they see another optimum."
                .to_owned(),
        );
    }
    let unused = slices.iter().filter_map(|s| {
        let reason = s.budget.excluded.as_ref()?;
        Some(format!("{} FLOP ({reason})", power(s.budget.flops)))
    });
    let unused: Vec<String> = unused.collect();
    if !unused.is_empty() {
        notes.push(format!("Grey, not used: {}.", unused.join(", ")));
    }
    let ungrouped = analysis.points.len() - shown.min(analysis.points.len());
    if ungrouped > 0 {
        notes.push(format!("{ungrouped} runs belong to no budget and are not shown."));
    }
    notes
}

/// The sizes a budget's curve is drawn over.
fn ends(budget: &BudgetFit, runs: &[&Point]) -> Option<[f64; 2]> {
    let [lo, hi] = budget.sampled;
    if lo > 0.0 && hi > lo {
        return Some([lo, hi]);
    }
    let (first, last) = (runs.first()?, runs.last()?);
    (first.params < last.params).then_some([first.params, last.params])
}
