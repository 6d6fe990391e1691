//! Metrics of the seat locks and their circuit breaker.

use strum::{AsRefStr, VariantNames};

use crate::breaker::BreakerState;
use crate::telemetry::metrics::SIZES;
use crate::telemetry::metrics::macros::metrics;

/// How a request to the seat locks ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, AsRefStr, VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum LockOutcome {
    /// All the seats were locked.
    Acquired,
    /// Another request has locked one of the seats.
    Busy,
    /// The backend answered with an error or could not be reached.
    Error,
    /// No answer within the time budget.
    Timeout,
    /// Not sent, because the breaker did not admit it.
    Bypassed,
}

/// The value of the gauge for a state of the breaker.
const fn level(state: BreakerState) -> i64 {
    match state {
        BreakerState::Closed => 0,
        BreakerState::HalfOpen => 1,
        BreakerState::Open => 2,
    }
}

/// Bucket edges for a round trip to the locks, in seconds; 0.05 s is its time budget.
pub const LOCK_SECONDS: [f64; 11] =
    [0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5];

metrics! {
    /// Seat locks and their circuit breaker.
    pub struct LockMetrics("seatlock_seat_lock") {
        /// Requests to the seat locks by outcome; releases and renewals count only where they fail.
        requests_total: IntCounterVec["outcome": LockOutcome],
        /// Time of a round trip, retry included, in seconds; also of those that failed.
        duration_seconds: Histogram[buckets LOCK_SECONDS],
        /// Requests in one round trip.
        pipeline_size: Histogram[buckets SIZES],
        /// The circuit breaker: 0 closed, 1 half open, 2 open.
        breaker_state: IntGauge,
        /// Changes of the circuit breaker by the state entered.
        breaker_transitions_total: IntCounterVec["to": BreakerState],
        /// Locks that no longer existed or had another owner when they were released: expired, evicted or lost
        /// in a failover.
        lost_total: IntCounter,
        /// Releases to be sent when the backend answers again: their locks may exist without an owner.
        pending_releases: IntGauge,
    }
}

impl LockMetrics {
    /// Counts requests with the same outcome.
    pub fn count(&self, outcome: LockOutcome, requests: usize) {
        let requests = u64::try_from(requests).unwrap_or(u64::MAX);
        self.requests_total.with_label_values(&[outcome]).inc_by(requests);
    }

    /// Records that the circuit breaker has entered a state.
    pub fn breaker_entered(&self, state: BreakerState) {
        self.breaker_state.set(level(state));
        self.breaker_transitions_total.with_label_values(&[state]).inc();
    }
}
