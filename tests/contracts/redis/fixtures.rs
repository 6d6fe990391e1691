//! Clients of servers that a test has started.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use seatlock::breaker::BreakerSettings;
use seatlock::domain::ids::{ScheduleId, SeatNumber};
use seatlock::lock::guarded::{GuardSettings, Guarded};
use seatlock::lock::redis::RedisLocks;
use seatlock::lock::{LockError, LockReply, LockRequest, LockToken, SeatLocks};
use seatlock::redis::{Address, Redis, RedisSettings, Tls, Topology};
use seatlock::telemetry::metrics::Metrics;
use test_support::{Access, RedisCluster, Sentinels, eventually};

/// A round trip that is long enough on a busy machine, where answers are checked and not time-outs.
pub(crate) const LONG_ROUND_TRIP: Duration = Duration::from_secs(5);

/// The round trip of the service, with a margin for a busy machine.
pub(crate) const ROUND_TRIP: Duration = Duration::from_millis(200);

/// After a failure the locks are used again within this time after the servers have recovered.
pub(crate) const RECOVERY_MAX: Duration = Duration::from_secs(10);

pub(crate) fn at(port: u16) -> Address {
    Address { host: "127.0.0.1".to_owned(), port }
}

/// Settings with this access.
pub(crate) fn settings(topology: Topology, access: &Access, round_trip: Duration) -> RedisSettings {
    let ca = |path: &Path| std::fs::read_to_string(path).unwrap();
    RedisSettings {
        topology,
        username: None,
        password: access.password.clone(),
        tls: access.certificates.as_ref().map(|made| Tls { ca: Some(ca(&made.ca())) }),
        pool_size: 4,
        round_trip,
    }
}

pub(crate) fn standalone(server: &test_support::Redis, access: &Access) -> RedisSettings {
    let db = i64::from(server.fresh_db());
    let topology = Topology::Standalone { address: at(server.port()), db };
    settings(topology, access, LONG_ROUND_TRIP)
}

pub(crate) fn by_sentinels(
    all: &Sentinels,
    access: &Access,
    password: Option<&str>,
    round_trip: Duration,
) -> RedisSettings {
    let topology = Topology::Sentinel {
        sentinels: all.sentinels().iter().map(|sentinel| at(sentinel.port())).collect(),
        master: all.name().to_owned(),
        password: password.map(str::to_owned),
        db: 3,
    };
    settings(topology, access, round_trip)
}

/// Settings that name only one of the nodes.
pub(crate) fn of_cluster(
    cluster: &RedisCluster,
    access: &Access,
    round_trip: Duration,
) -> RedisSettings {
    let seeds = cluster.nodes().iter().skip(1).take(1).map(|node| at(node.port())).collect();
    settings(Topology::Cluster { seeds }, access, round_trip)
}

/// The locks alone.
pub(crate) fn locks(settings: &RedisSettings) -> RedisLocks {
    RedisLocks::new(Redis::new(settings).unwrap())
}

/// The locks as the service uses them, with the task that closes the breaker.
pub(crate) fn guarded(settings: &RedisSettings) -> Arc<Guarded<RedisLocks>> {
    let budget = settings.round_trip * 5 / 4;
    let usual = GuardSettings::default();
    // The tests measure when locks are used again at all, not for which share of the calls at first.
    let breaker = BreakerSettings { ramp: Duration::ZERO, ..usual.breaker };
    let guard = GuardSettings { budget, breaker, ..usual };
    let metrics = Arc::new(Metrics::new().unwrap());
    let locks = Arc::new(Guarded::new(locks(settings), guard, metrics));
    locks.spawn_maintenance();
    locks
}

/// A request for random seats of the schedule, which no other request locks.
pub(crate) fn fresh(schedule: ScheduleId, seats: usize) -> LockRequest {
    let token = LockToken { prefix: fastrand::u64(..), attempt: fastrand::u64(..) };
    let seats = (0..seats).map(|_| SeatNumber(fastrand::u32(..))).collect();
    LockRequest::Acquire { schedule, seats, token, ttl: Duration::from_secs(30) }
}

/// Sends one request.
pub(crate) async fn ask(
    locks: &dyn SeatLocks,
    request: LockRequest,
) -> Result<LockReply, LockError> {
    locks.run(&[request]).await.map(|replies| replies.into_iter().next().unwrap())
}

/// Waits until a seat of the schedule can be locked, and returns how long that took.
pub(crate) async fn until_locked(locks: &dyn SeatLocks, schedule: ScheduleId) -> Duration {
    let begin = Instant::now();
    eventually("a lock", Duration::from_secs(60), async || {
        match ask(locks, fresh(schedule, 2)).await {
            Ok(LockReply::Acquired) => Ok(begin.elapsed()),
            other => Err(other),
        }
    })
    .await
}

/// Asserts that seats of the schedules can be locked without a failure.
pub(crate) async fn assert_locked_without_failure(locks: &dyn SeatLocks, schedules: &[ScheduleId]) {
    for _ in 0..20 {
        for schedule in schedules {
            assert_eq!(ask(locks, fresh(*schedule, 2)).await, Ok(LockReply::Acquired));
        }
    }
}

/// A schedule whose slot this master has had since the start.
pub(crate) fn schedule_of(cluster: &RedisCluster, master: usize) -> ScheduleId {
    let of = |number: &i64| cluster.slot_of(&tag(ScheduleId(*number)));
    ScheduleId((1..).find(|number| cluster.first_owner(of(number)) == master).unwrap())
}

/// The hash tag of a schedule's keys.
pub(crate) fn tag(schedule: ScheduleId) -> String {
    format!("{{sch:{schedule}}}")
}
