//! How a number is printed beside its interval: no digit that the interval does not carry.

use super::Value;
use crate::predict::Estimate;
use crate::units::count;

/// A number with its interval, where it has one.
pub fn number(value: f64, interval: Option<[f64; 2]>) -> Value {
    let places = interval.map_or_else(|| places(value / 100.0), |[lo, hi]| places((hi - lo) / 2.0));
    shown(value, interval, |v| fixed(v, places))
}

/// The same for a count: `110k`.
pub fn counted(value: f64, interval: Option<[f64; 2]>) -> Value {
    shown(value, interval, count)
}

/// An estimate in the digits of `show`. What was settled beforehand, or has no draws, has no interval.
pub fn estimate(e: &Estimate, show: impl Fn(f64) -> String) -> Value {
    shown(e.value, ends(e), show)
}

fn shown(value: f64, interval: Option<[f64; 2]>, show: impl Fn(f64) -> String) -> Value {
    let interval = interval.map(|ends| ends.map(&show));
    Value { text: show(value), interval, after: String::new(), exact: Some(value) }
}

/// The ends of an estimate, if it has any: a method without draws repeats its value.
pub(super) fn ends(e: &Estimate) -> Option<[f64; 2]> {
    (e.lo < e.hi).then_some([e.lo, e.hi])
}

/// A share as a percentage with its sign: `+0.42%`.
pub fn percent(share: f64) -> String {
    // Not `-0.00%`.
    let share = if share.abs() < 5e-5 { 0.0 } else { share };
    if share.is_finite() { format!("{:+.2}%", 100.0 * share) } else { "-".into() }
}

/// A share without a sign: `0.42%`, `15.6%`.
pub fn share(share: f64) -> String {
    let percent = 100.0 * share;
    match percent {
        p if !p.is_finite() => "-".into(),
        p if p < 0.995 => format!("{p:.2}%"),
        p => format!("{p:.1}%"),
    }
}

/// A difference of exponents with its sign: `-0.003`.
pub(super) fn difference(value: f64) -> String {
    // Not `-0.000`.
    let value = if value.abs() < 5e-4 { 0.0 } else { value };
    format!("{value:+.3}")
}

/// A loss: four digits after the point are more than seeds agree on.
pub fn loss(value: f64) -> String {
    if value.is_finite() { format!("{value:.4}") } else { "-".to_owned() }
}

/// A standard deviation of ln L, which is a share of the loss.
pub(super) fn scatter(sd: f64) -> String {
    format!("{:.2}%", 100.0 * sd)
}

/// A number that there may be none of.
pub(super) fn or_dash(value: Option<f64>, show: impl Fn(f64) -> String) -> Value {
    value.map_or_else(|| Value::words("-"), |v| shown(v, None, show))
}

/// Digits after the point that show two digits of `width`.
fn places(width: f64) -> usize {
    let digit = width.abs().log10().floor();
    if digit.is_finite() { (1.0 - digit).clamp(0.0, 6.0) as usize } else { 4 }
}

fn fixed(value: f64, places: usize) -> String {
    match value.abs() {
        v if !v.is_finite() => "-".to_owned(),
        v if v >= 1e5 || (v > 0.0 && v < 1e-4) => format!("{value:.2e}"),
        _ => format!("{value:.places$}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_the_digits_that_its_interval_carries() {
        let line = |v, i| number(v, i).line();
        assert_eq!(line(0.513894, Some([0.4811, 0.5444])), "0.514 (0.481..0.544)");
        assert_eq!(line(482.006, Some([285.2, 743.6])), "482 (285..744)");
        assert_eq!(line(1.8172, None), "1.817");
        assert_eq!(line(f64::NAN, None), "-");
        assert_eq!(line(2e12, Some([1e12, 3e12])), "2.00e12 (1.00e12..3.00e12)");
    }

    #[test]
    fn a_difference_has_a_sign_and_no_negative_zero() {
        assert_eq!([-0.0031, 0.0126, -0.0004].map(difference), ["-0.003", "+0.013", "+0.000"]);
        assert_eq!(percent(-0.00001), "+0.00%");
    }

    #[test]
    fn a_share_has_two_or_three_digits() {
        assert_eq!([0.0, 0.0042, 0.00996, 0.156].map(share), ["0.00%", "0.42%", "1.0%", "15.6%"]);
        assert_eq!(share(f64::NAN), "-");
    }

    #[test]
    fn what_is_settled_has_no_interval() {
        let settled = Estimate { value: 126.4, lo: 126.4, hi: 126.4 };
        assert_eq!(estimate(&settled, loss).line(), "126.4000");
        let e = Estimate { value: 1.4532, lo: 1.4411, hi: 1.4674 };
        assert_eq!(
            estimate(&e, loss).then(" nats/token").line(),
            "1.4532 (1.4411..1.4674) nats/token"
        );
    }
}
