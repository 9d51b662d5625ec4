//! Loss against compute: every run, the lower envelope, and the fitted frontier.

use super::canvas::{Canvas, Rect, Stroke, Type};
use super::label::Labels;
use super::palette::{ACCENT, INK, SOFT, ramp};
use super::panel::{Axis, Panel, SMALL};
use super::scale::{Label, Scale, between};
use super::{Figure, foretold, key, reach};
use crate::fit::Analysis;
use crate::forecast::Entry;
use crate::points::Curve;
use crate::predict::{MeanLoss, Prediction};

pub(super) fn draw(
    analysis: &Analysis,
    curves: &[Curve],
    predictions: &[Prediction],
    forecasts: &[Entry],
) -> Option<Figure> {
    if analysis.points.is_empty() {
        return None;
    }
    let title = "Loss against compute".to_owned();
    let mut canvas = Canvas::new(860.0, 520.0);
    let frame = Rect { x: 76.0, y: 18.0, w: 664.0, h: 440.0 };
    let points = &analysis.points;
    let reach = reach(analysis, predictions);
    let mut shown: Vec<&Prediction> = predictions.iter().filter(|p| p.flops <= reach).collect();
    let mut locked = foretold::all(forecasts);
    let told = predictions.len() + locked.len();
    locked.retain(|f| f.flops <= reach);
    let further = told > shown.len() + locked.len();
    // What was locked takes the place of what is said of the same compute today.
    shown.retain(|p| locked.iter().all(|f| (p.flops / f.flops).ln().abs() > 0.05));
    let mean = MeanLoss::new(analysis);
    let fitted = |c: f64| {
        let (params, tokens) = mean.as_ref()?.best(c)?;
        mean.as_ref()?.at(params, tokens)
    };

    // The axis starts where the first run ends, not where it starts: before that nothing compares.
    let finals = points.iter().map(|p| p.flops).chain(analysis.envelope.iter().map(|e| e.flops));
    let starts = if curves.is_empty() { 1.0 } else { 0.2 };
    let first = finals.clone().fold(f64::INFINITY, f64::min) * starts;
    let ahead = shown.iter().map(|p| p.flops).chain(locked.iter().map(|f| f.flops));
    let x = Scale::log(finals.chain(ahead.clone()).chain([first]), 0.03);
    let ends = shown.iter().map(|p| p.loss).chain(locked.iter().map(|f| f.loss));
    let ends = ends.flat_map(|l| [l.lo, l.hi]).chain(locked.iter().filter_map(|f| f.measured));
    let losses = points.iter().map(|p| p.loss);
    let top = losses.clone().fold(0.0, f64::max);
    let top = if curves.is_empty() { top } else { top * 1.12 };
    let y = Scale::log(losses.chain(ends).chain(analysis.entropy).chain([top]), 0.04);
    let panel = Panel { frame, x, y };

    let largest = points.iter().map(|p| p.flops).fold(0.0, f64::max);
    let beyond = ahead.clone().any(|c| c > 1.01 * largest);
    if beyond {
        panel.shade_from(&mut canvas, largest);
    }
    panel.axes(
        &mut canvas,
        Axis { title: "training compute C [FLOP]", label: Label::Power },
        Axis { title: &format!("loss [{}]", analysis.convention.loss_unit()), label: Label::Plain },
    );

    if beyond {
        panel.name_shade(&mut canvas, largest, true);
    }
    let mut labels = Labels::new(frame);
    let sizes = Scale::log(points.iter().map(|p| p.params), 0.0);
    for curve in curves {
        let colour = ramp(sizes.place(curve.params)).fade(0.5);
        for piece in panel.visible(&curve.points) {
            canvas.line(thin(&piece), Stroke::new(colour, 1.1));
        }
    }
    if let Some(entropy) = analysis.entropy {
        let level = [(x.lo, entropy), (x.hi, entropy)];
        panel.line(&mut canvas, &level, Stroke::new(SOFT, 1.2).dashed(2.0, 3.0));
        let at = panel.at(x.lo, entropy);
        let text = format!("exact entropy {entropy:.3}");
        canvas.text((at.0 + 8.0, at.1 - 6.0), &text, Type::new(SMALL, SOFT));
    }
    let radius = if points.len() > 80 { 2.8 } else { 4.0 };
    for point in points {
        let at = panel.at(point.flops, point.loss);
        canvas.dot(at, radius, ramp(sizes.place(point.params)));
        labels.avoid(at, radius);
    }

    let hull: Vec<_> = analysis.envelope.iter().map(|e| (e.flops, e.loss)).collect();
    panel.line(&mut canvas, &hull, Stroke::new(INK.fade(0.45), 1.0));
    for (flops, loss) in &hull {
        let at = panel.at(*flops, *loss);
        outline(&mut canvas, at, radius + 2.4);
        labels.avoid(at, radius + 3.0);
    }

    let split = largest.clamp(x.lo, x.hi);
    let line = |from: f64, to: f64| -> Vec<(f64, f64)> {
        between(from, to, 60, true).into_iter().filter_map(|c| Some((c, fitted(c)?))).collect()
    };
    let lowest = points.iter().map(|p| p.flops).fold(f64::INFINITY, f64::min).clamp(x.lo, x.hi);
    let inside = line(lowest, split);
    panel.line(&mut canvas, &inside, Stroke::new(ACCENT, 2.2));
    panel.line(&mut canvas, &line(split, x.hi), Stroke::new(ACCENT, 2.2).dashed(8.0, 5.0));
    for piece in panel.visible(&line(lowest, x.hi)) {
        labels.avoid_line(&piece);
    }
    for p in &shown {
        let stroke = Stroke::new(ACCENT, 1.6);
        panel.interval_y(&mut canvas, p.flops, [p.loss.lo, p.loss.hi], stroke);
        let at = panel.at(p.flops, p.loss.value);
        canvas.star(at, 7.5, stroke);
        labels.avoid(at, 9.0);
    }
    foretold::mark(&mut canvas, &panel, &mut labels, &locked);
    foretold::name(&mut canvas, &panel, &mut labels, &locked);
    for p in &shown {
        let at = panel.at(p.flops, p.loss.value);
        let text = format!("predicted {:.3}", p.loss.value);
        labels.beside(&mut canvas, at, &text, Type::new(SMALL, ACCENT).bold());
    }
    if let Some(&(c, loss)) = inside.get(inside.len() / 3) {
        let below = Type::new(SMALL, ACCENT).bold();
        labels.below(&mut canvas, panel.at(c, loss), "fitted frontier L*(C)", below);
    }
    if let Some(&(c, loss)) = hull.get(hull.len() / 2) {
        labels.below(&mut canvas, panel.at(c, loss), "lower envelope", Type::new(SMALL, INK));
    }
    panel.edges(&mut canvas);
    let sizes: Vec<f64> = points.iter().map(|p| p.params).collect();
    key(&mut canvas, &sizes, (frame.right() + 24.0, frame.y + 8.0));

    let mut notes = vec![if curves.is_empty() {
        "Dots: final loss of each run.".to_owned()
    } else {
        "Thin lines: smoothed training loss on the way; dots: final held-out loss.".to_owned()
    }];
    notes.push("Colour: model size N.".to_owned());
    if !hull.is_empty() {
        notes.push("Ringed: runs on the lower envelope.".to_owned());
    }
    if mean.is_some() {
        notes.push(
            "Orange: loss of the compute-optimal run of the leading surface, averaged over the forms \
             of law; dashed where no run was made."
                .to_owned(),
        );
    }
    if !shown.is_empty() {
        let level = 100.0 * shown[0].level;
        notes
            .push(format!("Hollow stars: predictions with their {level:.0}% prediction interval."));
    }
    if !locked.is_empty() {
        notes.push(foretold::note(&locked).to_owned());
    }
    if further {
        notes.push("Predictions further out are in the table only.".to_owned());
    }
    Some(Figure {
        name: "loss-vs-compute",
        svg: canvas.svg(&title),
        title,
        caption: notes.join(" "),
    })
}

fn outline(canvas: &mut Canvas, at: (f64, f64), radius: f64) {
    let turn = |i: i32| std::f64::consts::TAU * f64::from(i) / 24.0;
    let circle = (0..=24).map(|i| (at.0 + radius * turn(i).cos(), at.1 + radius * turn(i).sin()));
    canvas.line(circle.collect(), Stroke::new(INK, 1.2));
}

/// Keeps the points of a line that are at least 1.5 px apart, and its ends.
fn thin(line: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let mut out = vec![line[0]];
    for &p in &line[1..] {
        let last = out[out.len() - 1];
        if (p.0 - last.0).hypot(p.1 - last.1) >= 1.5 {
            out.push(p);
        }
    }
    out.extend(line.last().filter(|p| out.last() != Some(p)));
    out
}
