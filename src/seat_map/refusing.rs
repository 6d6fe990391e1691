//! Refuses seats by the map in memory, without the database. Such a refusal must not contradict an answer that any
//! process has already sent.
//!
//! Seats become free in two ways. Either a hold ends, at a time that the map contains; or a request frees the seats,
//! and a map without this commit must not refuse them. So a map may refuse seats only if it has the newest version at
//! which seats of its schedule were freed, or if the primary has confirmed the map since the request arrived. In all
//! other cases the seat locks and the rows decide.

use std::sync::Arc;
use std::time::Instant;

use crate::domain::ids::{ScheduleId, SeatNumber};
use crate::domain::rejection::ConflictReason;
use crate::telemetry::request_context;

use super::SeatMaps;
use super::cached::RefusedSeats;
use super::loaded::LoadedSchedule;
use super::times::{CONFIRM_TIMEOUT, STALE};

/// What this process knows about seats that other processes have freed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FreedByOthers {
    /// No other process uses the database, which is a file of this process.
    Never,
    /// The newest version at which seats were freed, read after the request arrived.
    At(i64),
    /// Nothing is known.
    Unknown,
}

/// Whether a map may refuse a request. The request arrived at `arrived_at`, and its caller has seen the version
/// `at_least`.
fn may_refuse(
    refused: &RefusedSeats,
    arrived_at: Instant,
    at_least: i64,
    freed: FreedByOthers,
) -> bool {
    let Some(confirmed) = refused.confirmed.filter(|_| refused.version >= at_least) else {
        return false;
    };
    // A process that cannot reach Redis delays its answer until all maps that were confirmed before are older than
    // this.
    let is_recent = arrived_at.saturating_duration_since(confirmed) < STALE;
    confirmed >= arrived_at
        || is_recent
            && match freed {
                FreedByOthers::Never => true,
                FreedByOthers::At(version) => refused.version >= version,
                FreedByOthers::Unknown => false,
            }
}

impl SeatMaps {
    /// The seats that are certainly sold, blocked or held. If the map in memory is not certain, the result is empty; so
    /// an empty result does not mean that the seats are free. `at_least` is a version that the caller has seen.
    pub async fn refusals(
        self: &Arc<Self>,
        id: ScheduleId,
        seats: &[SeatNumber],
        at_least: i64,
    ) -> Vec<(SeatNumber, ConflictReason)> {
        let arrived_at = Instant::now();
        let Some(loaded) = self.loaded(id).filter(|_| !seats.is_empty()) else { return Vec::new() };
        let refused = loaded.refused_seats(&self.sources.store, seats).unwrap_or_default();
        if refused.seats.is_empty() {
            self.confirm_for_later(loaded, false);
            return Vec::new();
        }
        let at_least = at_least.max(self.freed_version(id));
        if may_refuse(&refused, arrived_at, at_least, self.freed_by_others(id).await) {
            self.confirm_for_later(loaded, false);
            return refused.seats;
        }
        // Boxed: a read of the primary would make the future of every request several times as large.
        let confirmed = Box::pin(self.confirmed_refusals(&loaded, seats, arrived_at, at_least));
        confirmed.await.unwrap_or_default()
    }

    /// Notes that the rows have refused seats of a schedule which its map did not refuse: another process has sold them.
    /// Then a map that lacks announced commits is confirmed in the background.
    pub fn note_refusal(self: &Arc<Self>, id: ScheduleId) {
        if let Some(loaded) = self.loaded(id) {
            self.confirm_for_later(loaded, true);
        }
    }

    /// Whether the primary confirms now that all of the seats are free.
    pub async fn are_free_now(&self, id: ScheduleId, seats: &[SeatNumber]) -> bool {
        let Some(loaded) = self.loaded(id) else { return false };
        let freed = self.freed_version(id);
        let refused = self.confirmed_refusals(&loaded, seats, Instant::now(), freed).await;
        refused.is_some_and(|refused| refused.is_empty())
    }

    /// Whether all of the seats are free in the map in memory, and the map is not stale.
    #[must_use]
    pub fn are_free(&self, id: ScheduleId, seats: &[SeatNumber]) -> bool {
        let loaded = self.loaded(id).filter(|loaded| loaded.age() < STALE);
        let refused = loaded.and_then(|loaded| loaded.refused_seats(&self.sources.store, seats));
        refused.is_some_and(|refused| refused.seats.is_empty())
    }

    /// Announces the versions at which this process has freed seats. Must be awaited before the answers are sent.
    /// Returns when every process can read these versions, or when every map without them is stale.
    pub async fn announce_freed(&self, freed: &[(ScheduleId, i64)]) {
        if let Some(shared) = &self.sources.shared
            && !shared.announce_freed(freed).await
        {
            tokio::time::sleep(STALE).await;
        }
    }

    /// Lets the primary confirm the map after `arrived_at`, and returns the seats that the map refuses. `None` without
    /// an answer in time.
    async fn confirmed_refusals(
        &self,
        loaded: &LoadedSchedule,
        seats: &[SeatNumber],
        arrived_at: Instant,
        at_least: i64,
    ) -> Option<Vec<(SeatNumber, ConflictReason)>> {
        let confirming = loaded.confirm(&self.sources, arrived_at);
        tokio::time::timeout(CONFIRM_TIMEOUT, confirming).await.ok()?.ok()?;
        let refused = loaded.refused_seats(&self.sources.store, seats)?;
        let may_refuse = may_refuse(&refused, arrived_at, at_least, FreedByOthers::Unknown);
        may_refuse.then_some(refused.seats)
    }

    async fn freed_by_others(&self, id: ScheduleId) -> FreedByOthers {
        match &self.sources.shared {
            Some(shared) => {
                shared.freed(id).await.map_or(FreedByOthers::Unknown, FreedByOthers::At)
            }
            None if self.sources.store.is_embedded() => FreedByOthers::Never,
            None => FreedByOthers::Unknown,
        }
    }

    /// The newest version at which this process freed seats of a schedule; 0 if none is remembered.
    fn freed_version(&self, id: ScheduleId) -> i64 {
        self.freed.get(&id).unwrap_or(0)
    }

    /// Confirms a map in the background if that is due, so that the map can refuse later requests.
    fn confirm_for_later(self: &Arc<Self>, loaded: Arc<LoadedSchedule>, is_behind: bool) {
        if loaded.needs_confirmation(is_behind) {
            let maps = Arc::clone(self);
            request_context::spawn(async move { loaded.confirm_for_later(&maps.sources).await });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// When the request arrives, after the beginning of a test.
    const ARRIVAL: Duration = Duration::from_secs(10);

    /// A map at version 7 that was confirmed `before_ms` milliseconds before the request arrived.
    fn confirmed(began: Instant, before_ms: u64) -> RefusedSeats {
        let confirmed = Some(began + ARRIVAL - Duration::from_millis(before_ms));
        RefusedSeats { seats: Vec::new(), version: 7, confirmed }
    }

    #[test]
    fn a_map_refuses_only_if_it_has_every_commit_that_freed_seats() {
        let began = Instant::now();
        let arrived_at = began + ARRIVAL;
        let recent = confirmed(began, 449);
        let old = confirmed(began, 450);
        for (freed, refuses) in [
            (FreedByOthers::Never, true),
            (FreedByOthers::At(0), true),
            (FreedByOthers::At(6), true),
            (FreedByOthers::At(7), true),
            (FreedByOthers::At(8), false),
            (FreedByOthers::Unknown, false),
        ] {
            assert_eq!(may_refuse(&recent, arrived_at, 0, freed), refuses, "{freed:?}");
            assert!(!may_refuse(&old, arrived_at, 0, freed), "{freed:?}: the map is stale");
        }
    }

    #[test]
    fn a_map_that_was_confirmed_since_the_request_arrived_refuses_in_any_case() {
        let began = Instant::now();
        let now = confirmed(began, 0);
        for freed in [FreedByOthers::Never, FreedByOthers::At(900), FreedByOthers::Unknown] {
            assert!(may_refuse(&now, began + ARRIVAL, 0, freed), "{freed:?}");
        }
    }

    #[test]
    fn a_map_older_than_what_the_caller_has_seen_refuses_nothing() {
        let began = Instant::now();
        let freed = FreedByOthers::Never;
        let now = confirmed(began, 0);
        assert!(may_refuse(&now, began + ARRIVAL, 7, freed));
        assert!(!may_refuse(&now, began + ARRIVAL, 8, freed));
        let never = RefusedSeats { confirmed: None, ..now };
        assert!(!may_refuse(&never, began + ARRIVAL, 0, freed), "only a replica was read");
    }
}
