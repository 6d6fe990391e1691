//! Seat locks whose calls always end within a time budget, whatever their backend does.
//!
//! From the outside in: the circuit breaker, the time budget, one retry. The budget is inside the breaker,
//! because a time-out outside it would not be counted. A busy seat counts as a success. A list that was
//! answered in part counts as a success too: the rest of the backend works. A background task
//! ([`Guarded::spawn_maintenance`]) probes a backend that has failed, and releases locks that requests
//! without an answer may have left behind.

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

/// How long calls may take, and when calls stop.
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
    /// The most releases pending at a time; locks of further ones stay until their TTL ends.
    pub pending_releases_max: usize,
}

impl Default for GuardSettings {
    fn default() -> Self {
        Self {
            budget: Duration::from_millis(50),
            breaker: BreakerSettings {
                failures_in_a_row: 5,
                reopen_after: Duration::from_secs(1),
                // Two probes within the ten seconds after which a new master must be in use.
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

    /// Starts the background task, which needs a tokio runtime. It ends when it is aborted, and within one
    /// interval after the locks have been dropped.
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

    /// Every change of the breaker from now on. When it closes, a cache beside the locks must start a new
    /// epoch, because invalidations sent meanwhile were lost.
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

    /// Sends the requests, and sends those a second time that failed with an error: most often a pooled
    /// connection was dead. A second time is safe, because an acquire accepts its own lock and the others
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
        let first = failed.first().and_then(|index| replies.get(*index));
        log::debug!("{} seat lock requests are sent again after {first:?}", failed.len());
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
            // The other requests have their replies.
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
                // A release that is sent twice finds nothing the second time; no lock was lost.
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

    /// Sends the pending releases. A probe goes first: a backend that stalled answers it only after it has
    /// read the requests that it had received before, so a release does not overtake the acquire that it
    /// undoes.
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
            // Not through the breaker, which has counted the probe: a part of the backend may be unavailable
            // while the others work.
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

/// The indexes of the replies whose requests are sent a second time. A time-out is not among them: the budget
/// is used up.
fn indexes_to_retry(replies: &[LockReply]) -> Vec<usize> {
    let failed = |reply: &LockReply| matches!(reply, LockReply::Failed(LockError::Backend(_)));
    let indexes = replies.iter().enumerate().filter(|(_, reply)| failed(reply));
    indexes.map(|(index, _)| index).collect()
}

/// The requests without an answer of a list that was answered in part.
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

    /// A probe of the backend that counts as a call for the breaker; `Bypassed` while that is not closed.
    fn probe(&self) -> BoxFuture<'_, Result<(), LockError>> {
        Box::pin(self.breaker.call(self.within_budget(self.inner.probe())))
    }
}

#[cfg(test)]
mod tests;
