//! Which device a cell runs on, and one clear line when there is none.

use burn::tensor::Device;
#[cfg(feature = "cuda")]
use burn::tensor::FloatDType;

use crate::error::{InputError, exit};
use crate::ops::Kernels;
use crate::spec::DeviceKind;
use crate::train::Place;

/// A device that is there.
#[derive(Debug, Clone)]
pub struct Chosen {
    /// For training.
    pub place: Place,
    /// As a person would name it.
    pub name: String,
    /// Cells side by side that are worth a trial when the sweep does not say.
    pub most_workers: usize,
    /// Memory that cells share, where it is known [bytes].
    pub memory: Option<u64>,
}

/// Finds the device a sweep asks for.
///
/// # Errors
///
/// [`InputError`] when it is not there; nothing was started then.
pub fn choose(kind: DeviceKind) -> Result<Chosen, InputError> {
    match kind {
        DeviceKind::Cpu => {
            let cores = std::thread::available_parallelism().map_or(1, usize::from);
            super::memory::keep_pages();
            Ok(Chosen {
                place: Place { device: Device::flex(), kernels: Kernels::Fused },
                name: format!("CPU, {cores} cores"),
                most_workers: cores,
                memory: super::memory::limit(),
            })
        }
        DeviceKind::Cuda => cuda(),
    }
}

/// One line: what is missing and what to do instead.
fn refuse(what: &str) -> InputError {
    InputError { message: format!("device `cuda`: {what}"), hint: None, code: exit::INPUT }
}

#[cfg(not(feature = "cuda"))]
fn cuda() -> Result<Chosen, InputError> {
    Err(refuse(
        "this isoflop was built without CUDA; `cargo build --release --features cuda`, or use --device cpu",
    ))
}

#[cfg(feature = "cuda")]
fn cuda() -> Result<Chosen, InputError> {
    driver::probe()?;
    Ok(Chosen {
        // f32 weights and sums, products in bf16: what pretraining runs use.
        place: Place { device: Device::cuda(0), kernels: Kernels::Cubes(FloatDType::BF16) },
        name: "NVIDIA GPU 0".to_owned(),
        most_workers: 1,
        memory: None,
    })
}

#[cfg(feature = "cuda")]
mod driver {
    //! Asks the NVIDIA driver itself, because burn panics in a worker thread where it is missing.

    use std::ffi::c_int;

    use libloading::{Library, Symbol};

    use super::refuse;
    use crate::error::InputError;

    const DRIVER: [&str; 2] = ["libcuda.so.1", "libcuda.so"];
    const COMPILER: [&str; 4] =
        ["libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so", "libnvrtc.so.11.2"];

    pub(super) fn probe() -> Result<(), InputError> {
        let driver = open(&DRIVER).ok_or_else(|| {
            refuse("no NVIDIA driver (libcuda.so.1 cannot be loaded); use --device cpu")
        })?;
        match count(&driver) {
            Err(code) => Err(refuse(&format!(
                "the NVIDIA driver answers with error {code}; use --device cpu"
            ))),
            Ok(0) => Err(refuse("the NVIDIA driver finds no GPU; use --device cpu")),
            Ok(_) if open(&COMPILER).is_none() => Err(refuse(
                "no kernel compiler (libnvrtc cannot be loaded); install the CUDA toolkit and set \
                 CUDA_PATH and LD_LIBRARY_PATH to it",
            )),
            Ok(_) => Ok(()),
        }
    }

    fn open(names: &[&str]) -> Option<Library> {
        // SAFETY: loading NVIDIA's libraries runs their initialisers, which is what any CUDA program does.
        names.iter().find_map(|name| unsafe { Library::new(*name) }.ok())
    }

    fn count(driver: &Library) -> Result<c_int, c_int> {
        // CUDA_ERROR_NOT_INITIALIZED, for a driver without these two functions.
        const MISSING: c_int = 3;
        // SAFETY: the signatures are those of the CUDA driver API, cuInit and cuDeviceGetCount.
        unsafe {
            let init: Symbol<'_, unsafe extern "C" fn(u32) -> c_int> =
                driver.get(b"cuInit\0").map_err(|_| MISSING)?;
            let get_count: Symbol<'_, unsafe extern "C" fn(*mut c_int) -> c_int> =
                driver.get(b"cuDeviceGetCount\0").map_err(|_| MISSING)?;
            // CUDA_ERROR_NO_DEVICE is the driver's way to say zero.
            match init(0) {
                0 => {}
                100 => return Ok(0),
                code => return Err(code),
            }
            let mut devices = 0;
            match get_count(&raw mut devices) {
                0 => Ok(devices),
                code => Err(code),
            }
        }
    }
}
