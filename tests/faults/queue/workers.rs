//! Workers that are killed, stopped and terminated: an accepted request is executed once in each case.

use std::time::{Duration, Instant};

use test_support::Client;

use crate::harness::{LONG, Setup, blocking, until};

use super::on_sale::{OnSale, seats};
use super::orders::{Order, first_come_first_served};
use super::{customers, slowly};

pub(crate) mod smoke {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_worker_dies_between_commit_and_settlement() {
        let setup = Setup::of("a worker dies before it settles").set("BATCH_MAX", "8");
        let mut sale = OnSale::start(setup).await;
        let schedule = sale.scene.schedule(1, 60).await;
        sale.add_worker(&[("SEATLOCK_FAULTS", "before_settle=kill@2")]).await;
        sale.add_worker(&[]).await;
        sale.crowd(customers((&schedule, 60), "a", 0..120, 3), 60, 2).await;
        let died = async || !sale.workers[0].process().is_running();
        until("a worker has died", LONG, died).await;
        let ended = sale.end().await;
        let repeated = sale.executed("repeated").await;
        assert!(ended.iter().filter(|one| one.ended_as("succeeded")).count() > 10);
        assert!(ended.iter().all(|one| !one.ended_as("expired")), "a request was lost");
        let buried = sale.bury(String::new).await;
        assert_eq!(buried, 1);
        sale.scene
            .inject(&format!("death before the settlement, {repeated} of its deliveries again"));
        sale.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_die_again_and_again() {
    let setup = Setup::of("workers die again and again").set("BATCH_MAX", "8");
    let mut sale = OnSale::start(setup.set("QUEUE_DEADLINE", "300s")).await;
    let mut schedules = Vec::new();
    for _ in 0..3 {
        schedules.push(sale.scene.schedule(1, 60).await);
    }
    let points = ["after_commit", "before_snapshot", "before_settle", "before_commit"];
    let mut turn = 0;
    let mut next = move || {
        turn += 1;
        format!("{}=kill@{},{}", points[turn % 4], fastrand::u32(2..6), slowly(20))
    };
    for _ in 0..2 {
        sale.add_worker(&[("SEATLOCK_FAULTS", &next())]).await;
    }
    let mut round = 0;
    while sale.deaths < 6 {
        assert!(round < 60, "only {} deaths", sale.deaths);
        for schedule in &schedules {
            let numbers = round * 20..round * 20 + 20;
            sale.crowd(customers((schedule, 60), "b", numbers, 3), 20, 3).await;
        }
        round += 1;
        tokio::time::sleep(Duration::from_secs(2)).await;
        sale.bury(&mut next).await;
    }
    // From now on they may live.
    for number in 0..2 {
        sale.restart_worker(number, &[]).await;
    }
    let ended = sale.end().await;
    let (taken, deaths) = (ended.iter().map(|one| one.outcomes.len()).sum::<usize>(), sale.deaths);
    assert!(taken > 300, "only {taken} requests");
    assert!(ended.iter().all(|one| !one.ended_as("expired")), "a request was lost");
    let repeated = sale.executed("repeated").await;
    sale.scene.inject(&format!(
        "{deaths} deaths of two workers at four points, {taken} requests, {repeated} repeated at the end"
    ));
    sale.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_stalls_for_longer_than_its_turn() {
    let setup = Setup::of("a worker is stopped past its turn").set("BATCH_MAX", "8");
    let mut sale = OnSale::start(setup.set("QUEUE_DEADLINE", "300s")).await;
    let schedule = sale.scene.schedule(1, 400).await;
    for _ in 0..2 {
        sale.add_worker(&[("SEATLOCK_FAULTS", &slowly(50))]).await;
    }
    sale.crowd(customers((&schedule, 400), "e", 0..400, 2), 80, 2).await;
    let done = async || sale.executed("done").await > 20.0;
    until("a request is executed", LONG, done).await;
    let active = usize::from(executed(sale.workers[0].client()).await == 0.0);
    blocking(|| sale.workers[active].process().pause());
    let stopped = Instant::now();
    let successor = sale.workers[1 - active].client().clone();
    let taken_over =
        until("the other has its turn", LONG, async || executed(&successor).await > 8.0);
    let taken_over = taken_over.await;
    tokio::time::sleep(Duration::from_secs(13).saturating_sub(stopped.elapsed())).await;
    // When it resumes it still has its requests, while the other works.
    sale.crowd(customers((&schedule, 400), "f", 0..200, 2), 80, 2).await;
    blocking(|| sale.workers[active].process().resume());
    let ended = sale.end().await;
    let repeated = sale.executed("repeated").await;
    assert!(ended.iter().filter(|one| one.ended_as("succeeded")).count() > 50);
    first_come_first_served(&ended);
    sale.scene.inject(&format!(
        "SIGSTOP of the working one for 13 s; the other took over after {taken_over:.1?}, {repeated} repeated"
    ));
    sale.finish().await;
}

/// How many requests a worker has executed that had an effect.
async fn executed(worker: &Client) -> f64 {
    worker.metric("seatlock_queue_executed_total{result=\"done\"}").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terminated_worker_settles_what_it_has_begun() {
    let setup = Setup::of("SIGTERM of a worker under load").set("BATCH_MAX", "8");
    let mut sale = OnSale::start(setup.set("QUEUE_DEADLINE", "300s")).await;
    let schedule = sale.scene.schedule(1, 600).await;
    for _ in 0..2 {
        sale.add_worker(&[("SEATLOCK_FAULTS", &slowly(250))]).await;
    }
    let one_each = |from: u32| {
        let order =
            |n: u32| Order::of(&format!("g-{n}"), &schedule, &seats(n + 1, 1), n.is_multiple_of(2));
        (from..from + 200).map(order).collect::<Vec<_>>()
    };
    let (mut slowest, mut gap) = (Duration::ZERO, Duration::ZERO);
    for round in 0..3 {
        sale.crowd(one_each(round * 200), 100, 1).await;
        let done = async || sale.executed("done").await > 20.0;
        until("a request is executed", LONG, done).await;
        let active = usize::from(executed(sale.workers[0].client()).await == 0.0);
        sale.workers[active].process().terminate();
        let asked = Instant::now();
        assert_eq!(sale.workers[active].ended(Duration::from_secs(30)), 0);
        slowest = slowest.max(asked.elapsed());
        let other = sale.workers[1 - active].client().clone();
        gap = gap
            .max(until("the other continues", LONG, async || executed(&other).await > 0.0).await);
        sale.restart_worker(active, &[("SEATLOCK_FAULTS", &slowly(250))]).await;
        // What it had begun it has settled: nothing comes a second time.
        assert_eq!(sale.executed("repeated").await, 0.0);
        sale.orders.are_over(&sale.clients()[0]).await;
        assert_eq!(sale.executed("repeated").await, 0.0);
    }
    let ended = sale.end().await;
    assert!(ended.iter().all(|one| one.outcomes == ["succeeded"]));
    assert!(slowest < Duration::from_secs(17), "it took {slowest:?}");
    sale.scene.inject(&format!(
        "three SIGTERMs, ended within {slowest:.1?}; the other went on within {gap:.1?}, nothing was repeated"
    ));
    sale.finish().await;
}
