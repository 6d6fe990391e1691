//! What a batch does to seats, bookings, blocks, versions and the journal.

use seatlock::domain::claims::BookingStatus;
use seatlock::domain::command::Action;
use seatlock::domain::effect::{Effect, Outcome};
use seatlock::domain::execution_error::ExecutionError;
use seatlock::domain::ids::ScheduleId;
use seatlock::domain::rejection::{ConflictReason, Rejection};
use seatlock::store::ReadFrom;
use uuid::Uuid;

use super::commands::{
    block, blocked, book, booked, cancel, command, done, held, hold, is_done, unavailable,
};
use super::on_both_databases;
use super::stage::{Stage, default_rules};

on_both_databases![
    a_batch_writes_its_decisions_and_another_store_reads_them,
    one_batch_serves_many_schedules,
    each_batch_of_a_schedule_adds_one_version_and_refusals_add_none,
    a_cancelled_command_is_not_executed,
    a_cancelled_seat_is_sold_again,
    blocked_seats_are_out_of_sale_until_the_block_is_lifted,
    a_command_on_something_that_does_not_exist_is_refused,
    a_customer_limit_counts_holds_and_bookings_of_earlier_batches,
    a_batch_takes_the_same_statements_whatever_its_size,
];

async fn a_batch_writes_its_decisions_and_another_store_reads_them(stage: Stage) {
    let schedule = stage.schedule(6).await;
    let results = stage
        .run(vec![
            book(schedule, &[0, 1], "anna"),
            hold(schedule, &[2], "ben"),
            book(schedule, &[1, 2, 3], "carl"),
            book(schedule, &[3], "dora"),
        ])
        .await;
    let (anna, ben, dora) = (booked(&results[0]), held(&results[1]), booked(&results[3]));
    let lost = [("A-1-2", ConflictReason::Booked), ("A-1-3", ConflictReason::Held)];
    assert_eq!(results[2], unavailable(&lost));

    let other = stage.another_store().await;
    for booking in [anna, dora] {
        assert_eq!(other.booking(booking.row.id, 0).await.unwrap(), Some(booking));
    }
    let read = other.hold(ben.row.id, 0).await.unwrap().unwrap();
    assert_eq!((read.row, read.seats, read.ends_at), (ben.row, ben.seats, ben.ends_at));
    let snapshot = other.seats(schedule, ReadFrom::Primary).await.unwrap().unwrap();
    assert_eq!(snapshot.at.at, 2);
    assert_eq!(stage.states(schedule).await, "221200");
    stage.audit().await;
}

async fn one_batch_serves_many_schedules(stage: Stage) {
    let mut schedules = Vec::new();
    for _ in 0..5 {
        schedules.push(stage.schedule(8).await);
    }
    // Last schedule and last seat first: the order of the locks does not depend on that of the commands.
    let commands = (0..8).rev().flat_map(|seat| {
        schedules.iter().rev().map(move |schedule| book(*schedule, &[seat], "anna"))
    });
    let results = stage.run(commands.collect()).await;
    assert!(results.iter().all(is_done), "{results:?}");
    for schedule in schedules {
        assert_eq!(stage.states(schedule).await, "22222222");
        assert_eq!(stage.version(schedule).await, 2);
    }
    stage.audit().await;
}

async fn each_batch_of_a_schedule_adds_one_version_and_refusals_add_none(stage: Stage) {
    let schedule = stage.schedule(8).await;
    assert_eq!(stage.version(schedule).await, 1);
    for (round, seat) in (0..4).enumerate() {
        let commands = vec![book(schedule, &[seat], "anna"), hold(schedule, &[seat + 4], "ben")];
        assert!(stage.run(commands).await.iter().all(is_done));
        assert_eq!(stage.version(schedule).await, 2 + round as i64);
    }
    let before = stage.database.dump().await;
    let refused = stage.run((0..8).map(|seat| book(schedule, &[seat], "carl")).collect()).await;
    assert!(refused.iter().all(|result| matches!(result, Ok(Outcome::Refused(_)))));
    assert_eq!(stage.database.dump().await, before);
    stage.audit().await;
}

async fn a_cancelled_command_is_not_executed(stage: Stage) {
    let schedule = stage.schedule(4).await;
    let commands = (0..4).map(|seat| book(schedule, &[seat], "anna")).collect();
    let active = |place| place % 2 == 0;
    let results = stage.lane.lock().await.run_batch(commands, &active).await.results;
    let results = results.into_iter().map(|result| result.map(|executed| executed.outcome));
    let results: Vec<_> = results.collect();
    for (place, result) in results.iter().enumerate() {
        match place % 2 {
            0 => assert!(is_done(result), "{result:?}"),
            _ => assert_eq!(*result, Err(ExecutionError::Withdrawn)),
        }
    }
    assert_eq!(stage.states(schedule).await, "2020");
    stage.audit().await;
}

async fn a_cancelled_seat_is_sold_again(stage: Stage) {
    let schedule = stage.schedule(3).await;
    let anna = booked(&stage.run_one(book(schedule, &[0, 1, 2], "anna")).await);
    let part = booked(&stage.run_one(cancel(anna.row.id, Some(&[1]))).await);
    assert_eq!((part.row.status, part.row.live_seats), (BookingStatus::Confirmed, 2));
    assert_eq!(stage.states(schedule).await, "202");
    let ben = booked(&stage.run_one(book(schedule, &[1], "ben")).await);

    // The seat belongs to another customer now, so cancelling again changes nothing.
    let again = booked(&stage.run_one(cancel(anna.row.id, Some(&[1]))).await);
    assert_eq!(again, part);
    let whole = booked(&stage.run_one(cancel(anna.row.id, None)).await);
    assert_eq!((whole.row.status, whole.row.live_seats), (BookingStatus::Cancelled, 0));
    assert_eq!(whole.cancelled_seats.len(), 3);
    assert_eq!(stage.states(schedule).await, "020");

    let foreign = stage.run_one(cancel(ben.row.id, Some(&[0]))).await;
    let expected = Rejection::NotInBooking(vec!["A-1-1".to_owned()]);
    assert_eq!(foreign, Ok(Outcome::Refused(expected)));
    // In one batch: cancelled by one customer, sold to the next, and refused to the third.
    let results = stage
        .run(vec![
            cancel(ben.row.id, None),
            book(schedule, &[1], "carl"),
            book(schedule, &[1], "dora"),
        ])
        .await;
    assert!(is_done(&results[0]) && is_done(&results[1]));
    assert_eq!(results[2], unavailable(&[("A-1-2", ConflictReason::Booked)]));
    assert_eq!(stage.database.number("SELECT count(*) FROM booking_seat").await, 5);
    stage.audit().await;
}

async fn blocked_seats_are_out_of_sale_until_the_block_is_lifted(stage: Stage) {
    let schedule = stage.schedule(4).await;
    let house = blocked(&stage.run_one(block(schedule, &[1, 2])).await);
    assert_eq!(house.labels, ["A-1-2", "A-1-3"]);
    assert_eq!(stage.states(schedule).await, "0330");
    let refused = stage.run_one(book(schedule, &[0, 1], "anna")).await;
    assert_eq!(refused, unavailable(&[("A-1-2", ConflictReason::Blocked)]));
    let lift = || command(schedule, Action::Unblock { block: house.row.id });
    let lifted = stage.run(vec![lift(), book(schedule, &[1], "anna")]).await;
    assert!(is_done(&lifted[0]) && is_done(&lifted[1]));
    // Lifting it again must not change the seats that were sold meanwhile.
    assert_eq!(*done(&stage.run_one(lift()).await), Effect::Unblocked);
    assert_eq!(stage.states(schedule).await, "0200");
    stage.audit().await;
}

async fn a_command_on_something_that_does_not_exist_is_refused(stage: Stage) {
    let schedule = stage.schedule(1).await;
    let nowhere = ScheduleId(schedule.0 + 1_000);
    let refusal = |what| Ok(Outcome::Refused(Rejection::NotFound(what)));
    let results = stage
        .run(vec![
            book(nowhere, &[0], "anna"),
            command(
                schedule,
                Action::Release {
                    hold: seatlock::domain::ids::HoldId { schedule, uuid: Uuid::now_v7() },
                },
            ),
            cancel(seatlock::domain::ids::BookingId { schedule, uuid: Uuid::now_v7() }, None),
            book(schedule, &[7], "anna"),
            book(schedule, &[0], "anna"),
        ])
        .await;
    assert_eq!(results[..3], [refusal("schedule"), refusal("hold"), refusal("booking")]);
    assert_eq!(results[3], unavailable(&[("#7", ConflictReason::Blocked)]));
    assert!(is_done(&results[4]));
    stage.audit().await;
}

async fn a_customer_limit_counts_holds_and_bookings_of_earlier_batches(stage: Stage) {
    let rules = seatlock::domain::rules::ScheduleRules {
        max_seats_per_customer: Some(3),
        ..default_rules()
    };
    let schedule = stage.schedule_with(8, rules).await.id;
    assert!(is_done(&stage.run_one(book(schedule, &[0], "anna")).await));
    let anna = held(&stage.run_one(hold(schedule, &[1], "anna")).await);
    let refused = |owned| Ok(Outcome::Refused(Rejection::SeatLimitReached { max: 3, owned }));
    assert_eq!(stage.run_one(book(schedule, &[2, 3], "anna")).await, refused(2));
    let results = stage
        .run(vec![
            book(schedule, &[2, 3, 4], "ben"),
            book(schedule, &[5], "anna"),
            book(schedule, &[6], "anna"),
            command(schedule, Action::Release { hold: anna.row.id }),
            book(schedule, &[7], "anna"),
        ])
        .await;
    let all_but_one = [0, 1, 3, 4].into_iter().all(|place: usize| is_done(&results[place]));
    assert!(all_but_one && results[2] == refused(3), "{results:?}");
    stage.audit().await;
}

async fn a_batch_takes_the_same_statements_whatever_its_size(stage: Stage) {
    let mut taken = Vec::new();
    for size in [1, 10, 200] {
        let schedule = stage.schedule(2 * size).await;
        let before = stage.metrics.batch.statements_total.get();
        let bookings = (0..size).map(|n| book(schedule, &[2 * n, 2 * n + 1], &format!("c{n}")));
        assert!(stage.run(bookings.collect()).await.iter().all(is_done));
        taken.push(stage.metrics.batch.statements_total.get() - before);
    }
    assert!(taken.iter().all(|statements| *statements == taken[0]), "{taken:?}");
    // SQLite gets one statement for each table, and has no round trips.
    assert!(taken[0] <= 12, "{taken:?}");
}
