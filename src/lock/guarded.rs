//! Seat locks whose calls always end within a time budget, even if their backend hangs.
//!
//! The layers from the outside to the inside are the circuit breaker, the time budget, and one retry. The budget is
//! inside the breaker, so that the breaker counts time-outs. A busy seat counts as a success. A list of requests that
//! was only partly answered counts as a success too, because a part of the backend works. A background task
//! ([`Guarded::spawn_maintenance`]) probes a backend that has failed, and releases locks that unanswered requests may
//! have acquired.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::breaker::LockBreaker;
use super::pending_releases::PendingReleases;
use super::{LockError, LockReply, LockRequest, SeatLocks};
use crate::backoff::Backoff;
use crate::breaker::{BreakerSettings, BreakerState};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::metrics::lock::LockOutcome;

/// The shortest and the longest pause before the one retry.
const RETRY_PAUSE: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(2));

/// The most pending releases sent in one list.
const RELEASES_PER_LIST: usize = 128;

/// The time limits of calls, and the conditions under which calls are bypassed.
#[derive(Debug, Clone, Copy)]
pub struct GuardSettings {
    /// The most time that a list of requests may take, retry included.
    pub budget: Duration,
    /// When the breaker opens and for how long.
    pub breaker: BreakerSettings,
    /// This many successful probes in a row close the breaker.
    pub probes_to_close: u32,
    /// The interval of the background task.
    pub maintenance_interval: Duration,
    /// The most pending releases. Further releases are dropped, and their locks exist until their TTL ends.
    pub pending_releases_max: usize,
}

impl Default for GuardSettings {
    fn default() -> Self {
        Self {
            budget: Duration::from_millis(50),
            breaker: BreakerSettings {
                failures_in_a_row: 5,
                reopen_after: Duration::from_secs(1),
                // Allows two probes within ten seconds, the time within which a new master must be in use.
                reopen_at_most: Duration::from_secs(5),
                ramp: Duration::from_secs(2),
            },
            probes_to_close: 3,
            maintenance_interval: Duration::from_millis(100),
            pending_releases_max: 4096,
        }
    }
}

/// Seat locks behind a circuit breaker, a time budget and a retry.
pub struct Guarded<L> {
    inner: L,
    settings: GuardSettings,
    breaker: LockBreaker,
    pending: PendingReleases,
    metrics: Arc<Metrics>,
}

/// The replies to a list of requests.
struct Answer {
    replies: Vec<LockReply>,
    /// Whether a part of the list was sent twice.
    retried: bool,
}

impl<L: SeatLocks> Guarded<L> {
    /// Guards `inner`. The breaker is closed at first; once open, only the task of
    /// [`Self::spawn_maintenance`] closes it.
    #[must_use]
    pub fn new(inner: L, settings: GuardSettings, metrics: Arc<Metrics>) -> Self {
        let breaker = LockBreaker::new(settings.breaker, Arc::clone(&metrics));
        let gauge = metrics.lock.pending_releases.clone();
        let pending = PendingReleases::new(settings.pending_releases_max, gauge);
        Self { inner, settings, breaker, pending, metrics }
    }

    /// Starts the background task. Must be called inside a tokio runtime. The task ends when it is aborted, or within
    /// one interval after the locks have been dropped.
    pub fn spawn_maintenance(self: &Arc<Self>) -> JoinHandle<()> {
        let locks = Arc::downgrade(self);
        let interval = self.settings.maintenance_interval;
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(interval).await;
                let Some(locks) = locks.upgrade() else { return };
                locks.maintain().await;
            }
        })
    }

    /// What the breaker admits now.
    #[must_use]
    pub fn state(&self) -> BreakerState {
        self.breaker.state()
    }

    /// A receiver of every change of the breaker from now on. When the breaker closes, a cache in the same Redis must
    /// begin a new epoch, because invalidations were lost while the breaker was open.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<BreakerState> {
        self.breaker.watch()
    }

    async fn within_budget<T>(
        &self,
        call: impl Future<Output = Result<T, LockError>>,
    ) -> Result<T, LockError> {
        let answer = tokio::time::timeout(self.settings.budget, call).await;
        answer.unwrap_or(Err(LockError::Timeout))
    }

    /// Sends the requests, and retries once those that failed with an error. The most frequent reason of an error is a
    /// dead connection of the pool. A retry is safe, because an acquire accepts its own lock, and the other requests
    /// compare tokens.
    async fn run_with_retry(&self, requests: &[LockRequest]) -> Result<Answer, LockError> {
        let mut replies = match self.inner.run(requests).await {
            Err(error @ LockError::Backend(_)) => vec![LockReply::Failed(error); requests.len()],
            result => result?,
        };
        let failed = indexes_to_retry(&replies);
        if failed.is_empty() {
            return Ok(Answer { replies, retried: false });
        }
        let first_failure = failed.first().and_then(|index| replies.get(*index));
        log::debug!("{} seat lock requests are retried after {first_failure:?}", failed.len());
        let (shortest, longest) = RETRY_PAUSE;
        tokio::time::sleep(Backoff::new(shortest, longest).next_pause()).await;
        let retry: Vec<_> =
            failed.iter().filter_map(|index| requests.get(*index).cloned()).collect();
        match self.inner.run(&retry).await {
            Ok(second) => {
                for (index, reply) in failed.into_iter().zip(second) {
                    if let Some(failed) = replies.get_mut(index) {
                        *failed = reply;
                    }
                }
            }
            Err(error) if retry.len() == requests.len() => return Err(error),
            // The other requests have already been answered.
            Err(_) => {}
        }
        Ok(Answer { replies, retried: true })
    }

    async fn run_guarded(&self, requests: &[LockRequest]) -> Result<Vec<LockReply>, LockError> {
        let in_flight = self.pending.guard(requests);
        let started = Instant::now();
        let result = self.breaker.call(self.within_budget(self.run_with_retry(requests))).await;
        if matches!(result, Err(LockError::Bypassed)) {
            in_flight.complete();
            self.pending.enqueue_unsent(requests);
            self.metrics.lock.count(LockOutcome::Bypassed, requests.len());
            return Err(LockError::Bypassed);
        }
        self.metrics.lock.pipeline_size.observe(requests.len() as f64);
        self.metrics.lock.duration_seconds.observe(started.elapsed().as_secs_f64());
        match result {
            Ok(answer) => {
                in_flight.complete();
                self.pending.enqueue_sent(&unanswered(requests, &answer.replies));
                self.count(requests, &answer);
                Ok(answer.replies)
            }
            Err(error) => {
                self.metrics.lock.count(outcome(&error), requests.len());
                Err(error)
            }
        }
    }

    fn count(&self, requests: &[LockRequest], answer: &Answer) {
        let metrics = &self.metrics.lock;
        for (request, reply) in requests.iter().zip(&answer.replies) {
            match (request, reply) {
                (_, LockReply::Acquired) => metrics.count(LockOutcome::Acquired, 1),
                (_, LockReply::Busy(_)) => metrics.count(LockOutcome::Busy, 1),
                (_, LockReply::Failed(error)) => metrics.count(outcome(error), 1),
                // If a release was retried, the first attempt may have deleted its locks, so no lock was lost.
                (LockRequest::Release { seats, .. }, LockReply::Matched(matched))
                    if !answer.retried =>
                {
                    let lost = seats.len().saturating_sub(*matched);
                    metrics.lost_total.inc_by(u64::try_from(lost).unwrap_or(u64::MAX));
                }
                (_, LockReply::Matched(_)) => {}
            }
        }
    }

    /// The work of the background task in one interval.
    async fn maintain(&self) {
        let result = match self.state() {
            BreakerState::Closed => self.flush_pending().await,
            BreakerState::Open | BreakerState::HalfOpen => {
                self.breaker.probe(self.run_probes()).await
            }
        };
        if let Err(error) = result {
            log::debug!(
                "the maintenance of the seat locks continues at its next interval: {error}"
            );
        }
    }

    async fn run_probes(&self) -> Result<(), LockError> {
        for _ in 0..self.settings.probes_to_close {
            self.within_budget(self.inner.probe()).await?;
        }
        Ok(())
    }

    /// Sends the pending releases, after a probe. A backend that has stalled answers the probe only after it has
    /// executed all requests that it received before. So a release is not executed before the acquire whose lock it
    /// releases.
    async fn flush_pending(&self) -> Result<(), LockError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        self.probe().await?;
        loop {
            let releases = self.pending.take(RELEASES_PER_LIST);
            if releases.is_empty() {
                return Ok(());
            }
            let in_flight = self.pending.guard(&releases);
            // The breaker is not used here, because it has already counted the probe. A failure may concern only a part
            // of the backend.
            let replies = self.within_budget(self.inner.run(&releases)).await?;
            in_flight.complete();
            let unanswered = unanswered(&releases, &replies);
            if !unanswered.is_empty() {
                self.pending.enqueue_sent(&unanswered);
                return Ok(());
            }
        }
    }
}

/// The indexes of the replies whose requests are retried. A request that timed out is not retried, because the budget
/// is used up.
fn indexes_to_retry(replies: &[LockReply]) -> Vec<usize> {
    let failed = |reply: &LockReply| matches!(reply, LockReply::Failed(LockError::Backend(_)));
    let indexes = replies.iter().enumerate().filter(|(_, reply)| failed(reply));
    indexes.map(|(index, _)| index).collect()
}

/// The requests of a partly answered list that have no answer.
fn unanswered(requests: &[LockRequest], replies: &[LockReply]) -> Vec<LockRequest> {
    let failed = |reply: &LockReply| matches!(reply, LockReply::Failed(_));
    let pairs = requests.iter().zip(replies).filter(|(_, reply)| failed(reply));
    pairs.map(|(request, _)| request.clone()).collect()
}

fn outcome(error: &LockError) -> LockOutcome {
    match error {
        LockError::Timeout => LockOutcome::Timeout,
        LockError::Backend(_) | LockError::Bypassed => LockOutcome::Error,
    }
}

impl<L: SeatLocks> SeatLocks for Guarded<L> {
    fn run<'a>(
        &'a self,
        requests: &'a [LockRequest],
    ) -> BoxFuture<'a, Result<Vec<LockReply>, LockError>> {
        Box::pin(async move {
            if requests.is_empty() {
                return Ok(Vec::new());
            }
            self.run_guarded(requests).await
        })
    }

    /// Probes the backend. The probe counts as a call for the breaker; it is `Bypassed` while the breaker is not
    /// closed.
    fn probe(&self) -> BoxFuture<'_, Result<(), LockError>> {
        Box::pin(self.breaker.call(self.within_budget(self.inner.probe())))
    }
}

#[cfg(test)]
mod tests;
