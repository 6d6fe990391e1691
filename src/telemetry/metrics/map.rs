//! Metrics of the seat maps in memory.

use crate::telemetry::metrics::SIZES;
use crate::telemetry::metrics::macros::metrics;

/// Bucket edges for the age of states, in seconds. Up to 0.2 s no read is needed. From 0.45 s on, answers wait for a
/// read, and a map refuses no seats.
pub const STALENESS_SECONDS: [f64; 13] =
    [0.01, 0.025, 0.05, 0.1, 0.2, 0.45, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

metrics! {
    /// Seat maps in memory.
    pub struct MapMetrics("seatlock_map") {
        /// Age of the states in answers, in seconds since they were last verified to be the newest. Above
        /// 0.5 only while no database answers. The answer of a map with more than 5,000 seats may be a
        /// quarter of a second older.
        staleness_seconds: Histogram[buckets STALENESS_SECONDS],
        /// Versions that a map was behind the journal when it was refreshed, because of other processes'
        /// commits or of a local commit in the meantime; a map that was not behind does not count.
        behind_versions: Histogram[buckets SIZES],
        /// Bytes of the seat maps in memory: layouts, states and encoded answers. At most `SEAT_MAP_MEMORY`.
        memory_bytes: IntGauge,
        /// Schedules whose seat maps are in memory.
        loaded: IntGauge,
        /// Seat maps that were dropped from memory because the maps were larger than `SEAT_MAP_MEMORY`. If this grows
        /// steadily, the maps in use do not fit: each is read again when it is needed.
        evictions_total: IntCounter,
        /// Age of the newest heartbeat in the read database, in seconds: up to about 1 without lag, 0 without
        /// a separate read database. Above 2.5 reads go to the primary instead.
        replica_lag_seconds as "seatlock_replica_lag_seconds": Gauge,
    }
}
