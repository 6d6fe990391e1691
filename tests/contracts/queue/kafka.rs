//! The queue in Kafka, against librdkafka's own mock cluster: three brokers on real TCP, their log in memory.
//!
//! `sharing.rs` has several processes; `tansu.rs` uses a broker in its own process (`make test-kafka`).

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use rdkafka::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{DefaultProducerContext, FutureProducer, FutureRecord};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use seatlock::queue::kafka::{KafkaQueue, KafkaSettings};
use seatlock::queue::{
    DeadLetterAction, DeadLettered, Message, PUBLISH_LIMIT, Partition, PublishError, Queue,
};

use super::letters::{add, resolve_all};
use super::{message, numbers, open, publish, take};

mod sharing;
mod tansu;

const PARTITIONS: u16 = 10;

/// Brokers, and the topics of a queue.
struct Cluster {
    mock: MockCluster<'static, DefaultProducerContext>,
    settings: KafkaSettings,
}

impl Cluster {
    fn start(partitions: u16) -> Self {
        let mock = MockCluster::new(3).unwrap();
        let brokers = mock.bootstrap_servers();
        let settings = KafkaSettings { brokers, name: "requests".to_owned(), partitions };
        mock.create_topic("requests", i32::from(partitions), 3).unwrap();
        mock.create_topic("requests.dead", 1, 3).unwrap();
        Self { mock, settings }
    }

    fn queue(&self) -> KafkaQueue {
        KafkaQueue::new(self.settings.clone()).unwrap()
    }

    fn kill(&self) {
        self.mock.broker_down(-1).unwrap();
    }

    fn restart(&self) {
        self.mock.broker_up(-1).unwrap();
    }
}

#[tokio::test]
async fn three_brokers_keep_every_promise() {
    let cluster = Cluster::start(PARTITIONS);
    let queue = cluster.queue();
    super::every_promise(&queue).await;
    queue.close().await;
}

#[tokio::test]
async fn brokers_that_die_lose_nothing() {
    let cluster = Cluster::start(PARTITIONS);
    let queue = cluster.queue();
    let kill_and_restart = async || {
        cluster.kill();
        tokio::time::sleep(Duration::from_secs(4)).await;
        cluster.restart();
    };
    super::a_broker_that_dies_loses_nothing(&queue, Partition(0), kill_and_restart).await;
    queue.close().await;
}

#[tokio::test]
async fn a_restart_of_the_process_loses_nothing() {
    let cluster = Cluster::start(PARTITIONS);
    let after = async || Box::new(cluster.queue()) as Box<dyn Queue>;
    super::a_restart_loses_nothing(&cluster.queue(), after).await;
}

/// Temporary errors of brokers: another one leads, the coordinator has moved, the group is rebalancing.
#[tokio::test]
async fn temporary_errors_of_brokers_are_retried() {
    use RDKafkaRespErr::{
        RD_KAFKA_RESP_ERR__TRANSPORT as HANG_UP,
        RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS as LOADING,
        RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE as NO_COORDINATOR,
        RD_KAFKA_RESP_ERR_NOT_COORDINATOR as NOT_COORDINATOR,
        RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION as NOT_LEADER,
        RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS as REBALANCING,
    };
    let cluster = Cluster::start(PARTITIONS);
    let inject = |api, errors: &[RDKafkaRespErr]| cluster.mock.request_errors(api, errors);
    inject(RDKafkaApiKey::FindCoordinator, &[NO_COORDINATOR; 2]);
    inject(RDKafkaApiKey::InitProducerId, &[LOADING, NO_COORDINATOR]);
    let queue = cluster.queue();
    inject(RDKafkaApiKey::Produce, &[NOT_LEADER, NOT_LEADER, HANG_UP]);
    publish(&queue, Partition(1), 0..10).await;

    inject(RDKafkaApiKey::JoinGroup, &[NOT_COORDINATOR, LOADING]);
    inject(RDKafkaApiKey::OffsetFetch, &[NOT_COORDINATOR]);
    inject(RDKafkaApiKey::Fetch, &[NOT_LEADER, HANG_UP]);
    let mut consumer = open(&queue, Partition(1)).await;
    assert_eq!(take(&mut consumer, 4).await, numbers(0..4));
    inject(RDKafkaApiKey::OffsetCommit, &[NO_COORDINATOR, NOT_COORDINATOR, REBALANCING, HANG_UP]);
    consumer.settle(3).await.unwrap();
    drop(consumer);

    inject(RDKafkaApiKey::Produce, &[HANG_UP]);
    publish(&queue, Partition(1), 10..12).await;
    let mut consumer = open(&queue, Partition(1)).await;
    assert_eq!(take(&mut consumer, 9).await, numbers(3..12));
    consumer.settle(9).await.unwrap();
    queue.close().await;
}

/// A broker dies for good and another one leads its partitions from then on.
#[tokio::test]
async fn another_broker_takes_the_lead() {
    let cluster = Cluster::start(1);
    let lead = |broker| cluster.mock.partition_leader("requests", 0, Some(broker)).unwrap();
    lead(1);
    let queue = cluster.queue();
    publish(&queue, Partition(0), 0..10).await;
    let mut consumer = open(&queue, Partition(0)).await;
    assert_eq!(take(&mut consumer, 10).await, numbers(0..10));
    consumer.settle(5).await.unwrap();
    cluster.mock.broker_down(1).unwrap();
    lead(2);
    publish(&queue, Partition(0), 10..20).await;
    assert_eq!(take(&mut consumer, 10).await, numbers(10..20));
    consumer.settle(15).await.unwrap();
    queue.close().await;
}

/// Without brokers the outcome of sent messages is unknown, those beyond the buffer are refused, and soon all are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_brokers_every_outcome_is_true_and_in_time() {
    const LOCAL_MAX: usize = 16_384;
    let cluster = Cluster::start(1);
    let queue = cluster.queue();
    publish(&queue, Partition(0), 0..1).await;
    cluster.kill();
    let start = Instant::now();
    let all = (0..20_000).map(|number| queue.publish(Partition(0), message(number)));
    let answers = join_all(all).await;
    assert!(start.elapsed() < PUBLISH_LIMIT + Duration::from_secs(2), "{:?}", start.elapsed());
    let count = |wanted: PublishError| {
        answers.iter().filter(|answer| **answer == Err(wanted.clone())).count()
    };
    assert_eq!(count(PublishError::Full), 20_000 - LOCAL_MAX);
    assert_eq!(count(PublishError::Unknown), LOCAL_MAX);

    let deadline = Instant::now() + super::SOON;
    loop {
        let start = Instant::now();
        let answer = queue.publish(Partition(0), message(1)).await;
        // Known before anything is sent.
        if matches!(answer, Err(PublishError::Unavailable(_)))
            && start.elapsed() < PUBLISH_LIMIT / 10
        {
            break;
        }
        assert!(Instant::now() < deadline, "{answer:?}");
    }
    cluster.restart();
    let deadline = Instant::now() + super::SOON;
    while queue.publish(Partition(0), message(2)).await.is_err() {
        assert!(Instant::now() < deadline, "it is not used again");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A process that starts before its brokers reports it, and connects later.
#[tokio::test]
async fn brokers_may_start_later() {
    let cluster = Cluster::start(1);
    cluster.kill();
    let queue = cluster.queue();
    let start = Instant::now();
    let answer = queue.publish(Partition(0), message(0)).await;
    assert!(
        matches!(answer, Err(PublishError::Unavailable(_))),
        "nothing can have been sent: {answer:?}"
    );
    assert!(start.elapsed() < PUBLISH_LIMIT + Duration::from_secs(1));
    assert!(queue.open(Partition(0)).await.is_err());
    assert!(queue.dead_letters(1).await.is_err());
    cluster.restart();
    let deadline = Instant::now() + super::SOON;
    while queue.publish(Partition(0), message(0)).await.is_err() {
        assert!(Instant::now() < deadline, "it is not used");
    }
    let mut consumer = open(&queue, Partition(0)).await;
    assert_eq!(take(&mut consumer, 1).await, numbers(0..1));
    queue.close().await;
}

#[tokio::test]
async fn unsuitable_topics_are_refused_with_the_remedy() {
    let cluster = Cluster::start(4);
    let settings = KafkaSettings { partitions: 6, ..cluster.settings.clone() };
    let queue = KafkaQueue::new(settings).unwrap();
    let Err(error) = queue.open(Partition(0)).await else { panic!("it should not open") };
    let text = error.to_string();
    assert!(text.contains("requests has 4 partitions, 6 are configured"), "{text}");
    assert!(text.contains("add partitions"), "{text}");
    let answer = queue.publish(Partition(0), message(0)).await;
    assert!(matches!(answer, Err(PublishError::Unavailable(_))), "{answer:?}");

    // The mock cluster does not support CreateTopics; a user without the right to it gets an error, too.
    let settings = KafkaSettings { name: "absent".to_owned(), ..cluster.settings.clone() };
    let Err(error) = KafkaQueue::new(settings).unwrap().open(Partition(0)).await else {
        panic!("there is no topic")
    };
    let text = error.to_string();
    assert!(text.contains("create absent (4 partitions, cleanup.policy=delete) and"), "{text}");
}

/// Another program's messages have other keys and headers, or none.
#[tokio::test]
async fn foreign_messages_are_identified_by_their_offsets() {
    let cluster = Cluster::start(1);
    let other: FutureProducer =
        ClientConfig::new().set("bootstrap.servers", &cluster.settings.brokers).create().unwrap();
    for _ in 0..2 {
        let record = FutureRecord::<str, str>::to("requests").key("same").payload("?");
        other.send(record, PUBLISH_LIMIT).await.unwrap();
    }
    let record = FutureRecord::<str, str>::to("requests").key("same");
    other.send(record, PUBLISH_LIMIT).await.unwrap();

    let queue = cluster.queue();
    let mut consumer = open(&queue, Partition(0)).await;
    let found = take(&mut consumer, 3).await;
    let ids: Vec<&str> = found.iter().map(|message| message.id.as_str()).collect();
    assert_eq!(ids, ["0-0", "0-1", "0-2"]);
    assert_eq!(found[0].body, b"?");
    assert_eq!(found[2].body, b"");
    for message in found {
        add(&queue, Partition(0), message, "not a request").await;
    }
    consumer.settle(3).await.unwrap();
    assert_eq!(queue.dead_letters(10).await.unwrap().len(), 3);
    queue.close().await;
}

#[tokio::test]
async fn a_dead_letter_that_is_added_twice_is_one_and_the_oldest_come_first() {
    let cluster = Cluster::start(1);
    let queue = cluster.queue();
    for number in [3, 1, 2, 3] {
        add(&queue, Partition(0), message(number), "why").await;
        // Their times have to differ.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let found = queue.dead_letters(2).await.unwrap();
    let ids: Vec<&str> = found.iter().map(|letter| letter.message.id.as_str()).collect();
    assert_eq!(ids, ["1", "2"]);
    assert_eq!(queue.dead_letters(10).await.unwrap().len(), 3);
    assert_eq!(resolve_all(&queue, DeadLetterAction::Drop).await, 3);
    assert_eq!(queue.dead_letters(10).await.unwrap(), [], "both records of the third are gone");
}

/// Brokers limit the size of messages, and a dead letter is larger than its message.
#[tokio::test]
async fn a_message_that_is_too_large_for_a_dead_letter_is_refused() {
    let cluster = Cluster::start(1);
    let queue = cluster.queue();
    let large = Message { id: "large".to_owned(), body: vec![b'x'; 2_000_000] };
    let rejected = queue.publish(Partition(0), large.clone()).await;
    assert!(matches!(rejected, Err(PublishError::Rejected(_))), "{rejected:?}");
    let added = queue.add_dead_letter(Partition(0), large, "why".to_owned()).await.unwrap();
    assert!(matches!(&added, DeadLettered::NotStored(why) if why.contains("size")), "{added:?}");
    add(&queue, Partition(0), message(1), "why").await;
    queue.close().await;
}

#[tokio::test]
async fn a_closed_queue_refuses_and_ends_its_consumers() {
    let cluster = Cluster::start(2);
    let queue = cluster.queue();
    publish(&queue, Partition(0), 0..2).await;
    let mut reading = open(&queue, Partition(0)).await;
    assert_eq!(take(&mut reading, 1).await, numbers(0..1));
    let mut waiting = open(&queue, Partition(0)).await;
    let (left, ()) = tokio::join!(waiting.next(), queue.close());
    assert!(left.is_err());
    assert!(reading.next().await.is_err());
    assert!(reading.settle(1).await.is_err());
    assert!(queue.open(Partition(0)).await.is_err());
    let answer = queue.publish(Partition(0), message(2)).await;
    assert!(matches!(answer, Err(PublishError::Unavailable(_))), "{answer:?}");
    let other = cluster.queue();
    assert_eq!(take(&mut open(&other, Partition(0)).await, 2).await, numbers(0..2));
    other.close().await;
}

/// A consumer may be dropped at any moment while it opens; the next one receives everything from the same offset.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn consumers_that_are_dropped_while_they_open_release_the_partition() {
    let cluster = Cluster::start(1);
    let queue = cluster.queue();
    publish(&queue, Partition(0), 0..3).await;
    // So that each one has to seek back.
    assert_eq!(take(&mut open(&queue, Partition(0)).await, 1).await, numbers(0..1));
    for _ in 0..100 {
        let mut consumer = open(&queue, Partition(0)).await;
        let limit = Duration::from_micros(fastrand::u64(0..500));
        drop(tokio::time::timeout(limit, consumer.next()).await.map(drop));
    }
    let mut consumer = open(&queue, Partition(0)).await;
    assert_eq!(take(&mut consumer, 3).await, numbers(0..3));
    publish(&queue, Partition(0), 3..30).await;
    assert_eq!(take(&mut consumer, 27).await, numbers(3..30));
    consumer.settle(30).await.unwrap();
    queue.close().await;
}
