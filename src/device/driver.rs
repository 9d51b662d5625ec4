//! Asks the NVIDIA driver itself, by loading its library: its version, the cards, their memory.
//!
//! cubecl panics in a worker thread where the driver is missing; here a person is told what is missing and
//! what mends it.

#![expect(unsafe_code, reason = "the CUDA driver is a C library, opened at run time")]

use std::ffi::{CStr, OsStr, OsString, c_char, c_int, c_uint, c_void};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use libloading::os::unix::{Library, RTLD_LAZY, RTLD_LOCAL};
use serde::Serialize;

/// A GPU, as the driver tells it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Card {
    /// The driver's number for it, after `CUDA_VISIBLE_DEVICES`.
    pub index: usize,
    /// `NVIDIA H100 80GB HBM3`.
    pub name: String,
    /// All of its memory [bytes].
    pub memory: u64,
    /// Compute capability: (9, 0) is `sm_90`.
    pub capability: (u32, u32),
    /// Streaming multiprocessors.
    pub processors: u32,
}

/// The driver and its cards.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Driver {
    /// The library that was loaded.
    pub path: PathBuf,
    /// The newest CUDA it speaks: (13, 0).
    pub cuda: (u32, u32),
    /// Its release, as `nvidia-smi` prints it, where the system tells: `580.95.05`.
    pub release: Option<String>,
    /// In the driver's order.
    pub cards: Vec<Card>,
}

/// Something that a GPU needs is not there.
#[derive(Debug, Clone, PartialEq, Serialize, thiserror::Error)]
#[error("{what}")]
pub struct Missing {
    /// What is wrong, with the place.
    pub what: String,
    /// A shell line or a sentence that mends it.
    pub mend: String,
}

impl Missing {
    pub(super) fn new(what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { what: what.into(), mend: mend.into() }
    }
}

/// A library that was loaded, and from where.
pub(super) struct Opened {
    pub(super) library: Library,
    pub(super) path: PathBuf,
}

/// Loads a library by name or path; `symbol` is a function it must have, by which its place is found.
///
/// A bare name is looked for where the loader looks (`LD_LIBRARY_PATH`, `ldconfig`), or is a library of
/// that name that the process holds already.
pub(super) fn open(name: &OsStr, symbol: &str) -> Result<Opened, String> {
    // SAFETY: loading one of NVIDIA's libraries runs its initialisers, as any CUDA program does.
    let library =
        unsafe { Library::open(Some(name), RTLD_LAZY | RTLD_LOCAL) }.map_err(|e| loaders(&e))?;
    // SAFETY: the symbol is only looked at for its address, never called by this type.
    let address = unsafe { library.get::<*const c_void>(symbol) }
        .map_err(|e| format!("{}: {e}", name.display()))?
        .as_raw_ptr();
    // SAFETY: a structure of plain pointers, for which zero is a value.
    let mut place: libc::Dl_info = unsafe { std::mem::zeroed() };
    // SAFETY: dladdr writes the structure it is given; the string in it lives as long as the library.
    let path = unsafe {
        (libc::dladdr(address, &raw mut place) != 0 && !place.dli_fname.is_null())
            .then(|| text(place.dli_fname))
    };
    Ok(Opened { library, path: path.map_or_else(|| PathBuf::from(name), PathBuf::from) })
}

/// The words of the loader for an error.
pub(super) fn loaders(error: &libloading::Error) -> String {
    use std::error::Error;
    error.source().map_or_else(|| error.to_string(), ToString::to_string)
}

/// A function of a library.
///
/// # Safety
///
/// `T` is the function's type, and is not called after the library is closed.
pub(super) unsafe fn function<T: Copy>(library: &Library, name: &str) -> Option<T> {
    // SAFETY: as the caller promises.
    unsafe { library.get::<T>(name) }.ok().map(|symbol| *symbol)
}

/// # Safety
///
/// `text` ends with a zero.
unsafe fn text(text: *const c_char) -> OsString {
    use std::os::unix::ffi::OsStrExt;
    // SAFETY: as the caller promises.
    OsStr::from_bytes(unsafe { CStr::from_ptr(text) }.to_bytes()).to_owned()
}

/// Whether a library is one of those that toolkits ship for linking only; every call of theirs fails.
pub(super) fn is_stub(path: &Path) -> bool {
    let within = |path: &Path| path.components().any(|part| part.as_os_str() == "stubs");
    within(path) || path.canonicalize().is_ok_and(|real| within(&real))
}

/// How programs name the driver; cudarc asks for the second first.
const NAMES: [&str; 2] = ["libcuda.so.1", "libcuda.so"];

/// Where the driver lies on systems whose loader does not look there: WSL, Kubernetes, NixOS, bare images.
const FOLDERS: [&str; 6] = [
    "/usr/lib/wsl/lib",
    "/usr/local/nvidia/lib64",
    "/run/opengl-driver/lib",
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib64",
];

/// Asks the driver for its version and cards. It stays loaded, so that cudarc finds it too.
///
/// # Errors
///
/// [`Missing`] where there is no driver, it refuses, or it has no card to offer.
pub(super) fn driver() -> Result<Driver, Missing> {
    let opened = opened()?;
    ask(&opened.library, &opened.path)
}

fn opened() -> Result<&'static Opened, Missing> {
    static OPENED: OnceLock<Opened> = OnceLock::new();
    if let Some(opened) = OPENED.get() {
        return Ok(opened);
    }
    let found = find(&|name| open(name, "cuInit"))?;
    Ok(OPENED.get_or_init(|| found))
}

/// The first driver that is not a stub, unless a stub is what cudarc would get.
fn find(open: &dyn Fn(&OsStr) -> Result<Opened, String>) -> Result<Opened, Missing> {
    let mut stub = None;
    let names = NAMES.iter().map(PathBuf::from);
    let places = FOLDERS.iter().map(|folder| Path::new(folder).join(NAMES[0]));
    let mut driver = None;
    let mut why = None;
    for name in names.chain(places) {
        match open(name.as_os_str()) {
            Ok(opened) if is_stub(&opened.path) => stub = stub.or(Some(opened.path)),
            Ok(opened) => {
                driver = Some(opened);
                break;
            }
            Err(error) if why.is_none() => why = Some(error),
            Err(_) => {}
        }
    }
    let shadow = open(OsStr::new(NAMES[1])).ok().map(|o| o.path).filter(|path| is_stub(path));
    match (driver, shadow.or(stub)) {
        (_, Some(stub)) => Err(Missing::new(
            format!("`{}` is a stub for linking, not the NVIDIA driver", stub.display()),
            "take the folder `stubs` off LD_LIBRARY_PATH",
        )),
        (Some(driver), None) => Ok(driver),
        (None, None) => Err(Missing::new(
            format!("no NVIDIA driver ({})", why.unwrap_or_else(|| NAMES[0].to_owned())),
            "install the NVIDIA driver until `nvidia-smi` lists the card, in a container start it with \
             `--gpus all`; or use --device cpu",
        )),
    }
}

type DeviceAnd<T> = unsafe extern "C" fn(*mut T, c_int) -> c_int;

fn ask(library: &Library, path: &Path) -> Result<Driver, Missing> {
    let lacks = |name: &str| {
        Missing::new(
            format!("the NVIDIA driver `{}` has no `{name}`", path.display()),
            "install a newer NVIDIA driver",
        )
    };
    // SAFETY: the signatures are those of cuda.h; what is written to is of the type and size they say.
    unsafe {
        macro_rules! call {
            ($name:literal: $type:ty, $($argument:expr),*) => {{
                let call: $type = function(library, $name).ok_or_else(|| lacks($name))?;
                check($name, call($($argument),*))?;
            }};
        }
        call!("cuInit": unsafe extern "C" fn(c_uint) -> c_int, 0);
        let (mut version, mut count) = (0, 0);
        call!("cuDriverGetVersion": unsafe extern "C" fn(*mut c_int) -> c_int, &raw mut version);
        call!("cuDeviceGetCount": unsafe extern "C" fn(*mut c_int) -> c_int, &raw mut count);
        if count < 1 {
            return Err(refused("cuDeviceGetCount", NO_DEVICE));
        }
        let mut cards = Vec::new();
        for index in 0..count {
            let (mut device, mut memory) = (0, 0);
            let mut name = [0 as c_char; 256];
            call!("cuDeviceGet": DeviceAnd<c_int>, &raw mut device, index);
            call!(
                "cuDeviceGetName": unsafe extern "C" fn(*mut c_char, c_int, c_int) -> c_int,
                name.as_mut_ptr(), 255, device
            );
            call!("cuDeviceTotalMem_v2": DeviceAnd<usize>, &raw mut memory, device);
            let mut attributes = [0; 3];
            for (value, attribute) in attributes.iter_mut().zip([MAJOR, MINOR, PROCESSORS]) {
                call!(
                    "cuDeviceGetAttribute": unsafe extern "C" fn(*mut c_int, c_int, c_int) -> c_int,
                    value, attribute, device
                );
            }
            let [major, minor, processors] = attributes.map(c_int::cast_unsigned);
            cards.push(Card {
                index: index as usize,
                name: text(name.as_ptr()).to_string_lossy().into_owned(),
                memory: memory as u64,
                capability: (major, minor),
                processors,
            });
        }
        Ok(Driver {
            path: path.to_owned(),
            cuda: split(version.cast_unsigned()),
            release: release(path),
            cards,
        })
    }
}

/// `CU_DEVICE_ATTRIBUTE_*` of cuda.h.
const MAJOR: c_int = 75;
const MINOR: c_int = 76;
const PROCESSORS: c_int = 16;

/// 13010 is CUDA 13.1.
fn split(version: u32) -> (u32, u32) {
    (version / 1000, version % 1000 / 10)
}

/// The release of the driver: what its kernel module says, else what its library's file is called.
fn release(path: &Path) -> Option<String> {
    let told = std::fs::read_to_string("/proc/driver/nvidia/version").ok();
    told.and_then(|text| release_in(&text)).or_else(|| {
        let real = path.canonicalize().ok()?;
        let number = real.file_name()?.to_str()?.strip_prefix("libcuda.so.")?.to_owned();
        is_release(&number).then_some(number)
    })
}

/// The release in the text of `/proc/driver/nvidia/version`.
fn release_in(text: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with("NVRM version:"))?;
    line.split_whitespace().find(|word| is_release(word)).map(str::to_owned)
}

fn is_release(word: &str) -> bool {
    word.contains('.') && word.split('.').all(|part| part.parse::<u32>().is_ok())
}

fn check(call: &str, code: c_int) -> Result<(), Missing> {
    if code == 0 { Ok(()) } else { Err(refused(call, code)) }
}

const NO_DEVICE: c_int = 100;

/// What an error of the driver means and what mends it; the codes are those of cuda.h.
fn refused(call: &str, code: c_int) -> Missing {
    const RELOAD: &str = "reboot, or `sudo rmmod nvidia_uvm && sudo modprobe nvidia_uvm`";
    let (name, mend) = match code {
        2 => ("OUT_OF_MEMORY", "end what else runs on the card (`nvidia-smi` lists it)"),
        3 => ("NOT_INITIALIZED", RELOAD),
        34 => ("STUB_LIBRARY", "take the folder `stubs` off LD_LIBRARY_PATH"),
        46 => ("DEVICE_UNAVAILABLE", "end what else runs on the card (`nvidia-smi` lists it)"),
        NO_DEVICE => (
            "NO_DEVICE",
            "check that `nvidia-smi` lists a card, CUDA_VISIBLE_DEVICES does not hide it, and a container \
             was started with `--gpus all`; or use --device cpu",
        ),
        101 => ("INVALID_DEVICE", "correct CUDA_VISIBLE_DEVICES; `nvidia-smi -L` lists the cards"),
        304 => {
            ("OPERATING_SYSTEM", "let this user read and write /dev/nvidia*; or use --device cpu")
        }
        800 => ("NOT_PERMITTED", "let this user read and write /dev/nvidia*; or use --device cpu"),
        802 => ("SYSTEM_NOT_READY", "sudo systemctl start nvidia-fabricmanager"),
        803 => (
            "SYSTEM_DRIVER_MISMATCH",
            "reboot: the driver's library was replaced under its running kernel module",
        ),
        804 => (
            "COMPAT_NOT_SUPPORTED_ON_DEVICE",
            "take the folder `compat` of the CUDA toolkit off LD_LIBRARY_PATH",
        ),
        805 => ("MPS_CONNECTION_FAILED", "start MPS with `nvidia-cuda-mps-control -d`, or end it"),
        999 => ("UNKNOWN", RELOAD),
        _ => ("another error", "see that `nvidia-smi` works; or use --device cpu"),
    };
    Missing::new(format!("the NVIDIA driver answers `{call}` with {name} ({code})"), mend)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The C library in place of a driver: what is loaded from where is all that `find` looks at.
    fn library_at(path: &str) -> Opened {
        Opened { library: Library::this(), path: PathBuf::from(path) }
    }

    #[test]
    fn a_library_that_is_loaded_says_where_it_lies() {
        let opened = open(OsStr::new("libc.so.6"), "malloc").unwrap();
        assert!(opened.path.is_absolute() && opened.path.is_file(), "{:?}", opened.path);
        assert!(open(OsStr::new("libc.so.6"), "cuInit").is_err());
        let error = open(OsStr::new("libnone.so.7"), "cuInit").err().unwrap();
        assert!(error.contains("libnone.so.7"), "{error}");
    }

    #[test]
    fn a_stub_is_never_taken_for_the_driver() {
        let real = "/usr/lib/libcuda.so.1";
        let stub = "/usr/local/cuda/lib64/stubs/libcuda.so";
        let asked = |first: Option<&'static str>, second: Option<&'static str>| {
            find(&|name: &OsStr| {
                let path = match name.to_str() {
                    Some("libcuda.so.1") => first,
                    Some("libcuda.so") => second,
                    _ => None,
                };
                path.map(library_at).ok_or_else(|| "no such file".to_owned())
            })
            .map(|opened| opened.path)
        };
        assert_eq!(asked(Some(real), None), Ok(PathBuf::from(real)));
        assert_eq!(asked(None, Some(real)), Ok(PathBuf::from(real)));
        // cudarc asks for `libcuda.so` first, so the stub would win though the driver is there.
        for found in [asked(Some(real), Some(stub)), asked(None, Some(stub))] {
            let missing = found.unwrap_err();
            assert!(missing.what.contains(stub) && missing.mend.contains("LD_LIBRARY_PATH"));
        }
        let missing = asked(None, None).unwrap_err();
        assert!(missing.what.contains("no NVIDIA driver (no such file)"), "{missing}");
    }

    #[test]
    fn the_release_is_read_as_the_kernel_module_writes_it() {
        for text in [
            "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.95.05  Tue Sep 23 10:11:16 UTC 2025\n\
             GCC version:  gcc version 11.4.0 (Ubuntu)\n",
            "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build\n",
        ] {
            assert_eq!(release_in(text).as_deref(), Some("580.95.05"));
        }
        assert_eq!(release_in("GCC version: 11.4.0"), None);
        assert!(is_release("580.95.05") && !is_release("1"), "libcuda.so.1 names no release");
        assert_eq!((split(13000), split(12080)), ((13, 0), (12, 8)));
    }

    #[test]
    fn errors_carry_name_number_and_a_hint() {
        for (code, name) in [(100, "NO_DEVICE"), (803, "SYSTEM_DRIVER_MISMATCH"), (999, "UNKNOWN")]
        {
            let missing = check("cuInit", code).unwrap_err();
            assert!(missing.what.contains(name) && missing.what.contains(&code.to_string()));
            assert!(!missing.mend.is_empty());
        }
        assert_eq!(check("cuInit", 0), Ok(()));
    }
}
