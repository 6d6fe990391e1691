//! Metrics of the connection pools.

use super::macros::{labels, metrics};

labels! {
    /// The pools.
    pub enum Pool {
        /// The primary database, for commands.
        Write = "write",
        /// The read replica, or the primary for reads.
        Read = "read",
        /// Redis.
        Redis = "redis",
    }
}

labels! {
    /// What a pool's connection does.
    pub enum ConnectionState {
        /// It is free.
        Idle = "idle",
        /// It is lent.
        Used = "used",
    }
}

metrics! {
    /// Connection pools.
    pub struct PoolMetrics("seatlock_pool") {
        /// Open connections now.
        connections: IntGaugeVec["pool": Pool, "state": ConnectionState],
        /// Times that no connection became free in time.
        timeouts_total: IntCounterVec["pool": Pool],
    }
}

impl PoolMetrics {
    /// Sets how many connections are open and how many of those are idle.
    pub fn set_connections(&self, pool: Pool, open: usize, idle: usize) {
        for (state, count) in
            [(ConnectionState::Idle, idle), (ConnectionState::Used, open.saturating_sub(idle))]
        {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            self.connections.with_label_values(&[pool.as_str(), state.as_str()]).set(count);
        }
    }

    /// Counts a wait for a connection that ended without one.
    pub fn timed_out(&self, pool: Pool) {
        self.timeouts_total.with_label_values(&[pool.as_str()]).inc();
    }
}
