//! Health: the state that the health monitor writes and that requests read without waiting.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant};

use strum::{AsRefStr, VariantNames};
use tokio::sync::watch;

#[cfg(test)]
mod tests;

/// A report older than this says nothing any more.
const STALE_AFTER: Duration = Duration::from_secs(10);

/// How long the service is degraded after it has dropped a request of the queue.
pub const DROPPED_COUNTS: Duration = Duration::from_secs(600);

/// What the health monitor checks each second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, AsRefStr, VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum HealthCheck {
    /// The heartbeat is written.
    WriteDatabase,
    /// Reads are answered, by a database that does not lag.
    ReadDatabase,
    /// The seat locks are not bypassed.
    SeatLocks,
    /// Every actor runs.
    Actors,
    /// The schema has every step that this program needs.
    Schema,
    /// In the last ten minutes no request of the queue was dropped because it could not become a dead letter.
    DeadLetters,
}

impl HealthCheck {
    /// Its name with blanks between the words, for readiness.
    #[must_use]
    pub fn words(self) -> String {
        self.as_ref().replace('_', " ")
    }
}

/// The state of one dependency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Which one.
    pub name: HealthCheck,
    /// What is wrong, if something is.
    pub problem: Option<String>,
}

/// What the service says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// Requests are welcome; a check may still have a problem (degraded).
    Ready(Vec<Check>),
    /// Send requests elsewhere; the text says why.
    NotReady(&'static str),
}

/// What the last probe found, and when.
type Report = Option<(Instant, Vec<Check>)>;

/// The last report, shared with everybody who asks.
pub struct Health {
    report: RwLock<Report>,
    writable: watch::Sender<bool>,
    draining: AtomicBool,
    /// When a request of the queue was dropped the last time, and why it was not kept.
    dropped: RwLock<Option<(Instant, String)>>,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            report: RwLock::new(None),
            writable: watch::Sender::new(true),
            draining: AtomicBool::new(false),
            dropped: RwLock::new(None),
        }
    }
}

impl Health {
    /// Whether requests should come here.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        judge(&self.report(), self.is_draining(), Instant::now())
    }

    /// What the last probe found, however long ago; nothing before the first.
    #[must_use]
    pub fn checks(&self) -> Vec<Check> {
        self.report().as_ref().map_or_else(Vec::new, |(_, checks)| checks.clone())
    }

    /// Whether the primary took the last heartbeats or batches; false means that a write would only wait for
    /// its time-out.
    #[must_use]
    pub fn writable(&self) -> bool {
        *self.writable.borrow()
    }

    /// Is done when writes are refused.
    pub async fn read_only(&self) {
        let mut writable = self.writable.subscribe();
        if writable.wait_for(|writable| !*writable).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// A request of the queue that cannot be executed was dropped, since it cannot be kept as a dead letter:
    /// the service is degraded for [`DROPPED_COUNTS`] from then on.
    pub fn note_dropped_request(&self, why: String) {
        let mut dropped = self.dropped.write().unwrap_or_else(PoisonError::into_inner);
        *dropped = Some((Instant::now(), why));
    }

    pub(crate) fn problem_of_dead_letters(&self, now: Instant) -> Option<String> {
        let dropped = self.dropped.read().unwrap_or_else(PoisonError::into_inner);
        let (at, why) = dropped.as_ref()?;
        let counts = now.saturating_duration_since(*at) < DROPPED_COUNTS;
        counts.then(|| format!("messages of the queue that cannot be executed are dropped: {why}"))
    }

    /// Readiness goes off and stays off.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
    }

    /// Whether the service is stopping.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    /// Whether the health loop runs: nothing has been reported yet, or the last report is young. If not, this
    /// process will hardly come round by itself.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        is_kept(&self.report(), Instant::now())
    }

    /// Records whether writes are accepted; true if that has changed.
    pub(crate) fn set_writable(&self, writable: bool) -> bool {
        writable != self.writable.send_replace(writable)
    }

    fn report(&self) -> RwLockReadGuard<'_, Report> {
        self.report.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn publish(&self, checks: Vec<Check>) {
        let mut report = self.report.write().unwrap_or_else(PoisonError::into_inner);
        *report = Some((Instant::now(), checks));
    }
}

fn is_kept(report: &Report, now: Instant) -> bool {
    report.as_ref().is_none_or(|(at, _)| now.saturating_duration_since(*at) <= STALE_AFTER)
}

/// Reads a report. A lost dependency degrades and no more, since what can be done without it is done; a
/// schema that this program does not know is another matter.
fn judge(report: &Report, draining: bool, now: Instant) -> Readiness {
    if draining {
        return Readiness::NotReady("draining");
    }
    match report {
        None => Readiness::NotReady("starting"),
        _ if !is_kept(report, now) => Readiness::NotReady("the health loop is stale"),
        Some((_, checks)) if checks.iter().any(Check::forbids_requests) => {
            Readiness::NotReady("the schema is not supported")
        }
        Some((_, checks)) => Readiness::Ready(checks.clone()),
    }
}

impl Check {
    fn forbids_requests(&self) -> bool {
        self.name == HealthCheck::Schema && self.problem.is_some()
    }
}
