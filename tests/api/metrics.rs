//! The metrics on customers, holds, connections and waiting.

use reqwest::Method;
use serde_json::json;

use crate::app::Stack;

on_both_stacks![
    answers_are_counted_as_customers_see_them,
    holds_alive_are_counted_in_the_database_not_in_the_process,
    connections_are_counted_pool_by_pool,
];

fn series(name: &str, label: &str, value: &str) -> String {
    format!("seatlock_{name}{{{label}=\"{value}\"}}")
}

async fn answers_are_counted_as_customers_see_them(on: Stack) {
    let app = on.start().await;
    let schedule = app.row_of(3).await;
    app.book(&schedule, &["A-1-1"], "anna").await.expect(200);
    let known = series("early_refusals_total", "reason", "known");
    let mut refused = 0.0;
    // The map refuses while it is fresh; on a slow machine the rows may refuse first.
    while app.metric(&known).await == 0.0 {
        app.states(&schedule).await;
        app.book(&schedule, &["A-1-1"], "ben").await.problem(409, "seats_unavailable");
        refused += 1.0;
        assert!(refused < 100.0, "never known");
    }
    let hold = app.hold(&schedule, &["A-1-2"], "ben").await.id(201);
    app.confirm(&hold).await.expect(200);
    app.confirm(&hold).await.expect(200);
    app.confirm("9-01890a5d-ac96-774b-bcce-b302099a8057").await.problem(404, "not_found");
    app.book(&schedule, &["A-9-9"], "ben").await.problem(422, "validation_failed");
    let nonsense = app.request(Method::POST, "/api/v1/holds").json(&json!(null));
    app.send(nonsense.body("{")).await.problem(400, "malformed_json");
    // Neither is a request for seats.
    app.get("/api/v1/bookings/nonsense").await.problem(404, "not_found");
    app.post("/api/v1/bookings/nonsense/cancel", &json!({})).await.problem(404, "not_found");
    for (result, count) in
        [("good", 4.0), ("refused", 2.0 + refused), ("failed", 0.0), ("invalid", 1.0)]
    {
        let counted = series("booking_requests_total", "result", result);
        assert_eq!(app.metric(&counted).await, count, "{result}");
    }
    for (code, count) in [("seats_unavailable", refused), ("not_found", 3.0), ("hold_expired", 0.0)]
    {
        assert_eq!(app.metric(&series("refusals_total", "code", code)).await, count, "{code}");
    }
    assert_eq!(app.metric(&known).await, 1.0);
    assert_eq!(app.metric("seatlock_free_seat_conflicts_total").await, 0.0);
    assert!(app.metric("seatlock_map_staleness_seconds_count").await > 0.0);
    assert!(app.metric("seatlock_row_lock_wait_seconds_count").await >= 3.0);
}

async fn holds_alive_are_counted_in_the_database_not_in_the_process(on: Stack) {
    let app = on.start().await;
    let schedule = app.row_of(3).await;
    app.hold(&schedule, &["A-1-1", "A-1-2"], "ben").await.expect(201);
    let released = app.hold(&schedule, &["A-1-3"], "ben").await.id(201);
    app.delete(&format!("/api/v1/holds/{released}")).await.expect(204);
    // Another process counts at its start, although it has granted no hold itself.
    let other = app.another_replica().await;
    other.metric_above("seatlock_holds", 0.0).await;
    assert_eq!(other.metric("seatlock_holds").await, 1.0);
}

async fn connections_are_counted_pool_by_pool(on: Stack) {
    let app = on.start_with(&[("READ_DB_POOL", "5"), ("WRITE_DB_POOL", "3")]).await;
    let schedule = app.row_of(1).await;
    app.book(&schedule, &["A-1-1"], "anna").await.expect(200);
    app.states(&schedule).await;
    app.wait_until("/readyz", |answer| answer.status == 200).await;
    let (lanes, write) = if on == Stack::Full { (6.0, 3.0) } else { (1.0, 1.0) };
    for (pool, max) in [("lanes", lanes), ("beat", 1.0), ("write", write), ("read", 5.0)] {
        let allowed = app.metric(&series("db_pool_connections_max", "pool", pool)).await;
        assert_eq!(allowed, max, "{pool}");
        let waits = series("db_pool_wait_seconds_count", "pool", pool);
        assert!(app.metric(&waits).await > 0.0, "{pool}");
        // From one reading: between two readings a connection may begin or end its work.
        let text = app.get("/metrics").await.body;
        let of_pool = format!("seatlock_db_pool_connections{{pool=\"{pool}\",state=");
        let states = text.lines().filter(|line| line.starts_with(&of_pool));
        let open: f64 =
            states.map(|line| line.split(' ').next_back().unwrap().parse::<f64>().unwrap()).sum();
        assert!(open >= 1.0 && open <= max, "{pool}: {open}");
        assert_eq!(app.metric(&series("db_pool_timeouts_total", "pool", pool)).await, 0.0);
    }
    let redis = app.metric("seatlock_redis_pool_connections_max").await;
    assert_eq!(redis, if on == Stack::Full { 4.0 } else { 0.0 });
    let idle = series("redis_pool_connections", "state", "idle");
    match on {
        // At a given moment all of them may be at work.
        Stack::Full => app.metric_above(&idle, 0.0).await,
        _ => assert_eq!(app.metric(&idle).await, 0.0),
    }
}

mod full_only {
    use super::*;

    mod full {
        use std::time::Instant;

        use test_support::{Postgres, Redis, SOON, eventually};

        use super::*;
        use crate::app::TestApp;

        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn a_lock_that_keeps_a_free_seat_from_its_buyer_is_counted() {
            let redis = Redis::shared();
            let number = redis.fresh_db();
            let app = TestApp::full_with_shared_redis((redis, number)).await;
            let schedule = app.row_of(2).await;
            // A lock without an owner, as a dead process leaves it.
            let key = format!("{{sch:{schedule}}}:seat:0");
            let stuck =
                ["-n", &number.to_string(), "set", &key, "0000000000000001000000000000000f"];
            assert_eq!(tokio::task::block_in_place(|| redis.cli(&stuck)), "OK");
            let counted = "seatlock_free_seat_conflicts_total";
            let end = Instant::now() + SOON;
            while app.metric(counted).await == 0.0 {
                assert!(Instant::now() < end, "never counted");
                app.states(&schedule).await;
                let refused = app.book(&schedule, &["A-1-1"], "anna").await;
                assert_eq!(refused.conflicts(), ["A-1-1 contended"]);
            }
            assert!(app.metric(&series("early_refusals_total", "reason", "locked")).await > 0.0);
            app.book(&schedule, &["A-1-2"], "anna").await.expect(200);
        }

        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn waiting_for_a_row_is_measured_and_running_out_of_time_is_counted() {
            let url = Postgres::shared().create_database();
            let app = TestApp::full_on(&url, &[("DB_LOCK_TIMEOUT", "600ms")]).await;
            let schedule = app.row_of(1).await;
            let hold = "BEGIN; SELECT number FROM seat FOR UPDATE; SELECT pg_sleep(8); COMMIT";
            let holder = {
                let url = url.clone();
                tokio::task::spawn_blocking(move || Postgres::shared().psql(&url, hold))
            };
            let held = "SELECT count(*) FROM pg_locks WHERE mode = 'RowShareLock' AND relation = 'seat'::regclass";
            eventually("the lock on the row", SOON, async || {
                match app.database.number(held).await {
                    0 => Err("not held"),
                    _ => Ok(()),
                }
            })
            .await;
            let refused = app.book(&schedule, &["A-1-1"], "anna").await;
            refused.problem(503, "dependency_unavailable");
            assert_eq!(app.metric("seatlock_transaction_timeouts_total").await, 1.0);
            let waits = app.metric("seatlock_row_lock_wait_seconds_count").await;
            let short = app.metric(&series("row_lock_wait_seconds_bucket", "le", "0.5")).await;
            assert_eq!((waits, short), (1.0, 0.0));
            assert_eq!(
                app.metric(&series("booking_requests_total", "result", "failed")).await,
                1.0
            );
            holder.await.unwrap();
            app.book(&schedule, &["A-1-1"], "anna").await.expect(200);
        }
    }
}
