//! The order and the deadlines of waiting requests: none overtakes another, none is executed late, and each is
//! accepted or refused immediately.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use test_support::Service;

use crate::harness::{LONG, SLACK, Setup, blocking, until};

use super::on_sale::{OnSale, seats};
use super::orders::{Order, first_come_first_served};
use super::{customers, slowly};

/// Sends one order after another, each to either process, six for each seat; each waits for the answer to the one
/// before.
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_keep_their_order_when_workers_die() {
    let setup = Setup::of("the order of a line").quick().own_postgres(&[]);
    let setup = setup.set("BATCH_MAX", "4");
    let mut sale = OnSale::start(setup.set("QUEUE_DEADLINE", "300s")).await;
    let mut schedules = Vec::new();
    for _ in 0..3 {
        schedules.push(sale.scene.schedule(1, 200).await);
    }
    // The line has begun when the first worker comes.
    lines(&sale, &schedules, ("early", 1), 2).await;
    let fault = |deed: &str| format!("{deed},{}", slowly(200));
    sale.add_worker(&[("SEATLOCK_FAULTS", &fault("after_commit=kill@6"))]).await;
    // Two batches fail alone, by their time limit, while the next one of the same line waits behind them.
    let later = fault("before_commit=pause:3s@9,before_commit=pause:3s@26,before_settle=kill@60");
    sale.add_worker(&[("SEATLOCK_FAULTS", &later)]).await;
    lines(&sale, &schedules, ("later", 51), 4).await;
    assert_eq!(sale.bury(|| later.clone()).await, 1);
    let outage = async {
        // The other worker has taken over and is at work.
        tokio::time::sleep(Duration::from_secs(9)).await;
        sale.primary_dies_for(Duration::from_secs(4), async || ()).await;
    };
    tokio::join!(lines(&sale, &schedules, ("last", 101), 16), outage);
    let (mut failed, end) = (0, Instant::now() + LONG);
    while sale.deaths < 2 {
        assert!(Instant::now() < end, "no worker has died before a settlement");
        tokio::time::sleep(Duration::from_millis(200)).await;
        failed = failed.max(sale.workers.iter().map(failed_batches).sum());
        sale.bury(|| slowly(200)).await;
    }
    assert!(failed > 0, "no batch has failed alone");
    let ended = sale.end().await;
    sale.bury(String::new).await;
    assert!(ended.iter().all(|one| !one.ended_as("expired")));
    let contested = first_come_first_served(&ended);
    assert!(contested >= 60, "only {contested} contested seats");
    let refused = sale.scene.ledger.count("dependency_unavailable");
    assert!(refused > 0, "the queue accepted requests without its database");
    sale.scene.inject(&format!(
        "{} deaths after COMMIT and before settlements, {failed} batches failed alone, kill -9 of the \
         primary for 4 s; {contested} seats with rivals, each to the first",
        sale.deaths
    ));
    sale.finish().await;
}

/// Batches of a worker that have failed by their own time limit.
fn failed_batches(worker: &Service) -> usize {
    worker.process().output().matches("it took too long").count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_longer_than_its_deadline_is_never_sold() {
    let setup = Setup::of("no primary for longer than QUEUE_DEADLINE").own_postgres(&[]);
    let setup = setup.set("QUEUE_DEADLINE", "4s").set("BATCH_MAX", "4");
    let mut sale = OnSale::start(setup).await;
    let schedule = sale.scene.schedule(1, 200).await;
    sale.add_worker(&[("SEATLOCK_FAULTS", &slowly(100))]).await;
    sale.add_worker(&[("SEATLOCK_FAULTS", &slowly(100))]).await;
    let one_each = (0..80)
        .map(|n| Order::of(&format!("c-{n}"), &schedule, &seats(n + 1, 1), n.is_multiple_of(2)));
    sale.crowd(one_each.collect(), 80, 1).await;
    let taken = sale.orders.taken();
    assert_eq!(taken, 80);
    until("a request is executed", LONG, async || sale.executed("done").await > 0.0).await;
    sale.primary_dies_for(Duration::from_secs(7), async || {
        let end = Instant::now() + Duration::from_secs(5);
        let mut number = 100;
        while Instant::now() < end {
            let order = Order::of(&format!("c-{number}"), &schedule, &seats(number, 1), true);
            let began = Instant::now();
            let client = &sale.clients()[number as usize % 2];
            let answer = sale.orders.send(client, &sale.scene.ledger, &order).await.unwrap();
            assert!(began.elapsed() < Duration::from_secs(3) + SLACK, "{:?}", began.elapsed());
            assert_eq!(answer.status, 503, "{answer:?}");
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
    until("requests are accepted again", LONG, accepted).await;
    let ended = sale.end().await;
    let moved_on = back.elapsed();
    let count = |what: &str| ended.iter().filter(|one| one.ended_as(what)).count();
    let (sold, expired) = (count("succeeded"), count("expired"));
    assert!(expired >= 20, "only {expired} of {taken} expired");
    assert!(sold > 1 && ended.iter().any(|one| one.order.customer == "the-next"), "{sold}");
    let next = ended.iter().find(|one| one.order.customer == "the-next").unwrap();
    assert!(next.ended_as("succeeded"), "waiting requests are not executed: {next:?}");
    sale.scene.inject(&format!(
        "kill -9 of the primary for 7 s, deadline 4 s: {expired} expired, {sold} sold; all outcomes known {moved_on:.1?} \
         after its return"
    ));
    sale.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_answered_in_time_while_the_primary_hangs() {
    let setup = Setup::of("the primary hangs under the queue").own_postgres(&[]);
    let mut sale = OnSale::start(setup).await;
    let schedule = sale.scene.schedule(1, 60).await;
    sale.add_worker(&[]).await;
    sale.crowd(customers((&schedule, 60), "h", 0..20, 1), 20, 1).await;
    blocking(|| sale.scene.primary.pause());
    let orders: Vec<Order> =
        (1..=40).map(|n| Order::of(&format!("i-{n}"), &schedule, &seats(n, 1), true)).collect();
    let clients = sale.clients();
    let sent = orders.iter().enumerate().map(|(number, order)| {
        let (client, sale) = (&clients[number % 2], &sale);
        async move {
            // Some come before the outage is known, most later.
            tokio::time::sleep(Duration::from_millis(150) * u32::try_from(number).unwrap()).await;
            let answer = sale.orders.send(client, &sale.scene.ledger, order).await;
            assert_eq!(answer.unwrap().status, 503);
        }
    });
    join_all(sent).await;
    let longest = sale.scene.ledger.longest();
    assert!(longest < Duration::from_secs(3) + SLACK, "a request took {longest:?}");
    blocking(|| sale.scene.primary.resume());
    // An unknown request is repeated under its key.
    for order in &orders {
        let taken = async || {
            let answer = sale.orders.send(&clients[0], &sale.scene.ledger, order).await;
            answer.is_some_and(|answer| answer.status == 202)
        };
        until("requests are accepted again", LONG, taken).await;
    }
    let ended = sale.end().await;
    assert!(ended.iter().all(|one| !one.ended_as("expired")));
    sale.scene.inject(&format!("SIGSTOP of the primary for 6 s, longest answer {longest:.1?}"));
    sale.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_is_offered_than_can_be_sold_in_time() {
    let setup = Setup::of("backlog with deadlines").set("QUEUE_DEADLINE", "2s");
    let setup = setup.set("QUEUE_MAX", "100").set("BATCH_MAX", "4");
    let mut sale = OnSale::start(setup).await;
    let schedule = sale.scene.schedule(1, 1_000).await;
    sale.add_worker(&[("SEATLOCK_FAULTS", &slowly(150))]).await;
    sale.add_worker(&[("SEATLOCK_FAULTS", &slowly(150))]).await;
    let end = Instant::now() + Duration::from_secs(8);
    let mut number = 0;
    while Instant::now() < end {
        let orders = (number..number + 20).map(|n| {
            Order::of(&format!("d-{n}"), &schedule, &seats(n % 1_000 + 1, 1), n.is_multiple_of(2))
        });
        sale.crowd(orders.collect(), 20, 1).await;
        number += 20;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let ended = sale.end().await;
    let count = |what: &str| ended.iter().filter(|one| one.ended_as(what)).count();
    let (sold, expired) = (count("succeeded"), count("expired"));
    let full = sale.scene.ledger.count("overloaded");
    assert!(sold > 20, "only {sold} were sold in time");
    assert!(expired > 20, "only {expired} came too late");
    assert!(full > 20, "only {full} were refused because the queue is full");
    sale.scene.inject(&format!(
        "{number} requests in 8 s, executed four in 150 ms: {full} overloaded, {expired} expired, {sold} sold"
    ));
    sale.finish().await;
}
