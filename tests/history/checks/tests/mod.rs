//! Every checker on small histories written by hand, good and bad.

mod claims;
mod order;

use crate::history::{
    Action, Answer, BookingRow, End, Entry, Event, Evidence, History, HoldRow, Phase, Pod, Sale,
    ScheduleRow, What,
};

use super::*;

/// A history and its evidence, written down step by step. Times are milliseconds.
struct Story {
    events: Vec<Event>,
    evidence: Evidence,
    next: u64,
}

const POD: Pod = Pod { place: 0, start: 1 };

fn booking_id(name: &str) -> String {
    format!("1-{name}")
}

fn ok(answer: Answer) -> End {
    let body = format!("{answer:?}");
    End::Ok { answer, body }
}

fn fail(code: &str) -> End {
    End::Fail { status: 409, code: code.to_owned() }
}

fn unknown() -> End {
    End::Info { why: "lost".to_owned() }
}

fn granted(name: &str, seats: &[u32]) -> End {
    ok(Answer::Booking { id: booking_id(name), seats: seats.to_vec(), hold: None })
}

impl Story {
    /// A schedule of four seats.
    fn new() -> Self {
        let mut evidence = Evidence::default();
        let row = ScheduleRow { version: 1, seats: vec![(0, None); 4], customer_limit: None };
        evidence.schedules.insert(1, row);
        Self { events: Vec::new(), evidence, next: 0 }
    }

    fn op(&mut self, (from, to): (i64, i64), key: Option<&str>, action: Action, end: End) -> u64 {
        let op = self.next;
        self.next += 1;
        let invoke = What::Invoke { op, pod: POD, key: key.map(str::to_owned), action };
        for (t, what) in [(from, invoke), (to, What::Return { op, end })] {
            self.events.push(Event { t: t * 1_000, process: "client-1".to_owned(), what });
        }
        op
    }

    fn note(&mut self, at: i64, what: What) {
        self.events.push(Event { t: at * 1_000, process: "run".to_owned(), what });
    }

    fn book(&mut self, at: (i64, i64), key: &str, seats: &[u32], end: End) -> u64 {
        let seats = seats.to_vec();
        let action = Action::Book { schedule: 1, seats, customer: key.to_owned() };
        if let End::Ok { body, .. } = &end {
            self.evidence.answers.insert(key.to_owned(), body.clone());
        }
        self.op(at, Some(key), action, end)
    }

    /// An entry of the journal.
    fn entry(&mut self, at: i64, changes: &[(u32, u8, Option<i64>)]) {
        let row = self.evidence.schedules.get_mut(&1).unwrap();
        row.version += 1;
        for (seat, state, until) in changes {
            row.seats[*seat as usize] = (*state, *until);
        }
        self.evidence.journal.insert((1, row.version), Entry { at, changes: changes.to_vec() });
    }

    /// The rows of a booking made at a time.
    fn sold(&mut self, at: i64, name: &str, customer: &str, seats: &[u32], hold: Option<&str>) {
        let hold = hold.map(booking_id);
        let (customer, seats) = (customer.to_owned(), seats.to_vec());
        self.entry(at, &seats.iter().map(|seat| (*seat, 2, None)).collect::<Vec<_>>());
        for number in &seats {
            let (booking, released) = (booking_id(name), None);
            self.evidence.sales.push(Sale { schedule: 1, number: *number, booking, released });
        }
        let row = BookingRow { schedule: 1, customer, seats, hold, created: at };
        self.evidence.bookings.insert(booking_id(name), row);
    }

    fn given_back(&mut self, at: i64, name: &str) {
        let mut freed = Vec::new();
        for sale in self.evidence.sales.iter_mut().filter(|s| s.booking == booking_id(name)) {
            sale.released = Some(at);
            freed.push((sale.number, 0, None));
        }
        self.entry(at, &freed);
    }

    /// A hold asked for, granted and written.
    fn held(&mut self, at: i64, name: &str, seats: &[u32], until: i64) -> u64 {
        let held =
            ok(Answer::Hold { id: booking_id(name), seats: seats.to_vec(), until_ms: until });
        let customer = name.to_owned();
        if let End::Ok { body, .. } = &held {
            self.evidence.answers.insert(name.to_owned(), body.clone());
        }
        self.entry(at, &seats.iter().map(|seat| (*seat, 1, Some(until))).collect::<Vec<_>>());
        let row = HoldRow {
            schedule: 1,
            customer: customer.clone(),
            seats: seats.to_vec(),
            status: 0,
            created: at,
            until,
            booking: None,
        };
        self.evidence.holds.insert(booking_id(name), row);
        let action = Action::Hold { schedule: 1, seats: seats.to_vec(), customer, ttl_s: 1 };
        self.op((at - 1, at + 1), Some(name), action, held)
    }

    fn map(&mut self, at: i64, version: i64, states: [u8; 4]) -> u64 {
        let counts = [0, 1, 2, 3].map(|code| states.iter().filter(|s| **s == code).count());
        let answer = Answer::Map { version, states: states.to_vec(), counts };
        self.op((at, at + 1), None, Action::Map { schedule: 1, min_version: 0 }, ok(answer))
    }

    fn hold_row(&mut self, name: &str) -> &mut HoldRow {
        self.evidence.holds.get_mut(&booking_id(name)).unwrap()
    }

    fn found(&mut self) -> Vec<Violation> {
        self.events.sort_by_key(|event| event.t);
        check(&History::of(&self.events), &self.evidence)
    }

    fn clean(&mut self) {
        let found: Vec<_> =
            self.found().into_iter().filter(|v| !v.what.contains("still held")).collect();
        assert_eq!(found, []);
    }

    /// Checks that a checker finds something with this in it.
    fn caught_by(&mut self, checker: &str, what: &str) {
        let found = self.found();
        let caught = found.iter().any(|v| v.checker == checker && v.what.contains(what));
        assert!(caught, "{checker} does not find {what:?}: {found:#?}");
    }
}

/// One booking, acknowledged and there.
fn one_booking() -> Story {
    let mut story = Story::new();
    story.book((0, 10), "k1", &[0, 1], granted("a", &[0, 1]));
    story.sold(5, "a", "k1", &[0, 1], None);
    story
}

fn cancel(name: &str) -> Action {
    Action::Cancel { booking: booking_id(name), seats: None }
}
