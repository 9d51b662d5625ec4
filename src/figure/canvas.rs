//! A drawing as a list of marks in CSS pixels, and its SVG.
//!
//! plotters writes the SVG on an integer grid, so a drawing is scaled by [`FINE`] on its way there: a
//! curve keeps a tenth of a pixel. Text is measured with the embedded font, so labels can be placed
//! without a window system and the same input gives the same bytes everywhere.

use std::sync::Once;

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{FontTransform, register_font};

use super::palette::{Colour, WHITE};
use crate::terminal;

/// Inter, a subset: see `FONT-LICENSE.txt`.
pub(super) const REGULAR: &[u8] = include_bytes!("Inter-Regular.otf");
/// Inter Semi Bold, a subset.
pub(super) const BOLD: &[u8] = include_bytes!("Inter-SemiBold.otf");
/// What the SVG asks a viewer for.
pub(super) const FAMILY: &str = "Inter, 'Helvetica Neue', Arial, sans-serif";

/// Grid steps per CSS pixel.
const FINE: f64 = 10.0;
/// plotters writes `font-size = size / 1.24`.
const PLOTTERS_EM: f64 = 1.24;
/// plotters puts the baseline of text anchored at the top this far below [em].
const TOP_TO_BASELINE: f64 = 0.76;

/// A rectangle in pixels, y downwards.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rect {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) w: f64,
    pub(super) h: f64,
}

impl Rect {
    pub(super) fn right(&self) -> f64 {
        self.x + self.w
    }
    pub(super) fn bottom(&self) -> f64 {
        self.y + self.h
    }
    /// Whether the two share any area.
    pub(super) fn meets(&self, other: &Rect) -> bool {
        self.x < other.right()
            && other.x < self.right()
            && self.y < other.bottom()
            && other.y < self.bottom()
    }
    /// Whether `other` lies within.
    pub(super) fn holds(&self, other: &Rect) -> bool {
        other.x >= self.x
            && other.y >= self.y
            && other.right() <= self.right()
            && other.bottom() <= self.bottom()
    }
}

/// How a line is drawn.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stroke {
    pub(super) colour: Colour,
    /// Width [px].
    pub(super) width: f64,
    /// Dash and gap [px].
    pub(super) dash: Option<(f64, f64)>,
}

impl Stroke {
    pub(super) const fn new(colour: Colour, width: f64) -> Self {
        Self { colour, width, dash: None }
    }
    pub(super) const fn dashed(self, dash: f64, gap: f64) -> Self {
        Self { dash: Some((dash, gap)), ..self }
    }
}

/// Where text lies relative to its point.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// How text is set.
#[derive(Debug, Clone, Copy)]
pub(super) struct Type {
    /// Size [px].
    pub(super) size: f64,
    pub(super) colour: Colour,
    pub(super) bold: bool,
    pub(super) anchor: Anchor,
    /// Turned to read upwards.
    pub(super) upwards: bool,
}

impl Type {
    pub(super) const fn new(size: f64, colour: Colour) -> Self {
        Self { size, colour, bold: false, anchor: Anchor::Start, upwards: false }
    }
    pub(super) const fn bold(self) -> Self {
        Self { bold: true, ..self }
    }
    pub(super) const fn anchor(self, anchor: Anchor) -> Self {
        Self { anchor, ..self }
    }
    pub(super) const fn upwards(self) -> Self {
        Self { upwards: true, ..self }
    }
}

enum Mark {
    Path(Vec<(f64, f64)>, Stroke),
    Area(Vec<(f64, f64)>, Colour),
    Disc((f64, f64), f64, Colour),
    Text((f64, f64), String, Type),
}

/// A drawing. Later marks lie above earlier ones.
pub(super) struct Canvas {
    width: f64,
    height: f64,
    marks: Vec<Mark>,
}

impl Canvas {
    /// A white sheet [px].
    pub(super) fn new(width: f64, height: f64) -> Self {
        Self { width, height, marks: Vec::new() }
    }

    pub(super) fn line(&mut self, points: Vec<(f64, f64)>, stroke: Stroke) {
        if points.len() > 1 && points.iter().all(|p| p.0.is_finite() && p.1.is_finite()) {
            self.marks.push(Mark::Path(points, stroke));
        }
    }

    pub(super) fn area(&mut self, points: Vec<(f64, f64)>, fill: Colour) {
        if points.len() > 2 && points.iter().all(|p| p.0.is_finite() && p.1.is_finite()) {
            self.marks.push(Mark::Area(points, fill));
        }
    }

    pub(super) fn rect(&mut self, r: Rect, fill: Colour) {
        let corners = [(r.x, r.y), (r.right(), r.y), (r.right(), r.bottom()), (r.x, r.bottom())];
        self.area(corners.to_vec(), fill);
    }

    pub(super) fn disc(&mut self, at: (f64, f64), radius: f64, fill: Colour) {
        if at.0.is_finite() && at.1.is_finite() {
            self.marks.push(Mark::Disc(at, radius, fill));
        }
    }

    /// A disc with a white rim, so that neighbours stay apart.
    pub(super) fn dot(&mut self, at: (f64, f64), radius: f64, fill: Colour) {
        self.disc(at, radius + 0.9, WHITE);
        self.disc(at, radius, fill);
    }

    /// A circle, white inside.
    pub(super) fn ring(&mut self, at: (f64, f64), radius: f64, stroke: Stroke) {
        self.disc(at, radius + stroke.width / 2.0, stroke.colour);
        self.disc(at, radius - stroke.width / 2.0, WHITE);
    }

    /// A diamond, white inside.
    pub(super) fn diamond(&mut self, at: (f64, f64), radius: f64, stroke: Stroke) {
        self.polygon(
            &[(0.0, -1.0), (1.0, 0.0), (0.0, 1.0), (-1.0, 0.0)],
            at,
            radius,
            stroke,
            WHITE,
        );
    }

    /// A five-pointed star, white inside.
    pub(super) fn star(&mut self, at: (f64, f64), radius: f64, stroke: Stroke) {
        self.polygon(&tips(), at, radius, stroke, WHITE);
    }

    /// The same, filled, with a white rim.
    pub(super) fn full_star(&mut self, at: (f64, f64), radius: f64, fill: Colour) {
        self.star(at, radius, Stroke::new(WHITE, 2.4));
        self.polygon(&tips(), at, radius, Stroke::new(fill, 1.0), fill);
    }

    fn polygon(
        &mut self,
        shape: &[(f64, f64)],
        at: (f64, f64),
        radius: f64,
        stroke: Stroke,
        fill: Colour,
    ) {
        let mut points: Vec<_> =
            shape.iter().map(|p| (at.0 + radius * p.0, at.1 + radius * p.1)).collect();
        self.area(points.clone(), fill);
        points.push(points[0]);
        points.push(points[1]);
        self.line(points, stroke);
    }

    /// One line of text, `at` being on its baseline. Control characters are left out: XML has no
    /// place for them.
    pub(super) fn text(&mut self, at: (f64, f64), content: &str, style: Type) {
        let clean: String = content.chars().filter(|c| !c.is_control()).collect();
        if !clean.is_empty() && at.0.is_finite() && at.1.is_finite() {
            self.marks.push(Mark::Text(at, clean, style));
        }
    }

    /// The SVG, with `title` for readers that cannot see it.
    pub(super) fn svg(&self, title: &str) -> String {
        let size = ((self.width * FINE) as u32, (self.height * FINE) as u32);
        let mut body = String::new();
        {
            let area = SVGBackend::with_string(&mut body, size).into_drawing_area();
            let sound = self.draw(&area).and_then(|()| area.present());
            sound.expect("an SVG drawn into a string has nothing that can fail");
        }
        // plotters sizes the image in grid steps; a reader wants pixels, round joints and a name.
        let inner = body.split_once('>').map_or("", |(_, rest)| rest);
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}\" height=\"{}\" \
             viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\" \
             stroke-linejoin=\"round\">{inner}",
            self.width,
            self.height,
            size.0,
            size.1,
            escape(title)
        )
    }

    fn draw<DB: DrawingBackend>(
        &self,
        area: &DrawingArea<DB, plotters::coord::Shift>,
    ) -> Result<(), DrawingAreaErrorKind<DB::ErrorType>> {
        area.fill(&RGBColor(255, 255, 255))?;
        for mark in &self.marks {
            match mark {
                Mark::Path(points, stroke) => {
                    let style =
                        tint(stroke.colour).stroke_width((stroke.width * FINE).round() as u32);
                    match stroke.dash {
                        None => area.draw(&PathElement::new(grid(points), style))?,
                        Some(dash) => {
                            for piece in dashes(points, dash) {
                                area.draw(&PathElement::new(grid(&piece), style))?;
                            }
                        }
                    }
                }
                Mark::Area(points, fill) => {
                    area.draw(&Polygon::new(grid(points), tint(*fill).filled()))?;
                }
                Mark::Disc(at, radius, fill) => {
                    let radius = (radius * FINE).round() as i32;
                    area.draw(&Circle::new(step(*at), radius, tint(*fill).filled()))?;
                }
                Mark::Text(at, content, style) => {
                    let lift = TOP_TO_BASELINE * style.size;
                    let top = if style.upwards { (at.0 - lift, at.1) } else { (at.0, at.1 - lift) };
                    let across = match style.anchor {
                        Anchor::Start => HPos::Left,
                        Anchor::Middle => HPos::Center,
                        Anchor::End => HPos::Right,
                    };
                    let mut font = font(style.size * FINE, style.bold);
                    if style.upwards {
                        font = font.transform(FontTransform::Rotate270);
                    }
                    let ink = tint(style.colour).color;
                    let look = TextStyle::from(font).color(&ink).pos(Pos::new(across, VPos::Top));
                    area.draw(&Text::new(content.as_str(), step(top), look))?;
                }
            }
        }
        Ok(())
    }
}

/// Width of one line of text in the embedded font [px].
pub(super) fn text_width(content: &str, size: f64, bold: bool) -> f64 {
    static REGISTER: Once = Once::new();
    REGISTER.call_once(|| {
        // A font that cannot be read leaves the estimate below; the drawing is whole either way.
        let _ = register_font(FAMILY, FontStyle::Normal, REGULAR);
        let _ = register_font(FAMILY, FontStyle::Bold, BOLD);
    });
    let measured = font(size * FINE, bold).box_size(content);
    measured.map_or(0.6 * size * content.chars().count() as f64, |(w, _)| f64::from(w) / FINE)
}

/// A star with a tip straight up.
fn tips() -> [(f64, f64); 10] {
    std::array::from_fn(|i| {
        let turn = std::f64::consts::PI * (i as f64 / 5.0 - 0.5);
        let r = if i.is_multiple_of(2) { 1.0 } else { 0.45 };
        (r * turn.cos(), r * turn.sin())
    })
}

fn font(size: f64, bold: bool) -> FontDesc<'static> {
    let style = if bold { FontStyle::Bold } else { FontStyle::Normal };
    FontDesc::new(FontFamily::Name(FAMILY), size * PLOTTERS_EM, style)
}

fn tint(colour: Colour) -> ShapeStyle {
    let (r, g, b) = colour.rgb;
    ShapeStyle::from(&RGBColor(r, g, b).mix(colour.alpha))
}

fn step(p: (f64, f64)) -> (i32, i32) {
    ((p.0 * FINE).round() as i32, (p.1 * FINE).round() as i32)
}

/// Points on the grid, without neighbours that fall on the same step.
fn grid(points: &[(f64, f64)]) -> Vec<(i32, i32)> {
    let mut out: Vec<_> = points.iter().map(|p| step(*p)).collect();
    out.dedup();
    if out.len() == 1 {
        out.push(out[0]);
    }
    out
}

/// Cuts a line into dashes of `dash` with gaps of `gap` [px].
fn dashes(points: &[(f64, f64)], (dash, gap): (f64, f64)) -> Vec<Vec<(f64, f64)>> {
    let (mut out, mut piece) = (Vec::new(), vec![points[0]]);
    let (mut inked, mut left) = (true, dash);
    for pair in points.windows(2) {
        let (from, to) = (pair[0], pair[1]);
        let length = (to.0 - from.0).hypot(to.1 - from.1);
        let mut done = 0.0;
        while length - done > left {
            done += left;
            let t = done / length;
            let here = (from.0 + t * (to.0 - from.0), from.1 + t * (to.1 - from.1));
            if inked {
                piece.push(here);
                out.push(std::mem::take(&mut piece));
            } else {
                piece = vec![here];
            }
            inked = !inked;
            left = if inked { dash } else { gap };
        }
        left -= length - done;
        if inked {
            piece.push(to);
        }
    }
    if inked && piece.len() > 1 {
        out.push(piece);
    }
    out
}

fn escape(text: &str) -> String {
    let mut out = String::new();
    for c in terminal::name(text).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::palette::INK;

    #[test]
    fn a_dashed_line_keeps_dashes_and_gaps_of_the_length_asked_for() {
        let pieces = dashes(&[(0.0, 0.0), (10.0, 0.0), (25.0, 0.0)], (6.0, 4.0));
        let ends: Vec<_> = pieces.iter().map(|p| (p[0].0, p[p.len() - 1].0)).collect();
        assert_eq!(ends, [(0.0, 6.0), (10.0, 16.0), (20.0, 25.0)]);
    }

    #[test]
    fn text_is_measured_and_wider_when_longer_larger_or_bold() {
        let w = text_width("10¹¹ FLOP", 12.0, false);
        assert!((45.0..65.0).contains(&w), "{w}");
        assert!(text_width("10¹¹ FLOP", 24.0, false) > 1.9 * w);
        assert!(text_width("10¹¹ FLOP", 12.0, true) > w);
    }

    #[test]
    fn hostile_text_and_numbers_leave_a_sound_image() {
        let mut canvas = Canvas::new(100.0, 50.0);
        canvas.text((5.0, 20.0), "<script>&\u{0}\u{1b}[31m", Type::new(12.0, INK));
        canvas.line(vec![(0.0, f64::NAN), (1.0, 1.0)], Stroke::new(INK, 1.0));
        canvas.disc((f64::INFINITY, 0.0), 3.0, INK);
        let svg = canvas.svg("a \"title\" <b>");
        assert!(!svg.contains("<script") && !svg.contains('\u{0}'));
        assert!(svg.contains("a &quot;title&quot; &lt;b&gt;"));
        assert!(crate::figure::png(&svg).is_ok());
    }
}
