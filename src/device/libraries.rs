//! Where the rest of CUDA lies: the kernel compiler with its builtins, the headers it needs, and two libraries
//! that are good to have.
//!
//! What the loader finds by itself goes first, as cudarc will get that one; then the usual homes of a
//! toolkit, then pip's packages. No program is run.
#![expect(unsafe_code, reason = "NVRTC is a C library, opened at run time")]

use std::ffi::{OsStr, c_int};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::driver::{Driver, Missing, driver, function, is_stub, open};
use super::places::{Hints, files, number, roots};

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

pub(super) const NVRTC: &str = "libnvrtc.so";
/// A function of NVRTC, to find it by.
pub(super) const NVRTC_SYMBOL: &str = "nvrtcVersion";

/// A copy of NVRTC, as it tells of itself.
#[derive(Debug, Clone)]
struct Compiler {
    path: PathBuf,
    version: (u32, u32),
    /// Architectures it compiles for, as 90 for `sm_90`; empty where it does not say.
    targets: Vec<u32>,
}

fn compiler(name: &OsStr) -> Result<Compiler, String> {
    let opened = open(name, NVRTC_SYMBOL)?;
    if is_stub(&opened.path) {
        // Not asked, as its calls do nothing good; refused by its place.
        return Ok(Compiler { path: opened.path, version: (0, 0), targets: Vec::new() });
    }
    let library = &opened.library;
    // SAFETY: the signatures are those of nvrtc.h; the second list is as long as the first call says.
    unsafe {
        let version: unsafe extern "C" fn(*mut c_int, *mut c_int) -> c_int =
            function(library, NVRTC_SYMBOL).ok_or("it has no `nvrtcVersion`")?;
        let (mut major, mut minor) = (0, 0);
        if version(&raw mut major, &raw mut minor) != 0 {
            return Err("it does not tell its version".to_owned());
        }
        let mut targets = Vec::new();
        let count: Option<unsafe extern "C" fn(*mut c_int) -> c_int> =
            function(library, "nvrtcGetNumSupportedArchs");
        let list: Option<unsafe extern "C" fn(*mut c_int) -> c_int> =
            function(library, "nvrtcGetSupportedArchs");
        let mut length = 0;
        if let (Some(count), Some(list)) = (count, list)
            && count(&raw mut length) == 0
        {
            targets = vec![0; usize::try_from(length).unwrap_or(0)];
            if list(targets.as_mut_ptr()) != 0 {
                targets.clear();
            }
        }
        Ok(Compiler {
            path: opened.path,
            version: (major.cast_unsigned(), minor.cast_unsigned()),
            targets: targets.into_iter().map(c_int::cast_unsigned).collect(),
        })
    }
}

/// Why the code of a compiler would be refused by this driver and its cards.
fn refusal(compiler: &Compiler, driver: Option<&Driver>) -> Option<String> {
    if is_stub(&compiler.path) {
        return Some(format!("`{}` is a stub for linking", compiler.path.display()));
    }
    let driver = driver?;
    let ((major, minor), (most, least)) = (compiler.version, driver.cuda);
    if compiler.version > driver.cuda {
        return Some(format!(
            "version {major}.{minor} is newer than the driver's CUDA {most}.{least}, which refuses its code"
        ));
    }
    let target = |card: &&super::driver::Card| {
        !compiler.targets.contains(&(10 * card.capability.0 + card.capability.1))
    };
    let card = driver.cards.iter().find(target).filter(|_| !compiler.targets.is_empty())?;
    Some(format!(
        "version {major}.{minor} cannot compile for card {} (sm_{}{})",
        card.index, card.capability.0, card.capability.1
    ))
}

/// What is asked of the machine; a test puts a folder and answers of its own in the places.
struct Asked<'a> {
    base: &'a Path,
    hints: &'a Hints,
    load: Load<'a>,
    nvrtc: &'a dyn Fn(&OsStr) -> Result<Compiler, String>,
}

impl Asked<'_> {
    /// NVRTC and its builtins: the first copy that cudarc would get and that can be used, else the first.
    fn compiler(&self, driver: Option<&Driver>) -> (Part, Part) {
        let roots = roots(self.base, self.hints);
        let known = names(NVRTC)
            .enumerate()
            .find_map(|(rank, name)| Some((rank, (self.nvrtc)(OsStr::new(&name)).ok()?)));
        // A copy that lies elsewhere and is loaded first answers to its own name, `libnvrtc.so.13`. It is
        // out of reach where the loader has an answer for a name that cudarc tries before.
        let reached = |copy: &Compiler| {
            let own = format!("{NVRTC}.{}", copy.version.0);
            let rank = names(NVRTC).position(|name| name == own);
            known.as_ref().is_none_or(|(taken, first)| {
                rank.is_some_and(|rank| rank <= *taken) || first.path == copy.path
            })
        };
        let (mut first, mut hidden, mut why) = (None, None, None);
        let found = roots.iter().flat_map(|root| files(root, NVRTC));
        let copies = found.map(|path| (self.nvrtc)(path.as_os_str()).map_err(|e| (path, e)));
        for copy in known.iter().map(|(_, copy)| Ok(copy.clone())).chain(copies) {
            let copy = match copy {
                Ok(copy) => copy,
                Err((path, error)) => {
                    why = why.or(Some((path, error)));
                    continue;
                }
            };
            let builtins = self.builtins(&copy, &roots);
            let refused = refusal(&copy, driver);
            if refused.is_none() && builtins.is_ok() {
                if reached(&copy) {
                    return describe(&copy, None, builtins, None, driver);
                }
                hidden = hidden.or(copy.path.parent().map(Path::to_owned));
            } else if first.is_none() && reached(&copy) {
                first = Some((copy, refused, builtins));
            }
        }
        if let Some((copy, refused, builtins)) = first {
            return describe(&copy, refused, builtins, hidden.as_deref(), driver);
        }
        let (path, problem) = match why {
            Some((path, error)) => (Some(path), format!("cannot be loaded: {error}")),
            None => (None, "not found".to_owned()),
        };
        let mend = Some(install(driver, &["nvrtc"]));
        // What mends the compiler brings its builtins.
        let builtins = Part {
            problem: Some("not found".to_owned()),
            mend: mend.clone(),
            ..part(BUILTINS, true)
        };
        (Part { path, problem: Some(problem), mend, ..part(COMPILER, true) }, builtins)
    }

    /// The library without which a copy of NVRTC loads, and then fails at every kernel.
    fn builtins(&self, copy: &Compiler, roots: &[PathBuf]) -> Result<PathBuf, String> {
        let (major, minor) = copy.version;
        let name = format!("libnvrtc-builtins.so.{major}.{minor}");
        let symbol = format!("__nvrtc_builtins__{major}_{minor}_getArchBuiltins");
        let real = copy.path.canonicalize();
        let beside = [Some(&copy.path), real.as_ref().ok()].into_iter().flatten();
        let beside = beside.map(|path| path.with_file_name(&name)).filter(|path| path.is_file());
        let rest = roots.iter().flat_map(|root| files(root, &name));
        let mut why = format!("`{name}` not found");
        for candidate in beside.chain([PathBuf::from(&name)]).chain(rest) {
            match (self.load)(candidate.as_os_str(), &symbol) {
                Ok(path) => return Ok(path),
                Err(error) if candidate.is_absolute() => why = format!("cannot be loaded: {error}"),
                Err(_) => {}
            }
        }
        Err(why)
    }

    /// The headers that cubecl will give to NVRTC, and what CUDA_PATH must become for that.
    fn headers(&self, driver: Option<&Driver>) -> (Part, Option<PathBuf>) {
        let roots = roots(self.base, self.hints);
        let below = |root: &PathBuf| [root.clone(), root.join("targets/x86_64-linux")];
        let whole = roots.iter().flat_map(below).find(|root| lacking(root).is_none());
        let default = self.default_root();
        let headers = part("CUDA headers", true);
        match (self.hints.cuda_path.as_ref().or(default.as_ref()), whole) {
            (Some(root), _) if lacking(root).is_none() => {
                (Part { version: toolkit(root), path: Some(root.clone()), ..headers }, None)
            }
            (Some(root), Some(whole)) if self.hints.cuda_path.is_some() => (
                Part {
                    path: Some(root.clone()),
                    problem: lacking(root).map(|header| {
                        format!(
                            "CUDA_PATH is `{}`, which has no `include/{header}`",
                            root.display()
                        )
                    }),
                    mend: Some(format!("export CUDA_PATH={}", whole.display())),
                    ..headers
                },
                None,
            ),
            (_, Some(root)) => {
                (Part { version: toolkit(&root), path: Some(root.clone()), ..headers }, Some(root))
            }
            (root, None) => {
                let problem = match root.and_then(|root| Some((root, lacking(root)?))) {
                    Some((root, header)) => {
                        format!("`{}` has no `include/{header}`", root.display())
                    }
                    None => "not found".to_owned(),
                };
                let mut mend = install(driver, &["runtime", "crt", "cccl"]);
                if self.hints.cuda_path.is_some() {
                    mend = format!("unset CUDA_PATH; {mend}");
                }
                (Part { problem: Some(problem), mend: Some(mend), ..headers }, None)
            }
        }
    }

    /// Where cubecl looks for headers while CUDA_PATH is unset (cubecl-cuda 0.11.3, lib.rs, `cuda_path`).
    fn default_root(&self) -> Option<PathBuf> {
        let homes = ["usr/local/cuda", "opt/cuda"].map(|home| self.base.join(home));
        homes
            .into_iter()
            .find(|home| home.exists())
            .or_else(|| self.base.join("usr/bin/nvcc").exists().then(|| self.base.join("usr")))
    }
}

const COMPILER: &str = "NVRTC";
const BUILTINS: &str = "NVRTC builtins";

/// The two parts of a copy; `hidden` is the folder of one that would do, were the loader to see it first.
fn describe(
    copy: &Compiler,
    refused: Option<String>,
    builtins: Result<PathBuf, String>,
    hidden: Option<&Path>,
    driver: Option<&Driver>,
) -> (Part, Part) {
    let version = Some(format!("{}.{}", copy.version.0, copy.version.1));
    let mend = || match hidden {
        Some(folder) => {
            Some(format!("export LD_LIBRARY_PATH={}:$LD_LIBRARY_PATH", folder.display()))
        }
        None => Some(install(driver, &["nvrtc"])),
    };
    let nvrtc = Part {
        path: Some(copy.path.clone()),
        version: version.clone(),
        mend: refused.as_ref().and_then(|_| mend()),
        problem: refused,
        ..part(COMPILER, true)
    };
    let builtins = match builtins {
        Ok(path) => Part { path: Some(path), version, ..part(BUILTINS, true) },
        Err(problem) => Part { problem: Some(problem), mend: mend(), ..part(BUILTINS, true) },
    };
    (nvrtc, builtins)
}

/// The first header that a root lacks of those that cubecl's kernels include, or that those include.
fn lacking(root: &Path) -> Option<&'static str> {
    const ALL: [&str; 4] = ["cuda_runtime.h", "cuda_bf16.h", "mma.h", "crt/mma.h"];
    let has = |header: &str| root.join("include").join(header).is_file();
    let barrier = has("cuda/barrier") || has("cccl/cuda/barrier");
    ALL.into_iter().find(|header| !has(header)).or((!barrier).then_some("cuda/barrier"))
}

/// The version that headers are of.
fn toolkit(root: &Path) -> Option<String> {
    let text = std::fs::read_to_string(root.join("include/cuda_runtime_api.h")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("#define CUDART_VERSION"))?;
    let version: u32 = line.trim().parse().ok()?;
    Some(format!("{}.{}", version / 1000, version % 1000 / 10))
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
mod tests {
    use std::fs;

    use super::super::driver::Card;
    use super::*;

    const TOOLKIT: [&str; 10] = [
        "lib64/libnvrtc.so.13",
        "lib64/libnvrtc.alt.so.13",
        "lib64/libnvrtc-builtins.so.13.0",
        "lib64/stubs/libnvrtc.so",
        "include/cuda_runtime.h",
        "include/cuda_runtime_api.h",
        "include/cuda_bf16.h",
        "include/mma.h",
        "include/crt/mma.h",
        "include/cccl/cuda/barrier",
    ];

    /// A machine in a folder. A file's text is its version.
    struct Machine {
        base: tempfile::TempDir,
        hints: Hints,
        /// What the loader knows: name and file.
        loader: Vec<(&'static str, PathBuf)>,
    }

    impl Machine {
        fn new() -> Self {
            let base = tempfile::tempdir().unwrap();
            Self { base, hints: Hints::default(), loader: Vec::new() }
        }

        fn put(&self, path: &str, text: &str) -> PathBuf {
            let path = self.base.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            path
        }

        fn toolkit(&self, root: &str) -> PathBuf {
            for file in TOOLKIT {
                let text = if file.ends_with("api.h") {
                    "#define CUDART_VERSION  13000\n"
                } else {
                    "13.0"
                };
                self.put(&format!("{root}/{file}"), text);
            }
            self.base.path().join(root)
        }

        /// NVRTC, builtins, headers, and what CUDA_PATH must become.
        fn look(&self, cuda: (u32, u32)) -> (Part, Part, Part, Option<PathBuf>) {
            let find = |name: &OsStr| -> Result<PathBuf, String> {
                let path = Path::new(name);
                let known = self.loader.iter().find(|(known, _)| OsStr::new(known) == name);
                let known = known.map(|(_, path)| path.clone());
                let file = path.is_absolute().then(|| path.to_owned());
                known.or(file).filter(|p| p.is_file()).ok_or_else(|| "no such file".to_owned())
            };
            let nvrtc = |name: &OsStr| {
                let path = find(name)?;
                let text = fs::read_to_string(&path).unwrap();
                let (major, minor) = text.split_once('.').ok_or("not a library")?;
                let version = (major.parse().unwrap(), minor.parse().unwrap());
                Ok(Compiler { path, version, targets: vec![75, 80, 90] })
            };
            let asked = Asked {
                base: self.base.path(),
                hints: &self.hints,
                load: &|name, _| find(name),
                nvrtc: &nvrtc,
            };
            let driver = driver(cuda, (9, 0));
            let (nvrtc, builtins) = asked.compiler(Some(&driver));
            let (headers, cuda_path) = asked.headers(Some(&driver));
            (nvrtc, builtins, headers, cuda_path)
        }
    }

    fn driver(cuda: (u32, u32), capability: (u32, u32)) -> Driver {
        let name = "H100".to_owned();
        let card = Card { index: 0, name, memory: 80 << 30, capability, processors: 132 };
        Driver { path: PathBuf::from("libcuda.so.1"), cuda, release: None, cards: vec![card] }
    }

    #[test]
    fn a_toolkit_in_its_usual_place_needs_no_word_from_the_user() {
        let machine = Machine::new();
        let root = machine.toolkit("usr/local/cuda");
        let (nvrtc, builtins, headers, cuda_path) = machine.look((13, 0));
        for part in [&nvrtc, &builtins, &headers] {
            assert_eq!(part.missing(), None, "{part:?}");
            assert_eq!(part.version.as_deref(), Some("13.0"));
        }
        assert_eq!(nvrtc.path, Some(root.join("lib64/libnvrtc.so.13")));
        assert_eq!(builtins.path, Some(root.join("lib64/libnvrtc-builtins.so.13.0")));
        assert_eq!((headers.path, cuda_path), (Some(root), None));
    }

    #[test]
    fn packages_of_pip_are_found_and_cubecl_is_told_of_their_headers() {
        let mut machine = Machine::new();
        for site in
            ["opt/app/.venv/lib/python3.12/site-packages", "env/lib/python3.9/site-packages"]
        {
            let root = machine.toolkit(&format!("{site}/nvidia/cu13"));
            let (nvrtc, builtins, headers, cuda_path) = machine.look((13, 0));
            assert_eq!((nvrtc.problem, builtins.problem, headers.problem), (None, None, None));
            assert!(nvrtc.path.unwrap().starts_with(&root));
            assert_eq!(cuda_path, Some(root));
            fs::remove_dir_all(machine.base.path().join("opt")).ok();
            // The second is found by the `python3` that the shell would run.
            machine.put("env/bin/python3", "");
            machine.hints.path = vec![machine.base.path().join("env/bin")];
        }
    }

    #[test]
    fn a_compiler_without_builtins_or_headers_is_not_enough() {
        let machine = Machine::new();
        let root = machine.toolkit("usr/local/cuda-13.0");
        fs::remove_file(root.join("lib64/libnvrtc-builtins.so.13.0")).unwrap();
        machine.put("usr/local/cuda-13.0/lib64/libnvrtc-builtins.so.12.8", "");
        let (nvrtc, builtins, ..) = machine.look((13, 0));
        assert_eq!(nvrtc.problem, None);
        assert!(builtins.problem.unwrap().contains("libnvrtc-builtins.so.13.0"));
        assert_eq!(builtins.mend.unwrap(), "pip install 'nvidia-cuda-nvrtc>=13,<13.1'");
        // An older one that has its own is taken instead.
        let older = machine.put("usr/local/cuda-12.8/lib64/libnvrtc.so.12", "12.8");
        fs::rename(
            root.join("lib64/libnvrtc-builtins.so.12.8"),
            older.with_file_name("libnvrtc-builtins.so.12.8"),
        )
        .unwrap();
        assert_eq!(machine.look((13, 0)).0.path, Some(older));
        for header in ["include/crt/mma.h", "include/cccl/cuda/barrier", "include/cuda_bf16.h"] {
            let machine = Machine::new();
            let root = machine.toolkit("usr/local/cuda");
            fs::remove_file(root.join(header)).unwrap();
            let (_, _, headers, cuda_path) = machine.look((13, 0));
            let name = header.trim_start_matches("include/").trim_start_matches("cccl/");
            assert!(headers.missing().unwrap().what.contains(name), "{headers:?}");
            assert!(headers.mend.unwrap().contains("'nvidia-cuda-cccl>=13,<13.1'"));
            assert_eq!(cuda_path, None);
        }
    }

    #[test]
    fn a_stub_is_not_a_compiler() {
        let mut machine = Machine::new();
        let stub = machine.put("usr/local/cuda/lib64/stubs/libnvrtc.so", "13.0");
        assert_eq!(machine.look((13, 0)).0.problem.unwrap(), "not found");
        machine.hints.cuda_path = Some(machine.base.path().join("usr/local/cuda/lib64/stubs"));
        machine.put("usr/local/cuda/lib64/stubs/lib/libnvrtc.so", "13.0");
        assert_eq!(machine.look((13, 0)).0.problem.unwrap(), "not found");
        // On the loader's path it is what cudarc would get, whatever lies elsewhere.
        machine.toolkit("usr/local/cuda");
        machine.loader.push(("libnvrtc.so", stub));
        let nvrtc = machine.look((13, 0)).0;
        assert!(nvrtc.problem.unwrap().contains("stub"));
        let folder = machine.base.path().join("usr/local/cuda/lib64");
        let mend = format!("export LD_LIBRARY_PATH={}:$LD_LIBRARY_PATH", folder.display());
        assert_eq!(nvrtc.mend.unwrap(), mend);
    }

    #[test]
    fn a_compiler_newer_than_the_driver_is_passed_over_where_another_can_be_reached() {
        let mut machine = Machine::new();
        let newer = machine.put("usr/local/cuda-13.1/lib64/libnvrtc.so.13", "13.1");
        machine.put("usr/local/cuda-13.1/lib64/libnvrtc-builtins.so.13.1", "");
        let (nvrtc, builtins, ..) = machine.look((13, 0));
        assert!(nvrtc.problem.unwrap().contains("13.1 is newer than the driver's CUDA 13.0"));
        assert_eq!(nvrtc.mend.unwrap(), "pip install 'nvidia-cuda-nvrtc>=13,<13.1'");
        assert_eq!(builtins.problem, None);

        let fit = machine.toolkit("usr/local/cuda-13.0").join("lib64/libnvrtc.so.13");
        assert_eq!(machine.look((13, 0)).0.path.as_ref(), Some(&fit));
        // Known to the loader by the name that the other answers to as well: the one loaded first wins.
        machine.loader.push(("libnvrtc.so.13", newer.clone()));
        assert_eq!(machine.look((13, 0)).0.path, Some(fit));
        // By a name that cudarc tries before, it cannot be passed over.
        machine.loader.push(("libnvrtc.so", newer.clone()));
        let nvrtc = machine.look((13, 0)).0;
        assert_eq!(nvrtc.path, Some(newer));
        assert!(nvrtc.mend.unwrap().contains("cuda-13.0/lib64:"));
    }

    #[test]
    fn the_loaders_copy_is_taken_and_builtins_from_wherever_they_are() {
        let mut machine = Machine::new();
        let known = machine.put("elsewhere/libnvrtc.so.13", "13.0");
        machine.loader.push(("libnvrtc.so.13", known.clone()));
        let root = machine.toolkit("usr/local/cuda");
        let (nvrtc, builtins, ..) = machine.look((13, 0));
        assert_eq!((nvrtc.path, nvrtc.problem), (Some(known), None));
        assert_eq!(builtins.path, Some(root.join("lib64/libnvrtc-builtins.so.13.0")));
    }

    #[test]
    fn a_cuda_path_without_headers_is_named_not_overruled() {
        let mut machine = Machine::new();
        let root = machine.toolkit("usr/local/cuda");
        let other = machine.base.path().join("other");
        machine.hints.cuda_path = Some(other.clone());
        let (_, _, headers, cuda_path) = machine.look((13, 0));
        assert!(headers.problem.unwrap().contains(&format!("CUDA_PATH is `{}`", other.display())));
        assert_eq!(headers.mend.unwrap(), format!("export CUDA_PATH={}", root.display()));
        assert_eq!(cuda_path, None);
    }

    #[test]
    fn a_compiler_must_know_the_card() {
        let known = |targets: &[u32], capability| {
            let path = PathBuf::from("libnvrtc.so.13");
            let compiler = Compiler { path, version: (12, 4), targets: targets.to_vec() };
            refusal(&compiler, Some(&driver((13, 0), capability)))
        };
        assert_eq!(known(&[80, 90], (9, 0)), None);
        assert_eq!(known(&[], (12, 0)), None);
        assert!(known(&[80, 90], (12, 0)).unwrap().contains("card 0 (sm_120)"));
    }

    #[test]
    fn higher_versions_come_first_and_a_folder_counts_once() {
        let machine = Machine::new();
        for version in ["cuda-9.2", "cuda-12.8", "cuda-13.0"] {
            machine.put(&format!("usr/local/{version}/version.json"), "");
        }
        let at = |path: &str| machine.base.path().join("usr/local").join(path);
        std::os::unix::fs::symlink(at("cuda-12.8"), at("cuda")).unwrap();
        let roots = roots(machine.base.path(), &machine.hints);
        assert_eq!(roots[..3], [at("cuda"), at("cuda-13.0"), at("cuda-9.2")]);
    }

    #[test]
    fn a_machine_is_usable_with_a_card_and_all_that_is_needed() {
        let with = |needed, problem: Option<&str>, cards: usize| {
            let problem = problem.map(str::to_owned);
            let mut driver = driver((13, 0), (9, 0));
            driver.cards.truncate(cards);
            let parts = vec![Part { problem, ..part(COMPILER, needed) }];
            Found { driver: Some(driver), parts, visible: None }.usable()
        };
        assert!(with(true, None, 1) && with(false, Some("not found"), 1));
        assert!(!with(true, Some("not found"), 1) && !with(true, None, 0));
    }
}
