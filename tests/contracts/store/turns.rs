//! Turns of lanes: two stores that write one schedule wait for each other before they fill their batches.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use seatlock::actors::booking::{BatcherLimits, Lanes, SubmitError};
use seatlock::domain::command::Command;
use seatlock::domain::execution_error::ExecutionError;
use seatlock::domain::ids::ScheduleId;
use seatlock::seat_map::SeatMaps;
use seatlock::store::Target;
use test_support::Citus;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::commands::{block, book, hold, is_done};
use super::on_both_databases;
use super::stage::{SharedLane, Stage, run};

mod both {
    use super::{lanes_that_take_turns_keep_every_invariant, on_both_databases};

    on_both_databases![lanes_that_take_turns_keep_every_invariant];
}

/// Longer than a lane waits for anything here, and shorter than the time limit of a lock.
const SHORT: Duration = Duration::from_millis(200);

/// Longer than the time limit of a lock.
const SOON: Duration = Duration::from_secs(10);

/// Two bookings from this seat on.
fn two(schedule: ScheduleId, seat: u32) -> Vec<Command> {
    vec![book(schedule, &[seat], "anna"), book(schedule, &[seat + 1], "bert")]
}

/// A schedule that these lanes have just written alternately: they take turns for a second. The seats from 8 on are free.
async fn contended(stage: &Stage, lanes: [&SharedLane; 2]) -> ScheduleId {
    let schedule = stage.schedule(100).await;
    for (lane, seat) in lanes.iter().chain(&lanes).zip([0, 2, 4, 6]) {
        assert!(run(lane, two(schedule, seat)).await.iter().all(is_done));
    }
    schedule
}

async fn take_turn(lane: &SharedLane) -> bool {
    lane.lock().await.take_turn().await
}

/// Waits for the turn in a task of its own.
fn taking(lane: &SharedLane) -> JoinHandle<bool> {
    let lane = Arc::clone(lane);
    tokio::spawn(async move { take_turn(&lane).await })
}

/// Batches of overlapping seats on two schedules, in turns; no command may fail.
async fn lanes_that_take_turns_keep_every_invariant(stage: Stage) {
    const ROUNDS: u32 = 20;
    let mut lanes = vec![Arc::clone(&stage.lane)];
    for _ in 0..3 {
        lanes.push(stage.another_lane().await);
    }
    let schedules = [stage.schedule(7 * ROUNDS).await, stage.schedule(7 * ROUNDS).await];
    let warm_up = stage.schedule(16).await;
    for (lane, number) in lanes.iter().chain(&lanes).zip(0..) {
        assert!(run(lane, two(warm_up, 2 * number)).await.iter().all(is_done));
    }
    let sell = lanes.into_iter().zip(0..).map(|(lane, number): (SharedLane, u32)| {
        tokio::spawn(async move {
            let (mut turns, mut taken) = (0, 0);
            let name = format!("customer {number}");
            for round in 0..ROUNDS {
                let seat = 7 * round;
                let commands = schedules.iter().flat_map(|schedule| {
                    [
                        book(*schedule, &[seat, seat + 1], &name),
                        hold(*schedule, &[seat + 1, seat + 2], &name),
                        block(*schedule, &[seat + 2]),
                        book(*schedule, &[seat + 3 + number], &name),
                    ]
                });
                turns += u32::from(take_turn(&lane).await);
                let results = run(&lane, commands.collect()).await;
                assert!(results.iter().all(Result::is_ok), "{results:?}");
                taken += results.iter().filter(|result| is_done(result)).count();
            }
            (turns, taken)
        })
    });
    let ended: Vec<(u32, usize)> =
        join_all(sell).await.into_iter().map(|ended| ended.unwrap()).collect();
    // Of the three overlapping commands for a group of three seats, two are done, and each lane has a seat of its own.
    let taken: usize = ended.iter().map(|(_, taken)| taken).sum();
    assert_eq!(taken, schedules.len() * (2 + ended.len()) * ROUNDS as usize);
    for schedule in schedules {
        assert!(!stage.states(schedule).await.contains('0'));
    }
    let turns: u32 = ended.iter().map(|(turns, _)| turns).sum();
    let is_embedded = matches!(stage.settings.target, Target::Sqlite { .. });
    let has_none = is_embedded || Citus::given().is_some();
    assert_eq!(turns == 0, has_none, "{ended:?}");
    stage.no_later_guard_stepped_in();
    stage.audit().await;
}

mod full {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_lane_waits_for_its_turn_until_the_batch_of_another_process_has_ended() {
        let stage = Stage::full().await;
        let other = stage.another_lane().await;
        assert!(!take_turn(&stage.lane).await, "a lane alone takes no turn");
        let schedule = contended(&stage, [&stage.lane, &other]).await;
        assert!(take_turn(&stage.lane).await);
        let mut waiting = taking(&other);
        assert!(timeout(SHORT, &mut waiting).await.is_err(), "it does not wait");
        assert!(run(&stage.lane, two(schedule, 10)).await.iter().all(is_done));
        assert!(timeout(SOON, waiting).await.unwrap().unwrap());
        assert!(run(&other, two(schedule, 12)).await.iter().all(is_done));
        // A batch of which every command was refused, one of which every command was cancelled, and no batch.
        for refused in [true, false] {
            assert!(take_turn(&stage.lane).await);
            let mut lane = stage.lane.lock().await;
            let report = lane.run_batch(two(schedule, 0), &|_| refused).await;
            assert!(report.journal.is_empty());
            drop(lane);
            assert!(timeout(SOON, take_turn(&other)).await.unwrap());
            other.lock().await.end_turn().await;
        }
        assert!(take_turn(&stage.lane).await);
        stage.audit().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_process_that_dies_with_the_turn_does_not_keep_it() {
        let stage = Stage::full().await;
        let other = stage.another_lane().await;
        let schedule = contended(&stage, [&stage.lane, &other]).await;
        assert!(take_turn(&stage.lane).await);
        let mut waiting = taking(&other);
        assert!(timeout(SHORT, &mut waiting).await.is_err(), "it does not wait");
        let kill = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'
             AND granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        stage.database.execute(kill).await;
        assert!(timeout(SHORT, waiting).await.unwrap().unwrap());
        // The transaction of the turn was lost, so the batch runs again in another one.
        assert!(run(&stage.lane, two(schedule, 10)).await.iter().all(is_done));
        assert!(run(&other, two(schedule, 12)).await.iter().all(is_done));
        stage.audit().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_lane_sells_without_its_turn_if_another_process_does_not_end_its_own() {
        let stage = Stage::full().await;
        let other = stage.another_lane().await;
        let schedule = contended(&stage, [&stage.lane, &other]).await;
        assert!(take_turn(&stage.lane).await);
        let began = Instant::now();
        assert!(!timeout(SOON, take_turn(&other)).await.unwrap());
        assert!(began.elapsed() >= stage.settings.limits.lock_timeout);
        assert!(run(&other, two(schedule, 10)).await.iter().all(is_done));
        assert!(run(&stage.lane, two(schedule, 12)).await.iter().all(is_done));
        stage.audit().await;
    }

    #[actix_web::test]
    async fn a_command_that_waits_for_a_turn_is_refused_at_its_deadline_and_has_no_effect() {
        let stage = Stage::full().await;
        let arbiter = actix::Arbiter::new();
        let limits = BatcherLimits { batch_max: 256, pending_max: 4_096 };
        let store = stage.another_store().await;
        let maps = SeatMaps::new(Arc::clone(&store), None, Arc::clone(&stage.metrics), 1 << 30);
        let (maps, health) = (Arc::new(maps), Arc::default());
        let lanes = Lanes::start(&store, &maps, &health, &stage.metrics, &arbiter.handle(), limits);
        // Schedules with even numbers belong to the first lane of two.
        let mut schedule = stage.schedule(100).await;
        if schedule.0 % 2 == 1 {
            schedule = stage.schedule(100).await;
        }
        let soon = || Instant::now() + SOON;
        let both = async |seat| {
            let both = two(schedule, seat).into_iter().map(|one| lanes.execute(one, soon()));
            assert!(join_all(both).await.iter().all(Result::is_ok));
        };
        // The two commands may be in two batches, and then the lane takes no turn.
        let mut attempts = (0..90).step_by(10);
        let free = loop {
            let seat = attempts.next().expect("the lane never waited for its turn");
            for seat in [seat, seat + 4] {
                assert!(run(&stage.lane, two(schedule, seat)).await.iter().all(is_done));
                both(seat + 2).await;
            }
            assert!(take_turn(&stage.lane).await);
            let overdue =
                lanes.execute(book(schedule, &[seat + 8], "anna"), Instant::now() + SHORT);
            let in_time = lanes.execute(book(schedule, &[seat + 9], "bert"), soon());
            let end_turn = async {
                tokio::time::sleep(2 * SHORT).await;
                stage.lane.lock().await.end_turn().await;
            };
            let (overdue, in_time, ()) = tokio::join!(overdue, in_time, end_turn);
            assert!(in_time.is_ok(), "{in_time:?}");
            if let Err(error) = overdue {
                assert_eq!(error, SubmitError::Failed(ExecutionError::Withdrawn));
                break seat + 8;
            }
        };
        let states = stage.states(schedule).await;
        assert_eq!(states.find('0'), Some(free as usize), "{states}");
        stage.audit().await;
        arbiter.stop();
    }
}
