//! What operators see: liveness, readiness, metrics, and the service without its dependencies.

use serde_json::{Value, json};
use test_support::{Answer, Redis};

use crate::app::{Stack, TestApp};
use crate::service::PROGRAM;

on_both_stacks![
    a_started_service_is_alive_and_ready,
    requests_are_refused_while_the_schema_lacks_a_migration_step,
    metrics_count_what_happened,
    a_violated_invariant_is_found_in_the_background,
    metrics_can_have_an_address_of_their_own,
    more_requests_than_allowed_are_refused_and_operators_are_not,
    a_request_completes_although_its_client_has_left,
];

async fn a_started_service_is_alive_and_ready(on: Stack) {
    let app = on.start().await;
    assert_eq!(app.get("/livez").await.status, 200);
    let ready = app.wait_until("/readyz", |answer| answer.status == 200).await.json();
    assert_eq!(ready, json!({"status": "ok"}));
    let verbose = app.get("/readyz?verbose").await.expect(200);
    let checks = verbose["checks"].as_object().unwrap();
    let names: Vec<&str> = checks.keys().map(String::as_str).collect();
    let known =
        ["actors", "dead letters", "read database", "schema", "seat locks", "write database"];
    assert_eq!(names, known);
    assert!(checks.values().all(Value::is_null), "{verbose}");
    app.get("/readyz?colour=red").await.problem(400, "invalid_parameter");
}

async fn requests_are_refused_while_the_schema_lacks_a_migration_step(on: Stack) {
    let app = on.start().await;
    app.wait_until("/readyz", |answer| answer.status == 200).await;
    let step = "m20261122_000002_create_reservations";
    // As after a restore from an old backup.
    app.database.execute(&format!("DELETE FROM seaql_migrations WHERE version = '{step}'")).await;
    let refused = app.wait_until("/readyz?verbose", |answer| answer.status == 503).await;
    assert!(refused.header("retry-after").is_some());
    let body = refused.json();
    assert_eq!(
        (&body["status"], &body["reasons"]),
        (&json!("unready"), &json!(["the schema is not supported"]))
    );
    let problem = body["checks"]["schema"].as_str().unwrap();
    assert_eq!(problem, "the schema lacks 1 steps: run `seatlock migrate`");
    assert_eq!(app.get("/livez").await.status, 200);
    assert_eq!(app.metric("seatlock_ready").await, 0.0);
    assert_eq!(app.metric("seatlock_health_check{check=\"schema\"}").await, 0.0);
    let back = format!("INSERT INTO seaql_migrations (version, applied_at) VALUES ('{step}', 1)");
    app.database.execute(&back).await;
    app.wait_until("/readyz", |answer| answer.json() == json!({"status": "ok"})).await;
    assert_eq!(app.metric("seatlock_ready").await, 1.0);
    assert_eq!(app.metric("seatlock_health_check{check=\"schema\"}").await, 1.0);
}

async fn metrics_count_what_happened(on: Stack) {
    let app = on.start().await;
    let schedule = app.row_of(3).await;
    app.book(&schedule, &["A-1-1"], "anna").await.expect(200);
    app.book(&schedule, &["A-1-1"], "ben").await.problem(409, "seats_unavailable");
    app.hold(&schedule, &["A-1-2"], "ben").await.expect(201);
    let command = |kind: &str, outcome: &str| {
        format!("seatlock_commands_total{{kind=\"{kind}\",outcome=\"{outcome}\"}}")
    };
    assert_eq!(app.metric(&command("book", "done")).await, 1.0);
    assert_eq!(app.metric(&command("hold", "done")).await, 1.0);
    let answered = |status| {
        format!(
            "seatlock_http_requests_total{{method=\"POST\",route=\"/api/v1/bookings\",\
             status=\"{status}\"}}"
        )
    };
    assert_eq!(app.metric(&answered(200)).await, 1.0);
    assert_eq!(app.metric(&answered(409)).await, 1.0);
    app.no_later_guard_stepped_in().await;
    let text = app.get("/metrics").await;
    assert!(text.header("content-type").unwrap().starts_with("text/plain; version=0.0.4"));
}

async fn a_violated_invariant_is_found_in_the_background(on: Stack) {
    let app = on.start_with(&[("AUDIT_INTERVAL", "50ms")]).await;
    let violations = |name| format!("seatlock_invariant_violations{{invariant=\"{name}\"}}");
    let rounds = "seatlock_audit_rounds_total";
    let schedules = "seatlock_audit_schedules_total";
    let (one, two) = (app.row_of(2).await, app.row_of(2).await);
    app.book(&one, &["A-1-1"], "anna").await.expect(200);
    app.metric_above(schedules, 1.0).await;
    let quiet = app.metric(rounds).await + 1.0;
    app.metric_above(rounds, quiet).await;
    let audited = app.metric(schedules).await;
    assert_eq!(app.metric(&violations("booking_has_its_seats")).await, 0.0);

    // By hand, and in a schedule that then changes.
    app.database.execute("UPDATE booking SET live_seats = 2").await;
    app.book(&one, &["A-1-2"], "ben").await.expect(200);
    app.metric_above(&violations("booking_has_its_seats"), 0.0).await;
    assert_eq!(app.metric(schedules).await, audited + 1.0, "{two} has not changed");
    assert_eq!(app.metric(&violations("seat_is_sold_once")).await, 0.0);
    app.metric_above(rounds, app.metric(rounds).await + 1.0).await;
    assert_eq!(app.metric(schedules).await, audited + 1.0, "nor has anything since");
    assert_eq!(app.metric(&violations("booking_has_its_seats")).await, 1.0);
    assert_eq!(app.metric("seatlock_audit_failures_total").await, 0.0);
    // `seatlock verify`, which all of these tests use, finds the same.
    assert_eq!(app.database.violations(PROGRAM).await.unwrap().len(), 1);
}

async fn metrics_can_have_an_address_of_their_own(on: Stack) {
    let app = on.start_with(&[("METRICS_BIND", "127.0.0.1:0")]).await;
    app.get("/metrics").await.problem(404, "not_found");
}

async fn more_requests_than_allowed_are_refused_and_operators_are_not(on: Stack) {
    let app = on.start_with(&[("RATE_LIMIT", "2")]).await;
    let mut refused = 0;
    for _ in 0..20 {
        let answer = app.get("/api/v1/events").await;
        if answer.status != 200 {
            let problem = answer.problem(429, "rate_limited");
            assert_eq!(problem["retryable"], true);
            refused += 1;
        }
        assert_eq!(app.get("/livez").await.status, 200);
    }
    assert!(refused > 0);
}

async fn a_request_completes_although_its_client_has_left(on: Stack) {
    let mut app = on.start().await;
    let schedule = app.row_of(60).await;
    for seat in 1..=60 {
        let client = app.new_client();
        let schedule = schedule.clone();
        let gone = tokio::spawn(async move {
            let seat = format!("A-1-{seat}");
            client.book(&schedule, &[&seat], "anna").await
        });
        let patience = std::time::Duration::from_micros(fastrand::u64(0..8_000));
        tokio::time::sleep(patience).await;
        gone.abort();
    }
    // Each seat is sold or free, and the service works.
    let another = app.row_of(1).await;
    app.book(&another, &["A-1-1"], "ben").await.expect(200);
    tokio::task::block_in_place(|| app.drain());
    app.audit().await;
    assert!(app.database.number("SELECT count(*) FROM booking").await > 1);
}

mod full_only {
    use super::*;

    fn degraded(answer: &Answer) -> bool {
        answer.status == 200 && answer.json()["status"] == "degraded"
    }

    async fn sell(app: &TestApp, schedule: &str, seats: std::ops::Range<u32>) {
        for seat in seats {
            let seat = format!("A-1-{seat}");
            app.book(schedule, &[&seat], "anna").await.expect(200);
            app.book(schedule, &[&seat], "ben").await.problem(409, "seats_unavailable");
            app.hold(schedule, &[&seat], "ben").await.problem(409, "seats_unavailable");
        }
    }

    mod full {
        use super::*;

        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn without_redis_the_service_is_degraded_and_sells_on() {
            let redis = Redis::start(&[]);
            let app = TestApp::full_with_redis(&redis).await;
            let schedule = app.row_of(100).await;
            sell(&app, &schedule, 1..10).await;
            let hold = app.hold(&schedule, &["A-1-90"], "anna").await.id(201);
            tokio::task::block_in_place(|| redis.kill());
            sell(&app, &schedule, 10..40).await;
            let body = app.wait_until("/readyz", degraded).await.json();
            assert!(body["reasons"][0].as_str().unwrap().starts_with("seat locks: "), "{body}");
            sell(&app, &schedule, 40..60).await;
            // Losing Redis loses no hold.
            let refused = app.book(&schedule, &["A-1-90"], "ben").await;
            assert_eq!(refused.conflicts(), ["A-1-90 held"]);

            tokio::task::block_in_place(|| redis.restart());
            let back = |answer: &Answer| answer.json() == json!({"status": "ok"});
            app.wait_until("/readyz", back).await;
            sell(&app, &schedule, 60..80).await;
            assert_eq!(app.book(&schedule, &["A-1-90"], "ben").await.status, 409);
            app.confirm(&hold).await.expect(200);
            app.audit().await;
        }
    }
}
