//! Where CUDA may lie on a machine: the homes of a toolkit, and pip's packages.

use std::path::{Path, PathBuf};

use super::driver::is_stub;

/// What the environment says about where to look.
#[derive(Debug, Default)]
pub(super) struct Hints {
    pub(super) cuda_path: Option<PathBuf>,
    pub(super) cuda_home: Option<PathBuf>,
    pub(super) virtual_env: Option<PathBuf>,
    pub(super) conda: Option<PathBuf>,
    pub(super) home: Option<PathBuf>,
    pub(super) path: Vec<PathBuf>,
}

impl Hints {
    pub(super) fn of_process() -> Self {
        let folder = |name: &str| std::env::var_os(name).map(PathBuf::from);
        Self {
            cuda_path: folder("CUDA_PATH"),
            cuda_home: folder("CUDA_HOME"),
            virtual_env: folder("VIRTUAL_ENV"),
            conda: folder("CONDA_PREFIX"),
            home: folder("HOME"),
            path: std::env::var_os("PATH")
                .map_or_else(Vec::new, |path| std::env::split_paths(&path).collect()),
        }
    }
}

/// Folders laid out as a toolkit, or a part of one: the first goes first. All are there, each once.
pub(super) fn roots(base: &Path, hints: &Hints) -> Vec<PathBuf> {
    let mut roots: Vec<_> = hints.cuda_path.iter().chain(&hints.cuda_home).cloned().collect();
    roots.push(base.join("usr/local/cuda"));
    roots.extend(children(&base.join("usr/local"), "cuda-"));
    roots.extend([base.join("opt/cuda"), base.join("usr")]);
    if let Some(conda) = &hints.conda {
        roots.extend([conda.clone(), conda.join("targets/x86_64-linux")]);
    }
    for site in sites(base, hints) {
        let site = site.join("nvidia");
        roots.extend(children(&site, "cu").into_iter().filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name[2..].bytes().all(|b| b.is_ascii_digit())
        }));
        let parts = ["cuda_nvrtc", "cuda_runtime", "cublas", "cuda_cupti"];
        roots.extend(parts.map(|part| site.join(part)));
    }
    let mut seen = Vec::new();
    roots.retain(|root| {
        let real = root.canonicalize().ok().filter(|real| real.is_dir() && !seen.contains(real));
        real.map(|real| seen.push(real)).is_some()
    });
    roots
}

/// Where pip puts packages.
fn sites(base: &Path, hints: &Hints) -> Vec<PathBuf> {
    let mut prefixes: Vec<_> = hints.virtual_env.iter().chain(&hints.conda).cloned().collect();
    if let Some(python) = hints.path.iter().map(|f| f.join("python3")).find(|p| p.is_file()) {
        let real = python.canonicalize().ok();
        let above = |file: &Path| file.parent().and_then(Path::parent).map(Path::to_owned);
        prefixes.extend([Some(python), real].into_iter().flatten().filter_map(|p| above(&p)));
    }
    prefixes.extend(hints.home.iter().map(|home| home.join(".local")));
    prefixes.extend(children(&base.join("opt"), "").into_iter().map(|path| path.join(".venv")));
    let mut sites = Vec::new();
    for prefix in prefixes {
        for python in children(&prefix.join("lib"), "python3") {
            sites.extend(["site-packages", "dist-packages"].map(|name| python.join(name)));
        }
    }
    sites
}

/// What lies in a folder under a name that begins so; higher numbers first, so that 13.0 comes before 9.2.
pub(super) fn children(folder: &Path, prefix: &str) -> Vec<PathBuf> {
    let numbers = |path: &PathBuf| -> Vec<u64> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.split(|c: char| !c.is_ascii_digit()).filter_map(|word| word.parse().ok()).collect()
    };
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<_> = entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
        .map(|entry| entry.path())
        .collect();
    found.sort_by(|left, right| numbers(right).cmp(&numbers(left)).then(left.cmp(right)));
    found
}

/// The files of a library below a root, `libx.so` or `libx.so.13` and so on; stubs are left out.
pub(super) fn files(root: &Path, stem: &str) -> Vec<PathBuf> {
    const FOLDERS: [&str; 7] = [
        "lib64",
        "lib",
        "targets/x86_64-linux/lib",
        "targets/sbsa-linux/lib",
        "lib/x86_64-linux-gnu",
        "lib/aarch64-linux-gnu",
        "extras/CUPTI/lib64",
    ];
    let all = FOLDERS.iter().flat_map(|folder| children(&root.join(folder), stem));
    let named = all.filter(|path| path.ends_with(stem) || number(path, stem).is_some());
    named.filter(|path| path.is_file() && !is_stub(path)).collect()
}

/// `13.0.88` of `libx.so.13.0.88`, also where a shorter name points to that file.
pub(super) fn number(path: &Path, stem: &str) -> Option<String> {
    let of = |path: &Path| {
        let name = path.file_name()?.to_str()?;
        let number = name.strip_prefix(stem)?.strip_prefix('.')?;
        number.bytes().all(|b| b.is_ascii_digit() || b == b'.').then(|| number.to_owned())
    };
    path.canonicalize().ok().and_then(|real| of(&real)).or_else(|| of(path))
}
