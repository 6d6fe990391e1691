//! Separate processes of the service, as it is shipped, on one database.

use test_support::{Database, Postgres, Redis, Service};

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_seatlock");

/// What several processes of the service share.
pub(crate) struct Shared {
    pub(crate) url: String,
    redis_port: String,
    redis_db: String,
}

impl Shared {
    /// A fresh database of the shared PostgreSQL and of the shared Redis.
    pub(crate) fn fresh() -> Self {
        Self::on(Redis::shared())
    }

    /// A fresh database of the shared PostgreSQL and of this Redis.
    pub(crate) fn on(redis: &Redis) -> Self {
        Self {
            url: Postgres::shared().create_database(),
            redis_port: redis.port().to_string(),
            redis_db: redis.fresh_db().to_string(),
        }
    }

    /// Starts a process on it; [`Service::up`] waits until it is ready.
    pub(crate) fn start(&self) -> Service {
        self.start_with(&self.redis())
    }

    /// Starts a process with the longest allowed timeout for Redis, for a busy machine.
    pub(crate) fn start_with_long_timeouts(&self) -> Service {
        self.start_with(&[&self.redis()[..], &[("LOCK_ROUND_TRIP", "450ms")]].concat())
    }

    fn redis(&self) -> [(&str, &str); 3] {
        [
            ("REDIS_HOST", "127.0.0.1"),
            ("REDIS_PORT", &self.redis_port),
            ("REDIS_DB", &self.redis_db),
        ]
    }

    /// Starts a process without Redis.
    pub(crate) fn start_without_redis(&self) -> Service {
        self.start_with(&[])
    }

    /// Starts a process on the same database with these additional variables.
    pub(crate) fn start_with(&self, more: &[(&str, &str)]) -> Service {
        let usual = [("WRITE_DB_URL", &*self.url), ("DRAIN_DELAY", "1ms")];
        Service::start(&[PROGRAM], &[&usual, more].concat())
    }

    /// Checks every invariant.
    pub(crate) async fn audit(&self) {
        Database::postgres(&self.url).await.audit(PROGRAM).await;
    }
}
