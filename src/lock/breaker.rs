//! The circuit breaker of the seat locks: when to stop asking, and when to begin again.
//!
//! failsafe judges; this adds what it leaves open. Its half-open state lets everybody through and closes
//! with the first success: here customers pass only while it is closed, and a whole series of probes is
//! one call to it. It has no way to ask for its state: here a watch channel carries it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use failsafe::failure_policy::{
    ConsecutiveFailures, OrElse, SuccessRateOverTimeWindow, consecutive_failures,
    success_rate_over_time_window,
};
use failsafe::futures::CircuitBreaker as _;
use failsafe::{Config, FailurePolicy as _, Instrument, StateMachine};
use tokio::sync::watch;

use super::LockError;
use super::jitter::Jitter;
use crate::metrics::Metrics;
use crate::metrics::lock::BreakerState;

/// The breaker opens when fewer than this share of the calls in [`WINDOW`] succeed.
const SUCCESS_RATE: f64 = 0.5;

/// The time over which the share is taken. It is blind for its first stretch after each recovery; there
/// the failures in a row decide alone.
const WINDOW: Duration = Duration::from_secs(10);

/// The least number of calls in the window from which a share means something.
const WINDOW_CALLS: u32 = 20;

/// The share of customers let through right after it has closed.
const FIRST_SHARE: f64 = 0.1;

/// When the breaker opens and for how long.
#[derive(Debug, Clone, Copy)]
pub struct BreakerSettings {
    /// It opens after so many failures in a row.
    pub failures_in_a_row: u32,
    /// The shortest time until the first probe; doubles with each failed one. Longer than any call may
    /// take, or a late success of a call from before would close the breaker.
    pub reopen_after: Duration,
    /// The longest time until the next probe.
    pub reopen_at_most: Duration,
    /// After it has closed again, how long until all customers are let through.
    pub ramp: Duration,
}

type Policy = OrElse<SuccessRateOverTimeWindow<Jitter>, ConsecutiveFailures<Jitter>>;

/// The circuit breaker.
pub struct Breaker {
    machine: StateMachine<Policy, Observer>,
    state: watch::Sender<BreakerState>,
    failure: LastFailure,
    recovered: Recovered,
    ramp: Duration,
}

/// When it closed again; nothing until it has been open.
type Recovered = Arc<Mutex<Option<Instant>>>;

/// What failed last: the reason if the breaker opens.
type LastFailure = Arc<Mutex<Option<LockError>>>;

impl Breaker {
    /// A closed breaker that reports its changes to the metrics.
    #[must_use]
    pub fn new(settings: BreakerSettings, metrics: Arc<Metrics>) -> Self {
        let backoff = Jitter::new(settings.reopen_after, settings.reopen_at_most);
        let policy =
            success_rate_over_time_window(SUCCESS_RATE, WINDOW_CALLS, WINDOW, backoff.clone())
                .or_else(consecutive_failures(settings.failures_in_a_row, backoff));
        let state = watch::Sender::new(BreakerState::Closed);
        let failure = LastFailure::default();
        let recovered = Recovered::default();
        let observer = Observer {
            state: state.clone(),
            metrics,
            failure: Arc::clone(&failure),
            recovered: Arc::clone(&recovered),
        };
        let machine = Config::new().failure_policy(policy).instrument(observer).build();
        Self { machine, state, failure, recovered, ramp: settings.ramp }
    }

    /// What it lets through now.
    #[must_use]
    pub fn state(&self) -> BreakerState {
        *self.state.borrow()
    }

    /// Tells of every change of state from now on; ends with the breaker.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<BreakerState> {
        self.state.subscribe()
    }

    /// A customer's call: `Bypassed`, and `call` never polled, unless the breaker is closed; for a while
    /// after it has closed again only a growing share is let through, so that a backend that has just come
    /// back is not felled by all at once. Any error counts against the backend, and so does an answer that
    /// takes longer than its time. A call that is dropped halfway counts for nothing.
    pub async fn customer<T>(
        &self,
        call: impl Future<Output = Result<T, LockError>>,
    ) -> Result<T, LockError> {
        if self.state() == BreakerState::Closed && fastrand::f64() < self.share_now() {
            self.judge(call).await
        } else {
            Err(LockError::Bypassed)
        }
    }

    fn share_now(&self) -> f64 {
        let recovered = *self.recovered.lock().unwrap_or_else(PoisonError::into_inner);
        recovered.map_or(1.0, |at| share(at.elapsed(), self.ramp))
    }

    /// A try at recovery: `Bypassed`, and `probes` never polled, before the time has come. Success closes
    /// the breaker, an error opens it for longer.
    pub async fn recovery(
        &self,
        probes: impl Future<Output = Result<(), LockError>>,
    ) -> Result<(), LockError> {
        self.judge(probes).await
    }

    async fn judge<T>(
        &self,
        call: impl Future<Output = Result<T, LockError>>,
    ) -> Result<T, LockError> {
        let noted = async {
            let answer = call.await;
            if let Err(error) = &answer {
                let mut last = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
                *last = Some(error.clone());
            }
            answer
        };
        self.machine.call(noted).await.map_err(|error| match error {
            failsafe::Error::Inner(error) => error,
            failsafe::Error::Rejected => LockError::Bypassed,
        })
    }
}

/// Hears failsafe's changes of state.
struct Observer {
    state: watch::Sender<BreakerState>,
    metrics: Arc<Metrics>,
    failure: LastFailure,
    recovered: Recovered,
}

/// The share of customers let through so long after it has closed again.
fn share(since: Duration, ramp: Duration) -> f64 {
    match since < ramp {
        true => (since.as_secs_f64() / ramp.as_secs_f64()).max(FIRST_SHARE),
        false => 1.0,
    }
}

impl Observer {
    /// Notes a change and gives the state that was left; failsafe also reports the state that it begins
    /// with.
    fn entered(&self, state: BreakerState) -> Option<BreakerState> {
        let mut left = state;
        let changed = self.state.send_if_modified(|now| {
            left = std::mem::replace(now, state);
            left != state
        });
        if changed {
            self.metrics.lock.breaker_is(state);
        }
        changed.then_some(left)
    }
}

impl Instrument for Observer {
    fn on_call_rejected(&self) {}

    fn on_open(&self) {
        // Probes that go on failing are no news.
        if self.entered(BreakerState::Open) == Some(BreakerState::Closed) {
            let last = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
            let reason = last.as_ref().map_or_else(String::new, |error| format!(": {error}"));
            log::warn!("seat locks are bypassed until their backend recovers{reason}");
        }
    }

    fn on_half_open(&self) {
        self.entered(BreakerState::HalfOpen);
    }

    fn on_closed(&self) {
        if self.entered(BreakerState::Closed).is_some() {
            let mut recovered = self.recovered.lock().unwrap_or_else(PoisonError::into_inner);
            *recovered = Some(Instant::now());
            log::info!("seat locks are used again: their backend has recovered");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaker() -> Result<(Breaker, Arc<Metrics>), prometheus::Error> {
        let metrics = Arc::new(Metrics::new()?);
        let settings = BreakerSettings {
            failures_in_a_row: 2,
            reopen_after: Duration::from_millis(40),
            reopen_at_most: Duration::from_millis(80),
            ramp: Duration::ZERO,
        };
        Ok((Breaker::new(settings, Arc::clone(&metrics)), metrics))
    }

    async fn fails() -> Result<(), LockError> {
        Err(LockError::Timeout)
    }

    async fn succeeds() -> Result<(), LockError> {
        Ok(())
    }

    #[test]
    fn after_a_recovery_the_share_of_customers_grows_to_all() {
        let ramp = Duration::from_secs(2);
        assert_eq!(share(Duration::ZERO, ramp), FIRST_SHARE);
        assert_eq!(share(Duration::from_secs(1), ramp), 0.5);
        assert_eq!(share(ramp, ramp), 1.0);
        assert_eq!(share(Duration::ZERO, Duration::ZERO), 1.0);
    }

    #[tokio::test]
    async fn most_customers_are_bypassed_right_after_a_recovery() -> prometheus::Result<()> {
        let (mut breaker, _) = breaker()?;
        breaker.ramp = Duration::from_secs(3_600);
        for _ in 0..2 {
            assert_eq!(breaker.customer(fails()).await, Err(LockError::Timeout));
        }
        tokio::time::sleep(Duration::from_millis(90)).await;
        assert_eq!(breaker.recovery(succeeds()).await, Ok(()));
        let mut passed = 0;
        for _ in 0..1_000 {
            passed += u32::from(breaker.customer(succeeds()).await.is_ok());
        }
        assert!((30..300).contains(&passed), "{passed} of 1,000");
        Ok(())
    }

    #[tokio::test]
    async fn customers_pass_again_only_after_a_recovery() -> prometheus::Result<()> {
        let (breaker, _) = breaker()?;
        let mut changes = breaker.watch();
        for _ in 0..2 {
            assert_eq!(breaker.customer(fails()).await, Err(LockError::Timeout));
        }
        assert!(changes.has_changed().is_ok_and(|changed| changed));
        assert_eq!(*changes.borrow_and_update(), BreakerState::Open);
        assert_eq!(breaker.recovery(succeeds()).await, Err(LockError::Bypassed), "too early");
        tokio::time::sleep(Duration::from_millis(90)).await;
        assert_eq!(breaker.customer(succeeds()).await, Err(LockError::Bypassed));
        assert_eq!(breaker.recovery(succeeds()).await, Ok(()));
        assert_eq!(breaker.customer(succeeds()).await, Ok(()));
        assert_eq!(breaker.state(), BreakerState::Closed);
        Ok(())
    }

    #[tokio::test]
    async fn a_failed_recovery_opens_it_again() -> prometheus::Result<()> {
        let (breaker, metrics) = breaker()?;
        for _ in 0..2 {
            assert_eq!(breaker.customer(fails()).await, Err(LockError::Timeout));
        }
        tokio::time::sleep(Duration::from_millis(90)).await;
        assert_eq!(breaker.recovery(fails()).await, Err(LockError::Timeout));
        assert_eq!(breaker.state(), BreakerState::Open);
        let entered = |state: BreakerState| {
            metrics.lock.breaker_transitions_total.with_label_values(&[state.as_str()]).get()
        };
        assert_eq!(entered(BreakerState::Open), 2);
        assert_eq!(entered(BreakerState::HalfOpen), 1);
        assert_eq!(entered(BreakerState::Closed), 0);
        assert_eq!(metrics.lock.breaker_state.get(), 2);
        Ok(())
    }

    #[tokio::test]
    async fn a_success_between_failures_keeps_it_closed() -> prometheus::Result<()> {
        let (breaker, _) = breaker()?;
        for _ in 0..10 {
            assert_eq!(breaker.customer(fails()).await, Err(LockError::Timeout));
            assert_eq!(breaker.customer(succeeds()).await, Ok(()));
        }
        assert_eq!(breaker.state(), BreakerState::Closed);
        Ok(())
    }
}
