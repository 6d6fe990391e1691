//! Notifies the requests of this process that wait for a queued request's outcome.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::domain::ids::RequestId;

/// The queued requests for whose outcomes a caller waits.
#[derive(Debug, Default)]
pub struct Outcomes {
    awaited: Mutex<HashMap<RequestId, Arc<Notify>>>,
}

/// A registration for a request's outcome.
pub struct Waiter<'a> {
    outcomes: &'a Outcomes,
    id: RequestId,
    notify: Arc<Notify>,
}

impl Outcomes {
    /// Registers for the outcome of a request.
    pub fn wait_for(&self, id: RequestId) -> Waiter<'_> {
        let notify = Arc::clone(self.awaited.lock().entry(id).or_default());
        Waiter { outcomes: self, id, notify }
    }

    /// Notifies every caller that waits for one of these requests.
    pub fn notify<'a>(&self, ids: impl Iterator<Item = &'a RequestId>) {
        let awaited = self.awaited.lock();
        if !awaited.is_empty() {
            ids.filter_map(|id| awaited.get(id)).for_each(|notify| notify.notify_waiters());
        }
    }

    /// Notifies every waiting caller, because the service stops.
    pub fn notify_all(&self) {
        self.awaited.lock().values().for_each(|notify| notify.notify_waiters());
    }
}

impl Waiter<'_> {
    /// Completes with the next notification, even if it is sent before the returned future is awaited.
    pub fn notified(&self) -> tokio::sync::futures::Notified<'_> {
        self.notify.notified()
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        let mut awaited = self.outcomes.awaited.lock();
        // The two references are those of the map and of this waiter.
        if Arc::strong_count(&self.notify) <= 2 {
            awaited.remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use uuid::Uuid;

    use super::*;
    use crate::domain::ids::ScheduleId;

    #[tokio::test]
    async fn a_waiter_is_notified_and_removed() {
        let outcomes = Outcomes::default();
        let id = |n| RequestId { schedule: ScheduleId(1), uuid: Uuid::from_u128(n) };
        let one = outcomes.wait_for(id(1));
        let other = outcomes.wait_for(id(2));
        let notified = one.notified();
        let not_notified = other.notified();
        outcomes.notify([id(1), id(3)].iter());
        tokio::time::timeout(Duration::from_secs(5), notified).await.unwrap();
        assert!(tokio::time::timeout(Duration::from_millis(20), not_notified).await.is_err());
        drop(outcomes.wait_for(id(1)));
        assert_eq!(outcomes.awaited.lock().len(), 2, "the first still waits");
        drop((one, other));
        assert!(outcomes.awaited.lock().is_empty());
    }
}
