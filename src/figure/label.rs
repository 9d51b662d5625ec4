//! Labels beside what they name, kept off each other and off the data.

use super::canvas::{Anchor, Canvas, Rect, Stroke, Type, text_width};
use super::palette::Colour;

/// What is already taken on a sheet.
pub(super) struct Labels {
    bounds: Rect,
    taken: Vec<Rect>,
    /// The labels among them: no leader may run through one.
    written: Vec<Rect>,
}

impl Labels {
    /// Labels have to stay within `bounds`.
    pub(super) fn new(bounds: Rect) -> Self {
        Self { bounds, taken: Vec::new(), written: Vec::new() }
    }

    /// Keeps labels off a point.
    pub(super) fn avoid(&mut self, at: (f64, f64), radius: f64) {
        let (x, y, w) = (at.0 - radius, at.1 - radius, 2.0 * radius);
        self.taken.push(Rect { x, y, w, h: w });
    }

    /// Keeps labels off a line [px].
    pub(super) fn avoid_line(&mut self, line: &[(f64, f64)]) {
        for pair in line.windows(2) {
            let length = (pair[1].0 - pair[0].0).hypot(pair[1].1 - pair[0].1);
            let n = (length / 6.0).ceil().clamp(1.0, 400.0);
            for i in 0..=n as usize {
                let t = i as f64 / n;
                let x = pair[0].0 + t * (pair[1].0 - pair[0].0);
                let y = pair[0].1 + t * (pair[1].1 - pair[0].1);
                self.avoid((x, y), 1.5);
            }
        }
    }

    /// Writes `text` next to `point`, at the free place nearest to it, right and above first; far away
    /// with a thin leader. `false`, and nothing is written, when no place is free.
    pub(super) fn beside(
        &mut self,
        canvas: &mut Canvas,
        point: (f64, f64),
        text: &str,
        style: Type,
    ) -> bool {
        self.place(canvas, point, text, style, &[0, 40, -40, 90, -90, 140, -140, 180], 80.0)
    }

    /// The same with places below the point, to its left, first: for lines that fall to the right.
    pub(super) fn below(
        &mut self,
        canvas: &mut Canvas,
        point: (f64, f64),
        text: &str,
        style: Type,
    ) -> bool {
        self.place(canvas, point, text, style, &[-140, -90, -115, 180, -40, 40, 90], 80.0)
    }

    /// Writes `text` close to one of some points on a rising line, above it to the left or below it to the
    /// right.
    pub(super) fn along(
        &mut self,
        canvas: &mut Canvas,
        line: &[(f64, f64)],
        text: &str,
        style: Type,
    ) -> bool {
        let turns = &[140, 115, -40, -65];
        line.iter().any(|p| self.place(canvas, *p, text, style, turns, 20.0))
    }

    /// `turns`: directions to try at each distance, counter-clockwise from the right [degree];
    /// `reach`: no further away than this [px].
    fn place(
        &mut self,
        canvas: &mut Canvas,
        point: (f64, f64),
        text: &str,
        style: Type,
        turns: &[i32],
        reach: f64,
    ) -> bool {
        let (w, h) = (text_width(text, style.size, style.bold), style.size);
        for distance in [9.0, 16.0, 26.0, 40.0, 58.0, 80.0].into_iter().filter(|d| *d <= reach) {
            for turn in turns {
                let turn = f64::from(*turn).to_radians();
                let (dx, dy) = (turn.cos(), -turn.sin());
                let x = point.0 + distance * dx + (dx - 1.0) * w / 2.0;
                let y = point.1 + distance * dy - h / 2.0 + dy * h / 2.0;
                let place = Rect { x: x - 2.0, y: y - 1.0, w: w + 4.0, h: h + 2.0 };
                if !self.bounds.holds(&place) || self.taken.iter().any(|t| t.meets(&place)) {
                    continue;
                }
                if distance > 20.0 {
                    let near = (
                        point.0.clamp(place.x, place.right()),
                        point.1.clamp(place.y, place.bottom()),
                    );
                    if self.crossed(point, near) {
                        continue;
                    }
                    canvas.line(vec![point, near], Stroke::new(style.colour.fade(0.5), 0.8));
                    self.avoid_line(&[point, near]);
                }
                canvas.text((x, y + 0.86 * h), text, Type { anchor: Anchor::Start, ..style });
                self.taken.push(place);
                self.written.push(place);
                return true;
            }
        }
        false
    }

    /// Whether a leader would run through a label.
    fn crossed(&self, from: (f64, f64), to: (f64, f64)) -> bool {
        (0..=40).any(|i| {
            let t = f64::from(i) / 40.0;
            let (x, y) = (from.0 + t * (to.0 - from.0), from.1 + t * (to.1 - from.1));
            self.written.iter().any(|r| r.meets(&Rect { x, y, w: 0.0, h: 0.0 }))
        })
    }
}

/// Labels in the margin right of a panel, each as near to the height of its line's end as its
/// neighbours allow, with a leader where it had to move. `ends`: (end of the line [px], text, colour).
pub(super) fn in_margin(
    canvas: &mut Canvas,
    ends: &[((f64, f64), String, Colour)],
    x: f64,
    (top, bottom): (f64, f64),
    size: f64,
) {
    let mut order: Vec<_> = ends.iter().filter(|e| e.0.1.is_finite()).collect();
    order.sort_by(|a, b| a.0.1.total_cmp(&b.0.1));
    let wanted: Vec<f64> = order.iter().map(|e| e.0.1.clamp(top, bottom)).collect();
    for (&y, (end, text, colour)) in spread(&wanted, size + 4.0, top, bottom).iter().zip(order) {
        let start = end.1.clamp(top, bottom);
        let leader = vec![(end.0 + 2.0, start), (x - 14.0, start), (x - 5.0, y), (x - 2.0, y)];
        canvas.line(leader, Stroke::new(colour.fade(0.55), 0.9));
        canvas.text((x, y + 0.36 * size), text, Type::new(size, *colour));
    }
}

/// Moves sorted places as little as possible (least squares) so that they are `gap` apart and within
/// `lo..hi`, if there is room. Pool-adjacent-violators on `place - i * gap`.
fn spread(wanted: &[f64], gap: f64, lo: f64, hi: f64) -> Vec<f64> {
    let mut pools: Vec<(f64, usize)> = Vec::new();
    for (i, w) in wanted.iter().enumerate() {
        let mut pool = (w - i as f64 * gap, 1);
        while let Some(&(mean, n)) = pools.last() {
            if mean <= pool.0 {
                break;
            }
            let total = n + pool.1;
            pool = ((mean * n as f64 + pool.0 * pool.1 as f64) / total as f64, total);
            pools.pop();
        }
        pools.push(pool);
    }
    let last = wanted.len().saturating_sub(1) as f64 * gap;
    let highest = (hi - last).max(lo);
    pools
        .iter()
        .flat_map(|&(mean, n)| std::iter::repeat_n(mean.clamp(lo, highest), n))
        .enumerate()
        .map(|(i, base)| base + i as f64 * gap)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::palette::INK;

    #[test]
    fn margin_labels_move_apart_and_no_further() {
        assert_eq!(spread(&[10.0, 50.0], 12.0, 0.0, 100.0), [10.0, 50.0]);
        assert_eq!(spread(&[50.0, 50.0, 50.0], 10.0, 0.0, 100.0), [40.0, 50.0, 60.0]);
        assert_eq!(spread(&[99.0, 100.0], 10.0, 0.0, 100.0), [90.0, 100.0]);
        assert_eq!(spread(&[], 10.0, 0.0, 100.0), [0.0; 0]);
    }

    #[test]
    fn labels_at_one_point_do_not_overlap_and_stop_when_there_is_no_room() {
        let mut canvas = Canvas::new(200.0, 200.0);
        let bounds = Rect { x: 0.0, y: 0.0, w: 200.0, h: 200.0 };
        let mut labels = Labels::new(bounds);
        let placed = (0..200)
            .filter(|_| {
                labels.beside(&mut canvas, (100.0, 100.0), "10¹¹ FLOP", Type::new(12.0, INK))
            })
            .count();
        assert!((4..60).contains(&placed), "{placed}");
        for (i, a) in labels.taken.iter().enumerate() {
            assert!(labels.taken[..i].iter().all(|b| !a.meets(b)));
        }
    }
}
