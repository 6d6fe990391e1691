//! Reads the newest states of a schedule: from a map that another process shares, from the journal, or from all seats,
//! in this order. Reads a replica first, and the primary if the replica is behind.

use std::sync::Arc;
use std::time::Instant;

use crate::domain::execution_error::StoreError;
use crate::domain::version::HISTORY_JUMP;
use crate::store::{Journal, REPLICA_BEHIND, ReadFrom, Store};
use crate::telemetry::request_context;

use super::Sources;
use super::cached::{Applied, CachedStates, Read};
use super::loaded::LoadedSchedule;
use super::states::SeatSnapshot;

impl LoadedSchedule {
    /// Reads the newest states. Reads them from the primary if a replica does not have the version `required`.
    pub(super) async fn catch_up(
        &self,
        sources: &Sources,
        required: i64,
    ) -> Result<(), StoreError> {
        let store = &sources.store;
        let before = self.cached_states(0).map(|(states, _)| states.version);
        let mut epoch = None;
        if let Some(shared) = sources.shared.as_ref().filter(|_| before.is_none())
            && let Some(found) = shared.find(&self.schedule).await
        {
            epoch = Some(found.epoch);
            if let Some((at, seats)) = found.map {
                let snapshot = SeatSnapshot::new(at, &seats);
                let required = required.max(found.announced);
                let used = self.start_from_shared(store, snapshot, required).await?;
                shared.count_use(used);
                if used {
                    return Ok(());
                }
            }
        }
        let is_newest = self.read_newest(store, ReadFrom::Anywhere).await?;
        if !is_newest || self.cached_states(required).is_none() {
            self.read_newest(store, ReadFrom::Primary).await?;
        }
        if let (Some(before), Some((states, _))) = (before, self.cached_states(0))
            && states.version > before
            // A new history begins with a large step of the version, which is not a number of entries.
            && let behind = states.version - before
            && behind < HISTORY_JUMP
        {
            sources.metrics.map.behind_versions.observe(behind as f64);
        }
        if let (Some(epoch), Some(shared)) = (epoch, &sources.shared)
            && let Some((at, seats)) = self.take_due_share()
        {
            let shared = Arc::clone(shared);
            let schedule = self.schedule.clone();
            request_context::spawn(async move { shared.share(&schedule, epoch, at, &seats).await });
        }
        Ok(())
    }

    /// Uses a shared map if the journal leads from it to the version `required` or newer. Otherwise changes nothing and
    /// returns false.
    async fn start_from_shared(
        &self,
        store: &Arc<Store>,
        snapshot: SeatSnapshot,
        required: i64,
    ) -> Result<bool, StoreError> {
        let read = Read { started_at: Instant::now(), is_primary: !store.has_replica() };
        let version = snapshot.states.version;
        if snapshot.states.codes.len() != self.layout.len() {
            return Ok(false);
        }
        let journal = store.journal_after(self.schedule.id, version, ReadFrom::Anywhere).await?;
        let Some(journal) = journal.filter(|journal| !is_behind(store, journal)) else {
            return Ok(false);
        };
        let mut states = CachedStates::new(snapshot, Read { is_primary: false, ..read });
        let mut cache = self.cache.write();
        let applied = states.apply_journal(&journal, cache.min_version.max(required), read);
        if applied != Applied::Newest {
            return Ok(false);
        }
        let version = states.snapshot.states.version;
        if cache.is_not_newer_than(version) {
            cache.states = Some(states);
        }
        Ok(true)
    }

    /// Reads the journal after the states in memory, or all seats if the journal does not lead to the newest version.
    /// Returns false if the database lags, so that the states may not be the newest.
    pub(super) async fn read_newest(
        &self,
        store: &Arc<Store>,
        from: ReadFrom,
    ) -> Result<bool, StoreError> {
        let id = self.schedule.id;
        let is_primary = from == ReadFrom::Primary || !store.has_replica();
        let read = Read { started_at: Instant::now(), is_primary };
        if let Some((states, _)) = self.cached_states(0)
            && let Some(journal) = store.journal_after(id, states.version, from).await?
        {
            if from == ReadFrom::Anywhere && is_behind(store, &journal) {
                return Ok(false);
            }
            let mut cache = self.cache.write();
            let min_version = cache.min_version;
            let current = cache.states.as_mut();
            match current.map(|current| current.apply_journal(&journal, min_version, read)) {
                Some(Applied::Newest) => return Ok(true),
                Some(Applied::Behind) => return Ok(false),
                Some(Applied::Diverged) | None => {}
            }
        }
        let Some(snapshot) = store.seats(id, from).await? else { return Ok(false) };
        if !is_primary {
            // The journal is read for the lag of the replica, which the statement for all seats does not return.
            let journal = store.journal_after(id, snapshot.at.at, from).await?;
            let is_same = |journal: &Journal| journal.history == snapshot.at.history;
            if journal.is_none_or(|journal| !is_same(&journal) || is_behind(store, &journal)) {
                return Ok(false);
            }
        }
        Ok(self.cache.write().replace(SeatSnapshot::new(snapshot.at, &snapshot.states), read))
    }
}

/// Whether the database that was read lags too far behind the primary.
fn is_behind(store: &Store, journal: &Journal) -> bool {
    store.has_replica() && journal.behind > REPLICA_BEHIND
}
