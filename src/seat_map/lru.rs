//! Caches with an entry for each schedule, which evict the least recently used entries.

use moka::policy::EvictionPolicy;
use moka::sync::{Cache, CacheBuilder};

use crate::domain::ids::ScheduleId;

/// The most schedules whose newest version is remembered. It is remembered even after the map of a schedule was
/// evicted, because the versions that readers get must never decrease.
const VERSIONS_MAX: u64 = 100_000;

/// The newest known version of each schedule.
pub(super) type Versions = Cache<ScheduleId, i64>;

/// Versions of at most [`VERSIONS_MAX`] schedules.
pub(super) fn versions() -> Versions {
    lru_cache(VERSIONS_MAX, |_| 1).build()
}

/// The builder of a cache that evicts the least recently used entries when their weights exceed the bound.
pub(super) fn lru_cache<V: Clone + Send + Sync + 'static>(
    weight_max: u64,
    weight: impl Fn(&V) -> usize + Send + Sync + 'static,
) -> CacheBuilder<ScheduleId, V, Cache<ScheduleId, V>> {
    Cache::builder()
        .max_capacity(weight_max)
        .eviction_policy(EvictionPolicy::lru())
        .weigher(move |_, value| u32::try_from(weight(value)).unwrap_or(u32::MAX))
}

/// Raises the newest version of a schedule to `version`, unless it is newer already.
pub(super) fn raise(versions: &Versions, id: ScheduleId, version: i64) {
    if versions.get(&id).is_none_or(|newest| newest < version) {
        versions.entry(id).and_upsert_with(|current| {
            current.map_or(version, |current| current.into_value().max(version))
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_are_evicted_first() {
        let cache = lru_cache(10, |_: &&str| 4).build();
        cache.insert(ScheduleId(1), "one");
        cache.insert(ScheduleId(2), "two");
        cache.run_pending_tasks();
        assert_eq!(cache.get(&ScheduleId(1)), Some("one"));
        cache.insert(ScheduleId(3), "three");
        cache.run_pending_tasks();
        assert_eq!(cache.get(&ScheduleId(2)), None);
        assert_eq!(cache.get(&ScheduleId(1)), Some("one"));
        assert_eq!(cache.get(&ScheduleId(3)), Some("three"));
    }

    #[test]
    fn a_replaced_entry_weighs_once() {
        let cache = lru_cache(10, |weight: &usize| *weight).build();
        cache.insert(ScheduleId(1), 3);
        cache.insert(ScheduleId(1), 8);
        cache.insert(ScheduleId(2), 2);
        cache.run_pending_tasks();
        assert_eq!((cache.get(&ScheduleId(1)), cache.get(&ScheduleId(2))), (Some(8), Some(2)));
    }

    #[test]
    fn the_newest_version_never_decreases() {
        let versions = super::versions();
        for (version, newest) in [(5, 5), (3, 5), (7, 7)] {
            raise(&versions, ScheduleId(1), version);
            assert_eq!(versions.get(&ScheduleId(1)), Some(newest));
        }
    }
}
