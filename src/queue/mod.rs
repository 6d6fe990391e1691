//! The queue in front: requests wait here in order, outside the database's reach or in it.
//!
//! A queue has partitions; a schedule's requests share one, so that they keep their order, and each
//! partition has one consumer at a time. Delivery is at least once: whoever executes a message makes sure
//! that a second delivery has no second effect. Messages that nobody can execute are parked as dead
//! letters, for a person to look at.

mod database;
mod dead_letters;
#[cfg(feature = "kafka")]
pub mod kafka;
mod outcomes;
#[cfg(feature = "rabbitmq")]
pub mod rabbitmq;
mod request;
mod share;
mod waiting;

use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::domain::ids::ScheduleId;

pub use database::DatabaseQueue;
pub use dead_letters::{DeadLetter, Fate, LetterCounts, LetterSelection, Parked};
pub use outcomes::Outcomes;
pub use request::QueuedRequest;
pub use share::share_of;
pub use waiting::{Entry, QueueEntry, QueuePosition, WaitingList, WaitingListLimits, estimate_s};

/// What every backend of the queue must do; one contract suite runs against all of them.
pub trait Queue: Send + Sync + 'static {
    /// Puts a message at the end of a partition; done when the queue has confirmed that it survives the
    /// queue's own restart. Answers within [`PUBLISH_LIMIT`], whatever becomes of the queue.
    fn publish(
        &self,
        partition: Partition,
        message: Message,
    ) -> BoxFuture<'_, Result<(), PublishError>>;

    /// Becomes a consumer of a partition. One consumer at a time is given messages; the others wait for
    /// their turn in [`Deliveries::next`]. What an earlier consumer has not settled comes again, first.
    fn open(&self, partition: Partition) -> BoxFuture<'_, Result<Box<dyn Deliveries>, QueueError>>;

    /// Keeps a message as a dead letter, with the reason; its delivery is still to be settled. Parking the
    /// same message twice keeps it once, or twice under one id. After an error nothing was kept, and a later
    /// try may succeed.
    fn park(
        &self,
        partition: Partition,
        message: Message,
        reason: String,
    ) -> BoxFuture<'_, Result<Parked, QueueError>>;

    /// The dead letters, oldest first, at most `limit`. Looking changes nothing.
    fn letters(&self, limit: usize) -> BoxFuture<'_, Result<Vec<DeadLetter>, QueueError>>;

    /// Takes dead letters away, each to the end of its own partition or for good, in time proportional to
    /// their number. `tally` has what was done so far, also when this is given up or fails. A letter that is
    /// retried is never lost: at worst it is both back and still listed.
    fn take<'a>(
        &'a self,
        which: LetterSelection,
        fate: Fate,
        tally: &'a LetterCounts,
    ) -> BoxFuture<'a, Result<(), QueueError>>;

    /// The name under which processes have to share the partitions out among themselves; none where the
    /// queue does that.
    fn shared_as(&self) -> Option<String>;

    /// Lets go of the queue's connections. What was not settled comes again to others.
    fn close(&self) -> BoxFuture<'_, ()>;
}

/// The messages of one partition, in order. Dropping it gives back what was not settled.
pub trait Deliveries: Send {
    /// The next message; waits for it as long as it takes. Giving up waiting loses nothing. After an error
    /// this consumer is over: whoever goes on opens the partition again, and gets what was not settled.
    fn next(&mut self) -> BoxFuture<'_, Result<Message, QueueError>>;

    /// The `count` oldest messages that were not settled yet have had their effect and will not come
    /// again. Errors as those of [`Deliveries::next`]: they may come again.
    fn settle(&mut self, count: usize) -> BoxFuture<'_, Result<(), QueueError>>;
}

/// The longest that publishing may take before its outcome counts as unknown.
pub const PUBLISH_LIMIT: Duration = Duration::from_secs(3);

/// Messages that a consumer may have been given and not settled; what a backend fetches ahead.
pub const UNSETTLED_MAX: u16 = 1024;

/// One of the queue's partitions, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Partition(pub u16);

impl Partition {
    /// The partition of a schedule, the same in every process: schedules that were created one after
    /// another are spread evenly.
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

/// What waits in a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The request's id; of a message that was not published by us, whatever tells it from others.
    pub id: String,
    /// The request, as the queue's front door has written it.
    pub body: Vec<u8>,
}

/// Why a message was not published, or is not known to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// As many messages as the queue may hold. It was not published.
    #[error("the queue is full")]
    Full,
    /// The queue cannot be reached, or refused. It was not published.
    #[error("the queue is away: {0}")]
    Away(String),
    /// The queue will never take this message. It was not published.
    #[error("the queue does not take this message: {0}")]
    Unfit(String),
    /// It was sent, and no confirmation came: it may be in the queue.
    #[error("the queue did not confirm in time")]
    Unknown,
}

/// Why a queue could not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the queue failed: {0}")]
pub struct QueueError(pub String);

impl QueueError {
    /// From whatever a backend's client says.
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
