//! Metrics of the live streams.

use strum::{AsRefStr, VariantNames};

use crate::telemetry::metrics::macros::metrics;

/// Why a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, AsRefStr, VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum StreamEnd {
    /// The listener disconnected.
    Gone,
    /// The listener was too slow.
    Slow,
    /// The service is stopping.
    Draining,
}

metrics! {
    /// Live streams of seat maps.
    pub struct StreamMetrics("seatlock_stream") {
        /// Listeners now.
        listeners: IntGauge,
        /// Listeners that resumed from a version that they had received before.
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
        self.ended_total.with_label_values(&[reason]).inc();
    }
}
