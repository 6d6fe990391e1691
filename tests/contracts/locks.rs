//! The contract of the seat locks: checks that every backend must pass, and a test for each of them.

use std::time::Duration;

use futures_util::future;
use seatlock::domain::ids::{ScheduleId, SeatNumber};
use seatlock::lock::{LockReply, LockRequest, LockToken, SeatLocks};

/// Longer than any of these checks takes.
const LONG: Duration = Duration::from_secs(30);
/// A TTL that is over after [`AFTER_SHORT`].
const SHORT: Duration = Duration::from_millis(50);
const AFTER_SHORT: Duration = Duration::from_millis(200);

const ANNA: LockToken = LockToken { prefix: 0xa11a, attempt: 1 };
const ANNA_AGAIN: LockToken = LockToken { prefix: 0xa11a, attempt: 2 };
const BEN: LockToken = LockToken { prefix: 0xbe4, attempt: u64::MAX };

/// One test for each check, on locks made by the expression. `#[$test]` is the attribute of the tests.
macro_rules! lock_contract {
    ($test:meta, $locks:expr) => {
        $crate::locks::lock_contract! {
            @each $test, $locks;
            seats_are_locked_all_or_none,
            a_conflict_names_the_seats_and_their_tokens,
            the_same_request_sent_twice_is_no_conflict,
            a_release_compares_the_whole_token,
            a_retoken_changes_the_owner_and_the_ttl,
            a_lock_ends_with_its_ttl,
            locks_of_different_schedules_are_independent,
            requests_of_a_list_run_in_order,
            answers_match_requests_one_to_one,
            an_empty_list_has_no_answers,
            of_two_racing_buyers_exactly_one_wins,
            a_probe_leaves_no_conflict,
        }
    };
    (@each $test:meta, $locks:expr; $($check:ident),+ $(,)?) => {
        $(
            #[$test]
            async fn $check() {
                $crate::locks::$check($locks).await;
            }
        )+
    };
}

pub(crate) use lock_contract;

/// A schedule that no other check uses.
fn fresh_schedule() -> ScheduleId {
    ScheduleId(fastrand::i64(1..))
}

/// If one seat is locked, the others stay free.
pub(crate) async fn seats_are_locked_all_or_none(locks: &dyn SeatLocks) {
    let schedule = fresh_schedule();
    check(locks, &[acquire(schedule, &[2], BEN, LONG)], &[LockReply::Acquired]).await;
    let all = acquire(schedule, &[1, 2, 3], ANNA, LONG);
    check(locks, &[all], &[busy(&[(2, BEN)])]).await;
    check(locks, &[acquire(schedule, &[1, 3], BEN, LONG)], &[LockReply::Acquired]).await;
}

/// Every locked seat is named with its token, in the order of the request.
pub(crate) async fn a_conflict_names_the_seats_and_their_tokens(locks: &dyn SeatLocks) {
    let schedule = fresh_schedule();
    let taken = [acquire(schedule, &[1], ANNA, LONG), acquire(schedule, &[3], BEN, LONG)];
    check(locks, &taken, &[LockReply::Acquired, LockReply::Acquired]).await;
    let wanted = acquire(schedule, &[3, 2, 1], ANNA_AGAIN, LONG);
    check(locks, &[wanted], &[busy(&[(3, BEN), (1, ANNA)])]).await;
}

/// A repeated acquire accepts its own lock; another attempt of the same request is a conflict.
pub(crate) async fn the_same_request_sent_twice_is_no_conflict(locks: &dyn SeatLocks) {
    let schedule = fresh_schedule();
    let request = acquire(schedule, &[1, 2], ANNA, LONG);
    let twice = [request.clone(), request];
    check(locks, &twice, &[LockReply::Acquired, LockReply::Acquired]).await;
    let another = acquire(schedule, &[2], ANNA_AGAIN, LONG);
    check(locks, &[another], &[busy(&[(2, ANNA)])]).await;
}

/// Neither another request nor another attempt of the same request can release a lock.
pub(crate) async fn a_release_compares_the_whole_token(locks: &dyn SeatLocks) {
    let schedule = fresh_schedule();
    check(locks, &[acquire(schedule, &[1, 2], ANNA, LONG)], &[LockReply::Acquired]).await;
    for other in [ANNA_AGAIN, BEN] {
        let wrong = release(schedule, &[1, 2], other);
        check(locks, &[wrong], &[LockReply::Matched(0)]).await;
    }
    let wanted = acquire(schedule, &[1, 2], BEN, LONG);
    check(locks, std::slice::from_ref(&wanted), &[busy(&[(1, ANNA), (2, ANNA)])]).await;
    let right = release(schedule, &[1, 2, 3], ANNA);
    check(locks, &[right, wanted], &[LockReply::Matched(2), LockReply::Acquired]).await;
}

/// A retoken changes the token and the TTL of exactly the locks that have the token expected.
pub(crate) async fn a_retoken_changes_the_owner_and_the_ttl(locks: &dyn SeatLocks) {
    let schedule = fresh_schedule();
    let hold = LockToken { prefix: 0x401d, attempt: 7 };
    let taken = [acquire(schedule, &[1, 2], ANNA, SHORT), acquire(schedule, &[3], BEN, LONG)];
    check(locks, &taken, &[LockReply::Acquired, LockReply::Acquired]).await;
    let granted = retoken(schedule, &[1, 2, 3, 4], (ANNA, hold), LONG);
    check(locks, &[granted.clone(), granted], &[LockReply::Matched(2), LockReply::Matched(0)])
        .await;
    tokio::time::sleep(AFTER_SHORT).await;
    let wanted = acquire(schedule, &[1, 2, 3, 4], ANNA_AGAIN, LONG);
    check(locks, &[wanted], &[busy(&[(1, hold), (2, hold), (3, BEN)])]).await;
    let extended = retoken(schedule, &[1], (hold, hold), SHORT);
    check(locks, &[extended], &[LockReply::Matched(1)]).await;
    tokio::time::sleep(AFTER_SHORT).await;
    let ended = release(schedule, &[1, 2], hold);
    check(locks, &[ended], &[LockReply::Matched(1)]).await;
}

/// After its TTL a lock is no conflict and has no owner.
pub(crate) async fn a_lock_ends_with_its_ttl(locks: &dyn SeatLocks) {
    let schedule = fresh_schedule();
    check(locks, &[acquire(schedule, &[1, 2], ANNA, SHORT)], &[LockReply::Acquired]).await;
    tokio::time::sleep(AFTER_SHORT).await;
    let late = retoken(schedule, &[2], (ANNA, ANNA), LONG);
    check(
        locks,
        &[late, release(schedule, &[2], ANNA)],
        &[LockReply::Matched(0), LockReply::Matched(0)],
    )
    .await;
    check(locks, &[acquire(schedule, &[1], BEN, LONG)], &[LockReply::Acquired]).await;
}

/// The same seat number of another schedule is another seat.
pub(crate) async fn locks_of_different_schedules_are_independent(locks: &dyn SeatLocks) {
    let (one, other) = (fresh_schedule(), fresh_schedule());
    let both = [acquire(one, &[1], ANNA, LONG), acquire(other, &[1], BEN, LONG)];
    check(locks, &both, &[LockReply::Acquired, LockReply::Acquired]).await;
    check(locks, &[release(other, &[1], ANNA)], &[LockReply::Matched(0)]).await;
    check(locks, &[release(one, &[1], ANNA)], &[LockReply::Matched(1)]).await;
}

/// A later request sees the effect of an earlier one of the same list.
pub(crate) async fn requests_of_a_list_run_in_order(locks: &dyn SeatLocks) {
    let schedule = fresh_schedule();
    let requests = [
        acquire(schedule, &[1], ANNA, LONG),
        acquire(schedule, &[1], BEN, LONG),
        release(schedule, &[1], ANNA),
        acquire(schedule, &[1], BEN, LONG),
        retoken(schedule, &[1], (BEN, ANNA), LONG),
        release(schedule, &[1], BEN),
        release(schedule, &[1], ANNA),
    ];
    let replies = [
        LockReply::Acquired,
        busy(&[(1, ANNA)]),
        LockReply::Matched(1),
        LockReply::Acquired,
        LockReply::Matched(1),
        LockReply::Matched(0),
        LockReply::Matched(1),
    ];
    check(locks, &requests, &replies).await;
}

/// A long list has one answer for each request, in the request's place.
pub(crate) async fn answers_match_requests_one_to_one(locks: &dyn SeatLocks) {
    let schedule = fresh_schedule();
    let (requests, replies): (Vec<_>, Vec<_>) = (0..500)
        .map(|place| match place % 3 {
            0 => (acquire(schedule, &[place], ANNA, LONG), LockReply::Acquired),
            1 => (acquire(schedule, &[place - 1, place], BEN, LONG), busy(&[(place - 1, ANNA)])),
            _ => (release(schedule, &[place - 2, place], ANNA), LockReply::Matched(1)),
        })
        .unzip();
    check(locks, &requests, &replies).await;
}

/// A list without requests is answered by a list without replies.
pub(crate) async fn an_empty_list_has_no_answers(locks: &dyn SeatLocks) {
    check(locks, &[], &[]).await;
}

/// Of two buyers who request the same seats in a different order, one wins and the other loses.
pub(crate) async fn of_two_racing_buyers_exactly_one_wins(locks: &dyn SeatLocks) {
    let schedule = fresh_schedule();
    for round in 0..50 {
        let seats = [round * 4, round * 4 + 1, round * 4 + 2, round * 4 + 3];
        let [first, second, third, fourth] = seats;
        let anna = [acquire(schedule, &[first, second, third], ANNA, LONG)];
        let ben = [acquire(schedule, &[fourth, third, second], BEN, LONG)];
        let (anna, ben) = future::join(locks.run(&anna), locks.run(&ben)).await;
        let won = Ok(vec![LockReply::Acquired]);
        let conflict_with_anna = Ok(vec![busy(&[(third, ANNA), (second, ANNA)])]);
        let conflict_with_ben = Ok(vec![busy(&[(second, BEN), (third, BEN)])]);
        let one_won =
            (anna == won && ben == conflict_with_anna) || (ben == won && anna == conflict_with_ben);
        assert!(one_won, "anna: {anna:?}, ben: {ben:?}");
    }
}

/// Probes succeed one directly after the other.
pub(crate) async fn a_probe_leaves_no_conflict(locks: &dyn SeatLocks) {
    for _ in 0..3 {
        assert_eq!(locks.probe().await, Ok(()));
    }
}

async fn check(locks: &dyn SeatLocks, requests: &[LockRequest], replies: &[LockReply]) {
    assert_eq!(locks.run(requests).await, Ok(replies.to_vec()), "to {requests:?}");
}

fn acquire(schedule: ScheduleId, seats: &[u32], token: LockToken, ttl: Duration) -> LockRequest {
    LockRequest::Acquire { schedule, seats: numbers(seats), token, ttl }
}

fn release(schedule: ScheduleId, seats: &[u32], token: LockToken) -> LockRequest {
    LockRequest::Release { schedule, seats: numbers(seats), token }
}

fn retoken(
    schedule: ScheduleId,
    seats: &[u32],
    (from, to): (LockToken, LockToken),
    ttl: Duration,
) -> LockRequest {
    LockRequest::Retoken { schedule, seats: numbers(seats), from, to, ttl }
}

fn busy(seats: &[(u32, LockToken)]) -> LockReply {
    LockReply::Busy(seats.iter().map(|(seat, token)| (SeatNumber(*seat), *token)).collect())
}

fn numbers(seats: &[u32]) -> Vec<SeatNumber> {
    seats.iter().copied().map(SeatNumber).collect()
}
