//! Scores of tasks: which of them show a trend that may be fitted, and how they follow from a loss.

pub mod curve;
pub mod gate;
