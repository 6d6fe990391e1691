//! Bookings and blocks: sold, refused, cancelled, sold again.

use super::*;
use crate::domain::claims::BookingStatus;
use ConflictReason::{Blocked, Booked, Held};

#[test]
fn two_buyers_of_one_seat_in_one_batch_get_one_booking() {
    let mut world = World::new();
    let decision = world.batch(&[book(1, "ada", &[4]), book(2, "ben", &[4])]);
    assert!(matches!(&decision.outcomes[0], Outcome::Done(Effect::Booked(_))));
    assert_eq!(*rejection(&decision.outcomes[1]), unavailable(&[("A-1-5", Booked)]));
    assert_eq!(world.state(4), booked(1));
    assert_eq!(world.database.bookings.len(), 1);
}

#[test]
fn a_booking_is_answered_with_its_seats_and_prices() {
    let mut world = World::new();
    world.clock(7);
    let view = booking_view(world.done(book(1, "ada", &[1, 3])));
    let prices: Vec<_> = view.seats.iter().map(|seat| seat.price).collect();
    assert_eq!((labels(&view.seats), prices), (vec!["A-1-2", "A-1-4"], vec![1010, 1030]));
    assert_eq!((view.currency.as_str(), view.cancelled_seats.len()), ("EUR", 0));
    let row = BookingRow {
        id: booking_id(1),
        customer: customer("ada"),
        seats: numbers(&[1, 3]),
        live_seats: 2,
        status: BookingStatus::Confirmed,
        hold: None,
        created_at: at(7),
        cancelled_at: None,
    };
    assert_eq!((world.booking(1), &view.row), (&row, &row));
}

#[test]
fn seats_are_sold_all_or_none_and_every_lost_one_is_listed() {
    let mut world = World::new();
    world.batch(&[book(1, "ada", &[0]), hold(2, "ada", &[1]), block(3, &[2])]);
    let lost = unavailable(&[("A-1-1", Booked), ("A-1-2", Held), ("A-1-3", Blocked)]);
    for taker in [book(4, "ben", &[0, 1, 2, 3]), hold(5, "ben", &[0, 1, 2, 3])] {
        assert_eq!(world.refused(taker), lost);
    }
    assert_eq!(world.refused(block(6, &[0, 1, 2, 3])), lost);
    assert_eq!(world.state(3), SeatState::Available);
}

#[test]
fn a_seat_without_a_row_cannot_be_sold() {
    let mut world = World::new();
    assert_eq!(world.refused(book(1, "ada", &[0, 99])), unavailable(&[("#99", Blocked)]));
}

#[test]
fn a_cancelled_booking_frees_all_its_seats() {
    let mut world = World::new();
    world.done(book(1, "ada", &[0, 1]));
    world.clock(5);
    let view = booking_view(world.done(cancel(1)));
    assert_eq!((view.row.status, view.row.live_seats), (BookingStatus::Cancelled, 0));
    assert_eq!(view.row.cancelled_at, Some(at(5)));
    assert_eq!(
        (labels(&view.seats), labels(&view.cancelled_seats)),
        (vec![], vec!["A-1-1", "A-1-2"])
    );
    assert_eq!((world.state(0), world.state(1)), (SeatState::Available, SeatState::Available));
    assert_eq!(world.database.live_seats(booking_id(1)), []);
}

#[test]
fn a_booking_cancelled_in_part_keeps_the_rest() {
    let mut world = World::new();
    world.done(book(1, "ada", &[0, 1, 2]));
    let view = booking_view(world.done(cancel_seats(1, &[1])));
    assert_eq!((view.row.status, view.row.live_seats), (BookingStatus::Confirmed, 2));
    assert_eq!((view.row.cancelled_at, view.row.seats), (None, numbers(&[0, 1, 2])));
    assert_eq!(
        (labels(&view.seats), labels(&view.cancelled_seats)),
        (vec!["A-1-1", "A-1-3"], vec!["A-1-2"])
    );
    world.clock(9);
    let view = booking_view(world.done(cancel_seats(1, &[0, 1, 2])));
    assert_eq!(view.row.status, BookingStatus::Cancelled, "seat 1 may be cancelled again");
    assert_eq!(view.row.cancelled_at, Some(at(9)));
}

#[test]
fn cancelling_again_changes_nothing_and_has_the_same_answer() {
    let mut world = World::new();
    world.done(book(1, "ada", &[0, 1]));
    for command in [cancel_seats(1, &[0]), cancel(1)] {
        let first = world.done(command.clone());
        world.clock(60);
        let decision = world.batch(&[command]);
        assert_eq!(decision.outcomes, [Outcome::Done(first)]);
        assert!(decision.changes.is_empty() && decision.journal.is_empty());
    }
}

#[test]
fn a_seat_that_was_sold_again_is_not_touched_by_its_first_booking() {
    let mut world = World::new();
    world.done(book(1, "ada", &[0, 1]));
    world.done(cancel_seats(1, &[0]));
    world.done(book(2, "ben", &[0]));
    let view = booking_view(world.done(cancel(1)));
    assert_eq!(labels(&view.cancelled_seats), ["A-1-1", "A-1-2"]);
    assert_eq!((world.state(0), world.state(1)), (booked(2), SeatState::Available));
    assert_eq!((world.booking(2).live_seats, world.booking(1).live_seats), (1, 0));
    assert_eq!(world.database.live_seats(booking_id(2)), numbers(&[0]));
}

#[test]
fn seats_that_a_booking_never_had_cannot_be_cancelled_from_it() {
    let mut world = World::new();
    world.batch(&[book(1, "ada", &[0]), book(2, "ben", &[1])]);
    let foreign = vec!["A-1-2".to_owned(), "A-1-3".to_owned(), "#99".to_owned()];
    let refused = world.refused(cancel_seats(1, &[0, 1, 2, 99]));
    assert_eq!(refused, Rejection::NotInBooking(foreign));
    assert_eq!((world.state(0), world.state(1)), (booked(1), booked(2)));
    assert_eq!(world.refused(cancel(9)), Rejection::NotFound("booking"));
}

#[test]
fn a_seat_can_be_sold_given_back_and_sold_again_in_one_batch() {
    let mut world = World::new();
    world.done(book(1, "ada", &[0]));
    let sales = [cancel(1), book(2, "ben", &[0]), cancel(2), book(3, "cleo", &[0]), cancel(1)];
    let decision = world.batch(&sales);
    assert!(decision.outcomes.iter().all(|outcome| matches!(outcome, Outcome::Done(_))));
    assert_eq!(world.state(0), booked(3));
    assert_eq!(decision.journal[0].changes, [(SeatNumber(0), booked(3))]);
    assert_eq!(decision.changes.released_seats.len(), 1, "only what began before the batch");
    assert_eq!(decision.changes.new_booked_seats.len(), 2);
}

#[test]
fn blocked_seats_are_out_of_sale_until_the_block_is_lifted() {
    let mut world = World::new();
    let Effect::Blocked(view) = world.done(block(1, &[0, 1])) else { panic!() };
    assert_eq!(
        (view.labels, view.row.reason.as_str()),
        (vec!["A-1-1".into(), "A-1-2".into()], "camera")
    );
    let refused = unavailable(&[("A-1-2", Blocked)]);
    for taker in [hold(2, "ada", &[1, 2]), book(3, "ada", &[1, 2]), block(4, &[1, 2])] {
        assert_eq!(world.refused(taker), refused);
    }
    assert_eq!(world.done(unblock(1)), Effect::Unblocked);
    assert!(world.database.blocks[&block_id(1)].lifted);
    world.done(book(3, "ada", &[1, 2]));
    world.done(hold(2, "ben", &[0]));
}

#[test]
fn lifting_a_block_again_changes_no_seat() {
    let mut world = World::new();
    world.done(block(1, &[0, 1]));
    world.done(unblock(1));
    world.batch(&[book(2, "ada", &[0]), block(3, &[1])]);
    let decision = world.batch(&[unblock(1)]);
    assert_eq!(decision.outcomes, [Outcome::Done(Effect::Unblocked)]);
    assert!(decision.changes.is_empty());
    assert_eq!(world.refused(unblock(9)), Rejection::NotFound("block"));
}

#[test]
fn a_block_takes_seats_of_an_expired_hold_and_ignores_sales_rules() {
    let mut world = World::new();
    world.done(hold(1, "ada", &[0]));
    world.rules().sales_close_at = Some(at(100));
    world.clock(600);
    world.done(block(2, &[0, 1, 2, 3, 4]));
    assert_eq!(world.hold(1).status, crate::domain::claims::HoldStatus::Held);
    assert_eq!(world.state(0), SeatState::Blocked { block: block_id(2).uuid });
}
