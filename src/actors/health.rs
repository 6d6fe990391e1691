//! Health: what the service needs is probed in the background and read for free.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use actix::prelude::*;
use tokio::sync::watch;

use crate::domain::failure::StoreError;
use crate::metrics::lock::BreakerState;
use crate::store::Store;

use super::booking::Lanes;
use super::seat_lock::SeatLocker;

/// Between two probes; also the heartbeat that outages are told by.
const INTERVAL: Duration = Duration::from_secs(1);

/// The longest that a probe may take. Two of them in a row, with the interval between, are over before
/// the three seconds after which writes are promised to be refused at once.
const PROBE_TIME: Duration = Duration::from_millis(800);

/// A batch that was committed so recently outweighs failed beats: the primary is busy, not away.
const RECENT: Duration = Duration::from_millis(1_500);

/// A report older than this says nothing any more.
const STALE_AFTER: Duration = Duration::from_secs(10);

/// Failed beats in a row after which writes are refused at once.
const FAILED_BEATS: u32 = 2;

/// The state of one dependency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// `write database`, `read database`, `seat locks`, `actors`.
    pub name: &'static str,
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

/// The last report, shared with everybody who asks.
pub struct Health {
    report: RwLock<Option<(Instant, Vec<Check>)>>,
    writable: watch::Sender<bool>,
    draining: AtomicBool,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            report: RwLock::new(None),
            writable: watch::Sender::new(true),
            draining: AtomicBool::new(false),
        }
    }
}

impl Health {
    /// Whether requests should come here.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        if self.is_draining() {
            return Readiness::NotReady("draining");
        }
        let report = self.report.read().unwrap_or_else(PoisonError::into_inner);
        match &*report {
            None => Readiness::NotReady("starting"),
            Some((at, _)) if at.elapsed() > STALE_AFTER => {
                Readiness::NotReady("the health loop is stale")
            }
            Some((_, checks)) => Readiness::Ready(checks.clone()),
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

    /// Readiness goes off and stays off.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
    }

    /// Whether the service is stopping.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    fn publish(&self, checks: Vec<Check>) {
        let mut report = self.report.write().unwrap_or_else(PoisonError::into_inner);
        *report = Some((Instant::now(), checks));
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
        })
    }

    fn tick(&mut self, ctx: &mut Context<Self>) {
        if self.running {
            return;
        }
        self.running = true;
        let probes = Arc::clone(&self.probes);
        let task = actix::spawn(async move { probes.run().await });
        let done = task.into_actor(self).map(|result, actor, _| {
            actor.running = false;
            match result {
                Ok(checks) => actor.judge(checks),
                Err(panic) => log::error!("a health probe failed: {panic}"),
            }
        });
        ctx.spawn(done);
    }

    fn judge(&mut self, checks: Vec<Check>) {
        let beaten = checks.first().is_none_or(|check| check.problem.is_none());
        self.failed_beats = if beaten { 0 } else { self.failed_beats.saturating_add(1) };
        let writable =
            self.failed_beats < FAILED_BEATS || self.probes.store.has_committed_within(RECENT);
        if writable != self.health.writable.send_replace(writable) {
            if writable {
                log::info!("the primary takes writes again");
            } else {
                log::error!("the primary takes no writes: read-only until it does");
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
    async fn run(&self) -> Vec<Check> {
        let (beat, ping) = tokio::join!(self.store.beat(PROBE_TIME), self.store.ping(PROBE_TIME));
        let failed = |result: Result<(), StoreError>| result.err().map(|error| error.to_string());
        let breaker = self.breaker.as_ref().map(|state| *state.borrow());
        let locks = breaker
            .filter(|state| *state != BreakerState::Closed)
            .map(|_| "bypassed, the database decides alone".to_owned());
        let alive = self.lanes.check() && self.locker.check();
        let actors = (!alive).then(|| "one had died and was replaced".to_owned());
        vec![
            Check { name: "write database", problem: failed(beat) },
            Check { name: "read database", problem: failed(ping) },
            Check { name: "seat locks", problem: locks },
            Check { name: "actors", problem: actors },
        ]
    }
}
