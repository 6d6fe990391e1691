//! Waiting for a condition: in a thread, and in a task.

use std::thread;
use std::time::{Duration, Instant};

/// Between two checks.
const INTERVAL: Duration = Duration::from_millis(20);

/// Checks a condition until it holds; false if it does not within `timeout`. Blocks the thread.
#[expect(clippy::disallowed_methods, reason = "no runtime here: everything blocks its thread")]
pub fn holds_within(timeout: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    loop {
        if condition() {
            return true;
        }
        if start.elapsed() >= timeout {
            return false;
        }
        thread::sleep(INTERVAL);
    }
}

/// Waits until a condition holds; returns how long that took.
pub async fn until(
    what: &str,
    limit: Duration,
    mut condition: impl AsyncFnMut() -> bool,
) -> Duration {
    let start = Instant::now();
    while !condition().await {
        assert!(start.elapsed() < limit, "not within {limit:?}: {what}");
        tokio::time::sleep(INTERVAL).await;
    }
    start.elapsed()
}
