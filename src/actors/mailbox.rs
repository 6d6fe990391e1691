//! An actor in front of a batcher: its mailbox receives admitted jobs, and its handler queues them.
//!
//! The actor and the batcher's task share one thread, and actix reads the whole mailbox in one poll, so a batch has
//! every job that has arrived when it starts.
//!
//! actix's `Supervisor` restarts an actor that stops, but not one that panics. [`ActorHandle`] replaces an actor that
//! has panicked. The batcher and its queue are not affected by a restart or a replacement.

use std::sync::Arc;

use actix::prelude::*;
use parking_lot::RwLock;

use crate::batcher::{AdmissionError, Admitted, BatchHandler, Batcher, BatcherLimits};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::metrics::actor::Actor as ActorName;

/// The actor: adds each job of its mailbox to the batcher's queue.
pub(crate) struct BatchingActor<J: Send + 'static>(Arc<Batcher<J>>);

/// An actor whose jobs run in batches.
pub(crate) trait JobActor: Actor {
    /// One job of a batch.
    type Job: Send + 'static;
}

impl<J: Send + 'static> JobActor for BatchingActor<J> {
    type Job = J;
}

impl<J: Send + 'static> Actor for BatchingActor<J> {
    type Context = Context<Self>;
}

impl<J: Send + 'static> Supervised for BatchingActor<J> {}

impl<J: Send + 'static> Message for Admitted<J> {
    type Result = ();
}

impl<J: Send + 'static> Handler<Admitted<J>> for BatchingActor<J> {
    type Result = ();

    fn handle(&mut self, job: Admitted<J>, _: &mut Context<Self>) {
        self.0.enqueue(job);
    }
}

/// The address of a batching actor. Replaces the actor if it has died.
pub(crate) struct ActorHandle<A: JobActor> {
    name: ActorName,
    metrics: Arc<Metrics>,
    arbiter: ArbiterHandle,
    batcher: Arc<Batcher<A::Job>>,
    address: RwLock<Addr<A>>,
}

impl<J: Send + 'static> ActorHandle<BatchingActor<J>> {
    /// Starts the actor and the batcher's task on the arbiter.
    pub(crate) fn start(
        name: ActorName,
        metrics: Arc<Metrics>,
        arbiter: ArbiterHandle,
        limits: BatcherLimits,
        handler: impl BatchHandler<J>,
    ) -> Self {
        let (batcher, task) = Batcher::new(limits, handler);
        arbiter.spawn(task);
        let batcher = Arc::new(batcher);
        let address = RwLock::new(start_actor(&arbiter, &batcher));
        Self { name, metrics, arbiter, batcher, address }
    }

    /// Sends a job to the actor, unless the batcher refuses the job.
    pub(crate) fn send(&self, job: J) -> Result<(), AdmissionError> {
        let admitted = self.batcher.admit(job).inspect_err(|error| {
            if *error == AdmissionError::Full {
                self.metrics.actor.overloaded(self.name);
            }
        })?;
        self.live_address().do_send(admitted);
        Ok(())
    }

    /// Returns whether the actor was alive, and replaces it if it was not.
    pub(crate) fn check(&self) -> bool {
        let alive = self.address.read().connected();
        self.live_address();
        alive
    }

    pub(crate) fn batcher(&self) -> &Batcher<J> {
        &self.batcher
    }

    fn live_address(&self) -> Addr<BatchingActor<J>> {
        let address = self.address.read().clone();
        if address.connected() {
            return address;
        }
        let mut current = self.address.write();
        if !current.connected() {
            log::error!("the {} actor died and is replaced", self.name.as_ref());
            self.metrics.actor.restarted(self.name);
            *current = start_actor(&self.arbiter, &self.batcher);
        }
        current.clone()
    }
}

fn start_actor<J: Send + 'static>(
    arbiter: &ArbiterHandle,
    batcher: &Arc<Batcher<J>>,
) -> Addr<BatchingActor<J>> {
    let batcher = Arc::clone(batcher);
    Supervisor::start_in_arbiter(arbiter, move |_| BatchingActor(batcher))
}
