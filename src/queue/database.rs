//! The queue in the service's own database (`db://`): nothing else to run, and a restart loses nothing.
//!
//! What many requests publish at once goes in with one transaction: while one commits, the next gathers.
//! A consumer's turn is a row with an end, renewed as long as it asks for more.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::domain::clock::EpochMs;
use crate::domain::failure::StoreError;
use crate::store::{Fetched, Store, StoredLetter, StoredMessage};

use super::{
    DeadLetter, Deliveries, Fate, Message, PUBLISH_LIMIT, Partition, PublishError, Queue,
    QueueError, UNSETTLED_MAX,
};
use crate::gather::Gather;

/// Messages appended in one transaction, and those that may wait for it.
const APPEND_MAX: usize = 512;
const WAITING_MAX: usize = 8_192;

/// How often a process looks for what others have published.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// How long a consumer that does not renew its turn keeps others waiting, and after which time it renews.
const TURN: Duration = Duration::from_secs(10);
const RENEWAL: Duration = Duration::from_secs(3);

/// How often whoever waits for a turn asks for it.
const ASK_INTERVAL: Duration = Duration::from_millis(250);

/// Messages fetched at once.
const FETCH_MAX: usize = 512;

/// A message on its way into the database.
struct Appending {
    message: StoredMessage,
    confirm: oneshot::Sender<Result<(), PublishError>>,
}

/// The queue in the database.
pub struct DatabaseQueue {
    store: Arc<Store>,
    appender: Gather<Appending>,
    /// The newest number that this process knows of.
    last: watch::Sender<i64>,
    looking: JoinHandle<()>,
}

impl DatabaseQueue {
    /// A queue of at most `max` messages. Must be called inside a tokio runtime.
    #[must_use]
    pub fn start(store: Arc<Store>, max: u64) -> Self {
        let (last, _) = watch::channel(0);
        let looking = tokio::spawn(look(Arc::clone(&store), last.clone()));
        let (into, news) = (Arc::clone(&store), last.clone());
        let appender = Gather::start((APPEND_MAX, WAITING_MAX), move |gathered| {
            append(Arc::clone(&into), gathered, max, news.clone())
        });
        Self { store, appender, last, looking }
    }

    async fn append(&self, partition: Partition, message: Message) -> Result<(), PublishError> {
        let (confirm, confirmed) = oneshot::channel();
        let appending = Appending { message: stored(partition, message), confirm };
        self.appender.push(appending).map_err(|_| PublishError::Full)?;
        match tokio::time::timeout(PUBLISH_LIMIT, confirmed).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) | Err(_) => Err(PublishError::Unknown),
        }
    }
}

/// Appends what has gathered, with one transaction.
async fn append(store: Arc<Store>, mut batch: Vec<Appending>, max: u64, last: watch::Sender<i64>) {
    // Nobody waits any more for those that are left out.
    batch.retain(|appending| !appending.confirm.is_closed());
    let messages = batch.iter().map(|appending| appending.message.clone()).collect();
    // Answered well before those who wait give up.
    let result = match store.queue_append(messages, max, PUBLISH_LIMIT / 2).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(PublishError::Full),
        Err(StoreError::Timeout) => Err(PublishError::Unknown),
        Err(error) => Err(PublishError::Away(error.to_string())),
    };
    if result.is_ok() {
        // Consumers look again; the number itself comes with the next look.
        last.send_modify(|last| *last += 1);
    }
    for Appending { confirm, .. } in batch {
        drop(confirm.send(result.clone()));
    }
}

/// Tells this process' consumers when others have published.
async fn look(store: Arc<Store>, last: watch::Sender<i64>) {
    let mut failing = false;
    loop {
        tokio::time::sleep(LOOK_INTERVAL).await;
        if last.receiver_count() == 0 {
            continue;
        }
        match store.queue_last().await {
            Ok(found) => {
                last.send_if_modified(|last| std::mem::replace(last, found) != found);
                failing = false;
            }
            Err(error) if !failing => {
                log::warn!("the queue cannot be read: {error}");
                failing = true;
            }
            Err(_) => {}
        }
    }
}

fn stored(partition: Partition, Message { id, body }: Message) -> StoredMessage {
    StoredMessage { partition: partition.0, id, body }
}

fn letter(StoredLetter { message, reason, parked_at }: StoredLetter) -> DeadLetter {
    let StoredMessage { partition, id, body } = message;
    DeadLetter {
        message: Message { id, body },
        partition: Partition(partition),
        reason,
        parked_at: EpochMs(parked_at),
    }
}

impl Queue for DatabaseQueue {
    fn publish(
        &self,
        partition: Partition,
        message: Message,
    ) -> BoxFuture<'_, Result<(), PublishError>> {
        Box::pin(self.append(partition, message))
    }

    fn open(&self, partition: Partition) -> BoxFuture<'_, Result<Box<dyn Deliveries>, QueueError>> {
        let consumer = Consumer {
            store: Arc::clone(&self.store),
            partition,
            owner: Uuid::now_v7(),
            news: self.last.subscribe(),
            fetched_until: 0,
            is_at_end: false,
            renewed: None,
            ready: VecDeque::new(),
            unsettled: VecDeque::new(),
        };
        Box::pin(async move { Ok(Box::new(consumer) as Box<dyn Deliveries>) })
    }

    fn park(
        &self,
        partition: Partition,
        message: Message,
        reason: String,
    ) -> BoxFuture<'_, Result<(), QueueError>> {
        Box::pin(async move {
            let parked = self.store.queue_park(stored(partition, message), reason).await;
            parked.map_err(QueueError::new)
        })
    }

    fn letters(&self, limit: usize) -> BoxFuture<'_, Result<Vec<DeadLetter>, QueueError>> {
        Box::pin(async move {
            let found = self.store.queue_letters(None, limit).await.map_err(QueueError::new)?;
            Ok(found.into_iter().map(letter).collect())
        })
    }

    fn take(&self, id: String, fate: Fate) -> BoxFuture<'_, Result<bool, QueueError>> {
        Box::pin(async move {
            let found = self.store.queue_letters(Some(id.clone()), 1).await;
            let found = found.map_err(QueueError::new)?.into_iter().next();
            let Some(DeadLetter { message, partition, .. }) = found.map(letter) else {
                return Ok(false);
            };
            if fate == Fate::Retry {
                self.append(partition, message).await.map_err(QueueError::new)?;
            }
            self.store.queue_drop(id).await.map_err(QueueError::new)
        })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            self.appender.stop();
            self.looking.abort();
        })
    }
}

impl Drop for DatabaseQueue {
    fn drop(&mut self) {
        self.looking.abort();
    }
}

/// The consumer of one partition, or one that waits for its turn.
struct Consumer {
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

impl Consumer {
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

impl Deliveries for Consumer {
    fn next(&mut self) -> BoxFuture<'_, Result<Message, QueueError>> {
        Box::pin(self.take())
    }

    fn settle(&mut self, count: usize) -> BoxFuture<'_, Result<(), QueueError>> {
        Box::pin(async move {
            let Some(until) = self.unsettled.get(count.wrapping_sub(1)).copied() else {
                return Ok(());
            };
            self.store.queue_settle(self.partition.0, until).await.map_err(QueueError::new)?;
            self.unsettled.drain(..count);
            Ok(())
        })
    }
}

impl Drop for Consumer {
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
