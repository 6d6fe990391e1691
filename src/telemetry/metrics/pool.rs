//! Metrics of connection pools: those of the database, by pool, and those of Redis.

use std::time::Duration;

use strum::{AsRefStr, VariantNames};

use crate::telemetry::metrics::REQUEST_SECONDS;
use crate::telemetry::metrics::macros::metrics;

/// The pools of connections to the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, AsRefStr, VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum Pool {
    /// Two connections for each booking lane; one for SQLite.
    Lanes,
    /// The connection of the heartbeat.
    Beat,
    /// All other writes: the admin API, sweeps, and reads of the primary.
    Write,
    /// Reads, from the replica if there is one.
    Read,
}

/// Whether a connection is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, AsRefStr, VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum ConnectionState {
    /// In use.
    InUse,
    /// Idle.
    Idle,
}

metrics! {
    /// Pools of connections to the database.
    pub struct PoolMetrics("seatlock_db_pool") {
        /// Connections open now, by what they are doing.
        connections: IntGaugeVec["pool": Pool, "state": ConnectionState],
        /// Connections that a pool may have.
        connections_max: IntGaugeVec["pool": Pool],
        /// Time until a caller had its first connection, the log-in of a new one included, in seconds;
        /// callers that got none do not count.
        wait_seconds: HistogramVec["pool": Pool; buckets REQUEST_SECONDS],
        /// Callers that got no connection within DB_POOL_WAIT, because all were in use or the database was
        /// unavailable.
        timeouts_total: IntCounterVec["pool": Pool],
    }
}

metrics! {
    /// Connections to Redis, all servers together, without those of subscriptions.
    pub struct RedisPoolMetrics("seatlock_redis_pool") {
        /// Connections open now, by what they are doing.
        connections: IntGaugeVec["state": ConnectionState],
        /// Connections that the pools of the present servers may have; 0 before the first call.
        connections_max: IntGauge,
        /// Calls waiting for a connection now.
        waiting: IntGauge,
    }
}

impl PoolMetrics {
    /// Sets how many connections a pool has and may have.
    pub fn set(&self, pool: Pool, in_use: u64, idle: u64, max: u64) {
        let pool = pool.as_ref();
        let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        for (state, number) in [(ConnectionState::InUse, in_use), (ConnectionState::Idle, idle)] {
            self.connections.with_label_values(&[pool, state.as_ref()]).set(count(number));
        }
        self.connections_max.with_label_values(&[pool]).set(count(max));
    }

    /// Records how long a caller waited for its first connection.
    pub fn waited(&self, pool: Pool, wait: Duration) {
        self.wait_seconds.with_label_values(&[pool]).observe(wait.as_secs_f64());
    }

    /// Counts a caller that got no connection in time.
    pub fn timed_out(&self, pool: Pool) {
        self.timeouts_total.with_label_values(&[pool]).inc();
    }
}

impl RedisPoolMetrics {
    /// Sets how many connections there are and may be, and how many calls wait for one.
    pub fn set(&self, in_use: usize, idle: usize, max: usize, waiting: usize) {
        let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        for (state, number) in [(ConnectionState::InUse, in_use), (ConnectionState::Idle, idle)] {
            self.connections.with_label_values(&[state]).set(count(number));
        }
        self.connections_max.set(count(max));
        self.waiting.set(count(waiting));
    }
}
