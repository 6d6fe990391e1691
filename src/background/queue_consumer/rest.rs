//! How long the consumer of a partition rests after something has failed, and when it is well again.

use std::time::Duration;

use prometheus::IntGauge;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::actors::health::Health;
use crate::queue::Partition;

use crate::background::queue_consumer::duty::Duty;

/// Between two attempts after something failed: at first, and at most.
const PAUSE: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// Who has waited for a message for so long, and nothing has failed, is well: longer than a queue that fails
/// takes to say so.
const QUIET: Duration = Duration::from_secs(5);

/// The rest of one partition's consumer. It is counted from the failure until the consumer is well again.
pub(crate) struct Rest {
    partition: Partition,
    pause: Duration,
    on: bool,
    resting: IntGauge,
}

impl Rest {
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
        self.pause = PAUSE;
        if self.on {
            self.on = false;
            self.resting.dec();
            log::info!("partition {} of the queue goes on", self.partition.0);
        }
    }
}

impl Drop for Rest {
    fn drop(&mut self) {
        if self.on {
            self.resting.dec();
        }
    }
}
