//! Writes the expiry of holds to the journal, so that maps and streams show it, and deletes old records.
//!
//! Other customers can get the seats of an expired hold immediately, even before its expiry is written.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::ArbiterHandle;
use futures_util::future::join_all;

use crate::actors::booking::Lanes;
use crate::domain::clock::EpochMs;
use crate::domain::command::{Action, Command, Sender};
use crate::domain::effect::Outcome;
use crate::domain::execution_error::StoreError;
use crate::domain::ids::HoldId;
use crate::store::{PURGE_ROWS, Store};
use crate::telemetry::metrics::Metrics;

use super::periodic::run_every;

/// The most holds that are expired together, so that many expiries never fill the lanes.
const HOLDS_MAX: u32 = 500;

/// The most statements of one purge: enough for some thousand bookings with an Idempotency-Key per second.
const PURGES_MAX: usize = 60;

/// The time between two counts of the active holds.
const COUNT_INTERVAL: Duration = Duration::from_secs(10);

/// The number of sweeps per purge.
const SWEEPS_PER_PURGE: u64 = 60;

/// Expires holds. Every replica does this; a hold that two replicas expire is ended once.
pub struct HoldExpiry {
    store: Arc<Store>,
    lanes: Arc<Lanes>,
    metrics: Arc<Metrics>,
    limit: Duration,
    sender: Arc<Sender>,
    sweeps: u64,
    counted_at: Option<Instant>,
}

impl HoldExpiry {
    /// Starts the task on the arbiter, with a sweep every `interval`. `limit` is the time limit of each command.
    pub fn start_in(
        arbiter: &ArbiterHandle,
        store: Arc<Store>,
        lanes: Arc<Lanes>,
        metrics: Arc<Metrics>,
        interval: Duration,
        limit: Duration,
    ) {
        let actor = "hold expiry".to_owned();
        let sender = Arc::new(Sender { actor, request: String::new(), address: None });
        let expiry = Self { store, lanes, metrics, limit, sender, sweeps: 0, counted_at: None };
        run_every(arbiter, "the expiry of holds", interval, interval, expiry, Self::run);
    }

    async fn run(&mut self) {
        self.sweeps += 1;
        if self.counted_at.is_none_or(|at| at.elapsed() >= COUNT_INTERVAL) {
            self.counted_at = Some(Instant::now());
            match self.store.holds_alive().await {
                Ok(holds) => self.metrics.hold.alive.set(holds),
                // The health monitor reports the state of the database.
                Err(error) => log::debug!("the holds cannot be counted now: {error}"),
            }
        }
        if let Err(error) = self.sweep().await {
            log::warn!("holds are not being swept: {error}");
        }
    }

    async fn sweep(&self) -> Result<(), StoreError> {
        self.metrics.hold.sweeps_total.inc();
        loop {
            let due = self.store.due_holds(HOLDS_MAX).await?;
            let found = due.len();
            let expiries = due.into_iter().map(|(hold, until, now)| self.expire(hold, until, now));
            let expired = join_all(expiries).await.into_iter().filter(|expired| *expired).count();
            // After a full page there may be more holds. A page of which no hold could be expired ends the loop,
            // because the next page would be the same.
            if found < HOLDS_MAX as usize || expired == 0 {
                break;
            }
        }
        if self.sweeps.is_multiple_of(SWEEPS_PER_PURGE) {
            let full_page = u64::try_from(PURGE_ROWS).unwrap_or(u64::MAX);
            for _ in 0..PURGES_MAX {
                if self.store.purge().await? < full_page {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Returns whether the expiry was written.
    async fn expire(&self, hold: HoldId, until: EpochMs, now: EpochMs) -> bool {
        let sender = Some(Arc::clone(&self.sender));
        let command = Command { sender, ..Command::new(hold.schedule, Action::Expire { hold }) };
        let executed = self.lanes.execute(command, Instant::now() + self.limit).await;
        let expired = executed.is_ok_and(|executed| matches!(executed.outcome, Outcome::Done(_)));
        if expired {
            self.metrics.hold.swept_total.inc();
            self.metrics.hold.expiry_lag_seconds.observe(now.since(until).as_secs_f64());
        }
        expired
    }
}
