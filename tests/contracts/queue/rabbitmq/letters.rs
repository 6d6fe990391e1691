//! The dead letters in RabbitMQ: their bound and their order, and those of the broker's own.

use seatlock::queue::rabbitmq::RabbitQueue;
use seatlock::queue::{
    DeadLetterAction, DeadLetterProgress, DeadLetterSelection, DeadLettered, Message, Partition,
    Queue,
};

use super::{nothing_more, numbers, open, publish, queue, shared, take, until_full};
use crate::queue::letters::{all_taken, listed, park, taken};
use crate::queue::message;

/// As `rabbitmq.rs` has it.
const DELIVERY_LIMIT: u32 = 20;

async fn listed_up_to(queue: &RabbitQueue, limit: usize) -> Vec<Message> {
    let letters = queue.dead_letters(limit).await.unwrap();
    letters.into_iter().map(|letter| letter.message).collect()
}

mod full {
    use super::*;

    #[tokio::test]
    async fn what_is_never_settled_becomes_a_dead_letter_of_rabbitmqs_own() {
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

        // A person who looks often does no harm, and a retry begins anew.
        for _ in 0..=DELIVERY_LIMIT {
            assert_eq!(queue.dead_letters(1).await.unwrap().len(), 1);
        }
        assert!(taken(&queue, "0", DeadLetterAction::Retry).await);
        assert!(queue.dead_letters(1).await.unwrap().is_empty());
        let mut consumer = open(&queue, Partition(2)).await;
        assert_eq!(take(&mut consumer, 1).await, numbers(0..1));
        consumer.settle(1).await.unwrap();
        nothing_more(&mut consumer).await;
        queue.close().await;
    }

    /// Looks of any length leave the order as it is, and two people who look at once both see all.
    #[tokio::test]
    async fn dead_letters_in_rabbitmq_stay_in_their_order() {
        let queue = queue(shared().await, 1, 100_000);
        for number in 0..6 {
            park(&queue, Partition(0), message(number), "no").await;
        }
        for limit in [1, 4, 2, 6, 3, 1, 100] {
            let letters = listed_up_to(&queue, limit).await;
            assert_eq!(letters, numbers(0..6.min(u32::try_from(limit).unwrap())), "{limit}");
        }
        let (one, other) = tokio::join!(queue.dead_letters(6), queue.dead_letters(6));
        assert_eq!((one.unwrap().len(), other.unwrap().len()), (6, 6));
        assert!(taken(&queue, "3", DeadLetterAction::Drop).await);
        let ids: Vec<_> = listed(&queue, 5).await.into_iter().map(|one| one.message.id).collect();
        assert_eq!(ids, ["0", "1", "2", "4", "5"]);
        queue.close().await;
    }

    /// Those that were there stay; another one is refused with the reason, and requests go on.
    #[tokio::test]
    async fn rabbitmq_says_when_it_has_no_room_for_another_dead_letter() {
        const MAX: u32 = 20;
        let queue = queue(shared().await, 1, MAX.into());
        let mut kept = 0;
        let why = loop {
            match queue.add_dead_letter(Partition(0), message(kept), "no".to_owned()).await.unwrap()
            {
                DeadLettered::Kept => kept += 1,
                DeadLettered::NoRoom(why) => break why,
            }
            assert!(kept < MAX * 4, "it keeps {kept} letters, and should keep about {MAX}");
        };
        assert!(why.contains("QUEUE_MAX"), "{why}");
        assert_eq!(listed(&queue, kept as usize).await.len(), kept as usize);
        publish(&queue, Partition(0), 0..3).await;
        let mut consumer = open(&queue, Partition(0)).await;
        assert_eq!(take(&mut consumer, 3).await, numbers(0..3));
        consumer.settle(3).await.unwrap();
        assert_eq!(all_taken(&queue, DeadLetterAction::Drop).await, kept as usize);
        park(&queue, Partition(0), message(kept), "no").await;
        queue.close().await;
    }

    /// A partition without room keeps its letters where they are; the others are put back, and all is counted.
    #[tokio::test]
    async fn letters_in_rabbitmq_that_have_no_room_stay_and_are_counted() {
        let queue = queue(shared().await, 2, 20);
        until_full(&queue, 0).await;
        for number in 100..106 {
            let partition = Partition(u16::try_from(number % 2).unwrap());
            park(&queue, partition, message(number), "no").await;
        }
        let tally = DeadLetterProgress::default();
        queue
            .resolve_dead_letters(DeadLetterSelection::All, DeadLetterAction::Retry, &tally)
            .await
            .unwrap();
        let failed = tally.failed();
        let ids: Vec<&str> = failed.iter().map(|(id, _)| id.as_str()).collect();
        assert_eq!((tally.done(), ids), (3, vec!["100", "102", "104"]));
        assert!(failed[0].1.contains("full"), "{failed:?}");
        let left: Vec<_> = listed(&queue, 3).await.into_iter().map(|one| one.message.id).collect();
        assert_eq!(left, ["100", "102", "104"]);
        queue.close().await;
    }
}
