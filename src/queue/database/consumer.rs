//! The consumer of one partition of the queue in the database. Its turn is a row with an end, renewed as long
//! as it asks for more.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use tokio::sync::watch;
use uuid::Uuid;

use crate::queue::{Deliveries, Message, Partition, QueueError, UNSETTLED_MAX};
use crate::store::{Fetched, Store, StoredMessage};

/// How long a consumer that does not renew its turn keeps others waiting, and after which time it renews.
const TURN: Duration = Duration::from_secs(10);
const RENEWAL: Duration = Duration::from_secs(3);

/// How often a consumer that waits for its turn asks for it.
const ASK_INTERVAL: Duration = Duration::from_millis(250);

/// Messages fetched at once.
const FETCH_MAX: usize = 512;

/// The consumer of one partition, or one that waits for its turn.
pub(super) struct DatabaseConsumer {
    store: Arc<Store>,
    partition: Partition,
    owner: Uuid,
    news: watch::Receiver<i64>,
    /// The number up to which everything was fetched in this turn.
    fetched_until: i64,
    /// Whether nothing more was there at the last look.
    is_at_end: bool,
    /// When the turn was last renewed; absent while somebody else has it.
    renewed: Option<Instant>,
    ready: VecDeque<(i64, Message)>,
    unsettled: VecDeque<i64>,
}

impl DatabaseConsumer {
    /// Waits for its turn; `news` tells when something was published.
    pub(super) fn new(store: Arc<Store>, partition: Partition, news: watch::Receiver<i64>) -> Self {
        Self {
            store,
            partition,
            owner: Uuid::now_v7(),
            news,
            fetched_until: 0,
            is_at_end: false,
            renewed: None,
            ready: VecDeque::new(),
            unsettled: VecDeque::new(),
        }
    }

    async fn take(&mut self) -> Result<Message, QueueError> {
        if self.unsettled.len() >= usize::from(UNSETTLED_MAX) {
            // Some have to be settled first.
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

    /// Waits until it is time to ask again.
    async fn wait(&mut self) {
        let Some(renewed) = self.renewed else {
            // At once for the first time.
            if self.is_at_end {
                tokio::time::sleep(ASK_INTERVAL.mul_f64(0.5 + fastrand::f64())).await;
            }
            return;
        };
        if self.is_at_end {
            let due = tokio::time::Instant::from_std(renewed + RENEWAL);
            // An error means that the queue was closed; the turn goes on until its end.
            let _ = tokio::time::timeout_at(due, self.news.changed()).await;
        }
    }

    async fn fetch(&mut self) -> Result<(), QueueError> {
        self.news.mark_unchanged();
        let asked = Instant::now();
        let turn = (self.partition.0, self.owner);
        let fetched = self.store.queue_fetch(turn, TURN, self.fetched_until, FETCH_MAX).await;
        match fetched.map_err(QueueError::new)? {
            Fetched::Messages(found) => {
                self.renewed = Some(asked);
                self.is_at_end = found.len() < FETCH_MAX;
                for (number, StoredMessage { id, body, .. }) in found {
                    self.fetched_until = number;
                    self.ready.push_back((number, Message { id, body }));
                }
                Ok(())
            }
            // What was fetched may be executed twice, which has one effect.
            Fetched::Taken if self.renewed.is_some() => {
                Err(QueueError::new("another consumer has taken its turn"))
            }
            Fetched::Taken => {
                self.is_at_end = true;
                Ok(())
            }
        }
    }
}

impl Deliveries for DatabaseConsumer {
    fn next(&mut self) -> BoxFuture<'_, Result<Message, QueueError>> {
        Box::pin(self.take())
    }

    fn settle(&mut self, count: usize) -> BoxFuture<'_, Result<(), QueueError>> {
        Box::pin(async move {
            let Some(until) = self.unsettled.get(count.wrapping_sub(1)).copied() else {
                return Ok(());
            };
            self.store.queue_delete(self.partition.0, until).await.map_err(QueueError::new)?;
            self.unsettled.drain(..count);
            Ok(())
        })
    }
}

impl Drop for DatabaseConsumer {
    fn drop(&mut self) {
        if self.renewed.is_none() {
            return;
        }
        let (store, partition, owner) = (Arc::clone(&self.store), self.partition.0, self.owner);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            // Left undone, the next consumer waits for the end of this turn.
            runtime.spawn(async move { store.queue_leave(partition, owner).await });
        }
    }
}
