//! Metrics of the live streams.

use crate::telemetry::metrics::macros::{labels, metrics};

labels! {
    /// Why a stream ended.
    pub enum StreamEnd {
        /// The listener went away.
        Gone = "gone",
        /// The listener was too slow.
        Slow = "slow",
        /// The service is stopping.
        Draining = "draining",
    }
}

metrics! {
    /// Live streams of seat maps.
    pub struct StreamMetrics("seatlock_stream") {
        /// Listeners now.
        listeners: IntGauge,
        /// Listeners that began with a version they had seen before.
        resumed_total: IntCounter,
        /// Updates, each written once for all the listeners of its schedule.
        updates_total: IntCounter,
        /// Streams ended.
        ended_total: IntCounterVec["reason": StreamEnd],
    }
}

impl StreamMetrics {
    /// Counts a stream that has ended.
    pub fn ended(&self, reason: StreamEnd) {
        self.ended_total.with_label_values(&[reason.as_str()]).inc();
    }
}
