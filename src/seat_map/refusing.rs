//! Refusing seats from memory: a shortcut that must not contradict an answer that has left any process.
//!
//! Seats become free in two ways. A hold ends at a time that the map has. Or a request frees them: a map that lacks
//! this commit must not refuse them. So a map refuses by itself only if it is at the newest version at which seats of
//! its schedule were freed, or if the primary has confirmed it since the request came. Everything else is left to
//! the seat locks and the rows.

use std::sync::Arc;
use std::time::Instant;

use crate::domain::ids::{ScheduleId, SeatNumber};
use crate::domain::rejection::ConflictReason;
use crate::telemetry::request_context;

use super::SeatMaps;
use super::cached::RefusedSeats;
use super::loaded::LoadedSchedule;
use super::times::{CONFIRM_TIMEOUT, STALE};

/// What is known about other processes that free seats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Others {
    /// There are none: the database is a file of this process.
    None,
    /// The newest version at which they did, read after the request came.
    Freed(i64),
    /// Nothing.
    Unknown,
}

/// Whether a map may refuse a request that came at `came` and has seen the version `at_least`.
fn may_refuse(refused: &RefusedSeats, came: Instant, at_least: i64, others: Others) -> bool {
    let Some(confirmed) = refused.confirmed.filter(|_| refused.version >= at_least) else {
        return false;
    };
    // A process that cannot reach Redis holds its answer back until maps of this age refuse nothing.
    let recent = came.saturating_duration_since(confirmed) < STALE;
    confirmed >= came
        || recent
            && match others {
                Others::None => true,
                Others::Freed(version) => refused.version >= version,
                Others::Unknown => false,
            }
}

impl SeatMaps {
    /// Which of the seats are sold, blocked, or on a live hold. Empty if memory is not certain of it; a grant never
    /// comes from here. `at_least` is a version that the caller has seen.
    pub async fn refusals(
        self: &Arc<Self>,
        id: ScheduleId,
        seats: &[SeatNumber],
        at_least: i64,
    ) -> Vec<(SeatNumber, ConflictReason)> {
        let came = Instant::now();
        let Some(loaded) = self.loaded(id).filter(|_| !seats.is_empty()) else { return Vec::new() };
        let refused = loaded.refused_seats(&self.sources.store, seats).unwrap_or_default();
        if refused.seats.is_empty() {
            self.confirm_for_later(loaded);
            return Vec::new();
        }
        let at_least = at_least.max(self.freed_version(id));
        if may_refuse(&refused, came, at_least, self.others(id).await) {
            self.confirm_for_later(loaded);
            return refused.seats;
        }
        self.confirmed_refusals(&loaded, seats, came, at_least).await.unwrap_or_default()
    }

    /// Whether the primary confirms now that all of the seats are free.
    pub async fn are_free_now(&self, id: ScheduleId, seats: &[SeatNumber]) -> bool {
        let Some(loaded) = self.loaded(id) else { return false };
        let freed = self.freed_version(id);
        let refused = self.confirmed_refusals(&loaded, seats, Instant::now(), freed).await;
        refused.is_some_and(|refused| refused.is_empty())
    }

    /// Whether all of the seats are free by a map that is not stale.
    #[must_use]
    pub fn are_free(&self, id: ScheduleId, seats: &[SeatNumber]) -> bool {
        let loaded = self.loaded(id).filter(|loaded| loaded.age() < STALE);
        let refused = loaded.and_then(|loaded| loaded.refused_seats(&self.sources.store, seats));
        refused.is_some_and(|refused| refused.seats.is_empty())
    }

    /// Announces the versions at which this process has freed seats; to be awaited before the answers leave. Returns
    /// when every process can read them, or when no map without them can be in use.
    pub async fn announce_freed(&self, freed: &[(ScheduleId, i64)]) {
        if let Some(shared) = &self.sources.shared
            && !shared.announce_freed(freed).await
        {
            tokio::time::sleep(STALE).await;
        }
    }

    /// Which of the seats a map refuses that the primary has confirmed after `came`; `None` without an answer in time.
    async fn confirmed_refusals(
        &self,
        loaded: &LoadedSchedule,
        seats: &[SeatNumber],
        came: Instant,
        at_least: i64,
    ) -> Option<Vec<(SeatNumber, ConflictReason)>> {
        let confirming = loaded.confirm(&self.sources, came);
        tokio::time::timeout(CONFIRM_TIMEOUT, confirming).await.ok()?.ok()?;
        let refused = loaded.refused_seats(&self.sources.store, seats)?;
        may_refuse(&refused, came, at_least, Others::Unknown).then_some(refused.seats)
    }

    async fn others(&self, id: ScheduleId) -> Others {
        match &self.sources.shared {
            Some(shared) => shared.freed(id).await.map_or(Others::Unknown, Others::Freed),
            None if self.sources.store.is_embedded() => Others::None,
            None => Others::Unknown,
        }
    }

    /// The newest version at which this process freed seats of a schedule; 0 if it never did.
    fn freed_version(&self, id: ScheduleId) -> i64 {
        self.freed.get(&id).unwrap_or(0)
    }

    /// Confirms a map in the background, if it is due, for later requests.
    fn confirm_for_later(self: &Arc<Self>, loaded: Arc<LoadedSchedule>) {
        if loaded.needs_confirmation() {
            let maps = Arc::clone(self);
            request_context::spawn(async move { loaded.confirm_for_later(&maps.sources).await });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const CAME: Duration = Duration::from_secs(10);

    /// A map at version 7 that was confirmed so many milliseconds before the request came.
    fn confirmed(began: Instant, before_ms: u64) -> RefusedSeats {
        let confirmed = Some(began + CAME - Duration::from_millis(before_ms));
        RefusedSeats { seats: Vec::new(), version: 7, confirmed }
    }

    #[test]
    fn a_map_refuses_only_if_it_has_every_commit_that_freed_seats() {
        let began = Instant::now();
        let came = began + CAME;
        let (recent, old) = (confirmed(began, 449), confirmed(began, 450));
        for (others, refuses) in [
            (Others::None, true),
            (Others::Freed(0), true),
            (Others::Freed(6), true),
            (Others::Freed(7), true),
            (Others::Freed(8), false),
            (Others::Unknown, false),
        ] {
            assert_eq!(may_refuse(&recent, came, 0, others), refuses, "{others:?}");
            assert!(!may_refuse(&old, came, 0, others), "{others:?}: due for a refresh");
        }
    }

    #[test]
    fn a_map_that_was_confirmed_since_the_request_came_refuses_in_any_case() {
        let began = Instant::now();
        let now = confirmed(began, 0);
        for others in [Others::None, Others::Freed(900), Others::Unknown] {
            assert!(may_refuse(&now, began + CAME, 0, others), "{others:?}");
        }
    }

    #[test]
    fn a_map_older_than_what_the_caller_has_seen_refuses_nothing() {
        let began = Instant::now();
        let now = confirmed(began, 0);
        assert!(may_refuse(&now, began + CAME, 7, Others::None));
        assert!(!may_refuse(&now, began + CAME, 8, Others::None));
        let never = RefusedSeats { confirmed: None, ..now };
        assert!(!may_refuse(&never, began + CAME, 0, Others::None), "read from a replica alone");
    }
}
