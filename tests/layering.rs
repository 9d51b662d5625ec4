//! Data flows one way: a module imports only from its left, and no files read each other in a circle. And what one has
//! to hold in the head at once stays small.

#[path = "layering/graph.rs"]
mod graph;
#[path = "layering/size.rs"]
mod size;

use std::fs;
use std::path::{Path, PathBuf};

/// The words of the lines of a list in a module's documentation, but for the name of each line.
fn listed(file: &str) -> Vec<String> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
    let list = text.split("# Layers").nth(1).and_then(|rest| rest.split("```").nth(1)).unwrap();
    let lines = list.lines().filter_map(|line| line.strip_prefix("//! "));
    lines.flat_map(|line| line.split_whitespace().skip(1)).map(str::to_owned).collect()
}

/// May not touch a disk, a clock, the environment or a device.
const PURE: [&str; 19] = [
    "health",
    "spec",
    "shape",
    "plan",
    "corpus",
    "hf",
    "fit",
    "predict",
    "compare",
    "forecast",
    "backtest",
    "selftest",
    "tune",
    "describe",
    "figure",
    "report",
    "points",
    "covariates",
    "task",
];

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

/// (module, path, source without its tests) of every file.
fn modules() -> Vec<(String, PathBuf, String)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    files
        .into_iter()
        .filter(|path| !path.ends_with("tests.rs"))
        .map(|path| {
            let inside = path.strip_prefix(&src).unwrap();
            let first = inside.iter().next().unwrap().to_str().unwrap();
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
            // An example in a comment is a program of its own.
            let code = code.lines().filter(|line| !line.trim_start().starts_with("//"));
            let code = code.collect::<Vec<&str>>().join("\n");
            (first.trim_end_matches(".rs").to_owned(), path, code)
        })
        .collect()
}

/// Places of modules in the list of `lib.rs`.
struct Order(Vec<String>);

impl Order {
    fn read() -> Self {
        let order = listed("src/lib.rs");
        assert!(order.len() > 30, "{order:?}");
        Self(order)
    }

    fn has(&self, module: &str) -> bool {
        self.0.iter().any(|m| m == module)
    }

    fn place(&self, module: &str) -> usize {
        let place = self.0.iter().position(|m| m == module);
        place.unwrap_or_else(|| panic!("{module} has no place in src/lib.rs"))
    }
}

#[test]
fn a_module_imports_only_from_its_left() {
    let order = Order::read();
    let mut checked = 0;
    for (module, path, code) in modules() {
        for (i, _) in code.match_indices("crate::") {
            // `crate::{a, b}` is not used here: one module a line.
            let name: String = code[i + 7..]
                .chars()
                .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
                .collect();
            if name != module && order.has(&name) {
                assert!(
                    order.place(&name) < order.place(&module),
                    "{}: {module} must not read {name}",
                    path.display()
                );
                checked += 1;
            }
        }
    }
    assert!(checked > 80, "imports were found: {checked}");
}

/// A `mod.rs` and its own files are one room: what it defines for them they may read.
#[test]
fn no_files_read_each_other_in_a_circle() {
    let mut reads = graph::Graph::read().reads();
    let count: usize = reads.values().map(std::collections::BTreeSet::len).sum();
    assert!(reads.len() > 200 && count > 800, "{} files, {count} reads", reads.len());
    for (module, reads) in &mut reads {
        reads.retain(|other| !module.starts_with(&format!("{other}::")));
    }
    let circles = graph::circles(&reads);
    assert!(circles.is_empty(), "{circles:#?}");
}

#[test]
fn the_rooms_of_fit_read_only_from_their_left() {
    let order = listed("src/fit/mod.rs");
    let place = |module: &str| {
        let room = module.strip_prefix("fit::")?.split("::").next()?;
        let place = order.iter().position(|name| *name == room);
        Some(place.unwrap_or_else(|| panic!("{room} has no place in src/fit/mod.rs")))
    };
    let mut checked = 0;
    for (module, reads) in graph::Graph::read().reads() {
        for other in reads {
            if let (Some(here), Some(there)) = (place(&module), place(&other)) {
                assert!(there <= here, "{module} must not read {other}");
                checked += 1;
            }
        }
    }
    assert!(checked > 150, "reads were found: {checked}");
}

#[test]
fn a_path_is_followed_to_its_file() {
    let reads = graph::Graph::read().reads();
    // `use crate::fit::{..., stats}`, which is passed on from `numeric`.
    assert!(
        reads["predict::optimum"].contains("fit::numeric::stats"),
        "{:?}",
        reads["predict::optimum"]
    );
    // `use super::average::Average`.
    assert!(reads["predict::optimum"].contains("predict::average"));
    let circle = [("a", "b"), ("b", "c"), ("c", "b"), ("d", "a")];
    let circle = circle.map(|(from, to)| (from.to_owned(), [to.to_owned()].into())).into();
    let found: Vec<String> = graph::circles(&circle).into_keys().collect();
    assert_eq!(found, ["b", "c"]);
}

/// What people are told of the layout is what is there.
#[test]
fn the_readme_names_every_directory() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    let block = readme.split("## Layout").nth(1).and_then(|rest| rest.split("```").nth(1)).unwrap();
    let told: Vec<&str> =
        block.lines().filter_map(|line| line.split_once('/').map(|(name, _)| name)).collect();
    let mut there: Vec<String> = fs::read_dir(root)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
        // What is built and prepared.
        .filter(|name| !name.starts_with('.') && name != "target" && name != "datasets")
        .collect();
    there.sort();
    assert_eq!(told, there);
}

#[test]
fn pure_modules_touch_no_disk_clock_environment_or_device() {
    for (module, path, code) in modules() {
        if !PURE.contains(&module.as_str()) || path.ends_with("sample.rs") {
            continue;
        }
        for banned in
            ["std::fs", "std::env", "std::time", "Instant::", "SystemTime", "burn::", "crate::fs"]
        {
            assert!(!code.contains(banned), "{} uses {banned}", path.display());
        }
    }
}

/// One reader with a cap, that reads nothing but regular files: whatever a path turns out to be.
#[test]
fn only_fs_reads_files() {
    for (module, path, code) in modules() {
        // What a driver and the kernel say of the machine is looked for where they put it.
        if module == "fs" || module == "device" {
            continue;
        }
        for banned in ["fs::read(", "fs::read_to_string(", "File::open("] {
            assert!(
                !code.contains(banned),
                "{}: {banned} has no cap: fs::read_file",
                path.display()
            );
        }
    }
}

/// Standard output and standard error are written to in one place: there names from files are made harmless, and a
/// write that fails is kept.
#[test]
fn one_module_writes_to_standard_output_and_error() {
    for (module, path, code) in modules() {
        let tests = ["cube/tests.rs", "ledger/survival.rs"];
        if module == "terminal" || tests.iter().any(|end| path.ends_with(end)) {
            continue;
        }
        for banned in ["println!", "print!(", "stderr()"] {
            assert!(!code.contains(banned), "{} uses {banned}", path.display());
        }
    }
}

/// Most lines of a file, its unit tests included, and of half of all files.
const FILE: (usize, usize) = (500, 200);
/// Most lines of a function.
const FUNCTION: usize = 80;

/// The files of `src/` by their path in it, with their text.
fn texts() -> Vec<(String, String)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    let inside = |path: &Path| path.strip_prefix(&src).unwrap().to_str().unwrap().to_owned();
    files.iter().map(|path| (inside(path), fs::read_to_string(path).unwrap())).collect()
}

#[test]
fn a_file_can_be_held_in_the_head() {
    let mut all: Vec<(usize, String)> =
        texts().into_iter().map(|(path, text)| (text.lines().count(), path)).collect();
    all.sort();
    let median = all[all.len() / 2].0;
    assert!(median <= FILE.1, "half of the files have more than {median} lines");
    let long: Vec<&str> =
        all.iter().filter(|(lines, _)| *lines > FILE.0).map(|(_, path)| path.as_str()).collect();
    assert!(long.is_empty(), "more than {} lines: part them by what they do: {long:?}", FILE.0);
}

#[test]
fn a_function_can_be_held_in_the_head() {
    let mut count = 0;
    for (path, text) in texts() {
        for (name, line, lines) in size::functions(&text) {
            assert!(
                lines <= FUNCTION,
                "src/{path}:{line}: `{name}` has {lines} lines, and {FUNCTION} are the most: part it by what it does"
            );
            count += 1;
        }
    }
    assert!(count > 2500, "functions were found: {count}");
}

#[test]
fn functions_are_measured_to_their_last_brace() {
    let text = "\
trait Shape {
    fn area(&self) -> f64;
    fn named(
        &self,
        more: [u8; 2],
    ) -> String;
}

impl Shape for Square {
    pub(in crate::plan) const unsafe fn area(&self) -> f64 {
        fn square(x: f64) -> f64 { x * x }
        let f = |x: f64| {
            square(x)
        };
        f(self.side)
    }
}

pub fn long<T>(
    x: T,
) -> T
where
    T: Copy,
{
    x
}
// The fn of a comment; and let fn_of = 1;
";
    let want = [("area", 10, 7), ("square", 11, 1), ("long", 19, 8)];
    assert_eq!(
        size::functions(text),
        want.map(|(name, line, lines)| (name.to_owned(), line, lines))
    );
}
