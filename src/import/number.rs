//! Numbers as people write them in tables: `7,085,551`, `4,51`, `7.09m`, `2.35 B tokens`, `1.2 × 10^18`.
//!
//! A comma is either a decimal mark or between thousands; a column says which.

/// What the commas and points of a column mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// `7,085,551.5`
    Point,
    /// `7.085.551,5`
    Comma,
}

/// What one column tells of its style.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Evidence {
    /// Cells that can only be read with a decimal point.
    pub(super) point: usize,
    /// Cells that can only be read with a decimal comma.
    pub(super) comma: usize,
    /// Cells with a comma that both styles read, such as `4,512`.
    pub(super) either: usize,
}

impl Evidence {
    pub(super) fn of<'c>(cells: impl Iterator<Item = &'c str>) -> Self {
        let mut out = Self::default();
        for cell in cells.filter(|c| c.contains([',', '.'])) {
            match (number(cell, Style::Point), number(cell, Style::Comma)) {
                (Some(_), None) => out.point += 1,
                (None, Some(_)) => out.comma += 1,
                (Some(l), Some(r)) if l.value != r.value && cell.contains(',') => out.either += 1,
                _ => {}
            }
        }
        out
    }
}

/// A number of a cell.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Number {
    pub(super) value: f64,
    /// Whether the cell itself says its unit, such as `7.09M`.
    pub(super) unit: bool,
}

/// What may stand behind a number, lower case.
const UNITS: [(&str, f64); 22] = [
    ("k", 1e3),
    ("thousand", 1e3),
    ("m", 1e6),
    ("mn", 1e6),
    ("mm", 1e6),
    ("mio", 1e6),
    ("million", 1e6),
    ("millions", 1e6),
    ("b", 1e9),
    ("g", 1e9),
    ("bn", 1e9),
    ("mrd", 1e9),
    ("billion", 1e9),
    ("billions", 1e9),
    ("t", 1e12),
    ("tn", 1e12),
    ("trillion", 1e12),
    ("trillions", 1e12),
    ("pf-days", 8.64e19),
    ("pfs-days", 8.64e19),
    ("pf-day", 8.64e19),
    ("petaflop/s-days", 8.64e19),
];

/// Words behind a number that say what it counts and change nothing.
const NOUNS: [&str; 15] = [
    "param",
    "params",
    "parameter",
    "parameters",
    "tok",
    "toks",
    "token",
    "tokens",
    "flop",
    "flops",
    "nats",
    "nat",
    "nats/token",
    "nats/tok",
    "steps",
];

/// The factor of a unit: `M`, `billion`, `EFLOPs`, `1e9`, `million tokens`. `None` for no unit.
pub(super) fn factor(text: &str) -> Option<f64> {
    let text = text.trim().to_lowercase();
    let (unit, noun) = text.split_once(char::is_whitespace).unwrap_or((&text, ""));
    if !noun.is_empty() && !NOUNS.contains(&noun.trim()) {
        return None;
    }
    if let Some((_, factor)) = UNITS.iter().find(|(name, _)| *name == unit) {
        return Some(*factor);
    }
    if noun.is_empty() && NOUNS.contains(&unit) {
        return Some(1.0);
    }
    let of_flop = unit.strip_suffix("flops").or_else(|| unit.strip_suffix("flop"));
    let prefix = match of_flop {
        Some("m" | "mega") => 1e6,
        Some("g" | "giga") => 1e9,
        Some("t" | "tera") => 1e12,
        Some("p" | "peta") => 1e15,
        Some("e" | "exa") => 1e18,
        Some("z" | "zetta") => 1e21,
        Some("y" | "yotta") => 1e24,
        _ => 0.0,
    };
    if prefix > 0.0 {
        return Some(prefix);
    }
    let power = unit
        .strip_prefix("10^")
        .or_else(|| unit.strip_prefix("10**"))
        .and_then(|p| p.parse::<i32>().ok())
        .filter(|p| (1..=30).contains(p))
        .map(|p| 10_f64.powi(p));
    let plain = || {
        let scientific = unit.starts_with("1e") || unit.starts_with("10");
        unit.parse::<f64>().ok().filter(|v| scientific && (10.0..1e31).contains(v))
    };
    power.or_else(plain)
}

/// Reads a cell. `None` where it is not a finite number.
pub(super) fn number(text: &str, style: Style) -> Option<Number> {
    let text = text.trim().trim_matches('$').trim();
    let digit = |c: char| c.is_ascii_digit();
    if !text.starts_with(|c: char| digit(c) || "+-.,−".contains(c)) {
        return None;
    }
    let (sign, rest) = match text.strip_prefix(['-', '−']) {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    // A space or an apostrophe belongs to the number between groups of digits only.
    let chars: Vec<(usize, char)> = rest.char_indices().collect();
    let mut end = rest.len();
    for (i, (at, c)) in chars.iter().enumerate() {
        let between = "\u{a0}\u{202f}\u{2009} '’_".contains(*c)
            && i > 0
            && digit(chars[i - 1].1)
            && chars.get(i + 1).is_some_and(|(_, next)| digit(*next));
        if !(digit(*c) || ".,".contains(*c) || between) {
            end = *at;
            break;
        }
    }
    let mantissa = grouped(&rest[..end], style)?;
    let mut tail = rest[end..].trim_start();
    let mut power = 0_i32;
    if let Some(after) = tail.strip_prefix(['e', 'E'])
        && let Some((value, left)) = integer(after)
    {
        (power, tail) = (value, left);
    } else if let Some(after) = tail.strip_prefix(['×', 'x', '·', '*', '⋅'])
        && let Some(after) = after.trim_start().strip_prefix("10")
        && let Some(after) = after.strip_prefix('^').or_else(|| after.strip_prefix("**"))
        && let Some((value, left)) = integer(after)
    {
        (power, tail) = (value, left);
    } else if let Some(after) = tail.strip_prefix('^')
        && mantissa == "10"
        && let Some((value, left)) = integer(after)
    {
        let value = 10_f64.powi(value);
        return (left.trim().is_empty() && value.is_finite())
            .then_some(Number { value: sign * value, unit: false });
    }
    let tail = tail.trim();
    let times = if tail.is_empty() { 1.0 } else { factor(tail)? };
    // The parser rounds once: `45e-1` by its digits, not 45 times a tenth.
    let value = sign * format!("{mantissa}e{power}").parse::<f64>().ok()? * times;
    value.is_finite().then_some(Number { value, unit: times != 1.0 })
}

/// An integer at the start of a text, and what follows it.
fn integer(text: &str) -> Option<(i32, &str)> {
    let text = text.trim_start_matches(['{', '(']);
    let signed = usize::from(text.starts_with(['-', '+']));
    let digits = text[signed..].bytes().take_while(u8::is_ascii_digit).count();
    let (number, rest) = text.split_at(signed + digits);
    Some((number.parse().ok()?, rest.trim_start_matches(['}', ')'])))
}

/// Digits with one point at most, as Rust reads them; `None` where the marks do not fit the style.
fn grouped(text: &str, style: Style) -> Option<String> {
    let (decimal, thousand) = match style {
        Style::Point => ('.', ','),
        Style::Comma => (',', '.'),
    };
    let (whole, fraction) = match text.split_once(decimal) {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (text, None),
    };
    if fraction.is_some_and(|f| !f.bytes().all(|b| b.is_ascii_digit())) {
        return None;
    }
    // Underscores are free, as in a sweep file; all other marks keep their groups.
    let whole = whole.replace('_', "");
    let groups: Vec<&str> = whole.split(|c: char| !c.is_ascii_digit()).collect();
    if groups.len() > 1 {
        let marks: Vec<char> = whole.chars().filter(|c| !c.is_ascii_digit()).collect();
        let same = marks.iter().all(|m| *m == marks[0]);
        let foreign = marks[0] == decimal || (".,".contains(marks[0]) && marks[0] != thousand);
        let (last, first) = (groups[groups.len() - 1], groups[0]);
        let middle = &groups[1..groups.len() - 1];
        let fits = last.len() == 3
            && (1..=3).contains(&first.len())
            && middle.iter().all(|g| (2..=3).contains(&g.len()));
        // `0.512` is no group of thousands.
        if !same || foreign || !fits || first == "0" {
            return None;
        }
    }
    let digits: String = groups.concat();
    if digits.is_empty() && fraction.is_none_or(str::is_empty) {
        return None;
    }
    Some(match fraction {
        Some(f) if !f.is_empty() => {
            format!("{}.{f}", if digits.is_empty() { "0" } else { &digits })
        }
        _ => digits,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_tables_write_them() {
        for (text, want) in [
            ("7,085,551", 7085551.0),
            ("7,085,551.5", 7085551.5),
            ("7 085 551", 7085551.0),
            ("7\u{a0}085\u{a0}551", 7085551.0),
            ("7'085'551", 7085551.0),
            ("7_085_551", 7085551.0),
            ("7.09m", 7.09e6),
            ("7.09 M", 7.09e6),
            ("2.3522b", 2.3522e9),
            ("2.35 B tokens", 2.35e9),
            ("125M params", 125e6),
            ("3 billion", 3e9),
            ("1.2 × 10^18", 1.2e18),
            ("1.2x10^18", 1.2e18),
            ("1.2*10**18", 1.2e18),
            ("10^18", 1e18),
            ("3 EFLOPs", 3e18),
            ("0.1 ZFLOP", 1e20),
            ("1e18 FLOPs", 1e18),
            ("4.51163", 4.51163),
            (".5", 0.5),
            ("1e+17", 1e17),
            ("2 PF-days", 2.0 * 8.64e19),
            ("−1.5", -1.5),
        ] {
            let got = number(text, Style::Point).unwrap_or_else(|| panic!("{text}")).value;
            assert!((got / want - 1.0).abs() < 1e-12, "{text}: {got}");
        }
        for text in
            ["", "many", "nan", "inf", "1e999", "4,51163", "1,2,3", "--1", "1x", "d512", "1.2.3"]
        {
            assert_eq!(number(text, Style::Point), None, "{text}");
        }
        assert_eq!(number("4,51163", Style::Comma).unwrap().value, 4.51163);
        assert_eq!(number("7.085.551,5", Style::Comma).unwrap().value, 7085551.5);
        assert!(number("7.09M", Style::Point).unwrap().unit);
    }

    #[test]
    fn a_column_says_what_its_commas_mean() {
        let of = |cells: &[&str]| Evidence::of(cells.iter().copied());
        assert_eq!(of(&["4,51163", "4,2"]).comma, 2);
        assert_eq!(of(&["7,085,551", "588,051"]), Evidence { point: 1, comma: 0, either: 1 });
        assert_eq!(of(&["4.51163"]).point, 1);
    }
}
