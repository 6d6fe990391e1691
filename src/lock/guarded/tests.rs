//! Tests of the guard with a backend that hangs or fails on command, in virtual time.

use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::*;
use crate::domain::ids::{ScheduleId, SeatNumber};
use crate::lock::LockToken;

/// A backend with a list of faults. Each call removes and executes the last fault; without faults the backend works.
#[derive(Default)]
struct Faulty {
    faults: Mutex<Vec<Fault>>,
    calls: AtomicUsize,
}

enum Fault {
    Hang,
    Fail,
    /// Only the first request is answered.
    FailInPart,
}

impl SeatLocks for Faulty {
    fn run<'a>(
        &'a self,
        requests: &'a [LockRequest],
    ) -> BoxFuture<'a, Result<Vec<LockReply>, LockError>> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let fault = self.faults.lock().pop();
        Box::pin(async move {
            match fault {
                Some(Fault::Hang) => std::future::pending().await,
                Some(Fault::Fail) => Err(LockError::Backend("injected fault".into())),
                Some(Fault::FailInPart) => {
                    let failed = || LockReply::Failed(LockError::Backend("injected fault".into()));
                    let answered = requests.iter().take(1).map(answer);
                    Ok(answered.chain(requests.iter().skip(1).map(|_| failed())).collect())
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

fn guarded(faults: Vec<Fault>) -> prometheus::Result<Arc<Guarded<Faulty>>> {
    let usual = GuardSettings::default();
    let breaker = BreakerSettings { failures_in_a_row: 2, ramp: Duration::ZERO, ..usual.breaker };
    let settings = GuardSettings { breaker, ..usual };
    let inner = Faulty { faults: Mutex::new(faults), calls: AtomicUsize::new(0) };
    Ok(Arc::new(Guarded::new(inner, settings, Arc::new(Metrics::new()?))))
}

fn acquire() -> [LockRequest; 1] {
    let token = LockToken { prefix: 1, attempt: 2 };
    let schedule = ScheduleId(1);
    let seats = vec![SeatNumber(1)];
    [LockRequest::Acquire { schedule, seats, token, ttl: Duration::from_secs(30) }]
}

fn three() -> [LockRequest; 3] {
    let [one] = acquire();
    [one.clone(), one.clone(), one]
}

#[tokio::test(start_paused = true)]
async fn a_list_that_fails_is_sent_a_second_time() -> prometheus::Result<()> {
    let locks = guarded(vec![Fault::Fail])?;
    assert_eq!(locks.run(&acquire()).await, Ok(vec![LockReply::Acquired]));
    let locks = guarded(vec![Fault::Fail, Fault::Fail])?;
    assert!(matches!(locks.run(&acquire()).await, Err(LockError::Backend(_))));
    assert_eq!(locks.inner.calls.load(Ordering::Relaxed), 2);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn of_a_list_answered_in_part_the_rest_is_sent_a_second_time() -> prometheus::Result<()> {
    let locks = guarded(vec![Fault::FailInPart])?;
    let all = Ok(vec![LockReply::Acquired; 3]);
    assert_eq!(locks.run(&three()).await, all);
    assert_eq!(locks.inner.calls.load(Ordering::Relaxed), 2);
    assert_eq!(locks.metrics.lock.pending_releases.get(), 0);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn requests_that_fail_twice_are_released_later_and_do_not_open_the_breaker()
-> prometheus::Result<()> {
    for second in [Fault::Fail, Fault::FailInPart] {
        let locks = guarded(vec![second, Fault::FailInPart])?;
        let replies = locks.run(&three()).await.unwrap_or_default();
        assert_eq!(replies.first(), Some(&LockReply::Acquired));
        assert!(matches!(replies.last(), Some(LockReply::Failed(_))), "{replies:?}");
        assert!(locks.metrics.lock.pending_releases.get() > 0);
        assert_eq!(locks.state(), BreakerState::Closed);
        locks.maintain().await;
        assert_eq!(locks.metrics.lock.pending_releases.get(), 0, "the backend works again");
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_hanging_backend_is_bypassed_until_probes_succeed() -> prometheus::Result<()> {
    let locks = guarded(vec![Fault::Hang, Fault::Hang])?;
    for _ in 0..2 {
        let started = Instant::now();
        assert_eq!(locks.run(&acquire()).await, Err(LockError::Timeout));
        let budget = locks.settings.budget;
        let elapsed = started.elapsed();
        assert!(elapsed >= budget && elapsed <= budget + Duration::from_millis(2), "{elapsed:?}");
    }
    assert_eq!(locks.run(&acquire()).await, Err(LockError::Bypassed));
    assert_eq!(locks.inner.calls.load(Ordering::Relaxed), 2, "a bypass does not call the backend");
    let pending = || locks.metrics.lock.pending_releases.get();
    assert_eq!(pending(), 2, "of the two requests that may still be executed");
    let mut changes = locks.watch();
    let maintenance = locks.spawn_maintenance();
    assert!(changes.wait_for(|state| *state == BreakerState::Closed).await.is_ok());
    assert_eq!(locks.inner.calls.load(Ordering::Relaxed), 5, "three successful probes");
    tokio::time::sleep(2 * locks.settings.maintenance_interval).await;
    assert_eq!(pending(), 0);
    assert_eq!(locks.run(&acquire()).await, Ok(vec![LockReply::Acquired]));
    drop(locks);
    assert!(maintenance.await.is_ok(), "the task ends with the locks");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn requests_of_a_caller_that_gives_up_are_released_later() -> prometheus::Result<()> {
    let locks = guarded(vec![Fault::Hang])?;
    let result = tokio::time::timeout(Duration::from_millis(5), locks.run(&acquire())).await;
    assert!(result.is_err());
    assert_eq!(locks.metrics.lock.pending_releases.get(), 1);
    Ok(())
}
