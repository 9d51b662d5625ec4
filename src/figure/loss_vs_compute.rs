//! Loss against compute: every run, the lower envelope, and the fitted frontier.

use super::canvas::{Canvas, Rect, Stroke, Type};
use super::foretold::{self, Foretold};
use super::label::Labels;
use super::palette::{ACCENT, INK, SOFT, ramp};
use super::panel::{Axis, Panel, SMALL};
use super::scale::{Label, Scale, between};
use super::{Figure, key, reach};
use crate::fit::Analysis;
use crate::forecast::Entry;
use crate::points::Curve;
use crate::predict::{MeanLoss, Prediction};

/// What the page shows.
struct Page<'a> {
    analysis: &'a Analysis,
    curves: &'a [Curve],
    /// Predictions within reach, but for those of a compute that was locked.
    shown: Vec<&'a Prediction>,
    /// Locked forecasts within reach.
    locked: Vec<Foretold>,
    /// Whether some of both lie further out.
    further: bool,
    mean: Option<MeanLoss<'a>>,
    /// Model sizes, for the colours.
    sizes: Scale,
    /// Of a run's dot [px].
    radius: f64,
}

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
    let page = Page::new(analysis, curves, predictions, forecasts);
    let (x, y) = page.scales();
    let panel = Panel { frame, x, y };

    let largest = points.iter().map(|p| p.flops).fold(0.0, f64::max);
    let beyond = page.ahead().any(|c| c > 1.01 * largest);
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
    page.runs(&mut canvas, &panel, &mut labels);
    let hull = page.envelope(&mut canvas, &panel, &mut labels);
    let inside = page.frontier(&mut canvas, &panel, &mut labels, largest);
    page.ahead_of_runs(&mut canvas, &panel, &mut labels);
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
    let caption = page.notes().join(" ");
    Some(Figure { name: "loss-vs-compute", svg: canvas.svg(&title), title, caption })
}

impl<'a> Page<'a> {
    fn new(
        analysis: &'a Analysis,
        curves: &'a [Curve],
        predictions: &'a [Prediction],
        forecasts: &[Entry],
    ) -> Self {
        let reach = reach(analysis, predictions);
        let mut shown: Vec<&Prediction> = predictions.iter().filter(|p| p.flops <= reach).collect();
        let mut locked = foretold::all(forecasts);
        let told = predictions.len() + locked.len();
        locked.retain(|f| f.flops <= reach);
        let further = told > shown.len() + locked.len();
        // What was locked takes the place of what is said of the same compute today.
        shown.retain(|p| locked.iter().all(|f| (p.flops / f.flops).ln().abs() > 0.05));
        let mean = MeanLoss::new(analysis);
        let sizes = Scale::log(analysis.points.iter().map(|p| p.params), 0.0);
        let radius = if analysis.points.len() > 80 { 2.8 } else { 4.0 };
        Self { analysis, curves, shown, locked, further, mean, sizes, radius }
    }

    /// Compute of everything that is predicted [FLOP].
    fn ahead(&self) -> impl Iterator<Item = f64> {
        self.shown.iter().map(|p| p.flops).chain(self.locked.iter().map(|f| f.flops))
    }

    /// The axes of compute and of loss.
    fn scales(&self) -> (Scale, Scale) {
        let points = &self.analysis.points;
        // The axis starts where the first run ends, not where it starts: before that nothing compares.
        let hull = self.analysis.envelope.iter().map(|e| e.flops);
        let finals = points.iter().map(|p| p.flops).chain(hull);
        let starts = if self.curves.is_empty() { 1.0 } else { 0.2 };
        let first = finals.clone().fold(f64::INFINITY, f64::min) * starts;
        let x = Scale::log(finals.chain(self.ahead()).chain([first]), 0.03);
        let ends = self.shown.iter().map(|p| p.loss).chain(self.locked.iter().map(|f| f.loss));
        let measured = self.locked.iter().filter_map(|f| f.measured);
        let ends = ends.flat_map(|l| [l.lo, l.hi]).chain(measured);
        let losses = points.iter().map(|p| p.loss);
        let top = losses.clone().fold(0.0, f64::max);
        let top = if self.curves.is_empty() { top } else { top * 1.12 };
        let y = Scale::log(losses.chain(ends).chain(self.analysis.entropy).chain([top]), 0.04);
        (x, y)
    }

    /// Every run: its curve on the way and its final loss; and the entropy of the data.
    fn runs(&self, canvas: &mut Canvas, panel: &Panel, labels: &mut Labels) {
        for curve in self.curves {
            let colour = ramp(self.sizes.place(curve.params)).fade(0.5);
            for piece in panel.visible(&curve.points) {
                canvas.line(thin(&piece), Stroke::new(colour, 1.1));
            }
        }
        if let Some(entropy) = self.analysis.entropy {
            let level = [(panel.x.lo, entropy), (panel.x.hi, entropy)];
            panel.line(canvas, &level, Stroke::new(SOFT, 1.2).dashed(2.0, 3.0));
            let at = panel.at(panel.x.lo, entropy);
            let text = format!("exact entropy {entropy:.3}");
            canvas.text((at.0 + 8.0, at.1 - 6.0), &text, Type::new(SMALL, SOFT));
        }
        for point in &self.analysis.points {
            let at = panel.at(point.flops, point.loss);
            canvas.dot(at, self.radius, ramp(self.sizes.place(point.params)));
            labels.avoid(at, self.radius);
        }
    }

    /// The lower envelope, its runs ringed.
    fn envelope(&self, canvas: &mut Canvas, panel: &Panel, labels: &mut Labels) -> Vec<(f64, f64)> {
        let hull: Vec<_> = self.analysis.envelope.iter().map(|e| (e.flops, e.loss)).collect();
        panel.line(canvas, &hull, Stroke::new(INK.fade(0.45), 1.0));
        for (flops, loss) in &hull {
            let at = panel.at(*flops, *loss);
            outline(canvas, at, self.radius + 2.4);
            labels.avoid(at, self.radius + 3.0);
        }
        hull
    }

    /// Loss of the compute-optimal run, dashed beyond the runs, which end at `largest`; its part among them.
    fn frontier(
        &self,
        canvas: &mut Canvas,
        panel: &Panel,
        labels: &mut Labels,
        largest: f64,
    ) -> Vec<(f64, f64)> {
        let fitted = |c: f64| {
            let (params, tokens) = self.mean.as_ref()?.best(c)?;
            self.mean.as_ref()?.at(params, tokens)
        };
        let line = |from: f64, to: f64| -> Vec<(f64, f64)> {
            between(from, to, 60, true).into_iter().filter_map(|c| Some((c, fitted(c)?))).collect()
        };
        let (x, computes) = (panel.x, self.analysis.points.iter().map(|p| p.flops));
        let split = largest.clamp(x.lo, x.hi);
        let lowest = computes.fold(f64::INFINITY, f64::min).clamp(x.lo, x.hi);
        let inside = line(lowest, split);
        panel.line(canvas, &inside, Stroke::new(ACCENT, 2.2));
        panel.line(canvas, &line(split, x.hi), Stroke::new(ACCENT, 2.2).dashed(8.0, 5.0));
        for piece in panel.visible(&line(lowest, x.hi)) {
            labels.avoid_line(&piece);
        }
        inside
    }

    /// Predictions and locked forecasts.
    fn ahead_of_runs(&self, canvas: &mut Canvas, panel: &Panel, labels: &mut Labels) {
        for p in &self.shown {
            let stroke = Stroke::new(ACCENT, 1.6);
            panel.interval_y(canvas, p.flops, [p.loss.lo, p.loss.hi], stroke);
            let at = panel.at(p.flops, p.loss.value);
            canvas.star(at, 7.5, stroke);
            labels.avoid(at, 9.0);
        }
        foretold::mark(canvas, panel, labels, &self.locked);
        foretold::name(canvas, panel, labels, &self.locked);
        for p in &self.shown {
            let at = panel.at(p.flops, p.loss.value);
            let text = format!("predicted {:.3}", p.loss.value);
            labels.beside(canvas, at, &text, Type::new(SMALL, ACCENT).bold());
        }
    }

    /// What the marks are, a sentence each.
    fn notes(&self) -> Vec<String> {
        let mut notes = vec![if self.curves.is_empty() {
            "Dots: final loss of each run.".to_owned()
        } else {
            "Thin lines: smoothed training loss on the way; dots: final held-out loss.".to_owned()
        }];
        notes.push("Colour: model size N.".to_owned());
        if !self.analysis.envelope.is_empty() {
            notes.push("Ringed: runs on the lower envelope.".to_owned());
        }
        if self.mean.is_some() {
            notes.push(
                "Orange: loss of the compute-optimal run, averaged over the forms of law; dashed where no run \
                 was made."
                    .to_owned(),
            );
        }
        if let Some(first) = self.shown.first() {
            let level = 100.0 * first.level;
            notes.push(format!(
                "Hollow stars: predictions with their {level:.0}% prediction interval."
            ));
        }
        if !self.locked.is_empty() {
            notes.push(foretold::note(&self.locked).to_owned());
        }
        if self.further {
            notes.push("Predictions further out are in the table only.".to_owned());
        }
        notes
    }
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
