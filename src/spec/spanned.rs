//! Numbers as a sweep file writes them, with or without their place in its text.

use serde::{Deserialize as _, Deserializer};
use toml::Spanned;

use crate::units::Quantity;

/// A default, which stands nowhere in the text.
pub(super) fn unspanned<T>(value: T) -> Spanned<T> {
    Spanned::new(0..0, value)
}

/// A number, or text such as `"0.1"`.
pub(super) fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Quantity::deserialize(deserializer).map(|q| q.0)
}

/// The same with its place in the text.
pub(super) fn spanned<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Spanned<f64>, D::Error> {
    let quantity = Spanned::<Quantity>::deserialize(deserializer)?;
    Ok(Spanned::new(quantity.span(), quantity.into_inner().0))
}
