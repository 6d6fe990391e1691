//! The refreshes of a copy in memory, and the requests that wait for the next one.
//!
//! A request that does not find something in the copy asks for a refresh and waits for it a moment. However many
//! requests wait, one refresh serves all of them; the task that refreshes decides how often.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, Notify, Semaphore, watch};

/// The refreshes of one copy.
pub(crate) struct Refreshes {
    /// How many refreshes have begun.
    begun: AtomicU64,
    /// The number of the newest refresh that has ended.
    ended: watch::Sender<u64>,
    running: Mutex<()>,
    wanted: Notify,
    waiting: Semaphore,
}

impl Refreshes {
    /// Refreshes for which at most `waiting_max` requests wait at the same time.
    pub(crate) fn new(waiting_max: usize) -> Self {
        Self {
            begun: AtomicU64::new(0),
            ended: watch::Sender::new(0),
            running: Mutex::default(),
            wanted: Notify::new(),
            waiting: Semaphore::new(waiting_max),
        }
    }

    /// Waits for a refresh that begins after this call. False if too many requests wait already, or if it takes longer
    /// than `limit`.
    pub(crate) async fn wait(&self, limit: Duration) -> bool {
        let Ok(_permit) = self.waiting.try_acquire() else { return false };
        let begun = self.begun.load(Ordering::Acquire);
        let mut ended = self.ended.subscribe();
        self.wanted.notify_one();
        let later = ended.wait_for(|number| *number > begun);
        matches!(tokio::time::timeout(limit, later).await, Ok(Ok(_)))
    }

    /// Completes when a request waits for a refresh.
    pub(crate) async fn wanted(&self) {
        self.wanted.notified().await;
    }

    /// Runs a refresh, after the one that is running.
    pub(crate) async fn run<T>(&self, refresh: impl Future<Output = T>) -> T {
        let _turn = self.running.lock().await;
        let number = self.begun.fetch_add(1, Ordering::AcqRel) + 1;
        let result = refresh.await;
        self.ended.send_replace(number);
        result
    }

    /// From now on no request waits.
    #[cfg(test)]
    pub(crate) fn close(&self) {
        self.waiting.close();
    }
}
