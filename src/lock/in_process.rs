//! Seat locks in this process' memory: for one replica without Redis, and for tests.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{LockError, LockReply, LockRequest, LockToken, SeatLocks, ttl_ms};
use crate::domain::ids::{ScheduleId, SeatNumber};

/// The least number of locks at which expired locks are removed.
const PURGE_AT_LEAST: usize = 1024;

/// Seat locks in a map. One mutex is sufficient: each call executes a whole list of requests, and locks the mutex only
/// for the time of a few look-ups.
#[derive(Debug, Default)]
pub struct InProcessLocks {
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    locks: HashMap<(ScheduleId, SeatNumber), Lock>,
    /// The number of locks at which expired locks are removed the next time: twice the number after the last removal.
    /// So the memory is proportional to the number of live locks, and the amortized work per lock is constant.
    purge_at: usize,
}

#[derive(Debug, Clone, Copy)]
struct Lock {
    token: LockToken,
    expires_at: Instant,
}

impl InProcessLocks {
    /// Creates an empty map: no seat is locked.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl SeatLocks for InProcessLocks {
    fn run<'a>(
        &'a self,
        requests: &'a [LockRequest],
    ) -> BoxFuture<'a, Result<Vec<LockReply>, LockError>> {
        Box::pin(async move {
            let now = Instant::now();
            let mut table = self.table.lock();
            Ok(requests.iter().map(|request| table.execute(request, now)).collect())
        })
    }
}

impl Table {
    fn execute(&mut self, request: &LockRequest, now: Instant) -> LockReply {
        match request {
            LockRequest::Acquire { schedule, seats, token, ttl } => {
                self.acquire(*schedule, seats, Lock::new(*token, *ttl, now), now)
            }
            LockRequest::Release { schedule, seats, token } => {
                let keys = self.locked_by(*schedule, seats, *token, now);
                for key in &keys {
                    self.locks.remove(key);
                }
                LockReply::Matched(keys.len())
            }
            LockRequest::Retoken { schedule, seats, from, to, ttl } => {
                let keys = self.locked_by(*schedule, seats, *from, now);
                for key in &keys {
                    self.locks.insert(*key, Lock::new(*to, *ttl, now));
                }
                LockReply::Matched(keys.len())
            }
        }
    }

    fn acquire(
        &mut self,
        schedule: ScheduleId,
        seats: &[SeatNumber],
        lock: Lock,
        now: Instant,
    ) -> LockReply {
        let busy: Vec<_> = seats
            .iter()
            .filter_map(|seat| Some((*seat, self.owner(schedule, *seat, now)?)))
            .filter(|(_, token)| *token != lock.token)
            .collect();
        if !busy.is_empty() {
            return LockReply::Busy(busy);
        }
        self.purge(now);
        self.locks.extend(seats.iter().map(|seat| ((schedule, *seat), lock)));
        LockReply::Acquired
    }

    /// The token of the lock on the seat, if the seat is locked now.
    fn owner(&self, schedule: ScheduleId, seat: SeatNumber, now: Instant) -> Option<LockToken> {
        self.locks
            .get(&(schedule, seat))
            .filter(|lock| lock.expires_at > now)
            .map(|lock| lock.token)
    }

    /// The keys of those of the seats that are locked with the token now.
    fn locked_by(
        &self,
        schedule: ScheduleId,
        seats: &[SeatNumber],
        token: LockToken,
        now: Instant,
    ) -> Vec<(ScheduleId, SeatNumber)> {
        seats
            .iter()
            .filter(|seat| self.owner(schedule, **seat, now) == Some(token))
            .map(|seat| (schedule, *seat))
            .collect()
    }

    fn purge(&mut self, now: Instant) {
        if self.locks.len() >= self.purge_at {
            self.locks.retain(|_, lock| lock.expires_at > now);
            self.purge_at = self.locks.len().saturating_mul(2).max(PURGE_AT_LEAST);
        }
    }
}

impl Lock {
    fn new(token: LockToken, ttl: Duration, now: Instant) -> Self {
        Self { token, expires_at: now + Duration::from_millis(ttl_ms(ttl).into()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEDULE: ScheduleId = ScheduleId(1);

    fn acquire(seat: u32, ttl: Duration) -> LockRequest {
        let token = LockToken { prefix: 1, attempt: seat.into() };
        LockRequest::Acquire { schedule: SCHEDULE, seats: vec![SeatNumber(seat)], token, ttl }
    }

    #[test]
    fn expired_locks_are_removed() {
        let mut table = Table::default();
        let begin = Instant::now();
        for seat in 0..100_000 {
            let now = begin + Duration::from_millis(seat.into());
            let reply = table.execute(&acquire(seat, Duration::from_millis(10)), now);
            assert_eq!(reply, LockReply::Acquired);
        }
        assert!(table.locks.len() <= PURGE_AT_LEAST, "{} locks", table.locks.len());
    }

    #[test]
    fn live_locks_are_not_removed() {
        let mut table = Table::default();
        let now = Instant::now();
        for seat in 0..5_000 {
            table.execute(&acquire(seat, Duration::from_secs(30)), now);
        }
        assert_eq!(table.locks.len(), 5_000);
    }

    #[test]
    fn locking_works_after_a_panic_of_another_thread() {
        let locks = std::sync::Arc::new(InProcessLocks::new());
        let panicking = std::sync::Arc::clone(&locks);
        let thread = std::thread::spawn(move || {
            let _table = panicking.table.lock();
            std::panic::resume_unwind(Box::new("injected panic"));
        });
        assert!(thread.join().is_err());
        let reply = locks.table.lock().execute(&acquire(1, Duration::from_secs(1)), Instant::now());
        assert_eq!(reply, LockReply::Acquired);
    }
}
