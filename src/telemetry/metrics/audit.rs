//! Metrics of the audit that checks the invariants in the background.

use crate::domain::audit::Invariant;
use crate::telemetry::metrics::macros::metrics;

metrics! {
    /// The background audit.
    pub struct AuditMetrics("seatlock_audit") {
        /// Violations found by the last audit of each schedule, and in answers since the start, by
        /// invariant. For anything above 0 an operator has to run seatlock verify.
        violations as "seatlock_invariant_violations": IntGaugeVec["invariant": Invariant],
        /// Rounds finished.
        rounds_total: IntCounter,
        /// Rounds that were not finished, because the database did not answer.
        failures_total: IntCounter,
        /// Schedules audited; those that have not changed are skipped.
        schedules_total: IntCounter,
    }
}

impl AuditMetrics {
    /// Sets how many violations of an invariant there are.
    pub fn report(&self, invariant: Invariant, violations: u64) {
        let gauge = self.violations.with_label_values(&[invariant]);
        gauge.set(i64::try_from(violations).unwrap_or(i64::MAX));
    }
}
