//! The queue in the service's own database (`db://`). It needs no other server, and a restart loses no message.
//!
//! Messages that are published at the same time are written in one transaction. Messages that arrive while a
//! transaction commits form the next batch.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use crate::batcher::{Batcher, BatcherLimits};
use crate::domain::clock::EpochMs;
use crate::domain::execution_error::StoreError;
use crate::store::{DeadLettersRemoved, Store, StoredDeadLetter, StoredMessage};

use super::{
    DeadLetter, DeadLetterAction, DeadLetterProgress, DeadLetterSelection, DeadLettered,
    Deliveries, Message, PUBLISH_LIMIT, Partition, PublishError, Queue, QueueError,
};

mod consumer;

use consumer::DatabaseConsumer;

/// The most messages that are appended in one transaction, and the most that wait for one.
const APPENDS: BatcherLimits = BatcherLimits { batch_max: 512, pending_max: 8_192 };

/// The time between two checks for messages that other processes have published.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// The most dead letters that are removed in one transaction.
const REMOVE_MAX: usize = 100;

struct PendingAppend {
    message: StoredMessage,
    confirm: oneshot::Sender<Result<(), PublishError>>,
}

/// The queue in the database.
pub struct DatabaseQueue {
    store: Arc<Store>,
    max: u64,
    appender: Batcher<PendingAppend>,
    /// The highest message number that this process has read. Consumers wait for its changes.
    last: watch::Sender<i64>,
    polling: JoinHandle<()>,
}

impl DatabaseQueue {
    /// Starts a queue of at most `max` messages. Must be called inside a tokio runtime.
    #[must_use]
    pub fn start(store: Arc<Store>, max: u64) -> Self {
        let (last, _) = watch::channel(0);
        let polling = tokio::spawn(poll(Arc::clone(&store), last.clone()));
        let target = Arc::clone(&store);
        let notify = last.clone();
        let appender = Batcher::start(APPENDS, move |batch| {
            append(Arc::clone(&target), batch, max, notify.clone())
        });
        Self { store, max, appender, last, polling }
    }

    async fn resolve(
        &self,
        ids: Vec<String>,
        action: DeadLetterAction,
        progress: &DeadLetterProgress,
    ) -> Result<(), QueueError> {
        let append_within = (action == DeadLetterAction::Retry).then_some(self.max);
        let removed = self.store.queue_remove_dead_letters(ids.clone(), append_within).await;
        match removed.map_err(QueueError::new)? {
            DeadLettersRemoved::Removed(ids) => {
                ids.into_iter().for_each(|id| progress.note_done(id))
            }
            DeadLettersRemoved::Full => {
                let full = PublishError::Full.to_string();
                ids.into_iter().for_each(|id| progress.note_failed(id, full.clone()));
                return Err(QueueError(full));
            }
        }
        Ok(())
    }
}

/// Appends a batch in one transaction.
async fn append(
    store: Arc<Store>,
    mut batch: Vec<PendingAppend>,
    max: u64,
    last: watch::Sender<i64>,
) {
    // Callers that have given up do not wait for the result any more.
    batch.retain(|pending| !pending.confirm.is_closed());
    let messages = batch.iter().map(|pending| pending.message.clone()).collect();
    // The time limit is shorter than that of the callers, so that they get the result.
    let result = match store.queue_append(messages, max, PUBLISH_LIMIT / 2).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(PublishError::Full),
        Err(StoreError::Timeout) => Err(PublishError::Unknown),
        Err(error) => Err(PublishError::Unavailable(error.to_string())),
    };
    if result.is_ok() {
        // Wakes the consumers. The next poll sets the actual number.
        last.send_modify(|last| *last += 1);
    }
    for PendingAppend { confirm, .. } in batch {
        drop(confirm.send(result.clone()));
    }
}

/// Notifies the consumers of this process of messages that other processes have published.
async fn poll(store: Arc<Store>, last: watch::Sender<i64>) {
    let mut failing = false;
    loop {
        tokio::time::sleep(POLL_INTERVAL).await;
        if last.receiver_count() == 0 {
            continue;
        }
        match store.queue_last().await {
            Ok(found) => {
                last.send_if_modified(|last| std::mem::replace(last, found) != found);
                failing = false;
            }
            Err(error) => {
                if !std::mem::replace(&mut failing, true) {
                    log::warn!("the queue cannot be read: {error}");
                }
            }
        }
    }
}

fn stored(Partition(partition): Partition, Message { id, body }: Message) -> StoredMessage {
    StoredMessage { partition, id, body }
}

fn dead_letter(stored: StoredDeadLetter) -> DeadLetter {
    let StoredMessage { partition, id, body } = stored.message;
    DeadLetter {
        message: Message { id, body },
        partition: Partition(partition),
        reason: stored.reason,
        dead_lettered_at: EpochMs(stored.dead_lettered_at),
    }
}

#[async_trait]
impl Queue for DatabaseQueue {
    async fn publish(&self, partition: Partition, message: Message) -> Result<(), PublishError> {
        let (confirm, confirmed) = oneshot::channel();
        let pending = PendingAppend { message: stored(partition, message), confirm };
        self.appender.push(pending).map_err(|_| PublishError::Full)?;
        match tokio::time::timeout(PUBLISH_LIMIT, confirmed).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) | Err(_) => Err(PublishError::Unknown),
        }
    }

    async fn open(&self, partition: Partition) -> Result<Box<dyn Deliveries>, QueueError> {
        let store = Arc::clone(&self.store);
        let last = self.last.subscribe();
        Ok(Box::new(DatabaseConsumer::new(store, partition, last)))
    }

    async fn add_dead_letter(
        &self,
        partition: Partition,
        message: Message,
        reason: String,
    ) -> Result<DeadLettered, QueueError> {
        match self.store.queue_add_dead_letter(stored(partition, message), reason).await {
            Ok(()) => Ok(DeadLettered::Stored),
            Err(StoreError::Corrupt(reason)) => Ok(DeadLettered::NotStored(reason)),
            Err(error) => Err(QueueError::new(error)),
        }
    }

    async fn dead_letters(&self, limit: usize) -> Result<Vec<DeadLetter>, QueueError> {
        let found = self.store.queue_dead_letters(None, limit).await.map_err(QueueError::new)?;
        Ok(found.into_iter().map(dead_letter).collect())
    }

    /// To resolve all dead letters, reads them page by page. A retried message may become a dead letter again
    /// meanwhile; then a later page contains it, and it is not retried a second time.
    async fn resolve_dead_letters(
        &self,
        selection: DeadLetterSelection,
        action: DeadLetterAction,
        progress: &DeadLetterProgress,
    ) -> Result<(), QueueError> {
        if let DeadLetterSelection::Ids(ids) = selection {
            let ids: Vec<String> = ids.into_iter().collect();
            for chunk in ids.chunks(REMOVE_MAX) {
                self.resolve(chunk.to_vec(), action, progress).await?;
            }
            return Ok(());
        }
        let mut after = None;
        loop {
            let page = self.store.queue_dead_letters(after, REMOVE_MAX).await;
            let page = page.map_err(QueueError::new)?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some((last.dead_lettered_at, last.message.id.clone()));
            let ids = page.into_iter().map(|letter| letter.message.id);
            self.resolve(ids.filter(|id| !progress.has_found(id)).collect(), action, progress)
                .await?;
        }
    }

    fn worker_group(&self) -> Option<String> {
        Some("db".to_owned())
    }

    async fn close(&self) {
        self.appender.stop();
        self.polling.abort();
    }
}

impl Drop for DatabaseQueue {
    fn drop(&mut self) {
        self.polling.abort();
    }
}
