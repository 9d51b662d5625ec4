//! The transform of Box & Cox 1964 (doi:10.1111/j.2517-6161.1964.tb00553.x) in an exponent.

use crate::fit::numeric::dual::{Number, Real as _};

/// (exp(q x) - 1)/q, x where q is zero.
#[inline(always)]
pub(in crate::fit) fn box_cox<T: Number>(q: T, x: T::Real) -> T {
    let (value, slope) = (q.value() * x).relative_growth();
    q.chain(x * value, x * x * slope)
}
