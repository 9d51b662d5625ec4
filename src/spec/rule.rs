//! A hyperparameter as a function of model size and tokens.

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Unexpected, Visitor};
use serde::{Deserialize, Serialize};

use crate::units::{Quantity, parse_quantity};

/// `value * (N / params_ref)^params_exponent * (D / tokens_ref)^tokens_exponent`: the form in which the
/// literature states laws for learning rate and batch size (for example Step Law, 2503.04715, eq. 1).
///
/// In a sweep file either a plain number, or a table of these fields.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Rule {
    /// Value at the reference point.
    pub value: f64,
    /// Exponent of N [-].
    pub params_exponent: f64,
    /// Reference N, matmul convention [parameters].
    pub params_ref: f64,
    /// Exponent of D [-].
    pub tokens_exponent: f64,
    /// Reference D [tokens].
    pub tokens_ref: f64,
}

impl Rule {
    /// The same value everywhere.
    pub fn constant(value: f64) -> Self {
        Self { value, params_exponent: 0.0, params_ref: 1.0, tokens_exponent: 0.0, tokens_ref: 1.0 }
    }

    /// The value for a model of `params` parameters on `tokens` tokens.
    pub fn at(&self, params: f64, tokens: f64) -> f64 {
        self.value
            * (params / self.params_ref).powf(self.params_exponent)
            * (tokens / self.tokens_ref).powf(self.tokens_exponent)
    }
}

/// The table form.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    value: Quantity,
    #[serde(default = "none")]
    params_exponent: Quantity,
    #[serde(default = "unit")]
    params_ref: Quantity,
    #[serde(default = "none")]
    tokens_exponent: Quantity,
    #[serde(default = "unit")]
    tokens_ref: Quantity,
}

fn none() -> Quantity {
    Quantity(0.0)
}

fn unit() -> Quantity {
    Quantity(1.0)
}

/// What a rule is written as.
const EXPECTED: &str =
    "a number, or a table such as { value = 0.01, params_exponent = -0.3, params_ref = 1e6 }";

impl<'de> Deserialize<'de> for Rule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Rule;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(EXPECTED)
            }
            fn visit_i64<E>(self, v: i64) -> Result<Rule, E> {
                Ok(Rule::constant(v as f64))
            }
            fn visit_f64<E>(self, v: f64) -> Result<Rule, E> {
                Ok(Rule::constant(v))
            }
            fn visit_str<E: Error>(self, v: &str) -> Result<Rule, E> {
                let number = parse_quantity(v).map(Rule::constant);
                number.ok_or_else(|| E::invalid_value(Unexpected::Str(v), &self))
            }
            fn visit_seq<S: SeqAccess<'de>>(self, _: S) -> Result<Rule, S::Error> {
                Err(S::Error::custom(format!(
                    "a list, where one value is wanted for all cells: {EXPECTED}; several rates or batches are tried by \
                     [tune], or given to [[grid.cells]] one by one"
                )))
            }
            fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<Rule, M::Error> {
                let f = Fields::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Rule {
                    value: f.value.0,
                    params_exponent: f.params_exponent.0,
                    params_ref: f.params_ref.0,
                    tokens_exponent: f.tokens_exponent.0,
                    tokens_ref: f.tokens_ref.0,
                })
            }
        }
        deserializer.deserialize_any(Reader)
    }
}
