//! `isoflop device`: what can train here, whether it computes right, how fast it is.

mod bench;
mod check;
mod found;

use std::io::Write as _;
use std::sync::mpsc;
use std::time::Duration;

use super::args::{DeviceArgs, DeviceVerb, Which};
use super::{Failure, print};
use crate::device::{self, Chosen, Wanted};
use crate::error::{InputError, exit};
use crate::spec::{DeviceKind, Matmul};
use crate::terminal::note;

pub(super) fn execute(args: &DeviceArgs) -> Result<u8, Failure> {
    match &args.verb {
        None => Ok(found::show(args.json)),
        Some(DeviceVerb::Check(args)) => check::check(args),
        Some(DeviceVerb::Bench(args)) => bench::bench(args),
    }
}

/// The device that is asked for; what a CPU has no use for is refused, not overlooked.
fn choose(which: &Which) -> Result<Chosen, Failure> {
    let cuda = [("--card", which.card.is_some()), ("--matmul", which.matmul.is_some())];
    if let (DeviceKind::Cpu, Some((flag, _))) =
        (which.device, cuda.iter().find(|(_, given)| *given))
    {
        return Err(only_cuda(flag).into());
    }
    let (cards, matmul) = (which.card.into_iter().collect(), which.matmul.unwrap_or(Matmul::Fixed));
    Ok(device::choose(&Wanted { kind: which.device, cards, matmul })?)
}

fn only_cuda(flag: &str) -> InputError {
    InputError::new(
        format!("{flag} means nothing on the CPU"),
        "give --device cuda with it, or leave it out",
    )
}

/// What is told on the way: the data themselves, or progress beside JSON.
fn say(which: &Which, text: &str) {
    if which.json { note!("{text}") } else { print(text) }
}

/// Ends this process when `work` has not come back a while after its limit: a device that hangs answers
/// nothing, and no thread that waits for it can be ended.
fn watched<T>(limit: f64, what: &str, work: impl FnOnce() -> T) -> T {
    /// Time that the last part may take beyond the limit [s].
    const GRACE: f64 = 20.0;
    let (done, waiting) = mpsc::channel::<()>();
    let what = what.to_owned();
    std::thread::spawn(move || {
        let most = Duration::from_secs_f64(limit + GRACE);
        if waiting.recv_timeout(most) == Err(mpsc::RecvTimeoutError::Timeout) {
            let _ = std::io::stdout().flush();
            note!(
                "error: {what} did not end within its limit of {limit} s and {GRACE} s more\n\
                 hint: give more by --limit; a GPU that answers nothing is seen by nvidia-smi"
            );
            std::process::exit(i32::from(exit::AGAIN));
        }
    });
    let out = work();
    drop(done);
    out
}
