//! Every checker on small histories written by hand, good and bad.

use crate::history::{
    Action, BookingRow, End, Entry, Event, Evidence, History, HoldRow, Phase, Pod, Sale,
    ScheduleRow, Told, What,
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

fn ok(told: Told) -> End {
    let body = format!("{told:?}");
    End::Ok { told, body }
}

fn fail(code: &str) -> End {
    End::Fail { status: 409, code: code.to_owned() }
}

fn unknown() -> End {
    End::Info { why: "lost".to_owned() }
}

fn told(name: &str, seats: &[u32]) -> End {
    ok(Told::Booking { id: booking_id(name), seats: seats.to_vec(), hold: None })
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
        let held = ok(Told::Hold { id: booking_id(name), seats: seats.to_vec(), until_ms: until });
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
        let told = Told::Map { version, states: states.to_vec(), counts };
        self.op((at, at + 1), None, Action::Map { schedule: 1, min_version: 0 }, ok(told))
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
    story.book((0, 10), "k1", &[0, 1], told("a", &[0, 1]));
    story.sold(5, "a", "k1", &[0, 1], None);
    story
}

fn cancel(name: &str) -> Action {
    Action::Cancel { booking: booking_id(name), seats: None }
}

#[test]
fn a_booking_is_clean_and_so_is_one_after_it_was_given_back() {
    one_booking().clean();
    let mut story = one_booking();
    story.op((20, 30), None, cancel("a"), told("a", &[]));
    story.given_back(25, "a");
    story.book((40, 50), "k2", &[0], told("b", &[0]));
    story.sold(45, "b", "k2", &[0], None);
    story.clean();
}

#[test]
fn c1_two_sales_of_a_seat_are_found_in_the_rows() {
    let mut story = one_booking();
    story.sold(7, "b", "k2", &[1], None);
    story.caught_by(C1, "by the rows");
}

#[test]
fn c1_two_sales_of_a_seat_are_found_in_what_clients_were_told() {
    let mut story = one_booking();
    story.book((20, 30), "k2", &[1], told("b", &[1]));
    story.caught_by(C1, "by what clients were told");
}

#[test]
fn c1_a_sale_while_another_is_perhaps_being_given_back_is_none_of_two() {
    let mut story = one_booking();
    story.op((20, 60), None, cancel("a"), unknown());
    story.given_back(22, "a");
    story.book((21, 30), "k2", &[1], told("b", &[1]));
    story.sold(25, "b", "k2", &[1], None);
    story.clean();
}

#[test]
fn c2_an_acknowledged_booking_that_is_not_there_is_lost() {
    let mut story = Story::new();
    story.book((0, 10), "k1", &[0], told("a", &[0]));
    story.caught_by(C2, "does not exist");
}

#[test]
fn c2_a_seat_that_nobody_gave_back_is_lost() {
    let mut story = one_booking();
    story.given_back(20, "a");
    story.caught_by(C2, "nobody gave back");
    let mut refused = one_booking();
    refused.op((15, 18), None, cancel("a"), fail("not_found"));
    refused.given_back(20, "a");
    refused.caught_by(C2, "nobody gave back");
}

#[test]
fn c2_an_acknowledged_booking_is_found_from_then_on() {
    let find = || Action::Find { booking: booking_id("a") };
    let mut story = one_booking();
    story.op((2, 4), None, find(), fail("not_found"));
    story.clean();
    story.op((11, 12), None, find(), fail("not_found"));
    story.caught_by(C2, "then not found");
}

#[test]
fn c2_what_was_acknowledged_to_be_over_is_over() {
    let mut story = one_booking();
    story.op((20, 30), None, cancel("a"), told("a", &[]));
    story.caught_by(C2, "still sold");
    let mut story = Story::new();
    story.held(5, "h", &[0], 1_000);
    story.op((20, 30), None, Action::Release { hold: booking_id("h") }, ok(Told::Nothing));
    story.caught_by(C2, "still lives");
}

#[test]
fn c3_what_was_refused_has_no_effect() {
    let mut story = Story::new();
    story.book((0, 10), "k1", &[0], fail("seats_unavailable"));
    story.clean();
    story.sold(5, "a", "k1", &[0], None);
    story.caught_by(C3, "was refused");
}

#[test]
fn c3_what_is_unknown_may_have_an_effect_or_none() {
    let mut story = Story::new();
    story.book((0, 10), "k1", &[0], unknown());
    story.book((20, 30), "k1", &[0], fail("seats_unavailable"));
    story.clean();
    story.sold(15, "a", "k1", &[0], None);
    story.clean();
}

#[test]
fn c3_every_effect_was_asked_for() {
    let mut story = Story::new();
    story.sold(5, "a", "nobody", &[0], None);
    story.caught_by(C3, "never asked");
    let mut story = one_booking();
    story.given_back(20, "a");
    story.caught_by(C3, "given back by nobody");
    let mut story = Story::new();
    story.held(5, "h", &[0], 1_000);
    story.hold_row("h").status = 2;
    story.caught_by(C3, "released by nobody");
}

#[test]
fn c4_a_booking_has_all_the_seats_that_were_asked_for() {
    let mut story = Story::new();
    story.book((0, 10), "k1", &[2, 0], told("a", &[0]));
    story.sold(5, "a", "k1", &[0], None);
    story.caught_by(C4, "were asked for");
}

#[test]
fn c4_a_booking_takes_all_its_seats_in_one_version() {
    let mut story = one_booking();
    story.evidence.journal.clear();
    story.evidence.schedules.get_mut(&1).unwrap().version = 1;
    story.entry(5, &[(0, 2, None)]);
    story.entry(5, &[(1, 2, None)]);
    story.caught_by(C4, "no version has all");
    let mut story = one_booking();
    story.evidence.sales.pop();
    story.caught_by(C4, "another number of sales");
}

#[test]
fn c5_a_key_has_one_effect() {
    let mut story = one_booking();
    story.sold(8, "b", "k1", &[2], None);
    story.caught_by(C5, "several effects");
}

#[test]
fn c5_a_key_has_one_answer_and_it_is_recorded() {
    let mut story = one_booking();
    story.book((20, 30), "k1", &[0, 1], told("a", &[0, 1]));
    story.clean();
    story.op((40, 50), Some("k1"), cancel("a"), told("a", &[0]));
    story.caught_by(C5, "two answers");
    let mut story = one_booking();
    story.evidence.answers.clear();
    story.caught_by(C5, "none is recorded");
}

#[test]
fn c5_a_key_that_has_had_its_effect_is_not_refused() {
    let mut story = one_booking();
    story.book((20, 30), "k1", &[0, 1], fail("request_in_progress"));
    story.clean();
    story.book((40, 50), "k1", &[0, 1], fail("seats_unavailable"));
    story.caught_by(C5, "then refused");
}

#[test]
fn c5_a_hold_becomes_one_booking() {
    let mut story = Story::new();
    for (at, name) in [(10, "a"), (20, "b")] {
        let confirm = Action::Confirm { hold: booking_id("h") };
        story.op((at, at + 5), None, confirm, told(name, &[0]));
    }
    story.caught_by(C5, "became 1-a and 1-b");
}

#[test]
fn c6_a_hold_keeps_its_seats_until_it_ends() {
    let mut story = Story::new();
    story.held(5, "h", &[0], 1_000);
    story.clean();
    story.book((490, 510), "k2", &[0], told("b", &[0]));
    story.sold(500, "b", "k2", &[0], None);
    story.caught_by(C6, "was 1-h's until 1000");
}

#[test]
fn c6_a_hold_that_is_over_keeps_nothing() {
    let mut story = Story::new();
    story.held(5, "h", &[0], 1_000);
    story.book((1_000, 1_010), "k2", &[0], told("b", &[0]));
    story.sold(1_005, "b", "k2", &[0], None);
    story.clean();
    let mut released = Story::new();
    released.held(5, "h", &[0], 1_000);
    released.op((99, 120), None, Action::Release { hold: booking_id("h") }, unknown());
    released.hold_row("h").status = 2;
    released.entry(105, &[(0, 0, None)]);
    released.book((100, 115), "k2", &[0], told("b", &[0]));
    released.sold(110, "b", "k2", &[0], None);
    released.clean();
}

#[test]
fn c6_time_ends_no_hold_before_its_end() {
    let mut story = Story::new();
    story.held(5, "h", &[0], 1_000);
    story.hold_row("h").status = 3;
    story.entry(1_200, &[(0, 0, None)]);
    story.clean();
    story.evidence.journal.get_mut(&(1, 3)).unwrap().at = 400;
    story.caught_by(C6, "was ended by time at 400");
}

#[test]
fn c6_an_end_that_was_promised_is_never_made_earlier() {
    let mut story = Story::new();
    story.held(5, "h", &[0], 1_000);
    story.hold_row("h").until = 900;
    story.caught_by(C6, "promised until 1000");
}

#[test]
fn c6_an_owner_in_time_is_not_turned_away() {
    let confirm = || Action::Confirm { hold: booking_id("h") };
    let mut story = Story::new();
    story.held(5, "h", &[0], 1_000);
    story.op((1_100, 1_110), Some("c"), confirm(), fail("hold_expired"));
    story.clean();
    story.op((400, 410), Some("d"), confirm(), fail("hold_expired"));
    story.caught_by(C6, "was turned away");
}

#[test]
fn c6_a_dead_hold_is_not_extended_unless_an_outage_took_its_end() {
    let extend = |story: &mut Story| {
        let id = booking_id("h");
        let extended = ok(Told::Hold { id: id.clone(), seats: vec![0], until_ms: 3_000 });
        story.op((2_000, 2_010), None, Action::Extend { hold: id, ttl_s: 1 }, extended);
    };
    let mut story = Story::new();
    story.held(5, "h", &[0], 1_000);
    extend(&mut story);
    story.caught_by(C6, "was extended");
    story.evidence.outages.push((900, 4_000));
    story.clean();
}

#[test]
fn c7_a_map_has_all_seats_in_one_state_each() {
    let mut story = one_booking();
    story.map(20, 2, [2, 2, 0, 0]);
    story.clean();
    let told = Told::Map { version: 2, states: vec![2, 2, 0, 0], counts: [1, 0, 2, 0] };
    story.op((30, 31), None, Action::Map { schedule: 1, min_version: 0 }, ok(told));
    story.caught_by(C7, "of 4 seats");
}

#[test]
fn c7_an_audit_is_clean() {
    let mut story = one_booking();
    story.note(50, What::Audit { violations: Vec::new() });
    story.clean();
    story.note(51, What::Audit { violations: vec!["seat_is_sold_once".to_owned()] });
    story.caught_by(C7, "seat_is_sold_once");
}

#[test]
fn c7_nobody_owns_more_than_the_limit_at_any_time() {
    let mut story = one_booking();
    story.evidence.schedules.get_mut(&1).unwrap().customer_limit = Some(2);
    story.clean();
    story.op((20, 30), None, cancel("a"), told("a", &[]));
    story.sold(22, "b", "k1", &[2], None);
    story.given_back(25, "a");
    story.caught_by(C7, "owned 3 seats at 22");
}

#[test]
fn c8_nothing_is_left_lying_about() {
    let mut story = one_booking();
    story.evidence.locks.push("{sch:1}:seat:3".to_owned());
    story.caught_by(C8, "without an owner");
    let mut story = Story::new();
    story.held(5, "h", &[0], 1_000);
    story.caught_by(C8, "still held");
    let mut story = one_booking();
    story.evidence.idle_in_transaction = 1;
    story.caught_by(C8, "idle in a transaction");
}

#[test]
fn c8_every_unknown_end_becomes_known() {
    let mut story = Story::new();
    story.op((0, 10), Some("k1"), cancel("a"), unknown());
    story.op(
        (20, 30),
        Some("k1"),
        cancel("a"),
        End::Fail { status: 503, code: "read_only".into() },
    );
    story.caught_by(C8, "could not be found out");
    story.op((40, 50), Some("k1"), cancel("a"), fail("not_found"));
    story.clean();
}

#[test]
fn c8_in_the_end_free_seats_are_had_and_sold_ones_are_not() {
    let mut story = one_booking();
    story.note(90, What::Phase { name: Phase::Final });
    story.book((100, 110), "last-1", &[2], told("b", &[2]));
    story.sold(105, "b", "last-1", &[2], None);
    story.book((120, 130), "too-late-1", &[2], fail("seats_unavailable"));
    story.clean();
    story.book((140, 150), "last-2", &[3], fail("seats_unavailable"));
    story.caught_by(C8, "must be granted");
}

#[test]
fn c8_a_strangers_lock_is_left_alone() {
    let mut story = one_booking();
    story.note(50, What::Stranger { left_alone: true });
    story.clean();
    story.note(51, What::Stranger { left_alone: false });
    story.caught_by(C8, "stranger");
}

#[test]
fn c9_maps_are_read_while_the_database_is_away() {
    let fault = |begins| What::Fault { name: "postgres_kill".to_owned(), begins };
    let mut story = one_booking();
    story.note(50, fault(true));
    story.map(60, 2, [2, 2, 0, 0]);
    story.note(90, fault(false));
    story.clean();
    let map = Action::Map { schedule: 1, min_version: 0 };
    story.op((70, 80), None, map, fail("dependency_unavailable"));
    story.caught_by(C9, "1 of 2 reads failed during postgres_kill");
}

#[test]
fn c10_the_journal_has_no_gap_and_goes_with_time() {
    let mut story = one_booking();
    story.evidence.schedules.get_mut(&1).unwrap().version = 3;
    story.caught_by(C10, "its journal at 2");
    let mut story = one_booking();
    story.entry(3, &[(3, 3, None)]);
    story.caught_by(C10, "is of 3, after 5");
}

#[test]
fn c10_a_new_history_is_no_gap() {
    let mut story = one_booking();
    story.evidence.schedules.get_mut(&1).unwrap().version = 1_000_002;
    story.clean();
}

#[test]
fn c10_a_read_tells_of_one_version() {
    let mut story = one_booking();
    story.map(20, 2, [2, 0, 0, 0]);
    story.caught_by(C10, "version 2 of 1 was read as");
}

#[test]
fn c10_a_process_never_goes_back() {
    let mut story = one_booking();
    story.map(20, 1, [0, 0, 0, 0]);
    story.map(30, 2, [2, 2, 0, 0]);
    story.clean();
    story.map(40, 1, [0, 0, 0, 0]);
    story.caught_by(C10, "answered 2 and then 1");
}

#[test]
fn c10_a_read_is_not_older_than_it_was_asked_to_be() {
    let mut story = one_booking();
    let told = Told::Map { version: 1, states: vec![0; 4], counts: [4, 0, 0, 0] };
    story.op((20, 21), None, Action::Map { schedule: 1, min_version: 2 }, ok(told));
    story.caught_by(C10, "at least 2 asked for");
}

#[test]
fn c10_what_was_acknowledged_first_was_done_first() {
    let mut story = one_booking();
    story.book((20, 30), "k2", &[2], told("b", &[2]));
    story.sold(4, "b", "k2", &[2], None);
    story.caught_by(C10, "done at 4");
}

#[test]
fn c12_a_run_without_anything_interesting_proves_nothing() {
    let mut story = one_booking();
    let history = History::of(&story.events);
    let nothing = Wanted {
        ops: 1,
        conflicts: 0,
        multi_seat_conflicts: 0,
        unknowns: 0,
        replays: 0,
        expiries: 0,
        audits: 0,
        faults: Vec::new(),
        breaker_opened: 0,
    };
    assert_eq!(vacuity(&history, &story.evidence, &nothing).len(), 1, "no seat was asked for");
    let wanted = Wanted { conflicts: 1, unknowns: 1, faults: vec!["pod_kill"], ..nothing };
    let found = vacuity(&history, &story.evidence, &wanted);
    assert_eq!(found.iter().filter(|violation| violation.checker == C12).count(), 4);
    story.clean();
}
