//! Functions that wait for a condition, in a thread or in a task.

use std::fmt::Debug;
use std::thread;
use std::time::{Duration, Instant};

/// The pause between two attempts.
const INTERVAL: Duration = Duration::from_millis(20);

/// Repeats `attempt` until it succeeds, and returns its result. Panics after the timeout, with `what` and the last
/// error.
pub async fn eventually<T, E: Debug>(
    what: &str,
    timeout: Duration,
    mut attempt: impl AsyncFnMut() -> Result<T, E>,
) -> T {
    let end = tokio::time::Instant::now() + timeout;
    loop {
        let error = match attempt().await {
            Ok(result) => return result,
            Err(error) => error,
        };
        assert!(tokio::time::Instant::now() < end, "{what}: not within {timeout:?}: {error:?}");
        tokio::time::sleep(INTERVAL).await;
    }
}

/// Checks a condition until it holds. Returns false if it does not hold within `timeout`. Blocks the thread.
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

/// Waits until a condition holds, and returns how long that took.
pub async fn until(
    what: &str,
    limit: Duration,
    mut condition: impl AsyncFnMut() -> bool,
) -> Duration {
    let start = Instant::now();
    eventually(what, limit, async || condition().await.then_some(()).ok_or("it does not hold"))
        .await;
    start.elapsed()
}
