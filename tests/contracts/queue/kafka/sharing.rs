//! Several processes share the partitions, start and stop.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use seatlock::queue::kafka::{KafkaQueue, KafkaSettings};
use seatlock::queue::{Message, Partition, Queue};
use test_support::Process;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::Cluster;
use crate::queue::SOON;

pub(super) const PARTITIONS: u16 = 6;

/// The brokers for the other process. A test of this file that finds it set is that process.
const BROKERS: &str = "SEATLOCK_TEST_KAFKA_BROKERS";

/// A process that was killed before it could report whether it had settled a message.
const PERHAPS: &str = "the other, perhaps";

/// What the consumers of all processes have done.
#[derive(Default)]
struct Record {
    /// The process that has settled each message.
    settled: BTreeMap<String, &'static str>,
    /// The last message of each partition that was delivered for the first time.
    last: BTreeMap<u16, u32>,
    delivered: BTreeSet<String>,
}

impl Record {
    fn delivered(&mut self, partition: Partition, message: &Message) {
        let by = self.settled.get(&message.id).filter(|by| **by != PERHAPS);
        assert!(by.is_none(), "{} is settled by {by:?}, and comes again", message.id);
        if self.delivered.insert(message.id.clone()) {
            let number = number(message);
            let last = self.last.insert(partition.0, number);
            assert!(last.is_none_or(|last| number > last), "{last:?}, then {number}");
        }
    }

    fn settled_by(&self, who: &str) -> usize {
        self.settled.values().filter(|by| **by == who).count()
    }
}

fn number(message: &Message) -> u32 {
    message.id.split('/').nth(1).unwrap().parse().unwrap()
}

/// The consumers of one process.
fn consume(
    queue: &Arc<KafkaQueue>,
    who: &'static str,
    record: &Arc<Mutex<Record>>,
) -> Vec<JoinHandle<()>> {
    let one = |partition| consume_one(Arc::clone(queue), partition, who, Arc::clone(record));
    Partition::all(PARTITIONS).map(|partition| tokio::spawn(one(partition))).collect()
}

/// Until the queue is closed.
async fn consume_one(
    queue: Arc<KafkaQueue>,
    partition: Partition,
    who: &'static str,
    record: Arc<Mutex<Record>>,
) {
    while let Ok(mut consumer) = queue.open(partition).await {
        while let Ok(message) = consumer.next().await {
            record.lock().unwrap().delivered(partition, &message);
            // The time of an execution.
            sleep(Duration::from_millis(1)).await;
            if consumer.settle(1).await.is_err() {
                break;
            }
            record.lock().unwrap().settled.insert(message.id, who);
        }
    }
}

async fn publish_all(queue: &KafkaQueue, numbers: std::ops::Range<u32>) {
    let one = |partition: Partition| {
        let numbers = numbers.clone();
        async move {
            for number in numbers {
                let id = format!("{}/{number}", partition.0);
                queue.publish(partition, Message { id, body: Vec::new() }).await.unwrap();
            }
        }
    };
    join_all(Partition::all(PARTITIONS).map(one)).await;
}

/// Publishes until the condition holds; returns the number of the next round.
async fn publish_until(queue: &KafkaQueue, from: u32, mut enough: impl FnMut() -> bool) -> u32 {
    let deadline = Instant::now() + SOON;
    let mut next = from;
    while !enough() {
        assert!(Instant::now() < deadline, "never");
        publish_all(queue, next..next + 1).await;
        next += 1;
        sleep(Duration::from_millis(20)).await;
    }
    next
}

async fn until_settled(record: &Mutex<Record>, rounds: u32) {
    let wanted = usize::from(PARTITIONS) * rounds as usize;
    let deadline = Instant::now() + SOON;
    while record.lock().unwrap().settled.len() < wanted {
        let settled = record.lock().unwrap().settled.len();
        assert!(Instant::now() < deadline, "{settled} of {wanted}");
        sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(record.lock().unwrap().settled.len(), wanted);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_start_and_stop_without_losing_or_repeating_settled_messages() {
    come_and_go(&Cluster::start(PARTITIONS).settings).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_is_killed_leaves_its_partitions_to_others() {
    match std::env::var(BROKERS) {
        Ok(brokers) => be_the_other_process(brokers).await,
        Err(_) => be_killed(&Cluster::start(PARTITIONS).settings).await,
    }
}

/// A second process joins the first; later the first one leaves.
pub(super) async fn come_and_go(settings: &KafkaSettings) {
    let queue = || KafkaQueue::new(settings.clone()).unwrap();
    let record = Arc::new(Mutex::new(Record::default()));
    let publisher = queue();
    let (one, other) = (Arc::new(queue()), Arc::new(queue()));
    let mut consumers = consume(&one, "one", &record);
    let by = |who| record.lock().unwrap().settled_by(who);
    let next = publish_until(&publisher, 0, || by("one") > 50).await;
    consumers.extend(consume(&other, "other", &record));
    let next = publish_until(&publisher, next, || by("other") > 50).await;
    let before = by("one");
    let next = publish_until(&publisher, next, || by("one") > before + 50).await;
    one.close().await;
    let taken_over = by("other");
    let next = publish_until(&publisher, next, || by("other") > taken_over + 50).await;
    until_settled(&record, next).await;
    other.close().await;
    for consumer in consumers {
        consumer.await.unwrap();
    }
}

/// A second process is killed (SIGKILL) while it consumes.
async fn be_killed(settings: &KafkaSettings) {
    let record = Arc::new(Mutex::new(Record::default()));
    let publisher = KafkaQueue::new(settings.clone()).unwrap();
    let other = start_the_other_process(&settings.brokers);
    let next = publish_until(&publisher, 0, || printed(&other, "settled").len() > 50).await;
    let queue = Arc::new(KafkaQueue::new(settings.clone()).unwrap());
    let consumers = consume(&queue, "we", &record);
    let ours = || record.lock().unwrap().settled_by("we");
    let next = publish_until(&publisher, next, || ours() > 50).await;
    let before = printed(&other, "settled").len();
    let next =
        publish_until(&publisher, next, || printed(&other, "settled").len() > before + 20).await;
    // In the middle of them.
    other.kill();
    let before = ours();
    let next = publish_until(&publisher, next, || ours() > before + 200).await;
    {
        let mut record = record.lock().unwrap();
        for id in printed(&other, "settled") {
            assert!(!record.delivered.contains(&id), "{id} is settled and came again");
            record.settled.insert(id, "other");
        }
        // It died before it could report whether it had settled these: at most one of each partition.
        let unreported: Vec<String> = printed(&other, "delivered");
        let unreported = unreported.into_iter().filter(|id| !record.delivered.contains(id));
        for id in unreported.collect::<BTreeSet<_>>() {
            record.settled.entry(id).or_insert(PERHAPS);
        }
        assert!(record.settled_by(PERHAPS) <= usize::from(PARTITIONS));
    }
    until_settled(&record, next).await;
    queue.close().await;
    for consumer in consumers {
        consumer.await.unwrap();
    }
}

fn start_the_other_process(brokers: &str) -> Process {
    let name = "queue::kafka::sharing::a_process_that_is_killed_leaves_its_partitions_to_others";
    let program = std::env::current_exe().unwrap();
    let command = [program.into_os_string(), name.into(), "--exact".into(), "--nocapture".into()];
    Process::spawn_in(Path::new("/"), &command, &[(BROKERS, brokers)])
}

/// The ids that it has printed with this word.
fn printed(process: &Process, what: &str) -> Vec<String> {
    let output = process.output();
    let ids = output.lines().filter_map(|line| line.strip_prefix(what)?.strip_prefix(' '));
    ids.map(str::to_owned).collect()
}

/// Consumes and prints it, until it is killed.
#[expect(clippy::print_stdout, reason = "the other process reads it")]
async fn be_the_other_process(brokers: String) {
    let settings = KafkaSettings { brokers, name: "requests".to_owned(), partitions: PARTITIONS };
    let queue = &KafkaQueue::new(settings).unwrap();
    let one = |partition| async move {
        loop {
            let mut consumer = queue.open(partition).await.unwrap();
            while let Ok(message) = consumer.next().await {
                println!("delivered {}", message.id);
                if consumer.settle(1).await.is_err() {
                    break;
                }
                println!("settled {}", message.id);
            }
        }
    };
    join_all(Partition::all(PARTITIONS).map(one)).await;
}
