//! Seat locks that cannot hurt: whatever their backend does, a call ends within its budget.
//!
//! From the outside in: the circuit breaker, the time budget, one retry. The budget is inside the breaker,
//! since a time-out outside it would never be counted. A busy seat is a success, and so is a list of which a
//! part was answered: the rest of the backend works. A background task
//! ([`Guarded::spawn_probe`]) finds out when the backend has recovered, so that no customer has to, and
//! releases the locks that unanswered requests may have left.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::breaker::{Breaker, BreakerSettings};
use super::jitter::Jitter;
use super::orphans::Orphans;
use super::{LockError, LockReply, LockRequest, SeatLocks};
use crate::metrics::Metrics;
use crate::metrics::lock::{BreakerState, LockOutcome};

/// The least and the most pause before the one retry.
const RETRY_PAUSE: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(2));

/// Owed releases sent in one list.
const REPAY_AT_ONCE: usize = 128;

/// How much trouble is borne, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct GuardSettings {
    /// The most time that a list of requests may take, retry included.
    pub budget: Duration,
    /// When the breaker opens and for how long; longer than the budget.
    pub breaker: BreakerSettings,
    /// So many good probes in a row close the breaker.
    pub good_probes: u32,
    /// How often the background task looks whether there is something to do.
    pub tick: Duration,
    /// The most releases owed at a time; what comes on top is left to the locks' life.
    pub orphans_at_most: usize,
}

impl Default for GuardSettings {
    fn default() -> Self {
        Self {
            budget: Duration::from_millis(50),
            breaker: BreakerSettings {
                failures_in_a_row: 5,
                reopen_after: Duration::from_secs(1),
                // Two tries within the ten seconds after which a new master is to be used.
                reopen_at_most: Duration::from_secs(5),
                ramp: Duration::from_secs(2),
            },
            good_probes: 3,
            tick: Duration::from_millis(100),
            orphans_at_most: 4096,
        }
    }
}

/// Seat locks behind a circuit breaker, a time budget and a retry.
pub struct Guarded<L> {
    inner: L,
    settings: GuardSettings,
    breaker: Breaker,
    orphans: Orphans,
    metrics: Arc<Metrics>,
}

/// Replies, and whether it took the retry to get them.
struct Answer {
    replies: Vec<LockReply>,
    retried: bool,
}

impl<L: SeatLocks> Guarded<L> {
    /// Guards `inner`; begins closed. Once open it closes only through [`Self::spawn_probe`]'s task.
    #[must_use]
    pub fn new(inner: L, settings: GuardSettings, metrics: Arc<Metrics>) -> Self {
        let breaker = Breaker::new(settings.breaker, Arc::clone(&metrics));
        let orphans = Orphans::new(settings.orphans_at_most, metrics.lock.orphans.clone());
        Self { inner, settings, breaker, orphans, metrics }
    }

    /// Starts the background task. It ends when it is aborted, or by itself within a tick of the locks
    /// being dropped. Must be called inside a tokio runtime.
    pub fn spawn_probe(self: &Arc<Self>) -> JoinHandle<()> {
        let locks = Arc::downgrade(self);
        let tick = self.settings.tick;
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(tick).await;
                let Some(locks) = locks.upgrade() else { return };
                locks.tend().await;
            }
        })
    }

    /// What the breaker lets through now.
    #[must_use]
    pub fn state(&self) -> BreakerState {
        self.breaker.state()
    }

    /// Tells of every change of the breaker. Whoever caches beside the locks starts a new epoch when it
    /// closes: what was sent meanwhile is lost.
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

    /// Asks, and asks once more after an error that came early: most often a pooled connection turned out
    /// to be dead. Asking twice is safe, since an acquire takes its own lock for free and the others
    /// compare tokens. Of a list that was answered in part, only the rest is asked again.
    async fn persist(&self, requests: &[LockRequest]) -> Result<Answer, LockError> {
        let (mut replies, places) = match self.inner.run(requests).await {
            Ok(replies) => {
                let places = failed_early(&replies);
                (replies, places)
            }
            Err(LockError::Backend(error)) => {
                let failed = LockReply::Failed(LockError::Backend(error));
                (vec![failed; requests.len()], (0..requests.len()).collect())
            }
            Err(error) => return Err(error),
        };
        if places.is_empty() {
            return Ok(Answer { replies, retried: false });
        }
        log::debug!("seat locks are asked again: {:?}", places.first().map(|at| replies.get(*at)));
        let (least, most) = RETRY_PAUSE;
        tokio::time::sleep(Jitter::new(least, most).next().unwrap_or(least)).await;
        let rest: Vec<_> = places.iter().filter_map(|at| requests.get(*at).cloned()).collect();
        match self.inner.run(&rest).await {
            Ok(answered) => {
                for (at, reply) in places.into_iter().zip(answered) {
                    if let Some(failed) = replies.get_mut(at) {
                        *failed = reply;
                    }
                }
            }
            Err(error) if rest.len() == requests.len() => return Err(error),
            // The others have their answers.
            Err(_) => {}
        }
        Ok(Answer { replies, retried: true })
    }

    async fn ask(&self, requests: &[LockRequest]) -> Result<Vec<LockReply>, LockError> {
        let debt = self.orphans.debt(requests);
        let asked = Instant::now();
        let answer = self.breaker.customer(self.within_budget(self.persist(requests))).await;
        if matches!(answer, Err(LockError::Bypassed)) {
            debt.settle();
            self.orphans.owe_unsent(requests);
            self.metrics.lock.count(LockOutcome::Bypassed, requests.len());
            return Err(LockError::Bypassed);
        }
        self.metrics.lock.pipeline_size.observe(requests.len() as f64);
        self.metrics.lock.duration_seconds.observe(asked.elapsed().as_secs_f64());
        match answer {
            Ok(answer) => {
                debt.settle();
                self.orphans.owe_sent(&unanswered(requests, &answer.replies));
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
                // A release that is sent twice finds nothing the second time; nothing was lost.
                (LockRequest::Release { seats, .. }, LockReply::Matched(found))
                    if !answer.retried =>
                {
                    let lost = seats.len().saturating_sub(*found);
                    metrics.lost_total.inc_by(u64::try_from(lost).unwrap_or(u64::MAX));
                }
                (_, LockReply::Matched(_)) => {}
            }
        }
    }

    /// What the background task does at each tick.
    async fn tend(&self) {
        let result = if self.state() == BreakerState::Closed {
            self.repay().await
        } else {
            self.breaker.recovery(self.probes()).await
        };
        if let Err(error) = result {
            log::debug!("seat locks are looked after again at the next tick: {error}");
        }
    }

    async fn probes(&self) -> Result<(), LockError> {
        for _ in 0..self.settings.good_probes {
            self.within_budget(self.inner.probe()).await?;
        }
        Ok(())
    }

    /// Sends the releases that are owed. First a probe: a backend that stalled answers it only after it
    /// has read what was stuck, so that the release does not overtake the acquire it is meant to undo.
    async fn repay(&self) -> Result<(), LockError> {
        if self.orphans.is_empty() {
            return Ok(());
        }
        self.probe().await?;
        loop {
            let owed = self.orphans.take(REPAY_AT_ONCE);
            if owed.is_empty() {
                return Ok(());
            }
            let debt = self.orphans.debt(&owed);
            // Not for the breaker, which has had the probe: the part of the backend that owes may be away
            // while the others work.
            let replies = self.within_budget(self.inner.run(&owed)).await?;
            debt.settle();
            let still_owed = unanswered(&owed, &replies);
            if !still_owed.is_empty() {
                self.orphans.owe_sent(&still_owed);
                return Ok(());
            }
        }
    }
}

/// The places of those replies that are errors worth another try.
fn failed_early(replies: &[LockReply]) -> Vec<usize> {
    let early = |reply: &LockReply| matches!(reply, LockReply::Failed(LockError::Backend(_)));
    replies.iter().enumerate().filter(|(_, reply)| early(reply)).map(|(at, _)| at).collect()
}

/// The requests of a list that was answered in part that had no answer.
fn unanswered(requests: &[LockRequest], replies: &[LockReply]) -> Vec<LockRequest> {
    let pairs = requests.iter().zip(replies);
    pairs
        .filter(|(_, reply)| matches!(reply, LockReply::Failed(_)))
        .map(|(request, _)| request.clone())
        .collect()
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
            self.ask(requests).await
        })
    }

    /// A probe of the backend that counts for the breaker; `Bypassed` while that is not closed.
    fn probe(&self) -> BoxFuture<'_, Result<(), LockError>> {
        Box::pin(self.breaker.customer(self.within_budget(self.inner.probe())))
    }
}

#[cfg(test)]
mod tests;
