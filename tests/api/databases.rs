//! A replica that lags or dies, and a primary that is unavailable: what is read, what is refused, and that reads
//! and writes recover without intervention.

mod full {
    use std::time::{Duration, Instant};

    use serde_json::json;
    use test_support::{Answer, Postgres, eventually};

    use crate::app::TestApp;

    /// Long enough for heartbeats, probes and connections on a loaded machine.
    const SOON: Duration = Duration::from_secs(20);

    async fn until_booked(app: &TestApp, schedule: &str, seat: &str) {
        eventually("a booking", SOON, async || {
            let answer = app.book(schedule, &[seat], "carl").await;
            assert!([200, 503].contains(&answer.status), "{answer:?}");
            if answer.status == 200 { Ok(()) } else { Err(answer) }
        })
        .await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_lagging_replica_is_not_trusted_and_a_dead_one_is_replaced_by_the_primary() {
        let (primary, standby, url) = tokio::task::block_in_place(|| {
            let primary = Postgres::start(&[]);
            let url = primary.create_database();
            let standby = primary.standby();
            (primary, standby, url)
        });
        let app = TestApp::full_on(&url, &[("READ_DB_URL", &standby.url(&url))]).await;
        let schedule = app.row_of(4).await;
        tokio::task::block_in_place(|| standby.pause_replay());
        let booking = app.book(&schedule, &["A-1-1"], "anna").await.id(200);
        assert_eq!(app.states(&schedule).await, "bo av av av ", "the buyer sees the booking");
        app.get(&format!("/api/v1/bookings/{booking}")).await.expect(200);
        // A schedule that has not reached the replica is found all the same.
        let later = app.row_of(2).await;
        app.book(&later, &["A-1-2"], "ben").await.expect(200);
        assert_eq!(app.states(&later).await, "av bo ");
        // A reader that has seen a version reads claims that are at least as new.
        let cancelled = app.cancel(&booking, None).await;
        let version = cancelled.header("x-seatlock-version").unwrap().to_owned();
        let path = format!("/api/v1/bookings/{booking}");
        let read = app.get(&format!("{path}?min_version={version}")).await;
        assert_eq!(read.expect(200)["status"], "cancelled");
        let request = app.request(reqwest::Method::GET, &path);
        let request = request.header("x-seatlock-min-version", &version);
        assert_eq!(app.send(request).await.expect(200)["status"], "cancelled");
        let list = format!("/api/v1/bookings?schedule_id={schedule}&min_version={version}");
        assert_eq!(app.get(&list).await.expect(200)["items"][0]["status"], "cancelled");
        let booking = app.book(&schedule, &["A-1-1"], "anna").await.id(200);
        app.metric_above("seatlock_replica_lag_seconds", 2.5).await;
        let lags = |answer: &Answer| answer.json()["reasons"].to_string().contains("s behind");
        assert_eq!(app.wait_until("/readyz", lags).await.json()["status"], "degraded");

        tokio::task::block_in_place(|| standby.kill());
        app.book(&schedule, &["A-1-2"], "ben").await.expect(200);
        assert_eq!(app.states(&schedule).await, "bo bo av av ");
        app.get(&format!("/api/v1/bookings/{booking}")).await.expect(200);
        let degraded =
            |answer: &Answer| answer.status == 200 && answer.json()["status"] == "degraded";
        app.wait_until("/readyz", degraded).await;

        tokio::task::block_in_place(|| standby.restart());
        app.wait_until("/readyz", |answer| answer.json() == json!({"status": "ok"})).await;
        app.book(&schedule, &["A-1-3"], "anna").await.expect(200);
        assert_eq!(app.states(&schedule).await, "bo bo bo av ");
        app.audit().await;
        drop(primary);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_replica_that_was_promoted_on_its_own_is_not_trusted() {
        let (primary, standby, url) = tokio::task::block_in_place(|| {
            let primary = Postgres::start(&[]);
            let url = primary.create_database();
            let standby = primary.standby();
            (primary, standby, url)
        });
        let read_url = standby.url(&url);
        let variables = [("READ_DB_URL", read_url.as_str())];
        let app = TestApp::full_on(&url, &variables).await;
        let schedule = app.row_of(4).await;
        app.book(&schedule, &["A-1-1"], "anna").await.expect(200);
        tokio::task::block_in_place(|| {
            standby.wait_until_caught_up(SOON);
            standby.promote();
        });
        app.book(&schedule, &["A-1-2"], "ben").await.expect(200);
        // This sale exists only on the promoted replica.
        let elsewhere =
            "UPDATE seat SET state = 2, booking_id = gen_random_uuid() WHERE number = 3";
        tokio::task::block_in_place(|| standby.psql(&read_url, elsewhere));
        // It gets no heartbeats of the primary any more, by which the service finds out.
        tokio::time::sleep(Duration::from_secs(3)).await;
        let path = format!("/api/v1/schedules/{schedule}/availability");
        let cold = app.another_replica().await;
        for _ in 0..20 {
            assert_eq!(cold.get(&path).await.expect(200)["counts"]["booked"], 2);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        app.book(&schedule, &["A-1-4"], "cleo").await.expect(200);
        assert_eq!(app.states(&schedule).await, "bo bo av bo ");
        app.audit().await;
        drop(primary);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn no_read_fails_because_pooled_connections_were_cut() {
        let url = Postgres::shared().create_database();
        let app = TestApp::full_on(&url, &[]).await;
        let schedule = app.row_of(4).await;
        let booking = app.book(&schedule, &["A-1-1"], "anna").await.id(200);
        let bookings = format!("/api/v1/bookings?schedule_id={schedule}");
        let map = format!("/api/v1/schedules/{schedule}/availability");
        for _ in 0..5 {
            // Several concurrent reads, so that several connections are idle in the pool afterwards.
            let reads = (0..8).map(|_| app.get(&bookings));
            futures_util::future::join_all(reads).await;
            let cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                       WHERE datname = current_database() AND pid <> pg_backend_pid()";
            tokio::task::block_in_place(|| Postgres::shared().psql(&url, cut));
            tokio::time::sleep(Duration::from_millis(500)).await;
            let map = app.get(&map).await;
            assert_eq!((map.status, map.header("x-seatlock-stale")), (200, None), "{map:?}");
            app.get(&format!("/api/v1/bookings/{booking}")).await.expect(200);
            app.get(&bookings).await.expect(200);
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn without_the_primary_maps_are_read_and_writes_are_refused_until_it_is_back() {
        let (primary, url) = tokio::task::block_in_place(|| {
            let primary = Postgres::start(&[]);
            let url = primary.create_database();
            (primary, url)
        });
        let app = TestApp::full_on(&url, &[]).await;
        let schedule = app.row_of(4).await;
        app.book(&schedule, &["A-1-1"], "anna").await.expect(200);
        assert_eq!(app.states(&schedule).await, "bo av av av ");
        let hold = app.hold(&schedule, &["A-1-2"], "ben").await.id(201);
        app.states(&schedule).await;

        tokio::task::block_in_place(|| primary.kill());
        let refused = |answer: &Answer| {
            answer.status == 200 && answer.json()["reasons"].to_string().contains("write database")
        };
        app.wait_until("/readyz", refused).await;
        let end = Instant::now() + SOON;
        loop {
            let answer = app.book(&schedule, &["A-1-3"], "anna").await;
            assert_eq!((answer.status, answer.json()["effect"].clone()), (503, json!("none")));
            assert!(answer.header("retry-after").is_some());
            if answer.json()["code"] == "read_only" {
                break;
            }
            assert!(Instant::now() < end, "{answer:?}");
        }
        assert_eq!(app.metric("seatlock_read_only").await, 1.0);
        assert_eq!(app.metric("seatlock_ready").await, 1.0, "reads continue");
        assert_eq!(app.metric("seatlock_health_check{check=\"write_database\"}").await, 0.0);
        assert!(app.metric("seatlock_db_pool_timeouts_total{pool=\"beat\"}").await > 0.0);
        assert!(app.metric("seatlock_booking_requests_total{result=\"failed\"}").await > 0.0);
        assert!(app.metric("seatlock_early_refusals_total{reason=\"read_only\"}").await > 0.0);
        let map = app.map(&schedule, "seats").await;
        let path = format!("/api/v1/schedules/{schedule}");
        for rest in ["", "/seats", "/availability", "/seats?limit=2", "/seats?section=A"] {
            let answer = app.get(&format!("{path}{rest}")).await;
            let stale = answer.header("x-seatlock-stale").map(|age| age.parse::<u32>().unwrap());
            assert!(answer.status == 200 && stale >= Some(1), "{rest}: {answer:?}");
        }
        let stream = app.request(reqwest::Method::GET, &format!("{path}/stream"));
        assert!(app.open(stream).await.headers().contains_key("x-seatlock-stale"));
        assert_eq!(map.expect(200)["seats"][1]["status"], "held");
        app.get(&format!("/api/v1/schedules/{schedule}/seats?min_version=99"))
            .await
            .problem(503, "dependency_unavailable");

        tokio::task::block_in_place(|| primary.restart());
        until_booked(&app, &schedule, "A-1-3").await;
        assert_eq!(app.metric("seatlock_read_only").await, 0.0);
        app.confirm(&hold).await.expect(200);
        assert_eq!(app.states(&schedule).await, "bo bo bo av ");
    }
}
