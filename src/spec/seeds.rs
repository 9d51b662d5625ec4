//! How often the grid is repeated, and how the sweep file writes it: a number, or drawings of weights and data orders
//! apart.

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Unexpected, Visitor};

/// Repetitions of the grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seeds {
    /// Each with other weights and another data order.
    Together(u64),
    /// Every drawing of weights with every data order: tells the two kinds of noise apart.
    Crossed {
        /// Drawings of the initial weights.
        init: u64,
        /// Data orders.
        order: u64,
    },
}

impl Seeds {
    /// How many; `None` beyond 2^64.
    pub fn count(self) -> Option<u64> {
        match self {
            Self::Together(n) => Some(n),
            Self::Crossed { init, order } => init.checked_mul(order),
        }
    }

    /// (seed of the weights, seed of the data order) of each.
    pub fn pairs(self) -> impl Iterator<Item = (u64, u64)> {
        let (init, order) = match self {
            Self::Together(n) => (n, 0),
            Self::Crossed { init, order } => (init, order),
        };
        (0..init).flat_map(move |i| {
            let orders = if matches!(self, Self::Together(_)) { i..i + 1 } else { 0..order };
            orders.map(move |o| (i, o))
        })
    }
}

/// The table form.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    init: u64,
    order: u64,
}

impl<'de> Deserialize<'de> for Seeds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Seeds;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("how often the grid is repeated, such as 3, or { init = 2, order = 3 }")
            }
            fn visit_i64<E: Error>(self, v: i64) -> Result<Seeds, E> {
                let count = u64::try_from(v).map(Seeds::Together);
                count.map_err(|_| E::invalid_value(Unexpected::Signed(v), &self))
            }
            fn visit_u64<E: Error>(self, v: u64) -> Result<Seeds, E> {
                Ok(Seeds::Together(v))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Seeds, A::Error> {
                let mut have = 0_u64;
                while list.next_element::<serde::de::IgnoredAny>()?.is_some() {
                    have += 1;
                }
                Err(A::Error::custom(format!(
                    "`seeds` is a list of {have}, and wants how many: write seeds = {have}, and they are numbered from 0"
                )))
            }
            fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<Seeds, M::Error> {
                let f = Fields::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Seeds::Crossed { init: f.init, order: f.order })
            }
        }
        deserializer.deserialize_any(Reader)
    }
}
