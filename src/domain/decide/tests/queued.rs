//! Requests that came through the queue: decided once, whatever the outcome, and never late.

use super::*;
use crate::domain::decide::properties::database::render;
use ConflictReason::Booked;

#[test]
fn a_request_delivered_again_gets_its_outcome() {
    let mut world = World::new();
    let sold = world.done(queued(1, 60, book(1, "ada", &[0])));
    let lost = world.outcome(queued(2, 60, book(2, "ben", &[0])));
    assert_eq!(*rejection(&lost), unavailable(&[("A-1-1", Booked)]));
    world.done(cancel(1));
    let again = world.batch(&[
        queued(1, 60, book(3, "ada", &[0])),
        queued(2, 60, book(4, "ben", &[0])),
        queued(3, 60, book(5, "cyd", &[0])),
    ]);
    assert_eq!(again.outcomes[0], Outcome::Replayed(render(&sold)));
    let Outcome::Replayed(refused) = &again.outcomes[1] else { panic!("{:?}", again.outcomes) };
    assert_eq!(refused.status, 409, "the first outcome is final, although the seat is free again");
    assert!(matches!(again.outcomes[2], Outcome::Done(_)));
    assert_eq!(again.changes.new_bookings.len(), 1);
}

#[test]
fn a_request_delivered_twice_in_one_batch_has_one_outcome() {
    let mut world = World::new();
    let decision = world.batch(&[
        queued(1, 60, book(1, "ada", &[0])),
        queued(1, 60, book(2, "ada", &[0])),
        queued(2, 60, book(3, "ben", &[0])),
        queued(2, 60, book(4, "ben", &[0])),
    ]);
    let Outcome::Done(effect) = &decision.outcomes[0] else { panic!("{decision:?}") };
    assert_eq!(decision.outcomes[1], Outcome::Repeated(effect.clone()));
    assert_eq!(decision.outcomes[2], decision.outcomes[3]);
    assert_eq!(decision.changes.answers.len(), 2);
}

#[test]
fn a_queued_confirm_of_a_cancelled_booking_is_refused_and_keeps_that_outcome() {
    let mut world = World::new();
    world.batch(&[hold(1, "ada", &[0]), confirm(1, 2), cancel(2)]);
    let late = world.outcome(queued(1, 60, confirm(1, 3)));
    assert_eq!(*rejection(&late), Rejection::BookingCancelled(booking_id(2)));
    let again = world.outcome(queued(1, 60, confirm(1, 4)));
    assert!(matches!(&again, Outcome::Replayed(answer) if answer.status == 409), "{again:?}");
}

#[test]
fn a_request_is_not_executed_after_its_time() {
    let mut world = World::new();
    world.clock(60);
    let outcome = world.outcome(queued(1, 60, book(1, "ada", &[0])));
    assert_eq!(*rejection(&outcome), Rejection::TooLate);
    assert_eq!(world.state(0), SeatState::Available);
    world.clock(59);
    let again = world.outcome(queued(1, 60, book(1, "ada", &[0])));
    assert!(
        matches!(again, Outcome::Replayed(_)),
        "the outcome is final even if the clock is set back: {again:?}"
    );
    assert!(matches!(world.outcome(queued(2, 60, book(1, "ada", &[0]))), Outcome::Done(_)));
}

#[test]
fn direct_requests_and_queued_requests_share_keys() {
    let mut world = World::new();
    let sold = world.done(keyed("k", "f", book(1, "ada", &[0])));
    let late = world.outcome(queued(1, -1, keyed("k", "f", book(2, "ada", &[0]))));
    assert_eq!(
        late,
        Outcome::Replayed(render(&sold)),
        "the key had its effect before, so the request is not too late"
    );
    let again = world.outcome(queued(1, -1, keyed("k", "f", book(3, "ada", &[0]))));
    assert_eq!(again, late);
    let other = world.outcome(queued(2, 60, keyed("k", "g", book(4, "ada", &[1]))));
    assert_eq!(*rejection(&other), Rejection::KeyReused);
    let first = world.done(queued(3, 60, keyed("l", "f", book(5, "ada", &[1]))));
    let direct = world.outcome(keyed("l", "f", book(6, "ada", &[1])));
    assert_eq!(direct, Outcome::Replayed(render(&first)));
}

#[test]
fn a_key_that_was_refused_through_the_queue_is_decided_anew_directly() {
    let mut world = World::new();
    world.done(book(1, "ada", &[0]));
    let lost = world.outcome(queued(1, 60, keyed("k", "f", book(2, "ben", &[0]))));
    assert_eq!(*rejection(&lost), unavailable(&[("A-1-1", Booked)]));
    world.done(cancel(1));
    world.done(keyed("k", "f", book(3, "ben", &[0])));
}
