//! One pair of axes: frame, grid, ticks and titles, and drawing that stays within.

use super::canvas::{Anchor, Canvas, Rect, Stroke, Type, text_width};
use super::palette::{Colour, GRID, INK, RULE, SHADE, SOFT};
use super::scale::{Label, Scale};

/// Size of tick labels and notes [px].
pub(super) const SMALL: f64 = 12.0;
/// Size of axis titles [px].
pub(super) const TITLE: f64 = 13.0;

/// What is written along an axis.
#[derive(Debug, Clone, Copy)]
pub(super) struct Axis<'a> {
    /// Quantity and unit: `loss [nats/token]`. Empty: neither title nor tick labels.
    pub(super) title: &'a str,
    pub(super) label: Label,
}

/// A frame with two axes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Panel {
    pub(super) frame: Rect,
    pub(super) x: Scale,
    pub(super) y: Scale,
}

impl Panel {
    /// Where a pair of values lies [px].
    pub(super) fn at(&self, x: f64, y: f64) -> (f64, f64) {
        (
            self.frame.x + self.x.place(x) * self.frame.w,
            self.frame.bottom() - self.y.place(y) * self.frame.h,
        )
    }

    /// Grid, ticks, tick labels and titles. Drawn before the data.
    pub(super) fn axes(&self, canvas: &mut Canvas, x: Axis, y: Axis) {
        let f = self.frame;
        let tick = Stroke::new(RULE, 1.0);
        let minor = if x.label == Label::Ratio { Vec::new() } else { self.x.minor(f.w) };
        for v in minor {
            let at = self.at(v, self.y.lo).0;
            canvas.line(vec![(at, f.bottom()), (at, f.bottom() + 3.0)], tick);
        }
        for v in self.y.minor(f.h) {
            let at = self.at(self.x.lo, v).1;
            canvas.line(vec![(f.x - 3.0, at), (f.x, at)], tick);
        }
        let room = |s: &str| text_width(s, SMALL, false) + 14.0;
        for (v, name) in self.x.ticks(x.label, f.w, room) {
            let at = self.at(v, self.y.lo).0;
            canvas.line(vec![(at, f.y), (at, f.bottom())], Stroke::new(GRID, 1.0));
            canvas.line(vec![(at, f.bottom()), (at, f.bottom() + 5.0)], tick);
            if !x.title.is_empty() {
                let style = Type::new(SMALL, SOFT).anchor(Anchor::Middle);
                canvas.text((at, f.bottom() + 19.0), &name, style);
            }
        }
        let mut widest = 0.0_f64;
        for (v, name) in self.y.ticks(y.label, f.h, |_| 26.0) {
            let at = self.at(self.x.lo, v).1;
            canvas.line(vec![(f.x, at), (f.right(), at)], Stroke::new(GRID, 1.0));
            canvas.line(vec![(f.x - 5.0, at), (f.x, at)], tick);
            widest = widest.max(text_width(&name, SMALL, false));
            let style = Type::new(SMALL, SOFT).anchor(Anchor::End);
            canvas.text((f.x - 9.0, at + 0.36 * SMALL), &name, style);
        }
        let title = Type::new(TITLE, INK).anchor(Anchor::Middle);
        canvas.text((f.x + f.w / 2.0, f.bottom() + 42.0), x.title, title);
        let left = (f.x - widest - 22.0).max(TITLE);
        canvas.text((left, f.y + f.h / 2.0), y.title, title.upwards());
    }

    /// Left and bottom edge. Drawn after the data, which may reach the edges.
    pub(super) fn edges(&self, canvas: &mut Canvas) {
        let f = self.frame;
        let corner = vec![(f.x, f.y), (f.x, f.bottom()), (f.right(), f.bottom())];
        canvas.line(corner, Stroke::new(SOFT, 1.0));
    }

    /// Shades everything to the right of `x`: compute at which nothing was measured. Drawn before the
    /// axes, and named after them by [`Panel::name_shade`].
    pub(super) fn shade_from(&self, canvas: &mut Canvas, x: f64) {
        let f = self.frame;
        let from = self.at(x, self.y.lo).0.clamp(f.x, f.right());
        canvas.rect(Rect { x: from, w: f.right() - from, ..f }, SHADE);
    }

    /// Says what the shade means in its left corner, the upper one if `high`, if there is room.
    pub(super) fn name_shade(&self, canvas: &mut Canvas, x: f64, high: bool) {
        let f = self.frame;
        let from = self.at(x, self.y.lo).0.clamp(f.x, f.right()) + 7.0;
        let y = if high { f.y + 17.0 } else { f.bottom() - 9.0 };
        let text = "beyond the runs";
        let w = text_width(text, SMALL, false) + 6.0;
        if from + w < f.right() {
            canvas.rect(Rect { x: from - 3.0, y: y - SMALL, w, h: SMALL + 4.0 }, SHADE);
            canvas.text((from, y), text, Type::new(SMALL, SOFT));
        }
    }

    /// A line through values, cut at the frame.
    pub(super) fn line(&self, canvas: &mut Canvas, values: &[(f64, f64)], stroke: Stroke) {
        for piece in self.visible(values) {
            canvas.line(piece, stroke);
        }
    }

    /// The parts of a line that lie within the frame [px]. A value that is not finite breaks the line.
    pub(super) fn visible(&self, values: &[(f64, f64)]) -> Vec<Vec<(f64, f64)>> {
        let mut pieces: Vec<Vec<(f64, f64)>> = Vec::new();
        for pair in values.windows(2) {
            let (from, to) = (self.at(pair[0].0, pair[0].1), self.at(pair[1].0, pair[1].1));
            let Some((from, to)) = clip(&self.frame, from, to) else { continue };
            match pieces.last_mut() {
                Some(piece) if piece.last() == Some(&from) => piece.push(to),
                _ => pieces.push(vec![from, to]),
            }
        }
        pieces
    }

    /// The area between two curves over the same x, held within the frame.
    pub(super) fn band(&self, canvas: &mut Canvas, edges: &[(f64, f64, f64)], fill: Colour) {
        let held = |x: f64, y: f64| {
            let p = self.at(x, y);
            (p.0, p.1.clamp(self.frame.y, self.frame.bottom()))
        };
        let upper = edges.iter().map(|e| held(e.0, e.2));
        let lower = edges.iter().rev().map(|e| held(e.0, e.1));
        canvas.area(upper.chain(lower).collect(), fill);
    }

    /// Whether a point lies within the frame.
    pub(super) fn shows(&self, at: (f64, f64)) -> bool {
        let f = self.frame;
        (f.x - 0.5..=f.right() + 0.5).contains(&at.0)
            && (f.y - 0.5..=f.bottom() + 0.5).contains(&at.1)
    }

    /// A vertical interval with caps, cut at the frame.
    pub(super) fn interval_y(&self, canvas: &mut Canvas, x: f64, ends: [f64; 2], stroke: Stroke) {
        let f = self.frame;
        let ends = ends.map(|y| self.at(x, y));
        let [lo, hi] = ends.map(|p| (p.0, p.1.clamp(f.y, f.bottom())));
        canvas.line(vec![lo, hi], stroke);
        for (end, cap) in ends.into_iter().zip([lo, hi]) {
            if end == cap {
                canvas.line(vec![(cap.0 - 3.5, cap.1), (cap.0 + 3.5, cap.1)], stroke);
            }
        }
    }

    /// A horizontal interval with caps, cut at the frame.
    pub(super) fn interval_x(&self, canvas: &mut Canvas, y: f64, ends: [f64; 2], stroke: Stroke) {
        let f = self.frame;
        let ends = ends.map(|x| self.at(x, y));
        let [lo, hi] = ends.map(|p| (p.0.clamp(f.x, f.right()), p.1));
        canvas.line(vec![lo, hi], stroke);
        for (end, cap) in ends.into_iter().zip([lo, hi]) {
            if end == cap {
                canvas.line(vec![(cap.0, cap.1 - 3.5), (cap.0, cap.1 + 3.5)], stroke);
            }
        }
    }
}

/// The part of a segment within a rectangle (Liang & Barsky 1984).
fn clip(r: &Rect, from: (f64, f64), to: (f64, f64)) -> Option<((f64, f64), (f64, f64))> {
    if ![from.0, from.1, to.0, to.1].iter().all(|v| v.is_finite()) {
        return None;
    }
    let (dx, dy) = (to.0 - from.0, to.1 - from.1);
    let (mut t0, mut t1) = (0.0_f64, 1.0_f64);
    for (p, q) in [
        (-dx, from.0 - r.x),
        (dx, r.right() - from.0),
        (-dy, from.1 - r.y),
        (dy, r.bottom() - from.1),
    ] {
        if p == 0.0 {
            if q < 0.0 {
                return None;
            }
        } else if p < 0.0 {
            t0 = t0.max(q / p);
        } else {
            t1 = t1.min(q / p);
        }
    }
    let point = |t: f64| match t {
        0.0 => from,
        1.0 => to,
        t => (from.0 + t * dx, from.1 + t * dy),
    };
    (t0 < t1).then(|| (point(t0), point(t1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_cut_at_the_frame_and_broken_at_what_is_not_a_number() {
        let frame = Rect { x: 0.0, y: 0.0, w: 100.0, h: 100.0 };
        let unit = Scale { lo: 0.0, hi: 1.0, log: false };
        let panel = Panel { frame, x: unit, y: unit };
        let line = [(-1.0, 0.5), (0.5, 0.5), (0.5, 2.0), (0.7, f64::NAN), (0.8, 0.5), (0.9, 0.5)];
        let pieces = panel.visible(&line);
        assert_eq!(pieces.len(), 2);
        assert_eq!(pieces[0], [(0.0, 50.0), (50.0, 50.0), (50.0, 0.0)]);
        assert_eq!(pieces[1].len(), 2);
    }
}
