//! What one schedule in memory has: the newest known states, when they were confirmed, and what makes them too old.
//!
//! Nothing here reads a database; [`super::loaded`] and [`super::catch_up`] do.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::domain::ids::{InHistory, SeatNumber};
use crate::domain::rejection::ConflictReason;
use crate::store::Journal;

use super::states::{SeatSnapshot, SeatStates};
use super::times::{ANNOUNCEMENT_PAUSE, FRESH, RETRY_PAUSE, SHARE_INTERVAL};
use super::wire::WireSeats;

/// The state of a schedule in memory.
#[derive(Debug, Default)]
pub(super) struct ScheduleCache {
    pub(super) states: Option<CachedStates>,
    /// Older states are not fresh: this process has answered or committed this version.
    pub(super) min_version: i64,
    /// The newest version that another process has announced since the journal was read last.
    pub(super) announced: i64,
    /// When the databases last failed to answer.
    pub(super) failed_at: Option<Instant>,
    /// When this process last shared the map, and at which version.
    pub(super) shared: Option<(Instant, i64)>,
}

/// The newest known states.
#[derive(Debug)]
pub(super) struct CachedStates {
    pub(super) snapshot: SeatSnapshot,
    /// When they were last known to be the newest.
    pub(super) confirmed_at: Instant,
    /// The same, if the primary confirmed it, which never lags.
    pub(super) primary_confirmed_at: Option<Instant>,
}

/// Which of some seats are refused by the states in memory, and how well they are confirmed.
#[derive(Debug, Default)]
pub(super) struct RefusedSeats {
    pub(super) seats: Vec<(SeatNumber, ConflictReason)>,
    /// The version of the states.
    pub(super) version: i64,
    /// When the primary last confirmed that they were the newest.
    pub(super) confirmed: Option<Instant>,
}

/// A read of the database that may confirm states.
#[derive(Debug, Clone, Copy)]
pub(super) struct Read {
    pub(super) started_at: Instant,
    pub(super) is_primary: bool,
}

/// The result of applying the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Applied {
    /// The states are the newest.
    Newest,
    /// The database that was read lags behind this process.
    Behind,
    /// The journal does not lead to the version of the database: all seats must be read.
    Diverged,
}

impl ScheduleCache {
    /// The states at `at_least` or newer, with their age.
    pub(super) fn states(&self, at_least: i64) -> Option<(Arc<SeatStates>, Duration)> {
        let current = self.states.as_ref()?;
        let states = &current.snapshot.states;
        let age = current.confirmed_at.elapsed();
        (states.version >= at_least).then(|| (Arc::clone(states), age))
    }

    /// The states at `at_least` or newer, with their age, if they need no read.
    pub(super) fn fresh_states(&self, at_least: i64) -> Option<(Arc<SeatStates>, Duration)> {
        self.states(at_least.max(self.min_version))
            .filter(|(states, age)| self.is_fresh(states.version, *age))
    }

    /// Whether the primary should confirm the states.
    pub(super) fn needs_confirmation(&self) -> bool {
        let is_fresh = |current: &CachedStates| {
            let age = current.primary_confirmed_at.map(|at| at.elapsed());
            age.is_some_and(|age| self.is_fresh(current.snapshot.states.version, age))
        };
        !self.states.as_ref().is_some_and(is_fresh) && !self.is_backing_off()
    }

    fn is_fresh(&self, version: i64, age: Duration) -> bool {
        let has_newer = self.announced > version && age >= ANNOUNCEMENT_PAUSE;
        age < FRESH && !has_newer
    }

    /// Whether the databases have just failed to answer: readers would only wait for the next failure.
    pub(super) fn is_backing_off(&self) -> bool {
        self.failed_at.is_some_and(|at| at.elapsed() < RETRY_PAUSE)
    }

    /// Replaces the states unless they are newer than these. A replica that lags behind `min_version` replaces
    /// nothing: versions never go back. Returns whether they were replaced.
    pub(super) fn replace(&mut self, snapshot: SeatSnapshot, read: Read) -> bool {
        let version = snapshot.states.version;
        let replaced = self.states.as_ref().is_none_or(|it| it.snapshot.states.version <= version)
            && (version >= self.min_version || read.is_primary);
        if replaced {
            self.states = Some(CachedStates::new(snapshot, read));
        }
        replaced
    }

    /// The newest states, if it is time to share them with other processes.
    pub(super) fn take_due_share(&mut self) -> Option<(InHistory<i64>, WireSeats)> {
        let snapshot = &self.states.as_ref()?.snapshot;
        let version = snapshot.states.version;
        let was_shared =
            |(at, shared): (Instant, i64)| shared >= version || at.elapsed() < SHARE_INTERVAL;
        if self.shared.is_some_and(was_shared) {
            return None;
        }
        self.shared = Some((Instant::now(), version));
        Some((snapshot.states.at(), snapshot.seats()))
    }
}

impl CachedStates {
    pub(super) fn new(snapshot: SeatSnapshot, read: Read) -> Self {
        let confirmed_at = read.started_at;
        let primary_confirmed_at = read.is_primary.then_some(confirmed_at);
        Self { snapshot, confirmed_at, primary_confirmed_at }
    }

    /// Applies the journal of this read, which must lead to `min_version` at least.
    pub(super) fn apply_journal(
        &mut self,
        journal: &Journal,
        min_version: i64,
        read: Read,
    ) -> Applied {
        if journal.history != self.snapshot.states.history {
            return Applied::Diverged;
        }
        for entry in &journal.entries {
            if entry.version > self.snapshot.states.version && !self.snapshot.apply(entry) {
                return Applied::Diverged;
            }
        }
        let version = self.snapshot.states.version;
        if journal.head > version {
            // A limit of the read, or entries that are missing.
            return Applied::Diverged;
        }
        if journal.head < version || version < min_version {
            return Applied::Behind;
        }
        self.confirmed_at = read.started_at;
        if read.is_primary {
            self.primary_confirmed_at = Some(read.started_at);
        }
        Applied::Newest
    }
}
