//! Where compiled and tuned kernels are kept, so that only the first run on a machine pays for them.

use std::path::PathBuf;

use cubecl::config::{CubeClRuntimeConfig, RuntimeConfig as _, cache::CacheConfig};

use crate::terminal::note;

/// Names another folder.
const VARIABLE: &str = "ISOFLOP_CACHE";

/// The folder of kernels: `$ISOFLOP_CACHE`, else `isoflop` in the user's cache folder; none where there is no home,
/// since others may write to what is left.
fn folder() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    set(VARIABLE)
        .or_else(|| set("XDG_CACHE_HOME").map(|dir| dir.join("isoflop")))
        .or_else(|| set("HOME").map(|dir| dir.join(".cache/isoflop")))
}

/// Keeps compiled and tuned kernels in [`folder`] from now on. What else a `cubecl.toml` or CubeCL's variables
/// say holds.
pub(super) fn keep() {
    let mut config = CubeClRuntimeConfig::from_current_dir().override_from_env();
    match folder().map(|dir| (std::fs::create_dir_all(&dir), dir)) {
        Some((Ok(()), dir)) => {
            config.compilation.cache = true;
            config.environment.path = CacheConfig::Directory(dir);
        }
        Some((Err(e), dir)) => note!(
            "warning: cannot keep compiled kernels in `{}` ({e}): they are compiled anew each time; \
             {VARIABLE} names another folder",
            dir.display()
        ),
        None => {}
    }
    // Only the first call of a process counts.
    CubeClRuntimeConfig::try_set(config);
}
