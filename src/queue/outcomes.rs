//! Who waits in this process for a request's outcome, and is woken when it is there.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use crate::domain::ids::RequestId;

/// Requests that somebody waits for.
#[derive(Debug, Default)]
pub struct Outcomes {
    awaited: Mutex<HashMap<RequestId, Arc<Notify>>>,
}

/// Somebody who waits for a request's outcome.
pub struct Waiter<'a> {
    outcomes: &'a Outcomes,
    id: RequestId,
    news: Arc<Notify>,
}

impl Outcomes {
    /// Waits for a request from now on.
    pub fn wait_for(&self, id: RequestId) -> Waiter<'_> {
        let mut awaited = self.awaited.lock().unwrap_or_else(PoisonError::into_inner);
        let news = Arc::clone(awaited.entry(id).or_default());
        Waiter { outcomes: self, id, news }
    }

    /// Wakes those who wait for one of these requests.
    pub fn tell<'a>(&self, ids: impl Iterator<Item = &'a RequestId>) {
        let awaited = self.awaited.lock().unwrap_or_else(PoisonError::into_inner);
        if awaited.is_empty() {
            return;
        }
        for id in ids {
            if let Some(news) = awaited.get(id) {
                news.notify_waiters();
            }
        }
    }

    /// Wakes everybody: the service is stopping.
    pub fn tell_all(&self) {
        let awaited = self.awaited.lock().unwrap_or_else(PoisonError::into_inner);
        for news in awaited.values() {
            news.notify_waiters();
        }
    }
}

impl Waiter<'_> {
    /// Is done with the next news, also if they come before this is awaited.
    pub fn news(&self) -> tokio::sync::futures::Notified<'_> {
        self.news.notified()
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        let mut awaited = self.outcomes.awaited.lock().unwrap_or_else(PoisonError::into_inner);
        // The map's own, and this one's.
        if Arc::strong_count(&self.news) <= 2 {
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
    async fn whoever_waits_for_a_request_is_woken_and_forgotten() {
        let outcomes = Outcomes::default();
        let id = |n| RequestId { schedule: ScheduleId(1), uuid: Uuid::from_u128(n) };
        let (one, other) = (outcomes.wait_for(id(1)), outcomes.wait_for(id(2)));
        let (news, quiet) = (one.news(), other.news());
        outcomes.tell([id(1), id(3)].iter());
        tokio::time::timeout(Duration::from_secs(5), news).await.unwrap();
        assert!(tokio::time::timeout(Duration::from_millis(20), quiet).await.is_err());
        drop(outcomes.wait_for(id(1)));
        assert_eq!(outcomes.awaited.lock().unwrap().len(), 2, "the first still waits");
        drop((one, other));
        assert!(outcomes.awaited.lock().unwrap().is_empty());
    }
}
