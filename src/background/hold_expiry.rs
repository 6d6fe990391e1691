//! The sweeper: writes to the journal that holds have ended, so that screens and streams see it.
//!
//! An ended hold is free to the next taker at once, swept or not; this actor only says so. It also deletes
//! what nobody needs any more.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::*;
use futures_util::future::join_all;

use crate::domain::command::{Action, Command};
use crate::domain::effect::Outcome;
use crate::domain::execution_error::StoreError;
use crate::store::{PURGE_ROWS, Store};
use crate::telemetry::metrics::Metrics;

use crate::actors::booking::Lanes;

/// Holds swept in one go, bounded so that a flood of ends never fills the lanes.
const HOLDS_AT_ONCE: u32 = 500;

/// Statements of one purge: it keeps up with some thousand keyed bookings a second.
const PURGES_AT_ONCE: usize = 60;

/// Between two counts of the holds that are alive.
const COUNT_INTERVAL: Duration = Duration::from_secs(10);

/// Ticks between two purges.
const TICKS_PER_PURGE: u64 = 60;

/// The sweeping actor. Every replica has one; a hold that two of them name is ended once.
pub struct HoldExpiry {
    sweep: Arc<Sweep>,
    interval: Duration,
    running: bool,
    ticks: u64,
    counted: Option<Instant>,
}

struct Sweep {
    store: Arc<Store>,
    lanes: Arc<Lanes>,
    metrics: Arc<Metrics>,
    limit: Duration,
}

impl HoldExpiry {
    /// Starts it on the arbiter given, sweeping every `interval`; a sweep's commands have `limit` to run.
    pub fn start_in(
        arbiter: &ArbiterHandle,
        store: Arc<Store>,
        lanes: Arc<Lanes>,
        metrics: Arc<Metrics>,
        interval: Duration,
        limit: Duration,
    ) -> Addr<Self> {
        let sweep = Arc::new(Sweep { store, lanes, metrics, limit });
        Supervisor::start_in_arbiter(arbiter, move |_| Self {
            sweep,
            interval,
            running: false,
            ticks: 0,
            counted: None,
        })
    }

    fn tick(&mut self, ctx: &mut Context<Self>) {
        if self.running {
            return;
        }
        self.running = true;
        self.ticks += 1;
        let (sweep, purge) = (Arc::clone(&self.sweep), self.ticks.is_multiple_of(TICKS_PER_PURGE));
        let count = self.counted.is_none_or(|at| at.elapsed() >= COUNT_INTERVAL);
        if count {
            self.counted = Some(Instant::now());
        }
        let task = actix::spawn(async move {
            if count {
                sweep.count().await;
            }
            sweep.run(purge).await
        });
        let done = task.into_actor(self).map(|result, actor, _| {
            actor.running = false;
            match result {
                Ok(Ok(())) => {}
                Ok(Err(error)) => log::warn!("holds are not being swept: {error}"),
                Err(panic) => log::error!("a sweep failed: {panic}"),
            }
        });
        ctx.spawn(done);
    }
}

impl Actor for HoldExpiry {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.run_interval(self.interval, Self::tick);
    }
}

impl Supervised for HoldExpiry {}

impl Sweep {
    /// A count that fails is left out: who is answerable for the database says so.
    async fn count(&self) {
        match self.store.holds_alive().await {
            Ok(holds) => self.metrics.hold.alive.set(holds),
            Err(error) => log::debug!("the holds are not counted now: {error}"),
        }
    }

    async fn run(&self, purge: bool) -> Result<(), StoreError> {
        self.metrics.hold.sweeps_total.inc();
        loop {
            let due = self.store.due_holds(HOLDS_AT_ONCE).await?;
            let found = due.len();
            let ends = due.into_iter().map(|(hold, until, now)| async move {
                let command = Command {
                    schedule: hold.schedule,
                    action: Action::Expire { hold },
                    keyed: None,
                    locked: false,
                    queued: None,
                };
                let deadline = Instant::now() + self.limit;
                let executed = self.lanes.execute(command, deadline).await;
                if executed.is_ok_and(|executed| matches!(executed.outcome, Outcome::Done(_))) {
                    self.metrics.hold.swept_total.inc();
                    let lag = now.since(until).as_secs_f64();
                    self.metrics.hold.expiry_lag_seconds.observe(lag);
                    return true;
                }
                false
            });
            let swept = join_all(ends).await.into_iter().filter(|swept| *swept).count();
            // A full page means that there are more; one that did not shrink would be read for ever.
            if found < HOLDS_AT_ONCE as usize || swept == 0 {
                break;
            }
        }
        if purge {
            let full = u64::try_from(PURGE_ROWS).unwrap_or(u64::MAX);
            for _ in 0..PURGES_AT_ONCE {
                if self.store.purge().await? < full {
                    break;
                }
            }
        }
        Ok(())
    }
}
