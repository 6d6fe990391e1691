//! The admission queue: requests wait in order, in a message broker or in the service's own database.
//!
//! A queue has partitions. All requests of a schedule are in the same partition, so that their order does not change,
//! and each partition has one consumer at a time. Delivery is at least once; the consumer ensures that a second
//! delivery has no second effect. A message that cannot be executed becomes a dead letter, which an operator inspects.

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

/// The contract of every backend of the queue. The same test suite runs against all of them.
#[async_trait]
pub trait Queue: Send + Sync + 'static {
    /// Appends a message to a partition. Returns `Ok` when the queue has confirmed that it has stored the message
    /// durably. Always returns within [`PUBLISH_LIMIT`].
    async fn publish(&self, partition: Partition, message: Message) -> Result<(), PublishError>;

    /// Subscribes to a partition. One consumer at a time receives messages; other consumers wait in
    /// [`Deliveries::next`]. Messages that an earlier consumer has not settled are delivered again, before all others.
    async fn open(&self, partition: Partition) -> Result<Box<dyn Deliveries>, QueueError>;

    /// Stores a message as a dead letter. The caller must still settle the delivered message. A message that is added
    /// twice is stored once, or twice with the same id. After an error nothing was stored, and a retry may succeed.
    async fn add_dead_letter(
        &self,
        partition: Partition,
        message: Message,
        reason: String,
    ) -> Result<DeadLettered, QueueError>;

    /// The oldest dead letters, oldest first, at most `limit`. Changes nothing.
    async fn dead_letters(&self, limit: usize) -> Result<Vec<DeadLetter>, QueueError>;

    /// Retries or deletes dead letters, in time proportional to their number. A retried message is appended to its own
    /// partition. `progress` is correct even if this call fails or is cancelled. A retried dead letter is never lost:
    /// in the worst case it has been published again and is still a dead letter.
    async fn resolve_dead_letters(
        &self,
        selection: DeadLetterSelection,
        action: DeadLetterAction,
        progress: &DeadLetterProgress,
    ) -> Result<(), QueueError>;

    /// The name of the group of processes that divide the partitions among themselves. `None` if the queue itself
    /// assigns partitions to processes.
    fn worker_group(&self) -> Option<String>;

    /// Closes the connections. Unsettled messages are delivered again, to other consumers.
    async fn close(&self);
}

/// The messages of one partition, in order. Dropping it returns the unsettled messages to the queue.
#[async_trait]
pub trait Deliveries: Send {
    /// Waits for the next message. Cancellation-safe. After an error this consumer is unusable: the caller must open
    /// the partition again, and the unsettled messages are delivered again.
    async fn next(&mut self) -> Result<Message, QueueError>;

    /// Settles the `count` oldest unsettled messages, so that they are not delivered again. After an error they may be
    /// delivered again, and the consumer is unusable, as after an error of [`Deliveries::next`].
    async fn settle(&mut self, count: usize) -> Result<(), QueueError>;
}

/// The longest time of a publish operation. After it the outcome is unknown.
pub const PUBLISH_LIMIT: Duration = Duration::from_secs(3);

/// The most messages that a consumer may have received and not settled. It is also the prefetch limit of backends.
pub const UNSETTLED_MAX: u16 = 1024;

/// The number of a partition of the queue, from 0.
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
    /// The id of the request. If another program published the message, an id that distinguishes it from others.
    pub id: String,
    /// The encoded requests.
    pub body: Vec<u8>,
}

/// Why a message was not published, or may not have been.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The queue has reached its bound. The message was not published.
    #[error("the queue is full")]
    Full,
    /// The queue cannot be reached, or has refused the message. The message was not published.
    #[error("the queue is unavailable: {0}")]
    Unavailable(String),
    /// The queue will never accept this message. The message was not published.
    #[error("the queue does not accept this message: {0}")]
    Rejected(String),
    /// The message was sent and not confirmed. It may be in the queue.
    #[error("the queue did not confirm in time")]
    Unknown,
}

/// Why an operation of a queue failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the queue failed: {0}")]
pub struct QueueError(pub String);

impl QueueError {
    /// Converts the error of a backend's client.
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
