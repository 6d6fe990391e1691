//! C1, C2, C4 and C6: who owns what, and for how long.

use super::*;

#[test]
fn a_booking_is_clean_and_so_is_one_after_it_was_given_back() {
    one_booking().clean();
    let mut story = one_booking();
    story.op((20, 30), None, cancel("a"), granted("a", &[]));
    story.given_back(25, "a");
    story.book((40, 50), "k2", &[0], granted("b", &[0]));
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
fn c1_two_sales_of_a_seat_are_found_in_the_answers() {
    let mut story = one_booking();
    story.book((20, 30), "k2", &[1], granted("b", &[1]));
    story.caught_by(C1, "by the answers");
}

#[test]
fn c1_a_sale_while_another_is_perhaps_being_given_back_is_none_of_two() {
    let mut story = one_booking();
    story.op((20, 60), None, cancel("a"), unknown());
    story.given_back(22, "a");
    story.book((21, 30), "k2", &[1], granted("b", &[1]));
    story.sold(25, "b", "k2", &[1], None);
    story.clean();
}

#[test]
fn c2_an_acknowledged_booking_that_is_not_there_is_lost() {
    let mut story = Story::new();
    story.book((0, 10), "k1", &[0], granted("a", &[0]));
    story.caught_by(C2, "does not exist");
}

#[test]
fn c2_a_seat_that_no_request_gave_back_is_lost() {
    let mut story = one_booking();
    story.given_back(20, "a");
    story.caught_by(C2, "no request gave back");
    let mut refused = one_booking();
    refused.op((15, 18), None, cancel("a"), fail("not_found"));
    refused.given_back(20, "a");
    refused.caught_by(C2, "no request gave back");
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
    story.op((20, 30), None, cancel("a"), granted("a", &[]));
    story.caught_by(C2, "still sold");
    let mut story = Story::new();
    story.held(5, "h", &[0], 1_000);
    story.op((20, 30), None, Action::Release { hold: booking_id("h") }, ok(Answer::Nothing));
    story.caught_by(C2, "was released and has ended");
}

#[test]
fn c4_a_booking_has_all_the_seats_that_were_asked_for() {
    let mut story = Story::new();
    story.book((0, 10), "k1", &[2, 0], granted("a", &[0]));
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
fn c6_a_hold_keeps_its_seats_until_it_ends() {
    let mut story = Story::new();
    story.held(5, "h", &[0], 1_000);
    story.clean();
    story.book((490, 510), "k2", &[0], granted("b", &[0]));
    story.sold(500, "b", "k2", &[0], None);
    story.caught_by(C6, "was 1-h's until 1000");
}

#[test]
fn c6_a_hold_that_is_over_keeps_nothing() {
    let mut story = Story::new();
    story.held(5, "h", &[0], 1_000);
    story.book((1_000, 1_010), "k2", &[0], granted("b", &[0]));
    story.sold(1_005, "b", "k2", &[0], None);
    story.clean();
    let mut released = Story::new();
    released.held(5, "h", &[0], 1_000);
    released.op((99, 120), None, Action::Release { hold: booking_id("h") }, unknown());
    released.hold_row("h").status = 2;
    released.entry(105, &[(0, 0, None)]);
    released.book((100, 115), "k2", &[0], granted("b", &[0]));
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
fn c3_a_confirmation_is_refused_as_cancelled_only_if_every_seat_was_given_back() {
    let confirm = Action::Confirm { hold: booking_id("h") };
    let mut story = Story::new();
    story.held(5, "h", &[0], 1_000);
    story.hold_row("h").booking = Some(booking_id("a"));
    story.sold(20, "a", "h", &[0], Some("h"));
    story.op((40, 45), Some("c"), confirm, fail("booking_cancelled"));
    story.caught_by(C3, "was refused as cancelled");
    story.op((25, 35), Some("d"), cancel("a"), granted("a", &[]));
    story.given_back(30, "a");
    assert!(!story.found().iter().any(|found| found.what.contains("refused as cancelled")));
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
        let extended = ok(Answer::Hold { id: id.clone(), seats: vec![0], until_ms: 3_000 });
        story.op((2_000, 2_010), None, Action::Extend { hold: id, ttl_s: 1 }, extended);
    };
    let mut story = Story::new();
    story.held(5, "h", &[0], 1_000);
    extend(&mut story);
    story.caught_by(C6, "was extended");
    story.evidence.outages.push((900, 4_000));
    story.clean();
}
