//! The queue in Kafka: a topic, one consumer group, and a compacted topic for dead letters.
//!
//! `topics` creates the topics, `publisher` publishes messages, and `group` is the membership in the consumer group,
//! which assigns partitions to processes. `deliveries` consumes one partition, and `dead_letters` reads the dead
//! letters. librdkafka has its own threads. Its blocking functions are called only on threads that may block.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::sync::OnceCell;
use tokio::time::{Instant, timeout, timeout_at};

use super::{
    DeadLetter, DeadLetterAction, DeadLetterProgress, DeadLetterSelection, DeadLettered,
    Deliveries, Message, PUBLISH_LIMIT, Partition, PublishError, Queue, QueueError,
};

mod assignment;
mod client;
mod dead_letters;
mod deliveries;
mod group;
mod publisher;
mod record;
mod topics;

use dead_letters::{DeadLetterScan, ScannedLetter};
use deliveries::KafkaConsumer;
use group::Group;
use publisher::KafkaPublisher;
use record::KafkaRecord;

/// The longest wait for leaving the group. If it takes longer, the partitions are assigned to other processes only
/// after the session time-out.
const CLOSE_LIMIT: Duration = Duration::from_secs(3);

/// The most dead letters that are retried or deleted at the same time.
const RESOLVE_MAX: usize = 256;

/// The brokers, and the topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KafkaSettings {
    /// The bootstrap brokers, `host:port,host:port`.
    pub brokers: String,
    /// The name of the topic and of the consumer group. The dead letters are in the topic `<name>.dead`.
    pub name: String,
    /// The number of partitions: at least 1, and no more than the topic has.
    pub partitions: u16,
}

impl KafkaSettings {
    fn dead_topic(&self) -> String {
        format!("{}.dead", self.name)
    }
}

/// A queue in Kafka.
///
/// A process that opens one partition must open all of them: the group assigns any partition to each process that has
/// opened one, and a partition that is assigned to a process that has not opened it is not consumed.
pub struct KafkaQueue {
    settings: Arc<KafkaSettings>,
    /// Set when both topics exist.
    topics: OnceCell<()>,
    publisher: KafkaPublisher,
    membership: Mutex<Membership>,
}

/// The membership of this process in the group.
enum Membership {
    NotJoined,
    Member(Arc<Group>),
    Left,
}

impl KafkaQueue {
    /// Creates the queue. At its first use it connects and creates missing topics. Fails on invalid settings.
    pub fn new(settings: KafkaSettings) -> Result<Self, QueueError> {
        let publisher = KafkaPublisher::new(&settings).map_err(QueueError::new)?;
        Ok(Self {
            settings: Arc::new(settings),
            topics: OnceCell::new(),
            publisher,
            membership: Mutex::new(Membership::NotJoined),
        })
    }

    /// Waits until both topics exist.
    async fn ready(&self) -> Result<(), QueueError> {
        let settings = &self.settings;
        self.topics.get_or_try_init(|| topics::ensure(Arc::clone(settings))).await.map(|_| ())
    }

    /// Sends a record, and returns at the deadline at the latest.
    async fn send(&self, record: KafkaRecord, deadline: Instant) -> Result<(), PublishError> {
        match timeout_at(deadline, self.ready()).await {
            Ok(Ok(())) => self.publisher.send(record, deadline).await,
            Ok(Err(error)) => Err(PublishError::Unavailable(error.0)),
            Err(_) => Err(PublishError::Unavailable("no broker answers".to_owned())),
        }
    }

    /// Sends a record to the topic of the dead letters.
    async fn send_dead(&self, record: KafkaRecord) -> Result<(), PublishError> {
        self.send(record, Instant::now() + PUBLISH_LIMIT).await
    }

    /// Publishes a dead letter again if it is to be retried, then deletes it. After a failure between the two, the
    /// message is in its partition and still a dead letter.
    async fn resolve(
        &self,
        found: &ScannedLetter,
        action: DeadLetterAction,
    ) -> Result<(), PublishError> {
        let ScannedLetter { letter, keys } = found;
        if action == DeadLetterAction::Retry {
            self.publish(letter.partition, letter.message.clone()).await?;
        }
        for key in keys {
            self.send_dead(KafkaRecord::tombstone(&self.settings, key.clone())).await?;
        }
        Ok(())
    }

    /// The dead letters whose ids are selected.
    async fn scan(&self, selection: DeadLetterSelection) -> Result<DeadLetterScan, QueueError> {
        self.ready().await?;
        let settings = Arc::clone(&self.settings);
        let reading = move || dead_letters::read(&settings, |id| selection.includes(id));
        tokio::task::spawn_blocking(reading).await.map_err(QueueError::new)?
    }

    /// The membership of this process. The first call joins the group.
    fn group(&self) -> Result<Arc<Group>, QueueError> {
        let mut membership = self.membership.lock();
        match &*membership {
            Membership::Member(group) => Ok(Arc::clone(group)),
            Membership::Left => Err(QueueError::new("it has been closed")),
            Membership::NotJoined => {
                let group = Arc::new(Group::join(&self.settings).map_err(QueueError::new)?);
                *membership = Membership::Member(Arc::clone(&group));
                Ok(group)
            }
        }
    }

    /// Begins to leave the group. Returns the membership if this process had joined.
    fn leave(&self) -> Option<Arc<Group>> {
        let membership = std::mem::replace(&mut *self.membership.lock(), Membership::Left);
        let Membership::Member(group) = membership else { return None };
        group.leave();
        Some(group)
    }
}

impl Drop for KafkaQueue {
    fn drop(&mut self) {
        self.leave();
    }
}

#[async_trait]
impl Queue for KafkaQueue {
    async fn publish(&self, partition: Partition, message: Message) -> Result<(), PublishError> {
        let record = KafkaRecord::message(&self.settings, partition, message);
        self.send(record, Instant::now() + PUBLISH_LIMIT).await
    }

    async fn open(&self, partition: Partition) -> Result<Box<dyn Deliveries>, QueueError> {
        self.ready().await?;
        Ok(Box::new(KafkaConsumer::new(self.group()?, partition)?))
    }

    async fn add_dead_letter(
        &self,
        partition: Partition,
        message: Message,
        reason: String,
    ) -> Result<DeadLettered, QueueError> {
        let dead_lettered_at = SystemTime::now().into();
        let letter = DeadLetter { message, partition, reason, dead_lettered_at };
        match self.send_dead(KafkaRecord::dead_letter(&self.settings, letter)).await {
            Ok(()) => Ok(DeadLettered::Stored),
            Err(PublishError::Rejected(reason)) => Ok(DeadLettered::NotStored(reason)),
            Err(error) => Err(QueueError::new(error)),
        }
    }

    async fn dead_letters(&self, limit: usize) -> Result<Vec<DeadLetter>, QueueError> {
        let scan = self.scan(DeadLetterSelection::All).await?;
        Ok(scan.found.into_iter().take(limit).map(|found| found.letter).collect())
    }

    async fn resolve_dead_letters(
        &self,
        selection: DeadLetterSelection,
        action: DeadLetterAction,
        progress: &DeadLetterProgress,
    ) -> Result<(), QueueError> {
        loop {
            let mut scan = self.scan(selection.clone()).await?;
            scan.found.retain(|found| !progress.has_found(&found.letter.message.id));
            for chunk in scan.found.chunks(RESOLVE_MAX) {
                let outcomes =
                    join_all(chunk.iter().map(|found| self.resolve(found, action))).await;
                let mut result = Ok(());
                for (found, outcome) in chunk.iter().zip(outcomes) {
                    result = progress.note(found.letter.message.id.clone(), outcome).and(result);
                }
                result?;
            }
            if scan.complete || scan.found.is_empty() {
                return Ok(());
            }
        }
    }

    /// The consumer group assigns the partitions.
    fn worker_group(&self) -> Option<String> {
        None
    }

    async fn close(&self) {
        self.publisher.close();
        let Some(group) = self.leave() else { return };
        let left = group.left();
        // The thread of the group waits until this reference is dropped.
        drop(group);
        if timeout(CLOSE_LIMIT, left).await.is_err() {
            log::warn!(
                "kafka: leaving the group takes too long; its partitions are reassigned later"
            );
        }
    }
}
