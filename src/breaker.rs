//! The state chart of a circuit breaker: when to stop calling a backend, and when to try it again.
//!
//! ```text
//!             too many calls failed
//!   Closed ───────────────────────────▶ Open ◀───────────────┐
//!     ▲                                  │ the pause is over │
//!     │        the probe succeeded       ▼                   │ the probe failed
//!     └────────────────────────────── HalfOpen ──────────────┘
//! ```
//!
//! The state chart is pure: its caller passes the time, checks whether a call is admitted, and records the result.
//! failsafe's policies decide when failures are too many and how long a pause is. failsafe's own state machine is
//! not used, because in the half-open state it admits every call and closes with the first success. Here calls are
//! admitted only while the breaker is closed, and a probe is a separate operation.

use std::time::Duration;

use failsafe::FailurePolicy;
use failsafe::failure_policy::{
    ConsecutiveFailures, OrElse, SuccessRateOverTimeWindow, consecutive_failures,
    success_rate_over_time_window,
};
use tokio::time::Instant;

use crate::backoff::Backoff;

/// The breaker opens when fewer than this share of the calls in [`WINDOW`] succeed.
const SUCCESS_RATE: f64 = 0.5;

/// The time over which the success rate is measured. After each recovery the rate is unknown until one whole window
/// has passed; until then only consecutive failures open the breaker.
const WINDOW: Duration = Duration::from_secs(10);

/// The fewest calls in the window from which a success rate is computed.
const WINDOW_CALLS: u32 = 20;

/// The share of calls that is admitted directly after the breaker has closed.
const FIRST_SHARE: f64 = 0.1;

/// What a circuit breaker admits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::AsRefStr, strum::VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum BreakerState {
    /// All calls.
    Closed,
    /// Probes only, to see whether the backend has recovered.
    HalfOpen,
    /// Nothing.
    Open,
}

/// When a circuit breaker opens, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct BreakerSettings {
    /// The breaker opens after this many consecutive failures.
    pub failures_in_a_row: u32,
    /// The shortest pause before the first probe; the pause doubles with each failed probe.
    pub reopen_after: Duration,
    /// The longest pause before the next probe.
    pub reopen_at_most: Duration,
    /// The time from closing again until all calls are admitted.
    pub ramp: Duration,
}

type Policy = OrElse<SuccessRateOverTimeWindow<Backoff>, ConsecutiveFailures<Backoff>>;

/// A circuit breaker. It is closed at first.
pub struct CircuitBreaker {
    phase: Phase,
    policy: Policy,
    ramp: Duration,
}

enum Phase {
    /// `recovered_at` is `None` until the breaker has recovered for the first time.
    Closed {
        recovered_at: Option<Instant>,
    },
    Open {
        until: Instant,
        pause: Duration,
    },
    /// `pause` is the length of the pause that has ended.
    HalfOpen {
        pause: Duration,
    },
}

impl CircuitBreaker {
    /// Creates a closed breaker.
    #[must_use]
    pub fn new(settings: BreakerSettings) -> Self {
        let backoff = Backoff::new(settings.reopen_after, settings.reopen_at_most);
        let policy =
            success_rate_over_time_window(SUCCESS_RATE, WINDOW_CALLS, WINDOW, backoff.clone())
                .or_else(consecutive_failures(settings.failures_in_a_row, backoff));
        Self { phase: Phase::Closed { recovered_at: None }, policy, ramp: settings.ramp }
    }

    /// What the breaker admits now.
    #[must_use]
    pub fn state(&self) -> BreakerState {
        match self.phase {
            Phase::Closed { .. } => BreakerState::Closed,
            Phase::Open { .. } => BreakerState::Open,
            Phase::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    /// The share of calls to admit now, from 0 to 1. After a recovery the share grows during the ramp, so that the
    /// backend does not get the whole load at once.
    #[must_use]
    pub fn admitted_share(&self, now: Instant) -> f64 {
        match self.phase {
            Phase::Closed { recovered_at: None } => 1.0,
            Phase::Closed { recovered_at: Some(at) } => {
                share(now.saturating_duration_since(at), self.ramp)
            }
            Phase::Open { .. } | Phase::HalfOpen { .. } => 0.0,
        }
    }

    /// Records the result of an admitted call. A call that ends after the breaker has opened changes nothing.
    pub fn record_call(&mut self, succeeded: bool, now: Instant) {
        if !matches!(self.phase, Phase::Closed { .. }) {
            return;
        }
        if succeeded {
            self.policy.record_success();
        } else if let Some(pause) = self.policy.mark_dead_on_failure() {
            self.phase = Phase::Open { until: now + pause, pause };
        }
    }

    /// Returns whether a probe may start now. If so, the breaker is half open until [`Self::record_probe`].
    pub fn try_start_probe(&mut self, now: Instant) -> bool {
        match self.phase {
            Phase::Open { until, pause } if now >= until => {
                self.phase = Phase::HalfOpen { pause };
                true
            }
            // The probe before this one was dropped without a result.
            Phase::HalfOpen { .. } => true,
            Phase::Open { .. } | Phase::Closed { .. } => false,
        }
    }

    /// Records the result of a probe. A success closes the breaker; a failure opens it for a longer pause.
    pub fn record_probe(&mut self, succeeded: bool, now: Instant) {
        let Phase::HalfOpen { pause } = self.phase else { return };
        self.phase = if succeeded {
            self.policy.revived();
            Phase::Closed { recovered_at: Some(now) }
        } else {
            let pause = self.policy.mark_dead_on_failure().unwrap_or(pause);
            Phase::Open { until: now + pause, pause }
        };
    }
}

/// The share of calls that is admitted `since` after a recovery.
fn share(since: Duration, ramp: Duration) -> f64 {
    if since < ramp { (since.as_secs_f64() / ramp.as_secs_f64()).max(FIRST_SHARE) } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use strum::VariantNames as _;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// A breaker that two failures have opened at the time `now`.
    fn opened(now: Instant) -> CircuitBreaker {
        let settings = BreakerSettings {
            failures_in_a_row: 2,
            reopen_after: SECOND,
            reopen_at_most: 8 * SECOND,
            ramp: 2 * SECOND,
        };
        let mut breaker = CircuitBreaker::new(settings);
        breaker.record_call(false, now);
        assert_eq!(breaker.state(), BreakerState::Closed);
        breaker.record_call(false, now);
        assert_eq!(breaker.state(), BreakerState::Open);
        breaker
    }

    #[test]
    fn names_and_states_correspond() {
        let states = [BreakerState::Closed, BreakerState::HalfOpen, BreakerState::Open];
        assert_eq!(states.each_ref().map(AsRef::as_ref), BreakerState::VARIANTS);
        assert_eq!(BreakerState::VARIANTS, ["closed", "half_open", "open"]);
    }

    #[test]
    fn after_a_recovery_the_admitted_share_grows_to_all() {
        let ramp = Duration::from_secs(2);
        assert_eq!(share(Duration::ZERO, ramp), FIRST_SHARE);
        assert_eq!(share(Duration::from_secs(1), ramp), 0.5);
        assert_eq!(share(ramp, ramp), 1.0);
        assert_eq!(share(Duration::ZERO, Duration::ZERO), 1.0);
    }

    #[test]
    fn a_probe_starts_after_the_pause_and_its_success_closes_the_breaker() {
        let begin = Instant::now();
        let mut breaker = opened(begin);
        assert_eq!(breaker.admitted_share(begin), 0.0);
        assert!(!breaker.try_start_probe(begin + SECOND / 2), "the pause is not over");
        let later = begin + 2 * SECOND;
        assert!(breaker.try_start_probe(later));
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
        assert_eq!(breaker.admitted_share(later), 0.0);
        breaker.record_probe(true, later);
        assert_eq!(breaker.state(), BreakerState::Closed);
        assert_eq!(breaker.admitted_share(later), FIRST_SHARE);
        assert_eq!(breaker.admitted_share(later + 2 * SECOND), 1.0);
    }

    #[test]
    fn each_failed_probe_makes_the_pause_longer() {
        let mut now = Instant::now();
        let mut breaker = opened(now);
        // The shortest pause of each step, in seconds: 1, 2, 4, 4.
        for step in [1, 2, 4, 4] {
            assert!(!breaker.try_start_probe(now + step * SECOND - SECOND / 1000));
            now += 2 * step * SECOND;
            assert!(breaker.try_start_probe(now));
            breaker.record_probe(false, now);
            assert_eq!(breaker.state(), BreakerState::Open);
        }
    }

    #[test]
    fn a_probe_that_was_dropped_can_be_started_again() {
        let begin = Instant::now();
        let mut breaker = opened(begin);
        assert!(breaker.try_start_probe(begin + 2 * SECOND));
        assert!(breaker.try_start_probe(begin + 2 * SECOND));
    }

    #[test]
    fn a_late_result_of_a_call_does_not_change_an_open_breaker() {
        let begin = Instant::now();
        let mut breaker = opened(begin);
        breaker.record_call(true, begin);
        assert_eq!(breaker.state(), BreakerState::Open);
        assert!(breaker.try_start_probe(begin + 2 * SECOND));
        for succeeded in [true, false] {
            breaker.record_call(succeeded, begin + 2 * SECOND);
            assert_eq!(breaker.state(), BreakerState::HalfOpen);
        }
    }
}
