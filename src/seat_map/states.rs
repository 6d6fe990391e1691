//! The states of a schedule's seats at one version.

use std::collections::HashMap;
use std::sync::Arc;

use crate::domain::catalogue::Counts;
use crate::domain::clock::EpochMs;
use crate::domain::ids::{HistoryId, InHistory, SeatNumber};
use crate::domain::rejection::ConflictReason;
use crate::domain::rows::JournalEntry;
use crate::domain::seat::SeatState;

use super::wire::{WireSeats, pack};

/// The states of all seats of a schedule at one version. They do not change while a reader has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeatStates {
    /// The history of the database that the version counts in.
    pub history: HistoryId,
    /// The version.
    pub version: i64,
    /// By number: 0 available, 1 held, 2 booked, 3 blocked.
    pub codes: Vec<u8>,
    /// How many seats are in each state.
    pub counts: Counts,
}

impl SeatStates {
    pub(crate) fn new(at: InHistory<i64>, codes: Vec<u8>) -> Self {
        let counts = Counts::of(codes.iter().copied());
        Self { history: at.history, version: at.at, codes, counts }
    }

    /// The version in its history, as it is written in entity tags and event ids.
    #[must_use]
    pub fn at(&self) -> InHistory<i64> {
        InHistory { history: self.history, at: self.version }
    }

    /// Two bits per seat in plan order: seat i is in byte i/4, at the bits from 2(i mod 4).
    #[must_use]
    pub fn packed(&self) -> Vec<u8> {
        pack(&self.codes)
    }
}

/// The states of a schedule's seats, and when the holds among them end.
#[derive(Debug)]
pub(super) struct SeatSnapshot {
    pub(super) states: Arc<SeatStates>,
    until: HashMap<SeatNumber, EpochMs>,
}

impl SeatSnapshot {
    /// Creates a snapshot from all seats at a version: the state number of each seat, and the end of its hold if it is
    /// held.
    pub(super) fn new(at: InHistory<i64>, seats: &[(u8, Option<EpochMs>)]) -> Self {
        let codes = seats.iter().map(|(code, _)| *code).collect();
        let held = (0..).zip(seats).filter_map(|(n, (_, until))| Some((SeatNumber(n), (*until)?)));
        Self { states: Arc::new(SeatStates::new(at, codes)), until: held.collect() }
    }

    /// All seats, in the form of the argument of [`SeatSnapshot::new`].
    pub(super) fn seats(&self) -> WireSeats {
        let codes = (0..).zip(&self.states.codes);
        codes.map(|(n, code)| (*code, self.until.get(&SeatNumber(n)).copied())).collect()
    }

    /// When the hold on a seat ends, as stored; `None` if the seat is not held.
    pub(super) fn held_until(&self, seat: SeatNumber) -> Option<EpochMs> {
        self.until.get(&seat).copied()
    }

    /// Applies the entry of the next version. For any other entry, changes nothing and returns false.
    pub(super) fn apply(&mut self, entry: &JournalEntry) -> bool {
        if entry.version != self.states.version + 1 {
            return false;
        }
        // Copies the states only if a reader has them.
        let states = Arc::make_mut(&mut self.states);
        states.version = entry.version;
        for (number, state) in &entry.changes {
            if let Some(code) = states.codes.get_mut(number.0 as usize) {
                states.counts.moved(*code, state.code());
                *code = state.code();
            }
            match state {
                SeatState::Held { until, .. } => self.until.insert(*number, *until),
                _ => self.until.remove(number),
            };
        }
        true
    }

    /// Those of the seats that are sold, blocked, or held until a time after `now`.
    pub(super) fn refusals(
        &self,
        seats: &[SeatNumber],
        now: EpochMs,
    ) -> Vec<(SeatNumber, ConflictReason)> {
        let reason = |seat: &SeatNumber| match self.states.codes.get(seat.0 as usize)? {
            1 if self.until.get(seat).is_some_and(|until| *until > now) => {
                Some((*seat, ConflictReason::Held))
            }
            2 => Some((*seat, ConflictReason::Booked)),
            3 => Some((*seat, ConflictReason::Blocked)),
            _ => None,
        };
        seats.iter().filter_map(reason).collect()
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::ids::ScheduleId;

    fn at(version: i64) -> InHistory<i64> {
        InHistory { history: HistoryId::TEST, at: version }
    }

    fn entry(version: i64, changes: Vec<(SeatNumber, SeatState)>) -> JournalEntry {
        JournalEntry { schedule: ScheduleId(1), version, changes }
    }

    #[test]
    fn seat_i_is_in_byte_i_over_4_at_bits_2_times_i_mod_4() {
        let states = SeatStates::new(at(1), vec![0, 1, 2, 3, 1]);
        assert_eq!(states.packed(), [0b11_10_01_00, 0b01]);
        assert_eq!(states.counts, Counts { available: 1, held: 2, booked: 1, blocked: 1 });
    }

    #[test]
    fn only_the_next_version_is_applied() {
        let mut snapshot = SeatSnapshot::new(at(5), &[(0, None), (0, None)]);
        let booked = SeatState::Booked { booking: Uuid::nil() };
        assert!(!snapshot.apply(&entry(7, vec![(SeatNumber(0), booked)])));
        assert!(!snapshot.apply(&entry(5, vec![(SeatNumber(0), booked)])));
        assert_eq!(snapshot.states.codes, [0, 0]);
        assert!(snapshot.apply(&entry(6, vec![(SeatNumber(1), booked)])));
        assert_eq!(
            (snapshot.states.version, snapshot.states.codes.as_slice()),
            (6, [0, 2].as_slice())
        );
        assert_eq!(snapshot.states.counts, Counts { available: 1, booked: 1, ..Counts::default() });
    }

    #[test]
    fn a_seat_is_refused_while_it_is_sold_blocked_or_held_and_never_after_the_hold_ends() {
        let snapshot =
            SeatSnapshot::new(at(1), &[(0, None), (1, Some(EpochMs(50))), (2, None), (3, None)]);
        let all: Vec<SeatNumber> = (0..5).map(SeatNumber).collect();
        let reasons = |now| -> Vec<_> {
            snapshot.refusals(&all, EpochMs(now)).into_iter().map(|(seat, r)| (seat.0, r)).collect()
        };
        use ConflictReason::{Blocked, Booked, Held};
        assert_eq!(reasons(49), [(1, Held), (2, Booked), (3, Blocked)]);
        assert_eq!(reasons(50), [(2, Booked), (3, Blocked)]);
    }

    #[test]
    fn an_extension_moves_the_end_of_a_hold_and_a_release_removes_it() {
        let mut snapshot = SeatSnapshot::new(at(1), &[(1, Some(EpochMs(50)))]);
        let held = SeatState::Held { hold: Uuid::nil(), until: EpochMs(90) };
        assert!(snapshot.apply(&entry(2, vec![(SeatNumber(0), held)])));
        assert_eq!(snapshot.refusals(&[SeatNumber(0)], EpochMs(60)).len(), 1);
        assert!(snapshot.apply(&entry(3, vec![(SeatNumber(0), SeatState::Available)])));
        assert!(snapshot.refusals(&[SeatNumber(0)], EpochMs(60)).is_empty());
    }
}
