//! The journal as it is read again from its beginning: no version may be missing, and in the end the
//! seats must be what it says.

use crate::domain::clock::EpochMs;
use crate::domain::ids::SeatNumber;
use crate::domain::seat::SeatState;
use crate::domain::version::HISTORY_JUMP;

/// The version of a schedule that nobody has touched; no entry leads to it.
const FIRST_VERSION: i64 = 1;

/// The state of a seat as the journal tells it: wire number, and the written end of a hold.
pub(super) type JournalledState = (u8, Option<EpochMs>);

/// What a state looks like in the journal.
pub(super) fn told(state: SeatState) -> JournalledState {
    match state {
        SeatState::Held { until, .. } => (state.code(), Some(until)),
        _ => (state.code(), None),
    }
}

/// How far the reading has come.
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

    /// Takes the next entry; says whether a version is missing before it.
    pub(super) fn take(&mut self, version: i64, changes: &[(SeatNumber, SeatState)]) -> bool {
        let follows = self.is_followed_by(version - 1);
        self.version = version;
        for (number, state) in changes {
            if let Some(known) = self.states.get_mut(number.0 as usize) {
                *known = told(*state);
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
        assert!(replay.take(2, &[]));
        assert!(
            replay.take(1_000_003, &[]),
            "two million and more come at once after two failovers"
        );
        assert!(replay.take(3_000_004, &[]));
        assert!(!replay.take(3_000_006, &[]));
        assert!(replay.is_followed_by(3_000_006) && replay.is_followed_by(4_000_006));
        assert!(!replay.is_followed_by(3_000_005) && !replay.is_followed_by(3_000_007));
    }
}
