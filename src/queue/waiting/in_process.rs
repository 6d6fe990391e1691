//! Lines in this process' memory.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use crate::domain::clock::EpochMs;
use crate::domain::ids::{RequestId, ScheduleId};

use super::{Entry, QueueEntry, WaitingListLimits};

/// The lines, each from its oldest request.
#[derive(Debug, Default)]
pub(super) struct InProcessWaitingLists {
    lines: Mutex<HashMap<ScheduleId, Line>>,
}

#[derive(Debug, Default)]
struct Line {
    /// The number of the first place.
    first: u64,
    /// Empty where somebody has left out of turn.
    places: VecDeque<Option<Waiting>>,
    numbers: HashMap<RequestId, u64>,
    /// The newest that is being executed: version 7 uuids sort by their time.
    running: Option<RequestId>,
    /// How many wait of each customer.
    customers: HashMap<String, u32>,
}

#[derive(Debug)]
struct Waiting {
    id: RequestId,
    customer: String,
    until: EpochMs,
}

impl InProcessWaitingLists {
    pub(super) fn enter(&self, newcomer: QueueEntry, limits: WaitingListLimits) -> Entry {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let line = lines.entry(newcomer.id.schedule).or_default();
        line.drop_late(newcomer.now);
        let of_customer = line.customers.get(&newcomer.customer).copied().unwrap_or(0);
        if of_customer >= limits.customer_max {
            return Entry::CustomerFull;
        }
        if line.numbers.len() as u64 >= limits.max {
            return Entry::Full;
        }
        line.enter(newcomer)
    }

    pub(super) fn start(&self, until: RequestId) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(line) = lines.get_mut(&until.schedule) {
            line.running = line.running.max(Some(until));
        }
    }

    pub(super) fn leave(&self, requests: &[(RequestId, String)]) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        for (id, _) in requests {
            let Some(line) = lines.get_mut(&id.schedule) else { continue };
            line.leave(*id);
            if line.numbers.is_empty() {
                lines.remove(&id.schedule);
            }
        }
    }

    /// Its place from 1 and whether it is being executed.
    pub(super) fn standing(&self, id: RequestId) -> Option<(u64, bool)> {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let line = lines.get(&id.schedule)?;
        let number = line.numbers.get(&id)?;
        Some((number - line.first + 1, Some(id) <= line.running))
    }
}

impl Line {
    fn enter(&mut self, QueueEntry { id, customer, until, .. }: QueueEntry) -> Entry {
        let number = self.first + self.places.len() as u64;
        self.numbers.insert(id, number);
        *self.customers.entry(customer.clone()).or_default() += 1;
        self.places.push_back(Some(Waiting { id, customer, until }));
        Entry::At(number - self.first + 1)
    }

    fn leave(&mut self, id: RequestId) {
        let Some(number) = self.numbers.remove(&id) else { return };
        let place = usize::try_from(number - self.first).ok();
        let left = place.and_then(|place| self.places.get_mut(place)).and_then(Option::take);
        if let Some(waiting) = left {
            self.count_out(&waiting.customer);
        }
        while let Some(None) = self.places.front() {
            self.places.pop_front();
            self.first += 1;
        }
    }

    /// Those whose time is over are executed no more, even if nobody says so.
    fn drop_late(&mut self, now: EpochMs) {
        while let Some(Some(waiting)) = self.places.front()
            && waiting.until <= now
        {
            let id = waiting.id;
            self.leave(id);
        }
    }

    fn count_out(&mut self, customer: &str) {
        if let Some(count) = self.customers.get_mut(customer) {
            *count -= 1;
            if *count == 0 {
                self.customers.remove(customer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const LIMITS: WaitingListLimits = WaitingListLimits { max: 4, customer_max: 2 };

    fn id(number: u128) -> RequestId {
        RequestId { schedule: ScheduleId(1), uuid: Uuid::from_u128(number) }
    }

    fn newcomer(number: u128, customer: &str, now: i64) -> QueueEntry {
        let (now, until) = (EpochMs(now), EpochMs(now + 100));
        QueueEntry { id: id(number), customer: customer.to_owned(), now, until }
    }

    fn gone(number: u128) -> (RequestId, String) {
        (id(number), String::new())
    }

    #[test]
    fn places_move_up_as_others_leave() {
        let lines = InProcessWaitingLists::default();
        for (number, customer) in [(1, "a"), (2, "b"), (3, "c")] {
            let entry = lines.enter(newcomer(number, customer, 0), LIMITS);
            assert_eq!(entry, Entry::At(u64::try_from(number).unwrap()));
        }
        lines.start(id(1));
        assert_eq!(lines.standing(id(1)), Some((1, true)));
        assert_eq!(lines.standing(id(3)), Some((3, false)));
        lines.leave(&[gone(2)]);
        assert_eq!(
            lines.standing(id(3)),
            Some((3, false)),
            "a gap closes when the first have left"
        );
        lines.leave(&[gone(1), gone(1), gone(9)]);
        assert_eq!(lines.standing(id(3)), Some((1, false)));
        assert_eq!(lines.standing(id(1)), None);
        lines.leave(&[gone(3)]);
        assert!(lines.lines.lock().unwrap().is_empty(), "an empty line is forgotten");
    }

    #[test]
    fn a_customer_and_a_line_have_their_bounds() {
        let lines = InProcessWaitingLists::default();
        let enter = |number, customer, now| lines.enter(newcomer(number, customer, now), LIMITS);
        assert_eq!(enter(1, "a", 0), Entry::At(1));
        assert_eq!(enter(2, "a", 0), Entry::At(2));
        assert_eq!(enter(3, "a", 0), Entry::CustomerFull);
        assert_eq!(enter(4, "b", 50), Entry::At(3));
        assert_eq!(enter(5, "c", 50), Entry::At(4));
        assert_eq!(enter(6, "d", 50), Entry::Full);
        lines.leave(&[gone(1)]);
        assert_eq!(enter(7, "a", 50), Entry::At(4));
        assert_eq!(enter(8, "a", 100), Entry::At(4), "what came first is too late by now");
        assert_eq!(lines.standing(id(2)), None);
    }
}
