//! The kernel compiler, NVRTC, with its builtins: the first copy that cudarc would get and that fits the driver.
#![expect(unsafe_code, reason = "NVRTC is a C library, opened at run time")]

use std::ffi::{OsStr, c_int};
use std::path::{Path, PathBuf};

use super::{Asked, Part, install, names, part};
use crate::device::driver::{Card, Driver, function, is_stub, open};
use crate::device::places::{files, roots};

pub(in crate::device) const NVRTC: &str = "libnvrtc.so";

/// A function of NVRTC, to find it by.
pub(in crate::device) const NVRTC_SYMBOL: &str = "nvrtcVersion";

/// A copy of NVRTC, as it tells of itself.
#[derive(Debug, Clone)]
pub(super) struct Compiler {
    pub(super) path: PathBuf,
    pub(super) version: (u32, u32),
    /// Architectures it compiles for, as 90 for `sm_90`; empty where it does not say.
    pub(super) targets: Vec<u32>,
}

pub(super) fn compiler(name: &OsStr) -> Result<Compiler, String> {
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
pub(super) fn refusal(compiler: &Compiler, driver: Option<&Driver>) -> Option<String> {
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
    let target =
        |card: &&Card| !compiler.targets.contains(&(10 * card.capability.0 + card.capability.1));
    let card = driver.cards.iter().find(target).filter(|_| !compiler.targets.is_empty())?;
    Some(format!(
        "version {major}.{minor} cannot compile for card {} (sm_{}{})",
        card.index, card.capability.0, card.capability.1
    ))
}

pub(super) const COMPILER: &str = "NVRTC";

const BUILTINS: &str = "NVRTC builtins";

impl Asked<'_> {
    /// NVRTC and its builtins: the first copy that cudarc would get and that can be used, else the first.
    pub(super) fn compiler(&self, driver: Option<&Driver>) -> (Part, Part) {
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
}

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
