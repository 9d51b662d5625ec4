//! From names to files: what is named, what folders hold, what patterns match.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use super::{Found, Kind, Packing, ReadError};
use crate::error::{FileError, InputError};
use crate::fs::{Disk as _, Os};

/// Most files that are taken.
const MAX_FILES: usize = 1_000_000;
/// Deepest folder that is looked into.
const MAX_DEPTH: usize = 64;
/// Most names that `{a,b}` stand for.
const MAX_NAMES: usize = 10_000;
/// Examples of what was left out, of each kind.
const EXAMPLES: usize = 3;

/// The files that were found, sorted by path, and what was left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// What is read.
    pub files: Vec<Found>,
    /// What folders and patterns hold besides, by what it is: an ending such as `.pdf`, `hidden`, `links to folders`.
    pub left_out: BTreeMap<String, LeftOut>,
}

/// What was left out of one kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// How many.
    pub count: u64,
    /// The first few of them.
    pub examples: Vec<PathBuf>,
}

/// Finds what names stand for: files, folders with all in them, and patterns (`*`, `?`, `[a-z]`, `**`, `{a,b}`).
/// Relative names are looked for from `base`.
///
/// A file that is named, or matched by a pattern that says its ending, is taken as its ending says, and as text where
/// it says nothing. Of folders, and of patterns without an ending, the endings that are known are taken: `.txt`,
/// `.md`, `.rst`, `.jsonl`, `.ndjson`, `.json` (each also under `.gz` and `.zst`) and `.parquet`. The order depends
/// on paths alone.
///
/// # Errors
///
/// [`ReadError`]: a name that stands for nothing, a folder without a file that is known, a file that is none.
pub fn find(names: &[String], base: &Path) -> Result<Listing, ReadError> {
    let mut search = Search::default();
    for name in names {
        let before = (search.files.len(), search.left_out.len());
        let path = under(base, name);
        if std::fs::symlink_metadata(&path).is_ok() {
            search.named(&path)?;
        } else {
            let patterns = braces(name)?;
            if patterns.len() == 1 && !name.contains(['*', '?', '[']) {
                return Err(InputError::new(
                    format!("`{}` is not there", path.display()),
                    "check the path; paths begin at the directory of the file that names them",
                )
                .into());
            }
            for pattern in patterns {
                search.matched(base, name, &pattern)?;
            }
        }
        let taken = search.files.len() > before.0 || search.again;
        search.again = false;
        if !taken {
            return Err(search.nothing(name).into());
        }
    }
    let files = search.files.into_iter().map(|(path, (kind, packing))| {
        let length = std::fs::metadata(&path).map_err(FileError::new("read", &path))?.len();
        Ok(Found { path, bytes: length, kind, packing })
    });
    let files = files.collect::<Result<Vec<_>, FileError>>()?;
    Ok(Listing { files, left_out: search.left_out })
}

/// A name as a path from `base`, without `.` in it.
fn under(base: &Path, name: impl AsRef<Path>) -> PathBuf {
    let path = base.join(name);
    let plain: PathBuf = path.components().filter(|c| *c != Component::CurDir).collect();
    if plain.as_os_str().is_empty() { PathBuf::from(".") } else { plain }
}

#[derive(Default)]
struct Search {
    files: BTreeMap<PathBuf, (Kind, Packing)>,
    left_out: BTreeMap<String, LeftOut>,
    /// Whether a file was found that was there already.
    again: bool,
}

impl Search {
    /// What a person named, or a pattern that says an ending.
    fn named(&mut self, path: &Path) -> Result<(), ReadError> {
        if Os.is_dir(path) {
            return self.folder(path, 0);
        }
        match of_name(path) {
            Ending::Known(kind, packing) => self.take(path, kind, packing),
            Ending::Unknown(packing) => self.take(path, Kind::Text, packing),
            Ending::Foreign(what, hint) => Err(InputError::new(
                format!("`{}` is {what}, which is not read", path.display()),
                hint,
            )
            .into()),
        }
    }

    /// A file that a folder holds, or a pattern without an ending matches.
    fn met(&mut self, path: &Path) -> Result<(), ReadError> {
        if let Ending::Known(kind, packing) = of_name(path) {
            return self.take(path, kind, packing);
        }
        let ending = path.extension().map(|e| format!(".{}", e.to_string_lossy()));
        self.leave(ending.unwrap_or_else(|| "no ending".to_owned()), path);
        Ok(())
    }

    fn take(&mut self, path: &Path, kind: Kind, packing: Packing) -> Result<(), ReadError> {
        self.again |= self.files.insert(path.to_owned(), (kind, packing)).is_some();
        if self.files.len() > MAX_FILES {
            return Err(InputError::new(
                format!("more than {MAX_FILES} files are named"),
                "join small files: JSON lines hold a document a line",
            )
            .into());
        }
        Ok(())
    }

    fn leave(&mut self, what: String, path: &Path) {
        let left = self.left_out.entry(what).or_default();
        if !left.examples.iter().any(|p| p == path) {
            left.count += 1;
            if left.examples.len() < EXAMPLES {
                left.examples.push(path.to_owned());
            }
        }
    }

    fn folder(&mut self, dir: &Path, depth: usize) -> Result<(), ReadError> {
        if depth > MAX_DEPTH {
            self.leave(format!("folders deeper than {MAX_DEPTH}"), dir);
            return Ok(());
        }
        for path in Os.list(dir).map_err(FileError::new("read", dir))? {
            let path = under(Path::new(""), &path);
            let hidden =
                path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
            let link = std::fs::symlink_metadata(&path).is_ok_and(|m| m.is_symlink());
            let kind = std::fs::metadata(&path);
            match kind {
                _ if hidden => self.leave("hidden".to_owned(), &path),
                Ok(kind) if kind.is_dir() && link => {
                    self.leave("links to folders".to_owned(), &path);
                }
                Ok(kind) if kind.is_dir() => self.folder(&path, depth + 1)?,
                Ok(kind) if kind.is_file() => self.met(&path)?,
                _ => self.leave("no regular file".to_owned(), &path),
            }
        }
        Ok(())
    }

    fn matched(&mut self, base: &Path, name: &str, pattern: &str) -> Result<(), ReadError> {
        let wrong = |why: &dyn std::fmt::Display| {
            InputError::new(
                format!("`{name}` is no pattern that can be read: {why}"),
                "`*` and `?` match within a name, `[a-z]` one of some characters, `**` folders, `{a,b}` either",
            )
        };
        let full = if Path::new(pattern).is_absolute() {
            pattern.to_owned()
        } else {
            let base = glob::Pattern::escape(&base.to_string_lossy());
            Path::new(&base).join(pattern).to_string_lossy().into_owned()
        };
        let options = glob::MatchOptions {
            case_sensitive: true,
            require_literal_separator: true,
            require_literal_leading_dot: true,
        };
        let ending = Path::new(pattern).extension().map(|e| e.to_string_lossy().into_owned());
        let says = ending.is_some_and(|e| !e.contains(['*', '?', '[', ']']));
        for path in glob::glob_with(&full, options).map_err(|e| wrong(&e))? {
            let path = path.map_err(|e| {
                let path = e.path().to_owned();
                FileError::new("read", path)(e.into())
            })?;
            let path = under(Path::new(""), &path);
            match std::fs::metadata(&path) {
                Ok(kind) if kind.is_dir() => {
                    // `**` also matches the folders whose files it matches.
                    if !pattern.contains("**") {
                        self.folder(&path, 1)?;
                    }
                }
                Ok(kind) if kind.is_file() && says => self.named(&path)?,
                Ok(kind) if kind.is_file() => self.met(&path)?,
                _ => self.leave("no regular file".to_owned(), &path),
            }
        }
        Ok(())
    }

    /// Why a name stands for no file.
    fn nothing(&self, name: &str) -> InputError {
        let left: Vec<String> =
            self.left_out.iter().map(|(what, left)| format!("{} {what}", left.count)).collect();
        let besides = if left.is_empty() {
            String::new()
        } else {
            format!(" (left out: {})", left.join(", "))
        };
        InputError::new(
            format!("`{name}` holds no file that is read{besides}"),
            "of folders .txt, .md, .rst, .jsonl, .ndjson and .json (also .gz and .zst) and .parquet are read; a file that is named is read whatever its ending: `files = [\"notes/*.tex\"]`",
        )
    }
}

/// What the name of a file says.
enum Ending {
    Known(Kind, Packing),
    Unknown(Packing),
    Foreign(&'static str, &'static str),
}

fn of_name(path: &Path) -> Ending {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let (inner, packing) = match name.rsplit_once('.') {
        Some((inner, "gz")) => (inner, Packing::Gzip),
        Some((inner, "zst")) => (inner, Packing::Zstd),
        _ => (name.as_str(), Packing::Plain),
    };
    match (inner.rsplit_once('.').map(|(_, ending)| ending), packing) {
        (Some("txt" | "md" | "rst"), _) => Ending::Known(Kind::Text, packing),
        (Some("jsonl" | "ndjson" | "json"), _) => Ending::Known(Kind::Jsonl, packing),
        (Some("parquet"), Packing::Plain) => Ending::Known(Kind::Parquet, packing),
        (Some("parquet"), _) => {
            Ending::Foreign("a Parquet file packed once more", "unpack it first")
        }
        (Some("tar" | "tgz" | "zip"), _) => {
            Ending::Foreign("an archive", "unpack it into a folder, and name the folder")
        }
        (Some("bz2" | "xz" | "lz4"), _) => Ending::Foreign(
            "packed in a way other than gzip and Zstandard",
            "unpack it, or pack it anew with gzip or zstd",
        ),
        _ => Ending::Unknown(packing),
    }
}

/// A name with each of its `{a,b}` replaced by either.
fn braces(name: &str) -> Result<BTreeSet<String>, InputError> {
    let mut done = BTreeSet::new();
    let mut open = vec![name.to_owned()];
    while let Some(name) = open.pop() {
        let found = name.find('{').and_then(|from| {
            let to = from + name[from..].find('}')?;
            name[from..to].contains(',').then_some((from, to))
        });
        match found {
            None => drop(done.insert(name)),
            Some((from, to)) => open.extend(
                name[from + 1..to]
                    .split(',')
                    .map(|one| format!("{}{one}{}", &name[..from], &name[to + 1..])),
            ),
        }
        if done.len() + open.len() > MAX_NAMES {
            return Err(InputError::new(
                format!("`{{..}}` stand for more than {MAX_NAMES} names"),
                "use `*`",
            ));
        }
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with files of these names, each holding its name.
    fn folder(names: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for name in names {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, name).unwrap();
        }
        dir
    }

    fn found(dir: &Path, names: &[&str]) -> Result<(Vec<String>, Listing), String> {
        let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
        let listing = find(&names, dir).map_err(|e| e.to_string())?;
        let inside = |f: &Found| f.path.strip_prefix(dir).unwrap().to_str().unwrap().to_owned();
        Ok((listing.files.iter().map(inside).collect(), listing))
    }

    #[test]
    fn a_folder_gives_what_is_known_in_order_and_names_the_rest() {
        let names = ["b/2.txt", "a.JSONL", "b/1.md.gz", "c.parquet", "d.pdf", "e.pdf", "noend"];
        let mut reversed = names;
        reversed.reverse();
        let hidden = [".git/config", "b/.cache.txt"];
        for names in [names, reversed] {
            let dir = folder(&[&names[..], &hidden].concat());
            std::os::unix::fs::symlink(dir.path(), dir.path().join("loop")).unwrap();
            let (files, listing) = found(dir.path(), &["."]).unwrap();
            assert_eq!(files, ["a.JSONL", "b/1.md.gz", "b/2.txt", "c.parquet"]);
            let kinds: Vec<_> = listing.files.iter().map(|f| (f.kind, f.packing)).collect();
            let (text, plain) = (Kind::Text, Packing::Plain);
            let want = [(Kind::Jsonl, plain), (text, Packing::Gzip), (text, plain)];
            assert_eq!(kinds[..3], want);
            assert_eq!((kinds[3], listing.files[2].bytes), ((Kind::Parquet, plain), 7));
            let left: Vec<_> =
                listing.left_out.iter().map(|(what, left)| (what.as_str(), left.count)).collect();
            assert_eq!(
                left,
                [(".pdf", 2), ("hidden", 2), ("links to folders", 1), ("no ending", 1)]
            );
        }
    }

    #[test]
    fn patterns_match_as_a_shell_would_and_say_what_is_named() {
        let dir =
            folder(&["a/x.tex", "a/y.txt", "b/en.jsonl", "b/fr.jsonl", "b/de.jsonl", "b/[1].txt"]);
        let of = |names: &[&str]| found(dir.path(), names).unwrap().0;
        assert_eq!(of(&["**/*.tex"]), ["a/x.tex"]);
        assert_eq!(of(&["a/*"]), ["a/y.txt"]);
        assert_eq!(of(&["*"]).len(), 5);
        assert_eq!(of(&["b/{en,fr}.jsonl"]), ["b/en.jsonl", "b/fr.jsonl"]);
        assert_eq!(of(&["b/[1].txt"]), ["b/[1].txt"]);
        assert_eq!(of(&["b/??.jsonl", "b/en.jsonl", "./b/en.jsonl"]).len(), 3);
        // What is named is read whatever its ending.
        assert_eq!(of(&["a/x.tex", "a"]), ["a/x.tex", "a/y.txt"]);
        let full = dir.path().join("a/*.t?t");
        assert_eq!(of(&[full.to_str().unwrap()]), ["a/y.txt"]);
    }

    #[test]
    fn what_stands_for_nothing_is_an_error() {
        let dir = folder(&["a/x.tex", "a/t.tar.gz", "b/p.parquet.gz"]);
        let error = |name: &str| found(dir.path(), &[name]).unwrap_err();
        assert!(error("none.txt").contains("is not there"), "{}", error("none.txt"));
        assert!(
            error("a").contains("no file that is read (left out: 1 .gz, 1 .tex)"),
            "{}",
            error("a")
        );
        assert!(error("*.txt").contains("`*.txt` holds no file"));
        assert!(error("a/t.tar.gz").contains("archive"));
        assert!(error("b/p.parquet.gz").contains("packed once more"));
        assert!(error("a/[").contains("cannot read") || error("a/[").contains("no pattern"));
        let many = "{a,b}".repeat(20);
        assert!(error(&many).contains("10000 names"));
    }
}
