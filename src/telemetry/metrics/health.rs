//! Metrics of the service's own judgement of itself; set anew for each reader of the metrics.

use crate::telemetry::metrics::macros::{labels, metrics};

labels! {
    /// What the service looks at in the background, each second.
    pub enum HealthCheck {
        /// The heartbeat is written.
        WriteDatabase = "write_database",
        /// Reads are answered where they go, by a database that is not behind.
        ReadDatabase = "read_database",
        /// The seat locks are not bypassed.
        SeatLocks = "seat_locks",
        /// Every actor lives.
        Actors = "actors",
        /// The schema has every step that this program needs.
        Schema = "schema",
        /// No request of the queue was dropped for want of room among the dead letters in the last ten
        /// minutes.
        DeadLetters = "dead_letters",
    }
}

metrics! {
    /// Readiness and the checks behind it.
    pub struct HealthMetrics("seatlock") {
        /// 1 if the last look was good, 0 if not or if there was none yet.
        check as "seatlock_health_check": IntGaugeVec["check": HealthCheck],
        /// 1 if requests are welcome here, 0 if not: starting, draining, health loop stale, or schema
        /// unsupported. A check that fails does not make it 0.
        ready: IntGauge,
        /// 1 while writes are refused at once, because the primary took none of the last heartbeats.
        read_only: IntGauge,
    }
}

impl HealthCheck {
    /// Its name in words, as readiness tells it.
    #[must_use]
    pub fn words(self) -> String {
        self.as_str().replace('_', " ")
    }
}

impl HealthMetrics {
    /// Sets how a check stands.
    pub fn set_check(&self, check: HealthCheck, good: bool) {
        self.check.with_label_values(&[check.as_str()]).set(i64::from(good));
    }
}
