//! Replays the journal from its beginning: it must have every version, and lead to the states of the seats.

use crate::domain::clock::EpochMs;
use crate::domain::ids::SeatNumber;
use crate::domain::seat::SeatState;
use crate::domain::version::HISTORY_JUMP;

/// The version of a new schedule; no entry leads to it.
const FIRST_VERSION: i64 = 1;

/// A state in the journal: its code, and the stored end of a hold.
pub(super) type JournalledState = (u8, Option<EpochMs>);

pub(super) fn journalled(state: SeatState) -> JournalledState {
    match state {
        SeatState::Held { until, .. } => (state.code(), Some(until)),
        _ => (state.code(), None),
    }
}

/// The states after the entries read so far.
pub(super) struct Replay {
    version: i64,
    states: Vec<JournalledState>,
}

impl Replay {
    pub(super) fn new(seats: usize) -> Self {
        Self { version: FIRST_VERSION, states: vec![(0, None); seats] }
    }

    /// The version read last.
    pub(super) fn version(&self) -> i64 {
        self.version
    }

    /// Applies the next entry. Returns whether no version is missing before it.
    pub(super) fn apply(&mut self, version: i64, changes: &[(SeatNumber, SeatState)]) -> bool {
        let follows = self.is_followed_by(version - 1);
        self.version = version;
        for (number, state) in changes {
            if let Some(current) = self.states.get_mut(number.0 as usize) {
                *current = journalled(*state);
            }
        }
        follows
    }

    /// Whether this version can be the schedule's own after the last entry read.
    pub(super) fn is_followed_by(&self, version: i64) -> bool {
        version >= self.version && (version - self.version) % HISTORY_JUMP == 0
    }

    pub(super) fn state(&self, number: usize) -> Option<JournalledState> {
        self.states.get(number).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_history_is_no_gap_and_a_missing_version_is() {
        let mut replay = Replay::new(1);
        assert!(replay.apply(2, &[]));
        assert!(replay.apply(1_000_003, &[]));
        assert!(replay.apply(3_000_004, &[]), "two failovers add two million");
        assert!(!replay.apply(3_000_006, &[]));
        assert!(replay.is_followed_by(3_000_006) && replay.is_followed_by(4_000_006));
        assert!(!replay.is_followed_by(3_000_005) && !replay.is_followed_by(3_000_007));
    }
}
