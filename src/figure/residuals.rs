//! How well the leading surface describes the runs, and how well it foretold those kept from it.

use super::canvas::{Anchor, Canvas, Rect, Stroke, Type};
use super::palette::{ACCENT, INK, SOFT, ramp};
use super::panel::{Axis, Panel, SMALL};
use super::scale::{Label, Scale, power};
use super::{Figure, law, method_name};
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
    let held = rows.iter().filter(|r| r.held_out.is_some()).count();
    let flops = Scale::log(rows.iter().map(|r| r.flops), 0.0);
    let radius = if rows.len() > 80 { 2.8 } else { 4.0 };

    let frame = Rect { x: 76.0, y: 18.0, w: 340.0, h: 350.0 };
    let losses = Scale::log(rows.iter().flat_map(|r| [r.measured, r.predicted]), 0.05);
    let panel = Panel { frame, x: losses, y: losses };
    panel.axes(
        &mut canvas,
        Axis {
            title: &format!("predicted loss [{}]", analysis.convention.loss_unit()),
            label: Label::Plain,
        },
        Axis {
            title: &format!("measured loss [{}]", analysis.convention.loss_unit()),
            label: Label::Plain,
        },
    );
    let same = [(losses.lo, losses.lo), (losses.hi, losses.hi)];
    panel.line(&mut canvas, &same, Stroke::new(SOFT, 1.2).dashed(5.0, 4.0));
    for row in rows.iter().filter(|r| r.held_out.is_none()) {
        let at = panel.at(row.predicted, row.measured);
        canvas.dot(at, radius, ramp(flops.place(row.flops)));
    }
    for row in &rows {
        if let Some(interval) = row.held_out {
            panel.interval_x(&mut canvas, row.measured, interval, Stroke::new(ACCENT, 1.2));
            let at = panel.at(row.predicted, row.measured);
            canvas.diamond(at, radius + 1.0, Stroke::new(ACCENT, 1.5));
        }
    }
    panel.edges(&mut canvas);
    let (x, y) = (frame.x + 14.0, frame.y + 16.0);
    canvas.disc((x, y), radius, ramp(0.5));
    canvas.text((x + 12.0, y + 4.3), "fitted", Type::new(SMALL, INK));
    if held > 0 {
        canvas.diamond((x, y + 20.0), radius + 1.0, Stroke::new(ACCENT, 1.5));
        let text = "kept out, and its interval";
        canvas.text((x + 12.0, y + 24.3), text, Type::new(SMALL, INK));
    }

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
        &mut canvas,
        Axis { title: "training compute C [FLOP]", label: Label::Power },
        Axis { title: "predicted / measured − 1 [%]", label: Label::Plain },
    );
    panel.line(&mut canvas, &[(panel.x.lo, 0.0), (panel.x.hi, 0.0)], Stroke::new(SOFT, 1.2));
    for row in &rows {
        if let Some(interval) = row.held_out {
            let [lo, hi] = interval.map(|v| panel.at(row.flops, percent(v, row.predicted)));
            canvas.line(vec![lo, hi], Stroke::new(ACCENT.fade(0.6 / held as f64), 14.0));
        }
    }
    for row in &rows {
        let at = panel.at(row.flops, percent(row.measured, row.predicted));
        if row.held_out.is_some() {
            canvas.diamond(at, radius + 1.0, Stroke::new(ACCENT, 1.5));
        } else {
            canvas.dot(at, radius, ramp(flops.place(row.flops)));
        }
    }
    panel.edges(&mut canvas);
    let note = Type::new(SMALL, SOFT).anchor(Anchor::End);
    let right = frame.right() - 6.0;
    canvas.text((right, frame.y + 14.0), "predicted above measured", note);
    canvas.text((right, frame.bottom() - 8.0), "predicted below measured", note);

    let mut notes = vec![format!(
        "Left: every run against the leading fit, {}; dashes where they agree; right: the \
         relative error of the prediction against compute. Dots, coloured by compute: runs under the fit to all of \
         them.",
        method_name(&fit.method)
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
