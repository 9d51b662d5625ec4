//! Loss against learning rate and against batch at every tuning cell: does the optimum stay put?

use super::canvas::{Canvas, Rect, Stroke};
use super::label::in_margin;
use super::palette::{INK, ramp};
use super::panel::{Axis, Panel, SMALL};
use super::scale::{Label, Scale, between};
use super::{Figure, short};
use crate::tune::{Found, Tuning, Vertex, VertexState};

/// Losses further above the best than this are off the picture [%].
const MOST: f64 = 6.0;

/// One curve: (value, loss above its best [%]), its vertex and its name.
struct Curve<'a> {
    params: f64,
    name: String,
    tried: Vec<(f64, f64)>,
    vertex: &'a Vertex,
}

pub(super) fn draw(tuning: &Tuning) -> Vec<Figure> {
    let name = |f: &Found| format!("N {}, D {}", short(f.place.params), short(f.place.tokens));
    let rates: Vec<Curve<'_>> = tuning
        .found
        .iter()
        .filter_map(|f| {
            let vertex = f.learning_rate.as_ref()?;
            let batch = f.by_batch.iter().find(|(_, v)| v == vertex)?.0;
            let at = tuning.runs.iter().filter(|r| {
                !r.decay_search
                    && r.batch_tokens == batch
                    && tuning.found.iter().position(|o| std::ptr::eq(o, f)) == Some(r.place)
            });
            let tried = at.filter_map(|r| Some((r.learning_rate, r.loss()?))).collect();
            Some(Curve { params: f.place.params, name: name(f), tried, vertex })
        })
        .collect();
    let batches: Vec<Curve<'_>> = tuning
        .found
        .iter()
        .filter_map(|f| {
            let vertex = f.batch.as_ref()?;
            let tried = f.by_batch.iter().map(|(b, v)| (*b, v.loss)).collect();
            Some(Curve { params: f.place.params, name: name(f), tried, vertex })
        })
        .collect();
    let rate = "Dots: runs at the cell's best batch; lines: the parabola in the logarithm through the five around \
                the best; diamonds: its vertex. Where the diamonds of all sizes stand above one another, one rate \
                serves every width.";
    let batch = "Dots: the least loss over the rates tried at each batch; lines: the parabola in the logarithm \
                 through the five around the best; diamonds: its vertex.";
    [
        one(
            "tune-learning-rate",
            "Loss against learning rate",
            "peak learning rate [1/step]",
            rate,
            rates,
        ),
        one("tune-batch", "Loss against batch size", "batch size [tokens/step]", batch, batches),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn one(
    name: &'static str,
    title: &str,
    axis: &str,
    caption: &str,
    mut curves: Vec<Curve<'_>>,
) -> Option<Figure> {
    curves.retain(|c| c.tried.len() > 1);
    for curve in &mut curves {
        let floor = curve.tried.iter().map(|t| t.1).fold(curve.vertex.loss, f64::min);
        curve.tried.iter_mut().for_each(|t| t.1 = 100.0 * (t.1 / floor - 1.0));
        curve.tried.sort_by(|l, r| l.0.total_cmp(&r.0));
    }
    if curves.is_empty() {
        return None;
    }
    let most = curves.iter().flat_map(|c| &c.tried).map(|t| t.1).fold(0.5, f64::max).min(MOST);
    let mut canvas = Canvas::new(860.0, 420.0);
    let frame = Rect { x: 76.0, y: 18.0, w: 600.0, h: 342.0 };
    let x = Scale::log(curves.iter().flat_map(|c| &c.tried).map(|t| t.0), 0.05);
    let panel = Panel { frame, x, y: Scale { lo: -0.05 * most, hi: 1.05 * most, log: false } };
    panel.axes(
        &mut canvas,
        Axis { title: axis, label: Label::Plain },
        Axis { title: "loss above the cell's best [%]", label: Label::Plain },
    );
    let order = Scale::log(curves.iter().map(|c| c.params), 0.0);
    let mut names = Vec::new();
    for curve in &curves {
        let tint = ramp(0.9 * order.place(curve.params));
        if let (Some(bend), VertexState::Resolved) = (curve.vertex.curvature, curve.vertex.state) {
            let ends =
                curve.tried.iter().fold((f64::MAX, 0.0_f64), |e, t| (e.0.min(t.0), e.1.max(t.0)));
            let at = |v: f64| 100.0 * ((bend * (v / curve.vertex.value).ln().powi(2)).exp() - 1.0);
            let line: Vec<_> =
                between(ends.0, ends.1, 60, true).into_iter().map(|v| (v, at(v))).collect();
            panel.line(&mut canvas, &line, Stroke::new(tint, 1.6));
        } else {
            panel.line(&mut canvas, &curve.tried, Stroke::new(tint, 1.2).dashed(2.0, 3.0));
        }
        for (v, loss) in &curve.tried {
            let at = panel.at(*v, *loss);
            if panel.shows(at) {
                canvas.dot(at, 3.6, tint);
            }
        }
        let last = curve.tried.iter().rev().find(|t| panel.shows(panel.at(t.0, t.1)));
        names.extend(last.map(|t| (panel.at(t.0, t.1), curve.name.clone(), tint)));
    }
    for curve in &curves {
        if curve.vertex.state == VertexState::Resolved {
            let y = 0.0;
            if let Some(interval) = curve.vertex.interval {
                panel.interval_x(&mut canvas, y, interval, Stroke::new(INK, 1.2));
            }
            canvas.diamond(
                panel.at(curve.vertex.value, y),
                5.5,
                Stroke::new(ramp(0.9 * order.place(curve.params)), 1.6),
            );
        }
    }
    panel.edges(&mut canvas);
    in_margin(&mut canvas, &names, frame.right() + 18.0, (frame.y, frame.bottom()), SMALL);
    let title = title.to_owned();
    Some(Figure { name, svg: canvas.svg(&title), title, caption: caption.to_owned() })
}
