//! Metrics of the admission queue.

use strum::{AsRefStr, VariantNames};

use crate::telemetry::metrics::QUEUE_SECONDS;
use crate::telemetry::metrics::macros::metrics;

/// The result of queueing a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, AsRefStr, VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum Accepted {
    /// The queue has confirmed it.
    Queued,
    /// The queue, or the waiting list of its schedule, is full.
    Full,
    /// The customer has as many waiting requests as allowed.
    CustomerFull,
    /// The queue is unavailable.
    Away,
    /// The queue did not confirm in time.
    Unknown,
}

/// How the execution of a delivered request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, AsRefStr, VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum Executed {
    /// It had its effect.
    Done,
    /// It was refused.
    Refused,
    /// Its deadline had passed.
    Expired,
    /// It had been decided before: a second delivery, or a repeated Idempotency-Key.
    Repeated,
    /// It cannot be executed, and has become a dead letter.
    #[strum(serialize = "parked")]
    DeadLettered,
    /// It cannot be executed, and could not become a dead letter; it was only logged.
    Dropped,
}

metrics! {
    /// The admission queue.
    pub struct QueueMetrics("seatlock_queue") {
        /// Requests to be queued, by result.
        accepted_total: IntCounterVec["result": Accepted],
        /// Deliveries that were settled, by result.
        executed_total: IntCounterVec["result": Executed],
        /// Time from the acceptance of a request until its execution was settled, in seconds.
        wait_seconds: Histogram[buckets QUEUE_SECONDS],
        /// Deliveries that this process is executing.
        in_flight: IntGauge,
        /// Partitions that are assigned to this process; if Kafka assigns them, all partitions.
        partitions: IntGauge,
        /// Partitions whose consumer in this process waits until the booking engine or the queue has recovered.
        paused_partitions: IntGauge,
        /// Times that the execution of deliveries was interrupted and restarted in order.
        interruptions_total: IntCounter,
    }
}

impl QueueMetrics {
    /// Counts a request to be queued.
    pub fn accepted(&self, result: Accepted) {
        self.accepted_total.with_label_values(&[result]).inc();
    }

    /// Counts a delivery that was settled.
    pub fn executed(&self, result: Executed) {
        self.executed_total.with_label_values(&[result]).inc();
    }
}
