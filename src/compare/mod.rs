//! Two studies held against each other.
//!
//! First without a law: runs of equal N, D and seeds, pair by pair ([`Difference`]).

mod pair;

pub use pair::{At, Difference, Run, difference};
