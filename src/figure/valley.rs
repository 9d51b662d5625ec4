//! What a wrong model size costs: the loss around N* at fixed compute.

use super::Figure;
use super::canvas::{Anchor, Canvas, Rect, Stroke, Type};
use super::label::in_margin;
use super::palette::{ACCENT, INK, SOFT, ramp};
use super::panel::{Axis, Panel, SMALL};
use super::scale::{Label, Scale, power};
use crate::fit::Analysis;
use crate::predict::{MeanLoss, Prediction};

/// The curve is drawn to this factor on both sides of N*.
const WIDTH: f64 = 8.0;
/// At most this many predicted computes.
const SHOWN: usize = 2;

pub(super) fn draw(analysis: &Analysis, predictions: &[Prediction]) -> Option<Figure> {
    let title = "The flat valley around N*".to_owned();
    let mut canvas = Canvas::new(860.0, 400.0);
    let frame = Rect { x: 76.0, y: 18.0, w: 640.0, h: 322.0 };
    let largest = analysis.points.iter().map(|p| p.flops).fold(0.0, f64::max);
    let mut computes: Vec<f64> = predictions.iter().take(SHOWN).map(|p| p.flops).collect();
    if largest > 0.0 {
        computes.insert(0, largest);
    }
    let x = Scale { lo: 0.97 / WIDTH, hi: 1.03 * WIDTH, log: true };
    let curves = curves(analysis, &computes);
    if curves.is_empty() {
        return None;
    }
    let most = curves.iter().flat_map(|c| &c.1).map(|v| v.1).filter(|v| v.is_finite());
    let most = most.fold(0.1_f64, f64::max);
    let panel = Panel { frame, x, y: Scale::linear(-0.04 * most, 1.04 * most) };

    let led = predictions.first();
    let interval = led.map(|p| {
        let ends = [p.params.lo, p.params.hi].map(|n| panel.at(n / p.params.value, 0.0).0);
        ends.map(|v| v.clamp(frame.x, frame.right()))
    });
    if let Some([lo, hi]) = interval {
        canvas.rect(Rect { x: lo, w: hi - lo, ..frame }, ACCENT.fade(0.10));
    }
    panel.axes(
        &mut canvas,
        Axis { title: "N / N* at the same compute", label: Label::Ratio },
        Axis { title: "loss above the optimum [%]", label: Label::Plain },
    );
    if let (Some(p), Some([lo, hi])) = (led, interval) {
        let style = Type::new(SMALL, ACCENT).anchor(Anchor::Middle);
        let (middle, level) = (f64::midpoint(lo, hi), 100.0 * p.level);
        canvas.text((middle, frame.y + 14.0), &format!("{level:.0}% interval"), style);
        canvas.text((middle, frame.y + 30.0), &format!("of N* at {}", power(p.flops)), style);
    }
    let order = Scale::log(computes.iter().copied(), 0.0);
    let mut names = Vec::new();
    for (c, line) in curves.iter().rev() {
        let colour = ramp(0.85 * order.place(*c));
        let stroke = Stroke::new(colour, 2.0);
        let measured = *c <= largest;
        let stroke = if measured { stroke } else { stroke.dashed(7.0, 4.0) };
        panel.line(&mut canvas, line, stroke);
        if let Some(&(r, regret)) = line.last() {
            names.push((panel.at(r, regret), format!("{} FLOP", power(*c)), colour));
        }
    }
    halves(&mut canvas, &panel, predictions);
    panel.edges(&mut canvas);
    in_margin(&mut canvas, &names, frame.right() + 20.0, (frame.y, frame.bottom()), SMALL);
    let y = frame.bottom() + 42.0;
    let style = Type::new(SMALL, SOFT);
    canvas.text((frame.x, y), "← smaller model, more tokens", style);
    canvas.text((frame.right(), y), "larger model, fewer tokens →", style.anchor(Anchor::End));
    let caption = "Loss of a run of the same compute with another split between size and tokens, over \
                   the loss at N*, by the average of the forms of law. Dashed: beyond the runs. Rings: half and \
                   twice N*. The valley is flat, so N* itself is known less well than the loss it gives."
        .to_owned();
    Some(Figure { name: "valley", svg: canvas.svg(&title), title, caption })
}

/// Loss above that at N*, in percent, over N / N*, at each compute that has an optimum.
fn curves(analysis: &Analysis, computes: &[f64]) -> Vec<(f64, Vec<(f64, f64)>)> {
    let mean = MeanLoss::new(analysis);
    let curve = |&c: &f64| {
        let mean = mean.as_ref()?;
        let (n, d) = mean.best(c)?;
        let least = mean.at(n, d)?;
        let at = |n: f64| mean.at(n, c / analysis.compute.per_token(n)).unwrap_or(f64::NAN);
        let regret = |r: f64| 100.0 * (at(r * n) / least - 1.0);
        let line = Scale { lo: 1.0 / WIDTH, hi: WIDTH, log: true }
            .steps(97)
            .into_iter()
            .map(|r| (r, regret(r)))
            .collect();
        Some((c, line))
    };
    computes.iter().filter_map(curve).collect()
}

/// What half and twice N* cost at the predicted computes: rings, and numbers at the first.
fn halves(canvas: &mut Canvas, panel: &Panel, predictions: &[Prediction]) {
    for p in predictions.iter().take(SHOWN) {
        for (ratio, regret) in [(0.5, p.regret_half), (2.0, p.regret_twice)] {
            let Some(regret) = regret else { continue };
            let at = panel.at(ratio, 100.0 * regret);
            if panel.shows(at) {
                canvas.ring(at, 3.5, Stroke::new(INK, 1.3));
            }
        }
    }
    if let Some(p) = predictions.first() {
        for (ratio, regret, anchor, dx) in
            [(0.5, p.regret_half, Anchor::End, -10.0), (2.0, p.regret_twice, Anchor::Start, 10.0)]
        {
            let Some(regret) = regret else { continue };
            let at = panel.at(ratio, 100.0 * regret);
            let text = format!("+{:.2}%", 100.0 * regret);
            canvas.text((at.0 + dx, at.1 + 16.0), &text, Type::new(SMALL, INK).anchor(anchor));
        }
    }
}
