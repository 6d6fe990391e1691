//! The line on a terminal that shows what a command does and for how long. It is not drawn elsewhere.

use std::pin::pin;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// The time between two updates. What takes less has no line.
const INTERVAL: Duration = Duration::from_secs(1);

/// The line of a command without countable steps.
pub(crate) struct ElapsedTime(ProgressBar);

impl ElapsedTime {
    /// Prepares the line for work that begins now.
    pub(crate) fn of(work: &'static str) -> Self {
        let bar = ProgressBar::new_spinner().with_message(work);
        if let Ok(style) = ProgressStyle::with_template("{msg}: {elapsed}") {
            bar.set_style(style);
        }
        Self(bar)
    }

    /// Waits for the work and updates the line each second; then removes it.
    pub(crate) async fn show_during<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            if let Ok(done) = tokio::time::timeout(INTERVAL, &mut work).await {
                self.0.finish_and_clear();
                return done;
            }
            self.0.tick();
        }
    }

    /// Removes the line while something is printed.
    pub(crate) fn suspend<T>(&self, print: impl FnOnce() -> T) -> T {
        self.0.suspend(print)
    }
}
