//! The live stream of one schedule: its newest states, and an update for all listeners whenever they move.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use actix_web::web::Bytes;
use tokio::sync::broadcast;

use crate::domain::ids::{HistoryId, InHistory, SeatNumber};

use super::change_log::ChangeLog;
use super::states::SeatStates;

/// Updates that a listener may be behind; one that is slower is let go.
const BEHIND_MAX: usize = 32;

/// Between two updates, so that what many commits change is told at once.
const INTERVAL: Duration = Duration::from_millis(50);

/// What each listener adds to that: writing one update to all of them takes about half of it.
const INTERVAL_PER_LISTENER: Duration = Duration::from_micros(40);

/// The longest time between a change and its update.
const INTERVAL_MAX: Duration = Duration::from_millis(500);

/// After so long without an update the listeners get a sign of life.
const SIGN_OF_LIFE: Duration = Duration::from_secs(15);

/// A stream that nobody has listened to for this long is forgotten.
const IDLE: Duration = Duration::from_secs(30);

/// So many changed seats are told one by one however small the map is.
const CHANGES_TOLD: usize = 64;

/// A seat told as a change takes about as many bytes as this many seats of a snapshot.
const SEATS_PER_CHANGE: usize = 27;

/// What a listener is told.
#[derive(Debug)]
pub enum StreamEvent {
    /// The states of all seats.
    Snapshot(Arc<SeatStates>),
    /// These seats may have changed; their states now, and the counts.
    Changes(Vec<SeatNumber>, Arc<SeatStates>),
    /// That the stream is alive.
    SignOfLife,
    /// That the stream ends because the service stops.
    Bye,
}

/// An update for all listeners, written once for all of them.
#[derive(Debug)]
pub struct Update {
    /// What is told.
    pub news: StreamEvent,
    frame: OnceLock<Bytes>,
}

impl Update {
    fn new(news: StreamEvent) -> Arc<Self> {
        Arc::new(Self { news, frame: OnceLock::new() })
    }

    /// What is sent: `write` makes it, once.
    pub fn frame(&self, write: fn(&StreamEvent) -> Vec<u8>) -> Bytes {
        self.frame.get_or_init(|| Bytes::from(write(&self.news))).clone()
    }
}

/// What a listener that comes back has seen last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastSeen {
    /// In which history of the database; absent if it does not say.
    pub history: Option<HistoryId>,
    /// The version.
    pub version: i64,
}

/// What a new listener gets: how it begins, and all updates after that.
#[derive(Debug)]
pub struct Listener {
    /// A snapshot, or what the listener has missed.
    pub opening: Arc<Update>,
    /// The updates after the opening.
    pub updates: broadcast::Receiver<Arc<Update>>,
}

/// The stream of one schedule.
#[derive(Debug)]
pub(super) struct Channel {
    updates: broadcast::Sender<Arc<Update>>,
    state: Mutex<State>,
    /// Held by the one who reads the journal for those who come back.
    pub(super) recalling: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct State {
    newest: Arc<SeatStates>,
    /// The opening with all of `newest`, once somebody needed it.
    snapshot: Option<Arc<Update>>,
    past: ChangeLog,
    moved: Instant,
    spoke: Instant,
    listened: Instant,
}

impl Channel {
    pub(super) fn new(newest: Arc<SeatStates>) -> Self {
        let now = Instant::now();
        let (past, snapshot) = (ChangeLog::default(), None);
        let state = State { newest, snapshot, past, moved: now, spoke: now, listened: now };
        Self {
            updates: broadcast::Sender::new(BEHIND_MAX),
            state: Mutex::new(state),
            recalling: tokio::sync::Mutex::default(),
        }
    }

    /// Whether enough time has passed for another update.
    pub(super) fn is_due(&self) -> bool {
        let listeners = u32::try_from(self.updates.receiver_count()).unwrap_or(u32::MAX);
        let interval = INTERVAL + INTERVAL_PER_LISTENER.saturating_mul(listeners);
        self.state().moved.elapsed() >= interval.min(INTERVAL_MAX)
    }

    /// Tells the listeners what is different in these states, if they are newer. True if something was
    /// told.
    pub(super) fn advance(&self, states: &Arc<SeatStates>) -> bool {
        let mut state = self.state();
        if states.version <= state.newest.version {
            return false;
        }
        let changed = difference(&state.newest, states);
        let from = state.newest.version;
        state.past.push(from, states.version, changed.clone());
        state.newest = Arc::clone(states);
        state.snapshot = None;
        state.moved = Instant::now();
        state.spoke = state.moved;
        // Nobody may be listening.
        drop(self.updates.send(Update::new(StreamEvent::Changes(changed, Arc::clone(states)))));
        true
    }

    /// A sign of life if it is time for one. True if there was.
    pub(super) fn reassure(&self) -> bool {
        let mut state = self.state();
        let due = state.spoke.elapsed() >= SIGN_OF_LIFE;
        if due {
            state.spoke = Instant::now();
            drop(self.updates.send(Update::new(StreamEvent::SignOfLife)));
        }
        due
    }

    /// Says goodbye to everybody who listens.
    pub(super) fn close(&self) {
        drop(self.updates.send(Update::new(StreamEvent::Bye)));
    }

    /// Whether nobody has listened for long.
    pub(super) fn is_idle(&self) -> bool {
        let mut state = self.state();
        if self.updates.receiver_count() > 0 {
            state.listened = Instant::now();
        }
        state.listened.elapsed() > IDLE
    }

    /// Begins to listen with all states.
    pub(super) fn listen(&self) -> Listener {
        self.begin(self.state(), None)
    }

    /// Begins to listen where a listener has left off: with what it has missed, or with all states if
    /// that is less, or if it comes from another history. The newest version is given back if what came after
    /// the listener's is not remembered.
    pub(super) fn resume(&self, last: LastSeen) -> Result<Listener, Missed> {
        let state = self.state();
        let newest = state.newest.at();
        // A version above the newest one does not exist yet.
        let changed = match last.history == Some(newest.history) && last.version <= newest.at {
            true => Some(state.since(last.version).ok_or(Missed { newest })?),
            false => None,
        };
        Ok(self.begin(state, changed))
    }

    /// Begins to listen after a version of which the journal remembers what was touched until `until`, which
    /// was the newest here.
    pub(super) fn resume_with(
        &self,
        version: i64,
        until: i64,
        touched: Vec<SeatNumber>,
    ) -> Listener {
        let mut state = self.state();
        let changed = state.since(until).map(|later| {
            let mut changed = [touched.as_slice(), &later].concat();
            changed.sort_unstable();
            changed.dedup();
            changed
        });
        if changed.is_some() {
            let newest = state.newest.version;
            state.past.reach_back(version, newest, touched);
        }
        self.begin(state, changed)
    }

    /// Begins with these seats, or with all where they are not known or are that many.
    fn begin(&self, mut state: MutexGuard<'_, State>, seats: Option<Vec<SeatNumber>>) -> Listener {
        let newest = Arc::clone(&state.newest);
        let told_at_most = (newest.codes.len() / SEATS_PER_CHANGE).max(CHANGES_TOLD);
        let opening = match seats.filter(|seats| seats.len() <= told_at_most) {
            Some(seats) => Update::new(StreamEvent::Changes(seats, newest)),
            None => {
                let all = || Update::new(StreamEvent::Snapshot(newest));
                Arc::clone(state.snapshot.get_or_insert_with(all))
            }
        };
        Listener { opening, updates: self.updates.subscribe() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The seats that may have changed since a version, the newest included; `None` if that is not known.
    fn since(&self, version: i64) -> Option<Vec<SeatNumber>> {
        match version == self.newest.version {
            true => Some(Vec::new()),
            false => self.past.since(version),
        }
    }
}

/// What a listener has missed is not remembered; the stream is at this version.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Missed {
    pub(super) newest: InHistory<i64>,
}

/// The seats whose states are not the same in both.
fn difference(one: &SeatStates, other: &SeatStates) -> Vec<SeatNumber> {
    // Whole stretches first: most of a map stays as it is.
    const STRETCH: usize = 256;
    let mut changed = Vec::new();
    let stretches = one.codes.chunks(STRETCH).zip(other.codes.chunks(STRETCH));
    for (place, (before, after)) in stretches.enumerate().filter(|(_, (a, b))| a != b) {
        let first = place * STRETCH;
        let seats = before.iter().zip(after).enumerate().filter(|(_, (a, b))| a != b);
        changed
            .extend(seats.filter_map(|(seat, _)| u32::try_from(first + seat).ok()).map(SeatNumber));
    }
    changed
}

#[cfg(test)]
mod tests;
