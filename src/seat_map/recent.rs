//! A map that keeps what was used last, within a total weight.

use std::collections::HashMap;
use std::hash::Hash;

/// Values by key with a weight each; the least recently used leave when the total exceeds the limit.
pub(super) struct LruCache<K, V> {
    limit: usize,
    total: usize,
    clock: u64,
    entries: HashMap<K, Entry<V>>,
}

struct Entry<V> {
    value: V,
    weight: usize,
    used: u64,
}

impl<K: Eq + Hash + Copy, V: Clone> LruCache<K, V> {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, total: 0, clock: 0, entries: HashMap::new() }
    }

    pub(super) fn get(&mut self, key: &K) -> Option<V> {
        self.clock += 1;
        let entry = self.entries.get_mut(key)?;
        entry.used = self.clock;
        Some(entry.value.clone())
    }

    /// The newest entry stays, however heavy it is.
    pub(super) fn put(&mut self, key: K, value: V, weight: usize) {
        self.clock += 1;
        let entry = Entry { value, weight, used: self.clock };
        self.total += weight;
        if let Some(old) = self.entries.insert(key, entry) {
            self.total -= old.weight;
        }
        if self.total > self.limit {
            self.evict(key);
        }
    }

    /// Makes room for a while at once, so that a full map is not searched at each insertion.
    fn evict(&mut self, keep: K) {
        let mut by_use: Vec<(u64, K)> =
            self.entries.iter().map(|(key, entry)| (entry.used, *key)).collect();
        by_use.sort_unstable_by_key(|(used, _)| *used);
        for (_, key) in by_use {
            if self.total <= self.limit / 10 * 9 {
                return;
            }
            if key != keep
                && let Some(old) = self.entries.remove(&key)
            {
                self.total -= old.weight;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_leave_first() {
        let mut recent = LruCache::new(10);
        recent.put(1, "one", 4);
        recent.put(2, "two", 4);
        assert_eq!(recent.get(&1), Some("one"));
        recent.put(3, "three", 4);
        assert_eq!(recent.get(&2), None);
        assert_eq!(recent.get(&1), Some("one"));
        assert_eq!(recent.get(&3), Some("three"));
    }

    #[test]
    fn a_replaced_entry_weighs_once_and_the_newest_always_fits() {
        let mut recent = LruCache::new(10);
        recent.put(1, "old", 8);
        recent.put(1, "new", 8);
        recent.put(2, "two", 2);
        assert_eq!(recent.get(&1), Some("new"));
        recent.put(3, "huge", 99);
        assert_eq!((recent.get(&1), recent.get(&2), recent.get(&3)), (None, None, Some("huge")));
    }
}
