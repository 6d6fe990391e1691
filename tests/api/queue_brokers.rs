//! The service with a broker as its queue, from the customers' view. tests/contracts/queue has the contract of
//! the brokers.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::Value;
use test_support::{Client, Postgres, SOON, eventually, taking};

use crate::app::{Stack, TestApp};

/// Returns the path of a request as soon as it is accepted. A broker with new queues may refuse for a moment; the
/// customer then retries with the same key.
async fn taken(client: &Client, key: &str, body: &Value) -> String {
    eventually("an accepted request", SOON, async || {
        let request = client.request(Method::POST, "/api/v1/bookings").json(body);
        let request = request.header("prefer", "respond-async").header("idempotency-key", key);
        let answer = client.send(request).await;
        if answer.status == 202 {
            return Ok(answer.header("location").unwrap().to_owned());
        }
        let refused = answer.expect(503);
        assert_eq!(refused["retryable"], true, "{refused}");
        Err(refused)
    })
    .await
}

/// Two processes on one queue: many customers, few seats, and one process stops in the middle.
async fn a_crowd_is_served_in_order_and_each_request_once(url: &str, name: &str) {
    let variables = [("QUEUE_MODE", "prefer"), ("QUEUE_URL", url), ("QUEUE_NAME", name)];
    let app = Stack::Full.start_with(&variables).await;
    let mut other = app.another_replica().await;
    let mut schedules = Vec::new();
    for _ in 0..3 {
        schedules.push(app.schedule(&[("A", 1, 40)], Value::Null).await);
    }
    let requests = (0..240).map(|number: usize| {
        let client = if number.is_multiple_of(2) { app.client() } else { other.client() };
        let schedule = schedules[number % 3].clone();
        async move {
            let seat = format!("A-1-{}", number / 3 % 40 + 1);
            let body = taking(&schedule, &[&seat], &format!("c{number}"));
            taken(&client, &format!("k{number}"), &body).await
        }
    });
    let places = join_all(requests).await;
    tokio::task::block_in_place(|| other.drain());
    let mut succeeded = 0;
    for place in &places {
        let outcome = app.outcome(place).await;
        match outcome["status"].as_str() {
            Some("succeeded") => succeeded += 1,
            _ => assert_eq!(outcome["error"]["code"], "seats_unavailable", "{outcome}"),
        }
    }
    assert_eq!(succeeded, 120, "two wanted each seat");
    app.audit().await;
}

/// A broker accepts requests without the database, and they are executed when it is back.
async fn requests_are_accepted_while_the_primary_is_unavailable(url: &str, name: &str) {
    let server = Postgres::start(&[]);
    let variables = [("QUEUE_MODE", "prefer"), ("QUEUE_URL", url), ("QUEUE_NAME", name)];
    let app = TestApp::full_on(&server.create_database(), &variables).await;
    let schedule = app.row_of(30).await;
    let first = taken(&app, "first", &taking(&schedule, &["A-1-30"], "ada")).await;
    app.outcome(&first).await;
    server.kill();
    let mut places = Vec::new();
    for number in 1..=20 {
        places
            .push(app.queued(&schedule, &[&format!("A-1-{number}")], &format!("c{number}")).await);
    }
    let direct = app.book(&schedule, &["A-1-29"], "ada").await;
    assert_eq!(direct.status, 503, "{direct:?}");
    tokio::task::block_in_place(|| server.restart());
    for place in &places {
        assert_eq!(app.outcome(place).await["status"], "succeeded");
    }
    app.audit().await;
}

/// No consumer runs, and a request expires at its deadline.
async fn a_request_expires_without_workers(url: &str, name: &str) {
    let variables = [
        ("QUEUE_MODE", "prefer"),
        ("QUEUE_URL", url),
        ("QUEUE_NAME", name),
        ("QUEUE_CONSUME", "off"),
        ("QUEUE_DEADLINE", "2s"),
    ];
    let app = Stack::Full.start_with(&variables).await;
    let schedule = app.row_of(1).await;
    let place = taken(&app, "k", &taking(&schedule, &["A-1-1"], "ada")).await;
    let over = app.outcome(&place).await;
    assert_eq!((&over["status"], over.get("place")), (&"expired".into(), None), "{over}");
}

#[cfg(feature = "rabbitmq")]
mod rabbitmq {
    mod full {
        use seatlock::queue::rabbitmq::{RabbitQueue, RabbitSettings};
        use seatlock::queue::{Message, Partition, Queue as _};
        use test_support::{RabbitMq, SOON, eventually, taking};

        use crate::app::Stack;

        /// More unreadable messages than dead letters are allowed: valid requests are executed, dropped messages
        /// are counted, and the process reports that it is degraded.
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn a_full_dead_letter_queue_stops_no_valid_request() {
            const MAX: u64 = 10;
            let broker = broker().await;
            let (url, name, max) = (broker.url(), broker.fresh_name(), MAX.to_string());
            let variables = [
                ("QUEUE_MODE", "prefer"),
                ("QUEUE_URL", url.as_str()),
                ("QUEUE_NAME", &name),
                ("QUEUE_PARTITIONS", "1"),
                ("QUEUE_MAX", &max),
            ];
            let app = Stack::Full.start_with(&variables).await;
            let schedule = app.row_of(2).await;
            let first = super::super::taken(&app, "a", &taking(&schedule, &["A-1-1"], "ada")).await;
            assert_eq!(app.outcome(&first).await["status"], "succeeded");
            let settings = RabbitSettings { url, name, partitions: 1, max: MAX };
            let stranger = RabbitQueue::new(&settings).unwrap();
            let poison = |number: u64| Message { id: format!("p{number}"), body: b"?".to_vec() };
            for number in 0..MAX * 4 {
                let publish = async || stranger.publish(Partition(0), poison(number)).await;
                eventually("an unreadable message", SOON, publish).await;
            }
            let second =
                super::super::taken(&app, "b", &taking(&schedule, &["A-1-2"], "ben")).await;
            assert_eq!(app.outcome(&second).await["status"], "succeeded");
            let executed = |how: &str| format!("seatlock_queue_executed_total{{result=\"{how}\"}}");
            let (parked, dropped) =
                (app.metric(&executed("parked")).await, app.metric(&executed("dropped")).await);
            assert_eq!(parked + dropped, MAX as f64 * 4.0);
            assert!(parked >= MAX as f64 && dropped >= MAX as f64, "{parked} and {dropped}");
            let degraded =
                app.wait_until("/readyz?verbose", |answer| answer.body.contains("degraded")).await;
            assert_eq!(degraded.status, 200);
            assert!(degraded.body.contains("dead letters"), "{}", degraded.body);
            assert_eq!(stranger.dead_letters(100).await.unwrap().len(), parked as usize);
            stranger.close().await;
            app.audit().await;
        }

        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn a_request_expires_without_workers() {
            let broker = broker().await;
            let (url, name) = (broker.url(), broker.fresh_name());
            super::super::a_request_expires_without_workers(&url, &name).await;
        }

        /// Starting a broker would block the runtime.
        async fn broker() -> &'static RabbitMq {
            tokio::task::spawn_blocking(RabbitMq::shared).await.unwrap()
        }

        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn a_crowd_is_served_in_order_and_each_request_once() {
            let broker = broker().await;
            let (url, name) = (broker.url(), broker.fresh_name());
            super::super::a_crowd_is_served_in_order_and_each_request_once(&url, &name).await;
        }

        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn requests_are_accepted_while_the_primary_is_unavailable() {
            let broker = broker().await;
            let (url, name) = (broker.url(), broker.fresh_name());
            super::super::requests_are_accepted_while_the_primary_is_unavailable(&url, &name).await;
        }
    }
}

#[cfg(feature = "kafka")]
mod kafka {
    mod full {
        use rdkafka::mocking::MockCluster;

        /// Three brokers in this process, on TCP.
        fn cluster() -> MockCluster<'static, rdkafka::producer::DefaultProducerContext> {
            let cluster = MockCluster::new(3).unwrap();
            cluster.create_topic("seats", 16, 3).unwrap();
            cluster.create_topic("seats.dead", 1, 3).unwrap();
            cluster
        }

        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn a_request_expires_without_workers() {
            let cluster = cluster();
            let url = format!("kafka://{}", cluster.bootstrap_servers());
            super::super::a_request_expires_without_workers(&url, "seats").await;
        }

        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn a_crowd_is_served_in_order_and_each_request_once() {
            let cluster = cluster();
            let url = format!("kafka://{}", cluster.bootstrap_servers());
            super::super::a_crowd_is_served_in_order_and_each_request_once(&url, "seats").await;
        }

        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn requests_are_accepted_while_the_primary_is_unavailable() {
            let cluster = cluster();
            let url = format!("kafka://{}", cluster.bootstrap_servers());
            super::super::requests_are_accepted_while_the_primary_is_unavailable(&url, "seats")
                .await;
        }
    }
}
