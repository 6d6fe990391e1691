//! The cache of one schedule: the newest known states, when they were confirmed, and when they are too old.
//!
//! This module does not read a database; [`super::loaded`] and [`super::catch_up`] do.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::domain::ids::SeatNumber;
use crate::domain::rejection::ConflictReason;
use crate::store::Journal;

use super::states::{SeatSnapshot, SeatStates};
use super::times::{ANNOUNCEMENT_PAUSE, FRESH, RETRY_PAUSE, SHARE_INTERVAL};

/// The state of a schedule in memory.
#[derive(Debug, Default)]
pub(super) struct ScheduleCache {
    pub(super) states: Option<CachedStates>,
    /// The newest version that this process has answered or committed. States below it are not fresh.
    pub(super) min_version: i64,
    /// The newest version that another process has announced since the last read of the journal.
    pub(super) announced: i64,
    /// When a read last failed; `None` if the last read succeeded.
    pub(super) failed_at: Option<Instant>,
    /// When this process last shared the map, and at which version.
    pub(super) shared: Option<(Instant, i64)>,
}

/// The newest known states.
#[derive(Debug)]
pub(super) struct CachedStates {
    pub(super) snapshot: SeatSnapshot,
    /// When a database last confirmed that the states are the newest.
    pub(super) confirmed_at: Instant,
    /// When the primary, which never lags, last confirmed that.
    pub(super) primary_confirmed_at: Option<Instant>,
}

/// The seats of a request that the states in memory refuse, and when these states were confirmed.
#[derive(Debug, Default)]
pub(super) struct RefusedSeats {
    pub(super) seats: Vec<(SeatNumber, ConflictReason)>,
    /// The version of the states.
    pub(super) version: i64,
    /// When the primary last confirmed that the states are the newest.
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
    /// The states are now the newest.
    Newest,
    /// The database that was read lags behind this process.
    Behind,
    /// The entries of the journal do not lead from the states to the newest version. All seats must be read.
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

    /// The states at `at_least` or newer, with their age, if they are fresh.
    pub(super) fn fresh_states(&self, at_least: i64) -> Option<(Arc<SeatStates>, Duration)> {
        self.states(at_least.max(self.min_version))
            .filter(|(states, age)| self.is_fresh(states.version, *age))
    }

    /// Whether the primary should confirm the states now, so that they can refuse later requests. While another process
    /// sells, it announces a commit between any two requests: only after a refusal (`is_behind`) is a commit that was
    /// announced worth a read.
    pub(super) fn needs_confirmation(&self, is_behind: bool) -> bool {
        let is_fresh = |current: &CachedStates| {
            let age = current.primary_confirmed_at.map(|at| at.elapsed());
            let version = if is_behind { current.snapshot.states.version } else { i64::MAX };
            age.is_some_and(|age| self.is_fresh(version, age))
        };
        !self.states.as_ref().is_some_and(is_fresh) && !self.is_backing_off()
    }

    fn is_fresh(&self, version: i64, age: Duration) -> bool {
        let has_newer = self.announced > version && age >= ANNOUNCEMENT_PAUSE;
        age < FRESH && !has_newer
    }

    /// Whether a read failed recently, so that another one would probably fail, too.
    pub(super) fn is_backing_off(&self) -> bool {
        self.failed_at.is_some_and(|at| at.elapsed() < RETRY_PAUSE)
    }

    /// Whether no states of a newer version are known.
    pub(super) fn is_not_newer_than(&self, version: i64) -> bool {
        self.states.as_ref().is_none_or(|cached| cached.snapshot.states.version <= version)
    }

    /// Replaces the states unless they are newer than `snapshot`. A snapshot below `min_version` from a replica
    /// replaces nothing, because versions never decrease. Returns whether the states were replaced.
    pub(super) fn replace(&mut self, snapshot: SeatSnapshot, read: Read) -> bool {
        let version = snapshot.states.version;
        let replaced =
            self.is_not_newer_than(version) && (version >= self.min_version || read.is_primary);
        if replaced {
            self.states = Some(CachedStates::new(snapshot, read));
        }
        replaced
    }

    /// Claims the next share of the map with other processes; returns whether it is due.
    pub(super) fn claim_share(&mut self) -> bool {
        let Some(current) = &self.states else { return false };
        let version = current.snapshot.states.version;
        let was_shared =
            |(at, shared): (Instant, i64)| shared >= version || at.elapsed() < SHARE_INTERVAL;
        let is_due = !self.shared.is_some_and(was_shared);
        if is_due {
            self.shared = Some((Instant::now(), version));
        }
        is_due
    }
}

impl CachedStates {
    pub(super) fn new(snapshot: SeatSnapshot, read: Read) -> Self {
        let confirmed_at = read.started_at;
        let primary_confirmed_at = read.is_primary.then_some(confirmed_at);
        Self { snapshot, confirmed_at, primary_confirmed_at }
    }

    /// Applies the journal of this read. The result must have at least `min_version`.
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
            // The read was limited, or entries are missing.
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
