//! The health monitor: writes the heartbeat, probes the dependencies each second and replaces dead actors.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::*;
use tokio::sync::watch;

use crate::actors::booking::Lanes;
use crate::actors::seat_lock::SeatLocker;
use crate::breaker::BreakerState;
use crate::domain::execution_error::StoreError;
use crate::store::{REPLICA_BEHIND, Schema, Store};
use crate::telemetry::health::{Check, Health, HealthCheck};
use crate::telemetry::redaction::redact;

/// Between two probes, and so between two heartbeats, by whose gaps outages are found.
const INTERVAL: Duration = Duration::from_secs(1);

/// The longest that a probe may take. Two of them in a row, with the interval between, are over before
/// the three seconds after which writes are promised to be refused at once.
const PROBE_TIME: Duration = Duration::from_millis(800);

/// A batch that was committed so recently outweighs failed beats: the primary is busy, not away.
const RECENT: Duration = Duration::from_millis(1_500);

/// Between two looks at the schema, in probes: somebody may have restored an old backup.
const SCHEMA_EVERY: u32 = 5;

/// Failed beats in a row after which writes are refused at once.
const FAILED_BEATS: u32 = 2;

/// What is probed.
pub struct Probes {
    /// Beats on the primary, pings where reads go.
    pub store: Arc<Store>,
    /// Replaced if dead.
    pub lanes: Arc<Lanes>,
    /// Replaced if dead.
    pub locker: Arc<SeatLocker>,
    /// The seat locks' breaker; absent for in-process locks.
    pub breaker: Option<watch::Receiver<BreakerState>>,
}

/// The probing actor.
pub struct HealthMonitor {
    probes: Arc<Probes>,
    health: Arc<Health>,
    failed_beats: u32,
    running: bool,
    probed: u32,
    /// As it was last seen; as it was at the start, unless seen since.
    schema: Schema,
}

impl HealthMonitor {
    /// Starts it on the arbiter given; it writes what it finds into `health`.
    pub fn start_in(arbiter: &ArbiterHandle, probes: Probes, health: Arc<Health>) -> Addr<Self> {
        let probes = Arc::new(probes);
        Supervisor::start_in_arbiter(arbiter, move |_| Self {
            probes,
            health,
            failed_beats: 0,
            running: false,
            probed: 0,
            schema: Schema::Current,
        })
    }

    fn tick(&mut self, ctx: &mut Context<Self>) {
        if self.running {
            return;
        }
        self.running = true;
        self.probed = self.probed.wrapping_add(1);
        let look_at_schema = self.probed.is_multiple_of(SCHEMA_EVERY);
        let probes = Arc::clone(&self.probes);
        let task = actix::spawn(async move { probes.run(look_at_schema).await });
        let done = task.into_actor(self).map(|result, actor, _| {
            actor.running = false;
            match result {
                Ok(found) => actor.judge(found),
                Err(panic) => log::error!("a health probe failed: {panic}"),
            }
        });
        ctx.spawn(done);
    }

    fn judge(&mut self, Found { mut checks, schema }: Found) {
        if let Some(schema) = schema
            && schema != self.schema
        {
            match schema.problem() {
                Some(problem) => log::error!("{problem}"),
                None => log::info!("the schema is supported as it is now: {schema:?}"),
            }
            self.schema = schema;
        }
        let problem = self.schema.problem();
        checks.push(Check { name: HealthCheck::Schema, problem });
        let problem = self.health.problem_of_dead_letters(Instant::now());
        checks.push(Check { name: HealthCheck::DeadLetters, problem });
        let beaten = checks.first().is_none_or(|check| check.problem.is_none());
        self.failed_beats = if beaten { 0 } else { self.failed_beats.saturating_add(1) };
        let writable =
            self.failed_beats < FAILED_BEATS || self.probes.store.has_committed_within(RECENT);
        if self.health.set_writable(writable) {
            if writable {
                log::info!("the primary takes writes again");
            } else {
                let reason = checks.first().and_then(|check| check.problem.as_deref());
                let reason = reason.unwrap_or("nothing is known of it");
                log::error!("the primary takes no writes, read-only until it does: {reason}");
            }
        }
        self.health.publish(checks);
    }
}

impl Actor for HealthMonitor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        self.tick(ctx);
        ctx.run_interval(INTERVAL, Self::tick);
    }
}

impl Supervised for HealthMonitor {}

impl Probes {
    /// The heartbeat's check is the first.
    async fn run(&self, look_at_schema: bool) -> Found {
        let (beat, ping) = tokio::join!(self.store.beat(PROBE_TIME), self.store.ping(PROBE_TIME));
        let breaker = self.breaker.as_ref().map(|state| *state.borrow());
        let locks = breaker
            .filter(|state| *state != BreakerState::Closed)
            .map(|_| "bypassed, the database decides alone".to_owned());
        let alive = self.lanes.check() && self.locker.check();
        let actors = (!alive).then(|| "one had died and was replaced".to_owned());
        let schema = match look_at_schema && beat.is_ok() {
            true => self.store.schema().await.ok(),
            false => None,
        };
        let check = |name, problem: Option<String>| {
            let problem = problem.map(|text| redact(&text).into_owned());
            Check { name, problem }
        };
        let checks = vec![
            check(HealthCheck::WriteDatabase, beat.err().map(|error| error.to_string())),
            check(HealthCheck::ReadDatabase, problem_of_reads(ping)),
            check(HealthCheck::SeatLocks, locks),
            check(HealthCheck::Actors, actors),
        ];
        Found { checks, schema }
    }
}

/// What a probe has found.
struct Found {
    checks: Vec<Check>,
    /// If that was looked at, and could be seen.
    schema: Option<Schema>,
}

fn problem_of_reads(ping: Result<Option<Duration>, StoreError>) -> Option<String> {
    match ping {
        Err(error) => Some(error.to_string()),
        Ok(lag) => lag.filter(|lag| *lag > REPLICA_BEHIND).map(|lag| {
            format!("the replica is {:.1} s behind, the primary is asked", lag.as_secs_f64())
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_that_is_behind_is_a_problem_and_none_at_all_is_not() {
        assert_eq!(problem_of_reads(Ok(None)), None);
        assert_eq!(problem_of_reads(Ok(Some(Duration::from_secs(1)))), None);
        let problem = problem_of_reads(Ok(Some(Duration::from_millis(7_250))));
        assert!(problem.is_some_and(|problem| problem.contains("7.2 s behind")));
    }
}
