//! The membership of this process in the consumer group: its assigned partitions, and commits for them.
//!
//! The assignment strategy is cooperative-sticky: when a process joins or leaves, only the partitions that move to
//! another process are interrupted. With the range strategy a rolling update would interrupt every partition.

use std::sync::{Arc, OnceLock, Weak};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaRespErr;
use tokio::sync::{Notify, oneshot, watch};

use super::KafkaSettings;
use super::assignment::{Assignment, Generation, PartitionLease};
use super::client::{self, config};
use crate::queue::{Partition, UNSETTLED_MAX};

/// The longest time to read an offset, and to seek to it.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// How long the thread of the group waits for an event of librdkafka.
const POLL: Duration = Duration::from_millis(100);

/// A member of the group.
pub(super) struct Group {
    consumer: Arc<BaseConsumer<GroupContext>>,
    leases: Vec<Arc<tokio::sync::Mutex<PartitionLease>>>,
    ended: Mutex<Option<oneshot::Receiver<()>>>,
}

/// The callbacks of librdkafka, and the state that they change.
pub(super) struct GroupContext {
    topic: String,
    assignment: watch::Sender<Assignment>,
    /// One mutex per partition, locked while an offset is committed, so that the partition is not revoked during the
    /// commit. Otherwise the commit could be executed after those of the next owner, and reset the offset to an older
    /// one.
    commits: Vec<Mutex<()>>,
    consumer: OnceLock<Weak<BaseConsumer<GroupContext>>>,
}

impl Group {
    /// Joins the group. The assignment follows within seconds.
    pub(super) fn join(settings: &KafkaSettings) -> KafkaResult<Self> {
        let partitions = usize::from(settings.partitions);
        let context = GroupContext {
            topic: settings.name.clone(),
            assignment: watch::Sender::new(Assignment::none(partitions)),
            commits: (0..partitions).map(|_| Mutex::default()).collect(),
            consumer: OnceLock::new(),
        };
        let consumer: BaseConsumer<GroupContext> = config(settings)
            .set("group.id", &settings.name)
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "earliest")
            // The partitions of a dead process are reassigned after ten seconds.
            .set("session.timeout.ms", "10000")
            .set("heartbeat.interval.ms", "1000")
            // The least number of prefetched messages, for each partition.
            .set("queued.min.messages", UNSETTLED_MAX.to_string())
            .set("queued.max.messages.kbytes", "4096")
            .create_with_context(context)?;
        let consumer = Arc::new(consumer);
        // This cannot fail, because it is set only here.
        let _ = consumer.context().consumer.set(Arc::downgrade(&consumer));
        consumer.subscribe(&[&settings.name])?;
        let (end, ended) = oneshot::channel();
        let polled = Arc::clone(&consumer);
        thread::Builder::new()
            .name("kafka".to_owned())
            .spawn(move || run(polled, end))
            .map_err(|error| KafkaError::ClientCreation(error.to_string()))?;
        let leases = (0..partitions).map(|_| Arc::default()).collect();
        Ok(Self { consumer, leases, ended: Mutex::new(Some(ended)) })
    }

    fn context(&self) -> &GroupContext {
        self.consumer.context()
    }

    /// The assignment of this process, and its changes.
    pub(super) fn assignment(&self) -> watch::Receiver<Assignment> {
        self.context().assignment.subscribe()
    }

    /// The lease of the partition in this process; `None` if there is no such partition.
    pub(super) fn lease(
        &self,
        partition: Partition,
    ) -> Option<Arc<tokio::sync::Mutex<PartitionLease>>> {
        self.leases.get(usize::from(partition.0)).cloned()
    }

    /// The messages of a partition from the offset `next` on; `None` means the committed offset. `nonempty` is notified
    /// when the first message is added to the empty queue. The caller must hold the lease of the partition. Blocks.
    pub(super) fn read(
        &self,
        partition: Partition,
        next: Option<i64>,
        nonempty: &Arc<Notify>,
    ) -> KafkaResult<PartitionQueue<GroupContext>> {
        if let Some(next) = next {
            let list = self.context().offset(partition, next)?;
            let sought = self.consumer.seek_partitions(list, ANSWER_LIMIT)?;
            sought.elements().iter().try_for_each(|element| element.error())?;
        }
        let topic = &self.context().topic;
        let queue = self.consumer.split_partition_queue(topic, i32::from(partition.0));
        let mut queue = queue.ok_or_else(|| KafkaError::Subscription(topic.clone()))?;
        let nonempty = Arc::clone(nonempty);
        queue.set_nonempty_callback(move || nonempty.notify_one());
        Ok(queue)
    }

    /// Commits the offset `next`, which settles everything before it. Fails if the partition is not assigned any more.
    /// Blocks.
    pub(super) fn commit(
        &self,
        partition: Partition,
        generation: Generation,
        next: i64,
    ) -> KafkaResult<()> {
        let lost = || KafkaError::ConsumerCommit(RDKafkaErrorCode::AssignmentLost);
        let commits = self.context().commits.get(usize::from(partition.0)).ok_or_else(lost)?;
        let _committing = commits.lock();
        if self.context().assignment.borrow().generation(partition) != Some(generation) {
            return Err(lost());
        }
        self.consumer.commit(&self.context().offset(partition, next)?, CommitMode::Sync)
    }

    /// Begins to leave the group. The thread and its connections end when the last reference to the group and to its
    /// partitions has been dropped.
    pub(super) fn leave(&self) {
        self.context().assignment.send_modify(|assignment| assignment.closed = true);
    }

    /// Completes when the thread has ended.
    pub(super) fn left(&self) -> impl Future<Output = ()> + Send + use<> {
        let ended = self.ended.lock().take();
        async move {
            if let Some(ended) = ended {
                // An error also means that the thread has ended.
                let _ = ended.await;
            }
        }
    }
}

/// Runs the callbacks of librdkafka until this process leaves the group and the consumer has no other reference.
fn run(consumer: Arc<BaseConsumer<GroupContext>>, end: oneshot::Sender<()>) {
    let mut leaving = false;
    while !(leaving && Arc::strong_count(&consumer) == 1) {
        match consumer.poll(POLL) {
            // This should not happen: each partition gets its own queue before its first message is fetched.
            Some(Ok(_)) => log::error!("kafka: a message is not in the queue of its partition"),
            Some(Err(error)) => log::debug!("kafka: {error}"),
            None => {}
        }
        if !leaving && consumer.context().assignment.borrow().closed {
            consumer.unsubscribe();
            leaving = true;
        }
    }
    // Blocks until the brokers have confirmed that this process has left the group.
    drop(consumer);
    // Fails if no caller waits for the end of the thread.
    let _ = end.send(());
}

impl ClientContext for GroupContext {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, text: &str) {
        client::log(facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        client::log(&error.to_string(), reason);
    }
}

impl ConsumerContext for GroupContext {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        event: RDKafkaRespErr,
        list: &mut TopicPartitionList,
    ) {
        let result = match event {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => self.assign(consumer, list),
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS => {
                self.revoke(&indices(list));
                match consumer.rebalance_protocol() {
                    RebalanceProtocol::Cooperative => consumer.incremental_unassign(list),
                    RebalanceProtocol::None | RebalanceProtocol::Eager => consumer.unassign(),
                }
            }
            event => {
                log::warn!("kafka: {}: all partitions are revoked", RDKafkaErrorCode::from(event));
                let all: Vec<usize> = (0..self.commits.len()).collect();
                self.revoke(&all);
                consumer.unassign()
            }
        };
        if let Err(error) = result {
            log::error!("kafka: a rebalance of the group failed, restart this process: {error}");
        }
    }
}

impl GroupContext {
    fn offset(&self, partition: Partition, next: i64) -> KafkaResult<TopicPartitionList> {
        let mut list = TopicPartitionList::new();
        let offset = Offset::Offset(next);
        list.add_partition_offset(&self.topic, i32::from(partition.0), offset)?;
        Ok(list)
    }

    fn assign(
        &self,
        consumer: &BaseConsumer<Self>,
        list: &mut TopicPartitionList,
    ) -> KafkaResult<()> {
        // The queues must be split before the first message is fetched: a message in the common queue is not moved.
        if let Some(consumer) = self.consumer.get().and_then(Weak::upgrade) {
            for partition in numbers(list) {
                drop(consumer.split_partition_queue(&self.topic, partition));
            }
        }
        let assigned = if self.set_offsets(consumer, list)? { indices(list) } else { Vec::new() };
        match consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => consumer.incremental_assign(list)?,
            RebalanceProtocol::None | RebalanceProtocol::Eager => consumer.assign(list)?,
        }
        log::info!("kafka: assigned {} partitions: {assigned:?}", assigned.len());
        self.assignment.send_modify(|assignment| assignment.assign(&assigned));
        Ok(())
    }

    /// Sets the first offset of each partition in the list. Returns false if the assignment was lost meanwhile. Blocks.
    ///
    /// The offsets must be numbers. Without offsets, librdkafka requests the committed offset once, and after an error
    /// of the coordinator it never reads the partition ("only reside on .all until the application unassigns it",
    /// rdkafka_assignment.c). Logical offsets (`Beginning`, `End`) may be resolved again after a seek, and the result
    /// then replaces the offset of the seek ("outdated offset response", rdkafka_partition.c; both in 2.12.1).
    fn set_offsets(
        &self,
        consumer: &BaseConsumer<Self>,
        list: &mut TopicPartitionList,
    ) -> KafkaResult<bool> {
        for partition in numbers(list) {
            let next = loop {
                match self.first_unsettled(consumer, partition) {
                    Ok(next) => break next,
                    Err(error) => log::debug!("kafka: {error}: reading the first offset again"),
                }
                // The group has removed this process, or this process leaves the group. In both cases the partitions
                // are revoked next.
                if consumer.assignment_lost() || self.assignment.borrow().closed {
                    list.set_all_offsets(Offset::Offset(0))?;
                    return Ok(false);
                }
                thread::park_timeout(POLL);
            };
            list.set_partition_offset(&self.topic, partition, Offset::Offset(next))?;
        }
        Ok(true)
    }

    /// The committed offset of a partition, or its first offset if none is committed.
    fn first_unsettled(&self, consumer: &BaseConsumer<Self>, partition: i32) -> KafkaResult<i64> {
        let mut list = TopicPartitionList::new();
        list.add_partition(&self.topic, partition);
        let found = consumer.committed_offsets(list, ANSWER_LIMIT)?;
        let elements = found.elements();
        elements.iter().try_for_each(|element| element.error())?;
        if let Some(Offset::Offset(next)) = elements.first().map(|element| element.offset()) {
            return Ok(next);
        }
        Ok(consumer.fetch_watermarks(&self.topic, partition, ANSWER_LIMIT)?.0)
    }

    fn revoke(&self, partitions: &[usize]) {
        log::info!("kafka: {} partitions are revoked: {partitions:?}", partitions.len());
        for partition in partitions {
            let Some(commits) = self.commits.get(*partition) else { continue };
            let _committing = commits.lock();
            self.assignment.send_modify(|assignment| assignment.revoke(*partition));
        }
    }
}

fn numbers(list: &TopicPartitionList) -> Vec<i32> {
    list.elements().iter().map(|element| element.partition()).collect()
}

fn indices(list: &TopicPartitionList) -> Vec<usize> {
    numbers(list).into_iter().filter_map(|number| usize::try_from(number).ok()).collect()
}
