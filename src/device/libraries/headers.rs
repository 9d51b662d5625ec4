//! The headers that kernels include, and what CUDA_PATH must be for cubecl to find them.

use std::path::{Path, PathBuf};

use super::{Asked, Part, install, part};
use crate::device::driver::Driver;
use crate::device::places::roots;

impl Asked<'_> {
    /// The headers that cubecl will give to NVRTC, and what CUDA_PATH must become for that.
    pub(super) fn headers(&self, driver: Option<&Driver>) -> (Part, Option<PathBuf>) {
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
