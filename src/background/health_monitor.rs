//! The health monitor: each second it writes the heartbeat, probes the dependencies and replaces dead actors.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::ArbiterHandle;
use tokio::sync::watch;

use crate::actors::booking::Lanes;
use crate::actors::seat_lock::SeatLocker;
use crate::breaker::BreakerState;
use crate::domain::execution_error::StoreError;
use crate::store::{REPLICA_BEHIND, Schema, Store};
use crate::telemetry::health::{Check, Health, HealthCheck};
use crate::telemetry::redaction::redact;

use super::periodic::run_every;

/// The time between two probes, and between two heartbeats. Gaps between heartbeats are recorded as outages.
const INTERVAL: Duration = Duration::from_secs(1);

/// The longest time of a probe. Two consecutive probes and the interval between them take less than three seconds;
/// after three seconds of a failure, writes must be refused immediately.
const PROBE_LIMIT: Duration = Duration::from_millis(800);

/// If a batch was committed within this time, failed heartbeats are ignored: the primary is busy, not unavailable.
const RECENT_COMMIT: Duration = Duration::from_millis(1_500);

/// The number of probes per check of the schema. The schema may change while the service runs, for example when an
/// old backup is restored.
const PROBES_PER_SCHEMA_CHECK: u32 = 5;

/// The number of consecutive failed heartbeats after which writes are refused immediately.
const FAILED_HEARTBEATS_MAX: u32 = 2;

/// The dependencies that the health monitor probes.
pub struct Probes {
    /// The heartbeat is written to the primary, and the read connections are pinged.
    pub store: Arc<Store>,
    /// Dead actors of lanes are replaced.
    pub lanes: Arc<Lanes>,
    /// A dead actor of the seat locks is replaced.
    pub locker: Arc<SeatLocker>,
    /// The state of the seat locks' breaker; `None` for in-process locks.
    pub breaker: Option<watch::Receiver<BreakerState>>,
}

/// The health monitor of a process.
pub struct HealthMonitor {
    probes: Probes,
    health: Arc<Health>,
    failed_heartbeats: u32,
    probed: u32,
    /// The schema at the last check. At first it is `Current`, because the start of the service has checked it.
    schema: Schema,
}

impl HealthMonitor {
    /// Starts a health monitor on the arbiter. It publishes its results in `health`.
    pub fn start_in(arbiter: &ArbiterHandle, probes: Probes, health: Arc<Health>) {
        let schema = Schema::Current;
        let monitor = Self { probes, health, failed_heartbeats: 0, probed: 0, schema };
        run_every(arbiter, "a health probe", Duration::ZERO, INTERVAL, monitor, Self::run);
    }

    async fn run(&mut self) {
        self.probed = self.probed.wrapping_add(1);
        let check_schema = self.probed.is_multiple_of(PROBES_PER_SCHEMA_CHECK);
        let results = self.probes.run(check_schema).await;
        self.update(results);
    }

    fn update(&mut self, ProbeResults { mut checks, schema }: ProbeResults) {
        if let Some(schema) = schema
            && schema != self.schema
        {
            match schema.problem() {
                Some(problem) => log::error!("{problem}"),
                None => log::info!("the schema is supported again: {schema:?}"),
            }
            self.schema = schema;
        }
        let problem = self.schema.problem();
        checks.push(Check { name: HealthCheck::Schema, problem });
        let problem = self.health.problem_of_dead_letters(Instant::now());
        checks.push(Check { name: HealthCheck::DeadLetters, problem });
        let problem = checks.first().and_then(|check| check.problem.as_deref());
        self.failed_heartbeats = problem.map_or(0, |_| self.failed_heartbeats.saturating_add(1));
        let writable = self.failed_heartbeats < FAILED_HEARTBEATS_MAX
            || self.probes.store.has_committed_within(RECENT_COMMIT);
        if self.health.set_writable(writable) {
            if writable {
                log::info!("the primary is writable again");
            } else {
                let reason = problem.unwrap_or("unknown reason");
                log::error!(
                    "the primary is read-only; the service refuses writes until it is writable: {reason}"
                );
            }
        }
        self.health.publish(checks);
    }
}

impl Probes {
    /// Runs the probes. The first check of the result is that of the heartbeat.
    async fn run(&self, check_schema: bool) -> ProbeResults {
        let (heartbeat, ping) =
            tokio::join!(self.store.write_heartbeat(PROBE_LIMIT), self.store.ping(PROBE_LIMIT));
        let breaker = self.breaker.as_ref().map(|state| *state.borrow());
        let locks = breaker
            .filter(|state| *state != BreakerState::Closed)
            .map(|_| "bypassed, the database decides alone".to_owned());
        let alive = self.lanes.check() && self.locker.check();
        let actors = (!alive).then(|| "one had died and was replaced".to_owned());
        let mut schema = None;
        if check_schema && heartbeat.is_ok() {
            schema = self.store.schema().await.ok();
        }
        let check = |name, problem: Option<String>| {
            let problem = problem.map(|text| redact(&text).into_owned());
            Check { name, problem }
        };
        let checks = vec![
            check(HealthCheck::WriteDatabase, heartbeat.err().map(|error| error.to_string())),
            check(HealthCheck::ReadDatabase, replica_problem(ping)),
            check(HealthCheck::SeatLocks, locks),
            check(HealthCheck::Actors, actors),
        ];
        ProbeResults { checks, schema }
    }
}

struct ProbeResults {
    checks: Vec<Check>,
    /// `Some` if the schema was checked and could be read.
    schema: Option<Schema>,
}

fn replica_problem(ping: Result<Option<Duration>, StoreError>) -> Option<String> {
    match ping {
        Err(error) => Some(error.to_string()),
        Ok(lag) => lag.filter(|lag| *lag > REPLICA_BEHIND).map(|lag| {
            format!("the replica is {:.1} s behind, the primary is read instead", lag.as_secs_f64())
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_that_is_behind_is_a_problem_and_none_at_all_is_not() {
        assert_eq!(replica_problem(Ok(None)), None);
        assert_eq!(replica_problem(Ok(Some(Duration::from_secs(1)))), None);
        let problem = replica_problem(Ok(Some(Duration::from_millis(7_250))));
        assert!(problem.is_some_and(|problem| problem.contains("7.2 s behind")));
    }
}
