//! Two stores on one database, like two processes: of racing commands one wins, and none fails.

use std::sync::Arc;

use futures_util::future::join_all;
use seatlock::domain::command::Command;
use seatlock::domain::effect::Outcome;
use seatlock::domain::ids::ScheduleId;

use super::commands::{block, book, booked, cancel, hold, is_done, keyed};
use super::on_both_databases;
use super::stage::{CommandResult, SharedLane, Stage, default_rules, run};

on_both_databases![
    two_stores_that_race_for_the_same_seats_sell_each_once,
    two_stores_that_race_with_one_key_have_one_effect,
    two_stores_that_cross_each_others_schedules_never_deadlock,
    two_stores_never_exceed_a_customers_limit_together,
];

const SEATS: u32 = 12;

/// Runs one batch per lane at the same moment; no command may fail.
async fn race(lanes: &[&SharedLane], batches: Vec<Vec<Command>>) -> Vec<Vec<CommandResult>> {
    let runs = lanes.iter().zip(batches).map(|(lane, batch)| {
        let lane = Arc::clone(lane);
        tokio::spawn(async move { run(&lane, batch).await })
    });
    let results: Vec<Vec<CommandResult>> =
        join_all(runs).await.into_iter().map(|result| result.unwrap()).collect();
    for result in results.iter().flatten() {
        assert!(result.is_ok(), "{result:?}");
    }
    results
}

async fn two_stores_that_race_for_the_same_seats_sell_each_once(stage: Stage) {
    let other = stage.another_lane().await;
    for round in 0..30 {
        let schedule = stage.schedule(SEATS).await;
        // Overlapping pairs, each store from another end, so that their locks would cross.
        let pair = |first: u32| [first, (first + 1) % SEATS];
        let one = (0..SEATS).map(|n| book(schedule, &pair(n), "one")).collect();
        let two = (0..SEATS).rev().map(|n| match (n + round) % 3 {
            0 => hold(schedule, &pair(n), "two"),
            1 => block(schedule, &pair(n)),
            _ => book(schedule, &pair(n), "two"),
        });
        let results = race(&[&stage.lane, &other], vec![one, two.collect()]).await;
        let won = results.iter().flatten().filter(|result| is_done(result)).count();
        assert_eq!(won, SEATS as usize / 2, "the pairs that are left over have a seat in common");
        assert!(!stage.states(schedule).await.contains('0'));
    }
    stage.no_later_guard_stepped_in();
    stage.audit().await;
}

async fn two_stores_that_race_with_one_key_have_one_effect(stage: Stage) {
    let other = stage.another_lane().await;
    for round in 0..30 {
        let schedule = stage.schedule(3).await;
        let key = format!("k{round}");
        // Each batch requests a different free seat under the same key, so row locks do not decide.
        let batch = |seat| vec![keyed(book(schedule, &[seat], "anna"), &key)];
        let results = race(&[&stage.lane, &other], vec![batch(0), batch(1)]).await;
        let done = results.iter().flatten().filter(|result| is_done(result)).count();
        let replayed = |result: &&CommandResult| matches!(result, Ok(Outcome::Replayed(_)));
        let replayed = results.iter().flatten().filter(replayed).count();
        assert_eq!((done, replayed), (1, 1), "{results:?}");
        let bookings = format!("SELECT count(*) FROM booking WHERE schedule_id = {schedule}");
        assert_eq!(stage.database.number(&bookings).await, 1);
    }
    stage.no_later_guard_stepped_in();
    stage.audit().await;
}

async fn two_stores_that_cross_each_others_schedules_never_deadlock(stage: Stage) {
    let other = stage.another_lane().await;
    let mut schedules = Vec::new();
    for _ in 0..4 {
        schedules.push(stage.schedule(30).await);
    }
    for round in 0..30 {
        let each = |schedule: &ScheduleId| book(*schedule, &[round], &format!("c{round}"));
        let one = schedules.iter().map(each).collect();
        let two = schedules.iter().rev().map(each).collect();
        let results = race(&[&stage.lane, &other], vec![one, two]).await;
        assert_eq!(results.iter().flatten().filter(|result| is_done(result)).count(), 4);
        // Claims, too, which are locked before seats.
        let bookings: Vec<_> = results.iter().flatten().filter(|result| is_done(result)).collect();
        let ids: Vec<_> = bookings.iter().map(|result| booked(result).row.id).collect();
        let one = ids.iter().map(|id| cancel(*id, None)).collect();
        let two = ids.iter().rev().map(|id| cancel(*id, None)).collect();
        race(&[&stage.lane, &other], vec![one, two]).await;
    }
    for schedule in schedules {
        assert_eq!(stage.states(schedule).await, "0".repeat(30));
    }
    stage.no_later_guard_stepped_in();
    stage.audit().await;
}

async fn two_stores_never_exceed_a_customers_limit_together(stage: Stage) {
    let other = stage.another_lane().await;
    let rules = seatlock::domain::rules::ScheduleRules {
        max_seats_per_customer: Some(3),
        ..default_rules()
    };
    for _ in 0..20 {
        let schedule = stage.schedule_with(8, rules.clone()).await.id;
        let batch = |from: u32| (from..from + 4).map(|n| book(schedule, &[n], "anna")).collect();
        let results = race(&[&stage.lane, &other], vec![batch(0), batch(4)]).await;
        assert_eq!(results.iter().flatten().filter(|result| is_done(result)).count(), 3);
    }
    stage.no_later_guard_stepped_in();
    stage.audit().await;
}
