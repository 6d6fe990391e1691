//! The health of the process. The health monitor writes it, and requests read it without waiting.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::RwLock;
use strum::{AsRefStr, VariantNames};
use tokio::sync::watch;

#[cfg(test)]
mod tests;

/// A report older than this is ignored.
const STALE_AFTER: Duration = Duration::from_secs(10);

/// How long the service is degraded after it has dropped a queued request.
pub const DROPPED_COUNTS: Duration = Duration::from_secs(600);

/// A check that the health monitor makes each second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, AsRefStr, VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum HealthCheck {
    /// The heartbeat can be written.
    WriteDatabase,
    /// The read database answers and does not lag.
    ReadDatabase,
    /// The seat locks are not bypassed.
    SeatLocks,
    /// Every actor runs.
    Actors,
    /// The schema has every step that this program needs.
    Schema,
    /// In the last ten minutes no queued request was dropped because it could not become a dead letter.
    DeadLetters,
}

impl HealthCheck {
    /// The name of the check with spaces between the words, as the readiness answer shows it.
    #[must_use]
    pub fn words(self) -> String {
        self.as_ref().replace('_', " ")
    }
}

/// The result of one check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// The check.
    pub name: HealthCheck,
    /// The problem, if there is one.
    pub problem: Option<String>,
}

/// Whether the service accepts requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// The service accepts requests. If a check has a problem, the service is degraded.
    Ready(Vec<Check>),
    /// The service does not accept requests, for this reason.
    NotReady(&'static str),
}

/// The result of the last probe, and its time.
type Report = Option<(Instant, Vec<Check>)>;

/// The health of this process.
#[derive(Default)]
pub struct Health {
    report: RwLock<Report>,
    read_only: watch::Sender<bool>,
    draining: AtomicBool,
    /// When a queued request was last dropped, and why it could not be stored as a dead letter.
    dropped: RwLock<Option<(Instant, String)>>,
}

impl Health {
    /// Whether this process accepts requests now.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        readiness_of(&self.report.read(), self.is_draining(), Instant::now())
    }

    /// The result of the last probe, of any age; empty before the first probe.
    #[must_use]
    pub fn checks(&self) -> Vec<Check> {
        self.report.read().as_ref().map_or_else(Vec::new, |(_, checks)| checks.clone())
    }

    /// Whether the primary has executed one of the last heartbeats or batches. If not, a write would probably time out.
    #[must_use]
    pub fn writable(&self) -> bool {
        !*self.read_only.borrow()
    }

    /// Waits until writes are refused.
    pub async fn read_only(&self) {
        // This cannot fail, because `self` owns the sender.
        drop(self.read_only.subscribe().wait_for(|read_only| *read_only).await);
    }

    /// Records that a queued request was dropped, because it could neither be executed nor stored as a dead letter. The
    /// service is then degraded for [`DROPPED_COUNTS`].
    pub fn note_dropped_request(&self, why: String) {
        *self.dropped.write() = Some((Instant::now(), why));
    }

    pub(crate) fn problem_of_dead_letters(&self, now: Instant) -> Option<String> {
        let dropped = self.dropped.read();
        let (at, why) = dropped.as_ref()?;
        let is_recent = now.saturating_duration_since(*at) < DROPPED_COUNTS;
        is_recent
            .then(|| format!("messages of the queue that cannot be executed are dropped: {why}"))
    }

    /// Begins to stop the service. From now on this process is not ready.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
    }

    /// Whether the service is stopping.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    /// Whether the health monitor works: it has not reported yet, or its last report is recent. If not, this process
    /// must be restarted.
    #[must_use]
    pub fn is_monitored(&self) -> bool {
        is_monitored(&self.report.read(), Instant::now())
    }

    /// Records whether writes are accepted. Returns whether that has changed.
    pub(crate) fn set_writable(&self, writable: bool) -> bool {
        writable == self.read_only.send_replace(!writable)
    }

    pub(crate) fn publish(&self, checks: Vec<Check>) {
        *self.report.write() = Some((Instant::now(), checks));
    }
}

fn is_monitored(report: &Report, now: Instant) -> bool {
    report.as_ref().is_none_or(|(at, _)| now.saturating_duration_since(*at) <= STALE_AFTER)
}

/// Computes the readiness from a report. An unavailable dependency only degrades the service, which works without it as
/// far as possible. With an unsupported schema the service is not ready.
fn readiness_of(report: &Report, draining: bool, now: Instant) -> Readiness {
    if draining {
        return Readiness::NotReady("draining");
    }
    match report {
        None => Readiness::NotReady("starting"),
        _ if !is_monitored(report, now) => Readiness::NotReady("the health loop is stale"),
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
