//! The text of a sweep file, whole: with all of the file that it extends, and that one's, but what it says otherwise.
//!
//! Keys of the extending file replace; tables merge, but where a table is one choice of several ([`CHOICES`]) another choice
//! replaces it. What is made of it is written as one file, and an error in it is told where its key stands.

use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};
use toml::{Table, Value};

use super::Failure;
use crate::error::{FileError, InputError, SpecError, exit};
use crate::fs::{Disk as _, Os};
use crate::spec::MAX_FILE;

/// Names the file that another one extends.
const EXTENDS: &str = "extends";
/// Most files that extend each other.
const MAX_CHAIN: usize = 16;
/// Tables that are one choice of several.
const CHOICES: [&str; 5] = ["data.source", "data.tokenizer", "data.held_out", "grid", "schedule"];
/// Lists of names that begin at the directory of their file.
const NAMES: [&str; 6] = [
    "data.source.files",
    "data.source.files.paths",
    "data.source.dataset",
    "data.held_out.files",
    "data.held_out.files.paths",
    "eval.tasks",
];

/// Where a file lies, and its text.
type File = (PathBuf, String);

/// A sweep file and what it extends.
pub(super) struct Whole {
    /// As one file.
    pub(super) text: String,
    /// The files, the extending one first.
    files: Vec<(PathBuf, String)>,
}

/// The text of a sweep file.
fn text(path: &Path) -> Result<String, Failure> {
    let bytes = match Os.read(path, MAX_FILE as u64) {
        Err(e) if e.kind() == std::io::ErrorKind::FileTooLarge => {
            let message =
                format!("`{}` has more than the {MAX_FILE} bytes that are read", path.display());
            return Err(InputError::new(message, "a sweep file holds a grid, not data").into());
        }
        bytes => bytes.map_err(FileError::new("read", path))?,
    };
    let text = String::from_utf8(bytes).map_err(|e| {
        let message = format!("`{}` is not UTF-8 text: {}", path.display(), e.utf8_error());
        InputError::new(message, "save it as UTF-8")
    })?;
    Ok(text)
}

/// Reads a sweep file and all that it extends.
///
/// # Errors
///
/// [`Failure`]: a file that cannot be read, a circle, a base that is no TOML, no name of its own.
pub(super) fn read(path: &Path) -> Result<Whole, Failure> {
    let text = text(path)?;
    // What is no TOML is refused where it is read as a sweep.
    let table: Table = text.parse().unwrap_or_default();
    let files = vec![(path.to_owned(), text.clone())];
    if !table.contains_key(EXTENDS) {
        return Ok(Whole { text, files });
    }
    if !table.contains_key("name") {
        return Err(InputError::new(
            format!("`{}` extends another sweep file and has no `name` of its own", path.display()),
            "give it one: its results lie in results/NAME, and those of the other in another place",
        )
        .into());
    }
    let mut chain = Chain { files, tables: vec![table] };
    while let Some((base, table)) = chain.next()? {
        chain.files.push(base);
        chain.tables.push(table);
    }
    Ok(chain.whole())
}

/// Files that extend each other, the first one first.
struct Chain {
    files: Vec<(PathBuf, String)>,
    tables: Vec<Table>,
}

impl Chain {
    /// The file that the last one extends.
    fn next(&mut self) -> Result<Option<(File, Table)>, Failure> {
        let (Some((path, _)), Some(table)) = (self.files.last(), self.tables.last_mut()) else {
            return Ok(None);
        };
        let refused = |what: String, hint: &str| {
            let message = format!("`{}`: {what}", path.display());
            Err(InputError::new(message, hint).into())
        };
        let name = match table.remove(EXTENDS) {
            None => return Ok(None),
            Some(Value::String(name)) => name,
            Some(other) => {
                let what = format!("`{EXTENDS}` is {other}, want the name of a sweep file");
                return refused(what, "extends = \"base.toml\"");
            }
        };
        let base = path.parent().unwrap_or(Path::new("")).join(&name);
        let real = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        if self.files.iter().any(|(known, _)| real(known) == real(&base)) {
            let what = format!("`{EXTENDS} = \"{name}\"` closes a circle");
            return refused(what, "a file extends one that does not extend it");
        }
        if self.files.len() >= MAX_CHAIN {
            let what = format!("more than {MAX_CHAIN} files extend each other");
            return refused(what, "write some of them as one");
        }
        let text = text(&base)?;
        let table: Table = toml::from_str(&text).map_err(|e| syntax(e, &base, &text))?;
        let table = moved(table, Path::new(&name).parent().unwrap_or(Path::new("")));
        Ok(Some(((base, text), table)))
    }

    fn whole(self) -> Whole {
        let names: Vec<String> =
            self.files.iter().map(|(path, _)| path.display().to_string()).collect();
        let whole = self.tables.into_iter().rev().reduce(|base, over| merged(base, over, ""));
        let text = format!(
            "# {}\n\n{}",
            names.join(", which extends ").replace('\n', " "),
            whole.unwrap_or_default()
        );
        Whole { text, files: self.files }
    }
}

fn syntax(error: toml::de::Error, path: &Path, text: &str) -> Failure {
    let error = SpecError::Syntax(Box::new(error));
    let message = error.render(&path.display().to_string(), text).trim_end().to_owned();
    Failure { message, code: exit::INPUT }
}

/// A table with what another one says over it; `at` is their place in the file.
fn merged(mut base: Table, over: Table, at: &str) -> Table {
    for (key, value) in over {
        let at = if at.is_empty() { key.clone() } else { format!("{at}.{key}") };
        let value = match (base.remove(&key), value) {
            (Some(Value::Table(base)), Value::Table(over))
                if !CHOICES.contains(&at.as_str())
                    || over.keys().all(|key| base.contains_key(key)) =>
            {
                Value::Table(merged(base, over, &at))
            }
            (_, value) => value,
        };
        base.insert(key, value);
    }
    base
}

/// A table whose names of files begin at another directory, from which its own is `dir`.
fn moved(mut table: Table, dir: &Path) -> Table {
    let from = |name: &mut Value| {
        if let Value::String(name) = name {
            *name = dir.join(&*name).to_string_lossy().into_owned();
        }
    };
    for place in NAMES {
        let mut keys = place.split('.');
        let first = keys.next().and_then(|key| table.get_mut(key));
        match keys.try_fold(first, |value, key| Some(value?.get_mut(key))).flatten() {
            Some(Value::Array(names)) => names.iter_mut().for_each(from),
            Some(name) => from(name),
            None => {}
        }
    }
    table
}

impl Whole {
    /// An error as a person reads it: in the file that holds the key.
    pub(super) fn told(&self, error: SpecError) -> String {
        let [(path, _)] = self.files.as_slice() else { return self.told_of_many(error) };
        error.render(&path.display().to_string(), &self.text).trim_end().to_owned()
    }

    fn told_of_many(&self, mut error: SpecError) -> String {
        let first = self.files[0].0.display().to_string();
        let place = match &error {
            SpecError::OutOfRange { span, .. } | SpecError::GridSize { span, .. } => span.clone(),
            SpecError::Syntax(e) => e.span().unwrap_or_default(),
            SpecError::TooLong { .. } => 0..0,
        };
        let keys = keys_at(&self.text, place.start).filter(|_| !place.is_empty());
        let found = keys.and_then(|keys| {
            let held = self
                .files
                .iter()
                .find_map(|(path, text)| value_of(text, &keys).map(|span| (path, text, span)));
            held.map(|held| (keys.join("."), held))
        });
        let Some((key, (path, text, at))) = found else {
            let files: Vec<String> =
                self.files[1..].iter().map(|(path, _)| path.display().to_string()).collect();
            let name = format!("{first} (with {})", files.join(", "));
            return error.render(&name, &self.text).trim_end().to_owned();
        };
        let path = path.display();
        match &mut error {
            SpecError::OutOfRange { span, .. } | SpecError::GridSize { span, .. } => {
                *span = at;
                error.render(&path.to_string(), text).trim_end().to_owned()
            }
            SpecError::Syntax(e) => {
                let line = text[..at.start].matches('\n').count() + 1;
                let hint = "hint: docs/FORMATS.md lists every key; sweeps/quickstart.toml is a commented example";
                format!("{path}:{line}: `{key}`: {}\n{hint}", e.message())
            }
            SpecError::TooLong { .. } => error.render(&path.to_string(), text),
        }
    }
}

/// The path of the deepest key whose name or value is at a place of a text.
fn keys_at(text: &str, place: usize) -> Option<Vec<String>> {
    fn walk(table: &DeTable<'_>, place: usize) -> Option<Vec<String>> {
        table.iter().find_map(|(key, value)| {
            let name = key.get_ref().to_string();
            let inner = match value.get_ref() {
                DeValue::Table(table) => walk(table, place),
                _ => None,
            };
            let here = || {
                let on = key.span().contains(&place) || value.span().contains(&place);
                on.then(Vec::new)
            };
            inner.or_else(here).map(|rest| [vec![name], rest].concat())
        })
    }
    walk(DeTable::parse(text).ok()?.get_ref(), place)
}

/// Where the value of a key stands in a text.
fn value_of(text: &str, keys: &[String]) -> Option<std::ops::Range<usize>> {
    let root = DeTable::parse(text).ok()?;
    let (first, rest) = keys.split_first()?;
    let mut value = root.get_ref().get(first.as_str())?;
    for key in rest {
        value = value.get_ref().as_table()?.get(key.as_str())?;
    }
    Some(value.span())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Source, Spec};

    const BASE: &str = "name = \"base\"\n\n[data]\nsource = { files = [\"a.txt\", \"/b.txt\"] }\n\n[grid.product]\nparams = [1e4]\ntokens = [1e5]\n\n[optim]\nlearning_rate = 0.01\nbatch_tokens = 1024\n\n[schedule.cosine]\nwarmup = 0.1\nend = 0.0\n";

    /// A folder with `base/base.toml` and `over.toml`, read.
    fn over(base: &str, over: &str) -> Result<(Whole, Spec), String> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("base")).unwrap();
        std::fs::write(dir.path().join("base/base.toml"), base).unwrap();
        let path = dir.path().join("over.toml");
        std::fs::write(&path, over).unwrap();
        let whole = read(&path).map_err(|failure| failure.message)?;
        let spec = Spec::parse(&whole.text).map_err(|e| whole.told(e))?;
        Ok((whole, spec))
    }

    #[test]
    fn keys_replace_tables_merge_and_choices_are_one() {
        let text = "extends = \"base/base.toml\"\nname = \"over\"\n[optim]\nlearning_rate = 0.02\n[schedule.wsd]\nwarmup = 0.1\ndecay = 0.2\nend = 0.0\n";
        let (whole, spec) = over(BASE, text).unwrap();
        assert_eq!(spec.name.get_ref(), "over");
        assert_eq!(spec.optim.learning_rate.get_ref().at(1.0, 1.0), 0.02);
        assert_eq!(spec.optim.batch_tokens.get_ref().at(1.0, 1.0), 1024.0);
        assert!(!whole.text.contains("cosine") && !whole.text.contains("\nextends"));
        let Source::Files(files) = spec.data.source.get_ref() else { panic!() };
        assert_eq!(files.paths, ["base/a.txt", "/b.txt"]);
        // What was made of it is a sweep file of its own.
        assert_eq!(Spec::parse(&whole.text).unwrap().name.get_ref(), "over");
    }

    #[test]
    fn a_file_that_extends_nothing_is_left_as_it_is() {
        let (whole, _) = over("", BASE).unwrap();
        assert_eq!(whole.text, BASE);
    }

    #[test]
    fn errors_name_the_file_that_holds_the_key() {
        let text = "extends = \"base/base.toml\"\nname = \"over\"\n";
        let error = |base: &str, more: &str| over(base, &format!("{text}{more}")).err().unwrap();
        let bad = error(&BASE.replace("0.01", "-0.01"), "");
        assert!(bad.contains("base.toml:11:") && bad.contains("learning_rate = -0.01"), "{bad}");
        let bad = error(BASE, "[optim]\nlearning_rate = -1.0\n");
        assert!(bad.contains("over.toml:4:") && bad.contains("learning_rate = -1.0"), "{bad}");
        let bad = error(&BASE.replace("warmup", "warm_up"), "");
        assert!(bad.contains("base.toml:15: ") && bad.contains("warm_up"), "{bad}");
        let bad = error(BASE, "[optim]\nrate = 1.0\n");
        assert!(bad.contains("over.toml:4: ") && bad.contains("unknown field `rate`"), "{bad}");
        let bad = error(&BASE.replace("[grid.product]", "[grid"), "");
        assert!(bad.contains("base.toml: TOML parse error at line 6"), "{bad}");
        let bad = error(&BASE.replace("[data]", "[datum]"), "");
        assert!(bad.contains("base.toml"), "{bad}");
    }

    #[test]
    fn circles_and_files_without_a_name_are_refused() {
        let error = |base: &str, text: &str| over(base, text).err().unwrap();
        let named = "extends = \"base/base.toml\"\nname = \"a\"\n";
        let circle = error("extends = \"../over.toml\"", named);
        assert!(
            circle.contains("base.toml`: `extends = \"../over.toml\"` closes a circle"),
            "{circle}"
        );
        assert!(error("", "extends = \"over.toml\"\nname = \"a\"").contains("circle"));
        assert!(error(BASE, "extends = \"base/base.toml\"").contains("no `name` of its own"));
        assert!(error(BASE, "extends = 7\nname = \"a\"").contains("want the name of a sweep file"));
        assert!(error(BASE, "extends = \"none.toml\"\nname = \"a\"").contains("none.toml"));
    }
}
