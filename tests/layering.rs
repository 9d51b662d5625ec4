//! Data flows one way: a module imports only from its left.

use std::fs;
use std::path::{Path, PathBuf};

/// Left to right. `error`, `terminal`, `units`, `sound`, `random` and `points` know nothing of the rest.
const ORDER: [&str; 33] = [
    "error",
    "terminal",
    "units",
    "sound",
    "random",
    "points",
    "covariates",
    "health",
    "fs",
    "columnar",
    "spec",
    "shape",
    "plan",
    "data",
    "ops",
    "model",
    "train",
    "ledger",
    "device",
    "exec",
    "import",
    "fit",
    "export",
    "predict",
    "forecast",
    "backtest",
    "selftest",
    "tune",
    "figure",
    "report",
    "cli",
    "lib",
    "main",
];

/// May not touch a disk, a clock, the environment or a device.
const PURE: [&str; 14] = [
    "health",
    "spec",
    "shape",
    "plan",
    "fit",
    "predict",
    "forecast",
    "backtest",
    "selftest",
    "tune",
    "figure",
    "report",
    "points",
    "covariates",
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
        .map(|path| {
            let inside = path.strip_prefix(&src).unwrap();
            let first = inside.iter().next().unwrap().to_str().unwrap();
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]\nmod tests").next().unwrap().to_owned();
            (first.trim_end_matches(".rs").to_owned(), path, code)
        })
        .collect()
}

fn place(module: &str) -> usize {
    ORDER.iter().position(|m| *m == module).unwrap_or_else(|| panic!("{module} has no place"))
}

#[test]
fn a_module_imports_only_from_its_left() {
    let mut checked = 0;
    for (module, path, code) in modules() {
        for (i, _) in code.match_indices("crate::") {
            // `crate::{a, b}` is not used here: one module a line.
            let name: String = code[i + 7..]
                .chars()
                .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
                .collect();
            if name != module && ORDER.contains(&name.as_str()) {
                assert!(
                    place(&name) < place(&module),
                    "{}: {module} must not read {name}",
                    path.display()
                );
                checked += 1;
            }
        }
    }
    assert!(checked > 80, "imports were found: {checked}");
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
