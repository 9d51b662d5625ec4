//! Texts with fields of an item in them: `{field}` and nothing more. `{{` and `}}` are braces.

use std::fmt;

use serde::Deserialize;
use serde::de::value::SeqAccessDeserializer;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};

/// A text with fields.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Field(String),
}

impl TryFrom<String> for Template {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let mut parts = Vec::new();
        let (mut plain, mut rest) = (String::new(), text.as_str());
        while let Some(at) = rest.find(['{', '}']) {
            let (before, after) = rest.split_at(at);
            plain += before;
            if let Some(later) = after.strip_prefix("{{").or_else(|| after.strip_prefix("}}")) {
                plain += &after[..1];
                rest = later;
                continue;
            }
            let field = after.strip_prefix('{').and_then(|inner| inner.split_once('}'));
            let Some((field, later)) = field.filter(|(f, _)| is_field(f)) else {
                return Err(format!(
                    "{text:?} has a brace that is no {{field}}: a field is letters, digits, `_`, `-` and `.`, and \
                     `{{{{` stands for one brace"
                ));
            };
            if !plain.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut plain)));
            }
            parts.push(Part::Field(field.to_owned()));
            rest = later;
        }
        plain += rest;
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        Ok(Self(parts))
    }
}

fn is_field(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || "_-.".contains(c))
}

impl Template {
    /// The text, where `field` gives that of a field.
    ///
    /// # Errors
    ///
    /// Those of `field`.
    pub fn fill<E>(&self, mut field: impl FnMut(&str) -> Result<String, E>) -> Result<String, E> {
        let mut out = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => out += text,
                Part::Field(name) => out += &field(name)?,
            }
        }
        Ok(out)
    }

    /// The field that it is, where it is one and nothing else.
    fn only_field(&self) -> Option<&str> {
        match self.0.as_slice() {
            [Part::Field(name)] => Some(name),
            _ => None,
        }
    }
}

/// Several texts of an item: a field that is a list, as `"{choices}"`, or a list of templates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum List {
    /// The field that holds them.
    Field(String),
    /// One template each.
    Each(Vec<Template>),
}

impl<'de> Deserialize<'de> for List {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = List;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a field that is a list, as \"{choices}\", or a list of templates")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<List, E> {
                let template = Template::try_from(text.to_owned()).map_err(E::custom)?;
                let field = template.only_field().map(|name| List::Field(name.to_owned()));
                field.ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(text), &self))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<List, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(list)).map(List::Each)
            }
        }
        from.deserialize_any(Either)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(template: &str) -> Result<String, String> {
        let template = Template::try_from(template.to_owned())?;
        template.fill(|field| match field {
            "a" => Ok("1 {b}".to_owned()),
            other => Err(format!("no {other}")),
        })
    }

    #[test]
    fn fields_are_filled_once_and_double_braces_are_braces() {
        assert_eq!(filled("x {a}\n{{a}} é").unwrap(), "x 1 {b}\n{a} é");
        assert_eq!(filled("").unwrap(), "");
        assert_eq!(filled("{b}"), Err("no b".to_owned()));
        for bad in ["{", "}", "{a b}", "{}", "x}y", "{a|upper}", "{{a}"] {
            assert!(filled(bad).unwrap_err().contains("no {field}"), "{bad}");
        }
    }
}
