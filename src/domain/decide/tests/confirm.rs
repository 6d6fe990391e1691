//! Turning a hold into a booking: in time, late, twice, by the wrong customer.

use super::*;
use crate::domain::claims::{BookingStatus, HoldStatus};
use crate::domain::decide::properties::database::render;
use ConflictReason::{Blocked, Booked, Held};

#[test]
fn a_hold_confirmed_in_time_is_a_booking_of_its_seats() {
    let mut world = World::new();
    world.done(hold(1, "ada", &[0, 1]));
    world.clock(599);
    let view = booking_view(world.done(confirm_as("ada", 1, 2)));
    assert_eq!(labels(&view.seats), ["A-1-1", "A-1-2"]);
    let row = BookingRow {
        id: booking_id(2),
        customer: customer("ada"),
        seats: numbers(&[0, 1]),
        live_seats: 2,
        status: BookingStatus::Confirmed,
        hold: Some(hold_id(1)),
        created_at: at(599),
        cancelled_at: None,
    };
    assert_eq!((world.booking(2), &view.row), (&row, &row));
    assert_eq!((world.state(0), world.state(1)), (booked(2), booked(2)));
    let hold = world.hold(1);
    assert_eq!((hold.status, hold.booking), (HoldStatus::Confirmed, Some(booking_id(2))));
}

#[test]
fn a_late_confirm_succeeds_if_every_seat_is_still_free() {
    for is_swept in [false, true] {
        let mut world = World::new();
        world.done(hold(1, "ada", &[0, 1]));
        world.clock(600);
        if is_swept {
            world.done(expire(1));
        }
        let view = booking_view(world.done(confirm(1, 2)));
        assert_eq!(labels(&view.seats), ["A-1-1", "A-1-2"], "swept: {is_swept}");
        assert_eq!(world.hold(1).status, HoldStatus::Confirmed);
    }
}

#[test]
fn a_late_confirm_takes_a_seat_from_another_hold_that_ended() {
    let mut world = World::new();
    world.done(hold(1, "ada", &[0, 1]));
    world.clock(600);
    world.done(hold_for(10, 2, "ben", &[0]));
    world.clock(610);
    world.done(confirm(1, 3));
    assert_eq!((world.state(0), world.state(1)), (booked(3), booked(3)));
    assert_eq!(world.hold(2).status, HoldStatus::Held, "the loser's row is not touched");
}

#[test]
fn a_late_confirm_with_seats_lost_names_them_and_sells_nothing() {
    let mut world = World::new();
    world.done(hold(1, "ada", &[0, 1, 2, 3]));
    world.clock(600);
    world.batch(&[book(2, "ben", &[0]), hold(3, "cleo", &[2]), block(4, &[3])]);
    let lost = hold_expired(&[("A-1-1", Booked), ("A-1-3", Held), ("A-1-4", Blocked)]);
    assert_eq!(world.refused(confirm(1, 5)), lost);
    world.done(expire(1));
    assert_eq!(world.refused(confirm(1, 5)), lost, "swept or not");
}

#[test]
fn a_late_confirm_succeeds_once_the_lost_seat_is_free_again() {
    let mut world = World::new();
    world.done(hold(1, "ada", &[0]));
    world.clock(600);
    world.done(book(2, "ben", &[0]));
    assert_eq!(world.refused(confirm(1, 3)), hold_expired(&[("A-1-1", Booked)]));
    world.done(cancel(2));
    world.done(confirm(1, 3));
    assert_eq!(world.state(0), booked(3));
}

#[test]
fn a_confirmed_hold_gives_its_booking_again() {
    let mut world = World::new();
    world.done(hold(1, "ada", &[0, 1]));
    let first = world.done(confirm(1, 2));
    world.clock(9999);
    let decision = world.batch(&[confirm(1, 3)]);
    assert_eq!(decision.outcomes, [Outcome::Done(first)]);
    assert!(decision.changes.is_empty());
    world.done(cancel_seats(2, &[0]));
    let view = booking_view(world.done(confirm(1, 4)));
    assert_eq!((view.row.id, labels(&view.seats)), (booking_id(2), vec!["A-1-2"]));
}

#[test]
fn a_hold_whose_booking_was_cancelled_whole_is_not_confirmed_again() {
    let mut world = World::new();
    world.done(hold(1, "ada", &[0, 1]));
    let sold = world.done(keyed("k", "f", confirm(1, 2)));
    world.done(cancel_seats(2, &[0]));
    world.done(confirm(1, 3));
    world.done(cancel_seats(2, &[1]));
    let cancelled = Rejection::BookingCancelled(booking_id(2));
    assert_eq!(world.refused(confirm(1, 3)), cancelled);
    assert_eq!(world.refused(confirm_as("ada", 1, 3)), cancelled);
    assert_eq!(world.refused(confirm_as("ben", 1, 3)), Rejection::NotFound("hold"));
    let again = world.outcome(keyed("k", "f", confirm(1, 4)));
    assert_eq!(again, Outcome::Replayed(render(&sold)), "the first confirm had its effect");
    assert_eq!(world.refused(keyed("another", "f", confirm(1, 4))), cancelled);
    assert_eq!((world.state(0), world.state(1)), (SeatState::Available, SeatState::Available));
}

#[test]
fn a_cancellation_counts_for_later_confirms_in_the_same_batch() {
    let mut world = World::new();
    world.done(hold(1, "ada", &[0]));
    let decision = world.batch(&[confirm(1, 2), confirm(1, 3), cancel(2), confirm(1, 4)]);
    assert_eq!(decision.outcomes[0], decision.outcomes[1]);
    assert_eq!(*rejection(&decision.outcomes[3]), Rejection::BookingCancelled(booking_id(2)));
}

#[test]
fn two_confirms_of_one_hold_in_one_batch_make_one_booking() {
    let mut world = World::new();
    let decision = world.batch(&[hold(1, "ada", &[0]), confirm(1, 2), confirm(1, 3)]);
    assert_eq!(decision.outcomes[1], decision.outcomes[2]);
    assert_eq!(world.database.bookings.keys().copied().collect::<Vec<_>>(), [booking_id(2)]);
}

#[test]
fn a_released_hold_cannot_be_confirmed_even_if_its_seats_are_free() {
    let mut world = World::new();
    world.done(hold(1, "ada", &[0]));
    world.done(release(1));
    assert_eq!(world.refused(confirm(1, 2)), Rejection::HoldReleased);
}

#[test]
fn a_late_release_is_final_whether_or_not_the_hold_was_swept_first() {
    for swept in [false, true] {
        let mut world = World::new();
        world.done(hold(1, "ada", &[0]));
        world.clock(9999);
        if swept {
            world.done(expire(1));
        }
        world.done(release(1));
        assert_eq!(world.refused(confirm(1, 2)), Rejection::HoldReleased, "swept: {swept}");
    }
}

#[test]
fn a_hold_of_another_customer_is_not_found() {
    let mut world = World::new();
    world.batch(&[hold(1, "ada", &[0]), hold(2, "ada", &[1]), hold(3, "ada", &[2])]);
    world.batch(&[release(2), confirm(3, 13)]);
    for hold in 1..=3 {
        let refused = world.refused(confirm_as("ben", hold, 20));
        assert_eq!(refused, Rejection::NotFound("hold"), "whatever the status of the hold");
    }
    assert_eq!(world.refused(confirm(9, 20)), Rejection::NotFound("hold"));
}

#[test]
fn a_hold_of_a_browser_session_is_sold_to_the_customer_of_the_shop() {
    let session = CustomerId::session(Uuid::from_u128(7));
    let mut world = World::new();
    world.rules().max_seats_per_customer = Some(2);
    world.done(hold(1, session.as_str(), &[0, 1]));
    world.done(book(2, "ada", &[5]));
    let full = Rejection::SeatLimitReached { max: 2, owned: 1 };
    assert_eq!(world.refused(confirm_as("ada", 1, 3)), full);
    let view = booking_view(world.done(confirm_as("ben", 1, 3)));
    assert_eq!((view.row.customer, &world.hold(1).customer), (customer("ben"), &session));
    for again in [confirm_as("ben", 1, 4), confirm(1, 4), confirm_as(session.as_str(), 1, 4)] {
        assert_eq!(booking_view(world.done(again)).row.id, booking_id(3));
    }
    assert_eq!(world.refused(confirm_as("ada", 1, 4)), Rejection::NotFound("hold"));
    let full = Rejection::SeatLimitReached { max: 2, owned: 2 };
    assert_eq!(world.refused(book(5, "ben", &[6])), full, "the seats count for the customer");
    world.done(book(6, session.as_str(), &[7, 8]));
}
