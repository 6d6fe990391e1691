//! Tasks that run at a fixed rate on an arbiter.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use actix::ArbiterHandle;
use futures_util::FutureExt as _;
use tokio::time::{Instant, MissedTickBehavior};

/// Runs a task every `period` until the arbiter stops; the first run is after `delay`. Ticks that occur during a run
/// are skipped. A panic is logged and ends only the run in which it happens.
pub(super) fn run_every<T: Send + 'static>(
    arbiter: &ArbiterHandle,
    name: &'static str,
    delay: Duration,
    period: Duration,
    mut state: T,
    run: impl AsyncFn(&mut T) + Send + 'static,
) {
    let _ = arbiter.spawn_fn(move || {
        actix::spawn(async move {
            let mut ticks = tokio::time::interval_at(Instant::now() + delay, period);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
            loop {
                ticks.tick().await;
                if AssertUnwindSafe(run(&mut state)).catch_unwind().await.is_err() {
                    log::error!("{name} panicked; the next run is in {period:?}");
                }
            }
        });
    });
}
