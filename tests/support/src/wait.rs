//! Waiting for a condition that a server fulfils in its own time.

use std::fmt::Debug;
use std::thread;
use std::time::{Duration, Instant};

/// The pause between two attempts.
const INTERVAL: Duration = Duration::from_millis(20);

/// Repeats `attempt` until it succeeds, and returns its result. After the timeout it panics with `what` and the last
/// error.
pub async fn eventually<T, E: Debug, F: Future<Output = Result<T, E>>>(
    what: &str,
    timeout: Duration,
    mut attempt: impl FnMut() -> F,
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

/// Repeats `question` until it is answered with yes; returns false after the timeout.
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
