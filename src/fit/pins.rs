//! Parameters of the law that somebody gives and no fit moves: an asymptote known from elsewhere, say.
//!
//! A pin is exact: the parameter is left out of every fit, refit and interval, and the scatter has a degree of freedom
//! more for it. A form of law that has no such parameter of its own is not fitted and says why. The lines of approach
//! 1 and 2 know nothing of E, alpha and beta and stay what they are.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::fit::warning::{Code, Warning};

/// Parameters of L = E + A N^-alpha + B D^-beta.
const PARAMETERS: usize = 5;

/// The pinned parameters, with their values.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Pins {
    /// Irreducible loss [unit of the losses].
    #[serde(rename = "E", default, skip_serializing_if = "Option::is_none")]
    pub e: Option<f64>,
    /// Exponent of the size term [-].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alpha: Option<f64>,
    /// Exponent of the data term [-].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beta: Option<f64>,
}

impl Pins {
    /// What can be pinned.
    pub const NAMES: [&str; 3] = ["E", "alpha", "beta"];

    /// These pins; nothing for a name that is not among [`Pins::NAMES`], or is there twice.
    pub fn new<'a>(pairs: impl IntoIterator<Item = (&'a str, f64)>) -> Option<Self> {
        let mut pins = Self::default();
        for (name, value) in pairs {
            let place = match name {
                "E" => &mut pins.e,
                "alpha" => &mut pins.alpha,
                "beta" => &mut pins.beta,
                _ => return None,
            };
            if place.replace(value).is_some() {
                return None;
            }
        }
        Some(pins)
    }

    /// The pinned parameters, in the order of [`Pins::NAMES`].
    pub fn named(&self) -> impl Iterator<Item = (&'static str, f64)> {
        let values = [self.e, self.alpha, self.beta];
        Self::NAMES.into_iter().zip(values).filter_map(|(name, value)| Some((name, value?)))
    }

    /// The value of a parameter that is pinned.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.named().find(|(pinned, _)| *pinned == name).map(|(_, value)| value)
    }

    /// Whether nothing is pinned.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Parameters of Chinchilla's law that are left to fit [count].
    pub fn free(&self) -> usize {
        PARAMETERS - self.named().count()
    }

    /// What a reader must know of every number of such a fit.
    pub(crate) fn warning(&self) -> Option<Warning> {
        (!self.is_empty()).then(|| {
            let verb = if self.named().count() == 1 { "is" } else { "are" };
            let text = format!(
                "{self} {verb} pinned, not fitted: every interval takes {} for granted",
                if self.named().count() == 1 { "it" } else { "them" }
            );
            Warning::new(Code::Pinned, text)
        })
    }
}

impl fmt::Display for Pins {
    /// `E = 1.6, alpha = 0.34`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: Vec<String> =
            self.named().map(|(name, value)| format!("{name} = {value}")).collect();
        f.write_str(&all.join(", "))
    }
}
