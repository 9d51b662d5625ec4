//! Which file of `src/` reads which, from the paths in their code.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Files by their module path, `fit::data::sample`, with what they read.
pub(crate) struct Graph {
    code: BTreeMap<String, String>,
    /// What a module passes on under its own name: (module, name) and where it is from.
    passed_on: BTreeMap<(String, String), String>,
}

/// Source without comments and without its unit tests.
fn code(text: &str) -> String {
    let tests = text
        .match_indices("#[cfg(test)]")
        .find(|(at, _)| text[*at..].lines().nth(1).is_some_and(|line| line.contains("mod ")));
    let text = &text[..tests.map_or(text.len(), |(at, _)| at)];
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<&str>>().join("\n")
}

fn sources(dir: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, out);
        } else if path.extension().is_some_and(|e| e == "rs") {
            out.push(path);
        }
    }
}

/// The module of a file: `mod.rs` is that of its directory.
fn module(src: &Path, file: &Path) -> String {
    let inside = file.strip_prefix(src).unwrap().with_extension("");
    let mut parts: Vec<String> =
        inside.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
    if parts.last().is_some_and(|last| last == "mod") {
        parts.pop();
    }
    parts.join("::")
}

/// `a::{b, c::{d, e}}` as `a::b`, `a::c::d`, `a::c::e`.
fn expanded(tree: &str) -> Vec<String> {
    let tree = tree.split(" as ").next().unwrap().trim();
    let Some(open) = tree.find('{') else {
        return vec![tree.trim_end_matches("::self").to_owned()];
    };
    let inside = tree[open + 1..].trim_end().trim_end_matches('}');
    let (mut depth, mut item, mut items) = (0, String::new(), Vec::new());
    // The brace that closes this one was trimmed, and those of inner groups at its end with it.
    let missing = tree[open..].matches('{').count() - 1 - inside.matches('}').count();
    for c in format!("{inside}{}", "}".repeat(missing)).chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                items.push(std::mem::take(&mut item));
                continue;
            }
            _ => {}
        }
        item.push(c);
    }
    items.push(item);
    let prefix = &tree[..open];
    let whole = |item: &str| expanded(item).into_iter().map(|path| format!("{prefix}{path}"));
    let paths = items.iter().filter(|item| !item.trim().is_empty()).flat_map(|item| whole(item));
    paths.map(|path| path.trim_end_matches("::self").to_owned()).collect()
}

impl Graph {
    pub(crate) fn read() -> Self {
        let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut files = Vec::new();
        sources(&src, &mut files);
        let code: BTreeMap<String, String> = files
            .iter()
            .filter(|file| !file.ends_with("tests.rs"))
            .map(|file| (module(&src, file), code(&fs::read_to_string(file).unwrap())))
            .collect();
        let mut graph = Self { code, passed_on: BTreeMap::new() };
        let modules: Vec<String> = graph.code.keys().cloned().collect();
        for module in modules {
            for (public, path) in graph.uses(&module) {
                let name = path.rsplit("::").next().unwrap_or_default().to_owned();
                if public && name != "*" {
                    graph.passed_on.insert((module.clone(), name), path);
                }
            }
        }
        graph
    }

    /// The paths of the `use` lines of a module, from the root of the crate, and whether they are passed on.
    fn uses(&self, module: &str) -> Vec<(bool, String)> {
        let mut out = Vec::new();
        for statement in self.code[module].split(';') {
            let Some(at) = statement.rfind("use ") else { continue };
            let before = statement[..at].lines().last().unwrap_or_default().trim();
            if !(before.is_empty() || before.starts_with("pub")) {
                continue;
            }
            for path in expanded(&statement[at + 4..]) {
                out.push((before.starts_with("pub"), self.rooted(module, &path)));
            }
        }
        out
    }

    /// A path as the root of the crate sees it; what is of another crate stays as it is.
    fn rooted(&self, module: &str, path: &str) -> String {
        if let Some(rest) = path.strip_prefix("crate::") {
            return rest.to_owned();
        }
        let mut base: Vec<&str> = module.split("::").collect();
        let (mut rest, mut climbed) = (path, false);
        while let Some(inner) = rest.strip_prefix("super::") {
            (rest, climbed) = (inner, true);
            base.pop();
        }
        if let Some(inner) = rest.strip_prefix("self::") {
            (rest, climbed) = (inner, true);
        }
        let first = rest.split("::").next().unwrap_or_default();
        let child = format!("{module}::{first}");
        if climbed || self.code.contains_key(&child) {
            base.push(rest);
            return base.join("::");
        }
        rest.to_owned()
    }

    /// The file that a path from the root leads to, wherever its name is passed on.
    fn file_of(&self, path: &str) -> Option<String> {
        let mut path = path.to_owned();
        for _ in 0..8 {
            let parts: Vec<&str> = path.split("::").collect();
            let next = (1..parts.len()).find_map(|i| {
                let found = self.passed_on.get(&(parts[..i].join("::"), parts[i].to_owned()))?;
                Some([&[found.as_str()], &parts[i + 1..]].concat().join("::"))
            });
            match next {
                Some(next) if next != path => path = next,
                _ => break,
            }
        }
        while !self.code.contains_key(&path) {
            path.truncate(path.rfind("::")?);
        }
        Some(path)
    }

    /// Every module with the others that it reads.
    pub(crate) fn reads(&self) -> BTreeMap<String, BTreeSet<String>> {
        let mut out = BTreeMap::new();
        for (module, code) in &self.code {
            let mut paths: Vec<String> =
                self.uses(module).into_iter().map(|(_, path)| path).collect();
            for (at, _) in code.match_indices("crate::") {
                let path: String = code[at + 7..]
                    .chars()
                    .take_while(|c| c.is_ascii_alphanumeric() || "_:".contains(*c))
                    .collect();
                paths.push(path.trim_end_matches(':').to_owned());
            }
            let files = paths.iter().filter_map(|path| self.file_of(path));
            out.insert(module.clone(), files.filter(|file| file != module).collect());
        }
        out
    }
}

/// The modules that lie on a circle: what is left when all that nobody left reads, or that read nobody left, are gone.
pub(crate) fn circles(
    reads: &BTreeMap<String, BTreeSet<String>>,
) -> BTreeMap<String, BTreeSet<String>> {
    let mut left = reads.clone();
    loop {
        let read: BTreeSet<String> = left.values().flatten().cloned().collect();
        let modules: BTreeSet<String> = left.keys().cloned().collect();
        let before = left.len();
        left.retain(|module, reads| {
            reads.retain(|other| modules.contains(other));
            !reads.is_empty() && read.contains(module)
        });
        if left.len() == before {
            return left;
        }
    }
}
