//! Seat maps: the layout of a schedule, which never changes, and the states of its seats at a version.
//!
//! Both are kept in memory for the schedules in use, the least recently used leaving first. A layout is
//! read once. States move by local commits and by the journal ([`loaded`]); the answers made of them are
//! encoded when somebody asks, and shared ([`encoded`]). Whoever listens is told what moves ([`streams`]).

mod catch_up;
mod change_log;
mod channel;
mod encoded;
mod freed;
mod layout;
mod link;
mod loaded;
mod recent;
mod refusing;
mod shared;
mod sources;
mod states;
mod streams;
mod wire;

pub use channel::{LastSeen, Listener, StreamEvent, Update};
pub use encoded::{ContentEncoding, Encoded, Representation};
pub use layout::{Layout, LayoutSeat};
pub use loaded::{FreshStates, LoadedSchedule};
pub use shared::{Shared, SharedMaps};
pub use states::SeatStates;
pub use streams::{ListenerSlot, NoStream, Streams};

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;

use crate::domain::clock::EpochMs;
use crate::domain::execution_error::StoreError;
use crate::domain::ids::{ScheduleId, SeatNumber};
use crate::domain::rows::JournalEntry;
use crate::redis::RedisFailure;
use crate::store::Store;
use crate::telemetry::metrics::Metrics;

use recent::LruCache;
use sources::Sources;

/// Bytes of all schedules kept in memory together.
const BYTES_KEPT: usize = 1 << 30;

/// Schedules that can be loaded at the same time.
const LOADERS: usize = 64;

/// Versions remembered of schedules that have left, so that they do not come back older.
const VERSIONS_KEPT: usize = 100_000;

/// The seat maps of the schedules in use.
pub struct SeatMaps {
    sources: Sources,
    schedules: Mutex<LruCache<ScheduleId, Arc<LoadedSchedule>>>,
    /// The newest version of each schedule that this process has committed or answered.
    versions: Mutex<LruCache<ScheduleId, i64>>,
    /// The newest version of each schedule at which this process gave seats back.
    freed: Mutex<LruCache<ScheduleId, i64>>,
    /// One loader at a time for a schedule (and for those that share its place): a stampede on a cold map
    /// costs one query.
    loading: [tokio::sync::Mutex<()>; LOADERS],
    /// Commits of this process that the others are still to be told of.
    untold: Mutex<HashMap<ScheduleId, i64>>,
}

/// An answer of a map, and how old its states are if nobody could be asked.
#[derive(Debug, Clone)]
pub struct MapAnswer {
    /// The answer.
    pub encoded: Arc<Encoded>,
    /// How long ago its states were known to be the newest, while the databases are away.
    pub stale: Option<Duration>,
}

impl SeatMaps {
    /// No map is loaded yet.
    #[must_use]
    pub fn new(store: Arc<Store>, shared: Option<Arc<SharedMaps>>, metrics: Arc<Metrics>) -> Self {
        Self {
            sources: Sources { store, shared, metrics },
            schedules: Mutex::new(LruCache::new(BYTES_KEPT)),
            versions: Mutex::new(LruCache::new(VERSIONS_KEPT)),
            freed: Mutex::new(LruCache::new(VERSIONS_KEPT)),
            loading: std::array::from_fn(|_| tokio::sync::Mutex::new(())),
            untold: Mutex::default(),
        }
    }

    /// A schedule that is in memory.
    #[must_use]
    pub fn loaded(&self, id: ScheduleId) -> Option<Arc<LoadedSchedule>> {
        self.schedules().get(&id)
    }

    /// The answer that most readers get: the one made before, of states that are believed without asking.
    /// `None` if somebody must be asked or the answer be made ([`SeatMaps::answer`]).
    #[must_use]
    pub fn answer_at_hand(
        &self,
        schedule: &LoadedSchedule,
        (form, coding): (Representation, ContentEncoding),
        at_least: i64,
    ) -> Option<MapAnswer> {
        let seen = self.version(schedule.schedule.id).unwrap_or(0);
        let (newest, age) = schedule.believed(at_least.max(seen))?;
        let states = self.publish(schedule, &newest, at_least);
        let encoded = schedule.answers.at_hand(form, coding, &states)?;
        self.note_age(age);
        Some(MapAnswer { encoded, stale: None })
    }

    /// The states of a schedule's seats at `at_least` or newer.
    pub async fn states(
        &self,
        schedule: &LoadedSchedule,
        at_least: i64,
    ) -> Result<FreshStates, StoreError> {
        schedule.believe_from(self.version(schedule.schedule.id).unwrap_or(0));
        let fresh = schedule.fresh(&self.sources, at_least).await?;
        let states = self.publish(schedule, &fresh.states, at_least);
        self.note_age(fresh.stale.unwrap_or_else(|| schedule.age()));
        Ok(FreshStates { states, ..fresh })
    }

    /// An answer of a schedule in a form and coding, at `at_least` or newer; `make` writes it.
    pub async fn answer(
        &self,
        schedule: &Arc<LoadedSchedule>,
        (form, coding): (Representation, ContentEncoding),
        at_least: i64,
        make: fn(&LoadedSchedule, &SeatStates) -> Vec<u8>,
    ) -> Result<MapAnswer, StoreError> {
        let fresh = self.states(schedule, at_least).await?;
        let (source, states) = (Arc::clone(schedule), Arc::clone(&fresh.states));
        let write = move || make(&source, &states);
        let encoded = schedule.answers.encoded(form, coding, &fresh.states, write).await?;
        Ok(MapAnswer { encoded, stale: fresh.stale })
    }

    /// What has just been committed here, and the versions at which seats were given back with it; call it before
    /// the answers leave. If true, [`SeatMaps::given_back`] has to be awaited before they do.
    #[must_use]
    pub fn committed(&self, entries: &[JournalEntry], freed: &[(ScheduleId, i64)]) -> bool {
        for (schedule, version) in freed {
            raise(&self.freed, *schedule, *version);
        }
        for entry in entries {
            self.note_version(entry.schedule, entry.version);
            if self.sources.shared.is_some() {
                self.untold().insert(entry.schedule, entry.version);
            }
            if let Some(loaded) = self.loaded(entry.schedule) {
                loaded.take(entry);
            }
        }
        self.sources.shared.is_some() && !freed.is_empty()
    }

    /// Tells other processes what this one has committed since it told them last, and offers them maps to
    /// begin with.
    pub async fn tell(&self) {
        let Some(shared) = &self.sources.shared else { return };
        let moved: Vec<_> = self.untold().drain().collect();
        if moved.is_empty() {
            return;
        }
        shared.tell(&moved).await;
        let offer = |(id, _)| {
            let loaded = self.loaded(id)?;
            Some((loaded.to_offer()?, loaded))
        };
        let offers: Vec<_> = moved.into_iter().filter_map(offer).collect();
        if offers.is_empty() {
            return;
        }
        let Some(epoch) = shared.epoch().await else { return };
        for ((at, seats), loaded) in offers {
            shared.share(&loaded.schedule, epoch, at, &seats).await;
        }
    }

    /// Hears what other processes have committed, for as long as the connection lasts.
    pub async fn hear(&self) -> Result<(), RedisFailure> {
        let Some(shared) = &self.sources.shared else { return Ok(()) };
        let mut news = shared.news().await?;
        while let Some((id, version)) = news.next().await {
            if let Some(loaded) = self.loaded(id) {
                loaded.heard_of(version);
            }
        }
        Ok(())
    }

    /// What processes share, if there is a Redis.
    #[must_use]
    pub fn shared(&self) -> Option<&Arc<SharedMaps>> {
        self.sources.shared.as_ref()
    }

    /// The newest version of a schedule that this process has seen.
    #[must_use]
    pub fn version(&self, id: ScheduleId) -> Option<i64> {
        self.versions.lock().unwrap_or_else(PoisonError::into_inner).get(&id)
    }

    /// When the hold that has a seat ends, as written, if the map in memory has a hold there.
    #[must_use]
    pub fn held_until(&self, id: ScheduleId, seat: SeatNumber) -> Option<EpochMs> {
        self.loaded(id)?.held_until(seat)
    }

    /// A schedule with its layout; `None` if there is none by this id.
    pub async fn schedule(
        &self,
        id: ScheduleId,
    ) -> Result<Option<Arc<LoadedSchedule>>, StoreError> {
        if let Some(found) = self.loaded(id) {
            return Ok(Some(found));
        }
        let place = id.0.unsigned_abs() % LOADERS as u64;
        let _loading = match self.loading.get(usize::try_from(place).unwrap_or(0)) {
            Some(loader) => Some(loader.lock().await),
            None => None,
        };
        if let Some(found) = self.loaded(id) {
            return Ok(Some(found));
        }
        let Some(schedule) = self.sources.store.schedule(id).await? else { return Ok(None) };
        let version = schedule.plan.clone();
        let plan = self.sources.store.plan(version.id, Some(version.version)).await?;
        let plan = plan.ok_or_else(|| StoreError::Corrupt("a schedule without a plan".into()))?;
        let floor = self.version(id).unwrap_or(0);
        let loaded = Arc::new(LoadedSchedule::new(schedule, Layout::new(&plan.plan), floor));
        self.schedules().put(id, Arc::clone(&loaded), loaded.weight());
        Ok(Some(loaded))
    }

    /// What readers get of the newest states; from then on they get nothing older.
    fn publish(
        &self,
        schedule: &LoadedSchedule,
        newest: &Arc<SeatStates>,
        at_least: i64,
    ) -> Arc<SeatStates> {
        let states = schedule.answers.publish(newest, at_least);
        self.note_version(schedule.schedule.id, states.version);
        states
    }

    /// Notes how old the states of an answer are.
    fn note_age(&self, age: Duration) {
        self.sources.metrics.map.staleness_seconds.observe(age.as_secs_f64());
    }

    fn note_version(&self, id: ScheduleId, version: i64) {
        raise(&self.versions, id, version);
    }

    /// The newest version at which this process gave seats of a schedule back; 0 if it never did.
    fn freed_here(&self, id: ScheduleId) -> i64 {
        self.freed.lock().unwrap_or_else(PoisonError::into_inner).get(&id).unwrap_or(0)
    }

    fn schedules(&self) -> MutexGuard<'_, LruCache<ScheduleId, Arc<LoadedSchedule>>> {
        self.schedules.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn untold(&self) -> MutexGuard<'_, HashMap<ScheduleId, i64>> {
        self.untold.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Notes a version of a schedule, unless a newer one is noted.
fn raise(versions: &Mutex<LruCache<ScheduleId, i64>>, id: ScheduleId, version: i64) {
    let mut versions = versions.lock().unwrap_or_else(PoisonError::into_inner);
    if versions.get(&id).is_none_or(|newest| newest < version) {
        versions.put(id, version, 1);
    }
}
