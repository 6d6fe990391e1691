//! Metrics of connection pools: the database's by pool, and those to Redis.

use std::time::Duration;

use crate::telemetry::metrics::REQUEST_SECONDS;
use crate::telemetry::metrics::macros::{labels, metrics};

labels! {
    /// The pools of connections to the database.
    pub enum Pool {
        /// One connection for each booking lane.
        Lanes = "lanes",
        /// The heartbeat's.
        Beat = "beat",
        /// All other writes: the box office, sweeps, and reads of the primary.
        Write = "write",
        /// Reads, where reads go.
        Read = "read",
    }
}

labels! {
    /// What a connection is doing.
    pub enum ConnectionState {
        /// Working for somebody.
        InUse = "in_use",
        /// Waiting for work.
        Idle = "idle",
    }
}

metrics! {
    /// Pools of connections to the database.
    pub struct PoolMetrics("seatlock_db_pool") {
        /// Connections open now, by what they are doing.
        connections: IntGaugeVec["pool": Pool, "state": ConnectionState],
        /// Connections that a pool may have.
        connections_max: IntGaugeVec["pool": Pool],
        /// Time until work had its first connection, a new one's log-in included, in seconds; not of
        /// work that got none.
        wait_seconds: HistogramVec["pool": Pool; buckets REQUEST_SECONDS],
        /// Work that got no connection within DB_POOL_WAIT, because all were in use or the database was
        /// away.
        timeouts_total: IntCounterVec["pool": Pool],
    }
}

metrics! {
    /// Connections to Redis, all servers together; subscriptions have connections of their own besides.
    pub struct RedisPoolMetrics("seatlock_redis_pool") {
        /// Connections open now, by what they are doing.
        connections: IntGaugeVec["state": ConnectionState],
        /// Connections that the pools of the servers known now may have; 0 before the first is asked.
        connections_max: IntGauge,
        /// Calls waiting for a connection now.
        waiting: IntGauge,
    }
}

impl PoolMetrics {
    /// Sets how many connections a pool has and may have.
    pub fn set(&self, pool: Pool, (in_use, idle, max): (u64, u64, u64)) {
        let pool = pool.as_str();
        let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        for (state, number) in [(ConnectionState::InUse, in_use), (ConnectionState::Idle, idle)] {
            self.connections.with_label_values(&[pool, state.as_str()]).set(count(number));
        }
        self.connections_max.with_label_values(&[pool]).set(count(max));
    }

    /// Notes that work had to wait so long for its first connection.
    pub fn waited(&self, pool: Pool, wait: Duration) {
        self.wait_seconds.with_label_values(&[pool.as_str()]).observe(wait.as_secs_f64());
    }

    /// Counts work that got no connection in time.
    pub fn timed_out(&self, pool: Pool) {
        self.timeouts_total.with_label_values(&[pool.as_str()]).inc();
    }
}

impl RedisPoolMetrics {
    /// Sets how many connections there are and may be, and how many calls wait for one.
    pub fn set(&self, (in_use, idle, max): (usize, usize, usize), waiting: usize) {
        let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        for (state, number) in [(ConnectionState::InUse, in_use), (ConnectionState::Idle, idle)] {
            self.connections.with_label_values(&[state.as_str()]).set(count(number));
        }
        self.connections_max.set(count(max));
        self.waiting.set(count(waiting));
    }
}
