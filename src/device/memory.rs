//! How much memory there is, and pages that stay with the process.
//!
//! A training step frees and asks again for the same megabytes. glibc hands blocks of that size back to
//! the kernel at once and takes new, zeroed pages for them: page faults were a fifth of a step
//! (docs/LOG.md). Elsewhere the allocator is left as it is.

use std::path::Path;

use crate::plan::Recipe;

/// Least that training holds of a parameter: value, gradient and two moments in f32 [bytes].
const PER_PARAM: u64 = 16;

/// What this process may have at most [bytes]: memory and swap of the machine, or less where a control group
/// or a limit of the process says so. `None` where nobody says.
pub(crate) fn limit() -> Option<u64> {
    let read = |path: &Path| std::fs::read_to_string(path).ok();
    let machine = read(Path::new("/proc/meminfo")).and_then(|text| machine(&text));
    let groups = read(Path::new("/proc/self/cgroup")).map_or(Vec::new(), |text| groups(&text));
    let group = groups.iter().filter_map(|file| read(Path::new(file))?.trim().parse().ok()).min();
    machine.into_iter().chain(group).chain(own()).min()
}

/// Memory and swap in the text of `/proc/meminfo` [bytes].
fn machine(meminfo: &str) -> Option<u64> {
    let kib = |name: &str| -> Option<u64> {
        let rest = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
        rest.trim().strip_suffix("kB")?.trim().parse().ok()
    };
    Some(1024 * (kib("MemTotal:")? + kib("SwapTotal:").unwrap_or(0)))
}

/// Files with the limits of the groups that `/proc/self/cgroup` names, versions 1 and 2, and of all that they
/// lie in.
fn groups(cgroup: &str) -> Vec<String> {
    let of = |line: &str| -> Option<Vec<String>> {
        let mut parts = line.splitn(3, ':').skip(1);
        let (root, file) = match parts.next()? {
            "" => ("/sys/fs/cgroup", "memory.max"),
            "memory" => ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
            _ => return None,
        };
        let inner = Path::new(parts.next()?).ancestors().map(|group| {
            let group = group.to_string_lossy();
            format!("{root}{}/{file}", group.trim_end_matches('/'))
        });
        Some(inner.collect())
    };
    cgroup.lines().filter_map(of).flatten().collect()
}

/// The limit of the process on its address space [bytes].
fn own() -> Option<u64> {
    #[cfg(unix)]
    {
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        #[expect(unsafe_code, reason = "a limit of the process, as the C library tells it")]
        // SAFETY: the call writes the structure it is given, and nothing else.
        let told = unsafe { libc::getrlimit(libc::RLIMIT_AS, &raw mut limit) } == 0;
        (told && limit.rlim_cur != libc::RLIM_INFINITY).then_some(limit.rlim_cur)
    }
    #[cfg(not(unix))]
    None
}

/// Why a cell cannot be trained in so much memory [bytes], if that is certain from its parameters alone.
pub(crate) fn lacking(recipe: &Recipe, limit: Option<u64>) -> Option<String> {
    let needs = PER_PARAM * recipe.shape.counts().total as u64;
    let limit = limit.filter(|limit| needs > *limit)?;
    let gb = |bytes: u64| bytes as f64 / 1e9;
    Some(format!(
        "{OUT_OF_MEMORY}: weights, gradients and moments alone are {:.1} GB, this process may have {:.1} GB",
        gb(needs),
        gb(limit)
    ))
}

/// How the reason begins when memory was what lacked.
pub(crate) const OUT_OF_MEMORY: &str = "out of memory";

/// Whether a message, of a device's driver or allocator, says that memory ran out.
pub(crate) fn ran_out(message: &str) -> bool {
    let letters = message.chars().filter(char::is_ascii_alphabetic);
    let squeezed: String = letters.map(|c| c.to_ascii_lowercase()).collect();
    squeezed.contains("outofmemory") || squeezed.contains("memoryallocation")
}

/// Blocks up to this size come from the heap, not from a mapping of their own [bytes].
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const LARGEST: libc::c_int = 1 << 30;

/// Tells the allocator to keep what is freed; the peak of memory does not change.
pub(crate) fn keep_pages() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[expect(unsafe_code, reason = "a setting of the C library's allocator")]
    // SAFETY: mallopt only sets parameters of the allocator and may be called at any time.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGEST);
        libc::mallopt(libc::M_TRIM_THRESHOLD, libc::c_int::MAX);
        libc::mallopt(libc::M_TOP_PAD, 1 << 26);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_and_the_groups_are_read_as_linux_writes_them() {
        let meminfo = "MemTotal:       24000000 kB\nMemFree: 1 kB\nSwapTotal:       1000 kB\n";
        assert_eq!(machine(meminfo), Some(24_001_000 * 1024));
        assert_eq!(machine("nonsense"), None);
        let second = groups("0::/slurm/job_1\n");
        let at = |group: &str| format!("/sys/fs/cgroup{group}/memory.max");
        assert_eq!(second, [at("/slurm/job_1"), at("/slurm"), at("")]);
        let first = groups("5:memory:/job\n4:cpu:/x\n");
        let at = |group: &str| format!("/sys/fs/cgroup/memory{group}/memory.limit_in_bytes");
        assert_eq!(first, [at("/job"), at("")]);
        if cfg!(target_os = "linux") {
            assert!(limit().expect("Linux says") > 1 << 28);
        }
    }

    #[test]
    fn words_of_drivers_for_a_lack_of_memory_are_known() {
        for text in
            ["CUDA_ERROR_OUT_OF_MEMORY", "OutOfMemory { size: 4 }", "device is out of memory"]
        {
            assert!(ran_out(text), "{text}");
        }
        assert!(!ran_out("index out of bounds: memory"));
    }
}
