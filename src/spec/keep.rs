//! What is kept of a cell beyond its record.

use serde::Deserialize;

/// What is kept of a cell that is completed. No part of its recipe: it decides no bit of what is trained, and a
/// change trains nothing again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Keep {
    /// Its final weights, 4 bytes a parameter.
    #[default]
    Weights,
    /// Its record alone.
    None,
}
