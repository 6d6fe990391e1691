//! The line on a terminal that shows a measurement while it runs. It is not drawn elsewhere.

use std::cell::RefCell;
use std::pin::pin;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::tally::{self, Latencies, REFUSED, has_succeeded, latencies};

/// The time between two updates of the line.
const INTERVAL: Duration = Duration::from_secs(1);

/// The line, and what it will show next.
pub(crate) struct Progress {
    bar: ProgressBar,
    window: RefCell<Window>,
}

/// The answers since the last update, and the refusals and errors of the measurement.
struct Window {
    latencies: Latencies,
    succeeded: u64,
    refused: u64,
    errors: u64,
}

impl Progress {
    pub(crate) fn new() -> Self {
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{msg}") {
            bar.set_style(style);
        }
        Self { bar, window: RefCell::new(Window::new()) }
    }

    /// Shows what is done before a measurement.
    pub(crate) fn say(&self, text: String) {
        self.bar.set_message(text);
    }

    /// Counts an answer.
    pub(crate) fn answered(&self, status: u16, latency: Duration) {
        if self.bar.is_hidden() {
            return;
        }
        let mut window = self.window.borrow_mut();
        match status {
            REFUSED => window.refused += 1,
            status if has_succeeded(status) => window.succeeded += 1,
            _ => window.errors += 1,
        }
        tally::record(&mut window.latencies, latency);
    }

    /// Counts a request that was not answered.
    pub(crate) fn unanswered(&self) {
        self.window.borrow_mut().errors += 1;
    }

    /// Waits for a measurement and shows its progress each second.
    pub(crate) async fn during<T>(&self, name: &str, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        *self.window.borrow_mut() = Window::new();
        for second in 1.. {
            if let Ok(done) = tokio::time::timeout(INTERVAL, &mut work).await {
                return done;
            }
            self.bar.set_message(self.window.borrow_mut().line(name, second));
        }
        work.await
    }
}

impl Drop for Progress {
    /// Removes the line before the result.
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

impl Window {
    fn new() -> Self {
        Self { latencies: latencies(), succeeded: 0, refused: 0, errors: 0 }
    }

    /// The line for the last second, which begins the next one.
    fn line(&mut self, name: &str, second: u64) -> String {
        let Self { latencies, succeeded, refused, errors } = self;
        let [p50, p99] = [50.0, 99.0].map(|percent| tally::percentile(latencies, percent));
        let line = format!(
            "{name}, {second} s: {succeeded}/s, p50 {p50:.1} ms, p99 {p99:.1} ms, {refused} refused, {errors} errors"
        );
        latencies.reset();
        *succeeded = 0;
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_about_the_last_second() {
        let mut window = Window { succeeded: 3, refused: 1, ..Window::new() };
        tally::record(&mut window.latencies, Duration::from_millis(12));
        let line = window.line("plain", 2);
        assert_eq!(line, "plain, 2 s: 3/s, p50 12.0 ms, p99 12.0 ms, 1 refused, 0 errors");
        let line = window.line("plain", 3);
        assert_eq!(line, "plain, 3 s: 0/s, p50 0.0 ms, p99 0.0 ms, 1 refused, 0 errors");
    }
}
