//! RabbitMQ as the queue: the contract, and its own faults.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use seatlock::queue::rabbitmq::{RabbitQueue, RabbitSettings};
use seatlock::queue::{PUBLISH_LIMIT, Partition, PublishError, Queue, UNSETTLED_MAX};
use test_support::{Certificates, RabbitMq, Relay};

use super::*;

mod letters;

fn settings(broker: &RabbitMq, partitions: u16, max: u64) -> RabbitSettings {
    RabbitSettings { url: broker.url(), name: broker.fresh_name(), partitions, max }
}

/// A queue with its own name.
fn queue(broker: &RabbitMq, partitions: u16, max: u64) -> RabbitQueue {
    RabbitQueue::new(&settings(broker, partitions, max)).unwrap()
}

/// The broker of all tests without faults. Starting it would block the runtime.
async fn shared() -> &'static RabbitMq {
    tokio::task::spawn_blocking(RabbitMq::shared).await.unwrap()
}

async fn own() -> RabbitMq {
    tokio::task::spawn_blocking(RabbitMq::start).await.unwrap()
}

/// Does something blocking to a broker.
async fn hurt(broker: &RabbitMq, how: impl FnOnce(&RabbitMq) + Send) {
    std::thread::scope(|scope| {
        let done = scope.spawn(|| how(broker));
        tokio::task::block_in_place(|| done.join().unwrap());
    });
}

/// Publishes until the queue is full.
async fn until_full(queue: &RabbitQueue, from: u32) {
    for number in from..100 {
        if queue.publish(Partition(0), message(number)).await == Err(PublishError::Full) {
            return;
        }
    }
    panic!("it accepts more than its bound");
}

/// Waits until the queue reports that the broker is unavailable; returns the reason.
async fn until_unavailable(queue: &RabbitQueue) -> String {
    let deadline = Instant::now() + SOON;
    loop {
        if let Err(PublishError::Unavailable(reason)) =
            queue.publish(Partition(1), message(0)).await
        {
            return reason;
        }
        assert!(Instant::now() < deadline, "it never reports it");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn until_published(queue: &RabbitQueue, partition: Partition, message: Message) {
    let deadline = Instant::now() + SOON;
    while let Err(error) = queue.publish(partition, message.clone()).await {
        assert!(Instant::now() < deadline, "{error}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

mod full {
    use super::*;

    #[tokio::test]
    async fn rabbitmq_keeps_every_promise() {
        let queue = queue(shared().await, 10, 100_000);
        every_promise(&queue).await;
        queue.close().await;
    }

    #[tokio::test]
    async fn an_encrypted_rabbitmq_is_trusted_only_by_its_authority() {
        let certificates = Certificates::new();
        let (broker, certificates) = tokio::task::spawn_blocking(move || {
            (RabbitMq::start_encrypted(&certificates), certificates)
        })
        .await
        .unwrap();
        let stranger = RabbitQueue::new(&settings(&broker, 1, 100)).unwrap();
        let refusal = stranger.open(Partition(0)).await.err().unwrap().to_string();
        assert!(refusal.contains("certificate"), "{refusal}");

        let url = format!("{}?cacertfile={}", broker.url(), certificates.ca().display());
        let queue = RabbitQueue::new(&RabbitSettings { url, ..settings(&broker, 1, 100) }).unwrap();
        publish(&queue, Partition(0), 0..3).await;
        let mut consumer = open(&queue, Partition(0)).await;
        assert_eq!(take(&mut consumer, 3).await, numbers(0..3));
        consumer.settle(3).await.unwrap();
        queue.close().await;
    }

    #[tokio::test]
    async fn a_full_partition_in_rabbitmq_refuses_messages() {
        let queue = queue(shared().await, 4, 400);
        a_full_queue_refuses_messages(&queue, Partition(3), 100).await;
        queue.close().await;
    }

    #[tokio::test]
    async fn a_restart_of_the_process_loses_nothing_in_rabbitmq() {
        let settings = settings(shared().await, 10, 100_000);
        let before = RabbitQueue::new(&settings).unwrap();
        a_restart_loses_nothing(&before, async || {
            Box::new(RabbitQueue::new(&settings).unwrap()) as Box<dyn Queue>
        })
        .await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_killed_rabbitmq_loses_nothing_and_is_used_again() {
        let broker = own().await;
        let queue = queue(&broker, 2, 100_000);
        drop(open(&queue, Partition(1)).await);
        // RabbitMQ 3.10 persists half a second late that a quorum queue exists (auto_save in ra_directory.erl); one that
        // was created just before a crash never gets a leader.
        tokio::time::sleep(Duration::from_secs(2)).await;
        a_broker_that_dies_loses_nothing(&queue, Partition(1), async || {
            hurt(&broker, |broker| broker.kill()).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
            hurt(&broker, |broker| broker.restart()).await;
        })
        .await;
        queue.close().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn with_a_frozen_rabbitmq_outcomes_are_unknown_in_time_and_all_recover() {
        let broker = own().await;
        let queue = queue(&broker, 2, 100_000);
        publish(&queue, Partition(0), 0..10).await;
        let mut consumer = open(&queue, Partition(0)).await;
        assert_eq!(take(&mut consumer, 10).await, numbers(0..10));
        consumer.settle(5).await.unwrap();

        hurt(&broker, |broker| broker.pause()).await;
        let begin = Instant::now();
        let publishing = (10..20).map(|number| queue.publish(Partition(0), message(number)));
        let outcomes = join_all(publishing).await;
        assert!(begin.elapsed() < PUBLISH_LIMIT + Duration::from_secs(1), "{:?}", begin.elapsed());
        assert_eq!(outcomes, vec![Err(PublishError::Unknown); 10]);
        // The connection is given up, and a new one is not answered: now publishing fails immediately.
        let reason = until_unavailable(&queue).await;
        assert!(reason.contains("confirms nothing"), "{reason}");
        let begin = Instant::now();
        let outcome = queue.publish(Partition(0), message(20)).await;
        assert!(matches!(outcome, Err(PublishError::Unavailable(_))), "{outcome:?}");
        assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
        hurt(&broker, |broker| broker.resume()).await;

        until_published(&queue, Partition(0), message(30)).await;
        drop(consumer);
        let mut seen = Vec::new();
        let mut consumer = open(&queue, Partition(0)).await;
        while !(5..10).chain([30]).all(|number| seen.contains(&message(number))) {
            match timeout(SOON, consumer.next()).await.expect("confirmed messages are missing") {
                Ok(message) => seen.push(message),
                Err(_) => consumer = open(&queue, Partition(0)).await,
            }
        }
        assert!(
            (0..5).all(|number| !seen.contains(&message(number))),
            "they were settled: {seen:?}"
        );
        queue.close().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_rabbitmq_without_memory_refuses_immediately_and_still_delivers() {
        let broker = own().await;
        let queue = queue(&broker, 2, 100_000);
        publish(&queue, Partition(0), 0..3).await;
        hurt(&broker, |broker| drop(broker.control(&["set_vm_memory_high_watermark", "0"]))).await;
        let reason = until_unavailable(&queue).await;
        assert!(reason.contains("no room"), "{reason}");
        let mut consumer = open(&queue, Partition(0)).await;
        assert_eq!(take(&mut consumer, 3).await, numbers(0..3));
        consumer.settle(3).await.unwrap();
        hurt(&broker, |broker| drop(broker.control(&["set_vm_memory_high_watermark", "0.4"])))
            .await;
        until_published(&queue, Partition(0), message(3)).await;
        queue.close().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_cut_connection_to_rabbitmq_ends_the_consumer_and_requeues_everything() {
        let broker = shared().await;
        let relay = Relay::to(broker.port());
        let direct = settings(broker, 2, 100_000);
        let url = format!("amqp://127.0.0.1:{}", relay.port());
        let queue = RabbitQueue::new(&RabbitSettings { url, ..direct.clone() }).unwrap();
        publish(&queue, Partition(1), 0..20).await;
        let mut consumer = open(&queue, Partition(1)).await;
        assert_eq!(take(&mut consumer, 10).await, numbers(0..10));
        consumer.settle(4).await.unwrap();
        relay.cut();
        while timeout(SOON, consumer.next()).await.expect("the cut is not noticed").is_ok() {}
        assert!(timeout(SOON, consumer.next()).await.expect("it is over").is_err());
        assert!(queue.open(Partition(1)).await.is_err(), "it cannot be reached");
        relay.heal();
        drop(consumer);
        let mut consumer = open(&queue, Partition(1)).await;
        // The last acknowledgement may have arrived before the cut.
        let first: u32 = take(&mut consumer, 1).await[0].id.parse().unwrap();
        assert!(first == 0 || first == 4, "{first}");
        let rest = take(&mut consumer, 19 - first as usize).await;
        assert_eq!(rest, numbers(first + 1..20));
        consumer.settle(20 - first as usize).await.unwrap();
        until_published(&queue, Partition(1), message(20)).await;
        queue.close().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_silent_connection_to_rabbitmq_ends_the_consumer() {
        let broker = shared().await;
        let relay = Relay::to(broker.port());
        let url = format!("amqp://127.0.0.1:{}", relay.port());
        let settings = RabbitSettings { url, ..settings(broker, 1, 100_000) };
        let queue = RabbitQueue::new(&settings).unwrap();
        let mut consumer = open(&queue, Partition(0)).await;
        relay.black_hole();
        assert!(timeout(SOON, consumer.next()).await.expect("the silence is not noticed").is_err());
        relay.heal();
        drop(consumer);
        let mut consumer = open(&queue, Partition(0)).await;
        until_published(&queue, Partition(0), message(0)).await;
        assert_eq!(take(&mut consumer, 1).await, numbers(0..1));
        queue.close().await;
    }

    /// There are more messages than one consumer prefetches, and another consumer waits. It begins with what the first has
    /// not settled, not with later messages.
    #[tokio::test]
    async fn the_next_consumer_in_rabbitmq_begins_with_the_unsettled_messages() {
        let queue = queue(shared().await, 2, 100_000);
        let count = u32::from(UNSETTLED_MAX) * 2;
        publish(&queue, Partition(0), 0..count).await;
        let mut first = open(&queue, Partition(0)).await;
        let given = take(&mut first, 10).await;
        let mut second = open(&queue, Partition(0)).await;
        first.settle(2).await.unwrap();
        drop(first);
        let rest = take(&mut second, UNSETTLED_MAX.into()).await;
        assert_eq!(rest[..8], given[2..], "what was not settled comes first");
        second.settle(rest.len()).await.unwrap();
        let last = take(&mut second, count as usize - 2 - rest.len()).await;
        second.settle(last.len()).await.unwrap();
        let found: Vec<_> = given[..2].iter().chain(&rest).chain(&last).cloned().collect();
        assert!(found == numbers(0..count), "they are not in their order");
        queue.close().await;
    }

    #[tokio::test]
    async fn a_deleted_queue_in_rabbitmq_is_created_again() {
        let broker = shared().await;
        let settings = settings(broker, 1, 100_000);
        let queue = RabbitQueue::new(&settings).unwrap();
        publish(&queue, Partition(0), 0..1).await;
        let name = format!("{}.0", settings.name);
        tokio::task::spawn_blocking(move || broker.control(&["delete_queue", &name]))
            .await
            .unwrap();
        // No lost message is confirmed.
        let outcomes =
            join_all((1..50).map(|number| queue.publish(Partition(0), message(number)))).await;
        let confirmed: Vec<u32> = (1..50)
            .zip(&outcomes)
            .filter(|(_, outcome)| outcome.is_ok())
            .map(|(number, _)| number)
            .collect();
        assert!(matches!(outcomes[0], Err(PublishError::Unavailable(_))), "{:?}", outcomes[0]);
        until_published(&queue, Partition(0), message(50)).await;
        let mut consumer = open(&queue, Partition(0)).await;
        let found = take(&mut consumer, confirmed.len() + 1).await;
        let expected: Vec<_> = confirmed.into_iter().chain([50]).map(message).collect();
        assert_eq!(found, expected);
        queue.close().await;
    }

    #[tokio::test]
    async fn another_bound_than_before_does_not_stop_rabbitmq() {
        let before = settings(shared().await, 1, 10);
        let queue = RabbitQueue::new(&before).unwrap();
        publish(&queue, Partition(0), 0..1).await;
        queue.close().await;
        let queue = RabbitQueue::new(&RabbitSettings { max: 1_000, ..before }).unwrap();
        until_full(&queue, 1).await;
        queue.close().await;
    }
}
