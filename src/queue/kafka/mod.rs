//! The queue in front in Kafka: a topic with a partition each, one consumer group, a compacted topic for
//! dead letters.
//!
//! `topics` sees to the topics, `publisher` sends, `group` shares the partitions among processes, `deliveries`
//! hands one of them out, `letters` reads the dead ones. librdkafka does the talking, on threads of its own;
//! what of it blocks is called where blocking is allowed.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use futures_util::future::{BoxFuture, join_all};
use tokio::sync::OnceCell;
use tokio::time::{Instant, timeout, timeout_at};

use super::{
    DeadLetter, Deliveries, Fate, LetterCounts, LetterSelection, Message, PUBLISH_LIMIT, Parked,
    Partition, PublishError, Queue, QueueError,
};

mod assignment;
mod client;
mod dead_letters;
mod deliveries;
mod group;
mod publisher;
mod record;
mod topics;

use dead_letters::{LetterScan, ScannedLetter};
use deliveries::KafkaConsumer;
use group::Group;
use publisher::KafkaPublisher;
use record::KafkaRecord;

/// How long letting go of the partitions may take before somebody else has to notice that they are free.
const CLOSE_LIMIT: Duration = Duration::from_secs(3);

/// Dead letters that are taken away at the same time.
const TOGETHER: usize = 256;

/// Which Kafka, and what the queue is called there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KafkaSettings {
    /// Brokers to begin with, `host:port,host:port`.
    pub brokers: String,
    /// The name of the topic and of the consumer group; dead letters are in the topic `<name>.dead`.
    pub name: String,
    /// How many partitions the queue has; at least 1, and no more than the topic has.
    pub partitions: u16,
}

impl KafkaSettings {
    /// Where dead letters are.
    fn dead_topic(&self) -> String {
        format!("{}.dead", self.name)
    }
}

/// A queue in Kafka.
///
/// Whoever opens one partition opens them all: the group gives each process with an open partition its
/// share of all partitions, and what a process has been given and has not opened is read by nobody.
pub struct KafkaQueue {
    settings: Arc<KafkaSettings>,
    /// Set once both topics are known to be there.
    topics: OnceCell<()>,
    publisher: KafkaPublisher,
    membership: Mutex<Membership>,
}

/// This process's place in the group.
enum Membership {
    NotYet,
    Member(Arc<Group>),
    Left,
}

impl KafkaQueue {
    /// Prepares a queue; connects when it is first used, and creates the topics then if they are not there.
    /// Fails on settings that no Kafka could suit.
    pub fn new(settings: KafkaSettings) -> Result<Self, QueueError> {
        let publisher = KafkaPublisher::new(&settings).map_err(QueueError::new)?;
        Ok(Self {
            settings: Arc::new(settings),
            topics: OnceCell::new(),
            publisher,
            membership: Mutex::new(Membership::NotYet),
        })
    }

    /// Waits until both topics are there.
    async fn ready(&self) -> Result<(), QueueError> {
        let settings = &self.settings;
        self.topics.get_or_try_init(|| topics::ensure(Arc::clone(settings))).await.map(|_| ())
    }

    /// Sends a record by the deadline.
    async fn send(&self, record: KafkaRecord, deadline: Instant) -> Result<(), PublishError> {
        match timeout_at(deadline, self.ready()).await {
            Ok(Ok(())) => self.publisher.send(record, deadline).await,
            Ok(Err(error)) => Err(PublishError::Away(error.0)),
            Err(_) => Err(PublishError::Away("no broker answers".to_owned())),
        }
    }

    /// Sends a record to the dead letters.
    async fn send_dead(&self, record: KafkaRecord) -> Result<(), PublishError> {
        self.send(record, Instant::now() + PUBLISH_LIMIT).await
    }

    /// Takes one letter away. First back, then away: what fails in between leaves it in both places.
    async fn take_one(&self, found: &ScannedLetter, fate: Fate) -> Result<(), PublishError> {
        let ScannedLetter { letter, keys } = found;
        if fate == Fate::Retry {
            self.publish(letter.partition, letter.message.clone()).await?;
        }
        for key in keys {
            self.send_dead(KafkaRecord::tombstone(&self.settings, key.clone())).await?;
        }
        Ok(())
    }

    /// The dead letters that are wanted.
    async fn read_dead(
        &self,
        wanted: impl Fn(&str) -> bool + Send + 'static,
    ) -> Result<LetterScan, QueueError> {
        self.ready().await?;
        let settings = Arc::clone(&self.settings);
        let reading = move || dead_letters::read(&settings, wanted);
        tokio::task::spawn_blocking(reading).await.map_err(QueueError::new)?
    }

    /// The membership of this process, which begins with the first call.
    fn group(&self) -> Result<Arc<Group>, QueueError> {
        let mut membership = self.membership.lock().unwrap_or_else(PoisonError::into_inner);
        match &*membership {
            Membership::Member(group) => Ok(Arc::clone(group)),
            Membership::Left => Err(QueueError::new("it has been closed here")),
            Membership::NotYet => {
                let group = Arc::new(Group::join(&self.settings).map_err(QueueError::new)?);
                *membership = Membership::Member(Arc::clone(&group));
                Ok(group)
            }
        }
    }

    /// Takes this process out of the group.
    fn leave(&self) -> Option<Arc<Group>> {
        let mut membership = self.membership.lock().unwrap_or_else(PoisonError::into_inner);
        match std::mem::replace(&mut *membership, Membership::Left) {
            Membership::Member(group) => {
                group.leave();
                Some(group)
            }
            Membership::NotYet | Membership::Left => None,
        }
    }
}

impl Drop for KafkaQueue {
    fn drop(&mut self) {
        self.leave();
    }
}

impl Queue for KafkaQueue {
    fn publish(
        &self,
        partition: Partition,
        message: Message,
    ) -> BoxFuture<'_, Result<(), PublishError>> {
        let deadline = Instant::now() + PUBLISH_LIMIT;
        Box::pin(self.send(KafkaRecord::message(&self.settings, partition, message), deadline))
    }

    fn open(&self, partition: Partition) -> BoxFuture<'_, Result<Box<dyn Deliveries>, QueueError>> {
        Box::pin(async move {
            self.ready().await?;
            let consumer = KafkaConsumer::new(self.group()?, partition)?;
            Ok(Box::new(consumer) as Box<dyn Deliveries>)
        })
    }

    fn park(
        &self,
        partition: Partition,
        message: Message,
        reason: String,
    ) -> BoxFuture<'_, Result<Parked, QueueError>> {
        let letter = DeadLetter { message, partition, reason, parked_at: SystemTime::now().into() };
        Box::pin(async move {
            match self.send_dead(KafkaRecord::letter(&self.settings, letter)).await {
                Ok(()) => Ok(Parked::Kept),
                Err(PublishError::Unfit(reason)) => Ok(Parked::NoRoom(reason)),
                Err(error) => Err(QueueError::new(error)),
            }
        })
    }

    fn letters(&self, limit: usize) -> BoxFuture<'_, Result<Vec<DeadLetter>, QueueError>> {
        Box::pin(async move {
            let letters = self.read_dead(|_| true).await?.found.into_iter().take(limit);
            Ok(letters.map(|found| found.letter).collect())
        })
    }

    fn take<'a>(
        &'a self,
        which: LetterSelection,
        fate: Fate,
        tally: &'a LetterCounts,
    ) -> BoxFuture<'a, Result<(), QueueError>> {
        Box::pin(async move {
            loop {
                let wanted = which.clone();
                let look = self.read_dead(move |id| wanted.includes(id)).await?;
                let new = |found: &ScannedLetter| !tally.has_found(&found.letter.message.id);
                let found: Vec<ScannedLetter> = look.found.into_iter().filter(new).collect();
                for some in found.chunks(TOGETHER) {
                    let taking = some.iter().map(|found| self.take_one(found, fate));
                    let outcomes = join_all(taking).await;
                    note(some, outcomes, tally)?;
                }
                if look.complete || found.is_empty() {
                    return Ok(());
                }
            }
        })
    }

    /// The consumer group gives each process its share.
    fn shared_as(&self) -> Option<String> {
        None
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.publisher.close();
            let Some(group) = self.leave() else { return };
            let left = group.left();
            // The thread of the group waits for us too.
            drop(group);
            if timeout(CLOSE_LIMIT, left).await.is_err() {
                log::warn!("kafka did not take leave in time: others get the partitions later");
            }
        })
    }
}

/// Counts what became of some letters; an error if the brokers are away.
fn note(
    some: &[ScannedLetter],
    outcomes: Vec<Result<(), PublishError>>,
    tally: &LetterCounts,
) -> Result<(), QueueError> {
    let mut problem = Ok(());
    for (found, outcome) in some.iter().zip(outcomes) {
        let id = found.letter.message.id.clone();
        match outcome {
            Ok(()) => tally.note_done(id),
            Err(error) => {
                tally.note_failed(id, error.to_string());
                if matches!(error, PublishError::Away(_) | PublishError::Unknown) {
                    problem = Err(QueueError::new(error));
                }
            }
        }
    }
    problem
}
