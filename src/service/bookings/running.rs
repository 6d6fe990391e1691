//! The keys that this process is executing right now: each by one request at a time.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use crate::domain::command::RequestKey;

/// The keys being executed.
pub(crate) type RunningKeys = Mutex<HashSet<RequestKey>>;

/// A keyed request being executed; its key is free again when this is dropped.
pub(crate) struct Running {
    running: Arc<RunningKeys>,
    key: RequestKey,
}

impl Running {
    pub(crate) fn begin(running: &Arc<RunningKeys>, key: &RequestKey) -> Option<Self> {
        let mut keys = running.lock().unwrap_or_else(PoisonError::into_inner);
        let new = keys.insert(key.clone());
        new.then(|| Self { running: Arc::clone(running), key: key.clone() })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_running_key_is_taken_until_its_request_ends() {
        let running = Arc::default();
        let key = RequestKey { caller: "shop".to_owned(), key: "k".to_owned() };
        let first = Running::begin(&running, &key);
        assert!(first.is_some());
        assert!(Running::begin(&running, &key).is_none());
        drop(first);
        assert!(Running::begin(&running, &key).is_some());
    }
}
