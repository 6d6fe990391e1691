//! The dead letters in RabbitMQ: their bound, their order, and those that the broker makes.

use seatlock::queue::rabbitmq::RabbitQueue;
use seatlock::queue::{
    DeadLetterAction, DeadLetterProgress, DeadLetterSelection, DeadLettered, Message, Partition,
    Queue,
};

use super::{nothing_more, numbers, open, publish, queue, shared, take, until_full};
use crate::queue::letters::{add, listed, resolve, resolve_all};
use crate::queue::message;

/// As in `topology.rs`.
const DELIVERY_LIMIT: u32 = 20;

async fn listed_up_to(queue: &RabbitQueue, limit: usize) -> Vec<Message> {
    let letters = queue.dead_letters(limit).await.unwrap();
    letters.into_iter().map(|letter| letter.message).collect()
}

mod full {
    use super::*;

    #[tokio::test]
    async fn a_message_that_is_never_settled_becomes_a_dead_letter_in_rabbitmq() {
        let queue = queue(shared().await, 3, 100_000);
        publish(&queue, Partition(2), 0..1).await;
        for _ in 0..=DELIVERY_LIMIT {
            let mut consumer = open(&queue, Partition(2)).await;
            assert_eq!(take(&mut consumer, 1).await, numbers(0..1));
        }
        let letters = listed(&queue, 1).await;
        assert_eq!(letters[0].message, message(0));
        assert_eq!(letters[0].partition, Partition(2));
        assert!(letters[0].reason.contains("never settled"), "{}", letters[0].reason);
        assert!(
            letters[0].dead_lettered_at.0 > 1_700_000_000_000,
            "{:?}",
            letters[0].dead_lettered_at
        );

        // Many inspections lose nothing, and a retry resets the count of deliveries.
        for _ in 0..=DELIVERY_LIMIT {
            assert_eq!(queue.dead_letters(1).await.unwrap().len(), 1);
        }
        assert!(resolve(&queue, "0", DeadLetterAction::Retry).await);
        assert!(queue.dead_letters(1).await.unwrap().is_empty());
        let mut consumer = open(&queue, Partition(2)).await;
        assert_eq!(take(&mut consumer, 1).await, numbers(0..1));
        consumer.settle(1).await.unwrap();
        nothing_more(&mut consumer).await;
        queue.close().await;
    }

    /// Inspections of any length keep the order, and two inspections at the same time both see all.
    #[tokio::test]
    async fn dead_letters_in_rabbitmq_stay_in_their_order() {
        let queue = queue(shared().await, 1, 100_000);
        for number in 0..6 {
            add(&queue, Partition(0), message(number), "no").await;
        }
        for limit in [1, 4, 2, 6, 3, 1, 100] {
            let letters = listed_up_to(&queue, limit).await;
            assert_eq!(letters, numbers(0..6.min(u32::try_from(limit).unwrap())), "{limit}");
        }
        let (one, other) = tokio::join!(queue.dead_letters(6), queue.dead_letters(6));
        assert_eq!((one.unwrap().len(), other.unwrap().len()), (6, 6));
        assert!(resolve(&queue, "3", DeadLetterAction::Drop).await);
        let ids: Vec<_> = listed(&queue, 5).await.into_iter().map(|one| one.message.id).collect();
        assert_eq!(ids, ["0", "1", "2", "4", "5"]);
        queue.close().await;
    }

    /// Existing ones stay; another one is refused with the reason, and requests are executed.
    #[tokio::test]
    async fn a_rabbitmq_without_room_for_a_dead_letter_refuses_it() {
        const MAX: u32 = 20;
        let queue = queue(shared().await, 1, MAX.into());
        let mut kept = 0;
        let why = loop {
            match queue.add_dead_letter(Partition(0), message(kept), "no".to_owned()).await.unwrap()
            {
                DeadLettered::Stored => kept += 1,
                DeadLettered::NotStored(why) => break why,
            }
            assert!(kept < MAX * 4, "it keeps {kept} letters, and should keep about {MAX}");
        };
        assert!(why.contains("QUEUE_MAX"), "{why}");
        assert_eq!(listed(&queue, kept as usize).await.len(), kept as usize);
        publish(&queue, Partition(0), 0..3).await;
        let mut consumer = open(&queue, Partition(0)).await;
        assert_eq!(take(&mut consumer, 3).await, numbers(0..3));
        consumer.settle(3).await.unwrap();
        assert_eq!(resolve_all(&queue, DeadLetterAction::Drop).await, kept as usize);
        add(&queue, Partition(0), message(kept), "no").await;
        queue.close().await;
    }

    /// Dead letters of a full partition stay; the others are retried, and all are counted.
    #[tokio::test]
    async fn dead_letters_of_a_full_partition_in_rabbitmq_stay_and_are_counted() {
        let queue = queue(shared().await, 2, 20);
        until_full(&queue, 0).await;
        for number in 100..106 {
            let partition = Partition(u16::try_from(number % 2).unwrap());
            add(&queue, partition, message(number), "no").await;
        }
        let progress = DeadLetterProgress::default();
        queue
            .resolve_dead_letters(DeadLetterSelection::All, DeadLetterAction::Retry, &progress)
            .await
            .unwrap();
        let failed = progress.failed();
        let ids: Vec<&str> = failed.iter().map(|(id, _)| id.as_str()).collect();
        assert_eq!((progress.done(), ids), (3, vec!["100", "102", "104"]));
        assert!(failed[0].1.contains("full"), "{failed:?}");
        let left: Vec<_> = listed(&queue, 3).await.into_iter().map(|one| one.message.id).collect();
        assert_eq!(left, ["100", "102", "104"]);
        queue.close().await;
    }
}
