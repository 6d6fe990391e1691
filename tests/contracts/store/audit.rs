//! The audit: a database that only the service has written is clean, and each invariant that is broken by hand is
//! found and named.

use seatlock::domain::audit::Invariant;
use seatlock::domain::command::Action;
use seatlock::domain::ids::ScheduleId;
use seatlock::domain::rules::ScheduleRules;
use seatlock::store::AuditScope;

use super::commands::{
    block, blocked, book, booked, cancel, command, confirm, held, hold, is_done, keyed,
};
use super::on_both_databases;
use super::stage::{Stage, default_rules};

on_both_databases![
    a_schedule_after_many_sales_and_cancellations_is_clean,
    each_invariant_that_is_broken_is_found_and_named,
    an_audit_of_one_schedule_reports_on_no_other,
    an_audit_changes_nothing_and_sees_one_moment,
];

/// A schedule on which every command has been executed: 12 seats, of which 0 and 1 are sold, 2 and 3 sold from a
/// hold, 4 and 5 held, 6 blocked, 7 to 9 sold and cancelled, 10 held, expired and sold to another.
async fn used_schedule(stage: &Stage) -> ScheduleId {
    let rules = ScheduleRules { max_seats_per_customer: Some(6), ..default_rules() };
    let schedule = stage.schedule_with(12, rules).await.id;
    assert!(is_done(&stage.run_one(keyed(book(schedule, &[0, 1], "anna"), "book")).await));
    let confirmed = held(&stage.run_one(hold(schedule, &[2, 3], "ben")).await).row.id;
    assert!(is_done(&stage.run_one(keyed(confirm(confirmed), "confirm")).await));
    assert!(is_done(&stage.run_one(keyed(hold(schedule, &[4, 5], "carl"), "hold")).await));
    blocked(&stage.run_one(block(schedule, &[6])).await);
    let given_back = booked(&stage.run_one(book(schedule, &[7, 8, 9], "dora")).await).row.id;
    assert!(is_done(&stage.run_one(cancel(given_back, Some(&[8]))).await));
    assert!(is_done(&stage.run_one(keyed(cancel(given_back, None), "cancel")).await));
    let lifted = blocked(&stage.run_one(block(schedule, &[11])).await).row.id;
    assert!(is_done(&stage.run_one(command(schedule, Action::Unblock { block: lifted })).await));
    schedule
}

async fn a_schedule_after_many_sales_and_cancellations_is_clean(stage: Stage) {
    let schedule = used_schedule(&stage).await;
    let lost = held(&stage.run_one(hold(schedule, &[10], "emil")).await).row.id;
    stage.end_ago(lost, 1_000).await;
    assert!(is_done(&stage.run_one(book(schedule, &[10], "frida")).await));
    assert!(is_done(&stage.run_one(command(schedule, Action::Expire { hold: lost })).await));
    for seats in [&[7, 8][..], &[9, 11]] {
        assert!(is_done(&stage.run_one(book(schedule, seats, "gus")).await));
    }
    let empty = stage.schedule(3).await;
    assert_eq!(stage.states(schedule).await, "222211322222");
    assert_eq!(stage.states(empty).await, "000");
    stage.audit().await;
}

/// How each invariant is broken, and which other invariants this also breaks. `{s}` is the schedule.
const DAMAGE: &[(Invariant, &str, &[Invariant])] = &[
    (
        Invariant::ScheduleIsComplete,
        "DELETE FROM seat WHERE schedule_id = {s} AND number = 11",
        &[Invariant::BookingHasItsSeats],
    ),
    (Invariant::ScheduleIsComplete, "DELETE FROM schedule_version WHERE schedule_id = {s}", &[]),
    (
        Invariant::SeatIsSoldOnce,
        "DROP INDEX booking_seat_live;
         UPDATE booking_seat SET released_at = NULL WHERE schedule_id = {s} AND number = 8;
         INSERT INTO booking_seat (schedule_id, number, booking_id)
         SELECT schedule_id, 8, booking_id FROM booking_seat WHERE schedule_id = {s} AND number = 0",
        &[Invariant::BookingHasItsSeats],
    ),
    (
        Invariant::SeatHasItsClaim,
        "DELETE FROM hold WHERE schedule_id = {s} AND customer_id = 'carl'",
        &[Invariant::AnswerHasItsEffect],
    ),
    (
        Invariant::SeatHasItsClaim,
        "UPDATE block SET lifted = true WHERE schedule_id = {s} AND seats = '[6]'",
        &[],
    ),
    (
        Invariant::BookingHasItsSeats,
        "UPDATE seat SET state = 0, booking_id = NULL WHERE schedule_id = {s} AND number = 0",
        &[Invariant::JournalAddsUp],
    ),
    (
        Invariant::BookingHasItsSeats,
        "UPDATE booking SET live_seats = 1 WHERE schedule_id = {s} AND customer_id = 'anna'",
        &[],
    ),
    (
        Invariant::BookingHasItsSeats,
        "UPDATE booking SET status = 1 WHERE schedule_id = {s} AND customer_id = 'anna'",
        &[],
    ),
    (
        Invariant::BookingHasItsSeats,
        "UPDATE booking SET seats = '[0]' WHERE schedule_id = {s} AND customer_id = 'anna'",
        &[Invariant::SeatHasItsClaim, Invariant::AnswerAddsUp],
    ),
    (
        Invariant::BookingHasItsSeats,
        "DELETE FROM booking_seat WHERE schedule_id = {s} AND number = 7",
        &[],
    ),
    (
        Invariant::HoldHasItsSeats,
        "UPDATE seat SET state = 0, hold_id = NULL, held_until = NULL
         WHERE schedule_id = {s} AND number = 5",
        &[Invariant::JournalAddsUp],
    ),
    (
        Invariant::HoldHasItsSeats,
        "UPDATE hold SET seat_count = 7 WHERE schedule_id = {s} AND customer_id = 'carl'",
        &[Invariant::CustomerLimitIsKept],
    ),
    (
        Invariant::BlockHasItsSeats,
        "UPDATE block SET seats = '[6,11]' WHERE schedule_id = {s} AND seats = '[6]'",
        &[],
    ),
    (
        Invariant::HoldEndsOnce,
        "UPDATE hold SET status = 2 WHERE schedule_id = {s} AND customer_id = 'ben'",
        &[],
    ),
    (
        Invariant::HoldEndsOnce,
        "UPDATE booking SET hold_id = (SELECT id FROM hold WHERE schedule_id = {s} AND status = 1)
         WHERE schedule_id = {s} AND customer_id = 'anna'",
        &[],
    ),
    (Invariant::JournalIsGapless, "DELETE FROM journal WHERE schedule_id = {s} AND version = 2", &[
        Invariant::JournalAddsUp,
    ]),
    (
        Invariant::JournalIsGapless,
        "UPDATE schedule_version SET version = version + 1 WHERE schedule_id = {s}",
        &[],
    ),
    (
        Invariant::JournalAddsUp,
        "UPDATE journal SET changes = '[[0,2]]' WHERE schedule_id = {s} AND version = 2",
        &[Invariant::JournalHasItsEvents],
    ),
    (
        Invariant::JournalHasItsBatch,
        "DELETE FROM batch WHERE id = (SELECT batch_id FROM journal
         WHERE schedule_id = {s} AND version = 3)",
        &[],
    ),
    (
        Invariant::JournalHasItsEvents,
        "UPDATE journal SET events = '[]' WHERE schedule_id = {s} AND version = 3",
        &[],
    ),
    (
        Invariant::VersionIsTheNewest,
        "UPDATE schedule_version SET version = version - 1 WHERE schedule_id = {s}",
        &[],
    ),
    (
        Invariant::SizeLimitIsKept,
        "UPDATE schedule SET max_seats_per_booking = 2 WHERE id = {s}",
        &[],
    ),
    (
        Invariant::CustomerLimitIsKept,
        "UPDATE booking SET customer_id = 'ben' WHERE schedule_id = {s} AND customer_id = 'anna';
         UPDATE schedule SET max_seats_per_customer = 3 WHERE id = {s}",
        &[],
    ),
    (
        Invariant::AnswerHasItsEffect,
        "DELETE FROM booking_seat WHERE schedule_id = {s} AND number IN (7, 8, 9);
         DELETE FROM booking WHERE schedule_id = {s} AND customer_id = 'dora'",
        &[],
    ),
    (
        Invariant::AnswerAddsUp,
        "UPDATE seat SET price = price + 1 WHERE schedule_id = {s} AND number = 3",
        &[],
    ),
    (Invariant::AnswerAddsUp, "UPDATE schedule SET currency = 'CHF' WHERE id = {s}", &[]),
    (
        Invariant::RowIsReadable,
        "UPDATE block SET seats = 'six' WHERE schedule_id = {s} AND seats = '[11]'",
        &[],
    ),
    (Invariant::RowIsReadable, "UPDATE idempotency SET body = 'yes' WHERE key = 'hold'", &[]),
    (
        Invariant::RowIsReadable,
        "UPDATE idempotency SET body = replace(body, '\"id\":\"', '\"id\":\"9') WHERE key = 'hold'",
        &[],
    ),
];

async fn each_invariant_that_is_broken_is_found_and_named(stage: Stage) {
    for invariant in Invariant::ALL {
        let broken = DAMAGE.iter().any(|(named, ..)| named == invariant);
        assert!(broken, "nothing breaks {}", invariant.as_ref());
    }
    for (invariant, damage, also) in DAMAGE {
        let stage = match stage.settings.target {
            seatlock::store::Target::Sqlite { .. } => Stage::embedded().await,
            seatlock::store::Target::Postgres { .. } => Stage::full().await,
        };
        let schedule = used_schedule(&stage).await;
        stage.audit().await;
        stage.database.execute(&damage.replace("{s}", &schedule.to_string())).await;
        let found = stage.violations(AuditScope::Everything).await;
        let named = |wanted: &Invariant| found.iter().any(|one| one.invariant == *wanted);
        assert!(named(invariant), "{}: {damage}\n{found:#?}", invariant.as_ref());
        let others = found.iter().filter(|one| one.invariant != *invariant);
        let unexpected: Vec<_> = others.filter(|one| !also.contains(&one.invariant)).collect();
        assert!(unexpected.is_empty(), "{}: {damage}\n{unexpected:#?}", invariant.as_ref());
    }
}

async fn an_audit_of_one_schedule_reports_on_no_other(stage: Stage) {
    let (sound, broken) = (used_schedule(&stage).await, stage.schedule(2).await);
    let damage = format!("UPDATE schedule_version SET version = 7 WHERE schedule_id = {broken}");
    stage.database.execute(&damage).await;
    for (schedule, expected) in [(sound, 0), (broken, 1)] {
        let found = stage.violations(AuditScope::Schedule(schedule)).await;
        assert_eq!(found.len(), expected, "{found:#?}");
        assert!(found.iter().all(|violation| violation.schedule == Some(broken)));
    }
}

async fn an_audit_changes_nothing_and_sees_one_moment(stage: Stage) {
    let schedule = used_schedule(&stage).await;
    let before = stage.database.dump().await;
    stage.audit().await;
    assert_eq!(stage.database.dump().await, before);

    // Between any two of its pages other transactions commit.
    let selling = async {
        for round in 0..60 {
            let result = stage.run_one(book(schedule, &[7, 8], "anna")).await;
            let id = booked(&result).row.id;
            assert!(is_done(&stage.run_one(cancel(id, None)).await), "{round}");
        }
    };
    let auditing = async {
        for _ in 0..10 {
            stage.audit().await;
        }
    };
    tokio::join!(selling, auditing);
}
