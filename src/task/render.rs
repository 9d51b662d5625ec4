//! Items of a task as requests: which text is scored after which.

use serde_json::{Map, Value};

use super::spec::{Form, List, TaskSpec, Template};
use crate::error::InputError;

/// Most choices of one item.
const MAX_CHOICES: usize = 1000;

/// A text to score after another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// What the model has read; may be empty.
    pub context: String,
    /// What is scored, with the delimiter before it.
    pub continuation: String,
    /// Length of that without the delimiter [bytes].
    pub bytes: usize,
    /// Length of the choice by which the harness divides: for `contexts` that of the context.
    pub choice: Length,
}

/// Length of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Length {
    /// Unicode scalar values, as Python counts them [characters].
    pub characters: usize,
    /// In UTF-8 [bytes].
    pub bytes: usize,
}

impl Length {
    fn of(text: &str) -> Self {
        Self { characters: text.chars().count(), bytes: text.len() }
    }
}

/// One item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Its line in the file, from 1.
    pub line: usize,
    /// What is scored, one at least.
    pub requests: Vec<Request>,
    /// Which of them is right.
    pub gold: usize,
}

/// The items of a file of JSON lines.
///
/// # Errors
///
/// [`InputError`] with file, line and field.
pub(super) fn items(spec: &TaskSpec, jsonl: &str, file: &str) -> Result<Vec<Item>, InputError> {
    let mut items = Vec::new();
    for (number, line) in jsonl.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let line_number = number + 1;
        let refused = |why: String| {
            let hint = format!(
                "task `{}` makes an item of every line; mend or remove this one",
                spec.name
            );
            InputError::new(format!("{file}:{line_number}: {why}"), hint)
        };
        let fields = fields(line).map_err(refused)?;
        let (requests, gold) = requests(spec, &Fields(&fields)).map_err(refused)?;
        items.push(Item { line: line_number, requests, gold });
    }
    if items.is_empty() {
        let message = format!("`{file}` has no items");
        return Err(InputError::new(message, "want JSON lines, one object an item"));
    }
    Ok(items)
}

fn fields(line: &str) -> Result<Map<String, Value>, String> {
    match serde_json::from_str(line) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(_) => Err("not an object of fields".to_owned()),
        Err(e) => Err(format!("not JSON: {e}")),
    }
}

/// The fields of one item.
struct Fields<'a>(&'a Map<String, Value>);

impl Fields<'_> {
    fn value(&self, name: &str) -> Result<&Value, String> {
        self.0.get(name).ok_or_else(|| {
            let mut known: Vec<&str> = self.0.keys().map(String::as_str).collect();
            known.sort_unstable();
            format!("no field `{name}`; there are {}", known.join(", "))
        })
    }

    fn text(&self, name: &str) -> Result<String, String> {
        text(name, self.value(name)?)
    }

    fn fill(&self, template: &Template) -> Result<String, String> {
        template.fill(|name| self.text(name))
    }

    fn list(&self, list: &List) -> Result<Vec<String>, String> {
        let texts = match list {
            List::Each(templates) => {
                templates.iter().map(|t| self.fill(t)).collect::<Result<Vec<_>, _>>()?
            }
            List::Field(name) => match self.value(name)? {
                Value::Array(values) => {
                    values.iter().map(|v| text(name, v)).collect::<Result<_, _>>()?
                }
                _ => return Err(format!("field `{name}` is no list of texts")),
            },
        };
        if (2..=MAX_CHOICES).contains(&texts.len()) {
            return Ok(texts);
        }
        Err(format!("{} to choose from, want 2 to {MAX_CHOICES}", texts.len()))
    }
}

fn text(name: &str, value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(_) | Value::Bool(_) => Ok(value.to_string()),
        _ => Err(format!("field `{name}` is neither text nor a number")),
    }
}

/// Which of `choices` a gold label names: by its number from 0, or by its text.
fn gold(label: &str, choices: &[String]) -> Result<usize, String> {
    let number = label.trim().parse::<usize>().ok().filter(|n| *n < choices.len());
    number.or_else(|| choices.iter().position(|c| c == label)).ok_or_else(|| {
        format!("gold is {label:?}, want a number below {} or the text of a choice", choices.len())
    })
}

fn requests(spec: &TaskSpec, fields: &Fields<'_>) -> Result<(Vec<Request>, usize), String> {
    let request = |context: &str, continuation: &str, choice: &str| {
        if continuation.is_empty() || choice.is_empty() {
            return Err("an empty text to score".to_owned());
        }
        Ok(Request {
            context: context.to_owned(),
            continuation: format!("{}{continuation}", spec.delimiter),
            bytes: continuation.len(),
            choice: Length::of(choice),
        })
    };
    match &spec.form {
        Form::Choices { context, choices, gold: label } => {
            let (context, choices) = (fields.fill(context)?, fields.list(choices)?);
            let gold = gold(&fields.fill(label)?, &choices)?;
            let requests = choices.iter().map(|c| request(&context, c, c));
            Ok((requests.collect::<Result<_, _>>()?, gold))
        }
        Form::Contexts { contexts, continuation, gold: label } => {
            let (contexts, after) = (fields.list(contexts)?, fields.fill(continuation)?);
            let gold = gold(&fields.fill(label)?, &contexts)?;
            let requests = contexts.iter().map(|c| request(c, &after, c));
            Ok((requests.collect::<Result<_, _>>()?, gold))
        }
        Form::Continuation { context, continuation } => {
            let (context, after) = (fields.fill(context)?, fields.fill(continuation)?);
            Ok((vec![request(&context, &after, &after)?], 0))
        }
        Form::Pairs { good, bad } => {
            let (good, bad) = (fields.fill(good)?, fields.fill(bad)?);
            Ok((vec![request("", &good, &good)?, request("", &bad, &bad)?], 0))
        }
        Form::Text { text } => {
            let text = fields.fill(text)?;
            let request = Request { continuation: text.clone(), ..request("", &text, &text)? };
            Ok((vec![request], 0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Kind, Task};
    use super::*;

    fn task(form: &str, items: &str) -> Result<Task, String> {
        let text = format!("name = \"a\"\nitems = \"a.jsonl\"\n{form}");
        let spec = TaskSpec::parse(&text).map_err(|e| e.render("a.toml", &text))?;
        Task::new(&spec, items, "a.jsonl").map_err(|e| e.message)
    }

    fn texts(task: &Task) -> Vec<(&str, &str)> {
        let all = task.items.iter().flat_map(|item| &item.requests);
        all.map(|r| (r.context.as_str(), r.continuation.as_str())).collect()
    }

    const CHOICES: &str =
        "kind = \"choices\"\ncontext = \"{q}\\nAnswer:\"\nchoices = \"{c}\"\ngold = \"{g}\"";

    #[test]
    fn every_kind_is_rendered_as_the_harness_does() {
        let made = task(CHOICES, "{\"q\": \"1é\", \"c\": [\"é\", 7], \"g\": 1}\n\n").unwrap();
        assert_eq!(texts(&made), [("1é\nAnswer:", " é"), ("1é\nAnswer:", " 7")]);
        let first = &made.items[0].requests[0];
        assert_eq!((first.bytes, first.choice), (2, Length { characters: 1, bytes: 2 }));
        assert_eq!((made.items[0].gold, made.items[0].line, made.chance), (1, 1, Some(0.5)));
        let form = "kind = \"contexts\"\ncontexts = [\"{a} is\", \"{b} is\"]\ncontinuation = \"{s}\"\ngold = \"x is\"";
        let made = task(form, "{\"a\": \"long\", \"b\": \"x\", \"s\": \"big\"}").unwrap();
        assert_eq!(texts(&made), [("long is", " big"), ("x is", " big")]);
        assert_eq!((made.items[0].gold, made.items[0].requests[0].choice.bytes), (1, 7));
        assert_eq!(made.items[0].requests[0].bytes, 3);
        let form =
            "kind = \"continuation\"\ncontext = \"{a}\"\ncontinuation = \"{b}\"\ndelimiter = \"\"";
        let made = task(form, "{\"a\": \"1 + 1 =\", \"b\": \" 2\"}").unwrap();
        assert_eq!((texts(&made), made.chance), (vec![("1 + 1 =", " 2")], Some(0.0)));
        // A blank also where the context is empty.
        let made =
            task("kind = \"pairs\"\ngood = \"{a}\"\nbad = \"{b}\"", "{\"a\": \"x\", \"b\": \"y\"}");
        assert_eq!(texts(&made.unwrap()), [("", " x"), ("", " y")]);
        let made = task("kind = \"text\"\ntext = \"{a}\"", "{\"a\": \"x y\"}").unwrap();
        assert_eq!((texts(&made), made.kind, made.chance), (vec![("", "x y")], Kind::Text, None));
    }

    #[test]
    fn errors_name_file_line_and_field() {
        let good = "{\"q\": \"a\", \"c\": [\"x\", \"y\"], \"g\": 0}";
        for (line, why) in [
            ("{\"q\": \"a\", \"c\": [\"x\", \"y\"]}", "no field `g`; there are c, q"),
            ("{\"q\": null, \"c\": [\"x\", \"y\"], \"g\": 0}", "field `q` is neither"),
            ("{\"q\": \"a\", \"c\": \"xy\", \"g\": 0}", "field `c` is no list"),
            ("{\"q\": \"a\", \"c\": [\"x\"], \"g\": 0}", "1 to choose from"),
            ("{\"q\": \"a\", \"c\": [\"x\", \"\"], \"g\": 0}", "an empty text"),
            ("{\"q\": \"a\", \"c\": [\"x\", \"y\"], \"g\": 2}", "gold is \"2\""),
            ("[1]", "not an object"),
            ("{\"q\": ", "not JSON"),
        ] {
            let error = task(CHOICES, &format!("{good}\n{line}\n")).unwrap_err();
            assert!(error.starts_with("a.jsonl:2: ") && error.contains(why), "{line}: {error}");
        }
        assert!(task(CHOICES, "\n").unwrap_err().contains("no items"));
    }

    #[test]
    fn the_hash_is_of_what_is_scored_and_not_of_how_it_is_written() {
        let sha = |form: &str, items: &str| task(form, items).unwrap().sha256;
        let one = sha(CHOICES, "{\"q\": \"a\", \"c\": [\"x\", \"y\"], \"g\": 0}");
        let same = sha(
            "kind = \"choices\"\ncontext = \"{z}Answer:\"\nchoices = [\"x\", \"{w}\"]\ngold = \"x\"",
            "\n{\"w\": \"y\",  \"z\": \"a\\n\"}",
        );
        assert_eq!(one, same);
        for other in [
            "{\"q\": \"b\", \"c\": [\"x\", \"y\"], \"g\": 0}",
            "{\"q\": \"a\", \"c\": [\"x\", \"y\"], \"g\": 1}",
            "{\"q\": \"a\", \"c\": [\"y\", \"x\"], \"g\": 0}",
        ] {
            assert_ne!(one, sha(CHOICES, other), "{other}");
        }
    }
}
