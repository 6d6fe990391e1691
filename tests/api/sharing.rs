//! Processes that share a Redis: a cold map starts from a shared one, and commits are announced immediately.

use std::time::Duration;

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use test_support::{Client, Postgres, Redis};

use crate::app::TestApp;
use crate::listener::Listener;
use crate::service::Shared;

/// How often the service has read all seats of a schedule from a database.
fn readings_of_all_seats(url: &str) -> u32 {
    let name = url.rsplit_once('/').unwrap().1;
    let sql = format!(
        "SELECT coalesce(sum(calls), 0) FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid
         WHERE d.datname = '{name}' AND query LIKE '%s.held_until%' AND query LIKE '%FROM schedule_version v%'"
    );
    let postgres = Postgres::shared();
    postgres.psql("postgres", "CREATE EXTENSION IF NOT EXISTS pg_stat_statements");
    postgres.psql("postgres", &sql).trim().parse().unwrap()
}

/// Reads a map with this many concurrent readers. All must get the same map, as new as the client has seen.
async fn stampede(client: &Client, schedule: &str, readers: usize) -> Value {
    let path = format!("/api/v1/schedules/{schedule}/availability?min_version=2");
    let answers = (0..readers).map(|_| client.get(&path));
    let answers: Vec<Value> =
        join_all(answers).await.iter().map(|answer| answer.expect(200)).collect();
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]));
    answers[0].clone()
}

/// The value of a metric as soon as it is not zero.
async fn some(client: &Client, series: &str) -> f64 {
    client.metric_above(series, 0.0).await;
    client.metric(series).await
}

const HITS: &str = "seatlock_map_cache_looks_total{outcome=\"hit\"}";
const STALE: &str = "seatlock_map_cache_looks_total{outcome=\"stale\"}";
const KEPT: &str = "seatlock_map_cache_shares_total{outcome=\"kept\"}";

mod full {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn two_thousand_readers_of_a_cold_map_cost_one_reading_of_its_seats() {
        let shared = Shared::fresh();
        let one = shared.start_without_redis().up().await;
        let schedule = one.client().schedule(&[("A", 50, 100)], Value::Null).await;
        one.client().book(&schedule, &["A-7-7"], "anna").await.expect(200);
        let two = shared.start_without_redis().up().await;
        let before = readings_of_all_seats(&shared.url);
        let map = stampede(two.client(), &schedule, 2_000).await;
        assert_eq!(map["counts"]["booked"], 1);
        assert_eq!(readings_of_all_seats(&shared.url) - before, 1);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_cold_map_starts_from_the_map_that_another_process_has_shared() {
        let shared = Shared::fresh();
        let one = shared.start_with_long_timeouts().up().await;
        let schedule = one.client().schedule(&[("A", 50, 100)], Value::Null).await;
        one.client().book(&schedule, &["A-7-7"], "anna").await.expect(200);
        stampede(one.client(), &schedule, 1).await;
        assert!(some(one.client(), KEPT).await >= 1.0);
        let mut two = shared.start_with_long_timeouts().up().await;
        two.shares_customers_with(&one);
        let before = readings_of_all_seats(&shared.url);
        let map = stampede(two.client(), &schedule, 2_000).await;
        assert_eq!(map["counts"]["booked"], 1);
        assert_eq!(readings_of_all_seats(&shared.url), before, "the journal was enough");
        assert_eq!(two.client().metric(HITS).await, 1.0);
        // The change after the map was shared is shown as well.
        one.client().book(&schedule, &["A-8-8"], "ben").await.expect(200);
        assert_eq!(two.client().schedule_now(&schedule).await["counts"]["booked"], 2);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_commit_of_one_process_is_announced_to_the_other() {
        let shared = Shared::fresh();
        let (one, two) = (shared.start(), shared.start());
        let (one, two) = (one.up().await, two.up().await);
        let schedule = one.client().row_of(20).await;
        let mut listener = Listener::begin(two.client(), &schedule).await;
        for seat in 1..=20 {
            let booked = one.client().book(&schedule, &[&format!("A-1-{seat}")], "anna").await;
            booked.expect(200);
            listener.until_booked(seat).await;
        }
        // The journal may have delivered the last commit before its announcement, and one announcement covers all
        // commits since the one before.
        two.client().metric_above("seatlock_map_cache_news_total", 9.0).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_schedule_of_another_database_under_the_same_number_is_never_mistaken() {
        let redis = (Redis::shared(), Redis::shared().fresh_db());
        let old = TestApp::full_with_shared_redis(redis).await;
        let schedule = old.row_of(4).await;
        old.book(&schedule, &["A-1-1", "A-1-2"], "anna").await.expect(200);
        assert_eq!(old.states(&schedule).await, "bo bo av av ");
        assert!(some(&old, KEPT).await >= 1.0);
        drop(old);
        let new = TestApp::full_with_shared_redis(redis).await;
        assert_eq!(new.row_of(4).await, schedule, "the same number");
        assert_eq!(new.states(&schedule).await, "av av av av ");
        new.book(&schedule, &["A-1-4"], "ben").await.expect(200);
        assert_eq!(new.states(&schedule).await, "av av av bo ");
        new.no_later_guard_stepped_in().await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn wrong_data_in_redis_misleads_no_reader() {
        let redis = (Redis::shared(), Redis::shared().fresh_db());
        let app = TestApp::full_with_shared_redis(redis).await;
        let schedule = app.row_of(4).await;
        app.book(&schedule, &["A-1-1"], "anna").await.expect(200);
        assert!(some(&app, KEPT).await >= 1.0);
        let number = redis.1.to_string();
        let tamper = |arguments: &[&str]| {
            Redis::shared().cli(&[&["-n", number.as_str()], arguments].concat());
        };
        // A version that does not exist with a map of it, and then repeated announcements of future versions.
        let map = format!("{{sch:{schedule}}}:map");
        tamper(&["HSET", &map, "version", "900"]);
        tamper(&["SET", &format!("{map}:told"), "900"]);
        let other = app.another_replica().await;
        for _ in 0..20 {
            tamper(&["PUBLISH", &format!("seatlock:maps:{number}"), &format!("{schedule}:900")]);
            assert_eq!(other.states(&schedule).await, "bo av av av ");
        }
        assert_eq!(other.metric(STALE).await, 1.0);
        other.book(&schedule, &["A-1-2"], "ben").await.expect(200);
        assert_eq!(other.states(&schedule).await, "bo bo av av ");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn maps_shared_before_an_outage_of_redis_are_not_used_after_it() {
        let redis = Redis::start(&[("appendonly", "yes"), ("appendfsync", "always")]);
        let app = TestApp::full_with_redis(&redis).await;
        let schedule = app.row_of(6).await;
        app.book(&schedule, &["A-1-1"], "anna").await.expect(200);
        assert!(some(&app, KEPT).await >= 1.0);
        tokio::task::block_in_place(|| redis.kill());
        for seat in 2..=6 {
            app.book(&schedule, &[&format!("A-1-{seat}")], "ben").await.expect(200);
        }
        some(&app, "seatlock_seat_lock_breaker_transitions_total{to=\"open\"}").await;
        tokio::task::block_in_place(|| redis.restart());
        assert_eq!(some(&app, "seatlock_map_cache_epochs_total").await, 1.0);
        assert_eq!(app.states(&schedule).await, "bo ".repeat(6));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn without_redis_a_listener_still_gets_the_changes_of_another_process() {
        let shared = Shared::fresh();
        let (one, two) = (shared.start_without_redis(), shared.start_without_redis());
        let (one, two) = (one.up().await, two.up().await);
        let schedule = one.client().row_of(3).await;
        let mut listener = Listener::begin(two.client(), &schedule).await;
        let request = one
            .client()
            .request(Method::POST, "/api/v1/bookings")
            .json(&json!({"schedule_id": schedule, "seats": ["A-1-3"], "customer_id": "anna"}));
        one.client().send(request).await.expect(200);
        tokio::time::timeout(Duration::from_secs(10), listener.until_booked(1)).await.unwrap();
    }
}
