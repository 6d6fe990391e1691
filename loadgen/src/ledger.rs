//! The generator's own record of what the service confirmed, and its comparison with the maps.

use std::collections::HashSet;
use std::ops::Range;

use crate::bodies::BookingBody;
use crate::http::Answer;
use crate::sale::{Order, label};
use crate::violations::Violations;

/// The most bytes of confirmations that are kept unread until the end of the measurement. Reading them meanwhile would
/// take time of the cores that are measured; those above the bound are read immediately.
const UNREAD_MAX: usize = 128 << 20;

/// The states of a map.
const AVAILABLE: u8 = 0;
const HELD: u8 = 1;
const BOOKED: u8 = 2;

/// What the ledger has of a seat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Entry {
    /// Nothing was granted.
    #[default]
    Free,
    /// A hold was granted.
    Held,
    /// A request was not answered, or its effect is not known.
    Unknown,
    /// The seat was booked or blocked before the measurement.
    Taken,
    /// The booking at this position was confirmed.
    Booked(u32),
}

/// A confirmed booking.
#[derive(Debug)]
pub(crate) struct Confirmed {
    pub(crate) id: Box<str>,
    seats: Range<usize>,
    was_held: bool,
}

/// What was confirmed, by seat and by booking.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// The entries of the seats of each schedule.
    schedules: Vec<Vec<Entry>>,
    /// The bodies of confirmations that were not read yet, one after the other.
    unread: Vec<u8>,
    /// The position of the schedule and the seats of each of them, and the end of its body.
    unread_orders: Vec<(usize, Range<usize>, usize)>,
    pub(crate) bookings: Vec<Confirmed>,
    pub(crate) violations: Violations,
}

impl Ledger {
    pub(crate) fn new(schedules: usize, seats: usize) -> Self {
        let schedules = vec![vec![Entry::default(); seats]; schedules];
        // Otherwise the bodies would be copied while the buffer grows, in the middle of the measurement.
        let unread = Vec::with_capacity(UNREAD_MAX);
        Self { schedules, unread, ..Self::default() }
    }

    /// Records the answer to a request for a booking.
    pub(crate) fn answered(&mut self, order: &Order, answer: Answer<'_>) {
        if answer.status == 202 || answer.may_have_an_effect() {
            return self.unknown(order);
        }
        if answer.status != 200 {
            return;
        }
        if self.unread.len() + answer.body.len() <= UNREAD_MAX {
            self.unread.extend_from_slice(answer.body);
            self.unread_orders.push((order.schedule, order.seats.clone(), self.unread.len()));
        } else {
            self.read(order.schedule, &order.seats, answer.body);
        }
    }

    /// Enters the confirmations that were not read yet, and compares the ids of all bookings.
    pub(crate) fn close(&mut self) {
        let unread = std::mem::take(&mut self.unread);
        let mut first = 0;
        for (schedule, seats, end) in std::mem::take(&mut self.unread_orders) {
            self.read(schedule, &seats, unread.get(first..end).unwrap_or_default());
            first = end;
        }
        let mut ids = HashSet::new();
        for booking in &self.bookings {
            if !ids.insert(&booking.id) {
                self.violations.add(|| format!("two bookings were confirmed as {}", booking.id));
            }
        }
    }

    /// Reads a confirmation of an order for these seats.
    fn read(&mut self, schedule: usize, seats: &Range<usize>, body: &[u8]) {
        match serde_json::from_slice::<BookingBody<'_>>(body) {
            Ok(body) if body.has(seats) => self.confirmed(schedule, seats, &body),
            Ok(body) => self.violations.add(|| {
                let (id, seats) = (&body.id, Self::labels(seats));
                format!("booking {id} was confirmed with other seats than {seats}")
            }),
            Err(error) => self.violations.add(|| format!("a confirmation has no booking: {error}")),
        }
    }

    fn confirmed(&mut self, schedule: usize, seats: &Range<usize>, body: &BookingBody<'_>) {
        let number = u32::try_from(self.bookings.len()).unwrap_or(u32::MAX);
        let entries = self.schedules.get_mut(schedule);
        let entries = entries.and_then(|all| all.get_mut(seats.clone())).unwrap_or_default();
        for (entry, seat) in entries.iter_mut().zip(seats.clone()) {
            if let Entry::Booked(earlier) = entry {
                let earlier = self.bookings.get(*earlier as usize).map_or("", |found| &found.id);
                self.violations.add(|| {
                    let (seat, id) = (label(seat), &body.id);
                    format!("seat {seat} was confirmed twice: bookings {earlier} and {id}")
                });
            }
            if *entry == Entry::Taken {
                let id = &body.id;
                self.violations.add(|| format!("seat {} was not free for {id}", label(seat)));
            }
            *entry = Entry::Booked(number);
        }
        self.bookings.push(Confirmed {
            id: body.id.clone().into(),
            seats: seats.clone(),
            was_held: body.hold_id.is_some(),
        });
    }

    /// Records the states of an existing schedule before the measurement.
    pub(crate) fn begin_with(&mut self, schedule: usize, states: &[u8]) {
        let entries = self.schedules.get_mut(schedule).map_or(&mut [][..], Vec::as_mut_slice);
        for (entry, state) in entries.iter_mut().zip(states) {
            *entry = match *state {
                AVAILABLE => Entry::Free,
                HELD => Entry::Unknown,
                _ => Entry::Taken,
            };
        }
    }

    /// Records a hold.
    pub(crate) fn held(&mut self, order: &Order) {
        self.set(order, Entry::Held);
    }

    /// Records a request whose effect is not known.
    pub(crate) fn unknown(&mut self, order: &Order) {
        self.set(order, Entry::Unknown);
    }

    /// Sets seats that have no confirmed booking.
    fn set(&mut self, order: &Order, new: Entry) {
        let entries = self.schedules.get_mut(order.schedule);
        let entries = entries.and_then(|seats| seats.get_mut(order.seats.clone()));
        for entry in entries.unwrap_or_default() {
            if !matches!(entry, Entry::Booked(_)) {
                *entry = new;
            }
        }
    }

    /// The number of seats that have a confirmed booking.
    pub(crate) fn booked_seats(&self) -> usize {
        let entries = self.schedules.iter().flatten();
        entries.filter(|entry| matches!(entry, Entry::Booked(_))).count()
    }

    /// Compares a schedule with its map: a state for each seat.
    pub(crate) fn compare(&self, schedule: usize, id: &str, states: &[u8], found: &mut Violations) {
        let entries = self.schedules.get(schedule).map_or(&[][..], Vec::as_slice);
        if states.len() < entries.len() {
            let (count, seats) = (states.len(), entries.len());
            found.add(|| format!("the map of schedule {id} has {count} of {seats} seats"));
        }
        for (seat, (entry, state)) in entries.iter().zip(states).enumerate() {
            if !agree(*entry, *state) {
                let own = match entry {
                    Entry::Free => "nothing was granted",
                    Entry::Held => "only a hold was granted",
                    Entry::Unknown => "a request was not answered",
                    Entry::Taken => "it was taken before",
                    Entry::Booked(_) => "a booking was confirmed",
                };
                let state = match *state {
                    AVAILABLE => "available",
                    HELD => "held",
                    BOOKED => "booked",
                    _ => "blocked",
                };
                let seat = label(seat);
                found.add(|| format!("seat {seat} of schedule {id} is {state} on the map: {own}"));
            }
        }
    }

    /// Compares a booking with what the service answers for its id.
    pub(crate) fn compare_booking(booking: &Confirmed, answer: Answer<'_>, found: &mut Violations) {
        let agrees = answer.json::<BookingBody<'_>>().is_ok_and(|body| {
            *body.id == *booking.id
                && body.has(&booking.seats)
                && body.hold_id.is_some() == booking.was_held
        });
        if !agrees {
            found.add(|| {
                let (id, seats) = (&booking.id, Self::labels(&booking.seats));
                format!("booking {id} of {seats} was confirmed, and is read differently")
            });
        }
    }

    fn labels(seats: &Range<usize>) -> String {
        seats.clone().map(label).collect::<Vec<_>>().join(", ")
    }
}

/// Whether a seat may have this state on the map. Holds end by themselves.
fn agree(entry: Entry, state: u8) -> bool {
    match entry {
        Entry::Free => state == AVAILABLE,
        Entry::Held => matches!(state, AVAILABLE | HELD),
        Entry::Unknown => matches!(state, AVAILABLE | HELD | BOOKED),
        Entry::Taken => state >= BOOKED,
        Entry::Booked(_) => state == BOOKED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::violations::DESCRIBED_MAX;

    fn order(seats: Range<usize>) -> Order {
        Order { number: 0, schedule: 0, seats, customer: String::new() }
    }

    fn body(id: &str, seats: &Range<usize>) -> String {
        let seats: Vec<_> = seats
            .clone()
            .map(|seat| format!(r#"{{"label":"{}","price":1}}"#, label(seat)))
            .collect();
        format!(r#"{{"id":"{id}","status":"confirmed","seats":[{}]}}"#, seats.join(","))
    }

    fn confirm(ledger: &mut Ledger, id: &str, seats: Range<usize>) {
        let body = body(id, &seats);
        ledger.answered(&order(seats), Answer::new(200, body.as_bytes()));
    }

    fn compare(ledger: &Ledger, states: &[u8]) -> Vec<String> {
        let mut found = Violations::default();
        ledger.compare(0, "7", states, &mut found);
        found.described
    }

    #[test]
    fn a_double_sale_is_found_in_the_answers() {
        let mut ledger = Ledger::new(1, 4);
        confirm(&mut ledger, "a", 0..2);
        confirm(&mut ledger, "b", 2..4);
        ledger.close();
        assert_eq!(ledger.violations.count, 0);
        confirm(&mut ledger, "c", 1..3);
        ledger.close();
        let found = &ledger.violations.described;
        assert_eq!(found.len(), 2);
        assert_eq!(found[0], "seat A-1-2 was confirmed twice: bookings a and c");
        assert_eq!(found[1], "seat A-1-3 was confirmed twice: bookings b and c");
    }

    #[test]
    fn one_id_for_two_bookings_is_found() {
        let mut ledger = Ledger::new(1, 4);
        confirm(&mut ledger, "a", 0..1);
        confirm(&mut ledger, "a", 1..2);
        ledger.close();
        assert_eq!(ledger.violations.described, ["two bookings were confirmed as a"]);
    }

    #[test]
    fn a_confirmation_has_the_seats_of_its_order() {
        let mut ledger = Ledger::new(1, 4);
        let other = body("a", &(0..1));
        ledger.answered(&order(1..2), Answer::new(200, other.as_bytes()));
        ledger.answered(&order(1..2), Answer::new(200, b"{}"));
        ledger.close();
        assert_eq!((ledger.violations.count, ledger.bookings.len()), (2, 0));
    }

    #[test]
    fn the_map_has_exactly_what_was_confirmed() {
        let mut ledger = Ledger::new(1, 4);
        confirm(&mut ledger, "a", 1..2);
        ledger.held(&order(2..3));
        ledger.answered(&order(3..4), Answer::new(503, br#"{"effect":"unknown"}"#));
        ledger.close();
        assert_eq!(ledger.booked_seats(), 1);
        for states in [[0, 2, 1, 0], [0, 2, 0, 1], [0, 2, 1, 2]] {
            assert_eq!(compare(&ledger, &states), [""; 0]);
        }
        let found = compare(&ledger, &[2, 0, 2, 3]);
        let expected = [
            "seat A-1-1 of schedule 7 is booked on the map: nothing was granted",
            "seat A-1-2 of schedule 7 is available on the map: a booking was confirmed",
            "seat A-1-3 of schedule 7 is booked on the map: only a hold was granted",
            "seat A-1-4 of schedule 7 is blocked on the map: a request was not answered",
        ];
        assert_eq!(found, expected);
        assert_eq!(compare(&ledger, &[0, 2, 0]), ["the map of schedule 7 has 3 of 4 seats"]);
    }

    #[test]
    fn seats_that_were_taken_before_stay_taken() {
        let mut ledger = Ledger::new(1, 4);
        ledger.begin_with(0, &[BOOKED, HELD, AVAILABLE, AVAILABLE]);
        confirm(&mut ledger, "a", 2..3);
        ledger.close();
        assert_eq!(compare(&ledger, &[BOOKED, AVAILABLE, BOOKED, AVAILABLE]), [""; 0]);
        assert_eq!(compare(&ledger, &[AVAILABLE, HELD, BOOKED, BOOKED]).len(), 2);
        confirm(&mut ledger, "b", 0..1);
        ledger.close();
        assert_eq!(ledger.violations.described, ["seat A-1-1 was not free for b"]);
    }

    #[test]
    fn many_violations_are_counted_and_some_described() {
        let mut found = Violations::default();
        Ledger::new(1, 1_000).compare(0, "7", &[BOOKED; 1_000], &mut found);
        assert_eq!((found.count, found.described.len()), (1_000, DESCRIBED_MAX));
    }
}
