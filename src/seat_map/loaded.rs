//! One schedule in memory: its layout, its newest known states, and the answers that were encoded from them.
//!
//! Commits of this process change the states before their answers are sent. Commits of other processes are read from
//! the journal. States that were confirmed within [`FRESH`](super::times::FRESH) are answered without a read, unless
//! another process has announced a commit. When a read is necessary, one reader reads for all; the other readers get
//! the states in memory if these are younger than [`STALE`].

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{RwLock, RwLockWriteGuard};
use tokio::sync::{Mutex, MutexGuard};

use crate::domain::catalogue::Schedule;
use crate::domain::clock::EpochMs;
use crate::domain::execution_error::StoreError;
use crate::domain::ids::{InHistory, SeatNumber};
use crate::domain::rows::JournalEntry;
use crate::store::{ReadFrom, Store};

use super::Sources;
use super::cached::{RefusedSeats, ScheduleCache};
use super::encoded::EncodedMaps;
use super::layout::Layout;
use super::states::SeatStates;
use super::times::{READ_TIMEOUT, RETRY_PAUSE, STALE};
use super::wire::WireSeats;

/// The bytes of a seat's state: in the newest states and in the published ones, with room for the end of some holds.
const STATE_BYTES: usize = 4;

/// States of a schedule's seats.
#[derive(Debug, Clone)]
pub struct FreshStates {
    /// The newest known states.
    pub states: Arc<SeatStates>,
    /// Their age, if no database could give newer ones.
    pub stale: Option<Duration>,
}

impl FreshStates {
    fn new(states: Arc<SeatStates>) -> Self {
        Self { states, stale: None }
    }
}

/// A schedule with its layout and the known states of its seats.
#[derive(Debug)]
pub struct LoadedSchedule {
    /// The schedule.
    pub schedule: Schedule,
    /// Its layout.
    pub layout: Layout,
    /// The answers that were encoded from the states.
    pub(super) answers: EncodedMaps,
    pub(super) cache: RwLock<ScheduleCache>,
    /// Locked by the reader that reads a database for all. A version that even the primary did not have, and when that
    /// was found.
    refreshing: Mutex<MissingVersion>,
}

type MissingVersion = Option<(i64, Instant)>;

impl LoadedSchedule {
    pub(super) fn new(schedule: Schedule, layout: Layout, min_version: i64) -> Self {
        Self {
            schedule,
            layout,
            answers: EncodedMaps::default(),
            cache: RwLock::new(ScheduleCache { min_version, ..ScheduleCache::default() }),
            refreshing: Mutex::default(),
        }
    }

    /// The approximate number of bytes in memory, for the bound of the cache.
    pub(super) fn weight(&self) -> usize {
        self.layout.weight() + self.layout.len() * STATE_BYTES + self.answers.bytes()
    }

    /// Applies an entry of the journal if it is the next one. After a gap, the next refresh reads the journal.
    pub(super) fn apply(&self, entry: &JournalEntry) {
        let mut cache = self.cache.write();
        cache.min_version = cache.min_version.max(entry.version);
        if let Some(current) = &mut cache.states {
            current.snapshot.apply(entry);
        }
    }

    /// Notes that another process has announced a version.
    pub(super) fn note_announcement(&self, version: i64) {
        let mut cache = self.cache.write();
        cache.announced = cache.announced.max(version);
    }

    /// From now on, states below this version are not fresh.
    pub(super) fn raise_min_version(&self, version: i64) {
        if self.cache.read().min_version < version {
            let mut cache = self.cache.write();
            cache.min_version = cache.min_version.max(version);
        }
    }

    /// The states at `at_least` or newer with their age, if they are fresh.
    pub(super) fn fresh_states(&self, at_least: i64) -> Option<(Arc<SeatStates>, Duration)> {
        self.cache.read().fresh_states(at_least)
    }

    /// The states in memory at `at_least` or newer, with their age.
    pub(super) fn cached_states(&self, at_least: i64) -> Option<(Arc<SeatStates>, Duration)> {
        self.cache.read().states(at_least)
    }

    /// The time since the states in memory were last confirmed to be the newest; zero if there are none.
    pub(super) fn age(&self) -> Duration {
        self.cached_states(0).map_or(Duration::ZERO, |(_, age)| age)
    }

    /// When the hold on a seat ends, by the states in memory.
    pub(super) fn held_until(&self, seat: SeatNumber) -> Option<EpochMs> {
        self.cache.read().states.as_ref()?.snapshot.held_until(seat)
    }

    /// The seats that the states in memory refuse; `None` if there are no states in memory.
    pub(super) fn refused_seats(
        &self,
        store: &Store,
        seats: &[SeatNumber],
    ) -> Option<RefusedSeats> {
        let cache = self.cache.read();
        let current = cache.states.as_ref()?;
        Some(RefusedSeats {
            seats: current.snapshot.refusals(seats, store.clock()),
            version: current.snapshot.states.version,
            confirmed: current.primary_confirmed_at,
        })
    }

    /// The newest states, if they are due to be shared with other processes.
    pub(super) fn take_due_share(&self) -> Option<(InHistory<i64>, WireSeats)> {
        let mut cache = self.cache.write();
        if !cache.claim_share() {
            return None;
        }
        // All seats are copied while others may read.
        let cache = RwLockWriteGuard::downgrade(cache);
        let snapshot = &cache.states.as_ref()?.snapshot;
        Some((snapshot.states.at(), snapshot.seats()))
    }

    /// The states at `at_least` or newer, and younger than [`STALE`] unless no database answers.
    ///
    /// Even then the states are never older than those answered before. But they may lack commits of this process of
    /// which only the version was answered. Such a commit follows commits of other processes, which only a database
    /// has.
    pub(super) async fn states(
        &self,
        sources: &Sources,
        at_least: i64,
    ) -> Result<FreshStates, StoreError> {
        if let Some((states, _)) = self.fresh_states(at_least) {
            return Ok(FreshStates::new(states));
        }
        let required = at_least.max(self.cache.read().min_version);
        if let Some((states, _)) = self.cached_states(required).filter(|(_, age)| *age < STALE) {
            // If no other reader is reading for all, this one does.
            return match self.refreshing.try_lock() {
                Ok(refreshing) => self.refresh(sources, at_least, refreshing).await,
                Err(_) => Ok(FreshStates::new(states)),
            };
        }
        if self.is_backing_off() {
            return self.stale_states(at_least);
        }
        let refreshing = self.refreshing.lock().await;
        match self.fresh_states(at_least) {
            Some((states, _)) => Ok(FreshStates::new(states)),
            None if self.is_backing_off() => self.stale_states(at_least),
            None => self.refresh(sources, at_least, refreshing).await,
        }
    }

    /// Reads the newest states. If no database answers, returns the states in memory.
    async fn refresh(
        &self,
        sources: &Sources,
        at_least: i64,
        mut refreshing: MutexGuard<'_, MissingVersion>,
    ) -> Result<FreshStates, StoreError> {
        let missing = refreshing.filter(|(_, at)| at.elapsed() < RETRY_PAUSE);
        let is_missing = missing.is_some_and(|(version, _)| at_least <= version);
        let (required, has_states) = {
            let mut cache = self.cache.write();
            cache.announced = 0;
            let min_version = cache.min_version;
            let required = if is_missing { min_version } else { at_least.max(min_version) };
            (required, cache.states(at_least).is_some())
        };
        let read = self.catch_up(sources, required);
        let result = if has_states {
            let timeout = |_| Err(StoreError::Unavailable("no answer in time".to_owned()));
            tokio::time::timeout(READ_TIMEOUT, read).await.unwrap_or_else(timeout)
        } else {
            read.await
        };
        self.note_result(result.is_ok());
        if let Err(error) = result {
            return self.stale_states(at_least).map_err(|_| error);
        }
        if let Some((states, _)) = self.cached_states(required) {
            return Ok(FreshStates::new(states));
        }
        // Even the primary does not have this version. It is not read again for a while, and the newest states are
        // returned.
        *refreshing = Some((required, Instant::now()));
        let no_seats = || StoreError::Corrupt("a schedule without seats".to_owned());
        let (states, _) = self.cached_states(0).ok_or_else(no_seats)?;
        Ok(FreshStates::new(states))
    }

    /// The states in memory of any age, if they are at `at_least` or newer.
    fn stale_states(&self, at_least: i64) -> Result<FreshStates, StoreError> {
        match self.cached_states(at_least) {
            Some((states, age)) => Ok(FreshStates { states, stale: Some(age) }),
            None => Err(StoreError::Unavailable("no database answers for the seats".to_owned())),
        }
    }

    /// Whether the primary should confirm the states, and no task is reading them now.
    pub(super) fn needs_confirmation(&self, is_behind: bool) -> bool {
        self.cache.read().needs_confirmation(is_behind) && self.refreshing.try_lock().is_ok()
    }

    /// Lets the primary confirm the states, or reads them, so that they can refuse later requests.
    pub(super) async fn confirm_for_later(&self, sources: &Sources) {
        let confirmed = match self.cached_states(0) {
            Some(_) => self.confirm(sources, Instant::now()).await,
            None => self.states(sources, 0).await.map(drop),
        };
        if let Err(error) = confirmed {
            log::debug!("a map could not be confirmed: {error}");
        }
    }

    /// Reads the newest states of the primary, unless the primary has confirmed them after `since`. One task reads for
    /// all.
    pub(super) async fn confirm(
        &self,
        sources: &Sources,
        since: Instant,
    ) -> Result<(), StoreError> {
        let _refreshing = self.refreshing.lock().await;
        let confirmed_at =
            self.cache.read().states.as_ref().and_then(|cached| cached.primary_confirmed_at);
        if confirmed_at.is_some_and(|at| at >= since) {
            return Ok(());
        }
        if self.is_backing_off() {
            return Err(StoreError::Unavailable("the database did not answer a moment ago".into()));
        }
        let result = self.read_newest(&sources.store, ReadFrom::Primary).await;
        self.note_result(result.is_ok());
        result.map(drop)
    }

    fn is_backing_off(&self) -> bool {
        self.cache.read().is_backing_off()
    }

    fn note_result(&self, is_ok: bool) {
        self.cache.write().failed_at = (!is_ok).then(Instant::now);
    }
}
