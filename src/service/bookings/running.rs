//! The keys of the requests that this process is executing: one request per key at a time.

use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::domain::command::RequestKey;

/// The keys being executed.
pub(crate) type RunningKeys = Mutex<HashSet<RequestKey>>;

/// A key whose request is being executed; dropping it removes the key.
pub(crate) struct RunningKey {
    running: Arc<RunningKeys>,
    key: RequestKey,
}

impl RunningKey {
    /// Adds a key; `None` if a request with it is being executed.
    pub(crate) fn insert(running: &Arc<RunningKeys>, key: &RequestKey) -> Option<Self> {
        let mut keys = running.lock();
        let new = keys.insert(key.clone());
        new.then(|| Self { running: Arc::clone(running), key: key.clone() })
    }
}

impl Drop for RunningKey {
    fn drop(&mut self) {
        self.running.lock().remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_running_until_its_request_ends() {
        let running = Arc::default();
        let key = RequestKey { caller: "shop".to_owned(), key: "k".to_owned() };
        let first = RunningKey::insert(&running, &key);
        assert!(first.is_some());
        assert!(RunningKey::insert(&running, &key).is_none());
        drop(first);
        assert!(RunningKey::insert(&running, &key).is_some());
    }
}
