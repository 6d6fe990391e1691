//! The rules of a schedule: the sales window, seats in one booking, seats of one customer.

use super::*;

#[test]
fn seats_are_sold_from_the_opening_to_the_close() {
    let mut world = World::new();
    world.rules().sales_open_at = Some(at(10));
    world.rules().sales_close_at = Some(at(20));
    for closed in [9, 20] {
        world.clock(closed);
        assert_eq!(world.refused(hold(1, "ada", &[0])), Rejection::SalesClosed, "at {closed}");
        assert_eq!(world.refused(book(1, "ada", &[0])), Rejection::SalesClosed, "at {closed}");
    }
    world.clock(10);
    world.done(hold(1, "ada", &[0]));
    world.clock(19);
    world.done(book(2, "ada", &[1]));
}

#[test]
fn a_close_of_sales_stops_no_hold_in_time_but_a_late_one() {
    let mut world = World::new();
    world.rules().sales_close_at = Some(at(100));
    for (id, seat) in [(1, 0), (2, 1), (3, 2), (4, 3)] {
        world.done(hold(id, "ada", &[seat]));
    }
    world.clock(599);
    world.done(confirm(1, 11));
    world.done(extend(2, 600));
    world.done(release(3));
    world.done(cancel(11));
    world.clock(600);
    assert_eq!(world.refused(confirm(4, 14)), Rejection::SalesClosed);
}

#[test]
fn no_request_takes_more_seats_than_the_schedule_allows() {
    let mut world = World::new();
    world.rules().max_seats_per_booking = 2;
    let too_many = Rejection::TooManySeats { max: 2 };
    assert_eq!(world.refused(hold(1, "ada", &[0, 1, 2])), too_many);
    assert_eq!(world.refused(book(1, "ada", &[0, 1, 2])), too_many);
    world.done(hold(1, "ada", &[0, 1]));
    world.done(book(2, "ada", &[2, 3]));
}

#[test]
fn a_tightened_rule_binds_late_confirms_only() {
    let mut world = World::new();
    world.batch(&[hold(1, "ada", &[0, 1]), hold(2, "ada", &[2, 3])]);
    world.rules().max_seats_per_booking = 1;
    world.clock(599);
    world.done(confirm(1, 11));
    world.clock(600);
    assert_eq!(world.refused(confirm(2, 12)), Rejection::TooManySeats { max: 1 });
}

#[test]
fn a_customers_holds_and_bookings_of_one_batch_count_together() {
    let mut world = World::new();
    world.rules().max_seats_per_customer = Some(3);
    let decision = world.batch(&[
        hold(1, "ada", &[0]),
        book(2, "ada", &[1]),
        book(3, "ada", &[2, 3]),
        book(4, "ada", &[4]),
        hold(5, "ada", &[5]),
        hold(6, "ben", &[6]),
    ]);
    let outcomes = &decision.outcomes;
    assert_eq!(*rejection(&outcomes[2]), Rejection::SeatLimitReached { max: 3, owned: 2 });
    assert!(matches!(outcomes[3], Outcome::Done(_)), "one more still fits");
    assert_eq!(*rejection(&outcomes[4]), Rejection::SeatLimitReached { max: 3, owned: 3 });
    assert!(matches!(outcomes[5], Outcome::Done(_)), "other customers count alone");
    let refused = world.refused(book(7, "ada", &[7]));
    assert_eq!(refused, Rejection::SeatLimitReached { max: 3, owned: 3 }, "nor in the next batch");
    world.done(elsewhere(book(8, "ada", &[0])));
}

#[test]
fn what_is_given_back_or_has_ended_does_not_count() {
    let mut world = World::new();
    world.rules().max_seats_per_customer = Some(4);
    world.batch(&[hold(1, "ada", &[0]), hold(2, "ada", &[1]), book(3, "ada", &[2, 3])]);
    let full = Rejection::SeatLimitReached { max: 4, owned: 4 };
    assert_eq!(world.refused(book(4, "ada", &[4])), full);
    let decision = world.batch(&[release(1), cancel_seats(3, &[2]), book(4, "ada", &[4, 5])]);
    assert!(matches!(decision.outcomes[2], Outcome::Done(_)));
    assert_eq!(world.refused(book(6, "ada", &[6])), full);
    world.clock(600);
    world.done(book(6, "ada", &[6]));
}

#[test]
fn a_hold_that_an_outage_extended_still_counts() {
    let mut world = World::new();
    world.rules().max_seats_per_customer = Some(1);
    world.done(hold(1, "ada", &[0]));
    world.outage(590, 700);
    world.clock(759);
    let full = Rejection::SeatLimitReached { max: 1, owned: 1 };
    assert_eq!(world.refused(book(2, "ada", &[1])), full);
    world.clock(760);
    world.done(book(2, "ada", &[1]));
}

#[test]
fn a_hold_confirmed_in_time_is_within_the_limit_it_was_granted_under() {
    let mut world = World::new();
    world.rules().max_seats_per_customer = Some(2);
    let decision = world.batch(&[hold(1, "ada", &[0, 1]), confirm(1, 2), hold(3, "ada", &[2])]);
    assert!(matches!(decision.outcomes[1], Outcome::Done(_)));
    let full = Rejection::SeatLimitReached { max: 2, owned: 2 };
    assert_eq!(*rejection(&decision.outcomes[2]), full, "counted once, as a booking");
}

#[test]
fn the_limit_applies_to_a_late_confirm_as_to_a_new_booking() {
    let mut world = World::new();
    world.rules().max_seats_per_customer = Some(2);
    world.done(hold(1, "ada", &[0, 1]));
    world.clock(600);
    world.done(book(2, "ada", &[2]));
    assert_eq!(world.refused(confirm(1, 3)), Rejection::SeatLimitReached { max: 2, owned: 1 });
    world.done(cancel(2));
    world.done(confirm(1, 3));
}
