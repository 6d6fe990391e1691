//! What is particular to Citus. Needs a cluster in `CITUS_URL`; `make test-citus` runs these tests.

use std::time::Duration;

use seatlock::domain::effect::Outcome;
use seatlock::domain::ids::ScheduleId;
use seatlock::domain::rejection::Rejection;
use seatlock::store::Store;
use test_support::Citus;

use super::commands::{book, booked, cancel, confirm, held, hold, is_done, keyed};
use super::stage::{CommandResult, Stage, settings};

fn cluster() -> &'static Citus {
    Citus::given().unwrap()
}

/// Schedules on at least two workers.
async fn schedules_on_two_workers(stage: &Stage) -> Vec<ScheduleId> {
    let mut schedules = Vec::new();
    while schedules.len() < 2 || workers(stage).await.len() < 2 {
        assert!(schedules.len() < 50, "all schedules are on one worker");
        schedules.push(stage.schedule(20).await);
    }
    schedules
}

/// The ports of the workers that have schedules.
async fn workers(stage: &Stage) -> Vec<i64> {
    let sql = "SELECT DISTINCT s.nodeport::bigint FROM citus_shards s JOIN (
             SELECT get_shard_id_for_distribution_column('seat', id) AS shardid FROM schedule
         ) used USING (shardid)";
    stage.database.column(sql).await
}

/// Transactions that were committed in two phases. Citus records them on the coordinator for about a minute.
async fn two_phase_commits(stage: &Stage) -> i64 {
    stage.database.number("SELECT count(*) FROM pg_dist_transaction").await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Citus cluster"]
async fn a_batch_is_a_transaction_of_one_worker() {
    let stage = Stage::at(&cluster().create_database()).await;
    let schedules = schedules_on_two_workers(&stage).await;
    let before = two_phase_commits(&stage).await;
    let commits = stage.metrics.batch.batches_total.with_label_values(&["committed"]);
    let first = commits.get();
    let mut held_seats = Vec::new();
    for n in 0..3 {
        let sales = schedules.iter().flat_map(|schedule| {
            let key = format!("{schedule} {n}");
            [keyed(book(*schedule, &[n], "anna"), &key), hold(*schedule, &[10 + n], "ben")]
        });
        let results = stage.run(sales.collect()).await;
        assert!(results.iter().all(is_done), "{results:?}");
        held_seats.extend(results.iter().skip(1).step_by(2).map(|result| held(result).row.id));
    }
    let confirmed = stage.run(held_seats.into_iter().map(confirm).collect()).await;
    assert!(confirmed.iter().all(is_done), "{confirmed:?}");
    let cancelled = confirmed.iter().map(|result| cancel(booked(result).row.id, None));
    let results = stage.run(cancelled.collect()).await;
    assert!(results.iter().all(is_done), "{results:?}");
    assert_eq!(commits.get() - first, 5 * schedules.len() as u64, "a part for each schedule");
    assert_eq!(two_phase_commits(&stage).await, before);
    // A transaction of both workers would have been counted.
    stage.database.execute("UPDATE schedule_version SET version = version").await;
    assert!(two_phase_commits(&stage).await > before);
    stage.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Citus cluster"]
async fn a_key_belongs_to_its_schedule() {
    let stage = Stage::at(&cluster().create_database()).await;
    let (one, other) = (stage.schedule(3).await, stage.schedule(3).await);
    let results = stage
        .run(vec![keyed(book(one, &[0], "anna"), "k"), keyed(book(other, &[0], "anna"), "k")])
        .await;
    assert!(results.iter().all(is_done), "{results:?}");
    for schedule in [one, other] {
        let again = stage.run_one(keyed(book(schedule, &[0], "anna"), "k")).await;
        assert!(matches!(again, Ok(Outcome::Replayed(_))), "{again:?}");
        let mut reused = keyed(book(schedule, &[1], "anna"), "k");
        reused.keyed.as_mut().unwrap().fingerprint = "another body".to_owned();
        assert_eq!(stage.run_one(reused).await, Ok(Outcome::Refused(Rejection::KeyReused)));
    }
    stage.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Citus cluster"]
async fn an_existing_installation_is_distributed_with_its_answers() {
    let url = cluster().create_database_without_workers();
    let stage = Stage::at(&url).await;
    let schedules = [stage.schedule(4).await, stage.schedule(4).await];
    let sell = |schedule, seat: u32| keyed(book(schedule, &[seat], "anna"), &format!("{seat}"));
    // One batch of two schedules, and one of one.
    let both = vec![sell(schedules[0], 0), sell(schedules[1], 1)];
    assert!(stage.run(both).await.iter().all(is_done));
    assert!(is_done(&stage.run_one(sell(schedules[1], 2)).await));
    stage.audit().await;

    cluster().add_workers(&url);
    let stage = Stage::at(&url).await;
    stage.audit().await;
    let again = vec![sell(schedules[0], 0), sell(schedules[1], 1), sell(schedules[1], 2)];
    for result in stage.run(again).await {
        assert!(matches!(result, Ok(Outcome::Replayed(_))), "{result:?}");
    }
    assert!(is_done(&stage.run_one(sell(schedules[0], 3)).await));
    assert_eq!(stage.states(schedules[1]).await, "0220");
    let settings = settings(&[("WRITE_DB_URL", &url)]);
    assert_eq!(Store::migrate(&settings.target, &settings.limits).await, Ok(0));
    stage.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Citus cluster"]
async fn a_shard_that_moves_loses_no_sale() {
    let stage = Stage::at(&cluster().create_database()).await;
    let schedule = stage.schedule(400).await;
    let moving = async {
        let sql = "SELECT citus_move_shard_placement(p.shardid, n.nodeid, (
                 SELECT nodeid FROM pg_dist_node
                 WHERE groupid > 0 AND nodeid <> n.nodeid ORDER BY nodeid LIMIT 1), 'block_writes')
             FROM pg_dist_placement p JOIN pg_dist_node n USING (groupid)
             WHERE p.shardid = (
                 SELECT get_shard_id_for_distribution_column('seat', id) FROM schedule)";
        tokio::time::sleep(Duration::from_millis(300)).await;
        for _ in 0..2 {
            stage.database.execute(sql).await;
        }
    };
    let selling = async {
        let mut sold = Vec::new();
        for seat in 0..400 {
            let result: CommandResult =
                stage.run_one(keyed(book(schedule, &[seat], "anna"), &seat.to_string())).await;
            sold.push(is_done(&result));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        sold
    };
    let (sold, ()) = tokio::join!(selling, moving);
    let states = stage.states(schedule).await;
    for (seat, (sold, state)) in sold.iter().zip(states.chars()).enumerate() {
        assert_eq!(state, if *sold { '2' } else { '0' }, "seat {seat}");
    }
    let count = sold.iter().filter(|sold| **sold).count();
    assert!(count > 200, "{count} of 400 were sold while the shard moved twice");
    stage.audit().await;
}
