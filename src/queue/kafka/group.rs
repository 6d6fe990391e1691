//! This process's membership in the consumer group: which partitions it has been given, and commits for
//! those alone.
//!
//! The assignment is cooperative-sticky: when a process comes or goes, only the partitions that move are
//! interrupted, and the others are read on. With the older range assignment every partition of every process
//! would stop for every rolling update.

use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::thread;
use std::time::Duration;

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

/// How long finding out about a place in a partition may take, and moving there.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// How long the thread sleeps when librdkafka has nothing to say.
const POLL: Duration = Duration::from_millis(100);

/// A member of the group.
pub(super) struct Group {
    consumer: Arc<BaseConsumer<GroupContext>>,
    topic: String,
    share: watch::Sender<Assignment>,
    shared: Arc<Shared>,
    turns: Vec<Arc<tokio::sync::Mutex<PartitionLease>>>,
    ended: Mutex<Option<oneshot::Receiver<()>>>,
}

/// What the thread and the callbacks of librdkafka see.
struct Shared {
    share: watch::Sender<Assignment>,
    /// Held while an offset of the partition is committed, so that it is not given away meanwhile: the commit
    /// would come after those of its next owner, and set it back.
    commits: Vec<Mutex<()>>,
}

/// What librdkafka calls.
pub(super) struct GroupContext {
    shared: Arc<Shared>,
    topic: String,
    consumer: OnceLock<Weak<BaseConsumer<GroupContext>>>,
}

impl Group {
    /// Becomes a member; the share comes within seconds.
    pub(super) fn join(settings: &KafkaSettings) -> KafkaResult<Self> {
        let partitions = usize::from(settings.partitions);
        let share = watch::Sender::new(Assignment::of_none(partitions));
        let commits = (0..partitions).map(|_| Mutex::default()).collect();
        let shared = Arc::new(Shared { share: share.clone(), commits });
        let topic = settings.name.clone();
        let context = GroupContext {
            shared: Arc::clone(&shared),
            topic: topic.clone(),
            consumer: OnceLock::new(),
        };
        let consumer: BaseConsumer<GroupContext> = config(settings)
            .set("group.id", &settings.name)
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "earliest")
            // A dead process's partitions are given away after ten seconds.
            .set("session.timeout.ms", "10000")
            .set("heartbeat.interval.ms", "1000")
            // For each partition.
            .set("queued.min.messages", UNSETTLED_MAX.to_string())
            .set("queued.max.messages.kbytes", "4096")
            .create_with_context(context)?;
        let consumer = Arc::new(consumer);
        // Set once: nobody else has seen the consumer.
        let _ = consumer.context().consumer.set(Arc::downgrade(&consumer));
        consumer.subscribe(&[&topic])?;
        let (end, ended) = oneshot::channel();
        let polled = Arc::clone(&consumer);
        let seen = share.clone();
        thread::Builder::new()
            .name("kafka".to_owned())
            .spawn(move || run(polled, &seen, end))
            .map_err(|error| KafkaError::ClientCreation(error.to_string()))?;
        let turns = (0..partitions).map(|_| Arc::default()).collect();
        Ok(Self { consumer, topic, share, shared, turns, ended: Mutex::new(Some(ended)) })
    }

    /// What this process has been given, to be followed.
    pub(super) fn share(&self) -> watch::Receiver<Assignment> {
        self.share.subscribe()
    }

    /// The right to read the partition here; `None` if there is no such partition.
    pub(super) fn turn(
        &self,
        partition: Partition,
    ) -> Option<Arc<tokio::sync::Mutex<PartitionLease>>> {
        self.turns.get(usize::from(partition.0)).cloned()
    }

    /// The messages of a partition, from `next` on, or from where its last owner stood. Blocks. `filled` is
    /// told whenever a message comes to a partition that had none. Only for whoever has the partition's turn.
    pub(super) fn read(
        &self,
        partition: Partition,
        next: Option<i64>,
        filled: &Arc<Notify>,
    ) -> KafkaResult<PartitionQueue<GroupContext>> {
        if let Some(next) = next {
            let place = place(&self.topic, partition, next)?;
            let sought = self.consumer.seek_partitions(place, ANSWER_LIMIT)?;
            sought.elements().iter().try_for_each(|element| element.error())?;
        }
        let mut queue = self
            .consumer
            .split_partition_queue(&self.topic, i32::from(partition.0))
            .ok_or(KafkaError::Subscription(self.topic.clone()))?;
        let filled = Arc::clone(filled);
        queue.set_nonempty_callback(move || filled.notify_one());
        Ok(queue)
    }

    /// Commits that everything before `next` is settled, if the partition is still ours. Blocks.
    pub(super) fn commit(
        &self,
        partition: Partition,
        term: Generation,
        next: i64,
    ) -> KafkaResult<()> {
        let lost = || KafkaError::ConsumerCommit(RDKafkaErrorCode::AssignmentLost);
        let commits = self.shared.commits.get(usize::from(partition.0)).ok_or_else(lost)?;
        let _committing = commits.lock().unwrap_or_else(PoisonError::into_inner);
        if self.share.borrow().term(partition) != Some(term) {
            return Err(lost());
        }
        self.consumer.commit(&place(&self.topic, partition, next)?, CommitMode::Sync)
    }

    /// Begins to give everything back. The thread ends, and with it the connections, when nobody holds
    /// the group or a partition of it any more.
    pub(super) fn leave(&self) {
        self.share.send_modify(|share| share.closed = true);
    }

    /// Done when the thread has ended.
    pub(super) fn left(&self) -> impl Future<Output = ()> + Send + use<> {
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner).take();
        async move {
            if let Some(ended) = ended {
                // An error is the end of the thread too.
                let _ = ended.await;
            }
        }
    }
}

fn place(topic: &str, partition: Partition, next: i64) -> KafkaResult<TopicPartitionList> {
    let mut place = TopicPartitionList::new();
    place.add_partition_offset(topic, i32::from(partition.0), Offset::Offset(next))?;
    Ok(place)
}

/// Lets librdkafka call back, until the group has been left and nobody else uses the consumer.
fn run(
    consumer: Arc<BaseConsumer<GroupContext>>,
    share: &watch::Sender<Assignment>,
    end: oneshot::Sender<()>,
) {
    let mut leaving = false;
    while !(leaving && Arc::strong_count(&consumer) == 1) {
        match consumer.poll(POLL) {
            // Every partition has a queue of its own before its first message is fetched.
            Some(Ok(_)) => log::error!("kafka: a message came outside of its partition's queue"),
            Some(Err(error)) => log::debug!("kafka: {error}"),
            None => {}
        }
        if !leaving && share.borrow().closed {
            consumer.unsubscribe();
            leaving = true;
        }
    }
    // Waits until the brokers know.
    drop(consumer);
    // Nobody may be waiting.
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
        let done = match event {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => self.gain(consumer, list),
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS => {
                self.shared.lose(&indices(list));
                match consumer.rebalance_protocol() {
                    RebalanceProtocol::Cooperative => consumer.incremental_unassign(list),
                    RebalanceProtocol::None | RebalanceProtocol::Eager => consumer.unassign(),
                }
            }
            event => {
                log::warn!("kafka: {}: giving up all partitions", RDKafkaErrorCode::from(event));
                let all: Vec<usize> = (0..self.shared.commits.len()).collect();
                self.shared.lose(&all);
                consumer.unassign()
            }
        };
        if let Err(error) = done {
            log::error!("kafka: cannot follow the group, restart this process: {error}");
        }
    }
}

impl GroupContext {
    fn gain(
        &self,
        consumer: &BaseConsumer<Self>,
        list: &mut TopicPartitionList,
    ) -> KafkaResult<()> {
        // Before the first message is fetched: what has come into the common queue stays there.
        if let Some(consumer) = self.consumer.get().and_then(Weak::upgrade) {
            for partition in numbers(list) {
                drop(consumer.split_partition_queue(&self.topic, partition));
            }
        }
        let gained = if self.begin(consumer, list)? { indices(list) } else { Vec::new() };
        match consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => consumer.incremental_assign(list)?,
            RebalanceProtocol::None | RebalanceProtocol::Eager => consumer.assign(list)?,
        }
        log::info!("kafka: given {} partitions: {gained:?}", gained.len());
        self.shared.share.send_modify(|share| share.give(&gained));
        Ok(())
    }

    /// Notes in the list where each partition begins; false if that does not matter any more. Blocks.
    ///
    /// It must be a number. Left to itself, librdkafka asks for the committed offset once, and if the
    /// coordinator cannot tell just then, never reads the partition ("only reside on .all until the application
    /// unassigns it", rdkafka_assignment.c). And what it looks up by name (`Beginning`, `End`) it may look up
    /// again after a seek, and go there ("outdated offset response", rdkafka_partition.c; both in 2.12.1).
    fn begin(
        &self,
        consumer: &BaseConsumer<Self>,
        list: &mut TopicPartitionList,
    ) -> KafkaResult<bool> {
        for partition in numbers(list) {
            let next = loop {
                match self.next_of(consumer, partition) {
                    Ok(next) => break next,
                    Err(error) => log::debug!("kafka: {error}: asking again where to begin"),
                }
                // Meanwhile the others have given us up, or we them; what is given is taken away at once.
                if consumer.assignment_lost() || self.shared.share.borrow().closed {
                    list.set_all_offsets(Offset::Offset(0))?;
                    return Ok(false);
                }
                thread::park_timeout(POLL);
            };
            list.set_partition_offset(&self.topic, partition, Offset::Offset(next))?;
        }
        Ok(true)
    }

    /// The first message that is not settled, by what has been committed; or the first that there is.
    fn next_of(&self, consumer: &BaseConsumer<Self>, partition: i32) -> KafkaResult<i64> {
        let mut asked = TopicPartitionList::new();
        asked.add_partition(&self.topic, partition);
        let found = consumer.committed_offsets(asked, ANSWER_LIMIT)?;
        let elements = found.elements();
        elements.iter().try_for_each(|element| element.error())?;
        if let Some(Offset::Offset(next)) = elements.first().map(|element| element.offset()) {
            return Ok(next);
        }
        Ok(consumer.fetch_watermarks(&self.topic, partition, ANSWER_LIMIT)?.0)
    }
}

impl Shared {
    fn lose(&self, partitions: &[usize]) {
        log::info!("kafka: {} partitions are taken away: {partitions:?}", partitions.len());
        for partition in partitions {
            let Some(commits) = self.commits.get(*partition) else { continue };
            let _committing = commits.lock().unwrap_or_else(PoisonError::into_inner);
            self.share.send_modify(|share| share.take(*partition));
        }
    }
}

fn numbers(list: &TopicPartitionList) -> Vec<i32> {
    list.elements().iter().map(|element| element.partition()).collect()
}

fn indices(list: &TopicPartitionList) -> Vec<usize> {
    numbers(list).into_iter().filter_map(|number| usize::try_from(number).ok()).collect()
}
