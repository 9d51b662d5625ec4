//! From a quantity to a place on an axis, and the ticks of that axis.

/// A linear or logarithmic axis over `lo..hi`, both finite and `lo < hi`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Scale {
    pub(super) lo: f64,
    pub(super) hi: f64,
    pub(super) log: bool,
}

/// Farthest end of a logarithmic axis, as a logarithm: e^340 = 10^147, and the ratio of both ends is still finite.
const FARTHEST: f64 = 340.0;
/// Farthest end of a linear axis; the difference of both ends is still finite.
const LARGEST: f64 = 1e300;

/// How tick labels are written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Label {
    /// `10¹¹`, `3×10¹⁰`.
    Power,
    /// `10k`, `2.5M`.
    Count,
    /// `1.85`.
    Plain,
    /// `0.005`, `0.01`, `0.02`: each with its own digits, for rates.
    Each,
    /// `½`, `1`, `2`: a ratio.
    Ratio,
}

impl Scale {
    /// A logarithmic axis that holds every positive finite value, with `pad` of its length to spare on
    /// each side. Without values: one decade.
    pub(super) fn log(values: impl IntoIterator<Item = f64>, pad: f64) -> Self {
        let logs = values.into_iter().filter(|v| v.is_finite() && *v > 0.0).map(f64::ln);
        let (lo, hi) = padded(logs, pad).unwrap_or((0.0, std::f64::consts::LN_10));
        Self::between_logs(lo, hi)
    }

    fn between_logs(lo: f64, hi: f64) -> Self {
        let lo = lo.clamp(-FARTHEST, FARTHEST - 1.0);
        Self { lo: lo.exp(), hi: hi.clamp(lo + 1e-9, FARTHEST).exp(), log: true }
    }

    /// A linear axis.
    pub(super) fn linear(lo: f64, hi: f64) -> Self {
        let end = |v: f64, otherwise: f64| if v.is_nan() { otherwise } else { v };
        let lo = end(lo, 0.0).clamp(-LARGEST, 0.99 * LARGEST);
        let hi = end(hi, lo + 1.0).clamp(-LARGEST, LARGEST);
        // Two ends that are one give no axis.
        let hi = if lo < hi { hi } else { lo + 1e-9 * lo.abs().max(1e-9) };
        Self { lo, hi, log: false }
    }

    /// A logarithmic axis that goes on above by a share of its length.
    pub(super) fn longer(&self, share: f64) -> Self {
        let (lo, hi) = (self.lo.ln(), self.hi.ln());
        Self::between_logs(lo, hi + share * (hi - lo))
    }

    /// Place along the axis: 0 at `lo`, 1 at `hi`.
    pub(super) fn place(&self, value: f64) -> f64 {
        if self.log {
            (value / self.lo).ln() / (self.hi / self.lo).ln()
        } else {
            (value - self.lo) / (self.hi - self.lo)
        }
    }

    /// `n` values evenly placed from `lo` to `hi`.
    pub(super) fn steps(&self, n: usize) -> Vec<f64> {
        between(self.lo, self.hi, n, self.log)
    }

    /// Ticks with their labels, at least `room(label)` pixels apart on an axis of `length` pixels.
    pub(super) fn ticks(
        &self,
        label: Label,
        length: f64,
        room: impl Fn(&str) -> f64,
    ) -> Vec<(f64, String)> {
        let fits = |values: &[f64]| {
            let decimals = values.iter().map(|v| decimals(*v)).max().unwrap_or(0);
            let name = |v: f64| match label {
                Label::Plain => format!("{v:.decimals$}").replace('-', "−"),
                _ => write(v, label),
            };
            let named: Vec<_> = values.iter().map(|&v| (v, name(v))).collect();
            let apart = named.windows(2).all(|w| {
                let gap = (self.place(w[1].0) - self.place(w[0].0)) * length;
                gap >= 0.5 * (room(&w[0].1) + room(&w[1].1))
            });
            (apart && !named.is_empty()).then_some(named)
        };
        let least = match label {
            Label::Plain => 5,
            Label::Each => 3,
            _ => 4,
        };
        let mut best: Vec<(f64, String)> = Vec::new();
        for candidate in self.candidates(label) {
            if let Some(named) = fits(&candidate) {
                let enough = (least..=9).contains(&named.len());
                if enough || best.len() < named.len().min(9) {
                    best = named;
                }
                if enough {
                    break;
                }
            }
        }
        best
    }

    /// Sets of tick values, the ones to prefer first.
    fn candidates(&self, label: Label) -> Vec<Vec<f64>> {
        if label == Label::Ratio {
            return [2.0, 4.0].map(|base: f64| powers(self, base)).into();
        }
        let mut sets = Vec::new();
        // Within less than a decade even steps read better than 1-2-5, also on a logarithmic axis.
        if !self.log || self.hi / self.lo < 6.0 && label != Label::Each {
            let span = self.hi - self.lo;
            let decade = 10f64.powf((span / 4.0).log10().floor());
            for step in [10.0, 5.0, 2.0, 1.0, 0.5].map(|m| m * decade) {
                let (from, to) = ((self.lo / step).ceil() as i64, (self.hi / step).floor() as i64);
                if to - from < 40 {
                    sets.push((from..=to).map(|i| tidy(i as f64 * step)).collect());
                }
            }
            if !self.log {
                return sets;
            }
        }
        let decades = (self.hi / self.lo).log10();
        for every in [10, 5, 3, 2] {
            if decades / f64::from(every) >= 4.0 {
                sets.push(mantissas(self, &[1.0], every));
            }
        }
        for set in [
            &[1.0][..],
            &[1.0, 3.0],
            &[1.0, 2.0, 5.0],
            &[1.0, 1.5, 2.0, 3.0, 5.0, 7.0],
            &[1.0, 1.2, 1.4, 1.6, 1.8, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0],
        ] {
            sets.push(mantissas(self, set, 1));
        }
        sets
    }

    /// Unlabelled ticks between decades, if the axis is logarithmic and they can be told apart.
    pub(super) fn minor(&self, length: f64) -> Vec<f64> {
        let decades = (self.hi / self.lo).log10();
        if self.log && decades > 0.7 && length / decades > 40.0 {
            mantissas(self, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0], 1)
        } else {
            Vec::new()
        }
    }
}

/// `n` values from `lo` to `hi`, evenly spaced, in the logarithm if `log`.
pub(super) fn between(lo: f64, hi: f64, n: usize, log: bool) -> Vec<f64> {
    let last = n.max(2) - 1;
    (0..=last)
        .map(|i| {
            let t = i as f64 / last as f64;
            if log { lo * (hi / lo).powf(t) } else { lo + t * (hi - lo) }
        })
        .collect()
}

/// Ends of some logarithms with room to spare; a single value gets a tenth of itself.
fn padded(values: impl Iterator<Item = f64>, pad: f64) -> Option<(f64, f64)> {
    let ends = |range: Option<(f64, f64)>, v: f64| {
        Some(range.map_or((v, v), |(lo, hi): (f64, f64)| (lo.min(v), hi.max(v))))
    };
    let (lo, hi) = values.fold(None, ends)?;
    let least = 0.1 * lo.abs().max(1.0);
    let room = if hi - lo < least { 0.5 * least } else { pad * (hi - lo) };
    Some((lo - room, hi + room))
}

fn mantissas(scale: &Scale, set: &[f64], every: i32) -> Vec<f64> {
    let (from, to) = (scale.lo.log10().floor() as i32, scale.hi.log10().ceil() as i32);
    (from..=to)
        .filter(|d| d.rem_euclid(every) == 0)
        .flat_map(|d| set.iter().map(move |m| tidy(m * 10f64.powi(d))))
        .filter(|v| (scale.lo..=scale.hi).contains(v))
        .collect()
}

fn powers(scale: &Scale, base: f64) -> Vec<f64> {
    (-12..=12).map(|i| base.powi(i)).filter(|v| (scale.lo..=scale.hi).contains(v)).collect()
}

/// The shortest decimal within rounding: 0.30000000000000004 becomes 0.3.
fn tidy(v: f64) -> f64 {
    format!("{v:.9e}").parse().unwrap_or(v)
}

/// Digits after the point that the shortest form of `v` has.
fn decimals(v: f64) -> usize {
    format!("{v}").split_once('.').map_or(0, |(_, digits)| digits.len())
}

fn write(v: f64, label: Label) -> String {
    match label {
        Label::Power => power(v),
        Label::Count => short_count(v),
        Label::Ratio if v < 1.0 => format!("1/{}", 1.0 / v),
        Label::Plain | Label::Each | Label::Ratio => format!("{v}"),
    }
}

/// `10¹¹`, `3×10¹⁰`, `2.5×10⁻³`, for text that cannot be marked up.
///
/// ```
/// assert_eq!(isoflop::figure::power(3e10), "3×10¹⁰");
/// ```
pub fn power(v: f64) -> String {
    if !(v.is_finite() && v > 0.0) {
        return format!("{v}");
    }
    let text = format!("{v:.2e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let mantissa = mantissa.trim_end_matches('0').trim_end_matches('.');
    let raised: String = exponent.chars().map(superscript).collect();
    if mantissa == "1" { format!("10{raised}") } else { format!("{mantissa}×10{raised}") }
}

fn superscript(c: char) -> char {
    match c {
        '-' => '⁻',
        '1' => '¹',
        '2' => '²',
        '3' => '³',
        '0' => '⁰',
        c => c.to_digit(10).and_then(|d| char::from_u32(0x2070 + d)).unwrap_or(c),
    }
}

/// A tick of a count: `500`, `10k`, `2.5M`, and powers of ten past a quadrillion.
fn short_count(v: f64) -> String {
    if !(1.0..1e15).contains(&v) {
        return power(v);
    }
    for (suffix, scale) in [("T", 1e12), ("B", 1e9), ("M", 1e6), ("k", 1e3)] {
        if v >= scale {
            return format!("{}{suffix}", tidy(v / scale));
        }
    }
    format!("{v}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_has_ends_that_are_numbers_and_few_ticks() {
        let (most, least) = (f64::MAX, f64::MIN_POSITIVE);
        let scales = [
            Scale::log([most], 0.05),
            Scale::log([least], 0.05),
            Scale::log([least, most], 0.05).longer(0.14),
            Scale::log([5e-324], 0.0),
            Scale::linear(-most, most),
            Scale::linear(f64::NEG_INFINITY, f64::INFINITY),
            Scale::linear(f64::NAN, f64::NAN),
            Scale::linear(1e17, 1e17),
            Scale::linear(0.0, 0.0),
        ];
        for scale in scales {
            assert!(scale.lo < scale.hi && scale.hi.is_finite(), "{scale:?}");
            assert!(scale.place(scale.lo).abs() < 1e-9, "{scale:?}");
            assert!((scale.place(scale.hi) - 1.0).abs() < 1e-9, "{scale:?}");
            for label in [Label::Power, Label::Count, Label::Plain, Label::Each, Label::Ratio] {
                assert!(labels(scale, label, 600.0).len() < 40, "{scale:?}");
            }
            assert!(scale.minor(600.0).len() < 10_000, "{scale:?}");
        }
    }

    #[test]
    fn rates_are_written_with_their_own_digits() {
        let axis = |lo, hi| labels(Scale { lo, hi, log: true }, Label::Each, 600.0);
        assert_eq!(axis(0.0028, 0.022), ["0.005", "0.01", "0.02"]);
        assert_eq!(axis(0.0015, 0.12).join(" "), "0.003 0.01 0.03 0.1");
    }

    fn labels(scale: Scale, label: Label, length: f64) -> Vec<String> {
        scale
            .ticks(label, length, |s| 8.0 * s.chars().count() as f64 + 10.0)
            .into_iter()
            .map(|t| t.1)
            .collect()
    }

    #[test]
    fn compute_reads_in_powers_of_ten() {
        let scale = Scale::log([3e10, 1e12], 0.02);
        assert_eq!(labels(scale, Label::Power, 600.0), ["3×10¹⁰", "10¹¹", "3×10¹¹", "10¹²"]);
        let scale = Scale::log([1e17, 1e22], 0.02);
        assert_eq!(
            labels(scale, Label::Power, 600.0),
            ["10¹⁷", "10¹⁸", "10¹⁹", "10²⁰", "10²¹", "10²²"]
        );
    }

    #[test]
    fn sizes_read_in_thousands_millions_and_billions() {
        let scale = Scale::log([2e3, 2.1e5], 0.02);
        assert_eq!(labels(scale, Label::Count, 600.0), ["3k", "10k", "30k", "100k"]);
        assert_eq!(write(2.5e6, Label::Count), "2.5M");
        assert_eq!(write(1e9, Label::Count), "1B");
        assert_eq!(write(1e17, Label::Count), "10¹⁷");
    }

    #[test]
    fn losses_read_in_even_steps() {
        let scale = Scale::log([1.62, 2.65], 0.03);
        assert_eq!(labels(scale, Label::Plain, 400.0), ["1.6", "1.8", "2.0", "2.2", "2.4", "2.6"]);
        let scale = Scale { lo: -1.3, hi: 1.0, log: false };
        assert_eq!(labels(scale, Label::Plain, 300.0), ["−1.0", "−0.5", "0.0", "0.5", "1.0"]);
    }

    #[test]
    fn ticks_never_collide_and_are_never_absent() {
        for (lo, hi) in
            [(1.0, 1.001), (1e-3, 1e30), (1.7, 1.7), (5.0, 11.0), (1e17, 1e22), (0.9, 9.3)]
        {
            for label in [Label::Power, Label::Count, Label::Plain] {
                let wider = hi + 0.1 * (hi - lo) + 1e-3;
                for scale in [Scale::log([lo, hi], 0.02), Scale { lo, hi: wider, log: false }] {
                    let ticks = scale.ticks(label, 300.0, |_| 40.0);
                    assert!(!ticks.is_empty(), "{lo} {hi} {label:?} {scale:?}");
                    for w in ticks.windows(2) {
                        let gap = (scale.place(w[1].0) - scale.place(w[0].0)) * 300.0;
                        assert!(gap >= 40.0, "{lo} {hi} {label:?}: {w:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn an_axis_without_values_is_still_an_axis() {
        assert_eq!(Scale::log([f64::NAN, -1.0, 0.0], 0.1).place(1.0), 0.0);
    }
}
