//! Makes this process able to use the GPU's libraries wherever they lie, with nothing exported by the user.

#![expect(unsafe_code, reason = "libraries and the environment variable that one of them reads")]

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};

use super::driver::{Driver, Missing, loaders};
use super::libraries::{NVRTC, NVRTC_SYMBOL, load, names, needed};
use super::places::Hints;

/// Finds driver, compiler and headers, loads the compiler with its builtins for good, and tells cubecl where
/// the headers are.
///
/// cudarc and NVRTC load their libraries by bare names. glibc answers such a name with a library that is
/// loaded already and calls itself so (its SONAME), from wherever it came.
///
/// Sets `CUDA_PATH` of this process where it is unset and cubecl would look for the headers in vain. So this
/// is called from the main thread when a command starts: another thread that reads the environment at that
/// moment, through the C library, would be undefined behaviour.
///
/// # Errors
///
/// [`Missing`]: the first thing that is needed and not there, with what mends it.
pub(super) fn prepare() -> Result<Driver, Missing> {
    let needed = needed(&Hints::of_process());
    let driver = needed.driver?;
    let parts = [&needed.builtins, &needed.nvrtc];
    if let Some(missing) = [parts[1], parts[0], &needed.headers].iter().find_map(|p| p.missing()) {
        return Err(missing);
    }
    for path in parts.iter().filter_map(|part| part.path.as_deref()) {
        keep(path)?;
    }
    if let Some(path) = &needed.nvrtc.path {
        agrees(path, names(NVRTC).find_map(|name| load(OsStr::new(&name), NVRTC_SYMBOL).ok()))?;
    }
    if let Some(root) = needed.cuda_path {
        // SAFETY: the caller is the main thread at the start of a command, as documented.
        unsafe { std::env::set_var("CUDA_PATH", root) };
    }
    Ok(driver)
}

/// Loads a library for the life of the process.
fn keep(path: &Path) -> Result<(), Missing> {
    // SAFETY: loading one of NVIDIA's libraries runs its initialisers, as any CUDA program does.
    match unsafe { Library::open(Some(path), RTLD_NOW | RTLD_GLOBAL) } {
        Ok(library) => {
            // Never closed: cudarc and NVRTC hold pointers into it.
            library.into_raw();
            Ok(())
        }
        Err(error) => Err(Missing::new(
            format!("`{}` cannot be loaded: {}", path.display(), loaders(&error)),
            "install the CUDA toolkit anew",
        )),
    }
}

/// Whether the copy that cudarc will get is the one that was examined.
fn agrees(examined: &Path, reached: Option<PathBuf>) -> Result<(), Missing> {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    match reached {
        Some(reached) if real(&reached) == real(examined) => Ok(()),
        reached => Err(Missing::new(
            format!(
                "NVRTC: `{}` would be used, not `{}`",
                reached.as_deref().map_or("nothing".into(), Path::to_string_lossy),
                examined.display()
            ),
            format!(
                "export LD_LIBRARY_PATH={}:$LD_LIBRARY_PATH",
                examined.parent().unwrap_or(Path::new(".")).display()
            ),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_copy_than_the_one_examined_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("libnvrtc.so.13.0.88");
        let link = folder.path().join("libnvrtc.so.13");
        std::fs::write(&file, "").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert_eq!(agrees(&file, Some(link)), Ok(()));
        for other in [None, Some(PathBuf::from("/usr/lib/libnvrtc.so"))] {
            let missing = agrees(&file, other).unwrap_err();
            assert!(missing.mend.contains(&folder.path().display().to_string()), "{missing:?}");
        }
    }

    #[test]
    fn a_library_that_cannot_be_loaded_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let broken = folder.path().join("libnvrtc.so.13");
        std::fs::write(&broken, "not a library").unwrap();
        let missing = keep(&broken).unwrap_err();
        assert!(missing.what.contains(&broken.display().to_string()), "{missing}");
    }
}
