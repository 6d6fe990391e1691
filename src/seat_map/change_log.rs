//! The seats that have changed recently, so that a returning listener gets only the changes that it has missed.

use std::collections::VecDeque;

use crate::domain::ids::SeatNumber;

/// The most seats in all deltas together. Above it, the oldest deltas are removed.
const SEATS_MAX: usize = 20_000;

/// The most deltas.
const DELTAS_MAX: usize = 1_024;

/// The latest deltas of a schedule's states, without gaps between them.
#[derive(Debug, Default)]
pub(super) struct ChangeLog {
    deltas: VecDeque<Delta>,
    seats: usize,
}

/// The changes from one version to a later one.
#[derive(Debug)]
struct Delta {
    from: i64,
    to: i64,
    /// The seats whose states differ between the two versions; in a delta from the journal, all seats that changed.
    changed: Vec<SeatNumber>,
    /// Whether `changed` includes seats that changed and changed back. If not, the delta cannot be used for versions
    /// between `from` and `to`.
    complete: bool,
}

impl ChangeLog {
    /// Adds the delta that leads to the newest version.
    pub(super) fn push(&mut self, from: i64, to: i64, changed: Vec<SeatNumber>) {
        if self.deltas.back().is_some_and(|last| last.to != from) {
            *self = Self::default();
        }
        self.seats += changed.len();
        self.deltas.push_back(Delta { from, to, changed, complete: false });
        while self.seats > SEATS_MAX || self.deltas.len() > DELTAS_MAX {
            self.seats -= self.deltas.pop_front().map_or(0, |delta| delta.changed.len());
        }
    }

    /// Prepends a delta with the seats that changed after `from`. It may overlap with the other deltas. If there are no
    /// others, the delta ends at `newest`.
    pub(super) fn prepend(&mut self, from: i64, newest: i64, changed: Vec<SeatNumber>) {
        let to = self.deltas.front().map_or(newest, |first| first.from);
        if from < to && self.seats + changed.len() <= SEATS_MAX {
            self.seats += changed.len();
            self.deltas.push_front(Delta { from, to, changed, complete: true });
        }
    }

    /// The seats whose states may have changed after `version`, in ascending order. `None` if the deltas begin after
    /// `version`, or do not include all seats that changed after it.
    pub(super) fn since(&self, version: i64) -> Option<Vec<SeatNumber>> {
        if self.deltas.front()?.from > version {
            return None;
        }
        let within = |delta: &&Delta| delta.from < version && version < delta.to;
        if self.deltas.iter().find(within).is_some_and(|delta| !delta.complete) {
            return None;
        }
        let later = self.deltas.iter().filter(|delta| delta.to > version);
        let mut changed: Vec<SeatNumber> =
            later.flat_map(|delta| &delta.changed).copied().collect();
        changed.sort_unstable();
        changed.dedup();
        Some(changed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seats(numbers: impl IntoIterator<Item = u32>) -> Vec<SeatNumber> {
        numbers.into_iter().map(SeatNumber).collect()
    }

    #[test]
    fn a_returning_listener_gets_each_seat_once_and_no_earlier_delta() {
        let mut log = ChangeLog::default();
        log.push(4, 6, seats([1, 2]));
        log.push(6, 7, seats([2, 9]));
        log.push(7, 9, seats([0]));
        assert_eq!(log.since(6), Some(seats([0, 2, 9])));
        assert_eq!(log.since(9), Some(seats([])));
        assert_eq!(log.since(4), Some(seats([0, 1, 2, 9])));
    }

    #[test]
    fn a_version_within_a_delta_is_served_only_if_the_delta_is_complete() {
        let mut log = ChangeLog::default();
        log.push(4, 6, seats([1]));
        log.push(6, 7, seats([2]));
        assert_eq!(log.since(5), None, "a seat may have changed at 5 and back at 6");
        log.prepend(2, 7, seats([1, 3]));
        assert_eq!(log.since(3), Some(seats([1, 2, 3])));
    }

    #[test]
    fn versions_before_the_first_delta_are_served_after_a_delta_is_prepended() {
        let mut log = ChangeLog::default();
        assert_eq!(log.since(4), None);
        log.push(6, 7, seats([2]));
        assert_eq!(log.since(5), None);
        log.prepend(3, 7, seats([8]));
        assert_eq!(log.since(5), Some(seats([2, 8])));
        assert_eq!(log.since(2), None);
        log.prepend(4, 7, seats([1]));
        assert_eq!(log.since(2), None, "the deltas still begin at 3");
        let mut empty = ChangeLog::default();
        empty.prepend(3, 7, seats([8]));
        empty.push(7, 8, seats([9]));
        assert_eq!(empty.since(3), Some(seats([8, 9])));
    }

    #[test]
    fn the_oldest_deltas_are_dropped_and_a_gap_drops_all() {
        let mut log = ChangeLog::default();
        for version in 0..i64::try_from(DELTAS_MAX).unwrap() + 1 {
            log.push(version, version + 1, seats([0]));
        }
        assert_eq!(log.since(0), None);
        assert_eq!(log.since(1), Some(seats([0])));
        let newest = i64::try_from(DELTAS_MAX).unwrap() + 1;
        log.push(newest, newest + 1, seats(0..20_001));
        assert_eq!((log.since(newest), log.seats), (None, 0));
        log.push(newest + 1, newest + 2, seats([1]));
        log.push(newest + 5, newest + 6, seats([2]));
        assert_eq!(log.since(newest + 1), None);
        assert_eq!(log.since(newest + 5), Some(seats([2])));
    }
}
