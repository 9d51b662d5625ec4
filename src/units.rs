//! Numbers as people write and read them: `2.5B` in, `2.50B` out.
//!
//! Quantities are `f64` named by what they are (`params`, `tokens`, `flops`), with the unit in the doc.

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize};

/// What our own runs measure losses in, and tables that say so.
pub const NATS_PER_TOKEN: &str = "nats/token";
/// The unit that does not depend on the tokenizer.
pub const BITS_PER_BYTE: &str = "bits/byte";
/// Where nobody said what a loss is measured in.
pub const AS_GIVEN: &str = "as given";

/// A loss [nats/token] of tokens of so many bytes each [bytes/token], in bits/byte.
pub fn bits_per_byte(loss: f64, bytes_per_token: f64) -> f64 {
    loss / std::f64::consts::LN_2 / bytes_per_token
}

/// Stands for the unit of the loss in that of a parameter: `{loss} parameters^alpha`.
pub const LOSS: &str = "{loss}";

/// The unit of a parameter, with [`LOSS`] in it, for losses in `loss`.
///
/// ```
/// use isoflop::units::of_losses_in;
/// assert_eq!(of_losses_in("{loss} tokens^beta", "bits/byte"), "bits/byte tokens^beta");
/// assert_eq!(of_losses_in("{loss}", "as given"), "unit as given");
/// ```
pub fn of_losses_in(unit: &str, loss: &str) -> String {
    match unit {
        LOSS => loss_unit(loss).to_owned(),
        _ if loss == AS_GIVEN => unit.replace(LOSS, "(unit as given)"),
        _ => unit.replace(LOSS, loss),
    }
}

/// The unit of a loss as an axis or a column head says it.
pub fn loss_unit(loss: &str) -> &str {
    if loss == AS_GIVEN { "unit as given" } else { loss }
}

/// The unit of a loss after its number, with a space before it; nothing where nobody said.
pub fn after_loss(loss: &str) -> String {
    if loss == AS_GIVEN { String::new() } else { format!(" {loss}") }
}

/// Multipliers a person may append to a number. `B` is 1e9, as in "a 7B model".
const SUFFIXES: [(char, f64); 10] = [
    ('k', 1e3),
    ('K', 1e3),
    ('m', 1e6),
    ('M', 1e6),
    ('b', 1e9),
    ('B', 1e9),
    ('g', 1e9),
    ('G', 1e9),
    ('t', 1e12),
    ('T', 1e12),
];

/// Reads `1e18`, `2.5B`, `30M`, `1_000`. `None` when it is not a finite number.
///
/// ```
/// assert_eq!(isoflop::units::parse_quantity("2.5B"), Some(2.5e9));
/// assert_eq!(isoflop::units::parse_quantity("1e18"), Some(1e18));
/// assert_eq!(isoflop::units::parse_quantity("many"), None);
/// ```
pub fn parse_quantity(text: &str) -> Option<f64> {
    let text = text.trim().replace('_', "");
    let (digits, factor) = match SUFFIXES.iter().find(|(suffix, _)| text.ends_with(*suffix)) {
        Some((suffix, factor)) => (text.strip_suffix(*suffix).unwrap_or(&text), *factor),
        None => (text.as_str(), 1.0),
    };
    let starts_well = digits.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c));
    let value = digits.parse::<f64>().ok().filter(|_| starts_well)? * factor;
    value.is_finite().then_some(value)
}

/// A number in a sweep file: an integer, a float, or text such as `"30M"`.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct Quantity(pub f64);

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl Visitor<'_> for Reader {
            type Value = Quantity;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a number such as 1e18, 250_000 or \"30M\"")
            }
            fn visit_i64<E: de::Error>(self, v: i64) -> Result<Quantity, E> {
                Ok(Quantity(v as f64))
            }
            fn visit_u64<E: de::Error>(self, v: u64) -> Result<Quantity, E> {
                Ok(Quantity(v as f64))
            }
            fn visit_f64<E: de::Error>(self, v: f64) -> Result<Quantity, E> {
                Ok(Quantity(v))
            }
            fn visit_str<E: de::Error>(self, v: &str) -> Result<Quantity, E> {
                parse_quantity(v)
                    .map(Quantity)
                    .ok_or_else(|| E::invalid_value(de::Unexpected::Str(v), &self))
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

/// A count with three significant digits: `940`, `3.68k`, `12.5M`, `1.30T`.
///
/// ```
/// assert_eq!(isoflop::units::count(3_680.0), "3.68k");
/// assert_eq!(isoflop::units::count(70e9), "70.0B");
/// ```
pub fn count(value: f64) -> String {
    if !value.is_finite() {
        return "?".to_owned();
    }
    for (suffix, scale) in [("T", 1e12), ("B", 1e9), ("M", 1e6), ("k", 1e3)] {
        // 999.5 rounds to 1000 with three digits, so the next suffix takes over there.
        if value.abs() >= 0.9995 * scale {
            if value.abs() >= 999.5 * scale {
                break;
            }
            return format!("{}{suffix}", digits3(value / scale));
        }
    }
    if value.abs() < 999.5 { digits3(value) } else { format!("{value:.2e}") }
}

/// A moment of a record as a person reads it, without the digits below a second.
///
/// ```
/// assert_eq!(isoflop::units::moment("2026-11-25T14:58:17.475553531Z"), "2026-11-25 14:58:17 UTC");
/// ```
pub fn moment(recorded: &str) -> String {
    let seconds = recorded.trim_end_matches('Z').split('.').next().unwrap_or_default();
    format!("{} UTC", seconds.replace('T', " "))
}

/// So many things of a kind: `1 run`, `12 runs`.
///
/// ```
/// assert_eq!(isoflop::units::several(1, "cell"), "1 cell");
/// assert_eq!(isoflop::units::several(0, "cell"), "0 cells");
/// ```
pub fn several(n: usize, one: &str) -> String {
    format!("{n} {one}{}", if n == 1 { "" } else { "s" })
}

/// The first few of some names, and how many more there are.
///
/// ```
/// assert_eq!(isoflop::units::few(&["a", "b", "c"], 3), "a, b, c");
/// assert_eq!(isoflop::units::few(&["a", "b", "c", "d", "e"], 3), "a, b, c and 2 more");
/// ```
pub fn few<S: AsRef<str>>(names: &[S], most: usize) -> String {
    let shown: Vec<&str> = names.iter().take(most).map(AsRef::as_ref).collect();
    match names.len() - shown.len() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// Three significant digits at least; with an exponent below a tenth and from a hundred thousand on.
///
/// ```
/// assert_eq!(isoflop::units::digits3(20.04), "20.0");
/// assert_eq!(isoflop::units::digits3(12_345.6), "12346");
/// assert_eq!(isoflop::units::digits3(13_704_723_054.0), "1.37e10");
/// ```
pub fn digits3(value: f64) -> String {
    match value.abs() {
        v if v >= 99_999.5 => format!("{value:.2e}"),
        v if v >= 99.95 || v == 0.0 => format!("{value:.0}"),
        v if v >= 9.995 => format!("{value:.1}"),
        v if v >= 0.9995 => format!("{value:.2}"),
        v if v >= 0.09995 => format!("{value:.3}"),
        _ => format!("{value:.2e}"),
    }
}

/// Three significant digits, plain down to a hundred thousandth: for rates and exponents.
///
/// ```
/// assert_eq!(isoflop::units::plain3(0.01234), "0.0123");
/// assert_eq!(isoflop::units::plain3(0.00099996), "0.00100");
/// assert_eq!(isoflop::units::plain3(-0.05), "-0.0500");
/// ```
pub fn plain3(value: f64) -> String {
    let rounded: f64 = format!("{value:.2e}").parse().unwrap_or(value);
    if !(1e-5..0.1).contains(&rounded.abs()) {
        return digits3(value);
    }
    let decimals = (2.0 - rounded.abs().log10().floor()) as usize;
    format!("{value:.decimals$}")
}

/// FLOPs, always in scientific notation: `3.00e11`.
pub fn flops(value: f64) -> String {
    format!("{value:.2e}")
}

/// A span of time: `45s`, `3m20s`, `2h05m`.
///
/// ```
/// assert_eq!(isoflop::units::duration(200.4), "3m20s");
/// ```
pub fn duration(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.0 {
        return "?".to_owned();
    }
    let s = seconds.round() as u64;
    match s {
        0..=9 => format!("{seconds:.1}s"),
        10..=59 => format!("{s}s"),
        60..=3599 => format!("{}m{:02}s", s / 60, s % 60),
        _ => format!("{}h{:02}m", s / 3600, s % 3600 / 60),
    }
}

/// Reads a span of time such as `90m`, `2h`, `1h30m`, `45s` [s]. `None` when it is not one, or is nothing.
///
/// ```
/// assert_eq!(isoflop::units::parse_duration("1h30m"), Some(5400.0));
/// assert_eq!(isoflop::units::parse_duration("90"), None);
/// ```
pub fn parse_duration(text: &str) -> Option<f64> {
    let (mut seconds, mut rest, mut largest) = (0.0, text.trim(), f64::INFINITY);
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(|b| b.is_ascii_digit() || *b == b'.').count();
        let (number, tail) = rest.split_at(digits);
        let unit = match tail.chars().next()? {
            'h' => 3600.0,
            'm' => 60.0,
            's' => 1.0,
            _ => return None,
        };
        // Hours before minutes before seconds, each once.
        if unit >= largest {
            return None;
        }
        seconds += number.parse::<f64>().ok()? * unit;
        (largest, rest) = (unit, &tail[1..]);
    }
    (seconds > 0.0 && seconds.is_finite()).then_some(seconds)
}

/// Bytes: `1.5 MB`.
pub fn bytes(value: f64) -> String {
    match value {
        v if v >= 1e9 => format!("{:.2} GB", v / 1e9),
        v if v >= 1e6 => format!("{:.1} MB", v / 1e6),
        v => format!("{:.0} kB", v / 1e3),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_people_write_them() {
        for (text, want) in [
            ("30M", 30e6),
            ("2.5B", 2.5e9),
            (" 1e18 ", 1e18),
            ("1_000", 1e3),
            ("7k", 7e3),
            ("1T", 1e12),
            ("7b", 7e9),
            ("30m", 30e6),
        ] {
            assert_eq!(parse_quantity(text), Some(want), "{text}");
        }
        for text in ["", "M", "nan", "inf", "1e999", "1x", "ten", "1MM", "--1"] {
            assert_eq!(parse_quantity(text), None, "{text}");
        }
    }

    #[test]
    fn spans_of_time_are_read_as_they_are_written() {
        for (text, want) in [
            ("2h", 7200.0),
            ("90m", 5400.0),
            ("1h30m", 5400.0),
            ("1.5h", 5400.0),
            ("45s", 45.0),
            ("2h05m10s", 7510.0),
        ] {
            assert_eq!(parse_duration(text), Some(want), "{text}");
        }
        for text in
            ["", "h", "90", "0m", "-1h", "1h1h", "30m1h", "2 hours", "1d", ".h", "é", "nanh"]
        {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn counts_keep_three_digits_across_every_suffix() {
        for (value, want) in [
            (0.0, "0"),
            (7.0, "7.00"),
            (256.0, "256"),
            (999.6, "1.00k"),
            (10_240.0, "10.2k"),
            (999_600.0, "1.00M"),
            (1.3e12, "1.30T"),
            (5.0e18, "5.00e18"),
        ] {
            assert_eq!(count(value), want);
        }
    }
}
