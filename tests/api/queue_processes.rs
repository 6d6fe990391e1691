//! The queue of several processes: one waiting list, one order, and no lost request.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use test_support::{SOON, eventually, taking};

use crate::app::{Stack, TestApp};
use crate::queue::QUEUED;

on_both_stacks![a_restart_loses_no_accepted_request];

/// Requests are accepted and no process executes them. A slow answer on a busy machine must not make a process
/// use its own waiting list.
const WITHOUT_CONSUMERS: [(&str, &str); 3] =
    [("QUEUE_MODE", "prefer"), ("QUEUE_CONSUME", "off"), ("LOCK_ROUND_TRIP", "450ms")];
const EXECUTE: [(&str, &str); 1] = [("QUEUE_CONSUME", "on")];

async fn a_restart_loses_no_accepted_request(on: Stack) {
    let mut app = on.start_with(&QUEUED).await;
    let schedule = app.schedule(&[("A", 20, 20)], Value::Null).await;
    let requests = (0..300).map(|number| {
        let (client, schedule) = (app.client(), schedule.clone());
        async move {
            let seat = format!("A-{}-{}", number / 20 + 1, number % 20 + 1);
            client.queued(&schedule, &[&seat], &format!("c{number}")).await
        }
    });
    let places = join_all(requests).await;
    app.drain();
    let again = app.another_replica().await;
    for place in &places {
        let over = again.outcome(place).await;
        assert_eq!(over["status"], "succeeded", "{over}");
    }
    let counts = again.schedule_now(&schedule).await["counts"].clone();
    assert_eq!(counts["booked"], 300);
    again.audit().await;
}

mod several {
    mod full {
        use super::super::*;

        async fn without_consumers() -> TestApp {
            Stack::Full.start_with(&WITHOUT_CONSUMERS).await
        }

        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn the_first_request_gets_the_seat_whichever_process_accepted_it() {
            let (app, other) = {
                let app = without_consumers().await;
                let other = app.another_replica().await;
                (app, other)
            };
            let schedule = app.row_of(1).await;
            let mut places = Vec::new();
            for number in 0..20 {
                let client = if number % 2 == 0 { app.client() } else { other.client() };
                let taken = client
                    .queue(
                        "/api/v1/bookings",
                        &taking(&schedule, &["A-1-1"], &format!("c{number}")),
                    )
                    .await;
                assert_eq!(
                    taken.expect(202)["place"],
                    number + 1,
                    "all processes share one waiting list"
                );
                places.push(taken.header("location").unwrap().to_owned());
            }
            let asked = other.get(&places[7]).await.expect(200);
            assert_eq!((&asked["status"], &asked["place"]), (&json!("queued"), &json!(8)));
            let executing = app.another_replica_with(&EXECUTE).await;
            let mut won = Vec::new();
            for (number, place) in places.iter().enumerate() {
                if app.outcome(place).await["status"] == "succeeded" {
                    won.push(number);
                }
            }
            assert_eq!(won, [0]);
            drop(executing);
            app.audit().await;
        }

        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn one_customer_cannot_fill_the_waiting_list() {
            let app = without_consumers().await;
            let other = app.another_replica().await;
            let schedule = app.row_of(10).await;
            for number in 1..=5 {
                let client = if number % 2 == 0 { app.client() } else { other.client() };
                client.queued(&schedule, &[&format!("A-1-{number}")], "ada").await;
            }
            let refused =
                app.queue("/api/v1/bookings", &taking(&schedule, &["A-1-6"], "ada")).await;
            let problem = refused.problem(429, "queue_limit_reached");
            assert_eq!(problem["retryable"], true);
            app.queued(&schedule, &["A-1-6"], "ben").await;
            let elsewhere = app.row_of(1).await;
            app.queued(&elsewhere, &["A-1-1"], "ada").await;
            let executing = app.another_replica_with(&EXECUTE).await;
            let body = taking(&schedule, &["A-1-7"], "ada");
            let again = || app.queue("/api/v1/bookings", &body);
            eventually("a place in the waiting list", SOON, async || match again().await {
                answer if answer.status == 202 => Ok(()),
                refused => Err(refused),
            })
            .await;
            drop(executing);
        }

        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn a_request_is_not_sold_after_its_time() {
            let late = [&WITHOUT_CONSUMERS[..], &[("QUEUE_DEADLINE", "700ms")]].concat();
            let app = Stack::Full.start_with(&late).await;
            let schedule = app.row_of(2).await;
            let place = app.queued(&schedule, &["A-1-1"], "ada").await;
            tokio::time::sleep(Duration::from_millis(1_200)).await;
            let executing = app.another_replica_with(&EXECUTE).await;
            let over = app.outcome(&place).await;
            assert_eq!(over["status"], "expired", "{over}");
            assert_eq!(over["error"]["code"], "request_expired");
            let in_time = executing.queued(&schedule, &["A-1-2"], "ada").await;
            assert_eq!(app.outcome(&in_time).await["status"], "succeeded");
            assert_eq!(app.states(&schedule).await, "av bo ");
            assert_eq!(
                executing.metric("seatlock_queue_executed_total{result=\"expired\"}").await,
                1.0
            );
        }

        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn a_request_expires_at_its_deadline_without_a_consumer() {
            let late = [&WITHOUT_CONSUMERS[..], &[("QUEUE_DEADLINE", "1500ms")]].concat();
            let app = Stack::Full.start_with(&late).await;
            let schedule = app.row_of(2).await;
            let place = app.queued(&schedule, &["A-1-1"], "ada").await;
            let waiting = app.get(&place).await.expect(200);
            assert_eq!((&waiting["status"], &waiting["place"]), (&json!("queued"), &json!(1)));
            let over = app.outcome(&place).await;
            assert_eq!((&over["status"], over.get("place")), (&json!("expired"), None), "{over}");
            assert_eq!(over["error"]["code"], "request_expired");
            assert_eq!(over["error"]["request_id"], over["id"]);
            // The reported outcome is final.
            let executing = app.another_replica_with(&EXECUTE).await;
            let expired = "seatlock_queue_executed_total{result=\"expired\"}";
            executing.metric_above(expired, 0.0).await;
            assert_eq!(app.outcome(&place).await, over);
            assert_eq!(app.states(&schedule).await, "av av ");
            app.audit().await;
        }

        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn while_the_database_is_read_only_no_request_is_reported_as_expired() {
            let late = [&WITHOUT_CONSUMERS[..], &[("QUEUE_DEADLINE", "300ms")]].concat();
            let app = Stack::Full.start_with(&late).await;
            let schedule = app.row_of(1).await;
            let place = app.queued(&schedule, &["A-1-1"], "ada").await;
            app.database
                .execute(
                    "CREATE FUNCTION read_only() RETURNS trigger LANGUAGE plpgsql AS
                       $$ BEGIN RAISE read_only_sql_transaction; END $$;
                     CREATE TRIGGER read_only BEFORE INSERT ON idempotency
                       FOR EACH STATEMENT EXECUTE FUNCTION read_only()",
                )
                .await;
            tokio::time::sleep(Duration::from_millis(500)).await;
            let unknown = app.get(&place).await.expect(200);
            assert_eq!((&unknown["status"], unknown.get("place")), (&json!("queued"), None));
            app.database.execute("DROP TRIGGER read_only ON idempotency").await;
            assert_eq!(app.outcome(&place).await["status"], "expired");
        }

        /// Partitions are shared out among the processes that execute, and again when one comes or goes.
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn processes_share_the_partitions_out() {
            let app = Stack::Full.start_with(&QUEUED).await;
            has_partitions(&app, 4).await;
            let mut other = app.another_replica().await;
            has_partitions(&app, 2).await;
            has_partitions(&other, 2).await;
            let schedules = served(&app, 8).await;
            for process in [&app, &other] {
                let done = process.metric("seatlock_queue_executed_total{result=\"done\"}").await;
                assert!(done >= 2.0, "{done} of 8: each has two of the four partitions");
            }
            tokio::task::block_in_place(|| other.drain());
            has_partitions(&app, 4).await;
            for schedule in schedules {
                let place = app.queued(&schedule, &["A-1-2"], "ben").await;
                assert_eq!(app.outcome(&place).await["status"], "succeeded");
            }
            app.audit().await;
        }

        /// Waits until a process consumes this many partitions.
        async fn has_partitions(process: &TestApp, count: u32) {
            let line = format!("\nseatlock_queue_partitions {count}\n");
            process.wait_until("/metrics", |answer| answer.body.contains(&line)).await;
        }

        /// Sends a request for each of this many schedules, one to each partition in turn; all succeed.
        async fn served(app: &TestApp, count: usize) -> Vec<String> {
            let mut schedules = Vec::new();
            for _ in 0..count {
                schedules.push(app.row_of(2).await);
            }
            for schedule in &schedules {
                let place = app.queued(schedule, &["A-1-1"], "ada").await;
                assert_eq!(app.outcome(&place).await["status"], "succeeded");
            }
            schedules
        }

        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn a_message_that_comes_three_times_has_one_effect() {
            let app = without_consumers().await;
            let schedule = app.row_of(2).await;
            let place = app.queued(&schedule, &["A-1-1"], "ada").await;
            app.database
                .execute(
                    "UPDATE queue_counter SET last = last + 2, waiting = waiting + 2;
                     INSERT INTO queue_message (part, number, id, body)
                     SELECT part, number + more, id, body
                     FROM queue_message, generate_series(1, 2) AS more",
                )
                .await;
            let executing = app.another_replica_with(&EXECUTE).await;
            let booking = app.outcome(&place).await["result"]["id"].clone();
            let repeated = "seatlock_queue_executed_total{result=\"repeated\"}";
            executing.metric_above(repeated, 1.0).await;
            let bookings = app.items(&format!("/api/v1/bookings?schedule_id={schedule}")).await;
            assert_eq!(bookings.len(), 1, "{bookings:?}");
            assert_eq!(bookings[0]["id"], booking);
            assert_eq!(app.states(&schedule).await, "bo av ");
            app.audit().await;
        }

        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn a_full_waiting_list_refuses_further_requests() {
            let few = [&WITHOUT_CONSUMERS[..], &[("QUEUE_MAX", "3")]].concat();
            let app = Stack::Full.start_with(&few).await;
            let schedule = app.row_of(10).await;
            for number in 1..=3 {
                app.queued(&schedule, &[&format!("A-1-{number}")], &format!("c{number}")).await;
            }
            let refused = app.queue("/api/v1/bookings", &taking(&schedule, &["A-1-4"], "c4")).await;
            refused.problem(503, "overloaded");
            assert_eq!(app.metric("seatlock_queue_accepted_total{result=\"full\"}").await, 1.0);
        }

        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn under_a_backlog_batches_reach_their_largest_size() {
            let app = Stack::Full
                .start_with(&[&WITHOUT_CONSUMERS[..], &[("BATCH_MAX", "64")]].concat())
                .await;
            let schedule = app.schedule(&[("A", 40, 40)], Value::Null).await;
            let requests = (0..1_000).map(|number| {
                let (client, schedule) = (app.client(), schedule.clone());
                async move {
                    let seat = format!("A-{}-{}", number / 40 + 1, number % 40 + 1);
                    client.queued(&schedule, &[&seat], &format!("c{number}")).await
                }
            });
            let places = join_all(requests).await;
            let executing = app.another_replica_with(&EXECUTE).await;
            for place in &places {
                assert_eq!(app.outcome(place).await["status"], "succeeded");
            }
            let up_to = |size: &str| format!("seatlock_batch_size_bucket{{le=\"{size}\"}}");
            let (small, all) = (
                executing.metric(&up_to("32")).await,
                executing.metric("seatlock_batch_size_count").await,
            );
            assert!(all - small >= 8.0, "{all} batches, {small} of them small");
            assert!(all <= 40.0, "{all} batches for 1,000 requests");
        }
    }
}
