//! The pauses of a partition's consumer after a failure.

use std::time::Duration;

use prometheus::IntGauge;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::backoff::Backoff;
use crate::queue::Partition;
use crate::telemetry::health::Health;

use super::assignment::WorkerAssignment;

/// The shortest and the longest pause.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// A consumer has recovered if it has waited for a message this long without a failure. This is longer than a failing
/// queue takes to report an error.
const RECOVERY: Duration = Duration::from_secs(5);

/// The backoff of the consumer of one partition. It is active from a failure until the next success.
pub(crate) struct PartitionBackoff {
    partition: Partition,
    pauses: Backoff,
    active: bool,
    paused: IntGauge,
}

impl PartitionBackoff {
    /// Creates an inactive backoff. The gauge `paused` counts the active ones.
    pub(crate) fn new(partition: Partition, paused: IntGauge) -> Self {
        let pauses = Backoff::new(PAUSE_MIN, PAUSE_MAX);
        Self { partition, pauses, active: false, paused }
    }

    pub(crate) fn is_active(&self) -> bool {
        self.active
    }

    /// Pauses, longer after each failure. The pause continues until the database is writable, and ends when the process
    /// stops.
    pub(crate) async fn pause(
        &mut self,
        health: &Health,
        mut assignment: watch::Receiver<WorkerAssignment>,
    ) {
        if !std::mem::replace(&mut self.active, true) {
            self.paused.inc();
        }
        let until = Instant::now() + self.pauses.next_pause();
        while !assignment.borrow().stopped && (Instant::now() < until || !health.writable()) {
            tokio::select! {
                _ = assignment.changed() => {}
                () = sleep_until(until.max(Instant::now() + PAUSE_MIN)) => {}
            }
        }
    }

    /// Returns when a consumer that has waited since `opened` counts as recovered.
    pub(crate) async fn recovered(opened: Instant) {
        sleep_until(opened + RECOVERY).await;
    }

    /// Ends the backoff after a success.
    pub(crate) fn succeed(&mut self) {
        if self.reset() {
            log::info!("partition {} of the queue is executed again", self.partition.0);
        }
    }

    /// Ends the backoff without a success, because another process consumes the partition. Returns whether the backoff
    /// was active.
    pub(crate) fn reset(&mut self) -> bool {
        self.pauses = Backoff::new(PAUSE_MIN, PAUSE_MAX);
        let was_active = std::mem::take(&mut self.active);
        if was_active {
            self.paused.dec();
        }
        was_active
    }
}

impl Drop for PartitionBackoff {
    fn drop(&mut self) {
        self.reset();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_partition_of_another_process_is_not_counted_as_paused() {
        let gauge = IntGauge::new("paused", "paused partitions").unwrap();
        let (_sender, assignment) = watch::channel(WorkerAssignment::default());
        let mut backoff = PartitionBackoff::new(Partition(3), gauge.clone());
        backoff.pause(&Health::default(), assignment).await;
        assert!(backoff.is_active());
        assert_eq!(gauge.get(), 1);
        assert!(backoff.reset());
        assert!(!backoff.reset(), "it is reset once");
        assert_eq!(gauge.get(), 0);
        drop(backoff);
        assert_eq!(gauge.get(), 0);
    }
}
