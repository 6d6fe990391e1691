//! The mailbox is the batch: the loop that the seat-lock actor and the booking lanes share.
//!
//! While one batch runs, the next one gathers. There is no timer and no delay when idle; under load the
//! batch grows and the cost of each job falls. The actor never waits inside a handler: it queues the job,
//! and when fewer than `flights_max` batches run it starts another in a task of its own, so that a panic
//! there fails that batch alone.

use std::collections::VecDeque;
use std::sync::Arc;

use actix::prelude::*;
use futures_util::future::BoxFuture;

use crate::telemetry::metrics::Metrics;
use crate::telemetry::metrics::actor::Actor as ActorName;

/// What a batching actor does with its jobs.
pub(crate) trait Work: Send + Sync + 'static {
    /// One job, with its own channel for the answer.
    type Job: Send + Unpin + 'static;

    /// The actor's name in metrics.
    const NAME: ActorName;

    /// Hands the job back if it is to be run; otherwise it has been answered here.
    fn take(job: Self::Job) -> Option<Self::Job>;

    /// Runs a batch and answers each job. A job dropped without an answer tells its caller so.
    fn run(self: Arc<Self>, jobs: Vec<Self::Job>) -> BoxFuture<'static, ()>;
}

/// Sizes of a batching actor. How many jobs may wait is decided at its door, where they come in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BatchLimits {
    /// Jobs in one batch.
    pub(crate) batch_max: usize,
    /// Batches at the same time.
    pub(crate) flights_max: usize,
}

/// An actor that runs jobs in batches.
pub(crate) struct Batching<W: Work> {
    work: Arc<W>,
    limits: BatchLimits,
    metrics: Arc<Metrics>,
    pending: VecDeque<W::Job>,
    flights: usize,
}

/// A job for the actor.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Submit<J: Send + 'static>(pub(crate) J);

impl<W: Work> Batching<W> {
    pub(crate) fn new(work: Arc<W>, limits: BatchLimits, metrics: Arc<Metrics>) -> Self {
        Self { work, limits, metrics, pending: VecDeque::new(), flights: 0 }
    }

    /// Starts a batch once the whole mailbox has been read: actix polls it before spawned futures, so the
    /// batch sees everything that has arrived by now.
    fn schedule(&mut self, ctx: &mut Context<Self>) {
        self.flights += 1;
        let later = actix::fut::ready(()).map(|(), actor: &mut Self, ctx: &mut Context<Self>| {
            actor.start(ctx);
        });
        ctx.spawn(later);
    }

    fn start(&mut self, ctx: &mut Context<Self>) {
        let mut jobs = Vec::with_capacity(self.pending.len().min(self.limits.batch_max));
        while jobs.len() < self.limits.batch_max
            && let Some(job) = self.pending.pop_front()
        {
            jobs.extend(W::take(job));
        }
        self.metrics.actor.set_pending(W::NAME, self.pending.len());
        if jobs.is_empty() {
            self.flights -= 1;
            return;
        }
        let task = actix::spawn(Arc::clone(&self.work).run(jobs));
        let landed = task.into_actor(self).map(|result, actor, ctx| {
            if let Err(panic) = result {
                log::error!("a batch of the {} actor failed: {panic}", W::NAME.as_ref());
            }
            actor.flights -= 1;
            actor.wake(ctx);
        });
        ctx.spawn(landed);
    }

    fn wake(&mut self, ctx: &mut Context<Self>) {
        if !self.pending.is_empty() && self.flights < self.limits.flights_max {
            self.schedule(ctx);
        }
    }
}

impl<W: Work> Actor for Batching<W> {
    type Context = Context<Self>;
}

impl<W: Work> Supervised for Batching<W> {
    fn restarting(&mut self, ctx: &mut Context<Self>) {
        self.flights = 0;
        self.wake(ctx);
    }
}

impl<W: Work> Handler<Submit<W::Job>> for Batching<W> {
    type Result = ();

    fn handle(&mut self, Submit(job): Submit<W::Job>, ctx: &mut Context<Self>) {
        self.pending.push_back(job);
        self.wake(ctx);
    }
}
