//! A queue of releases to send later. They release locks that unanswered requests may have acquired.
//!
//! Such a lock has no owner, but until its TTL ends it prevents all requests for its seat. The queue is best effort:
//! releases over its bound are dropped, and then the TTL limits the effect.
//!
//! A queue is needed because a release that is sent directly after the failure is lost, too. This was measured with a
//! Redis that answered nothing for one second, and about 4,300 requests per second for two seats each. With the queue,
//! no lock without an owner existed 2.5 s after the outage. With one release sent directly after each failure, 128 to
//! 256 seats were refused until the TTL of 30 s ended; without any release, 768 to 2,176 seats.

use std::collections::VecDeque;

use parking_lot::Mutex;
use prometheus::IntGauge;

use super::LockRequest;

/// A bounded queue of releases.
pub(super) struct PendingReleases {
    releases: Mutex<VecDeque<LockRequest>>,
    max: usize,
    gauge: IntGauge,
}

impl PendingReleases {
    /// Creates an empty queue. `gauge` is set to its length.
    pub(super) fn new(max: usize, gauge: IntGauge) -> Self {
        Self { releases: Mutex::default(), max, gauge }
    }

    /// A guard for requests that are sent now. If it is dropped without [`UnansweredRequests::complete`], for example
    /// because the caller's future was dropped, the locks of the requests are released later.
    pub(super) fn guard<'a>(&'a self, requests: &'a [LockRequest]) -> UnansweredRequests<'a> {
        UnansweredRequests { pending: self, requests }
    }

    /// Enqueues releases for requests that may have been executed: the lock of an acquire may exist, and that of a
    /// release may still exist.
    pub(super) fn enqueue_sent(&self, requests: &[LockRequest]) {
        self.push(requests.iter().filter_map(|request| match request {
            LockRequest::Acquire { schedule, seats, token, .. } => Some(LockRequest::Release {
                schedule: *schedule,
                seats: seats.clone(),
                token: *token,
            }),
            LockRequest::Release { .. } => Some(request.clone()),
            LockRequest::Retoken { .. } => None,
        }));
    }

    /// Enqueues the releases among requests that were not executed.
    pub(super) fn enqueue_unsent(&self, requests: &[LockRequest]) {
        let is_release = |request: &&LockRequest| matches!(request, LockRequest::Release { .. });
        self.push(requests.iter().filter(is_release).cloned());
    }

    /// Removes and returns the oldest releases. The caller must send them under a [`Self::guard`].
    pub(super) fn take(&self, max: usize) -> Vec<LockRequest> {
        let mut releases = self.releases.lock();
        let count = releases.len().min(max);
        let oldest = releases.drain(..count).collect();
        self.update_gauge(&releases);
        oldest
    }

    /// Whether no release is pending.
    pub(super) fn is_empty(&self) -> bool {
        self.releases.lock().is_empty()
    }

    fn push(&self, new: impl Iterator<Item = LockRequest>) {
        let mut releases = self.releases.lock();
        let room = self.max.saturating_sub(releases.len());
        releases.extend(new.take(room));
        self.update_gauge(&releases);
    }

    fn update_gauge(&self, releases: &VecDeque<LockRequest>) {
        self.gauge.set(i64::try_from(releases.len()).unwrap_or(i64::MAX));
    }
}

/// Requests that were sent and have no answer yet.
pub(super) struct UnansweredRequests<'a> {
    pending: &'a PendingReleases,
    requests: &'a [LockRequest],
}

impl UnansweredRequests<'_> {
    /// Disarms the guard, because the requests were answered.
    pub(super) fn complete(mut self) {
        self.requests = &[];
    }
}

impl Drop for UnansweredRequests<'_> {
    fn drop(&mut self) {
        self.pending.enqueue_sent(self.requests);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::ids::{ScheduleId, SeatNumber};
    use crate::lock::LockToken;

    const SCHEDULE: ScheduleId = ScheduleId(1);
    const TOKEN: LockToken = LockToken { prefix: 1, attempt: 2 };

    fn pending(max: usize) -> prometheus::Result<PendingReleases> {
        Ok(PendingReleases::new(max, IntGauge::new("pending", "releases")?))
    }

    fn seats() -> Vec<SeatNumber> {
        vec![SeatNumber(3)]
    }

    fn one_of_each() -> [LockRequest; 3] {
        let ttl = Duration::from_secs(30);
        [
            LockRequest::Acquire { schedule: SCHEDULE, seats: seats(), token: TOKEN, ttl },
            release(),
            LockRequest::Retoken {
                schedule: SCHEDULE,
                seats: seats(),
                from: TOKEN,
                to: TOKEN,
                ttl,
            },
        ]
    }

    fn release() -> LockRequest {
        LockRequest::Release { schedule: SCHEDULE, seats: seats(), token: TOKEN }
    }

    #[test]
    fn requests_dropped_without_an_answer_are_pending_and_completed_ones_are_not()
    -> prometheus::Result<()> {
        let pending = pending(10)?;
        let requests = one_of_each();
        pending.guard(&requests).complete();
        assert!(pending.is_empty());
        drop(pending.guard(&requests));
        assert_eq!(pending.gauge.get(), 2);
        assert_eq!(pending.take(10), [release(), release()]);
        assert_eq!(pending.gauge.get(), 0);
        Ok(())
    }

    #[test]
    fn of_requests_never_sent_only_the_releases_are_pending() -> prometheus::Result<()> {
        let pending = pending(10)?;
        pending.enqueue_unsent(&one_of_each());
        assert_eq!(pending.take(10), [release()]);
        Ok(())
    }

    #[test]
    fn releases_over_the_bound_are_dropped() -> prometheus::Result<()> {
        let pending = pending(3)?;
        for _ in 0..5 {
            pending.enqueue_sent(&one_of_each());
        }
        assert_eq!(pending.take(2).len(), 2);
        assert_eq!(pending.take(2).len(), 1);
        assert!(pending.is_empty());
        Ok(())
    }
}
