//! The progress of an import: a bar on a terminal, log lines elsewhere.

use std::io::{self, IsTerminal as _};

use indicatif::{ProgressBar, ProgressStyle};
use log::LevelFilter;

/// The steps of an import, as they begin.
pub(super) struct ImportProgress(ProgressBar);

impl ImportProgress {
    /// Starts the progress of an import of `steps` steps. On a terminal a bar replaces the log lines of level info;
    /// elsewhere the bar is not drawn.
    pub(super) fn start(steps: u64) -> Self {
        if io::stderr().is_terminal() {
            log::set_max_level(log::max_level().min(LevelFilter::Warn));
        }
        let bar = ProgressBar::new(steps);
        if let Ok(style) = ProgressStyle::with_template("{bar:24} {pos}/{len} {msg}") {
            bar.set_style(style);
        }
        Self(bar)
    }

    /// Shows the step that begins.
    pub(super) fn step(&self, name: &str) {
        self.0.inc(1);
        self.0.set_message(name.to_owned());
        let steps = self.0.length().unwrap_or_default();
        log::info!("step {} of {steps}: {name}", self.0.position());
    }

    /// Removes the bar before the summary.
    pub(super) fn finish(&self) {
        self.0.finish_and_clear();
    }
}

impl Drop for ImportProgress {
    /// Removes the bar, so that an error is not written on the same line.
    fn drop(&mut self) {
        self.finish();
    }
}
