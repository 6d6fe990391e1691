//! Many simultaneous customers: one seat, overlapping seats, one key on two processes.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use test_support::{Answer, taking};

use crate::crowd::Crowd;
use crate::harness::{FAILURES, Scene, Setup, blocking};

/// Five hundred customers of both processes ask for the same seats at the same time; one gets them.
async fn rush(scene: &Scene, schedule: &str, label: &str) {
    let clients: Vec<_> = (0..500).map(|number| scene.client(number % 2)).collect();
    let orders = clients
        .iter()
        .map(async |client| scene.ledger.book(client, schedule, &[label]).await.unwrap());
    one_won(&join_all(orders).await);
}

fn one_won(answers: &[Answer]) {
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1);
    for lost in answers.iter().filter(|answer| answer.status != 200) {
        lost.problem(409, "seats_unavailable");
    }
}

/// As [`rush`], without keys: a key is looked up before its request is refused.
async fn rush_without_keys(scene: &Scene, schedule: &str, label: &str) {
    let clients: Vec<_> = (0..500).map(|number| scene.client(number % 2)).collect();
    let orders = clients.iter().map(async |client| client.book(schedule, &[label], "anna").await);
    let answers = join_all(orders).await;
    one_won(&answers);
    scene.ledger.adopt(&answers);
}

pub(crate) mod smoke {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn five_hundred_customers_of_one_seat() {
        let scene = Setup::of("500 customers, one seat").processes(2).start().await;
        let schedule = scene.schedule(1, 4).await;
        for seat in 1..=3 {
            rush(&scene, &schedule, &format!("A-1-{seat}")).await;
        }
        scene.inject("3 rushes on two processes");
        for guard in ["unique_index", "row_count"] {
            let saves = format!("seatlock_guard_saves_total{{guard=\"{guard}\"}}");
            assert_eq!(scene.metric(&saves).await, 0.0, "{guard}");
        }
        scene.finish().await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn overlapping_seats_in_any_order() {
        let scene = Setup::of("overlapping seats").processes(2).start().await;
        let schedule = scene.schedule(1, 12).await;
        let crowd = Crowd::of(&scene, 60, &schedule, 12);
        tokio::time::sleep(Duration::from_secs(6)).await;
        crowd.stop().await;
        scene.inject("60 customers in 12 seats for 6 s");
        assert!(scene.ledger.count("seats_unavailable") > 100, "no conflict");
        assert!(scene.ledger.count("200") > 12, "nothing was given back and sold again");
        scene.never(&FAILURES);
        let sql = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
        let deadlocks = blocking(|| scene.primary.psql(&scene.url, sql));
        assert_eq!(deadlocks, "0");
        scene.finish().await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn losers_of_a_hot_seat_reach_the_database_only_without_redis() {
        let scene = Setup::of("losers of a hot seat").processes(2).start().await;
        let schedule = scene.schedule(1, 4).await;
        let refused = "seatlock_commands_total{kind=\"book\",outcome=\"refused\"}";
        rush_without_keys(&scene, &schedule, "A-1-1").await;
        let with_locks = scene.metric(refused).await;
        assert!(with_locks < 250.0, "{with_locks} losers reached the database");
        blocking(|| scene.redis.kill());
        rush_without_keys(&scene, &schedule, "A-1-2").await;
        let without = scene.metric(refused).await - with_locks;
        // Answered by their batches, until the map knows the winner.
        assert!(without > with_locks, "the locks kept no request from the database");
        blocking(|| scene.redis.restart());
        scene.inject(&format!(
            "two rushes of 500; {with_locks} losers in the database with Redis, {without} without"
        ));
        scene.finish().await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn one_key_fifty_times_on_two_processes() {
        let scene = Setup::of("one key x50").processes(2).start().await;
        let schedule = scene.schedule(1, 6).await;
        let clients: Vec<_> = (0..50).map(|number| scene.client(number % 2)).collect();
        for round in 1..=5 {
            let key = format!("the-key-{round}");
            let body = taking(&schedule, &[&format!("A-1-{round}")], "anna");
            let path = "/api/v1/bookings";
            let orders = clients.iter().map(|c| scene.ledger.send(c, &key, path, body.clone()));
            let answers: Vec<Answer> = join_all(orders).await.into_iter().flatten().collect();
            let mut bodies: Vec<String> = Vec::new();
            for answer in answers {
                match answer.status {
                    200 => bodies.push(answer.body),
                    _ => drop(answer.problem(409, "request_in_progress")),
                }
            }
            bodies.dedup();
            assert_eq!(bodies.len(), 1, "{bodies:?}");
            let other = json!({"schedule_id": schedule, "seats": ["A-1-6"], "customer_id": "anna"});
            let reused = scene.ledger.send(&clients[round], &key, path, other).await.unwrap();
            reused.problem(422, "idempotency_key_reused");
        }
        scene.inject("5 keys, each 50 times and once with another body");
        assert_eq!(scene.ledger.bookings().len(), 5);
        scene.finish().await;
    }
}
