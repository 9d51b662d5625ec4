//! Where the rest of CUDA lies: the kernel compiler with its builtins, the headers it needs, and two libraries
//! that are good to have.
//!
//! What the loader finds by itself goes first, as cudarc will get that one; then the usual homes of a
//! toolkit, then pip's packages. No program is run.

mod headers;
mod nvrtc;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::driver::{Driver, Missing, driver, is_stub, open};
use super::places::{Hints, files, number, roots};
use nvrtc::{Compiler, compiler};

pub(super) use nvrtc::{NVRTC, NVRTC_SYMBOL};

/// One thing that is looked for.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Part {
    /// As a person would name it.
    pub name: &'static str,
    /// Whether training on a GPU needs it.
    pub needed: bool,
    /// Where it lies.
    pub path: Option<PathBuf>,
    /// `13.0`.
    pub version: Option<String>,
    /// Why it cannot be used; `None` when it can.
    pub problem: Option<String>,
    /// A shell line or a sentence that mends the problem.
    pub mend: Option<String>,
}

impl Part {
    /// The part, or what is missing where it cannot be used.
    pub(super) fn missing(&self) -> Option<Missing> {
        let mend = self.mend.clone().unwrap_or_else(|| "use --device cpu".to_owned());
        self.problem.as_ref().map(|problem| Missing::new(format!("{}: {problem}", self.name), mend))
    }
}

/// All that a machine has for training on an NVIDIA GPU.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Found {
    /// The driver and its cards; the first part says why where there is none.
    pub driver: Option<Driver>,
    /// The driver, the compiler, its builtins, the headers, then what is not needed.
    pub parts: Vec<Part>,
    /// The value of `CUDA_VISIBLE_DEVICES`, which the driver obeys.
    pub visible: Option<String>,
}

impl Found {
    /// Whether a cell can be trained on a GPU here.
    pub fn usable(&self) -> bool {
        self.driver.as_ref().is_some_and(|driver| !driver.cards.is_empty())
            && self.parts.iter().all(|part| !part.needed || part.problem.is_none())
    }
}

/// Looks for everything; changes nothing. Takes some tenths of a second, as libraries are loaded to ask them.
pub fn look() -> Found {
    let hints = Hints::of_process();
    let needed = needed(&hints);
    let first = match &needed.driver {
        Ok(driver) => Part {
            path: Some(driver.path.clone()),
            version: driver.release.clone(),
            ..part("NVIDIA driver", true)
        },
        Err(missing) => Part {
            problem: Some(missing.what.clone()),
            mend: Some(missing.mend.clone()),
            ..part("NVIDIA driver", true)
        },
    };
    let roots = roots(Path::new("/"), &hints);
    let optional = OPTIONAL.map(|(name, (stem, symbol), absent, mend)| {
        match optional(stem, symbol, &roots, &load) {
            Some(path) => {
                Part { version: number(&path, stem), path: Some(path), ..part(name, false) }
            }
            None => Part {
                problem: Some(absent.to_owned()),
                mend: Some(mend.to_owned()),
                ..part(name, false)
            },
        }
    });
    let parts = [first, needed.nvrtc, needed.builtins, needed.headers].into_iter().chain(optional);
    Found {
        parts: parts.collect(),
        driver: needed.driver.ok(),
        visible: std::env::var("CUDA_VISIBLE_DEVICES").ok(),
    }
}

/// Name, file, one of its functions, what its absence means, how to get it.
const OPTIONAL: [(&str, (&str, &str), &str, &str); 2] = [
    (
        "cuBLASLt",
        ("libcublasLt.so", "cublasLtGetVersion"),
        "not found",
        "pip install nvidia-cublas",
    ),
    (
        "CUPTI",
        CUPTI,
        "not found; calls of the driver cannot be counted",
        "pip install nvidia-cuda-cupti",
    ),
];

/// The library that observes calls of the driver, and a function of it.
pub(super) const CUPTI: (&str, &str) = ("libcupti.so", "cuptiSubscribe");

/// Where CUPTI lies.
pub(super) fn cupti() -> Option<PathBuf> {
    optional(CUPTI.0, CUPTI.1, &roots(Path::new("/"), &Hints::of_process()), &load)
}

fn part(name: &'static str, needed: bool) -> Part {
    Part { name, needed, path: None, version: None, problem: None, mend: None }
}

/// What training needs.
pub(super) struct Needed {
    pub(super) driver: Result<Driver, Missing>,
    pub(super) nvrtc: Part,
    pub(super) builtins: Part,
    pub(super) headers: Part,
    /// What CUDA_PATH must become for cubecl to find the headers, where it is unset.
    pub(super) cuda_path: Option<PathBuf>,
}

pub(super) fn needed(hints: &Hints) -> Needed {
    let driver = driver();
    let asked = Asked { base: Path::new("/"), hints, load: &load, nvrtc: &compiler };
    let (nvrtc, builtins) = asked.compiler(driver.as_ref().ok());
    let (headers, cuda_path) = asked.headers(driver.as_ref().ok());
    Needed { driver, nvrtc, builtins, headers, cuda_path }
}

/// The names by which cudarc asks the loader, in its order; those that only Windows has are left out.
pub(super) fn names(stem: &str) -> impl Iterator<Item = String> {
    ["", ".13", ".12", ".11"].iter().map(move |suffix| format!("{stem}{suffix}"))
}

/// Loads a library and says where it lies, or why it cannot be loaded.
type Load<'a> = &'a dyn Fn(&OsStr, &str) -> Result<PathBuf, String>;

pub(super) fn load(name: &OsStr, symbol: &str) -> Result<PathBuf, String> {
    open(name, symbol).map(|opened| opened.path)
}

fn optional(stem: &str, symbol: &str, roots: &[PathBuf], load: Load<'_>) -> Option<PathBuf> {
    let known = names(stem).find_map(|name| load(OsStr::new(&name), symbol).ok());
    let known = known.filter(|path| !is_stub(path));
    known.or_else(|| roots.iter().find_map(|root| files(root, stem).into_iter().next()))
}

/// What is asked of the machine; a test puts a folder and answers of its own in the places.
struct Asked<'a> {
    base: &'a Path,
    hints: &'a Hints,
    load: Load<'a>,
    nvrtc: &'a dyn Fn(&OsStr) -> Result<Compiler, String>,
}

/// The line that installs packages of pip, none newer than the driver speaks.
fn install(driver: Option<&Driver>, packages: &[&str]) -> String {
    let (major, minor) = driver.map_or((13, 0), |driver| driver.cuda);
    if major < 13 {
        // There pip spreads the headers over several folders, and cubecl looks in one.
        return format!(
            "install the CUDA toolkit {major}.{minor}, then export CUDA_PATH=/usr/local/cuda-{major}.{minor}"
        );
    }
    let packages = packages
        .iter()
        .map(|package| format!(" 'nvidia-cuda-{package}>={major},<{major}.{}'", minor + 1));
    format!("pip install{}", packages.collect::<String>())
}

#[cfg(test)]
mod tests;
