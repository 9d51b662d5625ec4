//! Normalised loss curves on one another, and how far each lies from their median.

use super::canvas::{Canvas, Rect, Stroke, Type};
use super::label::Labels;
use super::palette::{ACCENT, INK, SOFT, ramp};
use super::panel::{Axis, Panel, SMALL};
use super::scale::{Label, Scale};
use super::{Figure, key};
use crate::fit::Analysis;
use crate::health::{Collapse, Shape};

pub(super) fn draw(analysis: &Analysis) -> Option<Figure> {
    let collapse = analysis.health.as_ref()?.collapse.as_ref()?;
    let title = "Normalised loss curves".to_owned();
    let mut canvas = Canvas::new(860.0, 430.0);
    let sizes = Scale::log(collapse.curves.iter().map(|c| c.params), 0.0);
    let share = Axis { title: "share x of the run", label: Label::Plain };
    let strokes = |c: &Shape| {
        if c.outlier {
            Stroke::new(ACCENT, 1.8)
        } else {
            Stroke::new(ramp(sizes.place(c.params)).fade(0.75), 1.2)
        }
    };
    // Outliers are drawn last, so that they lie above.
    let (off, with): (Vec<&Shape>, Vec<&Shape>) = collapse.curves.iter().partition(|c| c.outlier);
    let x = Scale { lo: 0.0, hi: 1.0, log: false };

    let frame = Rect { x: 70.0, y: 18.0, w: 290.0, h: 350.0 };
    let values = collapse.curves.iter().flat_map(|c| c.y.iter().copied());
    let panel = Panel { frame, x, y: Scale::log(values.chain([0.95]), 0.03) };
    let y = Axis { title: "(L(x) − E) / (L(1) − E)", label: Label::Plain };
    panel.axes(&mut canvas, share, y);
    for curve in with.iter().chain(&off) {
        panel.line(&mut canvas, &along(collapse, &curve.y), strokes(curve));
    }
    let middle = Stroke::new(INK, 2.0).dashed(6.0, 4.0);
    panel.line(&mut canvas, &along(collapse, &collapse.median), middle);
    panel.edges(&mut canvas);
    let (left, top) = (frame.right() - 104.0, frame.y + 16.0);
    canvas.line(vec![(left, top), (left + 24.0, top)], middle);
    canvas.text((left + 31.0, top + 4.3), "median", Type::new(SMALL, INK));
    if !off.is_empty() {
        canvas.line(vec![(left, top + 20.0), (left + 24.0, top + 20.0)], Stroke::new(ACCENT, 1.8));
        canvas.text((left + 31.0, top + 24.3), "off the others", Type::new(SMALL, INK));
    }

    let frame = Rect { x: 446.0, y: 18.0, w: 290.0, h: 350.0 };
    let percent = |c: &Shape| -> Vec<f64> {
        c.y.iter().zip(&collapse.median).map(|(y, m)| 100.0 * (y / m - 1.0)).collect()
    };
    let most = collapse.curves.iter().flat_map(percent).fold(1.0, |m: f64, v| m.max(v.abs()));
    let y = Scale::linear(-1.1 * most, 1.1 * most);
    let panel = Panel { frame, x, y };
    let y = Axis { title: "deviation from the median [%]", label: Label::Plain };
    panel.axes(&mut canvas, share, y);
    panel.line(&mut canvas, &[(0.0, 0.0), (1.0, 0.0)], Stroke::new(SOFT, 1.2));
    let mut labels = Labels::new(frame);
    for curve in with.iter().chain(&off) {
        let line = along(collapse, &percent(curve));
        panel.line(&mut canvas, &line, strokes(curve));
    }
    for curve in off.iter().take(6) {
        let at = panel.at(curve.at, 100.0 * curve.deviation);
        canvas.ring(at, 4.0, Stroke::new(ACCENT, 1.5));
        labels.avoid(at, 5.0);
        let name = curve.id.get(..8).unwrap_or(&curve.id);
        labels.beside(&mut canvas, at, name, Type::new(SMALL, ACCENT).bold());
    }
    panel.edges(&mut canvas);
    let sizes: Vec<f64> = collapse.curves.iter().map(|c| c.params).collect();
    key(&mut canvas, &sizes, (frame.right() + 24.0, frame.y + 8.0));

    let mut notes = vec![format!(
        "Left: training loss less E = {:.3} over that of the last twentieth of the run, each point the mean \
         of a twentieth; right: the same against the median at equal x. Colour: model size N. Curves of runs \
         that size and data limit in unlike measure need not coincide.",
        collapse.e
    )];
    if !off.is_empty() {
        notes.push(
            "Orange: farther off than 4 robust standard deviations and 5%, with the first digits of the \
             cell's id."
                .to_owned(),
        );
    }
    Some(Figure { name: "collapse", svg: canvas.svg(&title), title, caption: notes.join(" ") })
}

fn along(collapse: &Collapse, values: &[f64]) -> Vec<(f64, f64)> {
    collapse.x.iter().copied().zip(values.iter().copied()).collect()
}
