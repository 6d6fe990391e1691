//! Clients of the test's own servers.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use seatlock::domain::ids::{ScheduleId, SeatNumber};
use seatlock::lock::breaker::BreakerSettings;
use seatlock::lock::guarded::{GuardSettings, Guarded};
use seatlock::lock::redis::RedisLocks;
use seatlock::lock::{LockError, LockReply, LockRequest, LockToken, SeatLocks};
use seatlock::metrics::Metrics;
use seatlock::redis::{Address, Form, Redis, RedisSettings, Tls};
use test_support::{Access, RedisCluster, Sentinels};

/// Long enough for a busy machine: what is checked are answers, not time-outs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// As the service has it, with a busy machine's share on top.
pub(crate) const BUDGET: Duration = Duration::from_millis(200);

/// After a failure the locks are used again within this time of the servers being there again.
pub(crate) const BACK: Duration = Duration::from_secs(10);

pub(crate) fn at(port: u16) -> Address {
    Address { host: "127.0.0.1".to_owned(), port }
}

/// A client for those who have access.
pub(crate) fn settings(form: Form, access: &Access, round_trip: Duration) -> RedisSettings {
    let ca = |path: &Path| std::fs::read_to_string(path).unwrap();
    RedisSettings {
        form,
        username: None,
        password: access.password.clone(),
        tls: access.certificates.as_ref().map(|made| Tls { ca: Some(ca(&made.ca())) }),
        pool_size: 4,
        round_trip,
    }
}

pub(crate) fn standalone(server: &test_support::Redis, access: &Access) -> RedisSettings {
    let form = Form::Standalone { address: at(server.port()), db: i64::from(server.fresh_db()) };
    settings(form, access, PATIENCE)
}

pub(crate) fn by_sentinels(
    all: &Sentinels,
    access: &Access,
    password: Option<&str>,
    round_trip: Duration,
) -> RedisSettings {
    let form = Form::Sentinel {
        sentinels: all.sentinels().iter().map(|sentinel| at(sentinel.port())).collect(),
        master: all.name().to_owned(),
        password: password.map(str::to_owned),
        db: 3,
    };
    settings(form, access, round_trip)
}

/// Knows only one of the nodes at first.
pub(crate) fn of_cluster(
    cluster: &RedisCluster,
    access: &Access,
    round_trip: Duration,
) -> RedisSettings {
    let seeds = cluster.nodes().iter().skip(1).take(1).map(|node| at(node.port())).collect();
    settings(Form::Cluster { seeds }, access, round_trip)
}

/// The connections as the locks have them.
pub(crate) fn locks(settings: &RedisSettings) -> RedisLocks {
    RedisLocks::new(Redis::new(settings).unwrap())
}

/// The locks as the service has them, with the task that closes the breaker.
pub(crate) fn guarded(settings: &RedisSettings) -> Arc<Guarded<RedisLocks>> {
    let budget = settings.round_trip * 5 / 4;
    let usual = GuardSettings::default();
    // What is looked at is when the locks are used again at all, not by how many at first.
    let breaker = BreakerSettings { ramp: Duration::ZERO, ..usual.breaker };
    let guard = GuardSettings { budget, breaker, ..usual };
    let metrics = Arc::new(Metrics::new().unwrap());
    let locks = Arc::new(Guarded::new(locks(settings), guard, metrics));
    locks.spawn_probe();
    locks
}

/// A request for fresh seats of the schedule, which nobody else locks.
pub(crate) fn fresh(schedule: ScheduleId, seats: usize) -> LockRequest {
    let token = LockToken { prefix: fastrand::u64(..), attempt: fastrand::u64(..) };
    let seats = (0..seats).map(|_| SeatNumber(fastrand::u32(..))).collect();
    LockRequest::Acquire { schedule, seats, token, ttl: Duration::from_secs(30) }
}

/// Asks for one request alone.
pub(crate) async fn ask(
    locks: &dyn SeatLocks,
    request: LockRequest,
) -> Result<LockReply, LockError> {
    locks.run(&[request]).await.map(|replies| replies.into_iter().next().unwrap())
}

/// Waits until locks of the schedule are given again, and gives how long that took.
pub(crate) async fn until_locked(locks: &dyn SeatLocks, schedule: ScheduleId) -> Duration {
    let begin = Instant::now();
    loop {
        let reply = ask(locks, fresh(schedule, 2)).await;
        if reply == Ok(LockReply::Acquired) {
            return begin.elapsed();
        }
        assert!(begin.elapsed() < Duration::from_secs(60), "never again: {reply:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Locks are given without a failure.
pub(crate) async fn all_is_well(locks: &dyn SeatLocks, schedules: &[ScheduleId]) {
    for _ in 0..20 {
        for schedule in schedules {
            assert_eq!(ask(locks, fresh(*schedule, 2)).await, Ok(LockReply::Acquired));
        }
    }
}

/// A schedule whose slot this master has had from the start.
pub(crate) fn schedule_of(cluster: &RedisCluster, master: usize) -> ScheduleId {
    let of = |number: &i64| cluster.slot_of(&tag(ScheduleId(*number)));
    ScheduleId((1..).find(|number| cluster.first_owner(of(number)) == master).unwrap())
}

/// What decides about the slot of a schedule's locks.
pub(crate) fn tag(schedule: ScheduleId) -> String {
    format!("{{sch:{schedule}}}")
}
