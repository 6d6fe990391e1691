//! Holds: granted, extended, released, expired, extended by outages.

use super::*;
use crate::domain::claims::HoldStatus;
use ConflictReason::{Booked, Held};

#[test]
fn a_hold_claims_all_its_seats_until_its_end() {
    let mut world = World::new();
    let view = held_view(world.done(hold(1, "ada", &[0, 2])));
    assert_eq!(labels(&view.seats), ["A-1-1", "A-1-3"]);
    assert_eq!(view.seats.iter().map(|seat| seat.price).collect::<Vec<_>>(), [1000, 1020]);
    assert_eq!((view.currency.as_str(), view.now, view.ends_at), ("EUR", at(0), at(600)));
    assert_eq!((world.state(0), world.state(2)), (held(1, 600), held(1, 600)));
    let row = HoldRow {
        id: hold_id(1),
        customer: customer("ada"),
        seats: numbers(&[0, 2]),
        version: 1,
        status: HoldStatus::Held,
        created_at: at(0),
        until: at(600),
        booking: None,
    };
    assert_eq!((world.hold(1), &view.row), (&row, &row));
}

#[test]
fn a_hold_may_have_its_own_life_up_to_the_longest() {
    let mut world = World::new();
    world.done(hold_for(5, 1, "ada", &[0]));
    assert_eq!(world.hold(1).until, at(5));
    world.done(hold_for(99_999, 2, "ada", &[1]));
    assert_eq!(world.hold(2).until, at(3600));
}

#[test]
fn a_held_seat_is_refused_to_all_customers_until_the_hold_expires() {
    let mut world = World::new();
    world.done(hold(1, "ada", &[0]));
    world.clock(599);
    for taker in [hold(2, "ben", &[0]), book(3, "ben", &[0]), block(5, &[0])] {
        assert_eq!(world.refused(taker), unavailable(&[("A-1-1", Held)]));
    }
    world.clock(600);
    world.done(hold(6, "ben", &[0]));
}

/// The refusal of seats that the customer's own holds have.
fn own(holds: &[(&str, u128)]) -> Rejection {
    let own = |(label, hold): &(&str, u128)| Conflict {
        label: (*label).to_owned(),
        reason: Held,
        hold: Some(hold_id(*hold)),
    };
    Rejection::SeatsUnavailable(holds.iter().map(own).collect())
}

#[test]
fn a_conflict_names_a_hold_of_the_same_customer() {
    let mut world = World::new();
    world.batch(&[hold(1, "ada", &[0]), hold(2, "ada", &[1]), hold(3, "ben", &[2])]);
    let both = own(&[("A-1-1", 1), ("A-1-2", 2)]);
    assert_eq!(world.refused(hold(4, "ada", &[0, 1])), both);
    assert_eq!(world.refused(book(4, "ada", &[0, 1, 3])), both);
    let Rejection::SeatsUnavailable(mixed) = world.refused(book(4, "ada", &[0, 2])) else {
        panic!()
    };
    assert_eq!(mixed.iter().map(|seat| seat.hold).collect::<Vec<_>>(), [Some(hold_id(1)), None]);
    assert_eq!(
        world.refused(book(4, "ben", &[0, 1])),
        unavailable(&[("A-1-1", Held), ("A-1-2", Held)])
    );
    let decision = world.batch(&[hold(5, "ada", &[4]), book(6, "ada", &[4]), book(7, "ben", &[4])]);
    assert_eq!(*rejection(&decision.outcomes[1]), own(&[("A-1-5", 5)]), "in the same batch");
    assert_eq!(*rejection(&decision.outcomes[2]), unavailable(&[("A-1-5", Held)]));
}

#[test]
fn a_late_confirm_gets_the_newer_hold_of_the_same_customer() {
    let mut world = World::new();
    world.done(hold(1, "ada", &[0]));
    world.clock(600);
    world.done(hold(2, "ada", &[0]));
    let Rejection::HoldExpired(lost) = world.refused(confirm(1, 3)) else { panic!() };
    assert_eq!(lost.first().and_then(|seat| seat.hold), Some(hold_id(2)));
}

#[test]
fn an_ended_hold_is_free_to_the_next_taker_before_it_is_swept() {
    let mut world = World::new();
    world.done(hold(1, "ada", &[0, 1]));
    world.clock(600);
    let decision = world.batch(&[book(2, "ben", &[1]), extend(1, 60)]);
    assert!(matches!(decision.outcomes[0], Outcome::Done(Effect::Booked(_))));
    assert_eq!(*rejection(&decision.outcomes[1]), hold_expired(&[]));
    assert!(decision.changes.holds.is_empty(), "the loser's row comes too late for the lock order");
    assert_eq!(world.hold(1).status, HoldStatus::Held);
    assert_eq!((world.state(0), world.state(1)), (held(1, 600), booked(2)));
}

#[test]
fn an_extension_counts_from_now_and_reaches_the_seats() {
    let mut world = World::new();
    world.done(hold(1, "ada", &[0, 1]));
    world.clock(300);
    let view = held_view(world.done(extend(1, 500)));
    assert_eq!((view.ends_at, world.hold(1).until), (at(800), at(800)));
    assert_eq!((world.state(0), world.state(1)), (held(1, 800), held(1, 800)));
    world.done(command(Action::Extend { hold: hold_id(1), ttl: None }));
    assert_eq!(world.hold(1).until, at(900), "the schedule's rule");
}

#[test]
fn an_extension_never_shortens() {
    let mut world = World::new();
    world.done(hold(1, "ada", &[0]));
    world.clock(10);
    for seconds in [1, 590] {
        let decision = world.batch(&[extend(1, seconds)]);
        let Outcome::Done(Effect::Extended(view)) = &decision.outcomes[0] else { panic!() };
        assert_eq!(view.ends_at, at(600));
        assert!(decision.changes.is_empty() && decision.journal.is_empty());
    }
}

#[test]
fn no_extension_outlives_the_longest_life_from_the_grant() {
    let mut world = World::new();
    world.done(hold_for(3000, 1, "ada", &[0]));
    world.clock(2000);
    world.done(extend(1, 3600));
    assert_eq!(world.hold(1).until, at(3600));
    world.clock(3599);
    world.done(extend(1, 3600));
    assert_eq!(world.hold(1).until, at(3600));
    world.clock(3600);
    assert_eq!(world.refused(extend(1, 3600)), hold_expired(&[]));
}

#[test]
fn an_ended_hold_cannot_be_extended_and_the_refusal_has_the_reason() {
    let mut world = World::new();
    for (id, seat) in [(1, 0), (2, 1), (3, 2), (4, 3)] {
        world.done(hold(id, "ada", &[seat]));
    }
    world.done(confirm(1, 11));
    world.done(release(2));
    world.clock(600);
    world.done(expire(3));
    assert_eq!(world.refused(extend(1, 60)), Rejection::HoldConfirmed);
    assert_eq!(world.refused(extend(2, 60)), Rejection::HoldReleased);
    assert_eq!(world.refused(extend(3, 60)), hold_expired(&[]));
    assert_eq!(world.refused(extend(4, 60)), hold_expired(&[]), "not swept yet");
    assert_eq!(world.refused(extend(5, 60)), Rejection::NotFound("hold"));
}

#[test]
fn a_released_hold_frees_its_seats_and_releasing_again_has_the_same_answer() {
    let mut world = World::new();
    world.done(hold(1, "ada", &[0, 1]));
    let first = world.done(release(1));
    let Effect::Released(row) = &first else { panic!("{first:?}") };
    assert_eq!(row.status, HoldStatus::Released);
    assert_eq!((world.state(0), world.state(1)), (SeatState::Available, SeatState::Available));
    world.done(hold(2, "ben", &[0]));
    let decision = world.batch(&[release(1)]);
    assert_eq!(decision.outcomes, [Outcome::Done(first)]);
    assert!(decision.changes.is_empty());
    assert_eq!(world.state(0), held(2, 600));
}

#[test]
fn a_booking_is_not_given_back_by_releasing_its_hold() {
    let mut world = World::new();
    world.done(hold(1, "ada", &[0]));
    world.done(confirm(1, 2));
    assert_eq!(world.refused(release(1)), Rejection::HoldConfirmed);
    assert_eq!(world.refused(release(9)), Rejection::NotFound("hold"));
}

#[test]
fn releasing_an_ended_hold_frees_what_is_left_of_it() {
    let mut world = World::new();
    world.done(hold(1, "ada", &[0, 1]));
    world.clock(600);
    world.done(book(2, "ben", &[0]));
    let Effect::Released(row) = world.done(release(1)) else { panic!() };
    assert_eq!(row.status, HoldStatus::Released, "released by its owner");
    assert_eq!((world.state(0), world.state(1)), (booked(2), SeatState::Available));
    assert_eq!(world.done(release(1)), Effect::Released(row));
}

#[test]
fn the_sweeper_frees_only_seats_that_still_name_the_hold() {
    let mut world = World::new();
    world.done(hold(1, "ada", &[0, 1, 2]));
    world.clock(600);
    world.batch(&[book(2, "ben", &[0]), hold(3, "cleo", &[1])]);
    let decision = world.batch(&[expire(1)]);
    assert_eq!(decision.outcomes, [Outcome::Done(Effect::Expired)]);
    assert_eq!(decision.journal[0].changes, [(SeatNumber(2), SeatState::Available)]);
    assert_eq!(world.hold(1).status, HoldStatus::Expired);
    assert_eq!((world.state(0), world.state(1)), (booked(2), held(3, 1200)));
}

#[test]
fn the_sweeper_does_not_change_active_or_ended_holds() {
    let mut world = World::new();
    world.batch(&[hold(1, "ada", &[0]), hold(2, "ben", &[1]), hold(3, "cleo", &[2])]);
    world.batch(&[confirm(2, 12), release(3)]);
    world.clock(599);
    let decision = world.batch(&[expire(1), expire(2), expire(3)]);
    assert_eq!(decision.outcomes, vec![Outcome::Done(Effect::Expired); 3]);
    assert!(decision.changes.is_empty());
    assert_eq!(world.refused(expire(9)), Rejection::NotFound("hold"));
}

#[test]
fn an_outage_does_not_eat_a_hold() {
    let mut world = World::new();
    world.done(hold(1, "ada", &[0, 1]));
    world.outage(590, 700);
    world.clock(759);
    assert_eq!(world.refused(book(2, "ben", &[0])), unavailable(&[("A-1-1", Held)]));
    let decision = world.batch(&[expire(1)]);
    assert!(decision.changes.is_empty(), "the sweep does not end it, either");
    let view = held_view(world.done(extend(1, 1)));
    assert_eq!((view.ends_at, view.row.until), (at(760), at(600)), "as long as before");
    let view = booking_view(world.done(confirm(1, 3)));
    assert_eq!(labels(&view.seats), ["A-1-1", "A-1-2"]);
}

#[test]
fn the_grace_after_an_outage_ends_too() {
    let mut world = World::new();
    world.done(hold(1, "ada", &[0]));
    world.outage(590, 700);
    world.clock(760);
    world.done(book(2, "ben", &[0]));
    assert_eq!(world.refused(confirm(1, 3)), hold_expired(&[("A-1-1", Booked)]));
}

#[test]
fn a_hold_that_an_outage_extended_can_be_extended_again() {
    let mut world = World::new();
    world.done(hold(1, "ada", &[0]));
    world.outage(590, 700);
    world.clock(710);
    let view = held_view(world.done(extend(1, 100)));
    assert_eq!((view.ends_at, world.state(0)), (at(810), held(1, 810)));
}

#[test]
fn an_outage_found_late_takes_no_seat_back() {
    let mut world = World::new();
    world.done(hold(1, "ada", &[0, 1]));
    world.clock(601);
    world.done(book(2, "ben", &[0]));
    // The last heartbeat was older than that sale.
    world.outage(599, 700);
    world.clock(700);
    assert_eq!(world.refused(confirm(1, 3)), hold_expired(&[("A-1-1", Booked)]));
    assert_eq!(world.state(0), booked(2));
}
