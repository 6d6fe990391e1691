//! Waiting for what a server does in its own time.

use std::thread;
use std::time::{Duration, Instant};

/// Between two questions.
const INTERVAL: Duration = Duration::from_millis(20);

/// Asks until the answer is yes or the time is over.
#[expect(clippy::disallowed_methods, reason = "no runtime here: everything blocks its thread")]
pub(crate) fn holds_within(timeout: Duration, mut question: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    loop {
        if question() {
            return true;
        }
        if start.elapsed() >= timeout {
            return false;
        }
        thread::sleep(INTERVAL);
    }
}
