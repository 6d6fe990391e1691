//! The clock of the seat maps: schedules that somebody listens to are followed, so that their listeners
//! hear of every change without asking; and processes that share a Redis tell each other of commits.
//!
//! Maps that are only read need no clock: their readers ask.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;

use crate::domain::execution_error::StoreError;
use crate::domain::ids::ScheduleId;
use crate::seat_map::{SeatMaps, SharedMaps, Streams};
use crate::telemetry::metrics::Metrics;

/// Between two looks at what is due, and between two messages to the other processes.
const INTERVAL: Duration = Duration::from_millis(25);

/// Before the connection that news come by is opened again.
const RETRY: Duration = Duration::from_secs(1);

/// The following actor.
pub struct MapRefresh {
    maps: Arc<SeatMaps>,
    streams: Arc<Streams>,
    metrics: Arc<Metrics>,
    /// Schedules that are being read: a slow one does not hold up the others.
    reading: HashSet<ScheduleId>,
    telling: bool,
}

impl MapRefresh {
    /// Starts it on the arbiter given.
    pub fn start_in(
        arbiter: &ArbiterHandle,
        maps: Arc<SeatMaps>,
        streams: Arc<Streams>,
        metrics: Arc<Metrics>,
    ) -> Addr<Self> {
        Supervisor::start_in_arbiter(arbiter, move |_| Self {
            maps,
            streams,
            metrics,
            reading: HashSet::new(),
            telling: false,
        })
    }

    fn tick(&mut self, ctx: &mut Context<Self>) {
        self.tell(ctx);
        for id in self.streams.due() {
            if !self.reading.insert(id) {
                continue;
            }
            let streams = Arc::clone(&self.streams);
            let task = actix::spawn(async move { streams.update(id).await });
            let done = task.into_actor(self).map(move |result, actor, _| {
                actor.reading.remove(&id);
                match result {
                    Ok(result) => actor.told(id, result),
                    Err(panic) => log::error!("following schedule {id} failed: {panic}"),
                }
            });
            ctx.spawn(done);
        }
    }

    fn tell(&mut self, ctx: &mut Context<Self>) {
        if self.telling || self.maps.shared().is_none() {
            return;
        }
        self.telling = true;
        let maps = Arc::clone(&self.maps);
        let task = actix::spawn(async move { maps.publish_commits().await });
        let done = task.into_actor(self).map(|result, actor, _| {
            actor.telling = false;
            if let Err(panic) = result {
                log::error!("telling other processes failed: {panic}");
            }
        });
        ctx.spawn(done);
    }

    /// Hears the other processes' news, again and again.
    async fn hear(maps: Arc<SeatMaps>) {
        loop {
            // Who is answerable for Redis says what is wrong; until it is well the journal is asked as often
            // as without.
            if let Err(error) = maps.receive_announcements().await {
                log::debug!("no news of other processes: {error}");
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// After each time without Redis: what was told meanwhile is lost, so what is shared counts no more.
    async fn renew(shared: Arc<SharedMaps>) {
        while shared.recovered().await {
            while !shared.begin_epoch().await {
                tokio::time::sleep(RETRY).await;
            }
        }
    }

    fn told(&self, id: ScheduleId, result: Result<bool, StoreError>) {
        match result {
            Ok(true) => self.metrics.stream.updates_total.inc(),
            Ok(false) => {}
            // Who is answerable for the database says so already.
            Err(error) => log::debug!("schedule {id} cannot be followed now: {error}"),
        }
    }
}

impl Actor for MapRefresh {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.run_interval(INTERVAL, Self::tick);
        if let Some(shared) = self.maps.shared() {
            ctx.spawn(Self::hear(Arc::clone(&self.maps)).into_actor(self));
            ctx.spawn(Self::renew(Arc::clone(shared)).into_actor(self));
        }
    }
}

impl Supervised for MapRefresh {
    /// What was being read by the actor before is lost.
    fn restarting(&mut self, _: &mut Context<Self>) {
        self.reading.clear();
        self.telling = false;
    }
}
