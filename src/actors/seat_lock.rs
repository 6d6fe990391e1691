//! The seat-lock actor: what gathers in its mailbox is one round trip to where the locks are kept.

use std::sync::Arc;

use actix::prelude::*;
use futures_util::future::BoxFuture;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::lock::{LockError, LockReply, LockRequest, SeatLocks};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::metrics::actor::Actor as ActorName;
use crate::telemetry::request_context::RequestContext;

use super::batching::{BatchLimits, Batching, Submit, Work};
use super::replaceable::Replaceable;

/// A request on its way, holding its place in the bounded queue.
pub(crate) struct LockJob {
    /// None if only what was asked before is waited for.
    request: Option<LockRequest>,
    context: RequestContext,
    reply: oneshot::Sender<Result<LockReply, LockError>>,
    _place: OwnedSemaphorePermit,
}

/// What the actor works with.
pub(crate) struct Locker {
    locks: Arc<dyn SeatLocks>,
}

impl Work for Locker {
    type Job = LockJob;

    const NAME: ActorName = ActorName::SeatLock;

    /// Every request is run, even if its caller has gone: it may be the release of a lock.
    fn take(job: LockJob) -> Option<LockJob> {
        Some(job)
    }

    fn run(self: Arc<Self>, jobs: Vec<LockJob>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let context = RequestContext::all(jobs.iter().map(|job| job.context.clone()));
            let (jobs, waiting): (Vec<LockJob>, Vec<LockJob>) =
                jobs.into_iter().partition(|job| job.request.is_some());
            let mut requests = Vec::with_capacity(jobs.len());
            let mut replies = Vec::with_capacity(jobs.len());
            for job in jobs {
                requests.extend(job.request);
                replies.push((job.reply, job._place));
            }
            if requests.is_empty() {
                return;
            }
            match context.during(self.locks.run(&requests)).await {
                Ok(answers) => {
                    for ((reply, _place), answer) in replies.into_iter().zip(answers) {
                        drop(reply.send(Ok(answer)));
                    }
                }
                Err(error) => {
                    for (reply, _place) in replies {
                        drop(reply.send(Err(error.clone())));
                    }
                }
            }
            // They hear of it by being dropped.
            drop(waiting);
        })
    }
}

/// The way to the seat locks.
pub struct SeatLocker {
    actor: Replaceable<Batching<Locker>>,
    door: Arc<Semaphore>,
    metrics: Arc<Metrics>,
}

impl SeatLocker {
    /// Starts the actor on the arbiter given. One batch at a time, so that requests of one process are
    /// executed in the order in which they were made: a release never overtakes what it releases.
    #[must_use]
    pub fn start(
        locks: Arc<dyn SeatLocks>,
        metrics: &Arc<Metrics>,
        arbiter: &ArbiterHandle,
        batch_max: usize,
        pending_max: usize,
    ) -> Self {
        let work = Arc::new(Locker { locks });
        let (arbiter, shared) = (arbiter.clone(), Arc::clone(metrics));
        let limits = BatchLimits { batch_max, flights_max: 1 };
        let start = move || {
            let (work, metrics) = (Arc::clone(&work), Arc::clone(&shared));
            Supervisor::start_in_arbiter(&arbiter, move |_| Batching::new(work, limits, metrics))
        };
        let actor = Replaceable::start(ActorName::SeatLock, Arc::clone(metrics), start);
        Self { actor, door: Arc::new(Semaphore::new(pending_max)), metrics: Arc::clone(metrics) }
    }

    /// Asks. An error means that the locks are of no help now, not that a seat is taken.
    pub async fn ask(&self, request: LockRequest) -> Result<LockReply, LockError> {
        match self.submit(Some(request))?.await {
            Ok(answer) => answer,
            Err(_) => Err(LockError::Backend("the seat-lock actor died".to_owned())),
        }
    }

    /// Asks without waiting for the answer, behind everything asked before.
    pub fn tell(&self, request: LockRequest) {
        if let Err(error) = self.submit(Some(request)) {
            log::debug!("a seat lock is left to its own end: {error}");
        }
    }

    /// Waits until everything asked before was executed, or has failed.
    pub async fn caught_up(&self) {
        if let Ok(answer) = self.submit(None) {
            drop(answer.await);
        }
    }

    /// Whether the actor lives. A dead one is replaced by this very call.
    #[must_use]
    pub fn check(&self) -> bool {
        self.actor.check()
    }

    fn submit(
        &self,
        request: Option<LockRequest>,
    ) -> Result<oneshot::Receiver<Result<LockReply, LockError>>, LockError> {
        let Ok(place) = Arc::clone(&self.door).try_acquire_owned() else {
            self.metrics.actor.overloaded(ActorName::SeatLock);
            return Err(LockError::Bypassed);
        };
        let (reply, answer) = oneshot::channel();
        let context = RequestContext::current();
        self.actor.tell(Submit(LockJob { request, context, reply, _place: place }));
        Ok(answer)
    }
}
