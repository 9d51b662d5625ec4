//! Pages the process has once had stay with it.
//!
//! A training step frees and asks again for the same megabytes. glibc hands blocks of that size back to
//! the kernel at once and takes new, zeroed pages for them: page faults were a fifth of a step
//! (docs/LOG.md). Elsewhere the allocator is left as it is.

/// Blocks up to this size come from the heap, not from a mapping of their own [bytes].
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const LARGEST: libc::c_int = 1 << 30;

/// Tells the allocator to keep what is freed; the peak of memory does not change.
pub(super) fn keep_pages() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: mallopt only sets parameters of the allocator and may be called at any time.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGEST);
        libc::mallopt(libc::M_TRIM_THRESHOLD, libc::c_int::MAX);
        libc::mallopt(libc::M_TOP_PAD, 1 << 26);
    }
}
