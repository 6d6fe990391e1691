//! Metrics of the queue in front.

use crate::telemetry::metrics::QUEUE_SECONDS;
use crate::telemetry::metrics::macros::{labels, metrics};

labels! {
    /// What became of a request that was to be queued.
    pub enum Accepted {
        /// The queue has confirmed it.
        Queued = "queued",
        /// The queue, or the line of its schedule, is full.
        Full = "full",
        /// As many requests of its customer wait as may.
        CustomerFull = "customer_full",
        /// The queue is away.
        Away = "away",
        /// The queue did not confirm in time.
        Unknown = "unknown",
    }
}

labels! {
    /// How the execution of a delivered request ended.
    pub enum Executed {
        /// It had its effect.
        Done = "done",
        /// It was refused.
        Refused = "refused",
        /// Its time was over.
        Expired = "expired",
        /// It had been decided before: a second delivery, or a repeated Idempotency-Key.
        Repeated = "repeated",
        /// It cannot be executed: it is a dead letter now.
        DeadLettered = "parked",
        /// It cannot be executed, and could not be kept as a dead letter: it is in the log alone.
        Dropped = "dropped",
    }
}

metrics! {
    /// The queue in front.
    pub struct QueueMetrics("seatlock_queue") {
        /// Requests that were to be queued, by what became of them.
        accepted_total: IntCounterVec["result": Accepted],
        /// Deliveries that were settled, by how they ended.
        executed_total: IntCounterVec["result": Executed],
        /// From the acceptance of a request to its settled execution.
        wait_seconds: Histogram[buckets QUEUE_SECONDS],
        /// Deliveries that this process is executing.
        in_flight: IntGauge,
        /// Partitions that this process consumes; where Kafka shares them out, all of them.
        partitions: IntGauge,
        /// Partitions whose consumer here waits until the booking engine, or the queue, is well again.
        paused_partitions: IntGauge,
        /// Times that the execution of deliveries was interrupted, to be begun again in order.
        interruptions_total: IntCounter,
    }
}

impl QueueMetrics {
    /// Counts a request that was to be queued.
    pub fn accepted(&self, result: Accepted) {
        self.accepted_total.with_label_values(&[result.as_str()]).inc();
    }

    /// Counts a delivery that was settled.
    pub fn executed(&self, result: Executed) {
        self.executed_total.with_label_values(&[result.as_str()]).inc();
    }
}
