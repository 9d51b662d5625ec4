//! A bar for what is read.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::study::preparing::Watch;
use crate::terminal::note;

/// What is shown while files are read; nothing where stderr is no terminal.
pub(super) struct Bar(ProgressBar);

impl Bar {
    pub(super) fn new() -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(5));
        let style = "  {msg:<10} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec}, {eta} left";
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style);
        }
        Self(bar)
    }

    /// Takes it away.
    pub(super) fn end(&self) {
        self.0.finish_and_clear();
    }
}

impl Watch for Bar {
    fn read(&self, stage: &str, done: u64, all: u64) {
        self.0.set_length(all);
        self.0.set_position(done);
        self.0.set_message(stage.to_owned());
    }

    fn note(&self, text: &str) {
        self.0.suspend(|| note!("{text}"));
    }
}
