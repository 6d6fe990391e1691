//! C3, C5, C7 to C10 and C12.

use super::*;

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
    story.sold(5, "a", "k9", &[0], None);
    story.caught_by(C3, "never asked");
    let mut story = one_booking();
    story.given_back(20, "a");
    story.caught_by(C3, "given back without a request");
    let mut story = Story::new();
    story.held(5, "h", &[0], 1_000);
    story.hold_row("h").status = 2;
    story.caught_by(C3, "released without a request");
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
    story.book((20, 30), "k1", &[0, 1], granted("a", &[0, 1]));
    story.clean();
    story.op((40, 50), Some("k1"), cancel("a"), granted("a", &[0]));
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
        story.op((at, at + 5), None, confirm, granted(name, &[0]));
    }
    story.caught_by(C5, "became 1-a and 1-b");
}

#[test]
fn c7_a_map_has_all_seats_in_one_state_each() {
    let mut story = one_booking();
    story.map(20, 2, [2, 2, 0, 0]);
    story.clean();
    let answer = Answer::Map { version: 2, states: vec![2, 2, 0, 0], counts: [1, 0, 2, 0] };
    story.op((30, 31), None, Action::Map { schedule: 1, min_version: 0 }, ok(answer));
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
fn c7_no_customer_owns_more_than_the_limit_at_any_time() {
    let mut story = one_booking();
    story.evidence.schedules.get_mut(&1).unwrap().customer_limit = Some(2);
    story.clean();
    story.op((20, 30), None, cancel("a"), granted("a", &[]));
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
    story.caught_by(C8, "is still unknown");
    story.op((40, 50), Some("k1"), cancel("a"), fail("not_found"));
    story.clean();
}

#[test]
fn c8_in_the_end_free_seats_are_had_and_sold_ones_are_not() {
    let mut story = one_booking();
    story.note(90, What::Phase { name: Phase::Final });
    story.book((100, 110), "last-1", &[2], granted("b", &[2]));
    story.sold(105, "b", "last-1", &[2], None);
    story.book((120, 130), "too-late-1", &[2], fail("seats_unavailable"));
    story.clean();
    story.book((140, 150), "last-2", &[3], fail("seats_unavailable"));
    story.caught_by(C8, "must be granted");
}

#[test]
fn c8_a_lock_of_another_owner_is_left_alone() {
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
    let answer = Answer::Map { version: 1, states: vec![0; 4], counts: [4, 0, 0, 0] };
    story.op((20, 21), None, Action::Map { schedule: 1, min_version: 2 }, ok(answer));
    story.caught_by(C10, "at least 2 asked for");
}

#[test]
fn c10_what_was_acknowledged_first_was_done_first() {
    let mut story = one_booking();
    story.book((20, 30), "k2", &[2], granted("b", &[2]));
    story.sold(4, "b", "k2", &[2], None);
    story.caught_by(C10, "done at 4");
}

#[test]
fn c12_a_run_without_anything_interesting_proves_nothing() {
    let mut story = one_booking();
    let history = History::of(&story.events);
    let nothing = Expected {
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
    assert_eq!(coverage(&history, &story.evidence, &nothing).len(), 1, "no seat was asked for");
    let expected = Expected { conflicts: 1, unknowns: 1, faults: vec!["pod_kill"], ..nothing };
    let found = coverage(&history, &story.evidence, &expected);
    assert_eq!(found.iter().filter(|violation| violation.checker == C12).count(), 4);
    story.clean();
}
