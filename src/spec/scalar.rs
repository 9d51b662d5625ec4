//! One value of a document's field, as JSON, Parquet and TOML know it.

use std::fmt;

use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// A plain value.
#[derive(Debug, Clone, Default)]
pub enum Scalar {
    /// No plain value: null, a list, a table.
    #[default]
    Other,
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// Text.
    Text(String),
}

impl PartialEq for Scalar {
    /// Numbers are equal by value; what is no plain value equals nothing.
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Bool(l), Self::Bool(r)) => l == r,
            (Self::Int(l), Self::Int(r)) => l == r,
            (Self::Float(l), Self::Float(r)) => l == r,
            (Self::Int(l), Self::Float(r)) | (Self::Float(r), Self::Int(l)) => *l as f64 == *r,
            (Self::Text(l), Self::Text(r)) => l == r,
            _ => false,
        }
    }
}

impl Scalar {
    /// As text; `None` where it is no plain value.
    #[must_use]
    pub fn into_text(self) -> Option<String> {
        match self {
            Self::Other => None,
            Self::Bool(value) => Some(value.to_string()),
            Self::Int(value) => Some(value.to_string()),
            Self::Float(value) => Some(value.to_string()),
            Self::Text(value) => Some(value),
        }
    }
}

impl Serialize for Scalar {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Other => to.serialize_unit(),
            Self::Bool(value) => to.serialize_bool(*value),
            Self::Int(value) => to.serialize_i64(*value),
            Self::Float(value) => to.serialize_f64(*value),
            Self::Text(value) => to.serialize_str(value),
        }
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Scalar;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("true, false, a number or text")
            }

            fn visit_bool<E>(self, value: bool) -> Result<Scalar, E> {
                Ok(Scalar::Bool(value))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Scalar, E> {
                Ok(Scalar::Int(value))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Scalar, E> {
                Ok(i64::try_from(value).map_or(Scalar::Float(value as f64), Scalar::Int))
            }

            fn visit_f64<E>(self, value: f64) -> Result<Scalar, E> {
                Ok(Scalar::Float(value))
            }

            fn visit_str<E>(self, value: &str) -> Result<Scalar, E> {
                Ok(Scalar::Text(value.to_owned()))
            }

            fn visit_unit<E>(self) -> Result<Scalar, E> {
                Ok(Scalar::Other)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Scalar, A::Error> {
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Scalar::Other)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Scalar, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Scalar::Other)
            }
        }
        from.deserialize_any(Any)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_equal_by_what_they_are_and_numbers_by_their_size() {
        let of = |json: &str| serde_json::from_str::<Scalar>(json).unwrap();
        assert_eq!(of("1"), of("1.0"));
        assert_eq!(of("\"a\""), Scalar::Text("a".to_owned()));
        assert_ne!(of("1"), of("\"1\""));
        assert_ne!(of("1"), of("true"));
        for other in ["null", "[1, {\"a\": 2}]", "{\"a\": [1]}"] {
            assert_ne!(of(other), of(other), "{other}");
            assert_eq!(of(other).into_text(), None);
        }
        assert_eq!(of("18446744073709551615").into_text().unwrap(), "18446744073709552000");
        assert_eq!(serde_json::to_string(&of("[true]")).unwrap(), "null");
    }
}
