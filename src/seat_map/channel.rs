//! The live stream of one schedule. When the states change, it sends an update to all listeners.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::broadcast;

use crate::domain::ids::{HistoryId, InHistory, SeatNumber};

use super::change_log::ChangeLog;
use super::states::SeatStates;
use super::times::{
    KEEP_ALIVE_INTERVAL, STREAM_IDLE_MAX, STREAM_INTERVAL, STREAM_INTERVAL_MAX,
    STREAM_INTERVAL_PER_LISTENER,
};

/// The most updates that a listener may be behind. A slower listener is disconnected.
const BEHIND_MAX: usize = 32;

/// Up to this number of changes, an opening contains single changes even if a snapshot of the map would be smaller.
const CHANGES_MIN: usize = 64;

/// The number of seats of a snapshot that take about as many bytes as one change.
const SEATS_PER_CHANGE: usize = 27;

/// An event of a stream.
#[derive(Debug)]
pub enum StreamEvent {
    /// The states of all seats.
    Snapshot(Arc<SeatStates>),
    /// Seats that may have changed, and the newest states.
    Changes(Vec<SeatNumber>, Arc<SeatStates>),
    /// No change. It keeps the connection open.
    KeepAlive,
    /// The stream ends because the service stops.
    Closing,
}

/// An event for all listeners, encoded once for all of them.
#[derive(Debug)]
pub struct Update {
    /// The event.
    pub event: StreamEvent,
    frame: OnceLock<Bytes>,
}

impl Update {
    fn new(event: StreamEvent) -> Arc<Self> {
        Arc::new(Self { event, frame: OnceLock::new() })
    }

    /// The encoded event; the first call encodes it with `write`.
    pub fn frame(&self, write: impl FnOnce(&StreamEvent) -> Vec<u8>) -> Bytes {
        self.frame.get_or_init(|| Bytes::from(write(&self.event))).clone()
    }
}

/// The last version that a returning listener has received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastSeen {
    /// The history of the database, if the listener names it.
    pub history: Option<HistoryId>,
    /// The version.
    pub version: i64,
}

/// A new listener: its opening, and all updates after the opening.
#[derive(Debug)]
pub struct Listener {
    /// A snapshot, or the changes that the listener has missed.
    pub opening: Arc<Update>,
    /// The updates after the opening.
    pub updates: broadcast::Receiver<Arc<Update>>,
}

/// The stream of one schedule.
#[derive(Debug)]
pub(super) struct Channel {
    updates: broadcast::Sender<Arc<Update>>,
    state: Mutex<State>,
    /// Held by the task that reads the journal for returning listeners.
    pub(super) reading_journal: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct State {
    newest: Arc<SeatStates>,
    /// The opening with the states of all seats at `newest`, if a listener has needed it.
    snapshot: Option<Arc<Update>>,
    log: ChangeLog,
    changed_at: Instant,
    sent_at: Instant,
    listened_at: Instant,
}

impl Channel {
    pub(super) fn new(newest: Arc<SeatStates>) -> Self {
        let now = Instant::now();
        let state = State {
            newest,
            snapshot: None,
            log: ChangeLog::default(),
            changed_at: now,
            sent_at: now,
            listened_at: now,
        };
        Self {
            updates: broadcast::Sender::new(BEHIND_MAX),
            state: Mutex::new(state),
            reading_journal: tokio::sync::Mutex::default(),
        }
    }

    /// Whether enough time has passed for another update.
    pub(super) fn is_due(&self) -> bool {
        let listeners = u32::try_from(self.updates.receiver_count()).unwrap_or(u32::MAX);
        let interval = STREAM_INTERVAL + STREAM_INTERVAL_PER_LISTENER.saturating_mul(listeners);
        self.state.lock().changed_at.elapsed() >= interval.min(STREAM_INTERVAL_MAX)
    }

    /// Sends the changes to the listeners if these states are newer than those sent before. Returns whether it did.
    pub(super) fn advance(&self, states: &Arc<SeatStates>) -> bool {
        let mut state = self.state.lock();
        if states.version <= state.newest.version {
            return false;
        }
        let changed = difference(&state.newest, states);
        let from = state.newest.version;
        state.log.push(from, states.version, changed.clone());
        state.newest = Arc::clone(states);
        state.snapshot = None;
        state.changed_at = Instant::now();
        state.sent_at = state.changed_at;
        self.send(StreamEvent::Changes(changed, Arc::clone(states)));
        true
    }

    /// Sends a keep-alive if it is due. Returns whether it was.
    pub(super) fn send_keep_alive(&self) -> bool {
        let mut state = self.state.lock();
        let due = state.sent_at.elapsed() >= KEEP_ALIVE_INTERVAL;
        if due {
            state.sent_at = Instant::now();
            self.send(StreamEvent::KeepAlive);
        }
        due
    }

    /// Ends the stream of every listener.
    pub(super) fn close(&self) {
        self.send(StreamEvent::Closing);
    }

    fn send(&self, event: StreamEvent) {
        // Sending fails if there is no listener.
        drop(self.updates.send(Update::new(event)));
    }

    /// Whether the stream has had no listener for [`STREAM_IDLE_MAX`].
    pub(super) fn is_idle(&self) -> bool {
        let mut state = self.state.lock();
        if self.updates.receiver_count() > 0 {
            state.listened_at = Instant::now();
        }
        state.listened_at.elapsed() > STREAM_IDLE_MAX
    }

    /// Adds a listener that begins with the states of all seats.
    pub(super) fn listen(&self) -> Listener {
        self.open(self.state.lock(), None)
    }

    /// Adds a listener that begins with the changes after its last version. It begins with the states of all seats if
    /// these are smaller, or if its last version belongs to another history. Fails if the changes after its last
    /// version are not in the change log.
    pub(super) fn resume(&self, last: LastSeen) -> Result<Listener, Missed> {
        let state = self.state.lock();
        let newest = state.newest.at();
        // A version above the newest one does not exist yet.
        let changed = match last.history == Some(newest.history) && last.version <= newest.at {
            true => Some(state.changes_since(last.version).ok_or(Missed { newest })?),
            false => None,
        };
        Ok(self.open(state, changed))
    }

    /// Adds a listener that begins with the changes after `version`. `journal` contains the seats that changed from
    /// there to `until`, which was the newest version of this stream.
    pub(super) fn resume_with(
        &self,
        version: i64,
        until: i64,
        journal: Vec<SeatNumber>,
    ) -> Listener {
        let mut state = self.state.lock();
        let changed = state.changes_since(until).map(|later| {
            let mut changed = [journal.as_slice(), &later].concat();
            changed.sort_unstable();
            changed.dedup();
            changed
        });
        if changed.is_some() {
            let newest = state.newest.version;
            state.log.prepend(version, newest, journal);
        }
        self.open(state, changed)
    }

    /// Adds a listener that begins with these seats, or with all seats if `seats` is `None` or too long.
    fn open(&self, mut state: MutexGuard<'_, State>, seats: Option<Vec<SeatNumber>>) -> Listener {
        let newest = Arc::clone(&state.newest);
        let changes_max = (newest.codes.len() / SEATS_PER_CHANGE).max(CHANGES_MIN);
        let opening = match seats.filter(|seats| seats.len() <= changes_max) {
            Some(seats) => Update::new(StreamEvent::Changes(seats, newest)),
            None => {
                let all = || Update::new(StreamEvent::Snapshot(newest));
                Arc::clone(state.snapshot.get_or_insert_with(all))
            }
        };
        Listener { opening, updates: self.updates.subscribe() }
    }
}

impl State {
    /// The seats that may have changed after a version. `None` if the change log does not include all of them.
    fn changes_since(&self, version: i64) -> Option<Vec<SeatNumber>> {
        match version == self.newest.version {
            true => Some(Vec::new()),
            false => self.log.since(version),
        }
    }
}

/// The changes after the listener's version are not in the change log. `newest` is the version of the stream.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Missed {
    pub(super) newest: InHistory<i64>,
}

/// The seats whose states differ.
fn difference(one: &SeatStates, other: &SeatStates) -> Vec<SeatNumber> {
    // Whole blocks are compared first, because most of a map does not change.
    const BLOCK: usize = 256;
    let mut changed = Vec::new();
    let blocks = one.codes.chunks(BLOCK).zip(other.codes.chunks(BLOCK));
    for (block, (before, after)) in blocks.enumerate().filter(|(_, (a, b))| a != b) {
        let first = block * BLOCK;
        let seats = before.iter().zip(after).enumerate().filter(|(_, (a, b))| a != b);
        changed
            .extend(seats.filter_map(|(seat, _)| u32::try_from(first + seat).ok()).map(SeatNumber));
    }
    changed
}

#[cfg(test)]
mod tests;
