//! How well the leading surface describes the runs, and how well it foretold those kept from it.

use super::canvas::{Anchor, Canvas, Rect, Stroke, Type};
use super::palette::{ACCENT, Colour, INK, SOFT, ramp};
use super::panel::{Axis, Panel, SMALL};
use super::scale::{Label, Scale, power};
use super::{Figure, law};
use crate::describe::method_title;
use crate::fit::Analysis;

/// One run under the law.
struct Row {
    flops: f64,
    measured: f64,
    predicted: f64,
    /// Prediction interval of a run that was kept out [nats/token].
    held_out: Option<[f64; 2]>,
}

pub(super) fn draw(analysis: &Analysis) -> Option<Figure> {
    let (fit, _) = law::lead(analysis)?;
    let title = "Measured against predicted loss".to_owned();
    let mut canvas = Canvas::new(860.0, 430.0);
    let rows = rows(analysis);
    if rows.is_empty() {
        return None;
    }
    let dots = Dots {
        flops: Scale::log(rows.iter().map(|r| r.flops), 0.0),
        radius: if rows.len() > 80 { 2.8 } else { 4.0 },
    };
    agreement(&mut canvas, &rows, &dots, analysis.convention.loss_unit());
    errors(&mut canvas, &rows, &dots);

    let mut notes = vec![format!(
        "Left: every run against the leading fit, {}; dashes where they agree; right: the \
         relative error of the prediction against compute. Dots, coloured by compute: runs under the fit to all of \
         them.",
        method_title(&fit.method)
    )];
    if let Some(holdout) = &analysis.holdout {
        notes.push(format!(
            "Diamonds: {} runs from {} FLOP on, predicted by a fit that did not see them; bars: where the prediction \
             interval of one run puts a measured loss.",
            holdout.runs.len(),
            power(holdout.from_flops)
        ));
    }
    Some(Figure { name: "residuals", svg: canvas.svg(&title), title, caption: notes.join(" ") })
}

/// How runs are drawn.
struct Dots {
    /// Compute, for the colours.
    flops: Scale,
    /// Of a dot [px].
    radius: f64,
}

impl Dots {
    fn colour(&self, row: &Row) -> Colour {
        ramp(self.flops.place(row.flops))
    }
}

/// The left panel: measured over predicted loss.
fn agreement(canvas: &mut Canvas, rows: &[Row], dots: &Dots, unit: &str) {
    let frame = Rect { x: 76.0, y: 18.0, w: 340.0, h: 350.0 };
    let losses = Scale::log(rows.iter().flat_map(|r| [r.measured, r.predicted]), 0.05);
    let panel = Panel { frame, x: losses, y: losses };
    panel.axes(
        canvas,
        Axis { title: &format!("predicted loss [{unit}]"), label: Label::Plain },
        Axis { title: &format!("measured loss [{unit}]"), label: Label::Plain },
    );
    let same = [(losses.lo, losses.lo), (losses.hi, losses.hi)];
    panel.line(canvas, &same, Stroke::new(SOFT, 1.2).dashed(5.0, 4.0));
    for row in rows.iter().filter(|r| r.held_out.is_none()) {
        let at = panel.at(row.predicted, row.measured);
        canvas.dot(at, dots.radius, dots.colour(row));
    }
    for row in rows {
        if let Some(interval) = row.held_out {
            panel.interval_x(canvas, row.measured, interval, Stroke::new(ACCENT, 1.2));
            let at = panel.at(row.predicted, row.measured);
            canvas.diamond(at, dots.radius + 1.0, Stroke::new(ACCENT, 1.5));
        }
    }
    panel.edges(canvas);
    let (x, y) = (frame.x + 14.0, frame.y + 16.0);
    canvas.disc((x, y), dots.radius, ramp(0.5));
    canvas.text((x + 12.0, y + 4.3), "fitted", Type::new(SMALL, INK));
    if rows.iter().any(|r| r.held_out.is_some()) {
        canvas.diamond((x, y + 20.0), dots.radius + 1.0, Stroke::new(ACCENT, 1.5));
        let text = "kept out, and its interval";
        canvas.text((x + 12.0, y + 24.3), text, Type::new(SMALL, INK));
    }
}

/// The right panel: the relative error over compute.
fn errors(canvas: &mut Canvas, rows: &[Row], dots: &Dots) {
    let frame = Rect { x: 506.0, y: 18.0, w: 326.0, h: 350.0 };
    // As every error of a prediction: predicted over measured, minus one.
    let percent = |measured: f64, predicted: f64| 100.0 * (predicted / measured - 1.0);
    let values = rows.iter().map(|r| percent(r.measured, r.predicted));
    let bounds = rows.iter().filter_map(|r| Some(r.held_out?.map(|v| percent(v, r.predicted))));
    let most = values
        .chain(bounds.flatten())
        .fold(0.0_f64, |m, v| if v.is_finite() { m.max(v.abs()) } else { m });
    let most = if most > 0.0 { 1.3 * most } else { 1.0 };
    let panel = Panel {
        frame,
        x: Scale::log(rows.iter().map(|r| r.flops), 0.06),
        y: Scale::linear(-most, most),
    };
    panel.axes(
        canvas,
        Axis { title: "training compute C [FLOP]", label: Label::Power },
        Axis { title: "predicted / measured − 1 [%]", label: Label::Plain },
    );
    panel.line(canvas, &[(panel.x.lo, 0.0), (panel.x.hi, 0.0)], Stroke::new(SOFT, 1.2));
    let held = rows.iter().filter(|r| r.held_out.is_some()).count();
    for row in rows {
        if let Some(interval) = row.held_out {
            let [lo, hi] = interval.map(|v| panel.at(row.flops, percent(v, row.predicted)));
            canvas.line(vec![lo, hi], Stroke::new(ACCENT.fade(0.6 / held as f64), 14.0));
        }
    }
    for row in rows {
        let at = panel.at(row.flops, percent(row.measured, row.predicted));
        if row.held_out.is_some() {
            canvas.diamond(at, dots.radius + 1.0, Stroke::new(ACCENT, 1.5));
        } else {
            canvas.dot(at, dots.radius, dots.colour(row));
        }
    }
    panel.edges(canvas);
    let note = Type::new(SMALL, SOFT).anchor(Anchor::End);
    let right = frame.right() - 6.0;
    canvas.text((right, frame.y + 14.0), "predicted above measured", note);
    canvas.text((right, frame.bottom() - 8.0), "predicted below measured", note);
}

fn rows(analysis: &Analysis) -> Vec<Row> {
    let Some((_, surface)) = law::lead(analysis) else { return Vec::new() };
    let held = |id: &str| analysis.holdout.as_ref()?.runs.iter().find(|run| run.id == id);
    analysis
        .points
        .iter()
        .map(|p| match held(&p.id) {
            Some(run) => Row {
                flops: p.flops,
                measured: run.measured,
                predicted: run.predicted,
                held_out: Some(run.interval),
            },
            None => Row {
                flops: p.flops,
                measured: p.loss,
                predicted: surface.loss(p.params, p.tokens),
                held_out: None,
            },
        })
        .filter(|r| r.predicted.is_finite() && r.predicted > 0.0)
        .collect()
}
