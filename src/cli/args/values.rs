//! Values on the command line, read from their text.

use clap::builder::{PossibleValuesParser, TypedValueParser as _, ValueParser};

use crate::fit::Pins;
use crate::ledger::StateName;
use crate::units::{parse_duration, parse_quantity};

/// A finite amount above 0.
pub(super) fn positive(text: &str) -> Result<f64, String> {
    quantity(text)
        .ok()
        .filter(|x| *x > 0.0)
        .ok_or_else(|| "write a number above 0, such as 2.5".to_owned())
}

/// Seconds of a measurement or a limit [s].
pub(super) fn seconds(text: &str) -> Result<f64, String> {
    positive(text)
        .ok()
        .filter(|s| *s <= 1e6)
        .ok_or_else(|| "write a number of seconds above 0, at most 1e6".to_owned())
}

/// The peak of a device [TFLOP/s].
pub(super) fn tflops(text: &str) -> Result<f64, String> {
    positive(text)
        .ok()
        .filter(|x| (1e-6..=1e6).contains(x))
        .ok_or_else(|| "write TFLOP/s between 1e-6 and 1e6".to_owned())
}

/// A span of time [s].
pub(super) fn span(text: &str) -> Result<f64, String> {
    parse_duration(text).ok_or_else(|| "write it as 90m, 2h or 1h30m".to_owned())
}

/// Several pairs of one option.
#[derive(Debug, Clone)]
pub struct Pairs(pub(super) Vec<(String, String)>);

/// `params=N,loss=loss, nats`: a comma begins another pair where a role and `=` follow.
pub(super) fn pairs(text: &str) -> Result<Pairs, String> {
    let mut parts: Vec<String> = Vec::new();
    for part in text.split(',') {
        let role = part.split_once('=').map(|(role, _)| role.trim());
        let begins = role.is_some_and(|r| {
            !r.is_empty() && r.chars().all(|c| c.is_ascii_lowercase() || c == '_')
        });
        match parts.last_mut() {
            Some(last) if !begins => *last += &format!(",{part}"),
            _ => parts.push(part.to_owned()),
        }
    }
    parts.iter().map(|p| pair(p)).collect::<Result<_, _>>().map(Pairs)
}

pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .map(|(a, b)| (a.trim().to_owned(), b.trim().to_owned()))
        .filter(|(a, b)| !a.is_empty() && !b.is_empty())
        .ok_or_else(|| "want NAME=VALUE".to_owned())
}

/// `E=1.6`. What the value may be depends on the runs, and `fit` says it.
pub(super) fn pin(text: &str) -> Result<(String, f64), String> {
    let (name, value) = pair(text)?;
    if !Pins::NAMES.contains(&name.as_str()) {
        return Err(format!("`{name}` cannot be pinned; want one of {}", Pins::NAMES.join(", ")));
    }
    let value = value.parse().map_err(|_| "want a number after =, as in E=1.6".to_owned())?;
    Ok((name, value))
}

pub(super) fn quantity(text: &str) -> Result<f64, String> {
    parse_quantity(text)
        .filter(|v| *v > 0.0)
        .ok_or_else(|| "want a finite number above 0, such as 1e21".to_owned())
}

pub(super) fn share(text: &str) -> Result<f64, String> {
    quantity(text).ok().filter(|v| *v <= 1.0).ok_or_else(|| "want a share in (0, 1]".to_owned())
}

pub(super) fn decay(text: &str) -> Result<(f64, f64), String> {
    let parts = text.split_once(',').map(|(d, n)| (quantity(d), quantity(n)));
    match parts {
        Some((Ok(tokens), Ok(params))) => Ok((tokens, params)),
        _ => Err("want two numbers above 0, such as 15.4,5.3".to_owned()),
    }
}

/// States in which a cell ended without a loss.
pub(super) fn failures() -> ValueParser {
    let words = PossibleValuesParser::new(StateName::FAILURES.map(StateName::word));
    let named = |word: String| StateName::FAILURES.into_iter().find(|state| state.word() == word);
    words.try_map(move |word| named(word).ok_or("no state of a cell")).into()
}
