//! One partition's messages, for one consumer at a time.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::message::Message as _;
use tokio::sync::{Notify, OwnedMutexGuard, watch};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

use super::assignment::{Assignment, Generation, PartitionLease};
use super::group::{Group, GroupContext};
use super::record;
use crate::queue::{Deliveries, Message, Partition, QueueError, UNSETTLED_MAX};

/// How long a commit is tried while the partition is ours: over an election of brokers, or a rebalance.
const SETTLE_LIMIT: Duration = Duration::from_secs(10);

/// How long it is tried to find out where to begin in a partition that is ours.
const OPEN_LIMIT: Duration = Duration::from_secs(10);

/// Between two tries.
const RETRY_INTERVAL: Duration = Duration::from_millis(100);

/// A consumer of a partition, waiting for its turn or having it.
pub(super) struct KafkaConsumer {
    group: Arc<Group>,
    partition: Partition,
    stage: Stage,
}

enum Stage {
    /// Kept here, since whoever waits gives up and comes back all the time.
    Waiting(BoxFuture<'static, Result<Reader, QueueError>>),
    Reading(Box<Reader>),
    Over,
}

/// The consumer whose turn it is.
struct Reader {
    // Dropped in this order: a queue that goes takes along the waking of one that came in its place.
    queue: PartitionQueue<GroupContext>,
    filled: Arc<Notify>,
    share: watch::Receiver<Assignment>,
    partition: Partition,
    term: Generation,
    /// The places of those that were given out and are not settled, oldest first.
    unsettled: VecDeque<i64>,
    turn: OwnedMutexGuard<PartitionLease>,
}

impl KafkaConsumer {
    /// Stands in line for a partition; an error if there is no such partition.
    pub(super) fn new(group: Arc<Group>, partition: Partition) -> Result<Self, QueueError> {
        if group.turn(partition).is_none() {
            return Err(QueueError(format!("there is no partition {}", partition.0)));
        }
        let stage = Stage::Waiting(Box::pin(Reader::new(Arc::clone(&group), partition)));
        Ok(Self { group, partition, stage })
    }

    /// The messages, once it is this consumer's turn.
    async fn reader(&mut self) -> Result<&mut Reader, QueueError> {
        if let Stage::Waiting(reader) = &mut self.stage {
            let reader = reader.await;
            self.stage = reader.map_or(Stage::Over, |reader| Stage::Reading(Box::new(reader)));
        }
        match &mut self.stage {
            Stage::Reading(reader) => Ok(reader),
            Stage::Waiting(_) | Stage::Over => Err(over()),
        }
    }

    async fn commit(&mut self, count: usize) -> Result<(), QueueError> {
        let Stage::Reading(reader) = &mut self.stage else { return Err(over()) };
        let Some(last) = count.checked_sub(1) else { return Ok(()) };
        let last = reader.unsettled.get(last).copied().ok_or_else(|| {
            QueueError(format!("{count} messages settled, {} delivered", reader.unsettled.len()))
        })?;
        let next = last.saturating_add(1);
        let (partition, term) = (self.partition, reader.term);
        let deadline = Instant::now() + SETTLE_LIMIT;
        loop {
            let group = Arc::clone(&self.group);
            let committing = spawn_blocking(move || group.commit(partition, term, next));
            match committing.await.map_err(QueueError::new)? {
                Ok(()) => break,
                Err(error) if !reader.is_ours() || Instant::now() >= deadline => {
                    return Err(QueueError::new(error));
                }
                Err(error) => log::debug!("kafka: {error}: committing again"),
            }
            sleep(RETRY_INTERVAL).await;
        }
        reader.unsettled.drain(..count);
        reader.turn.next = Some(next);
        Ok(())
    }
}

fn over() -> QueueError {
    QueueError::new("this consumer is over: open the partition again")
}

impl Deliveries for KafkaConsumer {
    fn next(&mut self) -> BoxFuture<'_, Result<Message, QueueError>> {
        Box::pin(async move {
            let message = match self.reader().await {
                Ok(reader) => reader.next().await,
                Err(error) => Err(error),
            };
            if message.is_err() {
                self.stage = Stage::Over;
            }
            message
        })
    }

    fn settle(&mut self, count: usize) -> BoxFuture<'_, Result<(), QueueError>> {
        Box::pin(async move {
            let settled = self.commit(count).await;
            if settled.is_err() {
                self.stage = Stage::Over;
            }
            settled
        })
    }
}

impl Reader {
    /// Waits for the turn in this process, then for the partition to be this process's.
    async fn new(group: Arc<Group>, partition: Partition) -> Result<Self, QueueError> {
        let turn = group.turn(partition).ok_or_else(over)?;
        let mut share = group.share();
        let mut turn = tokio::select! {
            turn = turn.lock_owned() => turn,
            _ = share.wait_for(|share| share.closed) => return Err(over()),
        };
        let term = {
            let given = share.wait_for(|share| share.closed || share.term(partition).is_some());
            let share = given.await.map_err(QueueError::new)?;
            share.term(partition).filter(|_| !share.closed).ok_or_else(over)?
        };
        if turn.term != term {
            *turn = PartitionLease { term, next: None };
        }
        let filled = Arc::new(Notify::new());
        let deadline = Instant::now() + OPEN_LIMIT;
        loop {
            let (reading, telling) = (Arc::clone(&group), Arc::clone(&filled));
            // The turn goes along: nobody else may begin to read before this attempt has ended.
            let read = spawn_blocking(move || {
                let queue = reading.read(partition, turn.next, &telling);
                (queue, turn)
            });
            let (queue, given_back) = read.await.map_err(QueueError::new)?;
            turn = given_back;
            let ours = share.borrow().term(partition) == Some(term);
            match queue {
                Ok(queue) => {
                    let unsettled = VecDeque::new();
                    return Ok(Self { queue, filled, share, partition, term, unsettled, turn });
                }
                Err(error) if !ours || Instant::now() >= deadline => {
                    return Err(QueueError::new(error));
                }
                Err(error) => log::debug!("kafka: {error}: opening again"),
            }
            sleep(RETRY_INTERVAL).await;
        }
    }

    fn is_ours(&self) -> bool {
        let share = self.share.borrow();
        !share.closed && share.term(self.partition) == Some(self.term)
    }

    async fn next(&mut self) -> Result<Message, QueueError> {
        loop {
            if !self.is_ours() {
                return Err(QueueError::new("the partition has been given to another process"));
            }
            if self.unsettled.len() < usize::from(UNSETTLED_MAX)
                && let Some(message) = self.polled()
            {
                return message;
            }
            tokio::select! {
                () = self.filled.notified() => {}
                _ = self.share.changed() => {}
            }
        }
    }

    /// What has come; waits for nothing.
    fn polled(&mut self) -> Option<Result<Message, QueueError>> {
        let message = match self.queue.poll(Duration::ZERO)? {
            Ok(message) => message,
            Err(error) => return Some(Err(QueueError::new(error))),
        };
        self.unsettled.push_back(message.offset());
        self.turn.next.get_or_insert(message.offset());
        Some(Ok(record::message(&message)))
    }
}
