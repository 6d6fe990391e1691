//! Metrics of the seat maps that processes share in Redis.

use strum::{AsRefStr, VariantNames};

use crate::telemetry::metrics::macros::metrics;

/// The result of reading a shared map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, AsRefStr, VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum CacheRead {
    /// A map was found, and the journal led from it to the newest version.
    Hit,
    /// No map was found.
    Miss,
    /// An unusable map was found: of an earlier epoch or another database, or too old for the journal.
    Stale,
    /// Redis is unavailable or bypassed.
    Failed,
}

/// The result of sharing a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, AsRefStr, VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum CacheShare {
    /// The map is stored.
    Kept,
    /// A newer one was stored already.
    Refused,
    /// Redis is unavailable or bypassed.
    Failed,
}

metrics! {
    /// Seat maps shared in Redis.
    pub struct CacheMetrics("seatlock_map_cache") {
        /// Reads of a map that another process has shared.
        looks_total: IntCounterVec["outcome": CacheRead],
        /// Maps offered to other processes.
        shares_total: IntCounterVec["outcome": CacheShare],
        /// Notifications of other processes' commits.
        news_total: IntCounter,
        /// Epochs begun, because notifications were lost while Redis was bypassed.
        epochs_total: IntCounter,
    }
}

impl CacheMetrics {
    /// Counts a read.
    pub fn count_read(&self, outcome: CacheRead) {
        self.looks_total.with_label_values(&[outcome]).inc();
    }

    /// Counts a shared map.
    pub fn shared(&self, outcome: CacheShare) {
        self.shares_total.with_label_values(&[outcome]).inc();
    }
}
