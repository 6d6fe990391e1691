//! Refreshes the maps of schedules that have listeners, so that the listeners receive every change without a request.
//! Exchanges commit notifications with the other processes that share a Redis.
//!
//! Maps without listeners are not refreshed here. A reader refreshes the map that it reads.

use std::collections::HashSet;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use actix::ArbiterHandle;
use futures_util::FutureExt as _;
use parking_lot::Mutex;

use crate::domain::ids::ScheduleId;
use crate::seat_map::{SeatMaps, SharedMaps, Streams};
use crate::telemetry::metrics::Metrics;

use super::periodic::run_every;

/// The time between two checks for due maps, and between two publications of commits to the other processes.
const INTERVAL: Duration = Duration::from_millis(25);

/// The pause before a lost subscription to the other processes is opened again, and before a failed epoch is retried.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Refreshes the maps that have listeners.
#[derive(Clone)]
pub struct MapRefresh {
    streams: Arc<Streams>,
    metrics: Arc<Metrics>,
    /// Schedules that are being refreshed: a slow one does not delay the others.
    refreshing: Arc<Mutex<HashSet<ScheduleId>>>,
}

impl MapRefresh {
    /// Starts the tasks on the arbiter.
    pub fn start_in(
        arbiter: &ArbiterHandle,
        maps: Arc<SeatMaps>,
        streams: Arc<Streams>,
        metrics: Arc<Metrics>,
    ) {
        if let Some(shared) = maps.shared().cloned() {
            let publisher = Arc::clone(&maps);
            let publish = async |maps: &mut Arc<SeatMaps>| maps.publish_commits().await;
            run_every(arbiter, "the publisher of commits", INTERVAL, INTERVAL, publisher, publish);
            let _ = arbiter.spawn_fn(|| {
                actix::spawn(subscribe(maps));
                actix::spawn(renew_epochs(shared));
            });
        }
        let refresh = Self { streams, metrics, refreshing: Arc::default() };
        let tick = async |refresh: &mut Self| refresh.refresh_due();
        run_every(arbiter, "the refresh of maps", INTERVAL, INTERVAL, refresh, tick);
    }

    fn refresh_due(&self) {
        for id in self.streams.due() {
            if self.refreshing.lock().insert(id) {
                let this = self.clone();
                actix::spawn(async move {
                    if AssertUnwindSafe(this.refresh(id)).catch_unwind().await.is_err() {
                        log::error!("the refresh of schedule {id} panicked");
                    }
                    this.refreshing.lock().remove(&id);
                });
            }
        }
    }

    async fn refresh(&self, id: ScheduleId) {
        match self.streams.update(id).await {
            Ok(true) => self.metrics.stream.updates_total.inc(),
            Ok(false) => {}
            // The health monitor reports the state of the database.
            Err(error) => log::debug!("schedule {id} cannot be refreshed now: {error}"),
        }
    }
}

/// Receives the commit notifications of the other processes.
async fn subscribe(maps: Arc<SeatMaps>) {
    loop {
        // The seat locks report the state of Redis. Until Redis recovers, maps are refreshed from the journal as often
        // as without Redis.
        if let Err(error) = maps.receive_announcements().await {
            log::debug!("cannot receive commit notifications of other processes: {error}");
        }
        tokio::time::sleep(RETRY_INTERVAL).await;
    }
}

/// Begins a new epoch of the shared maps after each outage of Redis, because notifications were lost during the outage.
async fn renew_epochs(shared: Arc<SharedMaps>) {
    while shared.recovered().await {
        while !shared.begin_epoch().await {
            tokio::time::sleep(RETRY_INTERVAL).await;
        }
    }
}
