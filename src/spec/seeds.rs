//! How the sweep file writes its seeds: a number, or drawings of weights and data orders apart.

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Unexpected, Visitor};

use super::Seeds;

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
