//! The seat-lock actor sends all requests of one batch to the backend of the locks in one round trip.

use std::sync::Arc;

use actix::prelude::*;
use tokio::sync::oneshot;

use crate::batcher::{Admitted, BatchHandler, BatcherLimits};
use crate::lock::{LockError, LockReply, LockRequest, SeatLocks};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::metrics::actor::Actor as ActorName;
use crate::telemetry::request_context::RequestContext;

use super::mailbox::{ActorHandle, BatchingActor};

/// The actor of the seat locks.
pub(crate) type SeatLockActor = BatchingActor<LockJob>;

/// A lock request. A job without a request is answered when all requests before it have been executed.
pub(crate) struct LockJob {
    request: Option<LockRequest>,
    context: RequestContext,
    reply: oneshot::Sender<Result<LockReply, LockError>>,
}

struct LockHandler {
    locks: Arc<dyn SeatLocks>,
    metrics: Arc<Metrics>,
}

impl BatchHandler<LockJob> for LockHandler {
    fn note_pending(&mut self, jobs: usize) {
        self.metrics.actor.set_pending(ActorName::SeatLock, jobs);
    }

    /// Executes every request, even if its caller does not wait any more, because the request may release a lock.
    async fn run(&mut self, batch: Vec<Admitted<LockJob>>) {
        let contexts = batch.iter().map(|admitted| admitted.job.context.clone());
        let context = RequestContext::all(contexts);
        let mut requests = Vec::with_capacity(batch.len());
        let mut replies = Vec::with_capacity(batch.len());
        // Jobs without a request. Dropping their senders at the end of this function answers them.
        let mut flushes = Vec::new();
        for Admitted { job, permit } in batch {
            match job.request {
                Some(request) => {
                    requests.push(request);
                    replies.push((job.reply, permit));
                }
                None => flushes.push((job.reply, permit)),
            }
        }
        if requests.is_empty() {
            return;
        }
        let results: Vec<_> = match context.during(self.locks.run(&requests)).await {
            Ok(answers) => answers.into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error); replies.len()],
        };
        for ((reply, _permit), result) in replies.into_iter().zip(results) {
            drop(reply.send(result));
        }
    }
}

/// The client of the seat-lock actor.
pub struct SeatLocker {
    actor: ActorHandle<SeatLockActor>,
}

impl SeatLocker {
    /// Starts the actor on the arbiter. One batch runs at a time, so the requests of one process are executed in the
    /// order in which they were made: a release is never executed before its acquire.
    #[must_use]
    pub fn start(
        locks: Arc<dyn SeatLocks>,
        metrics: &Arc<Metrics>,
        arbiter: &ArbiterHandle,
        limits: BatcherLimits,
    ) -> Self {
        let handler = LockHandler { locks, metrics: Arc::clone(metrics) };
        let metrics = Arc::clone(metrics);
        let arbiter = arbiter.clone();
        Self { actor: ActorHandle::start(ActorName::SeatLock, metrics, arbiter, limits, handler) }
    }

    /// Executes a request. An error means that the locks cannot be used now, not that a seat is locked.
    pub async fn execute(&self, request: LockRequest) -> Result<LockReply, LockError> {
        let no_answer = |_| Err(LockError::Backend("the batch of the request failed".to_owned()));
        self.submit(Some(request))?.await.unwrap_or_else(no_answer)
    }

    /// Executes a request after all earlier ones, and does not wait for the reply.
    pub fn enqueue(&self, request: LockRequest) {
        if let Err(error) = self.submit(Some(request)) {
            log::debug!(
                "a seat lock may exist until its TTL ends, its request was refused: {error}"
            );
        }
    }

    /// Waits until every earlier request was executed or has failed.
    pub async fn flush(&self) {
        if let Ok(answer) = self.submit(None) {
            drop(answer.await);
        }
    }

    /// Returns whether the actor was alive, and replaces it if it was not.
    #[must_use]
    pub fn check(&self) -> bool {
        self.actor.check()
    }

    fn submit(
        &self,
        request: Option<LockRequest>,
    ) -> Result<oneshot::Receiver<Result<LockReply, LockError>>, LockError> {
        let (reply, answer) = oneshot::channel();
        let job = LockJob { request, context: RequestContext::current(), reply };
        self.actor.send(job).map_err(|_| LockError::Bypassed)?;
        Ok(answer)
    }
}
