//! What a task file says, as typed values.

use serde::Deserialize;
use toml::Spanned;

use super::Kind;
pub use super::template::{List, Template};
use crate::error::SpecError;

/// Largest task file that is read [bytes].
pub const MAX_FILE: usize = 1 << 20;
/// Longest name of a task.
const MAX_NAME: usize = 64;

/// A task file, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskSpec {
    /// Name of the task, as tables and `fit --target` say it.
    pub name: String,
    /// The file of its items (JSON lines), relative to the task file.
    pub items: String,
    /// Which texts of an item are scored.
    pub form: Form,
    /// What is put between context and continuation.
    pub delimiter: String,
    /// Accuracy of a guess, where the file says it [0, 1].
    pub chance: Option<f64>,
}

/// Which texts of an item are scored, and which of them is right.
#[derive(Debug, Clone, PartialEq)]
pub enum Form {
    /// Each answer after one context.
    Choices {
        /// Before every answer.
        context: Template,
        /// The answers.
        choices: List,
        /// Number of the right one, from 0, or its text.
        gold: Template,
    },
    /// One continuation after each context.
    Contexts {
        /// The contexts.
        contexts: List,
        /// After every context.
        continuation: Template,
        /// Number of the right context, from 0, or its text.
        gold: Template,
    },
    /// One continuation after one context.
    Continuation {
        /// Before it.
        context: Template,
        /// What is scored.
        continuation: Template,
    },
    /// Two whole sentences.
    Pairs {
        /// What should be likelier.
        good: Template,
        /// Than this.
        bad: Template,
    },
    /// A text from its first token on.
    Text {
        /// The text.
        text: Template,
    },
}

impl Form {
    /// Its kind.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Choices { .. } => Kind::Choices,
            Self::Contexts { .. } => Kind::Contexts,
            Self::Continuation { .. } => Kind::Continuation,
            Self::Pairs { .. } => Kind::Pairs,
            Self::Text { .. } => Kind::Text,
        }
    }
}

/// The file, key by key.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: Spanned<String>,
    kind: Spanned<Kind>,
    items: Spanned<String>,
    context: Option<Spanned<Template>>,
    continuation: Option<Spanned<Template>>,
    choices: Option<Spanned<List>>,
    contexts: Option<Spanned<List>>,
    gold: Option<Spanned<Template>>,
    good: Option<Spanned<Template>>,
    bad: Option<Spanned<Template>>,
    text: Option<Spanned<Template>>,
    delimiter: Option<Spanned<String>>,
    chance: Option<Spanned<f64>>,
}

impl TaskSpec {
    /// Parses and checks a task file.
    ///
    /// # Errors
    ///
    /// [`SpecError`], which points into `text` and says what to try.
    pub fn parse(text: &str) -> Result<Self, SpecError> {
        if text.len() > MAX_FILE {
            return Err(SpecError::TooLong { bytes: text.len(), max: MAX_FILE });
        }
        let file: Written = toml::from_str(text).map_err(|e| SpecError::Syntax(Box::new(e)))?;
        checked(file)
    }
}

/// An error at a key.
fn refused<T>(
    field: &'static str,
    at: &Spanned<T>,
    got: impl Into<String>,
    want: &'static str,
    hint: &'static str,
) -> SpecError {
    SpecError::OutOfRange { field, span: at.span(), got: got.into(), want, hint }
}

fn checked(mut file: Written) -> Result<TaskSpec, SpecError> {
    let name = file.name.get_ref();
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
    let starts = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    if name.len() > MAX_NAME || !starts || !name.chars().all(plain) {
        let want =
            "1 to 64 lower-case letters, digits, `-`, `_` and `.`, the first a letter or digit";
        return Err(refused(
            "name",
            &file.name,
            format!("{name:?}"),
            want,
            "tables have it as a column",
        ));
    }
    if file.items.get_ref().is_empty() {
        let (want, hint) = ("the name of a file", "items = \"items.jsonl\", beside the task file");
        return Err(refused("items", &file.items, "empty", want, hint));
    }
    if let Some(chance) = &file.chance
        && !(0.0..1.0).contains(chance.get_ref())
    {
        let hint = "the accuracy of a guess: 0.25 with four choices; left out, it is counted from the items";
        let got = chance.get_ref().to_string();
        return Err(refused("chance", chance, got, "a number from 0 to below 1", hint));
    }
    let form = form(&mut file)?;
    let delimiter = file.delimiter.map_or_else(|| " ".to_owned(), Spanned::into_inner);
    let (name, items) = (file.name.into_inner(), file.items.into_inner());
    let chance = file.chance.map(Spanned::into_inner);
    Ok(TaskSpec { name, items, form, delimiter, chance })
}

/// The templates of its kind, and no others.
fn form(file: &mut Written) -> Result<Form, SpecError> {
    let kind = file.kind.clone();
    let form = match kind.get_ref() {
        Kind::Choices => Form::Choices {
            context: needed("context", file.context.take(), &kind)?,
            choices: needed("choices", file.choices.take(), &kind)?,
            gold: needed("gold", file.gold.take(), &kind)?,
        },
        Kind::Contexts => Form::Contexts {
            contexts: needed("contexts", file.contexts.take(), &kind)?,
            continuation: needed("continuation", file.continuation.take(), &kind)?,
            gold: needed("gold", file.gold.take(), &kind)?,
        },
        Kind::Continuation => Form::Continuation {
            context: needed("context", file.context.take(), &kind)?,
            continuation: needed("continuation", file.continuation.take(), &kind)?,
        },
        Kind::Pairs => Form::Pairs {
            good: needed("good", file.good.take(), &kind)?,
            bad: needed("bad", file.bad.take(), &kind)?,
        },
        Kind::Text => Form::Text { text: needed("text", file.text.take(), &kind)? },
    };
    unused("context", file.context.as_ref())?;
    unused("continuation", file.continuation.as_ref())?;
    unused("choices", file.choices.as_ref())?;
    unused("contexts", file.contexts.as_ref())?;
    unused("gold", file.gold.as_ref())?;
    unused("good", file.good.as_ref())?;
    unused("bad", file.bad.as_ref())?;
    unused("text", file.text.as_ref())?;
    if *kind.get_ref() == Kind::Text {
        unused("delimiter", file.delimiter.as_ref())?;
        unused("chance", file.chance.as_ref())?;
    }
    Ok(form)
}

/// What each kind is written with.
const KEYS: &str = "choices: context, choices, gold; contexts: contexts, continuation, gold; continuation: context, \
     continuation; pairs: good, bad; text: text";

fn needed<T>(
    field: &'static str,
    value: Option<Spanned<T>>,
    kind: &Spanned<Kind>,
) -> Result<T, SpecError> {
    let missing = || refused(field, kind, "missing", "a template for a task of this kind", KEYS);
    value.map(Spanned::into_inner).ok_or_else(missing)
}

fn unused<T>(field: &'static str, value: Option<&Spanned<T>>) -> Result<(), SpecError> {
    let given = |at| refused(field, at, "given", "no such key for a task of this kind", KEYS);
    value.map_or(Ok(()), |at| Err(given(at)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_names_the_key_and_its_line() {
        let parse = |text: &str| {
            TaskSpec::parse(text).map_err(|e| e.render("a.toml", text)).map(|spec| spec.form.kind())
        };
        let pairs =
            "name = \"a\"\nkind = \"pairs\"\nitems = \"a.jsonl\"\ngood = \"{g}\"\nbad = \"{b}\"\n";
        assert_eq!(parse(pairs), Ok(Kind::Pairs));
        for (text, why) in [
            (format!("{pairs}chioces = \"x\"\n"), "unknown field `chioces`, expected one of"),
            (pairs.replace("bad =", "text ="), "`bad` is missing"),
            (format!("{pairs}text = \"{{t}}\"\n"), "`text` is given"),
            (pairs.replace("pairs", "pair"), "unknown variant `pair`"),
            (pairs.replace("{g}", "{g"), "no {field}"),
            (format!("{pairs}chance = 1.5\n"), "`chance` is 1.5"),
            (pairs.replace("\"a\"", "\"A b\""), "`name` is \"A b\""),
            (pairs.replace("a.jsonl", ""), "`items` is empty"),
            (
                pairs.replace("pairs", "text").replace("good = \"{g}\"\nbad", "text")
                    + "delimiter = \"\"\n",
                "`delimiter` is given",
            ),
        ] {
            let error = parse(&text).unwrap_err();
            assert!(error.contains(why) && error.contains('^'), "{text}: {error}");
        }
        let choices =
            "name = \"a\"\nkind = \"choices\"\nitems = \"a\"\ncontext = \"\"\ngold = \"0\"\n";
        assert_eq!(parse(&format!("{choices}choices = \"{{c}}\"")), Ok(Kind::Choices));
        assert_eq!(parse(&format!("{choices}choices = [\"{{a}}\", \"no\"]")), Ok(Kind::Choices));
        let error = parse(&format!("{choices}choices = \"{{c}}.\"")).unwrap_err();
        assert!(error.contains("a field that is a list"), "{error}");
    }
}
