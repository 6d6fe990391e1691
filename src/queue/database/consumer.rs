//! The consumer of one partition of the queue in the database. It holds a lease: a row with an end time. Each fetch of
//! messages renews the lease.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::sync::watch;
use tokio::time::{sleep, timeout_at};
use uuid::Uuid;

use crate::queue::{Deliveries, Message, Partition, QueueError, UNSETTLED_MAX};
use crate::store::{Fetched, Store, StoredMessage};

/// How long a lease is valid, and the time after which it is renewed.
const LEASE: Duration = Duration::from_secs(10);
const RENEWAL: Duration = Duration::from_secs(3);

/// The average time between two attempts to get the lease.
const LEASE_INTERVAL: Duration = Duration::from_millis(250);

/// The most messages that are fetched with one query.
const FETCH_MAX: usize = 512;

/// The consumer of one partition, which holds the lease or waits for it.
pub(super) struct DatabaseConsumer {
    store: Arc<Store>,
    partition: Partition,
    owner: Uuid,
    last: watch::Receiver<i64>,
    /// The number of the last message that was fetched under this lease.
    fetched_until: i64,
    /// Whether the last fetch reached the end of the partition, or another consumer held the lease.
    is_at_end: bool,
    /// When the lease was last renewed; `None` without a lease.
    renewed_at: Option<Instant>,
    ready: VecDeque<(i64, Message)>,
    unsettled: VecDeque<i64>,
}

impl DatabaseConsumer {
    /// `last` changes when a message is published.
    pub(super) fn new(store: Arc<Store>, partition: Partition, last: watch::Receiver<i64>) -> Self {
        Self {
            store,
            partition,
            owner: Uuid::now_v7(),
            last,
            fetched_until: 0,
            is_at_end: false,
            renewed_at: None,
            ready: VecDeque::new(),
            unsettled: VecDeque::new(),
        }
    }

    /// Waits until the next fetch is due. The first fetch, and a fetch that follows a full page, is due immediately.
    async fn wait(&mut self) {
        match self.renewed_at {
            _ if !self.is_at_end => {}
            Some(renewed_at) => {
                // A time-out renews the lease. An error means that the queue was closed.
                let _ = timeout_at((renewed_at + RENEWAL).into(), self.last.changed()).await;
            }
            None => sleep(LEASE_INTERVAL.mul_f64(0.5 + fastrand::f64())).await,
        }
    }

    async fn fetch(&mut self) -> Result<(), QueueError> {
        self.last.mark_unchanged();
        let started_at = Instant::now();
        let lease = (self.partition.0, self.owner);
        let fetched = self.store.queue_fetch(lease, LEASE, self.fetched_until, FETCH_MAX).await;
        match fetched.map_err(QueueError::new)? {
            Fetched::Messages(found) => {
                self.renewed_at = Some(started_at);
                self.is_at_end = found.len() < FETCH_MAX;
                for (number, StoredMessage { id, body, .. }) in found {
                    self.fetched_until = number;
                    self.ready.push_back((number, Message { id, body }));
                }
            }
            // The fetched messages may be delivered twice, but a request has its effect only once.
            Fetched::Leased if self.renewed_at.is_some() => {
                return Err(QueueError::new("another consumer has taken the lease"));
            }
            Fetched::Leased => self.is_at_end = true,
        }
        Ok(())
    }
}

#[async_trait]
impl Deliveries for DatabaseConsumer {
    async fn next(&mut self) -> Result<Message, QueueError> {
        if self.unsettled.len() >= usize::from(UNSETTLED_MAX) {
            // The caller must settle messages first.
            std::future::pending::<()>().await;
        }
        loop {
            if let Some((number, message)) = self.ready.pop_front() {
                self.unsettled.push_back(number);
                return Ok(message);
            }
            self.wait().await;
            self.fetch().await?;
        }
    }

    async fn settle(&mut self, count: usize) -> Result<(), QueueError> {
        let Some(until) = self.unsettled.get(count.wrapping_sub(1)).copied() else {
            return Ok(());
        };
        self.store.queue_settle(self.partition.0, until).await.map_err(QueueError::new)?;
        self.unsettled.drain(..count);
        Ok(())
    }
}

impl Drop for DatabaseConsumer {
    fn drop(&mut self) {
        let store = Arc::clone(&self.store);
        let partition = self.partition.0;
        let owner = self.owner;
        if self.renewed_at.is_some()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            // If this fails, the next consumer waits until the lease ends.
            runtime.spawn(async move { store.queue_release_lease(partition, owner).await });
        }
    }
}
