//! The clock of the seat maps: schedules that somebody listens to are followed, so that their listeners
//! hear of every change without asking.
//!
//! Maps that are only read need no clock: their readers ask.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;

use crate::domain::failure::StoreError;
use crate::domain::ids::ScheduleId;
use crate::metrics::Metrics;
use crate::seat_map::Streams;

/// Between two looks at what is due.
const INTERVAL: Duration = Duration::from_millis(25);

/// The following actor.
pub struct SeatMapFollower {
    streams: Arc<Streams>,
    metrics: Arc<Metrics>,
    /// Schedules that are being read: a slow one does not hold up the others.
    reading: HashSet<ScheduleId>,
}

impl SeatMapFollower {
    /// Starts it on the arbiter given.
    pub fn start_in(
        arbiter: &ArbiterHandle,
        streams: Arc<Streams>,
        metrics: Arc<Metrics>,
    ) -> Addr<Self> {
        Supervisor::start_in_arbiter(arbiter, move |_| Self {
            streams,
            metrics,
            reading: HashSet::new(),
        })
    }

    fn tick(&mut self, ctx: &mut Context<Self>) {
        for id in self.streams.due() {
            if !self.reading.insert(id) {
                continue;
            }
            let streams = Arc::clone(&self.streams);
            let task = actix::spawn(async move { streams.follow(id).await });
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

    fn told(&self, id: ScheduleId, result: Result<bool, StoreError>) {
        match result {
            Ok(true) => self.metrics.stream.updates_total.inc(),
            Ok(false) => {}
            // Who is answerable for the database says so already.
            Err(error) => log::debug!("schedule {id} cannot be followed now: {error}"),
        }
    }
}

impl Actor for SeatMapFollower {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.run_interval(INTERVAL, Self::tick);
    }
}

impl Supervised for SeatMapFollower {
    /// What was being read by the actor before is lost.
    fn restarting(&mut self, _: &mut Context<Self>) {
        self.reading.clear();
    }
}
