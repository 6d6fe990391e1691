//! A batch with one command that cannot be stored: that one fails, the others succeed.

use seatlock::domain::effect::Outcome;
use seatlock::domain::execution_error::ExecutionError;
use seatlock::domain::rejection::ConflictReason;
use seatlock::telemetry::metrics::batch::BatchOutcome;

use super::commands::{book, is_done, keyed, unavailable};
use super::on_both_databases;
use super::stage::Stage;

on_both_databases![
    a_command_that_cannot_be_stored_fails_alone,
    a_batch_of_impossible_commands_ends,
];

async fn a_command_that_cannot_be_stored_fails_alone(stage: Stage) {
    let schedule = stage.schedule(20).await;
    stage.database.forbid("mallory").await;
    let mut commands: Vec<_> = (0..16)
        .map(|seat| keyed(book(schedule, &[seat], &format!("c{seat}")), &format!("k{seat}")))
        .collect();
    commands[10] = keyed(book(schedule, &[10], "mallory"), "k10");
    // The commands behind the failing one: decided after it, in order, in a separate batch.
    commands[11] = book(schedule, &[10], "anna");
    commands[15] = book(schedule, &[10, 15], "ben");

    let results = stage.run(commands).await;
    for (place, result) in results.iter().enumerate() {
        match place {
            10 => assert!(matches!(result, Err(ExecutionError::Impossible(_))), "{result:?}"),
            15 => assert_eq!(*result, unavailable(&[("A-1-11", ConflictReason::Booked)])),
            _ => assert!(is_done(result), "{place}: {result:?}"),
        }
    }
    assert_eq!(stage.batches(BatchOutcome::Halved), 4, "16, 8, 4 and 2 commands");
    assert_eq!(stage.batches(BatchOutcome::Failed), 1);
    let recorded = stage.database.number("SELECT count(*) FROM idempotency").await;
    assert_eq!(recorded, 13, "the key of the impossible command is free");
    stage.audit().await;
}

async fn a_batch_of_impossible_commands_ends(stage: Stage) {
    let schedule = stage.schedule(8).await;
    stage.database.forbid("mallory").await;
    let before = stage.database.dump().await;
    let results = stage.run((0..7).map(|seat| book(schedule, &[seat], "mallory")).collect()).await;
    let impossible = |result: &_| matches!(result, Err(ExecutionError::Impossible(_)));
    assert!(results.iter().all(impossible), "{results:?}");
    assert_eq!(stage.database.dump().await, before);
    let next = stage.run_one(book(schedule, &[7], "anna")).await;
    assert!(matches!(next, Ok(Outcome::Done(_))), "the lane continues: {next:?}");
}
