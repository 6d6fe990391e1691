//! How long the consumer of a partition rests after something has failed, and when it is well again.

use std::time::Duration;

use prometheus::IntGauge;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::queue::Partition;
use crate::telemetry::health::Health;

use crate::background::queue_consumer::duty::Duty;

/// Between two attempts after something failed: at first, and at most.
const PAUSE: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// Who has waited for a message for so long, and nothing has failed, is well: longer than a queue that fails
/// takes to say so.
const QUIET: Duration = Duration::from_secs(5);

/// The rest of one partition's consumer. It is counted from the failure until the consumer is well again.
pub(crate) struct Backoff {
    partition: Partition,
    pause: Duration,
    on: bool,
    resting: IntGauge,
}

impl Backoff {
    /// Of a consumer that is well; `resting` counts those that are not.
    pub(crate) fn new(partition: Partition, resting: IntGauge) -> Self {
        Self { partition, pause: PAUSE, on: false, resting }
    }

    /// Whether something has failed, and nothing has gone well since.
    pub(crate) fn is_on(&self) -> bool {
        self.on
    }

    /// Pauses, longer each time, and until the database takes writes; not longer than until the
    /// process stops.
    pub(crate) async fn take(&mut self, health: &Health, mut duty: watch::Receiver<Duty>) {
        if !self.on {
            self.on = true;
            self.resting.inc();
        }
        let until = Instant::now() + self.pause.mul_f64(0.5 + fastrand::f64());
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        while !duty.borrow().is_over() && (Instant::now() < until || !health.writable()) {
            let next = until.min(Instant::now() + PAUSE_MAX).max(Instant::now() + PAUSE);
            tokio::select! {
                _ = duty.changed() => {}
                () = tokio::time::sleep_until(next) => {}
            }
        }
    }

    /// Is done when a consumer that has only waited since `opened` counts as well: one whose turn has not
    /// come, or for whom there is nothing to do, has no other way to find out.
    pub(crate) async fn quiet(opened: Instant) {
        tokio::time::sleep_until(opened + QUIET).await;
    }

    /// Something went well.
    pub(crate) fn end(&mut self) {
        if self.give_up() {
            log::info!("partition {} of the queue goes on", self.partition.0);
        }
    }

    /// The partition is another process's now: it does not rest here any more. True if it did.
    pub(crate) fn give_up(&mut self) -> bool {
        self.pause = PAUSE;
        let was_on = std::mem::take(&mut self.on);
        if was_on {
            self.resting.dec();
        }
        was_on
    }
}

impl Drop for Backoff {
    fn drop(&mut self) {
        self.give_up();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_partition_that_goes_to_another_process_is_not_counted_as_paused() {
        let gauge = IntGauge::new("paused", "paused partitions").unwrap();
        let (_sender, duty) = watch::channel(Duty::default());
        let mut rest = Backoff::new(Partition(3), gauge.clone());
        rest.take(&Health::default(), duty).await;
        assert!(rest.is_on());
        assert_eq!(gauge.get(), 1);
        assert!(rest.give_up());
        assert!(!rest.give_up(), "it is given up once");
        assert_eq!(gauge.get(), 0);
        drop(rest);
        assert_eq!(gauge.get(), 0);
    }
}
