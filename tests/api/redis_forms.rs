//! The service with Redis Sentinel and with Redis Cluster: buyers compete, and one gets the seat.

mod full {
    use test_support::{Access, Redis, RedisCluster, Sentinels};
    use tokio::task::block_in_place;

    use crate::processes::{both_ready, compete};
    use crate::service::Shared;

    /// For `REDIS_NODES`.
    fn addresses(servers: &[Redis]) -> String {
        let all: Vec<_> =
            servers.iter().map(|server| format!("127.0.0.1:{}", server.port())).collect();
        all.join(",")
    }

    /// Two processes with these variables sell a row, and no seat twice; their locks have been used.
    async fn a_row_is_sold(redis: &[(&str, &str)]) {
        let shared = Shared::fresh();
        // With a margin for a busy machine: the test is about the locks, not about their bypass.
        let variables = [redis, &[("LOCK_ROUND_TRIP", "400ms")]].concat();
        let (one, two) =
            both_ready(shared.start_with(&variables), shared.start_with(&variables)).await;
        compete(&[&one, &two]).await;
        for service in [&one, &two] {
            let asked = "seatlock_seat_lock_requests_total";
            let outcome = |name| format!("{asked}{{outcome=\"{name}\"}}");
            let locked = service.client().metric(&outcome("acquired")).await;
            let busy = service.client().metric(&outcome("busy")).await;
            let failed = service.client().metric(&outcome("error")).await;
            assert!(locked + busy > 0.0, "the locks were not used");
            assert_eq!(failed, 0.0);
        }
        shared.audit().await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_row_is_sold_with_locks_behind_sentinels() {
        let access = Access::by_password("sesame");
        let all = block_in_place(|| Sentinels::start(&access, Some("barley")));
        a_row_is_sold(&[
            ("REDIS_MODE", "sentinel"),
            ("REDIS_NODES", &addresses(all.sentinels())),
            ("REDIS_SENTINEL_MASTER", all.name()),
            ("REDIS_SENTINEL_PASSWORD", "barley"),
            ("REDIS_PASSWORD", "sesame"),
            ("REDIS_DB", "5"),
        ])
        .await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_row_is_sold_with_locks_in_an_encrypted_cluster() {
        let access = Access::encrypted("sesame");
        let cluster = block_in_place(|| RedisCluster::start(&access, false));
        let ca = access.certificates.as_ref().unwrap().ca();
        a_row_is_sold(&[
            ("REDIS_MODE", "cluster"),
            ("REDIS_NODES", &addresses(&cluster.nodes()[..2])),
            ("REDIS_USERNAME", "default"),
            ("REDIS_PASSWORD", "sesame"),
            ("REDIS_TLS", "on"),
            ("REDIS_TLS_CA", &ca.to_string_lossy()),
        ])
        .await;
    }
}
