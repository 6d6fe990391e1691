//! Idempotency keys: one effect each, and the same answer to every repetition.

use seatlock::domain::command::{Action, Command, Keyed, RequestKey};
use seatlock::domain::effect::{Answer, Outcome, RecordedAnswer};
use seatlock::domain::rejection::Rejection;
use seatlock::telemetry::metrics::batch::BatchOutcome;

use super::commands::{book, booked, cancel, command, done, hold, is_done, keyed, under};
use super::on_both_databases;
use super::stage::{CommandResult, Stage, run};

on_both_databases![
    a_repeated_key_gets_the_recorded_answer_and_changes_nothing,
    a_key_repeated_in_its_own_batch_gets_the_same_effect,
    a_key_of_another_body_is_refused,
    an_expired_answer_is_replaced_by_a_new_one,
    repeated_keys_do_not_make_each_batch_run_twice,
    callers_do_not_share_keys,
    a_refusal_is_decided_anew,
    a_lookup_returns_the_recorded_answer_and_nothing_else,
    answers_of_an_older_release_are_replayed_and_audited,
];

/// The answer that is recorded for an effect.
fn answer_of(stage: &Stage, result: &CommandResult) -> RecordedAnswer {
    let key = RequestKey { caller: String::new(), key: String::new() };
    stage.settings.codec.render(&Answer::Effect(done(result).clone()), &key)
}

async fn a_repeated_key_gets_the_recorded_answer_and_changes_nothing(stage: Stage) {
    let schedule = stage.schedule(2).await;
    let first = stage.run_one(keyed(book(schedule, &[0], "anna"), "k")).await;
    let recorded = answer_of(&stage, &first);
    let before = stage.database.dump().await;
    let other = stage.another_lane().await;
    for lane in [&stage.lane, &other] {
        let again = run(lane, vec![keyed(book(schedule, &[0], "anna"), "k")]).await.remove(0);
        assert_eq!(again, Ok(Outcome::Replayed(recorded.clone())));
    }
    assert_eq!(stage.database.dump().await, before);

    // Later changes of the booking do not change the answer.
    assert!(is_done(&stage.run_one(cancel(booked(&first).row.id, None)).await));
    let again = stage.run_one(keyed(book(schedule, &[0], "anna"), "k")).await;
    assert_eq!(again, Ok(Outcome::Replayed(recorded)));
    assert_eq!(stage.states(schedule).await, "00");
    stage.audit().await;
}

async fn a_key_repeated_in_its_own_batch_gets_the_same_effect(stage: Stage) {
    let schedule = stage.schedule(2).await;
    let commands = (0..3).map(|_| keyed(book(schedule, &[0], "anna"), "k"));
    let results = stage.run(commands.collect()).await;
    let effect = done(&results[0]).clone();
    for result in &results[1..] {
        assert_eq!(*result, Ok(Outcome::Repeated(effect.clone())));
    }
    assert_eq!(stage.database.number("SELECT count(*) FROM booking").await, 1);
    stage.audit().await;
}

async fn a_key_of_another_body_is_refused(stage: Stage) {
    let schedule = stage.schedule(3).await;
    assert!(is_done(&stage.run_one(keyed(book(schedule, &[0], "anna"), "k")).await));
    let other = Keyed { fingerprint: "another body".to_owned(), ..under("k") };
    let reused = Command { keyed: Some(other), ..book(schedule, &[1], "anna") };
    let results = stage.run(vec![reused, book(schedule, &[2], "ben")]).await;
    assert_eq!(results[0], Ok(Outcome::Refused(Rejection::KeyReused)));
    assert!(is_done(&results[1]), "its neighbour is not touched");
    assert_eq!(stage.states(schedule).await, "202");
}

async fn an_expired_answer_is_replaced_by_a_new_one(stage: Stage) {
    let schedule = stage.schedule(2).await;
    assert!(is_done(&stage.run_one(keyed(book(schedule, &[0], "anna"), "k")).await));
    stage.database.execute("UPDATE idempotency SET expires_at = 1").await;
    let second = stage.run_one(keyed(book(schedule, &[1], "anna"), "k")).await;
    let recorded = answer_of(&stage, &second);
    let again = stage.run_one(keyed(book(schedule, &[1], "anna"), "k")).await;
    assert_eq!(again, Ok(Outcome::Replayed(recorded)));
    assert_eq!(stage.database.number("SELECT count(*) FROM idempotency").await, 1);
    assert_eq!(stage.states(schedule).await, "22");
    stage.audit().await;
}

async fn repeated_keys_do_not_make_each_batch_run_twice(stage: Stage) {
    let schedule = stage.schedule(30).await;
    let first = stage.run_one(keyed(book(schedule, &[0], "anna"), "k")).await;
    // The seat is free again, so without the recorded answer the key would have another effect.
    assert!(is_done(&stage.run_one(cancel(booked(&first).row.id, None)).await));
    let recorded = answer_of(&stage, &first);
    for seat in 1..30 {
        let repeated = keyed(book(schedule, &[0], "anna"), "k");
        let new = keyed(book(schedule, &[seat], "ben"), &format!("k{seat}"));
        let results = stage.run(vec![new, repeated]).await;
        assert!(is_done(&results[0]), "{results:?}");
        assert_eq!(results[1], Ok(Outcome::Replayed(recorded.clone())));
    }
    let run_again = stage.batches(BatchOutcome::Retried);
    assert!((1..15).contains(&run_again), "{run_again} of 29 batches ran twice");
    stage.audit().await;
}

/// An older release does not write the columns that describe an answer, and leaves them when it replaces an
/// expired answer.
async fn answers_of_an_older_release_are_replayed_and_audited(stage: Stage) {
    let schedule = stage.schedule(3).await;
    let older = |result: &CommandResult| {
        Ok(Outcome::Replayed(RecordedAnswer { resource: None, ..answer_of(&stage, result) }))
    };
    let first = stage.run_one(keyed(book(schedule, &[0], "anna"), "k")).await;
    let described = "SELECT count(*) FROM idempotency WHERE kind = 3 AND resource_id IS NOT NULL";
    assert_eq!(stage.database.number(described).await, 1);
    let forget = "UPDATE idempotency SET kind = NULL, resource_id = NULL, described_until = NULL";
    stage.database.execute(forget).await;
    let again = stage.run_one(keyed(book(schedule, &[0], "anna"), "k")).await;
    assert_eq!(again, older(&first));
    stage.audit().await;

    let held = stage.run_one(keyed(hold(schedule, &[1], "anna"), "h")).await;
    assert!(is_done(&held));
    // The answer of `k` replaces the expired one of `h`, whose description stays.
    let replaced = "UPDATE idempotency SET body = (SELECT body FROM idempotency WHERE key = 'k'),
         status = 200, expires_at = expires_at + 1 WHERE key = 'h'";
    stage.database.execute(replaced).await;
    let again = stage.run_one(keyed(hold(schedule, &[1], "anna"), "h")).await;
    assert_eq!(again, older(&first));
    stage.audit().await;
}

async fn callers_do_not_share_keys(stage: Stage) {
    let schedule = stage.schedule(2).await;
    let by = |caller: &str, seat| {
        let request = RequestKey { caller: caller.to_owned(), key: "k".to_owned() };
        Command { keyed: Some(Keyed { request, ..under("k") }), ..book(schedule, &[seat], caller) }
    };
    let results = stage.run(vec![by("shop", 0), by("box office", 1)]).await;
    assert!(results.iter().all(is_done), "{results:?}");
}

async fn a_refusal_is_decided_anew(stage: Stage) {
    let schedule = stage.schedule(1).await;
    let anna = booked(&stage.run_one(book(schedule, &[0], "anna")).await);
    for _ in 0..2 {
        let refused = stage.run_one(keyed(book(schedule, &[0], "ben"), "k")).await;
        assert!(matches!(refused, Ok(Outcome::Refused(_))), "{refused:?}");
    }
    assert_eq!(stage.database.number("SELECT count(*) FROM idempotency").await, 0);
    assert!(is_done(&stage.run_one(cancel(anna.row.id, None)).await));
    assert!(is_done(&stage.run_one(keyed(book(schedule, &[0], "ben"), "k")).await));
    stage.audit().await;
}

async fn a_lookup_returns_the_recorded_answer_and_nothing_else(stage: Stage) {
    let schedule = stage.schedule(1).await;
    let lookup = || keyed(command(schedule, Action::Lookup), "k");
    let before = stage.database.dump().await;
    assert_eq!(stage.run_one(lookup()).await, Ok(Outcome::NotRecorded));
    assert_eq!(stage.database.dump().await, before);
    let first = stage.run_one(keyed(book(schedule, &[0], "anna"), "k")).await;
    let recorded = answer_of(&stage, &first);
    assert_eq!(stage.run_one(lookup()).await, Ok(Outcome::Replayed(recorded)));
}
