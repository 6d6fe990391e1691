//! The waiting lists of the queue: one contract in memory, in Redis, and when Redis becomes unavailable.

use std::time::Duration;

use seatlock::breaker::BreakerState;
use seatlock::domain::clock::EpochMs;
use seatlock::domain::ids::{RequestId, ScheduleId};
use seatlock::queue::{Entry, QueueEntry, QueuePosition, WaitingList, WaitingListLimits};
use seatlock::redis::{Redis, RedisSettings};
use test_support::Access;
use tokio::sync::watch;
use uuid::Uuid;

use crate::redis::fixtures::standalone;

const LIMITS: WaitingListLimits = WaitingListLimits { max: 5, customer_max: 2 };
const BEGAN: i64 = 1_763_812_496_000;
/// How long a request may wait, in milliseconds.
const DEADLINE: i64 = 60_000;

/// The request with this number, made this many milliseconds after the start.
fn request(schedule: i64, number: u16, after: i64) -> RequestId {
    let ms = u128::try_from(BEGAN + after).unwrap();
    let uuid = Uuid::from_u128(ms << 80 | 7 << 76 | 1 << 63 | u128::from(number));
    RequestId { schedule: ScheduleId(schedule), uuid }
}

fn queue_entry(id: RequestId, customer: &str) -> QueueEntry {
    let now = id.made_at();
    let until = EpochMs(now.0 + DEADLINE);
    QueueEntry { id, customer: customer.to_owned(), now, until }
}

fn place(position: Option<QueuePosition>) -> Option<(u64, bool)> {
    position.map(|found| (found.position, found.running))
}

/// The contract. `lists` are those of two processes, or one list twice.
async fn check_contract(lists: [&WaitingList; 2]) {
    let [one, other] = lists;
    let schedule = fastrand::i64(1..i64::MAX / 2);
    let id = |number| request(schedule, number, i64::from(number));
    let enter = async |list: &WaitingList, number, customer: &str| {
        list.add(queue_entry(id(number), customer)).await
    };
    // Positions follow the order of arrival, through either process.
    assert_eq!(enter(one, 1, "ada").await, Entry::At(1));
    assert_eq!(enter(other, 2, "ben").await, Entry::At(2));
    assert_eq!(enter(one, 3, "ada").await, Entry::At(3));
    assert_eq!(place(other.position(id(3)).await), Some((3, false)));
    // The bounds of a customer and of a list do not affect other lists.
    assert_eq!(enter(other, 4, "ada").await, Entry::CustomerFull);
    assert_eq!(enter(other, 5, "cyd").await, Entry::At(4));
    assert_eq!(enter(other, 6, "dan").await, Entry::At(5));
    assert_eq!(enter(one, 7, "eve").await, Entry::Full);
    let elsewhere = request(schedule + 1, 1, 0);
    assert_eq!(one.add(queue_entry(elsewhere, "ada")).await, Entry::At(1));
    // A request that is being executed, and requests that have been.
    one.mark_running(id(2)).await;
    assert_eq!(place(other.position(id(1)).await), Some((1, true)));
    assert_eq!(place(other.position(id(3)).await), Some((3, false)));
    let gone = [(id(1), "ada".to_owned()), (id(2), "ben".to_owned())];
    one.remove(ScheduleId(schedule), &gone, true).await;
    assert_eq!(place(other.position(id(1)).await), None);
    assert_eq!(place(other.position(id(3)).await), Some((1, false)));
    assert_eq!(enter(other, 8, "ada").await, Entry::At(4), "one of her requests has left");
    // A request stops waiting at its deadline, even if no process has removed it.
    let late = request(schedule, 9, DEADLINE + 6);
    assert_eq!(other.add(queue_entry(late, "cyd")).await, Entry::At(2), "only number 8 is left");
    assert_eq!(place(one.position(id(5)).await), None);
    assert_eq!(place(one.position(id(8)).await), Some((1, false)));
}

mod embedded {
    use super::*;

    #[tokio::test]
    async fn waiting_lists_in_memory_meet_the_contract() {
        let list = WaitingList::in_process(LIMITS);
        check_contract([&list, &list]).await;
    }
}

mod full {
    use super::*;

    fn shared(settings: &RedisSettings) -> (WaitingList, watch::Sender<BreakerState>) {
        let (breaker, watch) = watch::channel(BreakerState::Closed);
        let redis = Redis::new(settings).unwrap();
        (WaitingList::shared(redis, watch, Duration::from_secs(5), LIMITS), breaker)
    }

    #[tokio::test]
    async fn waiting_lists_that_processes_share_meet_the_contract() {
        let server = test_support::Redis::start(&[]);
        let settings = standalone(&server, &Access::default());
        let (one, other) = (shared(&settings), shared(&settings));
        check_contract([&one.0, &other.0]).await;
    }

    #[tokio::test]
    async fn every_redis_key_of_a_waiting_list_expires() {
        let server = test_support::Redis::start(&[]);
        let (list, _breaker) = shared(&standalone(&server, &Access::default()));
        let id = request(42, 1, 0);
        list.add(queue_entry(id, "ada")).await;
        list.mark_running(id).await;
        let keys = server.cli(&["keys", "{sch:42}:queue*"]);
        assert_eq!(keys.lines().count(), 4, "{keys}");
        for key in keys.lines() {
            let life: i64 = server.cli(&["pttl", key]).parse().unwrap();
            assert!(life > 0, "{key} has no TTL: {life}");
        }
        assert!(!keys.contains("ada"), "{keys}");
    }

    #[tokio::test]
    async fn without_redis_each_process_has_its_own_waiting_lists() {
        let server = test_support::Redis::start(&[]);
        let (list, breaker) = shared(&standalone(&server, &Access::default()));
        server.kill();
        check_contract([&list, &list]).await;
        breaker.send_replace(BreakerState::Open);
        check_contract([&list, &list]).await;
    }
}
