//! Metrics of the seat maps that processes share in Redis.

use crate::telemetry::metrics::macros::{labels, metrics};

labels! {
    /// What looking for a shared map led to.
    pub enum CacheLook {
        /// A map that the journal led on from.
        Hit = "hit",
        /// No map.
        Miss = "miss",
        /// A map that is of no use: of an earlier epoch or another database, or too old to lead on from.
        Stale = "stale",
        /// Redis was away, or is being bypassed.
        Failed = "failed",
    }
}

labels! {
    /// What became of a map that was to be shared.
    pub enum CacheShare {
        /// It is shared now.
        Kept = "kept",
        /// A newer one was known.
        Refused = "refused",
        /// Redis was away, or is being bypassed.
        Failed = "failed",
    }
}

metrics! {
    /// Seat maps shared in Redis.
    pub struct CacheMetrics("seatlock_map_cache") {
        /// Looks for a map that another process has shared.
        looks_total: IntCounterVec["outcome": CacheLook],
        /// Maps offered to other processes.
        shares_total: IntCounterVec["outcome": CacheShare],
        /// News of other processes' commits.
        news_total: IntCounter,
        /// Epochs begun, because what was told while Redis was bypassed is lost.
        epochs_total: IntCounter,
    }
}

impl CacheMetrics {
    /// Counts a look.
    pub fn looked(&self, outcome: CacheLook) {
        self.looks_total.with_label_values(&[outcome.as_str()]).inc();
    }

    /// Counts an offer.
    pub fn shared(&self, outcome: CacheShare) {
        self.shares_total.with_label_values(&[outcome.as_str()]).inc();
    }
}
