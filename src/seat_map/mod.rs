//! Seat maps: the layout of a schedule, which never changes, and the states of its seats at a version.
//!
//! Both are cached in memory for the schedules in use; the least recently used schedules are evicted first. A layout is
//! read once. Commits of this process and the journal change the states ([`loaded`]). Answers are encoded from the
//! states on demand, and shared by all readers ([`encoded`]). Listeners receive the changes ([`streams`]).

mod cached;
mod catch_up;
mod change_log;
mod channel;
mod encoded;
mod freed;
mod layout;
mod link;
mod loaded;
mod lru;
mod refusing;
mod shared;
mod states;
mod streams;
mod times;
mod wire;

pub use channel::{LastSeen, Listener, StreamEvent, Update};
pub use encoded::{ContentEncoding, Encoded, Representation};
pub use layout::{Layout, LayoutSeat, PartialGroup};
pub use loaded::{FreshStates, LoadedSchedule};
pub use shared::{Shared, SharedMaps};
pub use states::SeatStates;
pub use streams::{ListenError, ListenerSlot, Streams};

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use moka::notification::RemovalCause;
use moka::sync::Cache;
use parking_lot::Mutex;
use tokio::sync::OnceCell;

use crate::domain::clock::EpochMs;
use crate::domain::execution_error::StoreError;
use crate::domain::ids::{ScheduleId, SeatNumber};
use crate::domain::rows::JournalEntry;
use crate::redis::RedisFailure;
use crate::store::Store;
use crate::telemetry::metrics::Metrics;

use lru::{Versions, lru_cache, raise, versions};

/// The bytes of a schedule that is being loaded.
const LOADING_BYTES: usize = 256;

/// A schedule that is loaded, or that one task is loading for all that need it.
type Entry = Arc<OnceCell<Arc<LoadedSchedule>>>;

/// The sources of the states of maps.
struct Sources {
    store: Arc<Store>,
    /// The maps that processes share, if a Redis is configured.
    shared: Option<Arc<SharedMaps>>,
    metrics: Arc<Metrics>,
}

/// The seat maps of the schedules in use.
pub struct SeatMaps {
    sources: Sources,
    schedules: Cache<ScheduleId, Entry>,
    /// The newest versions that this process has committed or answered.
    versions: Versions,
    /// The newest versions at which this process freed seats.
    freed: Versions,
    /// The newest commits of this process that have not been announced to the other processes yet.
    unpublished: Mutex<HashMap<ScheduleId, i64>>,
}

/// An encoded answer with its staleness.
#[derive(Debug, Clone)]
pub struct MapAnswer {
    /// The answer.
    pub encoded: Arc<Encoded>,
    /// The age of its states, if no database could give newer ones.
    pub stale: Option<Duration>,
}

impl SeatMaps {
    /// Creates the maps, of at most `bytes_max` together. No schedule is loaded at first.
    #[must_use]
    pub fn new(
        store: Arc<Store>,
        shared: Option<Arc<SharedMaps>>,
        metrics: Arc<Metrics>,
        bytes_max: u64,
    ) -> Self {
        let evictions = metrics.map.evictions_total.clone();
        let count = move |_, _, cause: RemovalCause| {
            if cause == RemovalCause::Size {
                evictions.inc();
            }
        };
        let weight = |entry: &Entry| entry.get().map_or(LOADING_BYTES, |loaded| loaded.weight());
        Self {
            sources: Sources { store, shared, metrics },
            schedules: lru_cache(bytes_max, weight).eviction_listener(count).build(),
            versions: versions(),
            freed: versions(),
            unpublished: Mutex::default(),
        }
    }

    /// A schedule, if it is in memory.
    #[must_use]
    pub fn loaded(&self, id: ScheduleId) -> Option<Arc<LoadedSchedule>> {
        self.schedules.get(&id)?.get().cloned()
    }

    /// A schedule with its layout; `None` if no schedule has this id. One task loads it for all that need it.
    pub async fn schedule(
        &self,
        id: ScheduleId,
    ) -> Result<Option<Arc<LoadedSchedule>>, StoreError> {
        let entry = self.schedules.get_with(id, Entry::default);
        if let Some(found) = entry.get() {
            return Ok(Some(Arc::clone(found)));
        }
        let mut has_loaded = false;
        let load = || {
            has_loaded = true;
            self.load(id)
        };
        match entry.get_or_try_init(load).await {
            Ok(found) => {
                if has_loaded {
                    self.weigh_again(id);
                }
                Ok(Some(Arc::clone(found)))
            }
            Err(None) => {
                self.schedules.invalidate(&id);
                Ok(None)
            }
            Err(Some(error)) => Err(error),
        }
    }

    /// Inserts the entry of a schedule again, because its weight has changed.
    fn weigh_again(&self, id: ScheduleId) {
        if let Some(entry) = self.schedules.get(&id) {
            self.schedules.insert(id, entry);
        }
    }

    /// Updates the metrics of the maps in memory.
    pub fn record_size(&self) {
        self.schedules.run_pending_tasks();
        let signed = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        let metrics = &self.sources.metrics.map;
        metrics.memory_bytes.set(signed(self.schedules.weighted_size()));
        metrics.loaded.set(signed(self.schedules.entry_count()));
    }

    /// Loads a schedule. `Err(None)` means that no schedule has this id.
    async fn load(&self, id: ScheduleId) -> Result<Arc<LoadedSchedule>, Option<StoreError>> {
        let schedule = self.sources.store.schedule(id).await?.ok_or(None)?;
        let version = &schedule.plan;
        let plan = self.sources.store.plan(version.id.clone(), Some(version.version)).await?;
        let plan = plan.ok_or_else(|| StoreError::Corrupt("a schedule without a plan".into()))?;
        let min_version = self.version(id).unwrap_or(0);
        Ok(Arc::new(LoadedSchedule::new(schedule, Layout::new(&plan.plan), min_version)))
    }

    /// The answer that most readers get: it is already encoded, and its states are fresh. `None` if a database must be
    /// read or the answer must be encoded; then call [`SeatMaps::answer`].
    #[must_use]
    pub fn cached_answer(
        &self,
        schedule: &LoadedSchedule,
        (representation, encoding): (Representation, ContentEncoding),
        at_least: i64,
    ) -> Option<MapAnswer> {
        let min_version = self.version(schedule.schedule.id).unwrap_or(0);
        let (newest, age) = schedule.fresh_states(at_least.max(min_version))?;
        let states = self.publish(schedule, &newest, at_least);
        let encoded = schedule.answers.cached(representation, encoding, &states)?;
        self.observe_age(age);
        Some(MapAnswer { encoded, stale: None })
    }

    /// The answer for a schedule at `at_least` or newer; `write` writes its body.
    pub async fn answer(
        &self,
        schedule: &Arc<LoadedSchedule>,
        (representation, encoding): (Representation, ContentEncoding),
        at_least: i64,
        write: fn(&LoadedSchedule, &SeatStates) -> Vec<u8>,
    ) -> Result<MapAnswer, StoreError> {
        let FreshStates { states, stale } = self.states(schedule, at_least).await?;
        let layout = Arc::clone(schedule);
        let newest = Arc::clone(&states);
        let write = move || write(&layout, &newest);
        let before = schedule.answers.bytes();
        let encoded = schedule.answers.encode(representation, encoding, &states, write).await?;
        if schedule.answers.bytes() != before {
            self.weigh_again(schedule.schedule.id);
        }
        Ok(MapAnswer { encoded, stale })
    }

    /// The states of a schedule's seats at `at_least` or newer.
    pub async fn states(
        &self,
        schedule: &LoadedSchedule,
        at_least: i64,
    ) -> Result<FreshStates, StoreError> {
        schedule.raise_min_version(self.version(schedule.schedule.id).unwrap_or(0));
        let FreshStates { states, stale } = schedule.states(&self.sources, at_least).await?;
        let states = self.publish(schedule, &states, at_least);
        self.observe_age(stale.unwrap_or_else(|| schedule.age()));
        Ok(FreshStates { states, stale })
    }

    /// Applies the commits that this process has just made, and the versions at which it freed seats. Must be called
    /// before the answers are sent. If it returns true, [`SeatMaps::announce_freed`] must also be awaited before that.
    #[must_use]
    pub fn apply_commits(&self, entries: &[JournalEntry], freed: &[(ScheduleId, i64)]) -> bool {
        for (schedule, version) in freed {
            raise(&self.freed, *schedule, *version);
        }
        for entry in entries {
            raise(&self.versions, entry.schedule, entry.version);
            if self.sources.shared.is_some() {
                self.unpublished.lock().insert(entry.schedule, entry.version);
            }
            if let Some(loaded) = self.loaded(entry.schedule) {
                loaded.apply(entry);
            }
        }
        self.sources.shared.is_some() && !freed.is_empty()
    }

    /// Announces the commits of this process to the other processes. Also shares maps, which other processes use when
    /// they load a schedule.
    pub async fn publish_commits(&self) {
        let Some(shared) = &self.sources.shared else { return };
        let commits: Vec<_> = self.unpublished.lock().drain().collect();
        if commits.is_empty() {
            return;
        }
        shared.announce(&commits).await;
        let due = |(id, _)| {
            let loaded = self.loaded(id)?;
            Some((loaded.take_due_share()?, loaded))
        };
        let due: Vec<_> = commits.into_iter().filter_map(due).collect();
        if due.is_empty() {
            return;
        }
        let Some(epoch) = shared.epoch().await else { return };
        for ((at, seats), loaded) in due {
            shared.share(&loaded.schedule, epoch, at, &seats).await;
        }
    }

    /// Receives the other processes' announcements until the connection ends.
    pub async fn receive_announcements(&self) -> Result<(), RedisFailure> {
        let Some(shared) = &self.sources.shared else { return Ok(()) };
        let mut announcements = shared.announcements().await?;
        while let Some((id, version)) = announcements.next().await {
            if let Some(loaded) = self.loaded(id) {
                loaded.note_announcement(version);
            }
        }
        Ok(())
    }

    /// The maps that processes share, if a Redis is configured.
    #[must_use]
    pub fn shared(&self) -> Option<&Arc<SharedMaps>> {
        self.sources.shared.as_ref()
    }

    /// The newest version of a schedule that this process has committed or answered.
    #[must_use]
    pub fn version(&self, id: ScheduleId) -> Option<i64> {
        self.versions.get(&id)
    }

    /// When the hold on a seat ends, as stored, if the map in memory has a hold on it.
    #[must_use]
    pub fn held_until(&self, id: ScheduleId, seat: SeatNumber) -> Option<EpochMs> {
        self.loaded(id)?.held_until(seat)
    }

    /// Given the newest states, returns the published states, which readers get. Later readers get no older ones.
    fn publish(
        &self,
        schedule: &LoadedSchedule,
        newest: &Arc<SeatStates>,
        at_least: i64,
    ) -> Arc<SeatStates> {
        let states = schedule.answers.publish(newest, at_least);
        raise(&self.versions, schedule.schedule.id, states.version);
        states
    }

    fn observe_age(&self, age: Duration) {
        self.sources.metrics.map.staleness_seconds.observe(age.as_secs_f64());
    }
}
