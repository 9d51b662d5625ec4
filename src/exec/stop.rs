//! Signals that ask a run to end: the first is answered with a checkpoint, a later one at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR2};
use signal_hook::iterator::Signals;

use crate::error::exit;
use crate::terminal::note;

/// Signals within this time are one request: a batch system may signal a process directly and through its
/// shell.
const ONE_REQUEST: Duration = Duration::from_secs(1);

/// Whether the run was asked to end.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    signal: Arc<AtomicI32>,
    /// Nothing is in the making that a signal would have to wait for.
    at_once: Arc<AtomicBool>,
}

impl Stop {
    /// Asked by SIGTERM, SIGINT or SIGUSR2. Another one a second later or more ends the process with exit
    /// code 75.
    ///
    /// # Errors
    ///
    /// The system's, where handlers cannot be set.
    pub fn on_signals() -> std::io::Result<Self> {
        let this = Self::default();
        let mut signals = Signals::new([SIGTERM, SIGINT, SIGUSR2])?;
        let asked = this.clone();
        std::thread::spawn(move || {
            let mut first: Option<Instant> = None;
            for signal in signals.forever() {
                if first.get_or_insert_with(Instant::now).elapsed() > ONE_REQUEST {
                    std::process::exit(i32::from(exit::AGAIN));
                }
                asked.signal.store(signal, Ordering::SeqCst);
                if asked.at_once.load(Ordering::SeqCst) {
                    asked.end();
                }
            }
        });
        Ok(this)
    }

    /// All is trained: from now on a signal ends the process at once with exit code 75, and so does one that came
    /// before. What follows (fit, figures, report) reads records and writes whole files.
    pub fn at_once(&self) {
        self.at_once.store(true, Ordering::SeqCst);
        if self.signal.load(Ordering::SeqCst) != 0 {
            self.end();
        }
    }

    fn end(&self) -> ! {
        note!("Stopped by {}. Every run is kept; the same command goes on.", self.why());
        std::process::exit(i32::from(exit::AGAIN));
    }

    /// Whether it was.
    pub fn asked(&self) -> bool {
        self.signal.load(Ordering::Relaxed) != 0
    }

    /// Who asked.
    pub fn why(&self) -> String {
        match self.signal.load(Ordering::Relaxed) {
            SIGINT => "SIGINT",
            SIGUSR2 => "SIGUSR2",
            SIGTERM => "SIGTERM",
            _ => "another cell's record could not be written",
        }
        .to_owned()
    }
}
