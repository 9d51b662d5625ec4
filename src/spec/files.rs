//! `source = { files = .. }` and `held_out = { files = .. }`: text that is read as it lies.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::Scalar;

/// Files of text, and how documents are found in them. Written as a list of names, or as a table with the names as
/// `paths` where more is to be said.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Files {
    /// Files, folders and patterns, relative to the sweep file's directory. Not in a recipe, nor is what follows: what
    /// is read is identified by its content.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
    /// Field of the text in JSON lines, column in Parquet; `text` unless said otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Field of what a document belongs to: all of it is held out, or nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Only documents whose fields have these values are read.
    #[serde(rename = "where", skip_serializing_if = "BTreeMap::is_empty")]
    pub filter: BTreeMap<String, Scalar>,
    /// Long texts become documents of about so many words, at blank lines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paragraphs: Option<u64>,
}

/// The same, field by field.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
struct Table {
    paths: Vec<String>,
    text: Option<String>,
    group: Option<String>,
    #[serde(rename = "where")]
    filter: BTreeMap<String, Scalar>,
    paragraphs: Option<u64>,
}

impl<'de> Deserialize<'de> for Files {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Files;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of files, folders and patterns such as [\"texts/*.txt\"]")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Files, A::Error> {
                let paths = Vec::deserialize(SeqAccessDeserializer::new(list))?;
                Ok(Files { paths, ..Files::default() })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Files, A::Error> {
                let table = Table::deserialize(MapAccessDeserializer::new(map))?;
                let Table { paths, text, group, filter, paragraphs } = table;
                Ok(Files { paths, text, group, filter, paragraphs })
            }
        }
        from.deserialize_any(Either)
    }
}

/// What is held out, where a person says it.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum HeldOut {
    /// Files of the held-out text; all of the source is then trained on.
    Files(Files),
    /// Of a dataset: all held-out documents, also those that its filters would remove. They are the same under every
    /// treatment of one source.
    Raw,
}

impl HeldOut {
    /// The files, where it is files.
    pub fn files(&self) -> Option<&Files> {
        match self {
            Self::Files(files) => Some(files),
            Self::Raw => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::spec::{Source, Spec};

    fn source(text: &str) -> Result<Source, String> {
        let text = format!(
            "name = \"a\"\n[data]\nsource = {text}\n[grid.product]\nparams = [1e4]\ntokens = [1e5]\n[optim]\nlearning_rate = 0.01\nbatch_tokens = 1024\n[schedule.cosine]\nwarmup = 0.1\nend = 0.0\n"
        );
        let spec = Spec::parse(&text).map_err(|e| e.render("a.toml", &text))?;
        Ok(spec.data.source.get_ref().clone())
    }

    #[test]
    fn files_are_a_list_or_a_table_and_neither_is_in_a_recipe() {
        let list = source("{ files = [\"a.txt\", \"b\"] }").unwrap();
        assert_eq!(list, source("{ files = { paths = [\"a.txt\", \"b\"] } }").unwrap());
        let full = source(
            "{ files = { paths = [\"a\"], text = \"content\", where = { n = 1 }, paragraphs = 9 } }",
        );
        let Ok(Source::Files(files)) = &full else { panic!("{full:?}") };
        assert_eq!((files.text.as_deref(), files.paragraphs), (Some("content"), Some(9)));
        for source in [list, full.unwrap()] {
            assert_eq!(serde_json::to_string(&source.identity()).unwrap(), "{\"files\":{}}");
        }
        // Recipes of before.
        let old: Source = serde_json::from_str("{\"files\":{\"paths\":[\"a.txt\"]}}").unwrap();
        assert_eq!(serde_json::to_string(&old).unwrap(), "{\"files\":{\"paths\":[\"a.txt\"]}}");
        for (bad, why) in [
            ("{ files = [] }", "at least one"),
            ("{ files = \"a.txt\" }", "a list of files"),
            ("{ files = { paths = [\"a\"], texts = \"b\" } }", "unknown field `texts`"),
            ("{ files = { paths = [\"a\"], paragraphs = 0 } }", "paragraphs"),
        ] {
            let error = source(bad).unwrap_err();
            assert!(error.contains(why), "{bad}: {error}");
        }
    }
}
