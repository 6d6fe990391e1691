//! Metrics of the seat locks and their circuit breaker.

use super::SIZES;
use super::macros::{labels, metrics};

labels! {
    /// How a request to the seat locks ended.
    pub enum LockOutcome {
        /// All the seats were locked.
        Acquired = "acquired",
        /// Somebody else has one of the seats.
        Busy = "busy",
        /// The backend answered with an error or could not be reached.
        Error = "error",
        /// No answer within the time budget.
        Timeout = "timeout",
        /// Not sent, since the breaker was not closed.
        Bypassed = "bypassed",
    }
}

labels! {
    /// What the circuit breaker lets through.
    pub enum BreakerState {
        /// Everything.
        Closed = "closed",
        /// Probes only, to see whether the backend has recovered.
        HalfOpen = "half_open",
        /// Nothing.
        Open = "open",
    }
}

impl BreakerState {
    /// The state as a gauge shows it: 0 closed, 1 half open, 2 open.
    #[must_use]
    pub const fn level(self) -> i64 {
        match self {
            Self::Closed => 0,
            Self::HalfOpen => 1,
            Self::Open => 2,
        }
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
        /// Locks found gone or a stranger's when they were released: expired, evicted or lost in a failover.
        lost_total: IntCounter,
        /// Releases that are owed to the backend: their locks may stand without an owner.
        orphans: IntGauge,
    }
}

impl LockMetrics {
    /// Counts requests that ended alike.
    pub fn count(&self, outcome: LockOutcome, requests: usize) {
        let requests = u64::try_from(requests).unwrap_or(u64::MAX);
        self.requests_total.with_label_values(&[outcome.as_str()]).inc_by(requests);
    }

    /// Notes that the circuit breaker has entered a state.
    pub fn breaker_is(&self, state: BreakerState) {
        self.breaker_state.set(state.level());
        self.breaker_transitions_total.with_label_values(&[state.as_str()]).inc();
    }
}
