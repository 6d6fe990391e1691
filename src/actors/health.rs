//! Health: what the service needs is probed in the background and read for free.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant};

use actix::prelude::*;
use tokio::sync::watch;

use crate::domain::failure::StoreError;
use crate::metrics::health::{HealthCheck, HealthMetrics};
use crate::metrics::lock::BreakerState;
use crate::store::{REPLICA_BEHIND, Schema, Store};

use super::booking::Lanes;
use super::seat_lock::SeatLocker;

#[cfg(test)]
mod tests;

/// Between two probes; also the heartbeat that outages are told by.
const INTERVAL: Duration = Duration::from_secs(1);

/// The longest that a probe may take. Two of them in a row, with the interval between, are over before
/// the three seconds after which writes are promised to be refused at once.
const PROBE_TIME: Duration = Duration::from_millis(800);

/// A batch that was committed so recently outweighs failed beats: the primary is busy, not away.
const RECENT: Duration = Duration::from_millis(1_500);

/// A report older than this says nothing any more.
const STALE_AFTER: Duration = Duration::from_secs(10);

/// Between two looks at the schema, in probes: somebody may have restored an old backup.
const SCHEMA_EVERY: u32 = 5;

/// How long the service is degraded after it has dropped a request of the queue.
pub const DROPPED_COUNTS: Duration = Duration::from_secs(600);

/// Failed beats in a row after which writes are refused at once.
const FAILED_BEATS: u32 = 2;

/// The state of one dependency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Which one.
    pub name: HealthCheck,
    /// What is wrong, if something is.
    pub problem: Option<String>,
}

/// What the service says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// Requests are welcome; a check may still have a problem (degraded).
    Ready(Vec<Check>),
    /// Send requests elsewhere; the text says why.
    NotReady(&'static str),
}

/// What the last probe found, and when.
type Report = Option<(Instant, Vec<Check>)>;

/// The last report, shared with everybody who asks.
pub struct Health {
    report: RwLock<Report>,
    writable: watch::Sender<bool>,
    draining: AtomicBool,
    /// When a request of the queue was dropped the last time, and why it was not kept.
    dropped: RwLock<Option<(Instant, String)>>,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            report: RwLock::new(None),
            writable: watch::Sender::new(true),
            draining: AtomicBool::new(false),
            dropped: RwLock::new(None),
        }
    }
}

impl Health {
    /// Whether requests should come here.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        judge(&self.report(), self.is_draining(), Instant::now())
    }

    /// What the last probe found, however long ago; nothing before the first.
    #[must_use]
    pub fn checks(&self) -> Vec<Check> {
        self.report().as_ref().map_or_else(Vec::new, |(_, checks)| checks.clone())
    }

    /// Sets the gauges as things stand now.
    pub fn note(&self, metrics: &HealthMetrics) {
        let ready = matches!(self.readiness(), Readiness::Ready(_));
        metrics.ready.set(i64::from(ready));
        metrics.read_only.set(i64::from(!self.writable()));
        for check in self.checks() {
            metrics.set_check(check.name, check.problem.is_none());
        }
    }

    /// Whether the primary took the last heartbeats or batches; false means that a write would only wait for
    /// its time-out.
    #[must_use]
    pub fn writable(&self) -> bool {
        *self.writable.borrow()
    }

    /// Is done when writes are refused.
    pub async fn read_only(&self) {
        let mut writable = self.writable.subscribe();
        if writable.wait_for(|writable| !*writable).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// A request of the queue that nobody can execute was dropped, since it cannot be kept as a dead letter:
    /// the service is degraded for [`DROPPED_COUNTS`] from then on.
    pub fn note_dropped_request(&self, why: String) {
        let mut dropped = self.dropped.write().unwrap_or_else(PoisonError::into_inner);
        *dropped = Some((Instant::now(), why));
    }

    fn problem_of_dead_letters(&self, now: Instant) -> Option<String> {
        let dropped = self.dropped.read().unwrap_or_else(PoisonError::into_inner);
        let (at, why) = dropped.as_ref()?;
        let counts = now.saturating_duration_since(*at) < DROPPED_COUNTS;
        counts.then(|| format!("messages of the queue that nobody can execute are dropped: {why}"))
    }

    /// Readiness goes off and stays off.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
    }

    /// Whether the service is stopping.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    /// Whether the health loop runs: nothing has been reported yet, or the last report is young. If not, this
    /// process will hardly come round by itself.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        is_kept(&self.report(), Instant::now())
    }

    fn report(&self) -> RwLockReadGuard<'_, Report> {
        self.report.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self, checks: Vec<Check>) {
        let mut report = self.report.write().unwrap_or_else(PoisonError::into_inner);
        *report = Some((Instant::now(), checks));
    }
}

fn is_kept(report: &Report, now: Instant) -> bool {
    report.as_ref().is_none_or(|(at, _)| now.saturating_duration_since(*at) <= STALE_AFTER)
}

/// Reads a report. A lost dependency degrades and no more, since what can be done without it is done; a
/// schema that this program does not know is another matter.
fn judge(report: &Report, draining: bool, now: Instant) -> Readiness {
    if draining {
        return Readiness::NotReady("draining");
    }
    match report {
        None => Readiness::NotReady("starting"),
        _ if !is_kept(report, now) => Readiness::NotReady("the health loop is stale"),
        Some((_, checks)) if checks.iter().any(Check::forbids_requests) => {
            Readiness::NotReady("the schema is not supported")
        }
        Some((_, checks)) => Readiness::Ready(checks.clone()),
    }
}

impl Check {
    fn forbids_requests(&self) -> bool {
        self.name == HealthCheck::Schema && self.problem.is_some()
    }
}

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
        if writable != self.health.writable.send_replace(writable) {
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
        let check = |name, problem| Check { name, problem };
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
