//! Metrics of the service's health. They are updated before each read of the metrics.

use crate::telemetry::health::{Health, HealthCheck, Readiness};
use crate::telemetry::metrics::macros::metrics;

metrics! {
    /// Readiness and the checks behind it.
    pub struct HealthMetrics("seatlock") {
        /// 1 if the last check succeeded, 0 if it failed or there was none yet.
        check as "seatlock_health_check": IntGaugeVec["check": HealthCheck],
        /// 1 if requests are accepted, 0 if not: starting, draining, health loop stale, or schema
        /// unsupported. A check that fails does not make it 0.
        ready: IntGauge,
        /// 1 while writes are refused immediately, because the primary accepted none of the last heartbeats.
        read_only: IntGauge,
    }
}

impl HealthMetrics {
    /// Sets the gauges to the current state.
    pub fn update(&self, health: &Health) {
        let ready = matches!(health.readiness(), Readiness::Ready(_));
        self.ready.set(i64::from(ready));
        self.read_only.set(i64::from(!health.writable()));
        for check in health.checks() {
            let succeeded = i64::from(check.problem.is_none());
            self.check.with_label_values(&[check.name]).set(succeeded);
        }
    }
}
