//! The results of a whole batch: the journal, the changes, and the count of failed seat locks.

use super::*;
use crate::domain::rows::JournalEntry;

#[test]
fn the_journal_has_one_entry_per_schedule_with_final_states() {
    let mut world = World::new();
    let decision = world.batch(&[
        elsewhere(book(1, "ada", &[3])),
        hold(2, "ada", &[5, 6]),
        book(3, "ben", &[1]),
        release(2),
        book(4, "cleo", &[6]),
    ]);
    let changes = vec![
        (SeatNumber(1), booked(3)),
        (SeatNumber(5), SeatState::Available),
        (SeatNumber(6), booked(4)),
    ];
    let first = JournalEntry { schedule: ScheduleId(1), version: 1, changes };
    let changes = vec![(SeatNumber(3), booked(1))];
    let second = JournalEntry { schedule: ScheduleId(2), version: 1, changes };
    assert_eq!(decision.journal, [first, second]);
}

#[test]
fn a_version_counts_batches_that_wrote_a_seat() {
    let mut world = World::new();
    let version = |world: &World, id| world.database.schedules[&ScheduleId(id)].version;
    world.done(book(1, "ada", &[0]));
    world.outcome(book(2, "ben", &[0]));
    world.batch(&[book(3, "ben", &[1]), book(4, "cleo", &[2]), cancel(3)]);
    world.done(cancel(3));
    assert_eq!((version(&world, 1), version(&world, 2)), (2, 0));
}

#[test]
fn a_batch_of_refused_commands_changes_nothing() {
    let mut world = World::new();
    world.done(book(1, "ada", &[0]));
    let decision = world.batch(&[
        locked(book(2, "ben", &[0, 1])),
        keyed("k", "f", hold(3, "ben", &[0])),
        confirm(9, 4),
        cancel_seats(1, &[1]),
        unblock(9),
    ]);
    assert!(decision.outcomes.iter().all(|outcome| matches!(outcome, Outcome::Refused(_))));
    assert!(decision.changes.is_empty());
    assert_eq!(decision.changes, Default::default());
    assert!(decision.journal.is_empty());
}

#[test]
fn a_refused_command_does_not_affect_the_others_of_its_batch() {
    let mut world = World::new();
    let decision =
        world.batch(&[book(1, "ada", &[0, 1]), book(2, "ben", &[1, 2]), book(3, "cleo", &[2, 3])]);
    assert!(matches!(decision.outcomes[1], Outcome::Refused(_)));
    assert_eq!((world.state(1), world.state(2)), (booked(1), booked(3)), "seat 2 stayed free");
}

#[test]
fn an_unknown_schedule_is_not_found() {
    let mut world = World::new();
    let in_unknown_schedule = |mut command: Command| {
        command.schedule = ScheduleId(9);
        command
    };
    let commands = [hold(1, "ada", &[0]), book(1, "ada", &[0]), block(1, &[0]), confirm(1, 1)];
    for command in commands {
        let command = in_unknown_schedule(command);
        assert_eq!(world.refused(command), Rejection::NotFound("schedule"));
    }
    assert_eq!(world.outcome(in_unknown_schedule(lookup())), Outcome::NotRecorded);
}

#[test]
fn an_empty_batch_decides_nothing() {
    let decision = World::new().batch(&[]);
    assert!(decision.outcomes.is_empty() && decision.changes.is_empty());
}

#[test]
fn seat_locks_have_failed_only_if_both_buyers_of_a_seat_were_locked() {
    for (first, second, saves) in [(true, true, 2), (true, false, 0), (false, true, 0)] {
        let mut world = World::new();
        let mut commands = [book(1, "ada", &[0, 1, 2]), hold(2, "ben", &[1, 2, 3])];
        commands[0].locked = first;
        commands[1].locked = second;
        let decision = world.batch(&commands);
        assert!(matches!(decision.outcomes[1], Outcome::Refused(_)));
        assert_eq!(decision.row_lock_saves, saves, "locked: {first}, {second}");
    }
}

#[test]
fn a_seat_that_an_earlier_batch_took_is_no_failed_lock() {
    let mut world = World::new();
    world.done(locked(book(1, "ada", &[0])));
    let decision = world.batch(&[locked(book(2, "ben", &[0])), locked(book(3, "cleo", &[1]))]);
    assert_eq!(decision.row_lock_saves, 0, "the first lock may have been released");
}

#[test]
fn a_repeated_key_is_no_failed_lock() {
    let mut world = World::new();
    let same = |id| locked(keyed("k", "f", book(id, "ada", &[0])));
    assert_eq!(world.batch(&[same(1), same(2)]).row_lock_saves, 0);
}

#[test]
fn seats_that_were_given_back_are_reported_with_a_version_at_which_they_are_free() {
    let mut world = World::new();
    world.batch(&[book(1, "ada", &[0, 1]), hold(2, "ben", &[2]), block(3, &[3])]);
    for (command, version) in [(cancel_seats(1, &[0]), 2), (release(2), 3), (unblock(3), 4)] {
        assert_eq!(world.batch(&[command]).freed, [(ScheduleId(1), version)]);
    }
    let repeated = world.batch(&[cancel_seats(1, &[0]), unblock(3)]);
    assert!(repeated.changes.is_empty());
    assert_eq!(repeated.freed, [(ScheduleId(1), 4)], "they have been free since 2 and 4");
    let others = world.batch(&[book(4, "cleo", &[0]), cancel(9), release(9), expire(2)]);
    assert_eq!(others.freed, []);
}
