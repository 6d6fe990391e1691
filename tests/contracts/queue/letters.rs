//! What every backend promises about its dead letters.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use seatlock::queue::{
    DeadLetter, DeadLetterAction, DeadLetterProgress, DeadLetterSelection, DeadLettered, Message,
    Partition, Queue,
};

use super::{SOON, message, nothing_more, numbers, open, publish, take};

/// Runs every check on one partition. There are no letters.
pub(super) async fn every_promise(queue: &dyn Queue, partition: Partition) {
    a_parked_message_waits_for_a_person(queue, partition).await;
    many_letters_are_taken_in_one_go(queue, partition).await;
    a_letter_that_comes_back_at_once_is_not_lost(queue, partition).await;
    any_reason_is_kept(queue, partition).await;
}

/// Parks a message; there is room for it.
pub(super) async fn park(queue: &dyn Queue, partition: Partition, message: Message, reason: &str) {
    let parked = queue.add_dead_letter(partition, message, reason.to_owned()).await;
    assert_eq!(parked, Ok(DeadLettered::Kept));
}

/// Parks many messages, a few at a time.
async fn park_all(queue: &dyn Queue, partition: Partition, messages: &[Message]) {
    for some in messages.chunks(8) {
        join_all(some.iter().map(|one| park(queue, partition, one.clone(), "no"))).await;
    }
}

/// Takes the letter with this id; false if there is none.
pub(super) async fn taken(queue: &dyn Queue, id: &str, fate: DeadLetterAction) -> bool {
    let (tally, which) =
        (DeadLetterProgress::default(), DeadLetterSelection::Ids(HashSet::from([id.to_owned()])));
    queue.resolve_dead_letters(which, fate, &tally).await.unwrap();
    assert_eq!(tally.failed(), []);
    tally.done() == 1
}

/// Takes all letters; gives how many there were.
pub(super) async fn all_taken(queue: &dyn Queue, fate: DeadLetterAction) -> usize {
    let tally = DeadLetterProgress::default();
    queue.resolve_dead_letters(DeadLetterSelection::All, fate, &tally).await.unwrap();
    assert_eq!(tally.failed(), []);
    tally.done()
}

/// It is listed with its reason until it is sent back to its partition, or dropped.
async fn a_parked_message_waits_for_a_person(queue: &dyn Queue, partition: Partition) {
    publish(queue, partition, 0..3).await;
    let mut consumer = open(queue, partition).await;
    let found = take(&mut consumer, 3).await;
    for message in &found {
        park(queue, partition, message.clone(), &format!("no. {}", message.id)).await;
    }
    consumer.settle(3).await.unwrap();
    let letters = listed(queue, 3).await;
    assert_eq!(letters.iter().map(|letter| letter.message.clone()).collect::<Vec<_>>(), found);
    assert_eq!(letters[2].reason, "no. 2");
    assert_eq!(letters[2].partition, partition);
    assert!(letters[2].dead_lettered_at.0 > 1_700_000_000_000);
    assert_eq!(queue.dead_letters(2).await.unwrap().len(), 2);

    assert!(taken(queue, "1", DeadLetterAction::Retry).await);
    assert_eq!(take(&mut consumer, 1).await, numbers(1..2));
    consumer.settle(1).await.unwrap();
    assert!(taken(queue, "0", DeadLetterAction::Drop).await);
    assert!(!taken(queue, "0", DeadLetterAction::Drop).await, "it is gone");
    assert!(!taken(queue, "absent", DeadLetterAction::Retry).await);
    let left = listed(queue, 1).await;
    assert_eq!(left[0].message.id, "2");
    assert!(taken(queue, "2", DeadLetterAction::Drop).await);
    nothing_more(&mut consumer).await;
}

/// All are back in their partition, or gone, with one connection and one look.
#[expect(clippy::print_stdout, reason = "the figures of docs/queue.md")]
async fn many_letters_are_taken_in_one_go(queue: &dyn Queue, partition: Partition) {
    const MANY: u32 = 600;
    park_all(queue, partition, &numbers(0..MANY)).await;
    let begin = Instant::now();
    assert_eq!(all_taken(queue, DeadLetterAction::Retry).await, MANY as usize);
    let retried = begin.elapsed();
    assert_eq!(queue.dead_letters(10).await.unwrap(), []);
    let mut consumer = open(queue, partition).await;
    let found = take(&mut consumer, MANY as usize).await;
    let ids: HashSet<&str> = found.iter().map(|message| message.id.as_str()).collect();
    assert_eq!(ids.len(), MANY as usize, "each is back once");

    park_all(queue, partition, &found).await;
    consumer.settle(found.len()).await.unwrap();
    let some: HashSet<String> = ["7", "absent", "8"].map(str::to_owned).into();
    let tally = DeadLetterProgress::default();
    queue
        .resolve_dead_letters(DeadLetterSelection::Ids(some), DeadLetterAction::Drop, &tally)
        .await
        .unwrap();
    assert_eq!((tally.done(), tally.has_found("absent")), (2, false));
    let begin = Instant::now();
    assert_eq!(all_taken(queue, DeadLetterAction::Drop).await, MANY as usize - 2);
    let dropped = begin.elapsed();
    println!("{MANY} letters: put back in {retried:?}, dropped in {dropped:?}");
    assert_eq!(all_taken(queue, DeadLetterAction::Drop).await, 0);
    nothing_more(&mut consumer).await;
}

/// A program that still cannot execute it parks it again, while it is being taken from the letters.
async fn a_letter_that_comes_back_at_once_is_not_lost(queue: &dyn Queue, partition: Partition) {
    const COUNT: u32 = 40;
    park_all(queue, partition, &numbers(0..COUNT)).await;
    let mut consumer = open(queue, partition).await;
    let parking_again = async {
        for _ in 0..COUNT {
            let found = take(&mut consumer, 1).await.remove(0);
            park(queue, partition, found, "still not").await;
            consumer.settle(1).await.unwrap();
        }
    };
    let (retried, ()) = tokio::join!(all_taken(queue, DeadLetterAction::Retry), parking_again);
    assert_eq!(retried, COUNT as usize);
    let again = listed(queue, COUNT as usize).await;
    let ids: HashSet<&str> = again.iter().map(|letter| letter.message.id.as_str()).collect();
    assert_eq!(ids.len(), COUNT as usize);
    assert!(again.iter().all(|letter| letter.reason == "still not"), "{again:?}");
    assert_eq!(all_taken(queue, DeadLetterAction::Drop).await, COUNT as usize);
}

/// It may quote what somebody else has published.
async fn any_reason_is_kept(queue: &dyn Queue, partition: Partition) {
    for reason in ["", "unknown field `a\0\u{202e}`", &"long ".repeat(1_000)] {
        park(queue, partition, message(1), reason).await;
        assert_eq!(all_taken(queue, DeadLetterAction::Drop).await, 1);
    }
}

/// The dead letters, once there are as many as expected: a broker's own count may lag.
pub(super) async fn listed(queue: &dyn Queue, count: usize) -> Vec<DeadLetter> {
    let deadline = tokio::time::Instant::now() + SOON;
    loop {
        let letters = queue.dead_letters(100).await.unwrap();
        if letters.len() == count {
            return letters;
        }
        assert!(tokio::time::Instant::now() < deadline, "{letters:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
