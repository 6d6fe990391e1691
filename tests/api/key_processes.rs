//! API keys on several processes, under a flood of wrong keys, and without the database.

mod full {
    use std::time::Duration;

    use reqwest::Method;
    use test_support::{Client, Postgres, SOON, until};

    use crate::app::{Stack, TestApp};
    use crate::keys::{ADMIN, KEYS, secret, with_admin};
    use crate::processes::both_ready;
    use crate::service::Shared;

    /// A change on one process takes effect on another within about a second, and a new key immediately.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_key_is_known_and_revoked_on_every_process() {
        let shared = Shared::fresh();
        let admin = [("ADMIN_API_KEY", ADMIN)];
        let (one, two) = both_ready(shared.start_with(&admin), shared.start_with(&admin)).await;
        let office = Client::with_key(one.client().address(), ADMIN);
        for round in 0..5 {
            let (id, key) = secret(&office, &format!("shop {round}"), "read").await;
            let elsewhere = Client::with_key(two.client().address(), &key);
            elsewhere.get("/api/v1/events").await.expect(200);
            assert_eq!(office.delete(&format!("{KEYS}/{id}")).await.status, 204);
            Client::with_key(one.client().address(), &key)
                .get("/api/v1/events")
                .await
                .problem(401, "unauthenticated");
            let refused = async || elsewhere.get("/api/v1/events").await.status == 401;
            let took = until("the key is refused", SOON, refused).await;
            assert!(took < Duration::from_secs(2), "{took:?}");
        }
    }

    /// A flood of keys that do not exist sends a few queries in a second, whatever the number of requests.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn wrong_keys_cost_no_query_each() {
        let (app, office) = with_admin(Stack::Full).await;
        app.database.execute("CREATE EXTENSION pg_stat_statements").await;
        let (id, key) = secret(&office, "gone", "read").await;
        office.delete(&format!("{KEYS}/{id}")).await;
        let sql = "SELECT coalesce(sum(s.calls), 0)::bigint FROM pg_stat_statements s
             JOIN pg_database d ON d.oid = s.dbid WHERE d.datname = current_database()
             AND s.query LIKE '%api_key%' AND s.query NOT LIKE '%pg_stat%'";
        let before = app.database.number(sql).await;
        let began = std::time::Instant::now();
        let sends = (0..400).map(|n| {
            // Half of them have no correct check, and half are well formed.
            let key = if n % 2 == 0 { key.clone() } else { format!("sk_live_{n:036}") };
            let client = app.client_with_key(&key);
            async move { client.send(client.request(Method::GET, "/api/v1/events")).await }
        });
        for refused in futures_util::future::join_all(sends).await {
            refused.problem(401, "unauthenticated");
        }
        let seconds = began.elapsed().as_secs_f64();
        let queries = app.database.number(sql).await - before;
        assert!(queries as f64 <= 5.0 + 4.5 * seconds, "{queries} queries in {seconds} s");
    }

    /// Without the database keys are accepted for a time that is configured, and `ADMIN_API_KEY` always is.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn without_the_primary_keys_work_for_a_bounded_time_and_then_again_when_it_is_back() {
        let (postgres, url) = tokio::task::block_in_place(|| {
            let postgres = Postgres::start(&[]);
            let url = postgres.create_database();
            (postgres, url)
        });
        let variables = [("ADMIN_API_KEY", ADMIN), ("API_KEYS_MAX_AGE", "8s")];
        let app = TestApp::full_on(&url, &variables).await;
        let office = app.client_with_key(ADMIN);
        let schedule = office.row_of(1).await;
        let (_, key) = secret(&office, "reader", "read").await;
        let reader = app.client_with_key(&key);
        let map = format!("/api/v1/schedules/{schedule}/availability");
        reader.get(&map).await.expect(200);

        tokio::task::block_in_place(|| postgres.stop());
        let stopped = std::time::Instant::now();
        while stopped.elapsed() < Duration::from_secs(6) {
            reader.get(&map).await.expect(200);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let refused = reader.wait_until(&map, |answer| answer.status != 200).await;
        let detail = refused.problem(503, "dependency_unavailable")["detail"].to_string();
        assert!(detail.contains("API_KEYS_MAX_AGE"), "{detail}");
        office.get(&map).await.expect(200);
        app.client_with_key(&key[1..]).get(&map).await.problem(401, "unauthenticated");

        tokio::task::block_in_place(|| postgres.restart());
        reader.wait_until(&map, |answer| answer.status == 200).await;
    }
}
