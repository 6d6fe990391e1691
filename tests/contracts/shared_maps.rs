//! Maps shared in Redis: which are found again, and which must never be used.

use std::sync::Arc;
use std::time::Duration;

use seatlock::breaker::BreakerState;
use seatlock::domain::catalogue::{PlanVersion, Schedule};
use seatlock::domain::clock::EpochMs;
use seatlock::domain::ids::{EventId, InHistory, ScheduleId};
use seatlock::redis::{Address, Redis, RedisSettings, Topology};
use seatlock::seat_map::SharedMaps;
use seatlock::telemetry::metrics::Metrics;
use tokio::sync::watch;

use crate::store::stage::default_rules;

const LIFE: Duration = Duration::from_secs(60);

type Seats = Vec<(u8, Option<EpochMs>)>;

/// One process' view of the maps in a fresh database of Redis.
struct Process {
    maps: SharedMaps,
    breaker: watch::Sender<BreakerState>,
    number: u32,
}

fn process(number: u32) -> Process {
    let redis = test_support::Redis::shared();
    let address = Address { host: "127.0.0.1".to_owned(), port: redis.port() };
    let settings = RedisSettings {
        topology: Topology::Standalone { address, db: i64::from(number) },
        username: None,
        password: None,
        tls: None,
        pool_size: 2,
        round_trip: Duration::from_secs(5),
    };
    let (breaker, watch) = watch::channel(BreakerState::Closed);
    let metrics = Arc::new(Metrics::new().unwrap());
    let database = u16::try_from(number).unwrap();
    let maps = SharedMaps::new(Redis::new(&settings).unwrap(), database, watch, LIFE, metrics);
    Process { maps, breaker, number }
}

fn fresh() -> Process {
    process(test_support::Redis::shared().fresh_db())
}

fn schedule(created_at: i64) -> Schedule {
    Schedule {
        id: ScheduleId(42),
        event: EventId(1),
        starts_at: EpochMs(0),
        rules: default_rules(),
        plan: PlanVersion { id: "hall".to_owned(), version: 1 },
        seats: 3,
        created_at: EpochMs(created_at),
    }
}

/// A version in a history.
fn at(version: i64) -> InHistory<i64> {
    InHistory { history: "5ea71ock".parse().unwrap(), at: version }
}

fn seats(booked: u8) -> Seats {
    vec![(booked, None), (1, Some(EpochMs(77))), (3, None)]
}

mod full {
    use super::*;

    #[tokio::test]
    async fn a_shared_map_is_found_by_another_process_and_expires_in_time() {
        let one = fresh();
        let other = process(one.number);
        let hall = schedule(7);
        let nothing = other.maps.find(&hall).await.unwrap();
        assert_eq!((nothing.epoch, nothing.announced, nothing.map), (0, 0, None));
        assert!(one.maps.share(&hall, 0, at(5), &seats(2)).await);
        assert_eq!(other.maps.find(&hall).await.unwrap().map, Some((at(5), seats(2))));
        let number = one.number.to_string();
        let left = test_support::Redis::shared().cli(&["-n", &number, "PTTL", "{sch:42}:map"]);
        let left: u64 = left.trim().parse().unwrap();
        assert!((50_000..=66_000).contains(&left), "{left} ms");
    }

    #[tokio::test]
    async fn a_reader_that_was_slow_cannot_put_an_old_map_back() {
        let (slow, hall) = (fresh(), schedule(7));
        let booker = process(slow.number);
        // It has looked, has read version 5 from the database, and is delayed before it shares it.
        let looked = slow.maps.find(&hall).await.unwrap();
        let read = (5, seats(0));
        booker.maps.announce(&[(hall.id, 6)]).await;
        assert!(!slow.maps.share(&hall, looked.epoch, at(read.0), &read.1).await);
        assert_eq!(slow.maps.find(&hall).await.unwrap().map, None);
        assert!(booker.maps.share(&hall, 0, at(6), &seats(2)).await);
        assert!(!slow.maps.share(&hall, looked.epoch, at(read.0), &read.1).await);
        // A late announcement changes nothing.
        booker.maps.announce(&[(hall.id, 4)]).await;
        let found = slow.maps.find(&hall).await.unwrap();
        assert_eq!((found.announced, found.map), (6, Some((at(6), seats(2)))));
    }

    #[tokio::test]
    async fn a_map_of_an_earlier_epoch_is_ignored_and_cannot_be_stored_again() {
        let (process, hall) = (fresh(), schedule(7));
        assert!(process.maps.share(&hall, 0, at(5), &seats(0)).await);
        assert!(process.maps.begin_epoch().await);
        let found = process.maps.find(&hall).await.unwrap();
        assert_eq!((found.epoch, found.map), (1, None));
        assert_eq!(process.maps.epoch().await, Some(1));
        assert!(
            process.maps.share(&hall, 1, at(5), &seats(2)).await,
            "an older epoch's is replaced"
        );
        assert!(!process.maps.share(&hall, 0, at(9), &seats(0)).await, "it was read before");
        assert_eq!(process.maps.find(&hall).await.unwrap().map, Some((at(5), seats(2))));
    }

    #[tokio::test]
    async fn a_new_schedule_under_the_same_number_does_not_get_the_map_of_the_old_one() {
        let process = fresh();
        assert!(process.maps.share(&schedule(7), 0, at(50), &seats(2)).await);
        assert_eq!(process.maps.find(&schedule(8)).await.unwrap().map, None);
        assert!(process.maps.share(&schedule(8), 0, at(1), &seats(0)).await);
        assert_eq!(process.maps.find(&schedule(8)).await.unwrap().map, Some((at(1), seats(0))));
    }

    #[tokio::test]
    async fn every_process_can_read_the_newest_version_at_which_seats_were_freed() {
        let (one, hall) = (fresh(), schedule(7).id);
        let other = process(one.number);
        assert_eq!(other.maps.freed(hall).await, Some(0));
        assert!(one.maps.announce_freed(&[(hall, 6), (ScheduleId(43), 9)]).await);
        assert_eq!(other.maps.freed(hall).await, Some(6));
        assert!(other.maps.announce_freed(&[(hall, 5)]).await);
        assert_eq!(one.maps.freed(hall).await, Some(6), "an older version takes nothing back");
        assert_eq!(
            one.maps.find(&schedule(7)).await.unwrap().announced,
            6,
            "it is announced as well"
        );
        let asked = (0..100).map(|_| one.maps.freed(ScheduleId(43)));
        let answers = futures_util::future::join_all(asked).await;
        assert_eq!(answers, [Some(9); 100]);
        one.breaker.send(BreakerState::Open).unwrap();
        assert_eq!(one.maps.freed(hall).await, None);
        assert!(!one.maps.announce_freed(&[(hall, 8)]).await);
        assert_eq!(other.maps.freed(hall).await, Some(6));
    }

    #[tokio::test]
    async fn while_redis_is_bypassed_no_command_is_sent_and_its_return_is_announced() {
        let (process, hall) = (fresh(), schedule(7));
        assert!(process.maps.share(&hall, 0, at(5), &seats(0)).await);
        let Process { maps, breaker, .. } = process;
        let maps = Arc::new(maps);
        let waiting = tokio::spawn({
            let maps = Arc::clone(&maps);
            async move { maps.recovered().await }
        });
        breaker.send(BreakerState::Open).unwrap();
        assert_eq!(maps.find(&hall).await, None);
        assert!(!maps.share(&hall, 0, at(6), &seats(2)).await);
        tokio::task::yield_now().await;
        breaker.send(BreakerState::Closed).unwrap();
        assert!(waiting.await.unwrap());
        assert_eq!(maps.find(&hall).await.unwrap().map, Some((at(5), seats(0))));
    }
}
