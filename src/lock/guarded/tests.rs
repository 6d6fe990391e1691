//! The guard around a backend that misbehaves as told.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::domain::ids::{ScheduleId, SeatNumber};
use crate::lock::LockToken;

/// A backend that does as it is told for as many calls, and then answers well.
#[derive(Default)]
struct Told {
    troubles: Mutex<Vec<Trouble>>,
    calls: AtomicUsize,
}

enum Trouble {
    Hang,
    Fail,
    /// Nothing but the first request is answered.
    FailInPart,
}

impl SeatLocks for Told {
    fn run<'a>(
        &'a self,
        requests: &'a [LockRequest],
    ) -> BoxFuture<'a, Result<Vec<LockReply>, LockError>> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let trouble = self.troubles.lock().ok().and_then(|mut troubles| troubles.pop());
        Box::pin(async move {
            match trouble {
                Some(Trouble::Hang) => std::future::pending().await,
                Some(Trouble::Fail) => Err(LockError::Backend("told to fail".into())),
                Some(Trouble::FailInPart) => {
                    let away = || LockReply::Failed(LockError::Backend("in part".into()));
                    let answered = requests.iter().take(1).map(answer);
                    Ok(answered.chain(requests.iter().skip(1).map(|_| away())).collect())
                }
                None => Ok(requests.iter().map(answer).collect()),
            }
        })
    }
}

fn answer(request: &LockRequest) -> LockReply {
    match request {
        LockRequest::Acquire { .. } => LockReply::Acquired,
        LockRequest::Release { seats, .. } | LockRequest::Retoken { seats, .. } => {
            LockReply::Matched(seats.len())
        }
    }
}

fn guarded(troubles: Vec<Trouble>) -> prometheus::Result<Arc<Guarded<Told>>> {
    let settings = GuardSettings {
        budget: Duration::from_millis(20),
        breaker: BreakerSettings {
            failures_in_a_row: 2,
            reopen_after: Duration::from_millis(50),
            reopen_at_most: Duration::from_millis(100),
            ramp: Duration::ZERO,
        },
        tick: Duration::from_millis(5),
        ..GuardSettings::default()
    };
    let inner = Told { troubles: Mutex::new(troubles), calls: AtomicUsize::new(0) };
    Ok(Arc::new(Guarded::new(inner, settings, Arc::new(Metrics::new()?))))
}

fn acquire() -> [LockRequest; 1] {
    let token = LockToken { prefix: 1, attempt: 2 };
    let (schedule, seats) = (ScheduleId(1), vec![SeatNumber(1)]);
    [LockRequest::Acquire { schedule, seats, token, ttl: Duration::from_secs(30) }]
}

#[tokio::test]
async fn an_early_error_is_asked_again_once() -> prometheus::Result<()> {
    let locks = guarded(vec![Trouble::Fail])?;
    assert_eq!(locks.run(&acquire()).await, Ok(vec![LockReply::Acquired]));
    let locks = guarded(vec![Trouble::Fail, Trouble::Fail])?;
    assert!(matches!(locks.run(&acquire()).await, Err(LockError::Backend(_))));
    assert_eq!(locks.inner.calls.load(Ordering::Relaxed), 2);
    Ok(())
}

fn three() -> [LockRequest; 3] {
    let [one] = acquire();
    [one.clone(), one.clone(), one]
}

#[tokio::test]
async fn of_a_list_answered_in_part_the_rest_is_asked_again() -> prometheus::Result<()> {
    let locks = guarded(vec![Trouble::FailInPart])?;
    let all = Ok(vec![LockReply::Acquired; 3]);
    assert_eq!(locks.run(&three()).await, all);
    assert_eq!(locks.inner.calls.load(Ordering::Relaxed), 2);
    assert_eq!(locks.metrics.lock.orphans.get(), 0);
    Ok(())
}

#[tokio::test]
async fn a_part_that_stays_away_is_owed_and_does_not_open_the_breaker() -> prometheus::Result<()> {
    for second in [Trouble::Fail, Trouble::FailInPart] {
        let locks = guarded(vec![second, Trouble::FailInPart])?;
        let replies = locks.run(&three()).await.unwrap_or_default();
        assert_eq!(replies.first(), Some(&LockReply::Acquired));
        assert!(matches!(replies.last(), Some(LockReply::Failed(_))), "{replies:?}");
        assert!(locks.metrics.lock.orphans.get() > 0);
        assert_eq!(locks.state(), BreakerState::Closed);
        locks.tend().await;
        assert_eq!(locks.metrics.lock.orphans.get(), 0, "it is back, and was paid");
    }
    Ok(())
}

#[tokio::test]
async fn a_hanging_backend_is_bypassed_until_probes_succeed() -> prometheus::Result<()> {
    let locks = guarded(vec![Trouble::Hang, Trouble::Hang])?;
    for _ in 0..2 {
        assert_eq!(locks.run(&acquire()).await, Err(LockError::Timeout));
    }
    assert_eq!(locks.run(&acquire()).await, Err(LockError::Bypassed));
    assert_eq!(locks.inner.calls.load(Ordering::Relaxed), 2, "a bypass asks nobody");
    assert_eq!(locks.metrics.lock.orphans.get(), 2, "of the two that may still execute");
    let mut changes = locks.watch();
    let background = locks.spawn_probe();
    assert!(changes.wait_for(|state| *state == BreakerState::Closed).await.is_ok());
    assert_eq!(locks.inner.calls.load(Ordering::Relaxed), 5, "three good probes");
    while locks.metrics.lock.orphans.get() > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(locks.run(&acquire()).await, Ok(vec![LockReply::Acquired]));
    drop(locks);
    assert!(background.await.is_ok(), "the task ends with the locks");
    Ok(())
}

#[tokio::test]
async fn a_caller_that_goes_away_leaves_a_debt() -> prometheus::Result<()> {
    let locks = guarded(vec![Trouble::Hang])?;
    let given_up = tokio::time::timeout(Duration::from_millis(5), locks.run(&acquire())).await;
    assert!(given_up.is_err());
    assert_eq!(locks.metrics.lock.orphans.get(), 1);
    Ok(())
}
