//! Refusing seats from memory: a shortcut that must not contradict an answer which has left any process.
//!
//! Seats become free in two ways. A hold ends by time: a map knows that time. Or somebody gives them back: a map
//! that does not know of it yet must not refuse them. So a map refuses by itself only if it is at the newest
//! version at which seats of its schedule were given back, or if the primary has confirmed it since the request
//! came. Everything else is left to the seat locks and the rows.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::domain::ids::{ScheduleId, SeatNumber};
use crate::domain::rejection::ConflictReason;
use crate::telemetry::request_context;

use super::SeatMaps;
use super::loaded::{LoadedSchedule, RefusedSeats, STALE};

/// How long a request waits for the primary to confirm a map. After that the seat locks and the rows decide.
const PATIENCE: Duration = Duration::from_millis(250);

/// What is known of other processes that give seats back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Others {
    /// There are none: the database is a file of this process.
    None,
    /// The newest version at which they did, asked for after the request came.
    Freed(i64),
    /// Nothing.
    Unknown,
}

/// Whether a map may refuse a request that came at `came` and has seen the version `at_least`.
fn may_refuse(gone: &RefusedSeats, came: Instant, at_least: i64, others: Others) -> bool {
    let Some(confirmed) = gone.confirmed.filter(|_| gone.version >= at_least) else { return false };
    // A process that cannot reach Redis holds its answer back until maps as old as this refuse nothing.
    let recent = came.saturating_duration_since(confirmed) < STALE;
    confirmed >= came
        || recent
            && match others {
                Others::None => true,
                Others::Freed(version) => gone.version >= version,
                Others::Unknown => false,
            }
}

impl SeatMaps {
    /// Which of the seats are not to be had: sold, blocked, or held by a hold that is alive. None if memory
    /// cannot say that for sure; a grant never comes from here. `at_least` is a version that the caller has seen.
    pub async fn refusals(
        self: &Arc<Self>,
        id: ScheduleId,
        seats: &[SeatNumber],
        at_least: i64,
    ) -> Vec<(SeatNumber, ConflictReason)> {
        let came = Instant::now();
        let Some(loaded) = self.loaded(id).filter(|_| !seats.is_empty()) else { return Vec::new() };
        let gone = loaded.gone(&self.sources.store, seats).unwrap_or_default();
        if gone.seats.is_empty() {
            self.refresh(loaded);
            return Vec::new();
        }
        let at_least = at_least.max(self.freed_here(id));
        if may_refuse(&gone, came, at_least, self.others(id).await) {
            self.refresh(loaded);
            return gone.seats;
        }
        self.confirmed(&loaded, seats, came, at_least).await.unwrap_or_default()
    }

    /// Whether the primary says, now, that all of the seats are free.
    pub async fn are_free_now(&self, id: ScheduleId, seats: &[SeatNumber]) -> bool {
        let Some(loaded) = self.loaded(id) else { return false };
        let gone = self.confirmed(&loaded, seats, Instant::now(), self.freed_here(id)).await;
        gone.is_some_and(|gone| gone.is_empty())
    }

    /// Whether this process knows for sure that all of the seats are to be had.
    #[must_use]
    pub fn are_free(&self, id: ScheduleId, seats: &[SeatNumber]) -> bool {
        let loaded = self.loaded(id).filter(|loaded| loaded.age() < STALE);
        let gone = loaded.and_then(|loaded| loaded.gone(&self.sources.store, seats));
        gone.is_some_and(|gone| gone.seats.is_empty())
    }

    /// What has just been given back here, and must be known to every process before the answers leave. Waits
    /// until it is, or until no map can be in use that does not know it.
    pub async fn given_back(&self, freed: &[(ScheduleId, i64)]) {
        if let Some(shared) = &self.sources.shared
            && !shared.tell_freed(freed).await
        {
            tokio::time::sleep(STALE).await;
        }
    }

    /// Which of the seats are not to be had, by a map that the primary has confirmed after `came`; `None` if it
    /// does not answer in time.
    async fn confirmed(
        &self,
        loaded: &LoadedSchedule,
        seats: &[SeatNumber],
        came: Instant,
        at_least: i64,
    ) -> Option<Vec<(SeatNumber, ConflictReason)>> {
        let confirming = loaded.confirm(&self.sources, came);
        tokio::time::timeout(PATIENCE, confirming).await.ok()?.ok()?;
        let gone = loaded.gone(&self.sources.store, seats)?;
        may_refuse(&gone, came, at_least, Others::Unknown).then_some(gone.seats)
    }

    async fn others(&self, id: ScheduleId) -> Others {
        match &self.sources.shared {
            Some(shared) => shared.freed(id).await.map_or(Others::Unknown, Others::Freed),
            None if self.sources.store.is_embedded() => Others::None,
            None => Others::Unknown,
        }
    }

    /// Confirms a map in the background if it is due, for those who come later.
    fn refresh(self: &Arc<Self>, loaded: Arc<LoadedSchedule>) {
        if loaded.is_due() {
            let maps = Arc::clone(self);
            request_context::spawn(async move { loaded.refresh(&maps.sources).await });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAME: Duration = Duration::from_secs(10);

    /// A map at version 7 that was confirmed so many milliseconds before the request came.
    fn confirmed(began: Instant, before_ms: u64) -> RefusedSeats {
        let confirmed = Some(began + CAME - Duration::from_millis(before_ms));
        RefusedSeats { seats: Vec::new(), version: 7, confirmed }
    }

    #[test]
    fn a_map_refuses_only_if_it_knows_of_every_seat_that_was_given_back() {
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
    fn a_map_that_was_confirmed_since_the_request_came_refuses_whatever_others_do() {
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
