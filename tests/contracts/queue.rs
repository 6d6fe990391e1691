//! The contract of every backend of the queue, as checks that run against any of them, and how each recovers when its
//! broker dies.

mod database;
#[cfg(feature = "kafka")]
mod kafka;
mod letters;
#[cfg(feature = "rabbitmq")]
mod rabbitmq;

use std::collections::HashSet;
use std::time::Duration;

use futures_util::future::join_all;
use seatlock::queue::{Deliveries, Message, Partition, PublishError, Queue};
use tokio::time::timeout;

/// Long enough for every expected event, elections of brokers included.
const SOON: Duration = Duration::from_secs(40);
/// Long enough to show that nothing happens.
const QUIET: Duration = Duration::from_millis(700);

/// Runs every check, each on its own partitions. The queue has at least 10 partitions and is empty.
pub(crate) async fn every_promise(queue: &dyn Queue) {
    messages_come_in_order_and_settled_ones_are_not_delivered_again(queue, Partition(0)).await;
    unsettled_messages_are_delivered_again_first(queue, Partition(1)).await;
    a_cancelled_wait_loses_nothing(queue, Partition(2)).await;
    a_partition_has_one_consumer_at_a_time(queue, Partition(3)).await;
    partitions_are_independent(queue, Partition(4), Partition(5)).await;
    many_publishers_lose_nothing(queue, Partition(6)).await;
    letters::every_promise(queue, Partition(7)).await;
    any_bytes_are_a_message(queue, Partition(8)).await;
}

/// After settling, a new consumer begins behind the settled messages.
async fn messages_come_in_order_and_settled_ones_are_not_delivered_again(
    queue: &dyn Queue,
    partition: Partition,
) {
    publish(queue, partition, 0..50).await;
    let mut consumer = open(queue, partition).await;
    assert_eq!(take(&mut consumer, 50).await, numbers(0..50));
    consumer.settle(20).await.unwrap();
    consumer.settle(30).await.unwrap();
    drop(consumer);
    publish(queue, partition, 50..52).await;
    let mut consumer = open(queue, partition).await;
    assert_eq!(take(&mut consumer, 2).await, numbers(50..52));
    consumer.settle(2).await.unwrap();
    nothing_more(&mut consumer).await;
}

/// A consumer that ends early loses and reorders nothing.
async fn unsettled_messages_are_delivered_again_first(queue: &dyn Queue, partition: Partition) {
    publish(queue, partition, 0..10).await;
    let mut consumer = open(queue, partition).await;
    assert_eq!(take(&mut consumer, 6).await, numbers(0..6));
    consumer.settle(2).await.unwrap();
    drop(consumer);
    publish(queue, partition, 10..12).await;
    let mut consumer = open(queue, partition).await;
    assert_eq!(take(&mut consumer, 10).await, numbers(2..12));
    consumer.settle(10).await.unwrap();
}

/// The consumers of the service cancel `next` often.
async fn a_cancelled_wait_loses_nothing(queue: &dyn Queue, partition: Partition) {
    let mut consumer = open(queue, partition).await;
    for number in 0..20 {
        drop(timeout(Duration::from_millis(fastrand::u64(0..5)), consumer.next()).await.map(drop));
        // A cancelled wait must not take a message, so none is in the queue during the wait.
        publish(queue, partition, number..number + 1).await;
        assert_eq!(take(&mut consumer, 1).await, numbers(number..number + 1));
    }
    consumer.settle(20).await.unwrap();
    publish(queue, partition, 20..60).await;
    let mut seen = Vec::new();
    while seen.len() < 40 {
        let limit = Duration::from_micros(fastrand::u64(0..300));
        if let Ok(next) = timeout(limit, consumer.next()).await {
            seen.push(next.unwrap());
        }
    }
    assert_eq!(seen, numbers(20..60));
    consumer.settle(40).await.unwrap();
}

/// The second one waits until the first is dropped, and then continues with the unsettled messages.
async fn a_partition_has_one_consumer_at_a_time(queue: &dyn Queue, partition: Partition) {
    let mut first = open(queue, partition).await;
    publish(queue, partition, 0..5).await;
    assert_eq!(take(&mut first, 3).await, numbers(0..3));
    let second = async {
        let mut second = open(queue, partition).await;
        let found = take(&mut second, 4).await;
        second.settle(4).await.unwrap();
        found
    };
    let first = async {
        tokio::time::sleep(QUIET).await;
        assert_eq!(take(&mut first, 2).await, numbers(3..5));
        first.settle(1).await.unwrap();
        drop(first);
    };
    let (found, ()) = tokio::join!(second, first);
    assert_eq!(found, numbers(1..5));
}

async fn partitions_are_independent(queue: &dyn Queue, one: Partition, other: Partition) {
    publish(queue, one, 0..3).await;
    publish(queue, other, 10..13).await;
    let mut consumer = open(queue, other).await;
    assert_eq!(take(&mut consumer, 3).await, numbers(10..13));
    consumer.settle(3).await.unwrap();
    nothing_more(&mut consumer).await;
    let mut consumer = open(queue, one).await;
    assert_eq!(take(&mut consumer, 3).await, numbers(0..3));
    consumer.settle(3).await.unwrap();
}

/// Every confirmed message is delivered, in the order of each publisher.
async fn many_publishers_lose_nothing(queue: &dyn Queue, partition: Partition) {
    let mut consumer = open(queue, partition).await;
    let publishers = (0..20u32).map(|publisher| async move {
        for number in 0..20 {
            let id = publisher * 100 + number;
            publish(queue, partition, id..id + 1).await;
        }
    });
    let (found, _) = tokio::join!(take(&mut consumer, 400), join_all(publishers));
    consumer.settle(400).await.unwrap();
    let ids: HashSet<&str> = found.iter().map(|message| message.id.as_str()).collect();
    assert_eq!(ids.len(), 400);
    for publisher in 0..20u32 {
        let mine = |message: &&Message| message.id.parse::<u32>().unwrap() / 100 == publisher;
        let own: Vec<Message> = found.iter().filter(mine).cloned().collect();
        assert_eq!(own, numbers(publisher * 100..publisher * 100 + 20));
    }
}

/// Foreign messages are delivered too; they become dead letters.
async fn any_bytes_are_a_message(queue: &dyn Queue, partition: Partition) {
    let bodies = [Vec::new(), vec![0, 159, 146, 150], "ä{\"".into(), vec![b'x'; 100_000]];
    let mut consumer = open(queue, partition).await;
    for (number, body) in bodies.iter().enumerate() {
        let message = Message { id: number.to_string(), body: body.clone() };
        queue.publish(partition, message).await.unwrap();
    }
    let found = take(&mut consumer, bodies.len()).await;
    assert_eq!(found.into_iter().map(|message| message.body).collect::<Vec<_>>(), bodies);
    consumer.settle(bodies.len()).await.unwrap();
}

/// A full queue refuses further messages, loses none, and accepts more when there is room. It holds about `bound`
/// messages in a partition.
pub(crate) async fn a_full_queue_refuses_messages(
    queue: &dyn Queue,
    partition: Partition,
    bound: u32,
) {
    let mut held = 0;
    let full = loop {
        match queue.publish(partition, message(held)).await {
            Ok(()) => held += 1,
            Err(error) => break error,
        }
        assert!(held < bound * 4, "it holds {held}, and should hold about {bound}");
    };
    assert_eq!(full, PublishError::Full);
    assert!(held >= bound, "only {held} of {bound}");
    let mut consumer = open(queue, partition).await;
    // Only confirmed messages are delivered.
    assert_eq!(take(&mut consumer, held as usize).await, numbers(0..held));
    consumer.settle(held as usize).await.unwrap();
    let deadline = tokio::time::Instant::now() + SOON;
    while queue.publish(partition, message(held)).await.is_err() {
        assert!(tokio::time::Instant::now() < deadline, "there is room again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(take(&mut consumer, 1).await, numbers(held..held + 1));
    consumer.settle(1).await.unwrap();
}

/// The broker is killed and restarted while publishers and a consumer use it: every confirmed message is delivered,
/// no call hangs, and both continue.
pub(crate) async fn a_broker_that_dies_loses_nothing(
    queue: &dyn Queue,
    partition: Partition,
    kill_and_restart: impl AsyncFnOnce(),
) {
    publish(queue, partition, 0..30).await;
    let stop = std::sync::atomic::AtomicBool::new(false);
    let publisher = async {
        let (mut confirmed, mut refused) = (Vec::new(), 0);
        for number in 30.. {
            if stop.load(std::sync::atomic::Ordering::Relaxed) {
                break;
            }
            let limit = seatlock::queue::PUBLISH_LIMIT + Duration::from_secs(2);
            match timeout(limit, queue.publish(partition, message(number))).await {
                Ok(Ok(())) => confirmed.push(number),
                Ok(Err(_)) => refused += 1,
                Err(_) => panic!("publishing hangs"),
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        (confirmed, refused)
    };
    let broker = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        kill_and_restart().await;
        // Until it accepts messages again.
        let deadline = tokio::time::Instant::now() + SOON;
        while queue.publish(partition, message(1_000_000)).await.is_err() {
            assert!(tokio::time::Instant::now() < deadline, "it is not used again");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    };
    let ((confirmed, refused), ()) = tokio::join!(publisher, broker);
    assert!(refused > 0, "the broker was never unavailable: the test shows nothing");
    let expected: HashSet<u32> = (0..30).chain(confirmed).collect();
    let mut seen = Vec::new();
    let mut consumer = open(queue, partition).await;
    while !expected.iter().all(|number| seen.contains(number)) {
        match timeout(SOON, consumer.next()).await.unwrap() {
            Ok(message) => {
                seen.push(message.id.parse::<u32>().unwrap());
                if consumer.settle(1).await.is_err() {
                    consumer = open(queue, partition).await;
                }
            }
            Err(_) => consumer = open(queue, partition).await,
        }
    }
}

/// The next process receives the unsettled messages of the one before.
pub(crate) async fn a_restart_loses_nothing(
    before: &dyn Queue,
    after: impl AsyncFnOnce() -> Box<dyn Queue>,
) {
    publish(before, Partition(9), 0..5).await;
    let mut consumer = open(before, Partition(9)).await;
    assert_eq!(take(&mut consumer, 3).await, numbers(0..3));
    consumer.settle(1).await.unwrap();
    drop(consumer);
    before.close().await;
    let queue = after().await;
    let mut consumer = open(&*queue, Partition(9)).await;
    assert_eq!(take(&mut consumer, 4).await, numbers(1..5));
    consumer.settle(4).await.unwrap();
    drop(consumer);
    queue.close().await;
}

fn message(number: u32) -> Message {
    Message { id: number.to_string(), body: format!("{{\"n\":{number}}}").into_bytes() }
}

fn numbers(range: std::ops::Range<u32>) -> Vec<Message> {
    range.map(message).collect()
}

async fn publish(queue: &dyn Queue, partition: Partition, range: std::ops::Range<u32>) {
    for number in range {
        queue.publish(partition, message(number)).await.unwrap();
    }
}

/// Opens a partition, with retries while the backend has no broker.
async fn open(queue: &dyn Queue, partition: Partition) -> Box<dyn Deliveries> {
    let deadline = tokio::time::Instant::now() + SOON;
    loop {
        match timeout(SOON, queue.open(partition)).await.unwrap() {
            Ok(consumer) => return consumer,
            Err(error) => assert!(tokio::time::Instant::now() < deadline, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn take(consumer: &mut Box<dyn Deliveries>, count: usize) -> Vec<Message> {
    let mut found = Vec::new();
    while found.len() < count {
        let next = timeout(SOON, consumer.next()).await;
        found
            .push(next.unwrap_or_else(|_| panic!("only {} of {count} came", found.len())).unwrap());
    }
    found
}

async fn nothing_more(consumer: &mut Box<dyn Deliveries>) {
    let next = timeout(QUIET, consumer.next()).await;
    assert!(next.is_err(), "no message is expected: {next:?}");
}
