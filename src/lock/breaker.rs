//! The circuit breaker of the seat locks: the state chart of `crate::breaker` around real calls.
//!
//! It reports each change of state on a watch channel, in the metrics and in the log.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;

use super::LockError;
use crate::breaker::{BreakerSettings, BreakerState, CircuitBreaker};
use crate::telemetry::metrics::Metrics;

/// The circuit breaker of one backend.
pub(super) struct LockBreaker {
    chart: Mutex<CircuitBreaker>,
    state: watch::Sender<BreakerState>,
    metrics: Arc<Metrics>,
}

impl LockBreaker {
    /// A closed breaker that reports its changes to the metrics.
    pub(super) fn new(settings: BreakerSettings, metrics: Arc<Metrics>) -> Self {
        let chart = Mutex::new(CircuitBreaker::new(settings));
        Self { chart, state: watch::Sender::new(BreakerState::Closed), metrics }
    }

    /// What the breaker admits now.
    pub(super) fn state(&self) -> BreakerState {
        *self.state.borrow()
    }

    /// A receiver of every change of state from now on. It is closed when the breaker is dropped.
    pub(super) fn watch(&self) -> watch::Receiver<BreakerState> {
        self.state.subscribe()
    }

    /// Makes a call, or returns `Bypassed` without polling `call` if the breaker does not admit it. Any error counts as
    /// a failure of the backend. A call that is dropped before its end is not counted.
    pub(super) async fn call<T>(
        &self,
        call: impl Future<Output = Result<T, LockError>>,
    ) -> Result<T, LockError> {
        let admitted_share = self.chart.lock().admitted_share(Instant::now());
        if fastrand::f64() >= admitted_share {
            return Err(LockError::Bypassed);
        }
        let result = call.await;
        self.update(result.as_ref().err(), |chart| {
            chart.record_call(result.is_ok(), Instant::now());
        });
        result
    }

    /// Makes a probe, or returns `Bypassed` without polling `probe` if the breaker is closed or its pause has not
    /// ended. A success closes the breaker; an error opens it for a longer pause.
    pub(super) async fn probe(
        &self,
        probe: impl Future<Output = Result<(), LockError>>,
    ) -> Result<(), LockError> {
        if !self.update(None, |chart| chart.try_start_probe(Instant::now())) {
            return Err(LockError::Bypassed);
        }
        let result = probe.await;
        self.update(result.as_ref().err(), |chart| {
            chart.record_probe(result.is_ok(), Instant::now());
        });
        result
    }

    /// Changes the state chart. If its state is another one afterwards, reports the change with its reason `error`.
    fn update<T>(
        &self,
        error: Option<&LockError>,
        change: impl FnOnce(&mut CircuitBreaker) -> T,
    ) -> T {
        let mut chart = self.chart.lock();
        let left = chart.state();
        let result = change(&mut chart);
        let entered = chart.state();
        if entered != left {
            // The mutex is still locked, so that changes are reported in their order.
            self.state.send_replace(entered);
            self.metrics.lock.breaker_entered(entered);
            report(left, entered, error);
        }
        result
    }
}

/// Logs a change of state. The start and the failure of a probe are not logged, because the locks stay bypassed.
fn report(left: BreakerState, entered: BreakerState, error: Option<&LockError>) {
    match (left, entered) {
        (BreakerState::Closed, BreakerState::Open) => {
            let reason = error.map(|error| format!(": {error}")).unwrap_or_default();
            log::warn!("seat locks are bypassed until their backend recovers{reason}");
        }
        (_, BreakerState::Closed) => {
            log::info!("seat locks are used again: their backend has recovered");
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn breaker(ramp: Duration) -> prometheus::Result<(LockBreaker, Arc<Metrics>)> {
        let metrics = Arc::new(Metrics::new()?);
        let settings = BreakerSettings {
            failures_in_a_row: 2,
            reopen_after: Duration::from_secs(1),
            reopen_at_most: Duration::from_secs(2),
            ramp,
        };
        Ok((LockBreaker::new(settings, Arc::clone(&metrics)), metrics))
    }

    /// Longer than the first pause can be.
    const AFTER_THE_PAUSE: Duration = Duration::from_millis(2_100);

    async fn fails() -> Result<(), LockError> {
        Err(LockError::Timeout)
    }

    async fn succeeds() -> Result<(), LockError> {
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_recovery_most_calls_are_bypassed_at_first() -> prometheus::Result<()> {
        let (breaker, _) = breaker(Duration::from_secs(3_600))?;
        for _ in 0..2 {
            assert_eq!(breaker.call(fails()).await, Err(LockError::Timeout));
        }
        tokio::time::sleep(AFTER_THE_PAUSE).await;
        assert_eq!(breaker.probe(succeeds()).await, Ok(()));
        let mut passed = 0;
        for _ in 0..1_000 {
            passed += u32::from(breaker.call(succeeds()).await.is_ok());
        }
        assert!((30..300).contains(&passed), "{passed} of 1,000");
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn calls_pass_again_only_after_a_recovery() -> prometheus::Result<()> {
        let (breaker, _) = breaker(Duration::ZERO)?;
        let mut changes = breaker.watch();
        for _ in 0..2 {
            assert_eq!(breaker.call(fails()).await, Err(LockError::Timeout));
        }
        assert!(changes.has_changed().is_ok_and(|changed| changed));
        assert_eq!(*changes.borrow_and_update(), BreakerState::Open);
        assert_eq!(breaker.probe(succeeds()).await, Err(LockError::Bypassed), "too early");
        tokio::time::sleep(AFTER_THE_PAUSE).await;
        assert_eq!(breaker.call(succeeds()).await, Err(LockError::Bypassed));
        assert_eq!(breaker.probe(succeeds()).await, Ok(()));
        assert_eq!(breaker.call(succeeds()).await, Ok(()));
        assert_eq!(breaker.state(), BreakerState::Closed);
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_probe_opens_it_again() -> prometheus::Result<()> {
        let (breaker, metrics) = breaker(Duration::ZERO)?;
        for _ in 0..2 {
            assert_eq!(breaker.call(fails()).await, Err(LockError::Timeout));
        }
        tokio::time::sleep(AFTER_THE_PAUSE).await;
        assert_eq!(breaker.probe(fails()).await, Err(LockError::Timeout));
        assert_eq!(breaker.state(), BreakerState::Open);
        let entered = |state: BreakerState| {
            metrics.lock.breaker_transitions_total.with_label_values(&[state]).get()
        };
        assert_eq!(entered(BreakerState::Open), 2);
        assert_eq!(entered(BreakerState::HalfOpen), 1);
        assert_eq!(entered(BreakerState::Closed), 0);
        assert_eq!(metrics.lock.breaker_state.get(), 2);
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn a_success_between_failures_keeps_it_closed() -> prometheus::Result<()> {
        let (breaker, _) = breaker(Duration::ZERO)?;
        for _ in 0..10 {
            assert_eq!(breaker.call(fails()).await, Err(LockError::Timeout));
            assert_eq!(breaker.call(succeeds()).await, Ok(()));
        }
        assert_eq!(breaker.state(), BreakerState::Closed);
        Ok(())
    }
}
