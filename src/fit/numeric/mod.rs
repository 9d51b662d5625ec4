//! Numerical methods that know nothing of scaling laws: least squares, Newton, QR, derivatives, statistics.

pub mod dual;
pub(in crate::fit) mod lanes;
pub mod least;
pub(in crate::fit) mod newton;
pub(crate) mod qr;
pub(crate) mod stats;
