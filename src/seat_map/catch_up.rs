//! Learning what a schedule's newest states are: from what another process shares, from the journal, from
//! all seats, in this order; from a replica, and from the primary where that is behind.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use crate::domain::execution_error::StoreError;
use crate::domain::version::HISTORY_JUMP;
use crate::store::{Journal, REPLICA_BEHIND, ReadFrom, Store};
use crate::telemetry::request_context;

use super::loaded::{CachedStates, LoadedSchedule};
use super::sources::Sources;
use super::states::SeatSnapshot;

impl LoadedSchedule {
    /// Learns what there is, and from the primary if that is less than wanted.
    pub(super) async fn catch_up(&self, sources: &Sources, wanted: i64) -> Result<(), StoreError> {
        let store = &sources.store;
        let mut epoch = None;
        if let Some(shared) = sources.shared.as_ref().filter(|_| self.look(0).is_none())
            && let Some(found) = shared.look(&self.schedule).await
        {
            epoch = Some(found.epoch);
            if let Some((at, seats)) = found.map {
                let known = SeatSnapshot::new(at, &seats);
                let led_on = self.lead_on(store, known, wanted.max(found.told)).await?;
                shared.used(led_on);
                if led_on {
                    return Ok(());
                }
            }
        }
        let before = self.look(0).map(|(states, _)| states.version);
        let learned = self.follow(store, ReadFrom::Anywhere).await?;
        if !learned || self.look(wanted).is_none() {
            self.follow(store, ReadFrom::Primary).await?;
        }
        if let (Some(before), Some((states, _))) = (before, self.look(0))
            && states.version > before
            // A new history is no distance.
            && let behind = states.version - before
            && behind < HISTORY_JUMP
        {
            sources.metrics.map.behind_versions.observe(behind as f64);
        }
        if let (Some(epoch), Some(shared)) = (epoch, &sources.shared)
            && let Some((at, seats)) = self.to_offer()
        {
            let (shared, schedule) = (Arc::clone(shared), self.schedule.clone());
            request_context::spawn(async move { shared.share(&schedule, epoch, at, &seats).await });
        }
        Ok(())
    }

    /// Takes a map from elsewhere if the journal leads on from it to a version that is new enough. False,
    /// and nothing is changed, if not.
    async fn lead_on(
        &self,
        store: &Arc<Store>,
        known: SeatSnapshot,
        wanted: i64,
    ) -> Result<bool, StoreError> {
        let asked = Instant::now();
        let version = known.states.version;
        let fits = known.states.codes.len() == self.layout.len();
        let journal = store.journal_after(self.schedule.id, version, ReadFrom::Anywhere).await?;
        let Some(journal) = journal.filter(|journal| fits && !is_behind(store, journal)) else {
            return Ok(false);
        };
        let mut from_there = CachedStates { known, confirmed: asked, by_primary: None };
        let mut current = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let floor = self.floor.load(Ordering::SeqCst).max(wanted);
        let asked = (asked, !store.has_replica());
        let led_on = matches!(from_there.take_all(&journal, floor, asked), Followed::Confirmed);
        let newest = |c: &CachedStates| c.known.states.version <= from_there.known.states.version;
        if led_on && current.as_ref().is_none_or(newest) {
            *current = Some(from_there);
        }
        Ok(led_on)
    }

    /// Reads the journal from what is known on, or all seats if that leads nowhere. False if the database
    /// asked is behind, and what it tells is not the newest.
    pub(super) async fn follow(
        &self,
        store: &Arc<Store>,
        from: ReadFrom,
    ) -> Result<bool, StoreError> {
        let id = self.schedule.id;
        let asked = Instant::now();
        let is_primary = from == ReadFrom::Primary || !store.has_replica();
        if let Some((states, _)) = self.look(0)
            && let Some(journal) = store.journal_after(id, states.version, from).await?
        {
            if from == ReadFrom::Anywhere && is_behind(store, &journal) {
                return Ok(false);
            }
            let followed = {
                let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
                let floor = self.floor.load(Ordering::SeqCst);
                known.as_mut().map(|current| current.take_all(&journal, floor, (asked, is_primary)))
            };
            match followed.unwrap_or(Followed::Astray) {
                Followed::Confirmed => return Ok(true),
                Followed::Behind => return Ok(false),
                Followed::Astray => {}
            }
        }
        let Some(snapshot) = store.seats(id, from).await? else { return Ok(false) };
        if from == ReadFrom::Anywhere && store.has_replica() {
            // All seats are large, so their statement does not say how old they are; this one does.
            let journal = store.journal_after(id, snapshot.at.at, from).await?;
            let is_same = |journal: &Journal| journal.history == snapshot.at.history;
            if journal.is_none_or(|journal| !is_same(&journal) || is_behind(store, &journal)) {
                return Ok(false);
            }
        }
        let known = SeatSnapshot::new(snapshot.at, &snapshot.states);
        let mut current = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let floor = self.floor.load(Ordering::SeqCst);
        let newer = current.as_ref().is_none_or(|c| c.known.states.version <= snapshot.at.at);
        // A lagging replica is not believed: the version never goes back.
        let believed = newer && (snapshot.at.at >= floor || from == ReadFrom::Primary);
        if believed {
            let by_primary = is_primary.then_some(asked);
            *current = Some(CachedStates { known, confirmed: asked, by_primary });
        }
        Ok(believed)
    }
}

impl CachedStates {
    /// Applies what the journal tells, which was asked for at a time, of the primary or not; `floor` is what it
    /// must lead to at least.
    fn take_all(
        &mut self,
        journal: &Journal,
        floor: i64,
        (asked, is_primary): (Instant, bool),
    ) -> Followed {
        if journal.history != self.known.states.history {
            return Followed::Astray;
        }
        for entry in &journal.entries {
            if entry.version > self.known.states.version && !self.known.apply(entry) {
                return Followed::Astray;
            }
        }
        let version = self.known.states.version;
        if journal.head > version {
            // A limit, or a history that was replaced: the journal does not lead there.
            return Followed::Astray;
        }
        if journal.head < version || version < floor {
            return Followed::Behind;
        }
        self.confirmed = asked;
        if is_primary {
            self.by_primary = Some(asked);
        }
        Followed::Confirmed
    }
}

/// Whether the database that was asked lags: what it tells is then not the newest.
fn is_behind(store: &Store, journal: &Journal) -> bool {
    store.has_replica() && journal.behind > REPLICA_BEHIND
}

/// Where following the journal led.
enum Followed {
    /// To the newest version.
    Confirmed,
    /// Nowhere new: the database asked knows less than this process.
    Behind,
    /// Not to what the database has: only a snapshot helps.
    Astray,
}
