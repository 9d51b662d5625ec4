//! The `[device]` block: where cells run.

use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::spanned::unspanned;

/// Where cells run.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DeviceSpec {
    /// `cpu` or `cuda`.
    pub kind: DeviceKind,
    /// Cells side by side; 0 lets a short trial choose.
    pub workers: Spanned<u64>,
    /// GPUs by their number, to which cells are dealt; the first one alone when empty.
    pub devices: Spanned<Vec<usize>>,
    /// How the kernels of matrix products are chosen on a GPU.
    pub matmul: Matmul,
}

impl Default for DeviceSpec {
    fn default() -> Self {
        Self {
            kind: DeviceKind::Cpu,
            workers: unspanned(0),
            devices: unspanned(Vec::new()),
            matmul: Matmul::Fixed,
        }
    }
}

/// A kind of device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum DeviceKind {
    /// Any CPU.
    Cpu,
    /// An NVIDIA GPU, through burn-cuda.
    Cuda,
}

/// How the kernel of a matrix product is chosen on a GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Matmul {
    /// By types and layouts alone: the same kernel, and bits, every time.
    Fixed,
    /// The quickest of all, found by trials at the first use of a shape; may differ from process to process.
    Autotune,
}
