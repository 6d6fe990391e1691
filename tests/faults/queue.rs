//! The queue in front, with workers that die, stall and end, and a primary that is away: who was taken is
//! executed once, in order, in time, or not at all, and is told so.

mod on_sale;
mod orders;

use std::time::{Duration, Instant};

use futures_util::future::join_all;

use crate::client::Client;
use crate::harness::{LONG, SLACK, Setup, calmly, until};

use on_sale::{Backend, OnSale, seats};
use orders::{Order, first_come_first_served};

/// Each scenario on each queue; those named first are part of the smoke.
macro_rules! on_every_queue {
    (smoke: $($quick:ident),+; $($name:ident),+ $(,)?) => {
        pub(crate) mod smoke {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $quick() {
                    super::$quick(super::Backend::database()).await;
                }
            )+
        }

        mod database {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    super::$name(super::Backend::database()).await;
                }
            )+
        }
    };
}

on_every_queue![
    smoke: t38_a_worker_dies_between_commit_and_settlement;
    t38_workers_die_again_and_again,
    t38_nobody_overtakes_whoever_dies,
    t38_what_waits_longer_than_its_deadline_is_never_sold,
    t38_more_is_offered_than_can_be_sold_in_time,
    t38_a_worker_stalls_for_longer_than_its_turn,
    t38_a_worker_that_is_told_to_end_settles_what_it_has_begun,
];

/// Slows a worker down, so that there is a line: so long for each batch.
fn slowly(ms: u64) -> String {
    format!("before_commit=pause:{ms}ms")
}

/// Many customers who want seats of a row of `seats`: one to three each, or only one; half of them under a
/// key.
fn customers(
    (schedule, row): (&str, u32),
    name: &str,
    numbers: std::ops::Range<u32>,
    most: u32,
) -> Vec<Order> {
    let order = |number| {
        let count = fastrand::u32(1..=most);
        let wanted = seats(fastrand::u32(1..=row + 1 - count), count);
        Order::of(&format!("{name}-{schedule}-{number}"), schedule, &wanted, number % 2 == 0)
    };
    numbers.map(order).collect()
}

/// The short one: a death before the settlement and one after COMMIT.
async fn t38_a_worker_dies_between_commit_and_settlement(backend: Backend) {
    let setup = Setup::of("T38 a worker dies before it settles").set("BATCH_MAX", "8");
    let mut sale = OnSale::start(backend, setup).await;
    let schedule = sale.scene.schedule(1, 60).await;
    sale.add_worker(&[("SEATLOCK_FAULTS", "before_settle=kill@2")]).await;
    sale.add_worker(&[]).await;
    sale.crowd(customers((&schedule, 60), "a", 0..120, 3), 60, 2).await;
    let died = async || !sale.workers[0].process.is_running();
    until("a worker has died", LONG, died).await;
    let ended = sale.end().await;
    let repeated = sale.executed("repeated").await;
    assert!(ended.iter().filter(|one| one.was_told("succeeded")).count() > 10);
    let buried = sale.bury(String::new).await;
    assert_eq!(buried, 1);
    sale.scene.inject(&format!("death before the settlement, {repeated} of its deliveries again"));
    sale.finish().await;
}

async fn t38_workers_die_again_and_again(backend: Backend) {
    let setup = Setup::of("T38 workers die again and again").set("BATCH_MAX", "8");
    let mut sale = OnSale::start(backend, setup.set("QUEUE_DEADLINE", "300s")).await;
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
        sale.workers[number].process.kill();
        sale.restart_worker(number, &[]).await;
    }
    let ended = sale.end().await;
    let (taken, deaths) = (ended.iter().map(|one| one.told.len()).sum::<usize>(), sale.deaths);
    assert!(taken > 300, "only {taken} requests");
    let repeated = sale.executed("repeated").await;
    sale.scene.inject(&format!(
        "{deaths} deaths of two workers at four points, {taken} requests, {repeated} repeated at the end"
    ));
    sale.finish().await;
}

/// Customers who come one after another, each to either process, six of them for each seat; nobody begins
/// before the one before was answered.
async fn in_a_row(sale: &OnSale, schedule: String, (name, shift): (&str, u32), until: Instant) {
    let clients = sale.clients();
    let mut number: usize = 0;
    while Instant::now() < until {
        let wanted = seats(u32::try_from(number / 6).unwrap() + shift, 1);
        let order = Order::of(&format!("{name}-{schedule}-{number}"), &schedule, &wanted, true);
        sale.orders.send(&clients[number % 2], &sale.scene.ledger, &order).await;
        number += 1;
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
}

async fn lines(sale: &OnSale, schedules: &[String], of: (&str, u32), seconds: u64) {
    let end = Instant::now() + Duration::from_secs(seconds);
    let lines = schedules.iter().map(|schedule| in_a_row(sale, schedule.clone(), of, end));
    join_all(lines).await;
}

async fn t38_nobody_overtakes_whoever_dies(backend: Backend) {
    let setup = Setup::of("T38 the order of a line").set("BATCH_MAX", "4").own_postgres(&[]);
    let mut sale = OnSale::start(backend, setup.set("QUEUE_DEADLINE", "300s")).await;
    let mut schedules = Vec::new();
    for _ in 0..3 {
        schedules.push(sale.scene.schedule(1, 200).await);
    }
    // The line has begun when the first worker comes.
    lines(&sale, &schedules, ("early", 1), 2).await;
    let fault = |deed: &str| format!("{deed},{}", slowly(200));
    sale.add_worker(&[("SEATLOCK_FAULTS", &fault("after_commit=kill@6"))]).await;
    sale.add_worker(&[("SEATLOCK_FAULTS", &fault("before_settle=kill@70"))]).await;
    lines(&sale, &schedules, ("later", 51), 4).await;
    assert_eq!(sale.bury(|| fault("before_settle=kill@70")).await, 1);
    let outage = async {
        // Somebody has taken over, and is in the middle of the line.
        tokio::time::sleep(Duration::from_secs(9)).await;
        sale.primary_dies_for(Duration::from_secs(4), async || ()).await;
    };
    tokio::join!(lines(&sale, &schedules, ("last", 101), 16), outage);
    let end = Instant::now() + LONG;
    while sale.deaths < 2 {
        assert!(Instant::now() < end, "nobody has died before a settlement");
        tokio::time::sleep(Duration::from_millis(200)).await;
        sale.bury(|| slowly(200)).await;
    }
    let ended = sale.end().await;
    sale.bury(String::new).await;
    assert!(ended.iter().all(|one| !one.was_told("expired")));
    let contested = first_come_first_served(&ended);
    assert!(contested >= 60, "only {contested} contested seats");
    let refused = sale.scene.ledger.told("dependency_unavailable");
    assert!(sale.backend.is_apart || refused > 0, "the queue took requests without its database");
    sale.scene.inject(&format!(
        "{} deaths after COMMIT and before settlements, kill -9 of the primary for 4 s; {contested} seats \
         with rivals, each to the first",
        sale.deaths
    ));
    sale.finish().await;
}

async fn t38_what_waits_longer_than_its_deadline_is_never_sold(backend: Backend) {
    let setup =
        Setup::of("T38 the primary is away for longer than QUEUE_DEADLINE").own_postgres(&[]);
    let setup = setup.set("QUEUE_DEADLINE", "4s").set("BATCH_MAX", "4");
    let mut sale = OnSale::start(backend, setup).await;
    let schedule = sale.scene.schedule(1, 200).await;
    sale.add_worker(&[("SEATLOCK_FAULTS", &slowly(300))]).await;
    sale.add_worker(&[("SEATLOCK_FAULTS", &slowly(300))]).await;
    let one_each =
        (0..60).map(|n| Order::of(&format!("c-{n}"), &schedule, &seats(n + 1, 1), n % 2 == 0));
    sale.crowd(one_each.collect(), 60, 1).await;
    let taken = sale.orders.taken();
    assert_eq!(taken, 60);
    sale.primary_dies_for(Duration::from_secs(7), async || {
        let end = Instant::now() + Duration::from_secs(5);
        let mut number = 100;
        while Instant::now() < end {
            let order = Order::of(&format!("c-{number}"), &schedule, &seats(number, 1), true);
            let began = Instant::now();
            let client = &sale.clients()[number as usize % 2];
            let answer = sale.orders.send(client, &sale.scene.ledger, &order).await.unwrap();
            assert!(began.elapsed() < Duration::from_secs(3) + SLACK, "{:?}", began.elapsed());
            assert_eq!(answer.status, if sale.backend.is_apart { 202 } else { 503 }, "{answer:?}");
            number += 1;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
    let back = Instant::now();
    let order = Order::of("the-next", &schedule, &seats(200, 1), true);
    let [client, _] = sale.clients();
    let accepted = async || {
        let answer = sale.orders.send(&client, &sale.scene.ledger, &order).await;
        answer.is_some_and(|answer| answer.status == 202)
    };
    until("requests are taken again", LONG, accepted).await;
    let ended = sale.end().await;
    let moved_on = back.elapsed();
    let count = |what: &str| ended.iter().filter(|one| one.was_told(what)).count();
    let (sold, expired) = (count("succeeded"), count("expired"));
    assert!(expired >= 20, "only {expired} of {taken} expired");
    assert!(sold > 1 && ended.iter().any(|one| one.order.customer == "the-next"), "{sold}");
    let next = ended.iter().find(|one| one.order.customer == "the-next").unwrap();
    assert!(next.was_told("succeeded"), "the line does not move on: {next:?}");
    sale.scene.inject(&format!(
        "kill -9 of the primary for 7 s, deadline 4 s: {expired} expired, {sold} sold; all told {moved_on:.1?} \
         after its return"
    ));
    sale.finish().await;
}

async fn t38_more_is_offered_than_can_be_sold_in_time(backend: Backend) {
    let setup = Setup::of("T38 backlog with deadlines").set("QUEUE_DEADLINE", "2s");
    let setup = setup.set("QUEUE_MAX", "100").set("BATCH_MAX", "4");
    let mut sale = OnSale::start(backend, setup).await;
    let schedule = sale.scene.schedule(1, 1_000).await;
    sale.add_worker(&[("SEATLOCK_FAULTS", &slowly(150))]).await;
    sale.add_worker(&[("SEATLOCK_FAULTS", &slowly(150))]).await;
    let end = Instant::now() + Duration::from_secs(8);
    let mut number = 0;
    while Instant::now() < end {
        let orders = (number..number + 20)
            .map(|n| Order::of(&format!("d-{n}"), &schedule, &seats(n % 1_000 + 1, 1), n % 2 == 0));
        sale.crowd(orders.collect(), 20, 1).await;
        number += 20;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let ended = sale.end().await;
    let count = |what: &str| ended.iter().filter(|one| one.was_told(what)).count();
    let (sold, expired) = (count("succeeded"), count("expired"));
    let full = sale.scene.ledger.told("overloaded");
    assert!(sold > 20, "only {sold} were sold in time");
    assert!(expired > 20, "only {expired} came too late");
    assert!(full > 20, "only {full} were told that the queue is full");
    sale.scene.inject(&format!(
        "some 80 requests a second for 8 s on 27: {full} overloaded, {expired} expired, {sold} sold"
    ));
    sale.finish().await;
}

async fn t38_a_worker_stalls_for_longer_than_its_turn(backend: Backend) {
    let setup = Setup::of("T38 a worker is stopped past its turn").set("BATCH_MAX", "8");
    let mut sale = OnSale::start(backend, setup.set("QUEUE_DEADLINE", "300s")).await;
    let schedule = sale.scene.schedule(1, 400).await;
    for _ in 0..2 {
        sale.add_worker(&[("SEATLOCK_FAULTS", &slowly(50))]).await;
    }
    sale.crowd(customers((&schedule, 400), "e", 0..400, 2), 80, 2).await;
    let done = async || sale.executed("done").await > 20.0;
    until("the line moves", LONG, done).await;
    let active = usize::from(executed(&sale.workers[0].client).await == 0.0);
    calmly(|| sale.workers[active].process.pause());
    let stopped = Instant::now();
    let successor = sale.workers[1 - active].client.clone();
    let taken_over =
        until("the other has its turn", LONG, async || executed(&successor).await > 8.0);
    let taken_over = taken_over.await;
    tokio::time::sleep(Duration::from_secs(13).saturating_sub(stopped.elapsed())).await;
    // It goes on with what it had, while the other is at work.
    sale.crowd(customers((&schedule, 400), "f", 0..200, 2), 80, 2).await;
    calmly(|| sale.workers[active].process.resume());
    let ended = sale.end().await;
    let repeated = sale.executed("repeated").await;
    assert!(ended.iter().filter(|one| one.was_told("succeeded")).count() > 50);
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

async fn t38_a_worker_that_is_told_to_end_settles_what_it_has_begun(backend: Backend) {
    let setup = Setup::of("T38 SIGTERM of a worker under load").set("BATCH_MAX", "8");
    let mut sale = OnSale::start(backend, setup.set("QUEUE_DEADLINE", "300s")).await;
    let schedule = sale.scene.schedule(1, 600).await;
    for _ in 0..2 {
        sale.add_worker(&[("SEATLOCK_FAULTS", &slowly(50))]).await;
    }
    let one_each = |from: u32| {
        let order = |n: u32| Order::of(&format!("g-{n}"), &schedule, &seats(n + 1, 1), n % 2 == 0);
        (from..from + 200).map(order).collect::<Vec<_>>()
    };
    let (mut slowest, mut gap) = (Duration::ZERO, Duration::ZERO);
    for round in 0..3 {
        sale.crowd(one_each(round * 200), 100, 1).await;
        let done = async || sale.executed("done").await > 20.0;
        until("the line moves", LONG, done).await;
        let active = usize::from(executed(&sale.workers[0].client).await == 0.0);
        sale.workers[active].process.terminate();
        let asked = Instant::now();
        assert_eq!(sale.workers[active].ended(Duration::from_secs(30)), 0);
        slowest = slowest.max(asked.elapsed());
        let other = sale.workers[1 - active].client.clone();
        gap =
            gap.max(until("the other goes on", LONG, async || executed(&other).await > 0.0).await);
        sale.restart_worker(active, &[("SEATLOCK_FAULTS", &slowly(50))]).await;
        // What it had begun it has settled: nothing comes a second time.
        assert_eq!(sale.executed("repeated").await, 0.0);
        sale.orders.are_over(&sale.clients()[0]).await;
        assert_eq!(sale.executed("repeated").await, 0.0);
    }
    let ended = sale.end().await;
    assert!(ended.iter().all(|one| one.told == ["succeeded"]));
    assert!(slowest < Duration::from_secs(17), "it took {slowest:?}");
    sale.scene.inject(&format!(
        "three SIGTERMs, ended within {slowest:.1?}; the other went on within {gap:.1?}, nothing was repeated"
    ));
    sale.finish().await;
}
