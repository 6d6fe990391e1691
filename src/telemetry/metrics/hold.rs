//! Metrics of the sweep that writes the expiry of holds to the journal.

use crate::telemetry::metrics::macros::metrics;

/// Bucket edges for the delay of a written expiry, in seconds.
pub const LAG_SECONDS: [f64; 10] = [0.05, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0];

metrics! {
    /// The sweep of expired holds.
    pub struct HoldMetrics("seatlock_hold") {
        /// Active holds in the whole database: every process has the same value, so take the maximum,
        /// never the sum. Counted every ten seconds.
        alive as "seatlock_holds": IntGauge,
        /// Sweeps begun.
        sweeps_total: IntCounter,
        /// Holds whose expiry a sweep wrote.
        swept_total: IntCounter,
        /// Time from a hold's end until its expiry was written, in seconds.
        expiry_lag_seconds: Histogram[buckets LAG_SECONDS],
    }
}
