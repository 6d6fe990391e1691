//! Consumes the messages of one partition.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
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

/// How long a failed commit is retried while the partition is assigned: longer than an election of brokers, or a
/// rebalance.
const SETTLE_LIMIT: Duration = Duration::from_secs(10);

/// How long opening an assigned partition is retried.
const OPEN_LIMIT: Duration = Duration::from_secs(10);

/// The pause between two attempts.
const RETRY_INTERVAL: Duration = Duration::from_millis(100);

/// A consumer of a partition, which reads or still waits for the assignment of the partition.
pub(super) struct KafkaConsumer {
    group: Arc<Group>,
    partition: Partition,
    state: State,
}

enum State {
    /// The future is stored, because callers cancel a call of `next` and repeat it.
    Waiting(BoxFuture<'static, Result<Reader, QueueError>>),
    Reading(Box<Reader>),
    Ended,
}

/// The active consumer of the partition.
struct Reader {
    // Fields are dropped in this order. The lease must be dropped after the queue: dropping a queue also removes the
    // callback of a later queue of the same partition.
    queue: PartitionQueue<GroupContext>,
    nonempty: Arc<Notify>,
    assignment: watch::Receiver<Assignment>,
    partition: Partition,
    generation: Generation,
    /// The offsets of the unsettled messages, oldest first.
    unsettled: VecDeque<i64>,
    lease: OwnedMutexGuard<PartitionLease>,
}

impl KafkaConsumer {
    /// Creates a consumer that waits for the partition. Fails if the partition does not exist.
    pub(super) fn new(group: Arc<Group>, partition: Partition) -> Result<Self, QueueError> {
        if group.lease(partition).is_none() {
            return Err(QueueError(format!("there is no partition {}", partition.0)));
        }
        let state = State::Waiting(Box::pin(Reader::open(Arc::clone(&group), partition)));
        Ok(Self { group, partition, state })
    }

    async fn receive(&mut self) -> Result<Message, QueueError> {
        if let State::Waiting(reader) = &mut self.state {
            self.state = State::Reading(Box::new(reader.await?));
        }
        match &mut self.state {
            State::Reading(reader) => reader.next().await,
            State::Waiting(_) | State::Ended => Err(ended()),
        }
    }

    async fn commit(&mut self, count: usize) -> Result<(), QueueError> {
        let State::Reading(reader) = &mut self.state else { return Err(ended()) };
        let Some(last) = count.checked_sub(1) else { return Ok(()) };
        let last = reader.unsettled.get(last).copied().ok_or_else(|| {
            QueueError(format!("{count} messages settled, {} delivered", reader.unsettled.len()))
        })?;
        let next = last.saturating_add(1);
        let partition = self.partition;
        let generation = reader.generation;
        let deadline = Instant::now() + SETTLE_LIMIT;
        loop {
            let group = Arc::clone(&self.group);
            let commit = spawn_blocking(move || group.commit(partition, generation, next));
            match commit.await.map_err(QueueError::new)? {
                Ok(()) => break,
                Err(error) if !reader.is_assigned() || Instant::now() >= deadline => {
                    return Err(QueueError::new(error));
                }
                Err(error) => log::debug!("kafka: {error}: committing again"),
            }
            sleep(RETRY_INTERVAL).await;
        }
        reader.unsettled.drain(..count);
        reader.lease.next = Some(next);
        Ok(())
    }

    fn end_on_error<T>(&mut self, result: Result<T, QueueError>) -> Result<T, QueueError> {
        if result.is_err() {
            self.state = State::Ended;
        }
        result
    }
}

fn ended() -> QueueError {
    QueueError::new("this consumer has ended: open the partition again")
}

#[async_trait]
impl Deliveries for KafkaConsumer {
    async fn next(&mut self) -> Result<Message, QueueError> {
        let received = self.receive().await;
        self.end_on_error(received)
    }

    async fn settle(&mut self, count: usize) -> Result<(), QueueError> {
        let committed = self.commit(count).await;
        self.end_on_error(committed)
    }
}

impl Reader {
    /// Waits for the lease in this process, then for the assignment of the partition to this process.
    async fn open(group: Arc<Group>, partition: Partition) -> Result<Self, QueueError> {
        let lease = group.lease(partition).ok_or_else(ended)?;
        let mut assignment = group.assignment();
        let mut lease = tokio::select! {
            lease = lease.lock_owned() => lease,
            _ = assignment.wait_for(|now| now.closed) => return Err(ended()),
        };
        let generation = {
            let assigned =
                assignment.wait_for(|now| now.closed || now.generation(partition).is_some());
            let now = assigned.await.map_err(QueueError::new)?;
            now.generation(partition).filter(|_| !now.closed).ok_or_else(ended)?
        };
        if lease.generation != generation {
            *lease = PartitionLease { generation, next: None };
        }
        let nonempty = Arc::new(Notify::new());
        let deadline = Instant::now() + OPEN_LIMIT;
        loop {
            let reader = Arc::clone(&group);
            let notify = Arc::clone(&nonempty);
            // The blocking task owns the lease, so that no other consumer reads before the task has ended.
            let read = spawn_blocking(move || {
                let queue = reader.read(partition, lease.next, &notify);
                (queue, lease)
            });
            let (queue, returned) = read.await.map_err(QueueError::new)?;
            lease = returned;
            let assigned = assignment.borrow().generation(partition) == Some(generation);
            match queue {
                Ok(queue) => {
                    let unsettled = VecDeque::new();
                    return Ok(Self {
                        queue,
                        nonempty,
                        assignment,
                        partition,
                        generation,
                        unsettled,
                        lease,
                    });
                }
                Err(error) if !assigned || Instant::now() >= deadline => {
                    return Err(QueueError::new(error));
                }
                Err(error) => log::debug!("kafka: {error}: opening again"),
            }
            sleep(RETRY_INTERVAL).await;
        }
    }

    fn is_assigned(&self) -> bool {
        let now = self.assignment.borrow();
        !now.closed && now.generation(self.partition) == Some(self.generation)
    }

    async fn next(&mut self) -> Result<Message, QueueError> {
        loop {
            if !self.is_assigned() {
                return Err(QueueError::new("the partition was assigned to another process"));
            }
            if self.unsettled.len() < usize::from(UNSETTLED_MAX)
                && let Some(message) = self.queue.poll(Duration::ZERO)
            {
                let message = message.map_err(QueueError::new)?;
                self.unsettled.push_back(message.offset());
                self.lease.next.get_or_insert(message.offset());
                return Ok(record::message(&message));
            }
            tokio::select! {
                () = self.nonempty.notified() => {}
                _ = self.assignment.changed() => {}
            }
        }
    }
}
