//! Changes of a hold's seats.

use super::*;
use crate::domain::claims::HoldStatus;
use ConflictReason::{Booked, Held};

#[test]
fn a_change_adds_and_removes_in_one_step_and_keeps_the_end() {
    let mut world = World::new();
    world.done(hold(1, "ada", &[0, 2]));
    world.clock(300);
    let view = held_view(world.done(change(1, &[4, 1], &[2])));
    assert_eq!(labels(&view.seats), ["A-1-1", "A-1-2", "A-1-5"]);
    assert_eq!((view.row.version, view.ends_at), (2, at(600)));
    assert_eq!((world.state(0), world.state(1), world.state(4)), {
        (held(1, 600), held(1, 600), held(1, 600))
    });
    assert_eq!(world.state(2), SeatState::Available);
    assert_eq!((world.hold(1).id, world.hold(1).created_at), (hold_id(1), at(0)));
    world.clock(600);
    assert_eq!(world.refused(change(1, &[3], &[])), hold_expired(&[]));
}

#[test]
fn a_refused_change_leaves_the_hold_as_it_was() {
    let mut world = World::new();
    world.batch(&[hold(1, "ada", &[0, 1]), book(2, "ben", &[2]), hold(3, "cleo", &[3])]);
    let lost = unavailable(&[("A-1-3", Booked), ("A-1-4", Held)]);
    assert_eq!(world.refused(change(1, &[2, 3, 4], &[0])), lost);
    let foreign = Rejection::NotInHold(vec!["A-1-4".to_owned(), "A-1-6".to_owned()]);
    assert_eq!(world.refused(change(1, &[6], &[0, 3, 5])), foreign);
    assert_eq!(world.hold(1).version, 1);
}

#[test]
fn a_seat_that_the_hold_has_stays_in_it() {
    let mut world = World::new();
    world.done(hold(1, "ada", &[0, 1]));
    let view = held_view(world.done(change(1, &[0, 1], &[])));
    assert_eq!((view.row.version, world.database.schedules[&ScheduleId(1)].version), (1, 1));
    let view = held_view(world.done(change(1, &[1, 2], &[0])));
    assert_eq!((labels(&view.seats), view.row.version), (vec!["A-1-2", "A-1-3"], 2));
}

#[test]
fn a_hold_whose_last_seat_is_removed_is_released() {
    let mut world = World::new();
    world.done(hold(1, "ada", &[0, 1]));
    assert!(matches!(world.done(change(1, &[], &[0, 1])), Effect::Released(_)));
    assert_eq!(world.hold(1).status, HoldStatus::Released);
    assert_eq!((world.state(0), world.state(1)), (SeatState::Available, SeatState::Available));
    assert_eq!(world.refused(change(1, &[0], &[])), Rejection::HoldReleased);
}

#[test]
fn only_the_named_version_is_changed() {
    let mut world = World::new();
    world.done(hold(1, "ada", &[0]));
    let at_version = |version, add: &[u32]| {
        let (add, remove) = (numbers(add), Vec::new());
        command(Action::Change { hold: hold_id(1), add, remove, version: Some(version) })
    };
    let decision = world.batch(&[at_version(1, &[1]), at_version(1, &[2]), at_version(2, &[3])]);
    assert_eq!(*rejection(&decision.outcomes[1]), Rejection::HoldChanged { version: 2 });
    assert_eq!(world.hold(1).seats, numbers(&[0, 1, 3]));
    assert_eq!(world.hold(1).version, 3);
}

#[test]
fn the_rules_count_the_seats_that_the_hold_will_have() {
    let mut world = World::new();
    world.done(hold(1, "ada", &[0, 1, 2]));
    assert_eq!(world.refused(change(1, &[3, 4], &[])), Rejection::HoldTooLarge { max: 4 });
    world.done(change(1, &[3, 4], &[0]));
    world.rules().max_seats_per_customer = Some(5);
    world.done(book(2, "ada", &[5]));
    world.done(change(1, &[6], &[1]));
    world.done(change(1, &[], &[2]));
    world.done(book(3, "ada", &[7]));
    let full = Rejection::SeatLimitReached { max: 5, owned: 5 };
    assert_eq!(world.refused(change(1, &[8], &[])), full);
    world.done(change(1, &[8], &[6]));
}

#[test]
fn after_sales_have_closed_seats_are_removed_and_none_is_added() {
    let mut world = World::new();
    world.done(hold(1, "ada", &[0, 1]));
    world.rules().sales_close_at = Some(at(10));
    world.clock(10);
    assert_eq!(world.refused(change(1, &[2], &[1])), Rejection::SalesClosed);
    world.done(change(1, &[], &[1]));
    assert_eq!(world.hold(1).seats, numbers(&[0]));
}

#[test]
fn a_changed_hold_is_confirmed_with_the_seats_that_it_has() {
    let mut world = World::new();
    world.done(hold(1, "ada", &[0, 1]));
    world.done(change(1, &[2], &[0]));
    let view = booking_view(world.done(confirm(1, 2)));
    assert_eq!(labels(&view.seats), ["A-1-2", "A-1-3"]);
    assert_eq!(world.refused(change(1, &[3], &[])), Rejection::HoldConfirmed);
}

#[test]
fn a_seat_moves_from_one_hold_to_another_in_one_batch() {
    let mut world = World::new();
    world.batch(&[hold(1, "ada", &[0, 1]), hold(2, "ben", &[2])]);
    let decision =
        world.batch(&[change(1, &[], &[1]), change(2, &[1], &[2]), change(1, &[2], &[])]);
    assert!(decision.outcomes.iter().all(Outcome::has_effect));
    assert_eq!((world.state(1), world.state(2)), (held(2, 600), held(1, 600)));
    assert_eq!(decision.freed, [(ScheduleId(1), 2)]);
}
