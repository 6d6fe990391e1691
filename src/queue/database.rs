//! The queue in the service's own database (`db://`): nothing else to run, and a restart loses nothing.
//!
//! What many requests publish at once goes in with one transaction: while one commits, the next gathers.
//! `consumer` is the way out.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use crate::domain::clock::EpochMs;
use crate::domain::execution_error::StoreError;
use crate::store::{LettersTaken, Store, StoredLetter, StoredMessage};

use super::{
    DeadLetter, Deliveries, Fate, LetterCounts, LetterSelection, Message, PUBLISH_LIMIT, Parked,
    Partition, PublishError, Queue, QueueError,
};
use crate::batcher::{Batcher, BatcherLimits};

mod consumer;

use consumer::DatabaseConsumer;

/// Messages appended in one transaction.
const APPENDS: BatcherLimits = BatcherLimits { batch_max: 512, pending_max: 8_192 };

/// How often a process looks for what others have published.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// Dead letters that are taken away with one transaction.
const TAKE_MAX: usize = 100;

/// A message on its way into the database.
struct Appending {
    message: StoredMessage,
    confirm: oneshot::Sender<Result<(), PublishError>>,
}

/// The queue in the database.
pub struct DatabaseQueue {
    store: Arc<Store>,
    /// Messages that may wait.
    max: u64,
    appender: Batcher<Appending>,
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
        let appender = Batcher::start(APPENDS, move |gathered| {
            append(Arc::clone(&into), gathered, max, news.clone())
        });
        Self { store, max, appender, last, looking }
    }

    /// Takes the letters page by page. A letter that was taken back and is parked again meanwhile comes on a
    /// later page, and stays.
    async fn take_all(&self, fate: Fate, tally: &LetterCounts) -> Result<(), QueueError> {
        let mut after = None;
        loop {
            let page = self.store.queue_letters(after, TAKE_MAX).await.map_err(QueueError::new)?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some((last.parked_at, last.message.id.clone()));
            let ids = page.into_iter().map(|letter| letter.message.id);
            let ids: Vec<String> = ids.filter(|id| !tally.has_found(id)).collect();
            self.take_some(ids, fate, tally).await?;
        }
    }

    async fn take_some(
        &self,
        ids: Vec<String>,
        fate: Fate,
        tally: &LetterCounts,
    ) -> Result<(), QueueError> {
        let back_within = (fate == Fate::Retry).then_some(self.max);
        let taken = self.store.queue_take_letters(ids.clone(), back_within).await;
        match taken.map_err(QueueError::new)? {
            LettersTaken::Gone(gone) => gone.into_iter().for_each(|id| tally.note_done(id)),
            LettersTaken::Full => {
                let full = PublishError::Full.to_string();
                ids.into_iter().for_each(|id| tally.note_failed(id, full.clone()));
                return Err(QueueError(full));
            }
        }
        Ok(())
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
        let consumer =
            DatabaseConsumer::new(Arc::clone(&self.store), partition, self.last.subscribe());
        Box::pin(async move { Ok(Box::new(consumer) as Box<dyn Deliveries>) })
    }

    fn park(
        &self,
        partition: Partition,
        message: Message,
        reason: String,
    ) -> BoxFuture<'_, Result<Parked, QueueError>> {
        Box::pin(async move {
            match self.store.queue_park(stored(partition, message), reason).await {
                Ok(()) => Ok(Parked::Kept),
                Err(StoreError::Corrupt(reason)) => Ok(Parked::NoRoom(reason)),
                Err(error) => Err(QueueError::new(error)),
            }
        })
    }

    fn letters(&self, limit: usize) -> BoxFuture<'_, Result<Vec<DeadLetter>, QueueError>> {
        Box::pin(async move {
            let found = self.store.queue_letters(None, limit).await.map_err(QueueError::new)?;
            Ok(found.into_iter().map(letter).collect())
        })
    }

    fn take<'a>(
        &'a self,
        which: LetterSelection,
        fate: Fate,
        tally: &'a LetterCounts,
    ) -> BoxFuture<'a, Result<(), QueueError>> {
        Box::pin(async move {
            match which {
                LetterSelection::All => self.take_all(fate, tally).await,
                LetterSelection::Ids(ids) => {
                    let ids: Vec<String> = ids.into_iter().collect();
                    for some in ids.chunks(TAKE_MAX) {
                        self.take_some(some.to_vec(), fate, tally).await?;
                    }
                    Ok(())
                }
            }
        })
    }

    fn shared_as(&self) -> Option<String> {
        Some("db".to_owned())
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
