//! The contract of every backend about dead letters.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use seatlock::queue::{
    DeadLetter, DeadLetterAction, DeadLetterProgress, DeadLetterSelection, DeadLettered, Message,
    Partition, Queue,
};

use super::{SOON, message, nothing_more, numbers, open, publish, take};

/// Runs every check on one partition. There are no dead letters.
pub(super) async fn every_promise(queue: &dyn Queue, partition: Partition) {
    a_dead_letter_is_listed_until_it_is_resolved(queue, partition).await;
    many_dead_letters_are_resolved_in_one_call(queue, partition).await;
    a_retried_dead_letter_that_fails_again_is_not_lost(queue, partition).await;
    any_reason_is_kept(queue, partition).await;
}

/// Makes a message a dead letter; there is room for it.
pub(super) async fn add(queue: &dyn Queue, partition: Partition, message: Message, reason: &str) {
    let added = queue.add_dead_letter(partition, message, reason.to_owned()).await;
    assert_eq!(added, Ok(DeadLettered::Stored));
}

/// Makes many messages dead letters, a few at a time.
async fn add_all(queue: &dyn Queue, partition: Partition, messages: &[Message]) {
    for some in messages.chunks(8) {
        join_all(some.iter().map(|one| add(queue, partition, one.clone(), "no"))).await;
    }
}

/// Resolves the dead letter with this id; returns false if there is none.
pub(super) async fn resolve(queue: &dyn Queue, id: &str, action: DeadLetterAction) -> bool {
    let (progress, selection) =
        (DeadLetterProgress::default(), DeadLetterSelection::Ids(HashSet::from([id.to_owned()])));
    queue.resolve_dead_letters(selection, action, &progress).await.unwrap();
    assert_eq!(progress.failed(), []);
    progress.done() == 1
}

/// Resolves all dead letters; returns how many there were.
pub(super) async fn resolve_all(queue: &dyn Queue, action: DeadLetterAction) -> usize {
    let progress = DeadLetterProgress::default();
    queue.resolve_dead_letters(DeadLetterSelection::All, action, &progress).await.unwrap();
    assert_eq!(progress.failed(), []);
    progress.done()
}

/// It is listed with its reason until it is retried or dropped.
async fn a_dead_letter_is_listed_until_it_is_resolved(queue: &dyn Queue, partition: Partition) {
    publish(queue, partition, 0..3).await;
    let mut consumer = open(queue, partition).await;
    let found = take(&mut consumer, 3).await;
    for message in &found {
        add(queue, partition, message.clone(), &format!("no. {}", message.id)).await;
    }
    consumer.settle(3).await.unwrap();
    let letters = listed(queue, 3).await;
    assert_eq!(letters.iter().map(|letter| letter.message.clone()).collect::<Vec<_>>(), found);
    assert_eq!(letters[2].reason, "no. 2");
    assert_eq!(letters[2].partition, partition);
    assert!(letters[2].dead_lettered_at.0 > 1_700_000_000_000);
    assert_eq!(queue.dead_letters(2).await.unwrap().len(), 2);

    assert!(resolve(queue, "1", DeadLetterAction::Retry).await);
    assert_eq!(take(&mut consumer, 1).await, numbers(1..2));
    consumer.settle(1).await.unwrap();
    assert!(resolve(queue, "0", DeadLetterAction::Drop).await);
    assert!(!resolve(queue, "0", DeadLetterAction::Drop).await, "it was deleted");
    assert!(!resolve(queue, "absent", DeadLetterAction::Retry).await);
    let left = listed(queue, 1).await;
    assert_eq!(left[0].message.id, "2");
    assert!(resolve(queue, "2", DeadLetterAction::Drop).await);
    nothing_more(&mut consumer).await;
}

/// All are back in their partition, or deleted.
#[expect(clippy::print_stdout, reason = "the figures of docs/queue.md")]
async fn many_dead_letters_are_resolved_in_one_call(queue: &dyn Queue, partition: Partition) {
    const MANY: u32 = 600;
    add_all(queue, partition, &numbers(0..MANY)).await;
    let begin = Instant::now();
    assert_eq!(resolve_all(queue, DeadLetterAction::Retry).await, MANY as usize);
    let retried = begin.elapsed();
    assert_eq!(queue.dead_letters(10).await.unwrap(), []);
    let mut consumer = open(queue, partition).await;
    let found = take(&mut consumer, MANY as usize).await;
    let ids: HashSet<&str> = found.iter().map(|message| message.id.as_str()).collect();
    assert_eq!(ids.len(), MANY as usize, "each is back once");

    add_all(queue, partition, &found).await;
    consumer.settle(found.len()).await.unwrap();
    let some: HashSet<String> = ["7", "absent", "8"].map(str::to_owned).into();
    let progress = DeadLetterProgress::default();
    queue
        .resolve_dead_letters(DeadLetterSelection::Ids(some), DeadLetterAction::Drop, &progress)
        .await
        .unwrap();
    assert_eq!((progress.done(), progress.has_found("absent")), (2, false));
    let begin = Instant::now();
    assert_eq!(resolve_all(queue, DeadLetterAction::Drop).await, MANY as usize - 2);
    let dropped = begin.elapsed();
    println!("{MANY} letters: put back in {retried:?}, dropped in {dropped:?}");
    assert_eq!(resolve_all(queue, DeadLetterAction::Drop).await, 0);
    nothing_more(&mut consumer).await;
}

/// A consumer that still cannot execute it makes it a dead letter again, during the retry.
async fn a_retried_dead_letter_that_fails_again_is_not_lost(
    queue: &dyn Queue,
    partition: Partition,
) {
    const COUNT: u32 = 40;
    add_all(queue, partition, &numbers(0..COUNT)).await;
    let mut consumer = open(queue, partition).await;
    let failing_again = async {
        for _ in 0..COUNT {
            let found = take(&mut consumer, 1).await.remove(0);
            add(queue, partition, found, "still not").await;
            consumer.settle(1).await.unwrap();
        }
    };
    let (retried, ()) = tokio::join!(resolve_all(queue, DeadLetterAction::Retry), failing_again);
    assert_eq!(retried, COUNT as usize);
    let again = listed(queue, COUNT as usize).await;
    let ids: HashSet<&str> = again.iter().map(|letter| letter.message.id.as_str()).collect();
    assert_eq!(ids.len(), COUNT as usize);
    assert!(again.iter().all(|letter| letter.reason == "still not"), "{again:?}");
    assert_eq!(resolve_all(queue, DeadLetterAction::Drop).await, COUNT as usize);
}

/// A reason may quote a foreign message.
async fn any_reason_is_kept(queue: &dyn Queue, partition: Partition) {
    for reason in ["", "unknown field `a\0\u{202e}`", &"long ".repeat(1_000)] {
        add(queue, partition, message(1), reason).await;
        assert_eq!(resolve_all(queue, DeadLetterAction::Drop).await, 1);
    }
}

/// The dead letters, as soon as there are as many as expected: the count of a broker may lag.
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
