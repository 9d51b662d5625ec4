//! Loss against learning rate and against batch at every tuning cell: does the optimum stay put?

use super::canvas::{Canvas, Rect, Stroke};
use super::label::in_margin;
use super::palette::ramp;
use super::panel::{Axis, Panel, SMALL};
use super::scale::{Label, Scale, between};
use super::{Figure, short};
use crate::tune::{Found, Run, Tuning, Vertex, VertexState};

/// Losses further above the best than this are off the picture [%].
const MOST: f64 = 6.0;

/// Height of the strip of best values below the curves, of the frame's: less than one tick.
const STRIP: f64 = 0.105;

/// One cell: (value, loss above its best [%]), the parabola through them, its best value and its name.
struct Curve<'a> {
    name: String,
    tried: Vec<(f64, f64)>,
    bowl: &'a Vertex,
    best: &'a Vertex,
}

pub(super) fn draw(tuning: &Tuning) -> Vec<Figure> {
    let name = |f: &Found| format!("N {}, D {}", short(f.place.params), short(f.place.tokens));
    let mut found: Vec<&Found> = tuning.found.iter().collect();
    found.sort_by(|l, r| {
        l.place.params.total_cmp(&r.place.params).then(l.place.tokens.total_cmp(&r.place.tokens))
    });
    let rates: Vec<Curve<'_>> = found
        .iter()
        .filter_map(|f| {
            let (batch, tried) = rates(tuning, f)?;
            let name = format!("{}, batch {}", name(f), short(batch.0));
            Some(Curve { name, tried, bowl: &batch.1, best: f.learning_rate.as_ref()? })
        })
        .collect();
    let batches: Vec<Curve<'_>> = found
        .iter()
        .filter_map(|f| {
            let (name, bowl) = (name(f), f.batch.as_ref()?);
            let tried = f.by_batch.iter().map(|(b, v)| (*b, v.loss)).collect();
            Some(Curve { name, tried, bowl, best: bowl })
        })
        .collect();
    let rate = "Dots: runs at the batch of least loss; lines: the parabola in the logarithm through the five around \
                the best, dotted where no minimum is resolved. Below: each cell's best rate, at its best batch, with \
                its interval. Where they stand above one another, one rate serves every size.";
    let batch = "Dots: the least loss over the rates tried at each batch; lines: the parabola in the logarithm \
                 through the five around the best, dotted where no minimum is resolved. Below: each cell's best \
                 batch with its interval.";
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

/// A batch with its vertex, and the runs there.
type Slice<'a> = (&'a (f64, Vertex), Vec<(f64, f64)>);

/// One cell's batch of least loss.
fn rates<'a>(tuning: &Tuning, f: &'a Found) -> Option<Slice<'a>> {
    let slice = f.by_batch.iter().min_by(|l, r| l.1.loss.total_cmp(&r.1.loss))?;
    let place = tuning.found.iter().position(|o| std::ptr::eq(o, f))?;
    let here = |r: &&Run| !r.decay_search && r.batch_tokens == slice.0 && r.place == place;
    let tried = tuning.runs.iter().filter(here);
    Some((slice, tried.filter_map(|r| Some((r.learning_rate, r.loss()?))).collect()))
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
        let floor = curve.tried.iter().map(|t| t.1).fold(curve.bowl.loss, f64::min);
        curve.tried.iter_mut().for_each(|t| t.1 = 100.0 * (t.1 / floor - 1.0));
        curve.tried.sort_by(|l, r| l.0.total_cmp(&r.0));
    }
    if curves.is_empty() {
        return None;
    }
    let most = curves.iter().flat_map(|c| &c.tried).map(|t| t.1).fold(0.5, f64::max).min(MOST);
    let mut canvas = Canvas::new(900.0, 440.0);
    let frame = Rect { x: 76.0, y: 18.0, w: 590.0, h: 362.0 };
    let x = Scale::log(curves.iter().flat_map(|c| &c.tried).map(|t| t.0), 0.05);
    let high = 1.05 * most;
    let low = -high * STRIP / (1.0 - STRIP);
    let panel = Panel { frame, x, y: Scale::linear(low, high) };
    panel.axes(
        &mut canvas,
        Axis { title: axis, label: Label::Each },
        Axis { title: "loss above the cell's best [%]", label: Label::Plain },
    );
    let last = curves.len().saturating_sub(1).max(1) as f64;
    let tint = |i: usize| ramp(0.9 * i as f64 / last);
    let mut names = Vec::new();
    for (i, curve) in curves.iter().enumerate() {
        let tint = tint(i);
        if let (Some(bend), VertexState::Resolved) = (curve.bowl.curvature, curve.bowl.state) {
            let ends =
                curve.tried.iter().fold((f64::MAX, 0.0_f64), |e, t| (e.0.min(t.0), e.1.max(t.0)));
            let at = |v: f64| 100.0 * ((bend * (v / curve.bowl.value).ln().powi(2)).exp() - 1.0);
            let line: Vec<_> =
                between(ends.0, ends.1, 60, true).into_iter().map(|v| (v, at(v))).collect();
            panel.line(&mut canvas, &line, Stroke::new(tint, 1.8));
        } else {
            panel.line(
                &mut canvas,
                &curve.tried,
                Stroke::new(tint.fade(0.6), 1.0).dashed(2.0, 3.0),
            );
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
    for (i, curve) in curves.iter().enumerate() {
        if curve.best.state == VertexState::Resolved {
            let y = low * (i as f64 + 1.0) / (curves.len() as f64 + 1.0);
            if let Some(interval) = curve.best.interval {
                panel.interval_x(&mut canvas, y, interval, Stroke::new(tint(i), 1.2));
            }
            let at = panel.at(curve.best.value, y);
            if panel.shows(at) {
                canvas.diamond(at, 4.0, Stroke::new(tint(i), 1.6));
            }
        }
    }
    panel.edges(&mut canvas);
    in_margin(&mut canvas, &names, frame.right() + 18.0, (frame.y, frame.bottom()), SMALL);
    let title = title.to_owned();
    Some(Figure { name, svg: canvas.svg(&title), title, caption: caption.to_owned() })
}
