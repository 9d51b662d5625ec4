//! What burn and CubeCL say of their own accord, where a person sees it.

use std::collections::HashSet;
use std::sync::{LazyLock, Mutex, PoisonError};

use log::{LevelFilter, Log, Metadata, Record};

use crate::terminal::note;

/// Prints warnings and errors to stderr, each text once.
struct Messages {
    said: LazyLock<Mutex<HashSet<String>>>,
}

static MESSAGES: Messages = Messages { said: LazyLock::new(|| Mutex::new(HashSet::new())) };

impl Log for Messages {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::Level::Warn
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let text = format!("{} ({})", record.args(), record.target());
        if self.said.lock().unwrap_or_else(PoisonError::into_inner).insert(text.clone()) {
            note!("{}: {text}", record.level().as_str().to_lowercase());
        }
    }

    fn flush(&self) {}
}

/// From now on; a second call changes nothing. Without it a failure on one of their threads would be seen only
/// by its effects.
pub fn show_messages() {
    if log::set_logger(&MESSAGES).is_ok() {
        log::set_max_level(LevelFilter::Warn);
    }
}
