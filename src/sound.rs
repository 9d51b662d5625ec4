//! Whether numbers that were read from a file can be what they stand for: each refusal names the number's place.

/// What is wrong with a number, with its place.
pub(crate) type Refused = Result<(), String>;

/// A finite number above 0.
pub(crate) fn above(place: &str, value: f64) -> Refused {
    ensure(value.is_finite() && value > 0.0, || {
        format!("{place} is {value}, want a finite number above 0")
    })
}

/// A finite number from 0 on.
pub(crate) fn not_negative(place: &str, value: f64) -> Refused {
    ensure(value.is_finite() && value >= 0.0, || {
        format!("{place} is {value}, want a finite number from 0 on")
    })
}

/// A share [0, 1].
pub(crate) fn share(place: &str, value: f64) -> Refused {
    // A sum of shares may pass 1 by rounding.
    ensure((0.0..=1.0 + 1e-9).contains(&value), || {
        format!("{place} is {value}, want a share from 0 to 1")
    })
}

/// The level of an interval (0, 1).
pub(crate) fn level(place: &str, value: f64) -> Refused {
    ensure(value > 0.0 && value < 1.0, || {
        format!("{place} is {value}, want a number between 0 and 1")
    })
}

/// An interval that ends where it starts or later.
pub(crate) fn ordered(place: &str, [lo, hi]: [f64; 2]) -> Refused {
    ensure(lo.is_finite() && hi.is_finite() && lo <= hi, || {
        format!("{place} goes from {lo} to {hi}, want an interval from less to more")
    })
}

/// A number inside its interval.
pub(crate) fn inside(place: &str, value: f64, [lo, hi]: [f64; 2]) -> Refused {
    ordered(place, [lo, hi])?;
    ensure((lo..=hi).contains(&value), || {
        format!("{place} is {value}, which lies outside its interval, {lo} to {hi}")
    })
}

fn ensure(holds: bool, why: impl FnOnce() -> String) -> Refused {
    if holds { Ok(()) } else { Err(why()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_out_of_range_is_refused_by_its_place() {
        let nan = f64::NAN;
        assert!(above("x", 1e-300).is_ok() && not_negative("x", 0.0).is_ok());
        assert!(
            share("x", 1.0).is_ok() && level("x", 0.9).is_ok() && ordered("x", [1.0; 2]).is_ok()
        );
        for refused in [
            above("x", 0.0),
            above("x", f64::INFINITY),
            above("x", nan),
            not_negative("x", -1e-300),
            not_negative("x", nan),
            share("x", 1.1),
            share("x", nan),
            level("x", 1.0),
            level("x", nan),
            ordered("x", [2.0, 1.0]),
            ordered("x", [nan, 1.0]),
            inside("x", 3.0, [1.0, 2.0]),
            inside("x", nan, [1.0, 2.0]),
        ] {
            assert!(refused.unwrap_err().starts_with("x "));
        }
    }
}
