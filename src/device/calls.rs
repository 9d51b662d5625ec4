//! Counts and times what this process asks of the NVIDIA driver, through CUPTI's callbacks.
//!
//! CUPTI comes with the toolkit and is loaded at run time. Its callbacks run on the thread that calls
//! the driver, so they do little: a name is compared, a few atomics are added to.

#![expect(unsafe_code, reason = "CUPTI is a C library that calls back")]

use std::cell::Cell;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use serde::Serialize;

use super::driver::{function, open};
use super::libraries::{CUPTI, cupti};

/// Calls of the driver that have returned, and the time of the host within them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Kernels launched, one by one.
    pub launches: u64,
    /// Within those launches [ns].
    pub launch_ns: u64,
    /// Graphs launched.
    pub replays: u64,
    /// Copies from the host to a device.
    pub copies_to_device: u64,
    /// Copies from a device to the host.
    pub copies_from_device: u64,
    /// Copies from device to device.
    pub copies_on_device: u64,
    /// Memory asked of a device.
    pub allocations: u64,
    /// Waits for a stream, an event or a context.
    pub waits: u64,
    /// Within those waits [ns].
    pub wait_ns: u64,
    /// All other calls.
    pub others: u64,
    /// Within all calls, those above too [ns].
    pub call_ns: u64,
}

impl Counts {
    /// What was added since an earlier reading.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            launches: self.launches.saturating_sub(earlier.launches),
            launch_ns: self.launch_ns.saturating_sub(earlier.launch_ns),
            replays: self.replays.saturating_sub(earlier.replays),
            copies_to_device: self.copies_to_device.saturating_sub(earlier.copies_to_device),
            copies_from_device: self.copies_from_device.saturating_sub(earlier.copies_from_device),
            copies_on_device: self.copies_on_device.saturating_sub(earlier.copies_on_device),
            allocations: self.allocations.saturating_sub(earlier.allocations),
            waits: self.waits.saturating_sub(earlier.waits),
            wait_ns: self.wait_ns.saturating_sub(earlier.wait_ns),
            others: self.others.saturating_sub(earlier.others),
            call_ns: self.call_ns.saturating_sub(earlier.call_ns),
        }
    }
}

/// Classes of calls; the number is the place in [`Tally::calls`].
#[derive(Debug, Clone, Copy, PartialEq)]
enum Class {
    Launch,
    Replay,
    ToDevice,
    FromDevice,
    OnDevice,
    Allocation,
    Wait,
    Other,
}

/// What all threads add to.
#[derive(Default)]
struct Tally {
    calls: [AtomicU64; Class::Other as usize + 1],
    launch_ns: AtomicU64,
    wait_ns: AtomicU64,
    call_ns: AtomicU64,
}

impl Tally {
    fn add(&self, class: Class, ns: u64) {
        self.calls[class as usize].fetch_add(1, Relaxed);
        self.call_ns.fetch_add(ns, Relaxed);
        match class {
            Class::Launch => self.launch_ns.fetch_add(ns, Relaxed),
            Class::Wait => self.wait_ns.fetch_add(ns, Relaxed),
            _ => 0,
        };
    }

    fn read(&self) -> Counts {
        let calls = |class: Class| self.calls[class as usize].load(Relaxed);
        Counts {
            launches: calls(Class::Launch),
            launch_ns: self.launch_ns.load(Relaxed),
            replays: calls(Class::Replay),
            copies_to_device: calls(Class::ToDevice),
            copies_from_device: calls(Class::FromDevice),
            copies_on_device: calls(Class::OnDevice),
            allocations: calls(Class::Allocation),
            waits: calls(Class::Wait),
            wait_ns: self.wait_ns.load(Relaxed),
            others: calls(Class::Other),
            call_ns: self.call_ns.load(Relaxed),
        }
    }
}

/// The class of a function of the driver, by its name in cuda.h.
fn class(name: &[u8]) -> Class {
    const PREFIXES: [(&[u8], Class); 11] = [
        (b"cuLaunchKernel", Class::Launch),
        (b"cuLaunchCooperativeKernel", Class::Launch),
        (b"cuGraphLaunch", Class::Replay),
        (b"cuMemcpyHtoD", Class::ToDevice),
        (b"cuMemcpyDtoH", Class::FromDevice),
        (b"cuMemcpyDtoD", Class::OnDevice),
        // Before the next: memory of the host.
        (b"cuMemAllocHost", Class::Other),
        (b"cuMemAlloc", Class::Allocation),
        (b"cuStreamSynchronize", Class::Wait),
        (b"cuEventSynchronize", Class::Wait),
        (b"cuCtxSynchronize", Class::Wait),
    ];
    let known = PREFIXES.iter().find(|(prefix, _)| name.starts_with(prefix));
    known.map_or(Class::Other, |(_, class)| *class)
}

/// How `CUpti_CallbackData` of cupti_callbacks.h begins.
#[repr(C)]
struct Data {
    /// 0 on the way in, 1 on the way out.
    site: c_int,
    function: *const c_char,
    /// The arguments of the call, in a structure.
    arguments: *const c_void,
}

/// How `CUDA_MEMCPY2D_st` of cuda.h begins, as far as the two kinds of memory.
#[repr(C)]
struct Copy2d {
    from_x: usize,
    from_y: usize,
    from: u32,
    from_places: [usize; 3],
    from_pitch: usize,
    to_x: usize,
    to_y: usize,
    to: u32,
}

/// The class of a copy of rows, which goes by its arguments: cubecl copies padded rows with it, both ways.
///
/// # Safety
///
/// `arguments` is null, or begins with a pointer that is null or points to a [`Copy2d`].
unsafe fn class_2d(arguments: *const c_void) -> Class {
    /// `CU_MEMORYTYPE_HOST`.
    const HOST: u32 = 1;
    // SAFETY: as the caller promises.
    let copy = unsafe { arguments.cast::<*const Copy2d>().as_ref().and_then(|copy| copy.as_ref()) };
    match copy {
        Some(copy) if copy.to == HOST => Class::FromDevice,
        Some(copy) if copy.from != HOST => Class::OnDevice,
        _ => Class::ToDevice,
    }
}

thread_local! {
    /// Where this thread is: whose tally counts (its address), how many calls deep, since when.
    static WITHIN: Cell<(usize, u32, Option<Instant>)> = const { Cell::new((0, 0, None)) };
}

/// CUPTI calls this before and after each call of the driver.
///
/// # Safety
///
/// `tally` is a [`Tally`] and `data` a `CUpti_CallbackData` of a function of the driver.
unsafe extern "C" fn called(tally: *mut c_void, _domain: u32, _id: u32, data: *const c_void) {
    // SAFETY: as the caller promises; the name ends with a zero.
    let (tally, data) = unsafe { (&*tally.cast::<Tally>(), &*data.cast::<Data>()) };
    let own = std::ptr::from_ref(tally).addr();
    // What an earlier count left in the middle of a call is void.
    let (depth, began) = match WITHIN.get() {
        (whose, depth, began) if whose == own => (depth, began),
        _ => (0, None),
    };
    if data.site == 0 {
        WITHIN.set((own, depth + 1, began.or_else(|| Some(Instant::now()))));
        return;
    }
    // A call that began before anyone counted has no beginning.
    let (Some(depth), Some(start)) = (depth.checked_sub(1), began) else { return };
    WITHIN.set((own, depth, began.filter(|_| depth > 0)));
    // A call within a call is a part of it.
    if depth > 0 || data.function.is_null() {
        return;
    }
    let ns = start.elapsed().as_nanos() as u64;
    // SAFETY: as the caller promises.
    let name = unsafe { CStr::from_ptr(data.function) }.to_bytes();
    let class = if name.starts_with(b"cuMemcpy2D") {
        // SAFETY: the arguments of each function of this name begin with the pointer to its description.
        unsafe { class_2d(data.arguments) }
    } else {
        class(name)
    };
    tally.add(class, ns);
}

type Callback = unsafe extern "C" fn(*mut c_void, u32, u32, *const c_void);
type Unsubscribe = unsafe extern "C" fn(*mut c_void) -> c_int;

/// Counts until it is dropped.
pub struct Calls {
    subscriber: *mut c_void,
    unsubscribe: Unsubscribe,
    tally: &'static Tally,
}

impl Calls {
    /// Begins to count the calls of all threads, from zero. `None` where CUPTI is not there, or refuses: one
    /// observer at a time is allowed, and a profiler is one.
    pub fn start() -> Option<Self> {
        /// `CUPTI_CB_DOMAIN_DRIVER_API`.
        const DRIVER: c_int = 1;
        let library = open(cupti()?.as_os_str(), CUPTI.1).ok()?.library;
        // Never freed, at 100 bytes a start: a call in flight may still be counted after the end.
        let tally: &'static Tally = Box::leak(Box::default());
        let mut subscriber = std::ptr::null_mut();
        // SAFETY: the signatures are those of cupti_callbacks.h; `called` gets the tally it expects.
        unsafe {
            let subscribe: unsafe extern "C" fn(*mut *mut c_void, Callback, *mut c_void) -> c_int =
                function(&library, CUPTI.1)?;
            let enable: unsafe extern "C" fn(u32, *mut c_void, c_int) -> c_int =
                function(&library, "cuptiEnableDomain")?;
            let unsubscribe: Unsubscribe = function(&library, "cuptiUnsubscribe")?;
            // Never closed: once asked, it has hooks in the driver.
            library.into_raw();
            let userdata = std::ptr::from_ref(tally).cast_mut().cast();
            if subscribe(&raw mut subscriber, called, userdata) != 0 {
                return None;
            }
            let calls = Self { subscriber, unsubscribe, tally };
            (enable(1, subscriber, DRIVER) == 0).then_some(calls)
        }
    }

    /// What was counted so far.
    pub fn read(&self) -> Counts {
        self.tally.read()
    }
}

impl Drop for Calls {
    fn drop(&mut self) {
        // SAFETY: the subscriber is CUPTI's own, and this is its end.
        unsafe { (self.unsubscribe)(self.subscriber) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IN: c_int = 0;
    const OUT: c_int = 1;

    /// Plays CUPTI: one side of one call.
    fn tell(tally: &Tally, site: c_int, function: &CStr, arguments: *const c_void) {
        let data = Data { site, function: function.as_ptr(), arguments };
        let tally = std::ptr::from_ref(tally).cast_mut().cast();
        unsafe { called(tally, 1, 0, (&raw const data).cast()) };
    }

    fn call(tally: &Tally, function: &CStr) {
        tell(tally, IN, function, std::ptr::null());
        tell(tally, OUT, function, std::ptr::null());
    }

    #[test]
    fn calls_are_sorted_by_the_names_of_the_driver() {
        let tally = Tally::default();
        for name in [
            c"cuLaunchKernel",
            c"cuLaunchKernelEx",
            c"cuLaunchKernel_ptsz",
            c"cuGraphLaunch",
            c"cuMemcpyHtoDAsync_v2",
            c"cuMemcpyDtoHAsync_v2",
            c"cuMemcpyDtoDAsync_v2",
            c"cuMemAllocAsync",
            c"cuMemAllocHost_v2",
            c"cuStreamSynchronize",
            c"cuEventSynchronize",
            c"cuCtxSynchronize",
            c"cuLaunchHostFunc",
        ] {
            call(&tally, name);
        }
        let counts = Counts { launch_ns: 0, wait_ns: 0, call_ns: 0, ..tally.read() };
        let want = Counts {
            launches: 3,
            replays: 1,
            copies_to_device: 1,
            copies_from_device: 1,
            copies_on_device: 1,
            allocations: 1,
            waits: 3,
            others: 2,
            ..Counts::default()
        };
        assert_eq!(counts, want);
        assert_eq!(want.since(&want), Counts::default());
        assert_eq!(want.since(&Counts { waits: 1, ..Counts::default() }).waits, 2);
    }

    #[test]
    fn a_copy_of_rows_is_sorted_by_its_ends() {
        assert_eq!(std::mem::offset_of!(Copy2d, from), 16);
        assert_eq!(std::mem::offset_of!(Copy2d, to), 72);
        let (host, device) = (1, 2);
        let went = |from, to| {
            let (x, y) = (0, 0);
            let copy = Copy2d {
                from_x: x,
                from_y: y,
                from,
                from_places: [0; 3],
                from_pitch: 0,
                to_x: x,
                to_y: y,
                to,
            };
            let arguments = &raw const copy;
            let tally = Tally::default();
            tell(&tally, IN, c"cuMemcpy2DAsync_v2", (&raw const arguments).cast());
            tell(&tally, OUT, c"cuMemcpy2DAsync_v2", (&raw const arguments).cast());
            let counts = tally.read();
            (counts.copies_to_device, counts.copies_from_device, counts.copies_on_device)
        };
        assert_eq!(went(host, device), (1, 0, 0));
        assert_eq!(went(device, host), (0, 1, 0));
        assert_eq!(went(device, device), (0, 0, 1));
    }

    #[test]
    fn time_counts_once_and_only_of_calls_that_were_seen_whole() {
        let tally = Tally::default();
        tell(&tally, OUT, c"cuStreamSynchronize", std::ptr::null());
        assert_eq!(tally.read(), Counts::default());
        let began = Instant::now();
        tell(&tally, IN, c"cuStreamSynchronize", std::ptr::null());
        call(&tally, c"cuLaunchKernel");
        std::thread::sleep(std::time::Duration::from_millis(5));
        tell(&tally, OUT, c"cuStreamSynchronize", std::ptr::null());
        let (counts, most) = (tally.read(), began.elapsed().as_nanos() as u64);
        assert_eq!((counts.waits, counts.launches, counts.launch_ns), (1, 0, 0));
        assert!((5_000_000..=most).contains(&counts.wait_ns), "{counts:?}");
        assert_eq!(counts.call_ns, counts.wait_ns);
        call(&tally, c"cuMemAllocAsync");
        let last = tally.read().since(&counts);
        assert!(last.allocations == 1 && last.call_ns < 5_000_000, "its own time only: {last:?}");
        // A count that ends in the middle of a call leaves nothing to the next.
        tell(&tally, IN, c"cuStreamSynchronize", std::ptr::null());
        let next = Tally::default();
        call(&next, c"cuLaunchKernel");
        assert_eq!((next.read().launches, next.read().waits), (1, 0));
    }

    #[test]
    fn threads_do_not_mix_their_calls() {
        let tally = Tally::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..1000).for_each(|_| call(&tally, c"cuLaunchKernel")));
            }
        });
        assert_eq!(tally.read().launches, 4000);
    }
}
