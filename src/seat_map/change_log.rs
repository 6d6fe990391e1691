//! Which seats changed lately, so that a listener who comes back is told only what it has missed.

use std::collections::VecDeque;

use crate::domain::ids::SeatNumber;

/// Seats named by all steps together; the oldest steps are forgotten beyond it.
const SEATS_MAX: usize = 20_000;

/// Steps remembered, however small.
const STEPS_MAX: usize = 1_024;

/// The latest steps of a schedule's states, one behind the other.
#[derive(Debug, Default)]
pub(super) struct ChangeLog {
    steps: VecDeque<Step>,
    seats: usize,
}

/// From one version to a later one.
#[derive(Debug)]
struct Step {
    from: i64,
    to: i64,
    /// The seats whose states differ between the two; of a step from the journal all that were touched.
    changed: Vec<SeatNumber>,
    /// Whether seats are among them that changed and changed back. Without those the step helps nobody
    /// whose version lies within it.
    complete: bool,
}

impl ChangeLog {
    /// Remembers the step that leads on to the newest version.
    pub(super) fn push(&mut self, from: i64, to: i64, changed: Vec<SeatNumber>) {
        if self.steps.back().is_some_and(|last| last.to != from) {
            *self = Self::default();
        }
        self.seats += changed.len();
        self.steps.push_back(Step { from, to, changed, complete: false });
        while self.seats > SEATS_MAX || self.steps.len() > STEPS_MAX {
            self.seats -= self.steps.pop_front().map_or(0, |step| step.changed.len());
        }
    }

    /// Remembers what came before all that is remembered: the seats that were touched after `from`. It may
    /// reach into what is remembered; `newest` is where it ends if nothing is.
    pub(super) fn reach_back(&mut self, from: i64, newest: i64, changed: Vec<SeatNumber>) {
        let to = self.steps.front().map_or(newest, |first| first.from);
        if from < to && self.seats + changed.len() <= SEATS_MAX {
            self.seats += changed.len();
            self.steps.push_front(Step { from, to, changed, complete: true });
        }
    }

    /// The seats whose states may have changed after `version`, ascending; `None` if that is longer ago
    /// than is remembered, or is not remembered completely.
    pub(super) fn since(&self, version: i64) -> Option<Vec<SeatNumber>> {
        if self.steps.front()?.from > version {
            return None;
        }
        let within = |step: &&Step| step.from < version && version < step.to;
        if self.steps.iter().find(within).is_some_and(|step| !step.complete) {
            return None;
        }
        let later = self.steps.iter().filter(|step| step.to > version);
        let mut changed: Vec<SeatNumber> = later.flat_map(|step| &step.changed).copied().collect();
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
    fn whoever_comes_back_is_told_each_seat_once_and_of_no_step_before() {
        let mut past = ChangeLog::default();
        past.push(4, 6, seats([1, 2]));
        past.push(6, 7, seats([2, 9]));
        past.push(7, 9, seats([0]));
        assert_eq!(past.since(6), Some(seats([0, 2, 9])));
        assert_eq!(past.since(9), Some(seats([])));
        assert_eq!(past.since(4), Some(seats([0, 1, 2, 9])));
    }

    #[test]
    fn a_version_within_a_step_is_known_only_if_all_touched_seats_are() {
        let mut past = ChangeLog::default();
        past.push(4, 6, seats([1]));
        past.push(6, 7, seats([2]));
        assert_eq!(past.since(5), None, "a seat may have changed at 5 and back at 6");
        past.reach_back(2, 7, seats([1, 3]));
        assert_eq!(past.since(3), Some(seats([1, 2, 3])));
    }

    #[test]
    fn what_was_before_the_first_step_is_not_known_until_it_is_reached_back_to() {
        let mut past = ChangeLog::default();
        assert_eq!(past.since(4), None);
        past.push(6, 7, seats([2]));
        assert_eq!(past.since(5), None);
        past.reach_back(3, 7, seats([8]));
        assert_eq!(past.since(5), Some(seats([2, 8])));
        assert_eq!(past.since(2), None);
        past.reach_back(4, 7, seats([1]));
        assert_eq!(past.since(2), None, "that was no further back");
        let mut empty = ChangeLog::default();
        empty.reach_back(3, 7, seats([8]));
        empty.push(7, 8, seats([9]));
        assert_eq!(empty.since(3), Some(seats([8, 9])));
    }

    #[test]
    fn the_oldest_steps_are_forgotten_and_a_gap_forgets_all() {
        let mut past = ChangeLog::default();
        for version in 0..i64::try_from(STEPS_MAX).unwrap() + 1 {
            past.push(version, version + 1, seats([0]));
        }
        assert_eq!(past.since(0), None);
        assert_eq!(past.since(1), Some(seats([0])));
        let newest = i64::try_from(STEPS_MAX).unwrap() + 1;
        past.push(newest, newest + 1, seats(0..20_001));
        assert_eq!((past.since(newest), past.seats), (None, 0));
        past.push(newest + 1, newest + 2, seats([1]));
        past.push(newest + 5, newest + 6, seats([2]));
        assert_eq!(past.since(newest + 1), None);
        assert_eq!(past.since(newest + 5), Some(seats([2])));
    }
}
