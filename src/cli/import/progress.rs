//! How far an import is: a bar on a terminal, log lines elsewhere.

use std::io::{self, IsTerminal as _};

use indicatif::{ProgressBar, ProgressStyle};
use log::LevelFilter;

/// The steps of an import, as they begin.
pub(super) enum ImportProgress {
    /// For people.
    Bar(ProgressBar),
    /// For whoever reads the log.
    Lines {
        /// Steps begun.
        begun: u64,
        /// Steps in all.
        steps: u64,
    },
}

impl ImportProgress {
    /// Nothing is done yet of so many steps. A bar takes the place of the log's chatter.
    pub(super) fn start(steps: u64) -> Self {
        if !io::stderr().is_terminal() {
            return Self::Lines { begun: 0, steps };
        }
        log::set_max_level(log::max_level().min(LevelFilter::Warn));
        let bar = ProgressBar::new(steps);
        if let Ok(style) = ProgressStyle::with_template("{bar:24} {pos}/{len} {msg}") {
            bar.set_style(style);
        }
        Self::Bar(bar)
    }

    /// Says what is done next.
    pub(super) fn step(&mut self, what: &str) {
        match self {
            Self::Bar(bar) => {
                bar.inc(1);
                bar.set_message(what.to_owned());
            }
            Self::Lines { begun, steps } => {
                *begun += 1;
                log::info!("step {begun} of {steps}: {what}");
            }
        }
    }

    /// Makes room for the summary.
    pub(super) fn finish(&self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

impl Drop for ImportProgress {
    /// A failure is not to be written behind a bar.
    fn drop(&mut self) {
        self.finish();
    }
}
