//! Idempotency-Keys: one effect, the same answer each time; refusals are not recorded.

use super::*;
use crate::domain::decide::properties::database::render;
use crate::domain::effect::{Answer, RecordedAnswer};
use ConflictReason::Booked;

fn replayed(effect: &Effect) -> Outcome {
    Outcome::Replayed(render(effect))
}

#[test]
fn a_key_that_had_its_effect_gives_the_same_answer_whatever_has_happened_since() {
    let mut world = World::new();
    let first = world.done(keyed("k", "f", book(1, "ada", &[0])));
    world.done(cancel(1));
    world.rules().sales_close_at = Some(at(1));
    world.clock(86_399);
    let decision = world.batch(&[keyed("k", "f", book(2, "ada", &[0]))]);
    assert_eq!(decision.outcomes, [replayed(&first)]);
    assert!(decision.changes.is_empty() && decision.journal.is_empty());
}

#[test]
fn a_key_repeated_in_one_batch_has_one_effect() {
    let mut world = World::new();
    let decision = world.batch(&[
        keyed("k", "f", book(1, "ada", &[0])),
        keyed("k", "f", book(2, "ada", &[0])),
        keyed("k", "f", book(3, "ada", &[0])),
    ]);
    let Outcome::Done(effect) = &decision.outcomes[0] else { panic!("{decision:?}") };
    let again = Outcome::Repeated(effect.clone());
    assert_eq!(decision.outcomes[1..], [again.clone(), again]);
    assert_eq!(decision.changes.new_bookings.len(), 1);
    assert_eq!(decision.changes.answers.len(), 1);
}

#[test]
fn a_key_of_another_request_is_refused() {
    let mut world = World::new();
    let decision = world
        .batch(&[keyed("k", "f", book(1, "ada", &[0])), keyed("k", "g", book(2, "ada", &[1]))]);
    assert_eq!(*rejection(&decision.outcomes[1]), Rejection::KeyReused, "in the same batch");
    for command in [book(2, "ada", &[1]), cancel(1), lookup()] {
        assert_eq!(world.refused(keyed("k", "g", command)), Rejection::KeyReused);
    }
}

#[test]
fn a_refusal_is_not_recorded_and_its_key_is_decided_anew() {
    let mut world = World::new();
    world.done(book(1, "ada", &[0]));
    let decision = world.batch(&[
        keyed("k", "f", book(2, "ben", &[0])),
        keyed("k", "f", book(3, "ben", &[0])),
        cancel(1),
        keyed("k", "g", book(4, "ben", &[0])),
    ]);
    for outcome in &decision.outcomes[..2] {
        assert_eq!(*rejection(outcome), unavailable(&[("A-1-1", Booked)]));
    }
    assert!(
        matches!(decision.outcomes[3], Outcome::Done(_)),
        "the refused request is not recorded, either"
    );
    assert_eq!(world.state(0), booked(4));
}

#[test]
fn an_answer_is_recorded_with_its_request_and_kept_for_its_time() {
    let mut world = World::new();
    let first = keyed("k", "f", book(1, "ada", &[0]));
    let decision = world.batch(std::slice::from_ref(&first));
    let (request, answer) = decision.changes.answers.first_key_value().unwrap();
    assert_eq!(Some(&answer.keyed), first.keyed.as_ref());
    assert_eq!(*request, answer.keyed.request);
    let Answer::Effect(effect) = &answer.answer else { panic!("{answer:?}") };
    assert_eq!(decision.outcomes, [Outcome::Done(effect.clone())]);
    assert_eq!(answer.expires_at, at(86_400));
    world.clock(86_400);
    world.done(keyed("k", "another request", book(2, "ada", &[1])));
}

#[test]
fn every_kind_of_effect_is_recorded() {
    let mut world = World::new();
    let commands = [
        hold(1, "ada", &[0]),
        extend(1, 900),
        confirm(1, 2),
        confirm(1, 3),
        cancel(2),
        hold(4, "ada", &[1]),
        release(4),
        expire(4),
        block(5, &[2]),
        unblock(5),
    ];
    for (index, command) in commands.into_iter().enumerate() {
        let command = keyed(&index.to_string(), "f", command);
        let effect = world.done(command.clone());
        assert_eq!(world.outcome(command), replayed(&effect));
    }
}

#[test]
fn two_keys_that_confirm_one_hold_get_one_booking() {
    let mut world = World::new();
    world.done(hold(1, "ada", &[0]));
    let decision = world.batch(&[keyed("k", "f", confirm(1, 2)), keyed("l", "f", confirm(1, 3))]);
    assert_eq!(decision.outcomes[0], decision.outcomes[1]);
    assert_eq!(decision.changes.new_bookings.len(), 1);
    assert_eq!(decision.changes.answers.len(), 2, "each key has its answer");
}

#[test]
fn an_effect_that_changed_nothing_is_recorded_without_a_new_version() {
    let mut world = World::new();
    world.batch(&[book(1, "ada", &[0]), cancel(1)]);
    let decision = world.batch(&[keyed("k", "f", cancel(1))]);
    assert!(decision.journal.is_empty());
    assert!(!decision.changes.is_empty(), "the answer must be written");
}

#[test]
fn callers_do_not_share_keys() {
    let mut world = World::new();
    world.done(keyed("k", "f", book(1, "ada", &[0])));
    let mut other = keyed("k", "f", book(2, "ben", &[1]));
    other.keyed.as_mut().unwrap().request.caller = "kiosk".to_owned();
    world.done(other);
    assert_eq!(world.database.answers.len(), 2);
}

#[test]
fn a_lookup_finds_an_answer_and_does_nothing() {
    let mut world = World::new();
    let effect = world.done(keyed("k", "f", book(1, "ada", &[0])));
    let decision = world.batch(&[keyed("k", "f", lookup()), keyed("l", "f", lookup()), lookup()]);
    let nothing = Outcome::NotRecorded;
    assert_eq!(decision.outcomes, [replayed(&effect), nothing.clone(), nothing]);
    assert!(decision.changes.is_empty());
    let decision = world.batch(&[keyed("m", "f", book(2, "ada", &[1])), keyed("m", "f", lookup())]);
    assert!(matches!(decision.outcomes[1], Outcome::Repeated(_)), "of the same batch");
}

#[test]
fn a_key_is_answered_even_if_its_schedule_does_not_exist() {
    let mut world = World::new();
    let effect = world.done(keyed("k", "f", book(1, "ada", &[0])));
    world.database.schedules.clear();
    let RecordedAnswer { status, body, resource } = render(&effect);
    assert_eq!(
        world.outcome(keyed("k", "f", book(2, "ada", &[0]))),
        Outcome::Replayed(RecordedAnswer { status, body, resource })
    );
    assert_eq!(
        world.refused(keyed("l", "f", book(2, "ada", &[1]))),
        Rejection::NotFound("schedule")
    );
}
