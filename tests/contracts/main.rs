//! What every backend promises, checked against each of them: seat locks and stores.
//!
//! `embedded` needs nothing but this process; `full` starts PostgreSQL and Redis.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

#[path = "../database/mod.rs"]
mod database;
mod locks;
mod shared_maps;
mod store;

mod embedded {
    use seatlock::lock::in_process::InProcessLocks;

    #[tokio::test]
    async fn seat_locks_in_this_process_keep_every_promise() {
        crate::locks::every_promise(&InProcessLocks::new()).await;
    }
}

mod full {
    use std::sync::Arc;
    use std::time::Duration;

    use seatlock::lock::guarded::{GuardSettings, Guarded};
    use seatlock::lock::redis::RedisLocks;
    use seatlock::metrics::Metrics;
    use seatlock::redis::{Address, Form, Redis, RedisSettings};

    /// Long enough for a busy machine: what is checked here are answers, not time-outs.
    const PATIENCE: Duration = Duration::from_secs(5);

    fn redis_locks() -> RedisLocks {
        let redis = test_support::Redis::shared();
        let address = Address { host: "127.0.0.1".to_owned(), port: redis.port() };
        let settings = RedisSettings {
            form: Form::Standalone { address, db: i64::from(redis.fresh_db()) },
            username: None,
            password: None,
            tls: None,
            pool_size: 4,
            round_trip: PATIENCE,
        };
        RedisLocks::new(Redis::new(&settings).unwrap())
    }

    #[tokio::test]
    async fn seat_locks_in_redis_keep_every_promise() {
        crate::locks::every_promise(&redis_locks()).await;
    }

    #[tokio::test]
    async fn seat_locks_behind_the_guard_keep_every_promise() {
        let settings = GuardSettings { budget: PATIENCE, ..GuardSettings::default() };
        let metrics = Arc::new(Metrics::new().unwrap());
        crate::locks::every_promise(&Guarded::new(redis_locks(), settings, metrics)).await;
    }
}
