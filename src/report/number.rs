//! How a number is printed beside its interval: no digit that the interval does not carry.

use maud::{Markup, html};

use crate::predict::Estimate;
use crate::units::count;

/// A number and, below it, its interval; the full precision on hover.
pub(super) fn with_interval(value: f64, interval: Option<[f64; 2]>) -> Markup {
    let places = interval.map_or_else(|| places(value / 100.0), |[lo, hi]| places((hi - lo) / 2.0));
    let show = |v: f64| fixed(v, places);
    html! {
        span title=(value) { (show(value)) }
        @if let Some([lo, hi]) = interval { small { (show(lo)) " – " (show(hi)) } }
    }
}

/// The same for a count: `110k`.
pub(super) fn count_with_interval(value: f64, interval: Option<[f64; 2]>) -> Markup {
    html! {
        span title=(value) { (count(value)) }
        @if let Some([lo, hi]) = interval { small { (count(lo)) " – " (count(hi)) } }
    }
}

/// The ends of an estimate, if it has any: a method without draws repeats its value.
pub(super) fn ends(e: &Estimate) -> Option<[f64; 2]> {
    (e.lo < e.hi).then_some([e.lo, e.hi])
}

/// `1.453 (1.441 – 1.467)` in a sentence.
pub(super) fn spoken(e: &Estimate) -> String {
    match ends(e) {
        Some([lo, hi]) => {
            let places = places((hi - lo) / 2.0);
            format!("{} ({} to {})", fixed(e.value, places), fixed(lo, places), fixed(hi, places))
        }
        None => fixed(e.value, places(e.value / 100.0)),
    }
}

/// A share as a percentage with its sign: `+0.42%`.
pub(super) fn percent(share: f64) -> String {
    // Not `−0.00%`.
    let share = if share.abs() < 5e-5 { 0.0 } else { share };
    if share.is_finite() {
        format!("{:+.2}%", 100.0 * share).replace('-', "−")
    } else {
        "–".into()
    }
}

/// A number that there may be none of.
pub(super) fn told(value: Option<f64>, show: fn(f64) -> String) -> String {
    value.map_or_else(|| "–".to_owned(), show)
}

/// A share without a sign: `0.42%`, `15.6%`.
pub(super) fn share(share: f64) -> String {
    let percent = 100.0 * share;
    match percent {
        p if !p.is_finite() => "–".into(),
        p if p < 0.995 => format!("{p:.2}%"),
        p => format!("{p:.1}%"),
    }
}

/// A difference of exponents with its sign: `−0.003`.
pub(super) fn difference(value: f64) -> String {
    // Not `−0.000`.
    let value = if value.abs() < 5e-4 { 0.0 } else { value };
    format!("{value:+.3}").replace('-', "−")
}

/// A loss: four digits after the point are more than seeds agree on.
pub(super) fn loss(value: Option<f64>) -> String {
    value.filter(|v| v.is_finite()).map_or_else(|| "–".to_owned(), |v| format!("{v:.4}"))
}

/// Digits after the point that show two digits of `width`.
fn places(width: f64) -> usize {
    let digit = width.abs().log10().floor();
    if digit.is_finite() { (1.0 - digit).clamp(0.0, 6.0) as usize } else { 4 }
}

fn fixed(value: f64, places: usize) -> String {
    if !value.is_finite() {
        return "–".to_owned();
    }
    if value.abs() >= 1e5 {
        return format!("{value:.2e}");
    }
    format!("{value:.places$}").replace('-', "−")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_the_digits_that_its_interval_carries() {
        let text = |v, i| with_interval(v, i).into_string();
        assert!(
            text(0.513894, Some([0.4811, 0.5444])).contains(">0.514</span><small>0.481 – 0.544<")
        );
        assert!(text(482.006, Some([285.2, 743.6])).contains(">482</span><small>285 – 744<"));
        assert!(text(1.8172, None).contains("title=\"1.8172\">1.817<"));
        assert!(text(f64::NAN, None).contains(">–<"));
        assert!(text(2e12, Some([1e12, 3e12])).contains("2.00e12"));
    }

    #[test]
    fn a_difference_has_a_sign_and_no_negative_zero() {
        assert_eq!([-0.0031, 0.0126, -0.0004].map(difference), ["−0.003", "+0.013", "+0.000"]);
    }

    #[test]
    fn a_share_has_two_or_three_digits() {
        assert_eq!([0.0, 0.0042, 0.00996, 0.156].map(share), ["0.00%", "0.42%", "1.0%", "15.6%"]);
        assert_eq!(share(f64::NAN), "–");
    }

    #[test]
    fn an_estimate_is_spoken_with_its_ends_or_alone() {
        let e = Estimate { value: 1.4532, lo: 1.4411, hi: 1.4674 };
        assert_eq!(spoken(&e), "1.453 (1.441 to 1.467)");
        assert_eq!(spoken(&Estimate { value: 126.4, lo: 126.4, hi: 126.4 }), "126.4");
    }
}
