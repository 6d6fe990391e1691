//! The admission queue: requests wait here in order, in a message broker or in the service's own database.
//!
//! A queue has partitions. The requests of a schedule share one, so that they keep their order, and each partition
//! has one consumer at a time. Delivery is at least once: the consumer makes sure that a second delivery has no
//! second effect. A message that cannot be executed becomes a dead letter, for a person to inspect.

mod assignment;
mod database;
mod dead_letters;
#[cfg(feature = "kafka")]
pub mod kafka;
mod outcomes;
#[cfg(feature = "rabbitmq")]
pub mod rabbitmq;
mod request;
mod waiting;

use std::time::Duration;

use async_trait::async_trait;

use crate::domain::ids::ScheduleId;

pub use assignment::assigned_partitions;
pub use database::DatabaseQueue;
pub use dead_letters::{
    DeadLetter, DeadLetterAction, DeadLetterProgress, DeadLetterSelection, DeadLettered,
};
pub use outcomes::Outcomes;
pub use request::QueuedRequest;
pub use waiting::{Entry, QueueEntry, QueuePosition, WaitingList, WaitingListLimits, estimate_s};

/// What every backend of the queue must do. One contract suite runs against all of them.
#[async_trait]
pub trait Queue: Send + Sync + 'static {
    /// Appends a message to a partition. Returns when the queue has confirmed that the message survives a restart of
    /// the queue, and in any case within [`PUBLISH_LIMIT`].
    async fn publish(&self, partition: Partition, message: Message) -> Result<(), PublishError>;

    /// Subscribes to a partition. One consumer at a time receives messages; the others wait in [`Deliveries::next`].
    /// Messages that an earlier consumer has not settled are delivered again, first.
    async fn open(&self, partition: Partition) -> Result<Box<dyn Deliveries>, QueueError>;

    /// Keeps a message as a dead letter; its delivery is still to be settled. A message that is added twice is kept
    /// once, or twice under one id. After an error nothing was kept, and a retry may succeed.
    async fn add_dead_letter(
        &self,
        partition: Partition,
        message: Message,
        reason: String,
    ) -> Result<DeadLettered, QueueError>;

    /// The dead letters, oldest first, at most `limit`. Changes nothing.
    async fn dead_letters(&self, limit: usize) -> Result<Vec<DeadLetter>, QueueError>;

    /// Retries or deletes dead letters, in time proportional to their number. A retried one goes to the end of its own
    /// partition. `progress` is up to date also when this is cancelled or fails. A retried dead letter is never
    /// lost: at worst it is both published again and still listed.
    async fn resolve_dead_letters(
        &self,
        selection: DeadLetterSelection,
        action: DeadLetterAction,
        progress: &DeadLetterProgress,
    ) -> Result<(), QueueError>;

    /// The name under which processes share the partitions among themselves; none where the queue assigns them.
    fn worker_group(&self) -> Option<String>;

    /// Closes the connections. What was not settled is delivered again, to others.
    async fn close(&self);
}

/// The messages of one partition, in order. What was not settled is returned to the queue on drop.
#[async_trait]
pub trait Deliveries: Send {
    /// Waits for the next message. Cancellation-safe. After an error this consumer is unusable: the partition is to be
    /// opened again, and what was not settled is delivered again.
    async fn next(&mut self) -> Result<Message, QueueError>;

    /// Settles the `count` oldest messages that are not settled: they are not delivered again. After an error, as
    /// after one of [`Deliveries::next`], they may be delivered again.
    async fn settle(&mut self, count: usize) -> Result<(), QueueError>;
}

/// The longest that publishing may take; after it the outcome is unknown.
pub const PUBLISH_LIMIT: Duration = Duration::from_secs(3);

/// The most messages that a consumer may have received and not settled; how many a backend prefetches.
pub const UNSETTLED_MAX: u16 = 1024;

/// One of the queue's partitions, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Partition(pub u16);

impl Partition {
    /// The partition of a schedule, the same in every process. Consecutive schedules are spread evenly.
    #[must_use]
    pub fn of(schedule: ScheduleId, partitions: u16) -> Self {
        let partition = schedule.0.rem_euclid(i64::from(partitions.max(1)));
        Self(u16::try_from(partition).unwrap_or(0))
    }

    /// Every partition of a queue.
    pub fn all(partitions: u16) -> impl Iterator<Item = Self> {
        (0..partitions).map(Self)
    }
}

/// A message in a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The request's id; of a foreign message, anything that distinguishes it from others.
    pub id: String,
    /// The encoded requests.
    pub body: Vec<u8>,
}

/// Why a message was not published, or may not have been.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The queue has as many messages as it may hold. It was not published.
    #[error("the queue is full")]
    Full,
    /// The queue cannot be reached, or refused. It was not published.
    #[error("the queue is unavailable: {0}")]
    Unavailable(String),
    /// The queue will never accept this message. It was not published.
    #[error("the queue does not accept this message: {0}")]
    Rejected(String),
    /// It was sent and not confirmed: it may be in the queue.
    #[error("the queue did not confirm in time")]
    Unknown,
}

/// Why an operation of a queue failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the queue failed: {0}")]
pub struct QueueError(pub String);

impl QueueError {
    /// From the error of a backend's client.
    pub fn new(error: impl std::fmt::Display) -> Self {
        Self(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn schedules_in_a_row_are_spread_over_all_partitions() {
        let used: HashSet<Partition> =
            (1..=16).map(|id| Partition::of(ScheduleId(id), 16)).collect();
        assert_eq!(used, Partition::all(16).collect());
        assert_eq!(Partition::of(ScheduleId(5), 16), Partition::of(ScheduleId(21), 16));
    }
}
