//! A new history of the database: nothing that was cached from the lost history may match.

use seatlock::domain::ids::HistoryId;
use seatlock::store::ReadFrom;

use super::commands::book;
use super::on_both_databases;
use super::stage::{Stage, first_lane, run};

on_both_databases![
    two_databases_have_different_histories,
    the_first_writer_on_another_history_moves_every_version_on_and_the_second_does_not,
];

const VERSIONS: &str = "SELECT max(version) FROM schedule_version";

/// The name of the history, as the seat states of a schedule and its journal carry it.
async fn history(stage: &Stage, schedule: seatlock::domain::ids::ScheduleId) -> HistoryId {
    let snapshot = stage.store.seats(schedule, ReadFrom::Primary).await.unwrap().unwrap();
    let journal = stage.store.journal_after(schedule, 0, ReadFrom::Primary).await.unwrap().unwrap();
    assert_eq!(snapshot.at.history, journal.history);
    assert_eq!(snapshot.at.at, journal.head);
    journal.history
}

async fn two_databases_have_different_histories(stage: Stage) {
    let schedule = stage.schedule(10).await;
    let before = history(&stage, schedule).await;
    run(&stage.lane, vec![book(schedule, &[0], "c")]).await;
    assert_eq!(history(&stage, schedule).await, before);
    let other = Stage::embedded().await;
    let schedule = other.schedule(10).await;
    assert_ne!(history(&other, schedule).await, before);
}

async fn the_first_writer_on_another_history_moves_every_version_on_and_the_second_does_not(
    stage: Stage,
) {
    let schedule = stage.schedule(10).await;
    run(&stage.lane, vec![book(schedule, &[0], "c")]).await;
    assert_eq!(stage.database.number(VERSIONS).await, 2);
    let before = history(&stage, schedule).await;
    stage.database.execute("UPDATE lineage SET system_id = '12'").await;
    let after_failover = stage.another_store().await;
    let lane_after_failover = first_lane(&after_failover);
    run(&lane_after_failover, vec![book(schedule, &[1], "c")]).await;
    let moved = stage.database.number(VERSIONS).await;
    assert!(moved > 1_000_000 && moved % 1_000_000 == 3, "{moved}");
    let after = history(&stage, schedule).await;
    assert_ne!(after, before);
    let another = stage.another_store().await;
    let another_lane = first_lane(&another);
    run(&another_lane, vec![book(schedule, &[2], "c")]).await;
    assert_eq!(stage.database.number(VERSIONS).await, moved + 1);
    assert_eq!(history(&stage, schedule).await, after);
    let journal = "SELECT max(version) FROM journal";
    assert_eq!(stage.database.number(journal).await, moved + 1);
}
