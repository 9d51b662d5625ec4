//! Colours: one sequential ramp for what is ordered (size, compute), a few fixed ones for what is not.

/// A colour with its opacity.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Colour {
    /// Red, green, blue.
    pub(super) rgb: (u8, u8, u8),
    /// Opacity [0, 1].
    pub(super) alpha: f64,
}

impl Colour {
    const fn new(hex: u32) -> Self {
        Self { rgb: ((hex >> 16) as u8, (hex >> 8) as u8, hex as u8), alpha: 1.0 }
    }

    /// The same colour, more transparent.
    pub(super) const fn fade(self, alpha: f64) -> Self {
        Self { rgb: self.rgb, alpha }
    }
}

/// Text, frames, and the line a figure is about.
pub(super) const INK: Colour = Colour::new(0x1B1F24);
/// Axis titles, tick labels.
pub(super) const SOFT: Colour = Colour::new(0x4A525C);
/// What is left out of a fit.
pub(super) const DIM: Colour = Colour::new(0x8A929B);
/// Reference lines.
pub(super) const RULE: Colour = Colour::new(0xA9B0B8);
/// Grid lines.
pub(super) const GRID: Colour = Colour::new(0xE9ECEF);
/// Where nothing was measured.
pub(super) const SHADE: Colour = Colour::new(0xF5F3EE);
/// Paper.
pub(super) const WHITE: Colour = Colour::new(0xFFFFFF);
/// What the figure predicts.
pub(super) const ACCENT: Colour = Colour::new(0xC2410C);

/// Stops of the ramp: viridis (van der Walt & Smith 2015) from its dark end to 0.80, where it is
/// still readable on white. Lightness rises all the way, so it survives a grey print and colour blindness.
const RAMP: [u32; 9] =
    [0x440154, 0x482576, 0x414487, 0x35608D, 0x2A788E, 0x21908D, 0x22A884, 0x43BF71, 0x74C24C];

/// The ramp at `t` in [0, 1]: dark is small, light is large.
pub(super) fn ramp(t: f64) -> Colour {
    let t = if t.is_finite() { t.clamp(0.0, 1.0) } else { 0.5 } * (RAMP.len() - 1) as f64;
    let i = (t as usize).min(RAMP.len() - 2);
    let (from, to) = (Colour::new(RAMP[i]).rgb, Colour::new(RAMP[i + 1]).rgb);
    let mix = |a: u8, b: u8| (f64::from(a) + (f64::from(b) - f64::from(a)) * (t - i as f64)) as u8;
    Colour { rgb: (mix(from.0, to.0), mix(from.1, to.1), mix(from.2, to.2)), alpha: 1.0 }
}

/// The colour of a method: Okabe & Ito's set (2008), darkened where it is thin on white.
pub(super) fn method(name: &str) -> Colour {
    match name {
        "lse-huber" => Colour::new(0x0B5CAD),
        "varpro" => Colour::new(0x00896B),
        "isoflop" => Colour::new(0xC9540A),
        "envelope" => Colour::new(0xA8538A),
        _ => SOFT,
    }
}
