//! Metrics of the seat maps in memory: how old is what they tell.

use crate::telemetry::metrics::SIZES;
use crate::telemetry::metrics::macros::metrics;

/// Bucket edges for the age of states, in seconds: 0.2 s are believed without asking, 0.45 s answered
/// while somebody asks, 1 s is the promise for refusals.
pub const STALENESS_SECONDS: [f64; 13] =
    [0.01, 0.025, 0.05, 0.1, 0.2, 0.45, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

metrics! {
    /// Seat maps in memory.
    pub struct MapMetrics("seatlock_map") {
        /// Age of the states that answers are made of: time since they were known to be the newest, in
        /// seconds. Above 0.5 only while no database can be asked. Of a map with more than 5,000 seats an
        /// answer may be a quarter of a second older than that.
        staleness_seconds: Histogram[buckets STALENESS_SECONDS],
        /// Versions that a map was behind the journal when it asked, because of other processes' commits;
        /// a map that was not behind does not count. A local commit that came meanwhile does.
        behind_versions: Histogram[buckets SIZES],
        /// Age of the newest heartbeat that the read database has seen, in seconds: up to about 1 without
        /// any lag. 0 without a read database of its own. Beyond 2.5 the primary is asked instead.
        replica_lag_seconds as "seatlock_replica_lag_seconds": Gauge,
    }
}
