//! Signals that ask a run to end: the first is answered with a checkpoint, the second at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR2};
use signal_hook::flag;

use crate::error::exit;

/// Whether the run was asked to end.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    signal: Arc<AtomicUsize>,
}

impl Stop {
    /// Never asked, unless [`ask`](Self::ask) is called.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asked by SIGTERM, SIGINT or SIGUSR2. After the first the next one ends the process with exit code 75.
    ///
    /// # Errors
    ///
    /// The system's, where handlers cannot be set.
    pub fn on_signals() -> std::io::Result<Self> {
        let (this, asked) = (Self::new(), Arc::new(AtomicBool::new(false)));
        for signal in [SIGTERM, SIGINT, SIGUSR2] {
            // In this order, so that the first signal only sets the flags.
            flag::register_conditional_shutdown(signal, i32::from(exit::AGAIN), asked.clone())?;
            flag::register(signal, asked.clone())?;
            flag::register_usize(signal, this.signal.clone(), signal as usize)?;
        }
        Ok(this)
    }

    /// Asks.
    pub fn ask(&self) {
        self.signal.store(SIGTERM as usize, Ordering::Relaxed);
    }

    /// Whether it was.
    pub fn asked(&self) -> bool {
        self.signal.load(Ordering::Relaxed) != 0
    }

    /// Who asked.
    pub fn why(&self) -> String {
        let asked = self.signal.load(Ordering::Relaxed);
        let names = [(SIGINT, "SIGINT"), (SIGUSR2, "SIGUSR2"), (SIGTERM, "SIGTERM")];
        let name = names.into_iter().find(|(signal, _)| asked == *signal as usize);
        name.map_or("another cell's record could not be written", |(_, name)| name).to_owned()
    }
}
