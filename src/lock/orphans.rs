//! Releases that are owed to the backend: of locks that a request without an answer may have left behind.
//!
//! Such a lock refuses its seat to everybody until its life ends, on behalf of nobody. Best effort: what
//! does not fit is forgotten, and the lock's life bounds the harm.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use prometheus::IntGauge;

use super::LockRequest;

/// A bounded queue of releases.
pub(super) struct Orphans {
    releases: Mutex<VecDeque<LockRequest>>,
    at_most: usize,
    gauge: IntGauge,
}

impl Orphans {
    /// Nothing is owed; `gauge` follows how many releases are.
    pub(super) fn new(at_most: usize, gauge: IntGauge) -> Self {
        Self { releases: Mutex::default(), at_most, gauge }
    }

    /// Owes what these requests may leave behind if their answer never comes, the caller being dropped
    /// included, unless the debt is settled.
    pub(super) fn debt<'a>(&'a self, requests: &'a [LockRequest]) -> Debt<'a> {
        Debt { orphans: self, requests }
    }

    /// Owes the locks of requests that may have been executed: a lock asked for may stand, one given up
    /// may still stand.
    pub(super) fn owe_sent(&self, requests: &[LockRequest]) {
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

    /// Owes the locks of requests that were not executed: only one to be given up still stands.
    pub(super) fn owe_unsent(&self, requests: &[LockRequest]) {
        let releases = requests.iter().filter(|it| matches!(it, LockRequest::Release { .. }));
        self.push(releases.cloned());
    }

    /// Takes the oldest releases out; whoever takes them holds their [`Self::debt`].
    pub(super) fn take(&self, at_most: usize) -> Vec<LockRequest> {
        let mut queue = self.queue();
        let count = queue.len().min(at_most);
        let taken = queue.drain(..count).collect();
        self.show(&queue);
        taken
    }

    /// Whether nothing is owed.
    pub(super) fn is_empty(&self) -> bool {
        self.queue().is_empty()
    }

    fn push(&self, releases: impl Iterator<Item = LockRequest>) {
        let mut queue = self.queue();
        let room = self.at_most.saturating_sub(queue.len());
        queue.extend(releases.take(room));
        self.show(&queue);
    }

    fn show(&self, queue: &VecDeque<LockRequest>) {
        self.gauge.set(i64::try_from(queue.len()).unwrap_or(i64::MAX));
    }

    /// The queue, also after a panic of another thread: each of its changes is one call.
    fn queue(&self) -> MutexGuard<'_, VecDeque<LockRequest>> {
        self.releases.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Requests on their way; owed when this is dropped before it is settled.
pub(super) struct Debt<'a> {
    orphans: &'a Orphans,
    requests: &'a [LockRequest],
}

impl Debt<'_> {
    /// The answer is known: nothing is owed.
    pub(super) fn settle(mut self) {
        self.requests = &[];
    }
}

impl Drop for Debt<'_> {
    fn drop(&mut self) {
        self.orphans.owe_sent(self.requests);
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

    fn orphans(at_most: usize) -> prometheus::Result<Orphans> {
        Ok(Orphans::new(at_most, IntGauge::new("orphans", "owed")?))
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
    fn a_request_dropped_on_its_way_is_owed_and_a_settled_one_is_not() -> prometheus::Result<()> {
        let orphans = orphans(10)?;
        let requests = one_of_each();
        orphans.debt(&requests).settle();
        assert!(orphans.is_empty());
        drop(orphans.debt(&requests));
        assert_eq!(orphans.gauge.get(), 2);
        assert_eq!(orphans.take(10), [release(), release()]);
        assert_eq!(orphans.gauge.get(), 0);
        Ok(())
    }

    #[test]
    fn of_requests_never_sent_only_the_releases_are_owed() -> prometheus::Result<()> {
        let orphans = orphans(10)?;
        orphans.owe_unsent(&one_of_each());
        assert_eq!(orphans.take(10), [release()]);
        Ok(())
    }

    #[test]
    fn what_does_not_fit_is_forgotten() -> prometheus::Result<()> {
        let orphans = orphans(3)?;
        for _ in 0..5 {
            orphans.owe_sent(&one_of_each());
        }
        assert_eq!(orphans.take(2).len(), 2);
        assert_eq!(orphans.take(2).len(), 1);
        assert!(orphans.is_empty());
        Ok(())
    }
}
