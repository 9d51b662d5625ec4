//! Locked forecasts among the runs: what was foretold, and what came.

use super::canvas::{Canvas, Stroke, Type};
use super::label::Labels;
use super::palette::{ACCENT, INK};
use super::panel::{Panel, SMALL};
use crate::forecast::{Entry, Outcome};
use crate::predict::Estimate;

/// One forecast that counts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Foretold {
    /// C of the run [FLOP].
    pub(super) flops: f64,
    /// Loss with its prediction interval [nats/token].
    pub(super) loss: Estimate,
    /// Loss that came, once it has [nats/token].
    pub(super) measured: Option<f64>,
}

/// The scored and the open ones among these; a void forecast is in the table only.
pub(super) fn all(entries: &[Entry]) -> Vec<Foretold> {
    let one = |entry: &Entry| {
        let measured = match &entry.outcome {
            Outcome::Scored(score) => Some(score.measured),
            Outcome::Open(_) => None,
            Outcome::Void(_) => return None,
        };
        let f = entry.forecast.as_ref()?;
        Some(Foretold { flops: f.flops, loss: f.loss, measured })
    };
    entries.iter().filter_map(one).collect()
}

/// Draws them, and keeps labels off.
pub(super) fn mark(canvas: &mut Canvas, panel: &Panel, labels: &mut Labels, all: &[Foretold]) {
    let stroke = Stroke::new(ACCENT, 1.6);
    for f in all {
        let at = panel.at(f.flops, f.loss.value);
        canvas.diamond(at, 8.0, stroke);
        // Above the mark, which would hide a short one.
        panel.interval_y(canvas, f.flops, [f.loss.lo, f.loss.hi], stroke);
        labels.avoid(at, 9.0);
    }
    // Above every diamond: what came is what counts.
    for (f, measured) in all.iter().filter_map(|f| Some((f, f.measured?))) {
        let at = panel.at(f.flops, measured);
        canvas.full_star(at, 4.5, INK);
        labels.avoid(at, 7.0);
    }
}

/// Writes their numbers where there is room, of the first at each compute: seeds would bury each other.
pub(super) fn name(canvas: &mut Canvas, panel: &Panel, labels: &mut Labels, all: &[Foretold]) {
    for (i, f) in all.iter().enumerate() {
        if all[..i].iter().any(|g| (g.flops / f.flops).ln().abs() < 0.05) {
            continue;
        }
        let came = f.measured.map_or_else(String::new, |m| format!(", measured {m:.3}"));
        let text = format!("forecast {:.3}{came}", f.loss.value);
        let at = panel.at(f.flops, f.loss.value);
        labels.beside(canvas, at, &text, Type::new(SMALL, ACCENT).bold());
    }
}

/// What the marks are.
pub(super) fn note(all: &[Foretold]) -> &'static str {
    if all.iter().any(|f| f.measured.is_some()) {
        "Diamonds: forecasts locked before their run, with their prediction interval; black stars: what \
         was then measured."
    } else {
        "Diamonds: forecasts locked before their run, with their prediction interval."
    }
}
