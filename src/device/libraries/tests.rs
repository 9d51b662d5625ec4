//! Machines in a folder, with what a loader would say of them.

use std::fs;

use super::nvrtc::{COMPILER, refusal};
use super::*;
use crate::device::driver::Card;

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
            let text =
                if file.ends_with("api.h") { "#define CUDART_VERSION  13000\n" } else { "13.0" };
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
    for site in ["opt/app/.venv/lib/python3.12/site-packages", "env/lib/python3.9/site-packages"] {
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
